"""What agents have carried out of their routers, as operations need to know it. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection

from haqn.coordination.observed import Reported
from haqn.db.snapshot import Facts, Placed
from haqn.model import VrrpState
from haqn.monitor.assemble import members_of
from haqn.scheduler.operations import Absent, OperationKind, OperationState, Release, Step, Unready

#: (host, kind, object id) -> the generation of the document in etcd, None if there is none
GenerationOf = Callable[[str, str, str], int | None]


def find_unready(
    facts: Facts, reported: Reported, generation_of: GenerationOf, unprojected: Collection[str] = ()
) -> tuple[Unready, ...]:
    """Living members that have not carried out what they should of a router.

    `unprojected`: routers that were bound anew, and of which etcd does not say so yet.
    """
    hosts = {agent_id: agent.host for agent_id, agent in facts.placed.agents.items() if agent_id in reported.beats}
    found = []
    for router_id in facts.wanted.routers:
        for member in members_of(facts, router_id):
            host = hosts.get(member)
            if host is None:
                continue
            sync = reported.syncs.get(host)
            generation = generation_of(host, "routers", router_id)
            if sync is not None and router_id in sync.errors:
                found.append(Unready(router_id=router_id, agent_id=member, error=sync.errors[router_id]))
            elif sync is None or generation is None or sync.generation < generation or router_id in unprojected:
                found.append(Unready(router_id=router_id, agent_id=member))
    return tuple(found)


def withheld(facts: Facts, reported: Reported) -> frozenset[tuple[str, str]]:
    """(host, router) of standbys that are to be taken down, to be built again afterwards."""
    return frozenset(
        (facts.placed.agents[step.agent_id].host, router_id)
        for step in _rebuilds(facts.placed)
        for router_id in step.routers
        if _stands_by(facts, reported, router_id, step.agent_id)
    )


def find_absent(
    facts: Facts, reported: Reported, generation_of: GenerationOf, manifest_generation: Callable[[str], int | None]
) -> tuple[Absent, ...]:
    """Standbys that were to be taken down, and of which the host has said that it has nothing left."""
    found = []
    for step in _rebuilds(facts.placed):
        (router_id,) = step.routers
        host = facts.placed.agents[step.agent_id].host
        sync, wanted = reported.syncs.get(host), manifest_generation(host)
        if sync is None or sync.holding or wanted is None or sync.generation < wanted or router_id in sync.errors:
            continue
        if generation_of(host, "routers", router_id) is None:
            found.append(Absent(router_id=router_id, agent_id=step.agent_id))
    return tuple(found)


def is_needed(facts: Facts, reported: Reported) -> bool:
    """Whether a plan has to know who is ready: otherwise nobody need look."""
    return bool(facts.placed.operations) or any(
        agent.id in reported.beats and (agent.draining or not agent.admin_state_up)
        for agent in facts.placed.agents.values()
    )


def release_now(placed: Placed, now: datetime.datetime) -> Release | None:
    """The release of the brakes, if it is in force. `now` as `haqn.db.clock.utcnow`."""
    if placed.release is None or placed.release.expires_at <= now:
        return None
    return Release(agents=placed.release.agents, remaining=(placed.release.expires_at - now).total_seconds())


def _rebuilds(placed: Placed) -> list[Step]:
    """What is to be taken down: the first half of rebuilds."""
    return [
        step
        for operation in placed.operations
        if operation.kind is OperationKind.REBUILD
        and operation.state is OperationState.RUNNING
        and not operation.carried_out
        for step in operation.steps
        if step.agent_id in placed.agents
    ]


def _stands_by(facts: Facts, reported: Reported, router_id: str, agent_id: str) -> bool:
    binding = facts.placed.bindings.get(router_id)
    pair = facts.placed.pairs.get(binding.pair_id) if binding is not None and binding.pair_id is not None else None
    if pair is None or pair.backup_agent_id != agent_id:
        return False
    report = reported.pairs.get((facts.placed.agents[agent_id].host, pair.id))
    return report is None or report.report.state is not VrrpState.MASTER
