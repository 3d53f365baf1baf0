"""Your own pictures: `PATH/class/image.*` or `PATH/split/class/image.*`.

Folders are split folders where there is a `train` that holds no pictures itself; the
test split is the first of `test`, `val`, `validation`, `valid`, and held out where
there is none. The names of the class folders, in natural order, name the classes.
Hidden files are left out silently; files whose suffix names no picture, and
folders where none is expected, are left out and counted in the data set's note.
"""

import functools
import os
import pathlib
import re

import numpy as np

from cnnjax.data import files
from cnnjax.data.classification import ClassifiedImages, classification
from cnnjax.data.dataset import Dataset, Options
from cnnjax.data.decode import FORMATS
from cnnjax.data.decoded import Listed
from cnnjax.data.images import EncodedImages, Picture, survey
from cnnjax.data.prepared import PreparedImages
from cnnjax.errors import UsageError

SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
TEST_SPLITS = ("test", "val", "validation", "valid")


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
    _check_preparation(options)
    root = pathlib.Path(location).expanduser()
    if not location or not root.is_dir():
        raise UsageError(f"folder: there is no folder {location!r}.")
    train_root, test_root, ignored = _splits(root)
    classes = _classes(train_root)
    names = [folder.name for folder in classes]
    train, test = _pictures(classes, names, ignored), []
    if test_root:
        test_classes = _classes(test_root)
        for folder in test_classes:
            if folder.name not in names:
                raise UsageError(
                    f"{test_root} has more classes than {train_root}: "
                    f"{folder.name} has no training images."
                )
        test = _pictures(test_classes, names, ignored)
    shape = survey(Listed(train + test), options)
    identity = files.names_and_sizes((x.data for x in train + test), root=root)
    split = functools.partial(_split, shape, root, identity, options)
    return classification(
        split("train", train),
        split("test", test) if test else None,
        names,
        options,
        name=str(root),
        identity=identity,
        note=_note(root, ignored),
    )


def _check_preparation(options: Options) -> None:
    """Refuses to prepare what is not said where, or from what is no folder."""
    if options.preparation is not None:
        if options.data_dir is None:
            raise UsageError("--prepare of a folder takes --data_dir=WHERE_TO_PUT_IT.")
        if options.preparation.manual_dir is not None:
            raise UsageError("--manual_dir is for tfds: data sets; leave it out.")


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


def _pictures(classes, names, ignored) -> list[Picture]:
    """Returns the pictures in `classes`, and adds what is none to `ignored`."""
    found = []
    for folder in classes:
        inside = _entries(folder)
        paths = [path for path, is_dir in inside if _is_picture(path, is_dir)]
        if not paths:
            raise UsageError(
                f"{folder} has no images (of {', '.join(SUFFIXES)}): "
                "a class needs some, or its folder has to go."
            )
        label = names.index(folder.name)
        found += [Picture(path, label, str(path)) for path in paths]
        ignored += [path for path, is_dir in inside if not _is_picture(path, is_dir)]
    ignored += _listed(classes[0].parent, files=True)
    return found


def _split(shape, root, identity, options, name, pictures) -> ClassifiedImages:
    """Returns the pictures as they are read: from what is prepared of them, if asked.

    Args:
        shape: of all pictures.
        root: the folder.
        identity: names and sizes of all pictures in it.
        options: say where they are prepared, if they are.
        name: of this split.
        pictures: of this split.
    """
    labels = np.array([picture.label for picture in pictures], np.int32)
    images = EncodedImages(Listed(pictures), shape, labels=labels)
    if options.data_dir is None:
        return images
    return PreparedImages(
        images,
        labels,
        split=name,
        root=root,
        identity=identity,
        data_dir=options.data_dir,
        preparation=options.preparation,
    )


def _note(root, ignored):
    if not ignored:
        return ""
    some = ", ".join(str(path.relative_to(root)) for path in ignored[:3])
    more = ", ..." if len(ignored) > 3 else ""
    return f"Left aside {len(ignored)} files and folders: {some}{more}."


def _is_picture(path, is_dir):
    return not is_dir and path.suffix.lower() in SUFFIXES


def _listed(folder, *, files=None, suffixes=None):
    """Returns what is in `folder` in natural order: files, folders, or (None) both."""
    return [
        path
        for path, is_folder in _entries(folder)
        if (files is None or is_folder != files)
        and (suffixes is None or path.name.lower().endswith(suffixes))
    ]


def _entries(folder) -> list[tuple[pathlib.Path, bool]]:
    """Returns what is in `folder` in natural order, and whether it is a folder.

    The listing says so by itself: no file is asked for its type.
    """
    with os.scandir(folder) as entries:
        found = [
            (folder / entry.name, entry.is_dir())
            for entry in entries
            if not entry.name.startswith((".", "__"))
        ]
    return sorted(found, key=lambda found: _natural(found[0].name))


def _natural(name):
    """Sorts `name` by its numbers' values: "image2" comes before "image10"."""
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if part.isdecimal() else part for part in parts], name
