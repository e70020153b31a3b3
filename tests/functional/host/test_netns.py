"""Named namespaces: what they leave in the table of mounts."""

from pathlib import Path

import pytest

from haqn.linux import netns
from tests.isolated import isolated

pytestmark = pytest.mark.functional


def mounts() -> int:
    return len(Path("/proc/thread-self/mountinfo").read_text().splitlines())


@isolated
def test_a_namespace_is_one_mount_whatever_their_number():
    netns.create("first")
    before = mounts()
    for number in range(20):
        netns.create(f"n{number}")
    assert mounts() == before + 20
    for name in netns.names():
        netns.remove(name)
    assert mounts() == before - 1
    assert netns.names() == set()
