"""Bad files of MNIST's format."""

import gzip
import os
import pathlib
import struct

import numpy as np

from tests.hostile.case import Case, Cases, on

COUNT, SIDE = 12, 28
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def header(*shape: int, kind: int = 8, zeros: int = 0) -> bytes:
    """The first bytes of a file of an array of that shape."""
    return struct.pack(">HBB", zeros, kind, len(shape)) + struct.pack(
        f">{len(shape)}I", *shape
    )


PIXELS = np.random.default_rng(0).integers(0, 256, COUNT * SIDE**2, np.uint8).tobytes()
GOOD = header(COUNT, SIDE, SIDE) + PIXELS
GOOD_LABELS = header(COUNT) + bytes(i % 2 for i in range(COUNT))

BAD_IMAGES: dict[str, bytes] = {
    "empty": b"",
    "three bytes": GOOD[:3],
    "cut in the header": GOOD[:10],
    "cut in the pixels": GOOD[:-1],
    "a byte too many": GOOD + b"\0",
    "another magic number": b"\1" + GOOD[1:],
    "of floats": header(COUNT, SIDE, SIDE, kind=13) + PIXELS,
    "of rank 1": header(COUNT) + PIXELS,
    "of rank 4": header(COUNT, SIDE, SIDE, 1) + PIXELS,
    "no images": header(0, SIDE, SIDE),
    "0 x 0 pixels": header(COUNT, 0, 0),
    "0 x 28 pixels": header(COUNT, 0, SIDE),
    "28 x 0 pixels": header(COUNT, SIDE, 0),
    "promises 2**96 bytes": header(*[2**32 - 1] * 3) + PIXELS,
    "text": b"not an idx file at all",
    "little endian": struct.pack("<I3I", 2051, COUNT, SIDE, SIDE) + PIXELS,
    "another count": header(COUNT - 1, SIDE, SIDE) + PIXELS[SIDE**2 :],
}
BAD_LABELS: dict[str, bytes] = {
    "empty": b"",
    "cut": GOOD_LABELS[:-1],
    "all of one class": header(COUNT) + bytes(COUNT),
    "of rank 3": header(COUNT, 1, 1) + bytes(COUNT),
    "one of each class": header(COUNT) + bytes(range(COUNT)),
}


def cases() -> Cases:
    """All of them."""
    for name, content in BAD_IMAGES.items():
        yield _case(f"images {name}", {IMAGES: content, LABELS: GOOD_LABELS})
        packed = {f"{IMAGES}.gz": gzip.compress(content), LABELS: GOOD_LABELS}
        yield _case(f"images {name}, packed", packed)
    for name, content in BAD_LABELS.items():
        yield _case(f"labels {name}", {IMAGES: GOOD, LABELS: content})
    packed = gzip.compress(GOOD)
    for name, content in {
        "no gzip": b"no gzip",
        "empty": b"",
        "cut": packed[:-30],
        "cut in its sum": packed[:-4],
        "a flipped byte": packed[:100] + bytes([packed[100] ^ 1]) + packed[101:],
        "a wrong sum": packed[:-8] + bytes(4) + packed[-4:],
        "rubbish behind": packed + b"rubbish",
    }.items():
        yield _case(f"gzip {name}", {f"{IMAGES}.gz": content, LABELS: GOOD_LABELS})
    yield _case("images missing", {LABELS: GOOD_LABELS})
    yield _case("labels missing", {IMAGES: GOOD})
    test = {"t10k-images-idx3-ubyte": GOOD}
    yield _case("test labels missing", {IMAGES: GOOD, LABELS: GOOD_LABELS, **test})
    smaller = header(COUNT, 14, 14) + PIXELS[: COUNT * 14 * 14]
    test = {"t10k-images-idx3-ubyte": smaller, "t10k-labels-idx1-ubyte": GOOD_LABELS}
    yield _case("test size", {IMAGES: GOOD, LABELS: GOOD_LABELS, **test})
    beyond = header(COUNT) + bytes(range(COUNT))
    test = {"t10k-images-idx3-ubyte": GOOD, "t10k-labels-idx1-ubyte": beyond}
    yield _case("test classes", {IMAGES: GOOD, LABELS: GOOD_LABELS, **test})
    yield Case("idx/a bomb of 3 GB", "classification", _bomb)
    yield Case("idx/a FIFO", "classification", _fifo)


def _case(name: str, files: dict[str, bytes]) -> Case:
    def make(folder: pathlib.Path) -> list[str]:
        for file, content in files.items():
            (folder / file).write_bytes(content)
        return on("classification", f"idx:{folder}", "--holdout=0.4")

    return Case(f"idx/{name}", "classification", make)


def _bomb(folder: pathlib.Path) -> list[str]:
    zeros, count = bytes(1 << 24), 180
    with gzip.open(folder / f"{IMAGES}.gz", "wb", compresslevel=1) as stream:
        stream.write(GOOD)
        for _ in range(count):
            stream.write(zeros)
    (folder / LABELS).write_bytes(GOOD_LABELS)
    return on("classification", f"idx:{folder}")


def _fifo(folder: pathlib.Path) -> list[str]:
    os.mkfifo(folder / IMAGES)
    (folder / LABELS).write_bytes(GOOD_LABELS)
    return on("classification", f"idx:{folder}")
