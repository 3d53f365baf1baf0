"""What of a network's output is explained: a class, and where."""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from cnnjax.detection.coder import decode_boxes
from cnnjax.detection.detect import scale_boxes
from cnnjax.detection.pyramid import fitting_levels
from cnnjax.errors import UsageError
from cnnjax.models.windownet import WindowNet
from cnnjax.ops.arrays import AnyArray
from experiments.detection.sliding.task import window_of
from experiments.interpretation import class_names
from experiments.interpretation.pictures import unit
from experiments.interpretation.subject import Subject


class Focus(NamedTuple):
    """A class of an image.

    Attributes:
        image: one, in [0, 1], of a detector the level of its pyramid.
        label: the class.
        places: the share that each place of the output has; None: there is one alone.
        probability: of the class there.
        words: where, for people.
        box: x1, y1, x2, y2 in pixels, of a detector's object or a segmenter's pixel.
    """

    image: Float[np.ndarray, "1 h w c"]
    label: int
    places: Float[np.ndarray, "rows columns"] | None
    probability: float
    words: str = ""
    box: tuple[float, ...] | None = None


def focus(subject: Subject, image: UInt8[np.ndarray, "h w c"], options: Any) -> Focus:
    """The class and the place that the options ask for.

    Args:
        subject: the network.
        image: as the network sees it.
        options: with label and pixel.

    Raises:
        UsageError: if the network has no head, or there is no such class or place.
    """
    check_head(subject)
    if options.pixel and subject.task != "segmentation":
        raise UsageError(f"--pixel is for segmentation, not {subject.task}.")
    label = None
    if options.label is not None:
        label = class_names.find(options.label, subject.class_names)
    return _FOCUS[subject.task](subject, unit(image)[None], label, options.pixel)


def check_head(subject: Subject) -> None:
    """Refuses a network without classes.

    Raises:
        UsageError: if it has no head.
    """
    if not subject.class_names:
        raise UsageError(
            f"{subject.words} has no head, and so no classes; filters, patches, dream,"
            " and maximize of channels do without."
        )


def logits(subject: Subject, image: AnyArray) -> Float[np.ndarray, "n *positions k"]:
    """The output of the network."""
    return np.asarray(subject.compiled(subject.variables, image)[0])


def _whole(
    subject: Subject, image: np.ndarray, label: int | None, pixel: str | None
) -> Focus:
    """The class of an image."""
    del pixel
    probabilities = jax.nn.softmax(logits(subject, image))[0]
    label = int(probabilities.argmax()) if label is None else label
    return Focus(image, label, None, float(probabilities[label]))


def _region(
    subject: Subject, image: np.ndarray, label: int | None, pixel: str | None
) -> Focus:
    """The class of one pixel, or of those that are predicted as the class.

    Of them all: Vinogradova, Dibrov & Myers (2020), equation 2. By default it is the
    class of most pixels after the largest, which is usually the background.
    """
    output = logits(subject, image)[0]
    predicted = output.argmax(axis=-1)
    if pixel:
        y, x = _pixel(pixel, predicted.shape)
        mask = np.zeros(predicted.shape, bool)
        mask[y, x] = True
        label = int(predicted[y, x]) if label is None else label
        words, box = f"at pixel {y},{x}", (x - 2.0, y - 2.0, x + 3.0, y + 3.0)
    else:
        counts = np.bincount(predicted.ravel(), minlength=output.shape[-1])
        if label is None:
            order = np.argsort(-counts, kind="stable")
            label = int(order[1] if len(order) > 1 and counts[order[1]] else order[0])
        mask, box = predicted == label, None
        words = f"mean of {mask.sum():,} pixels"
        if not mask.any():
            raise UsageError(
                f"No pixel is predicted as {subject.class_names[label]}; --pixel=Y,X"
                " would say where."
            )
    places = (mask / mask.sum()).astype(np.float32)
    chosen = np.asarray(jax.nn.softmax(output))[mask, label].mean()
    return Focus(image, label, places, float(chosen), words, box)


def _pixel(text: str, size: tuple[int, ...]) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) == 2 and all(part.strip().isdecimal() for part in parts):
        y, x = map(int, parts)
        if y < size[0] and x < size[1]:
            return y, x
    raise UsageError(
        f"--pixel={text} must be Y,X within {size[0]} rows and {size[1]} columns."
    )


def _best_window(
    subject: Subject, image: np.ndarray, label: int | None, pixel: str | None
) -> Focus:
    """The window of all levels that is surest of the class, or of any object."""
    del pixel
    config, factors = cast(tuple, subject.pyramid)
    around = window_of(config)
    best: tuple[float, Any] = (-1.0, None)
    for level in fitting_levels(image, factors.tolist(), **around):
        pads = (around["border"],) * 2
        wide = jnp.pad(level.image, ((0, 0), pads, pads, (0, 0)), "edge")
        output, features = subject.compiled(subject.variables, wide)
        scores = np.asarray(jax.nn.softmax(output[0]))
        of = scores[..., 1:] if label is None else scores[..., label : label + 1]
        if of.max() > best[0]:
            row, column, k = np.unravel_index(of.argmax(), of.shape)
            found = k + 1 if label is None else label
            best = float(of.max()), (wide, row, column, int(found), output, features)
    probability, (wide, row, column, label, output, features) = best
    places = np.zeros(output.shape[1:3], np.float32)
    places[row, column] = 1
    corner = np.array([column, row, column, row]) * WindowNet.STRIDE
    window = corner + np.array([0, 0, 1, 1]) * config.window
    box = scale_boxes(jnp.asarray(window, jnp.float32), config.context)
    if config.refine:
        box = decode_boxes(features["refinement"][0, row, column], box)
    words = f"window at {corner[1]},{corner[0]} of a level of {wide.shape[1]}x"
    return Focus(
        np.asarray(wide),
        label,
        places,
        probability,
        f"{words}{wide.shape[2]}",
        tuple(map(float, box)),
    )


_FOCUS = {
    "classification": _whole,
    "segmentation": _region,
    "detection": _best_window,
}
