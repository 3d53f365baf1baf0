import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import interpret
from tests.interpret.networks import logits, score

KEY = jax.random.key(7)
ATTACKS = {
    "fgsm": lambda loss, x, **options: interpret.fgsm(loss, x, **options),
    "random": lambda loss, x, **options: interpret.random_signs(KEY, x, **options),
    "pgd": functools.partial(interpret.pgd, KEY, steps=5, restarts=2),
    "pgd l2": functools.partial(interpret.pgd, KEY, norm="l2", steps=5),
    "apgd": functools.partial(interpret.apgd, KEY, steps=12),
    "apgd l2": functools.partial(interpret.apgd, KEY, norm="l2", steps=12),
}


@pytest.fixture
def images(rng):
    images = rng.random((4, 6, 7, 3), dtype=np.float32)
    images[0] = (images[0] > 0.5) + np.float32(0)  # black and white: at the borders
    return jnp.asarray(images)


@pytest.mark.parametrize("epsilon", [0.0, 2 / 255, 0.1])
@pytest.mark.parametrize("name", ATTACKS)
def test_stays_in_the_ball_and_among_images(images, name, epsilon):
    found = jax.jit(functools.partial(ATTACKS[name], score, epsilon=epsilon))(images)
    change = np.asarray(found, np.float64) - np.asarray(images, np.float64)
    far = np.abs(change).max(axis=(1, 2, 3))
    if "l2" in name:
        far = np.sqrt(np.square(change).sum(axis=(1, 2, 3)))
    assert (far <= np.float32(epsilon)).all()
    assert (far >= 0.9 * epsilon).all() or "pgd" in name
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd l2", "apgd", "apgd l2"])
def test_raises_the_loss_or_lowers_it(images, name, targeted):
    images = 0.2 + 0.6 * images
    found = ATTACKS[name](score, images, epsilon=0.05, targeted=targeted)
    sign = -1 if targeted else 1
    assert (sign * (score(found) - score(images)) > 0).all()


def test_fgsm_is_one_signed_step(images):
    slope = jax.grad(lambda x: score(x).sum())(images)
    expected = np.clip(images + np.float32(0.03) * np.sign(slope), 0, 1)
    np.testing.assert_allclose(
        interpret.fgsm(score, images, epsilon=0.03), expected, atol=2e-7
    )


def test_pgd_by_loops(images):
    found = interpret.pgd(
        KEY, score, images, epsilon=0.1, steps=3, step_size=0.06, random_start=False
    )
    x = np.asarray(images)
    for _ in range(3):
        slope = np.asarray(jax.grad(lambda x: score(x).sum())(jnp.asarray(x)))
        x = np.clip(x + 0.06 * np.sign(slope), images - 0.1, images + 0.1)
        x = np.clip(x, 0, 1).astype(np.float32)
    np.testing.assert_allclose(found, x, atol=1e-6)


def test_l2_finds_the_best_direction_of_a_linear_loss(images, rng):
    weights = jnp.asarray(rng.standard_normal(images.shape[1:], dtype=np.float32))
    images = 0.4 + 0.2 * images

    def linear(x):
        return (x * weights).sum(axis=(1, 2, 3))

    best = 0.5 * np.linalg.norm(weights)
    for attack, off in ((interpret.pgd, 0.03), (interpret.apgd, 0.003)):
        found = attack(KEY, linear, images, epsilon=0.5, norm="l2", steps=25)
        np.testing.assert_allclose(linear(found) - linear(images), best, rtol=off)


def test_restarts_keep_the_highest_loss(images):
    options = {"epsilon": 0.1, "steps": 1, "step_size": 0.0}
    one = interpret.pgd(KEY, score, images, restarts=1, **options)
    many = interpret.pgd(KEY, score, images, restarts=8, **options)
    drawn = []
    for number in range(8):
        keys = jax.random.split(jax.random.fold_in(KEY, number), len(images))
        noise = [jax.random.uniform(key, images.shape[1:], minval=-1) for key in keys]
        drawn.append(images + 0.1 * jnp.stack(noise))
    best = np.max([score(jnp.clip(x, 0, 1)) for x in drawn], axis=0)
    np.testing.assert_allclose(score(many), best, rtol=1e-5)
    assert (score(many) >= score(one)).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", [interpret.pgd, interpret.apgd])
def test_an_image_with_its_own_key_does_not_know_its_batch(images, attack, norm):
    keys = jax.random.split(KEY, len(images))
    options = {"epsilon": 0.1, "steps": 3, "norm": norm}
    all_at_once = attack(keys, score, images, **options)
    one = attack(keys[2:3], score, images[2:3], **options)
    np.testing.assert_allclose(one[0], all_at_once[2], atol=1e-6)


def apgd_by_loops(images, epsilon, steps):
    """Algorithm 1 for one image, with NumPy; the gradient alone is JAX's."""
    with_slope = jax.jit(jax.value_and_grad(lambda x: score(x[None])[0]))

    def f(x):
        value, slope = with_slope(jnp.asarray(x))
        return float(value), np.asarray(slope)

    def project(x):
        return np.clip(np.clip(x, images - epsilon, images + epsilon), 0, 1)

    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    w = sorted({int(np.ceil(s * steps)) for s in p if s <= 1})
    eta, x, before = 2 * epsilon, images, images
    value, slope = f(x)
    best, best_value, best_slope = x, value, slope
    rises, eta_then, best_then, checked = 0, eta, best_value, 0
    for k in range(steps):
        z = project(x + eta * np.sign(slope))
        a = 1 if k == 0 else 0.75
        x, before = project(x + a * (z - x) + (1 - a) * (x - before)), x
        new, slope = f(x)
        rises += new > value
        value = new
        if value > best_value:
            best, best_value, best_slope = x, value, slope
        if k + 1 in w:
            stuck = rises < 0.75 * (k + 1 - checked)
            same = eta == eta_then and best_value == best_then
            eta_then, best_then, checked, rises = eta, best_value, k + 1, 0
            if stuck or same:
                eta, x, value, slope = eta / 2, best, best_value, best_slope
    return best, best_value


def test_apgd_by_loops(images):
    found = interpret.apgd(
        KEY, score, images, epsilon=0.1, steps=20, random_start=False
    )
    for image, one in zip(np.asarray(images), found, strict=True):
        best, value = apgd_by_loops(image, np.float32(0.1), 20)
        np.testing.assert_allclose(score(one[None])[0], value, rtol=1e-4)
        np.testing.assert_allclose(one, best, atol=1e-4)


def test_apgd_is_as_strong_as_pgd_of_as_many_steps(images):
    strong = score(interpret.apgd(KEY, score, images, epsilon=0.1, steps=20))
    weak = score(interpret.pgd(KEY, score, images, epsilon=0.1, steps=20))
    assert (strong >= weak - 1e-4).all()


def test_dlr_by_hand():
    scores = jnp.array([[3.0, 1, 2, 0], [1, 5, 2, 4]])
    found = interpret.dlr(scores, jnp.array([0, 2]))
    np.testing.assert_allclose(found, [-(3 - 2) / (3 - 1), -(2 - 5) / (5 - 2)])
    np.testing.assert_allclose(
        interpret.dlr(100 * scores, jnp.array([0, 2])), found, rtol=1e-6
    )


def test_robust_accuracy_falls_from_the_accuracy(images):
    labels = logits(images).argmax(axis=-1).at[0].add(1) % 4

    def attack(x, epsilon):
        return interpret.fgsm(
            lambda x: interpret.dlr(logits(x), labels), x, epsilon=epsilon
        )

    epsilons = jnp.array([0, 0.01, 0.5])
    found = interpret.robust_accuracy(logits, attack, images, labels, epsilons)
    assert found[0] == 0.75
    assert found[0] >= found[1] >= found[2]
    assert found[2] < 0.75


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": -0.1}, "epsilon must be at least 0"),
        ({"epsilon": 0.1, "norm": "l1"}, "norm must be one of linf, l2"),
        ({"epsilon": 0.1, "steps": 0}, "steps must be above 0"),
    ],
)
@pytest.mark.parametrize("attack", [interpret.pgd, interpret.apgd])
def test_refuses(images, attack, options, message):
    with pytest.raises(ValueError, match=message):
        attack(KEY, score, images, **options)
