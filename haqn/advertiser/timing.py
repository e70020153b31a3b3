"""When a router advertises on a link: RFC 4861, section 6.2. PURE but for chance; times are monotonic seconds."""

from __future__ import annotations

import random

#: MinRtrAdvInterval and MaxRtrAdvInterval: as Neutron's routers do
INTERVAL = (30.0, 100.0)
#: MAX_INITIAL_RTR_ADVERT_INTERVAL and MAX_INITIAL_RTR_ADVERTISEMENTS
INITIAL_INTERVAL = 16.0
INITIAL = 3
#: MAX_RA_DELAY_TIME and MIN_DELAY_BETWEEN_RAS
ANSWER_WITHIN = 0.5
BETWEEN = 3.0


class Schedule:
    """The advertisements of one router on one link."""

    __slots__ = ("_initial", "_last", "due")

    def __init__(self, now: float) -> None:
        self._last = now - BETWEEN
        self.begin(now)

    def begin(self, now: float) -> None:
        """There is something new to say: a few advertisements come soon."""
        self._initial = INITIAL
        self._bring_forward(now + random.uniform(0, ANSWER_WITHIN))  # noqa: S311 chance, not a secret

    def solicited(self, now: float) -> None:
        """Somebody has asked. All are answered at once, so that many who ask cost no more than one."""
        self._bring_forward(min(now + random.uniform(0, ANSWER_WITHIN), self.due))  # noqa: S311 chance, not a secret

    def _bring_forward(self, moment: float) -> None:
        self.due = max(moment, self._last + BETWEEN)

    def sent(self, now: float) -> None:
        """One has just left."""
        self._last = now
        pause = random.uniform(*INTERVAL)  # noqa: S311 chance, not a secret
        if self._initial:
            self._initial -= 1
            pause = min(pause, INITIAL_INTERVAL)
        self.due = now + pause
