import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax.training import loop, optimizers, state


def linear_loss(params, batch_stats, batch, keys):
    del keys
    error = batch["x"] @ params["w"] - batch["y"]
    return error**2, (batch_stats, {"error": jnp.abs(error).mean()})


def no_augmentation(keys, batch):
    del keys
    return batch


def batch_of(rng, n=8):
    x = rng.standard_normal((n, 3)).astype(np.float32)
    return {"x": x, "y": x.sum(axis=1), "index": np.arange(n, dtype=np.int32)}


def begun(optimizer, **options):
    return state.create({"params": {"w": jnp.ones(3) / 2}}, optimizer, **options)


def made(optimizer, loss=linear_loss, **options):
    defaults = {"schedule": lambda step: 0.1, "seed": 0, "augment": no_augmentation}
    options = {**defaults, **options}
    return jax.jit(loop.make_step(loss, optimizer, **options))


def test_step_descends_the_mean_gradient(rng):
    batch = batch_of(rng)
    after, metrics = made(optax.sgd(0.1))(begun(optax.sgd(0.1)), batch)
    error = batch["x"] @ np.full(3, 0.5, np.float32) - batch["y"]
    gradient = 2 * (error[:, None] * batch["x"]).mean(axis=0)
    np.testing.assert_allclose(after.params["w"], 0.5 - 0.1 * gradient, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], (error**2).mean(), rtol=1e-5)
    norm = np.linalg.norm(gradient)
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-5)
    assert int(after.step) == 1


@pytest.mark.parametrize("name", optimizers.SCHEDULES)
def test_metrics_have_the_learning_rate_of_the_step(rng, name):
    schedule = optimizers.schedule(name, learning_rate=0.3, steps=6, warmup_steps=2)
    step = made(optax.sgd(schedule), schedule=schedule)
    now, batch = begun(optax.sgd(schedule)), batch_of(rng)
    rates = []
    for _ in range(6):
        now, metrics = step(now, batch)
        rates.append(metrics["learning_rate"])
    expected = [schedule(number) for number in range(6)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(rng, parts):
    batch, optimizer = batch_of(rng), optax.sgd(0.1)
    whole, _ = made(optimizer)(begun(optimizer), batch)
    cut, _ = made(optimizer, accumulate=parts)(begun(optimizer), batch)
    np.testing.assert_allclose(whole.params["w"], cut.params["w"], rtol=1e-5)


def test_average_starts_soft_and_then_decays(rng):
    optimizer = optax.sgd(0.1)
    before = begun(optimizer, ema=True)
    step = made(optimizer, ema=0.15)
    first, _ = step(before, batch_of(rng))
    second, _ = step(first, batch_of(rng))
    expected = 0.1 * before.params["w"] + 0.9 * first.params["w"]
    np.testing.assert_allclose(first.ema["params"]["w"], expected, rtol=1e-6)
    expected = 0.15 * expected + 0.85 * second.params["w"]
    np.testing.assert_allclose(second.ema["params"]["w"], expected, rtol=1e-6)


def test_state_freezes_at_a_loss_that_is_not_finite(rng):
    optimizer = optax.sgd(0.1, momentum=0.9)
    step, good = made(optimizer), batch_of(rng)
    bad = {**good, "y": np.full(8, np.inf, np.float32)}
    before, _ = step(begun(optimizer), good)
    after, metrics = step(before, bad)
    assert not metrics["finite"]
    later, metrics = step(after, good)
    assert not metrics["finite"]
    before = before.replace(finite=later.finite)
    jax.tree.map(np.testing.assert_array_equal, before, later)


def test_state_freezes_where_an_update_would_not_be_finite(rng):
    optimizer = optax.sgd(1e38)
    before = begun(optimizer)
    after, metrics = made(optimizer)(before, batch_of(rng))
    assert np.isfinite(metrics["loss"])
    assert not metrics["finite"]
    np.testing.assert_array_equal(after.params["w"], before.params["w"])


def test_keys_depend_on_seed_step_and_index_but_not_on_the_place():
    def bits(seed, step, index):
        keys = loop.example_keys(seed, jnp.int32(step), jnp.asarray(index))
        return jax.random.key_data(keys)

    np.testing.assert_array_equal(bits(0, 0, [5, 7]), bits(0, 0, [7, 5])[::-1])
    drawn = [bits(0, 0, [5]), bits(1, 0, [5]), bits(0, 1, [5]), bits(0, 0, [6])]
    assert len({x.tobytes() for x in map(np.asarray, drawn)}) == 4


def test_augmentation_and_loss_draw_from_different_keys(rng):
    seen = {}

    def augment(keys, batch):
        seen["augment"] = keys
        return batch

    def loss(params, batch_stats, batch, keys):
        seen["loss"] = keys
        return linear_loss(params, batch_stats, batch, keys)

    with jax.disable_jit():
        made(optax.sgd(0.1), loss, augment=augment)(
            begun(optax.sgd(0.1)), batch_of(rng)
        )
    first, second = (np.asarray(jax.random.key_data(k)) for k in seen.values())
    assert not (first == second).all(axis=1).any()


def test_fit_steps_from_start_and_calls_the_hook(rng):
    optimizer, seen = optax.sgd(0.01), []
    batch = batch_of(rng)
    final = loop.fit(
        begun(optimizer),
        iter([batch] * 3),
        made(optimizer),
        start=2,
        steps=5,
        hooks=[lambda number, state, metrics: seen.append(number)],
    )
    assert seen == [3, 4, 5]
    assert int(final.step) == 3
