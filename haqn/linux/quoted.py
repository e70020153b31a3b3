"""Rules that translate an address in the packet which an ICMP error quotes (RFC 792; RFC 5508 section 4).

nft has no words for them: it can write raw bytes of a packet, but then leaves checksums as they were. The kernel's
expression (linux/netfilter/nf_tables.h, nft_payload) can be told to update one at any place: here that of the quoted
IPv4 header. With address and header checksum changed together the sum over both stays what it was, and the checksum of
the ICMP message (RFC 1624) needs no change. The checksum of a quoted TCP or UDP header stays as it was: what is quoted
is cut off, so nobody can verify it.
"""

from __future__ import annotations

from haqn.failover.nfnetlink import APPEND, CREATE, FAMILY_IPV4, NEW_RULE, Change, nested, number, text

#: bytes from the beginning of the ICMP header: 8 of its own, then the quoted IPv4 header
_CHECKSUM = 8 + 10
SOURCE = 8 + 12
DESTINATION = 8 + 16

_ATTR_TABLE, _ATTR_CHAIN, _ATTR_EXPRESSIONS = 1, 2, 4
_ATTR_ELEMENT = 1
_ATTR_NAME, _ATTR_DATA = 1, 2
_PAYLOAD_TO, _PAYLOAD_BASE, _PAYLOAD_OFFSET, _PAYLOAD_LENGTH, _PAYLOAD_FROM = 1, 2, 3, 4, 5
_PAYLOAD_CHECKSUM_TYPE, _PAYLOAD_CHECKSUM_OFFSET = 6, 7
_LOOKUP_SET, _LOOKUP_FROM, _LOOKUP_TO = 1, 2, 3
_TRANSPORT_HEADER = 2
_INTERNET_CHECKSUM = 1
_REGISTER = 1
_ADDRESS_LENGTH = 4


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(_ATTR_ELEMENT, text(_ATTR_NAME, name), nested(_ATTR_DATA, *attributes))


def translate(table: str, chain: str, map_name: str, address: int) -> Change:
    """Append to the chain of table `ip` a rule: the quoted `address` (SOURCE or DESTINATION), where the map has it,
    becomes what the map says. For a chain that sees ICMP errors only."""
    place = (
        number(_PAYLOAD_BASE, _TRANSPORT_HEADER),
        number(_PAYLOAD_OFFSET, address),
        number(_PAYLOAD_LENGTH, _ADDRESS_LENGTH),
    )
    expressions = (
        _expression("payload", number(_PAYLOAD_TO, _REGISTER), *place),
        # the rule ends here when the map does not have it
        _expression(
            "lookup", text(_LOOKUP_SET, map_name), number(_LOOKUP_FROM, _REGISTER), number(_LOOKUP_TO, _REGISTER)
        ),
        _expression(
            "payload",
            number(_PAYLOAD_FROM, _REGISTER),
            *place,
            number(_PAYLOAD_CHECKSUM_TYPE, _INTERNET_CHECKSUM),
            number(_PAYLOAD_CHECKSUM_OFFSET, _CHECKSUM),
        ),
    )
    rule = text(_ATTR_TABLE, table) + text(_ATTR_CHAIN, chain) + nested(_ATTR_EXPRESSIONS, *expressions)
    return Change(FAMILY_IPV4, NEW_RULE, rule, CREATE | APPEND)
