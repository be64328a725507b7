"""A network with its batch norms folded into the convolutions before them: the same answers, sooner."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..model.net import GalaxyNet

AGREED = 1e-4  # of the largest logit: what the rounding of folded weights may change


def folded(net: GalaxyNet) -> GalaxyNet:
    """A copy of ``net`` for asking, not for training, without the batch norms that follow a convolution directly.

    In a network that does not learn, norm(conv(x)) with running mean m and variance v is one convolution, of weights
    w g / sqrt(v + eps) and bias (b - m) g / sqrt(v + eps) + beta (Jacob et al. 2018, arXiv:1712.05877, sec. 3.2). Which
    norm follows which convolution is seen on one picture; the activation that a norm of timm ends with stays. Layers
    keep their names, but a folded convolution gives what its norm gave. Where the answers differ by more than
    :data:`AGREED`, as of a network that takes other ways for other pictures, the copy is as it was.
    """
    plain = deepcopy(net).eval().requires_grad_(False)
    picture = torch.rand(2, len(net.bands), net.size, net.size, generator=torch.Generator().manual_seed(0))
    picture = picture.to(next(net.parameters()).device)
    made = deepcopy(plain)
    for conv, (name, norm) in _pairs(made, picture):
        weights = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *weights)
        parent, _, own = name.rpartition(".")
        rest = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]
        setattr(made.get_submodule(parent), own, nn.Sequential(*rest))
    made.requires_grad_(False)
    with torch.no_grad():
        before, after = plain(picture), made(picture)
    agreed = torch.allclose(before, after, rtol=0, atol=AGREED * float(before.abs().max()))
    return made if agreed else plain


def _pairs(net: GalaxyNet, picture: Tensor) -> list[tuple[nn.Conv2d, tuple[str, Any]]]:
    """The convolutions whose output goes into a batch norm, with the norm and its name; each used once."""
    outputs: list[tuple[Tensor, nn.Conv2d]] = []  # held, so that no tensor takes the place of another
    used: dict[nn.Module, list[nn.Conv2d]] = {}

    def after(module: nn.Module, given: tuple[Any, ...], out: Tensor) -> None:
        outputs.append((out, module))  # type: ignore[arg-type]

    def before(module: nn.Module, given: tuple[Any, ...]) -> None:
        used.setdefault(module, []).extend(conv for out, conv in outputs if out is given[0])

    hooks = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats and module.affine:
            hooks.append(module.register_forward_pre_hook(before))
    try:
        with torch.no_grad():
            net(picture)
    finally:
        for hook in hooks:
            hook.remove()
    calls = [conv for _, conv in outputs]
    names = {module: name for name, module in net.named_modules()}
    return [(convs[0], (names[norm], norm)) for norm, convs in used.items() if len(convs) == 1 == calls.count(convs[0])]
