import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection

MATCHED = np.array([-1, 3, -2, 0, -1, 7, -1, -1, 3, -2, -1, -1])  # 4 objects, 6 of none


def _draws(matched, count, share, keys=400):
    draw = functools.partial(
        detection.sample_matched, count=count, positive_share=share
    )
    keys = jax.random.split(jax.random.key(0), keys)
    return jax.jit(jax.vmap(draw, (0, None)))(keys, jnp.asarray(matched))


@pytest.mark.parametrize(
    ("count", "share", "positive", "negative"),
    [
        (4, 0.5, 2, 2),  # enough of both
        (8, 0.25, 2, 6),  # not all objects fit
        (9, 1.0, 4, 5),  # background has the places that objects leave
        (6, 0.0, 0, 6),
        (20, 0.5, 4, 6),  # more than there are
    ],
)
def test_shares_are_kept_and_none_is_drawn_twice(count, share, positive, negative):
    indices, drawn = _draws(MATCHED, count, share)
    for one, there in zip(np.asarray(indices), np.asarray(drawn), strict=True):
        found = MATCHED[one[there]]
        assert ((found >= 0).sum(), (found == -1).sum()) == (positive, negative)
        assert (found[:positive] >= 0).all()
        assert len(set(one[there])) == positive + negative
        assert (one[~there] == 0).all()


def test_all_of_a_kind_are_drawn_alike():
    indices, drawn = _draws(MATCHED, 4, 0.5, keys=4000)
    counts = np.bincount(np.asarray(indices)[np.asarray(drawn)], minlength=12)
    np.testing.assert_allclose(counts[MATCHED >= 0] / 4000, 2 / 4, atol=0.04)
    np.testing.assert_allclose(counts[MATCHED == -1] / 4000, 2 / 6, atol=0.04)
    assert (counts[MATCHED == -2] == 0).all()


@pytest.mark.parametrize("matched", [[-1, -1, -2], [5, 5], []])
def test_one_kind_alone_or_nothing_does(matched):
    indices, drawn = _draws(np.array(matched, int), 2, 0.5, keys=1)
    kinds = [k for k in matched if k != -2]
    wanted = min(2, len(kinds)) if -1 in matched else min(1, len(kinds))
    assert drawn.sum() == wanted
    assert indices.shape == (1, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0, "positive_share": 0.5}, "count must be a positive integer"),
        ({"count": 2, "positive_share": 1.5}, r"positive_share must be in \[0, 1\]"),
    ],
)
def test_refuses_what_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        detection.sample_matched(jax.random.key(0), MATCHED, **options)
    with pytest.raises(ValueError, match="matched must have the shape"):
        detection.sample_matched(
            jax.random.key(0), MATCHED[None], count=1, positive_share=0
        )
