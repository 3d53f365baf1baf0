"""Padding of images, in the modes that convolutions know."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from cnnjax.ops import _args
from cnnjax.ops.arrays import AnyArray

MODES = ("zeros", "reflect", "symmetric", "edge", "wrap")


class ReachError(ValueError):
    """Padding that reaches further than the image has pixels to give."""


def pad(
    x: Shaped[AnyArray, "*batch h w c"],
    padding: int | tuple[int, int] | _args.Pads,
    *,
    mode: str = "zeros",
) -> Shaped[Array, "*batch h_out w_out c"]:
    """Adds pixels around the images.

    Args:
        x: images, with any number of leading batch axes.
        padding: pixels to add: one number for all sides, (vertical, horizontal) or
            ((top, bottom), (left, right)).
        mode: what the new pixels hold. For a row a b c d:
            "zeros" 0 0 | a b c d, "reflect" c b | a b c d,
            "symmetric" b a | a b c d, "edge" a a | a b c d, "wrap" c d | a b c d.

    Returns:
        The larger images.

    Raises:
        ValueError: if the padding is negative.
        ReachError: if it reaches further than the image has pixels to give: height or
            width for "symmetric" and "wrap", one less for "reflect".

    >>> pad(jnp.arange(3).reshape(1, 3, 1), (0, 2), mode="reflect").ravel()
    Array([2, 1, 0, 1, 2, 1, 0], dtype=int32)
    """
    x = _args.images("x", x)
    _args.choice("mode", mode, MODES)
    pads = _args.explicit_pads(padding)
    _check_reach(pads, _args.image_size(x), mode)
    name = "constant" if mode == "zeros" else mode
    padded = functools.partial(jnp.pad, pad_width=(*pads, (0, 0)), mode=name)
    # Batch axes are mapped over: "edge" would slice them too, which no mesh allows.
    for _ in x.shape[:-3]:
        padded = jax.vmap(padded)
    return padded(x)


def _check_reach(pads: _args.Pads, size: tuple[int, int], mode: str) -> None:
    """Refuses padding for which the image has no pixels."""
    spare = {"reflect": 1, "symmetric": 0, "wrap": 0}
    if mode in spare:
        reach = tuple(s - spare[mode] for s in size)
        if any(max(p) > r for p, r in zip(pads, reach, strict=True)):
            raise ReachError(
                f"padding of mode {mode} must be at most {reach} for an image of "
                f"{size}, got {pads}."
            )


@functools.partial(jax.jit, static_argnums=1)
def mirror_to(
    x: Shaped[Array, "n h w c"], size: tuple[int, int]
) -> Shaped[Array, "n h_out w_out c"]:
    """The images, mirrored at the bottom and right up to a size, as often as it takes.

    A function of its own in programs, which other formats have for images of any size.
    """
    more = [(0, m - n) for n, m in zip(x.shape[1:3], size, strict=True)]
    return jnp.pad(x, ((0, 0), *more, (0, 0)), "symmetric")
