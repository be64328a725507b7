"""The network that won the Galaxy Challenge: one set of convolutions looks at a galaxy from sixteen viewpoints."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .maxout import Maxout

PART = 45 / 69  # side of a corner part over that of the picture


def part_side(size: int) -> int:
    """Side of the corner parts of a picture of ``size`` px: 45 at 69 px, else the nearest integer to 45 / 69 of it."""
    return round(size * PART)


def turned(x: Tensor) -> Tensor:
    """Pictures (N, C, S, S) turned by 45 degrees about their centre, bilinear; beyond the edge its pixels continue.

    Output pixel p, counted from the centre, shows the input at R p, with R the rotation by 45 degrees.
    """
    n, size = x.shape[0], x.shape[-1]
    line = torch.linspace(1 / size - 1, 1 - 1 / size, size, dtype=x.dtype, device=x.device)  # pixel centres in -1..1
    down, right = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack([right - down, right + down], dim=2) * math.sqrt(0.5)  # (S, S, 2), x before y
    return F.grid_sample(x, grid.expand(n, -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=False)


def viewpoints(x: Tensor) -> Tensor:
    """Pictures (N, C, S, S) -> their sixteen viewpoints (N, 16, C, P, P), P = :func:`part_side` of S.

    Four views, the picture and it turned by 45 degrees, each plain and mirrored, times their four overlapping corners,
    each turned by a multiple of 90 degrees so that the galaxy's centre is at its lower right. A corner brought to the
    upper left is that of the view turned so, hence view v, turned k times, is viewpoint 4 v + k.
    """
    side, slanted = part_side(x.shape[-1]), turned(x)
    views = (x, x.flip(3), slanted, slanted.flip(3))
    return torch.stack([view.rot90(k, (2, 3))[..., :side, :side] for view in views for k in range(4)], dim=1)


class UntiedConv(nn.Module):
    """A convolution without padding whose bias is its own at every place: y = W * x + b_chw, then ReLU.

    ``side``: of its input, px; from (N, n_in, side, side) to (N, n_out, side - kernel + 1, same), with
    n_out * (n_in * kernel^2 + (side - kernel + 1)^2) weights.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, side: int) -> None:
        super().__init__()
        out = side - kernel + 1
        self.filters = nn.Conv2d(n_in, n_out, kernel, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_out, out, out))
        nn.init.kaiming_normal_(self.filters.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, side, side) -> (N, n_out, side - kernel + 1, side - kernel + 1), none below 0."""
        return (self.filters(x) + self.bias).relu()


class Viewpoints16(nn.Module):
    """The winner's largest net (Dieleman, Willett & Dambre 2015, MNRAS 450, 1441) without its last layer, the head.

    At 69 px and 3 bands, for each of 16 viewpoints (:func:`viewpoints`) of 45 px, with the same weights: conv1 32 of
    6x6 -> 40 px, pool -> 20; conv2 64 of 5x5 -> 16, pool -> 8; conv3 128 of 3x3 -> 6; conv4 128 of 3x3 -> 4, pool -> 2;
    128 * 2 * 2 = 512 numbers. Side by side, 8,192; then two maxout layers of 2,048 (4,096 linear units each, the larger
    of two) with dropout one half before each and after the last. Biases of convolutions are untied: one per place.

    Its weights: conv1 3,456 + 51,200, conv2 51,200 + 16,384, conv3 73,728 + 4,608, conv4 147,456 + 2,048 (filters +
    biases), maxout 33,558,528 + 8,392,704 = 42,301,312; with the last layer of 37 answers, 75,813 more, 42,377,125.

    Display: of the challenge's 424 px, size 69 and crop 207, so that a pixel is three of theirs (fractions head, link
    "divisive", loss "challenge"; model.dropout 0, as dropout is inside). Ours: the winner turned the whole 424 px by 45
    degrees, here 17% of a turned view lies outside the 207 px and continues the edge; weights after He et al. 2015
    (normal) and biases 0. Takes 56 px and more; the weights of one size do not fit another.
    """

    n_features = 2048
    smallest = 56  # px: below, nothing is left of a corner part after the third pool

    def __init__(self, n_bands: int = 3, size: int = 69) -> None:
        super().__init__()
        side = part_side(size)
        self.conv1 = UntiedConv(n_bands, 32, 6, side)
        self.conv2 = UntiedConv(32, 64, 5, side := (side - 5) // 2)
        self.conv3 = UntiedConv(64, 128, 3, side := (side - 4) // 2)
        self.conv4 = UntiedConv(128, 128, 3, side := side - 2)
        self.dense1 = Maxout(16 * 128 * ((side - 2) // 2) ** 2, 2048)
        self.dense2 = Maxout(2048, 2048)
        self.dropout = nn.Dropout(0.5)
        for dense in (self.dense1, self.dense2):
            nn.init.kaiming_normal_(dense.linear.weight, nonlinearity="linear")
            nn.init.zeros_(dense.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, bands, size, size) -> features (N, 2048)."""
        x = viewpoints(x).flatten(0, 1)  # (16 N, bands, 45, 45) at 69 px
        x = F.max_pool2d(self.conv1(x), 2)  # (16 N, 32, 20, 20)
        x = F.max_pool2d(self.conv2(x), 2)  # (16 N, 64, 8, 8)
        x = F.max_pool2d(self.conv4(self.conv3(x)), 2)  # (16 N, 128, 2, 2)
        x = x.flatten(1).unflatten(0, (-1, 16)).flatten(1)  # (N, 8192)
        x = self.dense1(self.dropout(x))  # (N, 2048)
        return self.dropout(self.dense2(self.dropout(x)))  # (N, 2048)
