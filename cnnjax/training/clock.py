"""Seconds of a run by phase, such as compiling, training and evaluating."""

import time


class Clock:
    """Adds up seconds by phase; at any moment one phase, or none, is running.

    `seconds` has an entry for each phase that has ended, and a `total`: the time
    since the clock was made, plus that of earlier launches of the same run.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._phase: str | None = None
        self._since = self._made = time.perf_counter()
        self._before = 0.0

    def resume(self, seconds: dict[str, float]) -> None:
        """Adds the seconds of earlier launches of the same run."""
        self._before = seconds.get("total", 0.0)
        for name, value in seconds.items():
            self.add(name, value)

    def enter(self, phase: str | None) -> None:
        """Ends the running phase and begins `phase`."""
        now = time.perf_counter()
        if self._phase is not None:
            self.add(self._phase, now - self._since)
        self._phase, self._since = phase, now
        self.seconds["total"] = self._before + now - self._made

    def add(self, name: str, seconds: float) -> None:
        """Counts seconds of the running phase under a name of their own, too."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
