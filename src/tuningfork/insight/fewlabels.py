"""Few labels: a classifier on a network's features, fitted to 20 to 200 galaxies in seconds."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from .. import __version__, disk, recipe
from ..errors import LabelError, RecipeError
from ..evaluate.bootstrap import Estimate, Floats, Ints
from ..evaluate.calibration import fit_temperature, scale, wilson
from ..evaluate.metrics import log_losses
from ..galaxy.catalog import Catalog
from ..galaxy.cutout import Rejected
from ..galaxy.labels import LabelChoice, make_labels
from ..galaxy.votes import VotesWriter
from .embedding import Embedding, Singles

Progress = Callable[[int, int, str], None]
FOLDS = 5
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C of the logistic regression
COUNTS = (1, 3, 5, 9, 15, 25)  # neighbours
KINDS = {"logistic": STRENGTHS, "neighbours": COUNTS}
CALIBRATED = 50  # labels from which on a temperature is fitted: of fewer it is mostly noise


@dataclass(frozen=True, eq=False)
class FewLabels:
    """A classifier fitted to few labels: :meth:`probabilities` of features (N, F), and what is known of it.

    ``accuracy`` is that of galaxies which were held out (cross-validation, within which C or the number of neighbours
    was chosen anew), with the 95% Wilson interval; ``balanced`` the mean over the classes of the share that is right.
    ``choice`` is C, or the number of neighbours, ``temperature`` what the probabilities were calibrated by (1: not).
    """

    classes: tuple[str, ...]
    kind: str
    choice: float
    temperature: float
    counts: dict[str, int]
    accuracy: Estimate
    balanced: float
    mean: Singles
    scale: Singles
    basis: Singles  # (F, N)
    model: Any

    def probabilities(self, features: NDArray[Any]) -> Singles:
        """Class probabilities (N, K) float32 of features (N, F)."""
        raw = _probabilities(self.model, (features - self.mean) / self.scale @ self.basis, len(self.classes), self.kind)
        return np.asarray(scale(raw, self.temperature), np.float32)


@dataclass(frozen=True)
class FewLabelsDone:
    """What :func:`fit_few` wrote: ``n_in = n_done + n_rejected`` galaxies; and how good the fit is."""

    path: str
    kind: str
    classes: tuple[str, ...]
    n_labels: int
    counts: dict[str, int]
    choice: float
    temperature: float
    accuracy: Estimate
    balanced_accuracy: float
    n_in: int
    n_done: int
    n_rejected: int
    seconds: float
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """For people: what was fitted, how good it is, and the account."""
        chosen = f"C = {self.choice:g}" if self.kind == "logistic" else f"{self.choice:.0f} neighbours"
        told = ", ".join(f"{name} {n}" for name, n in self.counts.items())
        lines = [
            f"{self.kind} on {self.n_labels} labels ({told}), {chosen}, in {self.seconds:.1f} s",
            f"accuracy on labels that were held out: {self.accuracy}, mean of the classes {self.balanced_accuracy:.3f}",
            f"probabilities {'calibrated by' if self.temperature != 1 else 'not calibrated:'} temperature "
            f"{self.temperature:.2f}",
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def fit_few(
    features: str | Path | Embedding,
    labels: str | Path | Catalog,
    out: str | Path,
    *,
    column: str = "class",
    kind: str = "logistic",
    seed: int = 0,
    progress: Progress | None = None,
) -> FewLabelsDone:
    """Fit a classifier to ``labels`` of some galaxies of ``features``, and write its answers for all to ``out``.

    Args:
        features: a file of :func:`~tuningfork.insight.embedding.embed`.
        labels: a catalogue with an id and, in ``column``, a class.
        out: a Votes file (Parquet), as predict writes it: galaxies without features are rejected in it too.
        kind: see :func:`fit_labels`.

    Labels of galaxies that have no features are left out, and noted. Raises :class:`LabelError` where labels cannot be
    made or are too few, :class:`RecipeError` for another kind or a file that is no Parquet.
    """
    began = time.monotonic()
    if Path(out).suffix != ".parquet":
        raise RecipeError(f"'{out}': predictions are written as Parquet, so name a file that ends in .parquet")
    embedding = features if isinstance(features, Embedding) else Embedding.open(features)
    catalog = labels if isinstance(labels, Catalog) else Catalog.read(labels)
    made = make_labels(catalog, LabelChoice(kind="column", column=column))
    known = [one for one in made.ids if one in embedding.row]
    if not known:
        raise LabelError(
            f"none of {len(made)} labelled galaxies has features in '{embedding.path}': they are called "
            f"{list(made.ids[:3])} there, {embedding.ids[:3]} here"
        )
    notes = [f"{len(made) - len(known)} labelled galaxies have no features: left out"] if len(known) < len(made) else []
    notes += [f"{number:,} rows of the labels are left out: {what}" for what, number in made.dropped.items() if number]
    rows = embedding.rows_of(known)
    mean, deviation, mine = _statistics(embedding, rows)
    fitted = fit_labels(mine, made.select(known).classes, made.names, kind, mean=mean, deviation=deviation, seed=seed)
    if fitted.temperature == 1:
        notes.append(f"{len(known)} labels are too few to calibrate probabilities with: {CALIBRATED} would do")
    _write(embedding, fitted, out, made.ids, progress)
    n_in = len(embedding) + len(embedding.rejected)
    return FewLabelsDone(
        str(out), kind, fitted.classes, len(known), fitted.counts, fitted.choice, fitted.temperature, fitted.accuracy,
        fitted.balanced, n_in, len(embedding), len(embedding.rejected), time.monotonic() - began, tuple(notes),
    )  # fmt: skip


def fit_labels(
    features: NDArray[Any],
    classes: Ints,
    names: tuple[str, ...],
    kind: str = "logistic",
    *,
    mean: NDArray[Any] | None = None,
    deviation: NDArray[Any] | None = None,
    seed: int = 0,
) -> FewLabels:
    """A classifier of ``names`` (K) from features (N, F) of class numbers ``classes`` (N,).

    "logistic": a linear probe, logistic regression with an L2 penalty whose C (1e-4 to 10) has the smallest log loss by
    cross-validation, classes weighed alike. "neighbours": k nearest by the angle, weighed alike, with k (1 to 25) found
    the same way, and probabilities (n_c + 1 / K) / (k + 1), so that none is 0. Features are brought to mean 0 and
    deviation 1 by ``mean`` and ``deviation`` (F,) of many galaxies, where given, else by these.

    From 50 labels on probabilities are calibrated by a temperature that was fitted on galaxies held out (Guo et al.
    2017). Raises :class:`LabelError` for fewer than two classes or two labels of a class, :class:`RecipeError` for
    another kind.
    """
    if kind not in KINDS:
        raise RecipeError(f"--kind is '{kind}'{recipe.nearest(kind, list(KINDS))}; it may be {' or '.join(KINDS)}")
    counts = {name: int((classes == k).sum()) for k, name in enumerate(names)}
    few = [f"'{name}' has {n}" for name, n in counts.items() if n < 2]
    if few or len(names) < 2:
        raise LabelError(
            f"two classes with two labels each are the least to learn from; {', '.join(few) or 'there is one class'}: "
            "label more galaxies, or leave the class out"
        )
    mean = features.mean(axis=0) if mean is None else mean
    deviation = features.std(axis=0) if deviation is None else deviation
    deviation = np.where(deviation > 1e-6, deviation, 1).astype(np.float32)
    x = np.asarray((features - mean) / deviation, np.float32)
    # an L2 penalty, and angles, know of the span of the N galaxies alone: N << F, so that all is quick and exact there
    basis = np.linalg.qr(x.T)[0] if len(x) < x.shape[1] else np.eye(x.shape[1], dtype=np.float32)
    x = x @ basis
    held = _held_out(x, classes, len(names), kind, seed)
    right = held.argmax(axis=1) == classes
    low, high = wilson(np.array([right.mean()]), np.array([float(len(right))]))
    temperature = fit_temperature(classes, held) if len(classes) >= CALIBRATED else 1.0
    choice = _chosen(x, classes, len(names), kind, seed)
    return FewLabels(
        names, kind, choice, temperature, counts, Estimate(float(right.mean()), float(low[0]), float(high[0])),
        float(np.mean([right[classes == k].mean() for k in range(len(names))])),
        np.asarray(mean, np.float32), deviation, basis, _fitted(x, classes, kind, choice),
    )  # fmt: skip


def _folds(classes: Ints, seed: int) -> list[tuple[Ints, Ints]]:
    smallest = int(np.bincount(classes).min())
    cut = StratifiedKFold(max(2, min(FOLDS, smallest)), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class of fewer galaxies than folds, inside a fold
        return list(cut.split(np.zeros(len(classes)), classes))


def _held_out(x: Singles, classes: Ints, k: int, kind: str, seed: int) -> Floats:
    """Probabilities (N, K) of each galaxy by a fit, and a choice, that have not seen it."""
    found = np.empty((len(x), k))
    for learn, judge in _folds(classes, seed):
        choice = _chosen(x[learn], classes[learn], k, kind, seed)
        found[judge] = _probabilities(_fitted(x[learn], classes[learn], kind, choice), x[judge], k, kind)
    return found


def _chosen(x: Singles, classes: Ints, k: int, kind: str, seed: int) -> float:
    """The C, or number of neighbours, of the smallest log loss by cross-validation; of equal ones the first.

    Where a class has a single galaxy left, nothing can be held out: C = 0.01, or one neighbour.
    """
    if np.bincount(classes, minlength=k).min() < 2:
        return 0.01 if kind == "logistic" else 1.0
    folds = _folds(classes, seed + 1)
    most = min(len(learn) for learn, _ in folds)
    losses = {}
    for choice in KINDS[kind]:
        if kind == "neighbours" and choice > most:
            continue
        told = np.empty((len(x), k))
        for learn, judge in folds:
            told[judge] = _probabilities(_fitted(x[learn], classes[learn], kind, choice), x[judge], k, kind)
        losses[float(choice)] = float(log_losses(classes, told).mean())
    return min(losses, key=lambda one: losses[one])


def _fitted(x: Singles, classes: Ints, kind: str, choice: float) -> Any:
    if kind == "neighbours":
        return KNeighborsClassifier(int(choice), metric="cosine", algorithm="brute").fit(x, classes)
    made = LogisticRegression(C=choice, class_weight="balanced", max_iter=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 500 steps are near enough to choose and to answer by
        return made.fit(x, classes)


def _probabilities(model: Any, x: NDArray[Any], k: int, kind: str) -> Floats:
    found = np.zeros((len(x), k))
    if len(x):
        found[:, model.classes_] = model.predict_proba(x)
    if kind == "neighbours":
        n = model.n_neighbors
        found = (found * n + 1 / k) / (n + 1)
    return found


def _statistics(embedding: Embedding, rows: Ints) -> tuple[Singles, Singles, Singles]:
    """Mean and deviation (F,) over all galaxies, and the features of ``rows``, in one pass over the file."""
    first, second = np.zeros(embedding.n_features), np.zeros(embedding.n_features)
    mine = np.empty((len(rows), embedding.n_features), np.float32)
    start = 0
    for block in embedding.blocks():
        first += block.sum(axis=0, dtype=np.float64)
        second += (block.astype(np.float64) ** 2).sum(axis=0)
        here = np.flatnonzero((rows >= start) & (rows < start + len(block)))
        mine[here] = block[rows[here] - start]
        start += len(block)
    mean = first / len(embedding)
    deviation = np.sqrt(np.maximum(second / len(embedding) - mean**2, 0))
    return mean.astype(np.float32), deviation.astype(np.float32), mine


def _write(
    embedding: Embedding, fitted: FewLabels, out: str | Path, labelled: tuple[str, ...], progress: Progress | None
) -> None:
    """The answers for all galaxies of the features, and those without."""
    told = embedding.metadata["model"]
    digest = disk.sha256("\n".join([embedding.content, fitted.kind, *labelled]).encode())
    metadata = {
        "model": {"name": f"{fitted.kind} on the features of {told['name']}", "digest": digest},
        "card": {"training": {"galaxies": fitted.counts}, "backbone": f"scikit-learn: {fitted.kind} on features"},
        "features": told, "source": embedding.metadata["source"], "input_digest": embedding.metadata["input_digest"],
        "labelled": list(labelled), "version": __version__,
    }  # fmt: skip
    start = 0
    with VotesWriter(out, "classes", fitted.classes, None, metadata) as writer:
        for block in embedding.blocks():
            ids = embedding.ids[start : start + len(block)]
            writer.write(ids, None, None, fitted.probabilities(block))
            start += len(block)
            if progress is not None:
                progress(start, len(embedding), "answers")
        for one, reason in embedding.rejected.items():
            writer.write([one], None, None, None, [Rejected(one, reason, "no features")])
