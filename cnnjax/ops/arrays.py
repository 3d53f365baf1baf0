"""Types of arguments that may come from JAX or NumPy.

Functions take both and return JAX's arrays.
"""

import numpy as np
from jaxtyping import Array, Float

AnyArray = Array | np.ndarray
Scalar = float | np.floating | Float[AnyArray, ""]
"""A number, which may be traced, so that programs for many values are compiled once."""
HostNumber = float | np.integer | np.floating | np.ndarray
"""A number or numbers on the host, such as a metric's sums over many batches."""
