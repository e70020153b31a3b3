"""Bridges, VXLAN devices and their forwarding entries, by rtnetlink. What routers are made of is `rtnetlink`'s.

The only importer of pyroute2. Speaks in names and plain values; every failure is a HostError that
says what was tried. A handle belongs to one thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from haqn.exceptions import HostError

_ENOENT, _ENODEV, _ESRCH, _EADDRNOTAVAIL = 2, 19, 3, 99
_GONE = (_ENOENT, _ENODEV, _ESRCH, _EADDRNOTAVAIL)
_IFF_UP = 0x1
_ALL_ZERO_MAC = "00:00:00:00:00:00"
VXLAN_PORT = 4789
_NUD_PERMANENT = 0x80
_NTF_SELF = 0x02


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. `group` is IFLA_GROUP, `master` the index of the bridge that it is a port of (0: none)."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    group: int
    master: int
    up: bool
    vxlan_id: int | None = None
    vxlan_local: str | None = None


class _Message(Protocol):
    """What pyroute2's netlink messages have."""

    def __getitem__(self, field: str) -> int: ...

    def get_attr(self, name: str) -> Any:  # noqa: ANN401 - the type depends on the attribute
        ...


def _link(message: _Message) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") or "") if info is not None else ""
    data = info.get_attr("IFLA_INFO_DATA") if kind == "vxlan" else None
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind,
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU") or 0,
        group=message.get_attr("IFLA_GROUP") or 0,
        master=message.get_attr("IFLA_MASTER") or 0,
        up=bool(message["flags"] & _IFF_UP),
        vxlan_id=data.get_attr("IFLA_VXLAN_ID") if data is not None else None,
        vxlan_local=data.get_attr("IFLA_VXLAN_LOCAL") if data is not None else None,
    )


@contextlib.contextmanager
def _trying(what: str) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise HostError(f"cannot {what}: {error.args[-1]} (errno {error.code})") from error
    except OSError as error:
        raise HostError(f"cannot {what}: {error}") from error


class Netlink:
    """A handle on the namespace that the calling thread was in when it was made."""

    def __init__(self) -> None:
        self._ip = IPRoute()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._ip.close()

    # -- links --------------------------------------------------------------------------

    def links(self) -> dict[str, Link]:
        """Every device by name."""
        with _trying("list network devices"):
            return {link.name: link for link in map(_link, self._ip.get_links())}

    def link(self, name: str) -> Link | None:
        """The device of that name; None when there is none."""
        with _trying(f"read device {name}"):
            try:
                return _link(self._ip.link("get", ifname=name)[0])
            except NetlinkError as error:
                if error.code in _GONE:
                    return None
                raise

    def need(self, name: str) -> Link:
        """The device of that name; raises HostError when there is none."""
        link = self.link(name)
        if link is None:
            raise HostError(f"cannot find network device {name}")
        return link

    def add_bridge(self, name: str, mtu: int) -> None:
        """A bridge without spanning tree, delay and multicast snooping (routers' frames must pass at once)."""
        with _trying(f"add bridge {name}"):
            self._ip.link(
                "add",
                ifname=name,
                kind="bridge",
                mtu=mtu,
                br_forward_delay=0,
                br_stp_state=0,
                br_mcast_snooping=0,
                br_ageing_time=300_00,
            )

    def add_own_mac(self, bridge: Link, mac: str) -> None:
        """Make the bridge keep frames to this MAC for itself, as those to its own."""
        with _trying(f"add MAC {mac} to bridge {bridge.name}"):
            self._ip.fdb("replace", ifindex=bridge.index, lladdr=mac, state=_NUD_PERMANENT, flags=_NTF_SELF)

    def add_vxlan(self, name: str, *, vni: int, local: str, mtu: int) -> None:
        """A VXLAN device (RFC 7348) that learns and floods to what `append_flood` names."""
        with _trying(f"add VXLAN device {name}"):
            self._ip.link(
                "add",
                ifname=name,
                kind="vxlan",
                mtu=mtu,
                vxlan_id=vni,
                vxlan_local=local,
                vxlan_port=VXLAN_PORT,
                vxlan_learning=1,
            )

    def set_link(self, link: Link, **changes: str | int) -> None:
        """Change `mtu`, `group`, `master`, `address` (strings, integers) or `state` ('up', 'down')."""
        with _trying(f"set {changes} of device {link.name}"):
            self._ip.link("set", index=link.index, **changes)

    def delete_link(self, name: str) -> None:
        """Remove a device; one that is not there is no error."""
        with _trying(f"delete device {name}"):
            try:
                self._ip.link("del", ifname=name)
            except NetlinkError as error:
                if error.code not in _GONE:
                    raise

    # -- VXLAN flooding -------------------------------------------------------------------------

    def append_flood(self, link: Link, destination: str) -> None:
        with _trying(f"add flood entry {destination} to {link.name}"):
            self._ip.fdb("append", ifindex=link.index, lladdr=_ALL_ZERO_MAC, dst=destination)

    def delete_flood(self, link: Link, destination: str) -> None:
        with _trying(f"delete flood entry {destination} of {link.name}"):
            try:
                self._ip.fdb("del", ifindex=link.index, lladdr=_ALL_ZERO_MAC, dst=destination)
            except NetlinkError as error:
                if error.code not in _GONE:
                    raise
