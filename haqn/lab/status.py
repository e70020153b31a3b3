"""What a lab looks like right now, for people and for programs. Observes; changes nothing."""

from __future__ import annotations

from typing import Any

from haqn.exceptions import HaqnError
from haqn.lab import faults, vms, wires
from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.services import services
from haqn.lab.spec import Kind

_API_TIMEOUT = 3.0


def observe(lab: Lab) -> dict[str, Any]:
    """The lab as JSON: hosts with their programs and what is cut, VMs, and what the API says of the agents."""
    spec = lab.spec
    cuts = wires.cuts(lab.switch)
    programs: dict[str, dict[str, str]] = {host.name: {} for host in spec.host_specs()}
    for service in services(spec):
        programs[service.host][service.name] = _state(lab, service.host, service.name)
    for host in spec.of_kind(Kind.NETWORK):
        programs[host.name][faults.KEEPALIVED] = _state(lab, host.name, faults.KEEPALIVED)
    agents = _agents(spec.api_url)
    return {
        "name": lab.name,
        "api": spec.api_url,
        "etcd": spec.etcd_endpoints,
        "work_dir": str(lab.work_dir),
        "hosts": [
            {
                "name": host.name,
                "kind": host.kind.value,
                "address": host.address,
                "running": lab.host(host.name).running,
                "cut": sorted(cuts.get(host.name, ())),
                "programs": programs[host.name],
                "agents_alive": agents.get(host.name),
            }
            for host in spec.host_specs()
        ],
        "vms": [{"name": vm.name, "host": vm.host, "address": vm.address} for vm in vms.list_vms(lab)],
    }


def lines(status: dict[str, Any]) -> list[str]:
    """`observe`'s answer as a table."""
    text = [f"lab {status['name']}: API {status['api']}, etcd {','.join(status['etcd'])}, files {status['work_dir']}"]
    for host in status["hosts"]:
        programs = " ".join(f"{name}:{state}" for name, state in host["programs"].items())
        alive = {True: "alive", False: "dead", None: ""}[host["agents_alive"]]
        state = "cut: " + ",".join(host["cut"]) if host["cut"] else ("" if host["running"] else "off")
        text.append(f"  {host['name']:<6} {host['address']:<14} {alive:<6} {programs} {state}".rstrip())
    text.extend(f"  vm {vm['name']} on {vm['host']}: {vm['address']}" for vm in status["vms"])
    return text


def _state(lab: Lab, host: str, name: str) -> str:
    """running, frozen or absent."""
    handle = lab.host(host)
    found = faults.program(handle, name) if handle.running else []
    if not found:
        return "absent"
    return "frozen" if found[0].stopped else "running"


def _agents(url: str) -> dict[str, bool]:
    """Host -> whether all of its agents are alive; empty when the API does not answer."""
    try:
        with Client(url, timeout=_API_TIMEOUT) as client:
            agents = client.find("agent")
    except (HaqnError, OSError):
        return {}
    found: dict[str, bool] = {}
    for agent in agents:
        found[agent["host"]] = found.get(agent["host"], True) and bool(agent["alive"])
    return found
