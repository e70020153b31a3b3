"""Entry point: `python3 -SIE run.py DIRECTORY VERSION`.

With -SIE the interpreter sees only the standard library; this file adds the package that it lies in, behind it.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
    from haqn.advertiser import daemon  # where it is found has just been said

    sys.exit(daemon.run(*sys.argv[1:]))
