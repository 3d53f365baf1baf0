"""Compiled programs that are kept for later runs."""

import hashlib
import os
import pathlib
import platform

import jax


def keep() -> None:
    """Stores compiled programs in the user's cache folder, for later runs.

    One folder for each kind of processor: what was compiled for one may not run on
    another that shares the home folder.
    """
    caches = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = caches / "cnnjax" / hashlib.sha256(_processor().encode()).hexdigest()[:16]
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _processor() -> str:
    """Model and instruction sets of the processor."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kinds = ("model name", "flags", "Features")
    return "\n".join(sorted({x for x in lines if x.startswith(kinds)})) or (
        platform.processor()
    )
