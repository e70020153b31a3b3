"""What the leader says to a pair of which both members forward, or none; and what it calls wrong."""

from dataclasses import replace

import pytest

from haqn.coordination.observed import Report
from haqn.documents import PairReport
from haqn.model import AgentType, Role, VrrpState, agent_id
from haqn.monitor.actives import ASK_AFTER, YIELD_AFTER, Half, Kind, Word, conditions, word, words
from haqn.monitor.projection import Projector
from tests.unit.monitor.facts import agent_fact, facts, pair, reported

EPOCH = 3
MASTER = PairReport(
    pair_id=65536, state=VrrpState.MASTER, since="10:00", sequence=4, role=Role.ACTIVE, epoch=EPOCH, gate_open=True
)
#: the designated BACKUP took over at 11:00, because it heard nothing
OTHER = replace(MASTER, since="11:00", role=Role.BACKUP)
ANSWERED = replace(MASTER, peer_master="11:00")
SHUT = replace(ANSWERED, gate_open=False)
BACKUP = replace(OTHER, state=VrrpState.BACKUP, gate_open=False)
FAULT = replace(OTHER, state=VrrpState.FAULT, gate_open=False)
YIELDS = replace(FAULT, since="12:00", yielding=True)
DEAD, LONG = False, 100.0


def half(report, *, alive=True, age=LONG):
    return Half(alive, report, age)


@pytest.mark.parametrize(
    ("active", "backup", "said"),
    [
        # an ordinary handover, seen from afar: both report MASTER for a moment
        (half(MASTER), half(OTHER, age=0.125), Word(recheck_in=ASK_AFTER - 0.125)),
        # it lasts: has the ACTIVE crashed, or does nobody hear it? Until it answers nothing may be done
        (half(MASTER), half(OTHER, age=0.5), Word("", "11:00", YIELD_AFTER - 0.5)),
        (half(MASTER), half(OTHER), Word("", "11:00")),
        # an answer about an earlier time is none
        (half(replace(MASTER, peer_master="09:00")), half(OTHER), Word("", "11:00")),
        (half(ANSWERED), half(OTHER, age=0.5), Word("", "11:00", YIELD_AFTER - 0.5)),
        (half(ANSWERED), half(OTHER), Word("11:00", "11:00")),
        (half(ANSWERED, age=0.5), half(OTHER), Word("", "11:00", YIELD_AFTER - 0.5)),
        # the ACTIVE does not forward, or is dead, or nobody says so any more
        (half(SHUT), half(OTHER), Word()),
        (half(ANSWERED, alive=DEAD), half(OTHER), Word()),
        (half(None), half(OTHER), Word()),
        (half(replace(MASTER, state=VrrpState.FAULT)), half(OTHER), Word()),
        (half(ANSWERED), half(replace(OTHER, gate_open=False)), Word()),
        (half(ANSWERED), half(OTHER, alive=DEAD), Word()),
        (half(ANSWERED), half(None), Word()),
        # roles are on their way
        (half(replace(ANSWERED, epoch=2)), half(OTHER), Word()),
        (half(ANSWERED), half(replace(OTHER, epoch=2)), Word()),
        # the planner is about to change them
        (half(replace(ANSWERED, dead_uplinks=("x",))), half(OTHER), Word()),
        (
            half(replace(ANSWERED, dead_uplinks=("x",))),
            half(replace(OTHER, dead_uplinks=("y",))),
            Word("11:00", "11:00"),
        ),
        # well
        (half(MASTER), half(BACKUP), Word()),
        (half(MASTER), half(FAULT), Word()),
        # it yields, and goes on for as long as the ACTIVE forwards; no answer is needed for that
        (half(MASTER), half(YIELDS), Word("12:00")),
        (half(replace(MASTER, epoch=2)), half(YIELDS), Word("12:00")),
        (half(SHUT), half(YIELDS), Word()),
        (half(replace(MASTER, state=VrrpState.BACKUP)), half(YIELDS), Word()),
        (half(MASTER, alive=DEAD), half(YIELDS), Word()),
        (half(None), half(YIELDS), Word()),
    ],
)
def test_word(active, backup, said):
    assert word(active, backup, EPOCH, deaths_believed=True) == said


@pytest.mark.parametrize(
    ("active", "yields"),
    [
        (half(MASTER), True),
        # etcd is being filled again, or this leader has only just begun to look
        (half(None), True),
        (half(MASTER, alive=DEAD), True),
        # what is said counts at once
        (half(SHUT), False),
        (half(replace(MASTER, state=VrrpState.FAULT)), False),
    ],
)
def test_absence_ends_nothing_while_deaths_are_not_believed(active, yields):
    assert bool(word(active, half(YIELDS), EPOCH, deaths_believed=False).yields) is yields


AGENTS = [agent_fact("net1"), agent_fact("net2")]
NET1, NET2 = (agent_id(AgentType.L3, host) for host in ("net1", "net2"))


def cluster(**fields):
    return facts(
        **{"agents": AGENTS, "pairs": [pair(65536, "net1", "net2", epoch=EPOCH)], "bindings": {"r1": 65536}, **fields}
    )


def said(first, second, alive=("net1", "net2")):
    made = reported(alive=alive)
    found = {("net1", 65536): Report(first, 1.0), ("net2", 65536): Report(second, 2.0)}
    return replace(made, pairs={place: one for place, one in found.items() if one.report is not None})


def test_each_member_is_told_its_part():
    chosen = words(cluster(), said(ANSWERED, OTHER), now=2.5, deaths_believed=True)
    assert chosen.by_pair == {65536: Word("", "11:00")}
    assert chosen.recheck_in == YIELD_AFTER - 0.5
    chosen = words(cluster(), said(ANSWERED, OTHER), now=9.0, deaths_believed=True)
    projection = Projector(advert_interval_ms=100).project(cluster(), (), (), chosen.by_pair)
    documents = [projection[host]["pairs", "65536"].document for host in ("net1", "net2")]
    assert [(one.yields, one.peer_master) for one in documents] == [("", "11:00"), ("11:00", "")]
    assert words(cluster(), said(MASTER, BACKUP), now=9.0, deaths_believed=True).by_pair == {}


@pytest.mark.parametrize(
    ("first", "second", "alive", "expected"),
    [
        (MASTER, BACKUP, ["net1", "net2"], {}),
        (BACKUP, OTHER, ["net1", "net2"], {}),
        (MASTER, YIELDS, ["net1", "net2"], {}),
        (MASTER, OTHER, ["net1", "net2"], {}),
        (MASTER, None, ["net1", "net2"], {}),
        (ANSWERED, OTHER, ["net1", "net2"], {Kind.TWO_ACTIVES: ("net1 and net2 do not hear each other", 2.0)}),
        (ANSWERED, OTHER, ["net2"], {}),
        (MASTER, BACKUP, ["net2"], {Kind.NO_ACTIVE: ("net1 is dead, net2 reports BACKUP", None)}),
        (None, FAULT, ["net1", "net2"], {Kind.NO_ACTIVE: ("net1 does not report, net2 reports FAULT", None)}),
        (SHUT, YIELDS, ["net1", "net2"], {Kind.NO_ACTIVE: ("its gate is shut, net2 yields", 2.0)}),
        (BACKUP, BACKUP, [], {Kind.NO_ACTIVE: ("net1 is dead, net2 is dead", None)}),
    ],
)
def test_conditions(first, second, alive, expected):
    found = conditions(cluster(), said(first, second, alive))
    assert {kind for kind, _ in found} == set(expected)
    for (kind, pair_id), condition in found.items():
        assert pair_id == 65536
        assert expected[kind][0] in condition.cause
        assert condition.since == expected[kind][1]


def test_a_pair_that_nothing_rides_on_may_have_no_active():
    assert conditions(cluster(bindings={}), said(BACKUP, BACKUP)) == {}
