"""The sixteen viewpoints of the Galaxy Challenge's winner: where they look, what they keep, what they weigh."""

import pytest
import torch

from tuningfork.model.viewpoints import UntiedConv, Viewpoints16, part_side, turned, viewpoints


def test_the_winners_net_has_the_weights_of_its_definition():
    with torch.device("meta"):
        net = Viewpoints16()
    filters = [36 * 3 * 32, 25 * 32 * 64, 9 * 64 * 128, 9 * 128 * 128]
    biases = [32 * 40 * 40, 64 * 16 * 16, 128 * 6 * 6, 128 * 4 * 4]  # untied: one per place
    dense = [(16 * 128 * 2 * 2 + 1) * 4096, (2048 + 1) * 4096]
    layers = [net.conv1, net.conv2, net.conv3, net.conv4]
    assert [layer.filters.weight.numel() for layer in layers] == filters
    assert [layer.bias.numel() for layer in layers] == biases
    assert sum(p.numel() for p in net.parameters()) == sum(filters + biases + dense) == 42_301_312
    assert part_side(69) == 45


def test_every_viewpoint_has_the_galaxys_centre_at_its_lower_right():
    x = torch.zeros(1, 1, 69, 69)
    x[..., 34, 34] = 1
    parts = viewpoints(x)  # (1, 16, 1, 45, 45)
    assert parts.shape == (1, 16, 1, 45, 45)
    assert (parts.flatten(3).argmax(dim=3) == 34 * 45 + 34).all()


def test_the_four_parts_of_a_view_cover_the_picture_and_are_its_corners():
    x = torch.rand(2, 3, 69, 69)
    parts = viewpoints(x)
    assert torch.equal(parts[:, 0], x[..., :45, :45])
    assert torch.equal(parts[:, 1], x[..., :45, 24:].rot90(1, (2, 3)))  # upper right
    assert torch.equal(parts[:, 2], x[..., 24:, 24:].rot90(2, (2, 3)))  # lower right
    assert torch.equal(parts[:, 3], x[..., 24:, :45].rot90(3, (2, 3)))  # lower left
    assert torch.equal(parts[:, 4], x.flip(3)[..., :45, :45])


def test_turning_the_galaxy_by_a_right_angle_only_renames_its_viewpoints():
    x = torch.rand(1, 2, 57, 57)
    before, after = viewpoints(x), viewpoints(x.rot90(1, (2, 3)))
    for view in range(4):
        sense = 1 if view % 2 == 0 else -1  # a mirrored galaxy turns the other way
        for k in range(4):
            torch.testing.assert_close(
                after[:, 4 * view + k], before[:, 4 * view + (k + sense) % 4], rtol=0, atol=1e-5
            )  # the bilinear weights of the slanted views are float32
    mirrored = viewpoints(x.flip(3))
    torch.testing.assert_close(mirrored[:, :4], before[:, 4:8], rtol=0, atol=0)


def test_the_slanted_view_is_turned_by_45_degrees():
    y, x = torch.meshgrid(torch.arange(65.0) - 32, torch.arange(65.0) - 32, indexing="ij")
    bar = torch.exp(-((x / 12) ** 2) - (y / 3) ** 2)  # along x
    slanted = torch.exp(-(((x - y) / 12) ** 2 + ((x + y) / 3) ** 2) / 2)  # along x = -y
    got = turned(bar[None, None])[0, 0]
    assert (got - slanted).abs().max() < 0.03  # bilinear sampling rounds a ridge of 3 px
    assert (got - bar).abs().max() > 0.5
    smooth = torch.exp(-(x**2 + y**2) / 200)
    torch.testing.assert_close(turned(smooth[None, None])[0, 0], smooth, rtol=0, atol=2e-2)


def test_an_untied_bias_is_added_at_its_own_place():
    layer = UntiedConv(2, 3, 3, 6)
    torch.nn.init.zeros_(layer.filters.weight)
    with torch.no_grad():
        layer.bias[1, 2, 3] = 5.0
    y = layer(torch.rand(4, 2, 6, 6))
    assert y.shape == (4, 3, 4, 4) and (y[:, 1, 2, 3] == 5).all() and y.sum() == 20


@pytest.mark.parametrize("size", [56, 57, 64])
def test_the_features_see_all_sixteen(size):
    net = Viewpoints16(1, size).eval()
    x = torch.rand(1, 1, size, size)
    far = x.clone()
    far[..., -1, -1] += 1  # seen by the lower right corners alone
    assert net(x).shape == (1, 2048)
    assert not torch.equal(net(x), net(far))
