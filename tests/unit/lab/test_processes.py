"""Processes as /proc has them."""

import math
import subprocess
import time

from haqn.lab import processes

#: seconds; of the kernel's clock ticks
TICK = 0.1


def test_when_a_process_has_started() -> None:
    before = time.time()
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        after = time.time()
        found = processes.read(sleeper.pid)
        assert found is not None
        assert before - TICK < found.started_at < after + TICK
        sleeper.kill()
    assert found.started_at == math.inf
