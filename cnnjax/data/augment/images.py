"""Random augmentations of classified images on the device, from one line of text.

An example is a dict: `image` (h, w, c) float32 in [0, 1], `label`, and with images of
unequal sizes `valid_size`, the height and width that are valid in the top left. An
augmentation is `f(key, example, strength) -> example`; a mixer takes a second example,
and labels that are probabilities. It draws parameters from its key, and `transforms`
does the work.

Each example draws from its own key, so that neither its place in the batch nor the
number of devices changes what becomes of it.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from cnnjax.data.augment import spec as specs
from cnnjax.data.augment import transforms
from cnnjax.data.augment.spec import Augmentation, Batch, Example, Step, Table, fold


def random_crop(key: Key[Array, ""], example: Example, strength: int) -> Example:
    """The image moved by up to `strength` pixels each way, with black around it."""
    most = int(strength)
    offset = most - jax.random.randint(key, (2,), 0, 2 * most + 1)
    return example | {
        "image": transforms.translate(example["image"], offset, most=most)
    }


def random_flip(key: Key[Array, ""], example: Example, strength: float) -> Example:
    """The image mirrored left to right with probability `strength`."""
    image = example["image"]
    mirrored = jax.random.bernoulli(key, strength)
    return example | {"image": jnp.where(mirrored, transforms.flip(image), image)}


def random_cutout(key: Key[Array, ""], example: Example, strength: int) -> Example:
    """A square of side `strength`, its center anywhere, filled with the mean color."""
    image = example["image"]
    center = jax.random.randint(key, (2,), 0, jnp.array(image.shape[:2]))
    return example | {"image": transforms.cutout(image, center, side=int(strength))}


def random_jitter(key: Key[Array, ""], example: Example, strength: float) -> Example:
    """Brightness, contrast and saturation, each times a number in 1 ± `strength`."""
    image = example["image"]
    factors = jax.random.uniform(key, (3,), image.dtype, 1 - strength, 1 + strength)
    brightness, contrast, saturation = factors
    jittered = transforms.adjust_color(
        image, brightness=brightness, contrast=contrast, saturation=saturation
    )
    return example | {"image": jittered}


def random_resized_crop(
    key: Key[Array, ""],
    example: Example,
    strength: float,
    *,
    output_size: tuple[int, int] | None = None,
) -> Example:
    """A part of the image, resized to `output_size` (Szegedy et al., 2015, section 6).

    The part has an area between `strength` and 1 of the valid image and an aspect
    ratio between 3/4 and 4/3, both drawn again for each example (the ratio evenly on
    a log scale; a side longer than the image is cut to it). Pixels beyond
    `valid_size` are not seen.
    """
    image = example["image"]
    size = image.shape[:2] if output_size is None else output_size
    valid_size = example.get("valid_size", jnp.array(image.shape[:2])).astype(
        jnp.float32
    )
    shape_key, place_key = jax.random.split(key)
    area, ratio = jax.random.uniform(shape_key, (2,))
    area = (strength + (1 - strength) * area) * valid_size.prod()
    ratio = jnp.exp((2 * ratio - 1) * jnp.log(4 / 3))  # width / height
    side = jnp.minimum(jnp.sqrt(area * jnp.stack([1 / ratio, ratio])), valid_size)
    start = jax.random.uniform(place_key, (2,)) * (valid_size - side)
    image = transforms.resized_crop(
        image, start, side, valid_size=valid_size, output_size=size
    )
    return {k: v for k, v in example.items() if k != "valid_size"} | {"image": image}


def random_mixup(
    key: Key[Array, ""], example: Example, partner: Example, strength: float
) -> Example:
    """Both blended, image and label, by a share from Beta(strength, strength)."""
    share = jax.random.beta(key, strength, strength)
    names = ("image", "label")
    return example | {
        name: transforms.mixup(example[name], partner[name], share) for name in names
    }


def random_cutmix(
    key: Key[Array, ""], example: Example, partner: Example, strength: float
) -> Example:
    """The example with a box of the partner's image in it.

    The box covers 1 - a of the area, a drawn from Beta(strength, strength), with its
    center anywhere; the labels mix by the area that remains of each.
    """
    share_key, place_key = jax.random.split(key)
    image = example["image"]
    size = jnp.array(image.shape[:2])
    half = jnp.sqrt(1 - jax.random.beta(share_key, strength, strength)) * size / 2
    center = jax.random.uniform(place_key, (2,)) * size
    start = jnp.round(center - half).astype(jnp.int32)
    stop = jnp.round(center + half).astype(jnp.int32)
    image, share = transforms.cutmix(image, partner["image"], start, stop)
    label = transforms.mixup(example["label"], partner["label"], share)
    return example | {"image": image, "label": label}


AUGMENTATIONS: Table = {
    "crop": Augmentation(
        random_crop,
        4,
        (1, 512),
        "moves by up to N pixels, black around it",
        pixels=True,
    ),
    "flip": Augmentation(random_flip, 0.5, (0, 1), "mirrors with probability P"),
    "cutout": Augmentation(
        random_cutout,
        8,
        (1, 512),
        "fills a square of N pixels with the mean",
        pixels=True,
    ),
    "jitter": Augmentation(
        random_jitter,
        0.4,
        (0, 1),
        "scales brightness, contrast, saturation by 1 ± S",
    ),
    "resized_crop": Augmentation(
        random_resized_crop,
        0.08,
        (0.01, 1),
        "resizes a part of at least S of the area",
    ),
}
MIXERS: Table = {
    "mixup": Augmentation(random_mixup, 0.2, (0.01, 100), "blends pairs, Beta(A, A)"),
    "cutmix": Augmentation(
        random_cutmix, 1.0, (0.01, 100), "pastes boxes of the partner, Beta(A, A)"
    ),
}


def parse(spec: str) -> tuple[Step, ...]:
    """Returns the augmentations and mixers that `spec` names.

    Raises:
        UsageError: as `spec.parse`.
    """
    return specs.parse(spec, table=AUGMENTATIONS | MIXERS)


def augmenter(
    spec: str | tuple[Step, ...],
    *,
    classes: int,
    output_size: tuple[int, int] | None = None,
) -> Callable[[Key[Array, " n"], Batch], Batch]:
    """Returns all augmentations of `spec` as one function of a batch.

    `resized_crop` runs first, since it alone knows what of a fitted image is valid;
    the others run in the order given, and mixers after them; of several mixers each
    example draws one, all equally likely. Examples 2i and 2i + 1 of the batch are
    partners, so that no device needs another's data. With a mixer the labels become
    probabilities (n, classes).

    Args:
        spec: what `parse` reads, or has read.
        classes: the number of classes.
        output_size: height and width that `resized_crop` resizes to; None keeps the
            image's.

    Returns:
        A function of a key for each example and a batch, for use inside `jit`. Other
        entries of the batch pass unchanged.

    Raises:
        UsageError: as `parse`.
    """
    steps = parse(spec) if isinstance(spec, str) else spec
    singles = [step for step in steps if step.name in AUGMENTATIONS]
    singles.sort(key=lambda step: step.name != "resized_crop")
    mixers = [step for step in steps if step.name in MIXERS]

    def single(key: Key[Array, ""], example: Example) -> Example:
        for name, strength in singles:
            function = AUGMENTATIONS[name].function
            if name == "resized_crop":
                function = functools.partial(function, output_size=output_size)
            example = function(fold(key, name), example, strength)
        return example

    def mix(key: Key[Array, ""], example: Example, partner: Example) -> Example:
        mixed = [
            MIXERS[name].function(fold(key, name), example, partner, strength)
            for name, strength in mixers
        ]
        choice = jax.random.randint(fold(key, "mixer"), (), 0, len(mixed))
        return jax.tree.map(lambda *xs: jnp.stack(xs)[choice], *mixed)

    def augment(keys: Key[Array, " n"], batch: Batch) -> Batch:
        names = ("image", "label", "valid_size")
        examples = {name: batch[name] for name in names if name in batch}
        rest = {name: x for name, x in batch.items() if name not in names}
        if singles:
            examples = jax.vmap(single)(keys, examples)
        if mixers:
            examples["label"] = jax.nn.one_hot(examples["label"], classes)
            partners = jax.tree.map(_partners, examples)
            examples = jax.vmap(mix)(keys, examples, partners)
        return rest | examples

    return augment


def _partners(x: Array) -> Array:
    if x.shape[0] % 2:
        raise ValueError(f"Mixing needs an even batch, got {x.shape[0]} examples.")
    return x.reshape(-1, 2, *x.shape[1:])[:, ::-1].reshape(x.shape)
