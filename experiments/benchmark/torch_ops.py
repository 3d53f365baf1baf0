"""The rows of the benchmark in PyTorch; imported only where it is installed."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from cnnjax.ops import fast
from experiments.benchmark.timing import Contestant

torch.backends.cudnn.benchmark = True  # cuDNN times its algorithms, XLA does too
LAYOUTS = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}


def device() -> str:
    """Where PyTorch computes: where JAX does."""
    return "cpu" if fast.on_cpu() else "cuda"


def wait(result: object) -> None:
    """Waits until the device has computed all that it was asked, and any result."""
    del result
    if device() == "cuda":
        torch.cuda.synchronize()


def torch_passes(
    function: Callable,
    args: list[np.ndarray],
    cotangent: np.ndarray,
    layout: str,
    dtype: str,
) -> tuple[Contestant, Contestant, list]:
    """The forward pass, the backward pass, and both results in NHWC and HWIO."""
    tensors = [
        tensor(a, kernel=i == 1, layout=layout, dtype=dtype) for i, a in enumerate(args)
    ]
    g = tensor(cotangent, kernel=False, layout=layout, dtype=dtype)
    for t in tensors:
        t.requires_grad_()
    y = function(functional, *tensors)

    def forward():
        with torch.no_grad():
            return function(functional, *tensors)

    def backward():
        return torch.autograd.grad(y, tensors, g, retain_graph=True)

    grads = [_array(t, kernel=i == 1) for i, t in enumerate(backward())]
    results = [_array(y, kernel=False), grads]
    return Contestant(forward, wait), Contestant(backward, wait), results


def tensor(
    array: np.ndarray, *, kernel: bool, layout: str, dtype: str = "float32"
) -> torch.Tensor:
    """An array in PyTorch's order of axes, with memory of its own."""
    made = torch.from_numpy(np.array(array)).to(device(), getattr(torch, dtype))
    if made.ndim != 4:
        return made
    order = (3, 2, 0, 1) if kernel else (0, 3, 1, 2)
    return made.permute(order).contiguous(memory_format=LAYOUTS[layout])


def _array(tensor: torch.Tensor, *, kernel: bool) -> np.ndarray:
    if tensor.ndim == 4:
        tensor = tensor.permute((2, 3, 1, 0) if kernel else (0, 2, 3, 1))
    return tensor.detach().cpu().float().numpy()
