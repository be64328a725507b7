"""Layers: what those of a network are called, how their outputs lie, and how to watch them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import RecipeError
from ..model.net import GalaxyNet

MAPS, CHANNELS_LAST, TOKENS, VECTOR = "maps", "maps, channels last", "tokens", "vector"
BATCH = 32  # pictures per call of the network
_MOST_PREFIX = 8  # tokens before those of the picture: class, distillation, a few registers
_SAME = (nn.Identity, nn.Dropout)  # give on what they are given


@dataclass(frozen=True)
class Layer:
    """One layer of a network: its ``number`` in the order in which outputs are ready, and its ``name``.

    ``layout`` says how its output lies: "maps" (N, units, side, side), "maps, channels last" (N, side, side, units),
    "tokens" (N, prefix + side^2, units), where a transformer's ``prefix`` tokens have no place, or "vector" (N, units).
    ``side`` is 0 for vectors. ``views``: how often the layer sees each galaxy: 1, but in networks that look at several
    parts of a picture with the same weights. ``kind`` is the module's class.
    """

    number: int
    name: str
    kind: str
    layout: str
    units: int
    side: int = 0
    views: int = 1
    prefix: int = 0
    attention: bool = False  # inside an attention, where tokens are queries, keys and values

    @property
    def spatial(self) -> bool:
        """Whether its units have places that are places in the picture."""
        return self.side > 1 and self.views == 1

    def as_maps(self, out: Tensor) -> Tensor:
        """The layer's output as (N views, units, side, side), or (N views, units) where it has no places."""
        if self.layout == CHANNELS_LAST:
            return out.permute(0, 3, 1, 2)
        if self.layout == TOKENS:
            return out[:, self.prefix :].transpose(1, 2).unflatten(2, (self.side, self.side))
        return out.flatten(1) if self.layout == VECTOR else out

    def put_back(self, maps: Tensor, out: Tensor) -> Tensor:
        """The inverse of :meth:`as_maps`; ``out`` gives the tokens that have no place, and the shape.

        A copy, since the next layer may work in place (ReLU), which would change what is watched.
        """
        if self.layout == CHANNELS_LAST:
            return maps.permute(0, 2, 3, 1).clone()
        if self.layout == TOKENS:
            return torch.cat([out[:, : self.prefix], maps.flatten(2).transpose(1, 2)], dim=1)
        return maps.reshape(out.shape).clone()


def layers_of(net: GalaxyNet) -> tuple[Layer, ...]:
    """The layers of a network whose output is one tensor, in the order in which they are ready, the last layer last.

    Names are those of the backbone's modules ("conv1", "layer2.0.bn1"), and "last". Dropout, and modules whose output
    has no known layout, are left out. Of a layer that is called repeatedly, the last call counts. Found by one look at
    two black pictures. Where channels and sides are equally many, maps are taken to come before channels last.
    """
    found: dict[str, Layer] = {}
    inside = [name for name, module in net.backbone.named_modules() if name and hasattr(module, "num_heads")]
    prefix: Any = next((m.num_prefix_tokens for m in net.backbone.modules() if hasattr(m, "num_prefix_tokens")), None)

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        within = any(name == one or name.startswith(f"{one}.") for one in inside)

        def hook(module: nn.Module, given: Any, out: Any) -> None:
            layer = _described(name, module, out, within, prefix) if isinstance(out, Tensor) else None
            found.pop(name, None)
            if layer is not None:
                found[name] = layer

        return hook

    with ExitStack() as stack, torch.inference_mode():
        stack.enter_context(still(net))
        for name, module in _modules(net).items():
            stack.callback(module.register_forward_hook(note(name)).remove)
        device = next(net.parameters()).device
        net(torch.zeros(2, len(net.bands), net.size, net.size, device=device))
    return tuple(Layer(number, *_told(layer)) for number, layer in enumerate(found.values()))


def _told(layer: Layer) -> list[Any]:
    return [getattr(layer, key) for key in list(Layer.__dataclass_fields__)[1:]]


def _modules(net: GalaxyNet) -> dict[str, nn.Module]:
    inner = {name: one for name, one in net.backbone.named_modules() if name and not isinstance(one, _SAME)}
    return {**inner, "last": net.last}


def _described(name: str, module: nn.Module, out: Tensor, attention: bool, prefix: int | None) -> Layer | None:
    """The layer whose output for two galaxies is ``out``; None where nobody can tell what its axes are."""
    kind, shape = type(module).__name__, tuple(out.shape)
    if shape[0] % 2 or len(shape) < 2:
        return None
    views = shape[0] // 2
    if len(shape) == 2 or shape[2:] == (1, 1):
        return Layer(0, name, kind, VECTOR, shape[1], views=views, attention=attention)
    if len(shape) == 4 and not attention:  # inside it they are (N, heads, tokens, ...)
        on_last = type(module) in (nn.Linear, nn.LayerNorm) or shape[2] != shape[3]
        if shape[1] == shape[2] and on_last:
            return Layer(0, name, kind, CHANNELS_LAST, shape[3], shape[1], views)
        if shape[2] == shape[3]:
            return Layer(0, name, kind, MAPS, shape[1], shape[2], views)
    if len(shape) == 3:
        for before in [prefix] if prefix is not None else range(_MOST_PREFIX):
            side = math.isqrt(max(shape[1] - before, 0))
            if side > 1 and side**2 + before == shape[1]:
                return Layer(0, name, kind, TOKENS, shape[2], side, views, before, attention)
    return None


def find_layer(net: GalaxyNet, name: str | int, *, spatial: bool = False) -> Layer:
    """The layer of that name, or number in :func:`layers_of`; ``spatial``: only one whose units have places will do.

    Raises :class:`RecipeError` that names the nearest layers.
    """
    layers = layers_of(net)
    known = {layer.name: layer for layer in layers}
    asked = str(name).removeprefix("backbone.")
    number = int(asked) if asked.lstrip("-").isdigit() and asked not in known else None
    if number is not None and -len(layers) <= number < len(layers):
        found = layers[number]
    elif asked in known:
        found = known[asked]
    else:
        near = difflib.get_close_matches(asked, known, 3, 0.4) or list(known)[:3]
        raise RecipeError(
            f"'{net.backbone_name}' has no layer '{name}'; the nearest are {', '.join(near)}; its {len(layers)} layers "
            f"are numbered from 0 ({layers[0].name}) to {len(layers) - 1} ({layers[-1].name})"
        )
    if spatial and not found.spatial:
        raise RecipeError(f"layer '{found.name}' has no places in the picture: {spatial_hint(net, layers)}")
    return found


def spatial_hint(net: GalaxyNet, layers: Sequence[Layer]) -> str:
    """Which layers of a network have places, for a message."""
    names = [layer.name for layer in layers if layer.spatial]
    if not names:
        return f"no layer of '{net.backbone_name}' has; integrated gradients, SmoothGrad and occlusion need none"
    return f"those that have are {', '.join(names if len(names) <= 8 else [*names[:4], '...', *names[-4:]])}"


@contextmanager
def still(net: GalaxyNet) -> Iterator[GalaxyNet]:
    """The network without dropout and without gradients of its weights, as it was again afterwards."""
    training = {module: module.training for module in net.modules()}
    wanted = {weight: weight.requires_grad for weight in net.parameters()}
    try:
        yield net.eval().requires_grad_(False)
    finally:
        for module, was in training.items():
            module.training = was
        for weight, was in wanted.items():
            weight.requires_grad_(was)


@contextmanager
def watched(net: GalaxyNet, layers: Sequence[Layer]) -> Iterator[dict[str, nn.Module]]:
    """For each layer, by name, a module through which its output passes as :meth:`Layer.as_maps` gives it.

    Hooks on these modules see maps whatever the layout, and gradients flow through them; answers stay as they are.
    """
    probes: dict[str, nn.Module] = {layer.name: nn.Identity() for layer in layers}
    modules = _modules(net)

    def through(layer: Layer) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        return lambda module, given, out: layer.put_back(probes[layer.name](layer.as_maps(out)), out)

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(modules[layer.name].register_forward_hook(through(layer)).remove)
        yield probes


@contextmanager
def recorded(net: GalaxyNet, layers: Sequence[Layer]) -> Iterator[dict[str, Tensor]]:
    """The outputs of layers, by name, as :meth:`Layer.as_maps` gives them, of each call of the network inside."""
    kept: dict[str, Tensor] = {}
    with watched(net, layers) as probes, ExitStack() as stack:
        for name, probe in probes.items():
            keep = lambda module, given, out, name=name: kept.update({name: out})  # noqa: E731
            stack.callback(probe.register_forward_hook(keep).remove)
        yield kept


def outputs(net: GalaxyNet, layers: Sequence[Layer], pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """By the layer's name float32 (N, views, units, side, side), or (N, views, units), of one batch of pictures."""
    device = next(net.parameters()).device
    with still(net), torch.inference_mode(), recorded(net, layers) as kept:
        net(torch.from_numpy(np.ascontiguousarray(pixels)).to(device).float() / 255)
        return {
            layer.name: kept[layer.name].float().cpu().unflatten(0, (len(pixels), layer.views)).numpy()
            for layer in layers
        }
