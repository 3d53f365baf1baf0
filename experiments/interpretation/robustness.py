"""`--method=robustness`: accuracy under attacks, over how far they may go."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax import interpret
from cnnjax.errors import UsageError
from experiments.interpretation import pictures
from experiments.interpretation.asked import Asked, Found
from experiments.interpretation.attacks import attack
from experiments.interpretation.figures import Labels, curves
from experiments.interpretation.numbers import numbers
from experiments.interpretation.pictures import unit

MOST = 100  # images of a data set, if not told how many
ATTACKS = ("random_signs", "fgsm", "pgd", "apgd")
_BATCH = 20


def robustness(asked: Asked) -> Found:
    """The share of images still taken for their class, for each attack.

    The class is that of the data, or, where it is not known, what the network takes
    the images for.
    """
    subject, options = asked.subject, asked.options
    if subject.task != "classification":
        raise UsageError(
            f"--method=robustness is for classifiers, not {subject.task}; pgd attacks"
            " single images."
        )
    epsilons = numbers(options.epsilons, "epsilons")
    shown = pictures.load(subject, options, most=MOST)
    images = unit(shown.batch)

    @jax.jit
    def logits(images: Array) -> Array:
        return subject.logits(subject.variables, images, None)

    labels, known = shown.labels, shown.labels is not None
    if labels is None:
        parts = _parts(images)
        labels = np.concatenate([logits(x).argmax(axis=-1) for x in parts])
    shares = {}
    for name in ATTACKS:
        right = functools.partial(_right, logits, attack(subject, name, options))
        right = jax.jit(right)
        sums = [
            len(x) * right(x, y, jnp.array(epsilons))
            for x, y in zip(_parts(images), _parts(labels), strict=True)
        ]
        shares[name] = (np.sum(sums, axis=0) / len(images)).tolist()
    what = "accuracy" if known else "share taken for what it was"
    steps = [255 * epsilon for epsilon in epsilons]
    curves(
        [Labels("", f"epsilon in 1/255 ({options.distance})", what)],
        [{name.replace("_", " "): (steps, share) for name, share in shares.items()}],
        f"{subject.words}: {len(images)} images under attack",
        asked.folder / "robustness.png",
    )
    lines = [["epsilon x 255", *(f"{x:g}" for x in steps)]]
    lines += [[name, *(f"{x:.2f}" for x in share)] for name, share in shares.items()]
    result = {"measure": what, "epsilons": epsilons, "shares": shares}
    note = f"{what} of {len(images)} images"
    return Found(lines, {**result, "images": len(images)}, shown.fingerprint, (note,))


def _right(
    logits: Callable[[Array], Array],
    attack: Callable[..., Array],
    images: Array,
    labels: Array,
    epsilons: Array,
) -> Float[Array, " m"]:
    """The share of a batch that is still taken for its label, over epsilon."""

    def attacked(images: Array, epsilon: Array) -> Array:
        return attack(images, labels, None, epsilon)

    return interpret.robust_accuracy(logits, attacked, images, labels, epsilons)


def _parts(x: np.ndarray) -> list[np.ndarray]:
    return [x[i : i + _BATCH] for i in range(0, len(x), _BATCH)]
