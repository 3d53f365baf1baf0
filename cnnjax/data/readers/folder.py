"""Your own pictures: `PATH/class/image.*` or `PATH/split/class/image.*`.

Folders are split folders where there is a `train` that holds no pictures itself; the
test split is the first of `test`, `val`, `validation`, `valid`, and held out where
there is none. The names of the class folders, in natural order, name the classes.
Hidden files are left out silently; files whose suffix names no picture, and
folders where none is expected, are left out and counted in the data set's note.
"""

import os
import pathlib
import re

import numpy as np
from jaxtyping import Int

from cnnjax.data.classification import classification
from cnnjax.data.dataset import Dataset, Options
from cnnjax.data.decode import FORMATS
from cnnjax.data.images import Picture, source_of, survey
from cnnjax.errors import UsageError

SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
TEST_SPLITS = ("test", "val", "validation", "valid")


class Files:
    """Picture files and their labels."""

    def __init__(self, paths: list[pathlib.Path], labels: list[int]):
        self.paths = paths
        self.labels = np.array(labels, np.int32)

    def __len__(self) -> int:
        return len(self.paths)

    def __add__(self, other: "Files") -> "Files":
        return Files(self.paths + other.paths, [*self.labels, *other.labels])

    def read(self, indices: Int[np.ndarray, "n"]) -> list[Picture]:
        """Returns the files at `indices`."""
        return [
            Picture(self.paths[index], self.labels[index], str(self.paths[index]))
            for index in indices
        ]


def pictures(path: pathlib.Path) -> list[pathlib.Path]:
    """The picture file at `path`, or those in the folder there, in natural order.

    Raises:
        UsageError: if there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"{path} is neither a picture nor a folder of them.")
    found = _listed(path, files=True, suffixes=SUFFIXES)
    if not found:
        raise UsageError(f"{path} has no pictures ({', '.join(SUFFIXES)}).")
    return found


def read(location: str, options: Options) -> Dataset:
    """Returns the pictures in the folders of `location`.

    Raises:
        UsageError: if there are no pictures, they make no sense as classes, or one is
            damaged.
    """
    root = pathlib.Path(location).expanduser()
    if not location or not root.is_dir():
        raise UsageError(f"folder: there is no folder {location!r}.")
    train_root, test_root, ignored = _splits(root)
    classes = _classes(train_root)
    names = [folder.name for folder in classes]
    train = _files(classes, names, ignored)
    test = None
    if test_root:
        test_classes = _classes(test_root)
        for folder in test_classes:
            if folder.name not in names:
                raise UsageError(
                    f"{test_root} has more classes than {train_root}: "
                    f"{folder.name} has no training images."
                )
        test = _files(test_classes, names, ignored)
    shape = survey(train + test if test else train, options)
    return classification(
        _source(train, shape, options),
        _source(test, shape, options) if test else None,
        names,
        options,
        name=str(root),
        identity=_identity(root, train, test),
        note=_note(root, ignored),
    )


def _splits(root):
    train = root / "train"
    if not train.is_dir() or _listed(train, files=True, suffixes=SUFFIXES):
        return root, None, []
    found = [root / name for name in TEST_SPLITS if (root / name).is_dir()]
    test = found[0] if found else None
    others = [path for path in _listed(root) if path not in (train, test)]
    return train, test, others


def _classes(root):
    folders = _listed(root, files=False)
    if not folders:
        loose = len(_listed(root, files=True, suffixes=SUFFIXES))
        what = f"{loose} images but no class folders" if loose else "no images"
        raise UsageError(f"{root} has {what}: expected {root}/CLASS/IMAGE.png.")
    return folders


def _files(classes, names, ignored):
    """Returns the pictures in `classes`, and adds what is none to `ignored`."""
    paths, labels = [], []
    for folder in classes:
        inside = _listed(folder)
        pictures = [path for path in inside if _is_picture(path)]
        if not pictures:
            raise UsageError(
                f"{folder} has no images (of {', '.join(SUFFIXES)}): "
                "a class needs some, or its folder has to go."
            )
        paths += pictures
        labels += [names.index(folder.name)] * len(pictures)
        ignored += [path for path in inside if not _is_picture(path)]
    ignored += _listed(classes[0].parent, files=True)
    return Files(paths, labels)


def _source(files, shape, options):
    return source_of(files, options, shape=shape, labels=files.labels)


def _identity(root, *splits):
    return "\n".join(
        f"{path.relative_to(root).as_posix()} {path.stat().st_size}"
        for files in splits
        if files
        for path in files.paths
    )


def _note(root, ignored):
    if not ignored:
        return ""
    some = ", ".join(str(path.relative_to(root)) for path in ignored[:3])
    more = ", ..." if len(ignored) > 3 else ""
    return f"Left aside {len(ignored)} files and folders: {some}{more}."


def _is_picture(path):
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def _listed(folder, *, files=None, suffixes=None):
    """Returns what is in `folder` in natural order: files, folders, or (None) both."""
    with os.scandir(folder) as entries:
        found = [
            folder / entry.name
            for entry in entries
            if not entry.name.startswith((".", "__"))
            and (files is None or entry.is_dir() != files)
            and (suffixes is None or entry.name.lower().endswith(suffixes))
        ]
    return sorted(found, key=lambda path: _natural(path.name))


def _natural(name):
    """Sorts `name` by its numbers' values: "image2" comes before "image10"."""
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if part.isdecimal() else part for part in parts], name
