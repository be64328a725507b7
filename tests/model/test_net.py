"""GalaxyNet: every backbone with every head, and what must hold for all of them."""

import dataclasses

import pytest
import torch

from tuningfork.errors import BadWeights, RecipeError
from tuningfork.model.backbone import BACKBONES
from tuningfork.model.card import HEADS
from tuningfork.model.head import make_head
from tuningfork.model.net import AnswerNet, GalaxyNet, net_from_card

CLASSES = make_head("classes", ("a", "b"))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", HEADS)
def test_every_backbone_learns_under_every_head(make_card, make_net, backbone, head):
    size = max(64, BACKBONES[backbone].smallest)
    net = make_net(make_card(head, backbone, size=size, dropout=0.2))
    assert net.training
    z = net(torch.rand(2, 2, size, size))
    assert z.shape == (2, net.head.n_outputs)
    net.answers(z).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net.last.weight.grad.abs().max() > 0


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_galaxys_answers_do_not_depend_on_its_company(make_card, make_net, backbone):
    size = max(32, BACKBONES[backbone].smallest)
    net = make_net(make_card(backbone=backbone, size=size)).eval().double()
    x = torch.rand(3, 2, size, size, dtype=torch.float64)
    with torch.inference_mode():
        together, alone = net(x), torch.cat([net(one[None]) for one in x])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)  # sums in another order


def test_mean_and_std_are_applied_inside_per_band():
    torch.manual_seed(0)
    plain = GalaxyNet("s1", CLASSES, ("g", "r"), 8).eval()
    normed = GalaxyNet("s1", CLASSES, ("g", "r"), 8, mean=(0.1, 0.7), std=(0.5, 2.0)).eval()
    assert set(plain.state_dict()) == set(normed.state_dict()) >= {"mean", "std", "last.weight"}
    normed.load_state_dict({**plain.state_dict(), "mean": normed.mean, "std": normed.std})
    x = torch.rand(2, 2, 8, 8)
    shifted = x * normed.std + normed.mean
    torch.testing.assert_close(normed(shifted), plain(x), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(normed(x), plain(x), rtol=1e-3)


def test_the_same_seed_gives_the_same_weights():
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(GalaxyNet("mobilenetv4_small", CLASSES, ("g",), 32).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
    assert not torch.equal(states[0]["last.weight"], states[2]["last.weight"])


def test_features_are_what_the_last_layer_reads():
    net = GalaxyNet("s1", CLASSES, ("g",), 8, dropout=0.5).eval()
    x = torch.rand(2, 1, 8, 8)
    assert net.features(x).shape == (2, 500)
    torch.testing.assert_close(net.last(net.features(x)), net(x), rtol=0, atol=0)


def test_filters_lie_channels_last_in_memory():
    net = GalaxyNet("resnet18", CLASSES, ("g", "r"), 32)
    assert net.backbone.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_pictures_are_divided_by_255_on_the_way_to_answers():
    net = GalaxyNet("s1", CLASSES, ("g",), 8).eval()
    images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(AnswerNet(net).eval()(images), net.answers(net(images.double().div(255).float())))


def test_a_card_makes_the_net_that_it_tells_of(make_card):
    card = make_card("fractions", link="divisive", dropout=0.3)
    net = net_from_card(card)
    assert (net.head.kind, net.head.link, net.dropout.p, net.size) == ("fractions", "divisive", 0.3, 8)
    assert net.n_parameters == sum(p.numel() for p in net.parameters())
    with pytest.raises(BadWeights, match="'head'"):
        net_from_card(dataclasses.replace(card, head="softmax"))


def test_choices_that_cannot_be_are_refused():
    with pytest.raises(RecipeError, match="no backbone"):
        GalaxyNet("resnet", CLASSES, ("g",), 32)
    with pytest.raises(BadWeights, match="std has 3 numbers for the 2 bands g, r"):
        GalaxyNet("s1", CLASSES, ("g", "r"), 8, std=(1, 1, 1))
