"""U-Nets whose contracting path is the backbone of a classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.models import MODELS
from cnnjax.models.encoders import ENCODERS
from cnnjax.models.unet import UNet


def shapes(model, *image):
    images = jnp.zeros((2, *image))
    key = jax.random.key(0)
    return jax.eval_shape(lambda: model.init_with_output(key, images))


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_has_the_names_of_its_classifier(name):
    unet = UNet(classes=3, width=0.05, norm="batch", encoder=name)
    (logits, features), variables = shapes(unet, 33, 70, 1)
    assert logits.shape == (2, 33, 70, 3)
    assert logits.dtype == jnp.float32
    classifier = MODELS[name](classes=None, width=0.05, norm="batch")
    (_, maps), alone = shapes(classifier, 64, 96, 1)
    assert {kind: tree["encoder"] for kind, tree in variables.items()} == alone
    assert {k for k, x in maps.items() if x.ndim == 4} < features.keys()
    # Each size of the U-Net is that of the image halved so often.
    height = -(-33 // classifier.stride) * classifier.stride
    halved = {height >> level for level in range(unet.levels + 1)}
    assert {x.shape[1] for x in features.values()} == halved
    assert min(halved) * unet.stride == height


def upsampled(x, params, method):
    kernel, bias = params["kernel"], params["bias"]
    if method == "transpose":
        return ops.conv2d_transpose(x, kernel, bias=bias, stride=2)
    if method == "nearest":
        x = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
    else:
        x = ops.resize(x, (2 * x.shape[1], 2 * x.shape[2]))
    return ops.conv2d(x, kernel, bias=bias)


# The last map of the classifier at each size, from the smallest; None where none is.
LASTS = {
    "resnet18": ("stage4", "stage3", "stage2", "stage1", "stem", None),
    "mobilenet": ("last", "stage5", "stage3", "stage2", "stage1", None),
    "vgg13": ("pool5", "conv5_2", "conv4_2", "conv3_2", "conv2_2", "conv1_2"),
}


@pytest.mark.parametrize(
    ("name", "method", "own"),
    [
        ("resnet18", "resize", {}),
        ("mobilenet", "transpose", {"padding_like": "tensorflow"}),
        ("vgg13", "nearest", {}),
    ],
)
def test_the_decoder_takes_the_last_map_of_the_classifier_at_each_size(
    rng, name, method, own
):
    options = {"width": 0.05, "norm": "none", **own}
    unet = UNet(classes=3, encoder=name, upsampling=method, **options)
    images = jnp.asarray(rng.random((2, 32, 64, 3), np.float32))
    params = jax.tree.map(
        lambda x: rng.standard_normal(x.shape, np.float32) * (2 / x.size) ** 0.5,
        shapes(unet, 32, 64, 3)[1]["params"],
    )
    logits, features = jax.jit(unet.apply)({"params": params}, images)

    classifier = MODELS[name](classes=None, **options)
    _, maps = jax.jit(classifier.apply)({"params": params["encoder"]}, images)
    for feature in features.keys() & maps.keys():
        np.testing.assert_allclose(features[feature], maps[feature], rtol=1e-4)

    lowest, *skips = LASTS[name]
    x = maps[lowest]
    for level, skip in zip(reversed(range(5)), skips, strict=True):
        x = upsampled(x, params[f"upsample{level}"], method)
        x = x if skip is None else jnp.concatenate([maps[skip], x], -1)
        for unit in ("unit1", "unit2"):
            conv = params[f"up{level}"][unit]["conv"]
            assert conv["kernel"].shape[-1] == max(1, round(0.05 * 16 * 2**level))
            x = jax.nn.relu(ops.conv2d(x, conv["kernel"], bias=conv["bias"]))
    head = params["head"]
    expected = ops.conv2d(x, head["kernel"], bias=head["bias"])
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
