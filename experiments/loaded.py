"""What a finished run left, to predict by."""

import dataclasses
import pathlib
from typing import Any, Self

from cnnjax.models import weights
from cnnjax.refusal import Refusal
from cnnjax.training import record
from cnnjax.training.config import TrainingConfig

Tree = Any


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A trained network.

    Attributes:
        config: of its run.
        class_names: in the order of the probabilities.
        variables: of its model, and `input`, the scaling of the pixels.
        image_shape: height, width and channels it was trained on.
    """

    config: Any
    class_names: tuple[str, ...]
    variables: Tree
    image_shape: tuple[int, int, int]

    @classmethod
    def of(cls, workdir: pathlib.Path | str, config: type[TrainingConfig]) -> Self:
        """What the finished run in `workdir` left, its flags read as `config`.

        Raises:
            Refusal: if there is no finished run, or one of another experiment.
        """
        workdir = pathlib.Path(workdir)
        values, result = record.finished(workdir)
        others = set(values) - {field.name for field in dataclasses.fields(config)}
        if others:
            raise Refusal(
                f"{workdir} holds a run of another experiment or revision, with flags"
                f" that this one has not: --{', --'.join(sorted(others))}."
            )
        return cls(
            config=config(**values),
            class_names=tuple(result["class_names"]),
            variables=weights.load(workdir / "weights.safetensors"),
            image_shape=tuple(result["image_shape"]),
        )
