import threading

import pytest

from haqn.coordination.worker import Worker


def test_goes_on_after_a_failure_and_delivers_in_order(monkeypatch):
    monkeypatch.setattr("haqn.coordination.worker._PAUSE_AFTER_BUG", 0.0)
    seen, enough, steps = [], threading.Event(), []

    def fail():
        raise RuntimeError("callback")

    def step():
        steps.append(None)
        worker.notify(fail)
        worker.notify(seen.append, len(steps))
        if len(steps) >= 3:
            enough.set()
            worker.stopping.wait(10)
        raise RuntimeError("step")

    worker = Worker("test", step)
    assert not worker.runs_here
    worker.start()
    assert worker.runs_here
    assert enough.wait(10)
    worker.stop_loop(10)
    worker.stop_callbacks(10)
    assert not worker.runs_here
    assert seen == [1, 2, 3]


def test_starts_once():
    worker = Worker("test", lambda: worker.stopping.wait(10))
    worker.start()
    with pytest.raises(RuntimeError, match="twice"):
        worker.start()
    worker.stop_loop(10)
    worker.stop_callbacks(10)


def test_stopping_what_was_never_started_is_harmless():
    worker = Worker("test", lambda: None)
    worker.stop_loop(1)
    worker.stop_callbacks(1)
