import io

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import labels as ids
from cnnjax.errors import UsageError

VALUES = np.array([[0, 1, 2], [7, 128, 255]], np.uint8)


def encoded(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def palette(values, colors):
    picture = Image.fromarray(values).convert("P")
    picture.putdata(values.ravel().tolist())
    picture.putpalette(colors)
    return picture


def rainbow(rng):
    return palette(VALUES, rng.integers(0, 256, 768).tolist())


def decoded(data):
    return ids.decode_ids(data, name="mask.png")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_gray_values_are_ids(kind):
    found = decoded(encoded(Image.fromarray(VALUES), kind))
    np.testing.assert_array_equal(found, VALUES)
    assert found.dtype == np.uint8


def gray_frame():
    return Image.fromarray(VALUES[::-1].copy())


def moving_webp(lossless):
    frames = {"save_all": True, "append_images": [gray_frame()]}
    return encoded(Image.fromarray(VALUES), "WEBP", lossless=lossless, **frames)


@pytest.mark.parametrize(
    "compression",
    ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "lzma"],
)
def test_a_tiff_may_be_packed_without_loss(compression):
    data = encoded(Image.fromarray(VALUES), "TIFF", compression=compression)
    np.testing.assert_array_equal(decoded(data), VALUES)


def test_a_webp_may_be_packed_without_loss():
    plain = encoded(Image.fromarray(VALUES), "WEBP", lossless=True)
    noted = encoded(Image.fromarray(VALUES), "WEBP", lossless=True, xmp=b"odd")
    for data in (plain, noted, moving_webp(True)):
        np.testing.assert_array_equal(decoded(data), VALUES)


def test_a_palette_gives_its_indices_whatever_its_colors(rng):
    np.testing.assert_array_equal(decoded(encoded(rainbow(rng))), VALUES)
    black = palette(VALUES, [0] * 768)
    np.testing.assert_array_equal(decoded(encoded(black)), VALUES)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_gray_with_more_channels_is_gray(mode):
    picture = Image.fromarray(VALUES).convert(mode)
    np.testing.assert_array_equal(decoded(encoded(picture)), VALUES)


def test_one_bit_is_two_ids():
    picture = Image.fromarray(VALUES).point(lambda value: value > 100, "1")
    np.testing.assert_array_equal(decoded(encoded(picture)), VALUES > 100)


def test_sixteen_bits_hold_many_instances():
    values = np.array([[0, 255, 256], [1000, 40000, 65535]], np.uint16)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(values))), values)


def test_reads_files_too(tmp_path):
    Image.fromarray(VALUES).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(decoded(tmp_path / "mask.png"), VALUES)


def colored(mode):
    pixels = np.stack([VALUES, VALUES, VALUES // 2], axis=-1)
    return encoded(Image.fromarray(pixels).convert(mode))


def translucent():
    picture = Image.fromarray(VALUES).convert("LA")
    picture.putalpha(Image.fromarray(255 - VALUES))
    return encoded(picture)


def truncated():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    return encoded(Image.fromarray(noise))[:-999]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (colored("RGB"), r"mask\.png is colored \(RGB\) and has no palette: a mask"),
        (colored("RGBA"), r"mask\.png is colored \(RGBA\) and has no palette"),
        (translucent(), r"mask\.png is colored \(LA\) and has no palette"),
        (
            encoded(Image.fromarray(VALUES), "JPEG"),
            r"mask\.png is a JPEG, which blurs ids: a mask is a PNG",
        ),
        (
            encoded(Image.fromarray(VALUES), "WEBP"),
            r"mask\.png is a lossy WEBP, which blurs ids: a mask is a PNG",
        ),
        (moving_webp(False), r"mask\.png is a lossy WEBP, which blurs ids"),
        (
            encoded(Image.fromarray(VALUES), "TIFF", compression="jpeg"),
            r"mask\.png is a TIFF compressed by jpeg, which blurs ids",
        ),
        (
            encoded(Image.fromarray(VALUES), "MPO", append_images=[gray_frame()] * 2),
            r"mask\.png is a MPO, which blurs ids",
        ),
        (
            encoded(Image.fromarray(VALUES), "JPEG2000"),
            r"mask\.png is no image that can be read \(JPEG, PNG",
        ),
        (
            encoded(Image.fromarray(VALUES), "AVIF"),
            r"mask\.png is no image that can be read \(JPEG, PNG",
        ),
        (
            encoded(Image.fromarray(VALUES.astype(np.float32)), "TIFF"),
            r"mask\.png cannot be decoded: pixels of kind F are no ids",
        ),
        (
            encoded(Image.fromarray(np.int32([[70000]])), "TIFF"),
            r"mask\.png cannot be decoded: its ids do not fit into 16 bits",
        ),
        (truncated(), r"mask\.png cannot be decoded: "),
        (b"hello", r"mask\.png is no image that can be read"),
    ],
)
def test_refuses_what_holds_no_ids(data, message):
    with pytest.raises(UsageError, match=message) as error:
        decoded(data)
    assert "\n" not in str(error.value)


def classes(legend, values):
    return legend.lookup()[np.array(values)].tolist()


def test_two_values_are_two_classes():
    for names, expected in ((None, ("0", "1")), (["membrane", "cell"],) * 2):
        legend = ids.plain_legend({0, 255}, names)
        assert legend.names == tuple(expected)
        assert classes(legend, [0, 255]) == [0, 1]


@pytest.mark.parametrize(
    ("found", "names", "count"),
    [
        ({0, 1, 2, 255}, None, 3),
        ({0, 5}, None, 6),
        ({0, 1, 255}, None, 2),
        ({0, 255}, ["a", "b", "c"], 3),
        ({0, 1, 255}, ["a", "b"], 2),
        ({1}, ["a", "b"], 2),
    ],
)
def test_an_id_is_its_class_and_255_is_void(found, names, count):
    legend = ids.plain_legend(found, names)
    assert legend.names == tuple(names or map(str, range(count)))
    assert classes(legend, range(count)) == list(range(count))
    assert classes(legend, [255]) == [ids.VOID]
    assert set(legend.classes) == {*range(count), 255}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({0, 1, 2, 99}, [0, 1, 1, 1]),
        ({0, 255}, [0, 1]),
        ({255}, [1]),
        ({0, 3, 255}, [0, 1, 255]),  # the border of instances
        ({0, 3, 255, 256}, [0, 1, 1, 1]),  # the 255th instance
    ],
)
def test_instances_are_one_class(found, expected):
    legend = ids.instance_legend(found)
    assert legend.names == ("background", "foreground")
    assert classes(legend, sorted(found)) == expected
