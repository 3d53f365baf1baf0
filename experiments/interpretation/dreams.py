"""`--method=maximize` and `dream`: images that excite a network, from noise or not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax import interpret
from experiments.interpretation import class_names, pictures
from experiments.interpretation.asked import Asked, Found
from experiments.interpretation.figures import Panel, panels
from experiments.interpretation.focus import check_head
from experiments.interpretation.pictures import unit
from experiments.interpretation.subject import Subject
from experiments.interpretation.units import units

STEPS, DREAM_STEPS = 256, 10
_COLUMNS = 3
_SMOOTHNESS = 0.1
_OCTAVES, _OCTAVE_SCALE = 4, 1.4


def maximize(asked: Asked) -> Found:
    """Images that excite channels of a layer, or a class if there is a label."""
    subject, options = asked.subject, asked.options
    shape = subject.image_shape
    if options.label is not None:
        check_head(subject)
        label = class_names.find(options.label, subject.class_names)
        chosen, what = [label], [class_names.first(subject.class_names[label])]
        layer = "logits"
    else:
        layer = subject.layer(options.layer, shape)
        chosen = units(options.units, subject.shapes(shape)[layer][-1])
        what = [f"channel {k}" for k in chosen]
    each = jnp.arange(len(chosen))

    def score(images: Array) -> Float[Array, " n"]:
        return _responses(subject, layer, images)[each, jnp.array(chosen)]

    climb = functools.partial(
        interpret.activation_maximization,
        score=score,
        shape=(len(chosen), *shape),
        steps=options.steps or STEPS,
        smoothness=_SMOOTHNESS,
    )
    found = jax.jit(climb)(jax.random.key(options.seed))
    heights = np.asarray(jax.jit(score)(found))
    shown = [
        Panel(f"{name}: {height:.3g}", image)
        for name, height, image in zip(what, heights, np.asarray(found), strict=True)
    ]
    rows = [shown[i : i + _COLUMNS] for i in range(0, len(shown), _COLUMNS)]
    title = f"what excites {layer} of {subject.words}"
    panels(rows, title, asked.folder / "maximize.png")
    lines = [["of " + layer, "mean activation"]]
    lines += [[name, f"{x:.4g}"] for name, x in zip(what, heights, strict=True)]
    result = {"layer": layer, "channels": chosen, "activations": heights.tolist()}
    return Found(lines, result)


def _responses(
    subject: Subject, layer: str, images: Array
) -> Float[Array, "n channels"]:
    """The mean over positions of each channel of a layer, or of each logit."""
    output, features = subject.apply(subject.variables, images)
    maps = output if layer == "logits" else features[layer]
    return maps.mean(axis=tuple(range(1, maps.ndim - 1)))


def dream(asked: Asked) -> Found:
    """Photographs with more of what a layer, or some channels of it, see in them."""
    subject, options = asked.subject, asked.options
    shown = pictures.load(subject, options)
    images = unit(shown.batch)
    layer = subject.layer(options.layer, images.shape[1:])
    count = subject.shapes(images.shape[1:])[layer][-1]
    chosen = units(options.units, count) if options.units else list(range(count))

    def score(images: Array) -> Float[Array, " n"]:
        maps = subject.apply(subject.variables, images)[1][layer]
        return jnp.square(maps[..., jnp.array(chosen)]).mean(axis=(1, 2, 3))

    steps = options.steps or DREAM_STEPS
    octaves = _octaves(images.shape[1:3], subject.model.smallest)
    climb = functools.partial(
        interpret.deep_dream,
        score=score,
        steps=steps,
        octaves=octaves,
        octave_scale=_OCTAVE_SCALE,
    )
    key = jax.random.key(options.seed)
    after = np.asarray(jax.jit(climb)(key, images=jnp.asarray(images)))
    measure = jax.jit(score)
    heights = np.stack([measure(x) for x in (images, after)])
    rows = [
        [
            Panel(f"{name}\nmean square {low:.3g}", a),
            Panel(f"mean square {high:.3g}", b),
        ]
        for name, low, high, a, b in zip(
            shown.names, *heights, images, after, strict=True
        )
    ]
    title = f"dreams of {layer} of {subject.words}"
    panels(rows, title, asked.folder / "dream.png")
    lines = [["image", "mean square before", "after"]]
    result = {"layer": layer, "images": shown.names, "mean_squares": heights.tolist()}
    lines += [
        [name, f"{low:.4g}", f"{high:.4g}"]
        for name, low, high in zip(shown.names, *heights, strict=True)
    ]
    return Found(lines, result, shown.fingerprint)


def _octaves(size: tuple[int, ...], smallest: int) -> int:
    """As many as the network can see, which does not take images below a size."""
    count = 1
    while count < _OCTAVES and min(size) / _OCTAVE_SCALE**count >= smallest:
        count += 1
    return count
