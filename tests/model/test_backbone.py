"""The table of backbones, and the way around a torchvision that does not fit torch."""

import sys

import pytest
import torch

from tuningfork.errors import MissingExtra, RecipeError
from tuningfork.model import backbone
from tuningfork.model.backbone import BACKBONES, make_backbone

# millions of weights without a last layer, at 3 bands and 86 px, as their papers count them (less the 1000-way layer)
PUBLISHED = {
    "resnet18": 11.18,  # He et al. 2016: 11.69 - 0.51
    "resnet18_fine": 11.18,
    "mobilenetv4_small": 2.49,  # Qin et al. 2024: 3.77 - 1.28
    "efficientnet_b0": 4.01,  # Tan & Le 2019: 5.29 - 1.28
    "efficientnet_lite0": 3.37,  # timm: 4.65 - 1.28
    "efficientnet_lite0_short": 1.40,  # its blocks as timm counts them
    "convnext_pico": 8.53,  # timm: 9.05 - 0.51
    "convnext_nano": 14.95,  # timm: 15.59 - 0.64
    "s1": 9.55,
    "s2_cnn": 1.73,  # ours, as is s4: test_classic counts each exactly
    "night_sky": 13.98,
    "s4_cnn": 3.56,
    "s4_resnet": 0.70,
    "viewpoints16": 84.29,  # 42.30 at 69 px; at 86 its parts are 56 px
    "googlenet": 5.60,  # torchvision, with batch norm and without the auxiliary classifiers: 6.62 - 1.02
    "inception_v3": 21.79,  # Szegedy et al. 2016: 23.83 - 2.05
    "resnet34": 21.28,  # He et al. 2016: 21.80 - 0.51
    "resnet50": 23.51,  # He et al. 2016: 25.56 - 2.05
}


@pytest.mark.parametrize("name", BACKBONES)
def test_each_has_its_published_number_of_weights_and_says_how_many_features_it_gives(name):
    with torch.device("meta"):
        net = make_backbone(name, 3, 86).eval()
        features = net(torch.zeros(2, 3, 86, 86))
    assert features.shape == (2, net.n_features)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(PUBLISHED[name], abs=0.01)


@pytest.mark.parametrize("name", BACKBONES)
def test_each_takes_pictures_of_the_least_side_that_it_tells_and_refuses_smaller_ones(name):
    least = BACKBONES[name].smallest
    with torch.device("meta"):
        net = make_backbone(name, 5, least).eval()
        assert net(torch.zeros(2, 5, least, least)).shape == (2, net.n_features)
    with pytest.raises(RecipeError, match=f"'{name}' takes pictures of {least} px or more, not of {least - 1}"):
        make_backbone(name, 5, least - 1)


def test_the_fine_resnet_keeps_twice_the_resolution():
    sides = []
    for name in ("resnet18", "resnet18_fine"):
        with torch.device("meta"):
            net = make_backbone(name, 3, 64).eval()
            sides.append(net.forward_features(torch.zeros(1, 3, 64, 64)).shape[-1])
    assert sides == [2, 4]


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="'resnet81': did you mean 'resnet18'"):
        make_backbone("resnet81", 3, 64)
    with pytest.raises(RecipeError, match="there are resnet18, resnet18_fine"):
        make_backbone("os.system", 3, 64)


def _importer(monkeypatch, *replies):
    waiting = list(replies)

    def load(name):
        reply = waiting.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    monkeypatch.setattr(backbone.importlib, "import_module", load)
    return waiting


def test_operators_are_declared_only_after_the_import_failed_for_want_of_them(monkeypatch):
    declared = []

    class Library:
        def __init__(self, *names):
            declared.append(names)

        def define(self, schema):
            declared.append(schema.split("(")[0])

    monkeypatch.setattr(torch.library, "Library", Library)
    monkeypatch.setattr(backbone, "_kept", [])
    _importer(monkeypatch, "timm")
    assert backbone._timm() == "timm" and not declared

    monkeypatch.setattr(sys, "modules", {**sys.modules, "torchvision.half": sys, "timm.half": sys})
    _importer(monkeypatch, RuntimeError("operator torchvision::nms does not exist"), "timm")
    assert backbone._timm() == "timm" and declared == [("torchvision", "FRAGMENT"), "nms", "qnms"]
    assert not {"torchvision.half", "timm.half"} & set(sys.modules) and "torch" in sys.modules


def test_other_failures_of_the_import_are_not_hidden(monkeypatch):
    _importer(monkeypatch, RuntimeError("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        backbone._timm()


def test_a_missing_library_says_how_to_install_it(monkeypatch):
    _importer(monkeypatch, ModuleNotFoundError("no timm", name="timm"))
    with pytest.raises(MissingExtra, match=r"timm.*pip install 'tuningfork\[train\]'"):
        backbone._timm()
