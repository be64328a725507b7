"""The historic nets against their definitions: shapes, weights, normalisation, pooling, maxout."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tuningfork.model.classic import ChannelNorm, NightSkyNet, Residual, S1Net, S2Net, S4Net, S4ResNet, caffe_side
from tuningfork.model.maxout import Maxout

# weights and biases by layer, from the definition of S1: (kernel^2 * channels in / groups + 1) * channels out
S1_PARAMETERS = {
    "conv1": (9 * 3 + 1) * 32,
    "conv2": (9 * 16 + 1) * 64,  # two groups: each filter sees half of the 32 channels
    "conv3": (9 * 64 + 1) * 128,
    "fc4": (128 * 12 * 12 + 1) * 500,
    "fc5": (500 + 1) * 500,
}


def test_every_layer_has_the_number_of_weights_of_its_definition():
    net = S1Net()
    counted = {name: sum(p.numel() for p in getattr(net, name).parameters()) for name in S1_PARAMETERS}
    assert counted == S1_PARAMETERS
    assert sum(p.numel() for p in net.parameters()) == sum(S1_PARAMETERS.values()) == 9_551_032


def test_the_maps_have_the_sides_of_the_docstring_at_86_px():
    net, sides = S1Net().eval(), []
    for name in ("conv1", "conv2", "conv3"):
        getattr(net, name).register_forward_hook(lambda module, given, x: sides.append(tuple(x.shape[1:])))
    assert net(torch.zeros(1, 3, 86, 86)).shape == (1, 500)
    assert sides == [(32, 96, 96), (64, 48, 48), (128, 24, 24)]


@pytest.mark.parametrize("size", [8, 21, 45, 64, 69, 86])
def test_it_works_at_other_sizes_and_bands(size):
    assert S1Net(5, size).eval()(torch.rand(2, 5, size, size)).shape == (2, 500)


@pytest.mark.parametrize("side", range(8, 20))
def test_pooling_keeps_a_last_odd_row_as_caffe_does(side):
    # Caffe: pooled = ceil((height + 2 pad - kernel) / stride) + 1
    convolved = side + 2 * 6 - 3 + 1
    assert caffe_side(side, pad=6, kernel=3) == -(-(convolved - 2) // 2) + 1


def test_normalisation_is_caffes_formula():
    x = np.random.default_rng(0).normal(size=(2, 9, 3, 3)) * 50  # large, so that the sum of squares matters
    padded = np.pad(x**2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    summed = sum(padded[:, i : i + 9] for i in range(5))
    expected = x / (1 + 1e-4 / 5 * summed) ** 0.75
    assert np.abs(expected - x).max() > 1
    np.testing.assert_allclose(ChannelNorm()(torch.from_numpy(x)).numpy(), expected, rtol=1e-12)  # both in float64


def test_the_two_groups_of_conv2_do_not_mix():
    net = S1Net().eval()
    x = torch.rand(1, 32, 8, 8)
    changed = x.clone()
    changed[:, :16] += 1
    same = (net.conv2(x) == net.conv2(changed)).all(dim=(0, 2, 3))
    assert same[32:].all() and not same[:32].any()


def test_weights_are_caffes_xavier():
    torch.manual_seed(0)
    for layer in (S1Net().conv3, S1Net().fc5):
        limit = (3 / layer.weight[0].numel()) ** 0.5
        assert 0.99 * limit < layer.weight.abs().max() <= limit
        # a uniform variable's standard deviation is limit / sqrt(3); 70,000 draws know it to half a per cent
        assert layer.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.01)
        assert (layer.bias == 0).all()


def test_dropout_acts_in_training_only():
    net, x = S1Net(3, 16), torch.rand(1, 3, 16, 16)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))
    assert F.relu(net(x)).equal(net(x))


def _count(module):
    return sum(p.numel() for p in module.parameters())


def test_night_sky_net_has_the_weights_of_its_description():
    net = NightSkyNet().eval()
    counted = [_count(layer) for layer in net.children() if _count(layer)]
    assert counted == [
        (25 * 3 + 1) * 32,
        (25 * 32 + 1) * 64,
        (9 * 64 + 1) * 128,
        (9 * 128 + 1) * 128,
        (128 * 4 * 4 + 1) * 512,
        (512 + 1) * 2 * 2048,  # maxout: two maps for each of 2,048 units
        (2048 + 1) * 2 * 2048,
    ]
    assert sum(counted) == _count(net) == 11_818_176
    assert net(torch.rand(2, 3, 60, 60)).shape == (2, 2048)


@pytest.mark.parametrize(("make", "total"), [(S2Net, 1_141_952), (S4Net, 2_384_992), (S4ResNet, 695_904)])
def test_the_nets_of_our_choice_have_the_weights_that_they_tell(make, total):
    assert _count(make()) == total
    bands = make().state_dict()[next(iter(make().state_dict()))].shape[1]
    assert make().eval()(torch.rand(2, bands, 64, 64)).shape == (2, make.n_features)


def test_a_residual_block_without_its_two_convolutions_is_its_short_cut():
    block = Residual(4, 4).eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 4, 6, 6)
    assert torch.equal(block(x), x)
    assert Residual(4, 6, 2)(torch.rand(2, 4, 7, 7)).shape == (2, 6, 4, 4)


def test_maxout_is_the_largest_of_its_maps_and_convex():
    layer, x, y = Maxout(5, 3, pieces=4), torch.randn(7, 5), torch.randn(7, 5)
    weight, bias = layer.linear.weight.reshape(3, 4, 5), layer.linear.bias.reshape(3, 4)
    expected = (torch.einsum("upc,nc->nup", weight, x) + bias).max(dim=2).values
    torch.testing.assert_close(layer(x), expected)
    assert (layer((x + y) / 2) <= (layer(x) + layer(y)) / 2 + 1e-6).all()  # float32
