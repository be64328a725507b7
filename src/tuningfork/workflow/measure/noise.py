"""What the noise of Galaxy Zoo 1's labels leaves to be reached, and which labels are most doubtful: estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import BadImage
from ...evaluate.bootstrap import Bools, Floats, Ints
from ...evaluate.calibration import cross_fitted, halves
from ...galaxy.display import to_picture
from ...galaxy.records import Source
from .ask import ask, ids_of_part, open_heads
from .findings import Findings, mean
from .headline import GZ1, ON_GZ1

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 24  # galaxies of the contact sheet


@dataclass(frozen=True)
class Disagreement:
    """A galaxy whose label a model contradicts: the label, what it says, and the probabilities of both."""

    id: str
    label: str
    said: str
    of_label: float
    of_said: float


def ceiling(
    models: str | Path | Sequence[str | Path],
    union: Source,
    *,
    views: int = 8,
    most: int = 0,
    shown: int = SHOWN,
    resamples: int = 1000,
    command: str = "",
) -> tuple[Findings, list[Disagreement]]:
    """How accurate gz1 could be judged at best, by its own test part, and its most confident disagreements.

    See :func:`noise_figures`; ``figures["disagreements"]`` is a contact sheet of the first ``shown``, with pictures of
    real galaxies: to look at, not to publish. Without the model gz1 there is nothing.
    """
    findings, eyes = Findings(command), open_heads(models, (GZ1,), views=views)
    if not eyes:
        return findings, []
    asked = ask(union.records(ids_of_part(union, "gz1", most)), eyes)
    assert union.catalog is not None
    labels = np.asarray(union.catalog.select(asked.ids)["gz1_class"])
    names = asked.heads[GZ1].names
    known = asked.answered(GZ1) & np.isin(labels, names)
    ids = [one for one, good in zip(asked.ids, known.tolist(), strict=True) if good]
    truth = np.array([names.index(one) for one in labels[known]], np.int64)
    doubtful = noise_figures(findings, ids, truth, asked.said(GZ1)[known], names, resamples)
    if shown:
        findings.figures["disagreements"] = contact_sheet(union, doubtful[:shown])
    return findings, doubtful


def noise_figures(
    findings: Findings, ids: Sequence[str], truth: Ints, said: Floats, names: Sequence[str], resamples: int
) -> list[Disagreement]:
    """Figures of labels ``truth`` (N,) and probabilities ``said`` (N, K), and the disagreements, surest first.

    Probabilities are rescaled by a temperature fitted on the other half of the galaxies, so that no label judges
    itself. Then

    - mean over galaxies of max p: the accuracy that the best guess has if the probabilities are true, and the highest
      that anyone with the same evidence can expect (Bayes);
    - the share of labels that are contradicted with confidence (Northcutt, Jiang & Chuang 2021, JAIR 70, 1373): the
      surest class j of those with p_j >= t_j, t_j the mean p_j over galaxies labelled j, is not the label. It takes
      mistakes of the model for mistakes of the labels where they look alike.

    Both are estimates: neither tells a wrong label from a picture that does not show what it takes.
    """
    if not len(ids):
        return []
    p = cross_fitted(truth, said, halves(tuple(ids)))[0]
    guess, n, on = p.argmax(1), len(ids), f"{ON_GZ1}, five classes"
    right = mean(guess == truth, resamples)
    best = mean(p.max(1), resamples)
    findings.add(GZ1, "accuracy, five classes", on, right, n)
    findings.add(
        GZ1, "estimated ceiling: accuracy to expect of the best guess, mean of the largest probability", on, best, n
    )
    sure, contradicted = confident(truth, p)
    share = mean(contradicted[sure], resamples)
    what = "estimated share of labels that are contradicted with confidence"
    findings.add(GZ1, what, on, share, int(sure.sum()))
    sentence = (
        f"Its labels are noisy: by its own calibrated probabilities the best guess agrees with {best} of them, and "
        f"{share} are contradicted with confidence; an accuracy above the former may mean nothing."
    )
    findings.fail(GZ1, sentence)
    rows = np.arange(n)
    apart = p[rows, guess] - p[rows, truth]
    order = [row for row in np.argsort(-apart, kind="stable").tolist() if guess[row] != truth[row]]
    return [
        Disagreement(
            ids[row], names[truth[row]], names[guess[row]], float(p[row, truth[row]]), float(p[row, guess[row]])
        )
        for row in order
    ]


def confident(truth: Ints, p: Floats) -> tuple[Bools, Bools]:
    """Which galaxies (N,) are of some class with confidence, and which of these are of another than their label."""
    labelled = truth[:, None] == np.arange(p.shape[1])  # (N, K)
    number = labelled.sum(0)
    threshold = np.where(number > 0, (p * labelled).sum(0) / np.maximum(number, 1), np.inf)
    candidates = np.where(p >= threshold, p, -1.0)
    sure = np.asarray(candidates.max(1) >= 0)
    return sure, sure & (candidates.argmax(1) != truth)


def contact_sheet(source: Source, doubtful: Sequence[Disagreement], columns: int = 6) -> Figure:
    """The pictures of some disagreements, each with its id, its label, what the model says and how surely."""
    import matplotlib
    from matplotlib.figure import Figure

    from ...evaluate.plots import STYLE

    rows = max(1, math.ceil(len(doubtful) / columns))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.9 * columns, 2.4 * rows), layout="constrained")
        for number, one in enumerate(doubtful):
            axes = figure.add_subplot(rows, columns, number + 1)
            axes.set_axis_off()
            try:
                axes.imshow(_picture(source, one.id))
            except BadImage as bad:
                axes.text(0.5, 0.5, str(bad.reason), ha="center", transform=axes.transAxes)
            told = f"{one.label} ({one.of_label:.2f})\n{one.said} ({one.of_said:.2f})"
            axes.set_title(f"{one.id.rpartition(':')[2]}\n{told}", fontsize=6.5, fontweight="normal", loc="center")
    return figure


def _picture(source: Source, identifier: str) -> NDArray[np.uint8]:
    return to_picture(source.record(identifier).cutout())
