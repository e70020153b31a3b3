"""When the deaths that the leader sees are not to be believed.

A whole part of the cluster that dies within one lease's time, or a leader that has only just begun to look, says more
about the observer than about the observed. Those who die of one cause do not die at one moment: their leases were
kept alive at different ones. So a death waits until nobody has followed for a moment, and is remembered for a lease's
time, even if its routers have found a new member meanwhile. Knows nothing of pairs.
"""

from __future__ import annotations

from typing import NamedTuple

from haqn.scheduler.board import Board
from haqn.scheduler.view import LONG_AGO, Policy, View


class Brake(NamedTuple):
    """Why nothing that reacts to death is done; `reason` is empty when it may be."""

    reason: str = ""
    #: seconds until the brake is released by time alone; None: not by time
    ends_in: float | None = None
    #: every death goes through it: no reason for alarm
    usual: bool = False


def death_brake(view: View, policy: Policy, board: Board) -> Brake:
    """The brake that lasts longest. Dead agents that host nothing any more are counted for one lease TTL only, and
    deaths that an operator has vouched for brake nothing."""
    living = sum(agent.alive for agent in board.agents.values())
    believed = view.release.agents if view.release is not None else frozenset()
    ages = {death.agent_id: death.age for death in view.deaths}
    all_dead = [
        agent
        for agent in board.agents.values()
        if not agent.alive and (board.burdened(agent.id) or ages.get(agent.id, LONG_AGO) < policy.lease_ttl)
    ]
    dead = [agent for agent in all_dead if agent.id not in believed]
    if all_dead and not dead:
        return Brake()
    if len(dead) >= 2 and len(dead) > policy.max_dead_fraction * (living + len(dead)):
        hosts = sorted(agent.host for agent in dead)
        return Brake(
            f"{len(dead)} of {living + len(dead)} agents seem dead at once ({', '.join(hosts[:5])}), "
            f"which is more than max_dead_fraction={policy.max_dead_fraction:g}",
            # the first of those that are only remembered is forgotten
            min((policy.lease_ttl - ages[agent.id] for agent in dead if not board.burdened(agent.id)), default=None),
        )
    since, source = min(
        (view.since_leadership, "this leader's term began"),
        (view.since_etcd, "etcd came back"),
        (view.since_sql, "the database came back"),
    )
    if since < policy.lease_ttl:
        return Brake(f"{source} less than one lease TTL ({policy.lease_ttl:g} s) ago", policy.lease_ttl - since)
    settles_in = policy.death_settle - min((ages.get(agent.id, LONG_AGO) for agent in dead), default=LONG_AGO)
    return Brake("others may follow", settles_in, usual=True) if settles_in > 0 else Brake()
