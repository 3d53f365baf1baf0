"""A convolution and its two adjoints: three bilinear maps, closed under derivatives.

With y = conv(x, k), the trilinear number <y, g> = <x, input_gradient(g, k)> =
<k, kernel_gradient(x, g)> has one derivative in each of its arguments, and each
derivative is one of the three maps again:

    map                    transposed in its first    transposed in its second
    conv(x, k)             input_gradient(g, k)       kernel_gradient(x, g)
    input_gradient(g, k)   conv(x, k)                 kernel_gradient(x, g)
    kernel_gradient(x, g)  input_gradient(g, k)       conv(x, g as kernel k)

So they are three primitives of JAX that know this table and nothing else. Forward
and reverse derivatives of every order follow, and each one is lowered to the form
that is fast where it runs (`fast.FORMS` on CPU, `_plain` elsewhere).

Arrays may carry leading axes of stacked members beyond the four; the maps act on
each member alone, so that `vmap` over models (every member its own kernel) is a
loop over fast convolutions on CPU, where XLA would make a slow grouped one of it.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad, batching

from cnnjax.ops import _args, _plain, fast
from cnnjax.ops._geometry import Geometry
from cnnjax.ops._primitive import like, members_first, new_primitive
from cnnjax.ops.batch import merge, split


def conv(
    x: jax.Array, kernel: jax.Array, geometry: Geometry, precision: _args.Precision
) -> jax.Array:
    """Correlates the images x (n, h, w, in) with the kernel (kh, kw, in, out)."""
    return _bind(conv_p, x, kernel, geometry=geometry, precision=precision)


def input_gradient(
    g: jax.Array, kernel: jax.Array, geometry: Geometry, precision: _args.Precision
) -> jax.Array:
    """The adjoint of `conv` in its images, applied to the cotangent g."""
    return _bind(input_gradient_p, g, kernel, geometry=geometry, precision=precision)


def kernel_gradient(
    x: jax.Array, g: jax.Array, geometry: Geometry, precision: _args.Precision
) -> jax.Array:
    """The adjoint of `conv` in its kernel, applied to the cotangent g."""
    return _bind(kernel_gradient_p, x, g, geometry=geometry, precision=precision)


def _conv_shape(x, kernel, geometry):
    return (*x[:-3], *geometry.out, kernel[-1])


def _input_shape(g, kernel, geometry):
    return (*g[:-3], *geometry.size, kernel[-2] * geometry.groups)


def _kernel_shape(x, g, geometry):
    return (*x[:-4], *geometry.window, x[-1] // geometry.groups, g[-1])


def _primitive(name: str, own: int, shape: Callable, plain: Callable, form: Callable):
    def result(a, b, *, geometry, precision):
        del precision
        return like(a, shape(a.shape, b.shape, geometry), own=own, dtype=a.dtype)

    def everywhere(a, b, *, geometry, precision):
        precise = functools.partial(plain, geometry=geometry, precision=precision)
        return _each_member(precise, a, b, jax.vmap)

    def on_cpu(a, b, *, geometry, precision):
        del precision  # there all numbers are multiplied as they are
        return _each_member(functools.partial(form, geometry=geometry), a, b, _loop)

    primitive = new_primitive(name, {"plain": everywhere, "cpu": on_cpu}, result)
    batching.primitive_batchers[primitive] = functools.partial(_batch, primitive)
    return primitive


def _bind(primitive, a, b, **options):
    """Binds the operands, made to vary over the same axes of a `shard_map`."""
    axes = _varying_axes(a) | _varying_axes(b)

    def varying(x):
        missing = tuple(axes - _varying_axes(x))
        return lax.pcast(x, missing, to="varying") if missing else x

    return primitive.bind(varying(a), varying(b), **options)


def _varying_axes(x: jax.Array) -> frozenset[str]:
    return jax.typeof(x).manual_axis_type.varying


def _each_member(form, a, b, loop):
    if a.ndim == 4:
        return form(a, b)
    return loop(lambda a, b: _each_member(form, a, b, loop))(a, b)


def _loop(f: Callable) -> Callable:
    return lambda *args: lax.map(lambda member: f(*member), args)


def _batch(primitive, operands, dims, **options):
    """Images of all members go through one convolution when they share a kernel."""
    a, b = operands
    if b.ndim == 4 and primitive is not kernel_gradient_p:
        a = jnp.moveaxis(a, dims[0], 0)
        y = _bind(primitive, merge(a, a.ndim - 2), b, **options)
        return split(y, a.shape[:2]), 0
    return _bind(primitive, *members_first(operands, dims), **options), 0


conv_p = _primitive("conv2d", 3, _conv_shape, _plain.conv, fast.conv)
input_gradient_p = _primitive(
    "conv2d_input_gradient", 3, _input_shape, _plain.input_gradient, fast.input_gradient
)
kernel_gradient_p = _primitive(
    "conv2d_kernel_gradient",
    4,
    _kernel_shape,
    _plain.kernel_gradient,
    fast.kernel_gradient,
)
ad.defbilinear(
    conv_p,
    lambda g, x, kernel, **options: input_gradient(g, kernel, **options),
    lambda g, x, kernel, **options: kernel_gradient(x, g, **options),
)
ad.defbilinear(
    input_gradient_p,
    lambda x, g, kernel, **options: conv(x, kernel, **options),
    lambda x, g, kernel, **options: kernel_gradient(x, g, **options),
)
ad.defbilinear(
    kernel_gradient_p,
    lambda kernel, x, g, **options: input_gradient(g, kernel, **options),
    lambda kernel, x, g, **options: conv(x, kernel, **options),
)
