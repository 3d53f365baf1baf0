"""Any number of leading axes as one axis of examples, and back.

Sizes are multiplied, never left to `reshape(-1, ...)`, which cannot tell how many
examples there are where there are none.
"""

import math
from collections.abc import Sequence

from jaxtyping import Array, Shaped


def merge(x: Shaped[Array, "..."], keep: int) -> Shaped[Array, "n ..."]:
    """Returns `x` with all its axes but the last `keep` in one."""
    first = x.ndim - keep
    return x.reshape(math.prod(x.shape[:first]), *x.shape[first:])


def split(x: Shaped[Array, "n ..."], batch: Sequence[int]) -> Shaped[Array, "..."]:
    """Returns `x` with the axes `batch` in place of its first."""
    return x.reshape(*batch, *x.shape[1:])
