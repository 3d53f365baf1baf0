"""Prediction of large images tile by tile, exactly.

The overlap-tile strategy of Ronneberger et al. (2015), figure 2: each tile is seen with
a margin of context around it, which beyond the image's border is its mirror image.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Int, Shaped

from cnnjax.ops.arrays import AnyArray

Predict = Callable[[Shaped[np.ndarray, "n h w c"]], Shaped[AnyArray, "n h2 w2 k"]]
Finish = Callable[[Shaped[np.ndarray, "h w k"]], Shaped[np.ndarray, "h w *k"]]
_FLIPS = ((), (1,), (2,), (1, 2))  # axes of a batch of tiles


def predict_tiled(
    predict: Predict,
    image: Shaped[np.ndarray, "h w c"],
    *,
    tile: int,
    margin: int,
    stride: int = 1,
    batch_size: int = 1,
    flips: bool = False,
    finish: Finish | None = None,
) -> Shaped[np.ndarray, "h w *k"]:
    """The prediction for the whole image, from tiles that fit into memory.

    A network without padding ("VALID") gives, to rounding, what it gives for the whole
    image with `margin` mirrored pixels around it. One that keeps the size ("SAME")
    gives what it gives for that, where its receptive field fits into the margin.

    Args:
        predict: images of side `tile + 2 margin` -> a prediction of side `tile`, or of
            the same side, of which the margin is cut off. All tiles have one shape, so
            that it compiles once.
        image: of any size, smaller than a tile too.
        tile: side of what a tile predicts, in pixels.
        margin: context on each side, in pixels: what a VALID network loses there, or
            half the receptive field of a SAME one. More than the image has is
            mirrored over and over.
        stride: of the network: tiles lie at multiples of it, so that its pooling
            windows lie as in the whole image; where they must, they overlap. For a
            SAME network, tile and margin must be multiples of it.
        batch_size: tiles at once. Memory grows with it, with the tile and with the
            output, not with the image.
        flips: take the mean over the tile and its three mirror images.
        finish: of a tile's prediction, before it is stored: an argmax to bytes, say,
            where the scores of all pixels would not fit.

    Returns:
        The prediction, each pixel of `image` once; finished if so asked.

    Raises:
        ValueError: if the tile is smaller than the margin or the stride, or what
            `predict` returns fits neither.
    """
    _check(image, tile, margin, stride, batch_size)

    def scores_of(tiles: Shaped[np.ndarray, "n h2 w2 c"]) -> np.ndarray:
        scores = _mean_of_flips(predict, tiles) if flips else np.asarray(predict(tiles))
        return _without_margin(scores, tile, margin, stride)

    def parts() -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        places = _places(image.shape[:2], tile, tile // stride * stride)
        for batch in iter(lambda: list(itertools.islice(places, batch_size)), []):
            # The last batch repeats a tile, to have the shape of the others.
            padded = batch + batch[-1:] * (batch_size - len(batch))
            tiles = np.stack([_mirrored(image, p, tile, margin) for p in padded])
            for place, score in zip(batch, scores_of(tiles), strict=False):
                yield place, score if finish is None else np.asarray(finish(score))

    predicted = parts()
    first = next(predicted)
    output = np.empty((*image.shape[:2], *first[1].shape[2:]), first[1].dtype)
    for (row, column), part in itertools.chain([first], predicted):
        target = output[row : row + tile, column : column + tile]
        target[...] = part[: target.shape[0], : target.shape[1]]
    return output


def _check(
    image: Shaped[np.ndarray, "h w c"],
    tile: int,
    margin: int,
    stride: int,
    batch_size: int,
) -> None:
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"image must be (h, w, c), got the shape {image.shape}.")
    if min(stride, batch_size) < 1 or margin < 0:
        raise ValueError(
            "stride and batch_size must be positive and margin not negative, "
            f"got {stride}, {batch_size} and {margin}."
        )
    if tile < margin or tile < stride:
        raise ValueError(
            "The tile must be no smaller than the receptive margin around it "
            f"({margin} pixels) and the network's stride ({stride}), got {tile}."
        )


def _places(size: tuple[int, int], tile: int, step: int) -> Iterator[tuple[int, int]]:
    """First row and column of each tile, row by row: as few as cover the image."""
    rows, columns = (range(0, max(1, side - tile + step), step) for side in size)
    return itertools.product(rows, columns)


def _mirrored(
    image: Shaped[np.ndarray, "h w c"],
    place: tuple[int, int],
    tile: int,
    margin: int,
) -> Shaped[np.ndarray, "h2 w2 c"]:
    """A tile with its margin, of an image that goes on as its own reflection."""
    reach = np.arange(-margin, tile + margin)
    rows, columns = (
        _reflected(start + reach, side)
        for start, side in zip(place, image.shape[:2], strict=True)
    )
    return image[np.ix_(rows, columns)]


def _reflected(positions: Int[np.ndarray, " n"], size: int) -> Int[np.ndarray, " n"]:
    """Positions brought into [0, size); the first and last pixel are the mirrors."""
    there_and_back = max(1, 2 * (size - 1))
    positions = positions % there_and_back
    return np.minimum(positions, there_and_back - positions) if size > 1 else positions


def _mean_of_flips(
    predict: Predict, seen: Shaped[np.ndarray, "n h w c"]
) -> Shaped[np.ndarray, "n h2 w2 k"]:
    scores = [
        np.flip(np.asarray(predict(np.flip(seen, axes))), axes) for axes in _FLIPS
    ]
    return sum(scores[1:], start=scores[0]) / np.float32(len(_FLIPS))


def _without_margin(
    scores: Shaped[np.ndarray, "n h2 w2 k"], tile: int, margin: int, stride: int
) -> Shaped[np.ndarray, "n tile tile k"]:
    whole = tile + 2 * margin
    if scores.ndim != 4 or scores.shape[1:3] not in ((tile, tile), (whole, whole)):
        raise ValueError(
            f"A tile of {tile} pixels with a margin of {margin} must be predicted as "
            f"(n, {tile}, {tile}, k) or (n, {whole}, {whole}, k), got {scores.shape}: "
            "the margin must be what the network loses on each side."
        )
    if scores.shape[1] == tile:
        return scores
    if tile % stride or margin % stride:
        raise ValueError(
            "For a network that keeps the size, tile and margin must be multiples of "
            f"its stride ({stride}), got {tile} and {margin}."
        )
    return scores[:, margin:-margin, margin:-margin]
