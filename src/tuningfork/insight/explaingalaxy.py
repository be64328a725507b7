"""The parts of explain that are of one galaxy: answers, maps with their checks, activations, curves, dream, blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..errors import BadImage, RecipeError
from ..evaluate.bootstrap import Floats
from ..evaluate.plots import STYLE, line_style
from ..evaluate.report import Table, Text
from ..predict.classify import Classification
from ..predict.inwords import plain, ranked, tell
from ..predict.portraits import PICTURE
from ..predict.portraits import draw as draw_portrait
from .activations import activations
from .attribution import METHODS, Attribution, attribute
from .attributionplots import isophotes, scale, show_galaxy, show_map
from .blocks import building_blocks
from .checks import Deletion, Randomisation, deletion, randomisation
from .dream import dream
from .explaincase import EFFORTS, Case, Seen, answers_to, read
from .explainmodel import SHORT, among
from .explainpage import WIDTH, Piece, Shown, Sketch, heading, verdict
from .morphometry import measure_image
from .objective import Objective
from .perturbation import PERTURBATIONS
from .targets import VALUE, Target

SHOWN = 5  # units of a layer that are drawn


def answers(case: Case, one: Seen) -> Piece:
    """The galaxy's picture with the square that is looked at, the answers, and what the network sees of it."""
    done = Classification((one.galaxy,), (case.head,), 1, 1, 0, 0.0, "torch", portraits={one.id: one.portrait})
    told = "The picture as it came: the dashed square is what the network sees"
    ellipse = (
        "; cross and ellipse are the centre and the Petrosian radius that were found" if one.portrait.source else ""
    )
    caption = (
        f"{told}{ellipse}. Beside it are the answers, means over four quarter turns, and the square as the network "
        f"sees it, {case.card.size} x {case.card.size} pixels."
    )
    blocks: list[Shown] = [Sketch(_beside(draw_portrait(done), one), caption)]
    blocks += [Text(note, "note") for note in one.notes]
    return Piece(tuple(blocks), {"answers": one.said, "in words": tell(case.head, one.said)})


def _beside(drawn: Figure, one: Seen) -> Figure:
    """The portrait, made wider, with what the network sees at its right."""
    width, height = drawn.get_size_inches()
    wider = width + PICTURE + 0.1
    drawn.set_size_inches(wider, height)
    for axes in drawn.axes:
        left, low, wide, high = axes.get_position(original=True).bounds
        axes.set_position((left * width / wider, low, wide * width / wider, high))
    top = drawn.axes[1].get_position(original=True).y1
    axes = drawn.add_axes(((width - 0.05) / wider, top - PICTURE / height, PICTURE / wider, PICTURE / height))
    show_galaxy(axes, one.pixels)
    return drawn


def attribution(case: Case, one: Seen) -> Piece:
    """Maps of what carries each answer, by all methods, with the checks that tell whether to believe them."""
    blocks: list[Shown] = [heading("Which pixels carry the answer")]
    numbers: dict[str, Any] = {}
    for target in case.targets_of(one):
        found, left = _maps(case, one, target)
        random = [_randomised(case, each) for each in found]
        removed = [
            deletion(case.quicker, each, steps=case.effort.removals, displaced=case.effort.displaced, seed=case.seed)
            for each in found
        ]
        caption = (
            f"{target.told(found[0].chance)}. Red speaks for this answer and blue against it; maps from dark to bright "
            "have no sign. Thin lines are the galaxy's isophotes. Last panel: the answer as the pixels that a map "
            "marks most are replaced by sky; a line that drops early means that the map found what the answer needs."
        )
        blocks.append(Sketch(_drawn_maps(one, found, removed), caption))
        rows, told = [], {}
        for each, shuffled, gone in zip(found, random, removed, strict=True):
            believed, why = verdict(shuffled, gone)
            rows.append((each.title, believed, why))
            told[each.method] = _numbers(each, shuffled, gone) | {"believed": believed, "why": why}
        blocks.append(Table(("map", "can it be believed?", "why"), tuple(rows), words=True))
        blocks += [Text(text, "note") for text in left]
        numbers[target.name] = {"value": found[0].chance, "maps": told}
    return Piece(tuple(blocks), {"attribution": numbers})


def _maps(case: Case, one: Seen, target: Target) -> tuple[list[Attribution], list[str]]:
    """The maps by each method, and why some are left out that were not asked for by name."""
    found, left = [], []
    for method in case.methods:
        try:
            quick = method == "occlusion" and case.effort is EFFORTS["quick"]  # windows side by side
            net = case.net if method == "grad_cam" else case.quicker  # whose layers are all there
            found.append(attribute(net, case.card, one.pixels, target, method, id=one.id, quick=quick))
        except RecipeError as error:
            if method != "grad_cam" or "methods" in case.asked:
                raise
            left.append(f"Left out: {error}.")
    return found, left


def _randomised(case: Case, found: Attribution) -> Randomisation:
    return randomisation(case.net, case.card, found, stages=case.effort.stages, seed=case.seed)


def _numbers(one: Attribution, random: Randomisation, removed: Deletion) -> dict[str, Any]:
    return {
        "score": one.score,
        "score of the empty sky": one.empty,
        "sum off by": one.gap if np.isfinite(one.gap) else None,
        "layer": one.layer,
        "rank correlation with shuffled weights": float(random.correlation[-1]),
        "deletion": removed.deletion,
        "insertion": removed.insertion,
        "beats": removed.beats,
        "beats brightness": removed.beats_brightness,
        "shares of the pixels": removed.shares.tolist(),
        "answer without them": removed.deleted.tolist(),
        "answer with them alone": removed.inserted.tolist(),
    }


def _drawn_maps(one: Seen, found: Sequence[Attribution], removed: Sequence[Deletion]) -> Figure:
    """The galaxy, its maps and the deletion curves on a grid of three columns."""
    rows = -(-(len(found) + 2) // 3)
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(WIDTH, 3.3 * rows), layout="constrained")
        grid = drawn.subplots(rows, 3, squeeze=False).ravel()
        show_galaxy(grid[0], one.pixels)
        grid[0].set_title("what the network sees")
        for axes, each in zip(grid[1:], found, strict=False):
            shown = show_map(axes, each.map, each.signed)
            isophotes(axes, each.pixels, "#444444" if each.signed else "white")
            axes.set_title(each.title)
            scale(drawn, shown, axes, each.signed)
        curves = grid[1 + len(found)]
        for number, gone in enumerate(removed):
            label = METHODS[gone.of.method].title
            curves.plot(gone.shares, gone.deleted, marker="o", markersize=3, label=label, **line_style(number))
        name = "value" if found and found[0].target.scale == VALUE else "probability or share"
        curves.set(xlabel="share of pixels taken away", ylabel=name, title="as pixels are taken away", xlim=(0, 1))
        curves.legend(fontsize=7)
        for axes in grid[2 + len(found) :]:
            axes.set_visible(False)
    return drawn


def activation(case: Case, one: Seen) -> Piece:
    """What the strongest units of a few layers make of the galaxy, and the galaxies that excite each most."""
    if not case.layers:
        case.places()  # says why there are none
    found = activations(case.net, case.card, one.pixels[None], [layer.name for layer in case.layers], ids=[one.id])
    drawn = [layer for layer in found.layers if found.maps[layer.name].ndim == 4]
    beside = {}
    if case.compared:
        for layer in drawn:
            beside[layer.name] = among(case, layer, found.strongest(layer.name, 0, SHOWN).tolist(), 3)
    below = (
        f" Under each map are the three galaxies, of {len(case.ids):,}, that excite the unit most." if beside else ""
    )
    caption = (
        "Each row is a layer, from early to late; each map is one unit, of those most strongly excited. "
        "Bright "
        f"is where the unit is excited. Early layers see edges and spots, late ones whole parts of the galaxy.{below}"
    )
    if placeless := [layer.name for layer in found.layers if layer not in drawn]:
        caption += f" Not drawn, since their units have no place: {', '.join(placeless)}."
    strongest = {layer.name: found.strongest(layer.name, 0, SHOWN).tolist() for layer in found.layers}
    blocks = (heading("What the layers make of it"), Sketch(found.figure(0, shown=SHOWN, exemplars=beside), caption))
    return Piece(blocks, {"strongest units": strongest})


def sensitivity(case: Case, one: Seen) -> Piece:
    """How the answers change as the galaxy is changed more and more, a panel for each way."""
    names = _followed(case, one)
    targets = {target.name: target for target in case.targets_of(one)}
    curves: dict[str, tuple[tuple[float, ...], Floats]] = {}
    for kind, perturbation in PERTURBATIONS.items():
        steps = perturbation.strengths(len(case.card.bands))
        change = perturbation.prepare(one.pixels[None], [one.id], case.display)
        pictures = np.concatenate([change(one.pixels[None], slice(0, 1), strength) for strength in steps])
        found = answers_to(case, pictures)
        values = [read(case, targets[name], found) if name in targets else _said(case, found)[name] for name in names]
        curves[kind] = steps, np.stack(values)
    caption = (
        f"The answer as the galaxy is changed: the further a line moves from where it starts, the more the network "
        f"leans on what was changed. Dimming shows it as if at a larger redshift; band takes one band away "
        f"({', '.join(f'{k}: {band}' for k, band in enumerate(case.card.bands, 1))})."
    )
    blocks = (heading("What changes its mind"), Sketch(_drawn_curves(case, names, curves), caption))
    told = {
        kind: {"strengths": list(steps), **{name: row.tolist() for name, row in zip(names, values, strict=True)}}
        for kind, (steps, values) in curves.items()
    }
    return Piece(blocks, {"sensitivity": told})


def _said(case: Case, found: Any) -> dict[str, Floats]:
    rows = [case.head.said(row) for row in found]
    return {name: np.array([row[name] for row in rows]) for name in case.card.names}


def _followed(case: Case, one: Seen) -> list[str]:
    """The answers whose curves are drawn: those explained; of classes the three likeliest too."""
    named = [target.name for target in case.targets_of(one)]
    if case.head.tree is None:
        named += [name for name, _ in ranked(case.head, {name: one.said[name] for name in case.card.names})[:3]]
    return list(dict.fromkeys(named))[:6]


def _drawn_curves(case: Case, names: Sequence[str], curves: dict[str, tuple[tuple[float, ...], Floats]]) -> Figure:
    columns = 4
    rows = -(-len(curves) // columns)
    scales = case.head.is_attributes
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(WIDTH, 2.35 * rows + 0.35), layout="constrained")
        grid = drawn.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes, (kind, (steps, values)) in zip(grid, curves.items(), strict=False):
            for number, row in enumerate(values):
                style = line_style(number) | PERTURBATIONS[kind].line
                axes.plot(steps, row, marker="o", markersize=3, label=plain(names[number]), **style)
            axes.set_title(kind)
            axes.set_xlabel(SHORT.get(kind, ""), fontsize=7)
            if not scales:
                axes.set_ylim(-0.02, 1.02)
        for axes in grid[len(curves) :]:
            axes.set_visible(False)
        drawn.supylabel("value" if scales else "probability or share of votes", fontsize=8.5)
        drawn.legend(*grid[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(names))
    return drawn


def dreamt(case: Case, one: Seen) -> Piece:
    """The galaxy changed until the network gives the answer still more strongly."""
    target, effort = case.targets_of(one)[0], case.effort
    found = dream(
        case.quicker, one.pixels, [Objective(answer=target.name)], octaves=effort.octaves, steps=effort.dreamt,
        seed=case.seed,
    )  # fmt: skip
    wish = f"a larger {target.words}" if target.scale == VALUE else f"“{target.words}”"
    caption = (
        f"Left the galaxy, right a dream: its pixels changed step by step towards {wish}. What grows in the "
        f"dream is what the network takes for it. Numbers are the answer before the head, which rises."
    )
    blocks = (heading("A dream of its answer"), Sketch(found.figure(), caption))
    return Piece(blocks, {"dream": {target.name: [float(found.before[0]), float(found.after[0])]}})


def built(case: Case, one: Seen) -> Piece:
    """Which units of the last layer with places carry the answer, where, and what excites each of them."""
    target, layer = case.targets_of(one)[0], case.places()
    found = building_blocks(
        case.net, one.pixels, target.name, layer.name, case.colours, units=case.effort.units,
        steps=case.effort.ascended, seed=case.seed,
    )  # fmt: skip
    caption = (
        f"The {len(found.units)} units of {layer.name} that add most to “{target.words}”, for (+) or against it (-). "
        "Above: a picture made from noise that excites the unit. Below: where in this galaxy it speaks."
    )
    blocks = (heading("The units that carry the answer"), Sketch(found.figure(), caption))
    units = {str(int(unit)): float(found.contributions[unit]) for unit in found.units}
    return Piece(blocks, {"blocks": {"layer": layer.name, "answer": target.name, "units": units}})


def measured(case: Case, one: Seen) -> Piece:
    """Its shape in numbers by photutils and statmorph, which know nothing of the network."""
    head = heading("Measured without a network")
    try:
        found = measure_image(one.cutout.pixels, bands=one.cutout.bands)
    except BadImage as error:
        return Piece((head, Text(f"Could not be measured: {error}.", "note")), {"measured": None})
    caption = (
        "The same galaxy measured by photutils and statmorph: an independent check. Concentration C is high for "
        "ellipticals, asymmetry A for mergers and spirals, Sersic's n is near 1 for discs and 4 for ellipticals."
    )
    return Piece((head, Sketch(found.figure(), caption)), {"measured": found.row()})


OF_GALAXY: dict[str, tuple[str, Callable[[Case, Seen], Piece]]] = {
    "answers": ("the picture and its answers", answers),
    "attribution": ("maps of what carries the answer, with checks", attribution),
    "activations": ("maps of the units of some layers", activation),
    "sensitivity": ("answers as the galaxy is changed", sensitivity),
    "dream": ("deep dream", dreamt),
    "blocks": ("units that carry the answer", built),
    "measurements": ("shape measured without a network", measured),
}
