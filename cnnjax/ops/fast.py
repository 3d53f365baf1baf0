"""What is fast on CPU: the rule that chooses a form, and the process-wide levers.

XLA's own forms are the default on GPU and TPU (`_plain`). On CPU each geometry has a
module with the three maps of a convolution in a form that XLA runs fast there; all
are exact, and tested against the plain ones.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType

import jax

from cnnjax.ops import _args, _dense, _grouped, _taps, _tiled
from cnnjax.ops._fusion_barrier import alone
from cnnjax.ops._geometry import Geometry

COMPILER_OPTIONS: dict[str, bool | str] = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"
}
"""Of YNNPACK, XLA's default, only the sums; Eigen's convolutions and products are 1.5
times faster."""


def on_cpu() -> bool:
    """Whether programs run on CPU unless told otherwise."""
    return jax.default_backend() == "cpu"


def conv(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """See `_plain.conv`."""
    forms = _forms(geometry, kernel.shape[2])
    return _run(forms.conv, x, kernel, geometry)


def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """See `_plain.input_gradient`."""
    forms = _forms(geometry, kernel.shape[2])
    return _run(forms.input_gradient, g, kernel, geometry)


def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """See `_plain.kernel_gradient`."""
    forms = _forms(geometry, x.shape[-1] // geometry.groups)
    return _run(forms.kernel_gradient, x, g, geometry)


def _run(form: Callable, a: jax.Array, b: jax.Array, geometry: Geometry) -> jax.Array:
    """Runs a form apart from what made its operands; sums in float32 or wider."""
    wide = _args.wide(a.dtype)

    def run(a, b):
        return form(a.astype(wide), b.astype(wide), geometry).astype(a.dtype)

    return alone(run, a, b)


def _forms(geometry: Geometry, channels: int) -> ModuleType:
    """The module for a geometry with so many input channels in each group."""
    if geometry.groups > 1:
        return _taps if channels == 1 else _grouped
    return _tiled if _tiled.fits(geometry) else _dense


def tune_cpu() -> list[str]:
    """Sets this process up for speed on CPU; call it before the first array.

    Memory that is freed stays with the process instead of being fetched from the
    system again in each step (a sum of 268 MB: 79 to 12 ms), and convolutions and
    matrix products run on Eigen (3x3 at 64 channels: 24 to 16 ms). Both hold for the
    whole process and to its end. Nothing is set where a GPU or TPU would compute, nor
    over a flag that the user set.

    Returns:
        What was set, in a few words each.
    """
    if not _cpu_computes():
        return []
    return [*_run_on_eigen(), *keep_memory()]


def _cpu_computes() -> bool:
    """Whether JAX will choose the CPU, found out without starting its backends."""
    if platforms := jax.config.values["jax_platforms"]:
        return platforms.split(",")[0] == "cpu"
    accelerators = importlib.metadata.entry_points(group="jax_plugins")
    return not accelerators and importlib.util.find_spec("libtpu") is None


def _run_on_eigen() -> list[str]:
    flags = os.environ.get("XLA_FLAGS", "")
    new = [
        f"--{option}={value}"
        for option, value in COMPILER_OPTIONS.items()
        if option not in flags
    ]
    os.environ["XLA_FLAGS"] = " ".join([flags, *new]).strip()
    return ["convolutions run on Eigen"] if new else []


def keep_memory() -> list[str]:
    """Tells glibc never to map memory for one array nor to give memory back."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return []
    trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8  # <malloc.h>
    if sys.platform != "linux" or not mallopt(arena_max, 1):
        return []
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, -1)
    mallopt(top_pad, 64 << 20)
    return ["freed memory is kept"]
