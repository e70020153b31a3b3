"""Events of etcd -> what agents say."""

from haqn.coordination import keys
from haqn.coordination.observed import Observed
from haqn.coordination.state import Changed, Deleted, Synced
from haqn.documents import SyncReport, encode
from haqn.model import AgentType, agent_id
from tests.unit.monitor.facts import heartbeat, item, report
from tests.watch import Watch


def syncs(observed):
    found = observed.look().syncs
    assert observed.sync("net1") == found.get("net1")
    return found


def pairs(observed):
    found = observed.look().pairs
    said = found.get(("net1", 65536))
    assert observed.pair("net1", 65536) == (said and said.report)
    return found


def beats(observed):
    found = observed.look().beats
    assert observed.living() == found.keys()
    assert observed.is_alive(agent_id(AgentType.L3, "net1")) == bool(found)
    return found


def test_a_heartbeat_comes_changes_and_goes():
    observed = Observed(Watch(50.0))
    key = keys.agent(AgentType.L3, "net1")
    first = item(key, encode(heartbeat("net1")), lease=7)
    observed.on_agents(Changed(first, None))
    (found,) = beats(observed).items()
    assert found[0] == agent_id(AgentType.L3, "net1")
    assert found[1].lease == 7
    observed.on_agents(Changed(item(key, b"nonsense", 2, lease=7), first))
    assert len(beats(observed)) == 1, "whatever it says, its lease exists"
    assert observed.look().ended == {}
    observed.on_agents(Deleted(first))
    assert beats(observed) == {}
    assert observed.look().ended == {agent_id(AgentType.L3, "net1"): 50.0}
    observed.on_agents(Changed(first, None))
    assert observed.look().ended == {}, "it lives again"


def test_the_age_of_a_report_is_that_of_what_it_says():
    clock = Watch(50.0)
    observed = Observed(clock)
    key = keys.observed_pair("net1", 65536)
    observed.on_reports(Changed(item(key, encode(report(65536, "BACKUP"))), None))
    clock.now = 60.0
    observed.on_reports(Changed(item(key, encode(report(65536, "BACKUP")), 2), None))
    assert pairs(observed)["net1", 65536].since == 50.0
    observed.on_reports(Changed(item(key, encode(report(65536, "MASTER")), 3), None))
    assert pairs(observed)["net1", 65536].since == 60.0
    observed.on_reports(Changed(item(key, b"nonsense", 4), None))
    assert pairs(observed) == {}
    observed.on_reports(Changed(item(key, encode(report(65536, "MASTER")), 5), None))
    observed.on_reports(Deleted(item(key, b"")))
    assert pairs(observed) == {}


def test_what_was_carried_out_before_a_reboot_is_forgotten_once_the_new_agent_registers():
    """The lease of the agent before may outlive it by seconds, and with it what it has said."""
    observed = Observed(Watch(50.0))
    beat, sync = keys.agent(AgentType.L3, "net1"), keys.observed_sync("net1")

    def register(revision, lease):
        observed.on_agents(Changed(item(beat, encode(heartbeat("net1")), revision, lease), None))

    def carry_out(revision, lease, generation):
        observed.on_reports(Changed(item(sync, encode(SyncReport(generation=generation)), revision, lease), None))

    register(revision=1, lease=7)
    carry_out(revision=2, lease=7, generation=5)
    assert syncs(observed)["net1"].generation == 5
    register(revision=3, lease=7)
    assert syncs(observed)["net1"].generation == 5, "a heartbeat that changes is no new agent"

    register(revision=4, lease=8)
    assert syncs(observed) == {}
    carry_out(revision=5, lease=8, generation=0)
    assert syncs(observed)["net1"].generation == 0


def test_a_report_that_overtakes_the_heartbeat_of_its_agent_counts():
    observed = Observed(Watch(50.0))
    beat, sync = keys.agent(AgentType.L3, "net1"), keys.observed_sync("net1")
    observed.on_agents(Changed(item(beat, encode(heartbeat("net1")), 1, lease=7), None))
    observed.on_reports(Changed(item(sync, encode(SyncReport(generation=6)), 5, lease=8), None))
    assert syncs(observed)["net1"].generation == 6
    observed.on_agents(Changed(item(beat, encode(heartbeat("net1")), 4, lease=8), None))
    assert syncs(observed)["net1"].generation == 6


def test_sync_reports_and_keys_of_a_newer_version():
    observed = Observed(Watch(50.0))
    observed.on_reports(Changed(item(keys.observed_sync("net1"), encode(SyncReport(generation=3))), None))
    observed.on_reports(Changed(item(keys.OBSERVED + "net1/weather", b"sun"), None))
    observed.on_reports(Changed(item(keys.OBSERVED + "net1/pairs/x", b"{}"), None))
    assert syncs(observed) == {"net1": SyncReport(generation=3)}
    version = observed.look().version
    observed.on_reports(Synced(5))
    assert observed.look().version == version
    observed.on_reports(Deleted(item(keys.observed_sync("net1"), b"")))
    assert syncs(observed) == {}
