import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models import CLASSIFIERS, DETECTORS, MODELS, SEGMENTERS
from cnnjax.models.dilated import Dilated
from cnnjax.models.encoder_decoder import UNPOOLINGS
from cnnjax.models.unet import UPSAMPLINGS, UNet
from cnnjax.ops.pad import MODES

# One of each architecture.
KINDS = ["unet", "unet on resnet9", "fcn8s", "segnet", "deconvnet", "dilated"]
LESS = {
    "unet": {"depth": 2},
    "unet on resnet9": {"encoder": "resnet9"},
    "dilated": {"dilation": 2},
}


def shapes(model, image, **options):
    images = jnp.zeros((2, *image))
    key = jax.random.key(0)
    return jax.eval_shape(lambda: model.init_with_output(key, images, **options))


def small(name, **options):
    """A model that compiles fast."""
    kind, *_ = name.split()
    less = {"classes": 3, "width": 0.02, **LESS.get(name, {})}
    return SEGMENTERS[kind](**(less | options))


def drawn(rng, model, images):
    """Random kernels that keep the size of activations, and biases of zero."""

    def draw(path, x):
        if path[-1].key == "bias":
            return jnp.zeros(x.shape)
        return jnp.float32(rng.standard_normal(x.shape) * math.sqrt(2 / (x.size + 1)))

    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    return jax.tree.map_with_path(draw, variables)


def random_images(rng, *shape):
    return jnp.asarray(rng.random(shape, dtype=np.float32))


def test_models_are_classifiers_and_segmenters():
    assert MODELS == CLASSIFIERS | SEGMENTERS | DETECTORS
    assert len(MODELS) == len(CLASSIFIERS) + len(SEGMENTERS) + len(DETECTORS)


@pytest.mark.parametrize(
    ("name", "classes", "channels", "count"),
    [
        ("unet", 2, 1, 31_030_658),
        ("fcn32s", 21, 3, 136_152_917),
        ("fcn16s", 21, 3, 134_815_994),
        ("fcn8s", 21, 3, 134_489_759),
        ("segnet", 12, 3, 29_464_844),
        ("deconvnet", 21, 3, 251_772_245),
    ],
)
def test_has_as_many_parameters_as_the_published_net(name, classes, channels, count):
    model = SEGMENTERS[name](classes=classes, norm="none")
    _, variables = shapes(model, (224, 224, channels))
    assert sum(p.size for p in jax.tree.leaves(variables["params"])) == count


def test_unet_has_the_sizes_of_figure_1():
    model = UNet(classes=2, norm="none", padding="VALID")
    (logits, features), _ = shapes(model, (572, 572, 1))
    assert logits.shape == (2, 388, 388, 2)
    assert {name: f.shape[2:] for name, f in features.items()} == {
        "down0": (568, 64),
        "down1": (280, 128),
        "down2": (136, 256),
        "down3": (64, 512),
        "bottom": (28, 1024),
        "up3": (52, 512),
        "up2": (100, 256),
        "up1": (196, 128),
        "up0": (388, 64),
    }
    assert (model.stride, model.margin, model.valid_output(572)) == (16, 92, 388)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_skips_pass_what_the_lower_levels_do_not(rng, padding):
    images = random_images(rng, 1, 48, 48, 1)
    model = small("unet", norm="none", padding=padding, width=0.1)
    variables = drawn(rng, model, images)
    apply = jax.jit(model.apply)
    for level in range(model.depth):
        params = variables["params"]
        upsample = jax.tree.map(jnp.zeros_like, params[f"upsample{level}"])
        blocked = {"params": params | {f"upsample{level}": upsample}}
        assert np.ptp(apply(blocked, images)[1][f"up{level}"], (1, 2)).max() > 0


@pytest.mark.parametrize(
    ("name", "step"), [("fcn32s", 32), ("fcn16s", 16), ("fcn8s", 8)]
)
def test_fcn_scores_at_the_stride_of_its_name(name, step):
    (logits, features), variables = shapes(SEGMENTERS[name](classes=21), (256, 320, 3))
    assert logits.shape == (2, 256, 320, 21)
    assert features["scores"].shape == (2, 256 // step, 320 // step, 21)
    assert features["fc7"].shape == (2, 8, 10, 4096)
    kernel = variables["params"]["enlarge"]["kernel"]
    assert kernel.shape == (2 * step, 2 * step, 21, 21)


def test_segnet_mirrors_the_stages_of_vgg():
    (_, features), variables = shapes(SEGMENTERS["segnet"](classes=12), (360, 480, 3))
    assert {name: f.shape[1:] for name, f in features.items()} == {
        "down1": (192, 240, 64),
        "down2": (96, 120, 128),
        "down3": (48, 60, 256),
        "down4": (24, 30, 512),
        "down5": (12, 15, 512),
        "up5": (24, 30, 512),
        "up4": (48, 60, 256),
        "up3": (96, 120, 128),
        "up2": (192, 240, 64),
        "up1": (384, 480, 64),
    }
    for part in ("encoder", "decoder"):
        stages = variables["params"][part]
        counts = [len(stages[f"stage{i}"]) for i in range(1, 6)]
        assert counts == [2, 2, 3, 3, 3]


def test_deconvnet_has_the_sizes_of_figure_2():
    (logits, features), variables = shapes(
        SEGMENTERS["deconvnet"](classes=21), (224, 224, 3)
    )
    assert logits.shape == (2, 224, 224, 21)
    assert {name: f.shape[2:] for name, f in features.items()} == {
        "down1": (112, 64),
        "down2": (56, 128),
        "down3": (28, 256),
        "down4": (14, 512),
        "down5": (7, 512),
        "fc7": (1, 4096),
        "up5": (14, 512),
        "up4": (28, 256),
        "up3": (56, 128),
        "up2": (112, 64),
        "up1": (224, 64),
    }
    assert variables["params"]["fc6_back"]["conv"]["kernel"].shape == (7, 7, 512, 4096)


@pytest.mark.parametrize(("dilation", "seen"), [(1, 15), (2, 67)])
def test_dilation_widens_what_a_logit_sees(rng, dilation, seen):
    powers = Dilated.POWERS
    layers = [(3, 1, dilation**power) for power in powers]
    assert ops.arithmetic.receptive_field(layers) == (seen, 1)
    model = small("dilated", dilation=dilation, norm="none")
    images = jnp.ones((1, 81, 3, 1))
    variables = jax.tree.map(jnp.abs, drawn(rng, model, images))

    def middle(images):
        return model.apply(variables, images)[0][0, 40, 1, 0]

    reached = np.flatnonzero(jax.jit(jax.grad(middle))(images)[0, :, 1, 0])
    assert (reached[0], reached[-1]) == (40 - seen // 2, 40 + seen // 2)


@pytest.mark.parametrize("name", SEGMENTERS)
@pytest.mark.parametrize("size", [(1, 5), (33, 47), (64, 230)])
def test_logits_are_as_large_as_the_images(name, size):
    (logits, _), variables = shapes(small(name), (*size, 1))
    assert logits.shape == (2, *size, 3)
    assert logits.dtype == jnp.float32
    _, wanted = shapes(small(name), (64, 64, 1))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, wanted)


def test_other_sizes_are_mirrored_and_cropped_back(rng):
    images = random_images(rng, 2, 5, 14, 1)
    model = small("unet", norm="none", depth=3)
    variables = drawn(rng, model, images)
    apply = jax.jit(model.apply)
    mirrored = np.pad(images, ((0, 0), (0, 3), (0, 2), (0, 0)), "symmetric")
    expected = apply(variables, mirrored)[0][:, :5, :14]
    np.testing.assert_array_equal(apply(variables, images)[0], expected)


def test_images_smaller_than_the_network_sees_are_mirrored_more_than_once(rng):
    images = random_images(rng, 1, 3, 40, 1)
    fitted = small("deconvnet").fitted(images)
    expected = np.pad(images, ((0, 0), (0, 221), (0, 184), (0, 0)), "symmetric")
    np.testing.assert_array_equal(fitted, expected)
    assert small("fcn8s").fitted(images).shape == (1, 32, 64, 1)


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_valid_output_is_what_the_convolutions_leave(depth, upsampling):
    options = {"depth": depth, "upsampling": upsampling, "width": 0.02}
    model = UNet(classes=2, padding="VALID", **options)
    with pytest.raises(UsageError, match=r"nearest: (\d+)\.") as refusal:
        model.valid_output(1)
    smallest = int(refusal.value.args[0].split()[-1].rstrip("."))
    for size in (smallest, smallest + 3 * model.stride):
        (logits, _), _ = shapes(model, (size, size, 1))
        assert logits.shape[1] == model.valid_output(size) == size - 2 * model.margin
    assert model.valid_output(smallest) <= model.stride
    assert UNet(classes=2, **options).valid_output(size) == size


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_valid_input_is_the_least_that_gives_as_many_logits(depth, upsampling):
    model = UNet(classes=2, padding="VALID", depth=depth, upsampling=upsampling)
    for size in range(1, 40):
        least = model.valid_input(size)
        assert size <= model.valid_output(least) < size + model.stride


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters_with_padding_keep_sizes(name):
    model = small(name)
    assert model.pads
    assert model.valid_output(35) == model.valid_input(35) == 35
    assert bool(model.margin) == (name == "unet")


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_valid_logits_equal_those_of_padding_far_from_the_border(rng, upsampling):
    options = {"norm": "none", "upsampling": upsampling}
    same, valid = (small("unet", padding=p, **options) for p in ("SAME", "VALID"))
    images = random_images(rng, 1, 112, 116, 1)
    variables = drawn(rng, same, images)
    whole, _ = jax.jit(same.apply)(variables, images)
    # Each pool's cells begin 2 pixels of its level further in without padding.
    top, left = 8 + 2, 12 + 2
    part = images[:, top : top + 60, left : left + 64]
    logits, _ = jax.jit(valid.apply)(variables, part)
    top, left = top + valid.margin, left + valid.margin
    height, width = logits.shape[1:3]
    expected = whole[:, top : top + height, left : left + width]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_valid_logits_do_not_depend_on_where_the_image_was_cut(rng, upsampling):
    model = small("unet", norm="none", padding="VALID", upsampling=upsampling)
    images = random_images(rng, 1, 80, 76, 1)
    variables = drawn(rng, model, images)
    whole, _ = jax.jit(model.apply)(variables, images)
    part, _ = jax.jit(model.apply)(variables, images[:, 8:72, 4:72])
    expected = whole[:, 8 : 8 + part.shape[1], 4 : 4 + part.shape[2]]
    np.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("mode", MODES)
def test_margin_is_how_far_a_pixel_reaches(rng, upsampling, mode):
    model = small("unet", norm="none", upsampling=upsampling, padding_mode=mode)
    rows = 32 + np.arange(model.stride)
    images = rng.random((1 + model.stride, 68, 16, 1), dtype=np.float32)
    images[1:] = images[0]
    images[1 + np.arange(model.stride), rows] += 1
    variables = jax.tree.map(jnp.abs, drawn(rng, model, images))
    logits, _ = jax.jit(model.apply)(variables, images)
    pictures, places, _, _ = np.nonzero(logits[1:] != logits[0])
    assert np.abs(places - rows[pictures]).max() == model.margin


@pytest.mark.parametrize("name", KINDS)
def test_a_shift_by_the_stride_moves_the_logits(rng, name):
    model = small(name, norm="none")
    stride, length = model.stride, 832 if name == "deconvnet" else 512
    middle = length // 2
    image = np.zeros((2, length, 8, 1), np.float32)
    image[0, middle : middle + 8] = patch = rng.random((8, 8, 1), dtype=np.float32)
    image[1, middle + stride : middle + stride + 8] = patch
    variables = drawn(rng, model, image)
    (here, there), _ = jax.jit(model.apply)(variables, image)
    assert np.ptp(here, (0, 1)).max() > 0
    scale = np.abs(here).max()
    np.testing.assert_allclose(there[stride:], here[:-stride], atol=1e-5 * scale)


@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_has_a_part_in_the_logits(rng, name):
    model = small(name, norm="none", activation="silu")
    images = random_images(rng, 1, 64, 64, 1)
    variables = drawn(rng, model, images)

    def loss(params):
        return jnp.square(model.apply({"params": params}, images)[0]).sum()

    grads = jax.jit(jax.grad(loss))(variables["params"])
    for path, grad in jax.tree.leaves_with_path(grads):
        assert jnp.abs(grad).max() > 0, jax.tree_util.keystr(path)


def test_fcn_starts_without_an_opinion_and_enlarges_bilinearly(rng):
    images = random_images(rng, 1, 128, 160, 1)
    model = small("fcn16s", norm="none")
    key = jax.random.key(0, impl="rbg")
    (logits, _), variables = jax.jit(model.init_with_output)(key, images)
    np.testing.assert_array_equal(logits, 0)
    for name in ("scores", "scores4"):
        kernel = variables["params"][name]["kernel"]
        variables["params"][name]["kernel"] = rng.random(kernel.shape, np.float32)
    logits, features = jax.jit(model.apply)(variables, images)
    assert np.ptp(logits) > 0
    expected = ops.resize(features["scores"], (128, 160))
    inner = np.s_[:, 16:-16, 16:-16]
    np.testing.assert_allclose(logits[inner], expected[inner], rtol=1e-4, atol=1e-5)


def test_unet_unpools_to_the_maxima_of_its_pools_or_copies_the_nearest(rng):
    images = random_images(rng, 2, 24, 20, 1)
    options = {"norm": "none", "activation": "silu", "width": 0.05, "depth": 1}
    for upsampling in ("nearest", "unpool"):
        model = small("unet", upsampling=upsampling, **options)
        variables = drawn(rng, model, images)
        params = variables["params"]
        kernel = params["upsample0"]["kernel"]
        _, features = jax.jit(model.apply)(variables, images)
        x, skip = features["bottom"], features["down0"]
        if upsampling == "nearest":
            x = ops.conv2d(jnp.repeat(jnp.repeat(x, 2, 1), 2, 2), kernel)
        else:
            _, indices = ops.max_pool_with_argmax(skip, 2)
            x = ops.max_unpool(ops.conv2d(x, kernel), indices, (24, 20))
        x = jnp.concatenate([skip, x], -1)
        for unit in ("unit1", "unit2"):
            x = jax.nn.silu(ops.conv2d(x, params["up0"][unit]["conv"]["kernel"]))
        np.testing.assert_allclose(features["up0"], x, rtol=1e-4, atol=1e-5)


def test_unpoolings_are_the_operators(rng):
    x = jnp.asarray(rng.standard_normal((2, 6, 8, 3), dtype=np.float32))
    pooled, indices = ops.max_pool_with_argmax(x, 2)
    back = {name: unpool(pooled, indices) for name, unpool in UNPOOLINGS.items()}
    cells = jnp.repeat(jnp.repeat(pooled, 2, 1), 2, 2)
    np.testing.assert_array_equal(back["remembered"], jnp.where(x == cells, x, 0))
    np.testing.assert_array_equal(back["copy"], cells)
    np.testing.assert_array_equal(back["first"][:, ::2, ::2], pooled)
    assert (back["first"] != 0).sum() == pooled.size


@pytest.mark.parametrize("name", ["segnet", "deconvnet"])
def test_unpooling_is_the_one_named(name):
    def program(unpooling):
        model = small(name, unpooling=unpooling)
        init = functools.partial(model.init_with_output, jax.random.key(0))
        return str(jax.make_jaxpr(init)(jnp.zeros((1, 32, 32, 1))))

    programs = {name: program(name) for name in UNPOOLINGS}
    puts = {name: "window_take_adjoint[" in text for name, text in programs.items()}
    assert puts == {"remembered": True, "first": False, "copy": False}
    assert programs["first"] != programs["copy"]


@pytest.mark.parametrize("name", SEGMENTERS)
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_statistics_are_there_for_batch_norms_alone(name, norm):
    _, variables = shapes(small(name, norm=norm), (32, 32, 1))
    assert ("batch_stats" in variables) == (norm == "batch")
    params = jax.tree.leaves_with_path(variables["params"])
    normed = [path for path, _ in params if path[-1].key == "scale"]
    assert bool(normed) == (norm != "none")


def test_width_multiplies_the_channels():
    _, variables = shapes(UNet(classes=4, width=0.25), (32, 32, 1))
    kernels = variables["params"]
    assert kernels["down0"]["unit1"]["conv"]["kernel"].shape == (3, 3, 1, 16)
    assert kernels["bottom"]["unit2"]["conv"]["kernel"].shape == (3, 3, 256, 256)
    assert kernels["head"]["kernel"].shape == (1, 1, 16, 4)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_bfloat16_computes_with_float32_parameters_and_logits(name):
    (logits, features), variables = shapes(small(name, dtype=jnp.bfloat16), (32, 32, 3))
    assert logits.dtype == jnp.float32
    features.pop("scores", None)  # logits too
    assert {f.dtype for f in features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert {p.dtype for p in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_dropout_follows_the_example_and_not_its_place(rng):
    images = random_images(rng, 4, 8, 8, 1)
    keys, order = jax.random.split(jax.random.key(1), 4), np.array([2, 0, 3, 1])
    model = small("unet", norm="none", dropout=0.5, width=0.1)
    variables = drawn(rng, model, images)
    logits = jax.jit(
        lambda x, keys: model.apply(variables, x, train=True, keys=keys)[0]
    )
    moved = logits(images[order], keys[order])
    np.testing.assert_allclose(moved, logits(images, keys)[order], rtol=1e-4, atol=1e-6)
    assert not np.allclose(logits(images, keys[order]), logits(images, keys))


@pytest.mark.parametrize("name", SEGMENTERS)
def test_dropout_in_training_needs_keys(name):
    model = small(name, dropout=0.5)
    shapes(model, (32, 32, 1))
    shapes(model, (32, 32, 1), train=True, keys=jax.random.split(jax.random.key(0)))
    with pytest.raises(ValueError, match="needs a key for each example"):
        shapes(model, (32, 32, 1), train=True)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "unet",
            {"norm": "layer"},
            "norm must be one of batch, group, none, frozen, got",
        ),
        ("unet", {"depth": 0}, "depth must be at least 1, got 0"),
        ("unet", {"padding": "same"}, "padding must be one of SAME, VALID, got 'same'"),
        (
            "unet",
            {"upsampling": "x"},
            "upsampling must be one of transpose, resize, nearest, unpool, go",
        ),
        (
            "unet",
            {"encoder": "lenet"},
            "encoder must be one of resnet9, .*, got 'lenet'",
        ),
        (
            "unet",
            {"encoder": "resnet50", "depth": 4},
            "depth of a U-Net with the encoder resnet50 is 5, got 4; leave it out",
        ),
        (
            "unet",
            {"encoder": "vgg16", "upsampling": "unpool"},
            "unpool is of the pools of a U-Net without an encoder; .* would do",
        ),
        (
            "unet",
            {"encoder": "mobilenet", "padding": "VALID"},
            "padding_mode of MobileNet must be one of zeros, .*, got 'none'",
        ),
        (
            "unet",
            {"padding_like": "tensorflow"},
            "padding_like tensorflow of UNet is for the encoders resnet18, .*got None",
        ),
        (
            "unet",
            {"encoder": "vgg16", "padding_like": "tensorflow"},
            "for the encoders resnet18, .*, mobilenet, got vgg16",
        ),
        (
            "unet",
            {"encoder": "resnet18", "padding_like": "caffe"},
            "padding_like must be one of torch, tensorflow, got 'caffe'",
        ),
        ("fcn8s", {"activation": "rlu"}, "activation must be one of relu, .*'rlu'"),
        ("fcn8s", {"step": 4}, "step must be 32, 16 or 8, got 4"),
        ("segnet", {"unpooling": "last"}, "unpooling must be one of remembered, first"),
        (
            "deconvnet",
            {"dropout": 1.0},
            "dropout must be at least 0 and below 1, got 1",
        ),
        ("dilated", {"dilation": 0}, "dilation must be at least 1, got 0"),
        ("dilated", {"width": 0.0}, "width must be positive, got 0.0"),
        ("segnet", {"classes": 0}, "classes must be positive, got 0"),
    ],
)
def test_refuses_options_that_it_does_not_have(name, options, message):
    with pytest.raises(UsageError, match=message):
        SEGMENTERS[name](**({"classes": 10} | options))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 570, 572, 1), "188 pixels and every 16 more, got 570; .*: 556 and 572"),
        ((1, 572, 573, 1), "188 pixels and every 16 more, got 573; .*: 572 and 588"),
        ((1, 172, 572, 1), "got 172; the nearest: 188"),
        ((1, 187, 572, 1), "got 187; the nearest: 188"),
        ((572, 572, 1), r"images must be \(n, h, w, c\), got the shape \(572,"),
    ],
)
def test_refuses_images_that_do_not_fit_without_padding(shape, message):
    init = functools.partial(UNet(classes=2, padding="VALID").init, jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(init, jnp.zeros(shape))
