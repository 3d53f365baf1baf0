"""Mean and standard deviation of the pixels of a data set."""

import numpy as np
from jaxtyping import Float32

from cnnjax.data.source import Source

_EXAMPLES = 10_000
_CHUNK = 16  # examples at once: their pixels become numbers of eight bytes


def channel_mean_std(
    source: Source, *, seed: int = 0
) -> tuple[Float32[np.ndarray, " c"], Float32[np.ndarray, " c"]]:
    """Mean and standard deviation of each channel, for pixels in [0, 1].

    Of all examples, or of 10,000 drawn by `seed` where there are more. Pixels beyond
    the valid size of a fitted image do not count. The std of a constant channel is 1.
    """
    chosen = np.arange(len(source))
    if len(source) > _EXAMPLES:
        chosen = np.random.default_rng(seed).choice(chosen, _EXAMPLES, replace=False)
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for start in range(0, len(chosen), _CHUNK):
        pixels = _pixels(source.fetch(np.sort(chosen)[start : start + _CHUNK]))
        count += len(pixels)
        total = total + pixels.sum(axis=0)
        squares = squares + np.square(pixels).sum(axis=0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    std = np.where(std > 0, std, 1)
    return mean.astype(np.float32), std.astype(np.float32)


def _pixels(examples: dict[str, np.ndarray]) -> Float32[np.ndarray, "pixels c"]:
    images = examples["image"].astype(np.float64) / 255
    if "valid_size" not in examples:
        return images.reshape(-1, images.shape[-1])
    places = np.indices(images.shape[1:3])[None]  # (1, 2, h, w)
    inside = (places < examples["valid_size"][:, :, None, None]).all(axis=1)
    return images[inside]
