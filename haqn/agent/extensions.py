"""Agent extensions: other people's code that follows the routers of this host, out of the way of everything else.

A package names a class in the entry point group `haqn.agent.extensions` (Neutron's L3 agent extensions are the model);
an instance is told what routers the host has, and which of them are active here. Each has a thread and a bounded queue
of its own: one that is slow or broken delays nobody, least of all a failover, and when its queue is full it is told
later of what is so then. Nothing is told twice, and nothing but intermediate states is left out.
"""

from __future__ import annotations

import importlib.metadata
import logging
import queue
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from haqn.documents import RouterDocument

LOG = logging.getLogger(__name__)

GROUP = "haqn.agent.extensions"
_LONGEST_QUEUE = 1000


class AgentExtension(Protocol):
    """What an extension has. Everything is called in one thread, in the order in which it happened."""

    def add_router(self, router: RouterDocument) -> None:
        """The host has built the router, or had it already when the agent started."""

    def update_router(self, router: RouterDocument) -> None:
        """The host has carried out a change of the router."""

    def delete_router(self, router_id: str) -> None:
        """The router has left the host."""

    def ha_state_change(self, router_id: str, active: bool) -> None:
        """Whether the router forwards here; said after `add_router`, and when it changes."""


class Known(NamedTuple):
    """A router as an extension knows it, or is to know it."""

    document: RouterDocument
    active: bool


Call = Callable[[AgentExtension], None]


def calls(told: Known | None, now: Known | None, router_id: str) -> list[Call]:
    """What to say of one router. Pure."""
    if now is None:
        return [lambda one: one.delete_router(router_id)] if told is not None else []
    document, active = now
    found: list[Call] = []
    if told is None:
        found.append(lambda one: one.add_router(document))
    elif told.document != document:
        found.append(lambda one: one.update_router(document))
    if told is None or told.active != active:
        found.append(lambda one: one.ha_state_change(router_id, active))
    return found


class _Told:
    """One extension, and what it knows."""

    def __init__(self, name: str, extension: AgentExtension, longest_queue: int) -> None:
        self._name = name
        self._extension = extension
        self._known: dict[str, Known] = {}
        self._queue: queue.Queue[list[Call]] = queue.Queue(longest_queue)
        threading.Thread(target=self._run, name=f"extension-{name}", daemon=True).start()

    def tell(self, routers: Mapping[str, Known]) -> None:
        for router_id in self._known.keys() | routers.keys():
            before, now = self._known.get(router_id), routers.get(router_id)
            if before == now:
                continue
            try:
                self._queue.put_nowait(calls(before, now, router_id))
            except queue.Full:
                return  # the next look finds it still untold
            if now is None:
                del self._known[router_id]
            else:
                self._known[router_id] = now

    def _run(self) -> None:
        while True:
            for call in self._queue.get():
                try:
                    call(self._extension)
                except Exception:
                    LOG.exception("agent extension %s failed", self._name)


class Extensions:
    """All extensions of this agent."""

    def __init__(self, extensions: Mapping[str, AgentExtension], longest_queue: int = _LONGEST_QUEUE) -> None:
        """`longest_queue`: changes that wait for an extension."""
        self._all = [_Told(name, extension, longest_queue) for name, extension in sorted(extensions.items())]

    def look(self, routers: Iterable[RouterDocument], masters: Collection[int]) -> None:
        """Tell what has changed: the routers that the host has carried out, and the pairs that are MASTER here.

        Never waits.
        """
        if not self._all:
            return
        known = {
            router.router_id: Known(router, router.pair_id is None or router.pair_id in masters) for router in routers
        }
        for one in self._all:
            one.tell(known)


def load() -> Extensions:
    """The extensions that are installed. One that cannot be loaded is left out with an error in the log."""
    found: dict[str, AgentExtension] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            found[entry.name] = entry.load()()
        except Exception:
            LOG.exception("cannot load agent extension %s (%s)", entry.name, entry.value)
        else:
            LOG.info("agent extension %s", entry.name)
    return Extensions(found)
