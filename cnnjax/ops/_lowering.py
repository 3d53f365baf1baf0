"""How a primitive of ours becomes a program: by the platform that it is for.

That is known when the program is lowered and not before: one exported on a CPU
machine may be for TPU, and one on a GPU machine for its CPU.
"""

import functools
from collections.abc import Callable, Mapping

from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jax.sharding import AbstractMesh, use_abstract_mesh

Forms = Mapping[str, Callable]
"""One function of a primitive's operands and parameters for each platform that has its
own, and "plain" for all others."""

POOLS: dict[str, dict[str, str]] = {
    "avg_pool": {"cpu": "taps", "cuda": "plain", "rocm": "plain", "tpu": "plain"},
    "max_pool": {"cpu": "taps", "cuda": "plain", "rocm": "plain", "tpu": "plain"},
    "max_pool_gradient": {"cpu": "taps", "cuda": "taps", "rocm": "taps", "tpu": "taps"},
}
"""The form of each pool by platform: "plain", of XLA's own windows, or tap by tap.

`max_unpool` of a window puts values as the gradient of `max_pool` does.

Only CPU has been measured; elsewhere XLA's forms stand where they mean the same. Its
gradient of the largest does not (it passes over NaN, knows no dilation and keeps the
images), and the plain form that does ends in a scatter, which adds in no fixed order on
GPU and one by one on TPU. Tap by tap it is one pass of selects.
"""


def lower(primitive: Primitive, forms: Forms) -> None:
    """Lowers the primitive to the form of each platform."""
    for platform, form in forms.items():
        name = None if platform == "plain" else platform
        mlir.register_lowering(primitive, _rule(form), platform=name)


def pool_forms(
    row: str, *, plain: Callable, taps: Callable, on_cpu: Callable | None = None
) -> Forms:
    """The forms that this row of `POOLS` names; on CPU the taps may have their own."""

    def chosen(platform, *operands, **options):
        own = platform == "cpu" and on_cpu is not None
        forms = {"plain": plain, "taps": on_cpu if own else taps}
        return forms[POOLS[row][platform]](*operands, **options)

    own = {platform: functools.partial(chosen, platform) for platform in POOLS[row]}
    return {"plain": plain, **own}


def _rule(form: Callable) -> Callable:
    emit = mlir.lower_fun(form, multiple_results=False)

    def rule(context, *operands, **parameters):
        # The form sees plain arrays. Inside a `shard_map` the types say over which
        # axes an operand varies, and a transpose in the form must not sum over them;
        # on a mesh of explicit axes they say how it is split, and what the form makes
        # on the way would be gathered, its types not saying so.
        with use_abstract_mesh(AbstractMesh((), ())):
            local = [ShapedArray(a.shape, a.dtype) for a in context.avals_in]
            return emit(context.replace(avals_in=local), *operands, **parameters)

    return rule
