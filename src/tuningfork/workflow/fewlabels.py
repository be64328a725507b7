"""Few labels: how well a question is answered after n labelled galaxies, on an encoder's features and by its rivals.

Galaxies judge that no encoder has learnt from: the test parts of the reference models' samples, which a hash of the id
keeps apart (:mod:`~tuningfork.workflow.samples`). The others are drawn from, n at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import disk
from ..baseline.pixels import render_rows
from ..data.split import PARTS, Split, uniform
from ..errors import RecipeError, TrainingError
from ..galaxy.catalog import Catalog
from ..galaxy.display import Display
from ..galaxy.ingest import ingest
from ..galaxy.records import Source
from ..galaxy.store import Store
from ..model.card import Card
from .samples import SAMPLES

Floats = NDArray[np.float32]
Progress = Callable[[int, int, str], None]
Encode = Callable[[NDArray[np.uint8]], Floats]  # pictures (N, bands, size, size) to numbers (N, D)
Score = Callable[[NDArray[np.int64], int], float]  # drawn rows of the pool and the number of the draw, to an AUC

STRENGTHS = tuple(10.0**k for k in range(-5, 2))  # C of the logistic regression, among which is chosen
FOLDS = 5  # of that choice, fewer where a class has fewer galaxies
QUANTILES, FEWEST = (0.1, 0.9), 10  # the band over draws, and the draws below which it is the range
_CHUNK = 256  # galaxies rendered and encoded at a time


def _merger(catalog: Catalog) -> NDArray[np.float64]:
    kinds = np.asarray(catalog["class"]).astype(str)
    return np.select([kinds == "merger", kinds == "dont_know"], [1.0, np.nan], 0.0)


def _bar(catalog: Catalog) -> NDArray[np.float64]:
    length = np.asarray(catalog["Bar_Length"], np.float64)
    return np.select([length >= 0.5, length == 0], [1.0, 0.0], np.nan)


@dataclass(frozen=True)
class Question:
    """A question with two answers about the galaxies of one sample, and after how many labels it is asked.

    ``answer`` reads the sample's catalogue: 1 yes, 0 no, NaN for galaxies that are left out. ``balanced``: a draw has
    as many of either answer, otherwise the shares that the sample has. A size of 0 means all there are.
    """

    text: str
    sample: str  # a key of SAMPLES
    answer: Callable[[Catalog], NDArray[np.float64]]
    sizes: tuple[int, ...]  # labelled galaxies in all
    balanced: bool


QUESTIONS = {
    "merger": Question("is it a merger? (Galaxy Zoo 1)", "gz1", _merger, (10, 20, 40, 80), balanced=True),
    "bar": Question(
        "has it a bar? (EFIGI, length 0.5 or more against 0)", "efigi", _bar, (30, 100, 300, 1000, 0), balanced=False
    ),
}


@dataclass(frozen=True, eq=False)
class Pool:
    """The galaxies of a question: ``ids``, the answer ``yes`` (N,) of each, and which ``judge`` (N,), never drawn."""

    source: Source
    ids: tuple[str, ...]
    yes: NDArray[np.bool_]
    judge: NDArray[np.bool_]

    def draw(self, size: int, balanced: bool, generator: np.random.Generator) -> NDArray[np.int64]:
        """Rows of ``size`` galaxies that do not judge (0 or more than there are = all), at least two of each answer.

        Raises :class:`RecipeError` where an answer has too few galaxies.
        """
        rows = [np.flatnonzero(~self.judge & (self.yes == answer)) for answer in (True, False)]
        most = sum(map(len, rows))
        share = 0.5 if balanced else len(rows[0]) / max(most, 1)
        wanted = [len(rows[0]), len(rows[1])]
        if 0 < size < most:
            n_yes = min(max(round(size * share), 2), size - 2)
            wanted = [n_yes, size - n_yes]
        if any(not 2 <= n <= len(some) for n, some in zip(wanted, rows, strict=True)):
            raise RecipeError(f"{wanted} galaxies of yes and no are to be drawn, but there are {[*map(len, rows)]}")
        return np.concatenate([generator.choice(some, n, replace=False) for n, some in zip(wanted, rows, strict=True)])

    def keep(self, known: Sequence[str]) -> Pool:
        """The pool of those galaxies alone that are in ``known``."""
        rows = np.isin(self.ids, list(known))
        ids = tuple(one for one, kept in zip(self.ids, rows, strict=True) if kept)
        return Pool(self.source, ids, self.yes[rows], self.judge[rows])


def open_pool(question: Question, data: Path, out: Path, progress: Progress | None = None) -> Pool:
    """The galaxies of a question from the user's folder ``data``; their store lies in ``out``.

    The same galaxies judge as judge the reference models (:func:`~.samples.gather_samples`). Raises
    :class:`RecipeError` where ``data`` lacks the sample.
    """
    sample = SAMPLES[question.sample]
    table = data / sample.folder / sample.table
    if not table.is_file():
        raise RecipeError(f"'{data}' has no {sample.folder}/{sample.table}, about whose galaxies is asked")
    ingest(data / sample.folder / "images", out / question.sample, labels=table, unmatched="drop", progress=progress)
    source = Store.open(out / question.sample)
    assert source.catalog is not None
    answers = dict(zip(source.catalog.ids, question.answer(source.catalog).tolist(), strict=True))
    ids = tuple(one for one in source.ids if not np.isnan(answers[one]))
    yes = np.array([answers[one] == 1 for one in ids])
    return Pool(source, ids, yes, uniform(ids, 0) < sample.test)


def encode_all(
    pool: Pool,
    display: Display,
    encoders: Mapping[str, Encode],
    cache: Path,
    told: str,
    progress: Progress | None = None,
) -> tuple[Pool, dict[str, Floats]]:
    """What each encoder makes of the pool's galaxies, by name (N, D), and the pool of those that could be rendered.

    ``display`` names its bands. All is kept in ``cache`` (Parquet), and read from there when asked again for the
    same galaxies, display and ``told``, which names the encoders' weights.
    """
    words = [pool.source.digest, str(display), told, *sorted(encoders), *pool.ids]
    digest = disk.sha256("\n".join(words).encode())
    if cache.is_file():
        table = pq.read_table(cache)
        if (table.schema.metadata or {}).get(b"digest") == digest.encode():
            return pool.keep(table["id"].to_pylist()), {name: _rows(table[f"of {name}"]) for name in encoders}
    kept: list[str] = []
    parts: dict[str, list[Floats]] = {name: [] for name in encoders}
    for start in range(0, len(pool.ids), _CHUNK):
        rows = render_rows(pool.source, pool.ids[start : start + _CHUNK], display)
        kept += rows.ids
        for name, encode in encoders.items():
            parts[name] += [encode(rows.pixels)] if rows.ids else []
        if progress is not None:
            progress(min(start + _CHUNK, len(pool.ids)), len(pool.ids), "encoded")
    if not kept:
        raise RecipeError(f"none of {len(pool.ids)} galaxies of '{pool.source.path}' can be rendered")
    found = {name: np.concatenate(some).astype(np.float32) for name, some in parts.items()}
    columns = {f"of {name}": pa.FixedSizeListArray.from_arrays(x.ravel(), x.shape[1]) for name, x in found.items()}
    table = pa.table({"id": pa.array(kept, pa.string()), **columns})
    disk.make_folder(cache.parent)
    with disk.atomic(cache) as part:
        pq.write_table(table.replace_schema_metadata({"digest": digest}), part)
    return pool.keep(kept), found


def _rows(column: Any) -> Floats:
    """A column of lists of one length as (N, D)."""
    return np.asarray(column.combine_chunks().flatten().to_numpy().reshape(len(column), -1))


def coarse_pixels(side: int) -> Encode:
    """The encoder of a rival without a network: the means of equal squares, ``side`` of them across, as rows (0..1)."""

    def encode(images: NDArray[np.uint8]) -> Floats:
        n, bands, size, _ = images.shape
        if size % side:
            raise RecipeError(f"pictures of {size} px cannot be cut into {side} x {side} equal squares")
        blocks = images.reshape(n, bands, side, size // side, side, size // side)
        return (blocks.mean((3, 5)) / 255).reshape(n, -1).astype(np.float32)

    return encode


def probe(x: Floats, yes: NDArray[np.bool_], components: int = 0) -> Callable[[Floats], NDArray[np.float64]]:
    """A logistic regression from rows ``x`` (N, D) to the answers ``yes`` (N,); gives log-odds (M,) of other rows.

    Columns are standardised (mean 0, deviation 1), or with ``components`` become so many whitened principal components
    (N - 1 at most). C is the one of :data:`STRENGTHS` with the best likelihood in cross-validation, each class weighing
    the same. Features are turned into the space that the N rows span first: that changes no answer (the penalty
    is the same in every direction), and saves work where N < D.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    most = min(len(x) - 1, x.shape[1])
    if components:
        turn = make_pipeline(PCA(min(components, most), whiten=True, svd_solver="full"))
    else:
        turn = make_pipeline(StandardScaler(), PCA(most, svd_solver="full"))
    folds = StratifiedKFold(min(FOLDS, int(yes.sum()), int((~yes).sum())), shuffle=True, random_state=0)
    model = LogisticRegression(class_weight="balanced", max_iter=5000)
    search = GridSearchCV(model, {"C": list(STRENGTHS)}, scoring="neg_log_loss", cv=folds)
    turned = turn.fit_transform(np.asarray(x, np.float64))
    search.fit(turned, yes)
    return lambda rows: np.asarray(search.decision_function(turn.transform(np.asarray(rows, np.float64))))


@dataclass(frozen=True)
class Point:
    """The ROC AUC after ``n`` labels: its mean over draws, and the band from ``low`` to ``high`` of the draws.

    The band is the 10th to 90th percentile of ten draws or more, else their range. It tells how much the luck of the
    draw matters; that the galaxies which judge are a sample themselves is not in it.
    """

    n: int
    n_yes: int
    mean: float
    low: float
    high: float
    aucs: tuple[float, ...]


def curve(
    pool: Pool, question: Question, score: Score, draws: Callable[[int], int], sizes: Sequence[int] | None = None
) -> list[Point]:
    """A :class:`Point` for each size of the question (or of ``sizes``): ``draws(size)`` draws each, given to ``score``.

    Draw number k of a size is the same for every rival, so that they are compared on the same galaxies. Where all
    galaxies are taken, at size 0 or one that there are not, there is but one.
    """
    points = []
    most = int((~pool.judge).sum())
    for size in dict.fromkeys(one if one < most else 0 for one in (question.sizes if sizes is None else sizes)):
        aucs, rows = [], np.empty(0, np.int64)
        for number in range(draws(size) if size else 1):
            rows = pool.draw(size, question.balanced, np.random.Generator(np.random.PCG64([size, number])))
            aucs.append(score(rows, number))
        low, high = np.quantile(aucs, QUANTILES) if len(aucs) >= FEWEST else (min(aucs), max(aucs))
        point = (float(np.mean(aucs)), float(low), float(high))
        points.append(Point(len(rows), int(pool.yes[rows].sum()), *point, tuple(aucs)))
    return points


def auc(pool: Pool, scores: NDArray[np.floating]) -> float:
    """The area under the ROC curve of ``scores`` of the galaxies that judge, in the pool's order."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(pool.yes[pool.judge], scores))


def probed(pool: Pool, x: Floats, components: int = 0) -> Score:
    """Scores a draw by a :func:`probe` on rows ``x`` of the pool's galaxies."""

    def score(rows: NDArray[np.int64], number: int) -> float:
        return auc(pool, probe(x[rows], pool.yes[rows], components)(x[pool.judge]))

    return score


@dataclass(eq=False)
class Trained:
    """Scores a draw by a network that is trained on it, in a folder below ``out``; a fifth chooses the best epoch.

    ``start`` is the model that it starts from, as ``tuningfork train --from`` does; "" = random weights of ``backbone``
    at ``size`` px. It takes about ``steps`` steps of the optimiser, so that few galaxies are seen the more often.
    """

    pool: Pool
    out: Path
    display: Display
    start: str = ""
    backbone: str = "s4_resnet"
    size: int = 64
    steps: int = 300
    batch: int = 16

    @cached_property
    def _judges(self) -> NDArray[np.uint8]:
        """The pictures of the galaxies that judge."""
        ids = [one for one, judges in zip(self.pool.ids, self.pool.judge, strict=True) if judges]
        return render_rows(self.pool.source, ids, self._display).pixels

    @property
    def _display(self) -> Display:
        return self.display if self.start else dataclasses.replace(self.display, size=self.size)

    def __call__(self, rows: NDArray[np.int64], number: int) -> float:
        """The AUC of the network that learnt the galaxies ``rows``; :class:`TrainingError` if that was stopped."""
        from ..model import weights
        from ..train.choices import ModelChoice, Train, TrainRecipe
        from ..train.loop import fit
        from ..train.origin import transfer

        labels = split_of(self.pool, rows)
        n_train = int((np.asarray(labels["part"]) == PARTS[0]).sum())
        epochs = max(round(self.steps / max(n_train / self.batch, 1)), 3)
        if self.start:
            recipe = transfer(self.start, epochs)
        else:
            train = Train(epochs=epochs, batch=self.batch)
            recipe = TrainRecipe(model=ModelChoice(backbone=self.backbone), train=train)
        recipe = dataclasses.replace(recipe, display=self._display, split=Split(method="column"))
        place = self.out / f"{len(rows)}-{number}"
        if fit(self.pool.source, place, recipe, labels=labels).stopped:
            raise TrainingError(f"training was stopped in '{place}': give the same command again, and it goes on there")
        net, card = weights.load(place / "model")
        pictures = self._judges
        chunks = [weights.answer(net, pictures[k : k + _CHUNK]) for k in range(0, len(pictures), _CHUNK)]
        return auc(self.pool, np.concatenate(chunks)[:, card.names.index("yes")])


def split_of(pool: Pool, rows: NDArray[np.int64]) -> Catalog:
    """The labels of drawn galaxies for training: "class" (yes, no), and "part": of each class a fifth validates.

    That is one galaxy at least of either class.
    """
    parts = np.full(len(rows), PARTS[0], dtype="U10")
    for answer in (True, False):
        its = np.flatnonzero(pool.yes[rows] == answer)
        parts[its[: max(len(its) // 5, 1)]] = PARTS[1]
    return Catalog(
        {
            "id": [pool.ids[row] for row in rows],
            "class": ["yes" if pool.yes[row] else "no" for row in rows],
            "part": parts.tolist(),
        }
    )


def imagenet_encoder(card: Card, path: Path) -> Encode:
    """The encoder of a model as it was before it saw a galaxy: its backbone with the weights of a safetensors file.

    Pixels are scaled by the mean and deviation of the model's card: those of galaxies, which are darker than what
    ImageNet shows. Raises what :func:`~tuningfork.model.weights.load_backbone` does.
    """
    import torch

    from ..model.net import FeatureNet, net_from_card
    from ..model.weights import load_backbone

    net = net_from_card(card)
    load_backbone(net, path)
    encoder = FeatureNet(net).eval()

    def encode(images: NDArray[np.uint8]) -> Floats:
        with torch.inference_mode():
            return encoder(torch.from_numpy(np.ascontiguousarray(images))).numpy()

    return encode
