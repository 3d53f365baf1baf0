"""Augmentations of a batch on the device, from one line of text.

Each example draws from its own key, so that neither its place in the batch nor the
number of devices changes what becomes of it.
"""

import functools
import zlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from cnnjax.data.augment import transforms
from cnnjax.data.augment.transforms import Example
from cnnjax.errors import UsageError

Batch = dict[str, Array]


class Augmentation(NamedTuple):
    """An entry of the table: what it does, how strongly, and within which limits."""

    function: Callable[..., Example]
    strength: float
    limits: tuple[float, float]
    description: str
    pixels: bool = False  # a whole number of pixels


AUGMENTATIONS: dict[str, Augmentation] = {
    "crop": Augmentation(
        transforms.crop,
        4,
        (1, 512),
        "moves by up to N pixels, black around it",
        pixels=True,
    ),
    "flip": Augmentation(transforms.flip, 0.5, (0, 1), "mirrors with probability P"),
    "cutout": Augmentation(
        transforms.cutout,
        8,
        (1, 512),
        "fills a square of N pixels with the mean",
        pixels=True,
    ),
    "jitter": Augmentation(
        transforms.jitter,
        0.4,
        (0, 1),
        "scales brightness, contrast, saturation by 1 ± S",
    ),
    "resized_crop": Augmentation(
        transforms.resized_crop,
        0.08,
        (0.01, 1),
        "resizes a part of at least S of the area",
    ),
}
MIXERS: dict[str, Augmentation] = {
    "mixup": Augmentation(
        transforms.mixup, 0.2, (0.01, 100), "blends pairs, Beta(A, A)"
    ),
    "cutmix": Augmentation(
        transforms.cutmix, 1.0, (0.01, 100), "pastes boxes of the partner, Beta(A, A)"
    ),
}


class Step(NamedTuple):
    """An augmentation by name, and its strength."""

    name: str
    strength: float


def parse(
    spec: str, *, table: dict[str, Augmentation] = AUGMENTATIONS | MIXERS
) -> tuple[Step, ...]:
    """Reads "crop:4,flip,mixup:0.2": names, each with a strength or its default.

    Args:
        spec: the text.
        table: what the names stand for.

    Raises:
        UsageError: if a name is missing, unknown or comes twice, or a strength is out
            of range.
    """
    parts = [part.strip() for part in spec.split(",") if part.strip()]
    if spec and not parts:
        raise _unknown(spec, table)
    steps = tuple(_parse_step(part, table) for part in parts)
    names = [step.name for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"An augmentation must come once, got {name} twice.")
    return steps


def listed(table: dict[str, Augmentation]) -> str:
    """The names in `table` with their limits, for a help text."""
    entries = ((name, *entry.limits) for name, entry in table.items())
    return ", ".join(f"{name} ({low:g} to {high:g})" for name, low, high in entries)


def augmenter(
    spec: str | tuple[Step, ...],
    *,
    classes: int,
    output_size: tuple[int, int] | None = None,
) -> Callable[[Key[Array, "n"], Batch], Batch]:
    """All augmentations of `spec` as one function of a batch.

    `resized_crop` runs first, since it alone knows what a fitted image's canvas is;
    the others run in the order given, and mixers after them; of several mixers each
    example draws one, all equally likely. Examples 2i and 2i + 1 of the batch are
    partners, so that no device needs another's data. With a mixer the labels become
    probabilities (n, classes).

    Args:
        spec: what `parse` reads, or has read.
        classes: how many there are.
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

    def augment(keys: Key[Array, "n"], batch: Batch) -> Batch:
        seen = {k: v for k, v in batch.items() if k in ("image", "label", "valid_size")}
        rest = {k: v for k, v in batch.items() if k not in seen}
        if singles:
            seen = jax.vmap(single)(keys, seen)
        if mixers:
            seen["label"] = jax.nn.one_hot(seen["label"], classes)
            seen = jax.vmap(mix)(keys, seen, jax.tree.map(_partners, seen))
        return rest | seen

    return augment


def fold(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """A key for each name, whatever else is in the table or the spec."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _partners(x: Array) -> Array:
    if x.shape[0] % 2:
        raise ValueError(f"Mixing needs an even batch, got {x.shape[0]} examples.")
    return x.reshape(-1, 2, *x.shape[1:])[:, ::-1].reshape(x.shape)


def _unknown(name: str, table: dict[str, Augmentation]) -> UsageError:
    known = ", ".join(table)
    return UsageError(f"An augmentation must be one of {known}, got {name!r}.")


def _parse_step(text: str, table: dict[str, Augmentation]) -> Step:
    name, colon, number = text.partition(":")
    if name not in table:
        raise _unknown(name, table)
    entry = table[name]
    if not colon:
        return Step(name, entry.strength)
    kind = int if entry.pixels else float
    low, high = entry.limits
    try:
        strength = kind(number)
    except ValueError:
        strength = None
    if strength is None or not low <= strength <= high:
        sort = "a whole number" if entry.pixels else "a number"
        raise UsageError(f"{name} takes {sort} from {low} to {high}, got {number!r}.")
    return Step(name, strength)
