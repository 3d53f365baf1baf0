"""Mean and standard deviation of the pixels of a data set."""

import numpy as np
from jaxtyping import Float32, UInt8, UInt64

from cnnjax.data.decoded import parallel_map
from cnnjax.data.source import Source

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
    count, total, squares = 0, np.uint64(0), np.uint64(0)
    for start in range(0, len(chosen), _CHUNK):
        images = _images(source.fetch(chosen[start : start + _CHUNK]))
        count += sum(image.shape[0] * image.shape[1] for image in images)
        for of_image, of_squares in parallel_map(_sums, images):
            total, squares = total + of_image, squares + of_squares
    mean = np.asarray(total / (255 * count))
    std = np.sqrt(np.maximum(squares / (255**2 * count) - np.square(mean), 0))
    std = np.where(std > 0, std, 1)
    return mean.astype(np.float32), std.astype(np.float32)


def _images(examples: dict[str, np.ndarray]) -> list[UInt8[np.ndarray, "h w c"]]:
    """Returns what is valid of each image."""
    images = examples["image"]
    if "valid_size" not in examples:
        return list(images)
    pairs = zip(images, examples["valid_size"], strict=True)
    return [image[:height, :width] for image, (height, width) in pairs]


def _sums(
    image: UInt8[np.ndarray, "h w c"],
) -> tuple[UInt64[np.ndarray, " c"], UInt64[np.ndarray, " c"]]:
    """Returns the sums of the values and of their squares in each channel."""
    height, width, channels = image.shape
    rows = image.reshape(height, width * channels).astype(np.uint32)
    columns = (x.sum(axis=0, dtype=np.uint64) for x in (rows, np.square(rows)))
    total, squares = (x.reshape(width, channels).sum(axis=0) for x in columns)
    return total, squares
