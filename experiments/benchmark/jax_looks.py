"""Looking into networks with `cnnjax.interpret`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from cnnjax import interpret, losses
from cnnjax.models.features import from_feature
from cnnjax.models.network import Network
from experiments.benchmark import looks
from experiments.benchmark.looks import Look

Function = Callable[[Array, Array], Array]
LAST = {"squeezenet1_1": "fire9", "resnet18": "stage4"}  # maps of Grad-CAM


class Subject(NamedTuple):
    """A network with its weights."""

    model: Network
    variables: PyTree

    def logits(self, images: Array) -> Array:
        """Scores of the classes."""
        return self.model.apply(self.variables, images)[0]

    def features(self, images: Array) -> dict[str, Array]:
        """Maps by name."""
        result: Any = self.model.apply(self.variables, images)
        return result[1]


def look_into(look: Look, subject: Subject) -> Function:
    """Images and labels -> maps, attributions, or how the images are changed."""
    return _FUNCTIONS[look.task](look, subject)


def comparable(look: Look, subject: Subject) -> Callable[[Array], Array]:
    """What was found -> what must be the same for all sides.

    Of an attack it is the loss that the images reach: the signs of slopes near zero
    are chance, so the images differ, and more so with every step.
    """
    if look.task != "pgd":
        return lambda found: found
    images, labels = map(jnp.asarray, look.batch())
    return lambda found: losses.cross_entropy(subject.logits(images + found), labels)


def _grad_cam(look: Look, subject: Subject) -> Function:
    name = LAST[look.network]

    def maps(images: Array, labels: Array) -> Array:
        head = from_feature(*subject, images, name)
        return interpret.grad_cam(head, subject.features(images)[name], labels)

    return maps


def _integrated_gradients(look: Look, subject: Subject) -> Function:
    del look

    def attributions(images: Array, labels: Array) -> Array:
        def score(images: Array) -> Array:
            logits = subject.logits(images)
            return jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]

        return interpret.integrated_gradients(score, images, steps=looks.STEPS)

    return attributions


def _pgd(look: Look, subject: Subject) -> Function:
    del look

    def change(images: Array, labels: Array) -> Array:
        attacked = interpret.pgd(
            jax.random.key(0),
            lambda images: losses.cross_entropy(subject.logits(images), labels),
            images,
            epsilon=looks.EPSILON,
            steps=looks.ASCENTS,
            step_size=looks.EPSILON / 4,
            random_start=False,
        )
        return attacked - images

    return change


def _style_transfer(look: Look, subject: Subject) -> Function:
    weights = interpret.Weights(
        {looks.CONTENT: 1.0}, dict.fromkeys(looks.STYLE, looks.STYLE_WEIGHT)
    )
    content, style = map(jnp.asarray, (look.batch()[0], look.style()))
    objective = interpret.style_objective(subject.features, content, style, weights)

    def change(images: Array, labels: Array) -> Array:
        del labels
        painted = interpret.style_transfer(
            objective,
            images,
            steps=1,
            optimizer="adam",
            learning_rate=looks.LEARNING_RATE,
        )
        return painted - images

    return change


_FUNCTIONS: dict[str, Callable[[Look, Subject], Function]] = {
    "grad_cam": _grad_cam,
    "integrated_gradients": _integrated_gradients,
    "pgd": _pgd,
    "style_transfer": _style_transfer,
}
