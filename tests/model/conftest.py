"""Small models at rest, and a forger that makes their digests agree with whatever bytes it is given."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from tuningfork import disk
from tuningfork.galaxy.tree import Tree
from tuningfork.model import weights
from tuningfork.model.card import CARD, GOLDEN, WEIGHTS, Card
from tuningfork.model.head import make_head
from tuningfork.model.net import GalaxyNet

BANDS = ("g", "r")
SIZE = 8  # px: the S1 net then has half a million weights and answers in a millisecond


def _card(head: str = "classes", backbone: str = "s1", size: int = SIZE, **changes: object) -> Card:
    """A card of a two-band model: of three classes, or of the answers of Galaxy Zoo 2."""
    tree = Tree.load("gz2") if head in ("dirichlet", "fractions") else None
    card = Card(
        name="tiny",
        bands=BANDS,
        display={"size": size, "stretch": "none"},
        head=head,
        names=tree.columns if tree else ("elliptical", "spiral", "merger"),
        backbone=backbone,
        tree=tree.name if tree else "",
        tree_digest=tree.digest if tree else "",
        mean=(0.25, 0.5),
        std=(0.5, 0.25),
    )
    return dataclasses.replace(card, **changes)


def _network(card: Card) -> GalaxyNet:
    tree = card.load_tree()
    torch.manual_seed(1)
    head = make_head(card.head, card.names, tree and tree.slices, link=card.link, temperature=card.temperature)
    return GalaxyNet(card.backbone, head, card.bands, card.size, mean=card.mean, std=card.std, dropout=card.dropout)


def _images(card: Card, n: int = 2) -> np.ndarray:
    shape = (n, len(card.bands), card.size, card.size)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def make_card() -> Callable[..., Card]:
    return _card


@pytest.fixture
def make_net() -> Callable[[Card], GalaxyNet]:
    return _network


@pytest.fixture
def make_images() -> Callable[..., np.ndarray]:
    return _images


@pytest.fixture
def save_model(tmp_path: Path) -> Callable[..., Path]:
    """Save a small model whose card has these choices; gives its folder."""

    def save(**choices: object) -> Path:
        card = _card(**choices)
        folder = tmp_path / "model"
        weights.save(_network(card), card, folder, _images(card))
        return folder

    return save


@pytest.fixture
def forge() -> Callable[..., None]:
    """Overwrite weights or card entries of a model, and make every digest agree again, as an attacker would."""

    def forge(folder: Path, data: bytes | None = None, **changes: object) -> None:
        if data is not None:
            (folder / WEIGHTS).write_bytes(data)
        entries = json.loads((folder / CARD).read_text()) | {"digest": disk.sha256(folder / WEIGHTS)} | changes
        (folder / CARD).write_text(json.dumps(entries))
        golden = safetensors.numpy.load((folder / GOLDEN).read_bytes())
        meaning = Card.from_json(entries).meaning
        (folder / GOLDEN).write_bytes(safetensors.numpy.save(golden, metadata={"meaning": meaning}))

    return forge
