"""Mean and standard deviation of the pixels of a data set."""

import numpy as np
from jaxtyping import Float32, Int, UInt8, UInt64

from cnnjax.data.decoded import parallel_map
from cnnjax.data.source import Examples, Source, SummedSource

_EXAMPLES = 10_000
_CHUNK = 64  # examples at once: some for every thread or process that decodes


def channel_mean_std(
    source: Source, *, seed: int = 0
) -> tuple[Float32[np.ndarray, " c"], Float32[np.ndarray, " c"]]:
    """Mean and standard deviation of each channel, for pixels in [0, 1].

    Of all examples, or of 10,000 drawn by `seed` where there are more. Pixels beyond
    the valid size of a fitted image do not count. The std of a constant channel is 1.
    Sums are of whole numbers, so that their order does not matter.
    """
    chosen = np.arange(len(source))
    if len(source) > _EXAMPLES:
        chosen = np.random.default_rng(seed).choice(chosen, _EXAMPLES, replace=False)
    chosen = np.sort(chosen)
    if isinstance(source, SummedSource):
        sums = source.pixel_sums(chosen).sum(axis=0)
    else:
        sums = _sums_of_fetched(source, chosen)
    count, total, squares = sums[0], *np.split(sums[1:], 2)
    mean = np.asarray(total / (255 * count))
    std = np.sqrt(np.maximum(squares / (255**2 * count) - np.square(mean), 0))
    std = np.where(std > 0, std, 1)
    return mean.astype(np.float32), std.astype(np.float32)


def _sums_of_fetched(
    source: Source, indices: Int[np.ndarray, " n"]
) -> UInt64[np.ndarray, " 1+2*c"]:
    """Returns the sum of the `pixel_sums` of the images at `indices`."""
    sums = []
    for start in range(0, len(indices), _CHUNK):
        images = valid_images(source.fetch(indices[start : start + _CHUNK]))
        sums += parallel_map(pixel_sums, images)
    return np.sum(sums, axis=0)


def valid_images(examples: Examples) -> list[UInt8[np.ndarray, "h w c"]]:
    """Returns what is valid of each image."""
    images = examples["image"]
    if "valid_size" not in examples:
        return list(images)
    pairs = zip(images, examples["valid_size"], strict=True)
    return [image[:height, :width] for image, (height, width) in pairs]


def pixel_sums(image: UInt8[np.ndarray, "h w c"]) -> UInt64[np.ndarray, " 1+2*c"]:
    """Returns the number of pixels, and of each channel the sums of values and squares.

    They are c sums of values, and then c of their squares.
    """
    height, width, channels = image.shape
    rows = image.reshape(height, width * channels).astype(np.uint32)
    columns = (x.sum(axis=0, dtype=np.uint64) for x in (rows, np.square(rows)))
    sums = (x.reshape(width, channels).sum(axis=0) for x in columns)
    return np.concatenate([np.array([height * width], np.uint64), *sums])
