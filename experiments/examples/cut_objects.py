"""Cuts objects out of photographs with boxes: a folder of pictures for each class.

python -m experiments.examples.cut_objects voc:PATH FOLDER 20
"""

import pathlib
import shutil
import sys

import numpy as np
from PIL import Image

from cnnjax import data


def main(dataset, folder, count=20, seed=0, tested=100):
    """Writes `count` pictures a class to train on, drawn by the seed, and to test."""
    if (final := pathlib.Path(folder)).exists():
        sys.exit(f"error: {folder} is there already; name another folder.")
    shutil.rmtree(partial := final.with_suffix(".partial"), ignore_errors=True)
    photographs = data.load(dataset, task="detection")
    splits = {"train": (int(count), int(seed)), "test": (int(tested), 0)}
    for split, (most, drawn_by) in splits.items():
        source = getattr(photographs, split)
        boxes = source.annotations(np.arange(len(source)))
        rng = np.random.default_rng(drawn_by)
        for label, name in enumerate(photographs.class_names):
            (path := partial / split / name).mkdir(parents=True)
            real = (boxes["label"] == label) & ~boxes["ignore"]
            for image, box in rng.permutation(np.argwhere(real))[:most]:
                pixels = source.fetch(np.array([image]))["image"][0].squeeze()
                corners = np.round(boxes["boxes"][image, box]).astype(int).tolist()
                cut = Image.fromarray(pixels).crop(corners)
                cut.save(path / f"{image}_{box}.png")
    partial.rename(final)


if __name__ == "__main__":
    main(*sys.argv[1:])
