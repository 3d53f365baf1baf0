"""`--method=filters`: the first layer's filters, and Gabor functions fitted to them."""

from typing import Any

import numpy as np
from jaxtyping import Float

from cnnjax import interpret
from cnnjax.models import weights
from experiments.interpretation.asked import Asked, Found
from experiments.interpretation.figures import Panel, panels
from experiments.interpretation.subject import Subject
from experiments.summary import summarize

SMALLEST = 5  # filters that are fitted: a Gabor function has eight numbers
_SCALE = 16  # pixels of a weight


def filters(asked: Asked) -> Found:
    """The filters as a picture, and the Gabor function nearest to each."""
    name, kernel = first_kernel(asked.subject)
    height, width, channels, count = kernel.shape
    gray = kernel.mean(axis=2, keepdims=True)
    shown = [
        Panel(f"{count} filters {height}x{width}x{channels}", _grid(kernel)),
        Panel("the mean of their channels", _grid(gray)),
    ]
    lines: list[list[str]] = [["filters", "shape"], [name, f"{height}x{width}"]]
    numbers: list[dict[str, Any]] = []
    words = ", too small for Gabor functions to be told apart"
    if min(height, width) >= SMALLEST:
        fits = [interpret.fit_gabor(gray[:, :, 0, i]) for i in range(count)]
        fitted = np.stack([gabor.values(height, width) for gabor, _ in fits], axis=-1)
        shown.append(Panel("Gabor functions nearest to it", _grid(fitted[:, :, None])))
        numbers = [
            {"filter": i, "r2": share, **gabor._asdict()}
            for i, (gabor, share) in enumerate(fits)
        ]
        middle = float(np.median([share for _, share in fits]))
        lines, words = _lines(numbers), f"; R squared: median {middle:.3f}"
    title = f"{name} of {asked.subject.words}; gray: 0"
    panels([shown], title, asked.folder / "filters.png")
    result = {"layer": name, "shape": list(kernel.shape), "filters": numbers}
    note = f"{count} filters {height}x{width}x{channels} of {name}{words}"
    return Found(lines, result, notes=(note,))


def _lines(numbers: list[dict[str, Any]]) -> list[list[str]]:
    """The five filters most like a Gabor function."""
    best = sorted(numbers, key=lambda row: -row["r2"])[:5]
    head = ["filter", "R squared", "wavelength, pixels", "direction, degrees"]
    return [
        head,
        *(
            [
                str(row["filter"]),
                f"{row['r2']:.3f}",
                f"{2 * np.pi / row['omega']:.1f}" if row["omega"] else "",
                f"{np.degrees(row['theta']) % 180:.0f}",
            ]
            for row in best
        ),
    ]


def first_kernel(subject: Subject) -> tuple[str, Float[np.ndarray, "h w c k"]]:
    """The first convolution in the order of computation, and its kernel."""
    flat = weights.flatten(subject.variables["params"])
    side = max(64, *subject.image_shape[:2], subject.model.smallest)
    rows = summarize(subject.model, (side, side, subject.image_shape[-1]))
    kernels = {row.name: flat.get(f"{row.name}/kernel", np.zeros(0)) for row in rows}
    name = next(name for name, kernel in kernels.items() if kernel.ndim == 4)
    return name, np.asarray(kernels[name], np.float32)


def _grid(kernel: np.ndarray) -> np.ndarray:
    enlarged = interpret.filter_grid(kernel)
    return enlarged.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
