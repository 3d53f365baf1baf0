"""`--method=patches`: the parts of images that excite channels of a layer most."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cnnjax import interpret
from cnnjax.data.dataset import fingerprint
from cnnjax.errors import UsageError
from experiments.interpretation import pictures
from experiments.interpretation.asked import Asked, Found
from experiments.interpretation.figures import Panel, panels
from experiments.interpretation.pictures import SIZES, Source, unit
from experiments.interpretation.units import units
from experiments.summary.flow import View

_BATCH = 16


def patches(asked: Asked) -> Found:
    """The patches of each channel, cut out as the layer's positions see them."""
    subject, options = asked.subject, asked.options
    shown = pictures.source(subject, options)
    shape = shown.at(np.arange(1)).batch.shape[1:]
    layer = subject.layer(options.layer, shape)
    sight = subject.sight(layer, shape)
    if not isinstance(sight, View):
        raise UsageError(
            f"--layer={layer} has no patches: it is not known what its positions see,"
            " or they see all; an earlier one would do."
        )

    def feature(images: Array) -> Array:
        return subject.apply(subject.variables, images)[1][layer]

    prints: list[str] = []
    batches = _batches(shown, shape, prints)
    top = interpret.top_patches(feature, batches, count=options.top)
    chosen = units(options.units, len(top.values))
    seen = _among(shown, np.asarray(top.images)[chosen])
    rows, lines = [], [["channel", "highest", "image", "at y,x of the layer"]]
    for k in chosen:
        places = zip(top.images[k], top.rows[k], top.columns[k], strict=True)
        values = np.asarray(top.values[k])
        row = []
        for value, (i, y, x) in zip(values, places, strict=True):
            if i < 0:
                break
            patch = _cut(seen[int(i)][1], sight, int(y), int(x))
            row.append(Panel(f"{value:.3g}", patch))
        row[0] = row[0]._replace(title=f"channel {k}:  {row[0].title}")
        rows.append(row)
        where = f"{top.rows[k][0]},{top.columns[k][0]}"
        name = seen[int(top.images[k][0])][0]
        lines.append([str(k), f"{values[0]:.4g}", name, where])
    field = f"{sight.rows.size}x{sight.columns.size}"
    title = f"highest places of {layer} of {subject.words}, which see {field} pixels"
    panels(rows, title, asked.folder / "patches.png", side=1.05)
    result = {
        "layer": layer,
        "field": [sight.rows.size, sight.columns.size],
        "images": shown.count,
        "channels": {
            str(k): {
                name: np.asarray(x[k]).tolist() for name, x in top._asdict().items()
            }
            for k in chosen
        },
    }
    note = f"a place sees {field} pixels; {shown.count} images were shown"
    return Found(lines, result, fingerprint(prints), (note,))


def _cut(image: np.ndarray, sight: View, y: int, x: int) -> np.ndarray:
    """What a position sees of an image, which may be nothing."""
    rows, columns = sight.rows.span(y), sight.columns.span(x)
    if rows is None or columns is None:
        return np.full((1, 1, image.shape[-1]), 0.5, image.dtype)
    return interpret.cut_patch(image, rows, columns)


def _batches(
    shown: Source, shape: tuple[int, ...], prints: list[str]
) -> Iterator[tuple[np.ndarray, Array]]:
    """Indices and images, all batches of one size: the last has some that are none.

    Adds the fingerprint of each to `prints`.
    """
    for indices, part in shown.parts(_BATCH):
        batch = part.batch
        if batch.shape[1:] != shape:
            raise UsageError(SIZES)
        prints.append(part.fingerprint)
        missing = _BATCH - len(batch)
        images = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
        yield (
            np.pad(indices, (0, missing), constant_values=-1),
            jnp.asarray(unit(images)),
        )


def _among(
    shown: Source, indices: Int[np.ndarray, "..."]
) -> dict[int, tuple[str, Float[np.ndarray, "h w c"]]]:
    """Names and images of some indices."""
    found = np.unique(indices[indices >= 0])
    part = shown.at(found)
    pairs = zip(part.names, map(unit, part.images), strict=True)
    return dict(zip(found.tolist(), pairs, strict=True))
