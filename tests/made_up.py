"""What tests of whole experiments are made of: recipes, and small data on disk."""

import pathlib
import re

import numpy as np
from PIL import Image

RECIPES = pathlib.Path(__file__).parents[1] / "experiments" / "recipes"


def recipes(models):
    """The recipes whose model is one of these."""
    named = {path: re.search(r"--model=(\w+)", path.read_text())[1] for path in paths()}
    return [path for path, model in named.items() if model in models]


def paths():
    return sorted(RECIPES.glob("*.flags"))


def write_masks(folder, *, count, size, start=0):
    """Bright discs on a noisy ground, and where they are: 0 ground, 255 disc."""
    rng = np.random.default_rng(start)
    for name in ("image", "label"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    y, x = np.indices((size, size))
    for i in range(count):
        mask = np.zeros((size, size), bool)
        for _ in range(2):
            row, column = rng.uniform(0, size, 2)
            mask |= np.hypot(y - row, x - column) < size / 5
        image = 80 + 90 * mask + rng.normal(0, 15, mask.shape)
        grey = np.uint8(np.clip(image, 0, 255))
        Image.fromarray(grey).save(folder / "image" / f"{i}.png")
        Image.fromarray(np.uint8(255 * mask)).save(folder / "label" / f"{i}.png")
