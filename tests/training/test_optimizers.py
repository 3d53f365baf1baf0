import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax.errors import UsageError
from cnnjax.training import optimizers

OPTIMIZERS = ["sgd", "adamw", "lamb", "muon"]


def tree(rng):
    shapes = {"kernel": (3, 2, 4, 5), "matrix": (4, 3), "scale": (5,), "skip": ()}
    return {k: jnp.float32(rng.standard_normal(s)) for k, s in shapes.items()}


def stepped(optimizer, params, grads, *, steps=1):
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = jax.jit(optimizer.update)(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_reduces_a_quadratic(rng, name):
    params, goal = tree(rng), tree(rng)
    schedule = optimizers.schedule("cosine", learning_rate=0.2, steps=200)
    optimizer = optimizers.optimizer(name, schedule)

    def loss(params):
        return sum(
            jnp.square(p - g).sum()
            for p, g in zip(jax.tree.leaves(params), jax.tree.leaves(goal), strict=True)
        )

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    before, state = loss(params), optimizer.init(params)
    for _ in range(200):
        params, state = step(params, state)
    assert loss(params) < 0.01 * before


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_kernels_and_matrices_decay(rng, name):
    params = tree(rng)
    nothing = jax.tree.map(jnp.zeros_like, params)
    optimizer = optimizers.optimizer(name, 0.1, weight_decay=0.5)
    after = stepped(optimizer, params, nothing, steps=2)
    for key in ("scale", "skip"):
        np.testing.assert_array_equal(after[key], params[key])
    for key in ("kernel", "matrix"):
        assert jnp.linalg.norm(after[key]) < 0.999 * jnp.linalg.norm(params[key])


def test_sgd_is_nesterov_with_the_decay_in_the_gradient(rng):
    params, grads = tree(rng), tree(rng)
    optimizer = optimizers.optimizer("sgd", 0.1, momentum=0.8, weight_decay=0.01)
    after = stepped(optimizer, params, grads, steps=3)["kernel"]
    w, velocity = params["kernel"], 0.0
    for _ in range(3):
        g = grads["kernel"] + 0.01 * w
        velocity = 0.8 * velocity + g
        w = w - 0.1 * (0.8 * velocity + g)
    np.testing.assert_allclose(after, w, rtol=1e-5)


def test_adamw_is_adam_with_the_decay_apart(rng):
    params, grads = tree(rng), tree(rng)
    optimizer = optimizers.optimizer("adamw", 0.1, momentum=0.5, weight_decay=0.01)
    after = stepped(optimizer, params, grads, steps=2)["kernel"]
    w, g, m, v = params["kernel"], grads["kernel"], 0.0, 0.0
    for t in (1, 2):
        m, v = 0.5 * m + 0.5 * g, 0.999 * v + 0.001 * g**2
        update = (m / (1 - 0.5**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w = w - 0.1 * (update + 0.01 * w)
    np.testing.assert_allclose(after, w, rtol=1e-4, atol=1e-5)


def test_lamb_steps_by_the_size_of_each_matrix(rng):
    params, grads = tree(rng), tree(rng)
    after = stepped(optimizers.optimizer("lamb", 0.1), params, grads)
    for key in ("kernel", "matrix"):
        moved = jnp.linalg.norm(after[key] - params[key])
        np.testing.assert_allclose(moved, 0.1 * jnp.linalg.norm(params[key]), rtol=1e-4)
    # Norms and biases take Adam's first step: the sign of the gradient.
    np.testing.assert_allclose(
        after["scale"], params["scale"] - 0.1 * jnp.sign(grads["scale"]), rtol=1e-3
    )


def test_muon_steps_along_an_orthogonal_matrix(rng):
    params, grads = tree(rng), tree(rng)
    grads["kernel"] = grads["kernel"] + 5  # nearly of rank one
    after = stepped(optimizers.optimizer("muon", 0.1), params, grads)
    step = (params["kernel"] - after["kernel"]).reshape(24, 5)
    singular = jnp.linalg.svd(step, compute_uv=False)
    assert singular.max() < 2 * singular.min()
    # The size of Adam's updates: 0.2 a number times the learning rate.
    np.testing.assert_allclose(jnp.sqrt(jnp.square(step).mean()), 0.02, rtol=0.3)
    assert (
        jnp.sign(after["scale"] - params["scale"]) == -jnp.sign(grads["scale"])
    ).all()


def test_clips_by_the_global_norm(rng):
    params = tree(rng)
    grads = jax.tree.map(lambda g: 100 * g, tree(rng))
    optimizer = optimizers.optimizer("sgd", 1.0, momentum=0.0, clip_norm=0.5)
    moved = jax.tree.map(jnp.subtract, stepped(optimizer, params, grads), params)
    np.testing.assert_allclose(optax.tree.norm(moved), 0.5, rtol=1e-4)
    small = jax.tree.map(lambda g: 1e-4 * g, grads)
    expected = jax.tree.map(lambda p, g: p - g, params, small)
    after = stepped(optimizer, params, small)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), after, expected
    )


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("cosine", {0: 0, 5: 0.5, 10: 1, 55: 0.5, 100: 0}),
        ("linear", {0: 0, 5: 0.5, 10: 1, 55: 0.5, 100: 0}),
        ("step", {0: 0, 10: 1, 49: 1, 51: 0.1, 74: 0.1, 76: 0.01, 99: 0.01}),
        ("constant", {0: 0, 5: 0.5, 10: 1, 55: 1, 99: 1}),
    ],
)
def test_schedule_passes_its_corners(name, rates):
    schedule = optimizers.schedule(name, learning_rate=2.0, steps=100, warmup_steps=10)
    for step, rate in rates.items():
        np.testing.assert_allclose(schedule(step), 2 * rate, atol=1e-6, err_msg=step)


@pytest.mark.parametrize("name", ["cosine", "linear", "step", "constant"])
def test_schedule_without_warm_up_starts_at_its_peak(name):
    schedule = optimizers.schedule(name, learning_rate=0.3, steps=10)
    np.testing.assert_allclose(schedule(0), 0.3, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cosin"}, "schedule must be one of cosine, .* constant, got 'cosin'"),
        ({"warmup_steps": 10}, "warm-up must be shorter .* got 10 of 10 steps"),
        ({"steps": 0}, "got 0 of 0 steps"),
    ],
)
def test_schedule_refuses(options, message):
    options = {"name": "cosine", "learning_rate": 0.1, "steps": 10} | options
    with pytest.raises(UsageError, match=message):
        optimizers.schedule(**options)


def test_refuses_an_optimizer_that_there_is_not():
    known = ", ".join(optimizers.OPTIMIZERS)
    message = f"optimizer must be one of {known}, got 'adam'"
    with pytest.raises(UsageError, match=message):
        optimizers.optimizer("adam", 0.1)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_rates_may_be_traced(rng, name, schedule):
    """Several learning rates and weight decays at once are each by itself."""
    params, grads = tree(rng), tree(rng)

    def after(learning_rate, weight_decay):
        rates = optimizers.schedule(
            schedule, learning_rate=learning_rate, steps=8, warmup_steps=2
        )
        rule = optimizers.optimizer(name, rates, weight_decay=weight_decay)
        trained, state = params, rule.init(params)
        for _ in range(3):
            updates, state = rule.update(grads, state, trained)
            trained = optax.apply_updates(trained, updates)
        return trained

    pairs = jnp.array([0.1, 0.3]), jnp.array([0.0, 0.2])
    together = jax.jit(jax.vmap(after))(*pairs)
    for i in range(2):
        alone = jax.jit(after)(*(float(x[i]) for x in pairs))
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=2e-4, atol=2e-5),
            together,
            alone,
        )


def test_random_keys_of_a_state_are_plain_numbers(rng, monkeypatch):
    params, grads = tree(rng), tree(rng)
    noisy = functools.partial(
        optax.noisy_sgd, eta=0.01, gamma=0.55, key=jax.random.key(3)
    )
    expected = stepped(noisy(0.1), params, grads, steps=3)
    monkeypatch.setitem(optimizers.OPTIMIZERS, "noisy", lambda rate, *rest: noisy(rate))
    optimizer = optimizers.optimizer("noisy", 0.1, clip_norm=1e9)
    state = optimizer.init(params)
    assert all(np.issubdtype(x.dtype, np.number) for x in jax.tree.leaves(state))
    got = stepped(optimizer, params, grads, steps=3)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
