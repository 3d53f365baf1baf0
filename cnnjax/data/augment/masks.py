"""Random augmentations of an image together with its mask, from one line of text.

All that moves pixels becomes one sampling grid, evaluated only where pixels are asked
for: the image is interpolated, the mask read at the nearest pixel. What changes colors
leaves the mask alone. As in `images`, each example draws from its own key.
"""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Key

from cnnjax.data.augment import spec as specs
from cnnjax.data.augment import transforms, warp
from cnnjax.data.augment.images import random_jitter
from cnnjax.data.augment.spec import Augmentation, Batch, Example, Step, Table, fold
from cnnjax.errors import UsageError

MAPS = ("label", "weight")  # the entries (n, h, w) that move with the image
WHOLE = ("flip", "flip_vertical", "rot90")  # motions that take pixels to pixels


def random_noise(key: Key[Array, ""], example: Example, strength: float) -> Example:
    """The image with normal noise of standard deviation `strength` on every value."""
    image = example["image"]
    noise = strength * jax.random.normal(key, image.shape, image.dtype)
    return example | {"image": transforms.add_noise(image, noise)}


def random_gamma(key: Key[Array, ""], example: Example, strength: float) -> Example:
    """The image to the power of 1 / (1 + `strength`) to 1 + `strength`."""
    power = (1 + strength) ** jax.random.uniform(key, minval=-1, maxval=1)
    return example | {"image": transforms.adjust_gamma(example["image"], power)}


GEOMETRIC: Table = {
    "flip": Augmentation(
        warp.random_flip, 0.5, (0, 1), "mirrors left and right with probability P"
    ),
    "flip_vertical": Augmentation(
        warp.random_flip_vertical,
        0.5,
        (0, 1),
        "mirrors top and bottom with probability P",
    ),
    "rot90": Augmentation(
        warp.random_rot90, 1.0, (0, 1), "turns by 0 to 3 quarters with probability P"
    ),
    "rotate": Augmentation(
        warp.random_rotate, 15.0, (0, 180), "turns by up to N degrees either way"
    ),
    "scale": Augmentation(
        warp.random_scale, 0.2, (0, 9), "magnifies by 1 / (1 + S) to 1 + S"
    ),
    "shift": Augmentation(
        warp.random_shift, 8.0, (0, 4096), "moves by up to N pixels each way"
    ),
    "elastic": Augmentation(
        warp.random_elastic, 10.0, (0, 512), "deforms smoothly, by N pixels on average"
    ),
}
PHOTOMETRIC: Table = {
    "jitter": Augmentation(
        random_jitter,
        0.4,
        (0, 1),
        "scales brightness, contrast, saturation by 1 ± S",
    ),
    "gamma": Augmentation(
        random_gamma, 0.3, (0, 9), "raises to the power 1 / (1 + S) to 1 + S"
    ),
    "noise": Augmentation(
        random_noise, 0.05, (0, 1), "adds normal noise of standard deviation S"
    ),
}


def parse(spec: str) -> tuple[Step, ...]:
    """Returns the augmentations that `spec` names: "flip,rotate:10,noise".

    Raises:
        UsageError: as `spec.parse`.
    """
    return specs.parse(spec, table=GEOMETRIC | PHOTOMETRIC)


def paired_augmenter(
    spec: str | tuple[Step, ...], *, crop_size: tuple[int, int] | None = None
) -> Callable[[Key[Array, " n"], Batch], Batch]:
    """Returns all augmentations of `spec` as one function of images and masks.

    Motions are about the center of the crop, in the order given; beyond its border
    the image is mirrored, and the mask with it. Where they are flips and quarter turns
    alone, pixels keep their very values. Colors change after that, in their order.

    Args:
        spec: what `parse` reads, or has read.
        crop_size: height and width of the crop, anywhere in the image; None takes
            all of it.

    Returns:
        A function of a key for each example and a batch, for use inside `jit`:
        "image" (n, h, w, c) in [0, 1], "label" and perhaps "weight" (n, h, w). Other
        entries pass unchanged.

    Raises:
        UsageError: as `parse`; by that function, if the crop does not fit in the image,
            or is to turn by quarters and not square.
    """
    steps = parse(spec) if isinstance(spec, str) else spec
    motions = [step for step in steps if step.name in GEOMETRIC]
    colors = [step for step in steps if step.name in PHOTOMETRIC]

    def single(key: Key[Array, ""], example: Example) -> Example:
        if motions or crop_size:
            example = _moved(key, example, motions, crop_size)
        for name, strength in colors:
            example = PHOTOMETRIC[name].function(fold(key, name), example, strength)
        return example

    def augment(keys: Key[Array, " n"], batch: Batch) -> Batch:
        examples = {k: v for k, v in batch.items() if k in ("image", *MAPS)}
        return batch | jax.vmap(single)(keys, examples)

    return augment


def _moved(key, example, motions, crop_size):
    whole = example["image"].shape[:2]
    size = crop_size or whole
    _check_crop(size, whole, motions)
    start = jax.random.randint(fold(key, "crop"), (2,), 0, np.subtract(whole, size) + 1)
    if not motions:
        return {k: transforms.crop(v, start, size) for k, v in example.items()}
    points = warp.grid(size)
    for name, strength in reversed(motions):
        points = GEOMETRIC[name].function(fold(key, name), points, strength)
    places = points + start + np.float32(np.subtract(size, 1) / 2)
    whole_pixels = all(name in WHOLE for name, _ in motions)
    read = warp.nearest if whole_pixels else warp.bilinear
    moved = {k: warp.nearest(v, places) for k, v in example.items() if k in MAPS}
    return moved | {"image": read(example["image"], places)}


def _check_crop(size, whole, motions):
    if size[0] > whole[0] or size[1] > whole[1]:
        raise UsageError(
            f"A crop of {size[0]} x {size[1]} does not fit in images of "
            f"{whole[0]} x {whole[1]} (height x width)."
        )
    if size[0] != size[1] and any(step.name == "rot90" for step in motions):
        raise UsageError(
            f"rot90 takes squares, got {size[0]} x {size[1]}: a square crop would do."
        )
