"""The runner of all experiments: trains, records the result and draws the figures."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from cnnjax import plots
from cnnjax.data import Dataset, Preparation, Source
from cnnjax.models import weights
from cnnjax.training import (
    devices,
    flags,
    freezing,
    launch,
    memory,
    provenance,
    record,
    text_files,
)
from cnnjax.training import scaling as scalings
from cnnjax.training.clock import Clock
from cnnjax.training.config import TrainingConfig
from cnnjax.training.plan import Plan, plan
from cnnjax.training.progress import log_line
from cnnjax.training.task import Metrics, Task, TrainingResult
from cnnjax.training.train import compiled_step, step_seconds, train
from experiments import initial_weights, network, result_table
from experiments import predictor as predictors
from experiments.predictor import Report, TrainedModel

# Name of each figure -> draws it into the file that it is given.
Figures = dict[str, Callable[[pathlib.Path], None]]

MODULE = "module"  # in result.json: that of the experiment


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A trained run, from which figures and further results are made."""

    config: Any
    data: Dataset
    task: Any
    scaling: PyTree
    result: TrainingResult


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment that trains a network; ablations find it by name.

    Attributes:
        name: of its package, of its folder below `runs`, and in config.json.
        doc: the head of its help text.
        config: the dataclass of its options.
        load_data: (config, how to prepare the data or None) -> (dataset, validation
            split or None).
        make_task: (config, dataset, validation, scaling, workdir) -> task, with
            `scaling` the channel mean and std of the training images.
        predictor: class of its trained model.
        report: (predictor, path, workdir, **options) -> report of `--predict`.
        figures: trained run -> figures, beside the learning curves.
        metrics: names of the metrics that `run` shows and returns.
        extras: trained run -> (variables to keep with the weights, rows to add to
            result.json).
        options: dataclass of its launch options.
        package: what `python -m` runs for it, where that is not in `experiments`; its
            runs are found by it.
        packs: config -> whether its task, but for its sources, depends on nothing of
            the data but shapes and `scaling`, so that runs on other splits of them can
            train in one program.
    """

    name: str
    doc: str
    config: type[TrainingConfig]
    load_data: Callable[[Any, Preparation | None], tuple[Dataset, Source | None]]
    make_task: Callable[[Any, Dataset, Source | None, PyTree, pathlib.Path], Task]
    predictor: type[TrainedModel]
    report: Callable[..., Report]
    figures: Callable[[TrainedRun], Figures]
    metrics: tuple[str, ...]
    extras: Callable[[TrainedRun], tuple[PyTree, Metrics]] = lambda run: ({}, {})
    options: type[launch.LaunchOptions] = launch.LaunchOptions
    package: str = ""
    packs: Callable[[Any], bool] = lambda config: False

    @property
    def module(self) -> str:
        """What `python -m` runs for it."""
        return self.package or f"{__package__}.{self.name}"


def main(experiment: Experiment) -> None:
    """Runs an experiment by the flags of the command line, and exits."""
    launch.launch(
        launch.Command(
            name=experiment.name,
            module=experiment.module,
            doc=experiment.doc,
            config=experiment.config,
            run=functools.partial(run, experiment),
            predict=functools.partial(predict, experiment),
            options=experiment.options,
        )
    )


def predict(
    experiment: Experiment, path: pathlib.Path, workdir: pathlib.Path, **options: Any
) -> None:
    """Predicts for an image or a folder of them by the finished run in `workdir`."""
    model = experiment.predictor.load(workdir)
    report = experiment.report(model, path, workdir, **options)
    predictors.predict(path, model, report)


def run(
    experiment: Experiment,
    config: Any,
    workdir: pathlib.Path | str,
    *,
    overwrite: bool = False,
    preparation: Preparation | None = None,
) -> Metrics:
    """Trains, or goes on, in `workdir`; returns the metrics of the test split.

    Args:
        experiment: what to run.
        config: its options.
        workdir: of the run; a finished one is not trained again.
        overwrite: removes the run in it first.
        preparation: how to prepare the data first, if they are to be.

    Raises:
        UsageError: if an option has a value that it cannot have, or the run is refused.
    """
    clock, workdir = Clock(), pathlib.Path(workdir)
    data, scaling, task, steps = planned(
        experiment, config, workdir, fresh=overwrite, preparation=preparation
    )
    origin = provenance.provenance(data.fingerprint)
    memory.check_model(task.shapes)
    step = None
    if overwrite:  # what cannot begin empties no workdir
        initial_weights.check_start(config, workdir, task.shapes)
        step = compiled_step(task, config, steps, clock)
    with record.Record(
        workdir,
        config,
        experiment=experiment.name,
        data=data.fingerprint,
        overwrite=overwrite,
    ) as keep:

        def trained() -> TrainedRun:
            result = train(task, config, steps, keep, clock, step=step)
            return TrainedRun(config, data, task, scaling, result)

        result = _finished(experiment, keep, trained)
        if result is None:
            if data.note:
                log_line(data.note)
            scalings.keep(scaling, config, data, workdir)
            result = finish(experiment, trained(), keep, origin)
    result_table.show(result, workdir, experiment.metrics, unit=task.unit)
    return {name: result[name] for name in experiment.metrics if name in result}


def estimate(experiment: Experiment, config: Any, workdir: pathlib.Path) -> float:
    """About how many seconds the steps of a run take, by a few that are made now.

    Evaluations, compilation and the start come on top.
    """
    _, _, task, steps = planned(experiment, config, workdir)
    return steps.steps * step_seconds(task, config, steps)


def planned(
    experiment: Experiment,
    config: Any,
    workdir: pathlib.Path,
    *,
    fresh: bool = False,
    preparation: Preparation | None = None,
) -> tuple[Dataset, PyTree, Task, Plan]:
    """Data, their scaling, task and plan of a run, whose config is checked.

    What an earlier run left in the workdir of the data's scaling is taken from there,
    unless this one is `fresh`.
    """
    flags.check(config)
    data, validation = experiment.load_data(config, preparation)
    scaling = scalings.find(
        config,
        data,
        None if fresh else workdir,
        given=lambda: initial_weights.scaling(config, data.image_shape[-1]),
    )
    task = experiment.make_task(config, data, validation, scaling, workdir)
    freezing.check(config.freeze, task.shapes["params"])
    if config.head_learning_rate is not None:
        task = dataclasses.replace(task, head=network.head(config, task.shapes))
    steps = plan(config, len(task.train), rounds=task.rounds, head=task.head)
    return data, scaling, task, steps


def _finished(
    experiment: Experiment, keep: record.Record, trained: Callable[[], TrainedRun]
) -> Metrics | None:
    """The result of a run that finished before, whose missing figures are drawn."""
    result = keep.result()
    if result is not None:
        log_line("finished before (--overwrite trains afresh)")
        if devices.first_process_says(_is_undrawn(keep)):
            log_line("its figures were not all drawn: draws them now")
            _draw(experiment, trained(), keep)
    return result


def finish(
    experiment: Experiment, run: TrainedRun, keep: record.Record, origin: Metrics
) -> Metrics:
    """Writes weights, result.json and figures, in this order."""
    extra_variables, rows = experiment.extras(run)
    result = {
        **run.result.metrics,
        **rows,
        **run.result.cost,
        **_validation(run.result.step, keep),
        "class_names": run.data.class_names,
        "image_shape": run.data.image_shape,
        "image_size": run.data.image_size,
        "precision": run.config.precision,
        MODULE: experiment.module,
        "provenance": origin,
    }
    if jax.process_index() == 0:
        variables = {**run.result.variables, "input": run.scaling, **extra_variables}
        path = keep.workdir / "weights.safetensors"
        said = initial_weights.preprocessing(run.data.image_shape, run.scaling)
        weights.save(path, variables, metadata=said)
        _drawing(keep).parent.mkdir(exist_ok=True)
        _drawing(keep).touch()
    keep.finish(result)
    _draw(experiment, run, keep)
    return result


def _validation(step: int, keep: record.Record) -> Metrics:
    """The metrics of the validation split after a step, if there is such a split."""
    rows = text_files.read_rows(keep.workdir)
    found: Metrics = {}
    for row in (row for row in rows if row["step"] == step):
        for name, value in row.items():
            split, _, metric = name.partition("/")
            if split == "validation" and not metric.startswith("raw_"):
                found[metric] = value
    return {"validation": found} if found else {}


def _drawing(keep: record.Record) -> pathlib.Path:
    """The file that is there from before the result until the figures are drawn."""
    return keep.figures / ".drawing"


def _is_undrawn(keep: record.Record) -> bool:
    """Whether a finished run was killed while it drew, and can still be drawn."""
    states = (keep.workdir / "checkpoints").glob("*[0-9]")
    return _drawing(keep).exists() and any(states)


def _draw(experiment: Experiment, run: TrainedRun, keep: record.Record) -> None:
    """Draws all figures, in one process, and says which failed.

    Figures that could not be written are drawn when the command is run again.
    """
    if jax.process_index() != 0:
        return
    rows = functools.partial(text_files.read_rows, keep.workdir)
    figures = {"learning_curves.png": lambda path: plots.learning_curves(rows(), path)}
    failed: dict[str, Exception] = {}
    for name, draw in (figures | experiment.figures(run)).items():
        try:
            draw(keep.figures / name)
        except Exception as error:  # the result is complete without figures
            failed[name] = error
    for name, error in failed.items():
        reason = f"{type(error).__name__}: {error}"[:200]
        log_line(f"warning: no figures/{name} ({reason})")
    if not any(isinstance(error, OSError) for error in failed.values()):
        _drawing(keep).unlink(missing_ok=True)
