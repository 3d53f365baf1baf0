"""Checks of numbers that may be traced arrays.

Inside `jit` everything that JAX computes is traced, even from an array whose values
are known. So values are fetched to the host before they are checked.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Shaped


def known(x: ArrayLike) -> Shaped[np.ndarray, "*n"] | None:
    """Returns the values of `x`, or None if it is traced or not all on this host."""
    if isinstance(x, jax.core.Tracer):
        return None
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return None
    return np.asarray(jax.device_get(x))


def may_hold(
    condition: Callable[..., bool | np.bool_ | np.ndarray], *numbers: ArrayLike
) -> bool:
    """Whether the condition holds for the numbers; True if one of them is unknown."""
    values = [known(number) for number in numbers]
    return any(value is None for value in values) or bool(np.all(condition(*values)))
