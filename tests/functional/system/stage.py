"""One running cluster with one tenant, what a test may do to it, and how it is mended for the next test."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from haqn.agent import names
from haqn.coordination import keys
from haqn.documents import LeaderRecord
from haqn.exceptions import HostError
from haqn.lab import etcdctl, etcdusers, faults, kernel, leader, services
from haqn.lab.client import Client, Resource
from haqn.lab.cluster import Lab, labs
from haqn.lab.command import environment
from haqn.lab.host import Host
from haqn.lab.probe import ProbeResult, now_ms
from haqn.lab.processes import read
from haqn.lab.scenario import Scenario
from haqn.lab.scenery import wait_for
from haqn.lab.services import Service
from haqn.lab.spec import Kind, LabSpec

T = TypeVar("T")

#: seconds; a lease must outlast the restart of an agent on a machine that is busy
TTL = 7
#: of the gate's element in the kernel, [agent] gate_lease_ms
KERNEL_LEASE = 3.0
#: limits are generous here, in milliseconds: the machine may be busy, and the tight ones are those of the bench
CRASH_GAP = 2000.0
HANDOVER_GAP = 1000.0
CALM = 0.5
#: how long nothing must have come, so that nothing is on its way
_QUIET = 1.0
_LAB_NAME = re.compile(r"s(\d+)[a-z]?")


def lab_name(suffix: str = "") -> str:
    """A name that no other test run has, and that tells whether this one still runs."""
    return f"s{os.getpid()}{suffix}"


def sweep() -> None:
    """End the labs of test runs that were killed."""
    for name in labs():
        owner = _LAB_NAME.fullmatch(name)
        if owner and read(int(owner[1])) is None:
            Lab(name).destroy(forget=True)


@dataclass(frozen=True)
class Footprint:
    """What must not be made anew on a host: each thing by a number that a new one would not have."""

    namespaces: dict[str, str]
    links: dict[str, object]
    keepalived: list[int]
    configuration: list[str]


class Stage:
    """Three network hosts and one compute host; the tenant's VM pings through its router."""

    scenario: Scenario

    client: Client

    def __init__(self, name: str, spec: LabSpec) -> None:
        self.lab = Lab(name)
        self._spec = spec
        self.hosts = [host.name for host in spec.of_kind(Kind.NETWORK)]

    def build(self) -> None:
        self.lab.build(self._spec)
        services.start_all(self.lab)

    def close(self) -> None:
        self.lab.destroy(forget=True)

    def make_tenant(self, client: Client) -> None:
        self.client = client
        self.scenario = Scenario(self.lab, self.client)
        ports = client.find("port", device_id=self.router_id)
        self.taps = [names.tap(port["id"]) for port in ports]
        self.scenario.until_vm_reaches_out()
        self.scenario.route_to_tenant()

    def mend(self) -> None:
        """Undo whatever the test before has left, and wait until the tenant has an active and a standby host."""
        for host in self.lab.hosts():
            faults.thaw(self.lab, host.name)
        for service in services.services(self.lab.spec):
            if not faults.program(self.lab.host(service.host), service.name):
                services.start(self.lab, service)
        wait_for("the API answers", self.reachable)
        services.wait_for_agents(self.lab)
        wait_for("a monitor leads", self.is_led)
        wait_for("the tenant is redundant", lambda: self.at_rest() and self.roles_are_those_of_vrrp())

    def at_rest(self) -> bool:
        """The tenant's router has both members ready, and exactly the active one forwards."""
        return (
            self.scenario.is_redundant()
            and not etcdctl.unsettled(self.lab, self.hosts)
            and self.forwarders() == self._active_hosts()
        )

    def wait_until_quiet(self) -> None:
        """Until nothing is asked for of any host that it has not done, and for a moment nothing new comes."""

        def nothing_comes() -> bool:
            before = {host: self.revisions(host) for host in self.hosts}
            time.sleep(_QUIET)
            return before == {host: self.revisions(host) for host in self.hosts}

        wait_for("a monitor leads", self.is_led)
        wait_for(
            "nothing happens any more",
            lambda: self.at_rest() and self.roles_are_those_of_vrrp() and nothing_comes(),
        )

    def is_led(self) -> bool:
        """A monitor that runs leads, not one that ended and whose lease has not."""
        return leader.monitor_of(self.lab, self.leader) is not None

    def roles_are_those_of_vrrp(self) -> bool:
        """The leader knows which member of the tenant's pair forwards."""
        pair = etcdctl.pair_of(self.lab, self.router_id)
        return pair is not None and etcdctl.designated(self.lab, pair, self.hosts) == self._active_hosts()

    def _active_hosts(self) -> list[str]:
        """Those that the API calls active: for a moment there may be none, or two."""
        return sorted(host for host, state in self.scenario.states.items() if state == "active")

    def reachable(self) -> bool:
        """The API and etcd answer."""
        try:
            etcdctl.get(self.lab, keys.LEADER)
            return bool(self.client.find("network"))
        except (OSError, HostError):
            return False

    # -- who is who -----------------------------------------------------------------------

    @property
    def router_id(self) -> str:
        router_id: str = self.scenario.router["id"]
        return router_id

    @property
    def active(self) -> str:
        return self.scenario.active

    @property
    def standby(self) -> str:
        return self.scenario.standby

    @property
    def third(self) -> str:
        """The network host that has nothing of the tenant's router."""
        (third,) = set(self.hosts) - set(self.scenario.states)
        return third

    @property
    def pair(self) -> int:
        pair = etcdctl.pair_of(self.lab, self.router_id)
        assert pair is not None
        return pair

    @property
    def leader(self) -> LeaderRecord:
        """Who leads the monitors; epoch 0 of nobody while there is none."""
        return leader.record(self.lab)

    def leading_monitor(self) -> Service:
        """The monitor that leads."""
        record = self.leader
        found = leader.monitor_of(self.lab, record)
        assert found is not None, f"{record} is no monitor of this lab"
        return found

    # -- looks ----------------------------------------------------------------------------

    def host(self, name: str) -> Host:
        return self.lab.host(name)

    def services(self, *names: str) -> list[Service]:
        """Those whose name begins with one of the names."""
        return [service for service in services.services(self.lab.spec) if service.name.startswith(names)]

    def agent(self, host: str) -> Service:
        return Service(host, services.AGENT)

    def forwarders(self) -> list[str]:
        """The hosts that let frames of the tenant's router pass: the kernels' word."""
        return [name for name in self.hosts if kernel.passing(self.host(name), self.taps)]

    def footprint(self, name: str) -> Footprint:
        host = self.host(name)
        listing = host.run(["find", "-L", "/run/netns", "/run/haqn", "-printf", "%p %i %T@\n"]).stdout
        files = [line.split() for line in sorted(listing.splitlines())]
        return Footprint(
            namespaces={path: inode for path, inode, _ in files if path.startswith("/run/netns/qrouter-")},
            links={str(link["ifname"]): link["ifindex"] for link in host.query("link", "show")},
            keepalived=sorted(process.inner_pid for process in faults.program(host, faults.KEEPALIVED)),
            configuration=[" ".join(parts) for parts in files if parts[0].endswith("/keepalived.conf")],
        )

    def footprints(self) -> dict[str, Footprint]:
        return {name: self.footprint(name) for name in self.hosts}

    def reloads(self, name: str) -> int:
        """How often the host's keepalived has read its configuration again."""
        log = self.host(name).state_dir / "keepalived.log"
        return log.read_text().count("Reloading ...") if log.exists() else 0

    def devices_of(self, name: str, part: str) -> list[str]:
        """Links and namespaces of the host with `part` (of an id) in their names."""
        host = self.host(name)
        links = [str(link["ifname"]) for link in host.query("link", "show")]
        namespaces = host.run(["ip", "netns", "list"]).stdout.split()
        return [found for found in (*links, *namespaces) if part in found]

    def revisions(self, name: str) -> dict[str, int]:
        """Key -> revision of its last change, of all that the host is asked for."""
        return {entry.key: entry.revision for entry in etcdctl.get(self.lab, keys.desired(name))}

    def heartbeat_lease(self, host: str) -> int:
        """The lease of the host's L3 agent, 0 without one: another process has another."""
        return next((entry.lease for entry in etcdctl.get(self.lab, f"{etcdctl.AGENTS}L3 agent/{host}")), 0)

    @contextmanager
    def leases_kept(self, *hosts: str) -> Iterator[None]:
        """The leases that the hosts' agents have now live on meanwhile, whatever becomes of the agents.

        To the leader, which lives, an agent that returns meanwhile was away for less than its lease: what the promise
        is about, and what a busy machine cannot be trusted to make so.
        """
        leases = [f"{self.heartbeat_lease(host):x}" for host in hosts]
        assert "0" not in leases, f"an agent of {', '.join(hosts)} has no lease"
        with ExitStack() as stack:
            for lease in leases:
                stack.enter_context(self._kept_alive(lease))
            yield

    @contextmanager
    def _kept_alive(self, lease: str) -> Iterator[None]:
        keeper = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "etcdctl", "lease", "keep-alive", lease],
            env=environment() | etcdusers.for_etcdctl(self.lab.spec),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert keeper.stdout
        try:
            assert "keepalived" in keeper.stdout.readline()
            yield
            assert keeper.poll() is None, f"lease {lease} has ended"
        finally:
            keeper.kill()
            keeper.communicate()

    def delete_router(self, router_id: str) -> None:
        """Delete the router with its interfaces; their subnets stay."""
        for port in self.client.find("port", device_id=router_id):
            if port["device_owner"] != "network:router_gateway":
                body = {"port_id": port["id"]}
                self.client.request("PUT", f"/v2.0/routers/{router_id}/remove_router_interface", body)
        self.client.delete("router", router_id)

    def is_active(self, router: Resource) -> bool:
        """The API says that the router is there, on all of its agents."""
        return bool(self.client.show("router", router["id"])["status"] == "ACTIVE")


def lost_after(result: ProbeResult, moment: float) -> int:
    """Echoes that were sent after the moment (milliseconds of the probes' clock) and not answered."""
    return result.between(moment, now_ms()).lost


def time_of_loss(*results: ProbeResult) -> float:
    """Milliseconds from the sending of the first echo that was lost to that of the last one; 0 with none or one."""
    lost = [sent for one in results for target in one.targets for sent, received in target.echoes if received is None]
    return max(lost) - min(lost) if lost else 0.0


def watched(seconds: float, look: Callable[[], T]) -> list[T]:
    """What `look` answers, over and over, for so long."""
    end = time.monotonic() + seconds
    answers = [look()]
    while time.monotonic() < end:
        answers.append(look())
    return answers
