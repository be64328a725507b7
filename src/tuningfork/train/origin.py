"""Where a network's weights begin: at random, at those of another model, or at a file of pretrained ones."""

from __future__ import annotations

from dataclasses import replace

import torch

from .. import recipe as recipes
from ..errors import BadWeights, RecipeError
from ..galaxy.display import Display
from ..model import weights
from ..model.card import Card, find_model
from ..model.net import GalaxyNet
from .choices import ModelChoice, Train, TrainRecipe
from .stages import Stage


def transfer(model: str, epochs: int = 30) -> TrainRecipe:
    """The recipe of training that starts from a model, for as few as some tens of labels per class.

    The network is the model's, and sees galaxies as it did (but for their bands, which are those of the galaxies at
    hand). For a third of the ``epochs`` the last layer learns alone, as a probe of what the model's features tell;
    then all learns, at 0.3 of the rate, 0.75 times as much of it for every layer further from the answers
    (``train.layer_decay``). So what is common to galaxies stays, and random answers do not distort it (Kumar et al.
    2022). With one epoch, the last layer alone learns. Raises what :func:`~..model.card.find_model` does.
    """
    card = Card.load(find_model(model))
    display = replace(recipes.from_mapping(Display, card.display), bands=())
    probe = max(epochs // 3, 1)
    rounds = (Stage(("last",), epochs=probe), Stage(rate=0.3, epochs=epochs - probe))
    return TrainRecipe(
        display=display,
        model=ModelChoice(backbone=card.backbone, dropout=card.dropout),
        train=Train(epochs=epochs, batch=16, layer_decay=0.75),
        start=model,
        stages=rounds if epochs > 1 else rounds[:1],
    )


def begin(net: GalaxyNet, card: Card, recipe: TrainRecipe) -> list[str]:
    """Give a new network the weights that the recipe starts from, and tell in lines for people what was taken.

    ``recipe.start`` is a model folder, a run folder, or a shipped model by name (:func:`take`);
    ``recipe.model.pretrained`` a safetensors file of the backbone (``weights.load_backbone``). Raises
    :class:`RecipeError` if both are given.
    """
    if recipe.start and recipe.model.pretrained:
        raise RecipeError(
            f"'start' is '{recipe.start}' and 'model.pretrained' '{recipe.model.pretrained}': a network starts from one"
        )
    if recipe.start:
        return take(net, card, recipe.start)
    if recipe.model.pretrained:
        left = weights.load_backbone(net, recipe.model.pretrained)
        but = f" (but for its own last layer: {', '.join(left)})" if left else ""
        return [f"the backbone starts from '{recipe.model.pretrained}'{but}"]
    return []


def take(net: GalaxyNet, card: Card, model: str) -> list[str]:
    """Copy into ``net`` what fits of another model's network, its mean and std of the pixels with it.

    That is every tensor of the same name and shape; of the last layer only where the answers are the same by name and
    head, because a weight of another answer means nothing. So where all fits, the network begins as the same function
    of the pixels. Returns a line that lists what was not taken. Raises :class:`BadWeights` if the model is of another
    backbone, or nothing of its backbone fits.
    """
    theirs, other = weights.load(find_model(model))
    if other.backbone != card.backbone:
        raise BadWeights(
            f"'start' is '{model}', a '{other.backbone}', but the network is a '{card.backbone}': set model.backbone"
        )
    same_answers = (other.head, other.names) == (card.head, card.names)
    state, wanted = theirs.state_dict(), net.state_dict()
    taken, left = {}, []
    for key, value in wanted.items():
        if key not in state or state[key].shape != value.shape:
            shape = tuple(state[key].shape) if key in state else "absent"
            left.append(f"{key} ({shape} there, {tuple(value.shape)} here)")
        elif key.startswith("last.") and not same_answers:
            left.append(f"{key} (other answers)")
        else:
            taken[key] = state[key]
    if not any(key.startswith("backbone.") for key in taken):
        raise BadWeights(f"'start' is '{model}', but nothing of its backbone fits: {'; '.join(left)}")
    with torch.no_grad():
        for key, value in taken.items():
            wanted[key].copy_(value)
    lines = [f"the network starts from '{model}': {len(taken)} of {len(wanted)} tensors are taken"]
    if left:
        lines[0] += f", these begin anew: {'; '.join(left)}"
    if other.bands != card.bands:
        lines.append(f"'{model}' saw the bands {', '.join(other.bands)}, these galaxies have {', '.join(card.bands)}")
    return lines
