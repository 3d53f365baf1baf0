"""The precision of products, read off the programs that GPUs and TPUs are given."""

import re

import jax
import jax.numpy as jnp
import pytest

from experiments import classification, detection, segmentation
from experiments.config import build

CONFIGS = {
    "lenet": classification.Config(model="lenet", width=0.1),
    "mobilenet": classification.Config(model="mobilenet", width=0.02),
    "unet": segmentation.Config(model="unet", depth=1, width=1 / 32),
    "windownet": detection.Config(width=0.1, refine=True, window=24),
}
NAMES = {"float32": "HIGHEST", "tf32": "HIGH", "bfloat16": "DEFAULT"}


def products(config, platform):
    """Types and precision of all products in the gradient of a network."""
    model = build(config, 3)
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def loss(params, variables, images):
        return model.apply({**variables, "params": params}, images)[0].sum()

    gradient = jax.jit(jax.grad(loss))
    traced = gradient.trace(variables["params"], variables, images)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    lines = re.findall(r".*stablehlo\.(?:convolution|dot_general).*", text)
    assert len(lines) > 3
    return [
        (re.search(r"-> tensor<(?:\d+x)*(\w+)>", line)[1], precision_of(line))
        for line in lines
    ]


def precision_of(line):
    found = re.findall(r"(HIGHEST|HIGH|DEFAULT)", line)
    return found[0] if found else "DEFAULT"


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", CONFIGS)
def test_products_of_float32_have_the_precision_that_is_asked(name, platform):
    config = CONFIGS[name]
    for precision, expected in NAMES.items():
        asked = type(config)(**{**vars(config), "precision": precision})
        found = products(asked, platform)
        assert {p for kind, p in found if kind == "f32"} == {expected}
        assert ("bf16" in dict(found)) == (precision == "bfloat16")


def test_a_network_by_itself_leaves_it_to_jax():
    model = build(CONFIGS["lenet"], 3).clone(precision=None)
    images = jnp.zeros((1, 32, 32, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def lowered():
        apply = jax.jit(lambda *arguments: model.apply(*arguments)[0])
        traced = apply.trace(variables, images)
        return traced.lower(lowering_platforms=("cuda",)).as_text()

    with jax.default_matmul_precision(None):
        assert "HIGHEST" not in lowered()
    with jax.default_matmul_precision("highest"):
        assert "HIGHEST" in lowered()
