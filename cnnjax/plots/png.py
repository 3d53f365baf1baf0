"""Writes figures."""

import os
import pathlib

from matplotlib.figure import Figure

Path = str | os.PathLike


def save(figure: Figure, path: Path) -> None:
    """Writes `figure` as a PNG file, whole or not at all."""
    path = pathlib.Path(path)
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, format="png", dpi=150, facecolor="white")
    os.replace(partial, path)
