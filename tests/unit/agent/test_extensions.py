"""Agent extensions are told of routers in order, wait for nobody and hold nobody up."""

import logging
import sys
import threading
from dataclasses import replace
from pathlib import Path

from haqn.agent import extensions
from haqn.agent.extensions import Extensions
from haqn.documents import RouterDocument
from tests.eventually import eventually

SAMPLE = Path(__file__).parents[2] / "sample_extension"
ONE = RouterDocument(router_id="r1", pair_id=65536)
TWO = RouterDocument(router_id="r2", pair_id=None)


class Recorder:
    """Says what it was told; does nothing while it is held."""

    def __init__(self):
        self.told = []
        self.held = threading.Event()
        self.held.set()

    def __getattr__(self, name):
        def note(*arguments):
            self.held.wait(10)
            self.told.append((name, *arguments))

        return note


def after(recorder, count):
    eventually(lambda: len(recorder.told) >= count, timeout=5)
    assert len(recorder.told) == count
    found, recorder.told = recorder.told, []
    return found


def test_routers_come_change_their_state_and_go():
    recorder = Recorder()
    all_of_them = Extensions({"recorder": recorder})
    all_of_them.look([ONE, TWO], {65536})
    assert sorted(after(recorder, 4), key=str) == [
        ("add_router", ONE),
        ("add_router", TWO),
        ("ha_state_change", "r1", True),
        ("ha_state_change", "r2", True),  # it has no standby
    ]
    all_of_them.look([ONE, TWO], {65536})
    all_of_them.look([ONE, TWO], set())
    assert after(recorder, 1) == [("ha_state_change", "r1", False)]
    changed = replace(ONE, enable_snat=False)
    all_of_them.look([changed, TWO], {65536})
    assert after(recorder, 2) == [("update_router", changed), ("ha_state_change", "r1", True)]
    all_of_them.look([TWO], {65536})
    assert after(recorder, 1) == [("delete_router", "r1")]


def test_a_slow_extension_is_told_later_and_delays_nobody():
    slow, quick = Recorder(), Recorder()
    slow.held.clear()
    all_of_them = Extensions({"slow": slow, "quick": quick}, longest_queue=3)
    routers = [RouterDocument(router_id=f"r{number}", pair_id=65536) for number in range(50)]
    for _ in range(20):
        all_of_them.look(routers, {65536})
        eventually(all_of_them._all[0]._queue.empty, timeout=5)
    after(quick, 100)
    assert slow.told == []
    all_of_them.look([], set())
    slow.held.set()

    def knows():
        """What it has been told in the end: router -> whether it is active."""
        all_of_them.look(routers[:1], set())
        known = {}
        for name, router, *state in list(slow.told):
            if name == "add_router":
                known[router.router_id] = None
            elif name == "delete_router":
                del known[router]
            elif name == "ha_state_change":
                known[router] = state[0]
        return known

    eventually(lambda: knows() == {"r0": False}, timeout=10)


def test_an_extension_that_fails_goes_on(caplog):
    class Broken(Recorder):
        def add_router(self, router):
            raise RuntimeError("broken")

    broken = Broken()
    with caplog.at_level(logging.CRITICAL):
        Extensions({"broken": broken}).look([ONE], set())
        assert after(broken, 1) == [("ha_state_change", "r1", False)]


def test_installed_extensions_are_found(monkeypatch):
    monkeypatch.syspath_prepend(str(SAMPLE))
    found = extensions.load()
    found.look([ONE], {65536})
    sample = sys.modules["haqn_sample"]
    eventually(lambda: sample.RouterLog.lines == ["r1 is here", "r1 is active"], timeout=5)
