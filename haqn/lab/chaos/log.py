"""The log of a run: what was done, what was seen, and each violation; to compare a replay with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TextIO


class Log:
    """Writes lines with the seconds since the beginning to a file, and to standard output."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = file.open("w")
        self._began = time.monotonic()
        self.violations: list[str] = []
        #: what was too slow while the machine stood still
        self.doubts: list[str] = []

    def say(self, text: str) -> None:
        """One line."""
        stamp = time.strftime("%H:%M:%S")
        line = f"[{time.monotonic() - self._began:7.1f} s, {stamp}] {text}"
        print(line, flush=True)
        self._file.write(f"{line}\n")
        self._file.flush()

    def violation(self, text: str) -> None:
        """An invariant did not hold."""
        self.violations.append(text)
        self.say(f"VIOLATION: {text}")

    def doubt(self, text: str) -> None:
        """Something was too slow, and so was everything else."""
        self.doubts.append(text)
        self.say(f"NOT JUDGED: {text}")

    def close(self) -> None:
        self._file.close()
