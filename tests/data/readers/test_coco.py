import json
import os

import numpy as np
import pytest
from PIL import Image

from cnnjax import data
from cnnjax.errors import UsageError

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 7, "name": "cat"}]


def instance(image, category, box, **others):
    return {"image_id": image, "category_id": category, "bbox": box, **others}


def instances(stems, *annotations):
    images = [
        {"id": 100 + stem, "file_name": f"{stem}.png", "height": 6, "width": 8}
        for stem in stems
    ]
    boxes = [instance(100 + stem, 7, [1, 2, 4.5, 3]) for stem in stems]
    return {
        "images": images,
        "annotations": [*boxes, *annotations],
        "categories": CATEGORIES,
    }


def write(path, stems, *annotations, images=None):
    """Writes a json, and images whose gray is their stem."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(instances(stems, *annotations), indent=1))
    folder = images or path.parent
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        Image.fromarray(np.full((6, 8), stem, np.uint8)).save(folder / f"{stem}.png")


def load(location, **options):
    return data.load(f"coco:{location}", task="detection", **options)


def everything(source):
    return source.fetch(np.arange(len(source)))


def grays(source):
    return everything(source)["image"][:, 0, 0, 0].tolist()


def test_boxes_of_instances(tmp_path):
    annotations = [
        instance(101, 18, [0, 0, 8, 6], iscrowd=1, area=11.5),
        instance(102, 18, [-2, 3, 4, 9], area=7),
    ]
    write(tmp_path / "train.json", [1, 2, 3], *annotations)
    write(tmp_path / "val.json", [4])
    found = load(tmp_path)
    assert found.class_names == ("cat", "dog")
    assert found.class_ids == (7, 18)
    assert found.image_shape == (6, 8, 1)
    assert found.note == ""
    assert grays(found.test) == [4]
    batch = everything(found.train)
    cat = [1, 2, 5.5, 5]
    np.testing.assert_array_equal(
        batch["boxes"],
        [[cat, [0, 0, 8, 6]], [cat, [0, 3, 2, 6]], [cat, [0, 0, 0, 0]]],
    )
    np.testing.assert_array_equal(batch["label"], [[0, 1], [0, 1], [0, -1]])
    np.testing.assert_array_equal(batch["area"], [[13.5, 11.5], [13.5, 7], [13.5, 0]])
    np.testing.assert_array_equal(batch["ignore"], [[0, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("train", "test", "images"),
    [
        (
            "annotations/instances_train2017.json",
            "annotations/instances_val2017.json",
            ("train2017", "val2017"),
        ),
        (
            "annotations/instances_train2017.json",
            "annotations/instances_val2017.json",
            ("images/train2017", "images/val2017"),
        ),
        ("annotations/train.json", "annotations/test.json", ("images", "images")),
        ("train.json", "test.json", ("images", "images")),
        ("train.json", "my_val.json", (".", ".")),
        ("train/_a.coco.json", "valid/_a.coco.json", ("train", "valid")),
    ],
)
def test_layouts(tmp_path, train, test, images):
    write(tmp_path / train, [1, 2], images=tmp_path / images[0])
    write(tmp_path / test, [3], images=tmp_path / images[1])
    if "instances" in train:
        (tmp_path / "annotations" / "captions_train2017.json").write_text("{}")
    found = load(tmp_path)
    assert grays(found.train) == [1, 2]
    assert grays(found.test) == [3]
    alone = load(tmp_path / train, holdout=0.5)
    assert sorted(grays(alone.train) + grays(alone.test)) == [1, 2]


def test_a_single_file_is_split(tmp_path):
    write(tmp_path / "boxes.json", range(1, 11))
    for location in (tmp_path, tmp_path / "boxes.json"):
        found = load(location)
        assert (len(found.train), len(found.test)) == (8, 2)
        assert found.note.startswith("No test split: held out 2 of 10 images.")
        assert found.note.endswith("No training box has class dog.")


def test_a_third_file_is_left_aside(tmp_path):
    for stem, name in enumerate(("train", "val", "test")):
        write(tmp_path / f"{name}.json", [stem])
    found = load(tmp_path)
    assert grays(found.test) == [2]
    assert found.note.startswith("Left aside: val.json.")


def test_boxes_without_area_are_dropped_and_counted(tmp_path):
    flat = instance(102, 7, [1, 1, 5, 0]), instance(103, 7, [20, 1, 5, 3])
    write(tmp_path / "train.json", [1, 2, 3], *flat)
    write(tmp_path / "val.json", [4])
    found = load(tmp_path)
    path = tmp_path / "train.json"
    assert f"2 boxes without area were dropped (first: {path} (2.png))." in found.note
    assert everything(found.train)["boxes"].shape == (3, 1, 4)


def edit(name, change):
    def damage(root):
        content = json.loads((root / name).read_text())
        change(content)
        (root / name).write_text(json.dumps(content))

    return damage


def add(**annotation):
    good = instance(101, 7, [1, 1, 2, 2])
    return edit("train.json", lambda x: x["annotations"].append({**good, **annotation}))


def pipe(name):
    def damage(root):
        (root / name).unlink()
        os.mkfifo(root / name)

    return damage


DAMAGES = [
    (lambda root: root.rename(f"{root}-away"), "there is no file or folder"),
    (
        lambda root: (root / "train.json").write_text('{\n"images": [\n{]'),
        r"train\.json, line 3, column 2: broken JSON \(Expecting property name",
    ),
    (
        lambda root: (root / "train.json").write_text("[" * 100_000),
        r"train\.json is nested too deeply",
    ),
    (
        lambda root: (root / "train.json").write_bytes(b"\xff\xfe{}"),
        r"train\.json is no text in UTF-8",
    ),
    (
        lambda root: (root / "train.json").write_text("[1]"),
        r"train\.json is no file of COCO instances: no list 'images'",
    ),
    (
        edit("train.json", lambda x: x.pop("annotations")),
        "no file of COCO instances: no list 'annotations'",
    ),
    (
        edit("train.json", lambda x: x["images"].append(3)),
        "every one of 'images' must be an object",
    ),
    (
        lambda root: (root / "2.png").unlink(),
        r"train\.json names the image 2\.png, which is not in the folder ",
    ),
    (
        edit("train.json", lambda x: x["images"][1].update(file_name="../2.png")),
        r"names the image \.\./2\.png: it must lie beside it",
    ),
    (
        edit("train.json", lambda x: x["images"][1].update(file_name="/2.png")),
        r"names the image /2\.png: it must lie beside it",
    ),
    (
        edit("train.json", lambda x: x["images"][1].update(id=101)),
        "two images have the same id",
    ),
    (edit("train.json", lambda x: x["images"][1].pop("id")), "an entry has no id that"),
    (add(category_id=5), "an annotation has category 5: there is none"),
    (add(image_id=5), "an annotation is for image 5: it has none"),
    (add(bbox=[1, 2, 3]), r"bbox must be \[x, y, width, height\], got \[1, 2, 3\]"),
    (add(bbox=[1, 2, 3, float("nan")]), r"got \[1, 2, 3, nan\]"),
    (add(bbox=[1, 2, 3, "4"]), r"got \[1, 2, 3, '4'\]"),
    *(
        (
            edit("train.json", lambda x, n=name: x["categories"][0].update(name=n)),
            r"train\.json: an entry has no name that makes sense: ",
        )
        for name in (None, 5, ["dog"], "", " ", "\udcff", "d\ud800g")
    ),
    *(
        (
            edit("train.json", lambda x, n=name: x["images"][1].update(file_name=n)),
            r"train\.json: an entry has no file_name that makes sense: ",
        )
        for name in (None, 2, ["2.png"], "", "\udcff.png")
    ),
    *(
        (
            edit("train.json", lambda x, i=id: x["images"][1].update(id=i)),
            r"train\.json: an entry has no id that makes sense: ",
        )
        for id in (True, None, 2.0, "2", {}, [])
    ),
    (add(image_id={}), "an entry has no image_id that makes sense: "),
    (add(category_id=True), "an entry has no category_id that makes sense: "),
    *(
        (add(bbox=box), r"a bbox must be \[x, y, width, height\], got ")
        for box in (
            *(None, 3, "1234", {}, [1, 2, 3, True], [1, 2, 3, None]),
            *([1, 2, 3, 10**400], [1, -1e300, 3, 3], [1, 2, float("inf"), 3]),
            [[[]]] * 100_000,
        )
    ),
    (add(iscrowd="no"), "iscrowd must be 0 or 1, got 'no'"),
    (
        lambda root: (root / "train.json").write_text(f"[{'9' * 5000}]"),
        r"train\.json has a whole number of thousands of digits",
    ),
    (
        lambda root: (root / "train.json").write_text(
            '{"images": [' + '{"id": ' + "[" * 700 + "]" * 700 + "}]"
            ', "annotations": [], "categories": []}'
        ),
        r"an entry has no id that makes sense: \{'id': \[\[\[",
    ),
    (
        edit("train.json", lambda x: x.update(annotations=x["annotations"][:1] * 4097)),
        r"1\.png\) has 4,097 boxes in one image: it takes 4,096 at most",
    ),
    (
        edit("test.json", lambda x: x["annotations"][0].update(category_id=18)),
        r"test\.json \(4\.png\) has an object of class dog, which no training image",
    ),
    (pipe("2.png"), r"2\.png is no file but a named pipe"),
    (pipe("train.json"), r"train\.json is no file but a named pipe"),
    (
        edit("test.json", lambda x: x["categories"][0].update(name="wolf")),
        r"test\.json calls category 18 'wolf', not 'dog'",
    ),
    (
        edit("train.json", lambda x: x["categories"][0].update(id=9)),
        "2 categories are called 'dog'",
    ),
    (
        edit(
            "train.json",
            lambda x: (
                x["images"][0].update(height=12),
                x["annotations"][0].update(bbox=[1, 2, 3, 9]),
            ),
        ),
        r"annotates an image of 12 x 8 .*1\.png has 6 x 8: a box lies beyond it",
    ),
    (
        lambda root: (root / "train.json").rename(root / "first.json"),
        "has 2 json files, and 0 of these have train in their name: expected one",
    ),
    (
        lambda root: [path.unlink() for path in root.glob("*.json")],
        "has no json of instances",
    ),
]


@pytest.mark.parametrize("area", [None, "9", 10**400, 1e300, -1, float("nan"), True])
def test_an_area_that_makes_no_sense_is_the_box_s_own(tmp_path, area):
    write(tmp_path / "train.json", [1, 2])
    write(tmp_path / "test.json", [4])
    edit("train.json", lambda x: x["annotations"][0].update(area=area))(tmp_path)
    batch = everything(load(tmp_path).train)
    np.testing.assert_array_equal(batch["area"], [[13.5], [13.5]])


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_refuses_in_one_line(tmp_path, damage, message):
    write(tmp_path / "train.json", [1, 2, 3])
    write(tmp_path / "test.json", [4])
    damage(tmp_path)
    with pytest.raises(UsageError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)
