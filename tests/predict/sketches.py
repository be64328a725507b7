"""Galaxies drawn with a few lines, and small models of colour pictures that share an encoder."""

from pathlib import Path

import numpy as np
import torch

from tuningfork.galaxy.tree import Tree
from tuningfork.model import share
from tuningfork.model.card import Card
from tuningfork.model.head import make_head
from tuningfork.model.net import GalaxyNet

COLOUR = ("red", "green", "blue")
CLASSES = ("edge_on", "elliptical", "merger", "spiral_anticlockwise", "spiral_clockwise")
HEADS = {"gz1": ("classes", ""), "efigi": ("sigmoid", "efigi"), "gz2": ("dirichlet", "gz2")}
SIDE = 24  # px that the networks see


def picture(side: int = 96, scale: float = 1.0, x: float = 0.0, y: float = 0.0, seed: int = 0) -> np.ndarray:
    """An inclined disc with two arms, (side, side, 3) uint8: ``scale`` times a scale length of 5 px, off the middle."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    along, across = (columns - x) / scale, (rows - y) / scale / 0.6
    r, angle = np.hypot(along, across), np.arctan2(across, along)
    light = np.exp(-r / 5) * (1 + 0.7 * np.minimum(r / 8, 1) * np.cos(2 * angle - r / 3)) / 1.4
    noisy = light[..., None] * [1.0, 0.85, 0.6] * 230 + 12 + rng.normal(0, 1.5, (side, side, 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def make_set(out: Path, petrosian: float = 3.0) -> Path:
    """Three models of random weights, a head of each kind, on one encoder."""
    nets, state = {}, None
    for seed, (name, (kind, tree_name)) in enumerate(HEADS.items()):
        tree = Tree.load(tree_name) if tree_name else None
        display = {"size": SIDE, "bands": list(COLOUR), "petrosian": petrosian}
        card = Card(
            name=name, bands=COLOUR, display=display, head=kind, names=tree.columns if tree else CLASSES, backbone="s1",
            tree=tree_name, tree_digest=tree.digest if tree else "", mean=(0.2,) * 3, std=(0.2,) * 3,
        )  # fmt: skip
        torch.manual_seed(5)
        head = make_head(kind, card.names, tree and tree.slices)
        net = GalaxyNet("s1", head, card.bands, SIDE, mean=card.mean, std=card.std).eval()
        state = state or {key: value for key, value in net.state_dict().items() if not key.startswith("last.")}
        net.load_state_dict(net.state_dict() | state)
        torch.manual_seed(seed)
        torch.nn.init.normal_(net.last.weight, std=2.0)
        nets[name] = (net, card)
    golden = np.random.default_rng(0).integers(0, 256, (2, 3, SIDE, SIDE), dtype=np.uint8)
    share.share_encoder(nets, out, golden)
    return out


def make_grey(out: Path) -> Path:
    """A model of grey pictures, of two classes."""
    from tuningfork.model import export, weights

    names, display = ("flat", "round"), {"size": SIDE, "bands": ["grey"], "petrosian": 3.0}
    card = Card("grey", ("grey",), display, "classes", names, "s1", mean=(0.2,), std=(0.2,))
    torch.manual_seed(9)
    net = GalaxyNet("s1", make_head("classes", names), card.bands, SIDE, mean=card.mean, std=card.std).eval()
    weights.save(net, card, out, np.random.default_rng(0).integers(0, 256, (2, 1, SIDE, SIDE), dtype=np.uint8))
    export.export_onnx(out)
    return out
