import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.models.layers import ConvNorm
from cnnjax.models.mobilenet import InvertedResidual, MobileNet


def shapes(model, image):
    images = jnp.zeros((2, *image))
    key = jax.random.key(0)
    return jax.eval_shape(lambda: model.init_with_output(key, images))


@pytest.mark.parametrize(
    ("width", "count"),
    [(1.4, 6_108_776), (1.0, 3_504_872), (0.75, 2_636_424), (0.5, 1_968_680)],
)
def test_has_the_published_number_of_parameters(width, count):
    _, variables = shapes(MobileNet(classes=1000, width=width), (224, 224, 3))
    assert sum(p.size for p in jax.tree.leaves(variables["params"])) == count


def test_has_the_sizes_and_channels_of_table_2():
    (logits, features), _ = shapes(MobileNet(classes=7), (224, 224, 3))
    assert logits.shape == (2, 7)
    assert {name: f.shape[1:] for name, f in features.items()} == {
        "stem": (112, 112, 32),
        "stage1": (112, 112, 16),
        "stage2": (56, 56, 24),
        "stage3": (28, 28, 32),
        "stage4": (14, 14, 64),
        "stage5": (14, 14, 96),
        "stage6": (7, 7, 160),
        "stage7": (7, 7, 320),
        "last": (7, 7, 1280),
        "pooled": (1280,),
    }


def test_small_stem_divides_the_size_by_8():
    (_, features), _ = shapes(MobileNet(classes=7, stem="small"), (32, 32, 3))
    stages = ["stem", *(f"stage{i}" for i in range(1, 8)), "last"]
    sizes = [features[name].shape[1] for name in stages]
    assert sizes == [32, 32, 32, 16, 8, 8, 4, 4, 4]


@pytest.mark.parametrize(
    ("width", "count", "channels"),
    [(1.0, 16, 16), (0.5, 24, 16), (0.35, 24, 8), (0.35, 32, 16), (1.4, 160, 224)],
)
def test_channels_are_multiples_of_8(width, count, channels):
    assert MobileNet(classes=2, width=width).channels(count) == channels


def test_hidden_channels_are_filtered_one_by_one():
    _, variables = shapes(MobileNet(classes=7), (32, 32, 3))
    block = variables["params"]["stage2_block2"]
    kernels = [block[name]["conv"]["kernel"] for name in sorted(block)]
    assert sorted(block) == ["depthwise", "expand", "project"]
    assert [k.shape for k in kernels] == [
        (3, 3, 1, 144),
        (1, 1, 24, 144),
        (1, 1, 144, 24),
    ]
    assert "expand" not in variables["params"]["stage1_block1"]


@pytest.mark.parametrize(
    ("size", "channels", "stride"), [(6, 4, 1), (6, 4, 2), (1, 4, 2), (6, 6, 1)]
)
def test_input_is_added_where_the_shape_stays(rng, size, channels, stride):
    x = jnp.asarray(rng.standard_normal((2, size, size, 4), dtype=np.float32))
    block = InvertedResidual(ConvNorm, channels=channels, stride=stride, expansion=6)
    variables = block.init(jax.random.key(0), x, train=False)
    kernel = variables["params"]["project"]["conv"]["kernel"]
    variables["params"]["project"]["conv"]["kernel"] = jnp.zeros_like(kernel)
    y = block.apply(variables, x, train=False)
    expected = x if (channels, stride) == (4, 1) else jnp.zeros_like(y)
    np.testing.assert_array_equal(y, expected)


def test_activations_end_at_6_but_for_the_linear_bottleneck(rng):
    x = jnp.asarray(40 * rng.standard_normal((2, 5, 5, 4), dtype=np.float32))
    unit = MobileNet(classes=2, norm="none").unit
    block = InvertedResidual(unit, channels=8, stride=1, expansion=6)
    variables = block.init(jax.random.key(0), x, train=False)
    y, inside = block.apply(variables, x, train=False, capture_intermediates=True)
    for name in ("expand", "depthwise"):
        hidden = inside["intermediates"][name]["__call__"][0]
        assert (hidden.min(), hidden.max()) == (0, 6)
    assert y.min() < 0
    assert y.max() > 6
