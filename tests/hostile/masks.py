"""Bad masks, and folders of them."""

import os
import pathlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests import synthetic
from tests.hostile.case import Case, Cases, on
from tests.hostile.pictures import BAD, READABLE, encoded

SIZE = 32


def write(root: pathlib.Path) -> None:
    """Images and masks that a run can learn from, with a test split."""
    synthetic.write_masks(root / "train", count=8, size=SIZE)
    synthetic.write_masks(root / "test", count=4, size=SIZE, start=1)


def _put(path: str, content: bytes) -> Callable[[pathlib.Path], None]:
    return lambda root: (root / path).write_bytes(content)


def _mask(
    path: str, values: np.ndarray, **options: object
) -> Callable[[pathlib.Path], None]:
    return lambda root: Image.fromarray(values).save(root / path, **options)


def _instead(path: str, other: str, content: bytes) -> Callable[[pathlib.Path], None]:
    def spoil(root: pathlib.Path) -> None:
        (root / path).unlink()
        (root / other).write_bytes(content)

    return spoil


def _all(split: str, value: int) -> Callable[[pathlib.Path], None]:
    def spoil(root: pathlib.Path) -> None:
        for path in (root / split / "label").iterdir():
            Image.fromarray(np.full((SIZE, SIZE), value, np.uint8)).save(path)

    return spoil


def _ids(split: str) -> Callable[[pathlib.Path], None]:
    """Masks of ids 0, 1 and void; all of one split are void alone."""

    def spoil(root: pathlib.Path) -> None:
        for part in ("train", "test"):
            for path in (root / part / "label").iterdir():
                ids = np.indices((SIZE, SIZE))[0] // 16
                ids = np.full_like(ids, 255) if part == split else ids
                Image.fromarray(np.uint8(ids)).save(path)

    return spoil


def _remove(pattern: str) -> Callable[[pathlib.Path], None]:
    def spoil(root: pathlib.Path) -> None:
        for path in root.glob(pattern):
            path.unlink()

    return spoil


def _fifo(path: str) -> Callable[[pathlib.Path], None]:
    def spoil(root: pathlib.Path) -> None:
        (root / path).unlink()
        os.mkfifo(root / path)

    return spoil


def _too_few_names(root: pathlib.Path) -> None:
    (root / "classes.txt").write_text("one\ntwo\n")
    Image.fromarray(np.full((SIZE, SIZE), 7, np.uint8)).save(root / MASK)


MASK = "train/label/0.png"
COLORS = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
SPOILED: dict[str, Callable[[pathlib.Path], None]] = {
    "a JPEG": _put(MASK, encoded("JPEG", size=SIZE)),
    "a lossy WebP": _put(MASK, encoded("WEBP", size=SIZE, mode="RGB", quality=50)),
    "a lossy WebP by name": _instead(
        MASK, "train/label/0.webp", encoded("WEBP", size=SIZE, mode="RGB", quality=50)
    ),
    "coloured": _mask(MASK, COLORS),
    "of another size": _mask(MASK, np.zeros((SIZE, SIZE + 1), np.uint8)),
    "of floats": _put(MASK, encoded("TIFF", size=SIZE, mode="F")),
    "a value that only a test mask has": _mask(
        "test/label/0.png", np.full((SIZE, SIZE), 77, np.uint8)
    ),
    "all void in training": _ids("train"),
    "all void in test": _ids("test"),
    "no masks": _remove("train/label/*"),
    "no images": _remove("train/image/*"),
    "one mask missing": _remove(MASK),
    "one image missing": _remove("train/image/0.png"),
    "two of one stem": _put("train/label/0.bmp", encoded("BMP", size=SIZE)),
    "a FIFO": _fifo(MASK),
    "an image that is a FIFO": _fifo("train/image/0.png"),
    "classes.txt of one class": _put("classes.txt", b"one\n"),
    "classes.txt of twice the same": _put("classes.txt", b"one\none\n"),
    "classes.txt of bytes": _put("classes.txt", b"\xff\xfe\xfa\n\xff\n"),
    "classes.txt of too few": _too_few_names,
    "ids of 32 bits": _mask(
        MASK, np.full((SIZE, SIZE), 2**20, np.int32), format="TIFF"
    ),
}


def cases() -> Cases:
    """All of them, and every bad picture as a mask and as an image."""
    for name, spoil in SPOILED.items():
        yield _case(f"masks/{name}", spoil)
    for name, content in BAD.items():
        if name == "TIFF of floats":
            continue
        for kind, path in (("mask", MASK), ("image", "train/image/0.png")):
            put, harmless = _put(path, content), name in READABLE
            yield _case(f"masks/{kind} {name}", put, harmless=harmless)
    void = ("--validation=0.25",)
    yield _case("masks/all void in validation", _void_validation, *void)
    for name, flags in {
        "tile below the margin": ("--tile=1",),
        "crop larger than the image": ("--crop_size=1000",),
        "depth too deep": ("--depth=12",),
        "borders of no classes": ("--border_weight=10", "--border_sigma=1e300"),
        "rotates by nan": ("--augment=rotate:nan",),
    }.items():
        yield _case(f"masks/{name}", lambda root: None, *flags)


def _void_validation(root: pathlib.Path) -> None:
    """Whatever is held out, in order or at random, most of it is void."""
    paths = sorted((root / "train" / "label").iterdir())
    for path in paths:
        ids = np.full((SIZE, SIZE), 255, np.uint8)
        if path == paths[0]:
            ids = np.uint8(np.indices((SIZE, SIZE))[0] // 16)
        Image.fromarray(ids).save(path)
    for path in (root / "test" / "label").iterdir():
        Image.fromarray(np.uint8(np.indices((SIZE, SIZE))[0] // 16)).save(path)


def _case(
    name: str,
    spoil: Callable[[pathlib.Path], object],
    *flags: str,
    harmless: bool = False,
) -> Case:
    def make(folder: pathlib.Path) -> list[str]:
        write(folder / "data")
        spoil(folder / "data")
        return on("segmentation", "masks:data", *flags)

    return Case(name, "segmentation", make, harmless=harmless)
