"""The winner's experiment: the split by id, the 37 columns, the blend, the submission, and a run of all of it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuningfork import recipe as recipes
from tuningfork.errors import ImpossibleVotes, LabelError, RecipeError, SplitError
from tuningfork.evaluate.questions import cumulative_rmse
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import COLOUR, Record
from tuningfork.galaxy.store import Store, StoreWriter
from tuningfork.galaxy.tree import CHALLENGE, Tree
from tuningfork.galaxy.votes import Votes
from tuningfork.model.card import Card
from tuningfork.workflow.experiments.challenge import (
    SUBMISSION,
    ChallengeRecipe,
    Rescaled,
    _on_stripe82,
    blended,
    challenge_columns,
    run,
    shared_out,
    submission,
)
from tuningfork.workflow.experiments.choices import load_experiment
from tuningfork.workflow.experiments.desk import Desk
from tuningfork.workflow.experiments.outcome import Finding

TREE = Tree.load("gz2")
NAME = "challenge-winner"


def at_desk(out: Path, data: Path | None = None) -> Desk[ChallengeRecipe]:
    return Desk(NAME, out, load_experiment(ChallengeRecipe, NAME, "toy"), "toy", data)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk[ChallengeRecipe], tuple[Finding, ...]]:
    """The experiment on a toy sky: two nets of two epochs."""
    desk = at_desk(tmp_path_factory.mktemp("winner"))
    return desk, run(desk)


def read_submission(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Header, ids and the 37 columns."""
    with open(path, newline="") as file:
        header, *rows = list(csv.reader(file))
    return header, [row[0] for row in rows], np.array([row[1:] for row in rows], dtype=float)


def columns(n: int = 30) -> np.ndarray:
    shares = TREE.fractions(np.random.default_rng(0).random((n, TREE.n_answers)) + 0.05)
    return TREE.to_challenge(shares).round(6)


# --- the parts


def test_the_split_is_the_authors() -> None:
    """The last tenth of 61,578 numbers is 6,157 galaxies; numbers are sorted as numbers, whatever came first."""
    ids = [str(100_008 + 15 * row) for row in range(61_578)][::-1]
    parts = shared_out(ids, 0.1, 0.02)
    test = sorted((one for one, part in parts.items() if part == "test"), key=int)
    assert len(test) == 6157 and test == sorted(ids, key=int)[-6157:]
    others = [max(int(one) for one, its in parts.items() if its == part) for part in ("train", "validation")]
    assert others[0] < others[1] < int(test[0])
    assert list(parts.values()).count("validation") == 1231


def test_ids_that_are_no_numbers_come_last_and_no_part_is_empty() -> None:
    parts = shared_out(["b", "10", "a", "9"], 0.1, 0.1)
    assert parts == {"9": "train", "10": "train", "a": "validation", "b": "test"}
    with pytest.raises(SplitError, match=r"4 galaxies with held_out 0\.5 and validation 0\.5 leave none"):
        shared_out(["1", "2", "3", "4"], 0.5, 0.5)


def test_the_columns_are_the_published_ones_or_made_of_votes() -> None:
    published = columns()
    ids = [f"{row}" for row in range(len(published))]
    named = Catalog({"id": ids, **dict(zip(CHALLENGE, published.T, strict=True))})
    assert np.array_equal(challenge_columns(named), published)
    counts = np.random.default_rng(1).integers(0, 40, (5, TREE.n_answers))
    voted = Catalog({"id": ids[:5], **{f"{c}_fraction": TREE.fractions(counts)[:, k] for k, c in
                                       enumerate(TREE.columns)}})  # fmt: skip
    made = challenge_columns(voted)
    assert np.allclose(made[:, 13:15].sum(axis=1), 1), "question 6 sums to 1, as in the challenge"
    assert np.allclose(made[:, 15:18].sum(axis=1), made[:, 0], atol=1e-6)


def test_another_scale_is_the_same_galaxy(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store") as writer:
        y, x = np.mgrid[:50, :50] - 24.5
        light = (200 * np.exp(-(x**2 / 50 + y**2 / 18))).astype(np.uint8)
        writer.add(Record.from_pixels("g", np.stack([light] * 3), COLOUR))
    store = Store.open(tmp_path / "store")
    larger = Rescaled(store, 100)
    pixels = larger.record("g").cutout().pixels[0].astype(float)
    assert pixels.shape == (100, 100) and larger.digest != store.digest
    rows, across = np.mgrid[:100, :100] - 49.5
    widths = [np.sqrt((pixels * axis**2).sum() / pixels.sum()) for axis in (across, rows)]
    assert widths == pytest.approx([10, 6], rel=0.05)  # twice 5 and 3
    assert [one.id for one in larger.records(["g", "h"])] == ["g", "h"]


def test_a_submission_is_in_the_challenges_format() -> None:
    values = columns(3)
    lines = submission(["20", "3", "100"], values).splitlines()
    assert lines[0] == "GalaxyID," + ",".join(CHALLENGE) and len(lines) == 4
    assert [line.split(",")[0] for line in lines[1:]] == ["3", "20", "100"]
    assert [float(one) for one in lines[1].split(",")[1:]] == pytest.approx(values[1], abs=5e-7)
    assert submission(["1"], np.zeros((1, 37))).count(",") == 2 * 37
    for wrong in (np.full((3, 37), np.nan), np.zeros((3, 36)), np.zeros((2, 37))):
        with pytest.raises(RecipeError, match="a submission is a finite number"):
            submission(["20", "3", "100"], wrong)


# --- the whole


def test_one_view_sixty_views_and_the_ensemble_are_judged_on_the_last_tenth(done) -> None:
    desk, findings = done
    assert [one.what for one in findings] == [
        "one net, one view: RMSE", "one net, 60 views: RMSE", "2 nets, 60 views: RMSE",
    ]  # fmt: skip
    store = Store.open(desk.out / "sky")
    held = sorted(store.ids)[-6:]
    truth = challenge_columns(store.catalog.select(held))
    for one, names in zip(findings, (["net-0-1"], ["net-0-60"], ["net-0-60", "net-1-60"]), strict=True):
        votes = [Votes.read(desk.out / f"votes-{name}.parquet") for name in names]
        assert votes[0].ids == held and one.galaxies == 6 and one.images == 48 * 2
        by_hand = np.mean([TREE.to_challenge(each.values) for each in votes], axis=0)
        assert one.ours.value == pytest.approx(np.sqrt(((by_hand - truth) ** 2).mean()), rel=1e-6)
        assert one.ours.low <= one.ours.value <= one.ours.high
        constant = np.sqrt(truth.var(axis=0).mean())
        assert f"{constant:.4f}" in one.note
    assert findings[0].published == ".07671 public, .07693 private" and "17 nets" in findings[2].published
    values = {one.ours.value for one in findings}
    assert len(values) == 3, "views and nets differ"


def test_an_ensemble_is_no_worse_than_its_nets_on_average(done) -> None:
    """By convexity: the squared error of a mean is at most the mean of the squared errors."""
    desk, _ = done
    votes = [Votes.read(desk.out / f"votes-net-{k}-60.parquet") for k in (0, 1)]
    truth = challenge_columns(Store.open(desk.out / "sky").catalog.select(votes[0].ids))
    ones = np.ones((1, len(truth)))
    errors = [float(cumulative_rmse(blended(some), truth, ones)[0]) ** 2 for some in (votes, votes[:1], votes[1:])]
    assert errors[0] <= np.mean(errors[1:]) + 1e-12
    assert not np.allclose(votes[0].values, votes[1].values), "two seeds are two nets"
    other = Votes.read(desk.out / "votes-net-0-60.parquet")
    other.ids[:] = other.ids[::-1]
    with pytest.raises(RecipeError, match="of other galaxies"):
        blended([votes[0], other])


def test_the_submission_of_the_galaxies_held_out(done) -> None:
    desk, _ = done
    header, ids, values = read_submission(desk.out / SUBMISSION)
    votes = [Votes.read(desk.out / f"votes-net-{k}-60.parquet") for k in (0, 1)]
    assert header == ["GalaxyID", *CHALLENGE] and ids == votes[0].ids
    np.testing.assert_allclose(values, blended(votes), atol=5e-7)
    np.testing.assert_allclose(values[:, 0:3].sum(axis=1), 1, atol=2e-6)
    assert SUBMISSION in desk.pages and any("held out" in note for note in desk.notes)


def write_challenge(folder: Path, rows: np.ndarray, ids: list[str], side: int = 424) -> Path:
    """A made-up Galaxy Challenge: pictures of noise, the solutions, and two test pictures, one of them broken."""
    generator = np.random.default_rng(0)
    for name, some in (("images_training_rev1", ids), ("images_test_rev1", ["7", "12"])):
        (folder / name).mkdir(parents=True)
        for one in some:
            light = generator.integers(0, 60, (side // 8, side // 8, 3), dtype=np.uint8)
            Image.fromarray(light).resize((side, side)).save(folder / name / f"{one}.jpg")
    (folder / "images_test_rev1" / "12.jpg").write_bytes(b"<html>log in</html>")
    with open(folder / "training_solutions_rev1.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [["GalaxyID", *CHALLENGE], *([one, *row] for one, row in zip(ids, rows, strict=True))]
        )
    return folder


def test_on_a_copy_of_the_challenge_the_test_pictures_are_submitted(tmp_path: Path) -> None:
    published, ids = columns(24), [str(100_008 + 15 * row) for row in range(24)]
    desk = at_desk(tmp_path / "out", write_challenge(tmp_path / "own", published, ids))
    desk.recipe = recipes.replace(desk.recipe, {"ensemble": 1, "train.train.epochs": 1})
    findings = run(desk)
    assert {one.data for one in findings} == {"Galaxy Challenge, held out"} and findings[0].galaxies == 2
    assert Card.load(tmp_path / "out" / "net-0" / "model").display["crop"] == 207.0
    _, sent, values = read_submission(tmp_path / "out" / SUBMISSION)
    assert sent == ["7", "12"]
    np.testing.assert_allclose(values[1], published.mean(axis=0), atol=1e-6)  # of the broken one
    assert not np.allclose(values[0], values[1], atol=1e-3)
    told = " ".join(desk.notes)
    assert "1 pictures could not be used, such as ['12']" in told and "test pictures, each from one view" in told


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (
            lambda rows: rows.__setitem__((3, 15), rows[3, 15] + 0.3),
            ImpossibleVotes,
            r"row 4 \('100053'\): t07_rounded",
        ),
        (
            lambda rows: rows.__setitem__((5, slice(13, 15)), 0.2),
            ImpossibleVotes,
            r"row 6 \('100083'\): t06_odd sums to",
        ),
    ],
)
def test_solutions_that_cannot_be_are_refused_with_their_rows(tmp_path, spoil, error, says) -> None:
    rows, ids = columns(8), [str(100_008 + 15 * row) for row in range(8)]
    spoil(rows)
    with pytest.raises(error, match=says):
        run(at_desk(tmp_path / "out", write_challenge(tmp_path / "own", rows, ids, 64)))


def test_solutions_without_a_column_are_refused(tmp_path: Path) -> None:
    folder = write_challenge(tmp_path / "own", columns(8), [str(row) for row in range(8)], 64)
    table = folder / "training_solutions_rev1.csv"
    table.write_text(table.read_text().replace("Class7.2", "Class7"))
    with pytest.raises(LabelError, match=r"lacks 'Class7\.2' of 37"):
        run(at_desk(tmp_path / "out", folder))


def test_data_with_nothing_for_it_says_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(RecipeError, match=r"training_solutions_rev1\.csv.*gz2_stripe82"):
        run(at_desk(tmp_path / "out", tmp_path / "mine"))


def test_an_ensemble_of_none_is_refused(tmp_path: Path) -> None:
    desk = at_desk(tmp_path)
    desk.recipe = recipes.replace(desk.recipe, {"ensemble": 0})
    with pytest.raises(RecipeError, match="'ensemble' is 0"):
        run(desk)


def test_real_galaxies_of_stripe_82(real_data: Path, done, tmp_path: Path) -> None:
    """The nets of the toy sky on 187 real galaxies: judged honestly, beside the constant's .142."""
    desk, _ = done
    there = Desk(NAME, desk.out, desk.recipe, "toy", real_data)
    [finding] = _on_stripe82(there, ["net-0"], desk.recipe.train, "simulated sky", 96.0)
    assert 150 < finding.galaxies < 200 and "the best constant has an RMSE of 0.14" in finding.note
    assert 0.1 < finding.ours.value < 0.4 and finding.data == "gz2_stripe82, real"
