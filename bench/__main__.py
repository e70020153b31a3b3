"""`python -m bench [--quick]`: measures and prints one table; exit status 1 when a goal was missed."""

from __future__ import annotations

import argparse
import sys
import time

from bench import advertisements, api, discovery, failover, l3, leadership, limits, neutron_reference, scale
from bench.measure import Measured, table


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50 routers at the most")
    given = parser.parse_args()
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {what}", flush=True)

    rows: list[Measured] = []
    try:
        for advert_ms in (100, 50):
            few, many = ((1, 10), 50) if given.quick else ((1, 50), 400)
            rows += failover.measure(say, advert_ms, few, many)
        rows += leadership.measure(say)
        rows += api.measure(say)
        say("new agents")
        rows += discovery.measure()
        rows += scale.measure(say, 20, 500) if given.quick else scale.measure(say)
        rows += limits.measure(say)
        rows += l3.measure(say, 50 if given.quick else 400)
        say("router advertisements")
        rows += advertisements.measure(50 if given.quick else 400)
        for count in (1, 20):
            say(f"reference: one keepalived a router, Neutron's settings, {count} routers")
            rows.append(neutron_reference.measure(count))
    finally:
        # what was measured before something broke is worth reading, too
        print(table(rows))
    return 0 if all(row.held for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
