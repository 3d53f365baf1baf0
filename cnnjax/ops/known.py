"""Values that can be looked at while a program is traced.

Inside `jit` everything that JAX computes is traced, also from an array whose values
are there. So a value is brought to the host before anything is asked of it.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Shaped


def known(x: ArrayLike) -> Shaped[np.ndarray, "*n"] | None:
    """Returns the values of `x`; None if it is traced, or lies on other hosts too."""
    if isinstance(x, jax.core.Tracer):
        return None
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return None
    return np.asarray(jax.device_get(x))


def may_hold(
    condition: Callable[..., Shaped[np.ndarray, "*n"]], *numbers: ArrayLike
) -> bool:
    """Whether the condition holds of the numbers, as far as they are known."""
    values = [known(number) for number in numbers]
    return any(value is None for value in values) or bool(np.all(condition(*values)))
