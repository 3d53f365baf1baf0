"""scikit-learn's handwritten digits: 1,797 real images that come with its wheel.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998, the test part: 8 x 8 pixels of 17 grays, 43 writers.
"""

from typing import TYPE_CHECKING, cast

import numpy as np

from cnnjax.data.classification import ImageArrays, classification
from cnnjax.data.dataset import Dataset, Options
from cnnjax.errors import UsageError

if TYPE_CHECKING:
    from sklearn.utils import Bunch

WHITE = 16  # the largest gray value in the files


def handwritten() -> "Bunch":
    """Returns scikit-learn's record: `images`, `target` and `target_names`."""
    from sklearn.datasets import load_digits  # costs more than a second to import

    return cast("Bunch", load_digits())  # a tuple only with return_X_y=True


def read(location: str, options: Options) -> Dataset:
    """Returns the digits, a share of each class held out to test on.

    Raises:
        UsageError: if a `location` is given: there is none to choose.
    """
    if location:
        raise UsageError(f"digits takes no location, got {location!r}.")
    raw = handwritten()
    images = np.rint(raw.images * (255 / WHITE)).astype(np.uint8)[..., None]
    digits = ImageArrays(images, raw.target.astype(np.int32))
    names = [str(digit) for digit in raw.target_names]
    return classification(digits, None, names, options, name="digits")
