"""Building blocks: which units of a layer carry an answer for a galaxy, where in it, and what each of them sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import RecipeError
from ..evaluate.plots import STYLE
from ..model.net import GalaxyNet
from .layers import still
from .objective import Objective, check_objectives, check_pictures, layer_outputs
from .visualise import Pictures, Visualisation, show, visualise


@dataclass(frozen=True, eq=False)
class Blocks:
    """What the units of ``layer`` contribute to the raw output ``value`` of ``answer`` for ``galaxy``.

    ``contributions`` (channels,) of all units; of the ``units`` (n,) that contribute most, ``maps`` (n, H, W) of where
    in the galaxy (1, 1 for a layer without positions), which sum to their contributions, and what excites them.
    """

    layer: str
    answer: str
    galaxy: Pictures
    value: float
    contributions: NDArray[np.float32]
    units: NDArray[np.int64]
    maps: NDArray[np.float32]
    seen: Visualisation

    def figure(self) -> Figure:
        """Each unit as a column: what excites it, above where in the galaxy it speaks for (red) or against (blue)."""
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(1.8 * (1 + len(self.units)), 4.3), layout="constrained")
            grid = figure.subplots(2, 1 + len(self.units), squeeze=False)
            show(grid[0, 0], self.galaxy, self.seen.bands)
            grid[0, 0].set_title(f"{self.answer}: {self.value:.3g}\nbefore the head", fontsize=8)
            grid[1, 0].set_axis_off()
            largest = float(np.abs(self.maps).max()) or 1.0
            side = self.galaxy.shape[-1]
            for column, (unit, place, picture) in enumerate(
                zip(self.units, self.maps, self.seen.pictures, strict=True), 1
            ):
                show(grid[0, column], picture, self.seen.bands)
                told = f"{self.layer}, {unit}\n{self.contributions[unit]:+.3g}"
                grid[0, column].set_title(told, fontsize=8)
                show(grid[1, column], self.galaxy, self.seen.bands)
                grid[1, column].imshow(
                    place, cmap="RdBu_r", vmin=-largest, vmax=largest, alpha=0.55, extent=(0, side, side, 0)
                )
        return figure


def contributions(
    net: GalaxyNet, galaxy: Pictures, answer: str, layer: str
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
    """How much each unit of ``layer`` adds to the raw output z of ``answer`` for a galaxy uint8 (bands, size, size).

    Gradient times activation, a_c = sum_xy A_cxy dz/dA_cxy: the first-order effect of taking the unit away (Olah et
    al. 2018, "The Building Blocks of Interpretability", Distill, doi:10.23915/distill.00010). After the layer's mean
    over positions and a linear last layer it is exact: sum_c a_c = z less the bias. Returns z, a (channels,) and the
    terms of the sum (channels, H, W), (channels, 1, 1) of a layer without positions. Raises what
    :func:`~tuningfork.insight.objective.check_objectives` raises.
    """
    objectives = (Objective(answer=answer), Objective(layer))
    check_pictures(net, galaxy[None])
    layers = check_objectives(net, objectives)
    if layers[layer].views > 1:
        raise RecipeError(f"layer '{layer}' looks at {layers[layer].views} parts of a galaxy: choose one behind them")
    x = torch.from_numpy(np.ascontiguousarray(galaxy)).float()[None] / 255
    with still(net):
        outputs = layer_outputs(net, x.requires_grad_(), layers)
    z = outputs[""][0, net.head.names.index(answer)]
    out = outputs[layer]
    (gradient,) = torch.autograd.grad(z, [out])
    terms = (gradient * out)[0].detach()
    terms = terms.reshape(len(terms), *(terms.shape[1:] or (1, 1)))
    return float(z.detach()), terms.sum(dim=(1, 2)).numpy(), terms.numpy()


def building_blocks(
    net: GalaxyNet,
    galaxy: Pictures,
    answer: str,
    layer: str,
    galaxies: Pictures,
    *,
    units: int = 6,
    steps: int = 128,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Blocks:
    """The ``units`` of ``layer`` that contribute most to ``answer`` for a galaxy, for or against, and their pictures.

    Contributions are those of :func:`contributions`, pictures those of
    :func:`~tuningfork.insight.visualise.visualise` (``galaxies``, ``steps`` and ``seed`` as there). Raises what both
    raise, and :class:`RecipeError` for fewer than one unit.
    """
    if units < 1:
        raise RecipeError(f"units is {units}: at least 1 is shown")
    value, summed, terms = contributions(net, galaxy, answer, layer)
    chosen = np.argsort(-np.abs(summed), kind="stable")[:units]
    objectives = [Objective(layer, int(unit)) for unit in chosen]
    seen = visualise(net, objectives, galaxies, steps=steps, seed=seed, progress=progress)
    return Blocks(layer, answer, galaxy, value, summed, chosen, terms[chosen], seen)
