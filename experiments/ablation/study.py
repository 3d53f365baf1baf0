"""A study: an experiment, what is varied, over which seeds, and the runs that makes."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnjax.digest import json_sha256
from cnnjax.errors import UsageError
from cnnjax.training import flags
from cnnjax.training.pack_programs import static
from experiments.ablation import fields
from experiments.find import find_experiment
from experiments.trainer import Experiment

Value = str | int | float | bool | None
_LONGEST_NAME = 100


@dataclasses.dataclass(frozen=True)
class Study:
    """What a study file defines as `STUDY`.

    The first value of each factor makes the base, with which all others are compared.

    Attributes:
        experiment: name of a package in `experiments`, or the dotted name of one
            elsewhere, that has an `EXPERIMENT`.
        metric: what cells are compared by, on the validation split.
        base: flags that all runs share, as on the command line; `--flagfile=RECIPE`
            is one.
        factors: flag -> its values; None leaves a flag out.
        design: how factors are combined: all values of each with all of the others
            ("grid"), or one at a time, the others as in the base ("one_at_a_time").
        cells: instead of factors, the combinations themselves, the base first.
        seeds: how many (0, 1, ...), or which.
        tasks: name -> flags, where the study runs on several data sets.
        difference: the smallest difference in the metric that matters; the report
            says how many seeds it takes to find it.
        question: what the study asks; by default the docstring of its file.

    Raises:
        UsageError: if a field holds what it cannot.
    """

    experiment: str
    metric: str
    base: Sequence[str] = ()
    factors: Mapping[str, Sequence[Value]] = dataclasses.field(default_factory=dict)
    design: str = "grid"
    cells: Sequence[Mapping[str, Value]] = ()
    seeds: int | Sequence[int] = 5
    tasks: Mapping[str, Sequence[str]] = dataclasses.field(
        default_factory=lambda: {"": ()}
    )
    difference: float | None = None
    question: str = ""

    def __post_init__(self) -> None:
        """Refuses what a field cannot hold."""
        fields.check(vars(self))


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of a study.

    Attributes:
        cell: number of its cell; 0 is the base.
        task: name of its data set, "" where there is one only.
        seed: of the run.
        config: all options.
        name: of its folder below `runs`, which stays when factors or seeds are added.
    """

    cell: int
    task: str
    seed: int
    config: Any
    name: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """The cells of a study and their runs, seed by seed.

    Attributes:
        study: that it was made of.
        experiment: that its runs are of.
        cells: the flags of each, the base first.
        seeds: of each cell.
        runs: all of them; what all cells share comes first.
    """

    study: Study
    experiment: Experiment
    cells: tuple[dict[str, Value], ...]
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]

    @property
    def smaller_is_better(self) -> bool:
        """Whether the metric is a loss or an error."""
        return self.study.metric == "loss" or self.study.metric.endswith("_error")

    @property
    def bases(self) -> dict[str, Any]:
        """The config of the base with the first seed, for each task."""
        first = self.seeds[0]
        return {r.task: r.config for r in self.runs if (r.cell, r.seed) == (0, first)}

    def only(self, names: Sequence[str]) -> "Plan":
        """The plan of some of the runs, by their names."""
        runs = tuple(run for run in self.runs if run.name in names)
        return dataclasses.replace(self, runs=runs)

    def packs(self, size: int) -> list[list[Run]]:
        """All runs, in groups of at most `size` that can train in one program."""
        alike: dict[str, list[Run]] = {}
        for run in self.runs:
            key = run.name
            if size > 1 and _can_be_packed(run.config, self.experiment):
                key = json_sha256([run.task, static(run.config)])
            alike.setdefault(key, []).append(run)
        return [
            runs[start : start + size]
            for runs in alike.values()
            for start in range(0, len(runs), size)
        ]

    def label(self, cell: int) -> str:
        """The flags of the base as text, and of another cell what differs from it."""
        base, flags = self.cells[0], self.cells[cell]
        changed = {
            name: x
            for name, x in flags.items()
            if cell == 0 or name not in base or x != base[name]
        }
        return ", ".join(f"{name}={shown(x)}" for name, x in changed.items())


def plan(study: Study) -> Plan:
    """The cells and runs of a study, all of whose flags are checked.

    Raises:
        UsageError: if the experiment or the metric is not known, a flag or its value
            is not allowed, nothing is varied, or there is no validation split.
    """
    experiment = find_experiment(study.experiment)
    _check_metric(study.metric, experiment)
    cells, seeds = tuple(_cells(study)), _seeds(study.seeds)
    runs: list[Run] = []
    for seed, (cell, varied) in itertools.product(seeds, enumerate(cells)):
        for task, shared in study.tasks.items():
            arguments = [*study.base, *shared, *_arguments(varied), f"--seed={seed}"]
            config = flags.from_arguments(experiment.config, arguments)
            base = next((r.config for r in runs if r.task == task), config)
            name = "/".join(filter(None, (_name(config, base), task, f"seed{seed}")))
            runs.append(Run(cell, task, seed, config, name))
    _check_runs(runs, cells)
    return Plan(study, experiment, cells, seeds, tuple(runs))


def _can_be_packed(config: Any, experiment: Experiment) -> bool:
    return experiment.packs(config) and not config.patience


def text(value: Value) -> str:
    """A value as a flag takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def shown(value: Value) -> str:
    """A value for people, to whom nothing would look like a mistake."""
    return "(default)" if value is None else text(value) or "(empty)"


def _cells(study: Study) -> Iterator[dict[str, Value]]:
    if bool(study.cells) == bool(study.factors):
        raise UsageError("A study has either factors or cells: what does it vary?")
    if study.cells:
        yield from map(dict, study.cells)
        return
    names = list(study.factors)
    for name in names:
        if not fields.is_list(study.factors[name]) or len(study.factors[name]) < 1:
            raise UsageError(
                f"The factor {name} takes several values, got {study.factors[name]!r}."
            )
    if study.design == "grid":
        for values in itertools.product(*study.factors.values()):
            yield dict(zip(names, values, strict=True))
        return
    base = {name: study.factors[name][0] for name in names}
    yield base
    for name in names:
        yield from ({**base, name: value} for value in study.factors[name][1:])


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    found = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not found or len(set(found)) < len(found):
        raise UsageError(f"Seeds are one or more different numbers, got {seeds!r}.")
    return found


def _arguments(cell: Mapping[str, Value]) -> list[str]:
    for name, value in cell.items():
        if name == "seed":
            raise UsageError("The seed is no factor: a study has its own seeds.")
        if not isinstance(value, Value):
            raise UsageError(f"--{name} cannot be {value!r}: a flag has one value.")
    given = {name: value for name, value in cell.items() if value is not None}
    return [f"--{name}={text(value)}" for name, value in given.items()]


def _name(config: Any, base: Any) -> str:
    """How a cell differs from the base, as the name of a folder."""
    ours, theirs = flags.identity(config), flags.identity(base)
    changed = {
        name: value
        for name, value in ours.items()
        if name != "seed" and value != theirs[name]
    }
    exact = ",".join(f"{name}={text(value)}" for name, value in changed.items())
    plain = re.sub(r"[^\w=.,:+-]", "_", exact, flags=re.ASCII)
    if plain != exact or len(plain) > _LONGEST_NAME:
        plain = f"{plain[:_LONGEST_NAME]}-{json_sha256(exact)[:8]}"
    return plain or "base"


def _check_metric(metric: str, experiment: Experiment) -> None:
    known = [x for x in experiment.metrics if not x.endswith("_per_class")]
    if metric not in known:
        raise UsageError(
            f"{experiment.name} reports no {metric!r}, but {', '.join(known)}."
        )


def _check_runs(runs: Sequence[Run], cells: Sequence[Mapping[str, Value]]) -> None:
    if len(cells) < 2:
        raise UsageError("A study compares cells, and this one has a single one.")
    named: dict[str, Run] = {}
    for run in runs:
        other = named.setdefault(run.name, run)
        if other is not run:
            raise UsageError(
                f"Two cells are the same run: {dict(cells[other.cell])} and"
                f" {dict(cells[run.cell])}. (Of --vary, values that have commas are"
                " separated by semicolons.)"
            )
        if not run.config.validation:
            raise UsageError(
                "Cells are compared on a validation split (never on the test split),"
                " and there is none: --validation=0.2 among the base's flags would do."
            )
