"""Your own masks: `PATH/[split/]image/*` with `PATH/[split/]label/*` of the same stems.

The folders may have other names (`IMAGES`, `LABELS`), hold the splits instead of lying
in them (`images/train`), or be called `x` and `xannot` (CamVid: `train`, `trainannot`).
The test split is the first of `test`, `val`, `validation`, `valid` that has masks; the
last files in natural order are held out where there is none. `classes.txt` or
`class_names.txt` in PATH names the classes, one a line, else their numbers do. Folders
laid out like Cityscapes' are read as such.
"""

import functools
import pathlib

from cnnjax.data import files
from cnnjax.data.dataset import Dataset, Options
from cnnjax.data.decoded import Listed
from cnnjax.data.image_masks import Pair
from cnnjax.data.labels import VOID, instance_legend, plain_legend
from cnnjax.data.readers import cityscapes
from cnnjax.data.readers.folder import TEST_SPLITS, pictures
from cnnjax.data.segmentation import segmentation
from cnnjax.errors import UsageError

IMAGES = ("image", "images", "img", "imgs")
LABELS = ("label", "labels", "mask", "masks")
NAMES = ("classes.txt", "class_names.txt")

Folders = tuple[pathlib.Path, pathlib.Path]


def read(location: str, options: Options) -> Dataset:
    """Returns the images and masks in the folder `location`.

    Raises:
        UsageError: if there are none, one is damaged or stands alone, or the masks make
            no sense.
    """
    root = pathlib.Path(location).expanduser()
    if not location or not root.is_dir():
        raise UsageError(f"masks: there is no folder {location!r}.")
    if cityscapes.recognizes(root):
        train, test, legend_of = cityscapes.splits(root)
        note = ""
    else:
        train, test, note = _splits(root)
        legend_of = functools.partial(plain_legend, names=_class_names(root))
    return segmentation(
        Listed(train),
        Listed(test) if test else None,
        instance_legend if options.binary else legend_of,
        options,
        name=str(root),
        identity=files.names_and_sizes(_paths(train, test), root=root),
        note=note,
    )


def _paths(*splits: list[Pair] | None) -> list[pathlib.Path]:
    pairs = [pair for split in splits for pair in split or []]
    files = [file for pair in pairs for file in (pair.image, pair.mask)]
    return [file for file in files if isinstance(file, pathlib.Path)]


def _splits(root):
    """Returns the pairs to train and to test on, and what was left aside."""
    train = _split(root, "train")
    if train is None:
        return _pairs(*_alone(root)), None, ""
    listed = [(name, _split(root, name)) for name in TEST_SPLITS]
    found = {name: folders for name, folders in listed if folders}
    names = list(found)
    note = f"Left aside: {', '.join(names[1:])}." if names[1:] else ""
    test = _pairs(*found[names[0]]) if names else None
    return _pairs(*train), test, note


def _split(root: pathlib.Path, name: str) -> Folders | None:
    """Returns the folders of images and masks of a split, in any of the spellings."""
    within = [(root / name / i, root / name / m) for i in IMAGES for m in LABELS]
    around = [(root / i / name, root / m / name) for i in IMAGES for m in LABELS]
    camvid = (root / name, root / f"{name}annot")
    return _first([camvid, *within, *around])


def _alone(root: pathlib.Path) -> Folders:
    """Returns the folders of images and masks that lie in `root` itself."""
    camvid = [(path.with_name(path.name[:-5]), path) for path in root.glob("?*annot")]
    inside = [(root / i, root / m) for i in IMAGES for m in LABELS]
    folders = _first([*inside, *sorted(camvid)])
    if folders is None:
        raise UsageError(
            f"{root} has no images with masks: expected {root}/image/NAME.png and "
            f"{root}/label/NAME.png, or both in {root}/train."
        )
    return folders


def _first(candidates):
    return next((pair for pair in candidates if all(x.is_dir() for x in pair)), None)


def _pairs(image_folder: pathlib.Path, mask_folder: pathlib.Path) -> list[Pair]:
    images, masks = (_by_stem(folder) for folder in (image_folder, mask_folder))
    for stem, image in images.items():
        if stem not in masks:
            raise UsageError(
                f"{image} has no mask: there is no {mask_folder}/{stem}.png."
            )
    for stem, mask in masks.items():
        if stem not in images:
            raise UsageError(
                f"{mask} has no image: there is no {image_folder}/{stem}.*."
            )
    return [Pair.of(images[stem], masks[stem]) for stem in images]


def _by_stem(folder):
    found = {}
    for path in pictures(folder):
        if path.stem in found:
            raise UsageError(f"{found[path.stem]} and {path} have one name.")
        found[path.stem] = path
    return found


def _class_names(root):
    path = next((root / name for name in NAMES if (root / name).exists()), None)
    if path is None:
        return None
    lines = files.text(path).splitlines()
    names = [line.strip() for line in lines if line.strip()]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path} names the class {name} twice.")
    if not 2 <= len(names) <= VOID:
        raise UsageError(f"{path} names {len(names)} classes: it takes 2 to {VOID}.")
    return names
