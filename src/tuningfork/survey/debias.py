"""Debiasing: the vote fractions that galaxies would have if all were as near as the nearest (Hart et al. 2016).

Galaxies of equal absolute magnitude M and physical size R are taken to be alike wherever they are, so that their
fractions f should be distributed alike at all redshifts z. For each answer, galaxies are sorted into Voronoi cells of
(M, log R) and each cell into slices of z. In each slice the cumulative distribution of log10 f is fitted by a law of
two parameters, a logistic or an exponential of a power, whichever fits better over all slices; each parameter by
A0 + AM fM(M) + AR fR(R) + Az fz(z), every function the best of a few; and f at (M, R, z) becomes the one of the same
cumulative share at (M, R, reference). Where no law fits, ranks in a slice are matched to those in the cell's nearest
slice. This is the method of Hart et al. 2016 (MNRAS 461, 3663, section 3), held against the authors' public program.

Differences in detail: cells are those of k-means instead of Cappellari & Copin's binning; for the size R,
logarithmic and linear terms are tried, and for the magnitude M a term in luminosity instead of 10^-M, which overflows;
a misfit decides between laws and ranks, where they compare histograms in a volume-limited sample. As theirs, the
debiased fractions of a question need not sum to 1 (:func:`~tuningfork.galaxy.labels.find_votes` renormalises them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import BadCatalog
from ..galaxy.catalog import Catalog
from ..galaxy.labels import find_votes
from ..galaxy.tree import Tree
from .fading import Cells, Fading, Sample, edges_of, matched, slices_of, unevenness

Floats = NDArray[np.float64]
Method = Literal["auto", "law", "ranks"]
MINIMUM = 5000  # galaxies per question, below which no correction is derived
MISFIT = 0.05  # root mean square misfit above which "auto" prefers ranks to laws


@dataclass(frozen=True)
class AnswerReport:
    """How one answer was debiased: by "law" (of which ``shape``), by "ranks", or "not at all", being too rare.

    ``misfit`` is the root mean square between law and distributions (NaN without); ``before`` and ``after`` are the
    :func:`~tuningfork.survey.fading.unevenness` of the raw and of the debiased fractions over redshift.
    """

    column: str
    method: str
    shape: str
    n_slices: int
    misfit: float
    before: float
    after: float


@dataclass(frozen=True)
class DebiasReport:
    """What was done: from how many galaxies per question, to which redshift, and how each answer came out.

    ``n_corrected`` galaxies got debiased fractions; ``n_without`` lack redshift, magnitude or size, and theirs are NaN.
    """

    reference: float
    n_galaxies: int
    n_corrected: int
    n_without: int
    n_basis: dict[str, int]
    answers: tuple[AnswerReport, ...]

    def __str__(self) -> str:
        """The report as lines of text."""
        lines = [
            f"{self.n_galaxies:,} galaxies = {self.n_corrected:,} debiased to redshift {self.reference:.4g} + "
            f"{self.n_without:,} without redshift, magnitude or size"
        ]
        lines += [f"{question}: derived from {number:,} galaxies" for question, number in self.n_basis.items()]
        for one in self.answers:
            how = f"{one.method} ({one.shape}, misfit {one.misfit:.3f})" if one.method == "law" else one.method
            lines.append(f"  {one.column}: {how}; unevenness {one.before:.4f} -> {one.after:.4f}")
        return "\n".join(lines)


def debias(
    catalog: Catalog,
    tree: Tree | str,
    *,
    redshift: str = "redshift",
    magnitude: str = "absolute_magnitude",
    size: str = "size_kpc",
    questions: Sequence[str] = (),
    method: Method = "auto",
    reference: float | None = None,
    minimum: int = MINIMUM,
    min_votes: int = 5,
    min_reach: float = 0.5,
    cells: int = 30,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Catalog, DebiasReport]:
    """Correct vote fractions for what volunteers cannot see in far galaxies; adds ``<question>_<answer>_debiased``.

    The module's text has the method. ``method`` is "law", "ranks", or "auto": laws, but ranks for an answer that has
    fewer than eight slices of redshift or a misfit above 0.05. A fraction of 0 stays 0, whatever was missed there.

    ``redshift``, ``magnitude`` (negative) and ``size`` (kpc) name columns of ``catalog``, which needs counts as well;
    weighted fractions are used if they are there. Corrections are derived from galaxies with at least ``min_votes``
    votes on the question, and a probability above ``min_reach`` of being asked it, and applied to all that have the
    three properties; others get NaN. ``questions`` limits the work; ``reference`` is by default the 5th percentile of
    the first question's redshifts. A selection by morphology that changes with z cannot be told from fading: give a
    sample that is complete in (M, R) cell by cell.

    Raises :class:`~tuningfork.errors.BadCatalog` if for any question fewer than ``minimum`` galaxies are left to
    derive from, with the counts, or if a column is missing; and what ``find_votes`` raises.
    """
    tree = tree if isinstance(tree, Tree) else Tree.load(tree)
    chosen = [tree.question(name).name for name in questions] or list(tree.slices)
    if method not in ("auto", "law", "ranks"):
        raise ValueError(f"the method is 'auto', 'law' or 'ranks', not {method!r}")
    votes, fractions = _votes(catalog, tree)
    totals, reach = tree.totals(votes), tree.reach(fractions)
    z, m, r = (_numbers(catalog, name) for name in (redshift, magnitude, size))
    usable = np.isfinite(z + m + r) & (z > 0) & (m < 0) & (r > 0)
    number = {name: index for index, name in enumerate(tree.slices)}
    basis = {q: usable & (totals[:, i] >= min_votes) & (reach[:, i] >= min_reach) for q, i in number.items()}
    counts = {question: int(basis[question].sum()) for question in chosen}
    if min(counts.values()) < minimum:
        _refuse(counts, minimum, min_votes, min_reach, len(catalog), int(usable.sum()))
    at = float(np.percentile(z[basis[chosen[0]]], 5)) if reference is None else reference
    log_size, reports = np.log10(np.where(usable, r, 1.0)), []
    columns: dict[str, Any] = {}
    for done, question in enumerate(chosen):
        known, asked = basis[question], usable & (totals[:, number[question]] > 0)
        grid = Cells.of(m[known], log_size[known], cells)
        for column, name in list(enumerate(tree.columns))[tree.slices[question]]:
            if progress is not None:
                progress(done, len(chosen), name)
            shares = np.asarray(np.round(np.nan_to_num(fractions[:, column]), 9), np.float64)  # equals rank equal
            values, one = _corrected(name, (m, log_size, z, shares), known, asked, grid, method, at)
            columns[f"{name}_debiased"] = np.full(len(catalog), np.nan, np.float32)
            columns[f"{name}_debiased"][asked] = values
            reports.append(one)
    n = (len(catalog), int(usable.sum()), int((~usable).sum()))
    return catalog.with_columns(columns), DebiasReport(at, *n, counts, tuple(reports))


def _votes(catalog: Catalog, tree: Tree) -> tuple[Floats, Floats]:
    """Counts, and fractions: the weighted ones where the catalogue has them."""
    votes = find_votes(catalog, tree, ("counts",))[1]
    weighted = [f"{column}_weighted_fraction" for column in tree.columns]
    if all(name in catalog for name in weighted):
        return votes, tree.fractions(np.column_stack([_numbers(catalog, name) for name in weighted]))
    return votes, tree.fractions(votes)


def _numbers(catalog: Catalog, name: str) -> Floats:
    try:
        return np.asarray(catalog[name], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadCatalog(f"the column '{name}' of {catalog.name} should hold numbers: {error}") from error


def _refuse(counts: dict[str, int], minimum: int, min_votes: int, min_reach: float, n: int, usable: int) -> None:
    enough = [question for question, number in counts.items() if number >= minimum]
    lines = [f"\n  {q}: {k:,} of {minimum:,}" + ("" if k >= minimum else ", too few") for q, k in counts.items()]
    advice = f"; with questions={','.join(enough)} the others are left out" if enough else ""
    raise BadCatalog(
        f"debiasing needs {minimum:,} galaxies per question that have a redshift, an absolute magnitude, a size, "
        f"{min_votes} votes on it and a probability of {min_reach:g} to be asked it; of {n:,} galaxies {usable:,} have "
        f"the first three{advice}:" + "".join(lines)
    )


def _corrected(
    name: str,
    parts: tuple[Floats, ...],
    known: NDArray[np.bool_],
    asked: NDArray[np.bool_],
    grid: Cells,
    method: Method,
    reference: float,
) -> tuple[Floats, AnswerReport]:
    """The debiased fractions of one answer for the galaxies that were asked, and the report."""
    m, r, z, f = parts
    edges = edges_of(grid.number(m[known], r[known]), z[known], f[known])

    def sample(rows: NDArray[np.bool_]) -> Sample:
        cell = grid.number(m[rows], r[rows])
        return Sample(m[rows], r[rows], z[rows], f[rows], cell, slices_of(cell, z[rows], edges))

    base, ours = sample(known), sample(asked)
    law = Fading.of(base) if method != "ranks" else None
    if law is not None and (method == "law" or law.misfit <= MISFIT):
        values, check, how = law.corrected(ours, reference), law.corrected(base, reference), "law"
    elif method != "law" and base.slice.any():
        values, check, how = matched(ours, base), matched(base, base), "ranks"
    else:
        values, check, how = ours.fraction, base.fraction, "not at all"
    n = len(np.unique(np.column_stack([base.cell, base.slice]), axis=0))
    fitted = (law.shape, law.misfit) if law is not None and how == "law" else ("", float("nan"))
    before, after = unevenness(base.fraction, base), unevenness(check, base)
    return values, AnswerReport(name, how, fitted[0], n, fitted[1], before, after)
