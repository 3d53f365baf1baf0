"""Networks that others have trained, on photographs."""

import jax
import numpy as np
import pytest

from cnnjax.training import flags
from experiments.interpretation import Options, load, pictures
from experiments.interpretation.attacks import attack
from experiments.interpretation.attributions import explainer
from experiments.interpretation.focus import focus
from experiments.interpretation.pictures import unit

# x1, y1, x2, y2 in the middle of cat_dog.png, by eye.
DOG, CAT = (75, 0, 176, 155), (35, 118, 216, 227)
EPSILON = 2 / 255


WEIGHTS = {
    "squeezenet1_0": ("squeezenet/squeezenet_v1.0_dc.npz", "--padding_like=caffe"),
    "squeezenet1_1": ("squeezenet_v1.1/squeezenet_v1.1.safetensors",),
}


@pytest.fixture
def network(data_root):
    """Name and arguments -> the options of a network."""

    def options(name, *arguments):
        file, *own = WEIGHTS[name]
        weights = f"--weights={data_root / file}"
        named = f"--class_names={data_root / 'squeezenet' / 'synset_words.txt'}"
        given = [f"--model={name}", weights, named, *own, *arguments]
        return flags.from_arguments(Options, given)

    return options


@pytest.mark.parametrize(
    ("label", "inside", "outside"),
    [("bull_mastiff", DOG, CAT), ("tiger_cat", CAT, DOG)],
)
def test_grad_cam_finds_the_dog_and_the_cat(data_root, network, label, inside, outside):
    image = data_root / "photos" / "interpretability" / "cat_dog.png"
    options = network("squeezenet1_0", f"--image={image}", f"--label={label}")
    subject = load(options)
    (shown,) = pictures.load(subject, options).images
    one = focus(subject, shown, options)
    heat = explainer(subject, "grad_cam", options)(subject.variables, one)
    assert mass(heat, inside) > 0.6
    assert mass(heat, inside) > 1.3 * mass(heat, outside)  # the boxes overlap


def mass(heat, box):
    x1, y1, x2, y2 = box
    return heat[y1:y2, x1:x2].sum() / heat.sum()


def test_small_changes_fool_a_network_that_random_ones_do_not(data_root, network):
    folder = f"--image={data_root / 'imagenet_samples_100'}"
    options = network("squeezenet1_1", folder)
    subject = load(options)
    shown = pictures.load(subject, options)
    reference = np.load(data_root / "squeezenet_v1.1" / "reference_scores_100.npz")
    known = dict(zip(reference["files"], reference["labels"], strict=True))
    truth = np.array([known[name] for name in shown.names])

    @jax.jit
    def predicted(images):
        return subject.logits(subject.variables, images, None).argmax(axis=-1)

    attacks = {
        name: jax.jit(attack(subject, name, options))
        for name in ("fgsm", "random_signs")
    }
    right, changed = 0, dict.fromkeys(attacks, 0)
    for part in np.split(np.arange(len(truth)), 5):
        images, labels = unit(shown.batch[part]), truth[part]
        known_now = predicted(images) == labels
        right += int(known_now.sum())
        for name, run in attacks.items():
            after = predicted(run(images, labels, None, EPSILON))
            changed[name] += int((known_now & (after != labels)).sum())
    assert right == 63
    assert changed["fgsm"] >= 0.8 * right
    assert changed["random_signs"] < 0.1 * right
