"""How redundant routers are, by what the leader knows."""

import pytest

from haqn.documents import SyncReport
from haqn.model import AgentType, agent_id
from haqn.monitor.readiness import find_absent, find_unready, withheld
from haqn.monitor.redundancy import redundancies
from haqn.scheduler.operations import Absent, Operation, OperationKind, OperationState, Step, Unready
from tests.unit.monitor.facts import agent_fact, facts, pair, report, reported, router

NET1, NET2 = (agent_id(AgentType.L3, host) for host in ("net1", "net2"))
HOSTS = ("net1", "net2")


def seen(alive, states, unready=(), *, ha=True, binding=70):
    """The redundancy of one router on net1 (designated) and net2; `states` as `net1 MASTER`."""
    here = facts(
        agents=[agent_fact(host) for host in HOSTS],
        routers=[router("r", ha=ha)],
        pairs=[pair(70, *HOSTS)],
        bindings={"r": binding} if binding is not None else {},
    )
    words = [one.split() for one in states]
    told = reported(alive=alive, pairs={(host, 70): report(70, state) for host, state in words})
    return redundancies(here, told, unready)["r"]


@pytest.mark.parametrize(
    ("alive", "states", "state", "reason", "last"),
    [
        (HOSTS, ["net1 MASTER", "net2 BACKUP"], "full", "", None),
        (HOSTS, ["net1 BACKUP", "net2 MASTER"], "full", "", None),
        (HOSTS, ["net1 MASTER", "net2 FAULT"], "degraded", "net2 reports FAULT", NET1),
        (HOSTS, ["net1 FAULT", "net2 MASTER"], "degraded", "net1 reports FAULT", NET2),
        (HOSTS, ["net1 MASTER"], "degraded", "net2 does not report", NET1),
        (HOSTS, ["net1 MASTER", "net2 MASTER"], "degraded", "both net1 and net2 report MASTER", None),
        (HOSTS, ["net1 BACKUP", "net2 BACKUP"], "degraded", "nobody reports MASTER", None),
        (HOSTS, ["net1 FAULT", "net2 FAULT"], "degraded", "nobody reports MASTER", None),
        (["net1"], ["net1 MASTER"], "none", "net2 is dead", NET1),
        (["net2"], ["net2 MASTER"], "none", "net1 is dead", NET2),
        ([], [], "none", "both net1 and net2 are dead", None),
    ],
)
def test_of_a_pair(alive, states, state, reason, last):
    found = seen(alive, states)
    assert (found.state, found.last_agent_id) == (state, last)
    assert reason in found.reason
    assert bool(found.reason) == (state != "full")


def test_of_a_router_that_a_member_has_not_built():
    states = ["net1 MASTER", "net2 BACKUP"]
    late = seen(HOSTS, states, [Unready(router_id="r", agent_id=NET2)])
    assert (late.state, late.reason, late.last_agent_id) == ("degraded", "net2 has not carried it out yet", NET1)
    broken = seen(HOSTS, states, [Unready(router_id="r", agent_id=NET2, error="no bridge")])
    assert "no bridge" in broken.reason
    assert seen(HOSTS, states, [Unready(router_id="other", agent_id=NET2)]).state == "full"


def test_without_a_standby():
    assert seen(HOSTS, [], binding=None)[:2] == ("none", "it is not placed")
    assert seen(HOSTS, [], binding="net1").last_agent_id == NET1
    assert "ha=false" in seen(HOSTS, [], binding="net1", ha=False).reason
    assert seen(["net2"], [], binding="net1").last_agent_id is None


def test_who_is_ready_by_generations_and_errors():
    here = facts(
        agents=[agent_fact(host) for host in HOSTS], routers=[router("r")], pairs=[pair(70, *HOSTS)], bindings={"r": 70}
    )

    def unready(syncs, generation=5, alive=HOSTS, unprojected=()):
        told = reported(alive=alive, syncs=syncs)
        return {(one.agent_id, one.error) for one in find_unready(here, told, lambda *_: generation, unprojected)}

    assert unready({"net1": 5, "net2": 5}) == set()
    assert unready({"net1": 5, "net2": 4}) == {(NET2, "")}
    assert unready({"net1": 5}) == {(NET2, "")}
    assert unready({"net1": 5}, alive=["net1"]) == set()
    assert unready({"net1": 9, "net2": 9}, generation=None) == {(NET1, ""), (NET2, "")}
    assert unready({"net1": 9, "net2": 9}, unprojected={"r"}) == {(NET1, ""), (NET2, "")}
    assert unready({"net1": 5, "net2": SyncReport(generation=5, errors={"r": "why"})}) == {(NET2, "why")}


def test_a_standby_is_withheld_until_it_is_gone_and_never_who_forwards():
    def placed(agent, carried_out=()):
        found = facts(
            agents=[agent_fact(host) for host in HOSTS],
            routers=[router("r")],
            pairs=[pair(70, *HOSTS)],
            bindings={"r": 70},
        )
        operation = Operation(
            id="op",
            kind=OperationKind.REBUILD,
            state=OperationState.RUNNING,
            steps=(Step(agent_id=agent, routers=("r",)),),
            carried_out=carried_out,
        )
        return type(found)(found.wanted, _with(found.placed, operation))

    calm = reported(alive=HOSTS, pairs={("net1", 70): report(70, "MASTER"), ("net2", 70): report(70, "BACKUP")})
    taken_over = reported(alive=HOSTS, pairs={("net2", 70): report(70, "MASTER")})
    assert withheld(placed(NET2), calm) == {("net2", "r")}
    assert withheld(placed(NET2, (0,)), calm) == set()
    assert withheld(placed(NET2), taken_over) == set()
    assert withheld(placed(NET1), calm) == set()

    def absent(generation, applied):
        told = reported(alive=HOSTS, syncs={"net2": applied})
        return find_absent(placed(NET2), told, lambda *_: generation, lambda _host: 7)

    assert absent(None, 7) == (Absent(router_id="r", agent_id=NET2),)
    assert absent(None, 6) == ()
    assert absent(5, 7) == ()


def _with(placed, operation):
    return type(placed)(
        agents=placed.agents,
        pairs=placed.pairs,
        bindings=placed.bindings,
        pins=placed.pins,
        next_pair_id=placed.next_pair_id,
        operations=(operation,),
    )
