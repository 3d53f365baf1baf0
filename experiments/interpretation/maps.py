"""`--method` of attributions and class activation maps: figures and numbers."""

from collections.abc import Callable

import numpy as np

from experiments.interpretation import pictures
from experiments.interpretation.asked import Asked, Found
from experiments.interpretation.attributions import CAMS, explainer
from experiments.interpretation.class_names import first
from experiments.interpretation.figures import Panel, panels, percent
from experiments.interpretation.focus import Focus, focus


def maps(method: str) -> Callable[[Asked], Found]:
    """What makes the maps of a method, a row of the figure for each image."""

    def find(asked: Asked) -> Found:
        subject, options = asked.subject, asked.options
        shown = pictures.load(subject, options)
        explain = explainer(subject, method, options)
        rows, numbers = [], []
        lines = [["image", "class", "probability", "where", "highest at y,x"]]
        for name, image in zip(shown.names, shown.images, strict=True):
            one = focus(subject, image, options)
            heat = explain(subject.variables, one)
            rows.append(_row(asked, name, one, heat, method))
            y, x = np.unravel_index(heat.argmax(), heat.shape)
            label = subject.class_names[one.label]
            where = one.words or "image"
            sure = f"{one.probability:.3f}"
            lines.append([name, first(label), sure, where, f"{y},{x}"])
            numbers.append(
                {
                    "image": name,
                    "label": label,
                    "index": one.label,
                    "probability": one.probability,
                    "where": where,
                    "highest": [int(y), int(x)],
                    "range": [float(heat.min()), float(heat.max())],
                    "layer": _layer(asked, one, method),
                }
            )
        title = f"{method} of {subject.words}"
        if method in CAMS:
            title += f", layer {numbers[0]['layer']}"
        panels(rows, title, asked.folder / f"{method}.png")
        return Found(lines, {"images": numbers}, shown.fingerprint)

    return find


def _layer(asked: Asked, one: Focus, method: str) -> str | None:
    if method not in CAMS:
        return None
    return asked.subject.layer(asked.options.layer, one.image.shape[1:])


def _row(
    asked: Asked, name: str, one: Focus, heat: np.ndarray, method: str
) -> list[Panel]:
    image, label = one.image[0], first(asked.subject.class_names[one.label])
    what = f"{label}  {percent(one.probability)}" + (one.words and f"\n{one.words}")
    return [
        Panel(f"{name}\n{what}", image, box=one.box),
        Panel(f"{method}", image, heat, box=one.box),
        Panel("over the image", image, heat, over=True, box=one.box),
    ]
