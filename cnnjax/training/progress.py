"""Output of a run: a progress bar on a terminal, plain lines elsewhere."""

import collections
import io
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import jax
import rich.console
import rich.progress
import rich.table
import rich.text

from cnnjax.names import printable

T = TypeVar("T")

_SECONDS_BETWEEN_LINES = 10.0
_WINDOW = 50  # steps over which the speed is taken
_BOUNDLESS = 100_000  # letters in a line of a file

console = rich.console.Console(highlight=False, soft_wrap=True)


def escape_what_cannot_be_written() -> None:
    """Makes stdout and stderr escape characters that their encoding lacks.

    Such as names in ASCII, and names of files that are no UTF-8 anywhere.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def log_line(line: str) -> None:
    """Prints one line, from the first process alone."""
    if jax.process_index() == 0:
        console.print(_text(line))


def table(title: str, rows: Mapping[str, str]) -> None:
    """Shows names and values as a table."""
    if jax.process_index() == 0:
        shown = rich.table.Table(title=title, show_header=False, title_justify="left")
        shown.add_column()
        shown.add_column(overflow="fold")
        for name, value in rows.items():
            shown.add_row(_text(name), _text(value))
        console.print(shown)


def grid(
    title: str,
    lines: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    folded: bool = True,
) -> None:
    """Shows a table of several columns, the first line of which is its head.

    Args:
        title: above the table.
        lines: as many cells in each.
        right: names of columns that are aligned at the right.
        folded: whether cells are folded where there is no terminal, too.
    """
    head, *body = lines
    shown = rich.table.Table(title=title, title_justify="left")
    for name in head:
        justify = "right" if name in right else "left"
        shown.add_column(_text(name), overflow="fold", justify=justify)
    for line in body:
        shown.add_row(*map(_text, line))
    if not (folded or console.is_terminal):
        boundless = console.options.update(max_width=_BOUNDLESS)
        shown.width = console.measure(shown, options=boundless).maximum
    console.print(shown)


def _text(line: str) -> rich.text.Text:
    """The line without markup, emoji or control sequences."""
    return rich.text.Text(printable(line))


def reported(batches: Iterable[T], what: str, total: int) -> Iterator[T]:
    """The batches of something long, with a line now and then of how many are done."""
    printed = time.perf_counter()
    for number, batch in enumerate(batches):
        now = time.perf_counter()
        if now - printed > _SECONDS_BETWEEN_LINES:
            printed = now
            log_line(f"{what}  {number} of {total} batches")
        yield batch


class Progress:
    """Loss, `unit` a second and time left of the run from `start` to `steps`."""

    def __init__(
        self, start: int, steps: int, *, steps_per_epoch: int, unit: str
    ) -> None:
        self._steps, self._steps_per_epoch, self._unit = steps, steps_per_epoch, unit
        self._printed = time.perf_counter()
        self._recent: collections.deque[float] = collections.deque(maxlen=_WINDOW)
        self._bar: rich.progress.Progress | None = None
        if console.is_terminal and jax.process_index() == 0:
            self._bar = rich.progress.Progress(
                rich.progress.TextColumn("epoch {task.fields[epoch]}"),
                rich.progress.BarColumn(),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TextColumn("{task.fields[news]}"),
                rich.progress.TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(
                "", total=steps, completed=start, epoch="", news="compiling"
            )
            self._bar.start()

    def update(self, step: int, loss: float, *, examples: int) -> float:
        """Shows the loss of a step of so many examples; returns examples a second.

        Without a terminal it prints a line every few seconds.
        """
        now = time.perf_counter()
        self._recent.append(now)
        passed = max(now - self._recent[0], 1e-9)
        speed = (len(self._recent) - 1) * examples / passed
        epoch = f"{step / self._steps_per_epoch:.1f}"
        news = f"loss {loss:.4f}  {speed:,.0f} {self._unit}/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, epoch=epoch, news=news)
        elif speed and now - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = now
            left = duration((self._steps - step) * examples / speed)
            log_line(f"step {step}/{self._steps}  epoch {epoch}  {news}  {left} left")
        return speed

    def evaluated(self, step: int, news: str) -> None:
        """Prints the result of an evaluation; its time does not count for the speed."""
        self.paused()
        epoch = f"{step / self._steps_per_epoch:.1f}"
        log_line(f"step {step}/{self._steps}  epoch {epoch}  {news}")

    def paused(self) -> None:
        """Leaves the time since the last step out of the speed."""
        self._recent.clear()

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.stop()


def duration(seconds: float) -> str:
    """Seconds in readable units: 8.3 s, 4 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
