"""Progress while something long runs, and a table of what was measured at its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement: its value in words, what was wanted, and whether that held."""

    what: str
    measured: str
    wanted: str
    held: bool


@dataclass(slots=True)
class Scoreboard:
    """Collects measurements, and says each as it comes."""

    began: float = field(default_factory=time.monotonic)
    lines: list[Line] = field(default_factory=list)

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)

    def at_most(self, what: str, value: float, limit: float, unit: str) -> None:
        """A measurement that must not be above the limit."""
        digits = 0 if unit == "ms" else 1
        self._add(Line(what, f"{value:.{digits}f} {unit}", f"<= {limit:g} {unit}", value <= limit))

    def exactly(self, what: str, value: object, wanted: object) -> None:
        """An observation that must be this one."""
        words = {True: "yes", False: "no"}
        measured, expected = (words[one] if isinstance(one, bool) else str(one) for one in (value, wanted))
        self._add(Line(what, measured, expected, value == wanted))

    @property
    def all_held(self) -> bool:
        return bool(self.lines) and all(line.held for line in self.lines)

    def table(self) -> str:
        """Everything that was measured."""
        rows = [("what", "measured", "wanted", "")]
        rows += [(line.what, line.measured, line.wanted, "ok" if line.held else "FAILED") for line in self.lines]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join(
            f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows
        )

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        self.say(f"    {line.what}: {line.measured} (wanted {line.wanted}){'' if line.held else '  <-- FAILED'}")
