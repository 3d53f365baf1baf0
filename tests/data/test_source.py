import numpy as np
import pytest

from cnnjax import data
from cnnjax.data import batches, decoded
from cnnjax.data.detection import AnnotatedImages
from cnnjax.data.source import AnnotatedSource, AnnotatedSubset, Columns, Source, subset


def classified(count=6):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return data.Arrays(images, np.arange(count, dtype=np.int32) % 3)


def detected(count=6):
    columns = {
        "boxes": np.float32(np.arange(4 * count).reshape(count, 1, 4)),
        "label": np.zeros((count, 1), np.int32),
        "valid_size": np.ones((count, 2), np.int32),
    }
    images = Columns({"image": classified(count).columns["image"], **columns})
    return AnnotatedImages(images, columns)


def on_fetch(count=6):
    encoded = decoded.Listed(range(count))
    view = decoded.View(lambda item: {"image": np.full((1, 1, 1), item, np.uint8)}, 1)
    return decoded.Decoded(encoded, int, view)


SOURCES = [classified, detected, on_fetch]


@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize("part", [False, True], ids=["whole", "subset"])
def test_every_source_is_what_it_claims(make, part):
    source = make()
    if part:
        source = subset(source, np.array([5, 0, 3]))
    assert isinstance(source, Source)
    assert isinstance(source.in_memory, bool)
    indices = np.array([2, 0, 2])
    examples = source.fetch(indices)
    assert all(len(column) == 3 for column in examples.values())
    if source.labels is not None:
        assert len(source.labels) == len(source)
        np.testing.assert_array_equal(source.labels[indices], examples["label"])
    whole = source.fetch(np.arange(len(source)))
    for name, column in examples.items():
        np.testing.assert_array_equal(column, whole[name][indices])
    (batch,) = batches.evaluation(source, batch_size=len(source))
    np.testing.assert_array_equal(batch["image"], whole["image"])
    if isinstance(source, AnnotatedSource):
        annotations = source.annotations(indices)
        assert annotations.keys() == examples.keys() - {"image"}
        for name, column in annotations.items():
            np.testing.assert_array_equal(column, examples[name])


@pytest.mark.parametrize("split", [data.hold_out_last, data.hold_out])
def test_parts_have_annotations_if_the_whole_has(split):
    options = {"seed": 0} if split is data.hold_out else {}
    for part in split(detected(), 0.5, **options):
        assert isinstance(part, AnnotatedSubset)
        assert isinstance(subset(part, np.arange(1)), AnnotatedSource)
    for part in split(on_fetch(), 0.5, **options):
        assert not isinstance(part, AnnotatedSource)


def test_annotations_are_had_without_an_image():
    source = detected()
    source.images.fetch = None
    parts = subset(source, np.array([4, 1])).annotations(np.array([1]))
    np.testing.assert_array_equal(parts["boxes"], source.columns["boxes"][[1]])
