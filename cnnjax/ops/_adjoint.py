"""Linear maps of one array whose transpose is written by hand."""

import functools
import inspect
from collections.abc import Callable

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from cnnjax.ops._fusion_barrier import alone
from cnnjax.ops._lowering import lower


def adjoint_pair(
    name: str, form: Callable, adjoint: Callable, *, apart: bool = True
) -> Callable:
    """Returns `form(x, **options)` with `adjoint(g, **options)` for its transpose.

    Two primitives of JAX, each the other's transpose: forward and reverse derivatives
    of every order run one of the two. Both functions take any number of leading axes
    and count axes from the last. Options are hashable. `apart`: on CPU, x is computed
    before and not anew in each place that reads it (see `alone`).
    """
    there = _primitive(name, form, apart)
    back = _primitive(f"{name}_adjoint", adjoint, apart)
    ad.deflinear2(there, lambda g, x, **options: [back.bind(g, **options)])
    ad.deflinear2(back, lambda x, g, **options: [there.bind(x, **options)])
    return there.bind


def _primitive(name: str, form: Callable, apart: bool) -> Primitive:
    primitive = Primitive(name)
    options = list(inspect.signature(form).parameters)[1:]

    def abstract(x, **options):
        out = jax.eval_shape(functools.partial(form, **options), x)
        return x.update(shape=out.shape, weak_type=False)

    @functools.partial(jax.jit, static_argnames=options)
    def run(x, **options):
        return primitive.bind(x, **options)

    def batch(args, dims, **options):
        return primitive.bind(jax.numpy.moveaxis(args[0], dims[0], 0), **options), 0

    def on_cpu(x, **options):
        return alone(functools.partial(form, **options), x)

    primitive.def_impl(run)
    primitive.def_abstract_eval(abstract)
    lower(primitive, plain=form, on_cpu=on_cpu if apart else form)
    batching.primitive_batchers[primitive] = batch
    return primitive
