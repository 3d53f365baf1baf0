"""Training steps in PyTorch; imported only where it is installed."""

import time
from collections.abc import Callable

import numpy as np
import torch
from flax.traverse_util import flatten_dict
from jaxtyping import PyTree
from torch import nn
from torch.nn import functional

from experiments.benchmark.jax_steps import LEARNING_RATE, MOMENTUM, Stepper
from experiments.benchmark.torch_models import MODELS
from experiments.benchmark.torch_ops import device, tensor, wait
from experiments.benchmark.workloads import Work

LossFn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_NAMES = {"kernel": "weight", "scale": "weight", "bias": "bias"}


def torch_stepper(
    work: Work, params: PyTree, *, precision: str, compiled: bool
) -> Stepper:
    """Steps of `work` on its batch, from the parameters of a Flax model.

    Raises:
        ValueError: if those are not the model's.
        RuntimeError: if PyTorch cannot compile it.
    """
    before = _allocated()
    model = MODELS[work.name](work.images[-1], work.classes)
    load(model, params)
    model.to(device(), memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM, fused=True)
    loss_of = _loss_fn(model, precision)
    if compiled:
        torch.compiler.config.force_disable_caches = (
            True  # to measure the time of compilation
        )
        loss_of = torch.compile(loss_of)
    batch = work.batch()
    images = tensor(batch["image"], kernel=False, layout="channels_last")
    labels = torch.from_numpy(batch["label"]).long().to(device())

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(images, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    start = time.perf_counter()
    wait(step())
    seconds = time.perf_counter() - start if compiled else 0.0
    peak = _peak_mib(step, before)
    load(model, params)  # undoes the steps
    optimizer.state.clear()
    return Stepper(call=step, wait=wait, compile_seconds=seconds, peak_mib=peak)


def _allocated() -> int:
    """Bytes of the card that arrays take."""
    return torch.cuda.memory_allocated() if device() == "cuda" else 0


def _peak_mib(step: Callable[[], torch.Tensor], before: int) -> float | None:
    """Of a step on a card, over what was allocated before; None on CPU."""
    if device() == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats()
    wait(step())
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _loss_fn(model: nn.Module, precision: str) -> LossFn:
    cast = torch.autocast(device(), torch.bfloat16, enabled=precision == "bfloat16")

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with cast:
            logits = model(images)
        return functional.cross_entropy(logits.float(), labels)

    return loss_of


def load(model: nn.Module, params: PyTree) -> None:
    """Fills a model whose layers are named as those of `params`.

    Raises:
        ValueError: if a parameter has no counterpart of its shape.
    """
    arrays = {
        ".".join([*path, _NAMES[leaf]]): _turned(np.asarray(array))
        for (*path, leaf), array in flatten_dict(params).items()
    }
    parameters = dict(model.named_parameters())
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    if shapes != {name: a.shape for name, a in arrays.items()}:
        raise ValueError("PyTorch's parameters are not those of Flax's layers.")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(arrays[name]))


def _turned(array: np.ndarray) -> np.ndarray:
    """From (h, w, in, out) to (out, in, h, w), and from (in, out) to (out, in)."""
    return array.transpose(*{4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, (0,))).copy()
