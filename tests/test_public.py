"""What every public function does: take no examples, and arrays closed over."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.calls import CALLS, FUNCTIONS, Call, without_examples

ROWS = [(name, call) for name, calls in CALLS.items() for call in calls]
NUMBERED = [f"{name}-{i}" for name, calls in CALLS.items() for i in range(len(calls))]
each = pytest.mark.parametrize(("name", "call"), ROWS, ids=NUMBERED)


def apart(call: Call, is_one) -> tuple[list[Any], Any]:
    """The arguments that are one of those asked for, and a call that takes others."""
    leaves, tree = jax.tree.flatten((call.args, call.options))
    places = [i for i, leaf in enumerate(leaves) if is_one(leaf)]

    def arguments(chosen):
        given = dict(zip(places, chosen, strict=True))
        return tree.unflatten(given.get(i, leaf) for i, leaf in enumerate(leaves))

    return [leaves[i] for i in places], arguments


def is_array(x: Any) -> bool:
    return isinstance(x, jax.Array)


def is_real(x: Any) -> bool:
    return is_array(x) and jnp.issubdtype(x.dtype, jnp.floating)


def shapes(tree: Any) -> list[tuple[int, ...]]:
    return [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]


def assert_numbers(tree: Any) -> None:
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array | np.ndarray | float):
            assert np.isfinite(leaf).all()


def sees_images(name: str) -> bool:
    first = next(iter(inspect.signature(FUNCTIONS[name]).parameters.values()))
    return "h w c" in getattr(first.annotation, "dim_str", "")


def test_every_public_function_is_called():
    assert set(FUNCTIONS) == set(CALLS)


@each
def test_takes_no_examples(name, call):
    function, of_none = FUNCTIONS[name], call.of_none
    if call.refuses:
        with pytest.raises(ValueError, match=call.refuses):
            function(*of_none.args, **of_none.options)
        return
    if call.host:
        assert_numbers(function(*of_none.args, **of_none.options))
        return
    numbers, arguments = apart(of_none, is_real)

    @jax.jit
    def value_and_slopes(numbers):
        def total(numbers):
            args, options = arguments(numbers)
            result = function(*args, **options)
            reals = [x for x in jax.tree.leaves(result) if is_real(x)]
            return sum([x.sum() for x in reals], start=jnp.float32(0)), result

        slopes, result = jax.grad(total, has_aux=True)(numbers)
        return result, slopes

    result, slopes = value_and_slopes(numbers)
    expected = jax.eval_shape(lambda: function(*call.args, **call.options))
    assert shapes(result) == shapes(without_examples(expected))
    assert shapes(slopes) == shapes(numbers)
    assert_numbers((result, slopes))
    if name.startswith("ops."):
        eager = function(*of_none.args, **of_none.options)
        assert shapes(eager) == shapes(result)


@each
def test_may_be_traced_with_all_its_arguments_closed_over(name, call):
    if call.host:
        return
    function = FUNCTIONS[name]
    arrays, arguments = apart(call, is_array)

    def of_arrays(arrays):
        args, options = arguments(arrays)
        return function(*args, **options)

    options = {
        name: jnp.float32(value) if isinstance(value, float) else value
        for name, value in call.options.items()
    }
    traced = jax.eval_shape(of_arrays, arrays)
    closed = jax.eval_shape(lambda: function(*call.args, **options))
    assert shapes(closed) == shapes(traced)


@pytest.mark.parametrize("axis", [-3, -2, -1], ids=["rows", "columns", "channels"])
@pytest.mark.parametrize("name", [*filter(sees_images, FUNCTIONS)])
def test_refuses_images_without_pixels(name, axis):
    call = CALLS[name][0]
    images, *rest = call.args
    shape = list(images.shape)
    shape[axis] = 0
    with pytest.raises(ValueError, match=r"must (have|be images .*) .* got the shape"):
        FUNCTIONS[name](jnp.zeros(shape, images.dtype), *rest, **call.options)
