"""A router's port -> the router advertisement that it sends. PURE: no I/O, no clock.

Bytes as in RFC 4861, sections 4.2 and 4.6, and RFC 8106; modes as in Neutron: `slaac` and `dhcpv6-stateless` prefixes
are for hosts to make addresses of, `dhcpv6-stateful` ones are not. The kernel fills in the checksum.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable

from haqn.documents import FixedIp
from haqn.model import AUTO_ADDRESS_MODES, Ipv6Mode

_ROUTER_ADVERTISEMENT = 134
_HOP_LIMIT = 64
_MANAGED, _OTHER = 0x80, 0x40
_SOURCE_LINK_LAYER_ADDRESS, _PREFIX, _MTU, _RDNSS = 1, 3, 5, 25
_ON_LINK, _AUTONOMOUS = 0x80, 0x40
#: seconds: for so long hosts keep a router that they do not hear, and its name servers. A process that sends each 30 to
#: 100 s may be away for a while
ROUTER_LIFETIME = 1800
#: AdvValidLifetime and AdvPreferredLifetime, as radvd has them
_VALID_LIFETIME, _PREFERRED_LIFETIME = 86400, 14400
#: RFC 8200, section 5
_LEAST_MTU = 1280


def message(mac_address: str, mtu: int, fixed_ips: Iterable[FixedIp]) -> bytes | None:
    """The ICMPv6 message; None: the port has nothing to announce."""
    announced = [ip for ip in fixed_ips if ip.ra_mode is not None]
    if not announced:
        return None
    modes = {ip.ra_mode for ip in announced}
    flags = _MANAGED if Ipv6Mode.DHCPV6_STATEFUL in modes else 0
    flags |= _OTHER if Ipv6Mode.DHCPV6_STATELESS in modes else 0
    header = struct.pack("!BBHBBHII", _ROUTER_ADVERTISEMENT, 0, 0, _HOP_LIMIT, flags, ROUTER_LIFETIME, 0, 0)
    options = struct.pack("!BB", _SOURCE_LINK_LAYER_ADDRESS, 1) + bytes.fromhex(mac_address.replace(":", ""))
    if mtu >= _LEAST_MTU:
        options += struct.pack("!BBHI", _MTU, 1, 0, mtu)
    for fixed_ip in announced:
        options += _prefix(fixed_ip)
    servers = {ipaddress.ip_address(address) for ip in announced for address in ip.dns_nameservers}
    return header + options + _servers(sorted(server.packed for server in servers if server.version == 6))


def _prefix(fixed_ip: FixedIp) -> bytes:
    network = ipaddress.ip_interface(f"{fixed_ip.ip_address}/{fixed_ip.prefix_length}").network
    flags = _ON_LINK | (_AUTONOMOUS if fixed_ip.ra_mode in AUTO_ADDRESS_MODES else 0)
    lifetimes = (_VALID_LIFETIME, _PREFERRED_LIFETIME)
    return struct.pack("!BBBBIII", _PREFIX, 4, network.prefixlen, flags, *lifetimes, 0) + network.network_address.packed


def _servers(addresses: list[bytes]) -> bytes:
    if not addresses:
        return b""
    return struct.pack("!BBHI", _RDNSS, 1 + 2 * len(addresses), 0, ROUTER_LIFETIME) + b"".join(addresses)
