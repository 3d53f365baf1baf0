"""The windows of each round: objects, random background, and mined false alarms.

Hard negatives are mined as Sung & Poggio (1998, section 3.2) and Felzenszwalb et al.
(2010, section 4.4) do: train, search the training images, and add the false
alarms.
"""

import os
import pathlib
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from cnnjax import detection
from cnnjax.data.source import Source
from cnnjax.errors import UsageError
from cnnjax.models import weights
from cnnjax.training import devices, progress
from experiments.detection.config import Config
from experiments.detection.sliding import sampling
from experiments.detection.sliding.windows import Windows, source_of

MINED = 0.75  # largest share of the background that is mined; the rest is random


class Rounds:
    """Training windows of each round, of constant number.

    Args:
        config: how many, and of what kind.
        source: the training images.
        objects: in them.
        factors: of the levels that are searched.
        folder: where mined windows are kept, so that a run which is started again
            need not look for them.

    Raises:
        UsageError: if there is no object, or no room for background beside them.
    """

    def __init__(
        self,
        config: Config,
        source: Source,
        objects: sampling.Objects,
        factors: Float[np.ndarray, "levels 2"],
        folder: pathlib.Path,
    ) -> None:
        self._config, self._source, self._objects = config, source, objects
        self._folder = folder
        self._shapes = config.window / (config.context * factors[:, ::-1])
        self._positives = sampling.object_windows(objects, context=config.context)
        if not len(self._positives.label):
            raise UsageError(
                "No object in the training split: there is no positive window."
            )
        self._wanted = round(config.negatives * len(self._positives.label))
        if not self._wanted:
            raise UsageError(
                f"--negatives={config.negatives:g} makes no window of background beside"
                f" {len(self._positives.label)} of objects; 1 would do."
            )

    def first(self) -> Source:
        """The training source of round 0."""
        return self._joined(0, [])

    def renew(
        self,
        detected: Callable[[PyTree, Array, Array], detection.Detections],
        number: int,
        variables: PyTree | None,
        *,
        poll: Callable[[], None],
    ) -> Source:
        """The training source of a later round.

        Args:
            detected: (variables, images, valid sizes) -> detections.
            number: of the round.
            variables: that it begins with, or None if it began before.
            poll: called now and then; raises to stop.

        Raises:
            UsageError: if the round began before and what was mined is gone or damaged.
        """
        path = self._path(number)
        if variables is not None and devices.first_process_says(self._lacks(path)):
            mined = self._mine(detected, number, variables, poll)
            if jax.process_index() == 0:
                self._save(path, mined)
            devices.first_process_says(True)  # the others wait until it is there
        return self._joined(
            number, [self._load(self._path(r)) for r in range(1, number + 1)]
        )

    def _mine(
        self, detected: Callable, number: int, variables: PyTree, poll: Callable
    ) -> Windows:
        config = self._config
        order = np.random.default_rng((config.seed, number)).permutation(
            len(self._source)
        )
        images = np.sort(order[: config.mining_images])
        progress.log_line(
            f"round {number}: searches {len(images)} training images for false alarms"
        )
        variables = jax.device_put(variables)
        alarms, scores = sampling.false_alarms(
            lambda images, valid_sizes: detected(variables, images, valid_sizes),
            self._source,
            self._objects,
            images,
            context=config.context,
            iou=config.background_iou,
            batch_size=config.image_batch,
            poll=poll,
        )
        share = round(MINED * self._wanted / config.mining_rounds)
        kept = np.argsort(-scores, kind="stable")[:share]
        progress.log_line(
            f"round {number}: {len(scores)} found, the highest {len(kept)} join the"
            " background"
        )
        return alarms.of(kept)

    def _joined(self, number: int, mined: list[Windows]) -> Source:
        config = self._config
        missing = self._wanted - sum(len(part.label) for part in mined)
        rest = sampling.random_background(
            self._objects,
            missing,
            shapes=self._shapes,
            context=config.context,
            border=config.border,
            iou=config.background_iou,
            rng=np.random.default_rng((config.seed, number, 1)),
        )
        if len(rest.label) < missing:
            raise UsageError(
                f"Only {len(rest.label)} of {missing} windows of background found:"
                " objects fill the training images. Fewer --negatives, or a larger"
                " --background_iou would do."
            )
        windows = Windows.joined(self._positives, *mined, rest)
        return source_of(self._source, windows, window=config.window)

    def _path(self, number: int) -> pathlib.Path:
        return self._folder / f"round_{number}.npz"

    def _lacks(self, path: pathlib.Path) -> bool:
        """Whether the windows of a round that begins now have to be mined."""
        if not path.exists():
            return True
        try:
            self._load(path)
        except UsageError:
            progress.log_line(f"{path} is damaged and made again")
            return True
        return False

    def _load(self, path: pathlib.Path) -> Windows:
        if not path.exists():
            raise UsageError(f"{path} is missing: --overwrite trains afresh.")
        try:
            windows = Windows(**weights.load(path))
            if _alike(windows, self._positives):
                return windows
        except (UsageError, TypeError, AttributeError):
            pass
        raise UsageError(f"{path} is damaged: --overwrite trains afresh.")

    def _save(self, path: pathlib.Path, windows: Windows) -> None:
        """Writes the windows of a round to a file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, **windows._asdict())
        os.replace(partial, path)


def _alike(some: Windows, others: Windows) -> bool:
    """Whether `some` are whole, with arrays of the types and shapes of `others`."""
    return {len(column) for column in some} == {len(some.label)} and all(
        (x.dtype, x.shape[1:]) == (y.dtype, y.shape[1:])
        for x, y in zip(some, others, strict=True)
    )
