"""What tests of whole experiments are made of: recipes, and small data on disk."""

import contextlib
import dataclasses
import json
import pathlib
import re
from unittest import mock

import numpy as np
from PIL import Image

from cnnjax import data, plots
from experiments import trainer

RECIPES = pathlib.Path(__file__).parents[1] / "experiments" / "recipes"


def recipes(models):
    """The recipes whose model is one of these."""
    named = {path: re.search(r"--model=(\w+)", path.read_text())[1] for path in paths()}
    return [path for path, model in named.items() if model in models]


def paths():
    return sorted(RECIPES.glob("*.flags"))


@contextlib.contextmanager
def without_figures(experiment):
    """The experiment, whose runs draw nothing meanwhile: they are of something else.

    A figure that cannot be drawn fails no run, so that no test would see it here.
    """
    with mock.patch.object(plots, "learning_curves"):
        yield dataclasses.replace(experiment, figures=lambda run: {})


def train(experiment, config, workdir, **options):
    """The metrics of a run that draws nothing."""
    with without_figures(experiment) as plain:
        return trainer.run(plain, config, workdir, **options)


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
        gray = np.uint8(np.clip(image, 0, 255))
        Image.fromarray(gray).save(folder / "image" / f"{i}.png")
        Image.fromarray(np.uint8(255 * mask)).save(folder / "label" / f"{i}.png")


def write_boxes(folder, *, train, test, size):
    """As Pascal VOC: a bright square and a dark disc on a noisy ground in each."""
    rng = np.random.default_rng(0)
    for name in ("images", "annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    y, x = np.indices((size, size)) + 0.5
    for i in range(train + test):
        image = rng.normal(110, 20, (size, size))
        annotated, names = "", rng.permutation(["square", "disc"])
        # One in the upper half and one in the lower, so that they never touch.
        for top, name in zip((0, size / 2), names, strict=True):
            side = int(rng.integers(size // 4, size // 2 - 1))
            left = int(rng.integers(0, size - side + 1))
            top = int(top + rng.integers(0, size // 2 - side + 1))
            far = np.stack([y - top - side / 2, x - left - side / 2])
            if name == "square":
                image[np.abs(far).max(axis=0) < side / 2] += 90
            else:
                image[np.hypot(*far) < side / 2] -= 80
            annotated += voc_object(name, (left, top, left + side, top + side))
        gray = np.uint8(np.clip(image, 0, 255))
        Image.fromarray(gray).save(folder / "images" / f"{i}.png")
        text = f"<annotation>\n{annotated}</annotation>\n"
        (folder / "annotations" / f"{i}.xml").write_text(text)
    for name, rows in (("train", range(train)), ("test", range(train, train + test))):
        (folder / f"ImageSets/Main/{name}.txt").write_text("\n".join(map(str, rows)))


def voc_object(name, box):
    """An object as VOC writes it, whose pixels are counted from 1."""
    corners = zip(
        ("xmin", "ymin", "xmax", "ymax"), np.add(box, (1, 1, 0, 0)), strict=True
    )
    tags = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
    return f"<object><name>{name}</name><bndbox>{tags}</bndbox></object>\n"


def write_coco(voc, folder):
    """The images and boxes of Pascal VOC's folders, as COCO has them."""
    splits = data.load(f"voc:{voc}", task="detection")
    for name, split in (("train", splits.train), ("val", splits.test)):
        (folder / name).mkdir(parents=True)
        examples = split.fetch(np.arange(len(split)))
        images, annotations = [], []
        for id, image in enumerate(examples["image"]):
            images.append({"id": id, "file_name": f"{id}.png"})
            Image.fromarray(image[..., 0]).save(folder / name / f"{id}.png")
            labels = examples["label"][id].tolist()
            corners = zip(examples["boxes"][id].tolist(), labels, strict=True)
            annotations += [
                {"image_id": id, "category_id": k, "bbox": [x, y, x2 - x, y2 - y]}
                for (x, y, x2, y2), k in corners
                if k >= 0
            ]
        names = enumerate(splits.class_names)
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": id, "name": name} for id, name in names],
        }
        (folder / "annotations").mkdir(exist_ok=True)
        path = folder / "annotations" / f"instances_{name}.json"
        path.write_text(json.dumps(content))
