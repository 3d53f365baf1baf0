import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.losses import cross_entropy


def reference(logits, targets):
    losses = []
    for z, t in zip(np.asarray(logits, np.float64), targets, strict=True):
        p = np.exp(z - z.max())
        losses.append(-np.sum(t * np.log(p / p.sum())))
    return losses


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_matches_the_definition(rng, smoothing):
    logits, labels = 3 * rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    targets = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
    loss = jax.jit(cross_entropy, static_argnames="label_smoothing")
    got = loss(jnp.float32(logits), labels, label_smoothing=smoothing)
    np.testing.assert_allclose(got, reference(logits, targets), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_takes_probabilities(rng, smoothing):
    logits, targets = rng.standard_normal((5, 4)), rng.dirichlet(np.ones(4), 5)
    got = cross_entropy(
        jnp.float32(logits), jnp.float32(targets), label_smoothing=smoothing
    )
    smoothed = (1 - smoothing) * targets + smoothing / 4
    np.testing.assert_allclose(got, reference(logits, smoothed), rtol=1e-5)


def test_smoothing_may_be_traced(rng):
    logits, labels = jnp.float32(rng.standard_normal((5, 4))), rng.integers(0, 4, 5)

    def loss(smoothing):
        return cross_entropy(logits, labels, label_smoothing=smoothing)

    got = jax.jit(jax.vmap(loss))(jnp.float32([0.0, 0.3]))
    np.testing.assert_allclose(got, [loss(0.0), loss(0.3)], rtol=1e-6)


def test_gradient_is_the_error_of_the_probabilities(rng):
    logits, labels = jnp.float32(rng.standard_normal((5, 4))), rng.integers(0, 4, 5)
    grad = jax.grad(lambda z: cross_entropy(z, labels).sum())(logits)
    expected = jax.nn.softmax(logits) - np.eye(4)[labels]
    np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-6)


def test_large_logits_do_not_overflow():
    logits = jnp.float32([[1e4, 0.0], [-1e4, 1e4]])
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([1, 1])), [1e4, 0])


def test_half_precision_is_summed_in_float32(rng):
    logits = jnp.asarray(rng.standard_normal((3, 1000)), jnp.bfloat16)
    got = cross_entropy(logits, jnp.array([0, 1, 2]))
    assert got.dtype == jnp.float32
    expected = reference(logits.astype(jnp.float32), np.eye(1000)[:3])
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("label", [-1, 4])
def test_an_unknown_label_is_not_a_number(label):
    got = cross_entropy(jnp.zeros((2, 4)), jnp.array([label, 0]))
    assert np.isnan(got[0])
    np.testing.assert_allclose(got[1], np.log(4), rtol=1e-6)


def test_a_large_negative_logit_rules_a_class_out():
    logits, target = jnp.array([[0.0, 1.0, -1e30]]), jnp.array([1])
    expected = cross_entropy(logits[:, :2], target)
    np.testing.assert_allclose(cross_entropy(logits, target), expected, rtol=1e-6)


def test_refuses_labels_that_are_no_whole_numbers():
    with pytest.raises(ValueError, match="labels must be whole numbers, got float32"):
        cross_entropy(jnp.zeros((2, 4)), jnp.array([0.5, 1.0]))


@pytest.mark.parametrize(
    ("logits", "targets", "smoothing", "message"),
    [
        ((2, 4), (3,), 0.0, r"targets must be labels .* got \(3,\) for \(2, 4\)"),
        ((2, 4), (2, 3), 0.0, r"got \(2, 3\) for \(2, 4\)"),
        ((4,), (4,), 0.0, r"got \(4,\) for \(4,\)"),
        ((2, 4), (2,), 1.0, "label_smoothing must be at least 0 and below 1, got 1.0"),
    ],
)
def test_refuses_what_does_not_fit(logits, targets, smoothing, message):
    targets = jnp.zeros(targets, jnp.int32 if len(targets) == 1 else jnp.float32)
    with pytest.raises(ValueError, match=message):
        cross_entropy(jnp.zeros(logits), targets, label_smoothing=smoothing)
