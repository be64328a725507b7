"""S1, lenses: gravitational lenses among look-alikes, from random weights and from a net of Galaxy Zoo's galaxies."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy.stats import rankdata

from ... import disk
from ...evaluate.bootstrap import Estimate, Floats, estimate
from ...evaluate.judge import Judgement
from ...galaxy.store import Store
from ...galaxy.votes import Votes
from ...model.card import Card, find_model
from ...simulate.lenses import SNR, simulate_lenses
from ...simulate.lookalikes import LOOKALIKES
from ...train.choices import Train, TrainRecipe
from .choices import Experiment, Sky
from .desk import Desk, measured, seen, with_changes
from .lensdata import LENS, NOT_LENS, SPACE_WARPS, graded, lens_challenge, space_warps
from .outcome import Finding

SCRATCH, TYPES = "s1-lens-scratch", "s1-morphology-types"  # experiments whose folders, side by side, are shared
REAL = "spacewarps/index.csv with graded candidates; lens_challenge/ with ground_based/ and space_based/"


@dataclass(frozen=True)
class LensSky(Sky):
    """Simulated stamps; see :func:`~tuningfork.simulate.lenses.simulate_lenses`."""

    survey: str = "cfhtls"
    size: int = 96  # px of 0.186 arcsec
    fraction: float = 0.21  # of lenses
    snr: float = SNR  # the least of a lens's arcs


@dataclass(frozen=True)
class LensRecipe(Experiment):
    """What both lens experiments choose besides: stage 2, on which the net of stage 1 is tested and then fine-tuned.

    ``second`` is how; labels, split, display and augmentation are those of stage 1.
    """

    sky: LensSky = field(default_factory=LensSky)
    second_sky: LensSky = field(default_factory=LensSky)
    second: Train = field(default_factory=Train)


@dataclass(frozen=True)
class ScratchRecipe(LensRecipe):
    """And from random weights: how the net that tells flavors apart goes on from the weights of the first."""

    flavor: Train = field(default_factory=Train)


@dataclass(frozen=True)
class TransferRecipe(LensRecipe):
    """And by transfer: the Galaxy Zoo net to start from, where the experiment of its own has not been run beside it."""

    zoo_sky: Sky = field(default_factory=Sky)
    zoo: TrainRecipe = field(default_factory=TrainRecipe)


Lenses = TypeVar("Lenses", bound=LensRecipe)


@dataclass(frozen=True)
class _Stage:
    """The stamps of one stage, the recipe that fits them, and how the table calls them."""

    store: Store
    recipe: TrainRecipe
    told: str
    simulated: bool


def scratch(desk: Desk[ScratchRecipe]) -> tuple[Finding, ...]:
    """Lenses from random weights: stage 1, its flavors, stage 2, and real lenses where the data folder has some."""
    first = _stage(desk, 1, desk.recipe.sky, desk.recipe.train)
    findings = _first(desk, first, "from random weights", (".975", ".132"))
    findings += _flavors(desk, first)
    return tuple(findings + _second(desk, first) + _real(desk, first))


def transfer(desk: Desk[TransferRecipe]) -> tuple[Finding, ...]:
    """Lenses from a Galaxy Zoo net, unfrozen in rounds from the top; judged on the stamps that judge ``scratch``."""
    zoo = _zoo(desk)
    first = _stage(desk, 1, desk.recipe.sky, dataclasses.replace(desk.recipe.train, start=str(zoo)))
    findings = _first(desk, first, "from the Galaxy Zoo net, in rounds", (".971", ".070"))
    return tuple(findings + _second(desk, first) + _real(desk, first))


def _stage(desk: Desk[Lenses], stage: int, sky: LensSky, recipe: TrainRecipe) -> _Stage:
    """The user's pictures of a stage of Space Warps, else simulated stamps."""
    store = space_warps(desk, stage)
    if store is not None:  # fields of 82 arcsec, whose lens may stand anywhere
        return _Stage(store, with_changes(recipe, display={"crop": 0.0}), f"Space Warps, stage {stage}", False)
    if desk.data is not None and desk.place("spacewarps/index.csv", "lens_challenge") is None:
        desk.nothing_found(SPACE_WARPS, REAL)
    store = stamps(desk, sky, "sky" if stage == 1 else "second-sky")
    told = "simulated stamps" if stage == 1 else f"simulated stamps, arcs from SNR {sky.snr:g}"
    return _Stage(store, recipe, told, True)


def stamps(desk: Desk[Lenses], sky: LensSky, name: str) -> Store:
    """The simulated stamps of ``sky``: those of the experiment from scratch beside this one, if they are the same."""
    known = {"command": "simulate lenses", "n": sky.galaxies, "base": "", "colour": sky.colour, "size": sky.size}
    known |= {"seed": sky.seed, "fraction": sky.fraction, "snr": sky.snr, "survey": sky.survey}
    for folder in (desk.out / name, desk.out.parent / SCRATCH / name):
        if not (folder / "store.json").exists() or not (folder / "plan.json").exists():
            continue
        plan = disk.read_json(folder / "plan.json")
        plan["survey"] = plan.get("survey", {}).get("name")
        if known.items() <= plan.items():
            return Store.open(folder)
    with desk.timed("simulate") as bar:
        return simulate_lenses(
            sky.galaxies, desk.out / name, survey=sky.survey, fraction=sky.fraction, colour=sky.colour,
            size=sky.size or None, snr=sky.snr, seed=sky.seed, progress=bar,
        )  # fmt: skip


def _first(desk: Desk[Lenses], stage: _Stage, how: str, published: tuple[str, str]) -> list[Finding]:
    """Train and judge the net of stage 1: accuracy, log loss, and the area under its ROC curve."""
    summary = desk.train(stage.store, stage.recipe)
    votes = desk.predict(stage.store, "run", "votes-stage-1")
    judgement = desk.judge(votes, stage.store, "stage-1", images=stage.store)
    share, majority = _share(judgement), judgement.numbers["baseline"]
    note = (
        f"S1: of the test stamps {share:.3f} are lenses; always “{majority['class']}” is right in "
        f"{majority['accuracy']:.3f}, and the shares alone have a log loss of {majority['log_loss']:.3f}. The page "
        "stage-1.html has the ROC curve"
    )
    images = seen(summary)
    rows = [
        (f"lens or not, {how}: accuracy", measured(judgement, "accuracy"), published[0]),
        (f"lens or not, {how}: log loss", measured(judgement, "log_loss"), published[1]),
        (f"lens or not, {how}: ROC AUC", _area(judgement), ""),
    ]
    n = judgement.n_judged
    return [Finding(what, stage.told, value, n, theirs, images, note) for what, value, theirs in rows]


def _flavors(desk: Desk[ScratchRecipe], first: _Stage) -> list[Finding]:
    """Four classes, not a lens and three flavors, by a net that starts from the first one's weights."""
    merge = {NOT_LENS: tuple(LOOKALIKES)} if first.simulated else {}
    recipe = _onwards(desk, desk.recipe.flavor, {"column": "flavor", "merge": merge})
    recipe = dataclasses.replace(recipe, display=first.recipe.display)
    summary = desk.train(first.store, recipe, "flavor")
    votes = desk.predict(first.store, "flavor", "votes-flavor")
    judgement = desk.judge(votes, first.store, "flavors", images=first.store)
    found = {name: row for name, row in judgement.numbers["classes"].items() if row["galaxies"]}
    recalls = [f"{name} {row['recall']['value']:.2f} of {row['galaxies']}" for name, row in found.items()]
    majority = judgement.numbers["baseline"]["accuracy"]
    note = (
        f"S1: a second net of {len(judgement.numbers['classes'])} classes that starts from the weights of the first; "
        f"found of each: {', '.join(recalls)}; always the commonest class is right in {majority:.3f}"
    )
    value, n = measured(judgement, "accuracy"), judgement.n_judged
    return [Finding("by flavor: accuracy", first.told, value, n, images=seen(summary), note=note)]


def _onwards(desk: Desk[Lenses], train: Train, labels: dict[str, Any] | None = None) -> TrainRecipe:
    """Training that goes on from the net of stage 1, all weights at once, with its split, display and augmentation."""
    recipe = with_changes(desk.recipe.train, train=train, labels=labels or {})
    return dataclasses.replace(recipe, start=str(desk.out / "run"), stages=())


def _second(desk: Desk[Lenses], first: _Stage) -> list[Finding]:
    """What the net of stage 1 does on stage 2, and what it does there once it is fine-tuned on it."""
    if not first.simulated and space_warps(desk, 2) is None:
        desk.notes.append("this copy of Space Warps has no row of stage 2, on which the net would be fine-tuned")
        return []
    stage = _stage(desk, 2, desk.recipe.second_sky, _onwards(desk, desk.recipe.second))
    summary = desk.train(stage.store, stage.recipe, "second")
    after = desk.predict(stage.store, "second", "votes-stage-2-tuned")
    before = desk.predict(stage.store, "run", "votes-stage-2", part=None, ids=after.ids)
    findings = []
    for votes, how, page, images in (
        (before, "the net of stage 1", "stage-2", 0.0),
        (after, "fine-tuned", "stage-2-tuned", seen(summary)),
    ):
        judgement = desk.judge(votes, stage.store, page, images=stage.store)
        lenses = judgement.numbers["classes"][LENS]["galaxies"]
        note = f"S1, stage 2: {lenses} lenses among the {judgement.n_judged} stamps judged"
        n = judgement.n_judged
        findings.append(Finding(f"stage 2, {how}: ROC AUC", stage.told, _area(judgement), n, images=images, note=note))
    return findings


def _real(desk: Desk[Lenses], first: _Stage) -> list[Finding]:
    """The net of stage 1 on real candidates, and on the lens finding challenge's images, which it never saw."""
    if not first.simulated:
        return []  # it learnt fields of 82 arcsec, where these are of 10 to 30
    findings = []
    sample = graded(desk)
    if sample is not None:
        votes = desk.predict(sample, "run", "votes-graded", part=None)
        findings.append(_tested(desk, votes, sample, "graded", "Space Warps' graded sample, real"))
        value, n = order(votes, sample)
        note = "S1: the rank correlation (Spearman) of the probability of a lens with the experts' grade, 0.3 to 3"
        findings.append(Finding("score against grade", "Space Warps' candidates, real", value, n, note=note))
    for kind, what in (("ground", "ground-based, g r i"), ("space", "space-based, one band as grey")):
        store = lens_challenge(desk, kind)
        if store is not None:
            votes = desk.predict(store, "run", f"votes-challenge-{kind}", part=None)
            findings.append(_tested(desk, votes, store, f"challenge-{kind}", f"lens finding challenge, {what}"))
    return findings


def _tested(desk: Desk[Lenses], votes: Votes, store: Store, page: str, told: str) -> Finding:
    judgement = desk.judge(votes, store, page, images=store)
    lenses = judgement.numbers["classes"][LENS]["galaxies"]
    note = f"S1, {told}: {lenses} lenses and {judgement.n_judged - lenses} others are few: read the interval"
    return Finding("lens or not, on others' images: ROC AUC", told, _area(judgement), judgement.n_judged, note=note)


def order(votes: Votes, store: Store, resamples: int = 1000) -> tuple[Estimate, int]:
    """Spearman's rank correlation of the probability of a lens with the grade, its 95% interval, and on how many.

    Over the galaxies of ``store`` that have both; NaN for fewer than three, or where one of the two is constant.
    """
    grades = dict(zip(store.catalog.ids, store.catalog["grade"].tolist(), strict=True))
    done = [one for one, known in zip(votes.ids, votes.done, strict=True) if known]
    score = dict(zip(done, votes.values[:, votes.names.index(LENS)].tolist(), strict=True))
    rows = np.array([(grades[one], score[one]) for one in sorted(score) if np.isfinite(grades[one])])
    n = len(rows)
    if n < 3:
        return Estimate(float("nan")), n

    def statistic(weights: Floats) -> dict[str, Floats]:
        drawn = [np.repeat(rows, row.astype(int), axis=0) for row in weights]
        return {"rho": np.array([_correlation(rankdata(one[:, 0]), rankdata(one[:, 1])) for one in drawn])}

    found = estimate(statistic, n, resamples=resamples)["rho"]
    assert isinstance(found, Estimate)
    return found, n


def _correlation(one: Floats, other: Floats) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / scale if scale > 0 else float("nan")


def _zoo(desk: Desk[TransferRecipe]) -> Path:
    """The Galaxy Zoo net to start from: that of its own experiment beside this one, if it fits; else a short one."""
    recipe, beside = desk.recipe, desk.out.parent / TYPES / "run"
    if (beside / "model" / "card.json").exists():
        card = Card.load(find_model(beside))
        if (card.backbone, card.display.get("size")) == (recipe.train.model.backbone, recipe.train.display.size):
            desk.notes.append(f"the Galaxy Zoo net is that of {TYPES}, beside this experiment")
            return beside
    sky = desk.sky(recipe.zoo_sky, "zoo-sky")
    summary = desk.train(sky, recipe.zoo, "zoo")
    desk.notes.append(
        f"the Galaxy Zoo net is a short one, trained here on {summary.parts['train']:,} simulated galaxies for "
        f"{summary.epochs} epochs: run {TYPES} in the folder beside this one first to start from its net"
    )
    return desk.out / "zoo"


def _area(judgement: Judgement) -> Estimate:
    """The area under the ROC curve of lenses, with its interval."""
    row = judgement.numbers["classes"][LENS]["roc_auc"]
    return Estimate(*(float("nan") if row[key] is None else row[key] for key in ("value", "low", "high")))


def _share(judgement: Judgement) -> float:
    """The share of lenses among the galaxies judged."""
    return float(judgement.numbers["classes"][LENS]["galaxies"]) / max(judgement.n_judged, 1)
