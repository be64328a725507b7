"""Exemplars: the galaxies of a store that excite each unit of a layer most and least, and where in the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from .. import recipe
from ..baseline.pixels import render_rows, settled
from ..errors import BadCatalog, RecipeError
from ..evaluate.bootstrap import Floats, Ints
from ..evaluate.plots import STYLE
from ..galaxy.display import Display
from ..galaxy.records import Source
from ..model.card import Card
from ..model.net import GalaxyNet
from .attributionplots import bare, short_id, show_galaxy
from .layers import BATCH, Layer, find_layer, outputs

Progress = Callable[[int, int, str], None]
SHOWN = 6


@dataclass(frozen=True, eq=False)
class Exemplars:
    """For each of ``units`` (U) of ``layer`` the ids of the galaxies that excite it ``most`` and ``least``, in order.

    ``most_values`` and ``least_values`` (U, n) are the units' largest outputs anywhere in those galaxies;
    ``most_places`` (U, n, 2) are where, column and row in pixels of the picture that the network sees, the middle of
    the place; NaN in layers without places. ``pictures`` holds what the network saw by id, uint8 (bands, S, S).
    ``n`` galaxies were looked at, ``n_rejected`` could not be.
    """

    model: str
    layer: Layer
    units: tuple[int, ...]
    most: tuple[tuple[str, ...], ...]
    least: tuple[tuple[str, ...], ...]
    most_values: Floats
    least_values: Floats
    most_places: Floats
    pictures: Mapping[str, NDArray[np.uint8]]
    n: int
    n_rejected: int = 0

    def figure(self, shown: int = 8) -> Figure:
        """A row for each of the first ``shown`` units: the galaxies that excite it most, a gap, and those least.

        A circle marks where the unit is excited. Under each picture stand the galaxy's id and the unit's output.
        """
        units, each = self.units[:shown], self.most_values.shape[1]
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(1.2 * (2 * each) + 0.9, 1.5 * len(units) + 0.5), layout="constrained")
            ratios = [1.0] * each + [0.25] + [1.0] * each
            grid = figure.subplots(len(units), 2 * each + 1, squeeze=False, width_ratios=ratios)
            for axes in grid.ravel():
                bare(axes)
            for row, unit in enumerate(units):
                grid[row, 0].set_ylabel(f"unit {unit}", fontsize=8)
                for column in range(each):
                    self._draw(grid[row, column], self.most[row][column], self.most_values[row, column])
                    self._mark(grid[row, column], self.most_places[row, column])
                    self._draw(grid[row, each + 1 + column], self.least[row][column], self.least_values[row, column])
            grid[0, 0].set_title("most excited", fontsize=8.5)
            grid[0, each + 1].set_title("least excited", fontsize=8.5)
            title = f"{self.model}: layer {self.layer.name}, of {self.n:,} galaxies"
            rejected = f" ({self.n_rejected:,} rejected)" if self.n_rejected else ""
            figure.suptitle(title + rejected, x=0.01, ha="left", size=9.5, weight="bold")
        return figure

    def _draw(self, axes: Axes, identifier: str, value: float) -> None:
        show_galaxy(axes, self.pictures[identifier])
        axes.set_xlabel(f"{short_id(identifier, 20)}\n{value:.3g}", fontsize=5.5, labelpad=2)

    def _mark(self, axes: Axes, place: Floats) -> None:
        if np.isfinite(place).all():
            size = next(iter(self.pictures.values())).shape[-1]
            radius = max(size / self.layer.side, size / 12)
            axes.add_patch(Circle((place[0], place[1]), radius, fill=False, edgecolor="#F0E442", linewidth=1.0))


def exemplars(
    source: Source,
    net: GalaxyNet,
    card: Card,
    layer: str | int,
    *,
    units: Sequence[int] | None = None,
    ids: Sequence[str] | None = None,
    shown: int = SHOWN,
    threads: int = 0,
    progress: Progress | None = None,
) -> Exemplars:
    """Look at all galaxies of a source, or ``ids``, and keep those that excite units of a layer most and least.

    Args:
        layer: a name or number, see :func:`~.layers.layers_of`. A unit's excitement by a galaxy is its largest output
            anywhere in the picture; of galaxies that tie, see :func:`in_order`, the first counts.
        units: which; None: all.

    Galaxies are held a batch at a time. Raises :class:`RecipeError` for a layer or unit that does not exist,
    :class:`BandError` for a source of other bands, and :class:`BadCatalog` where no galaxy can be used.
    """
    found = find_layer(net, layer)
    chosen = list(range(found.units) if units is None else units)
    if wrong := [unit for unit in chosen if not 0 <= unit < found.units]:
        raise RecipeError(f"layer '{found.name}' has the units 0 to {found.units - 1}, not {wrong[:5]}")
    if shown < 1 or not chosen:
        raise RecipeError(f"{shown} galaxies of {len(chosen)} units were asked for: one or more of each")
    wanted = list(source.ids if ids is None else ids)
    display = settled(source, recipe.from_mapping(Display, card.display), wanted)
    values, means, places, kept = [], [], [], list[str]()
    for start in range(0, len(wanted), BATCH):
        rows = render_rows(source, wanted[start : start + BATCH], display, threads=threads)
        if rows.ids:
            largest, mean, where = excited(found, outputs(net, [found], rows.pixels)[found.name][:, :, chosen])
            values.append(largest)
            means.append(mean)
            places.append(where)
            kept += rows.ids
        if progress is not None:
            progress(min(start + BATCH, len(wanted)), len(wanted), f"layer {found.name}")
    if not kept:
        raise BadCatalog(f"none of {len(wanted)} galaxies of '{source.path}' can be used")
    excitement, where = np.concatenate(values), np.concatenate(places)  # (N, U), (N, U, 2)
    best, worst = in_order(excitement, np.concatenate(means), shown)  # (U, n) each
    again = [kept[index] for index in np.unique([best, worst])]
    pictures = render_rows(source, again, display, threads=threads)
    column = np.arange(len(chosen))[:, None]
    most, least = ([tuple(kept[one] for one in row) for row in rows] for rows in (best, worst))
    size = net.size / found.side if found.spatial else float("nan")
    return Exemplars(
        card.name, found, tuple(chosen), tuple(most), tuple(least), excitement[best, column], excitement[worst, column],
        (where[best, column] + 0.5) * size - 0.5, dict(zip(pictures.ids, pictures.pixels, strict=True)), len(kept),
        len(wanted) - len(kept),
    )  # fmt: skip


def in_order(largest: Floats, mean: Floats, shown: int) -> tuple[Ints, Ints]:
    """Rows (U, n) of the galaxies that excite each unit most, and least, of excitements (N, U).

    Units whose output is cut off, as by ReLU6, are excited equally by many galaxies: of these the one comes first whose
    ``mean`` over the whole picture is larger (for the least, smaller), then the one that stands first.
    """
    best = np.lexsort((-mean, -largest), axis=0)[:shown].T
    return best, np.lexsort((mean, largest), axis=0)[:shown].T


def excited(layer: Layer, values: NDArray[np.float32]) -> tuple[Floats, Floats, Floats]:
    """The largest and the mean output (N, U) of each unit in outputs (N, views, U, ...), and where the largest is.

    That is the column and row (N, U, 2), NaN for a layer without places.
    """
    by_unit = np.moveaxis(values, 1, 2)  # (N, U, views, ...)
    flat = by_unit.reshape(*by_unit.shape[:2], -1)
    where = np.full((*flat.shape[:2], 2), np.nan)
    if layer.spatial:
        down, right = np.divmod(flat.argmax(axis=2), layer.side)
        where = np.stack([right, down], axis=2).astype(np.float64)
    return flat.max(axis=2).astype(np.float64), flat.mean(axis=2, dtype=np.float64), where
