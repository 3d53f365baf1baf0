"""Scenes to segment and to search: real digits scattered over a textured background.

scikit-learn's handwritten digits (see `digits`), enlarged to 18 to 36 pixels, lie
brighter than a cloudy, grainy background among fainter strokes; no two boxes overlap.
A scene of 96 x 96 grays holds 3 to 8 of them, one in twenty none. Ink is where an
enlarged digit has more than 0.4 of the darkest gray, so that masks and boxes are exact.
No digit of a test scene is in a training scene. Scenes are the same every time.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from PIL import Image, ImageDraw

from cnnjax.data.dataset import Dataset, Options, fingerprint
from cnnjax.data.readers.digits import WHITE, handwritten
from cnnjax.data.source import Columns
from cnnjax.errors import UsageError

SIZE = 96  # pixels a side
SCENES = {"train": 600, "test": 100}
TEST_DIGITS = 300  # of the 1,797
SEED = 1998
COUNTS = (3, 8)  # digits in a scene
EMPTY = 0.05  # share of scenes without a digit
HEIGHTS = (18, 36)  # pixels, evenly on a log scale
CONTRASTS = (0.35, 0.65)  # of ink above its background
OCTAVES = {2: 0.24, 4: 0.16, 8: 0.12, 16: 0.08, 32: 0.06}  # clouds: nodes, amplitude
STROKES = (4, 10)
FAINT = 0.15  # largest contrast of a stroke
GRAIN = 0.03  # standard deviation
INK = 0.4  # of the darkest gray: at half, thin strokes would break
SHARPNESS = 3  # from paper to ink in a third of the range of the enlarged grays
TRIES = 40  # places to try for a digit before it is left out


class Glyph(NamedTuple):
    """An enlarged digit, cut tightly around its ink."""

    digit: int
    label: int
    opacity: Float32[np.ndarray, "h w"]
    ink: Bool[np.ndarray, "h w"]


class Scenes(NamedTuple):
    """Scenes and what is in them; boxes are filled up with label and digit -1."""

    images: UInt8[np.ndarray, "n size size 1"]
    masks: UInt8[np.ndarray, "n size size"]
    boxes: Float32[np.ndarray, "n m 4"]
    labels: Int32[np.ndarray, "n m"]
    digits: Int32[np.ndarray, "n m"]  # which of scikit-learn's each box holds


def read(location: str, options: Options) -> Dataset:
    """Returns the scenes, with masks or with boxes as the task asks.

    Raises:
        UsageError: if a `location` or another size is given: there is none to choose.
    """
    if location:
        raise UsageError(f"scenes takes no location, got {location!r}.")
    side = options.side((SIZE, SIZE))
    if side not in (None, SIZE):
        raise UsageError(f"scenes have {SIZE} pixels a side, not {side}.")
    train, test = splits()
    digits = tuple(map(str, range(10)))
    if options.task == "detection":
        return _dataset(_boxed(train), _boxed(test), digits, side)
    training, tests = (_masked(part, binary=options.binary) for part in (train, test))
    names = ("background", "digit") if options.binary else ("background", *digits)
    pixels = np.bincount(training["label"].ravel(), minlength=len(names))
    return _dataset(training, tests, names, side, class_pixels=tuple(pixels.tolist()))


def _dataset(train, test, names, side, class_pixels=None):
    return Dataset(
        train=Columns(train),
        test=Columns(test),
        class_names=names,
        image_shape=(SIZE, SIZE, 1),
        fingerprint=fingerprint([*names, *train.values(), *test.values()]),
        note="",
        class_pixels=class_pixels,
        image_size=side,
    )


def _masked(scenes, *, binary):
    masks = np.minimum(scenes.masks, 1) if binary else scenes.masks
    return {"image": scenes.images, "label": masks}


def _boxed(scenes):
    count = len(scenes.images)
    return {
        "image": scenes.images,
        "boxes": scenes.boxes,
        "label": scenes.labels,
        "ignore": np.zeros(scenes.labels.shape, bool),
        "area": (scenes.boxes[..., 2:] - scenes.boxes[..., :2]).prod(axis=-1),
        "valid_size": np.full((count, 2), SIZE, np.int32),
        "scale": np.ones(count, np.float32),
    }


@functools.cache
def splits() -> tuple[Scenes, Scenes]:
    """Returns the scenes to train and to test on."""
    raw = handwritten()
    order = np.random.default_rng(SEED).permutation(len(raw.images))
    parts = {"train": order[TEST_DIGITS:], "test": order[:TEST_DIGITS]}
    train, test = (
        _scenes(np.random.default_rng((SEED, stream)), raw, parts[split], count)
        for stream, (split, count) in enumerate(SCENES.items())
    )
    return train, test


def _scenes(rng, raw, digits, count) -> Scenes:
    images = np.empty((count, SIZE, SIZE, 1), np.uint8)
    masks = np.zeros((count, SIZE, SIZE), np.uint8)
    boxes = np.zeros((count, COUNTS[1], 4), np.float32)
    labels, drawn = np.full((2, count, COUNTS[1]), -1, np.int32)
    for index in range(count):
        scene = _background(rng)
        wanted = 0 if rng.random() < EMPTY else rng.integers(*COUNTS, endpoint=True)
        glyphs = [_glyph(rng, raw, digit) for digit in rng.choice(digits, wanted)]
        for number, (glyph, box) in enumerate(_placed(rng, glyphs)):
            left, top, right, bottom = box
            place = slice(top, bottom), slice(left, right)
            scene[place] += rng.uniform(*CONTRASTS) * glyph.opacity
            masks[index][place][glyph.ink] = glyph.label + 1
            boxes[index, number], labels[index, number] = box, glyph.label
            drawn[index, number] = glyph.digit
        scene += rng.normal(0, GRAIN, scene.shape)
        images[index, ..., 0] = np.rint(255 * scene.clip(0, 1))
    return Scenes(images, masks, boxes, labels, drawn)


def _glyph(rng, raw, digit) -> Glyph:
    drawn = raw.images[digit] > INK * WHITE
    rows, columns = (np.flatnonzero(drawn.any(axis)) for axis in (1, 0))
    height = np.exp(rng.uniform(*np.log(HEIGHTS)))
    factor = height / (rows[-1] - rows[0] + 1)
    grays = np.pad(np.float32(raw.images[digit]), 1)
    size = [round(factor * pixels) for pixels in grays.shape]
    large = Image.fromarray(grays).resize(size[::-1], Image.Resampling.BICUBIC)
    gray = np.asarray(large) / WHITE
    ink = gray > INK
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    tight = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    opacity = (0.5 + SHARPNESS * (gray - INK)).clip(0, 1)
    return Glyph(digit, raw.target[digit], opacity[tight], ink[tight])


def _placed(rng, glyphs):
    """Yields each glyph that finds a free place, the largest first, and its box."""
    taken = np.zeros((SIZE, SIZE), bool)
    for glyph in sorted(glyphs, key=lambda glyph: -glyph.ink.size):
        height, width = glyph.ink.shape
        for _ in range(TRIES):
            top, left = rng.integers(0, (SIZE - height + 1, SIZE - width + 1))
            place = slice(top, top + height), slice(left, left + width)
            if not taken[place].any():
                taken[place] = True
                yield glyph, (left, top, left + width, top + height)
                break


def _background(rng) -> Float32[np.ndarray, "size size"]:
    scene = np.full((SIZE, SIZE), 0.3, np.float32)
    for nodes, amplitude in OCTAVES.items():
        clouds = Image.fromarray(rng.uniform(-1, 1, (nodes, nodes)).astype(np.float32))
        clouds = clouds.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        scene += amplitude * np.asarray(clouds)
    return scene.clip(0.05, 0.6) + _strokes(rng)


def _strokes(rng) -> Float32[np.ndarray, "size size"]:
    """Draws arcs, brighter or darker, at twice the size for smooth edges."""
    sheet = Image.new("F", (2 * SIZE, 2 * SIZE))
    draw = ImageDraw.Draw(sheet)
    for _ in range(rng.integers(*STROKES, endpoint=True)):
        x, y = rng.uniform(0, 2 * SIZE, 2)
        width, height = rng.uniform(10, 1.5 * SIZE, 2)
        start = rng.uniform(0, 360)
        draw.arc(
            (x - width / 2, y - height / 2, x + width / 2, y + height / 2),
            start,
            start + rng.uniform(30, 180),
            fill=rng.uniform(-FAINT, FAINT),
            width=int(rng.integers(2, 7)),
        )
    return np.asarray(sheet.resize((SIZE, SIZE), Image.Resampling.BOX))
