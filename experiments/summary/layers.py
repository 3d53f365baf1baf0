"""The layers of a network with their shapes and costs, by tracing it.

Nothing is computed: JAX traces the forward pass on shapes, each layer with parameters
puts its name behind its result, and one walk over the equations reads the rest.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import PyTree

from cnnjax.models.faster_rcnn import POOLED, FasterRCNN
from cnnjax.models.layers import Norm
from cnnjax.models.network import Network
from cnnjax.ops.arithmetic import conv_multiply_adds
from experiments.summary.flow import IMAGE, Lost, Sight, seen, shape_of

_FLOAT32 = 4  # bytes
_CONVOLUTIONS = {"conv2d": "conv", "conv2d_input_gradient": "transposed"}
_POOLS = {"window_max": "max", "window_sum": "average"}
_GLOBAL_POOLS = {"reduce_max": "global max", "reduce_sum": "global average"}


@dataclasses.dataclass(frozen=True)
class Row:
    """A layer with parameters, or a pool.

    Attributes:
        name: its path in the tree of parameters; pools are numbered.
        kind: what it computes; "conv 3x3/2" has a window of 3 and a stride of 2.
        shape: of the result for one image.
        parameters: numbers that it learns.
        multiply_adds: of its convolution or product, for one image.
        sight: what the positions of the result see of the image.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    sight: Sight

    @property
    def size(self) -> int:
        """Bytes of the result in float32."""
        return _FLOAT32 * math.prod(self.shape)


def shapes(model: Network, image_shape: tuple[int, ...]) -> tuple[PyTree, Any]:
    """Shapes of the variables of a model, and of a batch of one image.

    Args:
        model: the network.
        image_shape: height and width in pixels, and channels.

    Raises:
        UsageError: if the image is too small for the network.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images), images


def summarize(model: Network, image_shape: tuple[int, ...]) -> list[Row]:
    """The layers of a model and its pools, in the order of computation.

    A norm counts as seeing its own pixel alone, as in the literature. A layer that is
    called twice has two rows, the first with its parameters.

    Args:
        model: the network; it runs in evaluation.
        image_shape: height and width in pixels, and channels.

    Raises:
        UsageError: if the image is too small for the network.
    """
    variables, images = shapes(model, image_shape)
    layers: dict[str, _Layer] = {}
    with nn.intercept_methods(_naming(variables["params"], layers)):
        traced = jax.make_jaxpr(_forward(model))(variables, images).jaxpr
    rows: list[Row] = []
    pools, products = 0, []
    for equation, sight in seen(traced, [*[None] * (len(traced.invars) - 1), IMAGE]):
        shape = shape_of(equation.outvars[0])[1:]
        products += filter(None, [_product(equation)])
        if kind := _pool(equation, sight):
            pools += 1
            rows.append(Row(f"pool{pools}", kind, shape, 0, 0, sight))
        elif layer := layers.get(equation.params.get("name", "")):
            kinds, costs = zip(*products, strict=True) if products else ((), ())
            kind = " ".join(kinds) or layer.kind
            row = Row(layer.name, kind, shape, layer.parameters, sum(costs), sight)
            rows.append(row)
            layers[layer.name] = dataclasses.replace(layer, parameters=0)
            products = []
    return rows


def inference_memory(model: Network, image_shape: tuple[int, ...]) -> int | None:
    """Bytes that the forward pass of one image takes, by XLA's plan for this machine.

    Variables, image and logits, and what XLA keeps of maps at once; None where the
    device does not tell. The program is compiled and not run.

    Args:
        model: the network; it runs in evaluation.
        image_shape: height and width in pixels, and channels.

    Raises:
        UsageError: if the image is too small for the network.
    """
    forward = jax.jit(_forward(model))
    needs = forward.lower(*shapes(model, image_shape)).compile().memory_analysis()
    return needs and (
        needs.argument_size_in_bytes
        + needs.output_size_in_bytes
        + needs.temp_size_in_bytes
    )


def _forward(model: Network) -> Callable[[PyTree, Any], Any]:
    """(variables, images) -> output, of a second stage for one region of the images."""

    def forward(variables: PyTree, images: Any) -> Any:
        result: Any = model.apply(variables, images)
        output, features = result
        if not isinstance(model, FasterRCNN):
            return output
        more = ((0, 0), (0, POOLED), (0, POOLED), (0, 0))
        region = jnp.pad(features[model.LAST], more)[:, :POOLED, :POOLED]
        return output, model.apply(variables, region, method="apply_box_head")

    return forward


@dataclasses.dataclass(frozen=True)
class _Layer:
    """A module with parameters of its own."""

    name: str
    kind: str
    parameters: int


def _naming(parameters: PyTree, layers: dict[str, _Layer]) -> Callable[..., Any]:
    """Interceptor of calls that names the results of layers, and collects these."""

    def name_result(call: Any, args: Any, options: Any, context: Any) -> Any:
        module, own = context.module, parameters
        for part in module.path:
            own = own.get(part, {})
        arrays = [x for x in own.values() if not isinstance(x, dict)]
        if context.method_name != "__call__" or not arrays:
            return call(*args, **options)
        kind, result = type(module).__name__.lower(), None
        if isinstance(module, Norm):
            # Of its statistics nothing is to be seen.
            kind, result = f"{module.kind} norm", args[0]
        name = "/".join(module.path)
        count = sum(math.prod(x.shape) for x in arrays)
        layers.setdefault(name, _Layer(name, kind, count))
        return checkpoint_name(
            call(*args, **options) if result is None else result, name
        )

    return name_result


def _product(equation: jex.JaxprEqn) -> tuple[str, int] | None:
    """Kind and multiply-adds of a convolution or matrix product."""
    name = equation.primitive.name
    if name == "dot_general":
        x, _ = map(shape_of, equation.invars)
        ((contracted, _), _) = equation.params["dimension_numbers"]
        taps = math.prod(x[axis] for axis in contracted)
        return "linear", taps * math.prod(shape_of(equation.outvars[0]))
    if name not in _CONVOLUTIONS:
        return None
    # The kernel of a transposed convolution is that of the convolution it reverses.
    geometry, kernel = equation.params["geometry"], shape_of(equation.invars[1])
    groups = geometry.groups
    inputs, outputs = kernel[-2] * groups, kernel[-1]
    kind = "depthwise" if 1 < groups == inputs else _CONVOLUTIONS[name]
    return f"{kind} {_windows(geometry)}", conv_multiply_adds(
        geometry.out, geometry.window, inputs, outputs, groups=groups
    )


def _pool(equation: jex.JaxprEqn, sight: Sight) -> str | None:
    """Kind of a pool."""
    name = equation.primitive.name
    if name in _POOLS:
        return f"{_POOLS[name]} {_windows(equation.params['geometry'])}"
    if (
        name in _GLOBAL_POOLS
        and sight is Lost.ALL
        and len(shape_of(equation.invars[0])) == 4
    ):
        return _GLOBAL_POOLS[name]
    return None


def _windows(geometry: Any) -> str:
    """3x3, with the stride and the dilation where there is one: 3x3/2, 3x3:4."""
    text = "x".join(map(str, geometry.window))
    for sign, numbers in (("/", geometry.stride), (":", geometry.dilation)):
        if numbers != (1, 1):
            text += sign + "x".join(map(str, sorted(set(numbers))))
    return text
