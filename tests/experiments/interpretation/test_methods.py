"""What each method of the command finds, on networks small enough to check."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cnnjax import interpret
from cnnjax.errors import UsageError
from cnnjax.models.layers import ACTIVATIONS
from cnnjax.training import flags
from experiments import classification, detection, segmentation
from experiments.interpretation import Options, load, pictures
from experiments.interpretation.asked import Asked
from experiments.interpretation.attacks import attack
from experiments.interpretation.attributions import explainer
from experiments.interpretation.filters import filters, first_kernel
from experiments.interpretation.focus import focus
from experiments.interpretation.methods import METHODS
from tests.experiments.interpretation.conftest import CLASSES, SQUEEZENET

LENET = classification.Config(model="lenet", width=0.5)
DIGITS = tuple("0123456789")
UNET = segmentation.Config(model="unet", width=0.2, depth=1)
WINDOWNET = detection.Config(width=0.1, window=24, scales="1", refine=False)
QUICK = {
    "samples": ("--samples=2",),
    "steps": ("--steps=2",),
    "square": ("--square=14",),
    "epsilons": ("--epsilons=0,8/255",),
    "units": ("--units=0,1",),
    "count": ("--count=2",),
}


def options(*arguments):
    return flags.from_arguments(Options, arguments)


@pytest.fixture
def lenet(finish):
    return f"--workdir={finish(classification.EXPERIMENT, LENET, names=DIGITS)}"


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_leaves_a_figure_and_numbers(ask, lenet, tmp_path, method):
    quick = [x for name in METHODS[method].options for x in QUICK.get(name, ())]
    result = ask(lenet, f"--method={method}", *quick)
    with Image.open(tmp_path / "out" / f"{method}.png") as figure:
        assert min(figure.size) > 100
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert written["method"] == method
    assert written["options"]["method"] == method
    assert written.keys() == result.keys()


def test_prediction_is_that_of_the_run(ask, lenet):
    predictor = classification.load(lenet.partition("=")[2])
    test = classification.load_data(predictor.config, None)[0].test
    expected = predictor.predict(test.fetch(np.arange(2))["image"])
    found = ask(lenet, "--count=2")["images"]
    for row, probabilities in zip(found, expected, strict=True):
        best = np.argsort(-probabilities)[:5]
        assert [name for name, _ in row["top"]] == [DIGITS[k] for k in best]
        np.testing.assert_allclose(
            [p for _, p in row["top"]], probabilities[best], rtol=1e-4
        )


def focused(subject, asked, shape):
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    return focus(subject, image, asked)


def test_grad_cam_is_the_map_of_the_class_behind_a_global_pool(finish):
    config = classification.Config(model="resnet20", width=0.2)
    workdir = finish(classification.EXPERIMENT, config, size=(32, 32, 3))
    asked = options(f"--workdir={workdir}", "--layer=stage3", "--label=1")
    subject = load(asked)
    one = focused(subject, asked, (32, 32, 3))
    found = explainer(subject, "grad_cam", asked)(subject.variables, one)
    maps = subject.apply(subject.variables, one.image)[1]["stage3"][0]
    kernel = subject.variables["params"]["head"]["kernel"][:, 1]
    expected = np.maximum(maps @ kernel, 0) / maps[..., 0].size  # Zhou et al., 2016
    assert found.max() == pytest.approx(expected.max(), rel=1e-3)
    assert found.shape == (32, 32)


def test_guided_gradients_stop_at_activations_that_then_are_as_before(finish):
    config = classification.Config(model="lenet", width=0.5, norm="none")
    workdir = finish(classification.EXPERIMENT, config, names=DIGITS)
    asked, before = options(f"--workdir={workdir}", "--label=3"), dict(ACTIVATIONS)
    subject = load(asked)
    one = focused(subject, asked, (28, 28, 1))
    found = explainer(subject, "guided_backprop", asked)(subject.variables, one)
    assert before == ACTIVATIONS
    plain = explainer(subject, "saliency", asked)(subject.variables, one)
    assert not np.allclose(found, plain)
    guided = interpret.guided(jax.nn.relu)
    ACTIVATIONS["relu"] = guided
    try:
        score = lambda x: subject.logits(subject.variables, x, None)[:, 3]  # noqa: E731
        expected = interpret.saliency(score, jnp.asarray(one.image))[0]
    finally:
        ACTIVATIONS["relu"] = before["relu"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_a_segmenter_is_asked_at_a_pixel(finish):
    workdir = finish(segmentation.EXPERIMENT, UNET, size=(32, 40, 1))
    asked = options(f"--workdir={workdir}", "--pixel=6,30", "--label=2")
    subject = load(asked)
    one = focused(subject, asked, (32, 40, 1))
    output = subject.apply(subject.variables, one.image)[0]
    expected = float(jax.nn.softmax(output)[0, 6, 30, 2])
    assert one.probability == pytest.approx(expected, rel=1e-4)
    heat = explainer(subject, "saliency", asked)(subject.variables, one)
    reach = subject.model.margin
    seen = np.argwhere(heat)
    assert seen.max(axis=0)[0] <= 6 + reach
    assert seen.min(axis=0)[1] >= 30 - reach
    assert heat[6, 30] > 0


def test_a_segmenter_is_asked_where_it_predicts_the_class(finish):
    workdir = finish(segmentation.EXPERIMENT, UNET, size=(32, 40, 1))
    asked = options(f"--workdir={workdir}")
    subject = load(asked)
    one = focused(subject, asked, (32, 40, 1))
    output = np.asarray(subject.apply(subject.variables, one.image)[0][0])
    mask = output.argmax(axis=-1) == one.label
    logits = subject.logits(subject.variables, one.image, one.places)
    np.testing.assert_allclose(logits[0], output[mask].mean(axis=0), rtol=1e-4)


def test_a_detector_is_asked_at_its_best_window(finish):
    more = {"pyramid": {"factors": np.float32([[1, 1], [0.7, 0.8]])}}
    workdir = finish(detection.EXPERIMENT, WINDOWNET, size=(48, 60, 1), **more)
    asked = options(f"--workdir={workdir}")
    subject = load(asked)
    image = np.random.default_rng(1).integers(0, 256, (48, 60, 1), np.uint8)
    one = focus(subject, image, asked)
    best = detection.load(workdir).predict(image[None])
    assert one.probability == pytest.approx(best.scores[0, 0], rel=1e-3)
    assert one.label == best.labels[0, 0] + 1  # behind the background
    heat = explainer(subject, "saliency", asked)(subject.variables, one)
    rows, columns = np.nonzero(heat)
    y, x = map(int, one.words.split()[2].split(","))
    assert (rows.min(), rows.max()) == (y, y + 23)
    assert (columns.min(), columns.max()) == (x, x + 23)


@pytest.mark.parametrize("method", ["fgsm", "pgd", "apgd"])
def test_attacks_stay_near_and_raise_the_loss(ask, lenet, method):
    more = ("--steps=5",) if method != "fgsm" else ()
    rows = ask(lenet, f"--method={method}", "--count=3", "--epsilon=4/255", *more)[
        "images"
    ]
    for row in rows:
        assert row["linf"] < 4 / 255 + 1e-7  # of the difference
        assert row["probability_after"] < row["probability"]
        assert row["changed"] == (row["after"] != row["label"])


def test_attacks_of_a_euclidean_distance_stay_within_it(ask, lenet):
    more = ("--steps=3", "--distance=l2", "--epsilon=0.5")
    rows = ask(lenet, "--method=pgd", "--count=2", *more)["images"]
    assert all(0.3 < row["l2"] <= 0.5 for row in rows)


def test_robustness_is_the_share_of_attacked_images_taken_for_their_class(ask, lenet):
    more = ("--count=23", "--steps=2", "--epsilons=0,12/255")  # two batches
    found = ask(lenet, "--method=robustness", *more)
    asked = options(lenet, "--steps=2")
    subject = load(asked)
    examples = subject.data(None).test.fetch(np.arange(23))
    images, labels = np.float32(examples["image"]) / 255, jnp.asarray(examples["label"])

    def accuracy(images):
        logits = subject.logits(subject.variables, images, None)
        return (logits.argmax(axis=-1) == labels).mean()

    attacked = attack(subject, "fgsm", asked)(images, labels, None, 12 / 255)
    expected = [accuracy(images), accuracy(attacked)]
    np.testing.assert_allclose(found["shares"]["fgsm"], expected, atol=1e-6)
    assert found["measure"] == "accuracy"
    unattacked = [share[0] for share in found["shares"].values()]
    np.testing.assert_allclose(unattacked, expected[0], atol=1e-6)


def test_patches_are_the_highest_places_of_all_images(ask, lenet):
    found = ask(
        lenet,
        "--method=patches",
        "--layer=stage1",
        "--count=20",
        "--top=3",
        "--units=1",
    )
    subject = load(options(lenet))
    images = np.float32(subject.data(None).test.fetch(np.arange(20))["image"]) / 255
    maps = np.asarray(subject.apply(subject.variables, images)[1]["stage1"])[..., 1]
    highest = np.sort(maps.max(axis=(1, 2)))[::-1][:3]
    row = found["channels"]["1"]
    np.testing.assert_allclose(row["values"], highest, rtol=1e-4)
    i, y, x = row["images"][0], row["rows"][0], row["columns"][0]
    assert maps[i, y, x] == pytest.approx(highest[0], rel=1e-4)
    assert found["field"] == [14, 14]


@pytest.mark.parametrize(
    "more",
    [
        ("--method=patches", "--layer=stage1", "--top=1", "--units=1"),
        ("--method=robustness", "--count=45", "--epsilons=0", "--steps=1"),
    ],
    ids=["patches", "robustness"],
)
def test_few_images_are_held_at_once(ask, lenet, monkeypatch, more):
    asked, source = [], pictures.source

    def watched(*args, **options):
        whole = source(*args, **options)

        def at(indices):
            asked.append(len(indices))
            return whole.at(indices)

        return pictures.Source(whole.count, at)

    monkeypatch.setattr(pictures, "source", watched)
    found = ask(lenet, *more)
    assert found["images"] == sum(n for n in asked if n > 1) > 40
    assert max(asked) <= 20


def test_layers_that_see_all_have_no_patches(ask, finish):
    config = classification.Config(model="resnet20", width=0.2, norm="group")
    workdir = finish(classification.EXPERIMENT, config)
    with pytest.raises(UsageError, match="has no patches"):
        ask(f"--workdir={workdir}", "--method=patches", "--count=2")


def test_maximize_raises_the_channels(ask, lenet):
    few, many = (
        ask(
            lenet,
            "--method=maximize",
            "--layer=stage1",
            "--units=0,2",
            f"--steps={steps}",
        )
        for steps in (1, 40)
    )
    assert (np.array(many["activations"]) > np.array(few["activations"])).all()


def test_dreams_have_more_of_the_layer(ask, caffe, picture):
    more = ("--layer=conv1", "--steps=2", f"--image={picture}")
    found = ask(*SQUEEZENET, f"--weights={caffe}", "--method=dream", *more)
    (low,), (high,) = found["mean_squares"]
    assert high > 1.2 * low


def test_gabor_functions_are_recognized(lenet, tmp_path):
    asked = options(lenet)
    subject = load(asked)
    name, kernel = first_kernel(subject)
    assert name == "c1/conv"
    planted = np.array(kernel)
    for i, (phi, theta) in enumerate([(0.2, 0.5), (1.0, 2.0)]):
        gabor = interpret.Gabor(1, 0.3, 0.2, 1.2, phi, theta, 0, 0)
        planted[..., 0, i] = gabor.values(5, 5)
    subject.variables["params"]["c1"]["conv"]["kernel"] = planted
    found = filters(Asked(subject, asked, tmp_path)).numbers["filters"]
    assert [row["r2"] > 0.98 for row in found] == [True, True, False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--method=grad_cam", "--layer=c9"),
            r"--layer=c9 is no feature .* are stem, stage1, stage2",
        ),
        (("--label=ten",), "--label=ten is none of the 10 classes"),
        (("--label=10",), "--label=10 is no class: they are 0 to 9"),
        (("--pixel=1,1",), "--pixel is for segmentation, not classification"),
        (("--image=/nowhere",), "neither a picture nor a folder"),
        (("--image=x", "--dataset=digits"), "are both given"),
        (("--dataset=scenes",), "does not serve classification"),
        (
            ("--method=saliency", "--epsilon=1"),
            "--epsilon is not for --method=saliency",
        ),
        (
            ("--method=fgsm", "--epsilon=two"),
            "--epsilon=two must be numbers at least 0",
        ),
        (("--method=fgsm", "--epsilon=1,2"), "--epsilon=1,2 must be one number"),
        (("--method=maximize", "--units=99"), "--units=99 must be numbers from 0"),
    ],
)
def test_mistakes_are_refused(ask, lenet, arguments, said):
    with pytest.raises(UsageError, match=said):
        ask(lenet, *arguments)


def test_what_is_no_picture_is_refused(ask, lenet, tmp_path):
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(UsageError, match="is no image that can be read"):
        ask(lenet, f"--image={tmp_path / 'text.png'}")


def test_a_file_has_no_images_of_its_own(ask, caffe):
    with pytest.raises(UsageError, match="--image or --dataset is missing"):
        ask(*SQUEEZENET, f"--weights={caffe}")


def test_without_a_head_there_are_no_classes(ask, caffe, picture, tmp_path):
    arrays = {k: x for k, x in np.load(caffe).items() if not k.startswith("conv10")}
    np.savez(tmp_path / "trunk.npz", **arrays)
    weights = f"--weights={tmp_path / 'trunk.npz'}"
    for asked in (("--method=saliency",), ("--method=maximize", "--label=1")):
        images = (f"--image={picture}",) if "--method=saliency" in asked else ()
        with pytest.raises(UsageError, match="has no head, and so no classes"):
            ask(*SQUEEZENET, weights, *images, *asked)


def test_segmenters_have_no_robustness(ask, finish):
    workdir = finish(segmentation.EXPERIMENT, UNET, size=(32, 40, 1))
    with pytest.raises(UsageError, match="robustness is for classifiers"):
        ask(f"--workdir={workdir}", "--method=robustness")


def test_features_are_listed(ask, caffe, capsys):
    shapes = ask(*SQUEEZENET, f"--weights={caffe}", "--list_layers")["layers"]
    assert shapes["conv1"] == [113, 113, 6]
    assert shapes["scores"][-1] == CLASSES
    assert "113x113x6" in capsys.readouterr().out
