"""Compare: several files of votes on the same galaxies, one against the other, on one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, disk
from ..errors import BadVotes, LabelError
from ..galaxy.catalog import Catalog
from ..galaxy.crossmatch import UnmatchedChoice
from ..galaxy.labels import LabelChoice
from ..galaxy.votes import Votes
from . import plots
from .asclasses import as_classes
from .bootstrap import Estimate, Floats, Ints, Statistic, estimate
from .joined import Joined, join, true_labels
from .judge import plain
from .metrics import class_statistic, confusion, majority_baseline
from .report import Block, Cell, Confusion, Facts, Figure, Page, Section, Table, Text, render

Progress = Callable[[int, int, str], None]

_MEASURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "macro_roc_auc": "macro ROC AUC",
    "log_loss": "log loss",
    "brier": "Brier",
}
_PER_CLASS = {"recall": "recall", "precision": "precision", "f1": "F1", "roc_auc": "ROC AUC"}


@dataclass(frozen=True)
class Comparison:
    """What came out: ``names`` of the votes, the first being the one that the others are held against.

    ``n_judged`` galaxies are done and labelled in all of them. ``numbers`` holds everything the page shows, ready for
    JSON: per name its metrics, their ``difference`` from the first (of the same resamples), its classes and confusion.
    """

    names: tuple[str, ...]
    n_judged: int
    summary: tuple[str, ...]
    numbers: dict[str, Any]
    path: str = ""

    def text(self) -> str:
        """The summary, one line each."""
        return "\n".join(self.summary)


@dataclass(frozen=True, eq=False)
class _Rivals:
    """The galaxies judged in all votes: their classes (N,), and per name probabilities (N, K) and class given (N,)."""

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    truth: Ints
    predicted: dict[str, Floats]
    given: dict[str, Ints]
    joined: dict[str, Joined]
    choice: LabelChoice


def compare(
    votes: Sequence[str | Path | Votes],
    truth: str | Path | Catalog,
    out: str | Path | None = None,
    *,
    names: Sequence[str] | None = None,
    choice: LabelChoice | None = None,
    unmatched: UnmatchedChoice = "refuse",
    bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Judge several votes on the galaxies that all of them have, and write one page to ``out`` (None: numbers alone).

    ``names`` are what the page calls them; by default the model's name in each file. ``choice`` makes the labels, by
    default as the card in the first votes says; votes on a tree are read as classes by :func:`as_classes`.
    ``unmatched``, ``bootstrap`` and ``seed`` are as for :func:`~tuningfork.evaluate.judge.evaluate`. Every resample
    draws the same galaxies for all, so that the interval of a difference is that of a paired comparison.

    Raises :class:`BadVotes` for fewer than two votes or names that do not fit, :class:`LabelError` where the votes have
    no galaxy in common, and what joining raises.
    """
    if len(votes) < 2:
        raise BadVotes(f"{len(votes)} file of votes came; a comparison needs two or more")
    read = [one if isinstance(one, Votes) else Votes.read(one) for one in votes]
    catalog = truth if isinstance(truth, Catalog) else Catalog.read(truth)
    called = _names(read, votes, names)
    rivals = _rivals(dict(zip(called, read, strict=True)), catalog, choice, unmatched)
    found = _judge(rivals, bootstrap, seed, progress)
    summary = _summary(rivals, found)
    if out is not None:
        facts = _facts(rivals, read, votes, catalog.name, bootstrap, seed)
        disk.write_text(out, render(_page(rivals, read, found, summary, facts)))
    return Comparison(called, len(rivals.ids), summary, plain(found), "" if out is None else str(out))


def _names(read: Sequence[Votes], given: Sequence[Any], names: Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        names = []
        for one, came in zip(read, given, strict=True):
            model = one.metadata.get("model")
            told = model.get("name") if isinstance(model, dict) else None
            name = str(told or (Path(came).stem if isinstance(came, str | Path) else one.name.strip("'")))
            names.append(name if name not in names else f"{name} ({len(names) + 1})")
    if len(names) != len(read) or len(set(names)) != len(names):
        raise BadVotes(f"{len(read)} votes came with the names {list(names)}: give each its own")
    return tuple(names)


def _rivals(
    votes: dict[str, Votes], catalog: Catalog, choice: LabelChoice | None, unmatched: UnmatchedChoice
) -> _Rivals:
    choice = true_labels(next(iter(votes.values())), catalog, choice).choice
    joined = {name: join(as_classes(one, choice), catalog, choice, unmatched=unmatched) for name, one in votes.items()}
    common = sorted(set.intersection(*(set(one.ids) for one in joined.values())))
    if not common:
        counts = ", ".join(f"{name}: {len(one.ids):,}" for name, one in joined.items())
        raise LabelError(f"no galaxy is judged in all of these votes ({counts}): predict the same part of one split")
    classes = tuple(dict.fromkeys(name for one in joined.values() for name in one.names))
    predicted, given, truth = {}, {}, np.zeros(len(common), np.int64)
    for name, one in joined.items():
        row = {identifier: number for number, identifier in enumerate(one.ids)}
        rows = [row[identifier] for identifier in common]
        values = np.zeros((len(common), len(classes)))
        values[:, [classes.index(its) for its in one.names]] = one.predicted[rows]
        predicted[name] = values
        given[name] = np.array([classes.index(one.names[c]) for c in one.given[rows]], dtype=np.int64)
        truth = np.array([classes.index(one.names[c]) for c in one.classes[rows]], dtype=np.int64)
    return _Rivals(tuple(common), classes, truth, predicted, given, joined, choice)


def _paired(rivals: _Rivals) -> Statistic:
    """All measures of all votes, and their differences from the first, as one function of weights."""
    each = {name: class_statistic(rivals.truth, p, rivals.given[name]) for name, p in rivals.predicted.items()}

    def statistic(weights: Floats) -> dict[str, Floats]:
        found: dict[str, Floats] = {}
        first: dict[str, Floats] = {}
        for name, one in each.items():
            values = one(weights)
            first = first or values
            found |= {f"{key}/{name}": values[key] for key in (*_MEASURES, *_PER_CLASS)}
            found |= {f"difference of {key}/{name}": values[key] - first[key] for key in _MEASURES}
        return found

    return statistic


def _judge(rivals: _Rivals, resamples: int, seed: int, progress: Progress | None) -> dict[str, Any]:
    n, k = len(rivals.ids), len(rivals.classes)
    found = estimate(_paired(rivals), n, resamples=resamples, seed=seed, progress=progress)
    baseline = majority_baseline(rivals.truth, k)
    commonest = rivals.classes[int(baseline.pop("class"))]
    numbers: dict[str, Any] = {"galaxies": n, "classes": list(rivals.classes), "votes": {}}
    numbers["baseline"] = {"class": commonest} | {key: baseline[key] for key in _MEASURES}
    for number, (name, given) in enumerate(rivals.given.items()):
        difference = {key: found[f"difference of {key}/{name}"] for key in _MEASURES} if number else {}
        per_class = {key: found[f"{key}/{name}"] for key in _PER_CLASS}
        numbers["votes"][name] = {
            "metrics": {key: found[f"{key}/{name}"] for key in _MEASURES},
            "difference": difference,
            "per_class": {
                one: {key: values[c] if isinstance(values, list) else values for key, values in per_class.items()}
                for c, one in enumerate(rivals.classes)
            },
            "confusion": confusion(rivals.truth, given, k, np.ones((1, n)))[0].astype(int).tolist(),
            "account": asdict(rivals.joined[name].account),
        }
    return numbers


def _summary(rivals: _Rivals, found: dict[str, Any]) -> tuple[str, ...]:
    votes, n = found["votes"], len(rivals.ids)
    first = next(iter(votes))
    best = max(votes, key=lambda name: votes[name]["metrics"]["balanced_accuracy"].value)
    top = votes[best]["metrics"]
    lines = [
        f"On the same {n:,} galaxies, highest balanced accuracy: “{best}”, {top['balanced_accuracy']} (accuracy "
        f"{top['accuracy']}); always saying “{found['baseline']['class']}” would reach "
        f"{found['baseline']['balanced_accuracy']:.3f} ({found['baseline']['accuracy']:.3f})."
    ]
    for name, one in list(votes.items())[1:]:
        change: Estimate = one["difference"]["accuracy"]
        sure = "" if change.low > 0 or change.high < 0 or not np.isfinite(change.low) else ", which may be chance"
        interval = f" [{change.low:+.3f}, {change.high:+.3f}]" if np.isfinite(change.low) else ""
        lines.append(f"“{name}” differs from “{first}” in accuracy by {change.value:+.3f}{interval}{sure}.")
    left = {name: len(one.ids) - n for name, one in rivals.joined.items() if len(one.ids) > n}
    if left:
        words = ", ".join(f"{number:,} of “{name}”" for name, number in left.items())
        lines.append(f"Left out because not all votes have them: {words}.")
    return tuple(lines)


def _page(
    rivals: _Rivals, read: Sequence[Votes], found: dict[str, Any], summary: tuple[str, ...], facts: Facts
) -> Page:
    parts = {str(one.metadata.get("part") or "unknown") for one in read}
    warnings = [note for one in rivals.joined.values() for note in one.notes]
    if parts != {"test"}:
        told = ", ".join(sorted(parts))
        warnings.append(f"Not all votes say that they are of the test part (parts: {told}): some may have been learnt.")
    sections = (
        Section("data", "What is compared", _data(rivals, read)),
        Section("metrics", "Metrics", _metrics(found)),
        Section("curves", "ROC and precision-recall", _curves(rivals, found)),
        Section("confusion", "Confusion", _confusions(rivals, found)),
        Section("made", "How it was made", (facts,)),
    )
    return Page(
        title=f"{len(read)} classifiers on the same galaxies",
        subtitle=f"Predicted classes against the truth of {len(rivals.ids):,} galaxies",
        summary=summary,
        sections=sections,
        warnings=tuple(dict.fromkeys(warnings)),
        footer=f"Made by tuningfork {__version__}. Every picture and style is inside this file; it loads nothing.",
    )


def _data(rivals: _Rivals, read: Sequence[Votes]) -> tuple[Block, ...]:
    rows = []
    for (name, one), votes in zip(rivals.joined.items(), read, strict=True):
        account = one.account
        part = str(votes.metadata.get("part") or "not told")
        rows.append((name, part, account.n_in, account.n_done, account.n_rejected, account.n_judged, len(rivals.ids)))
    counts = np.bincount(rivals.truth, minlength=len(rivals.classes))
    share = tuple(
        (name, int(count), float(count / len(rivals.ids))) for name, count in zip(rivals.classes, counts, strict=True)
    )
    columns = ("votes", "part", "in", "done", "rejected", "with truth", "compared")
    return (
        Table(columns, tuple(rows), "in = done + rejected. Compared are the galaxies that all votes have and judge."),
        Table(("class", "galaxies", "share"), share, "The truth of the galaxies compared."),
    )


def _metrics(found: dict[str, Any]) -> tuple[Block, ...]:
    votes, baseline = found["votes"], found["baseline"]
    first = next(iter(votes))
    blocks: list[Block] = [
        Text(
            "Intervals are 95% percentile bootstrap intervals over galaxies. All votes are judged on the same galaxies "
            "in every resample, so a difference is known better than the two values: it is sure where its interval "
            "leaves out 0. Each interval stands for itself; among many, one in twenty errs by chance. Nothing here "
            "tells how much another training run would change."
        )
    ]
    for keys in (tuple(_MEASURES)[:3], tuple(_MEASURES)[3:]):  # six columns of intervals are too wide for a page
        rows: list[tuple[Cell, ...]] = [(name, *(one["metrics"][key] for key in keys)) for name, one in votes.items()]
        rows.append((f"always “{baseline['class']}”", *(float(baseline[key]) for key in keys)))
        rows += [
            (f"{name}, less {first}", *(one["difference"][key] for key in keys))
            for name, one in votes.items()
            if name != first
        ]
        titles = tuple(_MEASURES[key] for key in keys)
        small = "Small is good: log loss (nats) and Brier score (0 to 2)." if "log_loss" in keys else ""
        blocks.append(Table(("votes", *titles), tuple(rows), small))
    for key, title in _PER_CLASS.items():
        each = [(name, *(row[key] for row in one["per_class"].values())) for name, one in votes.items()]
        blocks.append(Table((title, *found["classes"]), tuple(each), f"{title[0].upper()}{title[1:]} of each class."))
    return tuple(blocks)


def _curves(rivals: _Rivals, found: dict[str, Any]) -> tuple[Block, ...]:
    blocks: list[Block] = [Text("Each class against the rest, ranked by its probability; the dotted line is chance.")]
    for c, name in enumerate(rivals.classes):
        positive = rivals.truth == c
        lines = [
            plots.Curve(_label(called, found["votes"][called]["per_class"][name]["roc_auc"]), positive, p[:, c])
            for called, p in rivals.predicted.items()
        ]
        caption = f"“{name}”: {int(positive.sum()):,} of {len(positive):,} galaxies. AUC: area under the ROC curve."
        blocks.append(Figure(plots.ranking_curves(lines, name), caption))
    return tuple(blocks)


def _label(name: str, area: Estimate) -> str:
    short = name if len(name) <= 34 else f"{name[:33]}…"
    return f"{short}  AUC {area.value:.3f}"


def _confusions(rivals: _Rivals, found: dict[str, Any]) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for name, one in found["votes"].items():
        blocks += [Text(name, "h3"), Confusion(rivals.classes, np.array(one["confusion"], dtype=np.float64))]
    return tuple(blocks)


def _facts(
    rivals: _Rivals, read: Sequence[Votes], given: Sequence[Any], truth: str, resamples: int, seed: int
) -> Facts:
    told = {key: value for key, value in asdict(rivals.choice).items() if value != getattr(LabelChoice(), key)}
    labels = ", ".join(f"{key}: {value}" for key, value in ({"kind": rivals.choice.kind} | told).items())
    facts = [("truth", truth), ("labels", labels)]
    for name, votes, came in zip(rivals.predicted, read, given, strict=True):
        model = votes.metadata.get("model")
        digest = str(model.get("digest", "")) if isinstance(model, dict) else ""
        file = f"{Path(came).name}: {disk.sha256(Path(came))}" if isinstance(came, str | Path) else "in memory"
        facts.append((name, f"{file}{f'; model {digest}' if digest else ''}"))
    facts += [
        ("judged by", f"tuningfork {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("bootstrap", f"{resamples} resamples of {len(rivals.ids)} galaxies, seed {seed}"),
    ]
    return Facts(tuple(facts))
