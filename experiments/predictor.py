"""Trained networks and `--predict`, which runs them on image files."""

import collections
import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from jaxtyping import Array, PyTree, UInt8

from cnnjax.data import decode
from cnnjax.data.readers import folder
from cnnjax.errors import UsageError
from cnnjax.training import finished
from cnnjax.training.progress import log_line
from experiments.config import NetworkConfig, build
from experiments.initial_weights import weights_of

Image = UInt8[np.ndarray, "h w c"]


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A trained network; each experiment derives its `Predictor` from this.

    Attributes:
        config: of its run.
        class_names: in the order of the outputs.
        variables: of its model, and `input`, the channel mean and std of the images.
        image_shape: height, width and channels it was trained on.
        image_size: side of the squares that its run resized images to, if it did.
        result: its result.json.
    """

    EXPERIMENT: ClassVar[str]
    CONFIG: ClassVar[type[NetworkConfig]]

    config: Any
    class_names: tuple[str, ...]
    variables: PyTree = dataclasses.field(repr=False)
    image_shape: tuple[int, int, int]
    image_size: int | None
    result: dict[str, Any] = dataclasses.field(repr=False)

    @classmethod
    def load(cls, workdir: pathlib.Path | str) -> Self:
        """The network of the finished run in `workdir`.

        Raises:
            UsageError: if there is no finished run, a damaged one, or one of another
                experiment, or of a model that is not known here.
        """
        workdir = pathlib.Path(workdir)
        values, result = finished.read(
            workdir, experiment=cls.EXPERIMENT, config_type=cls.CONFIG
        )
        config = cls.CONFIG(**values)
        build(config, len(result["class_names"]))
        return cls(
            config=config,
            class_names=tuple(result["class_names"]),
            variables=weights_of(workdir),
            image_shape=tuple(result["image_shape"]),
            # Earlier revisions did not record the size of enlarged images.
            image_size=result.get("image_size", values["image_size"]),
            result=result,
        )

    def outputs(self, variables: PyTree, images: Array) -> Array:
        """What `predict` computes on a device, as a function that JAX can trace.

        Args:
            variables: as the attribute.
            images: (n, h, w, channels), uint8 or float in [0, 1], preprocessed.
        """
        raise NotImplementedError


class Report(Protocol):
    """Shows and writes the predictions of one `--predict`."""

    def add(self, file: pathlib.Path, image: Image) -> str:
        """Predicts for the image of a file; returns the line to show of it."""
        ...

    def close(self) -> None:
        """Writes the file that has all predictions so far, if there is one."""
        ...


def predict(path: pathlib.Path, model: TrainedModel, report: Report) -> None:
    """Reports on the image at `path`, or on all images in the folder there.

    Raises:
        UsageError: if there is none, one is damaged or cannot be predicted for, or the
            run's images are not what pictures can hold.
    """
    channels, predicted = model.image_shape[-1], 0
    if channels not in (1, 3):
        raise UsageError(
            f"The run was trained on images of {channels} channels, and files of"
            " pictures have 1 or 3; Predictor.predict takes arrays."
        )
    try:
        for file in folder.pictures(path):
            image = decode.decode(file, channels=channels, name=str(file))
            with _named(file):
                line = report.add(file, image)
            log_line(line)
            predicted += 1
    finally:
        if predicted:
            report.close()


@contextlib.contextmanager
def _named(file: pathlib.Path) -> Iterator[None]:
    """Puts the name of the file in front of error messages."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None


def output_names(
    path: pathlib.Path, *, suffixes: Sequence[str] = ("",)
) -> dict[pathlib.Path, str]:
    """A name for the output of each image at `path`: its stem, where that is unique.

    Where the output of one file would be written over that of another (a.png and
    a.jpg), both names have the suffix of their file.

    Args:
        path: of an image or a folder.
        suffixes: appended to the name of each output.
    """
    names = {file: file.stem for file in folder.pictures(path)}
    while True:
        written = {
            file: {f"{name}{suffix}".casefold() for suffix in suffixes}
            for file, name in names.items()
        }
        counts = collections.Counter(x for each in written.values() for x in each)
        clash = {
            file
            for file, each in written.items()
            if names[file] != file.name and any(counts[x] > 1 for x in each)
        }
        if not clash:
            return names
        names |= {file: file.name for file in clash}
