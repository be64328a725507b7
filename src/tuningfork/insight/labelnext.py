"""Label next: the galaxies whose labels would teach a model most, no two of them alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from scipy.special import digamma, xlogy

from .. import recipe
from ..errors import BadCatalog, BadVotes, RecipeError
from ..evaluate.bootstrap import Floats, Ints
from ..galaxy.records import Source
from ..galaxy.tablefile import write_table
from ..galaxy.votes import Votes
from .anomalies import components
from .contactsheet import contact_sheet
from .embedding import Embedding, Singles

POOL = 10  # times as many galaxies as are asked for, the most uncertain, are those that are chosen from
SAMPLE = 20_000  # galaxies that the principal components are fitted on


@dataclass(frozen=True, eq=False)
class Proposal:
    """Galaxies to label, in the order they were chosen: ``ids`` (M,), how ``uncertain`` each is, and its ``batch``.

    ``method`` says in which measure: "margin" (1 - the difference of the two likeliest answers), "entropy" or "bald"
    (nats).
    """

    ids: tuple[str, ...]
    uncertain: Floats
    batch: Ints
    method: str
    notes: tuple[str, ...] = ()

    def table(self) -> pa.Table:
        """One row per galaxy: ``id``, ``batch`` (from 1), ``uncertain``."""
        return pa.table({"id": list(self.ids), "batch": self.batch, "uncertain": self.uncertain})

    def write(self, path: str | Path) -> None:
        """Write :meth:`table` as .csv, .ecsv, .fits, .vot or .parquet."""
        write_table(self.table(), path)

    def text(self) -> str:
        """A line per galaxy, for people, in the order in which to label: uncertain, and unlike those before."""
        told = zip(self.batch.tolist(), self.ids, self.uncertain.tolist(), strict=True)
        lines = [f"{number:4}  {one}  uncertain {value:.4f} ({self.method})" for number, one, value in told]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def figure(self, source: Source, count: int = 24, columns: int = 8) -> Figure:
        """The pictures of the first ``count``."""
        told = zip(self.ids[:count], self.uncertain[:count].tolist(), strict=True)
        tiles = [(one, f"{value:.2f}\n{one}") for one, value in told]
        rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
        return contact_sheet(
            rows, source, f"To be labelled next: uncertain (by {self.method}), and unlike those before"
        )


def label_next(
    features: str | Path | Embedding,
    votes: str | Path | Votes | Sequence[str | Path | Votes],
    *,
    count: int = 50,
    batches: int = 1,
    method: str = "",
    pool: int = POOL,
    labelled: Collection[str] = (),
    seed: int = 0,
) -> Proposal:
    """Propose ``batches`` times ``count`` galaxies to be labelled next: uncertain, and unlike each other.

    Args:
        features: a file of :func:`~tuningfork.insight.embedding.embed`, in which galaxies are alike or not.
        votes: what a model says of the same galaxies (a file of predict); several files are several models of one kind.
        method: see :func:`uncertainty`; "" takes "bald" where it can be had, else "margin".
        pool: the most uncertain ``pool * count * batches`` are chosen from; 1 takes the most uncertain alone, whatever
            they are like.
        labelled: ids that have a label: not proposed, and what is like them is less so.

    Of the pool the first is the most uncertain; each next is drawn with a chance proportional to u d^2, u being its
    uncertainty and d its distance to the nearest that is chosen or labelled, in 40 principal components of the features
    (the seeding of k-means++, Arthur & Vassilvitskii 2007; Ash et al. 2020 for labels), so that of two galaxies that
    look the same one is asked about. Batches follow each other, so that those after the first may be left.

    Raises :class:`RecipeError` for numbers below 1, :class:`BadCatalog` where too few galaxies are left, and what
    :func:`uncertainty` raises.
    """
    for flag, number in (("--count", count), ("--batches", batches), ("--pool", pool)):
        if number < 1:
            raise RecipeError(f"{flag} is {number}; it must be 1 or more")
    embedding = features if isinstance(features, Embedding) else Embedding.open(features)
    given = [votes] if isinstance(votes, str | Path | Votes) else list(votes)
    tables = [one if isinstance(one, Votes) else Votes.read(one) for one in given]
    method, ids, uncertain = uncertainty(tables, method)
    done = set(labelled)
    keep = np.array([one in embedding.row and one not in done for one in ids], np.bool_)
    wanted = count * batches
    if int(keep.sum()) < wanted:
        raise BadCatalog(
            f"{wanted} galaxies are asked for, but {int(keep.sum())} of the {len(ids)} in the votes have features in "
            f"'{embedding.path}' and no label yet: ask for fewer, or embed and predict the same galaxies"
        )
    rows = np.flatnonzero(keep)
    best = rows[np.argsort(-uncertain[rows], kind="stable")][: pool * wanted]
    missing = sum(one not in embedding.row for one in ids)
    notes = (f"{missing:,} of {len(ids):,} galaxies of the votes have no features: left out",) if missing else ()
    x = _space(embedding, seed)
    near = x[embedding.rows_of([one for one in labelled if one in embedding.row])]
    places = x[embedding.rows_of([ids[row] for row in best])]
    picked = best[:wanted] if pool == 1 else best[spread(places, uncertain[best], wanted, near, seed)]
    batch = np.repeat(np.arange(1, batches + 1), count)
    return Proposal(tuple(ids[row] for row in picked), uncertain[picked], batch, method, notes)


def _space(embedding: Embedding, seed: int) -> Singles:
    values = embedding.values()
    some = np.sort(np.random.default_rng(seed).permutation(len(values))[:SAMPLE])
    return components(values, some, seed)


def spread(x: Singles, weights: Floats, count: int, near: Singles, seed: int = 0) -> Ints:
    """``count`` different rows of x (N, D): the heaviest, then each with a chance of weight times squared distance.

    The distance is that to the nearest row taken before, or of ``near`` (M, D). Where all that is left lies on these,
    the heaviest of it are taken.
    """
    generator = np.random.default_rng(seed)
    squared = np.full(len(x), np.inf)
    for one in near:
        squared = np.minimum(squared, ((x - one) ** 2).sum(axis=1, dtype=np.float64))
    weights = weights - min(float(weights.min()), 0.0)
    chosen = [int(np.argmax(weights))]
    while len(chosen) < count:
        squared = np.minimum(squared, ((x - x[chosen[-1]]) ** 2).sum(axis=1, dtype=np.float64))
        chance = weights * squared
        chance[chosen] = 0
        total = chance.sum()
        if total > 0:
            chosen.append(int(generator.choice(len(x), p=chance / total)))
        else:
            left = weights.copy()
            left[chosen] = -1
            chosen.append(int(np.argmax(left)))
    return np.array(chosen, np.int64)


def uncertainty(votes: Sequence[Votes], method: str = "") -> tuple[str, list[str], Floats]:
    """How uncertain models are of the galaxies that all of them answered about: the method, ids (N,) and values (N,).

    "margin": 1 - (p1 - p2), of the likeliest two answers. "entropy": H(p) = -sum p ln p. "bald" (Houlsby et al. 2011):
    what a label would tell about the models, H(mean p) - mean H(p); of several votes, or of one of Dirichlet
    concentrations a with sum A, whose mean entropy is psi(A + 1) - sum (a / A) psi(a + 1). Of several votes the first
    two look at the mean p. Of a tree it is the sum over its questions, each times the share of volunteers who are asked
    it; of attributes on 0..1 the sum over them, each as a question of yes and no.

    Raises :class:`RecipeError` for a method that is none or cannot be had, :class:`BadVotes` for votes that do not
    answer the same or share no galaxy.
    """
    if not votes:
        raise RecipeError("give the votes of one model or several")
    first = votes[0]
    can = len(votes) > 1 or first.head == "dirichlet"
    method = method or ("bald" if can else "margin")
    if method not in ("margin", "entropy", "bald"):
        near = recipe.nearest(method, ["margin", "entropy", "bald"])
        raise RecipeError(f"--method is '{method}'{near}; it may be margin, entropy or bald")
    if method == "bald" and not can:
        raise RecipeError(
            f"'bald' needs votes of several models, or Dirichlet concentrations; this is one of {first.head}: give "
            "more --votes, or take margin or entropy"
        )
    for other in votes[1:]:
        if (other.head, other.names) != (first.head, first.names):
            raise BadVotes(f"{first.name} and {other.name} do not answer the same: {first.names} and {other.names}")
    rows = [{one: k for k, one in enumerate(its.ids) if its.done[k]} for its in votes]
    ids = [one for one in rows[0] if all(one in other for other in rows[1:])]
    if not ids:
        raise BadVotes(f"no galaxy has an answer in all of {', '.join(one.name for one in votes)}")
    picked = [np.array([row[one] for one in ids]) for row in rows]
    shares = np.stack([its.fractions[some] for its, some in zip(votes, picked, strict=True)]).astype(np.float64)
    alpha = np.stack([its.values[some] for its, some in zip(votes, picked, strict=True)]).astype(np.float64)
    total = np.zeros(len(ids))
    for part, asked in _questions(first, shares.mean(axis=0)):
        if first.head == "sigmoid":
            p = np.concatenate([shares[..., part], 1 - shares[..., part]], axis=-1)
        else:
            p = shares[..., part]  # (models, N, answers)
        entropies = _mean_entropy(alpha[..., part]) if first.head == "dirichlet" else _entropy(p)
        total += asked * _measure(method, p, entropies)
    return method, ids, total


def _questions(votes: Votes, mean: Floats) -> list[tuple[slice, Floats]]:
    """The columns of each question, and the share (N,) of volunteers who are asked it."""
    if votes.head == "sigmoid":
        return [(slice(k, k + 1), np.ones(len(mean))) for k in range(mean.shape[1])]
    if votes.tree is None or votes.head == "classes":
        return [(slice(0, mean.shape[1]), np.ones(len(mean)))]
    reach = votes.tree.reach(mean)
    return [(part, reach[:, k]) for k, part in enumerate(votes.tree.slices.values())]


def _measure(method: str, p: Floats, entropies: Floats) -> Floats:
    """The uncertainty (N,) of p (models, N, answers) whose entropies under each model are (models, N)."""
    mean = p.mean(axis=0)
    if method == "entropy":
        return _entropy(mean)
    if method == "bald":
        return np.maximum(_entropy(mean) - entropies.mean(axis=0), 0.0)
    if mean.shape[1] < 2:
        return np.zeros(len(mean))
    best = np.sort(mean, axis=1)
    return np.asarray(1 - (best[:, -1] - best[:, -2]), np.float64)


def _entropy(p: Floats) -> Floats:
    return np.asarray(-xlogy(p, p).sum(axis=-1), np.float64)


def _mean_entropy(alpha: Floats) -> Floats:
    """The entropy that draws from Dirichlet distributions (..., answers) have on average."""
    total = alpha.sum(axis=-1, keepdims=True)
    return np.asarray(digamma(total[..., 0] + 1) - (alpha / total * digamma(alpha + 1)).sum(axis=-1), np.float64)
