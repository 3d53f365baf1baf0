"""Everything the operators refuse, and what they say."""

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops

X = jnp.ones((2, 6, 8, 4))
K = jnp.ones((3, 3, 4, 6))
F16 = jnp.ones((3, 3, 4, 6), "float16")
INDICES = jnp.zeros((2, 6, 8, 4), "int32")
SIZE = ops.arithmetic.conv_output_size

ROWS = [  # operator, arguments, options, message
    (ops.conv2d, (jnp.ones((6, 8)), K), {}, r"x must be images .* the shape \(6, 8\)"),
    (
        ops.conv2d,
        (jnp.ones((6, 8, 4), "int32"), K),
        {},
        "x must be of a floating .* int32",
    ),
    (
        ops.conv2d,
        (X, K[0]),
        {},
        r"kernel must have the shape .* got the shape \(3, 4, 6\)",
    ),
    (ops.conv2d, (X, F16), {}, "kernel must have the dtype .* float32, got float16"),
    (ops.conv2d, (X, K[:, :, :3]), {}, "kernel must have 4 input channels .* got 3"),
    (ops.conv2d, (X, K), {"groups": 2}, "kernel must have 2 input channels .* got 4"),
    (ops.conv2d, (X, K), {"groups": 3}, "groups must divide the 4 input .* got 3"),
    (ops.conv2d, (X, K), {"groups": 0}, "groups must be a positive integer, got 0"),
    (ops.conv2d, (X, K), {"stride": 0}, "stride must be positive, got 0"),
    (ops.conv2d, (X, K), {"stride": (1, 2, 3)}, "stride must be an integer or two"),
    (
        ops.conv2d,
        (X, K),
        {"stride": 1.5},
        "stride must be an integer or two .* got 1.5",
    ),
    (
        ops.conv2d,
        (X, K),
        {"stride": True},
        "stride must be an integer or two .* got True",
    ),
    (ops.conv2d, (X, K), {"dilation": -1}, "dilation must be positive, got -1"),
    (
        ops.conv2d,
        (X, K),
        {"padding": "FULL"},
        "padding must be one of SAME, VALID, got",
    ),
    (ops.conv2d, (X, K), {"padding": -1}, "padding must not be negative, got -1"),
    (ops.conv2d, (X, K), {"padding": (1, 2, 3)}, 'padding must be "SAME", "VALID", an'),
    (
        ops.conv2d,
        (X, K),
        {"padding": ((1, 2), (3,))},
        'padding must be "SAME", "VALID"',
    ),
    (
        ops.conv2d,
        (X, K),
        {"padding": 0.5},
        'padding must be "SAME", "VALID", an integer',
    ),
    (
        ops.conv2d,
        (X, jnp.ones((9, 9, 4, 6))),
        {"padding": "VALID"},
        r"window \(9, 9\) does not fit in a padded image of \(6, 8\)",
    ),
    (
        ops.conv2d,
        (X, K),
        {"padding": 0, "dilation": 4},
        r"window \(3, 3\) dilated by \(4, 4\) to \(9, 9\) does not fit in .* \(6, 8\)",
    ),
    (ops.conv2d, (X, K), {"padding_mode": "mirror"}, "mode must be one of zeros, refl"),
    (
        ops.conv2d,
        (X, jnp.ones((13, 3, 4, 6))),
        {"padding_mode": "reflect"},
        r"padding of mode reflect must be at most \(5, 7\) for an image of \(6, 8\)",
    ),
    (
        ops.conv2d,
        (X, K),
        {"bias": jnp.ones(4)},
        r"bias must have the shape \(6,\), got",
    ),
    (ops.conv2d, (X, K), {"bias": F16[0, 0, 0]}, "bias must have the dtype .* float16"),
    (
        ops.depthwise_conv2d,
        (X, jnp.ones((3, 3, 4, 8))),
        {},
        "kernel must have 1 input channels .* got 4",
    ),
    (
        ops.depthwise_conv2d,
        (X, K[:, :, :1]),
        {},
        "groups must divide the 4 input and the 6",
    ),
    (
        ops.separable_conv2d,
        (X, jnp.ones((3, 3, 1, 4)), K[:1, :1, :3]),
        {},
        "kernel must have 4 input channels .* got 3",
    ),
    (
        ops.conv2d,
        (X, K),
        {"precision": "full"},
        "precision must be None, .* got 'full'",
    ),
    (
        ops.conv2d_transpose,
        (X, jnp.ones((3, 3, 6, 4))),
        {"precision": "F32_F32_F32"},
        "precision must be None, .* got 'F32_F32_F32'",
    ),
    (ops.conv2d_transpose, (X, K), {}, r"kernel must have the shape .*, out, 4\)"),
    (
        ops.conv2d_transpose,
        (X, jnp.ones((3, 3, 6, 4))),
        {"stride": 2, "output_size": (20, 16)},
        r"output_size must be .* brings to \(6, 8\), got \(20, 16\), .* \(10, 8\)",
    ),
    (
        ops.conv2d_transpose,
        (X, jnp.ones((3, 3, 6, 4))),
        {"overlap": "max"},
        "overlap must be one of sum, mean, got 'max'",
    ),
    (
        ops.conv2d_transpose,
        (X, jnp.ones((3, 3, 2, 4))),
        {"groups": 3},
        "groups must divide the 4 input and the 6 output channels, got 3",
    ),
    (
        ops.conv2d_transpose,
        (X, jnp.ones((3, 3, 2, 4))),
        {"groups": 2.0},
        "groups must be a positive integer, got 2.0",
    ),
    (
        ops.max_unpool,
        (X, INDICES, (12, 18)),
        {"window": 2},
        r"window must tile .* \(6, 8\), got \(2, 2\), which does \(6, 9\) times",
    ),
    (ops.pad, (X, -1), {}, "padding must not be negative, got -1"),
    (ops.pad, (X, 1), {"mode": "mirror"}, "mode must be one of zeros, reflect"),
    (ops.pad, (X, (6, 0)), {"mode": "reflect"}, r"at most \(5, 7\) for an image of"),
    (ops.pad, (X, (7, 0)), {"mode": "symmetric"}, r"at most \(6, 8\) for an image of"),
    (ops.pad, (X, (0, 9)), {"mode": "wrap"}, r"at most \(6, 8\) for an image of"),
    (ops.max_pool, (X, 0), {}, "window must be positive, got 0"),
    (ops.max_pool, (X, 9), {}, r"window \(9, 9\) does not fit in a padded image of"),
    (ops.max_pool, (X, 2), {"padding": 2}, r"padding must be less than the window"),
    (
        ops.max_pool,
        (X, 2),
        {"padding": 5, "dilation": 4},
        r"padding must be less than the window \(5, 5\), got \(\(5, 5\)",
    ),
    (
        ops.avg_pool,
        (X[:, :2], 2),
        {"padding": (1, 0), "dilation": (3, 1), "stride": 1},
        r"every window must see a pixel .* \(2, 2\) dilated by \(3, 1\) on images of",
    ),
    (
        ops.avg_pool,  # the second window is the one that ceil_mode adds
        (X[:, :1], (2, 1)),
        {
            "padding": ((4, 2), (0, 0)),
            "dilation": (4, 1),
            "stride": 3,
            "ceil_mode": True,
        },
        r"every window must see a pixel .* \(2, 1\) dilated by \(4, 1\) on images of",
    ),
    (ops.max_pool, (X, 2), {"dilation": 0}, "dilation must be positive, got 0"),
    (ops.max_pool, (X.astype("int32"), 2), {}, "x must be of a floating point dtype"),
    (ops.avg_pool, (X, (2, 9)), {}, r"window \(2, 9\) does not fit in a padded image"),
    (ops.avg_pool, (X[0, 0], 2), {}, r"x must be images .* got the shape \(8, 4\)"),
    (ops.max_pool_with_argmax, (X, "2"), {}, "window must be an integer or two"),
    (ops.global_avg_pool, (X[0, 0],), {}, "x must be images"),
    (ops.global_max_pool, (X[0, 0],), {}, "x must be images"),
    (
        ops.max_unpool,
        (X, INDICES[:1], 12),
        {},
        r"indices must have the shape of y, \(2,",
    ),
    (ops.max_unpool, (X, X, 12), {}, "indices must be integers, got float32"),
    (
        ops.max_unpool,
        (X, INDICES + 144, 12),
        {},
        r"indices must lie in \[0, 144\), got",
    ),
    (ops.max_unpool, (X, INDICES - 1, 12), {}, r"indices must lie in \[0, 144\), got"),
    (ops.nearest_unpool, (X, 0), {}, "factor must be positive, got 0"),
    (
        ops.bed_of_nails_unpool,
        (X, (2, -1)),
        {},
        r"factor must be positive, got \(2, -1\)",
    ),
    (ops.resize, (X, 0), {}, "size must be positive, got 0"),
    (ops.resize, (X, 3), {"method": "lanczos"}, "method must be one of nearest, bilin"),
    (ops.resize, (X.astype("uint8"), 3), {}, "x must be of a floating .* got uint8"),
    (
        ops.batch_norm,
        (X[0, 0, 0], None, None),
        {},
        r"x must have a batch axis .* \(4,\)",
    ),
    (ops.batch_norm, (X, jnp.ones(3), None), {}, r"scale must have the shape \(4,\)"),
    (
        ops.batch_norm,
        (X, None, np.ones(4, int)),
        {},
        "bias must be of a floating point",
    ),
    (ops.batch_norm, (X, None, None), {"mean": jnp.ones(4)}, "must be given together"),
    (ops.group_norm, (X, None, None), {"groups": 3}, "groups must divide the 4 chan"),
    (ops.group_norm, (X, None, None), {"groups": 2.0}, "groups must be a positive int"),
    (ops.layer_norm, (jnp.float32(1), None, None), {}, "x must have an axis of chann"),
    (ops.layer_norm, (X, None, jnp.ones(2)), {}, r"bias must have the shape \(4,\)"),
    (ops.local_response_norm, (X,), {"size": 0}, "size must be a positive integer"),
    (SIZE, (0, 3), {}, "size must be a positive integer, got 0"),
    (SIZE, (4, 5), {}, r"window \(5, 5\) does not fit in a padded image of \(4, 4\)"),
    (
        ops.arithmetic.conv_parameters,
        (3, 4, 6),
        {"groups": 4},
        "groups must divide the 4",
    ),
    (ops.arithmetic.receptive_field, ([(3, 0, 1)],), {}, "stride must be a positive"),
]


@pytest.mark.parametrize(
    ("op", "args", "options", "message"),
    ROWS,
    ids=[f"{r[0].__name__}-{r[3]}" for r in ROWS],
)
def test_refuses(op, args, options, message):
    with pytest.raises(ValueError, match=message):
        op(*args, **options)
