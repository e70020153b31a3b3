"""The gate as the kernel sees it: elements of the set `active` in nftables' table `bridge haqn`.

Speaks nf_tables' netlink protocol itself (linux/netfilter/nf_tables.h), because a flip by the nft program
costs 12-25 ms and this costs 0.1 ms. Knows device groups and timeouts; knows nothing of pairs' states.
"""

from __future__ import annotations

import errno
import socket
import struct

TABLE = b"haqn\0"
SET = b"active\0"

_NETLINK_NETFILTER = 12
_SUBSYS_NFTABLES = 10
_NFPROTO_BRIDGE = 7
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_GET_SET, _NEW_ELEMENT, _DELETE_ELEMENT = 10, 12, 14
_NLM_REQUEST, _NLM_ACK, _NLM_CREATE = 0x1, 0x4, 0x400
_NLMSG_ERROR = 2
_NESTED = 0x8000
_ATTR_TABLE, _ATTR_SET, _ATTR_ELEMENTS = 1, 2, 3
_ATTR_LIST_ELEMENT = 1
_ATTR_KEY, _ATTR_TIMEOUT = 1, 4
_ATTR_DATA_VALUE = 1


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def _batch_mark(kind: int) -> bytes:
    return _message(kind, _NLM_REQUEST, 0, struct.pack("=BBH", 0, 0, socket.htons(_SUBSYS_NFTABLES)))


def _element(command: int, flags: int, group: int, timeout_ms: int, sequence: int) -> bytes:
    element = _attribute(_NESTED | _ATTR_KEY, _attribute(_ATTR_DATA_VALUE, struct.pack("=I", group)))
    if timeout_ms:
        element += _attribute(_ATTR_TIMEOUT, struct.pack(">Q", timeout_ms))
    body = (
        struct.pack("=BBH", _NFPROTO_BRIDGE, 0, 0)
        + _attribute(_ATTR_TABLE, TABLE)
        + _attribute(_ATTR_SET, SET)
        + _attribute(_NESTED | _ATTR_ELEMENTS, _attribute(_NESTED | _ATTR_LIST_ELEMENT, element))
    )
    return _message((_SUBSYS_NFTABLES << 8) | command, _NLM_REQUEST | _NLM_ACK | flags, sequence, body)


class Gate:
    """Opens, refreshes and closes the gate of a device group in this network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.settimeout(2)
        self._sequence = 0

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def exists(self) -> bool:
        """Whether the gate is there at all; without its table every port would be open."""
        self._sequence += 1
        body = struct.pack("=BBH", _NFPROTO_BRIDGE, 0, 0) + _attribute(_ATTR_TABLE, TABLE) + _attribute(_ATTR_SET, SET)
        self._socket.send(_message((_SUBSYS_NFTABLES << 8) | _GET_SET, _NLM_REQUEST, self._sequence, body))
        kind: int = struct.unpack_from("=IHHII", self._socket.recv(65536))[1]
        return kind != _NLMSG_ERROR

    def open(self, group: int, lease_ms: int) -> None:
        """Let frames pass for `lease_ms`; a gate that is open already keeps its present lease.

        Raises OSError (ENOENT: the table is not there).
        """
        self._transact([(_NEW_ELEMENT, _NLM_CREATE, group, lease_ms)])

    def refresh(self, group: int, lease_ms: int) -> bool:
        """Begin a new lease. False: the old one had run out, and the gate stays closed."""
        try:
            self._transact([(_DELETE_ELEMENT, 0, group, 0), (_NEW_ELEMENT, _NLM_CREATE, group, lease_ms)])
        except FileNotFoundError:
            return False
        return True

    def close(self, group: int) -> None:
        """Let no frame pass; a gate that is closed already is left so."""
        try:
            self._transact([(_DELETE_ELEMENT, 0, group, 0)])
        except FileNotFoundError:
            pass

    def _transact(self, commands: list[tuple[int, int, int, int]]) -> None:
        """Apply all of the commands or none; raises OSError with the kernel's first errno."""
        first = self._sequence + 1
        last = first + len(commands) - 1
        self._sequence = last + 1
        batch = [_batch_mark(_BATCH_BEGIN)]
        batch += [
            _element(command, flags, group, timeout, first + n)
            for n, (command, flags, group, timeout) in enumerate(commands)
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
                if kind == _NLMSG_ERROR and sequence in (waiting | {0}):
                    waiting.discard(sequence)
                    failed = failed or -code
                    if sequence == 0 and code:  # the batch itself was refused: no other answer comes
                        waiting.clear()
                offset += (length + 3) & ~3
        if failed:
            raise OSError(failed, f"cannot change {SET[:-1].decode()} of bridge table haqn: {errno.errorcode[failed]}")
