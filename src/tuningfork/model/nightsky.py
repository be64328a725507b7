"""Night Sky Net: four convolutions, a dense layer and two of maxout, as Night Sky Net's author wrote them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .maxout import Maxout


class NightSkyNet(nn.Module):
    """The net of Night Sky Net (Keras on Theano) without its last layer, the 4-way softmax, which is the head.

    At 60 px and 3 bands: conv1 32 of 5x5 -> 56 px, pool -> 28; conv2 64 of 5x5 -> 24, pool -> 12; conv3 128 of 3x3 ->
    10; conv4 128 of 3x3 -> 8, pool -> 4; 128 * 4 * 4 = 2,048 numbers; a dense layer, two of maxout of 2,048 units, with
    dropout one half after each. ReLU after convolutions and the first dense layer; pools are of 2x2. Its weights: 2,432
    + 51,264 + 73,856 + 147,584 + 1,049,088 + 2,101,248 + 8,392,704 = 11,818,176.

    Free choices, ours, where the description is silent: no padding; the first dense layer has 512 units; maxout takes
    the larger of two; conv3 has the 128 filters of the author's code, not the 64 of the text; weights are drawn after
    Glorot & Bengio 2010 (uniform), as Keras does, and biases are 0. The author's display: a cutout of 120 px, its
    central 60 (size 60, crop 60). Takes 36 px and more; the weights of one size do not fit another.
    """

    n_features = 2048
    smallest = 36  # px: below, nothing is left after the third pool

    def __init__(self, n_bands: int = 3, size: int = 60) -> None:
        super().__init__()
        side = (((size - 4) // 2 - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(n_bands, 32, 5)
        self.conv2 = nn.Conv2d(32, 64, 5)
        self.conv3 = nn.Conv2d(64, 128, 3)
        self.conv4 = nn.Conv2d(128, 128, 3)
        self.dense1 = nn.Linear(128 * side * side, 512)
        self.dense2 = Maxout(512, 2048)
        self.dense3 = Maxout(2048, 2048)
        self.dropout = nn.Dropout(0.5)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, bands, size, size) -> features (N, 2048)."""
        x = F.max_pool2d(self.conv1(x).relu(), 2)  # (N, 32, 28, 28) at 60 px
        x = F.max_pool2d(self.conv2(x).relu(), 2)  # (N, 64, 12, 12)
        x = F.max_pool2d(self.conv4(self.conv3(x).relu()).relu(), 2)  # (N, 128, 4, 4)
        x = self.dropout(self.dense1(x.flatten(1)).relu())  # (N, 512)
        x = self.dropout(self.dense2(x))  # (N, 2048)
        return self.dropout(self.dense3(x))  # (N, 2048)
