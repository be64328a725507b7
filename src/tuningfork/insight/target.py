"""Targets: what of a network a picture is to excite (a unit, a whole layer, an answer), and how much it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import recipe
from ..errors import RecipeError
from ..model.net import GalaxyNet

_BATCH = 64


@dataclass(frozen=True)
class Target:
    """A unit ``Target("blocks.4", 17)``, a layer ``Target("blocks.4")``, or an answer ``Target(answer="merger")``.

    ``layer`` is a module of the network's backbone by its dotted name; ``channel`` counts from 0, None means all.
    """

    layer: str = ""
    channel: int | None = None
    answer: str = ""

    def __str__(self) -> str:
        if self.answer:
            return self.answer
        return self.layer if self.channel is None else f"{self.layer}, channel {self.channel}"


def check_targets(net: GalaxyNet, targets: Sequence[Target]) -> None:
    """Raise :class:`RecipeError`, naming the nearest, for a layer, channel or answer that the network has not.

    So does a target that names both a layer and an answer, or neither, and a layer without an output of channels.
    """
    if not targets:
        raise RecipeError("no target is given: name a layer, a unit or an answer, such as Target('blocks.4', 17)")
    for target in targets:
        if bool(target.layer) == bool(target.answer):
            raise RecipeError(f"a target is either of a layer or an answer, not {target!r}")
        if target.answer and target.answer not in net.head.names:
            near = recipe.nearest(target.answer, list(net.head.names))
            raise RecipeError(f"the model has no answer '{target.answer}'{near}: {', '.join(net.head.names)}")
    blank = torch.zeros(1, len(net.bands), net.size, net.size)
    with torch.no_grad():
        shapes = {name: tuple(out.shape) for name, out in layer_outputs(net, blank, targets).items()}
    for target in targets:
        if target.layer and target.channel is not None and not 0 <= target.channel < shapes[target.layer][1]:
            raise RecipeError(
                f"layer '{target.layer}' has {shapes[target.layer][1]} channels, counted from 0: there is no "
                f"{target.channel}"
            )


@contextmanager
def _caught(net: GalaxyNet, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What the named layers give, as the network runs."""
    modules = dict(net.backbone.named_modules())
    for name in names:
        if name not in modules or not name:
            near = recipe.nearest(name, [one for one in modules if one])
            raise RecipeError(f"the backbone '{net.backbone_name}' has no layer '{name}'{near}")
    caught: dict[str, Tensor] = {}

    def keep(name: str, out: Tensor) -> None:
        # an activation in place after it would change what is kept; adding 0 gives a tensor of its own in the graph
        caught[name] = out + 0

    hooks = [
        modules[name].register_forward_hook(lambda _module, _given, out, name=name: keep(name, out)) for name in names
    ]
    try:
        yield caught
    finally:
        for hook in hooks:
            hook.remove()


def layer_outputs(net: GalaxyNet, x: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
    """The outputs (N, channels) or (N, channels, H, W) of the targets' layers, and under "" the raw answers (N, K).

    ``x`` is float32 (N, bands, size, size) in 0..1. Raises :class:`RecipeError` for a layer that does not exist and
    for one whose output is of another shape.
    """
    names = list(dict.fromkeys(target.layer for target in targets if target.layer))
    with _caught(net, names) as caught:
        raw = net(x)
    for name in names:
        if name not in caught or caught[name].ndim not in (2, 4) or len(caught[name]) != len(x):
            shape = tuple(caught[name].shape) if name in caught else "none"
            raise RecipeError(
                f"layer '{name}' gives {shape} for pictures {tuple(x.shape)}, not (N, channels) or (N, channels, "
                "height, width): choose another"
            )
    return caught | {"": raw}


def excitation(net: GalaxyNet, outputs: dict[str, Tensor], target: Target) -> Tensor:
    """How much each picture excites a target, (N,), from :func:`layer_outputs`.

    An answer by the network's raw output z (before softmax, sigmoid or whatever the head makes of it); a unit by the
    mean of its channel over the positions; a whole layer by the mean of its squares, as deep dream has it.
    """
    if target.answer:
        return outputs[""][:, net.head.names.index(target.answer)]
    out = outputs[target.layer]
    return (out * out).flatten(1).mean(1) if target.channel is None else out[:, target.channel].flatten(1).mean(1)


def excitations(net: GalaxyNet, pictures: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.float32]:
    """How much pictures uint8 (N, bands, size, size), as the network sees them, excite targets: (N, targets).

    Raises what :func:`check_targets` raises, and :class:`RecipeError` for pictures of another shape.
    """
    check_pictures(net, pictures)
    check_targets(net, targets)
    found = np.empty((len(pictures), len(targets)), np.float32)
    with torch.inference_mode():
        for start in range(0, len(pictures), _BATCH):
            some = torch.from_numpy(np.ascontiguousarray(pictures[start : start + _BATCH])).float() / 255
            outputs = layer_outputs(net, some, targets)
            values = torch.stack([excitation(net, outputs, target) for target in targets], dim=1)
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
