"""The failover program's pure parts: lines of the FIFO, frames, files."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from haqn.failover import announce, consumer, refresh
from haqn.failover.state import StateDirectory

ROW = announce.Row.parse("7 eth1 fa:16:3e:00:00:01 192.0.2.9")


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('INSTANCE "P65536" MASTER 240\n', (65536, "MASTER")),
        ('INSTANCE "P65536" BACKUP 230', (65536, "BACKUP")),
        ('INSTANCE "P65536" FAULT 230', (65536, "FAULT")),
        ('INSTANCE "P65536" STOP 230', (65536, "BACKUP")),
        ('INSTANCE "P65536" DELETED 230', (65536, "DELETED")),
        ('INSTANCE "P65536" MASTER_RX_LOWER_PRI 230', (65536, "MASTER_RX_LOWER_PRI")),
        ('INSTANCE "P65536" MASTER_RX_HIGHER_PRI 230', None),
        ('INSTANCE "VI_1" MASTER 100', None),
        ('GROUP "P65536" MASTER 100', None),
        ("", None),
    ],
)
def test_lines_of_the_fifo(line, event):
    assert consumer.parse(line) == event


def test_a_gratuitous_arp_is_an_arp_request_for_ones_own_address():
    frame = announce.gratuitous_arp(ROW.mac, ROW.address, announce.EVERYBODY)
    assert frame == bytes.fromhex(
        "ffff ffff ffff fa16 3e00 0001 0806"  # to everybody, ARP
        "0001 0800 0604 0001"  # Ethernet, IPv4, request
        "fa16 3e00 0001 c000 0209"  # sender
        "0000 0000 0000 c000 0209"  # target: the sender's address
    )
    assert announce.gratuitous_arp(ROW.mac, ROW.address, announce.SWITCHES_ONLY)[32:38] == announce.SWITCHES_ONLY


def test_an_address_of_ipv6_is_announced_by_a_routers_neighbour_advertisement():
    row = announce.Row.parse("7 eth1 fa:16:3e:00:00:01 2001:db8::9")
    protocol, frame = announce.frame(row, announce.EVERYBODY)
    assert protocol == 0x86DD
    assert frame == bytes.fromhex(
        "3333 0000 0001 fa16 3e00 0001 86dd"  # to all nodes, IPv6
        "6000 0000 0020 3aff 2001 0db8 0000 0000 0000 0000 0000 0009 ff02 0000 0000 0000 0000 0000 0000 0001"
        "8800 4303 a000 0000 2001 0db8 0000 0000 0000 0000 0000 0009"  # a router, override; target: the address
        "0201 fa16 3e00 0001"  # its link-layer address
    )
    _, marked = announce.frame(row, announce.SWITCHES_ONLY)
    assert marked.endswith(b"\x0e\x01" + announce.SWITCHES_ONLY)
    assert len(marked) == len(frame) + 8


def test_floating_addresses_come_after_what_switches_learn_from():
    lines = (
        "7 eth1 fa:16:3e:00:00:01 192.0.2.9",
        "7 eth1 fa:16:3e:00:00:01 2001:db8::9",
        "7 eth1 fa:16:3e:00:00:01 192.0.2.10",
        "8 eth1 fa:16:3e:00:00:02 192.0.2.11",
        "7 eth1 fa:16:3e:00:00:01 192.0.2.9",
    )
    rows = [announce.Row.parse(line) for line in lines]
    assert announce.one_a_port(rows) == [rows[0], rows[1], rows[3]]
    assert announce.ports_first(rows) == [rows[0], rows[1], rows[3], rows[2], rows[4]]


def test_the_mark_for_switches_is_a_unicast_local_mac():
    assert announce.SWITCHES_ONLY[0] & 0b11 == 0b10


def test_state_directory(tmp_path):
    directory = StateDirectory(str(tmp_path))
    assert (directory.role(65536), directory.observed(65536), directory.epoch(65536)) == (None, None, 0)
    assert directory.rows(65536) == []
    directory.write_role(65536, 1)
    directory.write_epoch(65536, 4)
    directory.write_rows(65536, ["7 eth1 fa:16:3e:00:00:01 192.0.2.9"])
    for state in ("BACKUP", "MASTER", "MASTER"):
        directory.write_observed(65536, state)
    assert directory.role(65536) == 1
    assert directory.epoch(65536) == 4
    assert [announce.Row.parse(line) for line in directory.rows(65536)] == [ROW]
    observed = directory.observed(65536)
    assert (observed.state, observed.sequence) == ("MASTER", 2)
    with directory.locked():
        pass
    directory.write_observed(65537, "BACKUP")
    assert directory.masters() == [65536]
    assert directory.pairs() == {65536, 65537}
    directory.forget(65536)
    assert directory.pairs() == {65537}


def test_files_cut_short_by_a_crash_count_as_absent(tmp_path):
    directory = StateDirectory(str(tmp_path))
    for name in ("65536.role", "65536.state", "65536.epoch"):
        (tmp_path / name).write_text("")
    assert (directory.role(65536), directory.observed(65536), directory.epoch(65536)) == (None, None, 0)


def test_the_check_of_each_second_loads_nothing_that_is_slow_to_load():
    """On a host whose processors are all busy, what it takes to start decides whether gates are refreshed in time."""
    code = """
import os, sys, time
sys.path.append(sys.argv[1])
before = set(sys.modules)
from haqn.failover import refresh
print(sorted(name for name in set(sys.modules) - before if not name.startswith("haqn")))
"""
    package = str(Path(refresh.__file__).parents[2])
    command = [sys.executable, "-SIE", "-c", code, package]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    small = {"__future__", "_socket", "_struct", "errno", "fcntl", "struct", "termios"}
    assert set(ast.literal_eval(output)) <= small


def test_the_program_needs_nothing_but_the_standard_library():
    """Started as keepalived starts it, it must not even see what is installed beside haqn."""
    run = Path(consumer.__file__).with_name("run.py")
    code = f"""
import sys, runpy
sys.argv = ["run.py", "refresh", "/nonexistent", "3000", "/nonexistent/fifo"]
try:
    runpy.run_path({str(run)!r}, run_name="__main__")
except BaseException as error:
    print(type(error).__name__)
print([name for name in sys.modules if name.partition(".")[0] in ("pyroute2", "etcd3", "oslo_config")])
print(any("site-packages" in path for path in sys.path))
"""
    output = subprocess.run([sys.executable, "-SIE", "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == ["FileNotFoundError", "[]", "False"]
