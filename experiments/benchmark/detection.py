"""Speed of detection, compared with other libraries where they are installed.

Rows of one table have the same columns; a table is written as `detection_NAME`.
All picks of suppression are checked to be the same, in the same order, before they are
timed, and so are the scores of windows. OpenCV receives its boxes as a list, which it
reads faster than an array.
"""

import dataclasses
import functools
import importlib.util
import pathlib
from collections.abc import Callable

import jax
import numpy as np

from cnnjax.detection import nms
from cnnjax.errors import UsageError
from experiments.benchmark import families, selection, tables, timing, windows
from experiments.benchmark.timing import Contestant

Pick = Callable[[], np.ndarray]

IOU = 0.5


@dataclasses.dataclass(frozen=True)
class Table:
    """A table before it is filled: its rows, timed in so many rounds, give records."""

    name: str
    head: tuple[str, ...]
    rows: dict[str, Callable[[int], dict]]
    cells: Callable[[dict], list]
    below: str


def run(
    *, only: str, rounds: int, workdir: pathlib.Path, precision: str = "float32"
) -> list[dict]:
    """Times the rows and writes the tables.

    Returns:
        One record for each row: its name and what its table shows.

    Raises:
        UsageError: if one of `only` is in the name of no row, or products are not of
            float32.
    """
    if precision != "float32":
        raise UsageError(
            f"--suite=detection is timed in float32, got --precision={precision}."
        )
    every = selection.everywhere(row for t in TABLES for row in t.rows)
    names = selection.chosen(every, only)
    records = []
    for table in TABLES:
        rows = [row for row in table.rows if row in names]
        if rows:
            records += _fill(table, rows, rounds, workdir)
    return records


def _fill(
    table: Table, rows: list[str], rounds: int, workdir: pathlib.Path
) -> list[dict]:
    filled = tables.Table(
        f"detection_{table.name}",
        table.head,
        lambda record: [record["row"], *table.cells(record)],
        lambda _: [table.below],
        tables.timed(rounds),
        workdir,
    )
    filled.fill(rows, lambda row: [{"row": row, **table.rows[row](rounds)}])
    return filled.records


def clustered(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as a detector finds them, about twenty around each object, and scores."""
    draw = np.random.default_rng(0)
    objects = max(count // 20, 1)
    center, side = (draw.uniform(*r, (objects, 2)) for r in ((0, 1000), (20, 100)))
    shown = draw.integers(0, objects, count)
    center = center[shown] + 0.15 * side[shown] * draw.standard_normal((count, 2))
    side = side[shown] * np.exp(0.15 * draw.standard_normal((count, 2)))
    boxes = np.concatenate([center - side / 2, center + side / 2], 1)
    return boxes.astype(np.float32), draw.random(count, np.float32)


def suppression(count: int, rounds: int) -> dict:
    """Times suppression of `count` boxes; all contestants must pick the same."""
    boxes, scores = clustered(count)
    ours, mib = _ours(boxes, scores)
    calls = {"ours": ours}
    for module, prepare in OTHERS.items():
        if _installed(module):
            calls[module] = prepare(boxes, scores)
    picks = {name: call() for name, call in calls.items()}
    for name, picked in picks.items():
        if not np.array_equal(picked, picks["ours"]):
            raise ValueError(
                f"{count} boxes: ours picks {len(picks['ours'])} and {name} "
                f"{len(picked)}, not the same."
            )
    contestants = {name: Contestant(call) for name, call in calls.items()}
    ms = timing.milliseconds(contestants, rounds)
    return {"picks": len(picks["ours"]), "ms": ms, "extra_mib": mib}


@functools.cache
def _installed(module: str) -> bool:
    """Whether a library is installed; prints a line if it is not."""
    found = importlib.util.find_spec(module) is not None
    if not found:
        print(f"{module} is not installed, its column is left out.")
    return found


def _ours(boxes: np.ndarray, scores: np.ndarray) -> tuple[Pick, float]:
    """Ours compiled, and the MiB that it needs beside arguments and results."""
    function = functools.partial(nms, iou_threshold=IOU, max_outputs=len(boxes))
    args = jax.device_put((boxes, scores))
    compiled = timing.compiled(function, *args)

    def pick() -> np.ndarray:
        indices, valid = map(np.asarray, compiled(*args))
        return indices[valid]

    return pick, timing.extra_bytes(compiled) / 2**20


def _opencv(boxes: np.ndarray, scores: np.ndarray) -> Pick:
    import cv2

    corners_and_sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    lists = corners_and_sizes.tolist(), scores.tolist()
    return lambda: np.ravel(cv2.dnn.NMSBoxes(*lists, 0.0, IOU))


def _torchvision(boxes: np.ndarray, scores: np.ndarray) -> Pick:
    import torch
    import torchvision

    tensors = torch.from_numpy(boxes), torch.from_numpy(scores)
    return lambda: torchvision.ops.nms(*tensors, IOU).numpy()


def _suppression_cells(record: dict) -> list:
    ms = record["ms"]
    others = [ms.get(name) for name in OTHERS]
    ratios = [other and other / ms["ours"] for other in others]
    return [str(record["picks"]), ms["ours"], *others, *ratios, record["extra_mib"]]


OTHERS: dict[str, Callable[[np.ndarray, np.ndarray], Pick]] = {
    "cv2": _opencv,
    "torchvision": _torchvision,
}

SUPPRESSION = Table(
    "nms",
    (
        "suppression",
        "picks",
        "ours ms",
        *(f"{name} ms" for name in OTHERS),
        *(f"{name}/ours" for name in OTHERS),
        "ours extra MiB",
    ),
    {
        f"{count} boxes": functools.partial(suppression, count)
        for count in (1_000, 5_000, 20_000)
    },
    _suppression_cells,
    f"Boxes clustered by twenty, IoU {IOU}, all boxes may be picked.",
)


def _windows_cells(record: dict) -> list:
    cells = [str(record["windows"])]
    for both, unit in ((record["ms"], 1), (record["multiply_adds"], 1e6)):
        dense, crops = both["dense"], both["crops"]
        cells += [dense / unit, crops / unit, crops / dense]
    return cells


CONTESTANTS = ("windows", "RetinaNet", "Faster R-CNN", "R-CNN")
WINDOWS = Table(
    "windows",
    (
        "windows",
        "count",
        "dense ms",
        "crops ms",
        "crops/dense",
        "dense million multiply-adds",
        "crops million multiply-adds",
        "crops/dense",
    ),
    {
        f"width {width:g} stride {stride}": functools.partial(
            windows.timed, 512, width, stride
        )
        for width, stride in ((0.5, 8), (0.5, 4), (1.0, 4), (0.5, 2))
    },
    _windows_cells,
    f"WindowNet on 512x512 pixels, windows of {windows.WINDOW}: evaluated once, and on"
    " crops.",
)

FAMILIES = Table(
    "families",
    (
        "image",
        *(f"{name} ms" for name in CONTESTANTS),
        *(f"{name} extra MiB" for name in CONTESTANTS),
    ),
    {
        families.name_of(*row): functools.partial(families.timed, *row)
        for row in families.ROWS
    },
    lambda record: [
        *(record[key][name] for key in ("ms", "extra_mib") for name in CONTESTANTS)
    ],
    "Random weights, ResNet-18 of half the width; five levels of windows. R-CNN runs"
    f" the network on {families.CROP} pixels a side of each proposal.",
)

TABLES = (SUPPRESSION, WINDOWS, FAMILIES)
