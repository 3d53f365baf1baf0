"""Weights of an earlier run or of a file, to start from or to predict with."""

import pathlib

from jaxtyping import PyTree

from cnnjax.digest import tree_sha256
from cnnjax.errors import UsageError
from cnnjax.models import weights
from cnnjax.training import earlier, finished
from cnnjax.training.progress import log_line


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


def started_from(location: str, variables: PyTree) -> PyTree:
    """`variables` with the weights of a run or a file where names and shapes agree."""
    if not location:
        return variables
    merged, skipped = weights.merge(variables, _stored(location, variables))
    but = f", but for {', '.join(skipped)}" if skipped else ""
    log_line(f"starts from {location}{but}")
    return merged


def check_start(location: str, workdir: pathlib.Path, shapes: PyTree) -> None:
    """Refuses initial weights with which a run could not begin in `workdir`.

    It is about to be emptied.

    Args:
        location: of a run or a file; empty for none.
        workdir: of the run that would begin.
        shapes: of its variables.

    Raises:
        UsageError: if the weights lie in the workdir, or do not fit the variables.
    """
    if not location:
        return
    if pathlib.Path(location).resolve().is_relative_to(workdir.resolve()):
        raise UsageError(
            f"--init_from={location} lies in the --workdir, which --overwrite empties;"
            " name another --workdir."
        )
    weights.merge(shapes, _stored(location, shapes))


def _stored(location: str, variables: PyTree) -> PyTree:
    """The collections of `variables` that a run or a file has."""
    path = pathlib.Path(location)
    loaded = weights_of(path) if path.is_dir() else weights.load(path)
    return {name: loaded[name] for name in variables if name in loaded}
