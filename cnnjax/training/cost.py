"""Cost of a run: number of parameters, time and memory."""

import resource
import sys
from typing import Any

import jax
from jaxtyping import PyTree

from cnnjax.digest import tree_sha256

_PHASES = ("compile", "train", "evaluate")


def cost(
    variables: PyTree, seconds: dict[str, float], *, steps: int, images: int
) -> dict[str, Any]:
    """Rows of result.json: parameters, their SHA-256, throughput, seconds and memory.

    Args:
        variables: the final ones, on the host.
        seconds: of a `Clock`; those of `input_wait` are part of those of `train`.
        steps: updates made.
        images: training examples seen in these.
    """
    phases = {name: seconds.get(name, 0.0) for name in _PHASES}
    if "renew" in seconds:  # mining the examples of later rounds
        phases["renew"] = seconds["renew"]
    return {
        "steps": steps,
        "parameters": sum(x.size for x in jax.tree.leaves(variables["params"])),
        "parameters_sha256": tree_sha256(variables),
        "images_per_second": images / phases["train"],
        "seconds": {
            **phases,
            "input_wait": seconds.get("input_wait", 0.0),
            "total": seconds["total"],
        },
        "peak_memory_bytes": peak_memory_bytes(),
    }


def peak_memory_bytes() -> int:
    """Peak memory so far: of the first accelerator, or of this process."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "peak_bytes_in_use" in statistics:
        return statistics["peak_bytes_in_use"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
