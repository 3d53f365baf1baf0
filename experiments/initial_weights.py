"""Weights of an earlier run or of a file, to start from or to predict with."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from cnnjax.digest import tree_sha256
from cnnjax.errors import UsageError
from cnnjax.models import pretrained, weights
from cnnjax.training import earlier, finished
from cnnjax.training.progress import log_line
from cnnjax.training.scaling import Scaling
from experiments.config import NetworkConfig, build


def weights_of(workdir: pathlib.Path) -> PyTree:
    """The final variables of the finished run in `workdir`.

    Raises:
        UsageError: if there is no finished run, or its weights are damaged or those of
            another.
    """
    result = finished.read(workdir).result
    path = workdir / "weights.safetensors"
    variables = weights.load(path)
    network = {k: variables[k] for k in ("params", "batch_stats") if k in variables}
    if tree_sha256(network) != result["parameters_sha256"]:
        raise UsageError(
            f"{path}: its parameters are not those of result.json, which has their"
            " SHA-256; copy the run again, or train there with --overwrite."
        )
    return earlier.variables(variables)


def started_from(config: NetworkConfig, variables: PyTree) -> PyTree:
    """`variables` with the weights to start from where names and shapes agree."""
    if not config.init_from:
        return variables
    stored = _stored(config, variables)
    merged, skipped = weights.merge(variables, stored.variables)
    skipped += stored.surplus
    but = f", but for {', '.join(skipped)}" if skipped else ""
    log_line(f"starts from {config.init_from}{stored.words}{but}")
    return merged


def preprocessing(shape: tuple[int, int, int], scaling: Scaling) -> dict[str, str]:
    """What images pass through in front of a network, as metadata of its weights.

    Args:
        shape: of the images that it was trained on.
        scaling: channel mean and std of images in [0, 1].
    """
    said = {
        "size": shape[:2],
        "channels": {1: "gray", 3: "RGB"}.get(shape[2], shape[2]),
        **{name: scaling[name].tolist() for name in ("mean", "std")},
        "formula": "(image / 255 - mean) / std",
    }
    return {"preprocessing": json.dumps(said)}


def scaling(config: NetworkConfig, channels: int) -> Scaling | None:
    """Channel mean and std for which the weights to start from are.

    None if there are no such weights, it is not known, or they are for images of
    another number of channels.
    """
    if not config.init_from:
        return None
    model = build(config, None)
    side = max(64, model.smallest)
    images = jnp.zeros((1, side, side, channels))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    found = _stored(config, shapes).scaling
    if not found or len(found["mean"]) != channels:
        return None
    mean, std = (", ".join(f"{x:.3f}" for x in found[k]) for k in ("mean", "std"))
    log_line(f"images are standardized as those of the weights: mean {mean}, std {std}")
    return found


def check_start(config: NetworkConfig, workdir: pathlib.Path, shapes: PyTree) -> None:
    """Refuses initial weights with which a run could not begin in `workdir`.

    It is about to be emptied.

    Args:
        config: names a run or a file, or none.
        workdir: of the run that would begin.
        shapes: of its variables.

    Raises:
        UsageError: if the weights lie in the workdir, or do not fit the variables.
    """
    location = config.init_from
    if not location:
        return
    if pathlib.Path(location).resolve().is_relative_to(workdir.resolve()):
        raise UsageError(
            f"--init_from={location} lies in the --workdir, which --overwrite empties;"
            " name another --workdir."
        )
    weights.merge(shapes, _stored(config, shapes).variables)


@dataclasses.dataclass(frozen=True)
class _Stored:
    """Weights to start from, in the names of the model.

    Attributes:
        variables: those that model and weights have.
        scaling: of the images that they are for, if it is known.
        surplus: names of the arrays that have no place in the model.
        words: about them, for people.
    """

    variables: PyTree
    scaling: Scaling | None
    surplus: tuple[str, ...] = ()
    words: str = ""


def _stored(config: NetworkConfig, shapes: PyTree) -> _Stored:
    """The weights of a run, of a file like those of a run, or of another library."""
    path = pathlib.Path(config.init_from)
    loaded = weights_of(path) if path.is_dir() else weights.load(path)
    ours = {name: loaded[name] for name in shapes if name in loaded}
    alike = len(weights.flatten(ours).keys() & weights.flatten(shapes))
    scaling = _scaling(path, loaded)
    try:
        arrays = weights.flatten(ours or loaded)
        found = pretrained.convert(arrays, build(config, None), shapes)
    except UsageError:
        if not alike:
            raise
        return _Stored(ours, scaling)
    if alike >= len(weights.flatten(found.variables)):
        return _Stored(ours, scaling)
    seen = found.preprocessing
    if seen is None:
        words = f" ({found.source})"
        return _Stored(found.variables, scaling, found.surplus, words)
    scaling = {"mean": np.array(seen.mean, "f4"), "std": np.array(seen.std, "f4")}
    return _Stored(
        found.variables,
        scaling,
        found.surplus,
        f" ({found.source}; trained on images of {seen.size}x{seen.size})",
    )


def _scaling(path: pathlib.Path, loaded: PyTree) -> Scaling | None:
    """Channel mean and std that lie beside the weights of a run.

    Raises:
        UsageError: if they are not what these can be.
    """
    if "input" not in loaded:
        return None
    try:
        found = earlier.variables(loaded)["input"]
        scaling = {x: np.asarray(found[x], np.float32) for x in ("mean", "std")}
        mean, std = scaling.values()
        right = mean.ndim == 1 and mean.shape == std.shape
        right = right and bool(np.isfinite([mean, std]).all() and (std > 0).all())
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        scaling, right = {}, False
    if not right:
        raise UsageError(
            f"{path}: input/mean and input/std must be finite numbers, one a channel,"
            " and std above 0."
        )
    return scaling
