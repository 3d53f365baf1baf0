"""The table at the end of a run: metrics, time, memory."""

import pathlib
from collections.abc import Sequence

from cnnjax.training.progress import duration, table
from cnnjax.training.task import Metrics

# Phases of a run in `seconds` of its result -> how they are shown.
_PHASES = {
    "compile": "compile",
    "train": "train",
    "renew": "new rounds",
    "evaluate": "evaluate",
    "total": "total",
}


def show(
    result: Metrics, workdir: pathlib.Path, metrics: Sequence[str], *, unit: str
) -> None:
    """Shows the result of a run.

    Args:
        result: as in result.json.
        workdir: of the run.
        metrics: names of those to show.
        unit: what it trained on, in the plural.
    """
    seconds = result["seconds"]
    table(
        "result",
        {
            **_shown(metrics, result),
            "parameters": f"{result['parameters']:,}",
            f"{unit}/s in training": f"{result['images_per_second']:,.0f}",
            "time": ", ".join(
                f"{name} {duration(seconds[phase])}"
                for phase, name in _PHASES.items()
                if phase in seconds
            ),
            "waiting for input": f"{seconds['input_wait'] / seconds['train']:.1%}",
            "peak memory": f"{result['peak_memory_bytes'] / 2**30:.2f} GiB",
            "SHA-256 of the parameters": result["parameters_sha256"],
            "left in": str(workdir),
        },
    )


def _shown(names: Sequence[str], result: Metrics) -> dict[str, str]:
    """The metrics of a result as text; lists are left out."""
    shown = {}
    for name in names:
        value = result.get(name)
        label = f"test {name.replace('_per_class', ' by class').replace('_', ' ')}"
        if isinstance(value, dict):
            rows = [(n, x) for n, x in value.items() if x is not None]
            shown[label] = ", ".join(f"{n} {x:.3f}" for n, x in rows)
        elif isinstance(value, float):
            shown[label] = f"{value:.4f}"
    return shown
