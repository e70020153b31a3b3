"""What a tenant notices (bench.tenant), and routers on one host: throughput, memory, time to build, audit, and to add
floating IPs.

The latter in namespaces that end with the measurement, so that nothing of this machine is touched.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from bench import tenant
from bench.measure import Measured


def measure(say: Callable[[str], None], routers: int) -> list[Measured]:
    """All of it, with so many routers."""
    rows = tenant.measure(say)
    say("one host: throughput through gate and NAT")
    rows += _inside("bench.forwarding")
    say(f"one host: {routers} routers built and audited")
    return rows + _inside("bench.hostcost", "--routers", str(routers))


def _inside(module: str, *arguments: str) -> list[Measured]:
    command = ["unshare", "--net", "--mount", sys.executable, "-m", module, *arguments]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [Measured(**row) for row in json.loads(answer)]
