"""Pairs of which two members forward, or none: what the leader says to them, and what it records. Pure.

Two members forward when they do not hear each other. The leader makes the designated BACKUP yield, but only once the
designated ACTIVE has given a sign of life since the other one took over: until its lease ends, a host that has crashed
looks just like one that nobody hears. All that is decided here follows from facts and reports, so that any leader goes
on where another one ended (doc/pair-protocol.md). Knows no clock: moments are the leader's monotonic seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from haqn.coordination.observed import Reported
from haqn.db.snapshot import Facts
from haqn.documents import PairReport
from haqn.model import Pair, VrrpState

#: seconds for which both must report MASTER before the designated ACTIVE is asked: an ordinary handover is over then
ASK_AFTER = 0.25
#: seconds for which both must report MASTER before one yields
YIELD_AFTER = 1.0


class Half(NamedTuple):
    """What the leader knows of one member of a pair."""

    alive: bool
    report: PairReport | None = None
    #: seconds since its state was first seen
    age: float = 0.0

    @property
    def forwards(self) -> bool:
        """By its own word."""
        return self.report is not None and self.report.state is VrrpState.MASTER and self.report.gate_open


class Word(NamedTuple):
    """What the leader says about the two members hearing each other (PairDocument.yields and .peer_master)."""

    #: to the designated BACKUP
    yields: str = ""
    #: to the designated ACTIVE
    question: str = ""
    #: seconds after which the same reports may make for another word; None: never
    recheck_in: float | None = None


def word(active: Half, backup: Half, epoch: int, *, deaths_believed: bool) -> Word:
    """What is to be said to the two halves of a pair that is at this epoch.

    `deaths_believed`: a missing lease means a death, and not that the leader has only just begun to look.
    """
    leads, stands_by = active.report, backup.report
    if stands_by is None:
        return Word()
    if stands_by.yielding:
        unknown = not deaths_believed and not (active.alive and leads is not None)
        return Word(yields=stands_by.since if unknown or (active.alive and active.forwards) else "")
    if leads is None or not (active.alive and active.forwards and backup.alive and backup.forwards):
        return Word()
    if not leads.epoch == stands_by.epoch == epoch or has_better_uplinks(stands_by, leads):
        return Word()  # roles are on their way, or about to be changed
    lasts = min(active.age, backup.age)
    answered = leads.peer_master == stands_by.since
    return Word(
        yields=stands_by.since if answered and lasts >= YIELD_AFTER else "",
        question=stands_by.since if lasts >= ASK_AFTER else "",
        recheck_in=next((moment - lasts for moment in (ASK_AFTER, YIELD_AFTER) if lasts < moment), None),
    )


def has_better_uplinks(one: PairReport, other: PairReport) -> bool:
    """Whether fewer of its uplinks are dead."""
    return len(one.dead_uplinks) < len(other.dead_uplinks)


@dataclass(frozen=True, slots=True)
class Words:
    """What the leader says to all pairs."""

    #: pairs to which it has something to say
    by_pair: Mapping[int, Word] = field(default_factory=dict)
    #: see Word
    recheck_in: float | None = None


def words(facts: Facts, reported: Reported, *, now: float, deaths_believed: bool) -> Words:
    """The words to all pairs."""
    found = {}
    for pair in facts.placed.pairs.values():
        active, backup = (_half(facts, reported, pair, member, now) for member in pair.members)
        found[pair.id] = word(active, backup, pair.epoch, deaths_believed=deaths_believed)
    return Words(
        {pair_id: one._replace(recheck_in=None) for pair_id, one in found.items() if one.yields or one.question},
        min((one.recheck_in for one in found.values() if one.recheck_in is not None), default=None),
    )


def _half(facts: Facts, reported: Reported, pair: Pair, member: str, now: float) -> Half:
    report = reported.pairs.get((facts.placed.agents[member].host, pair.id))
    return Half(
        alive=member in reported.beats,
        report=report.report if report is not None else None,
        age=now - report.since if report is not None else 0.0,
    )


# -- what is recorded --------------------------------------------------------------------


class Kind(enum.StrEnum):
    """What can be wrong with a pair as a whole."""

    TWO_ACTIVES = "two actives"
    NO_ACTIVE = "no active"


Key = tuple[Kind, int]


class Condition(NamedTuple):
    """Something that is wrong with a pair now."""

    #: for people
    cause: str
    #: the moment since which it has been so; None: the reports do not say
    since: float | None


def conditions(facts: Facts, reported: Reported) -> dict[Key, Condition]:
    """What is wrong with which pair by these reports; nobody forwards for a moment in each failover.

    Two actives count only when the one has answered after the other took over; no active, only when a router is bound
    to the pair.
    """
    bound = {binding.pair_id for binding in facts.placed.bindings.values()}
    found: dict[Key, Condition] = {}
    for pair in facts.placed.pairs.values():
        active, backup = (_half(facts, reported, pair, member, 0.0) for member in pair.members)
        hosts = [facts.placed.agents[member].host for member in pair.members]
        if active.alive and backup.alive and active.forwards and backup.forwards:
            if active.report and backup.report and active.report.peer_master == backup.report.since:
                cause = f"{hosts[0]} and {hosts[1]} do not hear each other, and both forward"
                found[Kind.TWO_ACTIVES, pair.id] = Condition(cause, max(-active.age, -backup.age))
        elif pair.id in bound and not (active.alive and active.forwards) and not (backup.alive and backup.forwards):
            cause = ", ".join(f"{host} {_says(half)}" for host, half in zip(hosts, (active, backup), strict=True))
            known = [-half.age for half in (active, backup) if half.alive and half.report is not None]
            found[Kind.NO_ACTIVE, pair.id] = Condition(cause, max(known) if len(known) == 2 else None)
    return found


def _says(half: Half) -> str:
    if not half.alive:
        return "is dead"
    if half.report is None:
        return "does not report"
    if half.report.yielding:
        return "yields"
    if half.report.state is VrrpState.MASTER:
        return "reports MASTER, but its gate is shut"
    return f"reports {half.report.state}"
