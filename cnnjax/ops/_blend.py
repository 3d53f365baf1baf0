"""Bilinear resizing of one axis by a whole factor.

The pixels 2i and 2i + 1 (for the factor 2) blend x[i] with its neighbor before and
after it. In general the phase p of f pixels lies a share of s = 1/2 - (p + 1/2) / f
before the center of x[i], and the phase f - 1 - p as far behind it:

    y[f i + p]         = (1 - s) x[i] + s x[i - 1]
    y[f i + f - 1 - p] = (1 - s) x[i] + s x[i + 1]

with the ends standing for what lies beyond them. JAX would transpose this into sums
of padded arrays, six times slower than the sum of shifted phases written here.
"""

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.ops._adjoint import adjoint_pair, apart_on_cpu
from cnnjax.ops.batch import total


def _blend(x: jax.Array, *, axis: int, factor: int) -> jax.Array:
    axis += x.ndim
    before, after = _shifted(x, x, axis)
    phases = [x] * factor
    for p in range(factor // 2):
        s = 0.5 - (p + 0.5) / factor
        phases[p] = (1 - s) * x + s * before
        phases[factor - 1 - p] = (1 - s) * x + s * after
    shape = list(x.shape)
    shape[axis] *= factor
    return jnp.stack(phases, axis + 1).reshape(shape)


def _gather(g: jax.Array, *, axis: int, factor: int) -> jax.Array:
    """The transpose: each pixel sums what its neighborhood took of it.

    The first pixel also stood before itself, the last behind itself.
    """
    axis += g.ndim
    shape = list(g.shape)
    shape[axis : axis + 1] = [shape[axis] // factor, factor]
    grouped = g.reshape(shape)
    phases = [lax.index_in_dim(grouped, p, axis + 1, False) for p in range(factor)]
    terms = [phases[factor // 2]] if factor % 2 else []
    for p in range(factor // 2):
        s = 0.5 - (p + 0.5) / factor
        early, late = phases[p], phases[factor - 1 - p]
        before, after = _shifted(late, early, axis)
        terms.append((1 - s) * (early + late) + s * (before + after))
    return total(terms)


def _shifted(late: jax.Array, early: jax.Array, axis: int) -> tuple[jax.Array, ...]:
    """Their pixels i - 1 and i + 1; beyond each end stands the other's end pixel."""
    count = late.shape[axis]
    first = lax.slice_in_dim(early, 0, 1, axis=axis)
    last = lax.slice_in_dim(late, count - 1, count, axis=axis)
    before = [first, lax.slice_in_dim(late, 0, count - 1, axis=axis)]
    after = [lax.slice_in_dim(early, 1, count, axis=axis), last]
    return lax.concatenate(before, axis), lax.concatenate(after, axis)


blend, _ = adjoint_pair("blend", apart_on_cpu(_blend), apart_on_cpu(_gather))
"""`blend(x, axis, factor)`: the axis, negative, made `factor` times longer."""
