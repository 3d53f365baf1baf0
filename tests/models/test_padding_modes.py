"""What the convolutions of every model see outside of their maps."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models import MODELS, layers
from cnnjax.models.lenet import LeNet
from cnnjax.models.unet import UNet
from cnnjax.ops.pad import MODES
from tests.models.families import FAMILIES

OTHERS = ("deconvnet", "windownet")  # which have one mode
WITHOUT = ("lenet", "unet", "windownet")  # which can do without padding
# Fewer layers, where that can be chosen.
LESS = {
    "unet": {"depth": 2},
    "dilated": {"dilation": 2},
    "resnet18": {"blocks": (1, 1), "stem": "small"},
}


def small(name, **options):
    """A model that compiles fast, without norms."""
    less = {"classes": 3, "width": 0.02, "norm": "none", **LESS.get(name, {})}
    return MODELS[name](**(less | options))


def shapes(model, *image):
    init = functools.partial(model.init_with_output, jax.random.key(0))
    return jax.eval_shape(init, jnp.zeros((1, *image)))


def padded_convolutions(model, size):
    """Padding modes of the convolutions that have padding: how many of each."""
    modes = {}

    def watch(call, args, options, context):
        conv = context.module
        if isinstance(conv, layers.Conv) and conv.window != 1:
            pads = conv.padding != "VALID"
            modes[conv.padding_mode] = modes.get(conv.padding_mode, 0) + pads
        return call(*args, **options)

    with nn.intercept_methods(watch):
        shapes(model, size, size, 1)
    return modes


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in OTHERS])
def test_all_convolutions_that_pad_do_so_in_the_mode(name):
    modes = {
        mode: padded_convolutions(small(name, padding_mode=mode), 96)
        for mode in ("zeros", "edge")
    }
    count = modes["zeros"]["zeros"]
    assert modes == {"zeros": {"zeros": count}, "edge": {"edge": count}}


@pytest.mark.parametrize("mode", MODES)
def test_the_layer_is_the_operator(rng, mode):
    x = jnp.asarray(rng.standard_normal((2, 7, 6, 4), dtype=np.float32))
    options = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "padding_mode": mode}
    conv = layers.Conv(6, (3, 2), groups=2, **options)
    variables = conv.init(jax.random.key(0), x)
    kernel = variables["params"]["kernel"]
    expected = ops.conv2d(x, kernel, groups=2, **options)
    np.testing.assert_array_equal(conv.apply(variables, x), expected)


@pytest.mark.parametrize("padding", ["SAME", 2, ((1, 0), (0, 2))])
def test_none_is_no_padding(rng, padding):
    x = jnp.asarray(rng.standard_normal((2, 7, 6, 3), dtype=np.float32))
    conv = layers.Conv(4, padding=padding, padding_mode="none")
    variables = conv.init(jax.random.key(0), x)
    expected = ops.conv2d(x, variables["params"]["kernel"], padding="VALID")
    np.testing.assert_array_equal(conv.apply(variables, x), expected)


@pytest.mark.parametrize("name", ["unet", "segnet", "dilated", "resnet18"])
def test_an_image_that_goes_round_has_no_border(rng, name):
    """With "wrap" a shift by the stride, pixels coming back, shifts all features."""
    stride = 4 if name == "resnet18" else small(name).stride
    images = jnp.asarray(rng.random((1, 64, 64, 1), np.float32))
    rolled = jnp.roll(images, (stride, stride), (1, 2))
    params = jax.tree.map(
        lambda p: jnp.float32(rng.standard_normal(p.shape) / np.sqrt(p.size)),
        shapes(small(name), 64, 64, 1)[1],
    )

    def border_effect(mode):
        apply = jax.jit(small(name, padding_mode=mode, activation="silu").apply)
        here, there = (apply(params, x)[1] for x in (images, rolled))
        name_of_last = max(name for name in here if name not in ("pooled", "scores"))
        x, y = here[name_of_last], there[name_of_last]
        step = stride * x.shape[1] // 64
        assert np.ptp(x) > 0
        return np.abs(y - jnp.roll(x, (step, step), (1, 2))).max() / np.ptp(x)

    assert border_effect("wrap") < 1e-5
    assert border_effect("zeros") > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_parameters_do_not_depend_on_the_mode(mode):
    expected = shapes(small("unet"), 32, 32, 1)[1]
    assert shapes(small("unet", padding_mode=mode), 32, 32, 1)[1] == expected


def test_lenet_without_padding_has_the_sizes_of_the_paper():
    model = LeNet(classes=10, padding_mode="none")
    (_, features), variables = shapes(model, 32, 32, 1)
    assert {name: f.shape[1:] for name, f in features.items()} == {
        "stem": (28, 28, 6),
        "stage1": (10, 10, 16),
        "stage2": (1, 1, 120),
        "pooled": (84,),
    }
    assert variables == shapes(LeNet(classes=10), 28, 28, 1)[1]
    assert (model.smallest, LeNet(classes=10).smallest) == (32, 28)
    with pytest.raises(UsageError, match="LeNet needs images of 32x32 pixels or more"):
        shapes(model, 31, 32, 1)


def test_valid_of_a_unet_is_another_name_of_none():
    valid, none = UNet(classes=2, padding="VALID"), UNet(classes=2, padding_mode="none")
    assert valid.padding_mode == "none"
    assert valid.margin == none.margin
    assert shapes(valid, 188, 204, 1) == shapes(none, 188, 204, 1)
    assert UNet(classes=2).padding_mode == "zeros"
    with pytest.raises(
        UsageError, match="padding VALID is padding_mode none, got padd"
    ):
        UNet(classes=2, padding="VALID", padding_mode="wrap")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("mode", layers.PADDING_MODES)
def test_refuses_modes_that_a_model_has_not_and_names_those_that_it_has(name, mode):
    can = [*MODES] * (name not in OTHERS) + ["zeros"] * (name == "deconvnet")
    can += ["none"] * (name in WITHOUT)
    if mode in can:
        assert MODELS[name](classes=3, padding_mode=mode).pads == (mode != "none")
        return
    with pytest.raises(UsageError) as caught:
        MODELS[name](classes=3, padding_mode=mode)
    assert f" must be one of {', '.join(can)}, got {mode!r}." in str(caught.value)


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        (
            "resnet18",
            "reflect",
            "The layer stage2_block1/unit2/conv gets images too small for its padding:"
            r" .* mode reflect must be at most \(0, 0\) for an image of \(1, 1\)",
        ),
        (
            "unet",
            "reflect",
            "The layer bottom/unit1/conv .*padding_mode edge would do.",
        ),
        (
            "dilated",
            "wrap",
            r"layer4/conv .* at most \(2, 2\) for an image of \(2, 2\)",
        ),
    ],
)
def test_refuses_images_with_too_few_pixels_to_pad_with(name, mode, message):
    with pytest.raises(UsageError, match=message) as caught:
        shapes(small(name, padding_mode=mode), 2, 2, 1)
    assert "\n" not in str(caught.value)
    shapes(small(name, padding_mode="edge"), 2, 2, 1)
