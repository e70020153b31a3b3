"""The lab's switch: two bridges, a port for each link of each host, and what is cut.

Links are down or frames are dropped at the switch, never on a host: what a host believes of itself
must not help it. What is cut is kept in the switch's own nftables sets and link states, nowhere else.
"""

from __future__ import annotations

import enum

from haqn.lab.command import run
from haqn.lab.host import Host
from haqn.lab.spec import UNDER, UPLINK, HostSpec, Kind, LabSpec, mac_address, root_link, switch_port

#: IANA's protocol number of VRRP (RFC 5798 section 5.1.1.4).
_VRRP = 112
_TABLE = "bridge haqn_lab"
_ROOT = "root"


class Cut(enum.StrEnum):
    """What `cut` takes away from a host."""

    HA = "ha"
    UPLINK = "uplink"
    MGMT = "mgmt"


class Way(enum.StrEnum):
    """In which direction a cut takes it away, seen from the host."""

    BOTH = "both"
    IN = "in"
    OUT = "out"


#: of nftables, by what is cut and in which direction
_SETS = [f"{what}_{way}" for what in Cut for way in (Way.IN, Way.OUT)]


def build_switch(switch: Host, spec: LabSpec) -> None:
    """Bridges, the table of cuts, and the machine's own link to the underlay."""
    bridges = (UNDER, UPLINK)
    switch.run(["sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"])
    switch.ip(
        "link set lo up",
        *(
            line
            for bridge in bridges
            for line in (
                f"link add name {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                f"link set {bridge} up",
            )
        ),
    )
    control = ", ".join(f'"{switch_port(host.name, UNDER)}"' for host in spec.of_kind(Kind.CONTROL))
    sets = "\n".join(f"    set {name} {{ type ifname; }}" for name in _SETS)
    switch.run(
        ["nft", "-f", "-"],
        text=f"""
table {_TABLE} {{
    set control {{ type ifname; elements = {{ {control} }}; }}
{sets}
    chain forward {{
        type filter hook forward priority 0; policy accept;
        meta l4proto {_VRRP} iifname @ha_out drop
        meta l4proto {_VRRP} oifname @ha_in drop
        iifname @mgmt_out oifname @control drop
        iifname @control oifname @mgmt_in drop
        iifname @uplink_out drop
        oifname @uplink_in drop
    }}
}}
""",
    )
    plug(switch, spec.root_link, [], _ROOT, UNDER)
    run(["ip", "address", "replace", f"{spec.root_address}/24", "dev", spec.root_link])
    run(["ip", "link", "set", spec.root_link, "up"])


def connect(switch: Host, host: Host, spec: LabSpec, host_spec: HostSpec) -> None:
    """Plug both links of a host that has just started into the switch, and give it its addresses."""
    for link in (UNDER, UPLINK):
        plug(switch, link, ["netns", str(host.holder)], host.name, link)
    lines = [
        "link set lo up",
        f"link set {UNDER} up",
        f"link set {UPLINK} up",
        f"address add {host_spec.address}/24 dev {UNDER}",
    ]
    if host_spec.external_address:
        prefix_length = spec.external_cidr.partition("/")[2]
        lines.append(f"address add {host_spec.external_address}/{prefix_length} dev {UPLINK}")
    host.ip(*lines)


def unplug(switch: Host, host: str) -> None:
    """Remove the ports of a host that is gone: the kernel takes its own time to do it."""
    for link in (UNDER, UPLINK):
        switch.run(["ip", "link", "delete", switch_port(host, link)], check=False)


def disconnect(lab: str) -> None:
    """Remove the machine's own link, if it is there; hosts' links end with the hosts."""
    run(["ip", "link", "delete", root_link(lab)], check=False)


def links_down(switch: Host, host: str) -> None:
    """What a power cut of `host` looks like to everybody else."""
    switch.ip(*(f"link set {switch_port(host, link)} down" for link in (UNDER, UPLINK)))


def links_up(switch: Host, host: str) -> None:
    """Undo `links_down` and the cut of the uplink."""
    switch.ip(*(f"link set {switch_port(host, link)} up" for link in (UNDER, UPLINK)))


def cut(switch: Host, host: str, what: Cut, way: Way = Way.BOTH) -> None:
    """Take `what` away from the host; once more changes nothing.

    An uplink that is cut both ways has no carrier any more; one that is cut one way has, and loses every frame.
    """
    if what is Cut.UPLINK and way is Way.BOTH:
        switch.ip(f"link set {switch_port(host, UPLINK)} down")
    else:
        switch.run(["nft", "-f", "-"], text="".join(f"add {one}\n" for one in _elements(host, what, way)))


def uncut(switch: Host, host: str, what: Cut) -> None:
    """Undo the cuts of `what`, and no others."""
    if what is Cut.UPLINK:
        switch.ip(f"link set {switch_port(host, UPLINK)} up")
    # add and delete in one transaction: deleting what is not there is an error
    commands = (f"add {one}\ndelete {one}\n" for one in _elements(host, what, Way.BOTH))
    switch.run(["nft", "-f", "-"], text="".join(commands))


def mend(switch: Host, host: str) -> None:
    """Undo every cut of the host, and bring its links up."""
    mend_rules(switch, host)
    links_up(switch, host)


def mend_rules(switch: Host, host: str) -> None:
    """Undo the cuts that are rules: they outlive a reboot of the host."""
    commands = (f"add {one}\ndelete {one}\n" for what in Cut for one in _elements(host, what, Way.BOTH))
    switch.run(["nft", "-f", "-"], text="".join(commands))


def cuts(switch: Host) -> dict[str, set[str]]:
    """Host -> what is cut of it now: `ha`, or `ha_in` and `ha_out` if it is cut one way, and so on; `link` stands for
    an underlay link that is down (a crashed host)."""
    found: dict[str, set[str]] = {}
    for name in _SETS:
        listing = switch.run(["nft", "list", "set", *_TABLE.split(), name]).stdout
        for word in listing.split('"')[1::2]:
            found.setdefault(word.rpartition("-")[0], set()).add(name)
    for link in switch.query("link", "show", "type", "veth"):
        flags = link["flags"]
        if isinstance(flags, list) and "UP" not in flags:
            host, _, name = str(link["ifname"]).rpartition("-")
            found.setdefault(host, set()).add("link" if name == UNDER else Cut.UPLINK)
    for names in found.values():
        for what in Cut:
            both = {f"{what}_{way}" for way in (Way.IN, Way.OUT)}
            if both <= names:
                names.difference_update(both)
                names.add(what)
    return found


def _elements(host: str, what: Cut, way: Way) -> list[str]:
    """As nft names them, of the sets of cuts."""
    port = switch_port(host, UPLINK if what is Cut.UPLINK else UNDER)
    ways = (Way.IN, Way.OUT) if way is Way.BOTH else (way,)
    return [f"element {_TABLE} {what}_{one} {{ {port} }}" for one in ways]


def plug(switch: Host, name: str, where: list[str], host: str, link: str) -> None:
    """A veth: `name` at the host (`where`), its other end a port of the switch's bridge `link`."""
    port = switch_port(host, link)
    run(
        [
            *("ip", "link", "add", "name", name, *where, "address", mac_address(switch.lab, host, link)),
            *("type", "veth", "peer", "name", port, "netns", str(switch.holder)),
        ]
    )
    switch.ip(f"link set {port} master {link}", f"link set {port} up")
