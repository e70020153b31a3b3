"""`python -m bench.reboots [--times 20] [--seed N]`: one of two hosts loses power and comes back, again and again.

In every order of programs and links, with random delays. Exit status 1 unless it sent no frame with a router's MAC
after that, and traffic through its peer went on.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from haqn.lab import etcdctl, services
from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.reboots import Order, come_back
from haqn.lab.scenario import Scenario
from haqn.lab.scenery import wait_for
from haqn.lab.spec import LabSpec
from haqn.model import VrrpState

#: milliseconds; the machine is busy with the boot of a host
_GAP, _TAKEOVER_GAP = 1000.0, 2000.0


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="bench.reboots", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    given = parser.parse_args()
    print(f"seed {given.seed}")
    lab = Lab("reboots")
    try:
        lab.build(LabSpec(name=lab.name, hosts=2, computes=1, lease_ttl=5))
        services.start_all(lab)
        with Client(lab.spec.api_url) as client:
            rhythm = random.Random(given.seed)  # noqa: S311 - it is to be the same again
            return 1 if _run(lab, client, given.times, rhythm) else 0
    finally:
        lab.destroy()


def _run(lab: Lab, client: Client, times: int, rhythm: random.Random) -> int:
    """How often it went wrong."""
    scenario = Scenario(lab, client)
    scenario.until_vm_reaches_out()
    scenario.route_to_tenant()
    wait_for("the tenant is redundant", scenario.is_redundant)
    macs = {port["mac_address"] for port in client.find("port", device_id=scenario.router["id"])}
    wrong = 0
    for number in range(1, times + 1):
        order = rhythm.choice(list(Order))
        first, second = scenario.active, scenario.standby
        rebooted, peer = rhythm.choice([(first, second), (second, first)])
        with scenario.both_ways() as both_ways:
            sent = come_back(lab, rebooted, order, rhythm, lambda: _is_whole(lab, scenario))
            results = both_ways.stop()
        claims = sum(bool(frame.sources & macs) for frame in sent)
        gap = max(result.largest_gap_ms for result in results)
        held = (
            not claims
            and gap < (_TAKEOVER_GAP if rebooted == first else _GAP)
            and scenario.active == peer
            and all(result.all_answered for result in results)
        )
        wrong += not held
        who = "active" if rebooted == first else "standby"
        print(
            f"{number:3} {who:8} {order:46} {claims} of {len(sent)} frames are a router's,"
            f" largest gap {gap:.0f} ms{'' if held else '  WRONG'}",
            flush=True,
        )
    print(f"{times - wrong} of {times} held")
    return wrong


def _is_whole(lab: Lab, scenario: Scenario) -> bool:
    """The host that came back could take over by now: one loss of power at a time."""
    if not scenario.is_redundant():
        return False
    reports = [report for host in scenario.states for report in etcdctl.pair_reports(lab, host)]
    return sorted(report.state for report in reports) == [VrrpState.BACKUP, VrrpState.MASTER]


if __name__ == "__main__":
    sys.exit(main())
