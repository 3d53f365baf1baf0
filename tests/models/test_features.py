"""Named features of each model: gradients, replacement, head and backbone apart."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.models import MODELS
from cnnjax.models import features as module
from cnnjax.models.features import (
    apply_with_gradients,
    from_feature,
    perturb_features,
    replace_features,
)
from tests.models.families import FAMILIES, side

# Smooth models that compile fast; a logit depends on all features.
LESS = {
    "unet": {"depth": 2},
    "dilated": {"dilation": 2},
    "windownet": {"window": 24, "refine": True},
    "unet on resnet9": {"encoder": "resnet9"},
}
NAMES = [*FAMILIES, "unet on resnet9"]


def small(name, **options):
    shared = {"classes": 3, "width": 0.02, "norm": "none", "activation": "silu"}
    model, *_ = name.split()
    return MODELS[model](**(shared | LESS.get(name, {}) | options))


def variables_like(shapes):
    """Random kernels that keep the size of activations."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jnp.float32(
            rng.standard_normal(x.shape) * math.sqrt(2 / (x.size + 1))
        ),
        shapes,
    )


@functools.cache
def results(name):
    """A model, its variables and images, and what comes of them."""
    model = small(name)
    shape = 1, side(model), side(model), 1
    images = jnp.asarray(np.random.default_rng(1).random(shape, np.float32))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    variables = variables_like(shapes)

    @jax.jit
    def run(variables, images):
        return apply_with_gradients(
            model, variables, images, lambda logits: logits[..., 1].sum()
        )

    (output, features), gradients = run(variables, images)
    return model, variables, images, output, features, gradients


@pytest.mark.parametrize("name", NAMES)
def test_a_logit_has_a_gradient_with_respect_to_each_feature(name):
    *_, features, gradients = results(name)
    assert list(gradients) == list(features)
    for feature, gradient in gradients.items():
        assert gradient.shape == features[feature].shape
        assert jnp.isfinite(gradient).all()
        # Boxes are outputs of their own, on which no logit depends.
        of_boxes = feature in ("refinement", "deltas")
        assert (jnp.abs(gradient).max() > 0) != of_boxes, feature


@pytest.mark.parametrize("name", NAMES)
def test_the_head_makes_the_same_logits_of_the_features(name):
    model, variables, _, output, features, _ = results(name)
    logits = jax.jit(functools.partial(model.apply, method="apply_head"))(
        variables, features
    )
    assert np.ptp(output) > 0
    cropped = logits[tuple(map(slice, output.shape))]  # segmenters crop to the images
    np.testing.assert_array_equal(cropped, output)


@pytest.mark.parametrize("name", NAMES)
def test_features_replaced_by_themselves_change_nothing(name):
    model, variables, images, output, features, _ = results(name)
    replaced = replace_features(variables, features)
    result = jax.jit(model.apply)(replaced, images)
    jax.tree.map(np.testing.assert_array_equal, result, (output, features))


@pytest.mark.parametrize("name", NAMES)
def test_without_classes_there_is_the_backbone_alone(name):
    model, variables, images, _, features, _ = results(name)
    backbone = small(name, classes=None)
    shapes = jax.eval_shape(backbone.init, jax.random.key(0), images)
    head = {
        "fcn8s": {"scores", "scores4", "scores3", "enlarge4", "enlarge3", "enlarge"},
        "windownet": {"head", "refinement"},
        "retinanet": {"head", "deltas"},
        "faster_rcnn": {"proposals", "box_head"},
        "alexnet": {"fc6", "fc7", "head"},
        "vgg11": {"fc6", "fc7", "head"},
    }.get(name, {"head"})
    wanted = {k: v for k, v in variables["params"].items() if k not in head}
    assert head < set(variables["params"])
    assert jax.tree.map(jnp.shape, shapes["params"]) == jax.tree.map(jnp.shape, wanted)
    output, alone = jax.eval_shape(backbone.apply, {"params": wanted}, images)
    last = features[model.LAST].shape
    heads = ("fc7",) if "fc6" in head else ()
    assert {k: x.shape for k, x in alone.items()} == {
        k: x.shape
        for k, x in features.items()
        if k not in (*heads, "scores", "refinement", "deltas")
    }
    sizes = (min(images.shape[1], n) for n in last[1:3])  # segmenters crop to these
    cropped = (1, *sizes, last[3]) if len(last) == 4 else last
    assert output.shape == cropped


@pytest.mark.parametrize("name", ["lenet", "dilated", "windownet"])
def test_a_backbone_gives_the_feature_that_the_head_takes(name):
    model, variables, images, _, features, _ = results(name)
    output, alone = jax.jit(small(name, classes=None).apply)(variables, images)
    np.testing.assert_array_equal(output, alone[model.LAST])
    for feature, x in alone.items():
        np.testing.assert_allclose(x, features[feature], rtol=1e-5, atol=1e-6)


def test_the_network_from_a_feature_on_depends_on_it():
    model, variables, images, output, features, _ = results("lenet")
    head = jax.jit(from_feature(model, variables, images, "stage1"))
    maps = features["stage1"]
    np.testing.assert_allclose(head(maps), output, rtol=1e-5, atol=1e-6)
    assert jnp.abs(head(maps.at[..., 0].set(0)) - output).max() > 1e-4


def test_a_channel_that_is_replaced_reaches_what_follows_alone():
    model, variables, images, _, features, _ = results("unet")
    changed = features["bottom"].at[..., 0].set(0)
    replaced = replace_features(variables, {"bottom": changed})
    _, after = jax.jit(model.apply)(replaced, images)
    np.testing.assert_array_equal(after["bottom"], changed)
    differs = {
        name for name in features if not np.allclose(after[name], features[name])
    }
    assert differs == {"bottom", "up1", "up0"}


def test_features_that_were_changed_before_stay_changed():
    model, variables, images, _, features, _ = results("unet")
    first = {name: jnp.zeros_like(features[name]) for name in ("down0", "bottom")}
    second = {"bottom": features["bottom"]}
    twice = replace_features(replace_features(variables, first), second)
    once = replace_features(variables, first | second)
    np.testing.assert_array_equal(
        model.apply(twice, images)[0], model.apply(once, images)[0]
    )
    ones = {name: jnp.ones_like(features[name]) for name in first}
    twice = perturb_features(perturb_features(variables, ones), second)
    sums = {"down0": ones["down0"], "bottom": ones["bottom"] + second["bottom"]}
    expected, _ = model.apply(perturb_features(variables, sums), images)
    np.testing.assert_array_equal(model.apply(twice, images)[0], expected)
    (got, _), _ = apply_with_gradients(model, twice, images, jnp.sum)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_a_gradient_is_the_slope_along_a_perturbation():
    model, variables, images, *_, gradients = results("lenet")
    gradient = gradients["stage1"]
    step = 1e-2 * gradient / jnp.linalg.norm(gradient)

    @jax.jit
    def score(delta):
        perturbed = perturb_features(variables, {"stage1": delta})
        return model.apply(perturbed, images)[0][..., 1].sum()

    slope = (score(step) - score(-step)) / 2e-2
    np.testing.assert_allclose(slope, jnp.linalg.norm(gradient), rtol=1e-2)


def test_no_variables_are_made_for_features():
    for name in FAMILIES:
        _, variables, *_ = results(name)
        assert set(variables) == {"params"}


def test_the_example_of_the_module_runs():
    _, code, _ = module.__doc__.split("```\n")
    names = vars(module) | {"CLASSIFIERS": MODELS, "images": jnp.ones((2, 28, 28, 1))}
    exec(code, names)
    assert names["importance"].shape == (2, 16)
    np.testing.assert_allclose(names["same"], names["logits"], rtol=1e-5, atol=1e-6)
    assert not np.allclose(names["without"], names["logits"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stage9": (1, 84)}, "A feature to change must be one of stem, .* 'stage9'"),
        (
            {"pooled": (1, 9)},
            r"The feature pooled has the shape \(1, 2\), got \(1, 9\)",
        ),
    ],
)
@pytest.mark.parametrize("change", [replace_features, perturb_features])
def test_refuses_features_that_do_not_fit(change, values, message):
    model, variables, images, *_ = results("lenet")
    values = {name: jnp.zeros(shape) for name, shape in values.items()}
    with pytest.raises(ValueError, match=message):
        model.apply(change(variables, values), images)


@pytest.mark.parametrize("name", ["lenet", "fcn8s", "windownet"])
def test_a_backbone_refuses_to_run_a_head(name):
    _, variables, _, _, features, _ = results(name)
    backbone = small(name, classes=None)
    with pytest.raises(ValueError, match="with classes=None has no head"):
        backbone.apply(variables, features, method="apply_head")


def test_a_head_says_which_feature_it_takes():
    model, variables, *_ = results("lenet")
    with pytest.raises(ValueError, match="of LeNet takes the feature pooled, got x"):
        model.apply(variables, {"x": jnp.zeros((1, 3))}, method="apply_head")
