"""S5: GoogLeNet on sixteen views of every galaxy, labels drawn from the votes; its softmax against a linear SVM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ...baseline.choices import BaselineChoice, BaselineRecipe
from ...baseline.examples import find_examples
from ...baseline.fit import fit
from ...evaluate.compare import compare
from ...evaluate.metrics import confusion
from ...evaluate.report import Block, Cell, Confusion, Figure, Section, Table, Text
from ...galaxy.catalog import Catalog
from ...galaxy.labels import LabelChoice, make_labels
from ...galaxy.store import Store
from ...galaxy.votes import Votes
from ...insight.sensitivity import sensitivity, sensitivity_figure, share_right
from ...train.choices import TrainRecipe
from .choices import Experiment
from .data import CHALLENGE, STRIPE82, challenge, stripe82
from .desk import Desk, seen, with_changes
from .outcome import Finding, minutes
from .sixteen import VIEWS, Cut, average_views, cut_views, parent_of

SIMULATED_SIDE = 292.0  # px of a Galaxy Zoo picture that a simulated stamp of "sdss" shows: 5.84 R90 of 0.02 R90 each
REPORTED = ".67"


@dataclass(frozen=True)
class GoogLeNetRecipe(Experiment):
    """What S5 chooses besides: how the views are cut, the SVM, and the study of colour.

    ``train.split`` shares out the galaxies, whose views follow them; ``train.labels`` are drawn for every view apart.
    """

    cut: Cut = field(default_factory=Cut)
    svm: BaselineChoice = field(default_factory=lambda: BaselineChoice("svm"))
    svm_views: int = VIEWS  # of each training galaxy, that the SVM learns from
    colour_steps: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0)  # in standard deviations along the axis of the colours
    colour_galaxies: int = 0  # test galaxies for the study of colour; 0 = all


@dataclass(frozen=True, eq=False)
class Told:
    """What one classifier is right about, over N views of G galaxies: ``right`` (4, N) in the order of :data:`HOW`."""

    right: NDArray[np.bool_]
    parents: list[str]
    counts: NDArray[np.float64]  # (K, K), of single views on drawn labels

    @property
    def galaxies(self) -> int:
        """How many galaxies the views are of."""
        return len(set(self.parents))


HOW = (
    "drawn labels, single views",
    f"drawn labels, mean of {VIEWS} views",
    "largest share, single views",
    f"largest share, mean of {VIEWS} views",
)


def run(desk: Desk[GoogLeNetRecipe]) -> tuple[Finding, ...]:
    """Cut the views, train, predict, fit the SVM on the features, and judge both on drawn labels and on the largest."""
    parents, cut, data = galaxies(desk)
    views = _cut(desk, parents, parts_of(desk, parents), cut, "views")
    recipe = with_changes(desk.recipe.train, split={"method": "column", "column": "part", "min_separation_arcsec": 0.0})
    summary = desk.train(views, recipe)
    before = dict(desk.seconds)
    votes = {"softmax": _softmax(desk, views, "votes-softmax-views"), "linear SVM": _svm(desk, views, recipe)}
    spent = {stage: seconds - before.get(stage, 0.0) for stage, seconds in desk.seconds.items()}
    means = {
        name: average_views(one, desk.out / f"votes-{name.replace(' ', '-')}.parquet") for name, one in votes.items()
    }
    labels = recipe.labels
    with desk.timed("judge") as bar:
        told = {name: _told(one, means[name], views, labels) for name, one in votes.items()}
        estimates = {
            name: share_right(one.right, one.parents, resamples=desk.recipe.bootstrap) for name, one in told.items()
        }
        compare(
            list(means.values()),
            parents.catalog,  # type: ignore[arg-type]
            desk.page("softmax-and-svm"),
            names=list(means),
            choice=largest(labels),
            bootstrap=desk.recipe.bootstrap,
            progress=bar,
        )
    desk.judge(means["softmax"], parents, "softmax", choice=largest(labels), images=parents)
    _tell_confusions(desk, told, make_labels(views.catalog, labels).names)
    _tell_colour(desk, views, labels, "test galaxies")
    _tell_time(desk, spent, len(votes["softmax"]), len(means["softmax"]))
    note = _note(desk, parents, told["softmax"], labels)
    findings = [
        Finding(
            f"{name}, accuracy: {how}", data, value, told[name].galaxies, REPORTED * (row == 0), seen(summary), note
        )
        for name in told
        for row, (how, value) in enumerate(zip(HOW, estimates[name], strict=True))
    ]
    return (*findings, *_real(desk, recipe, data, seen(summary)))


def largest(labels: LabelChoice) -> LabelChoice:
    """The same classes by the largest share of a galaxy's votes, in place of a drawn one."""
    return replace(labels, kind="largest")


def ceiling(catalog: Catalog, ids: Sequence[str], labels: LabelChoice) -> float:
    """The accuracy on drawn labels that an answer by the largest share has on average: the mean of the largest shares.

    No classifier can expect more, even one that knows the volunteers' votes.
    """
    shares = make_labels(catalog, replace(labels, kind="threshold", threshold=0.0)).select(ids)
    return float(shares.values.max(axis=1).mean())


def galaxies(desk: Desk[GoogLeNetRecipe]) -> tuple[Store, Cut, str]:
    """The galaxies to learn from, how they are cut, and how the table calls them."""
    if (store := challenge(desk)) is not None:
        return store, desk.recipe.cut, "Galaxy Challenge"
    if desk.place("gz2_stripe82/votes.csv") is None:
        desk.nothing_found(CHALLENGE, f"{STRIPE82} (to be judged on)")
    return desk.sky(), replace(desk.recipe.cut, of=SIMULATED_SIDE), "simulated sky"


def parts_of(desk: Desk[GoogLeNetRecipe], store: Store, part: str = "") -> Catalog:
    """The galaxies with votes and the part of each, by the recipe's split; or all of them in ``part``."""
    recipe = desk.recipe.train
    if part:
        ids = make_labels(store.catalog, largest(recipe.labels)).ids
        return Catalog({"id": list(ids), "part": [part] * len(ids)})
    examples = find_examples(store, store.catalog, largest(recipe.labels), recipe.split)
    desk.notes += examples.notes
    return Catalog({"id": list(examples.labels.ids), "part": examples.parts.tolist()})


def _cut(desk: Desk[GoogLeNetRecipe], store: Store, parts: Catalog, cut: Cut, name: str) -> Store:
    """The views of the galaxies of ``parts``."""
    with desk.timed("cut views") as bar:
        views = cut_views(store, desk.out / name, parts, cut, progress=bar)
    if views.n_rejected:
        desk.notes.append(f"{views.n_rejected // VIEWS:,} of {len(parts):,} galaxies could not be cut: see '{name}'")
    return views


def _softmax(desk: Desk[GoogLeNetRecipe], views: Store, name: str, part: str | None = "test") -> Votes:
    """The softmax's votes for the views of a part."""
    return desk.predict(views, "run", name, part=part, views=1)


def _svm(desk: Desk[GoogLeNetRecipe], views: Store, recipe: TrainRecipe) -> Votes:
    """The votes of the linear SVM on the network's standardised last features, for all test views."""
    catalog = views.catalog
    taken = [
        part != "train" or int(one[-2:]) < desk.recipe.svm_views
        for one, part in zip(catalog.ids, catalog["part"], strict=True)
    ]
    choice = replace(desk.recipe.svm, on="features", model=str(desk.out / "run"))
    path = desk.out / "votes-linear-svm-views.parquet"
    with desk.timed("features and SVM") as bar:
        done = fit(
            views,
            path,
            BaselineRecipe(recipe.labels, recipe.split, recipe.display, choice),
            labels=catalog.rows(np.array(taken)),
            run=desk.out / "run",
            progress=bar,
        )
    desk.notes += [f"linear SVM, on {done.n_trained:,} views: {note}" for note in done.notes]
    return Votes.read(path)


def _told(votes: Votes, means: Votes, views: Store, labels: LabelChoice) -> Told:
    """Which of its answers are right: the views' own and their galaxies' means, on drawn labels and the largest."""
    ids = [one for one, done in zip(votes.ids, votes.done, strict=True) if done]
    parents = [parent_of(one) for one in ids]
    drawn, most = (make_labels(views.catalog, choice).select(ids).classes for choice in (labels, largest(labels)))
    single = votes.values[votes.done].argmax(axis=1)
    row = {one: number for number, one in enumerate(means.ids)}
    mean = means.values[[row[one] for one in parents]].argmax(axis=1)
    counts = confusion(drawn, single, len(votes.names), np.ones((1, len(ids))))[0]
    right = np.stack([single == drawn, mean == drawn, single == most, mean == most])
    return Told(right, parents, counts)


def _tell_confusions(desk: Desk[GoogLeNetRecipe], told: dict[str, Told], names: tuple[str, ...]) -> None:
    blocks: list[Block] = [
        Text(
            "Rows are the labels drawn for the test views, columns the answers; the author judged so. The same on the "
            f"largest share of the votes, with the mean of {VIEWS} views, is on the page softmax-and-svm.html."
        )
    ]
    for name, one in told.items():
        blocks += [Text(f"{name}, {len(one.parents):,} views of {one.galaxies:,} galaxies", "h3")]
        blocks += [Confusion(names, one.counts)]
    desk.sections.append(Section("drawn", "Confusion matrices on drawn labels", tuple(blocks)))


def _tell_colour(desk: Desk[GoogLeNetRecipe], views: Store, labels: LabelChoice, what: str) -> None:
    """The study of colour: accuracy as the test views are shifted along the first principal axis of their colours."""
    catalog, recipe = views.catalog, desk.recipe
    test = [one for one, part in zip(catalog.ids, catalog["part"], strict=True) if part == "test"]
    if recipe.colour_galaxies:
        chosen = set(list(dict.fromkeys(map(parent_of, test)))[: recipe.colour_galaxies])
        test = [one for one in test if parent_of(one) in chosen]
    with desk.timed("sensitivity") as bar:
        found = sensitivity(views, desk.out / "run", "colour", steps=recipe.colour_steps, ids=test, progress=bar)
        groups = [parent_of(one) for one in found.ids]
        lines = {
            title: found.accuracy(make_labels(catalog, choice), groups=groups, resamples=recipe.bootstrap)
            for title, choice in ((HOW[2], largest(labels)), (HOW[0], labels))
        }
    rows: list[tuple[Cell, ...]] = [
        (f"{step:g}", *(points[number] for points in lines.values()), float(found.kept[number]))
        for number, step in enumerate(found.steps)
    ]
    table = Table(("strength", *lines, "class as at the first strength"), tuple(rows))
    text = (
        f"Every one of {len(test):,} views of {len(set(groups)):,} {what} is shifted by alpha z sqrt(lambda) p: z a "
        "standard normal number of its own, lambda and p the largest eigenvalue and its vector of the covariance of "
        f"the views' colours, alpha the strength. Training shifted by alpha = {recipe.cut.colour:g}."
    )
    figure = Figure(sensitivity_figure(found, lines), "The softmax as colours shift, with 95% bootstrap intervals.")
    desk.sections.append(Section("colour", "Sensitivity to colour", (Text(text), figure, table)))


def _tell_time(desk: Desk[GoogLeNetRecipe], spent: dict[str, float], views: int, galaxies: int) -> None:
    """Training and prediction apart: the author divided all of it by the number of test images."""
    predicting, svm = spent["predict"], spent["features and SVM"]
    rows: list[tuple[Cell, ...]] = [
        ("training", minutes(desk.seconds["train"]), "10.5 h"),
        ("features of the training and test views, and the SVM", minutes(svm), "1 h"),
        (f"prediction by the softmax: {views:,} views of {galaxies:,} test galaxies", minutes(predicting), "–"),
        (f"prediction, per galaxy of {VIEWS} views", f"{1000 * predicting / max(galaxies, 1):.1f} ms", "–"),
        ("prediction, per view", f"{1000 * predicting / max(views, 1):.2f} ms", "–"),
    ]
    text = (
        "The author's '12 seconds an image' is training and features, 11.5 hours, over 3,073 test images: the time of "
        "a training is not one of predicting an image. Only the totals compare."
    )
    desk.sections.append(
        Section("cost", "What it costs", (Text(text), Table(("what", "ours", "author"), tuple(rows), words=True)))
    )


def _note(desk: Desk[GoogLeNetRecipe], parents: Store, told: Told, labels: LabelChoice) -> str:
    ids = list(dict.fromkeys(told.parents))
    assert parents.catalog is not None
    best = ceiling(parents.catalog, ids, labels)
    truth = make_labels(parents.catalog, largest(labels)).select(ids)
    common = np.bincount(truth.classes, minlength=len(truth.names)).max() / len(ids)
    start = desk.recipe.train.model.pretrained
    told_start = f"from the weights '{start}'" if start else "from random initial weights (the author's: ImageNet's)"
    return (
        f"S5: {told_start}; accuracy on drawn labels has a ceiling, here {best:.3f} (the mean of the largest shares), "
        f"which nobody can expect to pass; always the commonest class is right in {common:.3f} by the largest share; "
        "the author gives one figure, on drawn labels; intervals resample galaxies with all their views"
    )


def _real(desk: Desk[GoogLeNetRecipe], recipe: TrainRecipe, data: str, images: float) -> list[Finding]:
    """The trained network on real galaxies with votes, where the user's folder has them: what it was not trained on."""
    store = stripe82(desk)
    if store is None:
        return []
    views = _cut(desk, store, parts_of(desk, store, "test"), desk.recipe.cut, "stripe82-views")
    votes = _softmax(desk, views, "votes-stripe82-views", part=None)
    means = average_views(votes, desk.out / "votes-stripe82.parquet")
    told = _told(votes, means, views, recipe.labels)
    estimates = share_right(told.right, told.parents, resamples=desk.recipe.bootstrap)
    desk.judge(means, store, "stripe82", choice=largest(recipe.labels), images=store)
    assert store.catalog is not None
    best = ceiling(store.catalog, list(dict.fromkeys(told.parents)), recipe.labels)
    guess = max(
        make_labels(store.catalog, largest(recipe.labels)).select(dict.fromkeys(told.parents)).counts_per_class.values()
    )
    note = (
        f"S5: real galaxies of Galaxy Zoo 2's Stripe 82, judged by a network that was trained on others ({data}); the "
        f"ceiling on drawn labels is {best:.3f} here; always the commonest class is right in "
        f"{guess / max(told.galaxies, 1):.3f}"
    )
    return [
        Finding(f"softmax, accuracy: {how}", "Stripe 82, real", value, told.galaxies, "", images, note)
        for how, value in zip(HOW, estimates, strict=True)
    ]


__all__ = ["GoogLeNetRecipe", "Told", "ceiling", "galaxies", "largest", "parts_of", "run"]
