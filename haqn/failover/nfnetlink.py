"""nf_tables' own netlink protocol (linux/netfilter/nf_tables.h): messages, attributes, transactions.

The nft program costs 12-25 ms a call, this 0.1 ms. Knows bytes; knows nothing of what tables are for. A socket stays in
the network namespace that it was opened in. Imports little, like `haqn.failover.state`: keepalived's check loads it.
"""

from __future__ import annotations

import _socket as socket  # the module `socket` brings enum and selectors along: 13 ms of an interpreter that starts
import errno
import struct

FAMILY_IPV4, FAMILY_BRIDGE, FAMILY_IPV6 = 2, 7, 10
GET_CHAIN, NEW_RULE, GET_SET, NEW_ELEMENT, DELETE_ELEMENT, GET_GENERATION = 4, 6, 10, 12, 14, 16
CREATE, APPEND = 0x400, 0x800

_NETLINK_NETFILTER = 12
_SUBSYS_NFTABLES = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_REQUEST, _ACK = 0x1, 0x4
_ERROR = 2
_NESTED = 0x8000
_HEADER, _NFGENMSG = 16, 4


def attribute(kind: int, payload: bytes) -> bytes:
    """An attribute, padded."""
    return struct.pack("=HH", len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that consists of others."""
    return attribute(_NESTED | kind, b"".join(attributes))


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits, big-endian as nf_tables has it."""
    return attribute(kind, struct.pack(">I", value))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a string."""
    return attribute(kind, value.encode() + b"\0")


class Change:
    """One message of a transaction: `kind` is one of the constants above, `flags` CREATE and APPEND."""

    __slots__ = ("attributes", "family", "flags", "kind")

    def __init__(self, family: int, kind: int, attributes: bytes, flags: int = 0) -> None:
        self.family = family
        self.kind = kind
        self.attributes = attributes
        self.flags = flags


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", _HEADER + len(body), kind, flags, sequence, 0) + body


def _body(family: int, attributes: bytes = b"", resource: int = 0) -> bytes:
    return struct.pack("=BBH", family, 0, socket.htons(resource)) + attributes


def _batch_mark(kind: int) -> bytes:
    return _message(kind, _REQUEST, 0, _body(0, resource=_SUBSYS_NFTABLES))


class NfTables:
    """nf_tables of the network namespace that the calling thread is in now."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.settimeout(2)
        self._sequence = 0

    def __enter__(self) -> NfTables:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(self, family: int, kind: int, attributes: bytes = b"") -> bytes | None:
        """The attributes of the one answer; None: there is no such thing. Raises OSError."""
        self._sequence += 1
        self._socket.send(_message((_SUBSYS_NFTABLES << 8) | kind, _REQUEST, self._sequence, _body(family, attributes)))
        answer = self._socket.recv(65536)
        if struct.unpack_from("=IHHII", answer)[1] != _ERROR:
            return answer[_HEADER + _NFGENMSG :]
        code = -struct.unpack_from("=i", answer, _HEADER)[0]
        if code == errno.ENOENT:
            return None
        raise OSError(code, f"cannot ask nf_tables (message {kind}): {errno.errorcode.get(code, code)}")

    def transact(self, changes: list[Change]) -> None:
        """Apply all of the changes or none; raises OSError with the kernel's first errno."""
        first = self._sequence + 1
        last = first + len(changes) - 1
        self._sequence = last + 1
        batch = [_batch_mark(_BATCH_BEGIN)]
        batch += [
            _message(
                (_SUBSYS_NFTABLES << 8) | change.kind,
                _REQUEST | _ACK | change.flags,
                first + place,
                _body(change.family, change.attributes),
            )
            for place, change in enumerate(changes)
        ]
        batch.append(_batch_mark(_BATCH_END))
        self._socket.send(b"".join(batch))
        waiting = set(range(first, last + 1))
        failed = 0
        while waiting:
            data = self._socket.recv(65536)
            offset = 0
            while offset + 20 <= len(data):
                length, kind, _, sequence, _, code = struct.unpack_from("=IHHIIi", data, offset)
                if kind == _ERROR and sequence in (waiting | {0}):
                    waiting.discard(sequence)
                    failed = failed or -code
                    if sequence == 0 and code:  # the batch itself was refused: no other answer comes
                        waiting.clear()
                offset += (length + 3) & ~3
        if failed:
            raise OSError(failed, f"cannot change nf_tables: {errno.errorcode.get(failed, failed)}")
