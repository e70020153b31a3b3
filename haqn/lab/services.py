"""The programs of a lab: etcd, the API, two monitors, and an agent on each network and compute host.

Each is started in its host's namespaces with the host's configuration file, and has its own log. The
programs are those installed next to the interpreter that runs the lab.
"""

from __future__ import annotations

import configparser
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from haqn.coordination import roles
from haqn.exceptions import HostError
from haqn.lab import etcdusers, faults, processes
from haqn.lab.client import ApiError, Client
from haqn.lab.cluster import Lab
from haqn.lab.host import Host
from haqn.lab.processes import wait_until
from haqn.lab.spec import API_PORT, ETCD_PORT, PHYSICAL_NETWORK, UPLINK, HostSpec, Kind, LabSpec

AGENT = "agent"
API = "api"
_ETCD = "etcd"
MONITOR = "monitor"
_MONITORS = 2
#: of the first monitor
METRICS_PORT = 9797
_ETCD_PEER_PORT = 2380
_READY_TIMEOUT = 60.0
_STOP_TIMEOUT = 15.0
_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Service:
    """A program that runs on a host. Its name is unique on its host only: there are many agents."""

    host: str
    name: str


def services(spec: LabSpec) -> list[Service]:
    """All of them, in the order in which they start."""
    control = [host.name for host in spec.of_kind(Kind.CONTROL)]
    return [
        *(Service(host, f"{_ETCD}{number}") for number, host in enumerate(control, 1)),
        Service(control[0], API),
        *(Service(control[number % len(control)], f"{MONITOR}{number + 1}") for number in range(_MONITORS)),
        *(Service(host.name, AGENT) for host in spec.of_kind(Kind.NETWORK, Kind.COMPUTE)),
    ]


def select(spec: LabSpec, words: list[str]) -> list[Service]:
    """What a person means by `net1 agent`, `net1 keepalived`, `api`, `monitor2`, or `etcd` (all of its members).

    ValueError, with what there is, if it means nothing.
    """
    known = services(spec)
    match words:
        case [name]:
            found = [service for service in known if service.host.startswith("ctl") and _is_called(service, name)]
        case [host, faults.KEEPALIVED] if any(one.name == host for one in spec.of_kind(Kind.NETWORK)):
            found = [Service(host, faults.KEEPALIVED)]
        case [host, name]:
            found = [service for service in known if service.host == host and _is_called(service, name)]
        case _:
            found = []
    if not found:
        names = sorted({f"{service.host} {service.name}" for service in known})
        raise ValueError(f"cannot find {' '.join(words)}; there are: {', '.join(names)}, and keepalived on net hosts")
    return found


def start_all(lab: Lab, progress: Callable[[str], None] = lambda _: None) -> None:
    """Start everything on a lab that was built, and wait until every agent is alive."""
    spec = lab.spec
    for host_spec in spec.host_specs():
        _write_configuration(lab, host_spec)
    everything = services(spec)
    progress(f"etcd, {spec.etcd} member{'s' if spec.etcd > 1 else ''}")
    for service in everything:
        if service.name.startswith(_ETCD):
            start(lab, service)
    for endpoint in spec.etcd_endpoints:
        _wait_for_http(f"http://{endpoint}/health", "etcd")
    if spec.etcd_auth:
        etcdusers.require(spec)
    progress("database, API, monitors")
    manage(lab, "db", "upgrade")
    for service in everything:
        if service.name == API or service.name.startswith(MONITOR):
            start(lab, service)
    _wait_for_http(spec.api_url, "the API")
    progress(f"agents on {spec.hosts + spec.computes} hosts")
    for service in everything:
        if service.name == AGENT:
            start(lab, service)
    wait_for_agents(lab)


def manage(lab: Lab, *arguments: str) -> str:
    """Run haqn-manage on the first control host; what it prints."""
    control = lab.host(lab.spec.of_kind(Kind.CONTROL)[0].name)
    return control.run([*_program("manage"), *_configuration(control), *arguments]).stdout


def start(lab: Lab, service: Service) -> None:
    """Start one program; a keepalived is started by its agent, and not here."""
    host = lab.host(service.host)
    if service.name == faults.KEEPALIVED:
        raise ValueError("cannot start keepalived: its agent does that")
    host.daemon(service.name, _command(lab.spec, host, service))


def stop(lab: Lab, service: Service) -> None:
    """Ask the program to end (SIGTERM), and wait until it has."""
    host = lab.host(service.host)
    running = faults.program(host, service.name)
    processes.send(running[:1], signal.SIGTERM)
    wait_until(
        lambda: not any(processes.read(process.pid) for process in running),
        f"stop {service.name} on {service.host}",
        _STOP_TIMEOUT,
    )


def restart(lab: Lab, service: Service) -> None:
    """Stop it if it runs, then start it."""
    stop(lab, service)
    if service.name != faults.KEEPALIVED:
        start(lab, service)


def reboot(lab: Lab, host: str) -> None:
    """Power the host off and on: nothing survives but its disk; what starts at boot is started."""
    lab.rebuild_host(host)
    for service in services(lab.spec):
        if service.host == host:
            start(lab, service)


def wait_for_agents(lab: Lab, timeout: float = _READY_TIMEOUT) -> None:
    """Until the API says that every agent of the lab is alive; HostError names those that are not."""
    spec = lab.spec
    expected = {host.name for host in spec.of_kind(Kind.NETWORK, Kind.COMPUTE)}
    deadline = time.monotonic() + timeout
    while True:
        missing = expected - _hosts_alive(spec.api_url)
        if not missing:
            return
        if time.monotonic() > deadline:
            raise HostError(
                f"cannot see the agents of {', '.join(sorted(missing))} after {timeout:g} s;"
                f" their logs are below {lab.work_dir / 'hosts'}"
            )
        time.sleep(_POLL)


def _hosts_alive(url: str) -> set[str]:
    """Hosts whose agents the API calls alive; none while it does not answer."""
    try:
        with Client(url) as client:
            return {agent["host"] for agent in client.find("agent") if agent["alive"]}
    except (ApiError, OSError):
        return set()


def _is_called(service: Service, name: str) -> bool:
    return service.name == name or service.name.rstrip("0123456789") == name


def _program(name: str) -> list[str]:
    path = Path(sys.executable).parent / f"haqn-{name}"
    if not path.exists():
        raise HostError(f"cannot find {path}: the lab runs what is installed next to {sys.executable}")
    return [str(path)]


def _command(spec: LabSpec, host: Host, service: Service) -> list[str]:
    if service.name.startswith(_ETCD):
        return _etcd_command(spec, host)
    own = [f"{name}={value}" for name, value in _own_options(spec, service).items()]
    return [*(["env", *own] if own else []), *_program(service.name.rstrip("0123456789")), *_configuration(host)]


def _own_options(spec: LabSpec, service: Service) -> dict[str, object]:
    """What programs that share a host, and its configuration file, must not share."""
    if service.name == API:
        return {f"OS_ETCD__{name.upper()}": value for name, value in etcdusers.options(spec, roles.API).items()}
    number = service.name.removeprefix(MONITOR)
    return {"OS_MONITOR__METRICS_PORT": METRICS_PORT - 1 + int(number)} if number.isdecimal() else {}


def _etcd_command(spec: LabSpec, host: Host) -> list[str]:
    """A member of the cluster on this host. Debian's etcd is 3.4: pre-vote and compaction are off by default there."""
    address = spec.host(host.name).address
    members = ",".join(f"{one.name}=http://{one.address}:{_ETCD_PEER_PORT}" for one in spec.of_kind(Kind.CONTROL))
    return [
        "etcd",
        f"--name={host.name}",
        f"--data-dir={host.directory / 'etcd'}",
        f"--listen-client-urls=http://{address}:{ETCD_PORT},http://127.0.0.1:{ETCD_PORT}",
        f"--advertise-client-urls=http://{address}:{ETCD_PORT}",
        f"--listen-peer-urls=http://{address}:{_ETCD_PEER_PORT}",
        f"--initial-advertise-peer-urls=http://{address}:{_ETCD_PEER_PORT}",
        f"--initial-cluster={members}",
        f"--initial-cluster-token={spec.name}",
        "--initial-cluster-state=new",
        "--pre-vote",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1h",
        "--logger=zap",
        "--log-level=warn",
    ]


def _configuration(host: Host) -> list[str]:
    return ["--config-file", str(host.directory / "haqn.conf")]


def _write_configuration(lab: Lab, host_spec: HostSpec) -> None:
    """One file for all of haqn's programs on the host; each reads its own sections."""
    spec, name = lab.spec, host_spec.name
    sections: dict[str, dict[str, object]] = {
        "DEFAULT": {"host": name, "state_path": "/var/lib/haqn", "run_path": "/run/haqn"},
        "database": {"connection": f"sqlite:///{lab.work_dir / 'haqn.sqlite'}"},
        "etcd": {
            "endpoints": ",".join(spec.etcd_endpoints),
            "lease_ttl": spec.lease_ttl,
            **etcdusers.options(spec, roles.MONITOR if host_spec.kind is Kind.CONTROL else roles.agent_role(name)),
        },
        # nothing but the lab's own hosts and this machine reaches its addresses
        "api": {
            "bind_host": host_spec.address,
            "bind_port": API_PORT,
            "auth_strategy": "noauth",
            "allow_noauth_anywhere": True,
            "project_rate": 0,
            "address_rate": 0,
        },
        "monitor": {"advert_interval_ms": spec.advert_ms},
        "agent": {
            "roles": "l3" if host_spec.kind is Kind.NETWORK else "bridge",
            "ha_address": host_spec.address,
            "physical_networks": f"{PHYSICAL_NETWORK}:{UPLINK}",
            "uplink_targets": f"{PHYSICAL_NETWORK}:{spec.external_gateway}",
            "uplink_probe_interval": 0.5,
            # what somebody breaks by hand is to be mended before he is bored
            "audit_interval": 5,
        },
    }
    parser = configparser.ConfigParser()
    parser.read_dict(sections)
    with (lab.host(name).directory / "haqn.conf").open("w") as file:
        parser.write(file)


def _wait_for_http(url: str, what: str) -> None:
    """Until something answers, whatever it says below an error of the server."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers() -> bool:
        try:
            with opener.open(url, timeout=2.0):
                return True
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False

    wait_until(answers, f"reach {what} at {url}", _READY_TIMEOUT)
