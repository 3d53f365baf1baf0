"""RetinaNet and its pyramid: shapes, what heads share, and torchvision's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UsageError
from cnnjax.models import pretrained
from cnnjax.models.fpn import FPN
from cnnjax.models.retinanet import RetinaNet

TINY = {"width": 0.05, "classes": 4, "stem": "small"}


def _shapes(model, size, **options):
    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    made = jax.eval_shape(model.init, jax.random.key(0), images)
    return made, jax.eval_shape(lambda v, x: model.apply(v, x), made, images)


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50", "mobilenet"])
@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_levels_have_the_strides_that_it_says(encoder, stem):
    model = RetinaNet(classes=3, encoder=encoder, stem=stem, width=0.1)
    side = 2 * model.stride
    _, (logits, features) = _shapes(model, (side - 1, 2 * side))
    levels = model.levels(features)
    for stride, level in zip(model.strides, levels, strict=True):
        assert level.shape[1:3] == (-(-side // stride), -(-2 * side // stride))
    anchors = 9 * sum(x.shape[1] * x.shape[2] for x in levels)
    assert logits.shape == (2, anchors, 3)
    assert features["deltas"].shape == (2, anchors, 4)
    assert logits.dtype == jnp.float32


def test_rows_lie_level_by_level_and_cell_by_cell():
    """Row ((y * columns) + x) * 9 + a of a level is anchor a of the cell (y, x)."""
    model = RetinaNet(**TINY)
    images = jax.random.normal(jax.random.key(0), (1, 32, 64, 3))
    variables = jax.jit(model.init)(jax.random.key(1), images)
    logits, features = jax.jit(model.apply)(variables, images)
    changed = {
        "perturbations": {"p4": jnp.zeros_like(features["p4"]).at[0, 3, 5].set(9)}
    }
    moved = jax.jit(model.apply)({**variables, **changed}, images)[0] != logits
    p3, p4 = (features[name].shape[1:3] for name in ("p3", "p4"))
    start, stop = (9 * n for n in (np.prod(p3), np.prod(p3) + np.prod(p4)))
    assert not moved[0, :start].any()
    assert not moved[0, stop:].any()
    cells = np.asarray(moved[0, start:stop]).reshape(*p4, 9, 4).any(axis=(2, 3))
    # Five 3x3 convolutions reach five cells far.
    there = np.zeros(p4, bool)
    there[0 : 3 + 6, 0 : 5 + 6] = True
    assert (cells == there[: p4[0], : p4[1]]).mean() > 0.9
    assert not cells[~there].any()


def test_heads_begin_with_the_prior():
    model = RetinaNet(**TINY)
    images = jnp.zeros((1, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    logits, features = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(jax.nn.sigmoid(logits), 0.01, atol=1e-3)
    np.testing.assert_allclose(features["deltas"], 0, atol=1e-3)


def test_heads_are_shared_by_the_levels():
    small, large = (_shapes(RetinaNet(**TINY), (s, s))[0] for s in (32, 64))
    assert jax.tree.map(jnp.shape, small) == jax.tree.map(jnp.shape, large)


def test_a_frozen_norm_stays_in_training():
    model = RetinaNet(**TINY, norm="frozen")
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(1), images)
    train = jax.jit(
        lambda v: model.apply(v, images, train=True, mutable=["batch_stats"])
    )
    (logits, _), changed = train(variables)
    np.testing.assert_allclose(logits, jax.jit(model.apply)(variables, images)[0])
    same = jax.tree.map(
        jnp.array_equal, changed["batch_stats"], variables["batch_stats"]
    )
    assert all(jax.tree.leaves(same))


def test_refuses_what_does_not_exist():
    with pytest.raises(UsageError, match="encoder must be one of resnet"):
        RetinaNet(classes=2, encoder="lenet")
    with pytest.raises(UsageError, match="extra must be one of none, pool"):
        FPN(8, extra="two")


def test_is_torchvisions_with_the_same_weights(rng):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torchvision = pytest.importorskip("torchvision", reason="no torchvision")
    torch.manual_seed(0)
    theirs = torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=7
    ).eval()
    state = theirs.state_dict()
    for key, value in state.items():
        if key.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
        if key.startswith("head") and value.ndim == 4:
            value.normal_(0, 0.03)  # else the heads see next to nothing
    images = rng.standard_normal((2, 128, 192, 3), dtype=np.float32)
    with torch.no_grad():
        maps = theirs.backbone(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        expected = theirs.head([*maps.values()])
    model = RetinaNet(classes=7, encoder="resnet50", norm="frozen")
    made = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 128, 128, 3)))
    arrays = {key: value.numpy() for key, value in state.items()}
    found = pretrained.convert(arrays, model, made)
    assert (found.missing, found.surplus, found.misshapen) == ((), (), {})
    logits, features = jax.jit(model.apply)(found.variables, images)
    pairs = [
        (logits, expected["cls_logits"]),
        (features["deltas"], expected["bbox_regression"]),
    ]
    pairs += [
        (x, y.permute(0, 2, 3, 1))
        for x, y in zip(model.levels(features), maps.values(), strict=True)
    ]
    for ours, other in pairs:
        other = other.numpy()
        np.testing.assert_allclose(ours, other, rtol=0, atol=1e-4 * abs(other).max())
