"""What our primitives of JAX have in common: their types, and how they run alone."""

import functools
import inspect
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching
from jax.sharding import AbstractMesh, PartitionSpec, use_abstract_mesh

from cnnjax.ops._lowering import Forms, lower


def new_primitive(name: str, forms: Forms, result: Callable) -> Primitive:
    """Returns a primitive of arrays and hashable options, the forms' keyword-only ones.

    Outside of `jit` it is compiled once for each choice of its options.
    `result(*operands, **options)` is the type of what it returns.
    """
    primitive = Primitive(name)
    parameters = inspect.signature(forms["plain"]).parameters.values()
    options = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]

    @functools.partial(jax.jit, static_argnames=options)
    def run(*operands, **options):
        return primitive.bind(*operands, **options)

    primitive.def_impl(run)
    primitive.def_abstract_eval(result)
    lower(primitive, forms)
    return primitive


def map_primitive(name: str, forms: Forms) -> Primitive:
    """Returns a primitive that maps images, of any number of leading axes, to images.

    The result is split over a mesh as its first operand.
    """
    form = forms["plain"]

    def result(*operands, **options):
        with use_abstract_mesh(AbstractMesh((), ())):
            local = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in operands]
            out = jax.eval_shape(functools.partial(form, **options), *local)
        return like(operands[0], out.shape, own=3, dtype=out.dtype)

    def batch(operands, dims, **options):
        return primitive.bind(*members_first(operands, dims), **options), 0

    primitive = new_primitive(name, forms, result)
    batching.primitive_batchers[primitive] = batch
    return primitive


def like(
    x: ShapedArray, shape: Sequence[int], *, own: int, dtype: np.dtype
) -> ShapedArray:
    """The type of a result: split over a mesh as `x`, but for its last `own` axes."""
    leading = tuple(x.sharding.spec)[: len(shape) - own]
    sharding = x.sharding.update(spec=PartitionSpec(*leading, *[None] * own))
    return x.update(shape=shape, dtype=dtype, sharding=sharding, weak_type=False)


def members_first(
    operands: Sequence[jax.Array], dims: Sequence[int | None]
) -> list[jax.Array]:
    """The operands of a `vmap`, all with its axis and that before all others."""
    both = list(zip(operands, dims, strict=True))
    members = next(x.shape[dim] for x, dim in both if dim is not None)
    return [
        jnp.broadcast_to(x, (members, *x.shape))
        if dim is None
        else jnp.moveaxis(x, dim, 0)
        for x, dim in both
    ]
