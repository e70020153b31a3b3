"""What a host's kernel says, asked for directly: the only witness that needs no program of haqn."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Collection, Sequence
from typing import Any

from haqn.exceptions import HostError
from haqn.lab.host import Host
from haqn.model import FIRST_PAIR_ID

#: `Host.run`, or `haqn.lab.command.run` for the namespace that the caller is in
Run = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]


def _gate(run: Run) -> dict[str, Any] | None:
    """nftables' set of open gates; None without one."""
    listing = run(["nft", "--json", "list", "sets", "bridge"]).stdout
    sets = (entry["set"] for entry in json.loads(listing)["nftables"] if "set" in entry)
    return next((found for found in sets if (found["table"], found["name"]) == ("haqn", "active")), None)


def _open_groups(gate: dict[str, Any]) -> set[int]:
    return {int(entry["elem"]["val"]) for entry in gate.get("elem", [])}


def has_gate(host: Host) -> bool:
    """Whether there is a gate at all; without one everything passes."""
    return _gate(host.run) is not None


def open_gates(run: Run) -> set[int]:
    """The pairs whose gates are open at this moment. HostError: there is no gate, so that everything passes."""
    gate = _gate(run)
    if gate is None:
        raise HostError("cannot say which gates are open: there is no table bridge haqn")
    return _open_groups(gate)


def passing(host: Host, taps: Collection[str]) -> set[str]:
    """Those of the devices that are on the host and that frames may pass now."""
    # links first: a port that changes its group must not be missed between the two looks
    groups = {str(link["ifname"]): str(link["group"]) for link in host.query("link", "show", "type", "veth")}
    gate = _gate(host.run)
    present = {tap: groups[tap] for tap in taps if tap in groups}
    if gate is None:
        return set(present)
    is_open = _open_groups(gate)

    def passes(group: str) -> bool:
        # groups that have a name are small ones (rt_group of iproute2)
        return not group.isdigit() or int(group) < FIRST_PAIR_ID or int(group) in is_open

    return {tap for tap, group in present.items() if passes(group)}
