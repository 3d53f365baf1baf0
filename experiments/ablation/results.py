"""What the runs of a study say of its cells."""

import collections
import dataclasses
from collections.abc import Iterable

import numpy as np

from experiments.ablation import statistics
from experiments.ablation.folder import Folder, Outcome
from experiments.ablation.statistics import Difference, Summary
from experiments.ablation.study import Plan, Run


@dataclasses.dataclass(frozen=True)
class Ended:
    """A run that has ended, and how.

    Attributes:
        run: of the study.
        outcome: what became of it.
        validation: its score on the validation split; None if it failed.
        test: its score on the test split.
    """

    run: Run
    outcome: Outcome
    validation: float | None
    test: float | None


@dataclasses.dataclass(frozen=True)
class Row:
    """A cell on one data set.

    Attributes:
        cell: its number; 0 is the base.
        task: name of the data set.
        ended: its runs that have ended.
        missing: how many have not.
        validation: of the scores on the validation split; None without any.
        test: of the scores on the test split.
        difference: to the base, on the validation split; None without common seeds.
        holm_p: p-value of the t test, corrected for all differences of the study.
        seeds: how many a difference of the study's size would need; None: unknown.
        has_other_data: whether a run had other data than that of the base and its seed.
    """

    cell: int
    task: str
    ended: tuple[Ended, ...]
    missing: int
    validation: Summary | None
    test: Summary | None
    difference: Difference | None
    holm_p: float | None
    seeds: int | None
    has_other_data: bool

    @property
    def failures(self) -> list[Ended]:
        """The runs without a score."""
        return [ended for ended in self.ended if ended.validation is None]

    @property
    def packed(self) -> int:
        """How many of its runs trained in one program with others."""
        return sum(ended.outcome.packed > 0 for ended in self.ended)

    @property
    def is_significant(self) -> bool:
        """Whether its difference to the base is not chance, at 5 %."""
        return self.holm_p is not None and self.holm_p < 0.05


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """A cell over all data sets.

    Attributes:
        cell: its number.
        interquartile_mean: of its scores on the validation splits.
        interval: of it; None for a single seed.
    """

    cell: int
    interquartile_mean: float
    interval: statistics.Interval | None


def rows(plan: Plan, folder: Folder) -> list[Row]:
    """A row for each data set and cell; the base of each data set comes first."""
    ended: dict[tuple[int, str], list[Ended]] = collections.defaultdict(list)
    for run in plan.runs:
        outcome = folder.outcome(run)
        if outcome is not None:
            of_cell = ended[run.cell, run.task]
            of_cell.append(_ended(run, outcome, plan.study.metric))
    found = [
        _row(plan, cell, task, ended[cell, task], ended[0, task])
        for task in plan.study.tasks
        for cell in range(len(plan.cells))
    ]
    family = [row.difference.t_p if row.difference else None for row in found]
    corrected = statistics.holm(family)
    return [
        dataclasses.replace(row, holm_p=p)
        for row, p in zip(found, corrected, strict=True)
    ]


def aggregates(plan: Plan, rows: Iterable[Row]) -> list[Aggregate]:
    """Each cell over all data sets, where every run of the cell has a score."""
    found = []
    for cell in range(len(plan.cells)):
        scores = [
            [ended.validation for ended in row.ended]
            for row in rows
            if row.cell == cell and not row.missing and not row.failures
        ]
        if len(scores) == len(plan.study.tasks):
            table = np.array(scores, np.float64)
            mean = float(statistics.interquartile_mean(table.ravel()))
            several = len(plan.seeds) > 1
            interval = statistics.stratified_bootstrap(table) if several else None
            found.append(Aggregate(cell, mean, interval))
    return found


def _row(
    plan: Plan, cell: int, task: str, ended: list[Ended], base: list[Ended]
) -> Row:
    """A row whose p-value is not corrected yet."""
    difference = _paired(plan, ended, base) if cell else None
    return Row(
        cell=cell,
        task=task,
        ended=tuple(ended),
        missing=len(plan.seeds) - len(ended),
        validation=_summary(x.validation for x in ended),
        test=_summary(x.test for x in ended),
        difference=difference,
        holm_p=None,
        seeds=_seeds(plan, difference),
        has_other_data=_have_other_data(ended, base),
    )


def _ended(run: Run, outcome: Outcome, metric: str) -> Ended:
    failure = outcome.failure_by(metric)
    validation = None if failure else outcome.validation[metric]
    outcome = dataclasses.replace(outcome, failure=failure)
    return Ended(run, outcome, validation, outcome.test.get(metric))


def _summary(scores: Iterable[float | None]) -> Summary | None:
    known = [score for score in scores if score is not None]
    return statistics.summarize(np.array(known)) if known else None


def _paired(plan: Plan, ended: list[Ended], base: list[Ended]) -> Difference | None:
    theirs = {x.run.seed: x.validation for x in base if x.validation is not None}
    pairs = [
        (x.validation, theirs[x.run.seed])
        for x in ended
        if x.validation is not None and x.run.seed in theirs
    ]
    if not pairs:
        return None
    scores, others = np.array(pairs).T
    return statistics.compare(scores, others, smaller_is_better=plan.smaller_is_better)


def _have_other_data(ended: list[Ended], base: list[Ended]) -> bool:
    theirs = {x.run.seed: x.outcome.data for x in base if not x.outcome.failure}
    return any(
        x.outcome.data != theirs.get(x.run.seed, x.outcome.data)
        for x in ended
        if not x.outcome.failure
    )


def _seeds(plan: Plan, difference: Difference | None) -> int | None:
    if difference is None or difference.std is None or plan.study.difference is None:
        return None
    return statistics.seeds_needed(plan.study.difference, difference.std)
