"""What a finished run left, to predict by."""

import dataclasses
import pathlib
from typing import Any, Self

from jaxtyping import PyTree

from cnnjax.digest import tree_sha256
from cnnjax.errors import UsageError
from cnnjax.models import weights
from cnnjax.training import record
from cnnjax.training.config import TrainingConfig


def weights_of(workdir: pathlib.Path) -> PyTree:
    """The variables that the finished run in `workdir` ended with.

    Raises:
        UsageError: if there is no finished run, or its weights are damaged or others.
    """
    _, result = record.finished(workdir)
    path = workdir / "weights.safetensors"
    variables = weights.load(path)
    network = {k: variables[k] for k in ("params", "batch_stats") if k in variables}
    if tree_sha256(network) != result["parameters_sha256"]:
        raise UsageError(
            f"{path}: its parameters are not those of result.json, which has their"
            " SHA-256; copy the run again, or train there with --overwrite."
        )
    return variables


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A trained network.

    Attributes:
        config: of its run.
        class_names: in the order of the probabilities.
        variables: of its model, and `input`, the scaling of the pixels.
        image_shape: height, width and channels it was trained on.
        image_size: side of the squares that its run brought images to, if to any.
    """

    config: Any
    class_names: tuple[str, ...]
    variables: PyTree
    image_shape: tuple[int, int, int]
    image_size: int | None

    @classmethod
    def of(cls, workdir: pathlib.Path | str, config: type[TrainingConfig]) -> Self:
        """What the finished run in `workdir` left, its flags read as `config`.

        Raises:
            UsageError: if there is no finished run, a damaged one, or one of another
                experiment.
        """
        workdir = pathlib.Path(workdir)
        values, result = record.finished(workdir)
        others = set(values) - {field.name for field in dataclasses.fields(config)}
        if others:
            raise UsageError(
                f"{workdir} holds a run of another experiment or revision, with flags"
                f" that this one has not: --{', --'.join(sorted(others))}."
            )
        return cls(
            config=config(**values),
            class_names=tuple(result["class_names"]),
            variables=weights_of(workdir),
            image_shape=tuple(result["image_shape"]),
            # Earlier revisions did not tell of images brought to the smallest size.
            image_size=result.get("image_size", values["image_size"]),
        )
