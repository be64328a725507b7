"""The Galaxy Challenge's winner: sixteen viewpoints, sixty views of each galaxy, an ensemble, and a submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import disk
from ...errors import RecipeError, SplitError
from ...evaluate.bootstrap import Estimate, estimate
from ...evaluate.questions import constant_rmse, cumulative_rmse
from ...evaluate.report import Section, Table
from ...galaxy.catalog import Catalog
from ...galaxy.cutout import Record
from ...galaxy.display import Display, render_record
from ...galaxy.labels import find_votes
from ...galaxy.records import Source
from ...galaxy.source import open_source
from ...galaxy.store import Store
from ...galaxy.tree import CHALLENGE as COLUMNS
from ...galaxy.tree import Tree
from ...galaxy.votes import Votes
from ...train.choices import TrainRecipe
from .choices import Experiment
from .data import CHALLENGE, STRIPE82, challenge, stripe82
from .desk import Desk, seen, with_changes
from .outcome import Finding

Floats = NDArray[np.float64]
SINGLE, FINAL = ".07671 public, .07693 private", ".07467 public, .07492 private (17 nets)"
SUBMISSION = "submission.csv"
TEST_PICTURES = ("images_test_rev1", "galaxy-challenge/images_test_rev1")
# Of the 200 px of a Stripe 82 picture: what shows a galaxy as large as 207 of the challenge's 424 px do. Measured: the
# mean of the pictures falls to a half, a quarter and a tenth of its peak at .6 of the challenge's radii.
STRIPE82_SIDE, STRIPE82_CROP = 200.0, 124.0


@dataclass(frozen=True)
class ChallengeRecipe(Experiment):
    """What the winner's solution chooses besides: how many nets, and how the galaxies are shared out.

    Galaxies are sorted by id. The last share ``held_out`` is the test part, on which all is judged (the winner held out
    the same tenth); before it comes ``validation``, which chooses the epoch, as the winner did not.
    """

    ensemble: int = 17  # nets that differ by their seed
    held_out: float = 0.1
    validation: float = 0.02
    crop: float = 207.0  # px of the challenge's pictures; train.display.crop is of the simulated ones
    submission_views: int = 60  # of the test pictures, where the user has them: there are 79,975
    stripe82_views: int = 60  # of the pictures of Stripe 82, likewise


def run(desk: Desk[ChallengeRecipe]) -> tuple[Finding, ...]:
    """Train the nets, and judge one of them from one view and from sixty, and all of them, on the galaxies held out."""
    choice = desk.recipe
    if choice.ensemble < 1:
        raise RecipeError(f"'ensemble' is {choice.ensemble}; it is a number of nets, 1 or more")
    store, recipe, told = _galaxies(desk)
    parts = shared_out(store.ids, choice.held_out, choice.validation)
    assert store.catalog is not None
    labels = store.catalog.with_columns({"part": [parts[one] for one in store.catalog.ids]})
    runs = [f"net-{number}" for number in range(choice.ensemble)]
    images = []
    for number, name in enumerate(runs):
        own = with_changes(recipe, split={"method": "column", "column": "part"}, train={"seed": number})
        images.append(seen(desk.train(store, own, name, labels)))
    truth = {one: row for one, row in zip(store.catalog.ids, challenge_columns(store.catalog), strict=True)}
    plain = [desk.predict(store, name, f"votes-{name}-1", views=1) for name in runs]
    turned = [desk.predict(store, name, f"votes-{name}-{choice.views}", views=choice.views) for name in runs]
    judged = _Judged(desk, truth, told, float(np.mean(images)))
    views = _counted(choice.views, "view")
    findings = [
        judged.finding("one net, one view: RMSE", plain[:1], SINGLE),
        judged.finding(f"one net, {views}: RMSE", turned[:1]),
    ]
    if len(runs) > 1:
        findings.append(judged.finding(f"{len(runs)} nets, {views}: RMSE", turned, FINAL))
    _nets(desk, judged, runs, plain, turned)
    desk.judge(turned[0], store, "questions", images=store)
    findings += _on_stripe82(desk, runs, recipe, told, float(np.mean(images)))
    _submit(desk, runs, store, turned, truth)
    return tuple(findings)


def _galaxies(desk: Desk[ChallengeRecipe]) -> tuple[Store, TrainRecipe, str]:
    """The galaxies to learn from, the recipe with the crop that fits them, and how the table calls them."""
    if (store := challenge(desk)) is not None:
        return store, with_changes(desk.recipe.train, display={"crop": desk.recipe.crop}), "Galaxy Challenge, held out"
    if desk.place("gz2_stripe82/kaggle37.csv") is None:
        desk.nothing_found(CHALLENGE, STRIPE82)
    return desk.sky(), desk.recipe.train, "simulated sky"


def shared_out(ids: Sequence[str], held_out: float, validation: float) -> dict[str, str]:
    """The part of every galaxy: the last share by id is "test", the one before "validation", the rest "train".

    Ids that are numbers are sorted as numbers, others after them as text; shares are rounded down (of 61,578 galaxies
    the last tenth is 6,157), but one galaxy at least is in each part. Raises :class:`SplitError` where none is left to
    train on.
    """
    ordered = sorted(ids, key=_in_order)
    test, kept = (max(1, int(len(ids) * share)) for share in (held_out, validation))
    if test + kept >= len(ids):
        raise SplitError(
            f"{len(ids)} galaxies with held_out {held_out:g} and validation {validation:g} leave none to train on"
        )
    edges = len(ids) - test - kept, len(ids) - test
    return {
        one: "train" if row < edges[0] else "validation" if row < edges[1] else "test"
        for row, one in enumerate(ordered)
    }


def _in_order(identifier: str) -> tuple[bool, int, str]:
    number = identifier.isascii() and identifier.isdigit()
    return not number, int(identifier) if number else 0, identifier


def challenge_columns(catalog: Catalog) -> Floats:
    """The challenge's 37 columns of a catalogue, (N, 37): as published, or made of votes on the tree gz2.

    Raises :class:`~tuningfork.errors.LabelError` and :class:`~tuningfork.errors.ImpossibleVotes` as
    :func:`~tuningfork.galaxy.labels.find_votes` does.
    """
    tree = Tree.load("gz2")
    kind, values = find_votes(catalog, tree, ("challenge", "fractions", "counts"))
    return np.nan_to_num(values) if kind == "challenge" else tree.to_challenge(tree.fractions(values))


def blended(votes: Sequence[Votes]) -> Floats:
    """The mean of several nets' 37 columns, each with the same weight, as the winner blended: (N, 37).

    NaN for a galaxy of which a net has no answer; all votes must be of the same galaxies in the same order.
    """
    tree, ids = Tree.load("gz2"), votes[0].ids
    columns = []
    for one in votes:
        if one.ids != ids:
            raise RecipeError(f"{one.name} and {votes[0].name} are of other galaxies: they cannot be blended")
        columns.append(np.where(one.done[:, None], tree.to_challenge(one.values), np.nan))
    return np.asarray(np.mean(columns, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class _Judged:
    """Judges predictions against the ``truth`` (id -> 37 columns) of galaxies that the table calls ``told``."""

    desk: Desk[ChallengeRecipe]
    truth: dict[str, Floats]
    told: str
    images: float

    def rmse(self, votes: Sequence[Votes]) -> tuple[Estimate, float, int]:
        """The challenge's RMSE with its interval, that of the best constant, and the galaxies judged."""
        predicted = blended(votes)
        known = np.asarray(np.isfinite(predicted).all(axis=1))
        predicted = predicted[known]
        truth = np.array([self.truth[one] for one, kept in zip(votes[0].ids, known.tolist(), strict=True) if kept])
        with self.desk.timed("judge"):
            found = estimate(
                lambda weights: {"rmse": cumulative_rmse(predicted, truth, weights)},
                len(truth),
                resamples=self.desk.recipe.bootstrap,
            )["rmse"]
        assert isinstance(found, Estimate)
        return found, float(constant_rmse(truth, np.ones((1, len(truth))))[0]), len(truth)

    def finding(self, what: str, votes: Sequence[Votes], published: str = "", note: str = "") -> Finding:
        """One row of the table, whose note has the RMSE of the best constant."""
        value, constant, galaxies = self.rmse(votes)
        told = f"Galaxy Challenge, {self.told}: the best constant has an RMSE of {constant:.4f}"
        return Finding(
            what, self.told, value, galaxies, published, self.images, ". ".join([told, *filter(None, [note])]), 4
        )


def _nets(
    desk: Desk[ChallengeRecipe],
    judged: _Judged,
    runs: Sequence[str],
    plain: Sequence[Votes],
    turned: Sequence[Votes],
) -> None:
    """A section of the report with every net's own RMSE."""
    rows = tuple(
        (name, judged.rmse([one])[0], judged.rmse([many])[0])
        for name, one, many in zip(runs, plain, turned, strict=True)
    )
    table = Table(("net", "one view", f"{desk.recipe.views} views"), rows, "RMSE over the 37 columns.")
    desk.sections.append(Section("nets", "The nets, which differ by their seed", (table,)))


class Rescaled(Source):
    """The galaxies of another source, each resampled whole to ``side`` px (the shorter side), centre to centre.

    For a net that looks at a fixed number of pixels, where the same galaxy has another number of them.
    """

    kind = "galaxies at another scale"

    def __init__(self, inner: Source, side: int) -> None:
        digest = disk.sha256(f"{inner.digest} {side}".encode())
        super().__init__(inner.path, inner.ids, digest, bands=inner.bands, catalog=inner.catalog)
        self.inner, self.side = inner, side

    def _read(self, row: int) -> Record:
        record = self.inner.record(self.ids[row])
        bands = record.bands or record.cutout().bands
        pixels = render_record(record, Display.for_bands(bands, size=self.side))
        return Record.from_pixels(record.id, pixels, bands, None, record.ra, record.dec, record.source)

    def _where(self, row: int) -> str:
        return self.path


def _on_stripe82(
    desk: Desk[ChallengeRecipe], runs: Sequence[str], recipe: TrainRecipe, told: str, images: float
) -> list[Finding]:
    """The nets on the real galaxies of Stripe 82 whose 37 columns are known, if the user has them."""
    store = stripe82(desk, table="kaggle37.csv")
    if store is None or store.catalog is None:
        return []
    side = round(STRIPE82_SIDE * recipe.display.crop / STRIPE82_CROP)
    votes = [
        desk.predict(Rescaled(store, side), name, f"votes-{name}-stripe82", part=None, views=desk.recipe.stripe82_views)
        for name in runs
    ]
    truth = {one: row for one, row in zip(store.catalog.ids, challenge_columns(store.catalog), strict=True)}
    judged = _Judged(desk, truth, "gz2_stripe82, real", images)
    note = (
        f"The nets learnt from other pictures ({told}); these are deeper, and their scale was matched by "
        "their mean profile alone"
    )
    views = desk.recipe.stripe82_views
    return [judged.finding(f"{_counted(len(runs), 'net')}, {_counted(views, 'view')}: RMSE", votes, "", note)]


def _submit(
    desk: Desk[ChallengeRecipe], runs: Sequence[str], store: Store, turned: Sequence[Votes], truth: dict[str, Floats]
) -> None:
    """Write the submission: of the challenge's test pictures where the user has them, else of the galaxies held out."""
    folder, what = desk.place(*TEST_PICTURES), "the galaxies held out, since no images_test_rev1/ is there"
    if folder is not None:
        source, views = open_source(folder), desk.recipe.submission_views
        turned = [desk.predict(source, name, f"votes-{name}-test", part=None, views=views) for name in runs]
        what = f"the challenge's test pictures, each from {_counted(views, 'view')}"
    columns = blended(turned)
    missing = ~np.isfinite(columns).all(axis=1)
    columns[missing] = np.mean(list(truth.values()), axis=0)
    disk.write_text(desk.out / SUBMISSION, submission(turned[0].ids, columns))
    desk.pages.append(SUBMISSION)
    desk.notes.append(
        f"{SUBMISSION} has {len(columns):,} rows in the challenge's format: {what}. The labels of the test pictures "
        "are not public, so that Kaggle alone can score them"
    )
    if missing.any():
        desk.notes.append(
            f"{SUBMISSION}: {int(missing.sum())} pictures could not be used, such as "
            f"{[turned[0].ids[row] for row in np.flatnonzero(missing)[:5].tolist()]}; their rows hold the mean galaxy's"
        )


def submission(ids: Sequence[str], columns: Floats) -> str:
    """The challenge's file: GalaxyID,Class1.1,...,Class11.6, then a line per galaxy in the order of the ids.

    ``columns`` (N, 37), cumulative, written with six digits as the solutions are; question 6 sums to 1, as theirs does.
    The header is that of the solutions; the challenge's sample file writes GalaxyId.
    Raises :class:`RecipeError` for what is not finite, or not 37 columns.
    """
    if columns.shape != (len(ids), len(COLUMNS)) or not np.isfinite(columns).all():
        raise RecipeError(
            f"a submission is a finite number for each of {len(COLUMNS)} columns and {len(ids)} galaxies; these are "
            f"{columns.shape}, of which {int(np.count_nonzero(~np.isfinite(columns)))} are not finite"
        )
    lines = [",".join(["GalaxyID", *COLUMNS])]
    for row in sorted(range(len(ids)), key=lambda one: _in_order(ids[one])):
        lines.append(",".join([ids[row], *(f"{value:.6f}" for value in columns[row].tolist())]))
    return "\n".join(lines) + "\n"


def _counted(n: int, what: str) -> str:
    return f"one {what}" if n == 1 else f"{n} {what}s"
