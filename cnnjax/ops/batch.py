"""Any number of leading axes as one axis of examples, and back; sums of arrays.

Sizes are multiplied, never left to `reshape(-1, ...)`, which cannot tell how many
examples there are where there are none.
"""

import functools
import math
import operator
from collections.abc import Iterable, Sequence

from jaxtyping import Array, Shaped


def total(terms: Iterable[Shaped[Array, "..."]]) -> Shaped[Array, "..."]:
    """Returns the sum of one array or more, added in their order."""
    return functools.reduce(operator.add, terms)


def merge(x: Shaped[Array, "..."], keep: int) -> Shaped[Array, "n ..."]:
    """Returns `x` with all its axes but the last `keep` in one."""
    first = x.ndim - keep
    return x.reshape(math.prod(x.shape[:first]), *x.shape[first:])


def split(x: Shaped[Array, "n ..."], batch: Sequence[int]) -> Shaped[Array, "..."]:
    """Returns `x` with the axes `batch` in place of its first."""
    return x.reshape(*batch, *x.shape[1:])
