"""Maxout: a dense layer that keeps the larger of several linear maps."""

from __future__ import annotations

from torch import Tensor, nn


class Maxout(nn.Module):
    """A dense layer whose unit i gives max over j < ``pieces`` of w_ij . x + b_ij (Goodfellow et al. 2013, eq. 1-2).

    arXiv:1302.4389. From (N, n_in) to (N, n_out) with pieces * n_out * (n_in + 1) weights; the ``pieces`` linear maps
    of a unit lie side by side in ``linear``, so that it is also a linear layer and a pool of ``pieces`` neighbours.
    """

    def __init__(self, n_in: int, n_out: int, pieces: int = 2) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(n_in, n_out * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in) -> (N, n_out)."""
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(dim=2)
