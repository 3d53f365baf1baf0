"""Bad annotations of boxes, as Pascal VOC and as COCO write them."""

import functools
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from tests import synthetic
from tests.hostile.case import Case, Cases, on
from tests.hostile.pictures import BAD, READABLE, save

SIZE = 40
XML = "annotations/0.xml"
GOOD = synthetic.voc_object("disc", (4, 4, 20, 20))


def write_voc(root: pathlib.Path) -> None:
    """Images and boxes that a run can learn from."""
    synthetic.write_boxes(root, train=6, test=4, size=SIZE)


def _annotation(body: str) -> str:
    return f"<annotation>{body}</annotation>"


def _corner(tag: str, value: str) -> str:
    """An annotation whose box has this corner."""
    start, end = f"<{tag}>", f"</{tag}>"
    before, _, rest = GOOD.partition(start)
    return _annotation(before + start + value + end + rest.partition(end)[2])


BOMB = (
    "<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'>"
    + "".join(f"<!ENTITY a{i + 1} '{f'&a{i or str()};' * 10}'>" for i in range(9))
    + "]><annotation>&a9;</annotation>"
)
EXTERNAL = (
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    "<annotation>&x;</annotation>"
)
VOC: dict[str, str | bytes] = {
    "empty": "",
    "text": "not XML",
    "cut": _annotation(GOOD)[:60],
    "no object closed": "<annotation><object></annotation>",
    "an object without a box": _annotation("<object><name>disc</name></object>"),
    "an object without a name": _annotation(GOOD.replace("<name>disc</name>", "")),
    "an empty name": _annotation(GOOD.replace("disc", "")),
    "a bomb of entities": BOMB,
    "an external entity": EXTERNAL,
    "an unknown encoding": '<?xml version="1.0" encoding="nonsense"?><annotation/>',
    "no UTF-8": b"<annotation><filename>\xff\xfe</filename></annotation>",
    "UTF-16 cut": _annotation(GOOD).encode("utf-16")[:31],
    "a NUL": _annotation(GOOD) + "\0",
    "nested 100,000 deep": "<a>" * 100_000,
    "another image": _annotation("<filename>nowhere.png</filename>" + GOOD),
    "an image elsewhere": _annotation("<filename>../../x.png</filename>" + GOOD),
    "no size": _annotation("<size><width>x</width><height>1</height></size>" + GOOD),
    "another size": _annotation(
        "<size><width>7</width><height>9</height></size>" + GOOD
    ),
    **{
        f"xmin {value}": _corner("xmin", value)
        for value in ("x", "", "nan", "inf", "-inf", "1e400", "1,5", "0x4")
    },
}
COCO_FILE = "annotations.json"


def write_coco(root: pathlib.Path) -> dict[str, Any]:
    """Images, and the content of their file of instances."""
    root.mkdir(parents=True)
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}],
    }
    for i in range(10):
        save(root / f"{i}.png", size=SIZE, seed=i)
        content["images"].append(
            {"id": i, "file_name": f"{i}.png", "height": SIZE, "width": SIZE}
        )
        content["annotations"].append(
            {
                "id": i,
                "image_id": i,
                "category_id": 1 + i % 2,
                "bbox": [4, 4, 16, 16],
                "area": 256,
                "iscrowd": 0,
            }
        )
    return content


def _set(place: str, key: str, value: Any) -> Callable[[dict], Any]:
    """Spoils the first entry of a list."""

    def spoil(content: dict) -> dict:
        content[place][0][key] = value
        return content

    return spoil


def _without(place: str, key: str) -> Callable[[dict], Any]:
    def spoil(content: dict) -> dict:
        del content[place][0][key]
        return content

    return spoil


def _instead(place: str, value: Any) -> Callable[[dict], Any]:
    return lambda content: {**content, place: value}


ODD = {
    "null": None,
    "a number": 3.5,
    "a list": [1, 2],
    "an object": {"a": 1},
    "true": True,
    "an empty text": "",
    "a lone surrogate": "\ud800",
    "10**400": 10**400,
    "10**30": 10**30,
    "-1": -1,
    "nan": float("nan"),
    "inf": float("inf"),
}
WHERE = (
    ("categories", "id"),
    ("categories", "name"),
    ("images", "id"),
    ("images", "file_name"),
    ("images", "height"),
    ("annotations", "image_id"),
    ("annotations", "category_id"),
    ("annotations", "bbox"),
    ("annotations", "iscrowd"),
    ("annotations", "area"),
)
NEEDED = [place for place in WHERE if place[1] not in ("height", "iscrowd", "area")]
# What a reader may take as it is: some numbers are not needed, since a picture says how
# large it is.
MAY_BE = {
    ("categories", "id", "10**30"),
    ("categories", "id", "10**400"),
    ("categories", "id", "-1"),
    ("categories", "name", "a lone surrogate"),
    ("images", "id", "10**30"),
    ("images", "id", "10**400"),
    ("images", "id", "-1"),
    *(
        (place, key, odd)
        for place, key in (
            ("images", "height"),
            ("annotations", "iscrowd"),
            ("annotations", "area"),
        )
        for odd in ODD
    ),
}
COCO: dict[str, Callable[[dict], Any]] = {
    **{
        f"{place} {key} {name}": _set(place, key, value)
        for place, key in WHERE
        for name, value in ODD.items()
    },
    **{f"{place} without {key}": _without(place, key) for place, key in NEEDED},
    **{
        f"{place} {name}": _instead(place, value)
        for place in ("images", "annotations", "categories")
        for name, value in {
            "null": None,
            "empty": [],
            "a text": "x",
            "of numbers": [1, 2],
            "of nulls": [None],
        }.items()
    },
    "a list": lambda content: [content],
    "null": lambda content: None,
    **{
        f"a bbox of {name}": _set("annotations", "bbox", value)
        for name, value in {
            "three": [1, 2, 3],
            "texts": ["1", "2", "3", "4"],
            "nan": [float("nan")] * 4,
            "inf": [0, 0, float("inf"), 4],
            "10**400": [0, 0, 10**400, 4],
            "nulls": [None] * 4,
            "lists": [[1]] * 4,
            "bools": [True] * 4,
        }.items()
    },
    "two images of one id": _set("images", "id", 1),
    "an image elsewhere": _set("images", "file_name", "../x.png"),
    "an absolute image": _set("images", "file_name", "/etc/hostname"),
    "an image with a NUL": _set("images", "file_name", "a\0b.png"),
    "an image with a long name": _set("images", "file_name", "x" * 5000),
    "two categories of one name": _set("categories", "name", "square"),
    "a category for no one": _set("annotations", "category_id", 9),
    "an image for no one": _set("annotations", "image_id", 99),
}


def _renamed(name: str) -> Callable[[dict], Any]:
    return _set("categories", "name", name)


NAMES = {
    "two dollars": "$a$ $b",
    "a newline": "a\nb",
    "a NUL": "a\0b",
    "an escape": "\x1b[2J",
    "markup": "[bold]",
    "markup that ends": "[/nothing]",
    "20,000 letters": "x" * 20_000,
}
RAW: dict[str, bytes] = {
    "empty": b"",
    "a brace": b"{",
    "no UTF-8": b'{"images": "\xff"}',
    "nested 100,000 deep": b"[" * 100_000,
    "a number of 5,000 digits": b'{"images": [' + b"9" * 5000 + b"]}",
    "zeros": bytes(100),
}


def cases() -> Cases:
    """All of them, and every bad picture beside good annotations."""
    for name, content in VOC.items():
        yield _voc(f"voc/{name}", XML, content)
    for name, content in BAD.items():
        harmless = name in READABLE
        yield _voc(f"voc/image {name}", "images/0.png", content, harmless=harmless)
    yield _voc("voc/list of what is not there", "ImageSets/Main/train.txt", "nowhere")
    yield _voc("voc/an empty list", "ImageSets/Main/train.txt", "")
    yield _voc("voc/a list of bytes", "ImageSets/Main/train.txt", b"\xff\xfe")
    yield _voc("voc/classes.txt of others", "classes.txt", "other\n")
    yield Case("voc/a FIFO", "detection", functools.partial(_fifo, path=XML))
    image = functools.partial(_fifo, path="images/0.png")
    yield Case("voc/an image that is a FIFO", "detection", image)
    for name, spoil in COCO.items():
        harmless = any(f"{p} {k} {odd}" == name for p, k, odd in MAY_BE)
        yield _coco(name, spoil, harmless=harmless)
    for name, called in NAMES.items():
        yield _coco(f"a class called {name}", _renamed(called), harmless=True)
    for name, content in RAW.items():
        yield Case(
            f"coco/{name}", "detection", functools.partial(_raw, content=content)
        )
    yield _coco("50,000 boxes", _many, harmless=True)


def _voc(name: str, path: str, content: str | bytes, *, harmless: bool = False) -> Case:
    def make(folder: pathlib.Path) -> list[str]:
        write_voc(folder / "data")
        data = content.encode() if isinstance(content, str) else content
        (folder / "data" / path).write_bytes(data)
        return on("detection", "voc:data")

    return Case(name, "detection", make, harmless=harmless)


def _coco(name: str, spoil: Callable[[dict], Any], *, harmless: bool = False) -> Case:
    def make(folder: pathlib.Path) -> list[str]:
        content = spoil(write_coco(folder / "data"))
        (folder / "data" / COCO_FILE).write_text(json.dumps(content))
        return on("detection", "coco:data")

    return Case(f"coco/{name}", "detection", make, harmless=harmless)


def _raw(folder: pathlib.Path, *, content: bytes) -> list[str]:
    write_coco(folder / "data")
    (folder / "data" / COCO_FILE).write_bytes(content)
    return on("detection", "coco:data")


def _fifo(folder: pathlib.Path, *, path: str) -> list[str]:
    write_voc(folder / "data")
    (folder / "data" / path).unlink()
    os.mkfifo(folder / "data" / path)
    return on("detection", "voc:data")


def _many(content: dict) -> dict:
    first = content["annotations"][0]
    more = [{**first, "id": 100 + i} for i in range(50_000)]
    return {**content, "annotations": content["annotations"] + more}
