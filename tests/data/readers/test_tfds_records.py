import io
import pathlib

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from cnnjax import data
from cnnjax.errors import UsageError


def picture(values, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind)
    file.seek(0)
    return file


def trimap(index):
    """Values 1 to 3, of a height that differs from image to image."""
    height = 6 + index % 3
    return np.resize(np.uint8([1, 2, 2, 3, 1, 1, 2]), (height, 5))


class OxfordIIITPet(
    tensorflow_datasets.core.GeneratorBasedBuilder, skip_registration=True
):
    """The features of Oxford's pets, the images of nothing."""

    VERSION = tensorflow_datasets.core.Version("4.0.0")
    pkg_dir_path = pathlib.Path(__file__).parent
    sizes = {"train": 8, "test": 4}  # noqa: RUF012

    def _info(self):
        features = tensorflow_datasets.features
        return tensorflow_datasets.core.DatasetInfo(
            builder=self,
            features=features.FeaturesDict(
                {
                    "image": features.Image(),
                    "label": features.ClassLabel(names=["Abyssinian", "beagle"]),
                    "file_name": features.Text(),
                    "segmentation_mask": features.Image(
                        shape=(None, None, 1), use_colormap=True
                    ),
                }
            ),
        )

    def _split_generators(self, manager):
        return {split: self._generate_examples(split) for split in self.sizes}

    def _generate_examples(self, split):
        for index in range(self.sizes[split]):
            yield index, self.example(index)

    def example(self, index):
        mask = trimap(index)
        image = np.full((*mask.shape, 3), 10 * index, np.uint8)
        return {
            "image": picture(image, "JPEG"),
            "label": index % 2,
            "file_name": f"pet_{index}",
            "segmentation_mask": picture(mask),
        }


class Organs(OxfordIIITPet, skip_registration=True):
    """Any other data set with masks: here their ids are classes."""

    sizes = {"train": 5}  # noqa: RUF012

    def example(self, index):
        mask = np.resize(np.uint8([0, 1, 255]), (4, 4))
        return {
            **super().example(0),
            "image": picture(mask),
            "segmentation_mask": picture(mask),
        }


class Worn(OxfordIIITPet, skip_registration=True):
    sizes = {"train": 4, "test": 4}  # noqa: RUF012

    def example(self, index):
        whole = super().example(index)
        return {**whole, "segmentation_mask": picture(trimap(index)[1:])}


class Plain(OxfordIIITPet, skip_registration=True):
    sizes = {"train": 4}  # noqa: RUF012

    def _info(self):
        features = tensorflow_datasets.features
        kinds = {"image": features.Image(), "file_name": features.Text()}
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=features.FeaturesDict(kinds)
        )

    def example(self, index):
        whole = super().example(index)
        return {name: whole[name] for name in ("image", "file_name")}


class VOC(OxfordIIITPet, skip_registration=True):
    """The features of Pascal VOC, whose pixels are counted from 1."""

    BUILDER_CONFIGS = [tensorflow_datasets.core.BuilderConfig(name="2007")]  # noqa: RUF012
    sizes = {"train": 4, "test": 3}  # noqa: RUF012
    flag = "is_difficult"
    boxes = ((1, 2, 3, 4), (1, 1, 8, 5))  # of images of 5 x 8
    scalars = {}  # noqa: RUF012

    def _info(self):
        features = tensorflow_datasets.features
        objects = {
            "bbox": features.BBoxFeature(),
            "label": features.ClassLabel(names=["cat", "dog"]),
            self.flag: np.bool_,
            **dict.fromkeys(self.scalars, np.int64),
        }
        return tensorflow_datasets.core.DatasetInfo(
            builder=self,
            features=features.FeaturesDict(
                {"image": features.Image(), "objects": features.Sequence(objects)}
            ),
        )

    def example(self, index):
        """As many boxes as the index; of the third image the second does not count."""
        image = np.full((5, 8, 3), 10 * index, np.uint8)
        box = tensorflow_datasets.features.BBox
        objects = [
            {
                "bbox": box(top / 5, left / 8, bottom / 5, right / 8),
                "label": number,
                self.flag: (index, number) == (2, 1),
                **self.scalars,
            }
            for number, (left, top, right, bottom) in enumerate(self.boxes[:index])
        ]
        return {"image": picture(image), "objects": objects}


class Coco(VOC, skip_registration=True):
    BUILDER_CONFIGS = [tensorflow_datasets.core.BuilderConfig(name="2017")]  # noqa: RUF012
    sizes = {"train": 4, "validation": 3, "test": 1}  # noqa: RUF012
    flag = "is_crowd"
    scalars = {"area": 7}  # noqa: RUF012


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tensorflow_datasets"))
    for kind in (OxfordIIITPet, Organs, Worn, Plain, VOC, Coco):
        kind(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture
def load(data_dir):
    def load(name, task="segmentation", **options):
        return data.load(f"tfds:{name}", task=task, data_dir=data_dir, **options)

    return load


def test_pets_are_three_classes(load):
    found = load("oxford_iiit_pet", image_size=5)
    assert found.class_names == ("pet", "background", "border")
    assert found.image_shape == (5, 5, 3)
    assert (len(found.train), len(found.test)) == (8, 4)
    assert found.note == ""
    assert found.train.labels is None
    batch = found.train.fetch(np.arange(8))
    numbers = np.round(batch["image"][:, 0, 0, 0] / 10).astype(int)
    assert sorted(numbers) == list(range(8))
    for number, label in zip(numbers, batch["label"], strict=True):
        mask = trimap(number)
        top = (len(mask) - 5) / 2
        rows = np.int32(top + np.arange(5) + 0.5)
        np.testing.assert_array_equal(label, mask[rows] - 1)
    pixels = np.concatenate([trimap(index).ravel() for index in range(8)])
    assert found.class_pixels == tuple(np.bincount(pixels)[1:])


def test_any_data_set_with_masks(load):
    found = load("organs", holdout=0.4)
    assert found.class_names == ("0", "1")
    assert (len(found.train), len(found.test)) == (3, 2)
    assert found.note == "No test split: held out the last 2 of 5 images."
    expected = np.resize(np.uint8([0, 1, 255]), (4, 4))
    np.testing.assert_array_equal(found.test.fetch(np.arange(1))["label"][0], expected)


def test_pets_are_classified_too(data_dir):
    found = data.load("tfds:oxford_iiit_pet", data_dir=data_dir, image_size=5)
    assert found.class_names == ("Abyssinian", "beagle")
    assert found.class_pixels is None


def by_index(source):
    """What is fetched, in order of the indices that images are painted with."""
    batch = source.fetch(np.arange(len(source)))
    order = np.argsort(batch["image"][:, 0, 0, 0])
    return {name: column[order] for name, column in batch.items()}


def test_boxes_of_voc_are_counted_from_one(load):
    found = load("voc/2007", "detection")
    assert found.class_names == ("cat", "dog")
    assert found.image_shape == (5, 8, 3)
    assert (len(found.train), len(found.test)) == (4, 3)
    assert found.note == ""
    batch = by_index(found.train)
    none, cat, dog = (0, 0, 0, 0), (0, 1, 3, 4), (0, 0, 8, 5)
    expected = [[none, none], [cat, none], [cat, dog], [cat, dog]]
    np.testing.assert_allclose(batch["boxes"], expected, atol=1e-5)
    labels = [[-1, -1], [0, -1], [0, 1], [0, 1]]
    np.testing.assert_array_equal(batch["label"], labels)
    assert np.argwhere(batch["ignore"]).tolist() == [[2, 1]]
    np.testing.assert_allclose(batch["area"][3], [9, 40], rtol=1e-5)
    assert batch["label"].dtype == np.int32


def test_boxes_of_coco(load):
    found = load("coco/2017", "detection")
    assert len(found.test) == 3
    assert found.note == "The test split has no boxes. Tested on validation."
    batch = by_index(found.train)
    np.testing.assert_allclose(
        batch["boxes"][2], [(1, 2, 3, 4), (1, 1, 8, 5)], atol=1e-5
    )
    np.testing.assert_array_equal(batch["area"], 7 * (batch["label"] >= 0))
    assert np.argwhere(batch["ignore"]).tolist() == [[2, 1]]


def test_boxes_in_a_frame(load):
    found = load("voc/2007", "detection", image_size=16)
    batch = by_index(found.test)
    np.testing.assert_allclose(batch["boxes"][1, 0], (0, 2, 6, 8), atol=1e-5)
    np.testing.assert_array_equal(batch["valid_size"][1], (10, 16))
    assert batch["scale"][1] == 0.5


def test_refuses_to_search_without_boxes(load):
    message = r"one image and objects \(bbox, label\) each: its features are file_name"
    with pytest.raises(UsageError, match=message):
        load("plain", "detection")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("worn", {"image_size": 4}, r"differ in size: Image 0 of worn/4\.0\.0 train"),
        ("plain", {}, "one image and one segmentation_mask each: its features are fil"),
        (
            "oxford_iiit_pet",
            {"image_size": 5, "binary": True},
            r"training masks of oxford_iiit_pet have one class \(foreground\)",
        ),
    ],
)
def test_refuses_in_one_line(load, name, options, message):
    with pytest.raises(UsageError, match=message) as error:
        load(name, **options)
    assert "\n" not in str(error.value)
