import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models import CLASSIFIERS
from cnnjax.models.build import build, own_options
from cnnjax.models.lenet import LeNet
from cnnjax.models.resnet import ResNet, ResNet9

RESNETS = ["resnet18", "resnet34", "resnet50"]


def shapes(model, image, **options):
    images = jnp.zeros((2, *image))
    key = jax.random.key(0)
    return jax.eval_shape(lambda: model.init_with_output(key, images, **options))


def small(name, **options):
    """A model that compiles fast, and takes images of any size."""
    fast = {"stem": "small", "dense_head": "conv"}
    own = own_options(CLASSIFIERS)
    has = {option: x for option, x in fast.items() if name in own[option].models}
    return CLASSIFIERS[name](**({"classes": 3, "width": 0.05, **has} | options))


def initialized(model, images):
    key = jax.random.key(0, impl="rbg")  # compiles three times as fast as threefry
    return jax.jit(model.init)(key, images)


@pytest.mark.parametrize(
    ("name", "classes", "image", "count"),
    [
        ("lenet", 10, (28, 28, 1), 61_706),
        ("resnet9", 10, (32, 32, 3), 6_573_120),
        ("resnet18", 1000, (224, 224, 3), 11_689_512),
        ("resnet34", 1000, (224, 224, 3), 21_797_672),
        ("resnet50", 1000, (224, 224, 3), 25_557_032),
    ],
)
def test_has_the_published_number_of_parameters(name, classes, image, count):
    _, variables = shapes(CLASSIFIERS[name](classes=classes), image)
    assert sum(p.size for p in jax.tree.leaves(variables["params"])) == count


def test_resnet50_gives_features_by_name():
    (logits, features), _ = shapes(CLASSIFIERS["resnet50"](classes=7), (64, 96, 3))
    assert logits.shape == (2, 7)
    assert {name: f.shape[1:] for name, f in features.items()} == {
        "stem": (32, 48, 64),
        "stage1": (16, 24, 256),
        "stage2": (8, 12, 512),
        "stage3": (4, 6, 1024),
        "stage4": (2, 3, 2048),
        "pooled": (2048,),
    }


def test_small_stem_keeps_the_size():
    (_, features), _ = shapes(
        CLASSIFIERS["resnet18"](classes=7, stem="small"), (32, 24, 1)
    )
    sizes = [features[name].shape[1:3] for name in ("stem", "stage1", "stage4")]
    assert sizes == [(32, 24), (32, 24), (4, 3)]


def test_lenet_has_the_maps_of_the_paper():
    (_, features), _ = shapes(CLASSIFIERS["lenet"](classes=10), (28, 28, 1))
    assert {name: f.shape[1:] for name, f in features.items()} == {
        "stem": (28, 28, 6),
        "stage1": (10, 10, 16),
        "stage2": (1, 1, 120),
        "pooled": (84,),
    }


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("size", [(28, 28), (33, 47), (64, 30)])
def test_images_of_any_size_pass(name, size):
    model = small(name)
    _, variables = shapes(model, (*(max(28, model.smallest),) * 2, 1))
    images = jnp.zeros((2, *(max(n, model.smallest) for n in size), 1))
    logits, features = jax.eval_shape(model.apply, variables, images)
    assert logits.shape == (2, 3)
    assert model.LAST in features


@pytest.mark.parametrize(("name", "size"), [("resnet9", 8), ("resnet18", 1)])
def test_smallest_images_pass(name, size):
    (logits, _), _ = shapes(small(name), (size, size, 1))
    assert logits.shape == (2, 3)


@pytest.mark.parametrize("name", RESNETS)
def test_parameters_do_not_depend_on_the_size_of_the_image(name):
    thin = CLASSIFIERS[name](classes=3, width=0.001)  # one channel in every stage
    wanted, got = (shapes(thin, (size, size, 1))[1] for size in (64, 1))
    assert jax.tree.map(jnp.shape, got) == jax.tree.map(jnp.shape, wanted)


def test_stride_of_a_bottleneck_is_in_its_3x3_convolution():
    model, images = CLASSIFIERS["resnet50"](classes=2), jnp.zeros((1, 32, 32, 3))

    def captured():
        variables = model.init(jax.random.key(0), images)
        return model.apply(variables, images, capture_intermediates=True)[1]

    block = jax.eval_shape(captured)["intermediates"]["stage2_block1"]
    units = [block[f"unit{i}"]["__call__"][0].shape[1] for i in (1, 2, 3)]
    assert units == [8, 4, 4]


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_residual_blocks_start_as_the_identity(rng, norm):
    images = jnp.asarray(rng.random((2, 16, 16, 3), dtype=np.float32))
    model = ResNet(classes=3, width=0.05, norm=norm, blocks=(2,), bottleneck=False)
    _, features = jax.jit(model.apply)(initialized(model, images), images)
    pooled = ops.max_pool(features["stem"], 3, stride=2, padding=1)
    np.testing.assert_array_equal(features["stage1"], pooled)


@pytest.mark.parametrize("name", ["lenet", "resnet9"])
def test_a_shift_by_the_stride_changes_nothing(rng, name):
    patch = rng.random((1, 16, 16, 1), dtype=np.float32)
    image = np.zeros((2, 160, 160, 1), np.float32)
    image[0, 64:80, 64:80] = patch
    image[1, 72:88, 56:72] = patch
    model = small(name, width=0.1)
    logits, _ = jax.jit(model.apply)(initialized(model, jnp.array(image)), image)
    assert np.ptp(logits) > 0
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        LeNet(classes=3, width=0.2),
        ResNet9(classes=3, width=0.05),
        ResNet(classes=3, width=0.1, norm="none", blocks=(2,), bottleneck=False),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_parameter_but_those_behind_a_zero_learns(rng, model):
    size = 28 if isinstance(model, LeNet) else 8
    images = jnp.asarray(rng.standard_normal((8, size, size, 1), dtype=np.float32))
    variables = initialized(model, images)

    def loss(params):
        (logits, _), _ = model.apply(
            variables | {"params": params}, images, train=True, mutable=["batch_stats"]
        )
        return jnp.square(logits - jnp.arange(3.0)).sum()

    grads = jax.jit(jax.grad(loss))(variables["params"])
    for path, grad in jax.tree.leaves_with_path(grads):
        name = jax.tree_util.keystr(path)
        behind_zero = "_block" in name and "unit" in name and "scale" not in name
        assert behind_zero or jnp.abs(grad).max() > 0, name


def test_width_multiplies_the_channels():
    _, variables = shapes(CLASSIFIERS["resnet9"](classes=4, width=0.5), (8, 8, 1))
    kernels = variables["params"]
    assert kernels["stem"]["conv"]["kernel"].shape == (3, 3, 1, 32)
    assert kernels["head"]["kernel"].shape == (256, 4)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_statistics_are_there_for_batch_norms_alone(name, norm):
    model = small(name, norm=norm)
    _, variables = shapes(model, (*(max(32, model.smallest),) * 2, 1))
    assert ("batch_stats" in variables) == (norm == "batch")
    firsts = {"c1", "conv1", "conv1_1", "stem"} & variables["params"].keys()
    biased = "bias" in variables["params"][firsts.pop()]["conv"]
    assert biased == (norm == "none")


def test_activation_is_the_one_named(rng):
    images = jnp.asarray(rng.standard_normal((2, 8, 8, 1), dtype=np.float32))
    model = small("resnet9", activation="tanh", width=0.1)
    _, features = jax.jit(model.apply)(initialized(model, images), images)
    assert features["stem"].min() < 0
    assert jnp.abs(features["stem"]).max() < 1


def test_bfloat16_computes_with_float32_parameters_and_logits():
    model = small("resnet18", dtype=jnp.bfloat16)
    (logits, features), variables = shapes(model, (16, 16, 3))
    assert logits.dtype == jnp.float32
    assert features["stage4"].dtype == jnp.bfloat16
    assert {p.dtype for p in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_dropout_follows_the_example_and_not_its_place(rng):
    images = jnp.asarray(rng.random((4, 8, 8, 1), dtype=np.float32))
    keys, order = jax.random.split(jax.random.key(1), 4), np.array([2, 0, 3, 1])
    model = small("resnet9", norm="group", dropout=0.5, width=0.1)
    shapes = jax.eval_shape(model.init, keys[0], images)
    variables = jax.tree.map(
        lambda x: jnp.float32(rng.standard_normal(x.shape)), shapes
    )

    @jax.jit
    def logits(images, keys):
        return model.apply(variables, images, train=True, keys=keys)[0]

    moved = logits(images[order], keys[order])
    np.testing.assert_allclose(moved, logits(images, keys)[order], rtol=1e-5)
    assert not np.allclose(logits(images, keys[order]), logits(images, keys))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "lenet",
            {"norm": "layer"},
            "norm must be one of batch, group, none, frozen, got",
        ),
        ("resnet9", {"activation": "rlu"}, "activation must be one of relu, .*'rlu'"),
        ("resnet18", {"stem": "tiny"}, "stem must be one of imagenet, small, got 'ti"),
        ("lenet", {"stem": "small"}, "--stem is not for --model=lenet; leave it out"),
        ("resnet9", {"stem": "imagenet"}, "--stem is not for --model=resnet9; leave"),
        ("resnet50", {"width": 0.0}, "width must be positive, got 0.0"),
        ("resnet50", {"classes": 0}, "classes must be positive, got 0"),
        ("lenet", {"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ],
)
def test_refuses_options_that_it_does_not_have(name, options, message):
    shared = {"classes": 10} | options
    own = {"stem": shared.pop("stem", None)}
    with pytest.raises(UsageError, match=message):
        build(CLASSIFIERS, name, options=own, **shared)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("lenet", (2, 27, 40, 1), "LeNet needs images of 28x28 .* got 27x40; resnet9"),
        ("resnet9", (2, 8, 7, 1), "ResNet9 needs images of 8x8 .* got 8x7; resnet18"),
        ("resnet9", (8, 8, 1), r"images must be \(n, h, w, c\), got the shape \(8,"),
        ("resnet18", (8, 8, 1), r"images must be \(n, h, w, c\), got the shape \(8,"),
    ],
)
def test_refuses_images_that_it_cannot_see(name, shape, message):
    model = CLASSIFIERS[name](classes=10)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))


def test_dropout_in_training_needs_keys():
    model = small("lenet", dropout=0.5)
    with pytest.raises(ValueError, match="needs a key for each example"):
        shapes(model, (28, 28, 1), train=True)
