"""Provenance of a result: code, versions, machine, data, command."""

import contextlib
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

import jax

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def provenance(fingerprint: str) -> dict[str, Any]:
    """Of this process, with the `fingerprint` of its data."""
    return {
        "git": _git(),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
            **_cudnn(),
        },
        "devices": {
            "platform": jax.default_backend(),
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
            "processes": jax.process_count(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "runtime": jax.devices()[0].client.platform_version,
            "driver": _nvidia_driver(),
        },
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "data": fingerprint,
        "command": shlex.join(sys.argv),
    }


def _cudnn() -> dict[str, str]:
    """Version of cuDNN by the name of its package, where one is installed."""
    found = {}
    for name in ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _nvidia_driver() -> str | None:
    """The line in which the driver of NVIDIA's GPUs names itself."""
    try:
        lines = pathlib.Path("/proc/driver/nvidia/version").read_text().splitlines()
    except OSError:
        return None
    return lines[0] if lines else None


def _git() -> dict[str, Any]:
    """Revision of the checkout this code lies in, and whether it was as committed."""
    revision = _run("rev-parse", "HEAD")
    status = _run("status", "--porcelain")
    return {"revision": revision, "clean": None if status is None else not status}


def _run(*arguments: str) -> str | None:
    here = pathlib.Path(__file__).parent
    try:
        done = subprocess.run(
            ("git", *arguments), cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
