"""`--method=predict`: the five likeliest classes of each image."""

import jax
import numpy as np

from experiments.interpretation import pictures
from experiments.interpretation.asked import Asked, Found
from experiments.interpretation.class_names import first
from experiments.interpretation.figures import Panel, panels, percent
from experiments.interpretation.focus import focus, logits

COUNT = 5


def predict(asked: Asked) -> Found:
    """The likeliest classes; of a segmenter or detector at the place in question."""
    subject, options = asked.subject, asked.options
    shown = pictures.load(subject, options)
    numbers, rows, lines = [], [], [["image", "class", "probability"]]
    for name, image in zip(shown.names, shown.images, strict=True):
        one = focus(subject, image, options)
        output = logits(subject, one.image)
        if one.places is not None:
            output = np.einsum("nhwk,hw->nk", output, one.places)
        probabilities = np.asarray(jax.nn.softmax(output[0]))
        best = np.argsort(-probabilities, kind="stable")[:COUNT]
        likeliest = [(subject.class_names[k], float(probabilities[k])) for k in best]
        lines += [
            [name if i == 0 else "", first(label), f"{p:.4f}"]
            for i, (label, p) in enumerate(likeliest)
        ]
        where = one.words or "image"
        numbers.append({"image": name, "where": where, "top": likeliest})
        title = "\n".join(f"{percent(p)} {first(label)}" for label, p in likeliest[:2])
        rows.append(Panel(title, one.image[0], box=one.box))
    _draw(asked, rows)
    return Found(lines, {"images": numbers}, shown.fingerprint)


def _draw(asked: Asked, found: list[Panel]) -> None:
    columns = min(4, len(found))
    blank = found[-1]._replace(title="", image=np.ones_like(found[-1].image), box=None)
    found = found + [blank] * (-len(found) % columns)
    rows = [found[i : i + columns] for i in range(0, len(found), columns)]
    title = f"what {asked.subject.words} takes images for"
    panels(rows, title, asked.folder / "predict.png")
