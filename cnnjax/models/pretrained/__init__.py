"""Weights that other libraries have trained, as variables of our models.

```
model = MODELS["resnet18"](classes=1000)
found = load("resnet18.safetensors", model)  # made of torchvision's
logits, _ = model.apply(found.variables, found.preprocessing.applied(images))
```

A file is safetensors, npz or ONNX, whose arrays have the names of torchvision, timm or
another source in the tables of this package: one file for each family of networks.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from cnnjax.errors import UsageError
from cnnjax.models import weights
from cnnjax.models.network import Network
from cnnjax.models.pretrained.table import UNUSED, Table
from cnnjax.models.pretrained.table import Preprocessing as Preprocessing
from cnnjax.models.pretrained.tables import TABLES


@dataclasses.dataclass(frozen=True)
class Found:
    """Weights of a file in our names and layouts.

    Attributes:
        source: what library they are of.
        variables: those that the model has, as far as the file has them.
        preprocessing: of the images, if it is known.
        missing: names of the model's arrays that are not in the file.
        surplus: names of the file's arrays that have no place in the model.
        misshapen: name -> shape in the file and in the model.
    """

    source: str
    variables: PyTree = dataclasses.field(repr=False)
    preprocessing: Preprocessing | None
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]


def load(
    path: weights.Path, model: Network, *, size: int = 224, partial: bool = False
) -> Found:
    """The weights of a file, in the names of a model that they fit.

    Args:
        path: of a safetensors, npz or ONNX file.
        model: for as many classes as the weights have.
        size: height and width of the images that the model is for.
        partial: whether model and file may lack what the other has; without it that
            is refused.

    Raises:
        UsageError: if the file is missing or damaged, it names its arrays unlike all
            tables of the model's family, or an array is missing, surplus or misshapen.
    """
    arrays, _ = weights.read(path)
    images = jnp.zeros((1, size, size, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    found = convert(arrays, model, shapes)
    problems = [f"{x} {a} should be {b}" for x, (a, b) in found.misshapen.items()]
    if not partial:
        problems += [f"{name} is missing" for name in found.missing]
        problems += [f"{name} has no place" for name in found.surplus]
    if problems:
        more = "" if len(problems) < 6 else f" and {len(problems) - 5} more"
        raise UsageError(
            f"{path}: weights of {found.source} that do not fit the model:"
            f" {'; '.join(problems[:5])}{more}."
        )
    return found


def convert(arrays: Mapping[str, np.ndarray], model: Network, shapes: PyTree) -> Found:
    """Arrays of another library in the names and layouts of a model.

    A bias in front of a batch norm, which we do not have, is taken from its mean.

    Args:
        arrays: by the names of their library.
        model: that they are for, or a part of them.
        shapes: of its variables.

    Raises:
        UsageError: if no table of its family has the names of the arrays, or the
            weights are of a variant of the network.
    """
    arrays = {
        name.removeprefix("params/").removeprefix("batch_stats/"): x
        for name, x in arrays.items()
        if not name.endswith(UNUSED)
    }
    flat = {name: x.shape for name, x in weights.flatten(shapes).items()}
    table, names = _best(model, arrays, flat)
    biases = _biases(table, arrays, flat)
    taken: dict[str, np.ndarray] = {}
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for ours, theirs in names.items():
        x = table.converted(*_parts(ours), arrays[theirs], flat[ours])
        if x.shape != flat[ours]:
            misshapen[ours] = x.shape, flat[ours]
            continue
        taken[ours] = x - arrays[biases[ours]] if ours in biases else x
    return Found(
        source=table.source,
        variables=weights.unflatten(taken),
        preprocessing=table.preprocessing,
        missing=tuple(sorted(flat.keys() - names)),
        surplus=tuple(sorted(arrays.keys() - {*names.values(), *biases.values()})),
        misshapen=misshapen,
    )


Names = dict[str, str]
Shapes = dict[str, tuple[int, ...]]


def _best(
    model: Network, arrays: Mapping[str, np.ndarray], flat: Shapes
) -> tuple[Table, Names]:
    """The table that knows most of the arrays, and ours -> theirs of those."""
    kinds = (tables for kind, tables in TABLES.items() if isinstance(model, kind))
    tables = next(kinds, lambda _: [])(model)
    found = []
    for table in tables:
        names = {ours: table.array(*_parts(ours)) for ours in flat}
        found.append((table, {k: x for k, x in names.items() if x in arrays}))
    table, names = max(found, key=lambda x: len(x[1]), default=(None, {}))
    if table is None or not names:
        sources = ", ".join(table.source for table in tables) or "no library"
        raise UsageError(
            f"Weights whose first array is {min(arrays, default='none')!r} are none of"
            f" those known for {type(model).__name__}: of {sources}."
        )
    for option, value in table.options.items():
        ours = getattr(model, option) or getattr(model, option.upper(), None)
        if ours != value:
            raise UsageError(
                f"Weights of {table.source} are for a model with {option} {value}, not"
                f" {ours}."
            )
    return table, names


def _biases(table: Table, arrays: Mapping[str, np.ndarray], flat: Shapes) -> Names:
    """Means of our norms -> their names of the biases in front of these norms."""
    found = {}
    for ours in flat:
        module, leaf = _parts(ours)
        if leaf == "mean":
            theirs = table.array(f"{module.removesuffix('norm')}conv", "bias")
            if theirs in arrays:
                found[ours] = theirs
    return found


def _parts(name: str) -> tuple[str, str]:
    """Module and array of "params/stem/conv/kernel": "stem/conv" and "kernel"."""
    module, _, leaf = name.partition("/")[2].rpartition("/")
    return module, leaf
