"""Makes a folder of JPEGs that cost as much to decode as photographs do.

    python -m experiments.benchmark.jpegs PATH
    python -m experiments.classification --dataset=folder:PATH --image_size=224

The pictures are of 500x375 pixels and about 100 KB, as those of ImageNet, in one folder
for each of eight classes. The same command makes the same pictures.
"""

import concurrent.futures
import pathlib

import numpy as np
from absl import app
from jaxtyping import UInt8
from PIL import Image

WIDTH, HEIGHT = 500, 375
CLASSES = 8
QUALITY = 92
COUNT = 8192


def make(folder: pathlib.Path, count: int = COUNT) -> None:
    """Writes `count` pictures as folder/CLASS/NUMBER.jpg."""
    for i in range(min(CLASSES, count)):
        (folder / f"class{i}").mkdir(parents=True, exist_ok=True)
    views = [view(i) for i in range(CLASSES)]

    def write(number: int) -> None:
        path = folder / f"class{number % CLASSES}" / f"{number:05d}.jpg"
        picture(views[number % CLASSES], number).save(path, quality=QUALITY)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(write, range(count)))


def view(seed: int) -> UInt8[np.ndarray, "h w 3"]:
    """What a class looks like, twice as wide and high as a picture.

    A sum of noises, each twice as fine as the last and half as strong: so are the
    spectra of photographs.
    """
    draw = np.random.default_rng(seed)
    size = 2 * WIDTH, 2 * HEIGHT
    total = np.full((size[1], size[0], 3), 128.0)
    for level in range(2, 10):
        coarse = draw.integers(0, 256, (3 * 2**level // 4, 2**level, 3), np.uint8)
        fine = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        total += (np.asarray(fine) - 127.5) * 2.0 ** (1 - level / 2)
    return total.clip(0, 255).astype(np.uint8)


def picture(view: UInt8[np.ndarray, "h w 3"], seed: int) -> Image.Image:
    """A part of a view, with the grain of a camera."""
    draw = np.random.default_rng(seed)
    top, left = draw.integers(HEIGHT), draw.integers(WIDTH)
    part = view[top : top + HEIGHT, left : left + WIDTH]
    grain = draw.integers(-20, 21, (HEIGHT, WIDTH, 1), np.int16)
    return Image.fromarray((part + grain).clip(0, 255).astype(np.uint8))


def main(argv):
    """Makes the pictures in the folder that is named."""
    if len(argv) != 2:
        raise app.UsageError("name the folder to make, and nothing else.")
    make(pathlib.Path(argv[1]))
    print(f"{COUNT} pictures in {argv[1]}")


if __name__ == "__main__":
    app.run(main)
