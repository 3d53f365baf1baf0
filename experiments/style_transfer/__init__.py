r"""Paints what one picture shows in the style of another.

python -m experiments.style_transfer --content=PHOTO --style=PAINTING --weights=FILE
python -m experiments.style_transfer --content=PHOTO --style=PAINTING \
    --model=squeezenet1_1 --weights=FILE --optimizer=adam --steps=500

Gatys, Ecker & Bethge (2016), by `cnnjax.interpret.style_transfer`. It leaves
stylized.png, previews on the way, losses.png and result.json in --output.
"""

import pathlib
import time
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from cnnjax import interpret
from cnnjax.errors import UsageError
from cnnjax.training import text_files
from cnnjax.training.progress import duration, table
from cnnjax.training.provenance import provenance
from experiments.interpretation import imported
from experiments.style_transfer import figures, layers, pictures
from experiments.style_transfer.options import Options

Losses = dict[str, Float[np.ndarray, " steps"]]


def run(options: Options) -> dict[str, Any]:
    """Paints the picture that the options describe; returns its result.json.

    Raises:
        UsageError: if pictures or weights are missing or damaged, a layer does not
            exist, or the output cannot be written.
    """
    if options.weights is None:
        raise UsageError(
            f"--weights is missing: a file with weights of --model={options.model}."
        )
    network = imported.load(options)
    content, style = (
        pictures.read(getattr(options, name), size=options.size, flag=name)
        for name in ("content", "style")
    )
    output = pictures.folder(options.output)
    _, height, width, _ = content.shape
    weights = layers.chosen(options, network, (height, width, 3))
    objective = interpret.style_objective(
        lambda images: network.apply(network.variables, images)[1],
        content,
        style,
        weights,
    )
    start = pictures.start(options, content)
    losses = jax.jit(objective)
    before = {"content": losses(content), "style image": losses(_like(style, content))}
    began = time.perf_counter()
    painted, history = _paint(options, objective, start, content, output)
    seconds = time.perf_counter() - began
    after = losses(painted)
    if options.keep_colors:
        painted = interpret.keep_colors(painted, content)
    pictures.write(output / "stylized.png", painted)
    figures.losses(history, output / "losses.png")
    figures.comparison(content, style, painted, output / "comparison.png")
    result = {
        "content_loss": float(after["content"][0]),
        "content_loss_of_style": float(before["style image"]["content"][0]),
        "style_loss": float(after["style"][0]),
        "style_loss_of_content": float(before["content"]["style"][0]),
        "steps": options.steps,
        "seconds": seconds,
        "provenance": provenance(""),
    }
    text_files.write_json(output / "result.json", result)
    _show(result, output)
    return result


def _paint(
    options: Options,
    objective: Any,
    start: Array,
    content: Array,
    output: pathlib.Path,
) -> tuple[Array, Losses]:
    """The picture, and the losses of each step; writes previews."""
    history: dict[str, list[Array]] = {}
    with pictures.Previews(options, output, content) as previews:

        def report(step: int, images: Array, losses: dict[str, Array]) -> None:
            for name, loss in losses.items():
                history.setdefault(name, []).append(loss[0])
            previews.add(step, images, losses["total"])

        painted = interpret.style_transfer(
            objective,
            start,
            steps=options.steps,
            optimizer=options.optimizer,
            learning_rate=options.learning_rate,
            report=report,
        )
    return painted, {name: np.array(values) for name, values in history.items()}


def _like(style: Array, content: Array) -> Array:
    """The style's picture in the size of the content's."""
    return jax.image.resize(style, content.shape, "linear")


def _show(result: dict[str, Any], output: pathlib.Path) -> None:
    fall = result["style_loss_of_content"] / max(result["style_loss"], 1e-30)
    table(
        "result",
        {
            "style loss": f"{result['style_loss']:.4g}, of the content"
            f" {result['style_loss_of_content']:.4g}: {fall:,.0f} times less",
            "content loss": f"{result['content_loss']:.4g}, of the style's picture"
            f" {result['content_loss_of_style']:.4g}",
            "time": f"{duration(result['seconds'])} for {result['steps']} steps",
            "left in": str(output),
        },
    )
