"""The historic nets, layer by layer as their authors wrote them."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from .nightsky import NightSkyNet
from .viewpoints import Viewpoints16

__all__ = [
    "ChannelNorm", "NightSkyNet", "S1Net", "S2Net", "S4Net", "S4ResNet", "Viewpoints16", "caffe_side", "xavier",
]  # fmt: skip


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


class S2Net(nn.Module):
    """A CNN of the kind of "Galaxy Classification" (Keras), without its last layer; all its numbers are ours.

    The author tells of ReLU, dropout and a sigmoid output, not of layers. Ours: three times a convolution of 3x3 with
    padding (32, 64, 128), ReLU and a pool of 2x2; a dense layer of 128 with ReLU; dropout one half before and after it.
    ReLU and pools are layers of their own, as in Keras, so that each can be looked at: 0 is the first convolution, 1
    its ReLU, 2 its pool, and so on to 8. Weights: 896 + 18,496 + 73,856 + 128 (128 s^2 + 1) at 3 bands with s = size //
    8: 1,141,952 at 64 px. Display: size 64. The sigmoid and cross-entropy of two classes are the head "sigmoid", or
    "classes" with its softmax of two.
    """

    n_features = 128

    def __init__(self, n_bands: int = 3, size: int = 64) -> None:
        super().__init__()
        self.conv1, self.relu1, self.pool1 = nn.Conv2d(n_bands, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        self.conv2, self.relu2, self.pool2 = nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        self.conv3, self.relu3, self.pool3 = nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        self.dense = nn.Linear(128 * (size // 8) ** 2, 128)
        self.dropout = nn.Dropout(0.5)
        for layer in (self.conv1, self.conv2, self.conv3, self.dense):
            xavier(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, bands, size, size) -> features (N, 128)."""
        x = self.pool1(self.relu1(self.conv1(x)))  # (N, 32, 32, 32) at 64 px
        x = self.pool2(self.relu2(self.conv2(x)))  # (N, 64, 16, 16)
        x = self.pool3(self.relu3(self.conv3(x)))  # (N, 128, 8, 8)
        return self.dropout(self.dense(self.dropout(x.flatten(1))).relu())


class S4Net(nn.Module):
    """A CNN for the (64, 64, 5) galaxies of "GZ2_project" (TensorFlow), without its last layer; its numbers are ours.

    Ours: twice a convolution of 3x3 with padding, ReLU, and again, then a pool of 2x2, with 32, 64 and 128 filters;
    a dense layer of 256 with ReLU and dropout one half. Weights: at 5 bands and 64 px 287,584 of convolutions + 256
    (128 s^2 + 1) with s = size // 8: 2,384,992. Display: size 64, bands u, g, r, i, z, each band with its own range.
    """

    n_features = 256

    def __init__(self, n_bands: int = 5, size: int = 64) -> None:
        super().__init__()
        widths = (n_bands, 32, 64, 128)
        self.convs = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 3, padding=1)
            for before, n_out in itertools.pairwise(widths)
            for n_in in (before, n_out)
        )
        self.dense = nn.Linear(128 * (size // 8) ** 2, 256)
        self.dropout = nn.Dropout(0.5)
        for layer in (*self.convs, self.dense):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, bands, size, size) -> features (N, 256)."""
        for number, layer in enumerate(self.convs):
            x = layer(x).relu()
            if number % 2:
                x = F.max_pool2d(x, 2)  # (N, 32, 32, 32), (N, 64, 16, 16), (N, 128, 8, 8) at 64 px
        return self.dropout(self.dense(x.flatten(1)).relu())


class Residual(nn.Module):
    """Two convolutions of 3x3 with batch norm beside a short cut: y = relu(F(x) + x) (He et al. 2016, eq. 1 and 2).

    Where width or stride change, the short cut is a 1x1 convolution with batch norm (option B there).
    """

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.short: nn.Module = nn.Identity()
        if stride > 1 or n_in != n_out:
            self.short = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) -> (N, n_out, ceil(H / stride), ceil(W / stride))."""
        return (self.norm2(self.conv2(self.norm1(self.conv1(x)).relu())) + self.short(x)).relu()


class S4ResNet(nn.Module):
    """A small ResNet for the (64, 64, 5) galaxies of "GZ2_project", without its last layer; its numbers are ours.

    The ResNet of He et al. 2016, section 4.2, with n = 2 (14 layers) and twice its widths, after a first convolution of
    3x3: stages of 32, 64 and 128 filters, two :class:`Residual` blocks each, the second and third at half the side of
    the one before; the mean over what is left. At 5 bands 695,904 weights at any size. Display as :class:`S4Net`.
    """

    n_features = 128

    def __init__(self, n_bands: int = 5, size: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(n_bands, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        plan = [(32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
        self.blocks = nn.Sequential(*(Residual(*one) for one in plan))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, bands, size, size) -> features (N, 128)."""
        return self.blocks(self.stem(x)).mean(dim=(2, 3))
