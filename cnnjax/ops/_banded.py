"""Linear maps of one axis that see a few neighbors, by shifted sums.

A product with their matrix, in which nearly all is 0, reads every pixel of the axis
for each output: 2 to 20 times slower on CPU, and since 0 times NaN is NaN, one pixel
that is not finite would spoil them all.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.ops._adjoint import adjoint_pair
from cnnjax.ops.batch import total


@dataclasses.dataclass(frozen=True, eq=False)
class Band:
    """A matrix (outputs, inputs) whose rows hold a few neighboring weights each.

    Compared by identity, so that a cached one is compiled for once.

    Attributes:
        places: the inputs that each output sees (outputs, taps).
        weights: of these inputs (outputs, taps).
    """

    places: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray) -> "Band":
        """The band of a matrix."""
        seen, numbers = matrix != 0, np.arange(len(matrix))
        first = seen.argmax(1)
        last = matrix.shape[1] - 1 - seen[:, ::-1].argmax(1)
        # What sees nothing stands beside what does, lest it read a NaN far away.
        some = seen.any(1)
        beside = np.maximum.accumulate(np.where(some, numbers, some.argmax()))
        first, last = first[beside], last[beside]
        reach = first[:, None] + np.arange((last - first).max() + 1)
        places = np.minimum(reach, last[:, None])
        weights = np.where(reach == places, matrix[numbers[:, None], places], 0)
        return cls(places.astype(np.int32), weights)


@dataclasses.dataclass(frozen=True, eq=False)
class Banded:
    """A banded matrix and its transpose, which is banded too."""

    forward: Band
    backward: Band

    @classmethod
    def of(cls, matrix: np.ndarray) -> "Banded":
        """Both bands of a matrix (outputs, inputs)."""
        return cls(Band.of(matrix), Band.of(matrix.T))


def _apply(x: jax.Array, *, axis: int, matrix: Banded) -> jax.Array:
    return _sum_of_taps(x, axis + x.ndim, matrix.forward)


def _apply_transposed(g: jax.Array, *, axis: int, matrix: Banded) -> jax.Array:
    """JAX would transpose what reads into what adds in place, 10 times slower."""
    return _sum_of_taps(g, axis + g.ndim, matrix.backward)


def _sum_of_taps(x: jax.Array, axis: int, band: Band) -> jax.Array:
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    weights = band.weights.astype(x.dtype)
    return total(
        jnp.take(x, places, axis, mode="clip") * weight.reshape(shape)
        for places, weight in zip(band.places.T, weights.T, strict=True)
    )


banded, _ = adjoint_pair("banded", {"plain": _apply}, {"plain": _apply_transposed})
"""`banded(x, axis, matrix)`: the matrix times `x` along the axis, negative."""
