import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import interpret, ops
from tests.interpret.networks import feature

WEIGHTS = interpret.Weights({"deep": 1.0}, {"maps": 100.0, "deep": 10.0})


def features(images):
    maps = feature(images)
    return {"maps": maps, "deep": ops.avg_pool(maps, 2)}


@pytest.fixture
def pictures(rng):
    content = rng.random((1, 8, 10, 3), dtype=np.float32)
    style = rng.random((1, 12, 6, 3), dtype=np.float32) ** 3
    return jnp.asarray(content), jnp.asarray(style)


def test_losses_by_loops(pictures):
    content, style = pictures
    found = interpret.style_objective(features, content, style, WEIGHTS)(0.5 * content)
    total = 0.0
    for name, weight in WEIGHTS.style.items():
        x, s = features(0.5 * content)[name][0], features(style)[name][0]
        positions, channels = x.shape[0] * x.shape[1], x.shape[2]
        ratio = positions / (s.shape[0] * s.shape[1])
        for i in range(channels):
            for j in range(channels):
                ours = float((x[..., i] * x[..., j]).sum())
                theirs = float((s[..., i] * s[..., j]).sum()) * ratio
                total += weight * (ours - theirs) ** 2 / (2 * positions * channels) ** 2
    np.testing.assert_allclose(found["style"][0], total, rtol=1e-4)
    difference = features(0.5 * content)["deep"] - features(content)["deep"]
    np.testing.assert_allclose(
        found["content"][0], 0.5 * np.square(difference).sum(), rtol=1e-4
    )
    np.testing.assert_allclose(
        found["total"], found["style"] + found["content"], rtol=1e-6
    )


def test_maps_may_be_large():
    maps = jnp.full((1, 300, 300, 64), 300.0)
    found = interpret.style_loss(maps, jnp.zeros((1, 64, 64)))
    np.testing.assert_allclose(found, 300.0**4 / 4, rtol=1e-4)


def test_nothing_is_lost_by_the_image_itself(pictures):
    content, _ = pictures
    found = interpret.style_objective(features, content, content, WEIGHTS)(content)
    assert found["total"][0] < 1e-6


def test_a_gram_matrix_does_not_know_places(pictures, rng):
    maps = features(pictures[0])["maps"]
    moved = maps.reshape(1, 80, 5)[:, rng.permutation(80)].reshape(maps.shape)
    gram = interpret.gram_matrix(maps)
    np.testing.assert_allclose(interpret.gram_matrix(moved), gram, rtol=1e-5)
    np.testing.assert_allclose(gram, gram.swapaxes(1, 2))


@pytest.mark.parametrize(("optimizer", "steps"), [("lbfgs", 15), ("adam", 60)])
def test_style_falls_and_content_stays(pictures, optimizer, steps):
    content, style = pictures
    objective = interpret.style_objective(features, content, style, WEIGHTS)
    seen = []
    found = interpret.style_transfer(
        objective,
        content,
        steps=steps,
        optimizer=optimizer,
        report=lambda *step: seen.append(step),
    )
    assert found.min() >= 0
    assert found.max() <= 1
    assert [step for step, _, _ in seen] == list(range(1, steps + 1))
    np.testing.assert_array_equal(seen[-1][1], found)
    np.testing.assert_allclose(
        seen[0][2]["style"], objective(content)["style"], rtol=1e-4
    )
    assert objective(found)["style"] < 0.2 * objective(content)["style"]
    assert objective(found)["total"] < 0.5 * objective(content)["total"]


def test_colors_of_the_content_and_luminance_of_the_picture(rng):
    picture, content = (0.4 + 0.2 * rng.random((2, 1, 4, 4, 3))).astype(np.float32)
    found = np.asarray(
        interpret.keep_colors(jnp.asarray(picture), jnp.asarray(content))
    )
    yiq = np.array(
        [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]
    ).T
    np.testing.assert_allclose(
        (found @ yiq)[..., 0], (picture @ yiq)[..., 0], rtol=1e-5
    )
    np.testing.assert_allclose(
        (found @ yiq)[..., 1:], (content @ yiq)[..., 1:], atol=1e-6
    )


def test_refuses(pictures):
    content, style = pictures
    weights = interpret.Weights({"none": 1.0}, {})
    with pytest.raises(ValueError, match="no feature none, only maps, deep"):
        interpret.style_objective(features, content, style, weights)
    objective = interpret.style_objective(features, content, style, WEIGHTS)
    with pytest.raises(ValueError, match="one of lbfgs, adam, got 'sgd'"):
        interpret.style_transfer(objective, content, optimizer="sgd")
    with pytest.raises(ValueError, match="steps must be above 0"):
        interpret.style_transfer(objective, content, steps=0)
