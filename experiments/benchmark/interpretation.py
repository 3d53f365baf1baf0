"""Speed of looking into networks, compared with captum and PyTorch.

The networks are torchvision's with random weights, which ours read by `pretrained`.
What both sides find must agree before it is timed; PyTorch's time is the better of its
two layouts. A step of style transfer is one of Adam, hundreds of which make a picture.
"""

import importlib.util
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import UsageError
from cnnjax.models import MODELS, pretrained
from cnnjax.ops import fast
from experiments.benchmark import selection, timing
from experiments.benchmark.jax_looks import Subject, comparable, look_into
from experiments.benchmark.looks import LOOKS, Look
from experiments.benchmark.tables import Table, timed, version
from experiments.benchmark.timing import Contestant

HEAD = ("task", "ours ms", "PyTorch ms", "PyTorch/ours", "ours compile s")
AGREE = 0.02  # the mean difference of what sides find, as a share of its mean size
OTHERS = "torch", "torchvision", "captum"


def run(
    *, only: str, rounds: int, workdir: pathlib.Path, precision: str = "float32"
) -> list[dict]:
    """Times the tasks and writes the tables.

    Returns:
        One record for each row: its name, milliseconds of each side, and seconds to
        compile ours.

    Raises:
        UsageError: if one of `only` is in the name of no row, or for bfloat16.
    """
    if precision == "bfloat16":
        raise UsageError("--suite=interpretation computes in float32 or tf32.")
    chosen = selection.chosen(LOOKS, only)
    missing = [name for name in OTHERS if importlib.util.find_spec(name) is None]
    if missing:
        print(f"PyTorch's column is left out: pip install {' '.join(missing)}")
    origin = f"{timed(rounds)}, captum {version('captum')}"
    table = Table("interpretation", HEAD, _cells, lambda _: [], origin, workdir)
    table.fill(chosen, lambda look: [_record(look, rounds, not missing)])
    return table.records


def _record(look: Look, rounds: int, with_torch: bool) -> dict:
    sides: dict[str, Contestant] = {}
    found = arrays = None
    if with_torch:
        from experiments.benchmark import torch_looks

        arrays = torch_looks.arrays(look)
        sides, found = torch_looks.contestants(look)
    subject = _subject(look, arrays)
    sides["ours"], seconds = _compiled(look, subject)
    if found is not None:
        same = jax.jit(comparable(look, subject))
        _check_equal(
            look, *(np.asarray(same(x)) for x in (sides["ours"].call(), found))
        )
    ms = timing.milliseconds(sides, rounds)
    return {
        "task": str(look),
        "ours": ms.pop("ours"),
        "torch": min(ms.values(), default=None),
        "compile_seconds": seconds,
    }


def _subject(look: Look, arrays: dict[str, np.ndarray] | None) -> Subject:
    """The network with weights from torchvision, or else random ones of its own."""
    model = MODELS[look.network](classes=look.classes)
    images = jnp.zeros((1, *look.images[1:]))
    if arrays is None:
        return Subject(model, jax.jit(model.init)(jax.random.key(0), images))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    found = pretrained.convert(arrays, model, shapes)
    return Subject(model, jax.device_put(found.variables))


def _compiled(look: Look, subject: Subject) -> tuple[Contestant, float]:
    """Ours, and how many seconds it took to compile."""
    images, labels = map(jnp.asarray, look.batch())
    function = jax.jit(look_into(look, subject))
    options = fast.COMPILER_OPTIONS if fast.on_cpu() else {}
    start = time.perf_counter()
    program = function.lower(images, labels).compile(compiler_options=options)
    seconds = time.perf_counter() - start
    return Contestant(lambda: program(images, labels)), seconds


def _check_equal(look: Look, ours: np.ndarray, torch: np.ndarray) -> None:
    gap = np.abs(ours - torch).mean() / np.abs(torch).mean()
    if not gap < AGREE:
        raise ValueError(f"{look}: ours differs from PyTorch's by {gap:.1%}.")


def _cells(record: dict) -> list:
    ours, torch = record["ours"], record["torch"]
    seconds = record["compile_seconds"]
    return [record["task"], ours, torch, torch and torch / ours, seconds]
