import dataclasses
import functools
import json
import shutil

import jax
import numpy as np
import pytest
from absl import flags as absl_flags
from PIL import Image

from cnnjax.data import Dataset
from cnnjax.data.image_masks import resize_mask
from cnnjax.data.source import Columns
from cnnjax.errors import UsageError
from cnnjax.models import SEGMENTERS
from cnnjax.training import flags
from experiments import segmentation, trainer
from experiments.segmentation import Config, squares
from tests import once, synthetic

train = functools.partial(synthetic.train, segmentation.EXPERIMENT)
RECIPES = synthetic.recipes(SEGMENTERS)
LEFT = (
    "run.flags",
    "config.json",
    "statistics.json",
    "metrics.jsonl",
    "weights.safetensors",
    "result.json",
    "checkpoints",
    "figures/learning_curves.png",
    "figures/confusion.png",
    "figures/iou_per_class.png",
    "figures/predictions.png",
    "figures/augmented.png",
    "figures/border_weights.png",
)


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discs")
    synthetic.write_masks(folder / "train", count=32, size=24)
    synthetic.write_masks(folder / "test", count=9, size=24, start=1)
    return folder


@pytest.fixture(scope="module")
def tiny(discs):
    return Config(
        dataset=f"masks:{discs}",
        depth=1,
        width=1 / 16,
        batch_size=8,
        epochs=6,
        eval_every=1,
        optimizer="adamw",
        learning_rate=0.02,
        ema=0.0,
    )


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    run = functools.partial(segmentation.run, tiny)
    return once.copied(tmp_path_factory, "finished/segmentation", run)


def test_learns_the_discs(finished):
    _, metrics = finished
    assert metrics["mean_iou"] > 0.8
    assert metrics["pixel_error"] == pytest.approx(1 - metrics["pixel_accuracy"])
    assert 0 <= metrics["rand_error"] < 0.5


@pytest.mark.parametrize("name", LEFT)
def test_leaves_all_that_a_run_leaves(finished, name):
    workdir, _ = finished
    assert (workdir / name).exists()


def test_predictor_repeats_the_accuracy_of_its_run(finished, tiny):
    workdir, metrics = finished
    predictor = segmentation.load(workdir)
    test = segmentation.load_data(tiny)[0].test
    examples = test.fetch(np.arange(len(test)))
    probabilities = predictor.predict(examples["image"])
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    right = probabilities.argmax(axis=-1) == examples["label"]
    assert right.mean() == pytest.approx(metrics["pixel_accuracy"])
    assert predictor.class_names == ("0", "1")


def test_predicts_a_folder_of_images(finished, discs, tmp_path, capsys):
    workdir, _ = finished
    picture = next((discs / "test" / "image").iterdir())
    (tmp_path / picture.name).write_bytes(picture.read_bytes())
    Image.fromarray(np.zeros((21, 30, 3), np.uint8)).save(tmp_path / "black.jpg")
    trainer.predict(segmentation.EXPERIMENT, tmp_path, workdir, tile=None)
    assert f"{picture.stem}.png" in capsys.readouterr().out
    mask = np.asarray(Image.open(workdir / "predictions" / picture.name))
    image = np.asarray(Image.open(picture))[None, ..., None]
    expected = segmentation.load(workdir).predict(image)[0].argmax(axis=-1)
    np.testing.assert_array_equal(mask, expected)
    for name, shape in (("black.png", (21, 30)), ("black_overlay.png", (21, 30, 3))):
        shown = np.asarray(Image.open(workdir / "predictions" / name))
        assert shown.shape == shape
    # Of two files of one stem none is written over the other.
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "black.png")
    trainer.predict(segmentation.EXPERIMENT, tmp_path, workdir, tile=None)
    for name, shape in (("black.jpg", (21, 30)), ("black.png", (8, 9))):
        mask, overlay = (
            np.asarray(Image.open(workdir / "predictions" / f"{name}{end}.png"))
            for end in ("", "_overlay")
        )
        assert (mask.shape, overlay.shape) == (shape, (*shape, 3))


def test_predicts_raw_images_as_they_were_evaluated_resized(tiny, discs, tmp_path):
    """Of several sizes and shapes, which the run brought to one square."""
    data = tmp_path / "data"
    shutil.copytree(discs, data)
    for path in data.glob("test/*/*.png"):
        number = int(path.stem)
        with Image.open(path) as picture:
            part = picture.crop((0, 0, 24, 17 + number % 8))
        part = part.transpose(Image.Transpose.TRANSPOSE) if number % 2 else part
        part.save(path)
    config = dataclasses.replace(tiny, dataset=f"masks:{data}", image_size=16, epochs=1)
    metrics = train(config, tmp_path / "run")
    predictor = segmentation.load(tmp_path / "run")
    test, right = segmentation.load_data(config)[0].test, []
    truth = test.fetch(np.arange(len(test)))["label"]
    paths = sorted(data.glob("test/image/*.png"), key=lambda path: int(path.stem))
    for path, label in zip(paths, truth, strict=True):
        with Image.open(path) as picture:
            image = np.asarray(picture)[..., None]
        (scores,) = predictor.predict(image[None])
        assert scores.shape == (*image.shape[:2], 2)
        mask = scores.argmax(axis=-1).astype(np.uint8)
        resized = resize_mask(mask, size=16, valid_size=(16, 16), resize_mode="crop")
        right.append(resized == label)
    assert 0.3 < np.mean(right) < 1
    assert np.mean(right) == pytest.approx(metrics["pixel_accuracy"], abs=1e-6)
    with pytest.raises(
        UsageError, match="--tile is not for runs that bring images to 16"
    ):
        predictor.predict_tiled(image, tile=32)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_tiles_predict_what_the_whole_image_does(tiny, tmp_path, padding):
    config = dataclasses.replace(tiny, padding=padding, epochs=1)
    train(config, tmp_path)
    predictor = segmentation.load(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (67, 50, 1), dtype=np.uint8)
    margin = 16
    # Where the image ends a SAME network sees zeros, its tile the mirror image.
    inside = () if padding == "VALID" else (slice(margin, -margin),) * 2
    expected = predictor.predict(image[None])[0].argmax(axis=-1)
    for tile in (20, 10**9):
        tiled = predictor.predict_tiled(image, tile=tile)
        np.testing.assert_array_equal(tiled[inside], expected[inside])


@pytest.mark.parametrize(
    ("mode", "upsampling"),
    [
        ("reflect", "transpose"),
        ("symmetric", "resize"),
        ("edge", "nearest"),
        ("wrap", "unpool"),
        ("none", "nearest"),
        ("none", "unpool"),
    ],
)
def test_tiles_predict_so_with_every_padding_and_upsampling(finished, mode, upsampling):
    predictor = segmentation.load(finished[0])
    options = {"padding_mode": mode, "upsampling": upsampling}
    config = dataclasses.replace(predictor.config, **options)
    model = SEGMENTERS["unet"](classes=2, depth=1, width=1 / 16, **options)
    fresh = jax.jit(model.init)(jax.random.key(3), np.zeros((1, 44, 44, 1)))
    variables = {**fresh, "input": predictor.variables["input"]}
    predictor = dataclasses.replace(predictor, config=config, variables=variables)
    image = np.random.default_rng(0).integers(0, 256, (67, 50, 1), dtype=np.uint8)
    expected = predictor.predict(image[None])[0].argmax(axis=-1)
    tiled = predictor.predict_tiled(image, tile=20)
    inside = () if mode == "none" else (slice(12, -12),) * 2
    assert 0.05 < expected[inside].mean() < 0.95
    np.testing.assert_array_equal(tiled[inside], expected[inside])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "group"}, "--tile is not for --norm=group, whose statistics are"),
        (
            {"encoder": "resnet9", "depth": None},
            "for --model=unet without --encoder; this unet takes images whole",
        ),
    ],
)
def test_tiles_are_refused_where_a_logit_sees_too_far(finished, options, message):
    predictor = segmentation.load(finished[0])
    config = dataclasses.replace(predictor.config, **options)
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(predictor, config=config).predict_tiled(
            np.zeros((40, 40, 1), np.uint8), tile=32
        )


def test_flips_average_mirrors_and_quarter_turns(finished):
    workdir, _ = finished
    plain = segmentation.load(workdir)
    config = dataclasses.replace(plain.config, flips=True)
    flipping = dataclasses.replace(plain, config=config)
    image = np.random.default_rng(0).random((1, 24, 28, 1), np.float32)
    expected = [
        np.rot90(plain.predict(np.rot90(flipped, turns, (1, 2))), -turns, (1, 2))[
            :, :, ::a
        ]
        for a, flipped in ((1, image), (-1, image[:, :, ::-1]))
        for turns in range(4)
    ]
    np.testing.assert_allclose(
        flipping.predict(image), np.mean(expected, axis=0), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    "values",
    [
        {"model": "dilated", "depth": None, "dilation": 2, "loss": "focal"},
        {
            "loss": "cross_entropy:0.5+dice",
            "class_weights": "balanced",
            "border_weight": 5.0,
            "augment": "rot90,elastic:2,gamma",
            "crop_size": 16,
            "flips": True,
            "validation": 0.25,
        },
    ],
    ids=["dilated", "all"],
)
def test_options_train(tiny, tmp_path, values):
    config = dataclasses.replace(tiny, epochs=2, **values)
    assert train(config, tmp_path)["pixel_accuracy"] > 0.5


def test_masks_of_test_images_never_train(tiny):
    data, validation = segmentation.load_data(
        dataclasses.replace(tiny, validation=0.25)
    )
    assert (len(data.train), len(validation), len(data.test)) == (24, 8, 9)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_start(path, tmp_path, monkeypatch):
    """Each recipe with its own model and options, on a few synthetic images."""
    values = absl_flags.FlagValues()
    flags.define(Config, values)
    values(["program", f"--flagfile={path}"])
    config = flags.parse(Config, values)
    monkeypatch.setattr("experiments.data.load", synthetic_images)
    small = dataclasses.replace(
        config,
        batch_size=8,
        epochs=1,
        eval_every=1,
        checkpoint_every=1,
        warmup_epochs=0,
        crop_size=config.crop_size and 16,
        depth=2,
        width=1 / 32,
        tune_cpu=False,
    )
    train(small, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["steps"] == 2
    assert np.isfinite(result["loss"])


def synthetic_images(location, **options):
    rng = np.random.default_rng(0)

    def split(count):
        images = rng.integers(0, 256, (count, 24, 24, 3), dtype=np.uint8)
        labels = rng.integers(0, 3, (count, 24, 24)).astype(np.uint8)
        labels[:, 0] = 255
        return Columns({"image": images, "label": labels})

    names = ("pet", "ground", "border")
    shape = (24, 24, 3)
    return Dataset(split(16), split(5), names, shape, "0" * 64, "", (1, 1, 1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "masks:/nowhere"}, "/nowhere"),
        ({"dataset": "digits"}, "digits does not serve segmentation"),
        ({"crop_size": 48}, "A crop of 48 x 48 does not fit in images of 24 x 24"),
        ({"augment": "flip,blur"}, "An augmentation must be one of"),
        ({"loss": "hinge"}, "A loss must be one of"),
        ({"loss": "dice", "class_weights": "balanced"}, "which --loss=dice has not"),
        ({"dilation": 2}, "--dilation is not for --model=unet"),
        ({"encoder": "vgg11"}, "depth of a U-Net with the encoder vgg11 is 5, got 1"),
        ({"model": "segnet"}, "--depth is not for --model=segnet"),
        (
            {"model": "segnet", "depth": None, "padding_mode": "none"},
            "padding_mode of SegNet must be one of zeros, reflect, symmetric, edge",
        ),
        (
            {"model": "dilated", "depth": None, "dilation": 4, "padding_mode": "wrap"},
            "The layer layer5/conv gets images too small for its padding",
        ),
        ({"dataset": "scenes", "border_weight": 1.0}, "got 11 classes"),
    ],
)
def test_refuses_in_one_line_and_leaves_nothing(tiny, values, message, tmp_path):
    with pytest.raises(UsageError) as caught:
        segmentation.run(dataclasses.replace(tiny, **values), tmp_path / "run")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("void", "message"),
    [
        (range(6, 8), "masks that are held out with --validation=0.25 are void (255)"),
        (
            range(6),
            "training masks that are left with --validation=0.25 are void (255)",
        ),
    ],
)
def test_refuses_parts_of_which_no_pixel_counts(tiny, tmp_path, void, message):
    synthetic.write_masks(tmp_path / "train", count=8, size=8)
    synthetic.write_masks(tmp_path / "test", count=2, size=8)
    for path in tmp_path.glob("*/label/*.png"):
        is_void = path.parts[-3] == "train" and int(path.stem) in void
        mask = np.full((8, 8), 255) if is_void else np.eye(8)
        Image.fromarray(np.uint8(mask)).save(path)
    values = {"dataset": f"masks:{tmp_path}", "validation": 0.25}
    with pytest.raises(UsageError) as caught:
        segmentation.run(dataclasses.replace(tiny, **values), tmp_path / "run")
    assert message in str(caught.value)


def test_refuses_tiles_smaller_than_the_margin(finished):
    predictor = segmentation.load(finished[0])
    image = np.zeros((40, 40, 1), np.uint8)
    with pytest.raises(UsageError, match="--tile=2 is smaller than the margin of"):
        predictor.predict_tiled(image, tile=2)


@pytest.mark.parametrize("size", [30, 60, 97])
def test_masks_of_fitted_images_map_back_to_half_a_pixel(size):
    """Of the square, whose pixels are those of the image if it is no smaller."""
    image = np.zeros((1, 60, 41, 1), np.uint8)
    image[:, 7:33, 5:29] = 255
    found = squares.predict_fitted(lambda x: x > 127, image, size=size)
    assert found.shape == image.shape
    box = np.argwhere(found[0, ..., 0])
    corners = [*box.min(axis=0), *(box.max(axis=0) + 1)]
    half = max(0.5, 0.5 * 60 / size)
    np.testing.assert_allclose(corners, [7, 5, 33, 29], atol=half + 1e-6)


def test_unequal_images_are_fitted_and_predicted_at_their_own_size(tmp_path):
    synthetic.write_masks(tmp_path / "data/train", count=6, size=20)
    synthetic.write_masks(tmp_path / "data/test", count=2, size=16, start=1)
    config = segmentation.Config(
        dataset=f"masks:{tmp_path / 'data'}",
        depth=1,
        width=1 / 16,
        epochs=1,
        batch_size=2,
        tune_cpu=False,
    )
    synthetic.train(segmentation.EXPERIMENT, config, tmp_path / "run")
    found = segmentation.load(tmp_path / "run")
    assert found.image_size == 20
    assert found.predict(np.zeros((1, 16, 11, 1), np.uint8)).shape == (1, 16, 11, 2)
