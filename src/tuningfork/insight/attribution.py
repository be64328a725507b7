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
PARTS, MOST_PARTS, SPLIT = 16, 256, 4  # of the path of integrated gradients: at first, at most, split at a time
LOOKS = 24  # places along it at which the answer is asked for first
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
    quick: bool = False,
) -> Attribution:
    """The map of one galaxy for one answer, by a method of :data:`METHODS`, through captum.

    Args:
        pixels: uint8 (bands, size, size), as the network sees the galaxy.
        target: see :func:`~.targets.find_target`; None takes the likeliest class or first answer.
        turns: average the maps of the four quarter turns, each turned back, so that the map turns with the galaxy, bit
            for bit: it is that of the mean answer over the turns, which is the same for all four.
        baseline: what stands where no galaxy is: "sky", the median of each band over the outermost pixels, or "black".
        layer: Grad-CAM's; None: the last with places, at least 4 a side if there is one, which the answer depends on.
        quick: coarser, for comparing maps: integrated gradients in 8 even steps, whose sum is not checked, and
            occlusion by windows side by side.

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
        if method == "integrated_gradients":
            maps = _integrated(net, target, views, base, quick)
        else:
            maps = [_one(net, target, view, base, method, chosen, quick) for view in views]
        score, chance = (np.array([float(f(net, view)) for view in views]) for f in (_scored(target), target.chance))
        empty = float(_scored(target)(net, base))
    back = np.stack([np.rot90(one, -k) for k, one in enumerate(maps)])
    mean, whole = around(back), float(around(score))
    gap = float("nan")
    if method == "integrated_gradients" and not quick:
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


def _one(
    net: GalaxyNet, target: Target, x: Tensor, base: Tensor, method: str, layer: Layer | None, quick: bool
) -> Floats:
    """The map (S, S) of one picture as it stands."""
    attr, score = _captum(), lambda x: target.score(net, x)
    if method == "occlusion":
        window = max(net.size // 8, 1)
        stride = window if quick else max(window * 3 // 4, 1)  # overlapping, and quicker than one pixel at a time
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


def _integrated(net: GalaxyNet, target: Target, views: Sequence[Tensor], base: Tensor, quick: bool) -> list[Floats]:
    """The integrated gradients (S, S) of pictures at their turns, whose mean is complete to :data:`COMPLETE`.

    Each turn is made complete by itself, for its map must not depend on which turn came first; where answers of the
    turns differ in sign their mean is small, and all turns are made more exact.
    """
    method = _captum().IntegratedGradients(lambda x: target.score(net, x))
    if quick:
        found = [method.attribute(x, base, n_steps=8, method="riemann_middle", internal_batch_size=8) for x in views]
        return [one.sum(dim=1)[0].double().cpu().numpy() for one in found]
    paths = [_Path(method, _scored(target), net, view, base) for view in views]
    for share in (2, 0.9, 0.3, 0.1):  # what turns lack has no common sign: their mean lacks less
        for path in paths:
            path.refine(max(share * COMPLETE * abs(path.difference), 1e-6))
        lacks, whole = (
            abs(float(around(np.array(one)))) for one in ([p.lack for p in paths], [p.difference for p in paths])
        )
        if lacks <= 0.95 * COMPLETE * whole:
            break
    return [path.map for path in paths]


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a path, its ends as shares of it, the answer's score at both, and its integrated gradients (S, S)."""

    start: float
    end: float
    low: float
    high: float
    map: Floats

    @property
    def lack(self) -> float:
        return float(self.map.sum()) - (self.high - self.low)


class _Path:
    """The straight path of one picture from ``base`` to ``x``, in parts that are short where the answer changes.

    A part from a to b gets (b - a) times the gradient in its middle, which falls short of the difference between the
    answers at its ends by something that is known. So the parts that lack most are cut in three, whose middle one
    has its gradient already, until the sum over all is as near as was asked for.
    """

    def __init__(
        self, method: Any, score: Callable[[GalaxyNet, Tensor], Tensor], net: GalaxyNet, x: Tensor, base: Tensor
    ) -> None:
        self.method, self.score, self.net, self.x, self.base = method, score, net, x, base
        looks = np.linspace(0, 1, LOOKS + 1) ** 1.5  # faint galaxies change most
        change = np.abs(np.diff(self._scores(looks)))
        weight = change / max(change.sum(), 1e-12) + np.diff(looks)  # half by the answer's change, half by length
        edges = np.interp(np.linspace(0, weight.sum(), PARTS + 1), np.cumsum([0, *weight]), looks)
        edges[0], edges[-1] = 0.0, 1.0
        at = self._scores(edges)
        self.difference = float(at[-1] - at[0])
        self.parts = self._parts(edges[:-1], edges[1:], at[:-1], at[1:])

    @property
    def lack(self) -> float:
        """By how much the sum of the map exceeds the difference between the ends."""
        return float(sum(part.lack for part in self.parts))

    @property
    def map(self) -> Floats:
        """The sum over all parts and bands, (S, S)."""
        return np.asarray(np.sum([part.map for part in self.parts], axis=0), np.float64)

    def refine(self, allowed: float) -> None:
        """Cut parts until no more than ``allowed`` is lacking, or there are :data:`MOST_PARTS`."""
        while abs(self.lack) > allowed and len(self.parts) < MOST_PARTS:
            self.parts.sort(key=lambda part: -abs(part.lack))
            cut, self.parts = self.parts[:SPLIT], self.parts[SPLIT:]
            start, end, low, high = (np.array([getattr(p, k) for p in cut]) for k in ("start", "end", "low", "high"))
            third = (end - start) / 3
            left, right = start + third, end - third
            lower, upper = self._scores(np.concatenate([left, right])).reshape(2, -1)
            middle = zip(left, right, lower, upper, (part.map / 3 for part in cut), strict=True)
            self.parts += [_Part(float(a), float(b), float(c), float(d), kept) for a, b, c, d, kept in middle]
            outer = ((start, right), (left, end), (low, upper), (lower, high))
            self.parts += self._parts(*(np.concatenate(pair) for pair in outer))

    def _parts(self, start: Floats, end: Floats, low: Floats, high: Floats) -> list[_Part]:
        """Parts between shares of the path with the answers there, the gradients of all at once."""
        found = self.method.attribute(self._places(end), self._places(start), n_steps=1)  # in the middle
        maps = found.detach().double().sum(dim=1).cpu().numpy()
        ends = zip(start.tolist(), end.tolist(), low.tolist(), high.tolist(), maps, strict=True)
        return [_Part(*one) for one in ends]

    def _places(self, shares: Floats) -> Tensor:
        share = torch.from_numpy(shares).to(self.x)[:, None, None, None]
        return self.base + share * (self.x - self.base)

    def _scores(self, shares: Floats) -> Floats:
        places = self._places(shares)
        return torch.cat([self.score(self.net, some) for some in places.split(BATCH)]).double().cpu().numpy()


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
