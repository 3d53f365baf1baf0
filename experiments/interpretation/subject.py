"""The network that is looked into, whatever it is of."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from cnnjax.data import Dataset
from cnnjax.data.preprocess import scaled
from cnnjax.errors import UsageError
from cnnjax.models.features import replace_features
from cnnjax.models.network import Network
from cnnjax.ops.arrays import AnyArray
from cnnjax.training.scaling import Scaling
from experiments.summary.flow import IMAGE, Sight, seen

Images = Float[Array, "n h w c"]
Features = dict[str, Array]
Apply = Callable[[PyTree, Array], Any]  # variables, scaled images -> output, features


@dataclasses.dataclass(frozen=True)
class Subject:
    """A trained network.

    Attributes:
        words: what it is, for people.
        task: "classification", "segmentation" or "detection".
        model: the network; without classes it has no head.
        forward: variables and scaled images -> what the model returns.
        variables: of the model.
        scaling: channel mean and std of its images.
        class_names: of its logits, a detector's background among them; none: no head.
        image_shape: height, width and channels of the images it is for.
        prepared: a picture -> what the network sees of it.
        data: scheme:location, or None for its own -> a data set.
        pyramid: of a detector: its config and the factors of its levels.
        absent: features that its weights do not reach.
    """

    words: str
    task: str
    model: Network
    forward: Apply = dataclasses.field(repr=False)
    variables: PyTree = dataclasses.field(repr=False)
    scaling: Scaling = dataclasses.field(repr=False)
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    prepared: Callable[[UInt8[np.ndarray, "h w c"]], UInt8[np.ndarray, "h w c"]]
    data: Callable[[str | None], Dataset]
    pyramid: tuple[Any, Float[np.ndarray, "levels 2"]] | None = None
    absent: frozenset[str] = frozenset()

    def apply(self, variables: PyTree, images: Images) -> tuple[Array, Features]:
        """Output and features for images in [0, 1]."""
        return self.forward(variables, scaled(images, self.scaling))

    @functools.cached_property
    def compiled(self) -> Callable[[PyTree, AnyArray], tuple[Array, Features]]:
        """`apply`, compiled once for each size of images."""
        return jax.jit(self.apply)

    def logits(
        self, variables: PyTree, images: Images, places: Array | None
    ) -> Float[Array, "n classes"]:
        """The logits of images in [0, 1], the mean over places if there are several.

        Args:
            variables: of the model.
            images: in [0, 1].
            places: the share that each place of the output has; None where there is
                one alone.
        """
        return at_places(self.apply(variables, images)[0], places)

    def head(
        self, images: Images, layer: str, places: Array | None
    ) -> Callable[[Array], Float[Array, "n classes"]]:
        """The network from a feature of some images on: a function to `logits`."""

        def logits(feature: Array) -> Array:
            changed = replace_features(self.variables, {layer: feature})
            return self.logits(changed, images, places)

        return logits

    def shapes(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
        """Shapes of the features for an image, by name, in the order of computation.

        Raises:
            UsageError: if the image is too small for the network.
        """
        image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
        names: list[str] = []

        def features(variables: PyTree, images: Images) -> Features:
            _, found = self.apply(variables, images)
            names.extend(found)  # JAX sorts them
            return found

        found = jax.eval_shape(features, self.variables, image)
        there = [name for name in names if name not in self.absent]
        return {name: tuple(found[name].shape[1:]) for name in there}

    def layer(self, name: str | None, image_shape: tuple[int, int, int]) -> str:
        """The feature of this name, or the last one with height and width above 1.

        Without a name it is one that the head takes, or that comes before.

        Raises:
            UsageError: if there is none.
        """
        shapes = self.shapes(image_shape)
        order = [*shapes]
        if self.model.LAST in order:
            order = order[: order.index(self.model.LAST) + 1]
        maps = [k for k in order if len(shapes[k]) == 3 and min(shapes[k][:2]) > 1]
        if name is None and maps:
            return maps[-1]
        if name not in shapes or len(shapes[name]) != 3:
            raise UsageError(
                f"--layer={name} is no feature with height and width, which are"
                f" {', '.join(k for k, x in shapes.items() if len(x) == 3)}."
            )
        return name

    def sight(self, layer: str, image_shape: tuple[int, int, int]) -> Sight:
        """What the positions of a feature see of an image."""
        image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
        traced, result = jax.make_jaxpr(self.apply, return_shape=True)(
            self.variables, image
        )
        nothing = itertools.repeat(None, len(traced.jaxpr.invars) - 1)
        sights = _returned(seen(traced.jaxpr, [*nothing, IMAGE]))
        _, features = jax.tree.unflatten(jax.tree.structure(result), sights)
        return features[layer]


def at_places(
    output: Float[Array, "n *positions classes"], places: Array | None
) -> Float[Array, "n classes"]:
    """Logits, averaged over positions by their shares."""
    if places is None:
        return output
    return jnp.einsum("nhwk,hw->nk", output, places)


def _returned(steps: Any) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value
