"""Looking into networks with captum and PyTorch; imported where they are installed."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from experiments.benchmark import looks
from experiments.benchmark.looks import Look
from experiments.benchmark.timing import Contestant
from experiments.benchmark.torch_ops import LAYOUTS, device, tensor, wait

LAST = {"squeezenet1_1": "features.12", "resnet18": "layer4"}  # maps of Grad-CAM
# Of VGG-16, what its ReLUs are called in torchvision.
_VGG = {"conv1_1": 1, "conv2_1": 6, "conv3_1": 11, "conv4_1": 18, "conv4_2": 20}


def arrays(look: Look) -> dict[str, np.ndarray]:
    """Random weights of the network, by torchvision's names."""
    start = "" if look.classes else "features."
    return {start + k: x.numpy() for k, x in _network(look).state_dict().items()}


def contestants(look: Look) -> tuple[dict[str, Contestant], np.ndarray]:
    """One for each layout, and what they find, in the order (n, h, w, c)."""
    made = {f"PyTorch {layout}": _look_into(look, layout) for layout in LAYOUTS}
    found = [_array(call()) for call in made.values()]
    return {name: Contestant(call, wait) for name, call in made.items()}, found[0]


def _network(look: Look) -> nn.Module:
    torch.manual_seed(0)
    network = getattr(torchvision.models, look.network)(weights=None).eval()
    network = network if look.classes else network.features
    # Nothing is trained: without this PyTorch would also find their gradients.
    return network.requires_grad_(False)


def _look_into(look: Look, layout: str) -> Callable[[], Tensor]:
    network = _network(look).to(device(), memory_format=LAYOUTS[layout])
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # the features are needed, and captum's hooks
    images, labels = look.batch()
    images = tensor(images, kernel=False, layout=layout)
    labels = torch.from_numpy(labels).to(device())
    return _FUNCTIONS[look.task](look, network, images, labels)


def _grad_cam(
    look: Look, network: nn.Module, images: Tensor, labels: Tensor
) -> Callable[[], Tensor]:
    from captum.attr import LayerGradCam

    cam = LayerGradCam(network, network.get_submodule(LAST[look.network]))
    return lambda: cam.attribute(
        images.requires_grad_(), labels, relu_attributions=True
    ).detach()


def _integrated_gradients(
    look: Look, network: nn.Module, images: Tensor, labels: Tensor
) -> Callable[[], Tensor]:
    from captum.attr import IntegratedGradients

    del look
    gradients = IntegratedGradients(network)
    return lambda: gradients.attribute(
        images, target=labels, n_steps=looks.STEPS, method="riemann_middle"
    ).detach()


def _pgd(
    look: Look, network: nn.Module, images: Tensor, labels: Tensor
) -> Callable[[], Tensor]:
    from captum.robust import PGD

    del look
    loss = nn.CrossEntropyLoss(reduction="none")
    attack = PGD(network, loss, lower_bound=0, upper_bound=1)
    radius, steps = looks.EPSILON, looks.ASCENTS

    def change() -> Tensor:
        with warnings.catch_warnings():  # of what captum does in each of its own steps
            warnings.simplefilter("ignore", UserWarning)
            return attack.perturb(images, radius, radius / 4, steps, labels) - images

    return change


def _style_transfer(
    look: Look, network: nn.Module, images: Tensor, labels: Tensor
) -> Callable[[], Tensor]:
    """The losses of Gatys, Ecker & Bethge (2016), as ours are."""
    del labels
    style = tensor(look.style(), kernel=False, layout="channels_last")

    def features(x: Tensor) -> dict[str, Tensor]:
        found, numbers = {}, {i: name for name, i in _VGG.items()}
        for i, layer in enumerate(network.children()):
            x = layer(x)
            if i in numbers:
                found[numbers[i]] = x
            if len(found) == len(_VGG):
                break
        return found

    def gram(x: Tensor) -> Tensor:
        flat = x.flatten(2)
        return flat @ flat.transpose(1, 2)

    with torch.no_grad():
        content = features(images)[looks.CONTENT]
        grams = {name: gram(x) for name, x in features(style).items()}
    painted = images.clone(memory_format=torch.preserve_format).requires_grad_()
    optimizer = torch.optim.Adam([painted], looks.LEARNING_RATE)

    def change() -> Tensor:
        with torch.no_grad():
            painted.copy_(images)
        optimizer.state.clear()
        optimizer.zero_grad()
        found = features(painted)
        loss = (found[looks.CONTENT] - content).square().sum() / 2
        for name in looks.STYLE:
            scale = 2 * found[name].numel()
            loss = loss + looks.STYLE_WEIGHT * (
                ((gram(found[name]) - grams[name]) / scale).square().sum()
            )
        loss.backward()
        optimizer.step()
        return painted.detach().clamp(0, 1) - images

    return change


def _array(found: Tensor) -> np.ndarray:
    array = found.permute(0, 2, 3, 1).cpu().numpy()
    return array.squeeze(-1) if array.shape[-1] == 1 else array  # maps


_FUNCTIONS = {
    "grad_cam": _grad_cam,
    "integrated_gradients": _integrated_gradients,
    "pgd": _pgd,
    "style_transfer": _style_transfer,
}
