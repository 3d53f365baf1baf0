"""Random augmentations of an image together with its boxes, from one line of text.

An example is a dict: `image` (h, w, c) float32 in [0, 1]; `boxes` (m, 4) in pixels and
`label` (m,), -1 in rows that are none; `valid_size`, the height and width that are
valid in the top left, beyond which the image is black. `mirrored` and `cut_out` do to
it what the random ones draw. As in `images`, each example draws from its own key.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cnnjax.data.augment import spec as specs
from cnnjax.data.augment.masks import PHOTOMETRIC
from cnnjax.data.augment.spec import Augmentation, Batch, Example, Table, fold
from cnnjax.ops import crop_and_resize

NAMES = ("image", "boxes", "label", "valid_size")


def mirrored(example: Example) -> Example:
    """The example with left and right exchanged within its valid part."""
    image, boxes, size = example["image"], example["boxes"], example["valid_size"]
    # The columns of the valid part in the opposite order, the others in their places.
    columns = jnp.arange(image.shape[1])
    source = jnp.where(columns < size[1], size[1] - 1 - columns, columns)
    right = size[1].astype(boxes.dtype)
    flipped = jnp.stack(
        [right - boxes[:, 2], boxes[:, 1], right - boxes[:, 0], boxes[:, 3]], axis=1
    )
    there = (example["label"] >= 0)[:, None]
    return example | {
        "image": image[:, source],
        "boxes": jnp.where(there, flipped, boxes),
    }


def cut_out(
    example: Example, start: Float[Array, "2"], factor: Float[Array, ""]
) -> Example:
    """What a window of the image shows, magnified to the size of the image.

    Boxes are cut at its border; one whose center lies outside is none any more.

    Args:
        example: the image and its boxes.
        start: y and x of the window's upper left corner, in pixels of the image.
        factor: by which it is magnified; below 1 the image becomes smaller than its
            canvas.
    """
    image, boxes, label = example["image"], example["boxes"], example["label"]
    canvas = jnp.array(image.shape[:2], jnp.float32)
    old = example["valid_size"].astype(jnp.float32)
    window = jnp.concatenate([start[::-1], (start + canvas / factor)[::-1]])
    size = image.shape[:2]
    moved = crop_and_resize(image, window[None], size, valid_size=old)[0]
    left = jnp.minimum(jnp.floor((old - start) * factor + 1e-3), canvas)
    rows, columns = (jnp.arange(n, dtype=jnp.float32) for n in size)
    inside = (rows[:, None] < left[0]) & (columns < left[1])
    origin, high = (jnp.tile(x[::-1], 2) for x in (start, left))
    placed = (boxes - origin) * factor
    center = (placed[:, :2] + placed[:, 2:]) / 2
    kept = ((center >= 0) & (center < high[:2])).all(axis=1) & (label >= 0)
    return example | {
        "image": jnp.where(inside[..., None], moved, 0),
        "boxes": jnp.where(kept[:, None], jnp.clip(placed, 0, high), 0),
        "label": jnp.where(kept, label, -1),
        "valid_size": left.astype(example["valid_size"].dtype),
    }


def random_flip(key: Key[Array, ""], example: Example, strength: float) -> Example:
    """The example with left and right exchanged, with probability `strength`."""
    happens = jax.random.bernoulli(key, strength)
    other = mirrored(example)
    return {k: jnp.where(happens, other[k], x) for k, x in example.items()}


def random_scale(key: Key[Array, ""], example: Example, strength: float) -> Example:
    """The example magnified by 1 / (1 + `strength`) to 1 + `strength`.

    Where it becomes larger than the canvas, a window of it anywhere is shown.
    """
    scale_key, place_key = jax.random.split(key)
    factor = (1 + strength) ** jax.random.uniform(scale_key, minval=-1, maxval=1)
    canvas = jnp.array(example["image"].shape[:2], jnp.float32)
    old = example["valid_size"].astype(jnp.float32)
    room = jnp.maximum(old - canvas / factor, 0)
    start = jax.random.uniform(place_key, (2,)) * room
    return cut_out(example, start, factor)


GEOMETRIC: Table = {
    "flip": Augmentation(
        random_flip, 0.5, (0, 1), "mirrors left and right with probability P"
    ),
    "scale": Augmentation(
        random_scale, 0.5, (0, 9), "magnifies by 1 / (1 + S) to 1 + S"
    ),
}
TABLE: Table = GEOMETRIC | PHOTOMETRIC


def box_augmenter(spec: str) -> Callable[[Key[Array, " n"], Batch], Batch]:
    """All augmentations of `spec` as one function of images with boxes.

    Args:
        spec: names in `TABLE`, each with a strength or its default: "flip,scale:0.5".

    Returns:
        A function of a key for each example and a batch, for use inside `jit`. Entries
        other than `NAMES` pass unchanged.

    Raises:
        UsageError: if `spec` is not valid.
    """
    steps = specs.parse(spec, table=TABLE)

    def single(key: Key[Array, ""], example: Example) -> Example:
        for name, strength in steps:
            example = TABLE[name].function(fold(key, name), example, strength)
        if not steps:
            return example
        # Colors may have changed what is beyond the image, too.
        height, width = example["image"].shape[:2]
        rows, columns = jnp.arange(height)[:, None], jnp.arange(width)
        size = example["valid_size"]
        inside = (rows < size[0]) & (columns < size[1])
        return example | {"image": jnp.where(inside[..., None], example["image"], 0)}

    def augment(keys: Key[Array, " n"], batch: Batch) -> Batch:
        return {**batch, **jax.vmap(single)(keys, {k: batch[k] for k in NAMES})}

    return augment
