"""Backbones: from an image to a vector of features, by name."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import MissingExtra, RecipeError
from .classic import S1Net

_kept: list[Any] = []  # the shim's library, which unregisters its operators when it is dropped


def _timm() -> Any:
    """Import timm, which needs torchvision, on machines where torchvision's compiled half does not fit torch too.

    A torchvision built for CUDA beside a torch built for CPU dies on import with "operator torchvision::nms does not
    exist" (pytorch/vision issues 9077 and 9085). Nothing here calls nms; declaring it lets the Python half load. Tried
    only after the plain import failed for that reason, because a library that does load defines the operator itself.
    """
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train") from error
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [n for n in sys.modules if n.partition(".")[0] in ("torchvision", "timm")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)
    return importlib.import_module("timm")


def _from_timm(name: str, **options: Any) -> Callable[[int, int], nn.Module]:
    """A builder of a timm model that ends in its pooled features, with random weights."""

    def build(n_bands: int, size: int) -> nn.Module:
        net = _timm().create_model(name, pretrained=False, in_chans=n_bands, num_classes=0, **options)
        net.n_features = int(getattr(net, "head_hidden_size", None) or net.num_features)
        return net

    return build


def _resnet18_fine(n_bands: int, size: int) -> nn.Module:
    net = _from_timm("resnet18")(n_bands, size)
    net.maxpool = nn.Identity()  # twice the resolution in every stage: four times the work
    return net


@dataclass(frozen=True)
class Backbone:
    """One entry of :data:`BACKBONES`: how to build it, and whether training it in bf16 pays on a CPU.

    ``build(n_bands, size)`` gives a module from float32 (N, n_bands, size, size) to features (N, n_features), with that
    number as its attribute ``n_features``. ``bf16``: training under bf16 autocast on a CPU is quicker than in float32
    (1.2-2.4x where the time goes into dense products); where it goes into small depthwise convolutions, whose backward
    pass is slow in bf16, it takes about twice as long.
    """

    build: Callable[[int, int], nn.Module]
    bf16: bool
    note: str


BACKBONES: dict[str, Backbone] = {
    "resnet18": Backbone(_from_timm("resnet18"), True, "He et al. 2016; 11.2 M weights"),
    "resnet18_fine": Backbone(
        _resnet18_fine, True, "resnet18 without its max-pool: finer maps for small inputs, 4x the products"
    ),
    "mobilenetv4_small": Backbone(
        _from_timm("mobilenetv4_conv_small"), False, "Qin et al. 2024; 2.5 M weights; the quickest to train and to run"
    ),
    "efficientnet_b0": Backbone(_from_timm("efficientnet_b0"), False, "Tan & Le 2019; 4.0 M weights"),
    "convnext_pico": Backbone(_from_timm("convnext_pico"), True, "Liu et al. 2022; 8.5 M weights"),
    "s1": Backbone(S1Net, True, "convnet-galaxies (Caffe, 2014); 9.6 M weights at 86 px"),
}


def make_backbone(name: str, n_bands: int, size: int) -> nn.Module:
    """A backbone of :data:`BACKBONES` with random weights; raises :class:`RecipeError` that names the nearest."""
    if name not in BACKBONES:
        near = difflib.get_close_matches(name, BACKBONES, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(BACKBONES)}"
        raise RecipeError(f"no backbone is called '{name}': {hint}")
    return BACKBONES[name].build(n_bands, size)
