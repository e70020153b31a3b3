"""Views from short descriptions, actions as short lines, and a simulator that applies a plan."""

from dataclasses import replace
from typing import Any

from haqn.model import FIRST_PAIR_ID, Agent, AgentType, Binding, Pair, RouterRequest, VrrpState
from haqn.scheduler.view import (
    Action,
    BindToAgent,
    BindToPair,
    CreatePair,
    Death,
    DeletePair,
    Designate,
    Observation,
    Pin,
    Plan,
    Policy,
    Vacancy,
    View,
)


def agent(host: str, **fields: Any) -> Agent:
    for name in ("physical_networks", "allowed_routers", "allowed_networks"):
        if name in fields:
            fields[name] = frozenset(fields[name])
    return Agent(**{"id": host, "agent_type": AgentType.L3, "host": host, "alive": True, **fields})


def view_of(scenario: dict[str, Any]) -> View:
    """A view from the short form that the files in `scenarios/` use."""
    pairs, observations, vacancies = [], [], []
    for pair_id, pair in scenario.get("pairs", {}).items():
        epoch = pair.get("epoch", 1)
        pairs.append(
            Pair(
                id=pair_id,
                active_agent_id=pair["active"],
                backup_agent_id=pair["backup"],
                vr_id=pair.get("vr_id", 1 + pair_id - FIRST_PAIR_ID),
                epoch=epoch,
            )
        )
        for host, report in pair.get("reports", {}).items():
            state, _, details = report.partition(" ")
            extra = {key: float(value) for key, value in (d.split("=") for d in details.split())}
            observations.append(
                Observation(
                    agent_id=host,
                    pair_id=pair_id,
                    state=VrrpState(state),
                    epoch=int(extra.get("epoch", epoch)),
                    age=extra.get("age", 100.0),
                    yielding=bool(extra.get("yielding")),
                    dead_uplinks=int(extra.get("dead_uplinks", 0)),
                    level=int(extra.get("level", 0)),
                )
            )
        vacancies += [Vacancy(agent_id=host, pair_id=pair_id) for host in pair.get("vacated", [])]
    routers, bindings, pins = [], [], []
    for router_id, given in scenario.get("routers", {}).items():
        fields = dict(given or {})
        pins += [Pin(router_id=router_id, agent_id=host) for host in fields.pop("pins", [])]
        pair_id, agent_id = fields.pop("pair", None), fields.pop("agent", None)
        if pair_id is not None or agent_id is not None:
            bindings.append(Binding(router_id=router_id, pair_id=pair_id, agent_id=agent_id))
        fields["availability_zone_hints"] = tuple(fields.pop("availability_zone_hints", ()))
        fields["excluded_agents"] = tuple(fields.pop("excluded_agents", ()))
        routers.append(RouterRequest(id=router_id, **fields))
    return View(
        agents=tuple(agent(host, **(fields or {})) for host, fields in scenario["agents"].items()),
        pairs=tuple(pairs),
        bindings=tuple(bindings),
        deaths=tuple(Death(agent_id=host, age=age) for host, age in scenario.get("deaths", {}).items()),
        pins=tuple(pins),
        routers=tuple(routers),
        observations=tuple(observations),
        vacancies=tuple(vacancies),
        next_pair_id=max([FIRST_PAIR_ID + 99, *(p.id for p in pairs)]) + 1,
        **{f"since_{source}": seconds for source, seconds in scenario.get("since", {}).items()},
    )


def policy_of(scenario: dict[str, Any]) -> Policy:
    return Policy(**scenario.get("policy", {}))


def line(action: Action) -> str:
    """An action as the scenario files write it."""
    match action:
        case CreatePair():
            return f"CreatePair {action.pair_id} {action.active_agent_id}>{action.backup_agent_id} vr_id={action.vr_id}"
        case Designate():
            return f"Designate {action.pair_id} {action.active_agent_id}>{action.backup_agent_id} epoch={action.epoch}"
        case BindToPair():
            return f"BindToPair {action.router_id} {action.pair_id}"
        case BindToAgent():
            return f"BindToAgent {action.router_id} {action.agent_id}"
        case DeletePair():
            return f"DeletePair {action.pair_id}"
    raise AssertionError(action)


def apply(view: View, plan: Plan) -> View:
    """What SQL holds after the plan was written; refuses, as the database does, what contradicts it."""
    pairs = {p.id: p for p in view.pairs}
    bindings = {b.router_id: b for b in view.bindings}
    routers = {r.id for r in view.routers}
    next_pair_id = view.next_pair_id
    for action in plan.actions:
        assert action.reason
        match action:
            case CreatePair():
                assert action.pair_id == next_pair_id
                next_pair_id += 1
                pairs[action.pair_id] = Pair(
                    id=action.pair_id,
                    active_agent_id=action.active_agent_id,
                    backup_agent_id=action.backup_agent_id,
                    vr_id=action.vr_id,
                    epoch=1,
                )
            case Designate():
                old = pairs[action.pair_id]
                assert action.epoch == old.epoch + 1
                assert {action.active_agent_id, action.backup_agent_id} == set(old.members)
                pairs[old.id] = replace(
                    old,
                    active_agent_id=action.active_agent_id,
                    backup_agent_id=action.backup_agent_id,
                    epoch=action.epoch,
                )
            case BindToPair() | BindToAgent():
                assert action.router_id in routers
                before = bindings.get(action.router_id)
                expected = (before.pair_id, before.agent_id) if before else (None, None)
                assert (action.from_pair_id, action.from_agent_id) == expected
                if isinstance(action, BindToPair):
                    assert action.pair_id in pairs
                    bindings[action.router_id] = Binding(router_id=action.router_id, pair_id=action.pair_id)
                else:
                    bindings[action.router_id] = Binding(router_id=action.router_id, agent_id=action.agent_id)
            case DeletePair():
                assert all(b.pair_id != action.pair_id for b in bindings.values())
                del pairs[action.pair_id]
    for member in {m for p in pairs.values() for m in p.members}:
        vr_ids = [p.vr_id for p in pairs.values() if member in p.members]
        assert len(vr_ids) == len(set(vr_ids)), f"{member} has two pairs with one VRRP id"
    return replace(view, pairs=tuple(pairs.values()), bindings=tuple(bindings.values()), next_pair_id=next_pair_id)
