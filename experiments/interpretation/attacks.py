"""`--method` of attacks: an image, the change of it, and what it is taken for then."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax import interpret
from cnnjax.errors import UsageError
from cnnjax.interpret.scores import Score
from experiments.interpretation import pictures
from experiments.interpretation.asked import Asked, Found
from experiments.interpretation.class_names import first
from experiments.interpretation.figures import Panel, panels, percent
from experiments.interpretation.focus import Focus, focus
from experiments.interpretation.numbers import numbers
from experiments.interpretation.subject import Subject

Images = Float[Array, "n h w c"]
PGD_STEPS, APGD_STEPS = 10, 30


def losses(subject: Subject, method: str, labels: Array, places: Array | None) -> Score:
    """What an attack raises: the cross entropy, or of APGD the ratio of logits."""

    def loss(images: Images) -> Float[Array, " n"]:
        logits = subject.logits(subject.variables, images, places)
        if method == "apgd" and logits.shape[-1] > 2:
            return interpret.dlr(logits, labels)
        taken = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
        return -taken[:, 0]

    return loss


def attack(
    subject: Subject, method: str, options: Any
) -> Callable[[Images, Array, Array | None, Any], Images]:
    """A function: images, labels, places, epsilon -> images that were attacked."""
    key = jax.random.key(options.seed)

    def attacked(
        images: Images, labels: Array, places: Array | None, epsilon: Any
    ) -> Images:
        loss = losses(subject, method, labels, places)
        if method == "random_signs":
            return interpret.random_signs(key, images, epsilon=epsilon)
        if method == "fgsm":
            return interpret.fgsm(loss, images, epsilon=epsilon)
        run = {"pgd": interpret.pgd, "apgd": interpret.apgd}[method]
        steps = options.steps or {"pgd": PGD_STEPS, "apgd": APGD_STEPS}[method]
        more = {"norm": options.distance, "steps": steps}
        return run(key, loss, images, epsilon=epsilon, **more)

    return attacked


def attacks(method: str) -> Callable[[Asked], Found]:
    """What attacks images by a method, a row of the figure for each."""

    def find(asked: Asked) -> Found:
        subject, options = asked.subject, asked.options
        epsilon = one_number(options.epsilon, "epsilon")
        shown = pictures.load(subject, options)
        run = jax.jit(attack(subject, method, options))
        judge = jax.jit(functools.partial(subject.logits, subject.variables))
        rows, found = [], []
        for name, image in zip(shown.names, shown.images, strict=True):
            one = focus(subject, image, options)
            labels = jnp.array([one.label])
            after = np.asarray(run(one.image, labels, one.places, epsilon))
            probabilities = np.asarray(jax.nn.softmax(judge(after, one.places)[0]))
            row = _numbers(subject, name, one, after, probabilities)
            rows.append(_row(subject, one, after, row))
            found.append(row)
        changed = sum(row["changed"] for row in found)
        title = f"{method}, epsilon {options.epsilon}, on {subject.words}"
        panels(rows, title, asked.folder / f"{method}.png")
        note = f"{changed} of {len(found)} images are taken for another class"
        result = {"epsilon": epsilon, "changed": changed, "images": found}
        return Found(_lines(found), result, shown.fingerprint, (note,))

    return find


def one_number(text: str, flag: str) -> float:
    """A number or a fraction.

    Raises:
        UsageError: if the text is something else.
    """
    found = numbers(text, flag)
    if len(found) != 1:
        raise UsageError(f"--{flag}={text} must be one number.")
    return found[0]


def _numbers(
    subject: Subject,
    name: str,
    one: Focus,
    after: np.ndarray,
    probabilities: np.ndarray,
) -> dict[str, Any]:
    now, change = int(probabilities.argmax()), after - one.image
    return {
        "image": name,
        "label": subject.class_names[one.label],
        "probability": one.probability,
        "probability_after": float(probabilities[one.label]),
        "after": subject.class_names[now],
        "after_probability": float(probabilities[now]),
        "changed": now != one.label,
        "linf": float(np.abs(change).max()),
        "l2": float(np.sqrt(np.square(change).sum())),
    }


def _lines(found: list[dict[str, Any]]) -> list[list[str]]:
    head = ["image", "class", "before", "after", "taken for", "probability", "linf"]
    head += ["l2"]
    return [
        head,
        *(
            [
                row["image"],
                first(row["label"]),
                f"{row['probability']:.3f}",
                f"{row['probability_after']:.3f}",
                first(row["after"]),
                f"{row['after_probability']:.3f}",
                f"{row['linf']:.4f}",
                f"{row['l2']:.2f}",
            ]
            for row in found
        ),
    ]


def _row(
    subject: Subject, one: Focus, after: np.ndarray, row: dict[str, Any]
) -> list[Panel]:
    change = (after - one.image)[0]
    most = np.abs(change).max() or 1.0
    magnified = f"the change, {1 / (2 * most):.3g} times as large,\n"
    magnified += f"gray: 0, black and white: {most * 255:.3g}/255"
    before = f"{first(row['label'])}  {percent(row['probability'])}"
    now = f"{first(row['after'])}  {percent(row['after_probability'])}"
    now += f"\n{first(row['label'])}  {percent(row['probability_after'])}"
    name = f"{row['image']}\n{before}"
    return [
        Panel(name, one.image[0], box=one.box),
        Panel(magnified, 0.5 + change / (2 * most)),
        Panel(now, after[0], box=one.box),
    ]
