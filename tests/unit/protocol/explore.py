"""All states that the machine of `model` reaches with so many failures, and what is true of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.unit.protocol import model
from tests.unit.protocol.model import State


@dataclass
class Explored:
    """States by number, in the order in which they were found."""

    states: list[State] = field(default_factory=list)
    #: how each was reached first: (what happened, number of the state before)
    came_from: list[tuple[str, int]] = field(default_factory=list)
    #: the states that may follow by themselves
    following: list[list[int]] = field(default_factory=list)
    #: those of them for which no message is late for ever
    promptly: list[list[int]] = field(default_factory=list)

    def path(self, number: int) -> str:
        """What happened until then, for people."""
        events = []
        while number:
            event, number = self.came_from[number]
            events.append(event)
        return "\n".join(reversed(events))

    def at_rest(self) -> Iterator[int]:
        """States in which nothing happens by itself."""
        return (number for number, after in enumerate(self.following) if not after)


def explore(failures: int, wanted: Callable[[str], bool] = lambda _: True) -> Explored:
    """Every interleaving of up to so many failures (those whose name is `wanted`) with what happens by itself."""
    first = model.canonical(model.start())
    found = Explored([first], [("", 0)], [])
    numbers = {first: 0}
    while len(found.following) < len(found.states):
        number = len(found.following)
        state = found.states[number]

        def reach(event: str, after: State, number: int = number) -> int:
            after = model.canonical(after)
            if after not in numbers:
                numbers[after] = len(found.states)
                found.states.append(after)
                found.came_from.append((event, number))
            return numbers[after]

        happens = [(event, reach(event, after)) for event, after in model.steps(state)]
        found.following.append([after for _, after in happens])
        prompt = model.without_late([event for event, _ in happens])
        found.promptly.append([after for event, after in happens if event in prompt])
        if state.faults < failures:
            for event, after in model.failures(state):
                if wanted(event):
                    reach(event, after._replace(faults=state.faults + 1))
    return found


def endless(explored: Explored) -> list[int]:
    """Numbers of states from which something goes on for ever without a failure (cycles of `promptly`)."""
    waiting = [len(after) for after in explored.promptly]
    before: list[list[int]] = [[] for _ in explored.states]
    for number, after in enumerate(explored.promptly):
        for one in after:
            before[one].append(number)
    ready = [number for number, count in enumerate(waiting) if not count]
    done = 0
    while ready:
        number = ready.pop()
        done += 1
        for one in before[number]:
            waiting[one] -= 1
            if not waiting[one]:
                ready.append(one)
    return [number for number, count in enumerate(waiting) if count] if done < len(waiting) else []
