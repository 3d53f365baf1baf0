"""A model with the weights of a file as a subject."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree, UInt8
from PIL import Image

from cnnjax import data as datasets
from cnnjax.data.decode import pixels, recolor
from cnnjax.errors import UsageError
from cnnjax.models import pretrained, weights
from cnnjax.models.network import Network
from cnnjax.models.pretrained import Preprocessing
from experiments.interpretation import class_names
from experiments.interpretation.subject import Subject
from experiments.model_options import build

_OURS = ("params/", "batch_stats/")


def load(options: Any) -> Subject:
    """The model that the options name, with the weights of their file.

    Raises:
        UsageError: if there are no such weights, they do not fit the model, it is not
            known what images they are for, or there are not as many class names.
    """
    path = pathlib.Path(options.weights)
    arrays, words = weights.read(path)
    classes = _classes(options, arrays, path)
    model = build(options, classes)
    found = _fitted(arrays, model, path)
    seen = found.preprocessing
    if "preprocessing" in words:
        seen = _said(path, words["preprocessing"])
    if seen is None:
        raise UsageError(
            f"{path}: it is not known what images the weights of {found.source} are"
            " for; the metadata of a file that a run wrote say so."
        )
    shape = (seen.size, seen.size, len(seen.mean))
    variables = _whole(model, found.variables, shape)
    names = class_names.numbered(classes or 0)
    if options.class_names:
        names = class_names.read(pathlib.Path(options.class_names), classes or 0)
    return Subject(
        words=f"{options.model} ({found.source})",
        task="classification",
        model=model,
        forward=model.apply,
        variables=variables,
        scaling={k: np.array(getattr(seen, k), "f4") for k in ("mean", "std")},
        class_names=names,
        image_shape=shape,
        prepared=_prepared(seen),
        data=_data(seen.size),
        absent=_unreached(model, variables, shape) if found.missing else frozenset(),
    )


def _fitted(
    arrays: Mapping[str, np.ndarray], model: Network, path: pathlib.Path
) -> pretrained.Found:
    """The weights in our names, which they may have already."""
    side = max(64, model.smallest)
    images = jnp.zeros((1, side, side, _channels(arrays)))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    ours = {k: x for k, x in arrays.items() if k.startswith(_OURS)}
    if not any(name.startswith("params/") for name in ours):
        return pretrained.convert(arrays, model, shapes)
    flat = {name: x.shape for name, x in weights.flatten(shapes).items()}
    if surplus := ours.keys() - flat:
        raise UsageError(
            f"{path}: {min(surplus)} has no place in the model; other options of it, as"
            " --norm, would do."
        )
    return pretrained.Found(
        source="our own",
        variables=weights.unflatten(ours),
        preprocessing=None,
        missing=tuple(sorted(flat.keys() - ours)),
        surplus=(),
        misshapen={
            k: (x.shape, flat[k]) for k, x in ours.items() if x.shape != flat[k]
        },
    )


def _classes(
    options: Any, arrays: Mapping[str, np.ndarray], path: pathlib.Path
) -> int | None:
    """Classes of the weights: what they differ by from those for one class.

    None if they have no head.
    """
    found = _fitted(arrays, build(options, 1), path)
    counts = {
        theirs[-1]
        for theirs, ours in found.misshapen.values()
        if theirs[:-1] == ours[:-1] and ours[-1] == 1
    }
    classes = max(counts, default=1)
    if any("head" in name.split("/") for name in found.missing):
        return None
    model = build(options, classes)
    if wrong := _fitted(arrays, model, path).misshapen:
        name, (theirs, ours) = min(wrong.items())
        raise UsageError(
            f"{path}: {name} has the shape {theirs}, and the model {ours}; another"
            " --model or other options of it would do."
        )
    return classes


def _channels(arrays: Mapping[str, np.ndarray]) -> int:
    """Channels of the images of weights of our own, which say so; of others 3."""
    mean = arrays.get("input/mean")
    return 3 if mean is None else mean.size


def _said(path: pathlib.Path, text: str) -> Preprocessing:
    """The preprocessing in the metadata of a file."""
    try:
        said = json.loads(text)
        return Preprocessing(said["size"][0], tuple(said["mean"]), tuple(said["std"]))
    except (ValueError, KeyError, TypeError, IndexError):
        raise UsageError(
            f"{path}: what it says of preprocessing cannot be read: {text[:60]!r}."
        ) from None


def _whole(model: Network, variables: PyTree, shape: tuple[int, int, int]) -> PyTree:
    """Variables of which those that the file lacks are no numbers."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)))
    found = weights.flatten(variables)
    lacking = {
        name: np.full(x.shape, np.nan, np.float32)
        for name, x in weights.flatten(shapes).items()
    }
    numbers = {name: np.asarray(x, np.float32) for name, x in found.items()}
    return weights.unflatten(lacking | numbers)


def _unreached(
    model: Network, variables: PyTree, shape: tuple[int, int, int]
) -> frozenset[str]:
    """Features that are no numbers, for they come of weights that are none."""
    images = jnp.zeros((1, *shape))
    result: Any = jax.jit(model.apply)(variables, images)
    return frozenset(k for k, x in result[1].items() if not jnp.isfinite(x).all())


def _prepared(seen: Preprocessing) -> Callable:
    short, size = seen.short_side or seen.size, seen.size

    def prepared(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
        """The middle of a picture whose short side has been resized."""
        colored = recolor(image, channels=len(seen.mean))
        picture = Image.fromarray(
            colored.squeeze(-1) if colored.shape[-1] == 1 else colored
        )
        scale = short / min(picture.size)
        width, height = (max(size, round(n * scale)) for n in picture.size)
        resized = picture.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - size) // 2, (height - size) // 2
        return pixels(resized.crop((left, top, left + size, top + size)))

    return prepared


def _data(size: int) -> Callable[[str | None], datasets.Dataset]:
    def data(location: str | None) -> datasets.Dataset:
        if location is None:
            raise UsageError(
                "--image or --dataset is missing: what the network is to be shown."
            )
        return datasets.load(location, image_size=size)

    return data
