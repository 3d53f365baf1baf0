"""Results of a detector beside its weights and metrics."""

from typing import Any

from jaxtyping import PyTree

from experiments.detection import calibration
from experiments.trainer import TrainedRun


def extras(run: TrainedRun) -> tuple[PyTree, dict[str, Any]]:
    """Variables to predict with (pyramid and calibration), and rows of result.json."""
    config, data, task, result = run.config, run.data, run.task, run.result
    kept: dict[str, PyTree] = task.kept
    ids = data.class_ids or tuple(range(1, len(data.class_names) + 1))
    if not config.calibrate:
        return kept, {"class_ids": ids}
    found = calibration.collect(
        task,
        task.validation,
        result.variables,
        class_names=data.class_names,
        batch_size=config.image_batch,
    )
    by = calibration.fit(found)
    errors = {
        "calibration_error": calibration.error(result.observer, by),
        "raw_calibration_error": calibration.error(result.observer),
    }
    return {**kept, "calibration": by}, {"class_ids": ids, **errors}
