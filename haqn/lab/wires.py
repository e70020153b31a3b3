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
    switch.run(
        ["nft", "-f", "-"],
        text=f"""
table {_TABLE} {{
    set control {{ type ifname; elements = {{ {control} }}; }}
    set {Cut.HA} {{ type ifname; }}
    set {Cut.MGMT} {{ type ifname; }}
    chain forward {{
        type filter hook forward priority 0; policy accept;
        meta l4proto {_VRRP} iifname @{Cut.HA} drop
        meta l4proto {_VRRP} oifname @{Cut.HA} drop
        iifname @{Cut.MGMT} oifname @control drop
        iifname @control oifname @{Cut.MGMT} drop
    }}
}}
""",
    )
    _plug(switch, spec.root_link, [], _ROOT, UNDER)
    run(["ip", "address", "replace", f"{spec.root_address}/24", "dev", spec.root_link])
    run(["ip", "link", "set", spec.root_link, "up"])


def connect(switch: Host, host: Host, spec: LabSpec, host_spec: HostSpec) -> None:
    """Plug both links of a host that has just started into the switch, and give it its addresses."""
    for link in (UNDER, UPLINK):
        _plug(switch, link, ["netns", str(host.holder)], host.name, link)
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


def cut(switch: Host, host: str, what: Cut) -> None:
    """Take `what` away from the host; once more changes nothing."""
    if what is Cut.UPLINK:
        switch.ip(f"link set {switch_port(host, UPLINK)} down")
    else:
        switch.run(["nft", f"add element {_TABLE} {what} {{ {switch_port(host, UNDER)} }}"])


def mend(switch: Host, host: str) -> None:
    """Undo every cut of the host, and bring its links up."""
    mend_rules(switch, host)
    links_up(switch, host)


def mend_rules(switch: Host, host: str) -> None:
    """Undo the cuts that are rules: they outlive a reboot of the host."""
    for what in (Cut.HA, Cut.MGMT):
        # add and delete in one transaction: deleting what is not there is an error
        element = f"element {_TABLE} {what} {{ {switch_port(host, UNDER)} }}"
        switch.run(["nft", "-f", "-"], text=f"add {element}\ndelete {element}\n")


def cuts(switch: Host) -> dict[str, set[str]]:
    """Host -> what is cut of it now; `link` stands for an underlay link that is down (a crashed host)."""
    found: dict[str, set[str]] = {}
    for what in (Cut.HA, Cut.MGMT):
        listing = switch.run(["nft", "list", "set", *_TABLE.split(), what]).stdout
        for word in listing.split('"')[1::2]:
            found.setdefault(word.removesuffix(f"-{UNDER}"), set()).add(what)
    for link in switch.query("link", "show", "type", "veth"):
        flags = link["flags"]
        if isinstance(flags, list) and "UP" not in flags:
            host, _, name = str(link["ifname"]).rpartition("-")
            found.setdefault(host, set()).add("link" if name == UNDER else Cut.UPLINK)
    return found


def _plug(switch: Host, name: str, where: list[str], host: str, link: str) -> None:
    """A veth: `name` at the host (`where`), its other end a port of the switch's bridge `link`."""
    port = switch_port(host, link)
    run(
        [
            *("ip", "link", "add", "name", name, *where, "address", mac_address(switch.lab, host, link)),
            *("type", "veth", "peer", "name", port, "netns", str(switch.holder)),
        ]
    )
    switch.ip(f"link set {port} master {link}", f"link set {port} up")
