"""RetinaNet and Faster R-CNN by the command that the sliding window has, too."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from cnnjax.errors import UsageError
from experiments import detection, trainer
from experiments.detection import Config
from tests import once, synthetic

OWN = {
    "retinanet": {"candidates": 100, "epochs": 40, "learning_rate": 0.003},
    "faster_rcnn": {
        "norm": "group",
        "candidates": 50,
        "max_proposals": 30,
        "epochs": 12,
        "learning_rate": 0.003,
    },
}
FIGURES = ("detections", "precision_recall", "learning_curves", "anchors", "proposals")


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes")
    synthetic.write_boxes(folder, train=64, test=12, size=48)
    return folder


def tiny(boxes, model):
    return Config(
        dataset=f"voc:{boxes}",
        model=model,
        width=1 / 8,
        pyramid_channels=256,
        anchor_scale=0.5,
        eval_every=40,
        batch_size=8,
        image_batch=4,
        max_detections=10,
        optimizer="adamw",
        augment="flip",
        tune_cpu=False,
        **OWN[model],
    )


@pytest.fixture(params=OWN)
def model(request):
    return request.param


@pytest.fixture
def finished(model, boxes, tmp_path_factory):
    config = tiny(boxes, model)
    return once.copied(
        tmp_path_factory,
        f"finished/{model}",
        lambda workdir: detection.run(config, workdir),
    )


def test_learns_squares_and_discs(finished):
    workdir, metrics = finished
    assert metrics["ap50"] > 0.4
    assert all((workdir / f"figures/{name}.png").exists() for name in FIGURES)


def test_finds_the_same_in_any_batch_and_at_any_edge(finished, boxes):
    """Beyond the valid part lies nothing that is found, whatever the batch holds."""
    workdir, _ = finished
    found = detection.load(workdir)
    images = [np.asarray(Image.open(boxes / f"images/{i}.png")) for i in range(64, 68)]
    batch = np.stack(images)[..., None]
    together = found.predict(batch)
    for i, image in enumerate(batch):
        alone = found.predict(image[None])
        assert alone.labels[0].tolist() == together.labels[i].tolist()
        np.testing.assert_allclose(alone.boxes[0], together.boxes[i], atol=1e-2)
        np.testing.assert_allclose(alone.scores[0], together.scores[i], atol=1e-4)
    part = found.predict(batch, valid_sizes=np.full((4, 2), 24))
    assert (part.boxes <= 24).all()


def test_predict_writes_results_for_coco(finished, boxes, capsys):
    workdir, _ = finished
    trainer.predict(detection.EXPERIMENT, boxes / "images/64.png", workdir)
    rows = json.loads((workdir / "predictions/detections.json").read_text())
    assert {row["category_name"] for row in rows} <= {"disc", "square"}
    assert "64.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("network", "values", "message"),
    [
        ("windownet", {"box_loss": "giou"}, "--box_loss is not for --model=windownet"),
        ("windownet", {"encoder": "resnet18"}, "--encoder is not for --model=windowne"),
        ("retinanet", {"window": 48}, "--window is not for --model=retinanet"),
        ("retinanet", {"mining_rounds": 0}, "--mining_rounds is not for --model=retin"),
        ("retinanet", {"max_proposals": 9}, "--max_proposals is not for --model=retin"),
        ("faster_rcnn", {"box_loss": "giou"}, "--box_loss is not for --model=faster_"),
        ("faster_rcnn", {"dropout": 0.1}, "--dropout is not for --model=faster_rcnn"),
        ("retinanet", {"label_smoothing": 0.1}, "--label_smoothing is not for --mode"),
        ("retinanet", {"encoder": "vgg11"}, "encoder of RetinaNet must be one of resn"),
        ("retinanet", {"augment": "rot90"}, "An augmentation must be one of flip"),
        ("retinanet", {"padding_mode": "none"}, "padding_mode of RetinaNet must be"),
        ("yolo", {}, "--model must be one of windownet, retinanet, faster_rcnn"),
    ],
)
def test_options_of_other_families_are_refused(
    boxes, tmp_path, network, values, message
):
    config = dataclasses.replace(
        Config(dataset=f"voc:{boxes}", model=network), **values
    )
    with pytest.raises(UsageError) as caught:
        detection.run(config, tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run/config.json").exists()
