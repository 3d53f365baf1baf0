import numpy as np
import pytest
from PIL import Image

from experiments.benchmark import jpegs


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same pictures, made twice."""
    folders = [tmp_path_factory.mktemp("jpegs") for _ in range(2)]
    for folder in folders:
        jpegs.make(folder, 18)
    return folders


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*")}


def test_pictures_are_the_same_every_time(folders):
    first, second = map(files, folders)
    assert first == second
    assert len(set(first.values())) == 18


def test_pictures_are_as_large_as_photographs(folders):
    paths = sorted(folders[0].glob("class*/*.jpg"))
    assert len(paths) == 18
    for path in paths:
        with Image.open(path) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (500, 375)
        assert 80_000 < path.stat().st_size < 140_000


def test_classes_are_equally_large_and_look_different(folders):
    counts = [len([*folder.iterdir()]) for folder in sorted(folders[0].iterdir())]
    assert counts == [3, 3, 2, 2, 2, 2, 2, 2]
    views = [jpegs.view(i).astype(float) for i in range(2)]
    assert np.abs(views[0] - views[1]).mean() > 20
