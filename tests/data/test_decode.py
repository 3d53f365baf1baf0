import functools
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.decode import decode, header
from cnnjax.errors import UsageError

SHAPE = (9, 7)


def encoded(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def over_white(color, alpha):
    alpha = alpha[..., None] / 255
    return np.rint(color * alpha + 255 * (1 - alpha))


@pytest.fixture
def gray(rng):
    return rng.integers(0, 256, SHAPE, dtype=np.uint8)


@pytest.fixture
def rgb(rng):
    return rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


@pytest.fixture
def alpha(rng):
    return rng.integers(0, 256, SHAPE, dtype=np.uint8)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {})]
)
def test_rgb(rgb, kind, options):
    data = encoded(Image.fromarray(rgb), kind, **options)
    np.testing.assert_array_equal(decode(data, channels=3, name="x"), rgb)
    assert not header(data, name="x").gray


def test_gray_and_gray_as_rgb(gray):
    data = encoded(Image.fromarray(gray))
    np.testing.assert_array_equal(decode(data, channels=1, name="x"), gray[..., None])
    expected = np.stack([gray] * 3, axis=-1)
    np.testing.assert_array_equal(decode(data, channels=3, name="x"), expected)
    assert header(data, name="x").gray


def test_jpeg_is_close(rgb):
    smooth = np.repeat(np.repeat(rgb, 16, axis=0), 16, axis=1)
    data = encoded(Image.fromarray(smooth), "JPEG", quality=95, subsampling=0)
    got = decode(data, channels=3, name="x").astype(int)
    assert np.abs(got - smooth).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_lies_over_white(rgb, alpha, kind):
    lossless = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(np.dstack([rgb, alpha])), kind, **lossless)
    expected = over_white(rgb, alpha)
    got = decode(data, channels=3, name="x")
    np.testing.assert_allclose(got, expected, atol=1)


def test_gray_alpha_lies_over_white(gray, alpha):
    data = encoded(Image.merge("LA", [Image.fromarray(a) for a in (gray, alpha)]))
    expected = over_white(gray[..., None], alpha)
    assert header(data, name="x").gray
    np.testing.assert_allclose(decode(data, channels=1, name="x"), expected, atol=1)


def test_palette(rgb):
    picture = Image.fromarray(rgb).quantize(16)
    expected = np.asarray(picture.convert("RGB"))
    data = encoded(picture)
    np.testing.assert_array_equal(decode(data, channels=3, name="x"), expected)
    assert not header(data, name="x").gray
    gif = encoded(picture, "GIF")
    np.testing.assert_array_equal(decode(gif, channels=3, name="x"), expected)


def test_palette_of_grays_is_gray(gray):
    picture = Image.fromarray(gray)
    data = encoded(picture.convert("P"))
    assert Image.open(io.BytesIO(data)).mode == "P"
    assert header(data, name="x").gray
    np.testing.assert_array_equal(decode(data, channels=1, name="x")[..., 0], gray)


def test_palette_with_transparency(rgb):
    picture = Image.fromarray(rgb).quantize(16)
    index = np.asarray(picture)
    colors = np.asarray(picture.convert("RGB"))
    alphas = np.arange(16, dtype=np.uint8) * 17
    by_table = decode(
        encoded(picture, transparency=bytes(alphas)), channels=3, name="x"
    )
    np.testing.assert_allclose(by_table, over_white(colors, alphas[index]), atol=1)
    by_index = decode(encoded(picture, transparency=5), channels=3, name="x")
    expected = np.where((index == 5)[..., None], 255, colors)
    np.testing.assert_array_equal(by_index, expected)


def test_one_transparent_color(gray, rgb):
    data = encoded(Image.fromarray(gray), transparency=int(gray[2, 3]))
    expected = np.where(gray == gray[2, 3], 255, gray)
    np.testing.assert_array_equal(decode(data, channels=1, name="x")[..., 0], expected)
    data = encoded(Image.fromarray(rgb), transparency=tuple(map(int, rgb[2, 3])))
    assert (decode(data, channels=3, name="x")[2, 3] == 255).all()
    np.testing.assert_array_equal(decode(data, channels=3, name="x")[0], rgb[0])


def test_bilevel(gray):
    picture = Image.fromarray(gray > 127)
    data = encoded(picture)
    assert Image.open(io.BytesIO(data)).mode == "1"
    expected = np.where(gray > 127, 255, 0)
    np.testing.assert_array_equal(decode(data, channels=1, name="x")[..., 0], expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF, big-endian"])
def test_sixteen_bits_are_scaled(rng, kind):
    values = rng.integers(0, 65536, SHAPE).astype(np.uint16)
    values[0, :2] = 0, 65535
    picture = Image.fromarray(values)
    if "big" in kind:
        content = values.astype(">u2").tobytes()
        picture = Image.frombytes("I;16B", SHAPE[::-1], content)
    data = encoded(picture, kind[:4].strip(","))
    assert header(data, name="x").gray
    got = decode(data, channels=1, name="x")[..., 0]
    np.testing.assert_array_equal(got, np.rint(values / 257))


def test_cmyk(rgb):
    smooth = np.repeat(np.repeat(rgb, 16, axis=0), 16, axis=1)
    picture = Image.fromarray(smooth).convert("CMYK")
    data = encoded(picture, "JPEG", quality=95, subsampling=0)
    got = decode(data, channels=3, name="x").astype(int)
    assert np.abs(got - smooth).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_stand_upright(orientation, kind):
    upright = np.zeros((48, 32), np.uint8)
    upright[:16, :16] = 255  # bright in the top left of three by two cells
    upright[32:, 16:] = 128
    turns = {  # how a camera stores what it marks with each orientation
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    data = encoded(stored, kind, exif=exif, quality=95)
    assert header(data, name="x").size == upright.shape
    got = decode(data, channels=1, name="x")[..., 0].astype(int)
    np.testing.assert_allclose(got, upright, atol=8)


def test_paths_and_bytes_are_the_same(rgb, tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(rgb).save(path)
    np.testing.assert_array_equal(decode(path, channels=3, name="x"), rgb)


def test_errors_name_the_file(rgb, tmp_path):
    jpeg = encoded(Image.fromarray(np.tile(rgb, (20, 20, 1))), "JPEG")
    deep = encoded(Image.fromarray(rgb[..., 0].astype(np.float32)), "TIFF")
    wide = encoded(Image.fromarray(np.full(SHAPE, 70_000, np.int32)), "TIFF")
    for data, message in [
        (jpeg[:-900], r"a/b\.png cannot be decoded: image file is truncated"),
        (jpeg[:20], r"a/b\.png is no image that can be read"),
        (b"hello", r"a/b\.png is no image that can be read"),
        (b"", r"a/b\.png is no image that can be read"),
        (tmp_path / "none.png", r"a/b\.png does not exist"),
        (deep, r"a/b\.png cannot be decoded: pixels of kind F are not known here"),
        (wide, r"a/b\.png cannot be decoded: its gray values do not fit into 16 bits"),
    ]:
        with pytest.raises(UsageError, match=message):
            decode(data, channels=3, name="a/b.png")


def test_kinds_that_are_not_read_are_not_opened(rgb, tmp_path):
    for kind in ("EPS", "PPM", "TGA", "JPEG2000", "AVIF", "ICO"):
        (tmp_path / "x.png").write_bytes(encoded(Image.fromarray(rgb), kind))
        with pytest.raises(
            UsageError, match=r"x\.png is no image that can be read \(JPEG"
        ):
            decode(tmp_path / "x.png", channels=3, name="x.png")


def test_a_pipe_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    for read in (header, functools.partial(decode, channels=3)):
        with pytest.raises(UsageError, match=r"a/b\.png is no file but a named pipe"):
            read(tmp_path / "x.png", name="a/b.png")


def fax(gray):
    """A TIFF of black and white with a damaged line, which Pillow takes for good."""
    data = encoded(Image.fromarray(gray > 127), "TIFF", compression="group4")
    with Image.open(io.BytesIO(data)) as picture:
        place = picture.tag_v2[273][0] + 8
    return data[:place] + b"\xff" * 4 + data[place + 4 :]


def test_damage_that_libtiff_alone_sees_is_refused(rng):
    gray = rng.integers(0, 256, (40, 60), dtype=np.uint8)
    with pytest.raises(UsageError, match=r"x cannot be decoded: .*line \d+ of strip 0"):
        decode(fax(gray), channels=1, name="x")


SAY_NOTHING = """
import io, sys
from PIL import Image
from cnnjax.data.decode import decode, header
from cnnjax.errors import UsageError

Image.MAX_IMAGE_PIXELS = 100  # warns from here to twice as many
for data in eval(sys.stdin.read()):
    for read in (header, lambda data, name: decode(data, channels=3, name=name)):
        try:
            read(data, name="x")
        except UsageError as error:
            print(error)
"""


def test_nothing_but_errors_is_printed(gray, rgb, rng):
    tiff = encoded(Image.fromarray(rgb[..., 0]), "TIFF", compression="tiff_lzw")
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg = encoded(Image.fromarray(rgb), "JPEG", exif=exif)
    start = jpeg.index(b"Exif") + 14
    files = [
        fax(gray),
        tiff[:60],
        tiff[:-30] + bytes(30),
        jpeg[:start] + b"\xff" * 8 + jpeg[start + 8 :],  # an EXIF with too many entries
        encoded(Image.fromarray(np.zeros((12, 12), np.uint8))),
    ]
    done = subprocess.run(
        [sys.executable, "-c", SAY_NOTHING],
        input=repr(files),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert all(line.startswith("x ") for line in done.stdout.splitlines())
    assert "x cannot be decoded" in done.stdout
