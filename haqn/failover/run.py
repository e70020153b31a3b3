"""Entry point: `python3 -SIE run.py consume|refresh DIRECTORY LEASE_MS FIFO`.

With -SIE the interpreter starts fast and sees only the standard library; this file adds the copy of haqn that
it lies in, behind the standard library.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> int:
    """Run one of the two programs; returns its exit status."""
    command, directory, lease_ms, fifo = arguments
    if command == "refresh":
        from haqn.failover import refresh  # noqa: PLC0415 - each program loads only its own modules

        return refresh.run(directory, int(lease_ms), fifo)
    from haqn.failover import consumer  # noqa: PLC0415 - each program loads only its own modules

    return consumer.run(directory, int(lease_ms), fifo)


if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
    sys.exit(main(sys.argv[1:]))
