"""The historic nets, layer by layer as their authors wrote them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3), as Caffe computes it.

    y_c = x_c / (1 + (alpha / n) * sum of x_j^2 over the n channels around c)^beta; beyond the first and last channel x
    counts as 0.
    """

    def __init__(self, n: int = 5, alpha: float = 1e-4, beta: float = 0.75) -> None:
        super().__init__()
        self.n, self.alpha, self.beta = n, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return F.local_response_norm(x, self.n, self.alpha, self.beta, 1.0)


def caffe_side(side: int, *, pad: int, kernel: int) -> int:
    """Side after a convolution of ``kernel`` and ``pad``, ReLU and a 2x2 max-pool of stride 2 in Caffe's ceil mode."""
    return -(-(side + 2 * pad - kernel + 1) // 2)


class S1Net(nn.Module):
    """The net of convnet-galaxies (Caffe, 2014), without its last layer, which is the network's head.

    At 86 px and 3 bands: conv1 32 of 3x3, pad 6 -> 96 px, pool -> 48; conv2 64 of 3x3, pad 1, two groups -> 48, pool ->
    24; conv3 128 of 3x3, pad 1 -> 24, pool -> 12; 128 * 12 * 12 = 18,432 numbers; two dense layers of 500 with dropout
    one half. ReLU after each, local response normalisation (5, 1e-4, 0.75) after the first two pools; pools are of 2x2
    with stride 2 and keep a last odd row (Caffe rounds up). Its weights: 896 + 9,280 + 73,856 + 9,216,500 + 250,500 =
    9,551,032, and 501 K more in the last layer for K outputs.

    At another size, as in Caffe, the dense layer has the width that the last pool gives, so the weights of one size
    do not fit another; at 64 px that is 128 * 10 * 10. Weights are drawn as Caffe's "xavier" filler does: uniform in
    +-sqrt(3 / fan_in); biases are 0.
    """

    n_features = 500

    def __init__(self, n_bands: int = 3, size: int = 86) -> None:
        super().__init__()
        side = size
        for pad in (6, 1, 1):
            side = caffe_side(side, pad=pad, kernel=3)
        self.conv1 = nn.Conv2d(n_bands, 32, 3, padding=6)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1, groups=2)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1)
        self.fc4 = nn.Linear(128 * side * side, 500)
        self.fc5 = nn.Linear(500, 500)
        self.norm = ChannelNorm()
        self.dropout = nn.Dropout(0.5)
        for layer in (self.conv1, self.conv2, self.conv3, self.fc4, self.fc5):
            xavier(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, bands, size, size) -> features (N, 500)."""
        x = self.norm(_pool(self.conv1(x).relu()))  # (N, 32, 48, 48) at 86 px
        x = self.norm(_pool(self.conv2(x).relu()))  # (N, 64, 24, 24)
        x = _pool(self.conv3(x).relu())  # (N, 128, 12, 12)
        x = self.dropout(self.fc4(x.flatten(1)).relu())  # (N, 500)
        return self.dropout(self.fc5(x).relu())  # (N, 500)


def _pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, 2, ceil_mode=True)


def xavier(layer: nn.Conv2d | nn.Linear) -> None:
    """Caffe's "xavier" filler: weights uniform in +-sqrt(3 / fan_in), biases 0 (Glorot & Bengio 2010, fan-in alone)."""
    nn.init.uniform_(layer.weight, -(limit := (3 / layer.weight[0].numel()) ** 0.5), limit)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
