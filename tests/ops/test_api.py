"""What every public function of the operators has."""

import doctest
import inspect
import re

import jax
import jax.numpy as jnp
import pytest

from cnnjax import ops
from cnnjax.ops import fast

OPS = {
    f"{module.__name__}.{name}": op
    for module in (ops, ops.arithmetic)
    for name, op in vars(module).items()
    if inspect.isfunction(op) and not name.startswith("_")
}
each = pytest.mark.parametrize("op", OPS.values(), ids=OPS)


def test_the_names_others_rely_on():
    names = """conv2d depthwise_conv2d separable_conv2d conv2d_transpose pad max_pool
    crop_and_resize
    avg_pool max_pool_with_argmax global_avg_pool global_max_pool max_unpool
    nearest_unpool bed_of_nails_unpool resize batch_norm group_norm layer_norm
    local_response_norm"""
    assert set(names.split()) == {n.split(".")[-1] for n in OPS if "arith" not in n}


@each
def test_says_what_it_does_and_shows_it(op):
    doc = inspect.getdoc(op)
    assert doc, "no docstring"
    for part in ("Args:", "Returns:", "Raises:\n    ValueError:", ">>> "):
        assert part in doc, f"no {part}"
    for name in inspect.signature(op).parameters:
        assert re.search(rf"^ +{name}: ", doc, re.M), f"{name} is not explained"


@each
def test_arguments_are_typed_and_options_keyword_only(op):
    signature = inspect.signature(op)
    assert signature.return_annotation is not signature.empty
    for p in signature.parameters.values():
        assert p.annotation is not p.empty, f"{p.name} has no type"
        if p.default is not p.empty:
            assert p.kind is p.KEYWORD_ONLY, f"make {p.name} keyword-only"


@each
def test_examples_run(op):
    names = {"jax": jax, "jnp": jnp, **vars(ops), **vars(ops.arithmetic)}
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(op, globs=names):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


def test_tune_cpu_is_explained():
    assert inspect.getdoc(fast.tune_cpu)
