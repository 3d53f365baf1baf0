"""The rows of the benchmark in PyTorch; imported only where it is installed."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

LAYOUTS = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}


def torch_passes(
    function: Callable, args: list[np.ndarray], cotangent: np.ndarray, layout: str
) -> tuple[Callable, Callable, list]:
    """The forward pass, the backward pass, and both results in NHWC and HWIO."""
    tensors = [_tensor(a, kernel=i == 1, layout=layout) for i, a in enumerate(args)]
    g = _tensor(cotangent, kernel=False, layout=layout)
    for t in tensors:
        t.requires_grad_()
    y = function(functional, *tensors)

    def forward():
        with torch.no_grad():
            return function(functional, *tensors)

    def backward():
        return torch.autograd.grad(y, tensors, g, retain_graph=True)

    grads = [_array(t, kernel=i == 1) for i, t in enumerate(backward())]
    return forward, backward, [_array(y, kernel=False), grads]


def _tensor(array: np.ndarray, *, kernel: bool, layout: str) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    if tensor.ndim != 4:
        return tensor.clone()
    order = (3, 2, 0, 1) if kernel else (0, 3, 1, 2)
    return tensor.permute(order).contiguous(memory_format=LAYOUTS[layout])


def _array(tensor: torch.Tensor, *, kernel: bool) -> np.ndarray:
    if tensor.ndim == 4:
        tensor = tensor.permute((2, 3, 1, 0) if kernel else (0, 2, 3, 1))
    return tensor.detach().numpy()
