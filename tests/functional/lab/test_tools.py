"""The instruments of the lab tell what happens: probes, captures, programs that are killed and frozen."""

import time

import pytest

from haqn.exceptions import HostError
from haqn.lab import faults
from haqn.lab.capture import Capture
from haqn.lab.cluster import Lab
from haqn.lab.command import run
from haqn.lab.probe import Probe
from haqn.lab.processes import wait_until

pytestmark = pytest.mark.functional


@pytest.fixture(autouse=True)
def _healed(lab: Lab) -> None:
    for name in ("net1", "net2"):
        faults.thaw(lab, name)


def test_a_probe_sees_how_long_a_host_was_away(lab: Lab) -> None:
    addresses = [lab.spec.host(name).address for name in ("net1", "net2")]

    with Probe(lab.host("ext"), addresses) as probe:
        time.sleep(0.5)
        faults.crash(lab, "net1")
        time.sleep(0.5)
        faults.thaw(lab, "net1")
        time.sleep(0.5)
        net1, net2 = probe.stop().targets

    assert net1.largest_gap_ms > 450
    assert 0 < net1.lost < net1.sent
    assert net1.answered
    # generous: the machine may be busy
    assert net2.largest_gap_ms < 400
    assert net2.lost == 0


def test_a_probe_runs_in_a_namespace_of_its_host(lab: Lab) -> None:
    lab.host("cmp1").run(["ip", "netns", "add", "lonely"])
    with Probe(lab.host("cmp1"), [lab.spec.host("net1").address], namespace="lonely") as probe:
        time.sleep(0.1)
        result = probe.stop()

    assert result.sent > 0
    assert not result.all_answered
    assert result.lost == result.sent


def test_a_probe_that_cannot_run_says_why(lab: Lab) -> None:
    with pytest.raises(HostError, match=r"cannot probe from net1: .*no-such-namespace"):
        Probe(lab.host("net1"), ["192.0.2.1"], namespace="no-such-namespace")


def test_a_capture_has_what_the_host_sends_and_not_what_it_receives(lab: Lab) -> None:
    net1, net2 = lab.host("net1"), lab.host("net2")
    own = net1.query("link", "show", "under")[0]["address"]
    with Capture(lab, "net1", "under") as capture:
        net2.run(["ping", "-n", "-c", "3", "-i", "0.1", lab.spec.host("net1").address])
        frames = capture.stop()

    assert len(frames) >= 3
    assert {frame.source for frame in frames} == {own}
    assert "ICMP echo reply" in capture.text()
    assert "ICMP echo request" not in capture.text()


def test_a_capture_looks_into_vxlan(lab: Lab) -> None:
    for host, peer in (("net1", "net2"), ("net2", "net1")):
        lab.host(host).ip(
            f"link add name vx type vxlan id 7 dstport 4789 remote {lab.spec.host(peer).address}"
            f" local {lab.spec.host(host).address}",
            f"link set vx address fa:16:3e:00:00:0{host[-1]} up",
            f"address add 192.168.7.{host[-1]}/24 dev vx",
        )
    with Capture(lab, "net1", "under") as capture:
        lab.host("net1").run(["ping", "-n", "-c", "1", "192.168.7.2"])
        frames = capture.stop()

    assert any(frame.inner and frame.inner[0] == "fa:16:3e:00:00:01" for frame in frames)


def test_a_program_is_paused_resumed_and_killed_with_its_children(lab: Lab) -> None:
    host = lab.host("net2")
    host.daemon("parent", ["/usr/bin/timeout", "600", "sleep", "600"])
    wait_until(lambda: len(host.daemon_processes("parent")) == 2, "start the program")

    faults.pause(host, "parent")
    assert [process.stopped for process in host.daemon_processes("parent")] == [True, True]
    faults.resume(host, "parent")
    assert [process.stopped for process in host.daemon_processes("parent")] == [False, False]
    faults.kill(host, "parent")
    assert host.processes() == []


def test_the_lab_is_found_again_by_another_process(lab: Lab) -> None:
    again = Lab(lab.name)

    assert again.is_up
    assert again.host("net1").holder == lab.host("net1").holder
    assert run(["nsenter", f"--target={again.host('net1').holder}", "--uts", "hostname"]).stdout == "net1\n"
