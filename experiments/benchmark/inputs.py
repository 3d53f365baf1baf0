"""Images that one core makes ready in a second: of a folder, and of what is prepared.

JPEGs (`jpegs.make`) are decoded and resized, and read where they were stored so. CPU
seconds of all threads count, so that cores do not add up and other programs do not
matter; on a network or a slow disk there is waiting as well.
"""

import pathlib
import statistics
import tempfile
import time
from typing import NamedTuple

import numpy as np

from cnnjax.data import Preparation, Source
from cnnjax.data.decoded import Listed
from cnnjax.data.images import EncodedImages, Picture
from cnnjax.data.resize import Resize
from cnnjax.data.stored import Stored, store
from experiments.benchmark import jpegs, selection
from experiments.benchmark.tables import Table, timed

COUNT = 512  # pictures
BATCH = 64
HEAD = (
    "images",
    "folder images/s",
    "prepared images/s",
    "prepared/folder",
    "to prepare, images/s",
    "prepared KB an image",
)


class Row(NamedTuple):
    """Squares of a size, made in one of `RESIZE_MODES`."""

    size: int
    mode: str

    def __str__(self) -> str:
        return f"{self.size} {self.mode}"


ROWS = (Row(224, "crop"), Row(320, "fit"))


def run(
    *, only: str, rounds: int, workdir: pathlib.Path, precision: str = "float32"
) -> list[dict]:
    """Times the rows and writes the table.

    Returns:
        One record a row: milliseconds of a core for an image of the folder, for one
        that is prepared, and to prepare one; bytes of a prepared one.

    Raises:
        UsageError: if one of `only` is in the name of no row.
    """
    del precision  # no products are computed
    rows = selection.chosen(selection.everywhere(ROWS), only)
    table = Table("input", HEAD, _cells, _below, timed(rounds), workdir)
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        jpegs.make(folder / "jpegs", COUNT)
        table.fill(rows, lambda row: [_timed(row, folder, rounds)])
    return table.records


def _timed(row: Row, folder: pathlib.Path, rounds: int) -> dict:
    paths = sorted((folder / "jpegs").rglob("*.jpg"))
    pictures = Listed(Picture(path, 0, str(path)) for path in paths)
    labels = np.zeros(len(paths), np.int32)
    images = EncodedImages(pictures, (jpegs.HEIGHT, jpegs.WIDTH, 3), labels=labels)
    resize = Resize(row.size, row.mode)
    decoding, unit = images.on_fetch(resize), folder / str(row)
    unit.mkdir()
    start = time.process_time()
    shape = list(resize.shape(images.shape))
    what = {"image_shape": shape, "resize_mode": row.mode}
    store(decoding, unit, what, Preparation())
    preparing = time.process_time() - start
    sources = {"folder": decoding, "prepared": Stored(unit, what, labels)}
    seconds = {name: [] for name in sources}
    for _ in range(rounds):
        for name, source in sources.items():
            seconds[name].append(_seconds(source))
    size = sum(path.stat().st_size for path in unit.iterdir())
    return {
        "images": str(row),
        **{name: 1e3 * statistics.median(x) / COUNT for name, x in seconds.items()},
        "preparing": 1e3 * preparing / COUNT,
        "bytes": size / COUNT,
    }


def _seconds(source: Source) -> float:
    """CPU seconds to fetch all images, in batches of any order."""
    order = np.random.default_rng(0).permutation(len(source))
    start = time.process_time()
    for first in range(0, len(order), BATCH):
        source.fetch(order[first : first + BATCH])
    return time.process_time() - start


def _cells(record: dict) -> list:
    folder, prepared, preparing = (
        f"{1e3 / record[name]:,.0f}" for name in ("folder", "prepared", "preparing")
    )
    ratio = record["folder"] / record["prepared"]
    kilobytes = f"{record['bytes'] / 1e3:.0f}"
    return [record["images"], folder, prepared, ratio, preparing, kilobytes]


def _below(records: list[dict]) -> list[str]:
    del records
    size = f"{jpegs.WIDTH}x{jpegs.HEIGHT}"
    return [f"{COUNT} JPEGs of {size} and about 100 KB; images a second of one core."]
