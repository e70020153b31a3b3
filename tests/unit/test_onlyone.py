"""One process of a kind on a host: who it is, and that a dead one is none. Processes and locks are real."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from haqn import onlyone
from tests.eventually import eventually

#: takes the file, says whether it could, and lives until its input ends
TAKER = "import sys; from haqn import onlyone; print(onlyone.take(*sys.argv[1:]), flush=True); sys.stdin.read()"


def taker(path: Path, version: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TAKER, str(path), version],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_one_is_found_until_it_dies_and_keeps_a_second_one_out(tmp_path: Path) -> None:
    path = tmp_path / "it.pid"
    assert onlyone.find(str(path)) is None
    with taker(path, "/program of 1") as first:
        assert first.stdout.readline() == "True\n"
        assert onlyone.find(str(path)) == (first.pid, "/program of 1")
        with taker(path, "2") as second:
            assert second.stdout.readline() == "False\n"
            second.stdin.close()
        assert onlyone.find(str(path)) == (first.pid, "/program of 1")
        first.kill()
    assert path.read_text(), "what it left is there, and counts for nothing"
    assert onlyone.find(str(path)) is None


def test_a_successor_waits_until_its_predecessor_has_left(tmp_path: Path) -> None:
    path = tmp_path / "it.pid"
    with taker(path, "a version with a longer name") as first:
        assert first.stdout.readline() == "True\n"
        with taker(path, "2") as second:
            first.stdin.close()
            assert second.stdout.readline() == "True\n"
            assert eventually(lambda: onlyone.find(str(path))) == (second.pid, "2")
            second.stdin.close()


def test_two_that_look_at_once_do_not_take_each_other_for_the_one(tmp_path: Path) -> None:
    """Agent and keepalived's check look for the consumer at any time: the dead one's number must not be signalled."""
    path = tmp_path / "it.pid"
    with taker(path, "1") as dead:
        assert dead.stdout.readline() == "True\n"
        dead.kill()
    looking = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(looking, fcntl.LOCK_SH | fcntl.LOCK_NB)  # in the middle of another one's look
        assert onlyone.find(str(path)) is None
    finally:
        os.close(looking)
