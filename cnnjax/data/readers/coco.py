"""COCO: a json of instances next to its images.

PATH is that json, or a folder: `annotations/instances_{train,val}*.json` next to the
folders `train*` and `val*` of images, or one or more `*.json` next to their images,
or `{train,valid,test}/*.json` with the images there. A file that stands alone is
split at random. Labels are 0, 1, ... in order of the categories' ids; `class_ids` are
these.
Regions of a crowd are to be ignored, as COCO's evaluation does.
"""

import collections
import json
import math
import pathlib
import reprlib

import numpy as np

from cnnjax.data import files
from cnnjax.data.annotations import Annotated, Annotations, is_number
from cnnjax.data.dataset import Dataset, Options
from cnnjax.data.decoded import Listed
from cnnjax.data.detection import detection
from cnnjax.errors import UsageError

PLACES = (
    "annotations/instances_*.json",
    "annotations/*.json",
    "*.json",
    "*/*.json",
)
TEST_SPLITS = ("test", "val")
BOX = "[x, y, width, height]"
GROWTH = 10  # bytes of memory that a byte of JSON takes as lists and numbers, about


def read(location: str, options: Options) -> Dataset:
    """Returns the images and boxes that the json at `location`, or in it, names.

    Raises:
        UsageError: if there is none, it is broken, or names what is not there.
    """
    root = pathlib.Path(location).expanduser()
    if not location or not root.exists():
        raise UsageError(f"coco: there is no file or folder {location!r}.")
    paths, note = ([root], "") if root.is_file() else _splits(root)
    contents = [_parsed(path) for path in paths]
    names = _categories(paths, contents)
    ids = sorted(names)
    labels = {id: label for label, id in enumerate(ids)}
    splits = [
        _pictures(path, content, labels)
        for path, content in zip(paths, contents, strict=True)
    ]
    return detection(
        Listed(splits[0]),
        Listed(splits[1]) if len(splits) > 1 else None,
        [names[id] for id in ids],
        options,
        name=str(root),
        identity=files.names_and_sizes(x.picture.data for part in splits for x in part),
        note=note,
        class_ids=ids,
    )


def _splits(root):
    """Returns the files to train and to test on, and what was left aside."""
    listed = (sorted(root.glob(place)) for place in PLACES)
    found = next((paths for paths in listed if paths), [])
    if not found:
        raise UsageError(
            f"{root} has no json of instances: expected {root}/annotations/"
            f"instances_train*.json, or {root}/NAME.json."
        )
    if len(found) == 1:
        return found, ""
    names = {path: f"{path.parent.relative_to(root)}/{path.stem}" for path in found}
    train = [path for path in found if "train" in names[path]]
    if len(train) != 1:
        raise UsageError(
            f"{root} has {len(found)} json files, and {len(train)} of these have "
            "train in their name: expected one. coco:FILE.json takes a single one."
        )
    others = [path for path in found if path not in train]
    test = [path for word in TEST_SPLITS for path in others if word in names[path]][:1]
    aside = [str(path.relative_to(root)) for path in others if path not in test]
    return train + test, f"Left aside: {', '.join(aside)}." if aside else ""


def _parsed(path):
    text = files.text(path, growth=GROWTH)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path}, line {error.lineno}, column {error.colno}: broken JSON "
            f"({error.msg})."
        ) from None
    except ValueError:  # so many digits take Python forever
        raise UsageError(f"{path} has a whole number of thousands of digits.") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply.") from None
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise UsageError(f"{path} is no file of COCO instances: no list {key!r}.")
        if not all(isinstance(entry, dict) for entry in entries):
            raise UsageError(f"{path}: every one of {key!r} must be an object.")
    return content


def _categories(paths, contents) -> dict[int, str]:
    """Returns the name of each category id, which all files must agree on."""
    names = {}
    for path, content in zip(paths, contents, strict=True):
        for category in content["categories"]:
            id, name = _id(category, "id", path), _text(category, "name", path)
            if names.setdefault(id, name) != name:
                raise UsageError(
                    f"{path} calls category {id} {name!r}, not {names[id]!r}"
                )
    for name, count in collections.Counter(names.values()).items():
        if count > 1:
            raise UsageError(f"{paths[0]}: {count} categories are called {name!r}.")
    return names


def _pictures(path, content, labels) -> list[Annotated]:
    images = {_id(image, "id", path): image for image in content["images"]}
    if len(images) != len(content["images"]):
        raise UsageError(f"{path}: two images have the same id.")
    boxes = collections.defaultdict(list)
    for annotation in content["annotations"]:
        image = _id(annotation, "image_id", path)
        if image not in images:
            raise UsageError(
                f"{path}: an annotation is for image {image}: it has none."
            )
        boxes[image].append(_box(annotation, path, labels))
    names = [_file_name(image, path) for image in images.values()]
    folder = _image_folder(path, names)
    return [
        Annotated.of(_image(folder / name, path), _annotations(path, image, boxes[id]))
        for name, (id, image) in zip(names, images.items(), strict=True)
    ]


def _box(annotation, path, labels):
    box, category = annotation.get("bbox"), _id(annotation, "category_id", path)
    crowd = annotation.get("iscrowd") or 0
    if category not in labels:
        raise UsageError(
            f"{path}: an annotation has category {category}: there is none."
        )
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise UsageError(f"{path}: a bbox must be {BOX}, got {reprlib.repr(box)}.")
    if crowd not in (0, 1):
        raise UsageError(f"{path}: iscrowd must be 0 or 1, got {reprlib.repr(crowd)}.")
    x, y, width, height = box
    area = annotation.get("area")
    given = is_number(area) and area >= 0
    corners = x, y, x + width, y + height
    return corners, labels[category], bool(crowd), area if given else math.nan


def _annotations(path, image, rows) -> Annotations:
    size = image.get("height"), image.get("width")
    annotations = Annotations.of(
        f"{path} ({image['file_name']})",
        [row[:3] for row in rows],
        size=size if all(map(is_number, size)) and all(size) else None,
    )
    own = (annotations.boxes[:, 2:] - annotations.boxes[:, :2]).prod(axis=1)
    given = np.array([row[3] for row in rows], np.float32)
    return annotations._replace(area=np.where(np.isnan(given), own, given))


def _file_name(image, path) -> pathlib.PurePath:
    name = pathlib.PurePath(_text(image, "file_name", path))
    if name.is_absolute() or ".." in name.parts:
        raise UsageError(f"{path} names the image {name}: it must lie beside it.")
    return name


def _image_folder(path, names):
    """Returns the folder of a file's images: the first that has the first of them."""
    around = path.parent.parent
    split = path.stem.removeprefix("instances_")
    folders = [
        *(path.parent, path.parent / split, path.parent / "images"),
        *(around / split, around / "images" / split, around / "images", around),
    ]
    first = names[0] if names else "."
    return next((folder for folder in folders if (folder / first).exists()), folders[0])


def _image(file, path):
    if not file.exists():
        raise UsageError(
            f"{path} names the image {file.name}, which is not in the folder "
            f"{file.parent}."
        )
    return file


def _id(entry, key, path) -> int:
    id = entry.get(key)
    if not isinstance(id, int) or isinstance(id, bool):
        raise _senseless(entry, key, path)
    return id


def _text(entry, key, path) -> str:
    text = entry.get(key)
    if not isinstance(text, str) or not text.strip() or not _is_unicode(text):
        raise _senseless(entry, key, path)
    return text


def _is_unicode(text):
    """Whether `text` is whole characters: JSON can escape half of one."""
    return text == text.encode(errors="ignore").decode()


def _senseless(entry, key, path):
    entry = reprlib.repr(entry)  # of whatever size and depth
    return UsageError(f"{path}: an entry has no {key} that makes sense: {entry}.")
