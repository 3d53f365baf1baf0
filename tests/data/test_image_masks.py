import io

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import decoded, resize
from cnnjax.data import image_masks as pairs
from cnnjax.data.labels import decode_ids
from cnnjax.data.resize import Resize
from cnnjax.errors import UsageError

IDENTITY = np.arange(256, dtype=np.uint8)
AS_IT_IS = Resize(None, "crop")


def png(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


class Encoded:
    """Images whose mask is their own first channel."""

    def __init__(self, *images, masks=None):
        self.images = images
        self.masks = masks or [image[..., 0] for image in images]

    def __len__(self):
        return len(self.images)

    def read(self, indices):
        return [
            pairs.Pair(png(self.images[i]), png(self.masks[i]), f"i{i}", f"m{i}")
            for i in indices
        ]


def random_images(rng, count, *, size=(7, 9), values=4):
    shape = (count, *size, 3)
    return list(rng.integers(0, values, shape, dtype=np.uint8))


def test_examine_counts_the_pixels_of_each_id(rng):
    images = [
        *random_images(rng, 3),
        *random_images(rng, 2, size=(5, 4), values=256),
    ]
    infos, _ = pairs.examine(Encoded(*images))
    assert [info.image.name for info in infos] == ["i0", "i1", "i2", "i3", "i4"]
    assert [info.image.size for info in infos] == [(7, 9)] * 3 + [(5, 4)] * 2
    for info, image in zip(infos, images, strict=True):
        mask = image[..., 0]
        assert info.pixels == {id: (mask == id).sum() for id in np.unique(mask)}
        assert not info.image.gray


def test_sources_decode_on_fetch_or_keep_in_memory(rng, monkeypatch):
    images = random_images(rng, 70)
    lookup = IDENTITY[::-1]
    make = lambda: pairs.pair_source(  # noqa: E731
        Encoded(*images), AS_IT_IS, shape=(7, 9, 3), lookup=lookup
    )
    small = make()
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 70 * 7 * 9 * 4 - 1)
    large = make()
    assert small.in_memory
    assert not large.in_memory
    assert len(small) == len(large) == 70
    indices = np.array([69, 3, 3, 64])
    for source in (small, large):
        assert source.labels is None
        batch = source.fetch(indices)
        assert set(batch) == {"image", "label"}
        assert batch["image"].dtype == batch["label"].dtype == np.uint8
        np.testing.assert_array_equal(batch["image"], np.stack(images)[indices])
        np.testing.assert_array_equal(batch["label"], 255 - batch["image"][..., 0])


@pytest.mark.parametrize("size", [(40, 40), (40, 72), (96, 33), (10, 14)])
@pytest.mark.parametrize("resize_mode", ["crop", "fit"])
def test_a_mask_is_resized_as_its_image_is(size, resize_mode):
    # A channel for each of three regions: full where only that region is seen.
    mask = np.zeros(size, np.uint8)
    mask[:, size[1] // 3 :] = 1
    mask[size[0] // 2 :, : size[1] // 2] = 2
    image = 255 * np.eye(3, dtype=np.uint8)[mask]
    source = pairs.pair_source(
        Encoded(image, masks=[mask]),
        Resize(24, resize_mode),
        shape=image.shape,
        lookup=IDENTITY,
    )
    batch = source.fetch(np.arange(1))
    resized, valid_size = resize.resize_image(image, size=24, resize_mode=resize_mode)
    np.testing.assert_array_equal(batch["image"][0], resized)
    label = batch["label"][0]
    assert (label[valid_size[0] :] == 255).all()
    assert (label[:, valid_size[1] :] == 255).all()
    label, resized = (x[: valid_size[0], : valid_size[1]] for x in (label, resized))
    pure = resized.max(axis=-1) == 255
    assert pure.mean() > 0.5
    np.testing.assert_array_equal(label[pure], resized.argmax(axis=-1)[pure])
    assert set(label[~pure]) <= {0, 1, 2}


def test_a_mask_is_resized_at_the_nearest_pixel():
    mask = np.arange(6 * 12, dtype=np.uint8).reshape(6, 12)
    crop = pairs.resize_mask(mask, size=3, valid_size=(3, 3), resize_mode="crop")
    np.testing.assert_array_equal(crop, mask[1::2, 4:9:2])
    fit = pairs.resize_mask(mask, size=4, valid_size=(2, 4), resize_mode="fit")
    np.testing.assert_array_equal(fit[:2], mask[1::3, 1::3])
    large = pairs.resize_mask(
        mask[:, :6], size=12, valid_size=(12, 12), resize_mode="crop"
    )
    np.testing.assert_array_equal(large, mask[:, :6].repeat(2, 0).repeat(2, 1))


def test_refuses_a_mask_of_another_size(rng, monkeypatch):
    images = random_images(rng, 3)
    masks = [image[..., 0] for image in images]
    masks[2] = masks[2][:, 1:]
    encoded = Encoded(*images, masks=masks)
    message = r"differ in size: i2 7 x 9, m2 7 x 8 \(height x width\)\.$"
    with pytest.raises(UsageError, match=message):
        pairs.examine(encoded)
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    source = pairs.pair_source(
        encoded, Resize(4, "crop"), shape=(7, 9, 3), lookup=IDENTITY
    )
    source.fetch(np.arange(2))
    with pytest.raises(UsageError, match=message):
        source.fetch(np.arange(3))


def test_refuses_an_image_whose_size_has_changed(rng, monkeypatch):
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 0)
    source = pairs.pair_source(
        Encoded(*random_images(rng, 2)), AS_IT_IS, shape=(8, 8, 3), lookup=IDENTITY
    )
    with pytest.raises(UsageError, match="i0 had another size when the run started"):
        source.fetch(np.arange(2))


@pytest.mark.parametrize("keeps", [True, False])
def test_masks_are_decoded_once_where_all_fits_in_memory(rng, monkeypatch, keeps):
    images = random_images(rng, 5)
    if not keeps:
        monkeypatch.setattr(decoded, "MEMORY_LIMIT", 5 * 7 * 9 * 4 - 1)
    decoded_masks = []

    def counted(data, *, name):
        decoded_masks.append(name)
        return decode_ids(data, name=name)

    monkeypatch.setattr(pairs, "decode_ids", counted)
    _, encoded = pairs.examine(Encoded(*images))
    source = pairs.pair_source(encoded, AS_IT_IS, shape=(7, 9, 3), lookup=IDENTITY)
    labels = source.fetch(np.arange(5))["label"]
    np.testing.assert_array_equal(labels, np.stack(images)[..., 0])
    assert source.in_memory == keeps
    assert len(decoded_masks) == (5 if keeps else 10)
