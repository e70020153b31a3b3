"""What an agent tells Prometheus of its host: pairs by VRRP state, routers, its queue, how far it is, its lease."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from haqn.agent.service import AgentService
from haqn.model import VrrpState


class AgentMetrics(Collector):
    """One process's; made when Prometheus asks, in a thread of its own, from what the agent said last."""

    def __init__(self, service: AgentService, lease_margin: Callable[[], float]) -> None:
        """`lease_margin`: seconds for which the lease stays valid even if etcd never answers again."""
        self._service = service
        self._lease_margin = lease_margin

    def collect(self) -> Iterable[Metric]:
        yield _gauge("haqn_agent_lease_margin_seconds", "Time until the lease counts as lost", self._lease_margin())
        yield _gauge("haqn_agent_work_in_flight", "Routers that are worked on", self._service.in_flight)
        status = self._service.status
        if status is None:
            return
        yield _gauge("haqn_agent_routers", "Routers built on this host", status.sync.routers)
        yield _gauge("haqn_agent_work_failed", "Objects that could not be carried out", len(status.sync.errors))
        yield _gauge("haqn_agent_generation", "Generation of documents that is carried out", status.sync.generation)
        yield _gauge("haqn_agent_holding", "1 while the documents are not complete", int(status.sync.holding))
        pairs = GaugeMetricFamily("haqn_agent_pairs", "Pairs of this host by VRRP state", labels=["state"])
        states = Counter(pair.state for pair in status.pairs)
        for state in VrrpState:
            pairs.add_metric([state], states[state])
        yield pairs
        transitions = CounterMetricFamily(
            "haqn_agent_transitions", "Transitions that keepalived has told of the pairs that this host has now"
        )
        transitions.add_metric([], sum(pair.sequence for pair in status.pairs))
        yield transitions


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)
