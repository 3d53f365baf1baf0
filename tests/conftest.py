"""What all tests share."""

import gc
import os
import pathlib

# Programs of tests run for moments: the time to compile them is what counts. Flags that
# are set, be it to nothing, stay: then programs are compiled as users have them.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    " --xla_cpu_use_fusion_emitters=false"  # half the time of compiling
    " --xla_cpu_parallel_codegen_split_count=1",
)

# Also on a host with a GPU, whose memory workers would fight for.
os.environ["JAX_PLATFORMS"] = os.environ.get("CNNJAX_TEST_PLATFORM", "cpu")

import jax
import numpy as np
import pytest

from tests import once

REAL_DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_finish():
    """Keeps the garbage collector off what was imported: it all stays to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def pytest_sessionfinish():
    """Collects once; pytest does so five times, over all that JAX keeps."""
    gc.collect()
    gc.freeze()


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
    cache = once.shared_folder(tmp_path_factory) / "cache"
    os.environ["XDG_CACHE_HOME"] = str(cache)
    jax.config.update("jax_compilation_cache_dir", str(cache / "tests"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    # Nobody reads which line an instruction came from; to write it takes time.
    jax.config.update("jax_traceback_in_locations_limit", 0)
