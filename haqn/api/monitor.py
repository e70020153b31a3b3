"""`haqn/monitor`: who leads, what it holds back and why, and what it would do; and an operator's release of a brake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from haqn.api.endpoints import answer, read_object
from haqn.api.kinds import Boolean, Integer, Invalid, ListOf, Record, Timestamp, Uuid
from haqn.api.services import Services
from haqn.db import monitorstatus, overview
from haqn.db.clock import utcnow
from haqn.db.session import Connection
from haqn.exceptions import HTTPBadRequest

#: seconds for which a release holds by default, and at most
_RELEASED_FOR = 600
_LONGEST = 86400
_WISH = Record(
    {"release": Boolean(), "seconds": Integer(1, _LONGEST), "agents": ListOf(Uuid())}, frozenset({"release"})
)
_TIME = Timestamp()


class Monitor:
    """`/v2.0/haqn/monitor`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        answer(response, {"monitor": self._describe()})

    def on_put(self, request: falcon.Request, response: falcon.Response) -> None:
        """`{"monitor": {"release": true, "seconds": 600}}`: believe the deaths that are held back now (or those of
        `agents`); false: do not any more. To say it again lets the time begin anew."""
        body = read_object(request)
        if set(body) != {"monitor"}:
            raise HTTPBadRequest(reason="Unable to find 'monitor' in request body")
        try:
            wish = _WISH.parse(body["monitor"])
        except Invalid as error:
            raise HTTPBadRequest(reason=f"Invalid input for monitor. Reason: {error}") from None

        def work(connection: Connection) -> None:
            if not wish["release"]:
                monitorstatus.withdraw_release(connection)
                return
            monitorstatus.release_held(connection, wish.get("agents"), wish.get("seconds", _RELEASED_FOR))

        self._services.write(work)
        answer(response, {"monitor": self._describe()})

    def _describe(self) -> Mapping[str, Any]:
        with self._services.database.read() as connection:
            status = monitorstatus.read_status(connection)
            release = monitorstatus.read_release(connection)
            hosts = overview.hosts(connection)
        leader = self._services.live_state.leader()
        document = dict(status.document) if status is not None else {}
        dead = [{"agent_id": agent_id, "host": hosts.get(agent_id)} for agent_id in document.pop("dead", [])]
        in_force = release is not None and release.expires_at > utcnow()
        return {
            # null: etcd does not tell; then nothing below can have changed, either
            "leader": None if leader is None else leader.holder,
            "epoch": None if leader is None else leader.epoch,
            "leading_since": None if leader is None else leader.since,
            "frozen": status.frozen if status is not None else False,
            "reason": status.reason if status is not None else "",
            "since": _TIME.show(status.since) if status is not None and status.frozen else None,
            "said_in_epoch": status.epoch if status is not None else None,
            "dead": dead,
            **document,
            "release": {
                "agents": sorted(release.agents),
                "released_at": _TIME.show(release.released_at),
                "expires_at": _TIME.show(release.expires_at),
            }
            if release is not None and in_force
            else None,
        }
