"""Filters: the kernels of a network's first layer as images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from ..errors import RecipeError
from ..evaluate.plots import STYLE
from ..model.card import Card
from ..model.net import GalaxyNet
from .attributionplots import bare, scale

MOST_DRAWN = 64


@dataclass(frozen=True, eq=False)
class Filters:
    """The kernels (n, bands, height, width) float32 of ``layer``, the first convolution, in the order of its units.

    They act on pixels from which the bands' means are subtracted, divided by their deviations.
    """

    model: str
    layer: str
    bands: tuple[str, ...]
    kernels: NDArray[np.float32]

    @property
    def images(self) -> NDArray[np.float32]:
        """Kernels of three bands as colours (n, height, width, 3) in 0..1: 1/2 + w / (2 max |w|), each by its max.

        Grey is 0. Raises :class:`RecipeError` where the bands are not three.
        """
        if len(self.bands) != 3:
            raise RecipeError(f"kernels of {len(self.bands)} bands, {', '.join(self.bands)}, are no colours")
        ends = np.abs(self.kernels).max(axis=(1, 2, 3), keepdims=True)
        return np.moveaxis(self.kernels / (2 * np.where(ends > 0, ends, 1)) + np.float32(0.5), 1, -1)

    def figure(self) -> Figure:
        """The first 64 kernels with their units' numbers: in colour where the bands are three, else a row per band.

        Rows of bands are red above and blue below 0, all on one scale.
        """
        shown = self.kernels[:MOST_DRAWN]
        rest = f", the first {MOST_DRAWN} of {len(self.kernels)}" if len(self.kernels) > MOST_DRAWN else ""
        with matplotlib.rc_context(STYLE):
            colour = len(self.bands) == 3
            columns = min(8 if colour else 16, len(shown))
            rows = math.ceil(len(shown) / columns) * (1 if colour else len(self.bands))
            figure = Figure(figsize=(0.85 * columns + 0.9, 0.95 * rows + 0.6), layout="constrained")
            grid = figure.subplots(rows, columns, squeeze=False)
            for axes in grid.ravel():
                bare(axes)
            if colour:
                for number, (axes, image) in enumerate(zip(grid.ravel(), self.images, strict=False)):
                    if number < len(shown):
                        axes.imshow(image, interpolation="nearest")
                        axes.set_title(str(number), fontsize=6.5, fontweight="normal", pad=2)
                note = f"{', '.join(self.bands)} as red, green, blue; grey is 0; each on its own scale"
            else:
                self._draw_bands(figure, grid, shown)
                note = "a row per band; red above, blue below 0, one scale for all"
            figure.suptitle(f"{self.model}: kernels of {self.layer}{rest}", x=0.01, ha="left", size=9.5, weight="bold")
            figure.supxlabel(note, fontsize=7.5, x=0.01, ha="left")
        return figure

    def _draw_bands(self, figure: Figure, grid: NDArray[np.object_], shown: NDArray[np.float32]) -> None:
        end = float(np.abs(shown).max()) or 1.0
        columns, image = grid.shape[1], None
        for number, kernel in enumerate(shown):
            for band, plane in enumerate(kernel):
                axes = grid[number // columns * len(self.bands) + band, number % columns]
                image = axes.imshow(plane, cmap="RdBu_r", vmin=-end, vmax=end, interpolation="nearest")
                if band == 0:
                    axes.set_title(str(number), fontsize=6.5, fontweight="normal", pad=2)
                if number % columns == 0:
                    axes.set_ylabel(self.bands[band], fontsize=7, rotation=0, ha="right", va="center")
        scale(figure, image, grid.ravel().tolist(), True)


def filters(net: GalaxyNet, card: Card) -> Filters:
    """The kernels of the first convolution that sees all bands; a transformer's is that of its patches.

    Raises :class:`RecipeError` where a network has none.
    """
    for name, module in net.backbone.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == len(net.bands) and module.groups == 1:
            kernels = module.weight.detach().float().cpu().numpy().copy()
            return Filters(card.name, name, net.bands, kernels)
    raise RecipeError(f"'{net.backbone_name}' has no convolution that sees its {len(net.bands)} bands")
