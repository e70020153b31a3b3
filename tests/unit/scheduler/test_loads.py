"""How evenly routers are spread when standbys count, too: what an agent has to build, and to take over."""

from collections import Counter

from haqn.model import RouterRequest
from haqn.scheduler.planner import plan
from haqn.scheduler.view import Policy
from tests.unit.scheduler.cluster import Cluster
from tests.unit.scheduler.support import agent, apply


def totals(cluster: Cluster) -> Counter:
    pairs = {pair.id: pair.members for pair in cluster.view.pairs}
    return Counter(member for binding in cluster.view.bindings for member in pairs[binding.pair_id])


def test_actives_and_standbys_together_are_even_and_stay_so_after_any_single_failure():
    cluster = Cluster([agent(f"net{i}", zone="abc"[i % 3]) for i in range(10)])
    for number in range(1000):
        cluster.add_router(RouterRequest(id=f"r{number:04}"))
    cluster.view = apply(cluster.view, plan(cluster.view, Policy()))
    cluster.vrrp()
    assert set(totals(cluster).values()) == {200}

    view, masters = cluster.view, dict(cluster.masters)
    for index in range(10):
        cluster.view, cluster.masters = view, dict(masters)
        cluster.set_agent(index, alive=False)
        cluster.vrrp()
        # the first plan designates those who forward now, the second finds the standbys
        for _ in range(2):
            cluster.view = apply(cluster.view, plan(cluster.view, Policy()))
            cluster.vrrp()
        found = totals(cluster)
        assert f"net{index}" not in found
        assert sum(found.values()) == 2000
        assert all(abs(load - 2000 / 9) <= 0.2 * 2000 / 9 for load in found.values()), found
