"""Trains the runs of a study on this machine, several at once."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from cnnjax.errors import UsageError
from cnnjax.names import short
from cnnjax.training.progress import duration, log_line
from cnnjax.training.signals import Stopped
from experiments.ablation.claims import Claim
from experiments.ablation.execute import Child, local_cores
from experiments.ablation.folder import Folder, Outcome
from experiments.ablation.study import Plan, Run

_POLL = 1.0  # seconds between two looks at what other processes do


def work(
    plan: Plan,
    folder: Folder,
    *,
    jobs: int = 1,
    pack: str = "off",
    ended: Callable[[], None],
) -> None:
    """Trains what is missing, until every run of the study has ended.

    Runs that another process works on are left to it; if that dies, they are taken
    over.

    Args:
        plan: of the study.
        folder: of the study, which other processes may share.
        jobs: how many runs train at once; they share the cores out evenly.
        pack: how many that differ in numbers alone train in one program; "auto": up
            to 8, where that is faster.
        ended: called after each run that ended here.

    Raises:
        Stopped: on SIGTERM or SIGINT, when all that runs here has been saved.
    """
    jobs = min(jobs, len(plan.runs))
    shared = _Shared(plan, folder, pack, ended)
    before = {number: signal.signal(number, shared.stop) for number in _SIGNALS}
    threads = [
        threading.Thread(target=shared.work, args=(cores,)) for cores in share_out(jobs)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    shared.check()


def pack_size(pack: str) -> int:
    """The most runs of a pack, for "off", "auto" or a number.

    Raises:
        UsageError: if it is none of them.
    """
    sizes = {"off": 1, "auto": 8}
    if pack not in sizes and not (pack.isdecimal() and int(pack) > 0):
        raise UsageError(f"--pack={pack} is neither auto, off nor a number from 1.")
    return sizes.get(pack) or int(pack)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def share_out(jobs: int) -> list[Sequence[int]]:
    """The cores of each job; none where one job has them all."""
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        return [()] * jobs
    cores = local_cores()
    each = max(1, len(cores) // jobs)
    starts = [i * each % len(cores) for i in range(jobs)]
    return [cores[start : start + each] for start in starts]


class _Shared:
    """What the threads of `work` share."""

    def __init__(
        self, plan: Plan, folder: Folder, pack: str, ended: Callable[[], None]
    ) -> None:
        self._plan, self._folder, self._ended = plan, folder, ended
        self._auto = pack == "auto"
        self._packs = plan.packs(pack_size(pack))
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._left = TimeLeft()
        self._stopped: int | None = None
        self._error: BaseException | None = None

    def stop(self, number: int, frame: FrameType | None) -> None:
        """The signal handler: has all runs saved."""
        del frame
        self._stopped = number
        self._stop_all()

    def _stop_all(self) -> None:
        for child in tuple(self._children):
            child.stop()

    def check(self) -> None:
        """Raises what ended the work early, if anything did."""
        if self._error is not None:
            raise self._error
        if self._stopped is not None:
            raise Stopped(self._stopped)

    @property
    def _is_over(self) -> bool:
        return self._stopped is not None or self._error is not None

    def work(self, cores: Sequence[int]) -> None:
        """Trains one run after another on these cores."""
        try:
            while not self._is_over and not self._pass(cores):
                time.sleep(_POLL)
        except BaseException as error:  # raised again in the thread that waits
            self._error = error
            self._stop_all()

    def _pass(self, cores: Sequence[int]) -> bool:
        """Trains every run that is free; returns whether no more is to do."""
        for pack in self._packs:
            if self._is_over:
                return True
            missing = self._missing(pack)
            if self._folder.is_left_alone(pack):
                for run in missing:
                    self._try([run], pack, cores)
            else:
                self._try(missing, pack, cores)
        return not self._missing(self._plan.runs)

    def _missing(self, runs: Sequence[Run]) -> list[Run]:
        return [run for run in runs if self._folder.outcome(run) is None]

    def _try(
        self, runs: Sequence[Run], pack: Sequence[Run], cores: Sequence[int]
    ) -> None:
        """Trains those of the runs of a pack that are free."""
        held = self._claimed(runs, pack)
        try:
            # Another process may have ended some since they were looked at.
            free = self._missing([run for run in runs if run.name in held])
            if free and not self._is_over:
                self._train(free, pack, held, cores)
        finally:
            for claim in held.values():
                claim.release()

    def _claimed(self, runs: Sequence[Run], pack: Sequence[Run]) -> dict[str, Claim]:
        """Claims on those of the runs that are free, by name.

        Processes that look at a pack at the same time would each get a part of it: they
        do so one after another.
        """
        name = self._folder.pack(pack).name
        several = len(runs) > 1
        with self._folder.holding(name) if several else contextlib.nullcontext():
            claims = {run.name: self._folder.claims.take(run.name) for run in runs}
        return {name: claim for name, claim in claims.items() if claim is not None}

    def _train(
        self,
        runs: Sequence[Run],
        pack: Sequence[Run],
        held: Mapping[str, Claim],
        cores: Sequence[int],
    ) -> None:
        name = self._plan.study.experiment
        others = f" and {len(runs) - 1} more in a pack" if len(runs) > 1 else ""
        log_line(f"trains {runs[0].name}{others}")
        child = Child(name, runs, self._folder, cores, pack=pack, auto=self._auto)
        for claim in held.values():
            claim.when_lost(child.kill)
        ended = [
            (run, outcome)
            for run, outcome in zip(runs, self._wait(child), strict=True)
            if outcome is not None and not held[run.name].lost
        ]
        for run, outcome in ended:
            self._folder.end(run, outcome)
        if ended:
            self._folder.forget_checkpoints(runs)
        for run, outcome in ended:  # which may take a while
            self._report(run, outcome)

    def _wait(self, child: Child) -> list[Outcome | None]:
        self._children.add(child)
        if self._is_over:  # the signal came before it could be passed on
            child.stop()
        try:
            return child.wait()
        finally:
            self._children.discard(child)

    def _report(self, run: Run, outcome: Outcome) -> None:
        with self._lock:
            runs = self._plan.runs
            missing = len(self._missing(runs))
            left = self._left.after_another(missing)
            done = len(runs) - missing
            report(self._plan, run, outcome, done=done, left=left)
            self._ended()


class TimeLeft:
    """How long the rest of a study takes, by the time that its runs took so far."""

    def __init__(self) -> None:
        self._start, self._ended = time.monotonic(), 0

    def after_another(self, missing: int) -> float:
        """Seconds that the missing runs take, after one more has ended."""
        self._ended += 1
        return (time.monotonic() - self._start) / self._ended * missing


def report(plan: Plan, run: Run, outcome: Outcome, *, done: int, left: float) -> None:
    """Prints what became of a run, how many are done, and how long the others take.

    Raises:
        UsageError: if it does not report the study's metric.
    """
    check_metric(plan, outcome)
    metric = plan.study.metric
    failure = outcome.failure_by(metric)
    news = f"failed: {short(failure, 200)}"
    if not failure:
        took = duration(outcome.seconds)
        news = f"validation {metric} {outcome.validation[metric]:.4f}  {took}"
    rest = f"  about {duration(left)} left" if left else ""
    log_line(f"[{done}/{len(plan.runs)}] {run.name}  {news}{rest}")


def check_metric(plan: Plan, outcome: Outcome) -> None:
    """Refuses a study whose runs do not report its metric.

    Raises:
        UsageError: if a run that finished has none.
    """
    if not outcome.failure and plan.study.metric not in outcome.validation:
        raise UsageError(
            f"{plan.experiment.name} reports no {plan.study.metric} of the validation"
            f" split, but {', '.join(outcome.validation)}."
        )
