"""The gate as the kernel sees it: elements of the set `active` in nftables' table `bridge haqn`.

Speaks netlink itself, because a flip by the nft program costs 12-25 ms and this costs 0.1 ms. Knows device groups and
timeouts; knows nothing of pairs' states.
"""

from __future__ import annotations

import struct

from haqn.failover import nfnetlink
from haqn.failover.nfnetlink import FAMILY_BRIDGE, Change, NfTables

TABLE = "haqn"
SET = "active"

_ATTR_TABLE, _ATTR_SET, _ATTR_ELEMENTS = 1, 2, 3
_ATTR_LIST_ELEMENT = 1
_ATTR_KEY, _ATTR_TIMEOUT = 1, 4
_ATTR_DATA_VALUE = 1
_GET_ELEMENT = 13
_THE_SET = nfnetlink.text(_ATTR_TABLE, TABLE) + nfnetlink.text(_ATTR_SET, SET)


def _elements(group: int, timeout_ms: int = 0) -> bytes:
    key = nfnetlink.nested(_ATTR_KEY, nfnetlink.attribute(_ATTR_DATA_VALUE, struct.pack("=I", group)))
    timeout = nfnetlink.attribute(_ATTR_TIMEOUT, struct.pack(">Q", timeout_ms)) if timeout_ms else b""
    return nfnetlink.nested(_ATTR_ELEMENTS, nfnetlink.nested(_ATTR_LIST_ELEMENT, key + timeout))


def _element(kind: int, group: int, timeout_ms: int = 0) -> Change:
    flags = nfnetlink.CREATE if kind == nfnetlink.NEW_ELEMENT else 0
    return Change(FAMILY_BRIDGE, kind, _THE_SET + _elements(group, timeout_ms), flags)


class Gate:
    """Opens, refreshes and closes the gate of a device group in this network namespace."""

    def __init__(self) -> None:
        self._tables = NfTables()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self._tables.close()

    def exists(self) -> bool:
        """Whether the gate is there at all; without its table every port would be open."""
        return self._tables.ask(FAMILY_BRIDGE, nfnetlink.GET_SET, _THE_SET) is not None

    def is_open(self, group: int) -> bool:
        """Whether frames pass at this moment. Raises OSError."""
        return self._tables.ask(FAMILY_BRIDGE, _GET_ELEMENT, _THE_SET + _elements(group)) is not None

    def open(self, group: int, lease_ms: int) -> None:
        """Let frames pass for `lease_ms`; a gate that is open already keeps its present lease.

        Raises OSError (ENOENT: the table is not there).
        """
        self._tables.transact([_element(nfnetlink.NEW_ELEMENT, group, lease_ms)])

    def refresh(self, group: int, lease_ms: int) -> bool:
        """Begin a new lease. False: the old one had run out, and the gate stays closed."""
        try:
            self._tables.transact(
                [_element(nfnetlink.DELETE_ELEMENT, group), _element(nfnetlink.NEW_ELEMENT, group, lease_ms)]
            )
        except FileNotFoundError:
            return False
        return True

    def close(self, group: int) -> None:
        """Let no frame pass; a gate that is closed already is left so."""
        try:
            self._tables.transact([_element(nfnetlink.DELETE_ELEMENT, group)])
        except FileNotFoundError:
            pass
