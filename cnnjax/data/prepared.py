"""Images of a folder that were decoded and resized once, and are read from then on.

What is prepared of a folder lies below `data_dir/NAME_OF_THE_FOLDER`, apart for each
split and each way to resize, such as `train_224x224_crop`: see `stored`.
"""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int32

from cnnjax.data import stored
from cnnjax.data.dataset import Preparation, fingerprint
from cnnjax.data.decoded import fits_in_memory
from cnnjax.data.images import EncodedImages
from cnnjax.data.resize import Resize
from cnnjax.data.source import Columns, Source
from cnnjax.errors import UsageError


class PreparedImages:
    """A split of a folder, read from what is prepared of it.

    Args:
        images: the split as it lies in the folder.
        labels: of these.
        split: its name.
        root: the folder.
        identity: names and sizes of the files of all splits.
        data_dir: where it is prepared, or will be.
        preparation: how to prepare what is not; None refuses that.

    Raises:
        UsageError: if `data_dir` is in the folder itself.
    """

    def __init__(
        self,
        images: EncodedImages,
        labels: Int32[np.ndarray, " n"],
        *,
        split: str,
        root: pathlib.Path,
        identity: str,
        data_dir: str,
        preparation: Preparation | None,
    ):
        self.images, self.labels, self.shape = images, labels, images.shape
        self._split, self._root = split, root.resolve()
        self._sha256 = fingerprint([identity])
        self._data_dir = pathlib.Path(data_dir).expanduser()
        self._preparation = preparation
        if self._data_dir.resolve().is_relative_to(self._root):
            raise UsageError(
                f"--data_dir={data_dir} is in the data set itself: name another."
            )

    def sources(self, resizes: Sequence[Resize], *, workers: int = 0) -> list[Source]:
        """Returns a source for each of `resizes`, in memory where that fits.

        Of several the last alone is prepared where the first does not fit in memory:
        a run trains on uncropped images, and of the cropped ones it reads no more than
        a validation part, which is decoded from the folder.

        Raises:
            UsageError: if one is not prepared, or is not of the folder as it is now, or
                is damaged.
        """
        fits = fits_in_memory(len(self.images), resizes[0].shape(self.shape))
        decoded = [] if fits else resizes[:-1]
        return [
            *self.images.sources(decoded, workers=workers),
            *(self._source(resize, workers) for resize in resizes[len(decoded) :]),
        ]

    def _source(self, resize: Resize, workers: int) -> Source:
        height, width, _ = shape = resize.shape(self.shape)
        name = f"{self._split}_{height}x{width}_{resize.mode}"
        folder = self._data_dir / self._root.name / name
        wanted = {
            "folder": str(self._root),
            "names_and_sizes_sha256": self._sha256,
            "split": self._split,
            "images": len(self.images),
            "image_shape": list(shape),
            "resize_mode": resize.mode,
        }
        if self._preparation is not None:
            decoded = self.images.on_fetch(resize, workers=workers)
            _prepare(decoded, folder, wanted, self._preparation)
        source = stored.Stored(folder, _found(folder, wanted), self.labels)
        if fits_in_memory(len(source), shape):
            return Columns(source.fetch(np.arange(len(source))))
        return source


def _found(folder: pathlib.Path, wanted: stored.Manifest) -> stored.Manifest:
    """Returns what is prepared in `folder`, and is what is `wanted`."""
    found = stored.manifest(folder)
    if found is None:
        raise UsageError(
            f"{wanted['folder']} is not prepared in {folder}: add --prepare to the"
            " command, or leave out --data_dir."
        )
    if not _is_same(found, wanted):
        raise UsageError(f"{_changed(folder, wanted)}: --prepare prepares it anew.")
    return found


def _prepare(
    source: Source,
    folder: pathlib.Path,
    wanted: stored.Manifest,
    preparation: Preparation,
) -> None:
    """Stores `source` in `folder`, unless that has been done."""
    with _alone(folder):
        found = stored.manifest(folder)
        if found is not None:
            if _is_same(found, wanted):
                preparation.log(f"{folder} is prepared already")
                return
            preparation.log(f"{_changed(folder, wanted)}: prepares it anew")
        stored.store(source, folder, wanted, preparation)
    size = sum(path.stat().st_size for path in folder.iterdir())
    preparation.log(f"prepared {len(source)} images in {folder}, {size / 1e9:.2g} GB")


def _is_same(found: stored.Manifest, wanted: stored.Manifest) -> bool:
    """Returns whether `found` is `wanted`, of a folder that may have been moved.

    Raises:
        UsageError: if it is of another folder.
    """
    name = "folder"
    if {**found, name: wanted[name]}.items() >= wanted.items():
        return True
    if found.get(name) != wanted[name]:
        raise UsageError(
            f"--data_dir has what was prepared of {found.get(name)}, which is not the"
            f" same as {wanted[name]}: name another."
        )
    return False


def _changed(folder, wanted):
    return f"{wanted['folder']} is not what it was when {folder} was prepared"


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    """Makes `folder` where it is missing; no other process prepares there meanwhile."""
    with stored.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"Another process is preparing {folder}.") from None
        except OSError:  # of file systems that know no locks
            pass
        yield
