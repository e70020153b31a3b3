"""Since when the leader can rely on what it reads."""

from haqn.monitor.health import Health, Source
from haqn.scheduler.view import LONG_AGO
from tests.watch import Watch


def test_health_counts_from_when_a_source_is_back():
    clock = Watch(50.0)
    health = Health(clock)
    assert health.since(Source.SQL) == LONG_AGO
    health.lost(Source.SQL, "gone")
    clock.now = 55.0
    health.lost(Source.SQL, "still gone")
    assert health.since(Source.SQL) == 0.0
    health.works(Source.SQL)
    clock.now = 57.0
    health.works(Source.SQL)
    assert health.since(Source.SQL) == 2.0
    assert health.since(Source.ETCD) == LONG_AGO
