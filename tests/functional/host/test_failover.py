"""keepalived, the failover program and the gate together on one host, with no agent, etcd or peer."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haqn import templating
from haqn.agent.pairs import Pairs, make_gate
from haqn.agent.work import MustWait
from haqn.documents import PairDocument
from haqn.failover import refresh
from haqn.keepalived import config, program
from haqn.lab import command, kernel
from haqn.model import FIRST_PAIR_ID
from tests.eventually import eventually
from tests.functional.host.alone import make_pairs, pair
from tests.isolated import isolated

pytestmark = pytest.mark.functional

FIRST = FIRST_PAIR_ID


@contextlib.contextmanager
def pairs_of_host(path: Path, python: str = "/usr/bin/python3") -> Iterator[Pairs]:
    """To be used in a namespace of its own."""
    if not Path("/sys/class/net/eth0").exists():
        subprocess.run(["ip", "link", "add", "eth0", "type", "bridge"], check=True)
        subprocess.run(["ip", "address", "add", "192.0.2.1/24", "dev", "eth0"], check=True)
        subprocess.run(["ip", "link", "set", "eth0", "up"], check=True)
    make_gate(templating.environment())
    pairs = make_pairs(path, "eth0", gate_lease_ms=3000, python=python)
    try:
        yield pairs
    finally:
        pairs.apply([], holding=False)
        assert pairs.daemon.pid() is None
        eventually(lambda: ended(pairs))


def ended(pairs: Pairs) -> bool:
    """No consumer runs any more; one that has only just started is ended like any other."""
    pairs.apply([], holding=False)
    return refresh.find_consumer(pairs.state.path) is None


def open_gates() -> set[int]:
    return kernel.open_gates(command.run)


def apply(pairs: Pairs, *documents: PairDocument) -> None:
    """As soon as keepalived may be reloaded once more; as the agent does, again and again."""

    def done() -> bool:
        try:
            return pairs.apply(documents, holding=False) == {}
        except MustWait:
            return False

    eventually(done)


@isolated
def test_the_first_pair_finds_the_consumer_ready(tmp_path):
    with pairs_of_host(tmp_path) as pairs:
        pairs.make_ready()
        found = refresh.find_consumer(pairs.state.path)
        assert found is not None
        apply(pairs, pair(0))
        eventually(lambda: open_gates() == {FIRST})
        assert refresh.find_consumer(pairs.state.path) == found


@isolated
def test_no_transition_is_lost_when_keepalived_is_reloaded_again_and_again(tmp_path):
    """A new pair becomes MASTER about 300 ms after a reload: the next reloads come right then."""
    with pairs_of_host(tmp_path) as pairs:
        for count in range(1, 9):
            apply(pairs, *map(pair, range(count)))
            time.sleep(0.31)
        wanted = {FIRST + number for number in range(8)}
        eventually(lambda: set(pairs.state.masters()) == wanted, timeout=60)
        assert open_gates() == wanted
        time.sleep(3.5)  # longer than a lease: all of them are refreshed
        assert open_gates() == wanted
        apply(pairs, pair(0))
        eventually(lambda: open_gates() == {FIRST}, timeout=60)
        assert pairs.state.pairs() == {FIRST}


@isolated
def test_a_pair_that_inherits_a_virtual_router_id_does_not_inherit_its_state(tmp_path):
    """keepalived knows instances by that id; one that is MASTER from its first moment on never says so."""
    with pairs_of_host(tmp_path) as pairs:
        apply(pairs, pair(0), pair(1))
        eventually(lambda: open_gates() == {FIRST, FIRST + 1})
        heir = dataclasses.replace(pair(2), vr_id=pair(0).vr_id)
        apply(pairs, pair(1), heir)
        eventually(lambda: open_gates() == {FIRST + 1, FIRST + 2})
        eventually(lambda: set(pairs.state.masters()) == {FIRST + 1, FIRST + 2})
        assert pairs.state.observed(FIRST + 1).sequence == 2  # BACKUP, MASTER, and nothing since
        assert config.instances(pairs.daemon.config.read_text()) == {1: FIRST + 2, 2: FIRST + 1}


SLOW_CHECK = """#!/bin/sh
case " $* " in *" refresh "*) sleep 0.7;; esac
exec /usr/bin/python3 "$@"
"""


@isolated
def test_no_check_is_cut_short_by_two_reloads_in_a_row(tmp_path):
    """Each ends the check that runs: after a few of them in a row the leases of all gates would have run out."""
    python = tmp_path / "python"
    python.write_text(SLOW_CHECK)
    python.chmod(0o755)
    with pairs_of_host(tmp_path, python=str(python)) as pairs:
        checked = Path(pairs.state.path) / "checked"
        apply(pairs, pair(0))
        eventually(lambda: open_gates() == {FIRST})
        for count in range(2, 6):
            before = pairs.daemon.config.stat().st_mtime_ns
            apply(pairs, *map(pair, range(count)))
            assert before < checked.stat().st_mtime_ns, "a check has come to its end between the two"
        eventually(lambda: open_gates() == {FIRST + number for number in range(5)})
        assert pairs.state.observed(FIRST).sequence == 2  # BACKUP, MASTER, and nothing since


@isolated
def test_a_keepalived_that_checks_nothing_is_reloaded_all_the_same(tmp_path):
    with pairs_of_host(tmp_path) as pairs:
        apply(pairs, pair(0))
        eventually(lambda: open_gates() == {FIRST})
        os.kill(pairs.daemon.vrrp_pid(), signal.SIGSTOP)
        for count in (2, 3):
            apply(pairs, *map(pair, range(count)))
        pairs.daemon.kill()


@isolated
def test_a_restarted_agent_adopts_keepalived_and_consumer(tmp_path):
    with pairs_of_host(tmp_path) as pairs:
        apply(pairs, pair(0))
        eventually(lambda: open_gates() == {FIRST}, timeout=60)
        before = pairs.daemon.pid(), pairs.daemon.vrrp_pid(), refresh.find_consumer(pairs.state.path)
        sequence = pairs.state.observed(FIRST).sequence
        with pairs_of_host(tmp_path) as again:
            apply(again, pair(0, settled=True))
            time.sleep(1.5)
            assert (again.daemon.pid(), again.daemon.vrrp_pid(), refresh.find_consumer(again.state.path)) == before
            assert again.state.observed(FIRST).sequence == sequence
            assert again.state.role(FIRST) == 1
            assert open_gates() == {FIRST}


@isolated
def test_an_upgrade_replaces_the_consumer_and_nothing_else(tmp_path, monkeypatch):
    with pairs_of_host(tmp_path) as pairs:
        apply(pairs, pair(0))
        eventually(lambda: open_gates() == {FIRST}, timeout=60)
        keepalived, old = pairs.daemon.vrrp_pid(), refresh.find_consumer(pairs.state.path)
        sources = program._sources()
        monkeypatch.setattr(program, "_sources", lambda: sources | {"failover/new.py": b"# another version\n"})
        with pairs_of_host(tmp_path) as upgraded:
            apply(upgraded, pair(0, epoch=2))
            new = refresh.find_consumer(upgraded.state.path)
            assert new is not None
            assert new[0] != old[0]
            assert new[1] != old[1]
            for _ in range(30):
                assert open_gates() == {FIRST}
                time.sleep(0.1)
            assert upgraded.daemon.vrrp_pid() == keepalived
            assert upgraded.state.observed(FIRST).sequence == 2  # BACKUP, MASTER, and nothing since


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@isolated
def test_a_consumer_that_dies_or_freezes_is_replaced(tmp_path, number):
    with pairs_of_host(tmp_path) as pairs:
        apply(pairs, pair(0))
        eventually(lambda: open_gates() == {FIRST}, timeout=60)
        victim, _ = refresh.find_consumer(pairs.state.path)
        os.kill(victim, number)
        if number == signal.SIGSTOP:  # it is missed only when there is something to do
            apply(pairs, pair(0), pair(1))
        eventually(
            lambda: (found := refresh.find_consumer(pairs.state.path)) is not None and found[0] != victim, timeout=60
        )
        wanted = set(pairs.state.pairs())
        eventually(lambda: open_gates() == wanted and set(pairs.state.masters()) == wanted, timeout=60)


@isolated
def test_keepalived_that_was_killed_is_started_again(tmp_path):
    with pairs_of_host(tmp_path) as pairs:
        apply(pairs, pair(0))
        eventually(lambda: open_gates() == {FIRST}, timeout=60)
        pairs.daemon.kill()
        eventually(lambda: open_gates() == set(), timeout=60)
        pairs.check_health()
        eventually(lambda: open_gates() == {FIRST}, timeout=60)


@isolated
def test_keepalived_that_is_frozen_is_replaced(tmp_path):
    with pairs_of_host(tmp_path) as pairs:
        apply(pairs, pair(0))
        eventually(lambda: open_gates() == {FIRST}, timeout=60)
        frozen = pairs.daemon.vrrp_pid()
        os.kill(frozen, signal.SIGSTOP)
        eventually(lambda: open_gates() == set(), timeout=60)

        def looked_after() -> bool:
            # the agent looks once a second; while nothing moves it counts how often, not how long
            time.sleep(0.1 if pairs.daemon.vrrp_pid() == frozen else 1)
            pairs.check_health()
            return pairs.daemon.vrrp_pid() not in {frozen, None}

        eventually(looked_after, timeout=60)
        eventually(lambda: open_gates() == {FIRST}, timeout=60)


@isolated
def test_a_lost_gate_is_made_again_and_closed_meanwhile_for_keepalived(tmp_path):
    with pairs_of_host(tmp_path) as pairs:
        apply(pairs, pair(0))
        eventually(lambda: open_gates() == {FIRST}, timeout=60)
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        eventually(lambda: pairs.state.observed(FIRST).state == "FAULT", timeout=60)
        pairs.check_health()
        eventually(lambda: open_gates() == {FIRST}, timeout=60)
