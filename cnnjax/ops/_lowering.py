"""How a primitive of ours becomes a program: one form for CPU, one for the rest."""

from collections.abc import Callable

from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import mlir


def lower(primitive: Primitive, *, plain: Callable, on_cpu: Callable) -> None:
    """Lowers the primitive to these functions of its operands and parameters."""
    mlir.register_lowering(primitive, _rule(plain))
    mlir.register_lowering(primitive, _rule(on_cpu), platform="cpu")


def _rule(form: Callable) -> Callable:
    emit = mlir.lower_fun(form, multiple_results=False)

    def rule(context, *operands, **parameters):
        # Inside a `shard_map` the types say over which axes an operand varies. The
        # form sees one device's share, and a transpose in it must not sum over them.
        local = [ShapedArray(a.shape, a.dtype) for a in context.avals_in]
        return emit(context.replace(avals_in=local), *operands, **parameters)

    return rule
