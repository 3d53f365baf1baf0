import os

import numpy as np
import pytest
from PIL import Image

from cnnjax import data
from cnnjax.errors import UsageError

CAT, DOG = ("cat", (3, 2, 6, 5)), ("dog", (1, 1, 8, 6))


def an_object(name, box, *, difficult=0):
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    tags = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
    return (
        f"<object><name>{name}</name><part><name>head</name></part>"
        f"<difficult>{difficult}</difficult><bndbox>{tags}</bndbox></object>"
    )


def xml(*objects, filename="", size=(6, 8)):
    name = f"<filename>{filename}</filename>" if filename else ""
    sides = size and f"<width>{size[1]}</width><height>{size[0]}</height>"
    lines = name, f"<size>{sides}</size>" if size else "", *objects
    return "\n".join(["<annotation>", *lines, "</annotation>\n"])


def write(root, stem, *objects, size=(6, 8), folders=("JPEGImages", "Annotations")):
    """Writes an image whose gray is its stem, and what is marked in it."""
    images, annotations = (root / name for name in folders)
    images.mkdir(parents=True, exist_ok=True)
    annotations.mkdir(exist_ok=True)
    Image.fromarray(np.full(size, int(stem), np.uint8)).save(images / f"{stem}.png")
    text = xml(*(an_object(*one) for one in objects), filename=f"{stem}.png", size=size)
    (annotations / f"{stem}.xml").write_text(text)


def split(root, **lists):
    folder = root / "ImageSets" / "Main"
    folder.mkdir(parents=True, exist_ok=True)
    for name, stems in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def load(root, **options):
    return data.load(f"voc:{root}", task="detection", **options)


def everything(source):
    return source.fetch(np.arange(len(source)))


def grays(source):
    return everything(source)["image"][:, 0, 0, 0].tolist()


@pytest.fixture
def root(tmp_path):
    for stem in range(1, 6):
        write(tmp_path, stem, CAT, DOG)
    return tmp_path


def test_pixels_are_counted_from_one_and_include_the_last(tmp_path):
    write(tmp_path, 1, CAT, DOG)
    write(tmp_path, 2)
    write(tmp_path, 3, DOG)
    split(tmp_path, train=[1, 2], test=[3])
    found = load(tmp_path)
    assert found.class_names == ("cat", "dog")
    assert found.class_ids is None
    assert found.image_shape == (6, 8, 1)
    assert found.note == ""
    batch = everything(found.train)
    np.testing.assert_array_equal(
        batch["boxes"], [[[2, 1, 6, 5], [0, 0, 8, 6]], np.zeros((2, 4))]
    )
    np.testing.assert_array_equal(batch["label"], [[0, 1], [-1, -1]])
    np.testing.assert_array_equal(batch["area"], [[16, 48], [0, 0]])
    np.testing.assert_array_equal(batch["valid_size"], [[6, 8], [6, 8]])
    np.testing.assert_array_equal(batch["scale"], [1, 1])
    assert not batch["ignore"].any()
    test = everything(found.test)
    np.testing.assert_array_equal(test["label"], [[1, -1]])


@pytest.mark.parametrize(
    ("lists", "train", "test", "note"),
    [
        ({"train": [1, 2], "test": [3, 4, 5]}, [1, 2], [3, 4, 5], ""),
        (
            {"train": [1], "val": [2], "trainval": [1, 2], "test": [3, 4, 5]},
            [1, 2],
            [3, 4, 5],
            "",
        ),
        (
            {"train": [1, 3], "val": [2, 4], "trainval": [1, 2, 3, 4]},
            [1, 3],
            [2, 4],
            "Tested on val. Left aside: 1 annotations of no split.",
        ),
        (
            {"trainval": [1, 2, 3, 4, 5], "val": [5]},
            [1, 2, 3, 4],
            [5],
            "Tested on val.",
        ),
    ],
)
def test_splits(root, lists, train, test, note):
    split(root, **lists)
    found = load(root)
    assert grays(found.train) == train
    assert grays(found.test) == test
    assert found.note == note


def test_a_missing_split_is_held_out(root):
    found = load(root, holdout=0.4, seed=1)
    assert (len(found.train), len(found.test)) == (3, 2)
    assert sorted(grays(found.train) + grays(found.test)) == [1, 2, 3, 4, 5]
    assert found.note == "No test split: held out 2 of 5 images."
    assert grays(load(root, holdout=0.4, seed=1).test) == grays(found.test)
    split(root, trainval=[1, 2, 3])
    assert len(load(root).test) == 1


@pytest.mark.parametrize(
    "folders", [("images", "annotations"), ("Images", "ANNOTATIONS")]
)
def test_flat_folders_in_any_case(tmp_path, folders):
    for stem in range(1, 6):
        write(tmp_path, stem, CAT, DOG, folders=folders)
    Image.new("L", (8, 6)).save(tmp_path / folders[0] / "bare.png")
    found = load(tmp_path)
    assert (len(found.train), len(found.test)) == (4, 1)
    assert found.note.endswith(" Left aside: 1 images without an annotation.")


def test_difficult_objects_are_ignored(root):
    write(root, 1, CAT, DOG)
    path = root / "Annotations" / "1.xml"
    hard = an_object(*CAT, difficult=1)
    path.write_text(xml(hard, an_object(*DOG), filename="1.png"))
    split(root, train=[1, 3], test=[2])
    batch = everything(load(root).train)
    np.testing.assert_array_equal(batch["ignore"], [[True, False], [False, False]])


@pytest.mark.parametrize("point", [(5, 4, 5, 4), (5, 1, 5, 6), (6, 2, 3, 5)])
def test_boxes_without_area_are_dropped_and_counted(root, point):
    write(root, 2, ("cat", point), CAT)
    found = load(root, holdout=0.4)
    name = root / "Annotations" / "2.xml"
    assert found.note.endswith(f"1 box without area was dropped (first: {name}).")
    labels = np.concatenate([everything(x)["label"] for x in (found.train, found.test)])
    assert (labels >= 0).sum() == 9


@pytest.mark.parametrize(
    ("filename", "image"),
    [
        ("", "1.png"),
        ("photo.png", "photo.png"),
        ("photo", "photo.png"),
        ("photo.jpg", "photo.PNG"),
        ("C:\\photos\\photo.png", "photo.png"),
        ("../../photo.png", "photo.png"),
    ],
)
def test_an_image_goes_by_its_name_or_by_that_of_its_annotation(root, filename, image):
    images = root / "JPEGImages"
    (images / "1.png").rename(images / image)
    (root / "Annotations" / "1.xml").write_text(xml(an_object(*CAT), filename=filename))
    split(root, train=[1, 3], test=[2])
    assert grays(load(root).train) == [1, 3]


def test_classes_may_be_listed(root):
    (root / "classes.txt").write_text("dog\n\nbird\ncat\n")
    found = load(root)
    assert found.class_names == ("dog", "bird", "cat")
    assert found.note.endswith("No training box has class bird.")
    assert set(np.unique(everything(found.train)["label"])) == {0, 2}


def test_a_box_is_clipped_to_its_image(root):
    write(root, 1, ("cat", (-3, 0, 20, 4)))
    split(root, train=[1, 3], test=[2])
    batch = everything(load(root).train)
    np.testing.assert_array_equal(batch["boxes"][0, 0], [0, 0, 8, 4])


@pytest.mark.parametrize("size", [(3, 4), None, (0, 0)])
def test_a_size_that_is_wrong_does_no_harm_where_boxes_fit(root, size):
    path = root / "Annotations" / "1.xml"
    path.write_text(xml(an_object(*DOG), filename="1.png", size=size))
    split(root, train=[1, 3], test=[2])
    batch = everything(load(root).train)
    np.testing.assert_array_equal(batch["boxes"][0, 0], [0, 0, 8, 6])


def replace(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def change(old, new):
    return lambda root: replace(root / "Annotations" / "2.xml", old, new)


def pipe(name):
    def damage(root):
        (root / name).unlink(missing_ok=True)
        os.mkfifo(root / name)

    return damage


FOREIGN = '<?xml version="1.0" encoding="klingon"?><annotation>'
DOCTYPE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<annotation>'
DAMAGES = [
    (lambda root: root.rename(f"{root}-away"), "there is no folder"),
    (
        lambda root: (root / "Annotations").rename(root / "notes"),
        r"is not laid out like Pascal VOC: expected .*/JPEGImages and .*/Annotations",
    ),
    (
        lambda root: [x.unlink() for x in (root / "Annotations").iterdir()],
        r"Annotations has no annotations \(\*\.xml\)",
    ),
    (
        lambda root: (root / "JPEGImages" / "2.png").unlink(),
        r"Annotations/2\.xml names the image 2\.png, which is not in .*JPEGImages\.",
    ),
    (change("2.png", "two.png"), "2.xml names the image two.png, which is not in"),
    (change("2.png", "1.png"), r"1\.xml and .*2\.xml name one image, .*1\.png"),
    (
        change("</object>\n</ann", "</objekt>\n</ann"),
        r"2\.xml, line 5, column \d+: broken XML \(mismatched tag\)\.",
    ),
    (change("</annotation>", ""), r"2\.xml, line 7, column 1: broken XML \(no element"),
    (change("<annotation>", FOREIGN), r"2\.xml is no XML .*: unknown encoding: kl"),
    (change("<annotation>", DOCTYPE), r"2\.xml declares a document type"),
    (change("<xmin>3", "<xmin>nan"), r"2\.xml: xmin must be a number, got 'nan'"),
    (change("<xmin>3", "<xmin>1e400"), r"2\.xml: xmin must be a number, got '1e400'"),
    (change("<xmin>3", "<xmin>-1e30"), r"2\.xml: xmin must be a number, got '-1e30'"),
    (change("<xmin>3", "<xmin>three"), r"2\.xml: xmin must be a number, got 'three'"),
    (change("<name>cat</name>", "<name> </name>"), r"2\.xml: a <object> has no name"),
    (change("<annotation>", "<a>" * 100_000), r"2\.xml, line 6, column 3: broken XML"),
    (
        lambda root: write(root, 2, *[CAT] * 4097),
        r"2\.xml has 4,097 boxes in one image: it takes 4,096 at most",
    ),
    (pipe("Annotations/2.xml"), r"2\.xml is no file but a named pipe"),
    (pipe("JPEGImages/2.png"), r"2\.png is no file but a named pipe"),
    (pipe("classes.txt"), r"classes\.txt is no file but a named pipe"),
    (
        lambda root: (
            write(root, 3, ("bird", (1, 1, 4, 4)))
            or split(root, train=[1, 2], test=[4, 3])
        ),
        r"3\.xml has an object of class bird, which no training image has",
    ),
    (change("<xmin>3</xmin>", ""), r"2\.xml: a <bndbox> has no xmin"),
    (change("<name>cat</name>", ""), r"2\.xml: a <object> has no name"),
    (change("bndbox>", "box>"), r"2\.xml: an object has no bndbox"),
    (
        lambda root: (root / "classes.txt").write_text("dog\nbird"),
        r"1\.xml has an object of class 'cat', which is not one .*\.txt: dog, bird\.",
    ),
    (lambda root: (root / "classes.txt").write_text("a\na"), "names the class a twice"),
    (
        lambda root: split(root, train=[1, 2, 77], test=[3]),
        r"train\.txt, line 3: there is no annotation 77\.xml",
    ),
    (lambda root: split(root, train=[], test=[3]), "has no training images"),
    (lambda root: split(root, train=[1], test=[]), "has no test images"),
    (
        lambda root: (
            replace(root / "Annotations" / "1.xml", "<width>8", "<width>16")
            or replace(root / "Annotations" / "1.xml", "<xmax>6", "<xmax>12")
        ),
        r"1\.xml annotates an image of 6 x 16 .*1\.png has 6 x 8: a box lies beyond it",
    ),
    (
        lambda root: (root / "JPEGImages" / "2.png").write_bytes(b"no picture"),
        r"2\.png is no image that can be read",
    ),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_refuses_in_one_line(root, damage, message):
    damage(root)
    with pytest.raises(UsageError, match=message) as error:
        load(root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("annotation", ["<a>" * 20_000 + "</a>" * 20_000])
def test_depth_does_no_harm(root, annotation):
    path = root / "Annotations" / "1.xml"
    replace(path, "</annotation>", f"{annotation}</annotation>")
    assert len(load(root).train) == 4


def test_refuses_where_nothing_is_marked(tmp_path):
    for stem in range(1, 5):
        write(tmp_path, stem, *([CAT] if stem < 3 else []))
    split(tmp_path, train=[3, 4], test=[1])
    with pytest.raises(UsageError, match="Nothing is marked in the training images of"):
        load(tmp_path)
    split(tmp_path, train=[1, 2], test=[3])
    with pytest.raises(UsageError, match="Nothing is marked in the test images of"):
        load(tmp_path)


@pytest.mark.data
def test_blood_cells(data_root):
    found = load(data_root / "bccd" / "BCCD")
    assert found.class_names == ("Platelets", "RBC", "WBC")
    assert found.image_shape == (480, 640, 3)
    assert (len(found.train), len(found.test)) == (292, 72)
    assert found.note.startswith("2 boxes without area were dropped (first: ")
    assert found.note.endswith("BloodImage_00338.xml).")
    counts = np.zeros(3, int)
    for source in (found.train, found.test):
        for start in range(0, len(source), 100):
            batch = source.fetch(np.arange(start, min(start + 100, len(source))))
            labels = batch["label"]
            counts += np.bincount(labels[labels >= 0], minlength=3)
            boxes = batch["boxes"][labels >= 0]
            assert boxes.min() == 0
            assert (boxes.max(axis=0)[2:] == (640, 480)).all()
    assert counts.tolist() == [361, 4153, 372]
