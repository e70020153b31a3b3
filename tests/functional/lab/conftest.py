from collections.abc import Iterator

import pytest

from haqn.lab import faults, services
from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.scenario import Scenario
from haqn.lab.scenery import wait_for
from haqn.lab.spec import LabSpec
from tests.functional.system.stage import lab_name, sweep


@pytest.fixture(scope="package", autouse=True)
def _swept() -> None:
    sweep()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Hosts and wires with nothing running in them, under a name that no other test run has."""
    lab = Lab(lab_name("t"))
    try:
        lab.build(LabSpec(hosts=2, computes=1))
        yield lab
    finally:
        lab.destroy(forget=True)


@pytest.fixture(scope="package")
def running() -> Iterator[Scenario]:
    """A whole cluster with a tenant on it. Tests take it as `scenario`, which is whole again each time."""
    lab = Lab(lab_name("c"))
    try:
        lab.build(LabSpec(hosts=3, computes=1, lease_ttl=5))
        services.start_all(lab)
        with Client(lab.spec.api_url) as client:
            scenario = Scenario(lab, client)
            scenario.until_vm_reaches_out()
            scenario.route_to_tenant()
            yield scenario
    finally:
        lab.destroy(forget=True)


@pytest.fixture
def scenario(running: Scenario) -> Iterator[Scenario]:
    make_whole(running)
    yield running
    for host in running.lab.hosts():
        faults.thaw(running.lab, host.name)


def make_whole(scenario: Scenario) -> None:
    """Everything runs, every agent is alive, and the tenant's router has a standby that is ready."""
    lab = scenario.lab
    for host in lab.hosts():
        faults.thaw(lab, host.name)
    for service in services.services(lab.spec):
        services.start(lab, service)
    services.wait_for_agents(lab)
    wait_for("the router has a standby", scenario.is_redundant)
    scenario.scenery.until_answered_outside(scenario.inbound)
