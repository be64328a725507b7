"""Attribution: which pixels of a galaxy carry an answer, by four methods, averaged over quarter turns."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ..errors import BandError, MissingExtra, RecipeError
from ..evaluate.bootstrap import Floats
from ..model.card import Card
from ..model.net import GalaxyNet
from ..model.weights import answer
from .attributionplots import draw
from .layers import Layer, find_layer, layers_of, recorded, spatial_hint, still, watched
from .targets import Target, find_target

Pixels = NDArray[np.uint8]
BATCH = 32  # pictures per call of the network; a change would move last bits
STEPS, MOST_PARTS = 12, 48  # of the path of integrated gradients: steps of one part, and parts
COMPLETE = 0.01  # share of the difference to which its sum must agree
SAMPLES, NOISE = 16, 0.15  # of SmoothGrad; noise as a share of the picture's range
COARSEST = 4  # cells a side that Grad-CAM's layer should have


@dataclass(frozen=True)
class Method:
    """One way of attribution: its title, a source, and whether its numbers have a sign, for and against the answer."""

    title: str
    source: str
    signed: bool


METHODS: dict[str, Method] = {
    "integrated_gradients": Method("integrated gradients", "Sundararajan, Taly & Yan 2017", True),
    "grad_cam": Method("Grad-CAM", "Selvaraju et al. 2017", False),
    "occlusion": Method("occlusion", "Zeiler & Fergus 2014", True),
    "smoothgrad": Method("SmoothGrad", "Smilkov et al. 2017", False),
}


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each pixel of a picture carries an answer.

    ``map`` (S, S) float64, rows from the top as in the picture; its units are those of the target's score per pixel for
    integrated gradients, per window for occlusion, per change of a pixel from 0 to 1 for SmoothGrad, and free for
    Grad-CAM. ``score`` is the target's of the picture, ``empty`` that of the baseline, ``chance`` the probability,
    share or value itself; means over the turns where it was turned. ``gap`` is by how much the sum of the map exceeds
    score - empty, as a share of it, for integrated gradients, else NaN. ``layer`` is Grad-CAM's. ``pixels`` uint8
    (bands, S, S) are what the network saw.
    """

    id: str
    model: str
    method: str
    target: Target
    map: Floats
    pixels: Pixels
    score: float
    empty: float
    chance: float
    gap: float = float("nan")
    layer: str = ""
    turned: bool = True

    @property
    def signed(self) -> bool:
        """Whether the map has numbers against the answer too."""
        return METHODS[self.method].signed

    @property
    def title(self) -> str:
        """The method, and what has to be known to read its map."""
        title = METHODS[self.method].title
        if self.layer:
            title = f"{title}, {self.layer}"
        incomplete = np.isfinite(self.gap) and abs(self.gap) > COMPLETE
        return f"{title}, sum off by {abs(self.gap):.0%}" if incomplete else title

    def figure(self) -> Figure:
        """The galaxy beside its map; see :func:`maps_figure` for several."""
        return maps_figure([self])


def maps_figure(found: Sequence[Attribution]) -> Figure:
    """A galaxy beside its maps, one panel per attribution, a row per target, on colour scales with numbers.

    Maps with a sign are drawn red for and blue against the answer, white at 0; others from dark to bright. Lines are
    the galaxy's isophotes. Raises :class:`RecipeError` without a map.
    """
    if not found:
        raise RecipeError("there is no map to draw")
    rows: dict[tuple[str, str], list[Attribution]] = {}
    for one in found:
        rows.setdefault((one.id, one.target.name), []).append(one)
    return draw(
        [
            (f"{row[0].id}\n" * bool(row[0].id) + f"{row[0].model}: {row[0].target.told(row[0].chance)}", row[0].pixels,
             [(one.title, one.map, one.signed) for one in row])
            for row in rows.values()
        ]
    )  # fmt: skip


def attribute(
    net: GalaxyNet,
    card: Card,
    pixels: Pixels,
    target: str | Target | None = None,
    method: str = "integrated_gradients",
    *,
    turns: bool = True,
    baseline: str = "sky",
    layer: str | int | None = None,
    id: str = "",
) -> Attribution:
    """The map of one galaxy for one answer, by a method of :data:`METHODS`, through captum.

    Args:
        pixels: uint8 (bands, size, size), as the network sees the galaxy.
        target: see :func:`~.targets.find_target`; None takes the likeliest class or first answer.
        turns: average the maps of the four quarter turns, each turned back, so that the map turns with the galaxy, bit
            for bit: it is that of the mean answer over the turns, which is the same for all four.
        baseline: what stands where no galaxy is: "sky", the median of each band over the outermost pixels, or "black".
        layer: Grad-CAM's; None: the last with places, at least 4 a side if there is one, which the answer depends on.

    Raises :class:`BandError` for pixels of another shape, :class:`RecipeError` for a method, answer, baseline or layer
    that does not exist, or Grad-CAM of a network without a spatial layer, and :class:`MissingExtra` without captum.
    """
    views, base = _views(net, pixels, turns, baseline)
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, 1, 0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(METHODS)}"
        raise RecipeError(f"there is no attribution '{method}': {hint}")
    if not isinstance(target, Target):
        turned = np.stack([np.rot90(pixels, k, (1, 2)) for k in range(len(views))])
        with still(net):
            answers = around(answer(net, turned).astype(np.float64)).astype(np.float32)
        target = find_target(net, card, target, answers=answers)
    with still(net):
        chosen = cam_layer(net, target, views, layer) if method == "grad_cam" else None
        maps = [_one(net, target, view, base, method, chosen) for view in views]
        score, chance = (np.array([float(f(net, view)) for view in views]) for f in (_scored(target), target.chance))
        empty = float(_scored(target)(net, base))
    back = np.stack([np.rot90(one, -k) for k, one in enumerate(maps)])
    mean, whole = around(back), float(around(score))
    gap = float("nan")
    if method == "integrated_gradients":
        gap = float(mean.sum() - (whole - empty)) / max(abs(whole - empty), 1e-6)
    told = ("" if chosen is None else chosen.name, turns)
    return Attribution(id, card.name, method, target, mean, pixels, whole, empty, float(around(chance)), gap, *told)


def around(values: NDArray[Any]) -> NDArray[Any]:
    """The mean over the first axis, of four turns or one, whose last bit does not depend on which turn came first.

    Opposite turns are added first: (a + c) + (b + d) is b's turn's (b + d) + (c + a), since a + b is b + a.
    """
    if len(values) != 4:
        return values.mean(axis=0)
    return ((values[0] + values[2]) + (values[1] + values[3])) / 4


def sky(pixels: Pixels) -> Pixels:
    """The median of each band over the outermost pixels of a picture (bands, S, S): uint8 (bands,), rounded."""
    edge = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, 1:-1, 0], pixels[:, 1:-1, -1]], axis=1)
    return np.rint(np.median(edge, axis=1)).astype(np.uint8)


def _scored(target: Target) -> Callable[[GalaxyNet, Tensor], Tensor]:
    def score(net: GalaxyNet, x: Tensor) -> Tensor:
        with torch.no_grad():
            return target.score(net, x)

    return score


def _views(net: GalaxyNet, pixels: Pixels, turns: bool, baseline: str) -> tuple[list[Tensor], Tensor]:
    """The picture at its turns, and what stands for no galaxy, each float32 (1, bands, S, S) in 0..1."""
    wanted = (len(net.bands), net.size, net.size)
    if pixels.dtype != np.uint8 or pixels.shape != wanted:
        raise BandError(
            f"the picture is {pixels.dtype} {pixels.shape}; the model sees uint8 {wanted}, the bands "
            f"{', '.join(net.bands)}: render galaxies with the display of its card"
        )
    if baseline not in ("sky", "black"):
        raise RecipeError(f"the baseline is '{baseline}'; it may be 'sky' or 'black'")
    device = next(net.parameters()).device
    level = sky(pixels) if baseline == "sky" else np.zeros(len(pixels), np.uint8)
    pictures = [np.rot90(pixels, k, (1, 2)) for k in range(4 if turns else 1)]
    pictures.append(np.broadcast_to(level[:, None, None], pixels.shape))
    *views, base = [torch.from_numpy(np.array(one)[None]).to(device).float() / 255 for one in pictures]
    return views, base


def _captum() -> Any:
    try:
        return importlib.import_module("captum.attr")
    except ModuleNotFoundError as error:
        raise MissingExtra("captum", "insight") from error


def _one(net: GalaxyNet, target: Target, x: Tensor, base: Tensor, method: str, layer: Layer | None) -> Floats:
    """The map (S, S) of one picture as it stands."""
    attr, score = _captum(), lambda x: target.score(net, x)
    if method == "integrated_gradients":
        found = _integrated(attr.IntegratedGradients(score), score, x, base)
    elif method == "occlusion":
        window = max(net.size // 8, 1)
        stride = max(window * 3 // 4, 1)  # overlapping, and quicker than one pixel at a time
        shape = (len(net.bands), window, window)
        with torch.no_grad():
            found = attr.Occlusion(score).attribute(
                x, shape, (len(net.bands), stride, stride), base, perturbations_per_eval=BATCH
            )
        found = found[:, :1]  # a window covers all bands: each has the whole effect
    elif method == "smoothgrad":
        with torch.random.fork_rng():
            torch.manual_seed(0)  # the same noise at every turn, in the picture's own frame
            noisy = attr.NoiseTunnel(attr.Saliency(score))
            options = {"nt_samples": SAMPLES, "nt_samples_batch_size": SAMPLES, "abs": False}
            found = noisy.attribute(x, stdevs=NOISE * float(x.max() - x.min()), **options).abs()
    else:
        assert layer is not None
        with watched(net, [layer]) as probes:
            cam = attr.LayerGradCam(score, probes[layer.name]).attribute(
                x.clone().requires_grad_(), relu_attributions=True
            )
        found = attr.LayerAttribution.interpolate(cam, (net.size, net.size), "bilinear")
    return found.detach().sum(dim=1)[0].double().cpu().numpy()


def _integrated(method: Any, score: Callable[[Tensor], Tensor], x: Tensor, base: Tensor) -> Tensor:
    """Integrated gradients along the straight path from ``base`` to ``x``, cut finer where the answer turns sharply.

    Attributions of the parts of a straight path add up to that of the whole, and each sums to the difference between
    its ends. The part that fails in this most is halved until the whole fails by less than
    :data:`COMPLETE`, or there are :data:`MOST_PARTS`: an evenly finer path needs several times the steps.
    """

    def at(share: float) -> tuple[float, Tensor]:
        place = base + share * (x - base)
        with torch.no_grad():
            return float(score(place)), place

    def part(start: float, end: float) -> tuple[float, float, float, Tensor]:
        (low, here), (high, there) = at(start), at(end)
        found: Tensor = method.attribute(there, here, n_steps=STEPS, internal_batch_size=STEPS).double()
        return float(found.sum()) - (high - low), start, end, found

    parts, difference = [part(0.0, 1.0)], at(1.0)[0] - at(0.0)[0]
    allowed = max(0.9 * COMPLETE * abs(difference), 1e-6)
    while abs(sum(lacks for lacks, *_ in parts)) > allowed and len(parts) < MOST_PARTS:
        parts.sort(key=lambda one: abs(one[0]))
        _, start, end, _ = parts.pop()
        middle = (start + end) / 2
        parts += [part(start, middle), part(middle, end)]
    return torch.stack([found for *_, found in parts]).sum(dim=0)


def cam_layer(net: GalaxyNet, target: Target, views: Sequence[Tensor], layer: str | int | None = None) -> Layer:
    """Grad-CAM's layer: that of the name, else the last with places on which the answer depends.

    In a transformer that answers from its class token, the other tokens after the last attention count for nothing, so
    that it is the norm before; layers inside an attention are left out. Layers of fewer than 4 places a side are taken
    only where no other has them. Raises :class:`RecipeError` where the network has no spatial layer.
    """
    if layer is not None:
        return find_layer(net, layer, spatial=True)
    known = layers_of(net)
    layers = [one for one in known if one.spatial and not one.attention]
    if not layers:
        raise RecipeError(f"Grad-CAM needs a layer with places in the picture: {spatial_hint(net, known)}")
    with recorded(net, layers) as kept, torch.enable_grad():
        score = target.score(net, torch.cat(list(views)).requires_grad_()).sum()
        slopes = torch.autograd.grad(score, list(kept.values()), allow_unused=True)
    moved = {name for name, slope in zip(kept, slopes, strict=True) if slope is not None and bool(slope.any())}
    depended = [one for one in layers if one.name in moved] or layers
    return [one for one in depended if one.side >= COARSEST or one.side == max(d.side for d in depended)][-1]
