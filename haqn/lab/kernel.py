"""What a host's kernel says, asked for directly: the only witness that needs no program of haqn."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from haqn.lab.host import Host


def _gate(host: Host) -> dict[str, Any] | None:
    """nftables' set of open gates; None without one."""
    listing = host.run(["nft", "--json", "list", "sets", "bridge"]).stdout
    sets = (entry["set"] for entry in json.loads(listing)["nftables"] if "set" in entry)
    return next((found for found in sets if (found["table"], found["name"]) == ("haqn", "active")), None)


def has_gate(host: Host) -> bool:
    """Whether there is a gate at all; without one everything passes."""
    return _gate(host) is not None


def open_gates(host: Host) -> set[int]:
    """The pairs whose gate is open on the host; none, where there is no gate at all."""
    return {entry["elem"]["val"] for entry in (_gate(host) or {}).get("elem", [])}


def hosts_with_open_gate(hosts: Iterable[Host], pair: int) -> list[str]:
    """Names of those hosts on which the pair's gate is open."""
    return [host.name for host in hosts if pair in open_gates(host)]
