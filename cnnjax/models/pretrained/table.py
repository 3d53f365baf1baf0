"""Names and layouts of arrays in weights of other libraries."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Ours -> that of torch and of those who follow it.
TORCH_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
# Arrays of torch's that say nothing about the function that a network is.
UNUSED = ("num_batches_tracked",)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What images pass through in front of a network: `(image - mean) / std`.

    Attributes:
        size: height and width that the network was trained on.
        mean: of the channels of images in [0, 1], in the order RGB.
        std: of the same.
        short_side: that photographs are resized to, before their middle of `size` is
            cut out, where results are published; None: `size`.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    short_side: int | None = None

    def applied(self, images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Images with values in [0, 1] as the network takes them."""
        return (images - jnp.array(self.mean)) / jnp.array(self.std)


IMAGENET = Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 256)


@dataclasses.dataclass(frozen=True)
class Table:
    """How one library names the arrays of a network.

    Attributes:
        source: what the weights are, for people.
        module: path of one of our modules, as "stem/conv" -> what they call it; None
            if they have none like it.
        preprocessing: of images, if it is the same for all such weights.
        leaves: names of a module's arrays, ours -> theirs; those that are not there
            have the same name.
        separator: between the names of module and array.
        transposed: whether kernels are OIHW, of linear maps OI, as torch has them, and
            not HWIO and IO.
        bgr: our first module, if their channels are in the order BGR.
        options: of the model, without which the weights mean something else.
        part: of a network with layers of a classifier: path of a module -> that in
            the classifier, which `module` and `bgr` are of; None if it is not there.
    """

    source: str
    module: Callable[[str], str | None]
    preprocessing: Preprocessing | None = None
    leaves: Mapping[str, str] = dataclasses.field(default_factory=dict)
    separator: str = "."
    transposed: bool = True
    bgr: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    part: Callable[[str], str | None] = lambda module: module

    def array(self, module: str, leaf: str) -> str | None:
        """Their name of the array `leaf` of our module."""
        part = self.part(module)
        theirs = None if part is None else self.module(part)
        if theirs is None:
            return None
        return f"{theirs}{self.separator}{self.leaves.get(leaf, leaf)}"

    def converted(
        self, module: str, leaf: str, x: np.ndarray, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Their array in our layout.

        A linear map that we have as a convolution, or the other way round, is reshaped;
        torch flattens the maps in front of it channel by channel.

        Args:
            module: ours.
            leaf: our name of the array in it.
            x: theirs.
            shape: ours, if the array fits.
        """
        if leaf != "kernel":
            return x
        if self.transposed:
            x = _hwio(x, shape)
        if self.part(module) == self.bgr and x.ndim == 4:
            x = x[:, :, ::-1]
        if len(shape) == 2 and x.ndim == 4 and x.shape[:2] == (1, 1):
            x = x[0, 0]
        return x


def torch(
    source: str,
    module: Callable[[str], str | None],
    preprocessing: Preprocessing | None = IMAGENET,
    **options: Any,
) -> Table:
    """A table of names in torch's manner."""
    return Table(source, module, preprocessing, TORCH_LEAVES, **options)


def _hwio(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A kernel of torch's in our layout, linear maps for a map of `shape` as one."""
    if x.ndim == 2 and len(shape) == 4 and x.shape[1] % (shape[0] * shape[1]) == 0:
        x = x.reshape(len(x), -1, *shape[:2])
    return x.transpose(2, 3, 1, 0) if x.ndim == 4 else x.T
