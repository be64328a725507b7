"""Calibrate trained models before they are shipped: sets, intervals, how sure votes are, what an ordinary galaxy is."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import recipe as recipes
from ..data.split import PARTS
from ..errors import BadCatalog, BadImage, BadWeights
from ..evaluate.bootstrap import Bools, Estimate
from ..evaluate.conformal import fit_banded, fit_sets
from ..evaluate.questions import log_likelihood
from ..evaluate.scaling import apply_scaling, fit_scaling
from ..evaluate.strangeness import Strangeness, fit_strangeness, judge_strangeness
from ..galaxy.catalog import Catalog
from ..galaxy.cutout import Rejected
from ..galaxy.display import render_record
from ..galaxy.labels import LabelChoice, Labels, make_labels
from ..galaxy.records import Source
from ..galaxy.source import open_source
from ..galaxy.tree import Tree
from ..model.card import Card
from ..predict.answers import Head
from ..predict.eyes import Eye, open_eyes
from ..predict.views import chosen_views
from .samples import NO_GALAXY, OTHER, SDSS

Floats = NDArray[np.float64]
Progress = Callable[[int, int, str], None]
BATCH = 64
COVERAGE = {"sets": 0.9, "intervals": 0.7}  # EFIGI's own bounds are of 70%
DIGITS = 5  # of what a card holds


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What ``ship`` takes: ``tell`` (name -> entries of its card) and the arrays of ``strangeness``; and ``notes``."""

    tell: dict[str, dict[str, Any]]
    strangeness: dict[str, NDArray[Any]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the networks say of galaxies that could be read: ``features`` (N, F) of the picture as it is, ``answers`` by
    model (N, K), averaged over the views; none where only features were asked for."""

    ids: tuple[str, ...]
    features: NDArray[np.float32]
    answers: dict[str, NDArray[np.float32]]

    def of(self, name: str, labels: Labels, among: set[str]) -> tuple[Floats, Floats]:
        """Answers (n, K) and labels (n, K) of those galaxies ``among`` these that have one."""
        known = set(labels.ids) & among
        rows = [row for row, one in enumerate(self.ids) if one in known]
        truth = labels.select([self.ids[row] for row in rows]).values
        return self.answers[name][rows].astype(np.float64), truth.astype(np.float64)


def calibrate(
    source: Source,
    models: Mapping[str, str | Path],
    *,
    views: int = 8,
    engine: str = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> Calibrated:
    """Fit all that travels with models (name: folder) that have one backbone, on galaxies of their own ``source``.

    The source's catalogue has the columns "sample" and "part" (train, validation, test). Each model is fitted on the
    validation galaxies that its labels know, of the samples that have a test part (simulated galaxies have none), or of
    all where it knows no such: sets of classes for 90%, intervals of attributes for 70%, and for Dirichlet heads how
    sure they are. The last is fitted on training galaxies too where what was fitted on these alone makes the votes of
    validation galaxies likelier. The test part is never looked at. Ordinary is what looks like the training galaxies
    of those samples, but for what "is_galaxy" says is none; the p-values come from their validation galaxies. All are
    seen in half precision, as they are shipped.

    Raises :class:`BadCatalog` without those columns, and what ``ship`` and the fits raise.
    """
    if source.catalog is None or {"sample", "part"} - {*source.catalog.columns}:
        raise BadCatalog(f"'{source.path}' lacks the columns 'sample' and 'part', which say what may be fitted on")
    catalog = source.catalog
    samples, parts = (np.array(list(catalog[name]), dtype=object) for name in ("sample", "part"))
    train, validation, test = (parts == one for one in PARTS)
    judged: Bools = np.isin(samples.astype(str), sorted(set(samples[test].astype(str))))
    galaxy: Bools = ~np.isin(_texts(catalog, "is_galaxy"), [OTHER])
    with ExitStack() as stack:
        eye = _open(models, stack, views, engine, threads)
        cards = {name: Card.load(models[name]) for name in models}
        labels = {name: _labels(catalog, name, card) for name, card in cards.items()}
        votes = [name for name, card in cards.items() if card.head == "dirichlet"]
        voted: set[str] = set().union(*(labels[name].ids for name in votes))
        wanted = [one for one, a, b, c in zip(catalog.ids, train & judged, validation, judged, strict=True)
                  if b or (a and one in voted)]  # fmt: skip
        seen = _look(eye, source, wanted, progress)
        usual = _ids(catalog, train & judged & galaxy)
        ordinary = _look(eye, source, [one for one in catalog.ids if one in usual], progress, ask=False)
    real, held = _ids(catalog, validation & judged), _ids(catalog, validation)
    taught = _ids(catalog, train & judged)
    tell, notes = {}, []
    for name, card in cards.items():
        known = set(labels[name].ids)
        among = known & real or known & held
        training = seen.of(name, labels[name], known & taught) if name in votes else None
        fitted, note = _fit(card, *seen.of(name, labels[name], among), training)
        notes += [f"{name}: {note}"] if note else []
        if fitted:
            tell[name] = {"calibration": fitted}
    usual_held = real & _ids(catalog, galaxy)
    rows = [row for row, one in enumerate(seen.ids) if one in usual_held]
    strangeness = fit_strangeness(ordinary.features, held_out=seen.features[rows])
    lost = len(wanted) + len(usual) - len(seen.ids) - len(ordinary.ids)
    notes += [f"{lost} galaxies could not be read"] if lost else []
    return Calibrated(tell, strangeness.arrays, tuple(notes))


def _texts(catalog: Catalog, column: str) -> NDArray[np.str_]:
    """A column as texts (N,), empty where the catalogue has none."""
    here = column in catalog.columns
    return np.array([str(one) for one in catalog[column]] if here else [""] * len(catalog.ids), dtype=str)


def _ids(catalog: Catalog, rows: Bools) -> set[str]:
    return {one for one, has in zip(catalog.ids, rows.tolist(), strict=True) if has}


def _open(models: Mapping[str, str | Path], stack: ExitStack, views: int, engine: str, threads: int) -> Eye:
    """The models as a set that shares its encoder, made for the time being where they are none."""
    folders = [Path(folder) for folder in models.values()]
    if not all(Card.load(folder).encoder for folder in folders):
        from ..model.share import ship  # torch

        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="calibrate-")))
        ship(models, place)
        folders = [place / name for name in models]
    if any(Card.load(folder).calibration for folder in folders):
        raise BadWeights(f"some of {', '.join(models)} are calibrated already: name the models that the run made")
    eyes = open_eyes(folders, chosen_views(views), True, engine, threads)
    if len(eyes) > 1:
        raise BadWeights(f"{', '.join(models)} do not see galaxies alike: calibrate them one set after the other")
    heads = tuple(Head(name, h.kind, h.names, h.tree) for name, h in zip(_named(models, eyes[0]), eyes[0].heads,
                                                                         strict=True))  # fmt: skip
    return Eye(eyes[0].display, eyes[0].bands, eyes[0].numbers, eyes[0].margin, heads, eyes[0].engines)


def _named(models: Mapping[str, str | Path], eye: Eye) -> list[str]:
    """The heads of an eye by the names that the caller gave: the cards' own may be others."""
    own = {Card.load(folder).name: name for name, folder in models.items()}
    return [head.name if head.name in models else own[head.name] for head in eye.heads]


def _labels(catalog: Catalog, name: str, card: Card) -> Labels:
    labels = make_labels(catalog, recipes.from_mapping(LabelChoice, card.labels))
    if labels.names != card.names:
        raise BadCatalog(f"'{name}' answers {card.names[:3]} ..., and the labels of this catalogue {labels.names[:3]}")
    return labels


def _look(eye: Eye, source: Source, ids: Sequence[str], progress: Progress | None, ask: bool = True) -> _Seen:
    """See galaxies as ``predict`` does, those that cannot be read left out; ``ask`` the models too."""
    done: list[str] = []
    features: list[NDArray[np.float32]] = []
    answers: dict[str, list[NDArray[np.float32]]] = {head.name: [] for head in eye.heads if ask}
    records = iter(source.records(ids))
    while chunk := list(islice(records, BATCH)):
        images = []
        for record in chunk:
            try:
                if not isinstance(record, Rejected):
                    images.append(render_record(record, eye.display, eye.margin))
                    done.append(record.id)
            except BadImage:
                continue
        if images:
            features.append(_plain(eye, np.stack(images)))
            for name, made in zip(answers, eye.ask(np.stack(images)) if ask else [], strict=False):
                answers[name].append(made)
        if progress:
            progress(len(done), len(ids), "galaxies seen to calibrate")
    return _Seen(tuple(done), _joined(features), {name: _joined(made) for name, made in answers.items()})


def _plain(eye: Eye, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    edge = slice(eye.margin, images.shape[-1] - eye.margin)
    return eye.engines.features(np.ascontiguousarray(images[..., edge, edge]))


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    if not parts:
        raise BadCatalog("there are no galaxies to calibrate with: none of the samples has a validation part")
    return np.concatenate(parts)


def _fit(
    card: Card, answers: Floats, truth: Floats, training: tuple[Floats, Floats] | None
) -> tuple[dict[str, Any], str]:
    """The card's calibration, {} where nothing can be fitted, and a note that says so."""
    tree = card.load_tree()
    if card.head == "classes" and len(answers):
        promise = fit_sets(answers, truth.argmax(1), COVERAGE["sets"])
        if np.isfinite(promise.threshold):
            told = {"coverage": promise.coverage, "threshold": _up(promise.threshold), "galaxies": promise.n}
            return {"sets": told}, ""
    columns = _intervals(tree, answers, truth) if tree is not None and tree.kind == "attributes" else {}
    if card.head == "sigmoid" and columns:
        return {"intervals": {"coverage": COVERAGE["intervals"], "columns": columns}}, ""
    if card.head == "dirichlet" and tree is not None and training is not None:
        return _certainty(tree, answers, truth, training)
    return {}, f"nothing fitted on {len(answers)} galaxies"


def _up(value: float) -> float:
    """Rounded upwards, so that rounding does not leave the galaxy out that the threshold is of."""
    return float(min(np.ceil(value * 10**DIGITS) / 10**DIGITS, 1.0))


def _intervals(tree: Tree, answers: Floats, truth: Floats) -> dict[str, Any]:
    columns = {}
    for k, asked in enumerate(tree.questions):
        length = asked.high - asked.low
        fitted = fit_banded(asked.low + length * answers[:, k], asked.low + length * truth[:, k], COVERAGE["intervals"])
        if fitted is not None:
            widths = [float(np.ceil(one * 10**DIGITS) / 10**DIGITS) for one in fitted.half_widths]
            columns[asked.name] = {"edges": list(fitted.edges), "half_widths": widths, "galaxies": fitted.n}
    return columns


def _certainty(
    tree: Tree, answers: Floats, truth: Floats, training: tuple[Floats, Floats]
) -> tuple[dict[str, Any], str]:
    slices = tree.slices
    plain = _likelihood(answers, truth, slices)
    crossed = _likelihood(apply_scaling(answers, fit_scaling(*training, slices), slices), truth, slices)
    both = crossed > plain
    if both:
        answers, truth = np.concatenate([answers, training[0]]), np.concatenate([truth, training[1]])
    scales = {key: round(one, DIGITS) for key, one in fit_scaling(answers, truth, slices).items() if one != 1.0}
    on = "training and validation" if both else "validation"
    note = (
        f"log-likelihood of a validation galaxy's votes {plain:.2f}, {crossed:.2f} with scales of the training part; "
        f"{len(scales)} of {len(slices)} questions scaled, on {len(answers)} galaxies ({on})"
    )
    return ({"certainty": {"scales": scales, "galaxies": len(answers)}} if scales else {}), note


def _likelihood(values: Floats, votes: Floats, slices: Mapping[str, slice]) -> float:
    """The mean over galaxies of the log-likelihood of their votes, all questions summed; NaN without galaxies."""
    votes = np.nan_to_num(votes)
    total = [log_likelihood(values[:, span], votes[:, span]) for span in slices.values()]
    return float(np.nansum(total, axis=0).mean()) if len(values) else float("nan")


def auc_of_strangeness(
    source: Source,
    models: str | Path,
    examples: str | Path,
    *,
    ordinary: str = "gz1",
    engine: str = "auto",
    threads: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, dict[str, Estimate | int]]:
    """How well the strangeness of a shipped set tells other things from test galaxies of the sample ``ordinary``.

    By name, what :func:`~tuningfork.evaluate.strangeness.judge_strangeness` gives (roc_auc, flagged at p of 0.01):
    each survey but SDSS of the folder ``examples`` (index.csv with file and survey, images/); "stars and artefacts",
    the simulated ones of ``source`` (the network has learnt them, the strangeness has not seen them);
    and "noise", pictures of independent pixels. Raises :class:`BadWeights` where the set has no strangeness.
    """
    (eye, *_) = open_eyes([models], chosen_views(1), True, engine, threads)
    if eye.strangeness is None:
        raise BadWeights(f"the set in '{models}' holds no strangeness: ship it with what calibrate gives")
    catalog = source.catalog
    if catalog is None or {"sample", "part", "sky_class"} - {*catalog.columns}:
        raise BadCatalog(f"'{source.path}' is not the galaxies that the reference models were made of")
    rows = list(zip(catalog.ids, *(catalog[name] for name in ("sample", "part", "sky_class")), strict=True))

    def seen(where: Source, ids: Iterable[str]) -> NDArray[np.float32]:
        return _look(eye, where, list(ids), progress, ask=False).features

    strange = {}
    folder = Path(examples)
    with (folder / "index.csv").open(newline="") as file:
        surveys = {Path(row["file"]).stem: row["survey"] for row in csv.DictReader(file)}
    shown = open_source(folder / "images")
    for survey in sorted({*surveys.values()} - {SDSS}):
        strange[survey] = seen(shown, [one for one in shown.ids if surveys.get(one) == survey])
    strange["stars and artefacts"] = seen(source, [one for one, _, _, kind in rows if kind == NO_GALAXY])
    shape = (200, len(eye.bands), eye.display.size, eye.display.size)
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    strange["noise"] = eye.engines.features(noise)
    own = seen(source, [one for one, sample, part, _ in rows if (sample, part) == (ordinary, PARTS[2])])
    fitted: Strangeness = eye.strangeness
    return judge_strangeness(fitted.score(own), {k: fitted.score(one) for k, one in strange.items()}, fitted)
