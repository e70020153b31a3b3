"""What a measurement is, and how a table of them looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """One number with its goal (none: it is a reference)."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    detail: str = ""
    #: the goal is a floor, not a ceiling
    at_least: bool = False

    @property
    def held(self) -> bool:
        if self.goal is None:
            return True
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def table(rows: list[Measured]) -> str:
    """Lines of text, one a measurement."""
    width = max(len(row.what) for row in rows)
    lines = []
    for row in rows:
        goal = "" if row.goal is None else f"goal {'>=' if row.at_least else '<='} {row.goal:g} {row.unit}"
        verdict = "" if row.goal is None else ("held" if row.held else "NOT HELD")
        value = f"{row.value:.{2 if row.unit == 'x' else 1}f}"
        lines.append(f"{row.what:<{width}}  {value:>9} {row.unit:<3} {goal:<16} {verdict:<8} {row.detail}".rstrip())
    return "\n".join(lines)
