import io

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import image_masks as pairs
from cnnjax.data import images as pictures
from cnnjax.data import resize as resize
from cnnjax.data.dataset import Options
from cnnjax.errors import UsageError

IDENTITY = np.arange(256, dtype=np.uint8)


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
    seen = pairs.examine(Encoded(*images))
    assert [one.name for one in seen] == ["i0", "i1", "i2", "i3", "i4"]
    assert [one.size for one in seen] == [(7, 9)] * 3 + [(5, 4)] * 2
    for one, image in zip(seen, images, strict=True):
        mask = image[..., 0]
        assert one.pixels == {id: (mask == id).sum() for id in np.unique(mask)}
        assert not one.gray


def test_sources_decode_on_fetch_or_keep_in_memory(rng, monkeypatch):
    images = random_images(rng, 70)
    lookup = IDENTITY[::-1]
    options = Options(task="segmentation")
    make = lambda: pairs.source_of(  # noqa: E731
        Encoded(*images), options, shape=(7, 9, 3), lookup=lookup
    )
    small = make()
    monkeypatch.setattr(pictures, "MEMORY_LIMIT", 70 * 7 * 9 * 4 - 1)
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
def test_a_mask_is_framed_as_its_image_is(size, resize_mode):
    # A channel for each of three regions: full where only that region is seen.
    mask = np.zeros(size, np.uint8)
    mask[:, size[1] // 3 :] = 1
    mask[size[0] // 2 :, : size[1] // 2] = 2
    image = 255 * np.eye(3, dtype=np.uint8)[mask]
    options = Options(image_size=24, resize_mode=resize_mode, task="segmentation")
    source = pairs.source_of(
        Encoded(image, masks=[mask]), options, shape=image.shape, lookup=IDENTITY
    )
    batch = source.fetch(np.arange(1))
    framed, valid_size = resize.resize_image(image, size=24, resize_mode=resize_mode)
    np.testing.assert_array_equal(batch["image"][0], framed)
    label = batch["label"][0]
    assert (label[valid_size[0] :] == 255).all()
    assert (label[:, valid_size[1] :] == 255).all()
    label, framed = (x[: valid_size[0], : valid_size[1]] for x in (label, framed))
    pure = framed.max(axis=-1) == 255
    assert pure.mean() > 0.5
    np.testing.assert_array_equal(label[pure], framed.argmax(axis=-1)[pure])
    assert set(label[~pure]) <= {0, 1, 2}


def test_a_mask_is_framed_at_the_nearest_pixel():
    mask = np.arange(6 * 12, dtype=np.uint8).reshape(6, 12)
    crop = pairs.resize_mask(mask, size=3, valid_size=(3, 3), resize_mode="crop")
    np.testing.assert_array_equal(crop, mask[1::2, 4:9:2])
    fit = pairs.resize_mask(mask, size=4, valid_size=(2, 4), resize_mode="fit")
    np.testing.assert_array_equal(fit[:2], mask[1::3, 1::3])
    large = pairs.resize_mask(
        mask[:, :6], size=12, valid_size=(12, 12), resize_mode="crop"
    )
    np.testing.assert_array_equal(large, mask[:, :6].repeat(2, 0).repeat(2, 1))


def test_refuses_a_mask_of_another_size(rng):
    images = random_images(rng, 3)
    masks = [image[..., 0] for image in images]
    masks[2] = masks[2][:, 1:]
    encoded = Encoded(*images, masks=masks)
    message = r"differ in size: i2 7 x 9, m2 7 x 8 \(height x width\)\.$"
    with pytest.raises(UsageError, match=message):
        pairs.examine(encoded)
    options = Options(image_size=4)
    source = pairs.Pairs(encoded, options, shape=(4, 4, 3), lookup=IDENTITY)
    source.fetch(np.arange(2))
    with pytest.raises(UsageError, match=message):
        source.fetch(np.arange(3))


def test_refuses_an_image_whose_size_has_changed(rng):
    source = pairs.Pairs(
        Encoded(*random_images(rng, 2)), Options(), shape=(8, 8, 3), lookup=IDENTITY
    )
    with pytest.raises(UsageError, match="i0 had another size when the run started"):
        source.fetch(np.arange(2))
