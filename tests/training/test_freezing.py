"""Frozen parameters stay as they are, and cost neither gradients nor moments."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax.errors import UsageError
from cnnjax.models import MODELS, weights
from cnnjax.training import freezing, loop, optimizers, state
from experiments import classification, network, segmentation

PARAMS = {
    "stem": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)},
    "head": {"kernel": jnp.full((3, 2), 0.5)},
}


@pytest.mark.parametrize("pattern", ["", "stem", "kernel", "stem/bias|head"])
def test_parts_make_the_whole_again(pattern):
    trained, frozen = freezing.split(PARAMS, pattern)
    whole = freezing.joined(trained, frozen)
    assert jax.tree.structure(whole) == jax.tree.structure(PARAMS)
    jax.tree.map(np.testing.assert_array_equal, whole, PARAMS)
    count = len(jax.tree.leaves(trained)) + len(jax.tree.leaves(frozen))
    assert count == len(jax.tree.leaves(PARAMS))


def stepped(rule, freeze, steps=3):
    """The state after some steps, and the program of a step."""

    def loss(params, batch_stats, batch, keys):
        hidden = jnp.tanh(batch["image"] @ params["stem"]["kernel"])
        logits = (hidden + params["stem"]["bias"]) @ params["head"]["kernel"]
        return jnp.square(logits - 1).mean(-1), (batch_stats, {})

    rule = freezing.of_trained(rule, freeze)
    step = jax.jit(
        loop.make_step(
            loss,
            rule,
            schedule=lambda _: 0.1,
            seed=0,
            augment=lambda keys, batch: batch,
            freeze=freeze,
        )
    )
    images = jnp.arange(8.0).reshape(4, 2) / 8
    batch = {"image": images, "index": jnp.arange(4)}
    now = state.create({"params": PARAMS}, rule)
    for _ in range(steps):
        now, _ = step(now, batch)
    return now


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_others_learn_as_if_those_were_constants(name):
    rule = {"sgd": optax.sgd(0.1, 0.9), "adamw": optax.adamw(0.1)}[name]
    frozen = stepped(rule, "stem")
    for leaf in ("kernel", "bias"):
        np.testing.assert_array_equal(frozen.params["stem"][leaf], PARAMS["stem"][leaf])
    assert not np.array_equal(frozen.params["head"]["kernel"], 0.5 * np.ones((3, 2)))
    held = {"stem": "held", "head": "free"}
    masked = optax.multi_transform({"free": rule, "held": optax.set_to_zero()}, held)
    np.testing.assert_allclose(
        frozen.params["head"]["kernel"],
        stepped(masked, "").params["head"]["kernel"],
        rtol=1e-6,
    )
    moments = [x.shape for x in jax.tree.leaves(frozen.opt_state) if x.ndim]
    assert set(moments) == {(3, 2)}


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (
            "stm",
            "--freeze=stm is found in none of the parameters' names, .* head, stem",
        ),
        (".", "is found in all of the parameters' names"),
        ("(", r"--freeze=\( is no regular expression"),
    ],
)
def test_patterns_that_mean_nothing_are_refused(pattern, said):
    with pytest.raises(UsageError, match=said):
        freezing.check(pattern, PARAMS)


def test_a_head_has_a_learning_rate_of_its_own():
    gradient = jax.tree.map(jnp.ones_like, PARAMS)
    for name in optimizers.OPTIMIZERS:
        rules = [
            optimizers.optimizer(name, 0.1),
            optimizers.with_faster(optimizers.optimizer(name, 0.1), {"head"}, 5.0),
        ]
        plain, faster = (
            rule.update(gradient, rule.init(PARAMS), PARAMS)[0] for rule in rules
        )
        np.testing.assert_array_equal(faster["stem"]["kernel"], plain["stem"]["kernel"])
        np.testing.assert_allclose(
            faster["head"]["kernel"], 5 * plain["head"]["kernel"], rtol=1e-6
        )
    config = segmentation.Config(model="fcn8s", width=0.02)
    model = MODELS["fcn8s"](classes=3, width=0.02)
    images = jnp.zeros((1, 32, 32, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    wanted = {"scores", "scores3", "scores4", "enlarge", "enlarge3", "enlarge4"}
    assert network.head(config, shapes) == wanted


def test_the_head_alone_moves_where_all_else_stands_still(tmp_path):
    options = {"width": 0.5, "epochs": 0.05, "ema": 0.0, "tune_cpu": False}
    still = {"learning_rate": 1e-30, "weight_decay": 0.0}
    first = classification.Config(**options, **still)
    classification.run(first, tmp_path / "first")
    second = dataclasses.replace(first, head_learning_rate=0.1)
    classification.run(second, tmp_path / "second")
    before, after = (
        weights.load(tmp_path / x / "weights.safetensors")["params"]
        for x in ("first", "second")
    )
    for name in before:
        moved = not np.array_equal(
            jax.tree.leaves(before[name])[0], jax.tree.leaves(after[name])[0]
        )
        assert moved == (name == "head")


def test_a_run_leaves_frozen_layers_and_their_statistics_alone(tmp_path):
    config = classification.Config(norm="batch", width=0.5, epochs=0.05, tune_cpu=False)
    classification.run(config, tmp_path / "first")
    start = dataclasses.replace(
        config, init_from=str(tmp_path / "first"), freeze="^c[13]/", seed=1
    )
    classification.run(start, tmp_path / "second")
    first, second = (
        weights.flatten(weights.load(tmp_path / x / "weights.safetensors"))
        for x in ("first", "second")
    )
    for name, x in first.items():
        frozen = name.split("/")[1] in ("c1", "c3")
        alike = np.array_equal(x, second[name])
        assert alike == (frozen or name.startswith("input/")), name
    with pytest.raises(UsageError, match="--freeze=layer1 is found in none"):
        classification.run(
            dataclasses.replace(start, freeze="layer1"), tmp_path / "third"
        )
