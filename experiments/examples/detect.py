"""Finds objects in a picture by a trained detector, on public names alone.

python -m experiments.detection
python -m experiments.examples.detect runs/detection PICTURE OUTPUT.png
"""

import sys

import numpy as np
from PIL import Image

from cnnjax import plots
from experiments import detection


def main(workdir, picture, output, least_score=0.5):
    """Draws the objects that are found, and returns their names, scores and boxes."""
    detector = detection.load(workdir)
    image = np.asarray(Image.open(picture).convert("RGB"))
    found = detector.predict(image[None])  # arrays of (1, max_detections, ...)
    sure = found.scores[0] >= least_score
    boxes, scores, labels = (
        x[0][sure] for x in (found.boxes, found.scores, found.labels)
    )
    names = [detector.class_names[label] for label in labels]
    captions = [f"{n} {score:.2f}" for n, score in zip(names, scores, strict=True)]
    colors = plots.palette(1 + len(detector.class_names))[1:][labels]
    Image.fromarray(plots.draw_boxes(image, boxes, captions, colors)).save(output)
    return list(zip(names, scores.tolist(), boxes.tolist(), strict=True))


if __name__ == "__main__":
    for name, score, box in main(*sys.argv[1:]):
        print(f"{name} {score:.2f}", *(f"{x:.1f}" for x in box))
