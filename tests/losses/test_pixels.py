"""Losses of pixels, against loops over pixels."""

import doctest
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import losses
from cnnjax.errors import UsageError
from cnnjax.losses import terms, weights

CLASSES = 3
SHAPE = (4, 5, 6)


@pytest.fixture
def example(rng):
    """Logits and labels: some void, one image all void, one without class 2."""
    logits = 2 * rng.standard_normal((*SHAPE, CLASSES)).astype(np.float32)
    labels = rng.integers(0, CLASSES, SHAPE).astype(np.uint8)
    labels[rng.random(SHAPE) < 0.2] = losses.VOID
    labels[1] = losses.VOID
    labels[2][labels[2] == 2] = 0
    return logits, labels


def probabilities(z):
    p = np.exp(np.float64(z) - z.max())
    return p / p.sum()


def mean_over_pixels(logits, labels, loss):
    """`loss` of the probabilities and label of each labelled pixel, and its place."""
    means = []
    for n in range(len(labels)):
        values = [
            loss(probabilities(logits[n, i, j]), labels[n, i, j], (n, i, j))
            for i, j in np.ndindex(labels.shape[1:])
            if labels[n, i, j] != losses.VOID
        ]
        means.append(np.mean(values) if values else 0)
    return means


def test_smoothing_may_be_traced(example):
    def loss(smoothing):
        return losses.segmentation_cross_entropy(*example, label_smoothing=smoothing)

    got = jax.jit(jax.vmap(loss))(jnp.float32([0.0, 0.2]))
    np.testing.assert_allclose(got, [loss(0.0), loss(0.2)], rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_the_mean_over_labelled_pixels(
    rng, example, smoothing, weighted
):
    of_class, of_pixel = rng.random(CLASSES), rng.random(SHAPE)
    options = {"class_weights": of_class, "pixel_weights": of_pixel}

    def loss(p, label, place):
        t = (1 - smoothing) * np.eye(CLASSES)[label] + smoothing / CLASSES
        weight = of_class[label] * of_pixel[place] if weighted else 1
        return -weight * np.sum(t * np.log(p))

    got = jax.jit(losses.segmentation_cross_entropy, static_argnames="label_smoothing")(
        *example, label_smoothing=smoothing, **(options if weighted else {})
    )
    np.testing.assert_allclose(got, mean_over_pixels(*example, loss), rtol=1e-5)
    assert got.dtype == jnp.float32


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, (0.2, 1.0, 3.0)])
def test_focal_is_equation_5(example, gamma, alpha):
    def loss(p, label, _):
        weight = 1 if alpha is None else alpha[label]
        return -weight * (1 - p[label]) ** gamma * np.log(p[label])

    got = losses.focal(*example, gamma=gamma, alpha=alpha)
    np.testing.assert_allclose(got, mean_over_pixels(*example, loss), rtol=1e-5)


def test_focal_of_classes_is_that_of_pixels(example):
    logits, labels = example[0][0, 0], example[1][0, 0] % CLASSES
    got = losses.focal(jnp.array(logits), jnp.array(labels))
    alone = losses.focal(jnp.array(logits)[:, None, None], labels[:, None, None])
    np.testing.assert_allclose(got, alone, rtol=1e-6)


def test_focal_without_focus_is_cross_entropy(example):
    np.testing.assert_allclose(
        losses.focal(*example, gamma=0),
        losses.segmentation_cross_entropy(*example),
        rtol=1e-6,
    )


def test_dice_is_the_mean_over_classes_that_are_there(example):
    expected = []
    for z, y in zip(*example, strict=True):
        coefficients = []
        for k in range(CLASSES):
            both = predicted = true = 0.0
            for place in np.ndindex(y.shape):
                if y[place] != losses.VOID:
                    p, g = probabilities(z[place])[k], y[place] == k
                    both, predicted, true = both + p * g, predicted + p * p, true + g
            if true:
                coefficients.append(2 * both / (predicted + true))
        expected.append(1 - np.mean(coefficients) if coefficients else 0)
    np.testing.assert_allclose(losses.soft_dice(*example), expected, rtol=1e-5)


LOSSES = list(losses.SEGMENTATION_LOSSES.values())


@pytest.mark.parametrize("loss", LOSSES)
def test_void_pixels_and_images_change_nothing(rng, example, loss):
    logits, labels = example
    other = np.where(labels[..., None] == losses.VOID, rng.random(logits.shape), logits)
    grad = jax.grad(lambda z: loss(z, labels).sum())(jnp.array(logits))
    np.testing.assert_allclose(loss(np.float32(other), labels), loss(logits, labels))
    assert loss(logits, labels)[1] == 0
    np.testing.assert_array_equal(grad[labels == losses.VOID], 0)
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_truth_costs_nothing_and_has_a_gradient(example, loss):
    labels = example[1] % CLASSES
    sure = 100.0 * np.eye(CLASSES, dtype=np.float32)[labels]
    np.testing.assert_allclose(loss(jnp.array(sure), labels), 0, atol=1e-6)
    wrong = np.roll(sure, 1, axis=-1)
    assert (loss(wrong, labels) > 0.9).all()
    for z in (sure, wrong):
        assert np.isfinite(jax.grad(lambda z: loss(z, labels).sum())(z)).all()


def test_focal_below_one_has_a_gradient_where_all_is_right():
    def loss(z):
        return losses.focal(z, jnp.array([0]), gamma=0.5).sum()

    grad = jax.grad(loss)(jnp.array([[200.0, 0.0]]))
    np.testing.assert_allclose(grad, 0, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_label_of_eight_bits_is_not_void(example, loss):
    logits, labels = example[0], np.where(example[1] == losses.VOID, 0, example[1])
    labels = jnp.asarray(labels, jnp.int8)
    assert np.isfinite(loss(logits, labels)).all()
    assert np.isnan(loss(logits, labels.at[3, 0, 0].set(-1)))[3]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("label", [CLASSES, 254])
def test_an_unknown_label_is_not_a_number(example, loss, label):
    logits, labels = example[0], example[1].copy()
    labels[3, 0, 0] = label
    got = loss(logits, labels)
    assert np.isnan(got).tolist() == [False, False, False, True]


def test_classes_have_no_void():
    logits = jnp.zeros((2, 300))
    assert np.isfinite(losses.focal(logits, jnp.array([0, 255]))).all()
    assert np.isnan(losses.focal(logits, jnp.array([300, -1]))).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_is_summed_in_float32(example, loss):
    half = jnp.asarray(example[0], jnp.bfloat16)
    got = loss(half, example[1])
    assert got.dtype == jnp.float32
    exact = loss(half.astype(jnp.float32), example[1])
    np.testing.assert_allclose(got, exact, rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_is_gathered_or_scattered(example, loss):
    program = str(
        jax.make_jaxpr(jax.grad(lambda z: loss(z, example[1]).sum()))(example[0])
    )
    assert "gather" not in program
    assert "scatter" not in program


def test_balanced_weights_let_classes_weigh_the_same():
    counts = np.array([1000, 10, 0, 1])
    weighed = losses.balanced_class_weights(counts) * counts
    np.testing.assert_allclose(weighed, [337, 337, 0, 337], rtol=1e-6)
    assert math.isclose(weighed.sum(), counts.sum(), rel_tol=1e-6)


@pytest.mark.parametrize("module", [terms, weights])
def test_examples_are_true(module):
    assert doctest.testmod(module) == (0, 1)


@pytest.mark.parametrize(
    ("spec", "terms"),
    [
        ("cross_entropy", [("cross_entropy", 1)]),
        ("cross_entropy+dice:0.5", [("cross_entropy", 1), ("dice", 0.5)]),
        (" focal:2 + dice ", [("focal", 2), ("dice", 1)]),
    ],
)
def test_sums_are_read(spec, terms):
    assert losses.parse_terms(spec) == tuple(terms)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", r'one of cross_entropy, dice, focal, or a sum .* got ""'),
        ("dice+", 'got ""'),
        ("mse", 'got "mse"'),
        (
            "dice:-1",
            'must be a number, at least 1e-06 and at most 1000000, got "dice:-1"',
        ),
        (
            "dice:1e300",
            'must be a number, at least 1e-06 and at most 1000000, got "dice:1e3',
        ),
        (",", "A loss must be one of"),
        ("dice:0", 'got "dice:0"'),
        ("dice:1e-320", 'at least 1e-06 .* got "dice:1e-320"'),
        ("dice:", 'got "dice:"'),
        ("dice:inf", 'got "dice:inf"'),
        ("dice+focal+dice", "come once in a sum, got dice twice"),
    ],
)
def test_refuses_sums_it_cannot_read(spec, message):
    with pytest.raises(UsageError, match=message):
        losses.parse_terms(spec)


def test_one_loss_is_a_table_as_well():
    with pytest.raises(UsageError, match=r'a sum such as "focal:0\.5", got "dice"'):
        losses.parse_terms("dice", losses={"focal": losses.focal})


IMAGES = jnp.zeros((2, 4, 4, 3))
LABELS = jnp.zeros((2, 4, 4), jnp.int32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: losses.segmentation_cross_entropy(IMAGES, LABELS[:, :3]),
            r"\(n, h, w\) for logits \(n, h, w, k\), got \(2, 3, 4\) for \(2, 4, 4, 3",
        ),
        (lambda: losses.soft_dice(IMAGES[0], LABELS), r"for \(4, 4, 3\)"),
        (lambda: losses.focal(IMAGES, LABELS[0]), r"got \(4, 4\)"),
        (lambda: losses.focal(IMAGES[0], LABELS), r"labels must be \(n,\) for logits"),
        (
            lambda: losses.soft_dice(jnp.zeros((1, 1, 1, 256)), LABELS[:1, :1, :1]),
            "at most 255 classes, since the label 255 is void, got 256",
        ),
        (
            lambda: losses.segmentation_cross_entropy(
                IMAGES, LABELS, class_weights=np.ones(2)
            ),
            r"class_weights must be 3 numbers, .* got the shape \(2,\)",
        ),
        (
            lambda: losses.focal(IMAGES, LABELS, alpha=np.ones(4)),
            "alpha must be 3 numbers",
        ),
        (
            lambda: losses.segmentation_cross_entropy(
                IMAGES, LABELS, pixel_weights=np.ones((2, 4))
            ),
            r"pixel_weights must have the shape \(2, 4, 4\) .* got \(2, 4\)",
        ),
        (
            lambda: losses.segmentation_cross_entropy(
                IMAGES, LABELS, label_smoothing=-0.1
            ),
            "label_smoothing must be at least 0 and below 1, got -0.1",
        ),
        (
            lambda: losses.soft_dice(IMAGES, LABELS.astype(jnp.float32)),
            "labels must be whole numbers, got float32",
        ),
        (
            lambda: losses.focal(IMAGES[:, 0, 0], jnp.zeros(2)),
            "labels must be whole numbers, got float32",
        ),
        (lambda: losses.focal(IMAGES, LABELS, gamma=-1), "gamma must not be negative"),
        (lambda: losses.balanced_class_weights(np.zeros(3)), "got no examples"),
    ],
)
def test_refuses_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
