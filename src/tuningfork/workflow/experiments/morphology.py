"""S1, first half: twenty types of galaxies, found among the volunteers' votes by k-means and learnt as classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...errors import LabelError
from ...evaluate.bootstrap import Estimate, estimate
from ...evaluate.judge import Judgement
from ...evaluate.metrics import weighted_mean
from ...evaluate.report import Section, Table, Text
from ...galaxy.catalog import Catalog
from ...galaxy.display import Display
from ...galaxy.labels import LabelChoice, Labels, find_votes, make_labels
from ...galaxy.store import Store
from ...train.choices import TrainRecipe
from .choices import Experiment
from .data import CHALLENGE, challenge
from .desk import Desk, measured, seen, with_changes
from .outcome import Finding

TELLING = 3  # answers that describe a type


@dataclass(frozen=True)
class MorphologyRecipe(Experiment):
    """What S1 chooses besides: a second run, on the "mode" of the votes, and how real galaxies are shown.

    ``mode`` are its labels; it is trained by ``train`` in all else, for ``mode_epochs`` (the milestones of the rate
    come as much earlier). ``challenge`` is the display of the Galaxy Challenge's pictures, which are wider than the
    simulated ones.
    """

    mode: LabelChoice = field(default_factory=lambda: LabelChoice(kind="mode", tree="gz2"))
    mode_epochs: int = 10
    challenge: Display = field(default_factory=Display)


def run(desk: Desk[MorphologyRecipe]) -> tuple[Finding, ...]:
    """Learn the types, then the mode of the votes, and judge both on the same test galaxies."""
    store, recipe, told = _galaxies(desk)
    summary = desk.train(store, recipe)
    votes = desk.predict(store, "run", "votes-types")
    judgement = desk.judge(votes, store, "types", images=store)
    assert store.catalog is not None
    with desk.timed("judge"):
        labels = make_labels(store.catalog, recipe.labels)
        desk.sections.append(_section(labels, judgement))
        judged = [one for one, done in zip(votes.ids, votes.done.tolist(), strict=True) if done]
        worth = steadiness(labels, store.catalog, judged, desk.recipe.bootstrap)
    clusters = len(labels.names)
    findings = [
        Finding(
            f"{clusters} k-means types, accuracy", told, measured(judgement, "accuracy"), judgement.n_judged, ".448",
            seen(summary), _note(judgement, clusters),
        )
    ]  # fmt: skip
    if worth is not None:
        what = f"{clusters} k-means types, forty volunteers against infinitely many, agreement"
        findings.append(Finding(what, told, worth, judgement.n_judged, note=_WORTH))
    return (*findings, _mode(desk, store, recipe, told))


_WORTH = (
    "S1: how often the type that follows from the votes of about forty volunteers, which is what is learnt and judged, "
    "is the type that infinitely many would give the same galaxy; only simulated galaxies tell"
)


def _galaxies(desk: Desk[MorphologyRecipe]) -> tuple[Store, TrainRecipe, str]:
    """The galaxies, the recipe that fits them, and how the table calls them."""
    recipe = desk.recipe.train
    store = challenge(desk)
    if store is not None:
        return store, with_changes(recipe, labels={"votes": ""}, display=desk.recipe.challenge), "Galaxy Challenge"
    desk.nothing_found(CHALLENGE)
    return desk.sky(), recipe, "simulated sky"


def _mode(desk: Desk[MorphologyRecipe], store: Store, recipe: TrainRecipe, told: str) -> Finding:
    """The shorter run, whose classes are the largest of the 37 columns."""
    share = desk.recipe.mode_epochs / recipe.train.epochs
    shorter = with_changes(
        recipe,
        labels=replace(desk.recipe.mode, votes=recipe.labels.votes),
        train={
            "epochs": desk.recipe.mode_epochs,
            "milestones": tuple(share * epoch for epoch in recipe.train.milestones),
        },
    )
    summary = desk.train(store, shorter, "run-mode")
    judgement = desk.judge(desk.predict(store, "run-mode", "votes-mode"), store, "mode", images=store)
    baseline = judgement.numbers["baseline"]
    note = (
        "S1: the mode is the largest of a galaxy's 37 columns, in which question 6 sums to 1 for everybody, so that "
        f"the commonest is “{_spoken(baseline['class'])}”: always saying so is right in {baseline['accuracy']:.3f}. "
        'Without question 6 (mode.drop = ["t06_odd_a14_yes", "t06_odd_a15_no"]) nearly all labels would be answers to '
        "question 1"
    )
    return Finding(
        "“mode” labels, accuracy", told, measured(judgement, "accuracy"), judgement.n_judged, "", seen(summary), note
    )


def _note(judgement: Judgement, clusters: int) -> str:
    return (
        f"S1: always the commonest type is right in {judgement.numbers['baseline']['accuracy']:.3f}, chance in "
        f"{1 / clusters:.3f}. The clusters are found in the votes of all galaxies, those of the test part among them: "
        "they are labels. The author tells his learning rates but not his epochs, so that the share of his images is "
        "not known"
    )


def steadiness(labels: Labels, catalog: Catalog, ids: Sequence[str], resamples: int) -> Estimate | None:
    """The share of the galaxies ``ids`` whose type stays when infinitely many volunteers vote, with its interval.

    ``labels`` are types by the votes that were cast (kind "kmeans", votes "counts"); the type by infinitely many is the
    nearest of the same centres to the shares from which the votes were drawn (columns ``*_fraction``). None for labels
    made of anything else: real galaxies do not tell. Ids without a label are left out.
    """
    tree = labels.tree
    if labels.choice.votes != "counts" or tree is None or labels.centres is None:
        return None
    vectors = tree.to_challenge(tree.fractions(find_votes(catalog, tree, ("fractions",))[1]))  # (N, 37)
    distances = np.stack([np.square(vectors - centre).sum(1) for centre in labels.centres], axis=1)  # (N, clusters)
    expected = dict(zip(catalog.ids, distances.argmin(1).tolist(), strict=True))
    drawn = dict(zip(labels.ids, labels.classes.tolist(), strict=True))
    same = np.array([expected[one] == drawn[one] for one in ids if one in drawn], dtype=np.float64)
    found = estimate(lambda weights: {"same": weighted_mean(same, weights)}, len(same), resamples=resamples)["same"]
    assert isinstance(found, Estimate)
    return found


def _section(labels: Labels, judgement: Judgement) -> Section:
    """What each type is: how many galaxies, what sets its votes apart, and how often the network finds it."""
    counts, classes = labels.counts_per_class, judgement.numbers["classes"]
    rows = tuple(
        (name, counts[name], telling, _recall(classes.get(name)))
        for name, telling in zip(labels.names, described(labels), strict=True)
    )
    columns = ("type", "galaxies", "what sets its votes apart", "found by the network")
    told = (
        f"k-means of the 37 vote fractions of {len(labels):,} galaxies. A type is told by the answers whose share at "
        "its centre lies furthest above the mean of all galaxies; the number is the share at the centre, of all "
        "volunteers, not only of those who were asked."
    )
    return Section("types", f"The {len(labels.names)} types", (Text(told), Table(columns, rows, words=True)))


def described(labels: Labels) -> tuple[str, ...]:
    """For each type of labels of kind "kmeans" its most telling answers, "t04_spiral_a08_spiral" as "spiral: spiral".

    Those are the :data:`TELLING` columns in which its centre exceeds most the mean of all galaxies (that is the mean of
    the centres, weighted by their galaxies), with the centre's value; "as the mean of all" where it exceeds none by
    0.05. Raises :class:`LabelError` for labels without centres.
    """
    if labels.centres is None or labels.tree is None:
        raise LabelError(f"labels of kind '{labels.choice.kind}' have no centres: choose kind 'kmeans'")
    weights = np.array([labels.counts_per_class[name] for name in labels.names], dtype=np.float64)
    excess = labels.centres - np.average(labels.centres, axis=0, weights=weights)
    told = []
    for centre, above in zip(labels.centres, excess, strict=True):
        best = [column for column in np.argsort(-above, kind="stable")[:TELLING] if above[column] >= 0.05]
        words = [f"{_spoken(labels.tree.columns[column])} {centre[column]:.2f}" for column in best]
        told.append(", ".join(words) or "as the mean of all")
    return tuple(told)


def _spoken(column: str) -> str:
    """A column of Galaxy Zoo 2 in words: question and answer without their numbers."""
    return re.sub(r"^t\d+_(.+)_a\d+_(.+)$", r"\1: \2", column).replace("_", " ")


def _recall(row: dict[str, dict[str, float | None]] | None) -> Estimate | None:
    if row is None:
        return None
    return Estimate(*(float("nan") if number is None else number for number in row["recall"].values()))
