"""A host that has little memory left takes no more routers, and says so at once."""

from __future__ import annotations

import pytest

from haqn.agent.memory import Watermark, available_mib
from haqn.agent.source import Source
from haqn.documents import Heartbeat, decode
from haqn.model import AgentType

MEMINFO = "MemTotal:        8039480 kB\nMemFree:          123456 kB\nMemAvailable:    {} kB\nBuffers:  1 kB\n"


def test_what_the_kernel_says():
    assert available_mib(MEMINFO.format(204800)) == 200
    # Linux before 3.14
    assert available_mib("MemTotal:        8039480 kB\n") is None
    with open("/proc/meminfo") as meminfo:
        assert available_mib(meminfo.read()) > 1


def test_it_is_full_below_the_reserve_and_until_there_is_a_quarter_more(caplog):
    available = [100, 99, 110, 124, 125, 110, 99, None]
    texts = ["MemTotal: 1 kB\n" if each is None else MEMINFO.format(each * 1024) for each in available]
    watermark = Watermark(100, lambda: texts.pop(0))
    reason = "less than 100 MiB of memory left"
    # what the kernel does not say any more stays as it was
    assert [watermark.why_full() for _ in available] == ["", reason, reason, reason, "", "", reason, reason]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "99 MiB of memory are available",
        "125 MiB of memory are available",
        "99 MiB of memory are available",
    ]


def test_without_a_reserve_nobody_looks():
    def fail():
        raise AssertionError

    assert Watermark(0, fail).why_full() == ""


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


class NotingSession:
    def __init__(self):
        self.beats = []

    def register(self, _key, value):
        self.beats.append(decode(value, Heartbeat))

    def start(self):
        pass


class NoInformer:
    synced = None

    def start(self):
        pass


@pytest.fixture
def told(monkeypatch):
    """A source whose host is full for as long as `reason` says, the clock, and the heartbeats that it has told."""
    reason, clock, session = [""], Clock(), NotingSession()
    monkeypatch.setattr("haqn.agent.source.Session", lambda *_: session)
    monkeypatch.setattr("haqn.agent.source.Informer", lambda *_, **__: NoInformer())
    source = Source(None, "net1", 10, clock, lambda: reason[0])
    beat = Heartbeat(agent_id="a", agent_type=AgentType.L3, host="net1", started_at="")
    source.start([beat], lambda: None)
    return source, reason, clock, session.beats


def test_the_heartbeat_says_at_once_that_the_host_is_full_and_later_that_it_is_not(told):
    source, reason, clock, beats = told
    source.listing()
    assert [beat.full for beat in beats] == [""]
    reason[0] = "little memory"
    source.listing()
    source.listing()
    assert [beat.full for beat in beats] == ["", "little memory"]
    reason[0] = ""
    clock.now += 5
    source.listing()
    assert len(beats) == 2
    clock.now += 6
    source.listing()
    assert [beat.full for beat in beats] == ["", "little memory", ""]


def test_a_host_that_is_full_from_the_beginning_says_so_with_its_first_word(monkeypatch, told):
    session = NotingSession()
    monkeypatch.setattr("haqn.agent.source.Session", lambda *_: session)
    source = Source(None, "net1", 10, Clock(), lambda: "little memory")
    source.start([Heartbeat(agent_id="a", agent_type=AgentType.L3, host="net1", started_at="")], lambda: None)
    assert [beat.full for beat in session.beats] == ["little memory"]
