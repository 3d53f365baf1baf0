"""What came of a case."""

import dataclasses
import enum


class Verdict(enum.Enum):
    """One word for it; the value says what it means."""

    REFUSED = "one error: line and exit status 2"
    HARMLESS = "done in silence, or diverged with a line, where that is right, too"
    TAKEN = "exit status 0 for what should be refused"
    NOISE = "more on stderr than the one line, or beside a success"
    STATUS = "another exit status than 0 and 2"
    TRACEBACK = "a traceback"
    DIED = "killed by a signal, such as an abort"
    HANG = "not done in time"

    @property
    def good(self) -> bool:
        """Whether it is what a user should see."""
        return self in (Verdict.REFUSED, Verdict.HARMLESS)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        status: exit status, negative for a signal, None if it was not done in time.
        stdout: what it printed.
        stderr: what it complained of.
        seconds: how long it took.
        peak: most resident memory, in bytes.
    """

    status: int | None
    stdout: str
    stderr: str
    seconds: float
    peak: int


def classify(outcome: Outcome, *, harmless: bool) -> Verdict:
    """The verdict on `outcome`; `harmless` allows a run, to its end or divergence."""
    if outcome.status is None:
        return Verdict.HANG
    if outcome.status < 0:
        return Verdict.DIED
    if "Traceback" in outcome.stdout + outcome.stderr:
        return Verdict.TRACEBACK
    lines = outcome.stderr.splitlines()
    if outcome.status == 0:
        if lines:
            return Verdict.NOISE
        return Verdict.HARMLESS if harmless else Verdict.TAKEN
    alone = len(lines) == 1 and lines[0].startswith("error: ") and _plain(lines[0])
    if outcome.status == 2:
        return Verdict.REFUSED if alone else Verdict.NOISE
    diverged = outcome.status == 1 and harmless and alone
    return Verdict.HARMLESS if diverged else Verdict.STATUS


def _plain(line: str) -> bool:
    """Whether a terminal shows the line as it is."""
    return line.isprintable()
