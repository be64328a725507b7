"""Folding batch norms: the same answers and gradients, the network itself untouched, for every kind of network."""

import copy

import pytest
import torch

from tuningfork.insight.folded import folded
from tuningfork.model.head import ClassesHead
from tuningfork.model.net import GalaxyNet


def a_net(backbone: str) -> GalaxyNet:
    """Weights and running moments drawn by lot, so that a norm is no identity."""
    torch.manual_seed(0)
    net = GalaxyNet(backbone, ClassesHead(["a", "b"]), ("r", "g", "b"), 64, mean=[0.2] * 3, std=[0.2] * 3).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


@pytest.mark.parametrize(
    ("backbone", "norms"), [("efficientnet_lite0", 49), ("resnet18", 20), ("convnext_pico", 0), ("s2_cnn", 0)]
)
def test_answers_and_gradients_stay(backbone: str, norms: int) -> None:
    net = a_net(backbone)
    before = copy.deepcopy(net.state_dict())
    made = folded(net)
    assert sum(isinstance(one, torch.nn.BatchNorm2d) for one in net.modules()) >= norms
    left = sum(isinstance(one, torch.nn.BatchNorm2d) for one in made.modules())
    assert sum(isinstance(one, torch.nn.BatchNorm2d) for one in net.modules()) - left == norms
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    found = []
    for one in (net, made):
        view = x.clone().requires_grad_()
        answers = one(view)
        found.append((answers.detach(), torch.autograd.grad(answers[:, 0].sum(), view)[0]))
    for plain, quick in zip(*found, strict=True):
        # sums in another order, float32, through some fifty layers
        torch.testing.assert_close(quick, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.modules())
    assert not any(weight.requires_grad for weight in made.parameters())


def test_a_norm_that_follows_nothing_stays() -> None:
    net = a_net("resnet18")
    net.backbone.conv1 = torch.nn.Sequential(net.backbone.conv1, torch.nn.ReLU())  # between convolution and norm
    made = folded(net)
    assert [name for name, one in made.named_modules() if isinstance(one, torch.nn.BatchNorm2d)] == ["backbone.bn1"]
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(made(x), net(x), rtol=1e-4, atol=1e-4)
