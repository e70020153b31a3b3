"""Facts of SQL and reports of agents, joined: the planner's view, and what follows for pairs and status. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from haqn.coordination.observed import Reported
from haqn.db.snapshot import AgentFact, Facts, FloatingIpFact, PortFact, RouterFact, Wanted, router_ports
from haqn.documents import Heartbeat, PairReport, SyncReport, to_plain
from haqn.model import FIRST_EPOCH, Agent, AgentType, Pair, RouterRequest, VrrpState
from haqn.scheduler.view import LONG_AGO, Death, Observation, Pin, Vacancy, View

_ACTIVE = "ACTIVE"


class CarriedOut(NamedTuple):
    """What is to be ACTIVE in SQL from now on: ids of routers and of ports, and floating IPs."""

    routers: Sequence[str]
    ports: Sequence[str]
    floating_ips: Sequence[FloatingIpFact] = ()


def make_view(
    facts: Facts,
    reported: Reported,
    *,
    now: float,
    vacated: Mapping[tuple[str, int], int],
    since: Mapping[str, float],
    requests: dict[str, tuple[RouterFact, RouterRequest]] | None = None,
) -> View:
    """The planner's view.

    `now`: monotonic seconds. `vacated`: (host, pair) -> the generation from which on the host's documents
    have no router on the pair. `since`: the view's fields since_leadership, since_etcd and since_sql.
    `requests`: what was made of the same facts before; it is kept up to date.
    """
    known = {} if requests is None else requests
    agents = tuple(_agent(fact, alive=fact.id in reported.beats) for fact in facts.placed.agents.values())
    l3_agents = {fact.host: fact.id for fact in facts.placed.agents.values() if fact.agent_type is AgentType.L3}
    return View(
        agents=agents,
        pairs=tuple(facts.placed.pairs.values()),
        bindings=tuple(facts.placed.bindings.values()),
        deaths=tuple(Death(agent_id=agent_id, age=now - ended) for agent_id, ended in sorted(reported.ended.items())),
        pins=tuple(Pin(router_id=router, agent_id=agent) for router, agent in facts.placed.pins),
        routers=tuple(_known_request(facts, reported, router, known) for router in facts.wanted.routers.values()),
        observations=tuple(
            Observation(
                agent_id=l3_agents[host],
                pair_id=pair_id,
                state=report.report.state,
                epoch=report.report.epoch,
                age=now - report.since,
                yielding=report.report.yielding,
                dead_uplinks=len(report.report.dead_uplinks),
                level=report.report.level,
            )
            for (host, pair_id), report in sorted(reported.pairs.items(), key=lambda item: item[0])
            if host in l3_agents and pair_id in facts.placed.pairs
        ),
        vacancies=tuple(
            Vacancy(agent_id=l3_agents[host], pair_id=pair_id)
            for (host, pair_id), generation in sorted(vacated.items())
            if host in l3_agents and _has_left(facts, reported.syncs.get(host), generation)
        ),
        next_pair_id=facts.placed.next_pair_id,
        operations=facts.placed.operations,
        since_leadership=since.get("since_leadership", LONG_AGO),
        since_etcd=since.get("since_etcd", LONG_AGO),
        since_sql=since.get("since_sql", LONG_AGO),
    )


def is_settled(facts: Facts, reported: Reported, pair: Pair) -> bool:
    """The designated ACTIVE forwards and the other one has given way, both at the pair's present epoch."""
    active, backup = (_report_of(facts, reported, pair, member) for member in pair.members)
    return (
        active is not None
        and backup is not None
        and active.epoch == backup.epoch == pair.epoch
        and active.state is VrrpState.MASTER
        and backup.state is not VrrpState.MASTER
    )


def settled_pairs(facts: Facts, reported: Reported) -> frozenset[int]:
    """Ids of the pairs that are settled."""
    return frozenset(pair.id for pair in facts.placed.pairs.values() if is_settled(facts, reported, pair))


def awaits_active(facts: Facts, reported: Reported, pair: Pair) -> bool:
    """A new pair's BACKUP must not be told yet: its keepalived could be MASTER before the ACTIVE's has started, and
    speak for routers that still run outside of the pair on the ACTIVE's host.

    Over once the ACTIVE is MASTER, or cannot become it, or the BACKUP knows the pair already.
    """
    active, backup = (_report_of(facts, reported, pair, member) for member in pair.members)
    return (
        backup is None
        and pair.epoch == FIRST_EPOCH
        and pair.active_agent_id in reported.beats
        and (active is None or active.state is VrrpState.BACKUP)
    )


def members_of(facts: Facts, router_id: str) -> tuple[str, ...]:
    """The agents that the router is bound to, the active first; none when it is unbound."""
    binding = facts.placed.bindings.get(router_id)
    if binding is None:
        return ()
    if binding.pair_id is not None:
        return facts.placed.pairs[binding.pair_id].members
    return (binding.agent_id,) if binding.agent_id is not None else ()


def newly_active(facts: Facts, reported: Reported, generation_of: Callable[[str, str, str], int | None]) -> CarriedOut:
    """What is not ACTIVE in SQL, and was carried out by every living host of its own.

    `generation_of(host, kind, object id)`: the generation of the document in etcd, None if there is none.
    """

    def carried_out(host: str, kind: str, object_id: str) -> bool:
        sync = reported.syncs.get(host)
        generation = generation_of(host, kind, object_id)
        if sync is None or generation is None:
            return False
        return sync.generation >= generation and object_id not in sync.errors

    routers: list[str] = []
    ports: list[str] = []
    floating_ips: list[FloatingIpFact] = []
    for router in facts.wanted.routers.values():
        pending = list(_pending_ports(router))
        pending_floating_ips = [one for one in router.floating_ips if one.status != _ACTIVE]
        if router.status == _ACTIVE and not pending and not pending_floating_ips:
            continue
        hosts = [
            facts.placed.agents[member].host for member in members_of(facts, router.id) if member in reported.beats
        ]
        if hosts and all(carried_out(host, "routers", router.id) for host in hosts):
            if router.status != _ACTIVE:
                routers.append(router.id)
            ports += pending
            floating_ips += pending_floating_ips
    for port in facts.wanted.host_ports.values():
        if port.status != _ACTIVE and port.admin_state_up and carried_out(port.host, "ports", port.id):
            ports.append(port.id)
    return CarriedOut(routers, ports, floating_ips)


def with_status(wanted: Wanted, carried_out: CarriedOut) -> Wanted:
    """The same with these ACTIVE: what SQL holds after `set_active`, without reading all of it."""
    active_routers, active_ports = frozenset(carried_out.routers), frozenset(carried_out.ports)
    active_floating_ips = frozenset(one.id for one in carried_out.floating_ips)

    def port_now(port: PortFact) -> PortFact:
        return replace(port, status=_ACTIVE) if port.id in active_ports else port

    changed = {
        router.id: replace(
            router,
            status=_ACTIVE if router.id in active_routers else router.status,
            gateway=port_now(router.gateway) if router.gateway is not None else None,
            interfaces=tuple(port_now(port) for port in router.interfaces),
            floating_ips=tuple(
                replace(one, status=_ACTIVE) if one.id in active_floating_ips else one for one in router.floating_ips
            ),
        )
        for router in wanted.routers.values()
        if router.id in active_routers
        or any(port.id in active_ports for port in router_ports(router))
        or any(one.id in active_floating_ips for one in router.floating_ips)
    }
    return replace(
        wanted,
        routers={**wanted.routers, **changed},
        host_ports={port.id: port_now(port) for port in wanted.host_ports.values()},
    )


def began_or_changed(facts: Facts, reported: Reported, leases: Mapping[str, int]) -> list[Heartbeat]:
    """Heartbeats that SQL does not have like this, or whose lease is another than in `leases` (agent id -> lease)."""
    return [
        beat.heartbeat
        for agent_id, beat in sorted(reported.beats.items())
        if agent_id not in facts.placed.agents
        or facts.placed.agents[agent_id].heartbeat != to_plain(beat.heartbeat)
        or leases.get(agent_id, beat.lease) != beat.lease
    ]


def _pending_ports(router: RouterFact) -> Iterator[str]:
    return (port.id for port in router_ports(router) if port.status != _ACTIVE and port.admin_state_up)


def _agent(fact: AgentFact, *, alive: bool) -> Agent:
    beat: Mapping[str, Any] = fact.heartbeat
    return Agent(
        id=fact.id,
        agent_type=fact.agent_type,
        host=fact.host,
        alive=alive,
        admin_state_up=fact.admin_state_up,
        draining=fact.draining,
        zone=beat.get("zone", ""),
        ha_address=beat.get("ha_address", ""),
        tunnel_address=beat.get("tunnel_address", ""),
        physical_networks=frozenset(beat.get("physical_networks", ())),
        max_routers=beat.get("max_routers"),
        full=beat.get("full", ""),
        allowed_routers=frozenset(beat.get("allowed_routers", ())),
        allowed_networks=frozenset(beat.get("allowed_networks", ())),
    )


def _known_request(
    facts: Facts, reported: Reported, router: RouterFact, known: dict[str, tuple[RouterFact, RouterRequest]]
) -> RouterRequest:
    """The one that was made of this very fact: facts are read anew, all together, when anything was changed."""
    made = known.get(router.id)
    if made is not None and made[0] is router and router.id not in facts.placed.exclusions:
        return made[1]
    request = _request(facts, reported, router)
    if not request.excluded_agents:
        known[router.id] = (router, request)
    else:
        known.pop(router.id, None)
    return request


def _request(facts: Facts, reported: Reported, router: RouterFact) -> RouterRequest:
    network = facts.wanted.networks[router.gateway.network_id] if router.gateway is not None else None
    return RouterRequest(
        id=router.id,
        ha=router.ha,
        physical_network=network.physical_network if network is not None else None,
        gateway_network_id=network.id if network is not None else None,
        availability_zone_hints=router.availability_zone_hints,
        excluded_agents=_excluded(facts, reported, router.id),
    )


def _excluded(facts: Facts, reported: Reported, router_id: str) -> tuple[str, ...]:
    """Agents that the router is on and is to leave. Not while a member is dead: then any agent is better than none,
    and not of agents that it has left: then it may come back when it must."""
    excluded = facts.placed.exclusions.get(router_id, ())
    members = members_of(facts, router_id) if excluded else ()
    if not all(member in reported.beats for member in members):
        return ()
    return tuple(agent_id for agent_id in excluded if agent_id in members)


def _report_of(facts: Facts, reported: Reported, pair: Pair, member: str) -> PairReport | None:
    report = reported.pairs.get((facts.placed.agents[member].host, pair.id))
    return report.report if report is not None else None


def _has_left(facts: Facts, sync: SyncReport | None, generation: int) -> bool:
    if sync is None or sync.holding or sync.generation < generation:
        return False
    return not _router_errors(facts, sync.errors)


def _router_errors(facts: Facts, errors: Collection[str]) -> list[str]:
    """Errors that may concern a router, so that nobody can say on which pair it still rides."""
    others = (facts.wanted.networks, facts.wanted.host_ports)
    return [object_id for object_id in errors if not any(object_id in known for known in others)]
