import dataclasses
import functools
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags as absl_flags
from PIL import Image

from cnnjax.data import Arrays, Dataset, Preparation, decoded, preprocess
from cnnjax.errors import UsageError
from cnnjax.models import CLASSIFIERS, weights
from cnnjax.training import flags, record, text_files
from experiments import classification, segmentation, trainer
from experiments.classification import Config
from tests import once, synthetic

train = functools.partial(synthetic.train, classification.EXPERIMENT)
RECIPES = synthetic.recipes(CLASSIFIERS)
TINY = Config(
    model="lenet",
    norm="batch",
    width=0.5,
    image_size=28,
    epochs=1,
    ema=0.0,
    augment="",
    label_smoothing=0.0,
)
LEFT = (
    "run.flags",
    "config.json",
    "statistics.json",
    "metrics.jsonl",
    "weights.safetensors",
    "result.json",
    "tensorboard",
    "checkpoints",
    "figures/learning_curves.png",
    "figures/confusion.png",
    "figures/worst_mistakes.png",
    "figures/first_filters.png",
    "figures/augmented.png",
)


def changed(**values):
    return dataclasses.replace(TINY, **values)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = changed(epochs=6, learning_rate=0.05, ema=0.9)
    run = functools.partial(classification.run, config)
    workdir, metrics = once.copied(tmp_path_factory, "finished/classification", run)
    return workdir, config, metrics


def test_learns_the_digits(finished):
    _, _, metrics = finished
    assert metrics["accuracy"] > 0.9


@pytest.mark.parametrize("name", LEFT)
def test_leaves_all_that_a_run_leaves(finished, name):
    workdir, _, _ = finished
    assert (workdir / name).exists()


def test_result_says_what_it_cost_and_where_it_came_from(finished):
    workdir, _, metrics = finished
    result = json.loads((workdir / "result.json").read_text())
    assert result["accuracy"] == metrics["accuracy"]
    assert set(result["seconds"]) == {
        *("compile", "input_wait", "train", "evaluate", "total")
    }
    saved = weights.load(workdir / "weights.safetensors")["params"]
    assert result["parameters"] == sum(x.size for x in jax.tree.leaves(saved))
    assert result["peak_memory_bytes"] > 2**26
    assert result["provenance"]["versions"]["jax"] == jax.__version__
    assert len(result["provenance"]["data"]) == 64


def test_a_finished_run_is_not_trained_again(finished, capsys):
    workdir, config, metrics = finished
    before = (workdir / "weights.safetensors").stat().st_mtime_ns
    assert classification.run(config, workdir) == metrics
    assert (workdir / "weights.safetensors").stat().st_mtime_ns == before
    assert "finished before" in capsys.readouterr().out


def test_rows_have_both_averages_and_raw_weights(finished):
    workdir, _, _ = finished
    rows = text_files.read_rows(workdir)
    evaluated = [row for row in rows if "test/raw_accuracy" in row]
    assert [row["epoch"] for row in evaluated] == [1, 2, 3, 4, 5]
    assert {"train/loss", "train/gradient_norm", "train/learning_rate"} <= set(rows[0])


def test_predictor_repeats_the_accuracy_of_its_run(finished):
    workdir, config, metrics = finished
    predictor = classification.load(workdir)
    test = classification.load_data(config)[0].test
    examples = test.fetch(np.arange(len(test)))
    probabilities = predictor.predict(examples["image"])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    accuracy = (probabilities.argmax(axis=1) == examples["label"]).mean()
    assert accuracy == pytest.approx(metrics["accuracy"])
    assert predictor.class_names == tuple("0123456789")


def test_predicts_a_folder_of_images(finished, tmp_path, capsys):
    workdir, config, _ = finished
    image = classification.load_data(config)[0].test.fetch(np.arange(1))["image"][0]
    Image.fromarray(image[..., 0]).save(tmp_path / "digit.png")
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "black.jpg")
    trainer.predict(classification.EXPERIMENT, tmp_path, workdir)
    assert "digit.png" in capsys.readouterr().out
    written = json.loads((workdir / "predictions.json").read_text())
    assert set(written) == {str(tmp_path / "digit.png"), str(tmp_path / "black.jpg")}
    expected = classification.load(workdir).predict(image[None])[0]
    got = written[str(tmp_path / "digit.png")]
    np.testing.assert_allclose(list(got.values()), expected, rtol=1e-5)


def test_predicting_without_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no finished run"):
        classification.load(tmp_path)


def test_predicting_with_other_flags_or_a_run_of_another_kind_is_refused(
    finished, tmp_path
):
    workdir, _, _ = finished
    command = (sys.executable, "-m", "experiments.classification", "--width=3")
    done = subprocess.run(
        (*command, f"--predict={tmp_path}", f"--workdir={workdir}"),
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[3],
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "holds a run with other flags: --width (" in line
    assert "3.0 here); it predicts with its own, leave these out." in line
    with record.Record(
        tmp_path / "run", segmentation.Config(), experiment="segmentation", data=""
    ) as keep:
        keep.begin(0)
        keep.finish({})
    with pytest.raises(
        UsageError, match=r"another experiment: segmentation, not classification"
    ):
        classification.load(tmp_path / "run")


def test_starts_from_the_weights_of_another_run(finished, tmp_path, capsys):
    workdir, config, _ = finished
    start = dataclasses.replace(
        config, init_from=str(workdir), epochs=0.05, learning_rate=1e-6, ema=0.0
    )
    metrics = train(start, tmp_path)
    assert metrics["accuracy"] > 0.9
    assert f"starts from {workdir}" in capsys.readouterr().out


def test_stops_early_and_keeps_the_best(tmp_path, capsys):
    config = changed(
        validation=0.2,
        patience=1,
        epochs=20,
        eval_every=0.5,
        learning_rate=0.2,
        schedule="constant",
    )
    train(config, tmp_path)
    assert "stops early" in capsys.readouterr().out
    rows = text_files.read_rows(tmp_path)
    key = "validation/accuracy"
    scores = {row["step"]: row[key] for row in rows if key in row}
    best = max(scores, key=scores.get)
    assert max(scores) > best
    kept = weights.load(tmp_path / "weights.safetensors")["params"]
    straight = changed(
        validation=0.2,
        epochs=best / (len_of_training(config) // 64),
        learning_rate=0.2,
        schedule="constant",
    )
    train(straight, tmp_path / "straight")
    again = weights.load(tmp_path / "straight" / "weights.safetensors")["params"]
    jax.tree.map(np.testing.assert_array_equal, kept, again)


def len_of_training(config):
    return len(classification.load_data(config)[0].train)


def test_damaged_best_is_named_and_no_other_is_delivered(tmp_path):
    config = changed(validation=0.2, patience=9, epochs=2, eval_every=0.5)
    train(config, tmp_path)
    (tmp_path / "result.json").unlink()
    best = max(int(path.name) for path in (tmp_path / "best").iterdir())
    for path in (tmp_path / "best" / str(best) / "record").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UsageError, match=rf"Checkpoint {best} in .*is missing or dam"):
        train(config, tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_validation_is_resized_like_the_test_split():
    config = changed(validation=0.2, augment="resized_crop", image_size=28)
    data, validation = classification.load_data(config)
    kept = data.train.fetch(np.arange(2))
    assert kept["image"].shape[1:3] == (40, 40)
    assert "valid_size" in kept
    assert validation.fetch(np.arange(2))["image"].shape[1:3] == (28, 28)
    assert len(data.train) + len(validation) == 1433


def test_prepared_images_train_to_the_bits_of_their_folder(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    for index in range(40):
        path = tmp_path / "photos" / "ab"[index % 2] / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    config = changed(
        dataset=f"folder:{tmp_path}/photos",
        augment="resized_crop,flip",
        validation=0.2,
        batch_size=8,
        workers=0,
    )
    train(config, tmp_path / "straight")
    config = dataclasses.replace(config, data_dir=str(tmp_path / "data"))
    train(config, tmp_path / "prepared", preparation=Preparation())
    results = [json.loads(x.read_text()) for x in tmp_path.glob("*/result.json")]
    assert len(results) == 2
    assert len({result["parameters_sha256"] for result in results}) == 1
    assert len({result["accuracy"] for result in results}) == 1


@pytest.mark.parametrize("optimizer", ["adamw", "lamb", "muon"])
@pytest.mark.parametrize("schedule", ["linear"])
def test_trains_with_every_optimizer(tmp_path, optimizer, schedule):
    config = changed(
        optimizer=optimizer,
        schedule=schedule,
        learning_rate=5e-3,
        epochs=2,
        accumulate=2,
        clip_norm=1.0,
        precision="bfloat16" if optimizer == "adamw" else "float32",
    )
    assert train(config, tmp_path)["accuracy"] > 0.3


def test_trains_with_the_focal_loss(tmp_path):
    config = changed(loss="focal", epochs=2, learning_rate=0.05, tune_cpu=False)
    assert train(config, tmp_path)["accuracy"] > 0.3


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
        warmup_epochs=0,
        image_size=config.image_size and 32,
        width=0.125,
        tune_cpu=False,
    )
    train(small, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["steps"] == 2
    assert np.isfinite(result["loss"])


def synthetic_images(location, *, image_size=None, uncropped_size=None, **options):
    rng = np.random.default_rng(0)
    side = image_size(32, 32) if callable(image_size) else image_size
    side, channels = side or 32, 1 if location == "digits" else 3

    def split(count, side=side, *, fitted=False):
        images = rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
        valid_sizes = np.full((count, 2), side, np.int32) if fitted else None
        labels = np.arange(count, dtype=np.int32) % 4
        return Arrays(images, labels, valid_sizes=valid_sizes)

    uncropped = split(16, uncropped_size, fitted=True) if uncropped_size else None
    return Dataset(
        train=split(16),
        test=split(12),
        class_names=tuple("abcd"),
        image_shape=(side, side, channels),
        fingerprint="0" * 64,
        note="",
        uncropped=uncropped,
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "idx:/nowhere"}, "/nowhere"),
        ({"dataset": "nothing:here"}, "a data set is one of"),
        ({"batch_size": 5000}, "--batch_size=5000 is larger than the training split"),
        ({"patience": 3}, "--patience needs a part of the training split"),
        ({"image_size": 8}, "LeNet needs images of 28x28"),
        ({"stem": "small"}, "--stem is not for --model=lenet"),
        ({"augment": "crop,blur"}, "An augmentation must be one of"),
        ({"augment": "mixup", "batch_size": 63}, "even"),
        ({"augment": "mixup", "loss": "focal"}, "and --loss=focal does not"),
        ({"loss": "focal", "label_smoothing": 0.1}, "is of the cross entropy"),
        ({"loss": "dice"}, "A loss must be one of"),
        ({"warmup_epochs": 1.0}, "--warmup_epochs=0 would do"),
        ({"init_from": "/nowhere.npz"}, "no such file of weights"),
    ],
)
def test_refuses_in_one_line_and_leaves_nothing(values, message, tmp_path):
    with pytest.raises(UsageError) as caught:
        classification.run(changed(**values), tmp_path / "run")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "config.json").exists()


def test_scaling_takes_mean_and_std_out():
    images = jnp.asarray(np.random.default_rng(0).random((4, 3, 3, 2)))
    scaling = {"mean": images.mean((0, 1, 2)), "std": images.std((0, 1, 2))}
    scaled = preprocess.scaled(images, scaling)
    np.testing.assert_allclose(scaled.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std((0, 1, 2)), 1, atol=1e-6)
