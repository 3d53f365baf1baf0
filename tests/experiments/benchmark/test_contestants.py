"""The models of all sides are the same, and are told to compute alike."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmark import flax_models
from experiments.benchmark import precision as precisions
from experiments.benchmark.jax_steps import sides
from experiments.benchmark.workloads import WORKS

TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
EACH = {work.name: work for works in WORKS.values() for work in works}
COUNTS = {
    "small CNN": 93_962,
    "ResNet-18": 11_173_962,
    "ResNet-50": 25_557_032,
    "U-Net": 7_763_074,
    "MobileNetV2": 2_236_682,
}


def _tiny(name):
    """Two images; the smallest that leave ResNet-50 several pixels to normalize."""
    side = 64 if name == "ResNet-50" else 16
    work = EACH[name]
    return dataclasses.replace(work, images=(2, side, side, work.images[-1]))


def _first_losses(work, both):
    return [
        float(jax.jit(lambda side=side: side.step(side.state, work.batch())[1])())
        for side in both.values()
    ]


def _torch_loss(work, both, precision):
    from experiments.benchmark.torch_steps import torch_stepper

    params = both["ours"].state[0]
    step = torch_stepper(work, params, precision=precision, compiled=False)
    return float(step.call())


@pytest.mark.parametrize("name", COUNTS)
def test_losses_of_all_contestants_agree(name):
    work = _tiny(name)
    both = sides(work, "float32")
    flax, ours = _first_losses(work, both)
    assert ours == pytest.approx(flax, rel=1e-4)
    if TORCH:
        assert _torch_loss(work, both, "float32") == pytest.approx(flax, rel=1e-4)


@needs_torch
def test_bfloat16_reaches_every_contestant():
    work = _tiny("small CNN")
    losses = []
    for precision in ("float32", "bfloat16"):
        both = sides(work, precisions.dtype(precision))
        torch = _torch_loss(work, both, precision)
        losses.append([*_first_losses(work, both), torch])
    for exact, rough in zip(*losses, strict=True):
        assert exact != rough == pytest.approx(exact, rel=5e-2)


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_contestants_have_as_many_parameters(name, count):
    work = EACH[name]
    images = jnp.zeros((1, *work.images[1:]))
    models = (
        work.model(classes=work.classes),
        flax_models.MODELS[name](work.classes),
    )
    for model in models:
        params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
        assert sum(p.size for p in jax.tree.leaves(params)) == count
    if TORCH:
        import torch

        from experiments.benchmark.torch_models import MODELS

        with torch.device("meta"):
            model = MODELS[name](work.images[-1], work.classes)
        assert sum(p.numel() for p in model.parameters()) == count


def test_platforms_have_their_own_works():
    titles = {platform: [*map(str, works)] for platform, works in WORKS.items()}
    assert titles == {
        "cpu": [
            "small CNN 128x28x28x1",
            "ResNet-18 64x32x32x3",
            "U-Net 4x128x128x3",
            "MobileNetV2 64x32x32x3",
        ],
        "accelerator": [
            "ResNet-50 256x224x224x3",
            "ResNet-18 1024x32x32x3",
            "U-Net 16x512x512x3",
            "MobileNetV2 512x32x32x3",
        ],
    }


@needs_torch
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_products_of_torch_are_as_precise_as_ours(monkeypatch, precision):
    import torch

    monkeypatch.setattr(precisions.fast, "on_cpu", lambda: False)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    whole = precision == "float32"
    with precisions.computing_in(precision):
        matmul = torch.backends.cuda.matmul
        # Both switches of PyTorch say the same, or its compiler refuses.
        assert matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == (not whole)
        for part in (matmul, torch.backends.cudnn.conv):
            assert (part.fp32_precision == "tf32") == (not whole)
        assert jax.config.jax_default_matmul_precision in ("float32", "tensorfloat32")
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@needs_torch
def test_torch_chooses_its_fastest_convolutions():
    import torch

    from experiments.benchmark import torch_ops

    assert torch_ops.LAYOUTS["channels_last"] is torch.channels_last
    assert torch.backends.cudnn.benchmark
