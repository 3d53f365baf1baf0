import io
import pathlib

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from cnnjax import data
from cnnjax.refusal import Refusal


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


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tensorflow_datasets"))
    for kind in (OxfordIIITPet, Organs, Worn, Plain):
        kind(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture
def load(data_dir):
    def load(name, **options):
        return data.load(
            f"tfds:{name}", task="segmentation", data_dir=data_dir, **options
        )

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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("oxford_iiit_pet", {}, r"unequal sizes: Image . of oxf.*--image_size=N would"),
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
    with pytest.raises(Refusal, match=message) as refusal:
        load(name, **options)
    assert "\n" not in str(refusal.value)
