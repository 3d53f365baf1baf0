"""Images as they are stored once they have been decoded and resized.

They lie in a folder of three files:

- `images.array_record`: of each image the height and width that are valid, as two int32
  (little endian), and these pixels as uint8, row by row. Nothing is lost, and little is
  left to do; there is a hash over each record.
- `sums.npy`: the `statistics.pixel_sums` of each image.
- `prepared.json`: what the images are. Written last: without it nothing is stored.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from jaxtyping import Int, Int32, UInt8, UInt64

from cnnjax.data import batches, files
from cnnjax.data.dataset import Preparation
from cnnjax.data.decoded import parallel_map, portions
from cnnjax.data.source import Examples, Source
from cnnjax.data.statistics import pixel_sums, valid_images
from cnnjax.errors import UsageError

FORMAT = 1
_RECORDS, _SUMS, _MANIFEST = "images.array_record", "sums.npy", "prepared.json"
_BATCH = 64  # images that are decoded at once
_HEAD = np.dtype("<i4")

Manifest = dict[str, Any]


class Stored:
    """A source of stored images.

    Args:
        folder: where they are.
        manifest: of this folder.
        labels: their labels.

    Raises:
        UsageError: if they are damaged.
    """

    in_memory = False

    def __init__(
        self, folder: pathlib.Path, manifest: Manifest, labels: Int32[np.ndarray, " n"]
    ):
        self.labels = labels
        self._folder, self._manifest = folder, manifest
        files.opened(folder / _RECORDS).close()
        with self._whole():
            self._reader = ArrayRecordReader(
                str(folder / _RECORDS),
                options="readahead_buffer_size:0",
                file_reader_buffer_size=2**15,
            )
            if self._reader.num_records() != len(labels):
                raise ValueError(f"{_RECORDS} does not hold {len(labels)} images")

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, indices: Int[np.ndarray, " n"]) -> Examples:
        """Returns the examples at `indices`.

        Raises:
            UsageError: if one is damaged.
        """
        shape = (len(indices), *self._manifest["image_shape"])
        images, sizes = np.zeros(shape, np.uint8), np.zeros((shape[0], 2), np.int32)
        with self._whole():
            for places in portions(len(indices)):
                records = self._reader.read([int(i) for i in indices[places]])
                for place, record in zip(places, records, strict=True):
                    image = _image(record, shape[-1])
                    sizes[place] = height, width = image.shape[:2]
                    images[place, :height, :width] = image
        examples = {"image": images, "label": self.labels[indices]}
        if self._manifest["resize_mode"] == "fit":
            examples["valid_size"] = sizes
        return examples

    def pixel_sums(self, indices: Int[np.ndarray, " n"]) -> UInt64[np.ndarray, "n k"]:
        """Returns the sums over each image at `indices`; no image is read.

        Raises:
            UsageError: if they are damaged.
        """
        content = files.content(self._folder / _SUMS)
        with self._whole():
            if _sha256(content) != self._manifest["sums_sha256"]:
                raise ValueError(f"{_SUMS} does not have its SHA-256")
        return np.load(io.BytesIO(content))[indices]

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError) as error:
            raise _damaged(self._folder, str(error)) from error


def manifest(folder: pathlib.Path) -> Manifest | None:
    """Returns what `folder` says is stored there; None if nothing is.

    Raises:
        UsageError: if that is damaged, or of another revision.
    """
    path = folder / _MANIFEST
    if not path.exists():
        return None
    try:
        found = json.loads(files.content(path))
        known = found["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(folder, f"{_MANIFEST}: {error!r}") from None
    if known != FORMAT:
        raise UsageError(
            f"{folder} has format {known}, and this revision knows {FORMAT}: name"
            " another --data_dir."
        )
    return found


def store(
    source: Source, folder: pathlib.Path, manifest: Manifest, preparation: Preparation
) -> None:
    """Stores the images of `source` in `folder`, in place of what is there.

    Args:
        source: the images, with "valid_size" if only a part of each is valid.
        folder: there already.
        manifest: what they are, "image_shape" and "resize_mode" among it.
        preparation: shows how far this is.

    Raises:
        UsageError: if an image is damaged, or `folder` cannot be written.
    """
    try:
        with writing(folder):
            _remove(folder, _MANIFEST, _RECORDS, _SUMS)
        sums = _write_records(source, folder, preparation)
        with writing(folder):
            _write_rest(folder, manifest, sums)
    except BaseException:
        _remove(folder, _RECORDS, _SUMS)  # which may have filled the disk
        raise


def _remove(folder, *names) -> None:
    """Removes files; who has opened one reads it still."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _write_records(source, folder, preparation) -> UInt64[np.ndarray, "n k"]:
    """Writes the images, and returns the sums over each."""
    total = -(-len(source) // _BATCH)
    steps = batches.evaluation(source, batch_size=_BATCH)
    sums = []
    with writing(folder):
        options = "group_size:1,uncompressed"
        writer = ArrayRecordWriter(str(folder / _RECORDS), options)
    for batch in preparation.progress(steps, f"preparing {folder.name}", total):
        images = valid_images(batch)[: np.count_nonzero(batch["mask"])]
        sums += parallel_map(pixel_sums, images)
        with writing(folder):
            for image in images:
                writer.write(_record(image))
    with writing(folder):
        writer.close()
    return np.stack(sums)


def _write_rest(folder, manifest, sums) -> None:
    content = io.BytesIO()
    np.save(content, sums)
    (folder / _SUMS).write_bytes(content.getvalue())
    whole = {"format": FORMAT, **manifest, "sums_sha256": _sha256(content.getvalue())}
    partial = folder / f"{_MANIFEST}.partial"
    partial.write_text(json.dumps(whole, indent=2) + "\n")
    os.replace(partial, folder / _MANIFEST)


def _record(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    return np.array(image.shape[:2], _HEAD).tobytes() + image.tobytes()


def _image(record: bytes, channels: int) -> UInt8[np.ndarray, "h w c"]:
    height, width = np.frombuffer(record, _HEAD, 2)
    pixels = np.frombuffer(record, np.uint8, offset=2 * _HEAD.itemsize)
    return pixels.reshape(height, width, channels)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def writing(folder: pathlib.Path) -> Iterator[None]:
    """Refuses a folder that cannot be written: errors become a UsageError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition(";")[0]
        raise UsageError(f"{folder} cannot be written: {reason}.") from error


def _damaged(folder: pathlib.Path, reason: str) -> UsageError:
    line = reason.partition("\n")[0]
    return UsageError(
        f"{folder} is damaged ({line}): remove it, and --prepare prepares it anew."
    )
