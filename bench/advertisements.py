"""Router advertisements of many routers on one host: processes, memory and processor time.

In network and mount namespaces of its own, which end with it: a namespace a router, with a veth and an address.
`python -m bench.advertisements COUNT` prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.measure import Measured
from haqn.advertiser import daemon
from haqn.agent.advertiser import Advertiser
from haqn.agent.ra import message
from haqn.documents import FixedIp
from haqn.keepalived.supervisor import OwnSession
from haqn.linux import netns

#: megabytes, and seconds of the processor in the first minute, with its initial advertisements
_MEMORY_GOAL, _CPU_GOAL = 20.0, 2.0
_INDEX = 10
_MAC = "fa:16:3e:00:00:01"
_RUN = Path("/run/haqn")
_WATCHED = 30.0


def measure(count: int) -> list[Measured]:
    """The rows of the table."""
    inside = "mount -t tmpfs tmpfs /run && mount -t sysfs sysfs /sys && exec {} -m bench.advertisements {}"
    command = ["unshare", "--mount", "--net", "sh", "-c", inside.format(sys.executable, count)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    what = f"router advertisements of {count} routers"
    return [
        Measured(f"{what}: memory of the one process", found["memory"], "MB", _MEMORY_GOAL),
        Measured(f"{what}: processor, a minute", found["cpu"], "s", _CPU_GOAL),
    ]


def _build(count: int) -> None:
    script = (
        f"link add qr index {_INDEX} address {_MAC} type veth peer name other\n"
        "link set other up\nlink set qr up\naddress add 2001:db8::1/64 dev qr nodad\n"
    )
    for number in range(count):
        netns.create(f"r{number}")
        command = ["ip", "-n", f"r{number}", "-batch", "-"]
        subprocess.run(command, input=script, text=True, check=True)


def _memory(pid: int) -> float:
    """Megabytes of the process's proportional set."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _cpu(pid: int) -> float:
    """Seconds of the processor that the process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _watch(count: int) -> dict[str, float]:
    _build(count)
    advertiser = Advertiser(_RUN, "/usr/bin/python3", OwnSession())
    said = message(_MAC, 1450, [FixedIp(subnet_id="s", ip_address="2001:db8::1", prefix_length=64, ra_mode="slaac")])
    assert said is not None
    for number in range(count):
        advertiser.write(f"r{number}", f"r{number}", {_INDEX: said})
    advertiser.ensure()
    while (running := daemon.find(str(_RUN / "advertiser"))) is None:
        time.sleep(0.1)
    time.sleep(_WATCHED)
    pid = running[0]
    found = {"memory": _memory(pid), "cpu": _cpu(pid) * 60 / _WATCHED}
    os.kill(pid, signal.SIGTERM)
    return found


if __name__ == "__main__":
    print(json.dumps(_watch(int(sys.argv[1]))))
