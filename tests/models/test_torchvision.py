"""torchvision's own networks with random weights give what ours give with the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.models import MODELS, pretrained

torch = pytest.importorskip("torch", reason="torch is not installed")
torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")

NETWORKS = {
    "resnet18": ("resnet18", {}),
    "resnet50": ("resnet50", {}),
    "vgg11": ("vgg11", {}),
    "vgg13_bn": ("vgg13", {"norm": "batch"}),
    "mobilenet_v2": ("mobilenet", {}),
    "squeezenet1_0": ("squeezenet1_0", {}),
    "squeezenet1_1": ("squeezenet1_1", {}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_torchvision(rng, name):
    ours, options = NETWORKS[name]
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(weights=None, num_classes=10).eval()
    state = theirs.state_dict()
    for key, value in state.items():
        if key.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    images = rng.standard_normal((2, 224, 224, 3), dtype=np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    model = MODELS[ours](classes=10, **options)
    arrays = {key: value.numpy() for key, value in state.items()}
    init = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    found = pretrained.convert(arrays, model, init)
    assert (found.source.split()[0], found.missing) == ("torchvision", ())
    assert not found.surplus
    assert not found.misshapen
    logits, _ = jax.jit(model.apply)(found.variables, images)
    largest = abs(expected.numpy()).max()
    np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-4 * largest)
