"""The headline figures: how good the reference models are on the galaxies of their samples that they never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...data.split import PARTS
from ...evaluate.bootstrap import Floats, Ints
from ...galaxy.catalog import Catalog
from ...galaxy.records import Source
from ...galaxy.tree import CHALLENGE, Tree
from .ask import Asked, ask, ids_of_part, open_heads
from .findings import Findings, calibration_error, class_estimates, mean, rank_correlation, rms, roc_auc
from .promise import interval_promises, set_promises

SPIRALS = ("spiral_clockwise", "spiral_anticlockwise")
# the four classes and the answers that each adds up
FOUR: Mapping[str, tuple[str, ...]] = {
    "elliptical": ("elliptical",), "spiral": SPIRALS, "edge_on": ("edge_on",), "merger": ("merger",),
}  # fmt: skip
GZ1, EFIGI, GZ2 = "gz1", "efigi", "gz2"  # the models' names
ON_GZ1, ON_EFIGI = "the test part of Galaxy Zoo 1", "the test part of EFIGI"
ON_STRIPE = "the test half of Galaxy Zoo 2's Stripe 82"
BARRED, UNBARRED = 0.5, 0.0  # Bar_Length of a clear bar, and of none


def headline(
    models: str | Path | Sequence[str | Path],
    union: Source,
    challenge: Catalog,
    *,
    views: int = 8,
    most: int = 0,
    resamples: int = 1000,
    command: str = "",
) -> Findings:
    """How good the models gz1, efigi and gz2 are on the test parts of their samples.

    ``union`` is that of :func:`~tuningfork.workflow.samples.gather_samples`; ``challenge`` holds the Galaxy
    Challenge's 37 columns of Stripe 82's galaxies. ``most`` > 0 takes so many galaxies of each sample. A model that is
    not among ``models`` has no figures. Raises what :func:`~.ask.open_heads` and :func:`~.ask.ids_of_part` do.
    """
    findings = Findings(command)
    catalog = union.catalog
    for name, sample in ((GZ1, "gz1"), (EFIGI, "efigi"), (GZ2, "stripe82")):
        eyes = open_heads(models, (name,), views=views)
        if not eyes:
            continue
        asked = ask(union.records(ids_of_part(union, sample, most)), eyes)
        assert catalog is not None
        truth = catalog.select(asked.ids)
        if name == GZ1:
            class_figures(findings, asked, np.asarray(truth["gz1_class"]), resamples, views)
        elif name == EFIGI:
            attribute_figures(findings, asked, truth, resamples, views)
        else:
            taught = [one.partition(":")[2] for part in PARTS[:2] for one in ids_of_part(union, sample, part=part)]
            challenge_figures(findings, asked, challenge, taught, resamples, views)
    return findings


def four_classes(said: Floats, names: Sequence[str]) -> Floats:
    """Probabilities (N, 4) of elliptical, spiral, edge_on, merger from those (N, K) of a head's classes."""
    return np.stack([said[:, [names.index(one) for one in parts]].sum(1) for parts in FOUR.values()], axis=1)


def weigh_mergers(said: Floats, times: float) -> Floats:
    """Probabilities (N, 4) of :func:`four_classes` with that of mergers so many times as large; the sum is not 1."""
    return np.asarray(said * [1.0, 1.0, 1.0, times])


def four_labels(labels: NDArray[np.object_]) -> Ints:
    """The number of each label among :data:`FOUR`; -1 for what is none of them, such as "dont_know"."""
    number = {label: k for k, parts in enumerate(FOUR.values()) for label in parts}
    return np.array([number.get(one, -1) for one in labels], np.int64)


def class_figures(findings: Findings, asked: Asked, labels: NDArray[np.object_], resamples: int, views: int) -> None:
    """Of the head gz1: elliptical against spiral, four classes, mergers, direction, calibration, sets.

    "Elliptical against spiral" compares the probability of elliptical with the sum of both spirals', among galaxies
    with one of these labels; edge-on discs are left out of it, and counted as spirals in a figure of their own.
    Galaxies without an answer are left out, and counted as "rejected".
    """
    names, done = asked.heads[GZ1].names, asked.answered(GZ1)
    said, four, labels = asked.said(GZ1)[done], four_labels(labels)[done], labels[done]
    known = four >= 0
    rejected = int((~done).sum())
    four_said = four_classes(said, names)
    more = {"views": views, "rejected": rejected}
    for what, discs in (
        ("accuracy, elliptical against spiral", [1]),
        ("accuracy, elliptical against spiral or edge-on", [1, 2]),
    ):
        here = (four == 0) | np.isin(four, discs)
        guess = (four_said[here][:, discs].sum(1) >= four_said[here][:, 0]).astype(np.int64)
        told = class_estimates((four[here] != 0).astype(np.int64), guess, 2, resamples)
        findings.add(GZ1, what, ON_GZ1, told["accuracy"], here.sum(), **more)
        findings.add(GZ1, f"balanced {what}", ON_GZ1, told["balanced_accuracy"], here.sum(), **more)
    on, n = f"{ON_GZ1}, spirals merged, without 'don't know'", int(known.sum())
    mergers = {"mergers": int((four == 3).sum()), **more}
    dear = float(asked.heads[GZ1].costs.get("merger", 1.0))  # what missing a merger costs: its class is given sooner
    told = class_estimates(four[known], weigh_mergers(four_said[known], dear).argmax(1), len(FOUR), resamples)
    findings.add(GZ1, "accuracy, four classes", on, told["accuracy"], n, **more)
    findings.add(GZ1, "balanced accuracy, four classes", on, told["balanced_accuracy"], n, **more)
    likeliest = class_estimates(four[known], four_said[known].argmax(1), len(FOUR), resamples)
    for what in ("accuracy", "balanced_accuracy"):
        name = f"{what.replace('_', ' ')}, four classes, the likeliest instead of the class given"
        findings.add(GZ1, name, on, likeliest[what], n, **more)
    findings.add(GZ1, "recall of mergers", on, told["recall"][3], n, **mergers)
    findings.add(GZ1, "precision of mergers", on, told["precision"][3], n, **mergers)
    findings.add(GZ1, "ROC AUC of mergers", on, roc_auc(four[known] == 3, four_said[known, 3], resamples), n, **mergers)
    spiral = four == 1
    clockwise, anticlockwise = (said[spiral, names.index(one)] for one in SPIRALS)
    right = (clockwise > anticlockwise) == (labels[spiral] == SPIRALS[0])
    findings.add(
        GZ1, "accuracy, clockwise against anticlockwise", f"{ON_GZ1}, true spirals", mean(right, resamples),
        int(spiral.sum()), **more,
    )  # fmt: skip
    true = np.array([names.index(one) for one in labels[known]], np.int64)
    error, told_of = calibration_error(said[known], true, resamples)
    findings.add(GZ1, "expected calibration error, five classes", ON_GZ1, error, n, **told_of, **more)
    set_promises(findings, GZ1, ON_GZ1, asked.heads[GZ1], said[known], true, resamples, more)


def attribute_figures(findings: Findings, asked: Asked, truth: Catalog, resamples: int, views: int) -> None:
    """Of the head efigi: error and rank order of T, bars, rank order of the inclination, intervals."""
    done, tree = asked.answered(EFIGI), Tree.load("efigi")
    more = {"views": views, "rejected": int((~done).sum())}

    def both(name: str) -> tuple[Floats, Floats]:
        question = tree.question(name)
        true = np.asarray(truth[name], np.float64)
        known = done & (true >= question.low) & (true <= question.high)  # -1 and NaN: undefined
        return asked.column(EFIGI, name)[known], true[known]

    said, true = both("T")
    findings.add(EFIGI, "RMS error of T", ON_EFIGI, rms((said - true) ** 2, resamples), len(true), **more)
    for name in ("T", "Inclination"):
        said, true = both(name)
        order = rank_correlation(said, true, resamples)
        findings.add(EFIGI, f"Spearman's correlation of {name}", ON_EFIGI, order, len(true), **more)
    said, true = both("Bar_Length")
    clear = (true >= BARRED) | (true <= UNBARRED)
    area = roc_auc(true[clear] >= BARRED, said[clear], resamples)
    what = f"ROC AUC of bars (Bar_Length {BARRED:g} or more against {UNBARRED:g})"
    findings.add(EFIGI, what, ON_EFIGI, area, int(clear.sum()), **more)
    head = asked.heads[EFIGI]
    all_true = np.stack([np.asarray(truth[name], np.float64)[done] for name in head.names], axis=1)
    interval_promises(findings, EFIGI, ON_EFIGI, head, asked.said(EFIGI)[done], all_true, resamples, more)


def challenge_figures(
    findings: Findings, asked: Asked, challenge: Catalog, taught: Sequence[str], resamples: int, views: int
) -> None:
    """Of the head gz2: the Galaxy Challenge's RMSE over its 37 columns, sqrt of the mean over galaxies and columns.

    Beside it that of the columns' means over the galaxies ``taught``, which were not judged. Ids of ``asked`` have the
    name of their sample before a colon, those of ``challenge`` do not.
    """
    done = asked.answered(GZ2)
    ids = [one.partition(":")[2] for one, good in zip(asked.ids, done.tolist(), strict=True) if good]
    truth, others = (_columns(challenge.select(some)) for some in (ids, taught))
    said = Tree.load("gz2").to_challenge(asked.said(GZ2)[done])
    more = {"views": views, "rejected": int((~done).sum())}
    if len(ids):
        squares = ((said - truth) ** 2).mean(1)
        findings.add(
            GZ2, "RMSE, 37 columns of the Galaxy Challenge", ON_STRIPE, rms(squares, resamples), len(ids), **more
        )
    if len(ids) and len(taught):
        squares = ((others.mean(0) - truth) ** 2).mean(1)
        what = "RMSE, 37 columns of the Galaxy Challenge, of their means (baseline)"
        findings.add(GZ2, what, ON_STRIPE, rms(squares, resamples), len(ids))


def _columns(challenge: Catalog) -> Floats:
    return np.stack([np.asarray(challenge[name], np.float64) for name in CHALLENGE], axis=1)
