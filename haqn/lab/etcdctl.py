"""What is in the lab's etcd, read as an operator reads it: with etcdctl.

What an agent has said outlives it for as long as its lease: `unsettled` believes only agents that run.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from haqn.documents import Heartbeat, Manifest, PairDocument, PairReport, RouterDocument, SyncReport, decode
from haqn.lab import etcdusers
from haqn.lab.cluster import Lab
from haqn.lab.command import run
from haqn.lab.services import AGENT
from haqn.lab.spec import Kind
from haqn.model import Role

AGENTS = "/haqn/v1/agents/"
_DESIRED = "/haqn/v1/desired"
_OBSERVED = "/haqn/v1/observed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One key."""

    key: str
    value: bytes
    #: id of the lease that it lives by, 0 without one
    lease: int
    #: of etcd, at which it was changed last
    revision: int


def etcdctl(lab: Lab, *arguments: str) -> str:
    """What etcdctl answers."""
    environment = [f"{name}={value}" for name, value in etcdusers.for_etcdctl(lab.spec).items()]
    return run(["env", *environment, "etcdctl", *arguments]).stdout


def get(lab: Lab, prefix: str) -> list[Entry]:
    """Every key that begins with `prefix`."""
    answer: dict[str, Any] = json.loads(etcdctl(lab, "get", "--prefix", "--write-out=json", prefix))
    return [
        Entry(
            key=base64.b64decode(kv["key"]).decode(),
            value=base64.b64decode(kv.get("value", "")),
            lease=kv.get("lease", 0),
            revision=kv["mod_revision"],
        )
        for kv in answer.get("kvs", [])
    ]


def time_to_live(lab: Lab, lease: int) -> int:
    """Seconds that the lease has left."""
    answer: dict[str, Any] = json.loads(etcdctl(lab, "lease", "timetolive", "--write-out=json", f"{lease:x}"))
    seconds: int = answer["ttl"]
    return seconds


def pairs_observed(host: str) -> str:
    """Prefix of the host's reports on its pairs."""
    return f"{_OBSERVED}/{host}/pairs/"


def unsettled(lab: Lab, hosts: Iterable[str]) -> dict[str, str]:
    """Host -> why its agent that runs now has not carried out all that it is asked for; empty when all have."""
    return {host: why for host in hosts if (why := _unsettled(lab, host))}


def _unsettled(lab: Lab, host: str) -> str:
    lease = lease_of(lab, host)
    if not lease:
        return "its agent does not run, or has not registered yet"
    manifests = get(lab, f"{_DESIRED}/{host}/manifest")
    said = {entry.key: entry.value for entry in get(lab, f"{_OBSERVED}/{host}/") if entry.lease == lease}
    sync = said.get(f"{_OBSERVED}/{host}/sync")
    if not manifests or sync is None:
        return "no sync report" if manifests else "no manifest"
    manifest, report = decode(manifests[0].value, Manifest), decode(sync, SyncReport)
    if report.errors:
        return f"errors: {report.errors}"
    if report.generation < manifest.generation or not manifest.complete or report.holding:
        return f"generation {report.generation} of {manifest.generation}"
    pairs = {entry.key.rpartition("/")[2] for entry in get(lab, f"{_DESIRED}/{host}/pairs/")}
    silent = sorted(pair for pair in pairs if f"{pairs_observed(host)}{pair}" not in said)
    return f"nothing is said of pairs {', '.join(silent)}" if silent else ""


def lease_of(lab: Lab, host: str) -> int:
    """The lease of the host's agent that runs now; 0 when none runs, or it has not registered yet."""
    running = lab.host(host).daemon_processes(AGENT)
    if not running:
        return 0
    beats = [(decode(entry.value, Heartbeat), entry.lease) for entry in get(lab, AGENTS)]
    own = (lease for beat, lease in beats if beat.host == host and _moment(beat.started_at) > running[0].started_at)
    return next(own, 0)


def pair_reports(lab: Lab, host: str) -> list[PairReport]:
    """What the host's agent that runs now says of its pairs."""
    lease = lease_of(lab, host)
    return [decode(entry.value, PairReport) for entry in get(lab, pairs_observed(host)) if entry.lease == lease != 0]


def _moment(text: str) -> float:
    """Seconds of the wall clock, of a time as documents have it."""
    return datetime.datetime.fromisoformat(text).timestamp()


def designated(lab: Lab, pair_id: int, hosts: Iterable[str]) -> list[str]:
    """The hosts whose member of the pair the leader has made the ACTIVE one."""
    return [
        host
        for host in hosts
        for entry in get(lab, f"{_DESIRED}/{host}/pairs/{pair_id}")
        if decode(entry.value, PairDocument).role is Role.ACTIVE
    ]


def pair_of(lab: Lab, router_id: str) -> int | None:
    """The pair that the leader has projected the router to; None while it is on no pair."""
    pairs = {
        decode(entry.value, RouterDocument).pair_id
        for host in lab.spec.of_kind(Kind.NETWORK)
        for entry in get(lab, f"{_DESIRED}/{host.name}/routers/{router_id}")
    }
    return pairs.pop() if len(pairs) == 1 else None
