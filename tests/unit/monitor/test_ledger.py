"""What the leader sees of VRRP, told as events."""

import datetime
from dataclasses import replace

from haqn.coordination.observed import Report
from haqn.db.ledger import Cause, EventKind, OpenEvent
from haqn.db.snapshot import Facts
from haqn.model import AgentType, agent_id
from haqn.monitor.ledger import NO_ACTIVE_AFTER, Ledger
from tests.unit.monitor.facts import agent_fact, facts, pair, report, reported, router

NET1, NET2 = (agent_id(AgentType.L3, host) for host in ("net1", "net2"))
HOSTS = ("net1", "net2")
UTC = datetime.datetime(2026, 1, 2, 3, 4, 5)


class Watched:
    """One pair with one router; each look is one second after the last."""

    def __init__(self, masters=None, going_on=()):
        self.ledger = Ledger({70: NET1} if masters is None else masters, going_on, advert_interval_ms=100)
        self.now = 100.0
        self.events = []
        self.ends = []
        self.designated = HOSTS
        self.agents = {}
        self.bindings = {"r": 70}

    def look(self, alive, **states):
        """`net1="MASTER"`, or `("MASTER", since)`, or a report."""
        self.now += 1
        placed = facts(
            agents=[replace(agent_fact(host), **self.agents.get(host, {})) for host in HOSTS],
            routers=[router("r")],
            pairs=[pair(70, *self.designated)],
            bindings=self.bindings,
        )
        told = reported(alive=alive.split())
        pairs = {}
        for host, said in states.items():
            state, since = said if isinstance(said, tuple) else (said, self.now)
            given = replace(report(70, state), since="then") if isinstance(state, str) else state
            pairs[host, 70] = Report(given, since)
        told = replace(told, pairs=pairs)
        utc = UTC + datetime.timedelta(seconds=self.now)
        found = self.ledger.look(Facts(placed.wanted, placed.placed), told, self.now, utc)
        self.ledger.accept(found, list(range(len(self.events) + 1, len(self.events) + len(found.begun) + 1)))
        self.events += found.begun
        self.ends += found.ended
        return found


def test_a_crash_is_one_transition_that_began_when_the_peer_was_master():
    watched = Watched()
    watched.look("net1 net2", net1="MASTER", net2="BACKUP")
    # the dead host seems to be MASTER until its lease ends
    rose = watched.now + 1
    for _ in range(3):
        watched.look("net1 net2", net1=("MASTER", 50.0), net2=("MASTER", rose))
    assert watched.events == []
    watched.look("net2", net2=("MASTER", rose))
    (event,) = watched.events
    assert (event.kind, event.cause) == (EventKind.TRANSITION, Cause.LEASE_LOST)
    assert (event.from_agent_id, event.to_agent_id, event.routers) == (NET1, NET2, ("r",))
    assert event.started_at == UTC + datetime.timedelta(seconds=rose)
    assert (event.duration_ms, event.outage_ms) == (3000, 320)
    watched.look("net2", net2=("MASTER", rose))
    assert len(watched.events) == 1


def test_what_was_designated_before_costs_nothing_and_has_its_own_cause():
    for agents, cause in (({}, Cause.SWITCHOVER), ({"net1": {"draining": True}}, Cause.DRAIN)):
        watched = Watched()
        watched.agents = agents
        watched.designated = HOSTS[::-1]
        watched.look("net1 net2", net1="BACKUP", net2="MASTER")
        (event,) = watched.events
        assert (event.cause, event.outage_ms) == (cause, 0)


def test_what_rode_on_the_pair_when_its_new_master_rose_was_moved_wherever_it_is_bound_by_now():
    """The leader takes routers off a pair as soon as the member that goes on is MASTER: the one that is drained, or is
    dead, may be known not to be MASTER any more only after that."""
    for agents, last_look, cause in (
        ({"net1": {"draining": True}}, {"alive": "net1 net2", "net1": "BACKUP"}, Cause.DRAIN),
        ({}, {"alive": "net2"}, Cause.LEASE_LOST),
    ):
        watched = Watched()
        watched.agents = agents
        watched.look("net1 net2", net1="MASTER", net2="BACKUP")
        watched.designated = HOSTS[::-1]
        watched.look("net1 net2", net1="MASTER", net2="MASTER")
        assert watched.events == []
        watched.bindings = {}
        watched.look(**last_look, net2="MASTER")
        (event,) = watched.events
        assert (event.kind, event.cause, event.routers) == (EventKind.TRANSITION, cause, ("r",))


def test_a_pair_that_nothing_rides_on_is_no_event():
    watched = Watched()
    watched.bindings = {}
    watched.look("net1 net2", net1="MASTER", net2="BACKUP")
    watched.look("net1 net2", net1="BACKUP", net2="MASTER")
    assert watched.events == []


def test_vrrp_alone_an_uplink_and_one_of_two_that_yields():
    dead_uplink = replace(report(70, "BACKUP"), dead_uplinks=("eth1",))
    yields = replace(report(70, "FAULT"), yielding=True)
    for said, cause in (("BACKUP", Cause.VRRP), (dead_uplink, Cause.UPLINK), (yields, Cause.TWO_ACTIVES)):
        watched = Watched()
        watched.look("net1 net2", net1=(said, watched.now), net2="MASTER")
        (event,) = watched.events
        assert event.cause is cause
        assert (event.outage_ms == 0) == (cause is Cause.TWO_ACTIVES)


def test_a_leader_that_begins_learns_who_forwards_without_an_event():
    watched = Watched(masters={})
    found = watched.look("net1 net2", net1="MASTER", net2="BACKUP")
    assert found.masters == {70: NET1}
    assert watched.events == []


def test_nobody_forwards_for_longer_than_a_handover():
    watched = Watched()
    watched.look("net1 net2", net1="MASTER", net2="BACKUP")
    watched.look("net1 net2", net1=("FAULT", watched.now + 1), net2=("FAULT", watched.now + 1))
    assert watched.events == []
    assert watched.ledger.due() == watched.now + NO_ACTIVE_AFTER
    began = watched.now
    watched.look("net1 net2", net1=("FAULT", began), net2=("FAULT", began))
    (event,) = watched.events
    assert (event.kind, event.started_at) == (EventKind.NO_ACTIVE, UTC + datetime.timedelta(seconds=began))
    assert watched.ledger.due() is None
    watched.look("net1 net2", net1="FAULT", net2="MASTER")
    (end,) = watched.ends
    assert (end.duration_ms, end.outage_ms) == (2000, 2000)
    # the outage is that of the event before
    assert [event.outage_ms for event in watched.events[1:]] == [0]


def test_an_agent_that_restarts_is_no_outage_while_its_peer_hears_it():
    watched = Watched()
    for _ in range(4):
        watched.look("net2", net2=("BACKUP", 50.0))
    assert watched.events == []


def test_two_actives_begin_and_end():
    watched = Watched()
    active = replace(report(70, "MASTER"), peer_master="then")
    backup = replace(report(70, "MASTER"), since="then")
    for _ in range(2):
        watched.look("net1 net2", net1=(active, 50.0), net2=(backup, 101.0))
    assert [event.kind for event in watched.events] == [EventKind.TWO_ACTIVES]
    yields = replace(report(70, "FAULT"), yielding=True)
    watched.look("net1 net2", net1=(active, 50.0), net2=(yields, watched.now))
    (end,) = watched.ends
    assert (end.duration_ms, end.outage_ms) == (2000, 0)
    assert len(watched.events) == 1


def test_what_another_leader_began_is_ended():
    open_event = OpenEvent(
        number=9,
        kind=EventKind.NO_ACTIVE,
        pair_id=70,
        from_agent_id=NET1,
        started_at=UTC + datetime.timedelta(seconds=91),
    )
    watched = Watched(going_on=[open_event])
    watched.look("net1 net2", net1="MASTER", net2="BACKUP")
    (end,) = watched.ends
    assert (end.number, end.duration_ms) == (9, 10_000)
