"""Objectives: what of a network a picture is to excite (a unit, a whole layer, an answer), and how much it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import recipe
from ..errors import RecipeError
from ..model.net import GalaxyNet
from .layers import Layer, find_layer, recorded, still

_BATCH = 64


@dataclass(frozen=True)
class Objective:
    """A unit ``Objective("blocks.4", 17)``, a layer ``Objective("blocks.4")``, an answer ``Objective(answer="T")``.

    ``layer`` is a name as of :func:`~tuningfork.insight.layers.layers_of`; ``unit`` counts from 0, None means all.
    """

    layer: str = ""
    unit: int | None = None
    answer: str = ""

    def __str__(self) -> str:
        if self.answer:
            return self.answer
        return self.layer if self.unit is None else f"{self.layer}, unit {self.unit}"


def check_objectives(net: GalaxyNet, objectives: Sequence[Objective]) -> dict[str, Layer]:
    """The layers of objectives, by the names that they have there.

    Raises :class:`RecipeError`, naming the nearest, for a layer, unit or answer that the network has not; for an
    objective with both a layer and an answer, or neither; and where there is none.
    """
    if not objectives:
        raise RecipeError("no objective is given: a layer, a unit or an answer, such as Objective('blocks.4', 17)")
    layers: dict[str, Layer] = {}
    for one in objectives:
        if bool(one.layer) == bool(one.answer):
            raise RecipeError(f"an objective is either of a layer or an answer, not {one!r}")
        if one.answer and one.answer not in net.head.names:
            near = recipe.nearest(one.answer, list(net.head.names))
            raise RecipeError(f"the model has no answer '{one.answer}'{near}: {', '.join(net.head.names)}")
        if one.layer and one.layer not in layers:
            layers[one.layer] = find_layer(net, one.layer)
        if one.layer and one.unit is not None and not 0 <= one.unit < layers[one.layer].units:
            units = layers[one.layer].units
            raise RecipeError(f"layer '{one.layer}' has {units} units, counted from 0: there is no {one.unit}")
    return layers


def layer_outputs(net: GalaxyNet, x: Tensor, layers: Mapping[str, Layer]) -> dict[str, Tensor]:
    """The outputs of layers, by their names in ``layers``, and under "" the raw answers (N, K), of one look at ``x``.

    ``x`` is float32 (N, bands, size, size) in 0..1. Outputs lie as :meth:`~tuningfork.insight.layers.Layer.as_maps`
    has them, and the raw answers depend on them, as gradients need.
    """
    with recorded(net, list(dict.fromkeys(layers.values()))) as kept:
        raw = net(x)
        found = dict(kept)
    return {name: found[layer.name] for name, layer in layers.items()} | {"": raw}


def excitation(net: GalaxyNet, outputs: Mapping[str, Tensor], one: Objective) -> Tensor:
    """How much each picture excites an objective, (N,), from :func:`layer_outputs`.

    An answer by the network's raw output z (before softmax, sigmoid or whatever the head makes of it); a unit by its
    mean over all places (and views, of a network that looks at several parts of a picture); a whole layer by the mean
    of its squares, as deep dream has it.
    """
    if one.answer:
        return outputs[""][:, net.head.names.index(one.answer)]
    out = outputs[one.layer]  # (N views, units, ...), a galaxy's views together
    found = out.square().flatten(1) if one.unit is None else out[:, one.unit].reshape(len(out), -1)
    return found.mean(dim=1).unflatten(0, (len(outputs[""]), -1)).mean(dim=1)


def excitations(net: GalaxyNet, pictures: NDArray[np.uint8], objectives: Sequence[Objective]) -> NDArray[np.float32]:
    """How much pictures uint8 (N, bands, size, size), as the network sees them, excite objectives: (N, objectives).

    Raises what :func:`check_objectives` and :func:`check_pictures` raise.
    """
    check_pictures(net, pictures)
    layers = check_objectives(net, objectives)
    found = np.empty((len(pictures), len(objectives)), np.float32)
    with torch.inference_mode(), still(net):
        for start in range(0, len(pictures), _BATCH):
            some = torch.from_numpy(np.ascontiguousarray(pictures[start : start + _BATCH])).float() / 255
            outputs = layer_outputs(net, some, layers)
            values = torch.stack([excitation(net, outputs, one) for one in objectives], dim=1)
            found[start : start + _BATCH] = values.numpy()
    return found


def check_pictures(net: GalaxyNet, pictures: NDArray[np.uint8]) -> None:
    """Raise :class:`RecipeError` for pictures that are not uint8 (N, bands, size, size) of the network."""
    wanted = (len(net.bands), net.size, net.size)
    if pictures.dtype != np.uint8 or pictures.shape[1:] != wanted or not len(pictures):
        raise RecipeError(
            f"the network sees pictures uint8 (N, {', '.join(map(str, wanted))}) of {', '.join(net.bands)}, at least "
            f"one; these are {pictures.dtype} {pictures.shape}"
        )
