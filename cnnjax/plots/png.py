"""Writes figures."""

import contextlib
import os
import pathlib
import warnings
from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.text import Text

Path = str | os.PathLike


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hides warnings of missing glyphs and of names too long for the layout."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def read_no_mathematics(figure: Figure) -> None:
    """Has the texts of a figure drawn as they are: $a$ with its dollar signs."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)


def save(figure: Figure, path: Path) -> None:
    """Writes `figure` as a PNG file, whole or not at all.

    Its texts are drawn as they are, none is read as mathematics; a letter that the
    font lacks becomes a box.
    """
    path = pathlib.Path(path)
    partial = path.with_name(path.name + ".partial")
    read_no_mathematics(figure)
    try:
        with quietly():
            figure.savefig(partial, format="png", dpi=150, facecolor="white")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
