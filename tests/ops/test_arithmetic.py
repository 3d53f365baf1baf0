import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.ops import arithmetic


@pytest.mark.parametrize("padding", ["SAME", "VALID", 2, (1, 3)])
def test_output_size_is_that_of_the_convolution(padding):
    for size, window, stride, dilation in itertools.product(
        (7, 8, 12), (1, 2, 3), (1, 2, 3), (1, 2)
    ):
        sides = padding if isinstance(padding, str | int) else (padding, (0, 0))
        y = jax.eval_shape(
            lambda x, k, s=(stride, 1), d=(dilation, 1), p=sides: ops.conv2d(
                x, k, stride=s, dilation=d, padding=p
            ),
            jax.ShapeDtypeStruct((size, 5, 1), "float32"),
            jax.ShapeDtypeStruct((window, 1, 1, 1), "float32"),
        )
        expected = arithmetic.conv_output_size(
            size, window, stride=stride, padding=padding, dilation=dilation
        )
        assert y.shape[0] == expected


def test_output_size_of_a_pool_in_ceil_mode():
    for size, window, stride, dilation, padding in itertools.product(
        (1, 5, 7, 8), (1, 2, 3), (1, 2, 3, 4), (1, 2), (0, 1, "SAME")
    ):
        span = dilation * (window - 1) + 1
        low = 0 if isinstance(padding, str) else padding
        if low >= span or size + 2 * low < span or (dilation > 1 and size < span):
            continue
        options = {"stride": stride, "dilation": dilation, "ceil_mode": True}
        y = jax.eval_shape(
            functools.partial(
                ops.max_pool,
                window=(window, 1),
                padding=padding if padding == "SAME" else (padding, 0),
                **options,
            ),
            jax.ShapeDtypeStruct((size, 5, 1), "float32"),
        )
        args = {**options, "padding": padding}
        assert y.shape[0] == arithmetic.conv_output_size(size, window, **args)
        if padding != "SAME":
            steps = -(-(size + 2 * padding - span) // stride)  # PyTorch's rule
            expected = steps + (steps * stride < size + padding)
            assert y.shape[0] == expected


@pytest.mark.parametrize(
    "layers",
    [
        [(3, 1, 1), (3, 1, 1)],
        [(3, 2, 1), (2, 2, 1), (3, 1, 1)],
        [(3, 1, 2), (2, 3, 1), (3, 1, 1)],
    ],
)
def test_receptive_field_is_what_a_gradient_sees(layers):
    def stack(x):
        for window, stride, dilation in layers:
            kernel = jnp.ones((window, 1, 1, 1))
            x = ops.conv2d(
                x,
                kernel,
                stride=(stride, 1),
                padding="VALID",
                dilation=(dilation, 1),
            )
        return x[:, 0, 0]

    seen = np.asarray(jax.jacobian(stack)(jnp.ones((60, 1, 1)))[:, :, 0, 0]) != 0
    size, jump = arithmetic.receptive_field(layers)
    span = [np.flatnonzero(row) for row in seen]
    assert all(s[-1] - s[0] + 1 == size for s in span)
    assert span[1][0] - span[0][0] == jump


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_counts_of_a_convolution(groups):
    kernel = np.zeros((3, 2, 4 // groups, 8))
    count = arithmetic.conv_parameters((3, 2), 4, 8, bias=False, groups=groups)
    assert count == kernel.size
    assert arithmetic.conv_parameters((3, 2), 4, 8, groups=groups) == kernel.size + 8
    each = arithmetic.conv_multiply_adds((5, 7), (3, 2), 4, 8, groups=groups)
    assert each == 35 * kernel.size


def test_exact_refuses_pixels_left_over():
    assert arithmetic.conv_output_size(7, 3, stride=2, exact=True) == 3
    with pytest.raises(ValueError, match="must tile the 8 padded pixels, got 1 left"):
        arithmetic.conv_output_size(8, 3, stride=2, exact=True)
