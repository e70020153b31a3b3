"""When the deaths that the leader sees are not to be believed.

A whole part of the cluster that dies at once, or a leader that has only just begun to look,
says more about the observer than about the observed. Knows nothing of pairs.
"""

from __future__ import annotations

from typing import NamedTuple

from haqn.scheduler.board import Board
from haqn.scheduler.view import Policy, View


class Brake(NamedTuple):
    """Why nothing that reacts to death is done; `reason` is empty when it may be."""

    reason: str = ""
    #: seconds until the brake is released by time alone; None: not by time
    ends_in: float | None = None


def death_brake(view: View, policy: Policy, board: Board) -> Brake:
    """The brake that lasts longest. Dead agents that host nothing any more are not counted, and deaths that an
    operator has vouched for brake nothing."""
    living = sum(agent.alive for agent in board.agents.values())
    believed = view.release.agents if view.release is not None else frozenset()
    all_dead = [agent for agent in board.agents.values() if not agent.alive and board.burdened(agent.id)]
    dead = [agent.host for agent in all_dead if agent.id not in believed]
    if all_dead and not dead:
        return Brake()
    if len(dead) >= 2 and len(dead) > policy.max_dead_fraction * (living + len(dead)):
        return Brake(
            f"{len(dead)} of {living + len(dead)} agents seem dead at once ({', '.join(sorted(dead)[:5])}), "
            f"which is more than max_dead_fraction={policy.max_dead_fraction:g}"
        )
    since, source = min(
        (view.since_leadership, "this leader's term began"),
        (view.since_etcd, "etcd came back"),
        (view.since_sql, "the database came back"),
    )
    if since < policy.lease_ttl:
        return Brake(f"{source} less than one lease TTL ({policy.lease_ttl:g} s) ago", policy.lease_ttl - since)
    return Brake()
