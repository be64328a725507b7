"""S3: Night Sky Net, four types learnt where volunteers were sure, and held against them where they were not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...data.sampling import copies
from ...errors import LabelError, RecipeError
from ...evaluate.bootstrap import Estimate
from ...evaluate.humans import humans
from ...evaluate.judge import Judgement
from ...evaluate.report import Section, Table, Text
from ...galaxy.catalog import Catalog
from ...galaxy.labels import LabelChoice, Labels, find_votes, make_labels
from ...galaxy.store import Store
from ...galaxy.tree import Tree
from ...galaxy.votes import Votes
from ...simulate.oneclick import type_votes
from ...simulate.truth import draw_population
from ...train.choices import TrainRecipe
from ...train.finish import TrainSummary
from .choices import Experiment
from .data import GZ1_SAMPLE, STRIPE82, gz1_sample, stripe82
from .desk import Desk, measured, seen, with_changes
from .outcome import Finding

TABLE = "GalaxyZoo1_DR_table2.csv"
GZ1_VOTES = f"{TABLE} (Galaxy Zoo 1's votes) with images/ named by OBJID"
CROPS = 212.0  # px of 292: half of the 423 that these pictures were cut from, as the author's 60 of 120
FRAMES = 292 / 200  # gz1's pictures show a galaxy so many times larger, in px, than gz2_stripe82's
NO_FIGURE = (
    "S3: the author reports no overall accuracy. The galaxies judged are those of the test part on which volunteers "
)
NO_FIGURE += "were sure, or which have one class"


@dataclass(frozen=True)
class NightSkyRecipe(Experiment):
    """What S3 chooses besides: on whom volunteers were unsure, as their largest share of the four types' votes."""

    unsure: tuple[float, float] = (0.0, 0.8)


def run(desk: Desk[NightSkyRecipe]) -> tuple[Finding, ...]:
    """Learn the four types of galaxies of whom volunteers were sure, and predict those of whom they were not.

    On Galaxy Zoo 1's votes, where the user has the table and pictures. Without them on a simulated sky with its kind of
    votes; before that on classes, where there is the sample gz1/, and then also against the volunteers of Stripe 82.
    Raises :class:`RecipeError` for ``unsure`` that cannot be, before any work, and for data with nothing to learn.
    """
    low, high = desk.recipe.unsure
    if not 0 <= low <= high <= 1:
        raise RecipeError(f"unsure is {desk.recipe.unsure}; it is two shares of the votes, 0 <= low <= high <= 1")
    found: list[Finding] = []
    if (table := desk.place(TABLE, f"{TABLE}.gz")) is not None and (table.parent / "images").is_dir():
        store = desk.ingest(table.parent / "images", "galaxies", labels=table, unmatched="drop")
        assert store.catalog is not None
        height, width = store.record(store.ids[0]).size()
        recipe = with_changes(desk.recipe.train, display={"crop": min(height, width) / 2})
        found += _with_votes(desk, store, store.catalog, recipe, "Galaxy Zoo 1, real")
        return tuple(found)
    if (store_of_classes := gz1_sample(desk)) is not None:
        found += _with_classes(desk, store_of_classes)
    else:
        desk.nothing_found(GZ1_VOTES, f"{GZ1_SAMPLE} and, to be held against its volunteers, {STRIPE82}")
    sky = desk.recipe.sky  # the only ones with Galaxy Zoo 1's votes, of which some are sure
    store = desk.sky()
    with desk.timed("simulate"):
        weights = dict.fromkeys(sky.classes, 1.0) or None
        votes = type_votes(draw_population(sky.seed, sky.galaxies, sky.survey, weights), sky.survey)
    return (*found, *_with_votes(desk, store, votes, desk.recipe.train, "simulated sky"))


def _in_pixels(store: Store, times: float = 1.0) -> Store:
    """The store with a crop counted in pixels of its pictures, ``times`` larger than those of other pictures.

    These pictures are scaled to each galaxy, so that an angle would cut each of them otherwise.
    """
    return store.with_pixel_scale(times)


def _with_votes(
    desk: Desk[NightSkyRecipe], store: Store, votes: Catalog, recipe: TrainRecipe, told: str
) -> list[Finding]:
    """Learn from shares of volunteers' votes, above the recipe's threshold; then human against machine."""
    store = _in_pixels(store)
    summary = desk.train(store, recipe, "run", votes)
    labels = make_labels(votes, recipe.labels)
    desk.sections.append(_copies(desk.out / "run", labels, recipe, "copies", told))
    tested = desk.predict(store, "run", "votes-sure")
    judgement = desk.judge(tested, votes, "sure", images=store)
    known, pictures = set(labels.ids), set(store.ids)
    others = [one for one in votes.ids if one in pictures and one not in known]
    predicted = desk.predict(store, "run", "votes-all", part=None, ids=[*tested.ids, *others])
    sure = f"volunteers sure, p >= {recipe.labels.threshold:g}"
    rows = _accuracies(judgement, told, sure, summary)
    return rows + _humans(desk, predicted, votes, recipe.labels, store, told, "humans")


def _with_classes(desk: Desk[NightSkyRecipe], store: Store) -> list[Finding]:
    """Learn from one class per galaxy; then, where there are pictures of Stripe 82, against its volunteers."""
    labels = replace(desk.recipe.train.labels, kind="column", column="class", tree="")
    recipe = with_changes(desk.recipe.train, labels=labels, display={"crop": CROPS})
    store = _in_pixels(store)
    assert store.catalog is not None
    summary = desk.train(store, recipe, "run-classes")
    made = make_labels(store.catalog, labels)
    desk.sections.append(_copies(desk.out / "run-classes", made, recipe, "copies-classes", "gz1"))
    votes = desk.predict(store, "run-classes", "votes-classes")
    rows = _accuracies(desk.judge(votes, store, "classes", images=store), "gz1, real", "one class each", summary)
    stripe = stripe82(desk)
    if stripe is None:
        desk.notes.append(f"human against machine on real galaxies needs {STRIPE82}")
        return rows
    stripe = _in_pixels(stripe, FRAMES)
    assert stripe.catalog is not None
    desk.notes.append(
        "Stripe 82's pictures are cut to the part that the net learnt to see: galaxies are 0.68 as large in them, in "
        "px, as in gz1's, by the median half-light radii of either set; one or two of its galaxies may be among gz1's"
    )
    people, machine = types_of(stripe.catalog), desk.predict(stripe, "run-classes", "votes-stripe82", part=None)
    return rows + _humans(desk, machine, people, desk.recipe.train.labels, stripe, "Stripe 82, real", "humans-stripe82")


def types_of(catalog: Catalog) -> Catalog:
    """What volunteers of Galaxy Zoo 2 would have said by Galaxy Zoo 1's one click: ``P_EL`` .. ``P_MG`` from votes.

    With the tree's cumulative fractions c (of all volunteers, whether asked or not; (N,) each, from the raw votes, not
    the debiased), and m = c(merger) / (1 - c(star or artifact)), the share of those who saw a galaxy that call it a
    merger, whatever else they said on the way there:

    P_MG = c(merger); P_EL = (1 - m) c(smooth); P_EDGE = (1 - m) c(edge-on); P_CW + P_ACW = (1 - m) c(spiral).

    The sense of spirals was not asked: P_CW = P_ACW. P_DK is the rest, which has no button of its own: stars and
    artifacts, and disks that are neither edge-on nor spiral. The six sum to 1. Raises what :func:`find_votes` raises.
    """
    tree = Tree.load("gz2")
    kind, votes = find_votes(catalog, tree, ("fractions", "counts", "challenge"))
    shares = tree.cumulative(tree.from_challenge(votes) if kind == "challenge" else tree.fractions(votes))
    at = {name: shares[:, number] for number, name in enumerate(tree.columns)}
    merger = at["t08_odd_feature_a24_merger"]
    galaxy = 1 - at["t01_smooth_or_features_a03_star_or_artifact"]
    alone = 1 - np.divide(merger, galaxy, out=np.zeros_like(merger), where=galaxy > 0)
    spiral = alone * at["t04_spiral_a08_spiral"] / 2
    types = {
        "P_EL": alone * at["t01_smooth_or_features_a01_smooth"],
        "P_CW": spiral,
        "P_ACW": spiral,
        "P_EDGE": alone * at["t02_edgeon_a04_yes"],
        "P_MG": merger,
    }
    rest = np.clip(1 - sum(types.values()), 0, 1)
    return Catalog({"id": pa.array(catalog.ids, pa.string()), **types, "P_DK": rest}, name=f"types of {catalog.name}")


def _accuracies(judgement: Judgement, told: str, which: str, summary: TrainSummary) -> list[Finding]:
    """Accuracy, balanced accuracy, and the recall of mergers, the rarest class."""
    images, n = seen(summary), judgement.n_judged
    always = judgement.numbers["baseline"]
    note = f"{NO_FIGURE}. Always saying “{always['class']}” is right in {always['accuracy']:.3f} ({told})"
    rows = [
        Finding(f"four types, {words} ({which})", told, measured(judgement, key), n, images=images, note=note)
        for key, words in (("accuracy", "accuracy"), ("balanced_accuracy", "balanced accuracy"))
    ]
    rarest = judgement.numbers["classes"].get("merger")
    if rarest is not None:
        recall = _estimate(rarest["recall"])
        rows.append(Finding(f"recall of mergers ({which})", told, recall, rarest["galaxies"], images=images))
    return rows


def _humans(
    desk: Desk[NightSkyRecipe],
    machine: Votes,
    people: Catalog,
    labels: LabelChoice,
    store: Store,
    told: str,
    page: str,
) -> list[Finding]:
    """The page of human against machine, and its first lines: where volunteers were unsure."""
    low, high = desk.recipe.unsure
    try:
        with desk.timed("judge") as bar:
            judgement = humans(
                machine,
                people,
                desk.page(page),
                choice=labels,
                unsure=(low, high),
                images=store,
                bootstrap=desk.recipe.bootstrap,
                progress=bar,
            )
    except LabelError as error:  # nobody was unsure
        desk.pages.remove(f"{page}.html")
        desk.notes.append(f"human against machine, {told}: {error}")
        return []
    where = judgement.numbers["where_unsure"]
    n = where["galaxies"]
    note = (
        f"Human against machine: galaxies on which volunteers were unsure (largest share of the four {low:g} to "
        f"{high:g}), none of them learnt; {page}.html has scatter, bins, RMSE and the largest disagreements"
    )
    rows = [Finding("volunteers unsure, same first choice", told, _estimate(where["agreement"]), n, note=note)]
    for name, row in where["classes"].items():
        rows.append(Finding(f"volunteers unsure, Spearman of {name}", told, _estimate(row["spearman"]), n))
    return rows


def _estimate(numbers: Mapping[str, float | None]) -> Estimate:
    values = [numbers[key] for key in ("value", "low", "high")]
    return Estimate(*(float("nan") if one is None else one for one in values))


def _copies(run: Path, labels: Labels, recipe: TrainRecipe, key: str, of: str) -> Section:
    """The table of copies per class, which in the author's training were files and are random views here."""
    split = Catalog.read(run / "split.parquet")
    trained = {one for one, part in zip(split.ids, split["part"], strict=True) if part == "train"}
    classes = labels.values.argmax(axis=1)
    held = np.bincount(classes, minlength=len(labels.names))
    chosen = classes[[one in trained for one in labels.ids]]
    counts = np.bincount(chosen, minlength=len(labels.names))
    often = copies(counts, recipe.train.balance)
    rows: list[tuple[Any, ...]] = [
        (name, int(held[k]), int(counts[k]), f"{often[k]:.2f}", f"{counts[k] * often[k] / max(counts.sum(), 1):.3f}")
        for k, name in enumerate(labels.names)
    ]
    told = (
        "The author drew about 105,000 pictures from 14,275 galaxies, so many copies of each class as to balance them: "
        "7.4 of a galaxy on average, about 25 of each of the 42 mergers, which came to 1%. Here an epoch takes as many "
        f"galaxies as there are, classes by train.balance = “{recipe.train.balance}”; each time a galaxy comes it is "
        "turned, mirrored and shifted anew."
    )
    columns = ("class", "galaxies with a label", "in training", "views per galaxy and epoch", "share of an epoch")
    return Section(key, f"Copies per class, {of}", (Text(told), Table(columns, tuple(rows))))
