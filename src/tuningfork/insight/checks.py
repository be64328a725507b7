"""Checks of a map: does it change when the network forgets, and does the answer go when its pixels do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from ..evaluate.bootstrap import Floats
from ..evaluate.plots import COLOURS, STYLE
from ..model.card import Card
from ..model.net import GalaxyNet
from .attribution import BATCH, METHODS, Attribution, attribute, sky
from .attributionplots import bare, isophotes, show_map
from .layers import layers_of, still
from .targets import VALUE

DEPENDS = 0.5  # rank correlation with the map of a random network, below which a map depends on what was learnt
CHANCE = 0.05  # of a map that tells nothing to pass, at most


@dataclass(frozen=True, eq=False)
class Randomisation:
    """Maps (stages, S, S) of a network whose layers are made random from the last on; the first is the trained one's.

    ``stages`` names the layers down to which the weights are random, "" for the first. ``correlation`` (stages) is
    Spearman's with the first map, of the numbers with their signs; 0 where a map is the same everywhere.
    """

    of: Attribution
    stages: tuple[str, ...]
    maps: Floats
    correlation: Floats

    @property
    def passed(self) -> bool:
        """Whether the map of the wholly random network is another: a correlation within 0.5 of 0, our choice."""
        return bool(abs(self.correlation[-1]) < DEPENDS)

    def figure(self) -> Figure:
        """The maps, each on its own scale, with their correlations."""
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(1.7 * len(self.maps), 2.5), layout="constrained")
            verdict = "depends on what was learnt" if self.passed else "hardly depends on what was learnt"
            title = f"{METHODS[self.of.method].title} {verdict}: weights made random from the last layer on"
            figure.suptitle(title, x=0.01, ha="left", size=9.5, weight="bold")
            for axes, stage, values, how in zip(
                figure.subplots(1, len(self.maps), squeeze=False)[0],
                self.stages,
                self.maps,
                self.correlation,
                strict=True,
            ):
                show_map(axes, values, self.of.signed)
                isophotes(axes, self.of.pixels, "#444444" if self.of.signed else "white")
                axes.set_title(f"to {stage}" if stage else "trained", fontsize=7, fontweight="normal")
                bare(axes).set_xlabel(f"rank correlation {how:.2f}", fontsize=7)
        return figure


def randomisation(
    net: GalaxyNet,
    card: Card,
    found: Attribution,
    *,
    stages: int = 5,
    seed: int = 0,
    baseline: str = "sky",
    turns: bool = False,
) -> Randomisation:
    """The cascading randomisation test of Adebayo et al. 2018 (arXiv:1810.03292): a map must change with the weights.

    From the last layer on, in ``stages`` steps of as many layers each, weights are made random and the attribution
    ``found`` is made again, of the same answer. All maps, the trained network's too, are the quick ones of
    :func:`~.attribution.attribute`, of the picture as it stands, or with ``turns`` averaged over them. The numbers of
    each tensor are shuffled, so that their distribution stays what it was and outputs neither vanish nor explode. The
    network is as it was afterwards.
    """
    names = {name: module for name, module in [*net.backbone.named_modules(), ("last", net.last)] if name}
    order = [one.name for one in layers_of(net) if any(True for _ in names[one.name].parameters(recurse=False))]
    parts = [part for part in np.array_split(np.array(order[::-1]), min(stages, len(order))) if len(part)]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    options: dict[str, Any] = {"turns": turns, "baseline": baseline, "layer": found.layer or None, "quick": True}
    again = partial(attribute, net, card, found.pixels, found.target, found.method, **options)
    maps = [again().map]
    generator = torch.Generator().manual_seed(seed)
    try:
        for part in parts:
            for name in part:
                for weight in names[str(name)].parameters(recurse=False):
                    _shuffle(weight, generator)
            maps.append(again().map)
    finally:
        net.load_state_dict(before)
    correlation = np.array([rank_correlation(maps[0], one) for one in maps])
    return Randomisation(found, ("", *(str(part[-1]) for part in parts)), np.stack(maps), correlation)


def _shuffle(weight: torch.nn.Parameter, generator: torch.Generator) -> None:
    order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
    with torch.no_grad():
        weight.copy_(weight.flatten()[order].reshape(weight.shape))


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's correlation of two maps of one shape; 0 where one is the same everywhere."""
    ranks = [rankdata(one.ravel()) for one in (first, second)]
    if any(np.ptp(one) == 0 for one in ranks):
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


@dataclass(frozen=True, eq=False)
class Deletion:
    """The answer as pixels are taken away (``deleted``) or put back (``inserted``), the map's largest first.

    Both (steps,) are against ``shares`` (steps,) of the pixels. Row 0 of ``others`` (1 + displaced, 2) holds the areas
    under the two curves for the order of brightness, the rest those for the map displaced.
    """

    of: Attribution
    shares: Floats
    deleted: Floats
    inserted: Floats
    others: Floats

    @property
    def deletion(self) -> float:
        """The area under the deletion curve: the smaller, the better the map found what the answer needs."""
        return float(np.trapezoid(self.deleted, self.shares))

    @property
    def insertion(self) -> float:
        """The area under the insertion curve: the larger, the better the map found what suffices."""
        return float(np.trapezoid(self.inserted, self.shares))

    @property
    def beats(self) -> float:
        """The share of displaced maps whose insertion less deletion is below the map's."""
        return float((self.others[1:, 1] - self.others[1:, 0] < self.insertion - self.deletion).mean())

    @property
    def passed(self) -> bool:
        """Whether the map tells more than where something might be: by chance it would beat so many in 5% or less.

        A map that tells nothing is one like the n displaced ones: it beats all but b of them with a chance of
        (b + 1) / (n + 1) (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585). Of 20 displaced maps all must be beaten
        (19 would do in 2 of 21); with fewer than 19 no map passes. A map that only shows where the galaxy is passes as
        well where the galaxy is in the middle: see :attr:`beats_brightness`.
        """
        n = len(self.others) - 1
        return (1 + round(n * (1 - self.beats))) / (1 + n) <= CHANCE

    @property
    def reach(self) -> float:
        """How far the answer falls from the galaxy to the empty sky, in shares of its scale; what maps can show."""
        return float((self.deleted[0] - self.deleted[-1]) / (self.of.target.high - self.of.target.low))

    @property
    def falls(self) -> bool:
        """Whether the answer has gone half of the way to that of the empty sky when half of the pixels are gone."""
        return bool(self.deleted[self.shares <= 0.5].min() <= (self.deleted[0] + self.deleted[-1]) / 2)

    @property
    def beats_brightness(self) -> bool:
        """Whether the map does better than taking pixels by how far they are from the sky."""
        return bool(self.insertion - self.deletion > self.others[0, 1] - self.others[0, 0])

    def figure(self) -> Figure:
        """Both curves, with the areas under them."""
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(5.4, 3.4), layout="constrained")
            axes = figure.subplots()
            axes.plot(self.shares, self.deleted, color=COLOURS[1], label=f"deletion, area {self.deletion:.2f}")
            axes.plot(self.shares, self.inserted, color=COLOURS[0], label=f"insertion, area {self.insertion:.2f}")
            name = {VALUE: "value"}.get(self.of.target.scale, "probability or share of votes")
            axes.set(xlabel="share of pixels, the map's largest first", ylabel=name, xlim=(0, 1))
            light = self.others[0]
            beaten = f"beats {self.beats:.0%} of {len(self.others) - 1} displaced maps"
            words = f"{beaten}; by brightness the areas are {light[0]:.2f} and {light[1]:.2f}"
            axes.set_title(words, fontsize=8, fontweight="normal")
            title = f"{METHODS[self.of.method].title}: {self.of.target.words}"
            figure.suptitle(title, x=0.01, ha="left", size=9.5, weight="bold")
            axes.legend()
        return figure


def deletion(net: GalaxyNet, found: Attribution, *, steps: int = 6, displaced: int = 20, seed: int = 0) -> Deletion:
    """The deletion and insertion scores of Petsiuk, Das & Saenko 2018 (arXiv:1806.07421), and what they mean here.

    Pixels, all bands of one at once, are replaced by the sky, those with the largest numbers of the map first; for
    insertion they are put back into the galaxy smoothed by a Gaussian of a tenth of the side, as there. The answer is
    the probability, or the share of the votes; of an attribute the value, on its own scale.

    Both curves have ``steps`` + 1 points, closest where few pixels are replaced, at the shares (k / steps)^2.

    The areas alone tell little, since a network may fall for holes as such. So they are compared with those of the map
    moved to wrong places (turned by quarter turns, mirrored and shifted round the edge, at random): their texture is
    the same; and with taking pixels by their distance from the sky.
    """
    rng = np.random.default_rng(seed)
    light = np.abs(found.pixels.astype(np.float64) - sky(found.pixels)[:, None, None]).sum(axis=0)
    maps = [found.map, light, *(_moved(found.map, rng) for _ in range(displaced))]
    shares = np.linspace(0, 1, steps + 1) ** 2
    with still(net):
        curves = _curves(net, found, maps, shares)
    areas = np.asarray(np.trapezoid(curves, shares, axis=2), np.float64)
    return Deletion(found, shares, curves[0, 0], curves[0, 1], areas[1:])


def _moved(values: Floats, rng: np.random.Generator) -> Floats:
    side = len(values)
    turned = np.rot90(values, int(rng.integers(4)))
    turned = turned[::-1] if rng.integers(2) else turned
    return np.roll(turned, rng.integers(side // 4, side - side // 4, 2), (0, 1))


def _curves(net: GalaxyNet, found: Attribution, maps: Sequence[Floats], shares: Floats) -> Floats:
    """The answers (maps, 2, steps) as pixels go, and come, in the order of each map; ties in a fixed random order."""
    pixels, side = found.pixels.astype(np.float32), found.pixels.shape[-1]
    empty = np.broadcast_to(sky(found.pixels)[:, None, None], pixels.shape).astype(np.float32)
    blurred = np.stack([gaussian_filter(band, side / 10, mode="nearest") for band in pixels])
    whole, without, smooth = _answers(net, found, np.stack([pixels, empty, blurred]))
    ties = np.random.default_rng(0).permutation(side**2)
    curves = np.empty((len(maps), 2, len(shares)))
    curves[:, 0, 0], curves[:, 0, -1], curves[:, 1, 0], curves[:, 1, -1] = whole, without, smooth, whole
    pictures, numbers = [], []
    for number, values in enumerate(maps if len(shares) > 2 else ()):
        place = np.empty(side**2, np.int64)
        place[np.lexsort((ties, -values.ravel()))] = np.arange(side**2)
        first = [(place < round(share * side**2)).reshape(side, side) for share in shares[1:-1]]
        pictures += [np.where(one, empty, pixels) for one in first] + [np.where(one, pixels, blurred) for one in first]
        numbers.append(number)
        if len(pictures) >= 2 * BATCH or number == len(maps) - 1:  # the network is quicker with many at once
            curves[numbers, :, 1:-1] = _answers(net, found, np.stack(pictures)).reshape(len(numbers), 2, -1)
            pictures, numbers = [], []
    return curves


def _answers(net: GalaxyNet, found: Attribution, pictures: NDArray[np.float32]) -> Floats:
    device = next(net.parameters()).device
    parts = torch.from_numpy(pictures / 255).to(device).split(BATCH)
    return torch.cat([found.target.chance(net, part) for part in parts]).double().cpu().numpy()
