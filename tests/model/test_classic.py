"""The S1 net against its Caffe definition: shapes, weights, normalisation, pooling."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tuningfork.model.classic import ChannelNorm, S1Net, caffe_side

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
