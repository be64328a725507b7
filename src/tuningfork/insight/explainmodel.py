"""The parts of explain that are of the model, or of many galaxies: filters, exemplars, classes from noise, curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..evaluate.bootstrap import Floats
from ..evaluate.plots import STYLE, line_style
from ..predict.inwords import plain
from .exemplars import Exemplars, in_order
from .explaincase import Case, answers_to, read
from .explainpage import WIDTH, Piece, Sketch, card_piece, heading
from .filters import filters
from .layers import Layer
from .objective import Objective
from .perturbation import PERTURBATIONS
from .targets import find_target
from .visualise import visualise

EACH = 4  # galaxies that excite a unit most, and least
MOST_PICTURES = 10  # answers that are visualised
MEAN_OF = 24  # galaxies over which curves are averaged


def among(case: Case, layer: Layer, units: Sequence[int], shown: int) -> Exemplars:
    """The galaxies compared with that excite units of a layer most and least."""
    chosen, mean, where = (one[:, units] for one in case.excitement[layer.name])
    best, worst = in_order(chosen, mean, shown)  # (U, n) each
    column = np.arange(len(units))[:, None]
    most, least = (tuple(tuple(case.ids[k] for k in row) for row in rows) for rows in (best, worst))
    size = case.net.size / layer.side if layer.spatial else float("nan")
    pictures = {case.ids[k]: case.pixels[k] for k in np.unique([best, worst])}
    return Exemplars(
        case.card.name, layer, tuple(units), most, least, chosen[best, column], chosen[worst, column],
        (where[best, column] + 0.5) * size - 0.5, pictures, len(case.ids),
    )  # fmt: skip


def first_layer(case: Case) -> Piece:
    """The kernels of the first layer."""
    found = filters(case.net, case.card)
    caption = (
        f"The {len(found.kernels)} kernels of the first layer, {found.layer}, with which the network looks at every "
        "place of a picture. Stripes answer to edges of that direction, blobs to spots, plain colours to colour."
    )
    blocks = (heading("The first layer"), Sketch(found.figure(), caption))
    return Piece(blocks, {"filters": {"layer": found.layer, "kernels": len(found.kernels)}})


def units_of_answers(case: Case, layer: Layer, most: int) -> list[tuple[int, str, float]]:
    """For each answer in turn the unit of a layer whose excitement goes with it best: (unit, answer, correlation).

    Pearson's, over the galaxies compared with; units and answers that never change are left out.
    """
    values, *_ = case.excitement[layer.name]
    answers = case.compared_answers.astype(np.float64)
    standard = [
        np.where(one.std(0) > 1e-9, (one - one.mean(0)) / np.maximum(one.std(0), 1e-9), 0) for one in (values, answers)
    ]
    together = standard[0].T @ standard[1] / len(values)  # (U, K)
    found: list[tuple[int, str, float]] = []
    order = np.argsort(-together, axis=0, kind="stable")
    for rank in range(len(order)):
        for column, name in enumerate(case.card.names):
            unit = int(order[rank, column])
            if len(found) < most and together[unit, column] > 0 and unit not in [one for one, _, _ in found]:
                found.append((unit, name, float(together[unit, column])))
        if len(found) >= most:
            break
    return found


def exemplary(case: Case) -> Piece:
    """The galaxies that excite units of the last layer with places most and least, and where."""
    layer = case.places()
    units = units_of_answers(case, layer, max(2 * case.effort.units, min(len(case.card.names), 8)))
    found = among(case, layer, [unit for unit, _, _ in units], EACH)
    goes = "; ".join(f"unit {unit} with {plain(name)} ({how:.2f})" for unit, name, how in units)
    caption = (
        f"Units of {layer.name}, the last layer with places, each with the galaxies of {len(case.ids):,} that "
        f"excite it most and least; the circle is where, the number the unit's output. Of galaxies that tie, those "
        "come first that excite it more over the whole picture. "
        f"They are those that go best with an answer (correlation): {goes}."
    )
    blocks = (heading("What its units look for"), Sketch(found.figure(len(units)), caption))
    told = [
        {"unit": unit, "answer": name, "correlation": how, "most": list(most), "least": list(least)}
        for (unit, name, how), most, least in zip(units, found.most, found.least, strict=True)
    ]
    return Piece(blocks, {"exemplars": {"layer": layer.name, "units": told}})


def visualised(case: Case) -> Piece:
    """Each answer as a picture made from noise."""
    names = case.targets or case.card.names[:MOST_PICTURES]
    known = [name for name in names if name in case.card.names]
    found = visualise(
        case.quicker,
        [Objective(answer=name) for name in known],
        case.colours,
        steps=case.effort.ascended,
        seed=case.seed,
    )
    more = len(case.card.names) - len(known)
    left = f" {more} further answers are not drawn." if more > 0 and not case.targets else ""
    caption = (
        f"Pictures made from noise that raise an answer as far as they can ({case.effort.ascended} steps), in the "
        f"colours of galaxies: what the network takes for each. The numbers are the answer before the head, for the "
        f"picture and for real galaxies.{left}"
    )
    blocks = (heading("Its idea of each answer"), Sketch(found.figure(5), caption))
    below = {name: float(value) for name, value in zip(known, found.share_below, strict=True)}
    return Piece(blocks, {"visualise": {"share of galaxies below": below}})


def mean_curves(case: Case) -> Piece:
    """How far answers move, on average over galaxies, as these are changed."""
    pixels, ids = case.pixels[:MEAN_OF], case.ids[:MEAN_OF]
    curves: dict[str, tuple[tuple[float, ...], Floats]] = {}
    first = answers_to(case, pixels)
    names = list(case.card.names[:1]) if case.head.is_attributes else []
    for kind, perturbation in PERTURBATIONS.items():
        steps = perturbation.strengths(len(case.card.bands))
        change = perturbation.prepare(pixels, ids, case.display)
        found = [answers_to(case, change(pixels, slice(0, len(pixels)), strength)) for strength in steps]
        curves[kind] = steps, np.array([_moved(case, first, one, names) for one in found])
    what = _measure(case)
    caption = (
        f"{what[0].upper()}{what[1:]}, over {len(ids)} galaxies, as they are changed more and more (means). "
        "Lines that stay low mean that the network does not care; galaxies look the same however they are turned, so "
        "rotation should stay low."
    )
    blocks = (heading("What changes its mind, over many galaxies"), Sketch(_drawn(curves, what), caption))
    told = {kind: {"strengths": list(steps), "moved": values.tolist()} for kind, (steps, values) in curves.items()}
    return Piece(blocks, {"mean sensitivity": {"galaxies": len(ids), "measure": what, "curves": told}})


def _measure(case: Case) -> str:
    if case.head.is_attributes:
        return f"change of {plain(case.card.names[0])}"
    return "share of probability that goes to other answers"


def _moved(case: Case, first: Any, now: Any, names: Sequence[str]) -> float:
    """The mean distance of answers (N, K) from the first: half the sum of |p - q|, or of an attribute |x - y|."""
    if names:
        target = find_target(case.net, case.card, names[0])
        return float(np.abs(read(case, target, now) - read(case, target, first)).mean())
    columns = slice(0, len(case.card.names))
    if case.head.tree is not None and case.head.is_path:
        columns = next(iter(case.head.tree.slices.values()))
    a, b = (one[:, columns].astype(np.float64) for one in (first, now))
    if case.card.head == "dirichlet":
        a, b = a / a.sum(axis=1, keepdims=True), b / b.sum(axis=1, keepdims=True)
    return float(np.abs(a - b).sum(axis=1).mean() / 2)


def _drawn(curves: dict[str, tuple[tuple[float, ...], Floats]], what: str) -> Figure:
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(WIDTH, 4.9), layout="constrained")
        grid = drawn.subplots(2, 4, squeeze=False, sharey=True).ravel()
        for axes, (kind, (steps, values)) in zip(grid, curves.items(), strict=False):
            axes.plot(steps, values, marker="o", markersize=3, **line_style(0) | PERTURBATIONS[kind].line)
            axes.set_title(kind)
            axes.set_xlabel(SHORT.get(kind, ""), fontsize=7)
        for axes in grid[len(curves) :]:
            axes.set_visible(False)
        grid[0].set_ylim(bottom=0)
        drawn.supylabel(what, fontsize=8.5)
    return drawn


SHORT = {
    "colour": "standard deviations of colour",
    "brightness": "share of light added",
    "rotation": "degrees",
    "zoom": "enlarged by this share",
    "blur": "sigma, pixels",
    "noise": "noise, where 1 is white",
    "dimming": "redshift added",
    "band": "band taken away (0: none)",
}

# of the model: name -> (what it is, how it is made, whether it takes many galaxies)
OF_MODEL: dict[str, tuple[str, Callable[[Case], Piece], bool]] = {
    "card": ("what the model is", card_piece, False),
    "filters": ("kernels of the first layer", first_layer, False),
    "exemplars": ("galaxies that excite its units most and least", exemplary, True),
    "visualise": ("pictures from noise of each answer", visualised, True),
    "averages": ("sensitivity over many galaxies", mean_curves, True),
}
