"""The pair protocol as a small machine: two members, what is under way between them and the leader, what can fail.

keepalived, the kernel and the network are modelled. What haqn decides is decided by haqn's own functions: priorities
(scheduler.priorities), role levels and yielding (failover.levels, agent.pairs), the plan, settled pairs and the words
to a pair (scheduler, monitor). Nothing is timed but this: VRRP has done what it does before a second has passed
(`tick`). Everything else may come as late as it likes, or never; etcd gives what was written last.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from haqn.agent.pairs import role_level, way_of_yielding
from haqn.coordination.observed import Beat, Report, Reported
from haqn.documents import PairDocument, PairReport
from haqn.failover.levels import NO, RETURNING_FOR, level_after, yield_after
from haqn.model import AgentType, Role, VrrpState, agent_id
from haqn.monitor.actives import words
from haqn.monitor.assemble import make_view, settled_pairs
from haqn.scheduler import priorities
from haqn.scheduler.planner import plan
from haqn.scheduler.view import Designate, Policy
from tests.unit.monitor import facts as build

PAIR = 65536
HOSTS = ("net1", "net2")
IDS = tuple(agent_id(AgentType.L3, host) for host in HOSTS)
#: the present epoch of the pair; others are counted from it, so that equal situations are equal states
NOW = 50
MASTER, BACKUP, FAULT = "MASTER", "BACKUP", "FAULT"
TICK, REPORTS = "tick", "reports"
_OF_VRRP = ("goes to FAULT", "leaves FAULT", "becomes MASTER", "gives way")
_POLICY = Policy(max_dead_fraction=1.0)
_LONG = 1000.0


class Doc(NamedTuple):
    """PairDocument, as far as it differs."""

    role: Role
    epoch: int
    settled: bool
    yields: int
    question: int


class Said(NamedTuple):
    """PairReport, and for how long the leader has known it (`aged`: a second and more)."""

    state: str
    since: int
    epoch: int
    gate_open: bool
    yielding: bool
    answer: int
    level: int
    dead: int
    aged: bool


class Member(NamedTuple):
    """`since`, like every moment here, is a number that only has to be another one for another moment; 0 is none."""

    up: bool = True
    #: what keepalived is; None: it does not run
    vrrp: str | None = BACKUP
    #: what the failover program has noted last, and the gate
    observed: str | None = BACKUP
    since: int = 1
    gate: bool = False
    level: int | None = 0
    way: int = NO
    #: a FAULT that yielding has left behind
    released: bool = False
    carried: int = NOW
    dead: int = 0
    #: the agent runs and reaches etcd
    connected: bool = True
    held: Doc | None = None
    #: the question that keepalived has been alive after
    answer: int = 0
    #: rebooted, and not told anything newer since
    returned: bool = False
    # in etcd
    lease: bool = True
    document: Doc | None = None
    said: Said | None = None


class State(NamedTuple):
    members: tuple[Member, Member]
    #: whose adverts its peer hears
    heard: tuple[bool, bool] = (True, True)
    #: the designated ACTIVE
    active: int = 0
    #: the leader believes that a missing lease is a death
    believes: bool = True
    faults: int = 0


def start() -> State:
    """At rest: member 0 forwards, and everybody knows."""
    documents = [Doc(role, NOW, True, 0, 0) for role in (Role.ACTIVE, Role.BACKUP)]
    states = (MASTER, BACKUP)
    members = [
        Member(vrrp=state, observed=state, gate=state == MASTER, level=int(state == MASTER), held=doc, document=doc)
        for state, doc in zip(states, documents, strict=True)
    ]
    first, second = (one._replace(said=_report(one)._replace(aged=True)) for one in members)
    return State((first, second))


# -- steps -------------------------------------------------------------------------------


def vrrp_steps(state: State) -> Iterator[tuple[str, State]]:
    """What keepalived does with the failover program, within a second."""
    for index in (0, 1):
        me, peer = state.members[index], state.members[1 - index]
        if not me.up or me.vrrp is None:
            continue
        hears_master = peer.up and peer.vrrp == MASTER and state.heard[1 - index]
        if me.way != NO:
            if me.vrrp != FAULT:
                yield f"{index} goes to FAULT", _moved(state, index, FAULT)
        elif me.vrrp == FAULT:
            yield f"{index} leaves FAULT", _moved(state, index, BACKUP)
        elif me.vrrp == BACKUP:
            if not hears_master or _priority(me) > _priority(peer):
                yield f"{index} becomes MASTER", _moved(state, index, MASTER)
        elif hears_master and (_priority(me), index) < (_priority(peer), 1 - index):
            yield f"{index} gives way", _moved(state, index, BACKUP)


def steps(state: State) -> Iterator[tuple[str, State]]:
    """Everything that happens by itself, in any order."""
    moving = list(vrrp_steps(state))
    yield from moving
    for index in (0, 1):
        yield from _member_steps(state, index)
    yield from _leader_steps(state, calm=not moving)


def without_late(events: list[str]) -> set[str]:
    """Those of a state's steps that do not come before one that is quicker: others may, but not for ever.

    VRRP is quicker than everything else, and a report than a second.
    """
    moving = {event for event in events if event.endswith(_OF_VRRP)}
    if moving:
        return moving
    return set(events) - ({TICK} if any(event.endswith(REPORTS) for event in events) else set())


def _member_steps(state: State, index: int) -> Iterator[tuple[str, State]]:
    me, peer = state.members[index], state.members[1 - index]
    if me.lease and not (me.up and me.connected):
        yield f"lease of {index} ends", _with(state, index, lease=False, said=None)
    if not me.up:
        return
    if me.vrrp is None and me.gate:
        yield f"kernel shuts the gate of {index}", _with(state, index, gate=False)
    if me.way != NO and me.vrrp is not None:
        heard = peer.up and peer.vrrp == MASTER and state.heard[1 - index]
        after = yield_after(me.way, is_master=me.observed == MASTER, heard=heard, seconds=RETURNING_FOR)
        if after == NO:
            yield f"{index} yields no longer", _with(state, index, way=after, released=me.vrrp == FAULT)
    if not me.connected:
        return
    if me.document is not None and (me.document != me.held or me.vrrp is None or not me.lease):
        yield f"agent {index} carries out", _carried_out(state, index)
    if me.held is not None and me.vrrp is not None and me.answer != me.held.question:
        yield f"keepalived {index} lives", _with(state, index, answer=me.held.question)
    if me.observed is not None and me.held is not None:
        report = _report(me)
        if not me.lease or me.said is None or me.said._replace(aged=False) != report:
            same = me.said is not None and me.said[:4] == report[:4]
            report = report._replace(aged=same and me.said is not None and me.said.aged)
            yield f"{index} {REPORTS}", _with(state, index, said=report, lease=True)
    elif not me.lease:
        yield f"{index} is alive", _with(state, index, lease=True)


def _leader_steps(state: State, *, calm: bool) -> Iterator[tuple[str, State]]:
    if calm and any(one.said is not None and not one.said.aged for one in state.members):
        first, second = (one._replace(said=one.said and one.said._replace(aged=True)) for one in state.members)
        yield TICK, state._replace(members=(first, second))
    if not state.believes:
        yield "leader believes", state._replace(believes=True)
    active, documents = _leader(state.active, tuple((one.lease, one.said) for one in state.members), state.believes)
    if active is not None:
        yield "leader designates", designated(state, active)
    elif documents != tuple(one.document for one in state.members):
        first, second = (one._replace(document=doc) for one, doc in zip(state.members, documents, strict=True))
        yield "leader writes", state._replace(members=(first, second))


def designated(state: State, active: int) -> State:
    """A new epoch: every epoch that is known so far is one older now."""
    first, second = (_older(one) for one in state.members)
    return state._replace(members=(first, second), active=active)


def _older(one: Member) -> Member:
    def doc(found: Doc | None) -> Doc | None:
        return found and found._replace(epoch=found.epoch - 1)

    said = one.said and one.said._replace(epoch=one.said.epoch - 1)
    return one._replace(carried=one.carried - 1, held=doc(one.held), document=doc(one.document), said=said)


# -- the members' decisions: haqn's --------------------------------------------------------


def _priority(one: Member) -> int:
    return priorities.priority(1, one.dead, one.level or 0)


def _moved(state: State, index: int, to: str) -> State:
    """keepalived changes its state, and the failover program carries it out."""
    me = state.members[index]
    level = level_after(to, me.level or 0, was_master=me.observed == MASTER)
    return _with(
        state, index, vrrp=to, observed=to, since=_fresh(state, index), gate=to == MASTER, level=level, released=False
    )


def _carried_out(state: State, index: int) -> State:
    """The agent reads its document, carries it out, and starts keepalived if it does not run."""
    me = state.members[index]
    document = _document(me.document)
    since = str(me.since) if me.observed is not None else ""
    way = way_of_yielding(document, me.carried, me.level, me.way, since)
    level = role_level(document, me.carried, me.level, is_master=me.observed == MASTER)
    newer = document.epoch > me.carried
    state = _with(
        state,
        index,
        held=me.document,
        way=way,
        released=me.vrrp == FAULT and (me.released or (me.way != NO and way == NO)),
        level=me.level if level is None else level,
        carried=max(me.carried, document.epoch),
        answer=me.answer if me.document and me.answer == me.document.question else 0,
        returned=me.returned and not newer,
        lease=True,
    )
    # a keepalived that was started says that it is BACKUP, or FAULT
    return state if me.vrrp is not None else _moved(state, index, FAULT if way != NO else BACKUP)


def _report(one: Member) -> Said:
    fault = one.observed == FAULT
    return Said(
        state=one.observed or "",
        since=one.since,
        epoch=one.carried,
        gate_open=one.gate,
        yielding=one.way != NO or (fault and one.released),
        answer=one.answer,
        level=one.level or 0,
        dead=one.dead,
        aged=False,
    )


def _document(doc: Doc | None) -> PairDocument:
    assert doc is not None
    return PairDocument(
        pair_id=PAIR,
        vr_id=1,
        role=doc.role,
        epoch=doc.epoch,
        settled=doc.settled,
        peer_host="",
        peer_address="",
        yields=str(doc.yields) if doc.yields else "",
        peer_master=str(doc.question) if doc.question else "",
    )


# -- the leader's decisions: haqn's ----------------------------------------------------------

Known = tuple[bool, Said | None]


@cache
def _leader(active: int, known: tuple[Known, ...], believes: bool) -> tuple[int | None, tuple[Doc, ...]]:
    """(whom it designates now, or None; the documents that it writes otherwise)."""
    facts = build.facts(
        agents=[build.agent_fact(host) for host in HOSTS],
        pairs=[build.pair(PAIR, HOSTS[active], HOSTS[1 - active], epoch=NOW)],
        routers=[build.router("r", status="ACTIVE")],
        bindings={"r": PAIR},
    )
    now = 2 * _LONG
    reported = Reported(
        version=1,
        beats={IDS[i]: Beat(build.heartbeat(HOSTS[i]), lease=1) for i, (lease, _) in enumerate(known) if lease},
        pairs={
            (HOSTS[i], PAIR): Report(_pair_report(said), now - (_LONG if said.aged else 0.0))
            for i, (_, said) in enumerate(known)
            if said is not None
        },
        syncs={},
    )
    since = {} if believes else {"since_leadership": 0.0}
    made = plan(make_view(facts, reported, now=now, vacated={}, since=since), _POLICY)
    for action in made.actions:
        if isinstance(action, Designate):
            return IDS.index(action.active_agent_id), ()
    word = words(facts, reported, now=now, deaths_believed=believes).by_pair.get(PAIR)
    settled = PAIR in settled_pairs(facts, reported)
    yields, question = (int(word.yields or 0), int(word.question or 0)) if word else (0, 0)
    by_role = [Doc(Role.ACTIVE, NOW, settled, 0, question), Doc(Role.BACKUP, NOW, settled, yields, 0)]
    return None, tuple(by_role if active == 0 else reversed(by_role))


def _pair_report(said: Said) -> PairReport:
    return PairReport(
        pair_id=PAIR,
        state=VrrpState(said.state),
        since=str(said.since),
        sequence=0,
        role=Role.ACTIVE,
        epoch=said.epoch,
        gate_open=said.gate_open,
        yielding=said.yielding,
        peer_master=str(said.answer) if said.answer else "",
        level=said.level,
        dead_uplinks=("eth1",) * said.dead,
    )


# -- equal situations are equal states ---------------------------------------------------------


def _with(state: State, index: int, **changes: object) -> State:
    changed = state.members[index]._replace(**changes)
    members = (changed, state.members[1]) if index == 0 else (state.members[0], changed)
    return state._replace(members=members)


def _moments(state: State, index: int) -> set[int]:
    """The moments of this member that anybody remembers."""
    me, peer = state.members[index], state.members[1 - index]
    found = {me.since, me.said.since if me.said else 0, peer.answer, peer.said.answer if peer.said else 0}
    for doc in (me.held, me.document):
        found.add(doc.yields if doc else 0)
    for doc in (peer.held, peer.document):
        found.add(doc.question if doc else 0)
    return found - {0}


def _fresh(state: State, index: int) -> int:
    return max(_moments(state, index), default=0) + 1


def canonical(state: State) -> State:
    """The same with the smallest numbers for moments, and without what is too old to matter."""
    names = []
    for index in (0, 1):
        found = sorted(_moments(state, index))
        names.append({0: 0} | {moment: place for place, moment in enumerate(found, 1)})
    if all(old == new for one in names for old, new in one.items()) and not _has_old(state):
        return state
    members = []
    for index in (0, 1):
        me, mine, peers = state.members[index], names[index], names[1 - index]

        def doc(one: Doc | None, mine: dict[int, int] = mine, peers: dict[int, int] = peers) -> Doc | None:
            return one and one._replace(
                yields=mine[one.yields], question=peers[one.question], epoch=max(one.epoch, NOW - 2)
            )

        said = me.said and me.said._replace(
            since=mine[me.said.since], answer=peers[me.said.answer], epoch=max(me.said.epoch, NOW - 2)
        )
        members.append(
            me._replace(
                since=mine[me.since],
                answer=peers[me.answer],
                held=doc(me.held),
                document=doc(me.document),
                said=said,
                carried=max(me.carried, NOW - 2),
            )
        )
    return state._replace(members=(members[0], members[1]))


def _has_old(state: State) -> bool:
    return any(one.carried < NOW - 2 for one in state.members)


# -- what can fail --------------------------------------------------------------------------------


def failures(state: State) -> Iterator[tuple[str, State]]:
    """One more thing that goes wrong, or is put right again, or that an operator wants."""
    for index in (0, 1):
        me = state.members[index]
        heard = tuple(not now if place == index else now for place, now in enumerate(state.heard))
        yield f"peer of {index} is {'deaf' if state.heard[index] else 'cured'}", state._replace(heard=heard)
        if me.up:
            # frozen: it comes back as it was; the kernel of others takes it for silent
            yield f"{index} freezes", _with(state, index, up=False)
            yield f"{index} loses power", _with(state, index, up=False, **_FORGOTTEN)
            yield (
                f"{index} is cut off" if me.connected else f"{index} reaches etcd",
                _with(state, index, connected=not me.connected),
            )
            yield f"uplink of {index} changes", _with(state, index, dead=1 - me.dead)
            if me.vrrp is not None:
                yield f"keepalived of {index} dies", _with(state, index, vrrp=None)
        else:
            yield f"{index} comes back", _with(state, index, up=True, returned=me.level is None)
    both = state.heard == (True, True)
    yield "HA link changes", state._replace(heard=(not both, not both))
    yield "another leader", state._replace(believes=False)
    first, second = (one._replace(lease=False, document=None, said=None) for one in state.members)
    yield "etcd is wiped", state._replace(members=(first, second), believes=False)
    if all(one.lease and one.said and one.said.state != FAULT for one in state.members):
        yield "switchover", designated(state, 1 - state.active)


#: what a host that was without power does not know any more
_FORGOTTEN: dict[str, object] = {
    "vrrp": None,
    "observed": None,
    "since": 0,
    "gate": False,
    "level": None,
    "way": NO,
    "released": False,
    "held": None,
    "answer": 0,
}
