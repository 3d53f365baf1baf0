"""What anchors and regions learn: targets by hand, and losses that fall to nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import detection
from experiments.detection.regions import losses, options
from experiments.detection.regions.anchors import Anchors
from experiments.detection.regions.find import BOX_WEIGHTS
from experiments.detection.regions.targets import Truth, targets

TRUTH = Truth(
    jnp.array([[2.0, 2, 14, 14], [20, 4, 30, 16], [40, 40, 60, 60], [0, 0, 0, 0]]),
    jnp.array([1, 0, 2, -1]),
    jnp.array([False, False, True, False]),
)
BOXES = jnp.array(
    [
        [2.0, 2, 14, 15],  # of the first object
        [3, 0, 18, 14],  # a bit of it
        [50, 0, 60, 9],  # of none
        [40, 41, 60, 60],  # of the one to be ignored
        [22, 4, 31, 16],  # of the second
    ]
)
ANCHORS = Anchors(BOXES, (5,), 1)


def test_boxes_are_to_say_what_they_show():
    found = targets(TRUTH, BOXES, positive=0.7, negative=0.3)
    assert found.matched.tolist() == [0, -2, -1, -2, 1]
    assert found.label.tolist() == [1, 0, 0, 0, 0]
    np.testing.assert_array_equal(found.boxes[0], TRUTH.boxes[0])
    np.testing.assert_array_equal(found.boxes[2], BOXES[2])


def _right(classes=3):
    """Logits and deltas that say of every box what is true."""
    found = targets(TRUTH, BOXES, positive=0.5, negative=0.4)
    yes = jax.nn.one_hot(found.label, classes) * found.positive[:, None]
    deltas = detection.encode_boxes(found.boxes, BOXES)
    return 40 * yes - 20, deltas


@pytest.mark.parametrize("box_loss", options.BOX_LOSSES)
def test_the_truth_about_anchors_loses_nothing(box_loss):
    logits, deltas = _right()
    loss = jax.jit(losses.of_anchors, static_argnames="box_loss")
    assert loss(TRUTH, ANCHORS, logits, deltas, box_loss=box_loss) < 1e-5
    wrong = logits.at[2, 1].set(20)  # background as an object
    assert loss(TRUTH, ANCHORS, wrong, deltas, box_loss=box_loss) > 1
    moved = deltas.at[4, 0].add(1)
    assert loss(TRUTH, ANCHORS, logits, moved, box_loss=box_loss) > 0.2
    # What is to be ignored may say anything, and boxes of background may lie anywhere.
    free = logits.at[3].set(20), deltas.at[2:4].set(3)
    assert loss(TRUTH, ANCHORS, *free, box_loss=box_loss) < 1e-5


def test_without_objects_there_is_a_loss_of_background():
    none = TRUTH._replace(label=jnp.full(4, -1))
    loss = losses.of_anchors(none, ANCHORS, jnp.zeros((5, 3)), jnp.zeros((5, 4)))
    # 15 logits of p = 1/2, weighted by 1 - 1/4.
    assert loss == pytest.approx(15 * 0.75 * 0.25 * np.log(2), rel=1e-5)


def test_the_truth_about_proposals_loses_nothing():
    logits, deltas = _right()
    right = jnp.where(logits.max(axis=1) > 0, 20.0, -20.0)
    key = jax.random.key(0)
    assert losses.of_proposals(key, TRUTH, ANCHORS, right, deltas) < 1e-5
    assert losses.of_proposals(key, TRUTH, ANCHORS, -right, deltas) > 1


def test_regions_learn_from_objects_and_proposals():
    key, there = jax.random.key(0), jnp.array([True, True, True, True, False])
    wanted, drawn, regions = losses.sampled_regions(
        key, TRUTH, BOXES, there, count=8, positive_share=0.5
    )
    # Of nine rows two objects and two proposals show objects, and one proposal shows
    # none; one object is to be ignored, as is its proposal.
    assert drawn.sum() == 5
    assert wanted.positive[drawn].sum() == 4
    label = jnp.where(wanted.positive, wanted.label + 1, 0)
    logits = 40 * jax.nn.one_hot(label, 4) - 20
    own = detection.encode_boxes(wanted.boxes, regions, weights=BOX_WEIGHTS)
    deltas = jnp.zeros((8, 4, 4)).at[jnp.arange(8), label].set(own)
    assert losses.of_regions(wanted, drawn, regions, logits, deltas) < 1e-5
    assert losses.of_regions(wanted, drawn, regions, -logits, deltas) > 1
    # Deltas of other classes than the region's own have no loss.
    others = deltas + (1 - jax.nn.one_hot(label, 4))[..., None]
    assert losses.of_regions(wanted, drawn, regions, logits, others) < 1e-5
