"""Where the time of a run goes."""

import time


class Clock:
    """Adds up seconds by phase; at any moment one phase, or none, is running.

    Args:
        seconds: what earlier sittings of the run took, by phase; added to in place.
    """

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self._phase: str | None = None
        self._since = time.perf_counter()

    def enter(self, phase: str | None) -> None:
        """Ends the running phase and begins `phase`."""
        now = time.perf_counter()
        if self._phase is not None:
            self.add(self._phase, now - self._since)
        self._phase, self._since = phase, now

    def add(self, name: str, seconds: float) -> None:
        """Counts seconds of the running phase under a name of their own, too."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
