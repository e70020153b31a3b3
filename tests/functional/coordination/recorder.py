"""What the tests record: callbacks in order, and the lines that a program tells."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading

from haqn.clock import SystemClock
from haqn.coordination.client import Etcd
from haqn.coordination.state import Changed, Deleted
from haqn.exceptions import OutcomeUnknown


class Events:
    """A handler that keeps what an informer delivers."""

    def __init__(self):
        self.all = []

    def __call__(self, event):
        self.all.append(event)

    @property
    def changed(self):
        return [event.item for event in self.all if isinstance(event, Changed)]

    @property
    def deleted(self):
        return [event.before.key for event in self.all if isinstance(event, Deleted)]


class Calls:
    """Two callbacks, whose calls are kept as (name, *arguments)."""

    def __init__(self):
        self.all = []

    def on(self, name):
        return lambda *arguments: self.all.append((name, *arguments))

    @property
    def names(self):
        return [name for name, *_ in self.all]


class JumpingClock(SystemClock):
    """A clock that `jump` moves on at once, as it looks to a process that was paused meanwhile."""

    def __init__(self):
        self._jumped = 0.0

    def jump(self, seconds):
        self._jumped += seconds

    def monotonic(self):
        return super().monotonic() + self._jumped


class Late(Etcd):
    """A client of which one transaction, the next after `hold`, gets no answer and is carried out later.

    That is what a frozen member does with a request when it wakes up.
    """

    _holding = False
    _held = None

    def hold(self):
        self._holding, self._held = True, None

    @property
    def holds(self):
        return self._held is not None

    def carry_out(self):
        """Whether the held transaction took effect."""
        return super().transact(self._held[0], **self._held[1]).succeeded

    def transact(self, operations, **options):
        if self._holding:
            self._holding, self._held = False, (list(operations), options)
            raise OutcomeUnknown("no answer")
        return super().transact(operations, **options)


class Program:
    """`tests.functional.coordination.program` in a process of its own, which dies with this object's context."""

    def __init__(self, *arguments):
        self.told = []
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", f"{__package__}.program", *arguments],
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.told.append(json.loads(line))

    def of(self, event):
        return [told for told in list(self.told) if told["event"] == event]

    def pause(self):
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()
