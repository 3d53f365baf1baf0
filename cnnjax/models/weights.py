"""Variables of a model as one file of named arrays.

Names are paths through the tree, joined by `/`: `params/stem/conv/kernel`. Files are
safetensors (written and read), npz or ONNX (read). A safetensors file written here
carries the SHA-256 of its arrays, so that damage is noticed; npz has checksums of its
own.
"""

import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from jaxtyping import PyTree
from safetensors import numpy as safetensors_numpy

from cnnjax.digest import tree_sha256
from cnnjax.errors import UsageError

Path = str | os.PathLike
_SUM = "arrays_sha256"  # a key of the metadata, next to those of the caller


def save(
    path: Path, variables: PyTree, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes all arrays to a safetensors file, atomically.

    Args:
        path: of the file; its folder must exist.
        variables: nested dicts of arrays.
        metadata: texts about them by name, read back by `metadata`.

    Raises:
        ValueError: if a name contains a slash.
    """
    arrays = {
        name: np.asarray(jax.device_get(x), order="C")
        for name, x in flatten(variables).items()
    }
    words = {**(metadata or {}), _SUM: tree_sha256(arrays)}
    content = safetensors_numpy.save(arrays, words)
    path = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        pathlib.Path(temporary).chmod(0o644)  # mkstemp's own mode shuts others out
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def load(path: Path, *, like: PyTree | None = None) -> PyTree:
    """The arrays of a safetensors, npz or ONNX file, as nested dicts.

    Args:
        path: of the file.
        like: variables, or their shapes, whose names and shapes the file must have.

    Raises:
        UsageError: if the file is missing or damaged, or differs from `like`; it names
            the file and the first array that differs.
    """
    path = pathlib.Path(path)
    arrays, words = _read(path)
    if words.get(_SUM) not in (None, tree_sha256(arrays)):
        raise _unreadable(path, "its arrays are not those that were saved")
    if like is not None:
        _check_same(path, arrays, flatten(like))
    return _nest(path, arrays)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors, npz or ONNX file by name, and its metadata.

    Of ONNX they are the weights of the graph.

    Raises:
        UsageError: if the file is missing or damaged, or of ONNX and the package `onnx`
            is missing or the weights are in other files.
    """
    return _read(pathlib.Path(path))


def metadata(path: Path) -> dict[str, str]:
    """The metadata that `save` wrote with the arrays.

    Raises:
        UsageError: if the file is missing or damaged.
    """
    _, words = _read(pathlib.Path(path))
    return {name: word for name, word in words.items() if name != _SUM}


def merge(variables: PyTree, loaded: PyTree) -> tuple[PyTree, list[str]]:
    """The variables with every array of `loaded` that has the same name and shape.

    Floating-point numbers of any precision are cast to the dtypes of `variables`.

    Returns:
        The variables, and the sorted names of what did not match: arrays that kept
        their values (a head for other classes) and loaded ones that have no place.

    Raises:
        UsageError: if no array matches, or one that does holds anything but finite
            floating-point numbers.
    """
    ours, theirs = flatten(variables), flatten(loaded)
    taken = {
        name: _taken(name, theirs[name], x.dtype)
        for name, x in ours.items()
        if name in theirs and theirs[name].shape == x.shape
    }
    if not taken:
        raise UsageError(
            "None of the arrays to start from has the name and shape of one of the "
            f"model's; the model has {min(ours)}, they have"
            f" {min(theirs, default='none')}."
        )
    return unflatten(ours | taken), sorted((ours.keys() | theirs) - taken.keys())


def _taken(name: str, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if x.dtype != dtype and not jnp.issubdtype(x.dtype, jnp.floating):
        raise UsageError(
            f"{name} to start from must hold floating-point numbers, got {x.dtype};"
            " convert the file first."
        )
    with np.errstate(over="ignore"):
        taken = x.astype(dtype)
    if not np.isfinite(taken).all():
        raise UsageError(f"{name} to start from holds numbers that are not finite.")
    return taken


def _read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file, and its metadata."""
    if not path.is_file():
        missing = "it is no file" if path.exists() else "no such file of weights"
        raise UsageError(f"{path}: {missing}.")
    try:
        if path.suffix == ".onnx":
            return _initializers(path)
        if path.suffix == ".npz":
            # Opened here, because np.load leaves a damaged file open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays), {}
        with safetensors.safe_open(path, framework="numpy") as file:
            words = file.metadata() or {}
        return safetensors_numpy.load_file(path), words
    except UsageError:
        raise
    # For a damaged file all libraries raise exceptions of many types.
    except Exception as error:
        raise _unreadable(path, error) from error


def _initializers(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The weights of an ONNX file, and its metadata."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise UsageError(
            f"{path} needs the package onnx to be read: pip install onnx."
        ) from None
    model = onnx.load(path, load_external_data=False)
    arrays: dict[str, np.ndarray] = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise UsageError(
                f"{path}: {tensor.name} is in another file; save the model as one file."
            )
        arrays[tensor.name] = onnx.numpy_helper.to_array(tensor)
    if not arrays:
        raise ValueError("it has no weights")
    return arrays, {entry.key: entry.value for entry in model.metadata_props}


def _unreadable(path: pathlib.Path, error: Exception | str) -> UsageError:
    words = " ".join(str(error).split()) or type(error).__name__
    return UsageError(
        f"{path}: not a whole safetensors, npz or ONNX file of weights ({words}); "
        "save or copy it again."
    )


def _check_same(
    path: pathlib.Path, arrays: dict[str, np.ndarray], wanted: dict[str, Any]
) -> None:
    for name in sorted(arrays.keys() | wanted):
        if name not in arrays:
            raise UsageError(f"{path}: {name} is missing; the model has it.")
        if name not in wanted:
            raise UsageError(f"{path}: {name} has no place in the model.")
        if arrays[name].shape != wanted[name].shape:
            raise UsageError(
                f"{path}: {name} must have the shape {wanted[name].shape}, "
                f"got {arrays[name].shape}."
            )


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts as one, whose names are paths joined by slashes.

    Raises:
        ValueError: if a name contains a slash.
    """
    flat = {}
    for name, value in tree.items():
        if "/" in name:
            raise ValueError(f"A name must not contain a slash, got {name!r}.")
        if isinstance(value, Mapping):
            flat |= {f"{name}/{rest}": x for rest, x in flatten(value).items()}
        else:
            flat[name] = value
    return flat


def _nest(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> PyTree:
    try:
        return unflatten(arrays)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def unflatten(flat: Mapping[str, Any]) -> PyTree:
    """The nested dicts of which `flatten` made one.

    Raises:
        ValueError: if one name goes on where another ends.
    """
    tree: PyTree = {}
    for name, value in sorted(flat.items()):
        *folders, leaf = name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
            if not isinstance(node, dict):
                raise ValueError(f"{folder} in {name} is an array and a folder too.")
        node[leaf] = value
    return tree
