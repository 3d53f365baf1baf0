import dataclasses
import functools
import itertools
import json
import shutil

import jax
import numpy as np
import pytest
from absl import flags as absl_flags
from PIL import Image
from pycocotools.coco import COCO

from cnnjax.data import Dataset, resize
from cnnjax.data.source import Columns
from cnnjax.errors import UsageError
from cnnjax.models import DETECTORS
from cnnjax.training import flags
from experiments import detection, trainer
from experiments.detection import Config, calibration
from experiments.detection.evaluation import DetectionResults
from experiments.examples import detect
from tests import once, synthetic

train = functools.partial(synthetic.train, detection.EXPERIMENT)
RECIPES = synthetic.recipes(DETECTORS)
LEFT = (
    "run.flags",
    "config.json",
    "statistics.json",
    "metrics.jsonl",
    "weights.safetensors",
    "checkpoints",
    "mined/round_1.npz",
    "figures/detections.png",
    "figures/learning_curves.png",
    "figures/precision_recall.png",
    "figures/pyramid.png",
    "figures/score_maps.png",
    "figures/windows.png",
)
METRICS = (
    "ap",
    "ap50",
    "ap75",
    "ap50_per_class",
    "ar100",
    "voc_ap50",
    "class_ids",
    "calibration_error",
    "raw_calibration_error",
)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes")
    synthetic.write_boxes(folder, train=60, test=12, size=40)
    return folder


@pytest.fixture(scope="module")
def tiny(boxes):
    return Config(
        dataset=f"voc:{boxes}",
        window=24,
        shapes=3,
        width=0.25,
        epochs=3,
        eval_every=3,
        batch_size=16,
        image_batch=4,
        max_detections=10,
        mining_rounds=1,
        ema=0.0,
        tune_cpu=False,
    )


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    config = dataclasses.replace(tiny, validation=0.25, calibrate=True)
    run = functools.partial(detection.run, config)
    return once.copied(tmp_path_factory, "finished/detection", run)


def test_learns_squares_and_discs(finished):
    _, found = finished
    assert found["ap50"] > 0.5  # chance: near 0
    assert set(found["ap50_per_class"]) == {"square", "disc"}


@pytest.mark.parametrize("name", LEFT)
def test_leaves_all_that_a_run_leaves(finished, name):
    workdir, _ = finished
    assert (workdir / name).exists()


def test_result_has_all_metrics(finished):
    result = json.loads((finished[0] / "result.json").read_text())
    assert set(METRICS) <= set(result)
    assert result["class_ids"] == [1, 2]
    assert 0 <= result["calibration_error"] < 0.2


def test_finds_the_same_in_any_batch(finished, tiny):
    predictor = detection.load(finished[0])
    images = detection.load_data(tiny)[0].test.fetch(np.arange(5))["image"]
    together = predictor.predict(images)
    for i, image in enumerate(images):
        (boxes, scores, labels, _) = (x[0] for x in predictor.predict(image[None]))
        np.testing.assert_array_equal(labels, together.labels[i])
        np.testing.assert_allclose(boxes, together.boxes[i], atol=1e-3)
        np.testing.assert_allclose(scores, together.scores[i], atol=1e-5)
    assert (together.labels >= 0).any(axis=1).all()


def test_predictor_repeats_the_precision_of_its_run(finished, tiny):
    workdir, metrics = finished
    test = detection.load_data(tiny)[0].test
    batch = test.fetch(np.arange(len(test)))
    found = detection.load(workdir).predict(batch["image"])
    # Calibration leaves the order within a class, and with it the precision.
    assert ap50(batch, found) == pytest.approx(metrics["ap50"], abs=1e-6)


def test_an_example_finds_objects_in_a_picture(finished, tiny, tmp_path):
    image = detection.load_data(tiny)[0].test.fetch(np.arange(1))["image"][0]
    Image.fromarray(image.squeeze()).save(tmp_path / "in.png")
    found = detect.main(
        finished[0], tmp_path / "in.png", tmp_path / "out.png", least_score=0.1
    )
    assert found
    assert {name for name, _, _ in found} <= {"square", "disc"}
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size == image.shape[1::-1]


def ap50(batch, found):
    """The average precision of what was found in the images of a batch."""
    results = DetectionResults(("disc", "square"))
    values = {"found": found.boxes, "labels": found.labels, "scores": found.scores}
    every = np.arange(len(found.labels))
    results.observe({**batch, **values, "index": every, "mask": every >= 0})
    return results.metrics()["ap50"]


def test_further_refine_steps_move_boxes_and_change_no_training(
    finished, tiny, tmp_path
):
    """Negatives are mined with a single one."""
    config = dataclasses.replace(tiny, validation=0.25, calibrate=True, refine_steps=2)
    metrics = train(config, tmp_path)
    one, two = (
        json.loads((workdir / "result.json").read_text())
        for workdir in (finished[0], tmp_path)
    )
    assert two["parameters_sha256"] == one["parameters_sha256"]
    assert two["ap"] != one["ap"]
    assert metrics["ap50"] > 0.5
    images = detection.load_data(tiny)[0].test.fetch(np.arange(4))["image"]
    found = [detection.load(run).predict(images) for run in (finished[0], tmp_path)]
    assert np.abs(found[0].boxes - found[1].boxes).max() > 0.1


def test_calibration_keeps_the_order_of_a_class(finished, tiny):
    calibrated = detection.load(finished[0])
    kept = {k: v for k, v in calibrated.variables.items() if k != "calibration"}
    raw = dataclasses.replace(calibrated, variables=kept)
    images = detection.load_data(tiny)[0].test.fetch(np.arange(8))["image"]
    before, after = raw.predict(images), calibrated.predict(images)
    assert np.abs(before.scores - after.scores).max() > 0.01
    for i, label in itertools.product(range(8), (0, 1)):
        boxes = [found.boxes[i][found.labels[i] == label] for found in (before, after)]
        np.testing.assert_array_equal(*boxes)


def test_calibrated_scores_of_all_classes_are_sorted(finished, tiny):
    """Also where one class becomes surer than the other, which was first."""
    calibrated = detection.load(finished[0])
    images = detection.load_data(tiny)[0].test.fetch(np.arange(8))["image"]
    orders = []
    for offset in ([-5, 5], [5, -5]):
        by = {"slope": np.ones(2), "offset": np.array(offset)}
        variables = {**calibrated.variables, "calibration": by}
        found = dataclasses.replace(calibrated, variables=variables).predict(images)
        assert (np.diff(found.scores, axis=1) <= 0).all()
        assert ((found.labels >= 0) == (found.scores > 0)).all()
        orders.append(found.labels[:, 0])
    assert (orders[0][:4] == 1).all()
    assert (orders[1][:4] == 0).all()


def test_calibration_never_turns_an_order_round(rng):
    """Also where, by chance, what was sure was wrong."""
    results = DetectionResults(("thing",))
    for i in range(40):
        box = np.float32([[0, 0, 10, 10]])
        right = i % 2 == 0
        results.observe(
            {
                "index": np.array([i]),
                "mask": np.array([True]),
                "scale": np.ones(1, np.float32),
                "boxes": box[None],
                "label": np.zeros((1, 1), np.int32),
                "ignore": np.zeros((1, 1), bool),
                "area": np.full((1, 1), 100, np.float32),
                "found": box[None] + (0 if right else 50),
                "labels": np.zeros((1, 1), np.int32),
                "scores": rng.uniform(*(0.1, 0.3) if right else (0.7, 0.9), (1, 1)),
            }
        )
    by = calibration.fit(results)
    scores = np.linspace(0.01, 0.99, 9)
    after = calibration.calibrated(scores, np.zeros(9, np.int32), by)
    assert (np.diff(after) > 0).all()


@pytest.mark.parametrize("of", ["folder", "file"])
def test_predictions_are_results_for_coco(finished, boxes, tmp_path, of, capsys):
    workdir, _ = finished
    shutil.rmtree(workdir / "predictions", ignore_errors=True)
    for name in ("60.png", "000061.png"):
        shutil.copy(boxes / "images" / "60.png", tmp_path / name)
    gray = Image.open(boxes / "images" / "61.png").resize((70, 50))
    gray.convert("RGB").save(tmp_path / "62.jpg")
    path = tmp_path if of == "folder" else tmp_path / "60.png"
    numbers = (60, 61, 62) if of == "folder" else (60,)
    trainer.predict(detection.EXPERIMENT, path, workdir)
    out = workdir / "predictions"
    shown = {p.stem for p in out.glob("*.png")}
    assert {int(stem) for stem in shown} == set(numbers)
    assert np.asarray(Image.open(out / "60.png")).shape[:2] == (40, 40)
    truth = COCO()
    truth.dataset = {
        "images": [{"id": number} for number in numbers],
        "categories": [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}],
    }
    truth.createIndex()
    results = truth.loadRes(str(out / "detections.json"))
    assert set(results.getImgIds()) == set(numbers)
    found = detection.load(workdir).predict(
        np.asarray(Image.open(tmp_path / "60.png"))[None, ..., None]
    )
    rows = [row for row in results.dataset["annotations"] if row["image_id"] == 60]
    valid = found.labels[0] >= 0
    corners = found.boxes[0][valid]
    expected = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    np.testing.assert_allclose([row["bbox"] for row in rows], expected, atol=0.011)
    np.testing.assert_array_equal(
        [row["category_id"] for row in rows], found.labels[0][valid] + 1
    )


def test_predictions_of_files_of_one_stem_are_kept_apart(finished, boxes, tmp_path):
    workdir, _ = finished
    shutil.rmtree(workdir / "predictions", ignore_errors=True)
    for name in ("60.png", "060.png", "60.tif", "61.png"):
        with Image.open(boxes / "images" / f"{name[-6:-4]}.png") as picture:
            picture.save(tmp_path / name)
    trainer.predict(detection.EXPERIMENT, tmp_path, workdir)
    out = workdir / "predictions"
    shown = {path.name for path in out.glob("*.png")}
    assert shown == {"60.png.png", "60.tif.png", "060.png", "61.png"}
    rows = json.loads((out / "detections.json").read_text())
    ids = {row["file_name"]: row["image_id"] for row in rows}
    assert ids == {"60.png": "60.png", "60.tif": "60.tif", "060.png": 60, "61.png": 61}


@pytest.mark.parametrize(
    "values",
    [
        # The only level is smaller than a window, which may lie outside of it.
        {"scales": "0.5", "window": 24, "border": 0.25, "refine": False},
        {
            "image_size": 32,
            "augment": "rot90,gamma",
            "mining_rounds": 0,
            "refine_steps": 3,
        },
    ],
    ids=["scales", "resized"],
)
def test_options_train(tiny, tmp_path, values):
    config = dataclasses.replace(tiny, epochs=1, **values)
    # What an earlier run had mined goes with it.
    (tmp_path / "mined").mkdir()
    (tmp_path / "mined/round_1.npz").write_text("of an earlier run")
    assert 0 <= train(config, tmp_path, overwrite=True)["ap50"] <= 1


def test_predicts_resized_images_as_they_were_evaluated(tiny, tmp_path):
    """In their square, whose border is where it was in training."""
    config = dataclasses.replace(tiny, image_size=48, epochs=1, mining_rounds=0)
    metrics = train(config, tmp_path / "run")
    image = detection.load_data(tiny)[0].test.fetch(np.arange(1))["image"][0, :30]
    Image.fromarray(image[..., 0]).save(tmp_path / "wide.png")
    trainer.predict(detection.EXPERIMENT, tmp_path / "wide.png", tmp_path / "run")
    written = json.loads((tmp_path / "run/predictions/detections.json").read_text())
    square, valid_size = resize.resize_image(image, size=48, resize_mode="fit")
    found = detection.load(tmp_path / "run").predict(
        square[None], valid_sizes=np.int32([valid_size])
    )
    for sizes in (np.int32(valid_size), np.int32([[0, 48]]), np.int32([[48, 49]])):
        with pytest.raises(ValueError, match="valid_sizes must be 1 heights and width"):
            detection.load(tmp_path / "run").predict(square[None], valid_sizes=sizes)
    boxes = found.boxes[0][found.labels[0] >= 0] * 40 / 48
    assert len(boxes)
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    np.testing.assert_allclose([row["bbox"] for row in written], sides, atol=0.011)
    raw = detection.load_data(tiny)[0].test
    batch = raw.fetch(np.arange(len(raw)))
    assert batch["image"].shape[1:3] == (40, 40)
    found = detection.load(tmp_path / "run").predict(batch["image"])
    assert ap50(batch, found) == pytest.approx(metrics["ap50"], abs=1e-6)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_start(path, tmp_path, monkeypatch):
    """Each recipe with its own model and options, on a few synthetic images."""
    values = absl_flags.FlagValues()
    flags.define(Config, values)
    values(["program", f"--flagfile={path}"])
    config = flags.parse(Config, values)
    monkeypatch.setattr("experiments.data.load", synthetic_images)
    if config.model == "windownet":
        config = dataclasses.replace(config, shapes=min(config.shapes, 2))
    elif not path.stem.startswith("coco"):  # compiled once for each network
        trainer.planned(detection.EXPERIMENT, config, tmp_path)
        return
    small = dataclasses.replace(
        config,
        batch_size=8,
        image_batch=4,
        epochs=1,
        eval_every=1,
        checkpoint_every=1,
        warmup_epochs=0,
        max_detections=8,
        width=1 / 16,
        tune_cpu=False,
    )
    train(small, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert 0 <= result["ap50"] <= 1


def synthetic_images(location, *, image_size=None, **options):
    rng = np.random.default_rng(0)
    side = 96

    def split(count):
        low = rng.uniform(0, side - 48, (count, 1, 2))
        size = rng.uniform(24, 48, (count, 1, 2))
        return Columns(
            {
                "image": rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
                "boxes": np.concatenate([low, low + size], axis=-1).astype(np.float32),
                "label": rng.integers(0, 2, (count, 1), dtype=np.int32),
                "ignore": np.zeros((count, 1), bool),
                "area": size.prod(axis=-1).astype(np.float32),
                "valid_size": np.full((count, 2), side, np.int32),
                "scale": np.ones(count, np.float32),
            }
        )

    names, shape = ("cell", "platelet"), (side, side, 3)
    return Dataset(split(10), split(5), names, shape, "0" * 64, "")


def test_a_validation_part_without_objects_is_refused(tiny, tmp_path):
    synthetic.write_boxes(tmp_path / "data", train=40, test=2, size=40)
    for i in range(1, 40):
        (tmp_path / f"data/annotations/{i}.xml").write_text("<annotation/>")
    config = dataclasses.replace(
        tiny, dataset=f"voc:{tmp_path / 'data'}", validation=0.05
    )
    refuses(config, "No object in the 2 images that --validation=0.05", tmp_path)


def broken(folder):
    (folder / "annotations/3.xml").write_text("<annotation>\n<object>\n</annotation>")


def imageless(folder):
    (folder / "images/3.png").unlink()


def stranger(folder):
    (folder / "classes.txt").write_text("square\n")


def empty(folder):
    """No object but those that are to be ignored."""
    for path in folder.glob("annotations/[0-3].xml"):
        text = path.read_text()
        path.write_text(text.replace("<name>", "<difficult>1</difficult><name>"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (broken, "annotations/3.xml, line 3, column 3: broken XML"),
        (imageless, "annotations/3.xml names the image 3, which is not in"),
        (stranger, "has an object of class 'disc', which is not one of the classes in"),
        (empty, "Nothing is marked in the training images"),
    ],
)
def test_refuses_spoiled_files_in_one_line(tiny, tmp_path, spoil, message):
    synthetic.write_boxes(tmp_path / "data", train=4, test=2, size=40)
    spoil(tmp_path / "data")
    config = dataclasses.replace(tiny, dataset=f"voc:{tmp_path / 'data'}")
    refuses(config, message, tmp_path / "run")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "voc:/nowhere"}, "there is no folder '/nowhere'"),
        ({"dataset": "digits"}, "digits does not serve detection"),
        ({"scales": "0.2"}, "smaller than the window of 24 pixels at every scale"),
        ({"scales": "1,x"}, "--scales takes numbers from 0.001 to 1000 joined by com"),
        ({"scales": "1,nan"}, "--scales takes numbers from 0.001 to 1000 joined by"),
        ({"scales": "1,1e300"}, "--scales takes numbers from 0.001 to 1000 joined by"),
        ({"scales": ","}, "--scales takes numbers from 0.001 to 1000 joined by"),
        ({"scales": "1," * 64 + "1"}, "--aspect_ratios make 65 pairs; 64 is the most"),
        ({"scales": "999"}, "--aspect_ratios make a level of 39960 x 39960 pixels"),
        ({"scales": "1", "aspect_ratios": "-1"}, "--aspect_ratios takes numbers from"),
        ({"negatives": 1e-300}, "--negatives=1e-300 makes no window of background"),
        ({"augment": ","}, "An augmentation must be one of"),
        ({"aspect_ratios": "1,2"}, "--aspect_ratios=1,2 goes with --scales"),
        ({"epochs": 0.01}, "--epochs=0.01 make 1 steps, too few for 2 rounds"),
        ({"calibrate": True}, "--validation=0.1 would do"),
        ({"refine_steps": 2, "refine": False}, "--refine or --refine_steps=1 would do"),
        ({"shift": 0.3, "stretch": 0.5}, "look beyond what is stored of a window"),
        ({"augment": "crop"}, "An augmentation must be one of"),
        ({"window": 26}, "window must be a multiple of 4, at least 24, got 26"),
        ({"batch_size": 4096}, "is larger than the training split of 480"),
    ],
)
def test_refuses_in_one_line_and_leaves_nothing(tiny, values, message, tmp_path):
    refuses(dataclasses.replace(tiny, **values), message, tmp_path / "run")


def test_refuses_images_that_the_devices_do_not_divide(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    refuses(tiny, "--image_batch=4 does not divide by 3 devices", tmp_path / "run")


def refuses(config, message, workdir):
    with pytest.raises(UsageError) as caught:
        detection.run(config, workdir)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (workdir / "config.json").exists()


def test_names_the_picture_that_is_smaller_than_a_window(finished, tmp_path):
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(
        UsageError, match=r"small.png: Images of 5 x 6 pixels"
    ) as caught:
        trainer.predict(detection.EXPERIMENT, tmp_path, finished[0])
    assert "\n" not in str(caught.value)
