"""Telling the layer 2 network, here and elsewhere, that router MACs are on this host now.

Two things, for all router ports of a pair at once: the local bridges' forwarding entries are pointed at the local
ports (one netlink batch, rtnetlink RTM_NEWNEIGH), and one gratuitous ARP (RFC 5227 section 3) or, for an address of
IPv6, one unsolicited neighbour advertisement (RFC 4861 section 7.2.6) leaves through each bridge's uplink or VXLAN
device. Nothing is sent into a bridge: a broadcast into one with hundreds of ports costs milliseconds.

A takeover does not change a MAC, so no neighbour has anything to learn, only switches have. The announcements of a
takeover carry `SWITCHES_ONLY` where an ARP request has nothing to say (RFC 826: the target's hardware address), or in
an option that a neighbour advertisement may have and nobody asked for (RFC 3971 section 5.3.2: a nonce), by which
haqn's own bridges know that they need to learn from such a frame and not to flood it: a host would otherwise copy each
of a thousand announcements to each of its thousand shut ports.
Knows rows of a file that the agent writes; knows nothing of pairs, gates or routers.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

_RTM_NEWNEIGH = 28
_REQUEST_REPLACE_CREATE = 0x1 | 0x100 | 0x400
_NUD_REACHABLE = 0x02
_NTF_MASTER = 0x04
_NDA_LLADDR = 2
_AF_BRIDGE = 7
_ETH_P_ARP = 0x0806
_ETH_P_IPV6 = 0x86DD
_ICMPV6 = 58
_NEIGHBOUR_ADVERTISEMENT = 136
#: from a router, and to be believed rather than what was known before
_ROUTER_OVERRIDE = 0xA0000000
_TARGET_LINK_LAYER_ADDRESS = 2
_NONCE = 14
#: ff02::1, and its MAC (RFC 2464 section 7)
_ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_BROADCAST = b"\xff" * 6
_BATCH = 200
#: addresses that may be told to the ports of one's own bridge, too, in one go
_TOLD_NEARBY = 32

#: a locally administered MAC, known to the gate's ruleset and to every bridge of haqn as its own
SWITCHES_ONLY = bytes.fromhex("026861716e01")
#: what an ordinary gratuitous ARP carries in that place
EVERYBODY = b"\0" * 6


@dataclass(frozen=True)
class Row:
    """A router port: its bridge port, the device that leads off the host, its MAC, an address of it."""

    port: int
    egress: str
    mac: bytes
    #: 4 or 16 octets
    address: bytes

    @classmethod
    def parse(cls, line: str) -> Row:
        """`<ifindex of the bridge port> <egress device or -> <MAC> <IPv4 or IPv6 address>`"""
        port, egress, mac, address = line.split()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return cls(int(port), egress, bytes.fromhex(mac.replace(":", "")), socket.inet_pton(family, address))


def one_a_port(rows: list[Row]) -> list[Row]:
    """The first row of each port and IP version: by its MAC switches learn where the port is. The others are floating
    addresses, which switches that remember neighbours' addresses (RFC 9161) want to see, too, but nobody needs first.
    """
    first: dict[tuple[int, int], Row] = {}
    for row in rows:
        first.setdefault((row.port, len(row.address)), row)
    return list(first.values())


def ports_first(rows: list[Row]) -> list[Row]:
    """All rows, those of `one_a_port` before the others."""
    first = one_a_port(rows)
    known = {id(row) for row in first}
    return first + [row for row in rows if id(row) not in known]


def frame(row: Row, audience: bytes) -> tuple[int, bytes]:
    """(protocol, Ethernet frame) that announces the row to `audience` (as above)."""
    if len(row.address) == 16:
        return _ETH_P_IPV6, unsolicited_advertisement(row.mac, row.address, audience)
    return _ETH_P_ARP, gratuitous_arp(row.mac, row.address, audience)


def gratuitous_arp(mac: bytes, address: bytes, audience: bytes) -> bytes:
    """An ARP request for the sender's own address, as an Ethernet frame; `audience` as above."""
    header = _BROADCAST + mac + struct.pack("!H", _ETH_P_ARP)
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address + audience + address


def unsolicited_advertisement(mac: bytes, address: bytes, audience: bytes) -> bytes:
    """A neighbour advertisement of a router to all nodes, as an Ethernet frame; `audience` as above."""
    options = struct.pack("!BB", _TARGET_LINK_LAYER_ADDRESS, 1) + mac
    if audience != EVERYBODY:
        options += struct.pack("!BB", _NONCE, 1) + audience
    message = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _ROUTER_OVERRIDE) + address + options
    pseudo_header = address + _ALL_NODES + struct.pack("!II", len(message), _ICMPV6)
    folded = struct.pack("!H", checksum(pseudo_header + message))
    header = _ALL_NODES_MAC + mac + struct.pack("!HIHBB", _ETH_P_IPV6, 6 << 28, len(message), _ICMPV6, 255)
    return header + address + _ALL_NODES + message[:2] + folded + message[4:]


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071) of an even number of octets: 2^16 is 1 modulo 2^16 - 1, so the number that all
    of them are has the same remainder as the sum of its 16-bit words."""
    return 0xFFFF - int.from_bytes(data, "big") % 0xFFFF


def _forwarding_entry(row: Row) -> bytes:
    attribute = struct.pack("=HH", 10, _NDA_LLADDR) + row.mac + b"\0\0"
    body = struct.pack("=BxxxiHBB", _AF_BRIDGE, row.port, _NUD_REACHABLE, _NTF_MASTER, 0) + attribute
    return struct.pack("=IHHII", 16 + len(body), _RTM_NEWNEIGH, _REQUEST_REPLACE_CREATE, 0, 0) + body


def claim(rows: list[Row]) -> None:
    """Point the local bridges' entries for the rows' MACs at the rows' ports. A port that is gone is passed over."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        ports = one_a_port(rows)
        for start in range(0, len(ports), _BATCH):
            netlink.send(b"".join(_forwarding_entry(row) for row in ports[start : start + _BATCH]))


class Announcer:
    """Sends announcements while it is open. Closing it waits for RCU, some 10 ms (packet_release of the kernel's
    af_packet.c), which nobody should wait for in the middle of a takeover.

    Its packet socket has protocol 0: it hears nothing.
    """

    def __init__(self) -> None:
        self._packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)

    def __enter__(self) -> Announcer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._packet.close()

    def announce(self, rows: Iterable[Row], audience: bytes = SWITCHES_ONLY) -> int:
        """Send one announcement a row out of its egress device; returns how many left."""
        return self._send(((row, row.egress) for row in rows if row.egress != "-"), audience)

    def tell_neighbours(self, rows: list[Row]) -> int:
        """Say to everybody who may know an older owner of the rows' addresses that they are here now, to ports of the
        same bridge as well: not for takeovers, and not for more than a few rows: a bridge may have hundreds of ports.
        """
        near = [(row, _bridge(row.port)) for row in rows[:_TOLD_NEARBY]]
        flooded = [(row, bridge) for row, bridge in near if bridge is not None]
        return self._send(flooded, EVERYBODY) + self.announce(rows[_TOLD_NEARBY:], EVERYBODY)

    def _send(self, rows: Iterable[tuple[Row, str]], audience: bytes) -> int:
        sent = 0
        for row, device in rows:
            protocol, data = frame(row, audience)
            try:
                self._packet.sendto(data, (device, protocol))
                sent += 1
            except OSError:  # the device is gone or down: the agent will write new rows
                continue
        return sent


def announce(rows: list[Row], audience: bytes = SWITCHES_ONLY) -> int:
    """Send one announcement a row out of its egress device; returns how many left."""
    with Announcer() as announcer:
        return announcer.announce(rows, audience)


def _bridge(port: int) -> str | None:
    try:
        return os.path.basename(os.readlink(f"/sys/class/net/{socket.if_indextoname(port)}/master"))
    except OSError:
        return None
