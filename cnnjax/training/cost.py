"""What a run took: size, time and memory."""

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
    """What result.json says of it.

    Args:
        variables: the final ones, on the host.
        seconds: of a `Clock`; those of `input_wait` are among those of `train`.
        steps: updates made.
        images: examples they took.
    """
    phases = {name: seconds.get(name, 0.0) for name in _PHASES}
    if "renew" in seconds:  # finding what later rounds learn from
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
    """The most memory used so far: of the first accelerator, or of this process."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "peak_bytes_in_use" in statistics:
        return statistics["peak_bytes_in_use"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
