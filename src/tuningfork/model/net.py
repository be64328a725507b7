"""GalaxyNet: a backbone, one linear layer and a head that says what its numbers mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import BadWeights
from .backbone import make_backbone
from .card import Card
from .classic import xavier
from .head import Head, make_head


class GalaxyNet(nn.Module):
    """From pictures in 0..1 to raw outputs z, and from these to answers.

    ``backbone`` is a key of ``backbone.BACKBONES``; ``bands`` names the channels, in order; ``size`` is the side of the
    square input, px. ``mean`` and ``std``, one number per band of the pixels in 0..1, are subtracted and divided by
    inside the network (0 and 1 where not given); they travel with the weights. ``dropout`` acts on the features in
    training. Weights are random, from torch's generator; channels come last in memory, which is quicker on CPU and GPU.
    Raises :class:`RecipeError` on an unknown backbone and :class:`BadWeights` on mean or std of another length.
    """

    mean: Tensor  # (1, bands, 1, 1)
    std: Tensor  # (1, bands, 1, 1)

    def __init__(
        self,
        backbone: str,
        head: Head,
        bands: Sequence[str],
        size: int,
        *,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.bands, self.size, self.backbone_name = tuple(bands), size, backbone
        for name, given, default in (("mean", mean, 0.0), ("std", std, 1.0)):
            values = [float(v) for v in given] or [default] * len(self.bands)
            if len(values) != len(self.bands):
                raise BadWeights(
                    f"{name} has {len(values)} numbers for the {len(self.bands)} bands {', '.join(self.bands)}"
                )
            self.register_buffer(name, torch.tensor(values).reshape(1, -1, 1, 1))
        self.backbone = make_backbone(backbone, len(self.bands), size)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(self.backbone.n_features, head.n_outputs)  # type: ignore[arg-type]
        xavier(self.last)
        self.head = head
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, x: Tensor) -> Tensor:
        """What the backbone sees in pictures (N, bands, size, size) in 0..1: (N, n_features)."""
        x = ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.backbone(x)

    def forward(self, x: Tensor) -> Tensor:
        """Raw outputs z (N, head.n_outputs) of pictures float32 (N, bands, size, size) in 0..1."""
        return self.last(self.dropout(self.features(x)))

    def answers(self, z: Tensor) -> Tensor:
        """The head's reading of z, float32 (N, K): probabilities, concentrations or fractions."""
        return self.head.answers(z)

    @property
    def n_parameters(self) -> int:
        """Number of trained weights."""
        return sum(p.numel() for p in self.parameters())


class AnswerNet(nn.Module):
    """From uint8 pictures (N, bands, size, size) to answers float32 (N, K), as exported and as judged."""

    def __init__(self, net: GalaxyNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Answers (N, K): pixels are divided by 255."""
        return self.net.answers(self.net(images.float() / 255.0))


class FeatureNet(nn.Module):
    """From uint8 pictures (N, bands, size, size) to features float32 (N, n_features): the encoder as exported."""

    def __init__(self, net: GalaxyNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, n_features): pixels are divided by 255."""
        return self.net.features(images.float() / 255.0)


class LastNet(nn.Module):
    """From features (N, n_features) to answers float32 (N, K): what a model adds to an encoder that it shares."""

    def __init__(self, net: GalaxyNet) -> None:
        super().__init__()
        self.last, self.head = net.last, net.head

    def forward(self, features: Tensor) -> Tensor:
        """Answers (N, K)."""
        return self.head.answers(self.last(features))


def net_from_card(card: Card) -> GalaxyNet:
    """The network that a card tells of, with random weights; raises :class:`BadWeights` where the card cannot be."""
    tree = card.check()
    slices = None if tree is None else tree.slices
    head = make_head(card.head, card.names, slices, link=card.link, temperature=card.temperature)
    return GalaxyNet(card.backbone, head, card.bands, card.size, mean=card.mean, std=card.std, dropout=card.dropout)
