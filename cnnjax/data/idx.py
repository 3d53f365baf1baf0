"""MNIST-format files: a magic number, big-endian sizes, then one byte a value.

Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits". The
four files have their usual names, plain or gzipped; the two of the test split may
both be missing, and it is held out then.
"""

import gzip
import math
import pathlib
import zlib

import numpy as np
from jaxtyping import Int32, UInt8

from cnnjax.refusal import Refusal

from .classification import classification, in_memory
from .sources import Dataset, Options

UNSIGNED_BYTES = 8  # the third byte of the magic number
IMAGES = "{}-images-idx3-ubyte"
LABELS = "{}-labels-idx1-ubyte"


def read(location: str, options: Options) -> Dataset:
    """Returns the data set whose idx files lie in the folder `location`.

    Raises:
        Refusal: if a file is missing, damaged, or does not agree with its sibling.
    """
    folder = pathlib.Path(location).expanduser()
    if not location or not folder.is_dir():
        raise Refusal(f"idx: there is no folder {location!r}.")
    images, labels = _split(folder, "train")
    train = in_memory(images, labels, options)
    test = None
    if _find(folder, IMAGES.format("t10k")) or _find(folder, LABELS.format("t10k")):
        test_images, test_labels = _split(folder, "t10k")
        if test_images.shape[1:] != images.shape[1:]:
            raise Refusal(
                f"Training images in {folder} have {_by(images.shape[1:3])} pixels, "
                f"test images {_by(test_images.shape[1:3])}."
            )
        test = in_memory(test_images, test_labels, options)
    names = [str(label) for label in range(labels.max(initial=-1) + 1)]
    return classification(train, test, names, options, name=str(folder))


def read_file(path: pathlib.Path, *, rank: int) -> UInt8[np.ndarray, "..."]:
    """Returns the array of `rank` axes in one idx file, plain or gzipped.

    Raises:
        Refusal: if the file is cut short, too long, or of another type or rank.
    """
    content = _content(path)
    start = 4 + 4 * rank
    expected = bytes((0, 0, UNSIGNED_BYTES, rank))
    if content[:4] != expected:
        raise Refusal(
            f"{path} begins with {content[:4].hex()}, not with the magic number "
            f"{expected.hex()} of an idx file of bytes with {rank} axes."
        )
    if len(content) < start:
        raise Refusal(f"{path} ends within its header of {start} bytes.")
    shape = tuple(np.frombuffer(content, ">u4", count=rank, offset=4).tolist())
    if len(content) - start != math.prod(shape):
        raise Refusal(
            f"{path} promises {_by(shape)} bytes after its header, "
            f"but {len(content) - start:,} follow."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _split(
    folder: pathlib.Path, split: str
) -> tuple[UInt8[np.ndarray, "n h w 1"], Int32[np.ndarray, "n"]]:
    paths = [_find(folder, name.format(split)) for name in (IMAGES, LABELS)]
    for path, name in zip(paths, (IMAGES, LABELS), strict=True):
        if path is None:
            raise Refusal(f"{folder} has no {name.format(split)}, plain or .gz.")
    images, labels = read_file(paths[0], rank=3), read_file(paths[1], rank=1)
    if len(images) != len(labels):
        raise Refusal(
            f"{paths[0]} has {len(images):,} images, "
            f"but {paths[1]} has {len(labels):,} labels."
        )
    return images[..., None], labels.astype(np.int32)


def _find(folder, name):
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _content(path):
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Refusal(f"{path} is a damaged gzip file: {error}.") from error
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}.") from error


def _by(shape):
    return " x ".join(f"{size:,}" for size in shape)
