"""Human against machine: where volunteers were unsure, how the machine's probabilities follow their votes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, disk, recipe
from ..errors import LabelError, TuningforkError
from ..galaxy.catalog import Catalog
from ..galaxy.crossmatch import UnmatchedChoice
from ..galaxy.labels import LabelChoice
from ..galaxy.records import Source
from ..galaxy.source import open_source
from ..galaxy.votes import Votes
from . import humanplots
from .asclasses import as_classes, shares_of
from .bootstrap import Bools, Estimate, Floats, Ints, Statistic, estimate, ratio
from .gallery import exhibits, highest
from .joined import Joined, join
from .judge import Judgement, plain
from .metrics import weighted_mean
from .provenance import account_line, card_of
from .report import Facts, Figure, Page, Section, Table, Text, Wall, render

Progress = Callable[[int, int, str], None]

BINS = 6  # of people's share, each with as many galaxies
SHOWN = 18  # galaxies on the wall
_PER_CLASS = ("spearman", "rmse", "constant", "bias")


def humans(
    votes: str | Path | Votes,
    truth: str | Path | Catalog,
    out: str | Path | None = None,
    *,
    choice: LabelChoice | None = None,
    unsure: tuple[float, float] = (0.0, 0.8),
    radius_arcsec: float | None = None,
    images: Source | str | Path | None = None,
    unmatched: UnmatchedChoice = "refuse",
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Judgement:
    """Hold probabilities against volunteers' shares where these were unsure, and write one page (experiment S3).

    Args:
        votes: predictions of classes, or on the tree of ``choice`` (read by :func:`as_classes`).
        truth: a catalogue with the volunteers' votes on ``choice.tree``.
        out: the page; None for the numbers alone.
        choice: tree, question, merged and dropped classes, as labels are made; by default that of the votes' card.
            Shares are renormalised, and no threshold is applied, whatever kind of "largest", "threshold", "draw" it is.
        unsure: a galaxy is one on which people were unsure if its largest share lies between these two, inclusive.
        images: where the pictures of the gallery come from; by default where the votes came from, if still there.
        radius_arcsec, unmatched, bootstrap, seed: as for :func:`~tuningfork.evaluate.judge.evaluate`.

    Per class: Spearman's rank correlation (ties get mean ranks), RMSE, the RMSE of always saying the class' mean share
    ("constant"), and the mean of machine less people ("bias"), for the unsure galaxies and for the others. Raises
    :class:`LabelError` where no galaxy is unsure in that sense, or the choice gives no shares.
    """
    judged = votes if isinstance(votes, Votes) else Votes.read(votes)
    catalog = truth if isinstance(truth, Catalog) else Catalog.read(truth)
    choice = _choice(judged, choice)
    machine = as_classes(judged, choice)
    joined = join(machine, catalog, shares_of(choice), radius_arcsec=radius_arcsec, unmatched=unmatched)
    chosen = _unsure(joined, unsure)
    numbers: dict[str, Any] = {"names": list(joined.names), "unsure": list(unsure), "account": asdict(joined.account)}
    for key, some in (("where_unsure", chosen), ("where_sure", ~chosen)):
        numbers[key] = _numbers(joined, some, bootstrap, seed, progress)
    numbers["bins"] = {
        name: bins(joined.truth[chosen, k], joined.predicted[chosen, k], bootstrap, seed)
        for k, name in enumerate(joined.names)
    }
    summary = (*_summary(joined, numbers), account_line(joined.account))
    if out is not None:
        sections = (
            Section("numbers", "Per class", _tables(joined, numbers)),
            Section("curves", "Machine against people", _figures(joined, chosen, numbers)),
            Section("gallery", "Largest disagreements", _gallery(joined, chosen, judged, images)),
            Section("made", "How it was made", (_facts(judged, catalog, choice, unsure, bootstrap, seed),)),
        )
        disk.write_text(out, render(_page(joined, judged, summary, sections)))
    n = joined.account
    path = "" if out is None else str(out)
    return Judgement(n.n_in, n.n_done, n.n_rejected, n.n_judged, summary, plain(numbers), path)


def _choice(votes: Votes, choice: LabelChoice | None) -> LabelChoice:
    if choice is not None:
        return choice
    told = card_of(votes.metadata).get("labels")
    if not told:
        raise LabelError(
            f"{votes.name} does not say how its classes are made of people's votes: give the tree "
            "(choice=LabelChoice(kind='threshold', tree=...))"
        )
    return recipe.from_mapping(LabelChoice, told)


def _unsure(joined: Joined, limits: tuple[float, float]) -> Bools:
    low, high = limits
    if not 0 <= low <= high <= 1:
        raise LabelError(f"unsure is {limits}; it is two shares of the votes, 0 <= low <= high <= 1")
    largest = joined.truth.max(1, initial=0.0)
    found: Bools = (largest >= low - 1e-6) & (largest <= high + 1e-6)  # shares are float32
    if not found.any():
        seen = f"they lie from {largest.min():.3f} to {largest.max():.3f}" if len(largest) else "there are no galaxies"
        raise LabelError(
            f"on none of {len(largest)} galaxies were people unsure: no largest share lies between {low:g} and "
            f"{high:g}; {seen}"
        )
    return found


def spearman(x: Floats, y: Floats) -> Statistic:
    """Spearman's rank correlation of ``x`` and ``y`` (N,) as a function of weights (B, N): shape (B,).

    Weights count how often a galaxy is there; equal values share their mean rank; NaN where x or y is constant.
    """
    sorters = [_ranked(values) for values in (x, y)]

    def statistic(weights: Floats) -> dict[str, Floats]:
        ranks = [ranker(weights) for ranker in sorters]
        total = np.maximum(weights.sum(1, keepdims=True), 1e-300)
        a, b = (one - (weights * one).sum(1, keepdims=True) / total for one in ranks)
        spread = np.sqrt((weights * a * a).sum(1) * (weights * b * b).sum(1))
        return {"spearman": ratio((weights * a * b).sum(1), np.where(spread > 1e-9, spread, 0.0))}

    return statistic


def _ranked(values: Floats) -> Callable[[Floats], Floats]:
    """Mean ranks (B, N) of ``values`` for weights (B, N)."""
    group: Ints = np.unique(values, return_inverse=True)[1].astype(np.int64)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])

    def ranker(weights: Floats) -> Floats:
        steps = np.add.reduceat(weights[:, order], starts, axis=1)
        return (np.cumsum(steps, axis=1) - steps / 2)[:, group]

    return ranker


def bins(human: Floats, machine: Floats, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Galaxies sorted by people's share (N,), in :data:`BINS` groups of as many, equal shares together.

    Per group: galaxies, the mean share ("human"), and the mean probability ("machine", an :class:`Estimate`).
    """
    edges = np.unique(np.quantile(human, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.digitize(human, edges)
    found = []
    for number in np.unique(place):
        here = machine[place == number]

        def mean(weights: Floats, here: Floats = here) -> dict[str, Floats]:
            return {"machine": weighted_mean(here, weights)}

        told = estimate(mean, len(here), resamples=resamples, seed=seed)
        found.append({"galaxies": len(here), "human": float(human[place == number].mean())} | told)
    return found


def _numbers(joined: Joined, some: Bools, resamples: int, seed: int, progress: Progress | None) -> dict[str, Any]:
    human, machine = joined.truth[some], joined.predicted[some]
    same = (human.argmax(1) == machine.argmax(1)).astype(np.float64)
    distance = np.abs(human - machine).sum(1) / 2
    ranks = [spearman(human[:, k], machine[:, k]) for k in range(len(joined.names))] if len(human) else []

    def each(values: Floats, weights: Floats) -> Floats:
        """Weighted means per class, (B, K), of values (N, K)."""
        return np.stack([weighted_mean(values[:, k], weights) for k in range(values.shape[1])], axis=1)

    def statistic(weights: Floats) -> dict[str, Floats]:
        means = each(human, weights)
        correlations = [rank(weights)["spearman"] for rank in ranks]
        return {
            "agreement": weighted_mean(same, weights),
            "distance": weighted_mean(distance, weights),
            "spearman": np.stack(correlations, axis=1) if ranks else np.full_like(means, np.nan),
            "rmse": np.sqrt(each((machine - human) ** 2, weights)),
            "constant": np.sqrt(np.maximum(each(human**2, weights) - means**2, 0)),
            "bias": each(machine - human, weights),
        }

    found = estimate(statistic, len(human), resamples=resamples, seed=seed, progress=progress)
    per_class = {name: {key: _of(found[key], k) for key in _PER_CLASS} for k, name in enumerate(joined.names)}
    return {
        "galaxies": len(human),
        "agreement": found["agreement"],
        "distance": found["distance"],
        "classes": per_class,
    }


def _of(value: Estimate | list[Estimate], index: int) -> Estimate:
    return value[index] if isinstance(value, list) else value


def _summary(joined: Joined, numbers: dict[str, Any]) -> tuple[str, ...]:
    here, rest = numbers["where_unsure"], numbers["where_sure"]
    low, high = numbers["unsure"]
    known = {name: row for name, row in here["classes"].items() if np.isfinite(row["spearman"].value)}
    lines = [
        f"People were unsure (largest share {low:g} to {high:g}) on {here['galaxies']:,} of {len(joined.ids):,} "
        f"galaxies. There the machine's first choice is theirs in {here['agreement']}; on the others in "
        f"{rest['agreement']}."
    ]
    if known:
        order = sorted(known, key=lambda name: -known[name]["spearman"].value)
        best, worst = order[0], order[-1]
        least = "" if len(known) <= 2 else f" and least for “{worst}” ({known[worst]['spearman']})"
        lines.append(
            f"Where people were unsure, the machine's order follows theirs {'best ' if least else ''}for “{best}” "
            f"(Spearman {known[best]['spearman']}){least}."
        )
        gains = [name for name, row in known.items() if row["rmse"].value < row["constant"].value]
        lines.append(
            f"Its RMSE is below that of always saying the mean share for {len(gains)} of {len(known)} classes"
            f"{': ' + ', '.join(gains) if gains else ''}."
        )
    return tuple(lines)


def _tables(joined: Joined, numbers: dict[str, Any]) -> tuple[Text | Table, ...]:
    blocks: list[Text | Table] = [
        Text(
            "Intervals are 95% percentile bootstrap intervals over galaxies. Spearman's correlation asks whether the "
            "machine puts galaxies in people's order; RMSE whether its probability is their share; “constant” is the "
            "RMSE of always saying the mean share, the least that any answer without a look at the picture has. "
            "Few volunteers give shares that scatter: that part of the RMSE no machine can take away. Where people "
            "were unsure shares lie in a narrow range, which alone lowers a correlation."
        )
    ]
    titles = ("class", "Spearman", "RMSE", "RMSE of constant", "machine less people")
    for key, words in (("where_unsure", "were unsure"), ("where_sure", "were sure")):
        one = numbers[key]
        rows = tuple((name, *(row[its] for its in _PER_CLASS)) for name, row in one["classes"].items())
        caption = (
            f"Where people {words}: {one['galaxies']:,} galaxies; same first choice {one['agreement']}; mean distance "
            f"(half the sum of the differences over the classes) {one['distance']}."
        )
        blocks.append(Table(titles, rows, caption))
    return tuple(blocks)


def _figures(joined: Joined, chosen: Bools, numbers: dict[str, Any]) -> tuple[Figure | Table, ...]:
    means = [
        [(row["human"], row["machine"].value, row["machine"].low, row["machine"].high) for row in numbers["bins"][name]]
        for name in joined.names
    ]
    picture = humanplots.human_scatter(joined.names, joined.truth, joined.predicted, chosen, means)
    thin = max(int(chosen.sum()), int((~chosen).sum())) > humanplots.POINTS
    few = f" At most {humanplots.POINTS:,} points of either kind are drawn." if thin else ""
    rows = tuple(
        (f"{name}, bin {number}", row["galaxies"], row["human"], row["machine"])
        for name in joined.names
        for number, row in enumerate(numbers["bins"][name], 1)
    )
    return (
        Figure(
            picture,
            "Blue: galaxies on which people were unsure; grey: the others. Orange: means of the blue ones, in bins of "
            f"as many galaxies, with 95% intervals. On the dotted line the two agree.{few}",
        ),
        Table(("bin", "galaxies", "people", "machine"), rows, "The means of the bins, where people were unsure."),
    )


def _gallery(
    joined: Joined, chosen: Bools, votes: Votes, images: Source | str | Path | None
) -> tuple[Text | Wall, ...]:
    source, why_not = _pictures(votes, images)
    distance = np.abs(joined.truth - joined.predicted).sum(1) / 2
    index = highest(np.where(chosen, distance, np.nan), SHOWN)
    captions = [
        (f"people: {_told(joined.names, joined.truth[i])}", f"machine: {_told(joined.names, joined.predicted[i])}")
        for i in index
    ]
    shown = exhibits([joined.ids[i] for i in index], captions, source, why_not)
    text = "Half the sum of the differences over the classes is largest, among galaxies on which people were unsure."
    wall = Wall("Human against machine", text, tuple(shown))
    if source is None:
        return Text(f"There are no pictures: {why_not}.", "warning"), wall
    return (wall,)


def _told(names: tuple[str, ...], shares: Floats) -> str:
    order = np.argsort(-shares, kind="stable")[:2]
    return ", ".join(f"{names[k]} {shares[k]:.2f}" for k in order)


def _pictures(votes: Votes, images: Source | str | Path | None) -> tuple[Source | None, str]:
    if images is not None:
        return (images if isinstance(images, Source) else open_source(images)), ""
    told = votes.metadata.get("source")
    if not told:
        return None, "the votes do not say where their pictures are; name it with images="
    try:
        return open_source(str(told)), ""
    except TuningforkError as error:
        return None, f"'{told}', where the votes came from, does not open ({error}); name it with images="


def _facts(
    votes: Votes, truth: Catalog, choice: LabelChoice, unsure: tuple[float, float], resamples: int, seed: int
) -> Facts:
    kept = {key: value for key, value in asdict(choice).items() if value != getattr(LabelChoice(), key)}
    model = votes.metadata.get("model")
    told = model if isinstance(model, dict) else {}
    pairs = [
        ("votes", f"{votes.name}, of the part {votes.metadata.get('part') or 'not told'}"),
        ("model", f"{told.get('name', 'not told')} {told.get('digest', '')}".strip()),
        ("people", truth.name),
        ("classes", ", ".join(f"{key}: {value}" for key, value in kept.items())),
        ("unsure", f"the largest share lies between {unsure[0]:g} and {unsure[1]:g}"),
        ("bootstrap", f"{resamples} resamples, seed {seed}"),
        ("judged by", f"tuningfork {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
    ]
    return Facts(tuple(pairs))


def _page(joined: Joined, votes: Votes, summary: tuple[str, ...], sections: tuple[Section, ...]) -> Page:
    model = votes.metadata.get("model")
    name = model.get("name", "") if isinstance(model, dict) else ""
    return Page(
        title=f"Human against machine: {name or 'these votes'}",
        subtitle=f"Probabilities of classes against volunteers' shares, {len(joined.ids):,} galaxies",
        summary=summary,
        sections=sections,
        warnings=joined.notes,
        footer=f"Made by tuningfork {__version__}. Every picture and style is inside this file; it loads nothing.",
    )
