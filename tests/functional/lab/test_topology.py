"""Hosts are hosts of their own, reach each other over the switch, and leave nothing behind."""

import json

import pytest

from haqn.exceptions import HostError
from haqn.lab import faults, wires
from haqn.lab.cluster import Lab, labs
from haqn.lab.command import run
from haqn.lab.host import Host, holders
from haqn.lab.processes import wait_until
from haqn.lab.spec import LabSpec, root_link
from haqn.lab.wires import Cut

pytestmark = pytest.mark.functional


@pytest.fixture(autouse=True)
def _healed(lab: Lab) -> None:
    for name in ("net1", "net2"):
        faults.thaw(lab, name)


def reaches(host: Host, address: str) -> bool:
    return host.run(["ping", "-n", "-q", "-c", "3", "-i", "0.1", "-W", "1", address], check=False).returncode == 0


def assert_reaches(host: Host, address: str) -> None:
    """Soon: what has been cut off keeps a failed neighbour entry for a moment."""
    wait_until(lambda: reaches(host, address), f"reach {address} from {host.name}")


def test_hosts_reach_each_other_and_the_machine_reaches_them(lab: Lab) -> None:
    net2 = lab.spec.host("net2").address

    assert_reaches(lab.host("net1"), net2)
    assert run(["ping", "-n", "-q", "-c", "1", net2]).returncode == 0


def test_a_host_has_run_and_state_directories_of_its_own(lab: Lab) -> None:
    for name in ("net1", "net2"):
        lab.host(name).run(["ip", "netns", "add", "same-name"])
        lab.host(name).run(["tee", "/var/lib/haqn/who", "/run/haqn/who"], text=name)

    for name in ("net1", "net2"):
        assert lab.host(name).run(["cat", "/var/lib/haqn/who", "/run/haqn/who"]).stdout == name * 2
        assert [link["ifname"] for link in lab.host(name).query("link", "show", namespace="same-name")] == ["lo"]
        lab.host(name).run(["ip", "netns", "delete", "same-name"])


def test_a_crashed_host_is_silent_and_frozen_until_it_is_healed(lab: Lab) -> None:
    net1, net2 = lab.host("net1"), lab.host("net2")
    address = lab.spec.host("net1").address
    net1.daemon("sleeper", ["sleep", "600"])
    wait_until(lambda: net1.daemon_processes("sleeper") != [], "start the sleeper")

    faults.crash(lab, "net1")

    assert not reaches(net2, address)
    assert [process.stopped for process in net1.processes()] == [True]
    assert wires.cuts(lab.switch) == {"net1": {"link", Cut.UPLINK}}

    faults.thaw(lab, "net1")

    assert_reaches(net2, address)
    assert [process.stopped for process in faults.program(net1, "sleeper")] == [False]
    assert wires.cuts(lab.switch) == {}
    faults.kill(net1, "sleeper")
    assert net1.processes() == []


def test_a_reboot_keeps_the_disk_and_the_addresses_and_nothing_else(lab: Lab) -> None:
    net1 = lab.host("net1")
    before = net1.query("link", "show", "under")[0]["address"]
    net1.run(["tee", "/var/lib/haqn/disk", "/run/haqn/memory"], text="x")
    net1.daemon("sleeper", ["sleep", "600"])
    faults.crash(lab, "net1")
    faults.cut(lab, "net1", Cut.MGMT)

    lab.rebuild_host("net1")

    assert net1.processes() == []
    assert net1.daemon_processes("sleeper") == []
    assert net1.query("link", "show", "under")[0]["address"] == before
    assert net1.run(["cat", "/var/lib/haqn/disk"]).stdout == "x"
    assert net1.run(["cat", "/run/haqn/memory"], check=False).returncode != 0
    assert wires.cuts(lab.switch) == {}
    assert_reaches(net1, lab.spec.host("net2").address)


def test_cuts_take_only_what_they_name(lab: Lab) -> None:
    net1, net2, control = (lab.spec.host(name).address for name in ("net1", "net2", "ctl1"))
    faults.cut(lab, "net1", Cut.MGMT)
    assert not reaches(lab.host("net1"), control)
    assert_reaches(lab.host("net1"), net2)

    faults.cut(lab, "net1", Cut.HA)
    faults.cut(lab, "net1", Cut.HA)
    assert wires.cuts(lab.switch) == {"net1": {Cut.HA, Cut.MGMT}}
    assert_reaches(lab.host("net2"), net1)

    faults.mend(lab, "net1")
    faults.cut(lab, "net1", Cut.UPLINK)
    assert_reaches(lab.host("net1"), control)
    uplink = json.loads(lab.host("net1").run(["ip", "-json", "link", "show", "uplink"]).stdout)[0]
    assert "NO-CARRIER" in uplink["flags"]


def test_two_labs_have_underlays_of_their_own_and_one_can_be_built_again() -> None:
    other = Lab("tother")
    try:
        other.build(LabSpec(hosts=1, computes=0))
        first = dict(holders("tother"))
        again = other.build(LabSpec(hosts=1, computes=0))

        assert set(holders("tother")) == {"switch", "ctl1", "net1", "ext"}
        assert not set(first.values()) & set(holders("tother").values())
        assert root_link("tother") in other.remains()
        assert reaches(other.host("net1"), again.external_gateway) is False  # the uplink has no address of its own
        assert_reaches(other.host("net1"), again.host("ext").address)
    finally:
        other.destroy(forget=True)
    assert holders("tother") == {}
    assert "tother" not in labs()
    assert other.remains() == []
    with pytest.raises(HostError, match="it is not up"):
        _ = other.spec


def test_a_program_that_is_not_there_is_named(lab: Lab) -> None:
    with pytest.raises(HostError, match="no program no-such-program"):
        lab.host("net1").daemon("x", ["no-such-program"])
