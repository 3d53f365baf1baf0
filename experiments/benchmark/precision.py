"""The precision of all contestants, set alike in JAX and PyTorch."""

import contextlib
import importlib.util
from collections.abc import Iterator

import jax

from cnnjax.errors import UsageError
from cnnjax.ops import fast

PRECISIONS = ("float32", "tf32", "bfloat16")
# How far results of equal work may lie apart, as a share of the largest.
TOLERANCE = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 5e-2}


def dtype(precision: str) -> str:
    """The type of the activations."""
    return "bfloat16" if precision == "bfloat16" else "float32"


def products(precision: str) -> str:
    """The precision of products of float32 on an accelerator, as JAX names it."""
    return "float32" if precision == "float32" else "tensorfloat32"


def has_torch() -> bool:
    """Whether PyTorch is installed; prints how to install it if not."""
    found = importlib.util.find_spec("torch") is not None
    if not found:
        print("PyTorch is not installed, its columns are left out: ", end="")
        print("pip install torch torchvision opencv-python-headless")
    return found


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Sets products of float32 to full precision, or with `tf32` to tensor cores.

    Raises:
        UsageError: for tf32 where no GPU computes.
    """
    if fast.on_cpu():
        if precision == "tf32":
            raise UsageError("--precision=tf32 needs a GPU, and this machine has none.")
        yield
        return
    if importlib.util.find_spec("torch") is not None:
        import torch

        # These set the older and the newer switches; where only the newer are set, the
        # compiler of PyTorch 2.9 refuses (pytorch/pytorch#166387).
        whole = precision == "float32"
        torch.set_float32_matmul_precision("highest" if whole else "high")
        torch.backends.cudnn.allow_tf32 = not whole
    with jax.default_matmul_precision(products(precision)):
        yield
