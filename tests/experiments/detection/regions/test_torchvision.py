"""torchvision's detectors find in three pictures what ours find with their weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.models import pretrained
from cnnjax.models.faster_rcnn import FasterRCNN
from cnnjax.models.retinanet import RetinaNet
from experiments.detection.regions import find

torch = pytest.importorskip("torch", reason="torch is not installed")
torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")

SIZES = (96, 144), (128, 100), (80, 80)
# The size of what the last layers give, for inputs of size 1.
LAST = {"cls_": 1.5, "bbox_": 0.2}
FAMILIES = {
    "retinanet_resnet50_fpn": (RetinaNet, 6, find.find_by_anchors),
    "fasterrcnn_resnet50_fpn": (FasterRCNN, 7, find.find_by_proposals),
}


def _theirs(name, classes, pictures):
    """A detector with random weights that have all scores and sizes differ."""
    torch.manual_seed(0)
    most = {"retinanet_resnet50_fpn": {"detections_per_img": 100}}
    detector = getattr(torchvision.models.detection, name)(
        weights=None,
        weights_backbone=None,
        num_classes=classes,
        min_size=128,
        max_size=192,
        **most.get(name, {}),
    ).eval()
    state = detector.state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        if key.startswith("backbone"):
            continue
        if value.ndim == 1:
            value.zero_()  # biases, that of the prior among them
        else:
            gain = next((x for word, x in LAST.items() if word in key), 2**0.5)
            value.normal_(0, gain / value[0].numel() ** 0.5)
    maps = detector.backbone(detector.transform(pictures)[0].tensors)
    for i, x in enumerate([*maps.values()]):
        if (key := f"backbone.fpn.layer_blocks.{i}.0.weight") in state:
            state[key] /= x.std()
    return detector


@pytest.mark.parametrize("name", FAMILIES)
def test_finds_what_torchvision_finds(rng, name):
    family, classes, find_all = FAMILIES[name]
    pictures = [
        torch.from_numpy(rng.random((3, *size), dtype=np.float32)) for size in SIZES
    ]
    with torch.no_grad():
        detector = _theirs(name, classes, pictures)
        batch, _ = detector.transform(pictures)
        detector.transform.postprocess = lambda found, *_: found
        expected = detector(pictures)
    model = family(classes=classes, encoder="resnet50", norm="frozen")
    made = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 128, 128, 3)))
    arrays = {key: value.numpy() for key, value in detector.state_dict().items()}
    found = pretrained.convert(arrays, model, made)
    assert (found.missing, found.surplus, found.misshapen) == ((), (), {})
    limits = find.Limits(max_outputs=100)
    ours = jax.jit(lambda v, x, s: find_all(model, limits, v, x, s))(
        found.variables,
        batch.tensors.numpy().transpose(0, 2, 3, 1),
        jnp.array(batch.image_sizes),
    )
    for i, other in enumerate(expected):
        count = len(other["scores"])
        assert count > 20
        assert (ours.labels[i] >= 0).sum() == count
        first = 1 if family is FasterRCNN else 0
        np.testing.assert_array_equal(ours.labels[i, :count] + first, other["labels"])
        np.testing.assert_allclose(ours.scores[i, :count], other["scores"], atol=1e-3)
        np.testing.assert_allclose(ours.boxes[i, :count], other["boxes"], atol=1e-2)
