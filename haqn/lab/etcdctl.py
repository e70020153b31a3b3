"""What is in the lab's etcd, read as an operator reads it: with etcdctl."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from haqn.documents import Manifest, PairDocument, RouterDocument, SyncReport, decode
from haqn.exceptions import HostError
from haqn.lab.cluster import Lab
from haqn.lab.command import run
from haqn.lab.spec import Kind
from haqn.model import Role

AGENTS = "/haqn/v1/agents/"
_DESIRED = "/haqn/v1/desired"
_OBSERVED = "/haqn/v1/observed"
_POLL = 0.1


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
    return run(["etcdctl", f"--endpoints={','.join(lab.spec.etcd_endpoints)}", *arguments]).stdout


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
    """Host -> why it has not carried out all that it is asked for; empty when all have."""
    found: dict[str, str] = {}
    for host in hosts:
        manifests = get(lab, f"{_DESIRED}/{host}/manifest")
        reports = get(lab, f"{_OBSERVED}/{host}/sync")
        if not manifests or not reports:
            found[host] = "no manifest" if not manifests else "no sync report"
            continue
        manifest, report = decode(manifests[0].value, Manifest), decode(reports[0].value, SyncReport)
        if report.errors:
            found[host] = f"errors: {report.errors}"
        elif report.generation < manifest.generation or not manifest.complete or report.holding:
            found[host] = f"generation {report.generation} of {manifest.generation}"
    return found


def wait_until_settled(lab: Lab, hosts: Iterable[str] | None = None, timeout: float = 60.0) -> None:
    """Until the hosts (default: all network and compute hosts) have carried out what they are asked for."""
    names = [host.name for host in lab.spec.of_kind(Kind.NETWORK, Kind.COMPUTE)] if hosts is None else list(hosts)
    deadline = time.monotonic() + timeout
    while reasons := unsettled(lab, names):
        if time.monotonic() > deadline:
            raise HostError(f"cannot see the hosts settle within {timeout:g} s: {reasons}")
        time.sleep(_POLL)


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
