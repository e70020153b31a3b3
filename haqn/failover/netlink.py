"""Messages and attributes of netlink(7), to be read. Knows bytes; knows nothing of what they are about."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEADER, _ATTRIBUTE = 16, 4
#: the kind of an attribute without its flags
_KIND_MASK = 0x3FFF


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(kind, sequence number, body) of each message."""
    offset = 0
    while offset + _HEADER <= len(data):
        length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data, offset)
        yield kind, sequence, data[offset + _HEADER : offset + length]
        offset += (max(length, _HEADER) + 3) & ~3


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """Kind -> payload, of the attributes from `offset` on."""
    found = {}
    while offset + _ATTRIBUTE <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        found[kind & _KIND_MASK] = data[offset + _ATTRIBUTE : offset + length]
        offset += (max(length, _ATTRIBUTE) + 3) & ~3
    return found
