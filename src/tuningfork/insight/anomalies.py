"""Anomalies: which galaxies are odd, by three measures of their features, and by what a user finds interesting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import LocalOutlierFactor

from .. import recipe
from ..errors import BadCatalog, LabelError, RecipeError
from ..evaluate.bootstrap import Floats, Ints
from ..evaluate.strangeness import fit_strangeness
from ..galaxy.catalog import Catalog
from ..galaxy.records import Source
from ..galaxy.tablefile import write_table
from .contactsheet import contact_sheet
from .embedding import Embedding, Singles

Progress = Callable[[int, int, str], None]
COMPONENTS = 40  # principal components in which forests, neighbours and the user's taste look at the galaxies
FITTED = 20_000  # galaxies that forests and neighbours are fitted on; more are only scored
NEIGHBOURS = 20
FEWEST = 50
YES, NO = ("1", "true", "yes", "y"), ("0", "false", "no", "n")


def _forest(x: Singles, some: Ints, features: Singles, seed: int) -> Floats:
    made = IsolationForest(n_estimators=200, random_state=seed).fit(x[some])
    return np.asarray(-made.score_samples(x), np.float64)


def _outlier(x: Singles, some: Ints, features: Singles, seed: int) -> Floats:
    made = LocalOutlierFactor(NEIGHBOURS, novelty=True).fit(x[some])
    found = np.asarray(-made.score_samples(x), np.float64)
    found[some] = -made.negative_outlier_factor_  # of those that were fitted: without themselves as neighbours
    return found


def _distance(x: Singles, some: Ints, features: Singles, seed: int) -> Floats:
    return fit_strangeness(features[some], seed=seed).score(features)


# isolation forest (Liu, Ting & Zhou 2008), local outlier factor (Breunig et al. 2000), Mahalanobis distance
METHODS: dict[str, Callable[[Singles, Ints, Singles, int], Floats]] = {
    "forest": _forest,
    "outlier": _outlier,
    "distance": _distance,
}


@dataclass(frozen=True, eq=False)
class Anomalies:
    """How odd N galaxies are: ``ids`` in the order of the features, everything else (N,) beside them.

    ``scores`` are those of each method, of which larger is odder, in units of its own. ``oddness`` is the mean over the
    methods of the share of galaxies that are less odd, 0..1. ``interest`` is what they are ordered by: oddness, or with
    a user's answers, oddness drawn towards their taste (:func:`anomalies`). ``told`` are these answers.
    """

    ids: tuple[str, ...]
    scores: dict[str, Floats]
    oddness: Floats
    interest: Floats
    told: dict[str, bool]
    notes: tuple[str, ...] = ()

    @property
    def order(self) -> Ints:
        """Rows, the most interesting first; equal ones in the order of the features."""
        return np.argsort(-self.interest, kind="stable")

    def table(self) -> pa.Table:
        """All galaxies, the most interesting first: ``rank`` (from 1), ``id``, ``interest``, ``oddness``, scores."""
        rows = self.order
        columns: dict[str, Any] = {
            "rank": np.arange(1, len(rows) + 1),
            "id": [self.ids[row] for row in rows],
            "interest": self.interest[rows],
            "oddness": self.oddness[rows],
        }
        columns |= {name: values[rows] for name, values in self.scores.items()}
        answers = [self.told.get(self.ids[row]) for row in rows]
        return pa.table(columns | {"interesting": pa.array(answers, pa.bool_())})

    def write(self, path: str | Path) -> None:
        """Write :meth:`table` as .csv, .ecsv, .fits, .vot or .parquet."""
        write_table(self.table(), path)

    def text(self, count: int = 20) -> str:
        """The first ``count`` for people, a line each."""
        lines = []
        for number, row in enumerate(self.order[:count].tolist(), 1):
            answer = {True: "  yes", False: "  no", None: ""}[self.told.get(self.ids[row])]
            lines.append(
                f"{number:5}  {self.ids[row]}  interest {self.interest[row]:.3f}  odd {self.oddness[row]:.3f}{answer}"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def figure(self, source: Source, count: int = 24, columns: int = 8) -> Figure:
        """The pictures of the first ``count``, with their rank, and whether the user found them interesting."""
        marks = {True: " yes", False: " no", None: ""}
        tiles = [
            (self.ids[row], f"{number}. {self.interest[row]:.2f}{marks[self.told.get(self.ids[row])]}\n{self.ids[row]}")
            for number, row in enumerate(self.order[:count].tolist(), 1)
        ]
        rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
        return contact_sheet(rows, source, "The oddest galaxies" + (", by your taste" if self.told else ""))


def anomalies(
    features: str | Path | Embedding,
    told: Mapping[str, bool] | None = None,
    *,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
    progress: Progress | None = None,
) -> Anomalies:
    """Rank the galaxies of ``features`` by how odd they are, and by what a user said of some of them.

    Each of ``methods`` scores every galaxy: "forest" and "outlier" in 40 principal components of the features,
    "distance" (:mod:`~tuningfork.evaluate.strangeness`) in all. Above 20,000 galaxies the methods are fitted on that
    many, drawn with ``seed``. The oddness S is the mean of their ranks, 0..1.

    ``told`` says of some ids whether they are interesting. As in Astronomaly (Lochner & Bassett 2021, section 3.3), the
    user's taste is learnt by a regression on the features and counts near what they have seen: with p the probability
    of yes by a logistic regression (1 or 0 where all answers are yes, or no) and d the distance to the nearest galaxy
    that they answered about,

        interest = S + w t (1 - S) where t = 2 p - 1 is above 0,   S + w t S where it is below,
        w = exp(-d^2 / (2 h^2)),   h half the median distance of two galaxies.

    So what is like the liked rises towards 1, what is like the disliked falls towards 0, and what is like neither, or
    like both, stays. (Astronomaly multiplies S, which only ever lowers it.)

    Raises :class:`RecipeError` for a method that is none, :class:`BadCatalog` for fewer than 50 galaxies or an id
    without features.
    """
    wrong = [one for one in methods if one not in METHODS]
    if wrong or not methods:
        near = recipe.nearest(wrong[0], list(METHODS)) if wrong else ""
        raise RecipeError(f"methods are {', '.join(methods) or 'none'}{near}; there are {', '.join(METHODS)}")
    embedding = features if isinstance(features, Embedding) else Embedding.open(features)
    answers = dict(told or {})
    seen = embedding.rows_of(list(answers))
    if len(embedding) < FEWEST:
        raise BadCatalog(f"'{embedding.path}' has {len(embedding)} galaxies: {FEWEST} are needed to tell what is odd")
    values = embedding.values()
    some = np.sort(np.random.default_rng(seed).permutation(len(values))[:FITTED])
    x = components(values, some, seed)
    scores = {}
    for number, name in enumerate(dict.fromkeys(methods)):
        scores[name] = METHODS[name](x, some, values, seed)
        if progress is not None:
            progress(number + 1, len(methods), name)
    oddness = np.mean([(rankdata(one) - 1) / max(len(one) - 1, 1) for one in scores.values()], axis=0)
    notes = [] if len(some) == len(values) else [f"fitted on {len(some):,} of {len(values):,} galaxies, drawn by lot"]
    interest = oddness if not answers else _towards(oddness, x, seen, np.array(list(answers.values())), seed)
    return Anomalies(tuple(embedding.ids), scores, oddness, interest, answers, tuple(notes))


def components(values: Singles, some: Ints, seed: int = 0, count: int = COMPONENTS) -> Singles:
    """The principal components (N, at most ``count``) of features (N, F), as fitted on the rows ``some``.

    They keep their variances, so that distances are about those of the features; the first has the variance 1.
    """
    made = PCA(min(count, len(some), values.shape[1]), svd_solver="randomized", random_state=seed).fit(values[some])
    scale = np.sqrt(max(float(made.explained_variance_[0]), 1e-30))
    return np.asarray(made.transform(values) / scale, np.float32)


def _towards(oddness: Floats, x: Singles, seen: Ints, liked: Any, seed: int) -> Floats:
    """The interest: see :func:`anomalies`."""
    taste = np.full(len(x), float(liked[0]))
    if len(set(liked.tolist())) == 2:
        fitted = LogisticRegression(class_weight="balanced", max_iter=1000).fit(x[seen], liked)
        taste = fitted.predict_proba(x)[:, 1].astype(np.float64)
    pairs = np.random.default_rng(seed).integers(len(x), size=(2, 2000))
    h = max(float(np.median(np.linalg.norm(x[pairs[0]] - x[pairs[1]], axis=1))) / 2, 1e-12)
    squared = np.full(len(x), np.inf)
    for row in seen:
        squared = np.minimum(squared, ((x - x[row]) ** 2).sum(axis=1))
    weight = np.exp(-squared / (2 * h**2))
    taste = 2 * taste - 1
    return np.asarray(oddness + weight * taste * np.where(taste > 0, 1 - oddness, oddness), np.float64)


def read_answers(
    path: str | Path | None, yes: Sequence[str] = (), no: Sequence[str] = (), column: str = "interesting"
) -> dict[str, bool]:
    """A user's answers by id: of a table with an id and a ``column`` of yes/no, 1/0 or true/false, then by name.

    Empty cells are no answer. Raises :class:`LabelError` for other words, a column that is not there, or an id that is
    both liked and disliked; and what reading the table raises.
    """
    found: dict[str, bool] = {}
    if path is not None:
        table = Catalog.read(path)
        if column not in table.columns:
            near = recipe.nearest(column, table.columns)
            raise LabelError(f"'{path}' has no column '{column}'{near}; it has {', '.join(table.columns)}")
        for one, value in zip(table.ids, table.table.column(column).to_pylist(), strict=True):
            word = "" if value is None else str(value).strip().lower().removesuffix(".0")
            if word in ("", "none"):
                continue
            if word not in YES + NO:
                raise LabelError(f"'{path}' says '{value}' of '{one}': write yes or no (or 1 and 0, true and false)")
            found[one] = word in YES
    for answer, names in ((True, yes), (False, no)):
        for one in names:
            if found.setdefault(one, answer) != answer:
                raise LabelError(f"'{one}' is said to be interesting and not: take one of the two away")
    return found
