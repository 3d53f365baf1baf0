"""One picture file to pixels, whatever it was saved as.

Pixels come out as uint8 with 1 channel (gray) or 3 (RGB), upright: turned as
their EXIF orientation asks. Transparency lies over white. 16 bits are scaled to 8
(Pillow's own conversion clips them). Palettes, CMYK and bilevel are converted.

Only the kinds in `FORMATS` are opened, whatever a file is called: some others start
programs (PostScript). Pictures of more than 179 million pixels, twice what Pillow warns
of, are refused. Its warnings of pictures that it still decodes are not shown.
"""

import contextlib
import io
import logging
import pathlib
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from cnnjax.data import files, libtiff
from cnnjax.errors import UsageError

# What is read, by Pillow's names, and how files of it are called.
FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}
_GRAY = ("1", "L", "LA", "I")
_KEYED = ("1", "L", "RGB")  # may name one color that is transparent
_OTHERS = ("CMYK", "YCbCr")
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width

# Here and not where a picture is decoded: filters are of the process, not of a thread.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


class ImageInfo(NamedTuple):
    """What a picture's header says: its height and width, and whether it is gray."""

    name: str
    size: tuple[int, int]
    gray: bool


def decode(
    data: bytes | pathlib.Path, *, channels: int, name: str
) -> UInt8[np.ndarray, "h w channels"]:
    """Returns the pixels of an encoded picture.

    Args:
        data: the file's bytes, or its path.
        channels: 1 for gray, 3 for RGB.
        name: what messages call the picture.

    Raises:
        UsageError: if it is missing, damaged, or no picture.
    """
    return pixels(decode_picture(data, channels=channels, name=name))


def decode_picture(
    data: bytes | pathlib.Path, *, channels: int, name: str
) -> Image.Image:
    """Returns what `decode` does as Pillow has it, of mode "L" or "RGB".

    Arguments and errors are those of `decode`. Pillow resizes it as it is, and only
    the result becomes an array.
    """
    with opened(data, name=name) as picture:
        picture.load()
        if _orientation(picture) != 1:
            picture = ImageOps.exif_transpose(picture)
        return _plain(picture, channels)


def pixels(picture: Image.Image) -> UInt8[np.ndarray, "h w channels"]:
    """Returns the pixels of a gray ("L") or colored ("RGB") picture."""
    return np.asarray(picture).reshape(picture.height, picture.width, -1)


def recolor(
    image: UInt8[np.ndarray, "h w c"], *, channels: int
) -> UInt8[np.ndarray, "h w channels"]:
    """Returns the pixels that `decode` gives of a file with the pixels of `image`.

    Args:
        image: gray, gray with opacity, RGB, or RGB with opacity: 1 to 4 channels.
        channels: 1 for gray, 3 for RGB.
    """
    plain = image[..., 0] if image.shape[-1] == 1 else image
    return pixels(_plain(Image.fromarray(plain), channels))


def _plain(picture, channels):
    mode = "L" if channels == 1 else "RGB"
    opaque = _opaque(_eight_bits(picture))
    return opaque if opaque.mode == mode else opaque.convert(mode)  # which would copy


def header(data: bytes | pathlib.Path, *, name: str) -> ImageInfo:
    """Returns size and kind of an encoded picture without decoding its pixels.

    Raises:
        UsageError: if it is missing or no picture.
    """
    with opened(data, name=name) as picture:
        size = picture.height, picture.width
        size = size[::-1] if _orientation(picture) in _TURNED else size
        return ImageInfo(name, size, _is_gray(picture))


@contextlib.contextmanager
def opened(data: bytes | pathlib.Path, *, name: str) -> Iterator[Image.Image]:
    """Yields an encoded picture; errors while it is used become a UsageError.

    Raises:
        UsageError: if it is missing, damaged, or no picture.
    """
    is_bytes = isinstance(data, bytes)
    with io.BytesIO(data) if is_bytes else files.opened(data, name=name) as file:
        try:
            with libtiff.heard(), Image.open(file, formats=tuple(FORMATS)) as picture:
                yield picture
        except UnidentifiedImageError:
            kinds = ", ".join(FORMATS)
            raise UsageError(
                f"{name} is no image that can be read ({kinds})."
            ) from None
        except (UsageError, MemoryError):
            raise
        except Exception as error:  # decoders raise nearly anything on damaged bytes
            reason = str(error).rstrip(".")
            raise UsageError(f"{name} cannot be decoded: {reason}.") from error


def _orientation(picture):
    if "exif" not in picture.info:  # getexif would decode a whole PNG to be sure
        return 1
    return picture.getexif().get(ExifTags.Base.Orientation, 1)


def _is_gray(picture):
    if picture.mode == "P":
        palette = np.reshape(picture.getpalette(), (-1, 3))
        return bool((palette == palette[:, :1]).all())
    return picture.mode in _GRAY or picture.mode.startswith("I;16")


def _eight_bits(picture):
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its gray values do not fit into 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _opaque(picture):
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA")
    elif picture.mode in _KEYED and "transparency" in picture.info:
        picture = picture.convert("RGBA" if picture.mode == "RGB" else "LA")
    if picture.mode in _KEYED or picture.mode in _OTHERS:
        return picture
    if picture.mode not in ("LA", "RGBA"):
        raise ValueError(f"pixels of kind {picture.mode} are not known here")
    plain = picture.convert("RGB" if picture.mode == "RGBA" else "L")
    white = Image.new(plain.mode, plain.size, "white")
    return Image.composite(plain, white, picture.getchannel("A"))
