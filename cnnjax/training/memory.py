"""Refuses programs that need more memory than there is, before they run."""

import math
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import PyTree

from cnnjax.data import files
from cnnjax.errors import UsageError

_COPIES = (
    4  # of the parameters at least: themselves, gradient, momentum and moving average
)


def available() -> int:
    """Bytes of memory of an accelerator, or of this machine."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return files.memory()


def check_model(shapes: PyTree) -> None:
    """Refuses a model whose parameters do not fit into memory while it trains.

    Args:
        shapes: of its variables.

    Raises:
        UsageError: if they do not fit.
    """
    leaves = jax.tree.leaves(shapes["params"])
    count = sum(math.prod(leaf.shape) for leaf in leaves)
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
    _check(_COPIES * size, f"To train {count:,} parameters")


def compiled(
    mapped: Any,
    *arguments: PyTree,
    what: str,
    options: Mapping[str, bool] | None = None,
) -> Any:
    """A jitted function compiled for such arguments.

    Args:
        mapped: the function.
        *arguments: arrays of the shapes, types and devices that it will be given.
        what: what it does, for the message.
        options: of the compiler.

    Raises:
        UsageError: if it needs more memory than there is.
    """
    program = mapped.lower(*arguments).compile(dict(options) if options else None)
    check_program(program, what=what)
    return program


def check_program(compiled: Any, *, what: str) -> None:
    """Refuses a compiled program that needs more memory than there is.

    Args:
        compiled: by JAX, for the devices of this process.
        what: what it does, for the message.

    Raises:
        UsageError: if it does not fit.
    """
    needs = compiled.memory_analysis()
    if needs is None:  # not every kind of device reports it
        return
    size = needs.temp_size_in_bytes + needs.argument_size_in_bytes
    shared = jax.local_device_count() if jax.default_backend() == "cpu" else 1
    _check(size * shared, what)


def _check(size: int, what: str) -> None:
    most = available()
    if size > most:
        raise UsageError(
            f"{what} takes at least {size / 2**30:,.1f} GiB of memory, there are"
            f" {most / 2**30:,.1f}: smaller batches, images, windows or a smaller"
            " --width would do."
        )
