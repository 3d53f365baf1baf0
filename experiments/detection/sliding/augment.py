"""Augmentation of windows and of the boxes of their objects, on the device."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax import detection
from cnnjax.data.augment.masks import GEOMETRIC, PHOTOMETRIC
from cnnjax.data.augment.spec import Augmentation, Step, fold, parse
from cnnjax.errors import UsageError
from experiments.detection.sliding.windows import BACKGROUND, REACH

TURNS = ("flip", "flip_vertical", "rot90")
TABLE: dict[str, Augmentation] = {name: GEOMETRIC[name] for name in TURNS} | PHOTOMETRIC
STILL = 0.25  # of its shift and stretch has background: more might bring objects in

Batch = dict[str, Array]


def window_augmenter(
    spec: str, *, window: int, context: float, shift: float, stretch: float
) -> Callable[[Key[Array, " n"], Batch], Batch]:
    """A function of a key for each example and a batch of stored windows.

    It gives "image" (n, window, window, c), and "refinement" (n, 4): the object from
    the middle of its window, as `detection.encode_boxes` has it. Both are jittered
    and augmented as asked.

    Args:
        spec: names in `TABLE`, each with a strength or its default.
        window: pixels a side that the network sees.
        context: sides of a window in those of the object in its middle.
        shift: at most, in sides of the window.
        stretch: at most, of each side by itself.

    Raises:
        UsageError: if `spec` is not valid, or crops would exceed the stored windows.
    """
    steps = parse(spec, table=TABLE)
    if shift + (1 + stretch) / 2 > REACH / 2:
        raise UsageError(
            f"--shift={shift:g} and --stretch={stretch:g} look beyond what is stored "
            f"of a window: shift + (1 + stretch) / 2 must be at most {REACH / 2:g}."
        )

    def single(key: Key[Array, ""], example: Batch) -> Batch:
        amount = jnp.where(example["label"] == BACKGROUND, STILL, 1.0)
        draw = jax.random.uniform(fold(key, "window"), (2, 2), minval=-1, maxval=1)
        center = amount * shift * draw[0]
        size = (1 + stretch) ** (amount * draw[1])
        size, swap = _turned(key, steps, size)
        image = _crop(example["image"], center, size, window)
        target = _refinement(example["object"], center, size / context)
        image = jnp.where(swap, image.swapaxes(0, 1), image)
        target = jnp.where(swap, target[jnp.array([1, 0, 3, 2])], target)
        example = example | {"image": image, "refinement": target}
        for name, strength in steps:
            if name in PHOTOMETRIC:
                example = PHOTOMETRIC[name].function(fold(key, name), example, strength)
        return example

    def augment(keys: Key[Array, " n"], batch: Batch) -> Batch:
        names = ("image", "label", "object")
        augmented = jax.vmap(single)(keys, {name: batch[name] for name in names})
        return {**batch, **augmented}

    return augment


def _turned(
    key: Key[Array, ""], steps: tuple[Step, ...], size: Float[Array, "2"]
) -> tuple[Float[Array, "2"], Array]:
    """Sizes, negative along mirrored axes, and whether the axes are swapped."""
    swap = jnp.zeros((), bool)
    for name, strength in steps:
        if name not in TURNS:
            continue
        happens, *coins = jax.random.uniform(fold(key, name), (4,))
        happens = happens < strength
        if name == "rot90":  # by all of the eight symmetries of a square
            swap = swap | (happens & (coins[0] < 0.5))
            mirror = jnp.array(coins[1:]) < 0.5
        else:
            mirror = jnp.array([name == "flip", name == "flip_vertical"])
        size = jnp.where(happens & mirror, -size, size)
    return size, swap


def _crop(
    image: Float[Array, "side side c"],
    center: Float[Array, "2"],
    size: Float[Array, "2"],
    window: int,
) -> Float[Array, "window window c"]:
    """A crop of a stored window.

    Args:
        image: the stored window.
        center: x and y of the crop, in sides of the stored window, from its middle.
        size: width and height; a negative one mirrors.
        window: pixels a side of the result.
    """
    corners = jnp.concatenate([center - size / 2, center + size / 2])
    box = (corners + REACH / 2) * (len(image) / REACH)
    return detection.crop_boxes(image, box[None], size=window)[0]


def _refinement(
    target: Float[Array, "4"], center: Float[Array, "2"], size: Float[Array, "2"]
) -> Float[Array, "4"]:
    """Regression target of an object for a box, mirrored as the box is."""
    valid_size = jnp.log(jnp.maximum(target[2:], 1e-6) / jnp.abs(size))
    return jnp.concatenate([(target[:2] - center) / size, valid_size])
