"""`--method=robustness`: accuracy under attacks, over how far they may go."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax import interpret
from cnnjax.data.dataset import fingerprint
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
    shown = pictures.source(subject, options, most=MOST)

    @jax.jit
    def logits(images: Array) -> Array:
        return subject.logits(subject.variables, images, None)

    rights = {
        name: jax.jit(functools.partial(_right, logits, attack(subject, name, options)))
        for name in ATTACKS
    }
    sums = dict.fromkeys(ATTACKS, np.zeros(len(epsilons)))
    prints, known = [], False
    for _, part in shown.parts(_BATCH):
        images, labels = unit(part.batch), part.labels
        known = labels is not None
        if labels is None:
            labels = logits(images).argmax(axis=-1)
        for name, right in rights.items():
            share = right(images, labels, jnp.array(epsilons))
            sums[name] = sums[name] + len(images) * np.asarray(share)
        prints.append(part.fingerprint)
    shares = {name: (x / shown.count).tolist() for name, x in sums.items()}
    what = "accuracy" if known else "share taken for what it was"
    steps = [255 * epsilon for epsilon in epsilons]
    curves(
        [Labels("", f"epsilon in 1/255 ({options.distance})", what)],
        [{name.replace("_", " "): (steps, share) for name, share in shares.items()}],
        f"{subject.words}: {shown.count} images under attack",
        asked.folder / "robustness.png",
    )
    lines = [["epsilon x 255", *(f"{x:g}" for x in steps)]]
    lines += [[name, *(f"{x:.2f}" for x in share)] for name, share in shares.items()]
    result = {
        "measure": what,
        "epsilons": epsilons,
        "shares": shares,
        "images": shown.count,
    }
    note = f"{what} of {shown.count} images"
    return Found(lines, result, fingerprint(prints), (note,))


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
