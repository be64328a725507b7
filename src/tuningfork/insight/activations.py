"""Activations: what the units of chosen layers make of galaxies, as maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import BandError, RecipeError
from ..evaluate.bootstrap import Ints
from ..evaluate.plots import STYLE
from ..model.card import Card
from ..model.net import GalaxyNet
from .attributionplots import bare, short_id, show_galaxy
from .layers import BATCH, Layer, find_layer, outputs

if TYPE_CHECKING:
    from .exemplars import Exemplars


@dataclass(frozen=True, eq=False)
class Activations:
    """What layers give for N galaxies, whose ``pixels`` uint8 (N, bands, S, S) the network saw.

    ``maps`` holds by the layer's name float32 (N, units, side, side), or (N, units) where units have no place. Of a
    layer that looks at each galaxy several times, the first view is kept.
    """

    model: str
    ids: tuple[str, ...]
    pixels: NDArray[np.uint8]
    layers: tuple[Layer, ...]
    maps: Mapping[str, NDArray[np.float32]]

    def strongest(self, layer: str, row: int = 0, shown: int = 6) -> Ints:
        """The units of a layer that are largest anywhere in galaxy ``row``, largest first.

        Of units that tie, as at the ceiling of ReLU6, those first whose maps vary most.
        """
        values = self.maps[layer][row].reshape(self.maps[layer].shape[1], -1)
        return np.lexsort((-values.std(axis=1), -values.max(axis=1)))[:shown]

    def figure(self, row: int = 0, *, shown: int = 6, exemplars: Mapping[str, Exemplars] | None = None) -> Figure:
        """Galaxy ``row`` beside the maps of each layer's ``shown`` strongest units, with their numbers and scales.

        ``exemplars``, by the layer's name: under each map are the three galaxies that excite the unit most. Layers
        without places are left out. Raises :class:`RecipeError` where none has places.
        """
        drawn = [layer for layer in self.layers if self.maps[layer.name].ndim == 4]
        if not drawn:
            raise RecipeError(f"units of {', '.join(one.name for one in self.layers)} have no places to draw")
        beside = exemplars or {}
        heights = [1.75 + (1.0 if layer.name in beside else 0.0) for layer in drawn]
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(1.75 * (shown + 1), sum(heights) + 0.3), layout="constrained")
            figure.suptitle(f"{self.model}: {self.ids[row]}", x=0.01, ha="left", size=9.5, weight="bold")
            parts = figure.subfigures(len(drawn), 1, squeeze=False, height_ratios=heights)[:, 0]
            for layer, part in zip(drawn, parts, strict=True):
                below = beside.get(layer.name)
                grid = part.subplots(
                    2 if below else 1, shown + 1, squeeze=False, height_ratios=[1.75, 0.75] if below else None
                )
                for axes in grid.ravel():
                    bare(axes)
                show_galaxy(grid[0, 0], self.pixels[row])
                grid[0, 0].set_title(f"{layer.name}\n{layer.units} units of {layer.side}x{layer.side}", fontsize=7.5)
                for column, unit in enumerate(self.strongest(layer.name, row, shown), 1):
                    values = self.maps[layer.name][row, unit]
                    low, high = min(float(values.min()), 0.0), float(values.max())
                    grid[0, column].imshow(values, cmap="viridis", vmin=low, interpolation="nearest")
                    words = f"unit {unit}\n{low:.3g} to {high:.3g}"  # a colour bar each takes a second to draw
                    grid[0, column].set_title(words, fontsize=7.5, fontweight="normal")
                    if below:
                        _row_of(grid[1, column], below, int(unit))
        return figure


def _row_of(axes: Axes, found: Exemplars, unit: int) -> None:
    """The galaxies that excite a unit most, three side by side, with their ids below."""
    row = found.units.index(unit) if unit in found.units else None
    if row is None:
        return
    for number, identifier in enumerate(found.most[row][:3]):
        inset = axes.inset_axes((number / 3, 0.2, 0.32, 0.8))
        show_galaxy(inset, found.pictures[identifier])
        axes.text(number / 3 + 0.16, 0.12, short_id(identifier, 9), size=4.5, ha="center", va="top")


def activations(
    net: GalaxyNet,
    card: Card,
    pixels: NDArray[np.uint8],
    layers: Sequence[str | int],
    *,
    ids: Sequence[str] = (),
) -> Activations:
    """The outputs of layers, by name or number, for pictures uint8 (N, bands, size, size) as the network sees them.

    Raises :class:`RecipeError` for a layer that does not exist, which names the nearest, and :class:`BandError` for
    pictures of another shape.
    """
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (len(net.bands), net.size, net.size):
        raise BandError(
            f"the pictures are {pixels.dtype} {pixels.shape}; the model sees uint8 (N, {len(net.bands)}, {net.size}, "
            f"{net.size}), the bands {', '.join(net.bands)}"
        )
    chosen = tuple(find_layer(net, one) for one in layers)
    maps: dict[str, list[NDArray[np.float32]]] = {layer.name: [] for layer in chosen}
    for start in range(0, len(pixels), BATCH):
        for name, values in outputs(net, chosen, pixels[start : start + BATCH]).items():
            maps[name].append(values[:, 0])
    named = tuple(ids) or tuple(str(number) for number in range(len(pixels)))
    return Activations(card.name, named, pixels, chosen, {name: np.concatenate(some) for name, some in maps.items()})
