"""What a host's kernel says, asked for directly: the only witness that needs no program of haqn."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from haqn.lab.host import Host
from haqn.model import FIRST_PAIR_ID


def _gate(host: Host) -> dict[str, Any] | None:
    """nftables' set of open gates; None without one."""
    listing = host.run(["nft", "--json", "list", "sets", "bridge"]).stdout
    sets = (entry["set"] for entry in json.loads(listing)["nftables"] if "set" in entry)
    return next((found for found in sets if (found["table"], found["name"]) == ("haqn", "active")), None)


def has_gate(host: Host) -> bool:
    """Whether there is a gate at all; without one everything passes."""
    return _gate(host) is not None


def passing(host: Host, taps: Collection[str]) -> set[str]:
    """Those of the devices that are on the host and that frames may pass now."""
    # links first: a port that changes its group must not be missed between the two looks
    groups = {str(link["ifname"]): str(link["group"]) for link in host.query("link", "show", "type", "veth")}
    gate = _gate(host)
    present = {tap: groups[tap] for tap in taps if tap in groups}
    if gate is None:
        return set(present)
    is_open = {str(entry["elem"]["val"]) for entry in gate.get("elem", [])}
    return {
        tap for tap, group in present.items() if group in is_open or not group.isdigit() or int(group) < FIRST_PAIR_ID
    }
