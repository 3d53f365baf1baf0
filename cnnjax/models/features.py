"""Gradients with respect to named features, and networks with features replaced.

The features of a network are those that it returns with its output. Arrays that
change them are read from two collections of its variables: `perturbations` (added, as
with Linen's `perturb`) and `replacements`.

```
model = CLASSIFIERS["lenet"](classes=10)
variables = model.init(jax.random.key(0), images)

# The gradient of the logit of class 3 with respect to each feature.
(logits, features), gradients = apply_with_gradients(
    model, variables, images, lambda logits: logits[:, 3].sum()
)
importance = gradients["stage1"].mean(axis=(1, 2))

# The logits without the first channel of a feature.
maps = features["stage1"].at[..., 0].set(0)
without, _ = model.apply(replace_features(variables, {"stage1": maps}), images)

# The head alone, and the network from a feature on.
same = model.apply(variables, features, method="apply_head")
same = from_feature(model, variables, images, "stage1")(features["stage1"])
```
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from cnnjax.models.network import PERTURBATIONS, REPLACEMENTS, Features, Network


def apply_with_gradients(
    model: Network,
    variables: PyTree,
    images: Float[Array, "n h w c"],
    score: Callable[[Array], Float[Array, ""]],
) -> tuple[tuple[Array, Features], Features]:
    """Output and features of a network, and the gradient of a score for each feature.

    A feature's gradient is through all the paths by which it reaches the output.

    Args:
        model: the network; it runs in evaluation.
        variables: of the model.
        images: the input.
        score: the model's output -> a number, for example the sum of one logit.
    """

    def scored(deltas: Features) -> tuple[Array, tuple[Array, Features]]:
        result: Any = model.apply(perturb_features(variables, deltas), images)
        return score(result[0]), result

    _, shapes = jax.eval_shape(model.apply, variables, images)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    gradients, result = jax.grad(scored, has_aux=True)(zeros)
    return result, gradients


def from_feature(
    model: Network, variables: PyTree, images: Float[Array, "n h w c"], name: str
) -> Callable[[Array], Array]:
    """The network from the feature `name` on: a function from it to the output.

    Other features on which the output depends are those of the images. Under `jit`
    the layers that are not needed for the output are not computed.
    """

    def output(feature: Array) -> Array:
        changed = replace_features(variables, {name: feature})
        return model.apply(changed, images)[0]

    return output


def replace_features(variables: PyTree, values: Features) -> PyTree:
    """Variables with which a network uses `values` instead of its own features.

    A value has the shape of the feature. Features that were replaced before stay so.
    The network refuses a name that is none of its features.
    """
    return {**variables, REPLACEMENTS: {**variables.get(REPLACEMENTS, {}), **values}}


def perturb_features(variables: PyTree, deltas: Features) -> PyTree:
    """Variables with which a network adds `deltas` to its features.

    A delta has the shape of the feature, and comes to what was added before. The
    network refuses a name that is none of its features.
    """
    before = variables.get(PERTURBATIONS, {})
    sums = {name: before.get(name, 0) + delta for name, delta in deltas.items()}
    return {**variables, PERTURBATIONS: {**before, **sums}}
