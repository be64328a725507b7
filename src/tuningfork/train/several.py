"""Several labels at once: one backbone learns them all, and becomes as many models, which share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import disk
from .. import recipe as recipes
from ..data.dataset import Cache
from ..galaxy.labels import Labels
from ..model.card import Card, tree_entries
from ..model.head import SeveralHead, make_head
from ..model.net import GalaxyNet, net_from_card
from .choices import TrainRecipe
from .finish import SUMMARY, TrainSummary, prior_shift, shifted, summarise, told, write_model
from .judge import fit_temperature
from .objective import choose_head, parts_of
from .prepare import Joined
from .state import Progress

MODELS = "models"  # the folder of a run in which each has its own


def network(labels: Labels, card: Card) -> GalaxyNet:
    """A network with a head for each part of ``labels``, and random weights; the card tells of the rest of it."""
    heads = {}
    for part in labels.parts:
        kind = choose_head(part, TrainRecipe())
        slices = None if part.tree is None or kind == "sigmoid" else part.tree.slices
        heads[part.choice.name] = make_head(kind, part.names, slices)
    return GalaxyNet(
        card.backbone, SeveralHead(heads), card.bands, card.size, mean=card.mean, std=card.std, dropout=card.dropout
    )


def alone(net: GalaxyNet, card: Card, part: Labels) -> tuple[GalaxyNet, Card]:
    """The model of one part: the shared backbone under its own rows of the last layer, and its card."""
    assert isinstance(net.head, SeveralHead)
    name = part.choice.name
    head, span = net.head.heads[name], net.head.slices[name]
    changes: dict[str, Any] = {"name": name, "head": head.kind, "names": part.names}
    changes |= {
        "labels": recipes.to_mapping(part.choice),
        **tree_entries(part.tree if head.kind != "classes" else None),
    }
    own = replace(card, **changes)
    model = net_from_card(own)
    state = {key: value[span] if key.startswith("last.") else value for key, value in net.state_dict().items()}
    model.load_state_dict(state)
    return model, own


def finish_several(
    out: Path,
    net: GalaxyNet,
    card: Card,
    joined: Joined,
    caches: tuple[Cache, Cache],
    progress: Progress,
    z: Tensor,
    targets: Tensor,
    identity: Mapping[str, Any],
) -> TrainSummary:
    """Write ``out``/models/NAME for each part, and run.json last; arguments as for :func:`~.finish.finish`.

    The temperature of a part with classes is fitted on the validation galaxies that it knows.
    """
    assert isinstance(net.head, SeveralHead)
    summary = summarise(out, joined, caches, progress, stopped=False)
    history = told(joined, caches, progress, identity)
    for part, whole in zip(joined.labels.parts, parts_of(joined.labels), strict=True):
        model, own = alone(net.cpu(), card, part)
        span = net.head.slices[part.choice.name]
        known = ~targets[:, span].isnan().all(dim=1)
        if own.head == "classes":
            outputs = shifted(model, prior_shift(joined, caches[0].ids, whole, identity), z[known, span])
            if bool(known.any()):
                temperature = fit_temperature(outputs.numpy(), targets[known, span].numpy())
                model.head.temperature = temperature  # type: ignore[assignment]
        with torch.no_grad():
            write_model(out / MODELS / part.choice.name, model, own, history)
    disk.write_json(out / SUMMARY, {"identity": dict(identity), "summary": asdict(summary)})
    return summary
