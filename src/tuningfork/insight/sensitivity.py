"""Sensitivity: a model's answers as the galaxies it looks at are perturbed more and more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .. import recipe
from ..baseline.pixels import Rows, render_rows, settled
from ..errors import BadCatalog, LabelError, RecipeError
from ..evaluate.bootstrap import Estimate, Floats, estimate, ratio
from ..evaluate.plots import COLOURS, STYLE, Picture, _picture, line_style
from ..galaxy.cutout import Rejected
from ..galaxy.display import Display
from ..galaxy.labels import Labels
from ..galaxy.records import Source
from ..galaxy.source import open_source
from ..model.card import Card, find_model
from ..predict.engine import open_engine
from .perturbation import PERTURBATIONS, Perturbation, normal

__all__ = ["PERTURBATIONS", "Perturbation", "Sensitivity", "normal", "sensitivity", "sensitivity_figure", "share_right"]

Progress = Callable[[int, int, str], None]
BATCH = 64  # galaxies per call of the network, as predict's: another number would change the last bits of the answers


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Answers (steps, N, K) float32 of a model to N galaxies at growing strengths ``steps`` of one perturbation.

    ``head`` and ``names`` (K) say what the answers are, as on the model's card; ``ids`` (N) are in the order asked for,
    without the ``rejected``. ``strength`` says in words what the steps count.
    """

    kind: str
    strength: str
    steps: tuple[float, ...]
    ids: tuple[str, ...]
    head: str
    names: tuple[str, ...]
    answers: NDArray[np.float32]
    rejected: tuple[Rejected, ...] = ()

    @property
    def moved(self) -> Floats:
        """How far the answers have gone from those of the first step, (steps,): the mean of 1/2 sum_k |p_k - p_k0|.

        0 is nowhere, 1 is to other classes for certain. Raises :class:`LabelError` where the answers are no classes.
        """
        self._refuse_others()
        apart = np.abs(self.answers.astype(np.float64) - self.answers[0]).sum(axis=2) / 2  # (steps, N)
        return np.asarray(apart.mean(axis=1), np.float64)

    @property
    def kept(self) -> Floats:
        """The share of galaxies whose class is still that of the first step, (steps,); raises as :attr:`moved`."""
        self._refuse_others()
        guess = self.answers.argmax(axis=2)
        return np.asarray((guess == guess[0]).mean(axis=1), np.float64)

    def accuracy(
        self, labels: Labels, *, groups: Sequence[str] | None = None, resamples: int = 1000, seed: int = 0
    ) -> list[Estimate]:
        """The accuracy at each step against classes, with its interval by :func:`share_right`.

        Galaxies without a label are left out. Raises :class:`LabelError` where the answers are no classes, where the
        labels have other classes, and where no galaxy has one.
        """
        self._refuse_others()
        if tuple(labels.names) != self.names:
            raise LabelError(f"the labels are of {', '.join(labels.names)}; the model answers {', '.join(self.names)}")
        known = dict(zip(labels.ids, labels.classes.tolist(), strict=True))
        rows = [row for row, one in enumerate(self.ids) if one in known]
        if not rows:
            raise LabelError(f"none of {len(self.ids)} galaxies has a label: they are called {list(self.ids[:3])}")
        truth = np.array([known[self.ids[row]] for row in rows])
        right = self.answers[:, rows].argmax(axis=2) == truth
        mine = [self.ids[row] if groups is None else groups[row] for row in rows]
        return share_right(right, mine, resamples=resamples, seed=seed)

    def _refuse_others(self) -> None:
        if self.head != "classes":
            raise LabelError(f"these are answers of a head of '{self.head}', not classes: read .answers")


def share_right(
    right: NDArray[np.bool_], groups: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> list[Estimate]:
    """The share of N answers that is right, (M, N) -> M estimates with 95% bootstrap intervals over ``groups`` (N,).

    What belongs together (several views of one galaxy) is drawn together, since its answers are not independent: of
    galaxies that are groups of one, the usual bootstrap.
    """
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    size = np.bincount(numbers).astype(np.float64)  # (G,)
    sums = np.stack([np.bincount(numbers, weights=row, minlength=len(size)) for row in right])  # (M, G)
    found = estimate(
        lambda weights: {"right": ratio(weights @ sums.T, (weights @ size)[:, None])},
        len(size),
        resamples=resamples,
        seed=seed,
    )["right"]
    return found if isinstance(found, list) else [found]


def sensitivity(
    source: str | Path | Source,
    model: str | Path,
    kind: str = "colour",
    *,
    steps: Sequence[float] | None = None,
    ids: Sequence[str] | None = None,
    engine: str = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> Sensitivity:
    """The answers of ``model`` to galaxies of ``source`` perturbed by each of ``steps``.

    Args:
        model: the folder of a run or a model, or a shipped model's name.
        kind: a key of :data:`PERTURBATIONS`. ``steps``: strengths; None takes the usual ones of the kind.
        ids: these galaxies, in this order; None: all. They are held in memory at the size that the network sees.
        engine, threads: as for :func:`~tuningfork.predict.predict.predict`, whose answers strength 0 repeats exactly
            where all galaxies are asked for.

    The change is made to what the network sees (8 bits per band), after the display. Raises :class:`RecipeError` for a
    kind that is none and for steps that are no numbers, :class:`BadCatalog` where no galaxy can be used, and what
    opening the source, the model and the engine raises.
    """
    if kind not in PERTURBATIONS:
        near = recipe.nearest(kind, list(PERTURBATIONS))
        raise RecipeError(f"there is no perturbation '{kind}'{near}; there are {', '.join(PERTURBATIONS)}")
    perturbation = PERTURBATIONS[kind]
    source = open_source(source) if isinstance(source, str | Path) else source
    folder = find_model(model)
    card = Card.load(folder)
    usual = perturbation.strengths(len(card.bands))
    strengths = usual if steps is None else tuple(float(one) for one in steps)
    if not strengths or not np.isfinite(strengths).all():
        raise RecipeError(f"steps are {strengths}; they are numbers, one or more, such as {usual}")
    machine = open_engine(folder, engine, threads)
    wanted = list(source.ids if ids is None else ids)
    display = settled(source, recipe.from_mapping(Display, card.display), wanted)
    rows = render_rows(source, wanted, display, threads=threads, progress=progress)
    if not rows.ids:
        raise BadCatalog(f"none of {len(wanted)} galaxies of '{source.path}' can be used: {rows.rejected[:3]}")
    change = perturbation.prepare(rows.pixels, rows.ids, display)
    answers = np.empty((len(strengths), len(rows.ids), len(card.names)), np.float32)
    for part in _batches(rows):
        for number, strength in enumerate(strengths):
            answers[number, part] = machine.run(change(rows.pixels[part], part, strength))
        if progress is not None:
            progress(part.stop, len(rows.ids), f"{kind}, {len(strengths)} strengths")
    told = (kind, perturbation.strength, strengths, rows.ids, card.head, card.names)
    return Sensitivity(*told, answers, rows.rejected)


def _batches(rows: Rows) -> list[slice]:
    """The usable galaxies of each :data:`BATCH` asked for, as predict batches them."""
    refused = {one.id for one in rows.rejected}
    good = np.array([one not in refused for one in rows.asked])
    ends = [int(good[: start + BATCH].sum()) for start in range(0, len(good), BATCH)]
    return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True) if b > a]


def sensitivity_figure(found: Sensitivity, lines: Mapping[str, Sequence[Estimate]], title: str = "") -> Picture:
    """Curves against the strength: each of ``lines`` (label: one estimate per step) with its intervals as bars.

    Of answers that are classes, the share of galaxies whose class stays what it was at the first step is drawn dashed.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.subplots()
        for index, (label, points) in enumerate(lines.items()):
            values = np.array([[one.value, one.low, one.high] for one in points], np.float64)
            bars = np.nan_to_num(np.stack([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]])).clip(0)
            drawn: dict[str, Any] = {"marker": "osD^"[index % 4], "markersize": 4, "elinewidth": 0.8, "capsize": 2}
            drawn |= line_style(index) | PERTURBATIONS[found.kind].line
            axes.errorbar(found.steps, values[:, 0], bars, label=label, **drawn)
        if found.head == "classes":
            dashed: dict[str, Any] = {"linestyle": "--", "marker": "x"} | PERTURBATIONS[found.kind].line
            axes.plot(found.steps, found.kept, color=COLOURS[-1], linewidth=1, label="class as without it", **dashed)
        if not PERTURBATIONS[found.kind].steps:  # names and no amounts
            axes.set_xticks(found.steps)
        axes.set(xlabel=found.strength, ylabel="share of galaxies", ylim=(-0.01, 1.02))
        if title:
            axes.set_title(title)
        axes.legend()
        words = "; ".join(f"{label}: {', '.join(one.text() for one in points)}" for label, points in lines.items())
        return _picture(
            figure, f"{title or 'Sensitivity'} at strengths {', '.join(f'{s:g}' for s in found.steps)}. {words}"
        )
