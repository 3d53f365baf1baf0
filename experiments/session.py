"""One sitting of a run, whatever its task: trained to its end, and written down."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax

from cnnjax.data.sources import Dataset
from cnnjax.models import weights
from cnnjax.training import progress, provenance, record
from cnnjax.training.clock import Clock
from cnnjax.training.config import TrainingConfig
from cnnjax.training.plan import plan
from cnnjax.training.task import Task, Trained
from cnnjax.training.train import train

Tree = Any
Result = dict[str, Any]


def conduct(
    task: Task,
    config: TrainingConfig,
    data: Dataset,
    beside: Tree,
    workdir: pathlib.Path,
    clock: Clock,
    *,
    overwrite: bool,
    draw: Callable[[pathlib.Path, Trained], None],
    afterwards: Callable[[Trained], tuple[Tree, Result]] = lambda trained: ({}, {}),
) -> Result:
    """Trains, or goes on, in `workdir`, and returns what result.json says.

    Args:
        task: what there is to learn.
        config: how.
        data: from what.
        beside: what is kept with the weights, such as the scaling of the pixels as
            "input".
        workdir: where the run lives.
        clock: running since the sitting began.
        overwrite: whether to start afresh.
        draw: puts the figures of what was trained into a folder.
        afterwards: what more is kept with the weights, and told in result.json.
    """
    origin = provenance.provenance(data.fingerprint)
    steps = plan(config, len(task.train), rounds=task.rounds)
    opened = record.Record(workdir, config, data=data.fingerprint, overwrite=overwrite)
    with opened as keep:
        result = keep.result()
        if result is not None:
            progress.tell("finished before (--overwrite trains afresh)")
            return result
        if data.note:
            progress.tell(data.note)
        trained = train(task, config, steps, keep, clock)
        more, told = afterwards(trained)
        result = {
            **trained.metrics,
            **told,
            **trained.cost,
            "class_names": data.class_names,
            "image_shape": data.image_shape,
            "provenance": origin,
        }
        if jax.process_index() == 0:
            variables = {**trained.variables, **beside, **more}
            weights.save(workdir / "weights.safetensors", variables)
            keep.figures.mkdir(exist_ok=True)
            draw(keep.figures, trained)
        keep.finish(result)
    return result


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
