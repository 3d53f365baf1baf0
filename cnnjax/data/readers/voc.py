"""Pascal VOC: `PATH/JPEGImages`, `PATH/Annotations`, `PATH/ImageSets/Main/*.txt`.

Also flat `PATH/images` with `PATH/annotations`, in any spelling of upper and lower
case. Trained on `trainval.txt`, else `train.txt`, and tested on `test.txt`, else
`val.txt`, which is never trained on; held out where there are none of these. Class
names are those of `PATH/classes.txt`, one a line, else the sorted names that occur.
A `difficult` object is to be ignored, as VOC's evaluation does.

VOC counts pixels from 1 and includes the last: the box of the first pixel alone is
(1, 1, 1, 1) there and (0, 0, 1, 1) here. Yet a box whose corners are one point, or lie
in one row or column, was clicked, not drawn: it has no area.
"""

import math
import pathlib
import re
from xml.etree.ElementTree import Element, ParseError

import defusedxml
import defusedxml.ElementTree

from cnnjax.data import files
from cnnjax.data.annotations import Annotated, Annotations, is_number
from cnnjax.data.dataset import Dataset, Options
from cnnjax.data.decoded import Listed
from cnnjax.data.detection import detection
from cnnjax.data.readers.folder import SUFFIXES
from cnnjax.errors import UsageError

IMAGES = ("jpegimages", "images", "image")
ANNOTATIONS = ("annotations", "annotation")
CORNERS = ("xmin", "ymin", "xmax", "ymax")
GROWTH = 30  # bytes of memory that a byte of XML takes as elements, at most about

Objects = list[tuple[str, list[float], bool]]  # name, corners and difficult of each


def read(location: str, options: Options) -> Dataset:
    """Returns the images and boxes in the folder `location`.

    Raises:
        UsageError: if there are none, an annotation is broken, names a missing image
            or a class that is not in the list, or an image is damaged.
    """
    root = pathlib.Path(location).expanduser()
    if not location or not root.is_dir():
        raise UsageError(f"voc: there is no folder {location!r}.")
    images, annotations = _folder(root, IMAGES), _folder(root, ANNOTATIONS)
    written = {path.stem: path for path in sorted(annotations.glob("*.xml"))}
    if not written:
        raise UsageError(f"{annotations} has no annotations (*.xml).")
    splits, note = _splits(root, written)
    found = {path.name: path for path in images.iterdir()}
    parsed = [[_parsed(path, found, images) for path in split] for split in splits]
    bare = _check_images([one for split in parsed for one in split], found)
    if bare and not (root / "ImageSets").is_dir():
        note = f"Left aside: {bare} images without an annotation."
    listed = root / "classes.txt"
    occur = {name for split in parsed for one in split for name, _, _ in one[2]}
    names = _listed(listed) if listed.exists() else sorted(occur)
    parts = [[_annotated(*one, names) for one in split] for split in parsed]
    return detection(
        Listed(parts[0]),
        Listed(parts[1]) if len(parts) > 1 else None,
        names,
        options,
        name=str(root),
        identity=files.names_and_sizes(x.picture.data for part in parts for x in part),
        note=note,
    )


def _folder(root: pathlib.Path, names: tuple[str, ...]) -> pathlib.Path:
    found = {path.name.lower(): path for path in sorted(root.iterdir())}
    folder = next((found[name] for name in names if name in found), None)
    if folder is None or not folder.is_dir():
        raise UsageError(
            f"{root} is not laid out like Pascal VOC: expected {root}/JPEGImages and "
            f"{root}/Annotations, or images and annotations."
        )
    return folder


def _splits(root, written):
    """Returns the annotations to train and to test on, and what was left aside."""
    lists = {path.stem: path for path in (root / "ImageSets/Main").glob("*.txt")}
    train = next((lists[name] for name in ("trainval", "train") if name in lists), None)
    test = next((lists[name] for name in ("test", "val") if name in lists), None)
    if train is None:
        return [list(written.values())], ""
    splits = [_named(path, written) for path in (train, test) if path]
    notes = []
    if test:
        tested, listed = set(splits[1]), len(splits[0])
        splits[0] = [path for path in splits[0] if path not in tested]
        both = listed - len(splits[0])
        if test.stem == "val":
            notes.append("Tested on val.")
        elif both:
            notes.append(f"{both} images of {test.name} are in {train.name}, too.")
    rest = len(written) - len({path for split in splits for path in split})
    if rest:
        notes.append(f"Left aside: {rest} annotations of no split.")
    return splits, " ".join(notes)


def _named(path, written):
    """Returns the annotations of the images that a list names."""
    found = {}
    for number, line in enumerate(_lines(path), start=1):
        stem = line.partition(" ")[0]
        if stem and stem not in written:
            raise UsageError(
                f"{path}, line {number}: there is no annotation {stem}.xml."
            )
        if stem:
            found[stem] = written[stem]
    return list(found.values())


def _lines(path):
    return [line.strip() for line in files.text(path).splitlines()]


def _listed(path):
    names = [line for line in _lines(path) if line]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path} names the class {name} twice.")
    return names


def _parsed(path, images, folder):
    """Returns the file, the image and the objects of an annotation, and its size."""
    root = _tree(path)
    name = _text(root, "filename", path, default=path.stem)
    name = re.split(r"[/\\]", name)[-1]  # never a file elsewhere
    stem = pathlib.PurePath(name).stem if name.lower().endswith(SUFFIXES) else name
    spellings = (stem + s for suffix in SUFFIXES for s in (suffix, suffix.upper()))
    image = next((images[n] for n in (name, *spellings) if n in images), None)
    if image is None:
        raise UsageError(f"{path} names the image {name}, which is not in {folder}.")
    objects = [_object(element, path) for element in root.findall("object")]
    return path, image, objects, _size(root, path)


def _check_images(parsed, found):
    """Returns how many images no annotation names; two may not name the same."""
    named = {}
    for path, image, *_ in parsed:
        if image in named:
            raise UsageError(f"{named[image]} and {path} name one image, {image}.")
        named[image] = path
    pictures = [path for path in found.values() if path.suffix.lower() in SUFFIXES]
    return len(set(pictures) - named.keys())


def _tree(path) -> Element:
    content = files.content(path, growth=GROWTH)
    try:
        return defusedxml.ElementTree.fromstring(content, forbid_dtd=True)
    except ParseError as error:
        line, column = error.position
        reason = str(error).partition(":")[0]
        raise UsageError(
            f"{path}, line {line}, column {column + 1}: broken XML ({reason})."
        ) from None
    except defusedxml.DefusedXmlException:
        raise UsageError(
            f"{path} declares a document type, which is not read."
        ) from None
    except (ValueError, LookupError) as error:  # of encodings
        raise UsageError(f"{path} is no XML that can be read: {error}.") from None


def _object(element, path):
    corners = element.find("bndbox")
    if corners is None:
        raise UsageError(f"{path}: an object has no bndbox.")
    box = [_number(corners, corner, path) for corner in CORNERS]
    if box[2] > box[0] and box[3] > box[1]:
        box[:2] = box[0] - 1, box[1] - 1
    else:
        box[2:] = box[:2]
    difficult = _number(element, "difficult", path, default="0") != 0
    return _text(element, "name", path), box, difficult


def _size(root, path):
    """Returns height and width by the annotation; None where it does not say."""
    element = root.find("size")
    if element is None:
        return None
    sides = [_number(element, side, path, default="0") for side in ("height", "width")]
    return tuple(map(int, sides)) if all(sides) else None


def _number(element, tag, path, default=None):
    text = _text(element, tag, path, default=default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not is_number(number):
        raise UsageError(f"{path}: {tag} must be a number, got {text!r}.")
    return number


def _text(element, tag, path, default=None):
    text = (element.findtext(tag) or "").strip() or default
    if text is None:
        raise UsageError(f"{path}: a <{element.tag}> has no {tag}.")
    return text


def _annotated(path, image, objects: Objects, size, names) -> Annotated:
    for name, _, _ in objects:
        if name not in names:
            raise UsageError(
                f"{path} has an object of class {name!r}, which is not one of the "
                f"classes in classes.txt: {', '.join(names)}."
            )
    rows = [(box, names.index(name), difficult) for name, box, difficult in objects]
    return Annotated.of(image, Annotations.of(str(path), rows, size=size))
