"""What all tests share."""

import gc
import os
import pathlib

# Programs of tests run for moments: the time to compile them is what counts.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
)

import jax
import numpy as np
import pytest

REAL_DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_finish():
    """Keeps the garbage collector off what was imported: it all stays to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def data_root():
    """The folder of real images, beside the checkout or where CNNJAX_DATA says."""
    root = pathlib.Path(os.environ.get("CNNJAX_DATA", REAL_DATA))
    if not root.is_dir():
        pytest.skip(f"no real images in {root}; CNNJAX_DATA names another folder")
    return root


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """One cache of compiled programs for all tests, workers and subprocesses."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["XDG_CACHE_HOME"] = str(shared / "cache")
    jax.config.update("jax_compilation_cache_dir", str(shared / "cache" / "tests"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    # Nobody reads which line an instruction came from; to write it takes time.
    jax.config.update("jax_traceback_in_locations_limit", 0)
