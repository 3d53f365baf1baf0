"""MNIST-format files: a magic number, big-endian sizes, then one byte a value.

Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits". The
four files have their usual names, plain or gzipped; the two of the test split may
both be missing, and it is held out then.
"""

import contextlib
import gzip
import math
import pathlib
import zlib

import numpy as np
from jaxtyping import Int32, UInt8

from cnnjax.data import files
from cnnjax.data.classification import ImageArrays, classification
from cnnjax.data.dataset import Dataset, Options
from cnnjax.errors import UsageError

UNSIGNED_BYTES = 8  # the third byte of the magic number
IMAGES = "{}-images-idx3-ubyte"
LABELS = "{}-labels-idx1-ubyte"
CHUNK = 2**20  # bytes read at once
INFLATION = 1032  # bytes that one byte of a gzip file can stand for, at most


def read(location: str, options: Options) -> Dataset:
    """Returns the data set whose idx files lie in the folder `location`.

    Raises:
        UsageError: if a file is missing, damaged, or does not agree with its sibling.
    """
    folder = pathlib.Path(location).expanduser()
    if not location or not folder.is_dir():
        raise UsageError(f"idx: there is no folder {location!r}.")
    images, labels = _split(folder, "train")
    train = ImageArrays(images, labels)
    test = None
    if _find(folder, IMAGES.format("t10k")) or _find(folder, LABELS.format("t10k")):
        test_images, test_labels = _split(folder, "t10k")
        if test_images.shape[1:] != images.shape[1:]:
            raise UsageError(
                f"Training images in {folder} have {_by(images.shape[1:3])} pixels, "
                f"test images {_by(test_images.shape[1:3])}."
            )
        test = ImageArrays(test_images, test_labels)
    names = [str(label) for label in range(labels.max(initial=-1) + 1)]
    return classification(train, test, names, options, name=str(folder))


def read_file(path: pathlib.Path, *, rank: int) -> UInt8[np.ndarray, "..."]:
    """Returns the array of `rank` axes in one idx file, plain or gzipped.

    No more is read than its header promises, and nothing where that cannot be true.

    Raises:
        UsageError: if the file is cut short, too long, empty, or of another type or
            rank, or does not fit in memory.
    """
    with _opened(path) as file:
        shape = _header(file, path, rank)
        values = np.empty(math.prod(shape), np.uint8)
        view, place = values.data, 0
        while part := file.read(min(CHUNK, len(view) - place)):
            view[place : place + len(part)] = part
            place += len(part)
        if place < len(view) or file.read(1):  # reads a checksum at the end, too
            follow = f"{place:,} follow" if place < len(view) else "more follow"
            raise _broken_promise(path, shape, follow)
    return values.reshape(shape)


def read_shape(path: pathlib.Path, *, rank: int) -> tuple[int, ...]:
    """Returns the shape of what `read_file` would return, by its header alone.

    Raises:
        UsageError: if the header is damaged, or the file is too short for it.
    """
    with _opened(path) as file:
        return _header(file, path, rank)


def _header(file, path, rank):
    start = 4 + 4 * rank
    head = file.read(start)
    expected = bytes((0, 0, UNSIGNED_BYTES, rank))
    if head[:4] != expected:
        raise UsageError(
            f"{path} begins with {head[:4].hex()}, not with the magic number "
            f"{expected.hex()} of an idx file of bytes with {rank} axes."
        )
    if len(head) < start:
        raise UsageError(f"{path} ends within its header of {start} bytes.")
    shape = tuple(np.frombuffer(head, ">u4", count=rank, offset=4).tolist())
    if not all(shape):
        raise UsageError(
            f"{path} has nothing in it: its header promises {_by(shape)} bytes."
        )
    _check_promise(path, shape, start)
    return shape


def _check_promise(path, shape, start):
    """Refuses a header that promises more than the file or the memory can hold."""
    size, promised = path.stat().st_size, math.prod(shape)
    if path.suffix != ".gz" and size - start != promised:
        raise _broken_promise(path, shape, f"{size - start:,} follow")
    if promised > INFLATION * size:
        raise _broken_promise(path, shape, f"{size:,} bytes cannot hold them gzipped")
    files.check_memory(str(path), promised)


def _broken_promise(path, shape, but):
    return UsageError(
        f"{path} promises {_by(shape)} bytes after its header, but {but}."
    )


def _split(
    folder: pathlib.Path, split: str
) -> tuple[UInt8[np.ndarray, "n h w 1"], Int32[np.ndarray, " n"]]:
    paths = [_found(folder, name.format(split)) for name in (IMAGES, LABELS)]
    counts = [
        read_shape(path, rank=rank)[0] for path, rank in zip(paths, (3, 1), strict=True)
    ]
    if counts[0] != counts[1]:
        raise UsageError(
            f"{paths[0]} has {counts[0]:,} images, "
            f"but {paths[1]} has {counts[1]:,} labels."
        )
    images, labels = read_file(paths[0], rank=3), read_file(paths[1], rank=1)
    return images[..., None], labels.astype(np.int32)


def _found(folder: pathlib.Path, name: str) -> pathlib.Path:
    path = _find(folder, name)
    if path is None:
        raise UsageError(f"{folder} has no {name}, plain or .gz.")
    return path


def _find(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.exists()), None)


@contextlib.contextmanager
def _opened(path):
    with files.opened(path) as file:
        try:
            yield gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UsageError(f"{path} is a damaged gzip file: {error}.") from error
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _by(shape):
    return " x ".join(f"{size:,}" for size in shape)
