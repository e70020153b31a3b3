"""A clock for those who ask haqn.clock.Clock for seconds."""


class Watch:
    """It is set by hand."""

    def __init__(self, now: float = 1000.0):
        self.now = now

    def monotonic(self):
        return self.now
