"""How much each pixel speaks for a class: one map an image, by several methods."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from cnnjax import interpret
from cnnjax.interpret.scores import Score
from cnnjax.models.layers import ACTIVATIONS
from experiments.interpretation.focus import Focus
from experiments.interpretation.placed import placed
from experiments.interpretation.subject import Subject

Map = Float[np.ndarray, "h w"]
STEPS = 50  # of integrated gradients


def explainer(
    subject: Subject, method: str, options: Any
) -> Callable[[PyTree, Focus], Map]:
    """Variables and a focus -> a map of the image.

    Args:
        subject: the network.
        method: a name in `PIXELS` or `CAMS`.
        options: of the command.
    """
    compute = jax.jit(
        functools.partial(_computed, subject, method, options), static_argnums=4
    )

    layer_of = functools.cache(functools.partial(subject.layer, options.layer))
    sight_of = functools.cache(subject.sight)

    def explain(variables: PyTree, focus: Focus) -> Map:
        shape = focus.image.shape[1:]
        layer = layer_of(shape) if method in CAMS else None
        found = compute(variables, focus.image, focus.label, focus.places, layer)[0]
        if layer is None:
            return np.asarray(found)
        return placed(np.asarray(found), sight_of(layer, shape), shape[:2])

    return explain


def _computed(
    subject: Subject,
    method: str,
    options: Any,
    variables: PyTree,
    image: Array,
    label: Array,
    places: Array | None,
    layer: str | None,
) -> Float[Array, "1 h w"]:
    """The map of one image, for a class activation map at the size of the feature."""
    subject = dataclasses.replace(subject, variables=variables)
    if layer is not None:
        _, features = subject.apply(variables, image)
        head = subject.head(image, layer, places)
        return CAMS[method](head, features[layer], jnp.full(1, label))

    def score(images: Array) -> Float[Array, " n"]:
        return subject.logits(variables, images, places)[:, label]

    return PIXELS[method](score, image, options)


def _smooth_grad(score: Score, image: Array, options: Any) -> Array:
    key = jax.random.key(options.seed)
    found = interpret.smooth_grad(key, score, image, samples=options.samples)
    return jnp.abs(found).max(axis=-1)


def _integrated_gradients(score: Score, image: Array, options: Any) -> Array:
    steps = options.steps or STEPS
    return interpret.integrated_gradients(score, image, steps=steps).sum(axis=-1)


def _guided_backprop(score: Score, image: Array, options: Any) -> Array:
    with guided_activations():
        return interpret.saliency(score, image)


def _occlusion(score: Score, image: Array, options: Any) -> Array:
    square = options.square or max(1, round(min(image.shape[1:3]) / 8))
    return interpret.occlusion(score, image, window=square, value=0.5)


@contextlib.contextmanager
def guided_activations() -> Iterator[None]:
    """Where networks that are traced have activations with guided gradients."""
    plain = dict(ACTIVATIONS)
    ACTIVATIONS.update({k: interpret.guided(f) for k, f in plain.items()})
    try:
        yield
    finally:
        ACTIVATIONS.update(plain)


# Score and image -> a map of the image.
PIXELS: dict[str, Callable[[Score, Array, Any], Array]] = {
    "saliency": lambda score, image, options: interpret.saliency(score, image),
    "smooth_grad": _smooth_grad,
    "integrated_gradients": _integrated_gradients,
    "guided_backprop": _guided_backprop,
    "occlusion": _occlusion,
}
# The rest of the network, a feature and a label -> a map of the feature.
CAMS: dict[str, Callable[..., Array]] = {
    "grad_cam": interpret.grad_cam,
    "grad_cam_plus_plus": interpret.grad_cam_plus_plus,
    "layer_cam": interpret.layer_cam,
}
