"""Linear maps of images whose transpose is written by hand."""

from collections.abc import Callable

from jax.extend.core import Primitive
from jax.interpreters import ad

from cnnjax.ops._fusion_barrier import apart
from cnnjax.ops._lowering import Forms
from cnnjax.ops._primitive import map_primitive


def adjoint_pair(name: str, forms: Forms, adjoints: Forms) -> tuple[Callable, Callable]:
    """Returns `form(x, *places, **options)` and `adjoint(g, *places, **options)`.

    Two primitives of JAX, each the other's transpose: forward and reverse derivatives
    of every order run one of the two. Both are linear in their first operand and take
    at most one more, of integers. The forms take any number of leading axes and count
    axes from the last. Options are keyword-only and hashable.
    """
    there = map_primitive(name, forms)
    back = map_primitive(f"{name}_adjoint", adjoints)
    _derive(there, back)
    _derive(back, there)
    return there.bind, back.bind


def _derive(primitive: Primitive, back: Primitive) -> None:
    """Gives the primitive its derivatives: itself, and backwards the other one."""

    def jvp(primals, tangents, **options):
        (x, *places), dx = primals, tangents[0]
        y, dy = (primitive.bind(a, *places, **options) for a in (x, dx))
        return y, dy

    def transpose(g, x, *places, **options):
        none = [None] * len(places)
        if isinstance(g, ad.Zero):
            return [ad.Zero(x.aval), *none]
        return [back.bind(g, *places, **options), *none]

    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose


def apart_on_cpu(form: Callable) -> Forms:
    """One form; on CPU its operands are computed before it (see `alone`)."""
    return {"plain": form, "cpu": apart(form)}
