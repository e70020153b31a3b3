"""Processes that the tests pause, kill and fork. They tell what happens as JSON, one object a line."""

from __future__ import annotations

import json
import os
import sys
import time

from haqn.coordination.client import Etcd, Put
from haqn.coordination.election import Election, Term
from haqn.coordination.informer import Informer
from haqn.coordination.session import Session
from haqn.coordination.state import Changed, Deleted, Event
from haqn.exceptions import CoordinationError, NotLeader
from tests.etcd_cluster import begin_with


def tell(**what: object) -> None:
    # One write a line: several threads tell.
    os.write(1, (json.dumps(what) + "\n").encode())


def watch(endpoints: list[str], prefix: str) -> None:
    def handle(event: Event) -> None:
        if isinstance(event, Changed):
            tell(event="changed", key=event.item.key, revision=event.item.mod_revision)
        elif isinstance(event, Deleted):
            tell(event="deleted", key=event.before.key)
        else:
            tell(event="synced")

    etcd = Etcd(endpoints)
    begin_with(etcd, endpoints[0])
    Informer(etcd, prefix, handle).start()
    while True:
        time.sleep(3600)


class Believer(Election):
    """A leader that trusts its first term for ever, as one does that is paused after its last look at the clock."""

    remembered: Term | None = None

    def _require(self, token: int | None) -> Term:
        if self.remembered is None:
            self.remembered = super()._require(token)
        return self.remembered


def lead(endpoints: list[str], name: str) -> None:
    """Write as fast as possible in the belief to lead, first by the first endpoint; leader key /leader, written key
    /written, and the session's own key /held."""
    etcd = Etcd(endpoints)
    begin_with(etcd, endpoints[0])
    session = Session(
        etcd,
        2,
        on_lost=lambda reason: tell(event="lost", why=reason),
        on_restored=lambda lease, resumed: tell(event="restored", lease=lease, resumed=resumed),
    )
    session.register("/held", name.encode())
    election = Believer(
        session,
        "/leader",
        name.encode(),
        on_elected=lambda token: tell(event="elected", token=token),
        on_demoted=lambda reason: tell(event="demoted"),
    )
    session.start()
    election.start()
    while not election.is_leader:
        time.sleep(0.01)
    while True:
        try:
            result = election.write([Put("/written", name.encode())])
            tell(event="written", revision=result.revision)
        except NotLeader as error:
            tell(event="refused", why=str(error))
            time.sleep(0.1)
        except CoordinationError as error:
            tell(event="unknown", why=str(error))


def fork(endpoints: list[str], parent: str) -> None:
    etcd = Etcd(endpoints)
    session = Session(etcd, 5)
    unstarted = Informer(etcd, "/forked/")
    if parent == "connected":
        etcd.put("/forked/by-parent", b"")
        session.start()
        assert session.wait(10)
    pid = os.fork()
    if pid == 0:
        etcd.put("/forked/by-child", b"")
        assert not session.valid
        assert session.lease is None
        if parent == "connected":
            try:
                session.start()
            except RuntimeError:
                pass
            else:
                raise AssertionError("a session of the parent was started in the child")
        unstarted.start()
        assert unstarted.synced.wait(10)
        assert "/forked/by-child" in unstarted.cache()
        own = Session(etcd, 5)
        own.start()
        assert own.wait(10)
        own.stop()
        print("child done", flush=True)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    etcd.put("/forked/by-parent", b"again")
    if parent == "connected":
        assert session.valid
    print("parent done", flush=True)


if __name__ == "__main__":
    command, *endpoints, argument = sys.argv[1:]
    {"watch": watch, "lead": lead, "fork": fork}[command](endpoints, argument)
