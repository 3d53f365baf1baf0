"""Data sets that tensorflow-datasets has prepared, read without TensorFlow.

Preparing (download, checksums, conversion) is tensorflow-datasets' own work and
needs TensorFlow, once; what it leaves as array_record files is read here through
its data sources, which do not. Images are read as they were encoded.
"""

import difflib
import importlib.util
import pathlib
import re
import urllib.error
import urllib.request

import numpy as np
import tensorflow_datasets as tfds

from cnnjax.data import files
from cnnjax.data.classification import classification
from cnnjax.data.dataset import Dataset, Options
from cnnjax.data.detection import detection
from cnnjax.data.images import EncodedImages, survey
from cnnjax.data.labels import instance_legend, plain_legend
from cnnjax.data.readers.tfds_records import LEGENDS, Boxed, Labelled, Masked, refused
from cnnjax.data.segmentation import segmentation
from cnnjax.errors import UsageError

TENSORFLOW = 'pip install "tensorflow-cpu>=2.21"'
TEST_SPLITS = ("test", "validation")
NAME = r"(\w+)(/[\w.+-]+)?(:[\d.*]+)?"
FIRST = 64  # examples read to learn whether a split has boxes
PATIENCE = 5  # seconds that a server may take to answer


def read(location: str, options: Options) -> Dataset:
    """Returns the prepared data set `location`: "NAME[/CONFIG][:VERSION]".

    It is prepared first if `options` say so. Its test split is `test` where that is
    labelled, else `validation`, else held out.

    Raises:
        UsageError: if it is not prepared, or not of images with one label or mask each
            or with boxes.
    """
    if options.preparation is not None:
        manual_dir = options.preparation.manual_dir
        prepare(location, data_dir=options.data_dir, manual_dir=manual_dir)
    builder = _prepared(location, options.data_dir)
    if builder is None:
        _check_known(location)
        raise UsageError(
            f"{location} is not prepared in {_folder(options.data_dir)}: add --prepare "
            "to the command, and --manual_dir=FOLDER if its raw files are there."
        )
    if "train" not in builder.info.splits:
        splits = ", ".join(builder.info.splits)
        raise UsageError(f"{location} has no training split: it has {splits}.")
    read_task = {
        "classification": _classified,
        "segmentation": _segmented,
        "detection": _detected,
    }
    return read_task[options.task](builder, location, options)


def prepare(
    location: str, *, data_dir: str | None = None, manual_dir: str | None = None
) -> None:
    """Prepares `location`, "NAME[/CONFIG][:VERSION]", unless that has been done.

    Args:
        location: the data set, by its name in tensorflow-datasets' catalogue.
        data_dir: where to keep it; by default ~/tensorflow_datasets.
        manual_dir: a folder with raw files under the names they are published by;
            what is not there is downloaded.

    Raises:
        UsageError: if TensorFlow, a raw file or the network is missing, or a raw file
            is not the one that was published.
    """
    if _prepared(location, data_dir) is not None:
        return
    _check_known(location)
    if manual_dir and not pathlib.Path(manual_dir).expanduser().is_dir():
        raise UsageError(f"manual_dir: there is no folder {manual_dir!r}.")
    if importlib.util.find_spec("tensorflow") is None:
        raise UsageError(f"To prepare {location} takes TensorFlow, once: {TENSORFLOW}")
    with refused(f"tensorflow-datasets cannot prepare {location}"):
        builder = tfds.builder(
            location, data_dir=_folder(data_dir), file_format="array_record"
        )
        if builder.MANUAL_DOWNLOAD_INSTRUCTIONS and not manual_dir:
            instructions = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
            raise UsageError(f"{location} takes --manual_dir=FOLDER: {instructions}")
        _check_raw_files(builder, manual_dir)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=manual_dir, try_download_gcs=False
            )
        )


def _classified(builder, location, options):
    train = Labelled(builder, "train")
    test, note = _test_split(builder)
    shape = _shape(builder.info, train, options)
    return classification(
        EncodedImages(train, shape),
        EncodedImages(test, shape) if test else None,
        builder.info.features[train.label].names,
        options,
        name=location,
        identity=_identity(train, test),
        note=note,
    )


def _segmented(builder, location, options):
    train = Masked(builder, "train")
    tests = [split for split in TEST_SPLITS if split in builder.info.splits]
    test = Masked(builder, tests[0]) if tests else None
    known = LEGENDS.get(builder.name)

    def legend_of(ids):
        return known or plain_legend(ids, None)

    return segmentation(
        train,
        test,
        instance_legend if options.binary else legend_of,
        options,
        name=location,
        identity=_identity(train, test),
    )


def _detected(builder, location, options):
    train = Boxed(builder, "train")
    test, note = _first_boxed(builder)
    return detection(
        train,
        test,
        train.class_names,
        options,
        name=location,
        identity=_identity(train, test),
        note=note,
    )


def _first_boxed(builder):
    """Returns the first split to test on that has boxes, or None, and the reason."""
    note = ""
    for split in TEST_SPLITS:
        if split in builder.info.splits:
            records = Boxed(builder, split)
            some = records.read(np.arange(min(FIRST, len(records))))
            if any(len(annotations.boxes) for _, annotations in some):
                return records, note and f"{note} Tested on {split}."
            note = f"The {split} split has no boxes."
    return None, note


def _identity(*splits):
    return str([(part.name, len(part), part.stored_bytes) for part in splits if part])


def _folder(data_dir):
    return str(pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser())


def _prepared(location, data_dir):
    """Returns the builder of what is prepared, or None."""
    _check_files(pathlib.Path(_folder(data_dir), _name(location)))
    with refused(f"What is prepared of {location} cannot be read"):
        try:
            builder = tfds.core.read_only_builder.builder_from_files(
                location, data_dir=_folder(data_dir)
            )
        except tfds.core.registered.DatasetNotFoundError:
            return None
    if builder.info.file_format.value != "array_record":
        raise UsageError(
            f"{builder.data_path} holds {builder.info.file_format.value} files, which "
            "take TensorFlow to read: add --prepare with another --data_dir."
        )
    return builder


def _name(location: str) -> str:
    """Returns the data set's name in `location`, without configuration and version."""
    matched = re.fullmatch(NAME, location)
    if matched is None:
        raise UsageError(f"tfds: takes NAME[/CONFIG][:VERSION], got {location!r}.")
    return matched[1]


def _check_files(folder):
    """Refuses what is no file in `folder`: readers of others' would wait for it."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            files.opened(path).close()


def _check_known(location):
    name = _name(location)
    known = tfds.list_builders(with_community_datasets=False)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"tensorflow-datasets knows no data set {name!r}.{meant}")


def _check_raw_files(builder, manual_dir):
    """Refuses at once what would be tried for minutes without a network."""
    folder = pathlib.Path(manual_dir).expanduser() if manual_dir else None
    missing = {
        info.filename: url
        for url, info in (builder.url_infos or {}).items()
        if info.filename and not (folder and (folder / info.filename).exists())
    }
    if not missing or _answers(url := next(iter(missing.values()))):
        return
    where = f" and {manual_dir} lacks" if manual_dir else "; put into --manual_dir"
    raise UsageError(f"{url} cannot be reached{where} {', '.join(missing)}.")


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE):
            return True
    except urllib.error.HTTPError:  # an answer, too
        return True
    except OSError:
        return False


def _test_split(builder):
    """Returns the first labelled split to test on, or None, and why it was taken."""
    note = ""
    for split in TEST_SPLITS:
        if split in builder.info.splits:
            records = Labelled(builder, split)
            if records.read(np.arange(1))[0].label >= 0:
                return records, note and f"{note} Tested on {split}."
            note = f"The {split} split has no labels."
    return None, note


def _shape(info, train, options):
    """Returns the images' shape: what the features promise, or what headers say."""
    *size, channels = info.features[train.image].shape
    if channels in (1, 3) and (None not in size or options.resizes):
        return (*size, channels)
    height, width, found = survey(train, options)
    return height, width, channels if channels in (1, 3) else found
