"""Bad pictures, wherever pictures are read, and bad folders of them."""

import functools
import gzip
import io
import os
import pathlib
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.hostile.case import Case, Cases, on

CLASSES = ("cats", "dogs")
EACH = 5


def write_folder(root: pathlib.Path, *, size: int = 28) -> None:
    """A folder of two classes that a run can learn from."""
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for i in range(EACH):
            save(root / name / f"{i}.png", size=size, seed=10 * label + i)


def save(path: pathlib.Path, *, size: int = 28, seed: int = 0) -> None:
    """A grey picture of noise."""
    Image.fromarray(noise(size, seed)).save(path)


def noise(size: int, seed: int = 0) -> np.ndarray:
    """Noise, uint8 (size, size)."""
    return np.random.default_rng(seed).integers(0, 256, (size, size), np.uint8)


def encoded(kind: str, *, size: int = 28, mode: str = "L", **options: object) -> bytes:
    """A good picture of some kind, as bytes."""
    stream = io.BytesIO()
    Image.fromarray(noise(size)).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A grey PNG that claims a size, whatever its pixels are."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        sum_ = zlib.crc32(kind + content)
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_)
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    pixels = zlib.compress(data)
    return b"".join(
        (signature, chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    )


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\nshowpage\n"
GOOD = encoded("PNG")
BAD: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\x89",
    "text": b"this is no picture",
    "cut in the header": GOOD[:20],
    "cut in the pixels": GOOD[: len(GOOD) // 2],
    "cut before the end": GOOD[:-20],
    "a flipped byte of pixels": GOOD[:60] + bytes([GOOD[60] ^ 255]) + GOOD[61:],
    "only a signature": GOOD[:8],
    "zero width": png(0, 28),
    "zero pixels": png(0, 0),
    "claims 2**31 rows": png(28, 2**31 - 1),
    "claims 60,000 squared": png(60_000, 60_000),
    "EPS named png": EPS,
    "PDF named png": b"%PDF-1.4\n",
    "SVG named png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "PSD named png": b"8BPS\0\1" + bytes(40),
    "FITS named png": b"SIMPLE  =                    T" + bytes(100),
    "gzip named png": gzip.compress(GOOD),
    "half a JPEG": encoded("JPEG")[:300],
    "JPEG of 0xff": b"\xff\xd8" + b"\xff" * 200,
    "GIF without frames": b"GIF89a" + bytes(7) + b";",
    "GIF cut": encoded("GIF")[:50],
    "BMP cut": encoded("BMP")[:70],
    "BMP of 0 x 0": b"BM"
    + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, *[0] * 10),
    "WebP cut": encoded("WEBP")[:40],
    "WebP header alone": b"RIFF\x24\0\0\0WEBPVP8 ",
    "TIFF cut": encoded("TIFF")[:100],
    "TIFF of 8 bytes": b"II*\0\x08\0\0\0",
    "TIFF that loops": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "TIFF of floats": encoded("TIFF", mode="F"),
}


READABLE = {"cut before the end"}  # all pixels are there, but not their sum


def cases() -> Cases:
    """Bad pictures in a folder of classes, and bad folders."""
    for name, content in BAD.items():
        put = functools.partial(_replace, content=content)
        yield _folder(f"picture/{name}", put, harmless=name in READABLE)
    for name, spoil in FOLDERS.items():
        yield _folder(f"folder/{name}", spoil)
    for name, spoil in HARMLESS.items():
        yield _folder(f"folder/{name}", spoil, harmless=True)


def _folder(name: str, spoil: Callable, *, harmless: bool = False) -> Case:
    def make(folder: pathlib.Path) -> list[str]:
        write_folder(folder / "data")
        spoil(folder / "data")
        return on("classification", "folder:data", "--holdout=0.4")

    return Case(name, "classification", make, harmless=harmless)


def _replace(root: pathlib.Path, *, content: bytes) -> None:
    (root / "cats" / "0.png").write_bytes(content)


def _empty_class(root: pathlib.Path) -> None:
    for path in (root / "cats").iterdir():
        path.unlink()


def _one_class(root: pathlib.Path) -> None:
    _empty_class(root)
    (root / "cats").rmdir()


def _no_classes(root: pathlib.Path) -> None:
    _one_class(root)
    for path in (root / "dogs").iterdir():
        path.rename(root / path.name)
    (root / "dogs").rmdir()


def _other_size(root: pathlib.Path) -> None:
    save(root / "cats" / "9.png", size=20)


def _fifo(root: pathlib.Path) -> None:
    os.mkfifo(root / "cats" / "9.png")


def _socket(root: pathlib.Path) -> None:
    os.mknod(root / "cats" / "9.png", 0o140644)


def _device(root: pathlib.Path) -> None:
    (root / "cats" / "9.png").symlink_to("/dev/zero")


def _dangling(root: pathlib.Path) -> None:
    (root / "cats" / "9.png").symlink_to("nowhere.png")


def _loop(root: pathlib.Path) -> None:
    (root / "cats" / "9.png").symlink_to("9.png")


def _folder_named_png(root: pathlib.Path) -> None:
    (root / "cats" / "9.png").mkdir()


def _test_class(root: pathlib.Path) -> None:
    for split in ("train", "test"):
        (root / split).mkdir()
        for name in CLASSES:
            (root / split / name).mkdir()
            for i in range(EACH):
                save(root / split / name / f"{i}.png")
    (root / "test" / "birds").mkdir()
    save(root / "test" / "birds" / "0.png")


FOLDERS: dict[str, Callable[[pathlib.Path], None]] = {
    "an empty class": _empty_class,
    "one class": _one_class,
    "no classes": _no_classes,
    "a FIFO": _fifo,
    "a socket": _socket,
    "a device": _device,
    "a dangling link": _dangling,
    "a link to itself": _loop,
    "a class that only the test split has": _test_class,
}


def _name(name: str | bytes) -> Callable[[pathlib.Path], None]:
    def spoil(root: pathlib.Path) -> None:
        os.rename(
            os.fsencode(root / "cats"),
            os.path.join(os.fsencode(root), os.fsencode(name)),
        )

    return spoil


def _file_not_utf8(root: pathlib.Path) -> None:
    os.rename(
        root / "cats" / "0.png", os.path.join(os.fsencode(root), b"cats/\xff\xfe.png")
    )


def _exif(root: pathlib.Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 30
    (root / "cats" / "0.png").unlink()
    (root / "cats" / "0.jpg").write_bytes(encoded("JPEG", exif=exif))


def _transparent_palette(root: pathlib.Path) -> None:
    picture = Image.fromarray(noise(28)).convert("P")
    picture.save(root / "cats" / "0.png", transparency=bytes(range(256)))


HARMLESS: dict[str, Callable[[pathlib.Path], None]] = {
    "another size": _other_size,
    "a folder named png": _folder_named_png,
    "class named $a$ $b": _name("$a$ $b"),
    "class named $\\frac{": _name("$\\frac{$"),
    "class with a newline": _name("a\nb"),
    "class with an escape": _name("\x1b[31mred\x1b[0m"),
    "class with a bell": _name("a\x07b"),
    "class of markup": _name("[red]"),
    "class of 250 letters": _name("x" * 250),
    "class no UTF-8": _name(b"caf\xe9"),
    "class right to left": _name("\u202eabc"),
    "class of emoji": _name("\U0001f408"),
    "file no UTF-8": _file_not_utf8,
    "damaged EXIF": _exif,
    "transparent palette": _transparent_palette,
}
