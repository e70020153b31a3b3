"""What the leader would do now, by somebody who does not lead: reads SQL and etcd once, writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from haqn.clock import Clock
from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.observed import Observed
from haqn.coordination.operations import Operation, TransactionResult
from haqn.coordination.state import Changed
from haqn.db.clock import utcnow
from haqn.db.session import Database
from haqn.db.snapshot import Facts, read_placed, read_wanted
from haqn.exceptions import NotLeader
from haqn.monitor import readiness
from haqn.monitor.assemble import make_view, settled_pairs
from haqn.monitor.projection import Projector
from haqn.monitor.publisher import Publisher
from haqn.monitor.term import Settings
from haqn.scheduler.view import LONG_AGO, View


def look_on(etcd: Etcd, database: Database, settings: Settings, clock: Clock) -> View:
    """The view of a leader that has led for long and knows all reports for long. Raises what etcd and SQL raise."""
    observed = Observed(clock)
    for item in etcd.list(keys.AGENTS)[0].values():
        observed.on_agents(Changed(item, None))
    for item in etcd.list(keys.OBSERVED)[0].values():
        observed.on_reports(Changed(item, None))
    reported = observed.look()
    facts = Facts(read_wanted(database), read_placed(database))
    publisher = Publisher(lambda: etcd.list(keys.DESIRED)[0], _refuse, epoch=0)
    publisher.adopt(Projector(settings.advert_interval_ms).project(facts, settled_pairs(facts, reported)))
    now = clock.monotonic() + LONG_AGO
    view = make_view(facts, reported, now=now, vacated=publisher.vacated, since={})
    return replace(
        view,
        release=readiness.release_now(facts.placed, utcnow()),
        unready=readiness.find_unready(facts, reported, publisher.generation_of)
        if readiness.is_needed(facts, reported)
        else (),
        absent=readiness.find_absent(facts, reported, publisher.generation_of, publisher.manifest_generation),
    )


def _refuse(_operations: Sequence[Operation]) -> TransactionResult:
    raise NotLeader("cannot write: this process only looks on")
