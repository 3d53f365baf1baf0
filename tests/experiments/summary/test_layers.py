import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.errors import UsageError
from cnnjax.models import MODELS
from cnnjax.models.layers import Conv, ConvTranspose, Dense
from cnnjax.models.network import Network
from cnnjax.ops.arithmetic import conv_multiply_adds
from experiments.summary import summarize
from experiments.summary.flow import Lost, View
from experiments.summary.layers import inference_memory, shapes
from tests.models.families import FAMILIES, side


def by_name(rows):
    return {row.name: row for row in rows}


def flat(tree):
    """Leaves of nested dictionaries by their path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {tuple(str(part.key) for part in path[:-1]): x for path, x in leaves}


@pytest.mark.parametrize("name", FAMILIES)
def test_names_shapes_and_parameters_are_those_of_the_model(name):
    model = MODELS[name](classes=3, width=0.25)
    image = (side(model), side(model) + 8, 2)
    rows = summarize(model, image)
    variables, images = shapes(model, image)
    owners = {"/".join(path) for path in flat(variables["params"])}
    assert {row.name for row in rows if row.parameters} == owners
    leaves = jax.tree.leaves(variables["params"])
    assert sum(row.parameters for row in rows) == sum(x.size for x in leaves)

    def run(variables, images):
        return model.apply(variables, images, capture_intermediates=True)

    _, seen = jax.eval_shape(run, variables, images)
    called = {"/".join(p[:-2]): x for p, x in walk(seen["intermediates"])}
    # A second stage is no part of the network's call.
    layers = [x for x in rows if x.parameters and not x.name.startswith("box_head")]
    assert [row.shape for row in layers] == [called[row.name] for row in layers]


def walk(tree, path=()):
    """Path and shape for one image of what each module returned."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from walk(value, (*path, name))
        elif not isinstance(value[0], tuple | list):
            yield (*path, name, ""), value[0].shape[1:]


def test_vgg16_is_that_of_the_textbook():
    rows = summarize(MODELS["vgg16"](classes=1000), (224, 224, 3))
    first, last = rows[0], by_name(rows)["pool5"]
    assert (first.name, first.kind) == ("conv1_1/conv", "conv 3x3")
    assert (first.shape, first.parameters) == ((224, 224, 64), 1792)
    assert first.multiply_adds == 86_704_128
    assert first.size == 4 * 224 * 224 * 64
    assert sum(row.parameters for row in rows) == 138_357_544
    assert sum(row.multiply_adds for row in rows) == 15_470_264_320
    assert (last.kind, last.shape) == ("max 2x2/2", (7, 7, 512))
    assert (last.sight.rows.size, last.sight.rows.jump) == (212, 32)


def test_multiply_adds_are_those_of_the_arithmetic():
    class Net(Network):
        LAST = "x"

        @nn.compact
        def backbone(self, images, *, train=False, keys=None):
            x = Conv(6, (3, 5), stride=(2, 1), groups=2, name="grouped")(images)
            x = Conv(6, 3, groups=6, dilation=2, name="depthwise")(x)
            x = ConvTranspose(4, 3, groups=2, name="back")(x)
            return {"x": Dense(7, name="dense")(x)}

    rows = by_name(summarize(Net(classes=None), (12, 10, 4)))
    costs = {name: row.multiply_adds for name, row in rows.items()}
    assert costs == {
        "grouped": conv_multiply_adds((6, 10), (3, 5), 4, 6, groups=2),
        "depthwise": conv_multiply_adds((6, 10), 3, 6, 6, groups=6),
        # Each pixel of the smaller map lays the kernel once.
        "back": conv_multiply_adds((6, 10), 3, 4, 6, groups=2),
        "dense": 12 * 20 * 4 * 7,
    }
    assert [row.kind for row in rows.values()] == [
        "conv 3x5/1x2",
        "depthwise 3x3:2",
        "transposed 3x3/2",
        "linear",
    ]


def test_multiply_adds_are_half_the_operations_that_xla_counts():
    model = MODELS["windownet"](classes=2, norm="none")  # without padding
    rows = summarize(model, (40, 40, 3))
    run = jax.jit(lambda variables, images: model.apply(variables, images)[0])
    program = run.lower(*shapes(model, (40, 40, 3))).compile()
    counted = program.cost_analysis()["flops"] / 2
    assert counted == pytest.approx(sum(row.multiply_adds for row in rows), rel=0.02)


# The model, side of the image, a feature, and the layer whose result that is.
VALID = {"padding": "VALID", "upsampling": "resize"}
WRAPPED = {"padding_mode": "wrap", "upsampling": "nearest"}
SEEN = [
    ("lenet", {}, 64, "stage2", "c5/conv"),
    ("resnet18", {}, 96, "stage1", "stage1_block2/unit2/conv"),
    ("mobilenet", {}, 64, "stage2", "stage2_block2/project/conv"),
    ("dilated", {"dilation": 2}, 80, "layer7", "layer7/conv"),
    ("unet", {"depth": 2}, 96, "up0", "up0/unit2/conv"),
    ("unet", {"encoder": "resnet9"}, 128, "up2", "up2/unit2/conv"),
    ("unet", {"depth": 1, **VALID}, 52, "up0", "up0/unit2/conv"),
    ("unet", {"depth": 1, **WRAPPED}, 48, "up0", "up0/unit2/conv"),
    ("unet", {"depth": 1, "padding_mode": "reflect"}, 48, "up0", "up0/unit2/conv"),
    ("unet", {"depth": 1, "padding_mode": "edge"}, 48, "up0", "up0/unit2/conv"),
]


@pytest.fixture
def averaged(monkeypatch):
    """Makes max-pools average, for then their gradient reaches all that they see."""
    monkeypatch.setattr(ops, "max_pool", ops.avg_pool)


def assert_sees(model, size, *, feature, layer):
    """Whether what a layer sees is where the gradient of the feature is not zero."""
    view = by_name(summarize(model, (size, size, 1)))[layer].sight
    image = jnp.ones((1, size, size, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    variables = jax.tree.map(lambda x: jnp.full(x.shape, 0.1), variables)

    def value(image, place):
        x = model.apply(variables, image)[1][feature]
        return x[0, place[0], place[1]].sum()

    shape = jax.eval_shape(model.apply, variables, image)[1][feature].shape
    row, column = (n // 2 for n in shape[1:3])
    places = [(row + i, column - i) for i in range(min(4, len(view.rows.spans)))]
    of_places = jax.jit(jax.vmap(jax.grad(value), (None, 0)))
    slopes = of_places(image, jnp.asarray(places))
    for (row, column), slope in zip(places, slopes[:, 0, :, :, 0], strict=True):
        assert view.rows.span(row) == ends(slope.any(1))
        assert view.columns.span(column) == ends(slope.any(0))


@pytest.mark.parametrize(("name", "options", "size", "feature", "layer"), SEEN, ids=str)
def test_fields_are_where_the_gradient_is(
    averaged, name, options, size, feature, layer
):
    options = {"width": 1 / 16, "norm": "none", "activation": "relu", **options}
    model = MODELS[name](classes=None, **options)
    assert_sees(model, size, feature=feature, layer=layer)


ENLARGED = {
    "4x4/2": lambda x: ConvTranspose(2, 4, stride=2)(x),
    "16x16/8": lambda x: ConvTranspose(2, 16, stride=8)(x),
    "5x4/3x1": lambda x: ConvTranspose(
        2, (5, 4), stride=(3, 1), padding=((2, 0), (0, 3))
    )(x),
    "nails": lambda x: ops.bed_of_nails_unpool(x, (2, 3)),
    "copies": lambda x: ops.nearest_unpool(x, (3, 2)),
    "blend": lambda x: ops.resize(x, (3 * x.shape[1], 4 * x.shape[2])),
}


@pytest.mark.parametrize("enlarge", ENLARGED.values(), ids=ENLARGED)
def test_fields_behind_enlarged_maps_are_where_the_gradient_is(enlarge):
    class Net(Network):
        LAST = "x"

        @nn.compact
        def backbone(self, images, *, train=False, keys=None):
            conv = functools.partial(Conv, 2, padding=((2, 1), (0, 3)))
            x = enlarge(conv(3, stride=(2, 3), dilation=2)(images))
            x = conv(4, name="last")(x[:, 1:, 2:])
            return {"x": x}

    assert_sees(Net(classes=None), 60, feature="x", layer="last")


def ends(seen):
    """First and last of what is seen."""
    where = np.flatnonzero(seen)
    return where[0], where[-1]


@pytest.mark.parametrize("name", ["segnet", "deconvnet"])
def test_an_unpooling_sees_what_a_copy_sees(name):
    def sights(unpooling):
        model = MODELS[name](classes=2, width=1 / 32, unpooling=unpooling)
        return {row.name: row.sight for row in summarize(model, (224, 224, 3))}

    assert sights("remembered") == sights("copy")


def test_all_is_seen_behind_a_global_pool():
    rows = by_name(summarize(MODELS["resnet9"](classes=2, width=1 / 8), (32, 32, 3)))
    assert (rows["pool4"].kind, rows["pool4"].sight) == ("global max", Lost.ALL)
    assert rows["head"].sight is Lost.ALL


def test_group_norms_see_their_pixel():
    rows = summarize(MODELS["unet"](classes=2, depth=1, norm="group"), (16, 16, 1))
    assert all(isinstance(row.sight, View) for row in rows)
    assert by_name(rows)["down0/unit1/norm"].kind == "group norm"


def test_a_layer_that_is_called_twice_has_its_parameters_once():
    class Net(Network):
        LAST = "x"

        @nn.compact
        def backbone(self, images, *, train=False, keys=None):
            layer = Conv(3, name="layer")
            return {"x": layer(layer(images))}

    rows = summarize(Net(classes=None), (8, 8, 3))
    assert [row.name for row in rows] == ["layer", "layer"]
    assert [row.parameters for row in rows] == [84, 0]
    assert [row.sight.rows.size for row in rows] == [3, 5]


def test_what_is_not_known_to_keep_pixels_in_place_is_unknown():
    class Net(Network):
        LAST = "x"

        @nn.compact
        def backbone(self, images, *, train=False, keys=None):
            x = jnp.cumsum(Conv(3, name="before")(images), 1)
            return {"x": Conv(3, name="behind")(x + images)}

    rows = by_name(summarize(Net(classes=None), (8, 8, 3)))
    assert isinstance(rows["before"].sight, View)
    assert rows["behind"].sight is Lost.UNKNOWN


def test_a_flattened_map_sees_all():
    class Net(Network):
        LAST = "x"

        @nn.compact
        def backbone(self, images, *, train=False, keys=None):
            x = ops.avg_pool(Conv(3, name="layer")(images), 2)
            return {"x": Dense(3, name="dense")(x.reshape(len(x), -1))}

    rows = by_name(summarize(Net(classes=None), (8, 8, 3)))
    assert rows["pool1"].kind == "average 2x2/2"
    assert (rows["dense"].sight, rows["dense"].multiply_adds) == (Lost.ALL, 4 * 4 * 9)


@pytest.mark.parametrize("name", ["vgg16", "lenet", "windownet"])
def test_images_that_are_too_small_are_refused(name):
    model = MODELS[name](classes=2)
    less = model.smallest - 1
    with pytest.raises(UsageError, match=f"{model.smallest}.*, got {less}x{less}"):
        summarize(model, (less, less, 3))
    assert summarize(model, (model.smallest, model.smallest, 3))


def test_inference_takes_variables_and_maps():
    model = MODELS["lenet"](classes=10)
    rows = summarize(model, (28, 28, 1))
    least = 4 * sum(row.parameters for row in rows) + max(row.size for row in rows)
    assert least < inference_memory(model, (28, 28, 1)) < 2 * least
