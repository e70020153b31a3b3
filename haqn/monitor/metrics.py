"""What a monitor tells Prometheus: whether it leads, how near it is to losing that, and, of the leader, the cluster.

Numbers of the cluster are made when they are asked for, from what the leader's last cycle saw; a monitor that does not
lead tells none, so that sums over monitors are right.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from haqn.coordination.observed import Reported
from haqn.db import numbers
from haqn.db.numbers import Numbers
from haqn.db.session import Database
from haqn.db.snapshot import Facts
from haqn.exceptions import DatabaseUnavailable
from haqn.model import AgentType, Pair, VrrpState

LOG = logging.getLogger(__name__)

_PLAN_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 15)
FORWARDED, SILENT, DOUBLE = "one_active", "no_active", "two_actives"


class MonitorMetrics(Collector):
    """One process's. The monitor tells it what it sees; Prometheus asks from another thread."""

    def __init__(self, database: Database, lease_margin: Callable[[], float], silence: Callable[[], float]) -> None:
        """`lease_margin`: seconds for which the lease stays valid even if etcd never answers again; `silence`: seconds
        since etcd's last answer."""
        self._database = database
        self._lease_margin = lease_margin
        self._silence = silence
        self._seen: tuple[Facts, Reported, int] | None = None
        self._outbox_read = 0
        self._plans = Histogram(
            "haqn_monitor_plan_seconds", "Time that the planner took", buckets=_PLAN_BUCKETS, registry=None
        )
        self._cycles = Histogram(
            "haqn_monitor_cycle_seconds", "Time that a cycle took", buckets=_PLAN_BUCKETS, registry=None
        )

    # -- told by the monitor --------------------------------------------------------------

    def planning(self) -> AbstractContextManager[object]:
        """Measure one run of the planner."""
        timer: AbstractContextManager[object] = self._plans.time()
        return timer

    def saw(self, facts: Facts, reported: Reported, *, held: int, seconds: float, outbox_read: int = 0) -> None:
        """A cycle of the leader is over; `held`: things that the planner would do and must not; `outbox_read`: the last
        line of the outbox that it has read."""
        self._seen = (facts, reported, held)
        self._outbox_read = outbox_read
        self._cycles.observe(seconds)

    def not_leading(self) -> None:
        """What was seen is another one's business now."""
        self._seen = None

    # -- asked by Prometheus --------------------------------------------------------------

    def collect(self) -> Iterable[Metric]:
        seen = self._seen
        yield _gauge("haqn_monitor_leads", "1 on the monitor that leads", int(seen is not None))
        yield _gauge(
            "haqn_monitor_lease_margin_seconds", "Time left until the lease counts as lost", self._lease_margin()
        )
        yield _gauge("haqn_monitor_etcd_silence_seconds", "Time since etcd's last answer to a watch", self._silence())
        yield from self._plans.collect()
        yield from self._cycles.collect()
        if seen is None:
            return
        facts, reported, held = seen
        yield from _cluster(facts, reported)
        yield _gauge("haqn_held_changes", "Changes that a brake holds", held)
        yield _gauge("haqn_operations_open", "Drains, rebalances, ... that are not over", len(facts.placed.operations))
        try:
            yield from _kept(numbers.read(self._database, outbox_read=self._outbox_read))
        except DatabaseUnavailable as error:
            LOG.warning("metrics without those of SQL: %s", error)


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)


def _cluster(facts: Facts, reported: Reported) -> Iterable[Metric]:
    agents = GaugeMetricFamily("haqn_agents", "Agents by type and whether they live", labels=["type", "alive"])
    counts = Counter((agent.agent_type, agent.id in reported.beats) for agent in facts.placed.agents.values())
    for agent_type in AgentType:
        for alive in (True, False):
            agents.add_metric([agent_type, str(alive).lower()], counts[agent_type, alive])
    yield agents

    pairs = GaugeMetricFamily("haqn_pairs", "Pairs by how many members forward", labels=["state"])
    routers = GaugeMetricFamily(
        "haqn_routers_on_pairs", "Routers by how many members of their pair forward", labels=["state"]
    )
    states = {pair.id: pair_state(facts, reported, pair) for pair in facts.placed.pairs.values()}
    by_pair = Counter(binding.pair_id for binding in facts.placed.bindings.values() if binding.pair_id is not None)
    for state in (FORWARDED, SILENT, DOUBLE):
        of_state = [pair_id for pair_id, found in states.items() if found == state]
        pairs.add_metric([state], len(of_state))
        routers.add_metric([state], sum(by_pair[pair_id] for pair_id in of_state))
    yield pairs
    yield routers
    yield _gauge("haqn_routers", "Routers that users have made", len(facts.wanted.routers))
    unplaced = sum(1 for router_id in facts.wanted.routers if router_id not in facts.placed.bindings)
    yield _gauge("haqn_routers_unplaced", "Routers that no agent has", unplaced)


def pair_state(facts: Facts, reported: Reported, pair: Pair) -> str:
    """By the reports of its members: how many forward."""
    reports = [reported.pairs.get((facts.placed.agents[member].host, pair.id)) for member in pair.members]
    masters = sum(1 for found in reports if found is not None and found.report.state is VrrpState.MASTER)
    return (SILENT, FORWARDED, DOUBLE)[masters]


def _kept(found: Numbers) -> Iterable[Metric]:
    yield _gauge("haqn_outbox_lines", "Lines of the outbox; old ones are deleted by the thousand", found.outbox)
    yield _gauge("haqn_outbox_unread_lines", "Changes that the leader has not read yet", found.outbox_unread)
    redundancy = GaugeMetricFamily("haqn_routers_by_redundancy", "Routers: full, degraded, none", labels=["redundancy"])
    for state in ("full", "degraded", "none"):
        redundancy.add_metric([state], found.redundancy.get(state, 0))
    yield redundancy
    labels = ["kind", "cause"]
    happened = CounterMetricFamily("haqn_failover_events", "Events of the failover ledger that are over", labels=labels)
    lasted = CounterMetricFamily("haqn_failover_seconds", "Their durations", labels=labels)
    outage = CounterMetricFamily("haqn_failover_outage_seconds", "Of these, time without a forwarder", labels=labels)
    for one in found.happened:
        happened.add_metric([one.kind, one.cause], one.count)
        lasted.add_metric([one.kind, one.cause], one.duration_ms / 1000)
        outage.add_metric([one.kind, one.cause], one.outage_ms / 1000)
    yield from (happened, lasted, outage)
    going_on = GaugeMetricFamily("haqn_failover_events_open", "Events that go on", labels=["kind"])
    for kind, number in sorted(found.going_on.items()):
        going_on.add_metric([kind], number)
    yield going_on
