"""Models that share one encoder: written as a set of folders, the encoder once and of each model its last layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import disk
from ..errors import BadWeights
from . import weights
from .card import Card, load_golden
from .encoder import save_strangeness
from .export import export_onnx
from .net import GalaxyNet

# what ship may change
TOLD = (
    "version",
    "licence",
    "citation",
    "notes",
    "measured",
    "fails",
    "training",
    "metrics",
    "calibration",
    "rates",
    "costs",
)


def share_encoder(
    models: Mapping[str, tuple[GalaxyNet, Card]],
    out: str | Path,
    golden_input: NDArray[np.uint8],
    *,
    encoder: str = "encoder",
    strangeness: Mapping[str, NDArray[Any]] | None = None,
) -> dict[str, Card]:
    """Write models of one backbone to ``out``/NAME each, and the backbone once to ``out``/``encoder``, ready to run.

    The weights are rounded to half precision (matrices and filters; biases and statistics stay float32), golden answers
    to ``golden_input``, uint8 (N, bands, size, size), are those of the rounded weights, and all is exported to ONNX and
    proved. ``strangeness``, arrays of :class:`~tuningfork.evaluate.strangeness.Strangeness` about the encoder's
    features, goes beside the encoder. A card's ``name`` becomes the model's. Returns the cards as they read. Raises
    :class:`BadWeights`, before anything is written, where backbones, bands, sizes, means or stds are not the very same,
    or a name is no folder's.
    """
    if not models or encoder in models:
        raise BadWeights(f"an encoder '{encoder}' is shared by models of other names, not by {list(models)}")
    if wrong := [name for name in (encoder, *models) if not disk.is_plain(name)]:
        raise BadWeights(f"{wrong} cannot name folders of a set: take letters, digits and _ . - only, 64 at most")
    first, (net, _) = next(iter(models.items()))
    for name, (other, card) in models.items():
        card.check()
        if wrong := _apart(net, other):
            raise BadWeights(
                f"'{first}' and '{name}' cannot share an encoder: they differ in {', '.join(wrong[:5])}; train them "
                "as several labels of one run, or on a backbone that is held (stages)"
            )
    out = Path(out)
    shared = weights.save_encoder(net, out / encoder, "float16")
    cards = {}
    for name, (own, card) in models.items():
        card = dataclasses.replace(card, name=name, encoder=shared.name, precision=shared.precision)
        weights.save(own, card, out / name, golden_input)
        export_onnx(out / name)
        cards[name] = Card.load(out / name)
    if strangeness is not None:
        save_strangeness(out / shared.name, strangeness)
    return cards


def ship(
    folders: Mapping[str, str | Path],
    out: str | Path,
    *,
    encoder: str = "encoder",
    tell: Mapping[str, Mapping[str, Any]] | None = None,
    strangeness: Mapping[str, NDArray[Any]] | None = None,
) -> dict[str, Card]:
    """Write trained models (name: folder) that have one backbone as a set that shares it (:func:`share_encoder`).

    ``tell`` holds, for some of the names, entries of the card to replace: those of :data:`TOLD`. The golden pictures
    are the first model's. ``strangeness`` is as for :func:`share_encoder`. Raises what :func:`~.weights.load` and
    :func:`share_encoder` do, and :class:`BadWeights` on a name or entry that does not exist.
    """
    tell = tell or {}
    for name, entries in tell.items():
        if name not in folders or not {*entries} <= {*TOLD}:
            raise BadWeights(
                f"'{name}' is to be told of with {', '.join(entries)}: models are {', '.join(folders)}, and entries "
                f"that can be told {', '.join(TOLD)}"
            )
    models = {}
    for name, folder in folders.items():
        net, card = weights.load(folder)
        models[name] = (net, dataclasses.replace(card, **tell.get(name, {})))
    golden_input = load_golden(next(iter(folders.values())))[0] if folders else np.zeros((0, 0, 0, 0), np.uint8)
    return share_encoder(models, out, golden_input, encoder=encoder, strangeness=strangeness)


def _apart(net: GalaxyNet, other: GalaxyNet) -> list[str]:
    """In what two networks differ below their last layers."""
    for what in ("backbone_name", "bands", "size"):
        if getattr(net, what) != getattr(other, what):
            return [f"{what} ({getattr(net, what)} and {getattr(other, what)})"]
    ours, theirs = net.state_dict(), other.state_dict()
    return [
        key
        for key, value in ours.items()
        if not key.startswith("last.") and not torch.equal(value, theirs[key].to(value))
    ]
