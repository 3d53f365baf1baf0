"""SHA-256 sums of arrays and configs, to compare runs and detect damage."""

import hashlib
import json
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree


def tree_sha256(tree: PyTree) -> str:
    """SHA-256 over the names, types, shapes and bytes of all arrays, in hex."""
    digest = hashlib.sha256()
    for (name, kind), leaf in zip(
        array_types(tree).items(), jax.tree.leaves(tree), strict=True
    ):
        digest.update(f"{name} {kind}".encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def array_types(tree: PyTree) -> dict[str, str]:
    """Type and shape of each array, by its name."""
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype} {leaf.shape}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def json_sha256(value: Any) -> str:
    """SHA-256 of what JSON can hold, in hex; the same after it was written and read."""
    text = json.dumps(json.loads(json.dumps(value)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
