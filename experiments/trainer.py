"""One sitting of a run, whatever its task: trained to its end, and written down."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from cnnjax.data.dataset import Dataset
from cnnjax.errors import UsageError
from cnnjax.models import weights
from cnnjax.training import devices, memory, progress, provenance, record
from cnnjax.training.clock import Clock
from cnnjax.training.config import TrainingConfig
from cnnjax.training.plan import plan
from cnnjax.training.task import Task, Trained
from cnnjax.training.train import train
from experiments.predictor import weights_of

Result = dict[str, Any]
# The name of each figure, and what draws it into the file it is given.
Figures = dict[str, Callable[[pathlib.Path], None]]


def conduct(
    task: Task,
    config: TrainingConfig,
    data: Dataset,
    beside: PyTree,
    workdir: pathlib.Path,
    clock: Clock,
    *,
    overwrite: bool,
    figures: Callable[[Trained], Figures],
    afterwards: Callable[[Trained], tuple[PyTree, Result]] = lambda trained: ({}, {}),
) -> Result:
    """Trains, or goes on, in `workdir`, and returns what result.json says.

    Figures come last, and cost nothing but themselves: one that fails is told of, and
    those that a kill left out are drawn by the same command.

    Args:
        task: what there is to learn.
        config: how.
        data: from what.
        beside: what is kept with the weights, such as the scaling of the pixels as
            "input".
        workdir: where the run lives.
        clock: running since the sitting began.
        overwrite: whether to start afresh.
        figures: of what was trained: file name -> draws it there.
        afterwards: what more is kept with the weights, and told in result.json.
    """
    origin = provenance.provenance(data.fingerprint)
    steps = plan(config, len(task.train), rounds=task.rounds)
    memory.check_model(task.shapes)
    if overwrite:
        check_start(config.init_from, workdir)
    opened = record.Record(workdir, config, data=data.fingerprint, overwrite=overwrite)
    with opened as keep:
        result = keep.result()
        if result is not None:
            progress.log_line("finished before (--overwrite trains afresh)")
            if devices.first_process_says(_undrawn(keep)):
                progress.log_line("its figures were not all drawn: draws them now")
                _draw(figures(train(task, config, steps, keep, clock)), keep)
            return result
        if data.note:
            progress.log_line(data.note)
        trained = train(task, config, steps, keep, clock)
        more, told = afterwards(trained)
        result = {
            **trained.metrics,
            **told,
            **trained.cost,
            "class_names": data.class_names,
            "image_shape": data.image_shape,
            "image_size": data.image_size,
            "provenance": origin,
        }
        if jax.process_index() == 0:
            variables = {**trained.variables, **beside, **more}
            weights.save(workdir / "weights.safetensors", variables)
            _drawing(keep).parent.mkdir(exist_ok=True)
            _drawing(keep).touch()
        keep.finish(result)
        _draw(figures(trained), keep)
    return result


def _drawing(keep: record.Record) -> pathlib.Path:
    """The file that is there from before the result until the figures are drawn."""
    return keep.figures / ".drawing"


def _undrawn(keep: record.Record) -> bool:
    """Whether a finished run was killed while it drew, and can still be drawn."""
    states = (keep.workdir / "checkpoints").glob("*[0-9]")
    return _drawing(keep).exists() and any(states)


def _draw(figures: Figures, keep: record.Record) -> None:
    """Draws what can be drawn, in one process, and says what can not.

    What the disk kept from being written is tried again by the same command.
    """
    if jax.process_index() != 0:
        return
    failed: dict[str, Exception] = {}
    for name, draw in figures.items():
        try:
            draw(keep.figures / name)
        except Exception as error:  # whatever it is, the result is there
            failed[name] = error
    for name, error in failed.items():
        reason = f"{type(error).__name__}: {error}"[:200]
        progress.log_line(f"warning: no figures/{name} ({reason})")
    if not any(isinstance(error, OSError) for error in failed.values()):
        _drawing(keep).unlink(missing_ok=True)


def show(
    result: Result,
    workdir: pathlib.Path,
    metrics: dict[str, str],
    *,
    unit: str = "images",
) -> None:
    """Shows the metrics of a run as a table, and what they cost.

    `unit` is what the examples of training are.
    """
    seconds = result["seconds"]
    progress.table(
        "result",
        {
            **metrics,
            "parameters": f"{result['parameters']:,}",
            f"{unit}/s in training": f"{result['images_per_second']:,.0f}",
            "time": ", ".join(
                f"{name} {progress.duration(seconds[name])}"
                for name in ("compile", "train", "evaluate", "total")
            ),
            "waiting for input": f"{seconds['input_wait'] / seconds['train']:.1%}",
            "peak memory": f"{result['peak_memory_bytes'] / 2**30:.2f} GiB",
            "SHA-256 of the parameters": result["parameters_sha256"],
            "left in": str(workdir),
        },
    )


def started_from(location: str, variables: PyTree) -> PyTree:
    """`variables` with what fits of a run's or a file's weights; says what does not."""
    if not location:
        return variables
    loaded = _stored(location)
    loaded = {name: loaded[name] for name in variables if name in loaded}
    merged, skipped = weights.merge(variables, loaded)
    progress.log_line(
        f"starts from {location}"
        + (f", but for {', '.join(skipped)}" if skipped else "")
    )
    return merged


def check_start(location: str, workdir: pathlib.Path) -> None:
    """Refuses weights to start from that cannot be read once `workdir` is emptied.

    Raises:
        UsageError: if they lie in it, or cannot be read now.
    """
    if not location:
        return
    if pathlib.Path(location).resolve().is_relative_to(workdir.resolve()):
        raise UsageError(
            f"--init_from={location} lies in the --workdir, which --overwrite empties;"
            " name another --workdir."
        )
    _stored(location)


def _stored(location: str) -> PyTree:
    """The variables of a run or a file."""
    path = pathlib.Path(location)
    return weights_of(path) if path.is_dir() else weights.load(path)
