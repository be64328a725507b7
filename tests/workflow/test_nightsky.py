"""S3 at toy size: simulated votes, Galaxy Zoo 1's published layout, real classes; and one click from a tree's votes."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tuningfork.data.sampling import copies
from tuningfork.errors import LabelError, RecipeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import COLOUR, Cutout
from tuningfork.galaxy.display import Display, render
from tuningfork.galaxy.labels import make_labels
from tuningfork.galaxy.store import Store
from tuningfork.galaxy.tree import CHALLENGE, Tree
from tuningfork.galaxy.votes import Votes
from tuningfork.model.card import Card
from tuningfork.simulate.galaxies import truth_catalog
from tuningfork.simulate.oneclick import type_votes
from tuningfork.simulate.truth import draw_population
from tuningfork.workflow.experiments.choices import load_experiment
from tuningfork.workflow.experiments.nightsky import CROPS, FRAMES, NightSkyRecipe, types_of
from tuningfork.workflow.experiments.outcome import Outcome
from tuningfork.workflow.reproduce import reproduce

NAME = "s3-night-sky"
TYPES = ("elliptical", "face_on_spiral", "edge_on", "merger")
GZ2 = Tree.load("gz2")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    pytest.importorskip("galsim")
    out = tmp_path_factory.mktemp("s3") / "out"
    return reproduce(NAME, out, size="toy"), out


def _check_unsure(outcome: Outcome, data: str) -> int:
    """The rows of human against machine on ``data``: one of agreement, one per type, on the same galaxies."""
    rows = [one for one in outcome.findings if one.what.startswith("volunteers unsure") and one.data == data]
    assert [one.what.split(" of ")[-1] for one in rows[1:]] == list(TYPES) and "first choice" in rows[0].what
    known = [one.ours for one in rows if not math.isnan(one.ours.value)]
    assert len(known) > 2 and all(-1 <= one.low <= one.value <= one.high <= 1 for one in known)
    assert len({one.galaxies for one in rows}) == 1
    return rows[0].galaxies


def test_the_author_reported_no_figure_and_the_recipe_is_his() -> None:
    full = load_experiment(NightSkyRecipe, NAME)
    assert full.published.figure == "" and full.published.images == 0
    train = full.train.train
    assert (train.optimizer, train.rate, train.momentum, train.nesterov) == ("sgd", 0.04, 0.9, True)
    assert full.train.split.test == 0.2 and full.train.labels.threshold == 0.95
    assert full.train.augment.mirrors and full.train.augment.transpose
    assert (full.train.display.size, full.train.display.crop, full.sky.size) == (60, 60.0, 120)


def test_simulated_sky(simulated: tuple[Outcome, Path]) -> None:
    outcome, out = simulated
    recipe = load_experiment(NightSkyRecipe, NAME, "toy")
    votes = type_votes(draw_population(0, recipe.sky.galaxies))
    labels = make_labels(votes, recipe.train.labels)
    sure, everybody = Votes.read(out / "votes-sure.parquet"), Votes.read(out / "votes-all.parquet")
    first = outcome.findings[0]
    assert first.published == "" and "no overall accuracy" in first.note and first.galaxies == sure.n_in
    assert set(sure.ids) < set(labels.ids)
    assert set(everybody.ids) == set(sure.ids) | (set(votes.ids) - set(labels.ids))  # none that was learnt
    column = {"face_on_spiral": ("P_CW", "P_ACW"), "elliptical": ("P_EL",), "edge_on": ("P_EDGE",), "merger": ("P_MG",)}
    shares = np.column_stack([sum(votes[one] for one in column[name]) for name in TYPES])
    largest = shares.max(1) / shares.sum(1)
    assert _check_unsure(outcome, "simulated sky") == (largest <= 0.8 + 1e-6).sum()
    assert first.images == 2 * (len(labels) - len(sure.ids) - _part(out / "run", "validation"))
    merger = outcome.findings[2]
    assert merger.what.startswith("recall of mergers") and (merger.galaxies > 0 or math.isnan(merger.ours.value))


def _part(run: Path, part: str) -> int:
    return int((Catalog.read(run / "split.parquet")["part"] == part).sum())


def test_the_page_tells_the_copies_of_each_class(simulated: tuple[Outcome, Path]) -> None:
    _, out = simulated
    page = (out / "report.html").read_text()
    split = Catalog.read(out / "run" / "split.parquet")
    trained = [one for one, part in zip(split.ids, split["part"], strict=True) if part == "train"]
    recipe = load_experiment(NightSkyRecipe, NAME, "toy")
    labels = make_labels(type_votes(draw_population(0, recipe.sky.galaxies)), recipe.train.labels).select(trained)
    often = copies(np.bincount(labels.values.argmax(1), minlength=4), recipe.train.train.balance)
    assert "Copies per class" in page and "105,000" in page
    assert all(f"{one:.2f}" in page for one in often)
    assert "no figure was reported" in page and 'href="humans.html"' in page
    assert "Spearman" in (out / "humans.html").read_text()


def test_published_table_with_pictures(simulated: tuple[Outcome, Path], tmp_path: Path) -> None:
    """Galaxy Zoo 1 as it is published: large ids, sexagesimal positions, pictures by OBJID, more rows than pictures."""
    store = Store.open(simulated[1] / "sky")
    votes = type_votes(draw_population(0, 150))
    (tmp_path / "data" / "images").mkdir(parents=True)
    rows = []
    for number, record in enumerate(store.records()):
        name = str(587722952767439450 + 7 * number)
        (tmp_path / "data" / "images" / f"{name}.jpg").write_bytes(record.data)
        shares = {key: votes[key][number] for key in ("P_EL", "P_CW", "P_ACW", "P_EDGE", "P_DK", "P_MG", "P_CS")}
        place = {"RA": f"{number % 24:02d}:{number % 60:02d}:00.41", "DEC": f"-{number // 2:02d}:22:25.9"}
        told = {key: f"{value:.3f}" for key, value in shares.items()}
        rows.append({"OBJID": name, **place, "NVOTE": votes["NVOTE"][number], **told})
    rows.append(rows[0] | {"OBJID": "587722952767430000", "RA": "23:59:59.00"})  # of whom there is no picture
    with open(tmp_path / "data" / "GalaxyZoo1_DR_table2.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    outcome = reproduce(NAME, tmp_path / "out", data=tmp_path / "data", size="toy")
    assert {one.data for one in outcome.findings} == {"Galaxy Zoo 1, real"}
    assert _check_unsure(outcome, "Galaxy Zoo 1, real") == _check_unsure(simulated[0], "simulated sky")
    assert Card.load(tmp_path / "out" / "run" / "model").display["crop"] == 60  # half of the pictures' 120


def test_real_classes_and_stripe_82(real_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    rows = _rows(real_data / "gz1" / "labels.csv")
    few = {"elliptical": 40, "spiral_clockwise": 15, "spiral_anticlockwise": 15, "edge_on": 20, "merger": 14}
    rows = [row for name in (*few, "dont_know") for row in [r for r in rows if r["class"] == name][: few.get(name, 3)]]
    _copy(real_data / "gz1", data / "gz1", "labels.csv", rows)
    _copy(
        real_data / "gz2_stripe82",
        data / "gz2_stripe82",
        "votes.csv",
        _rows(real_data / "gz2_stripe82" / "votes.csv")[:40],
    )
    outcome = reproduce(NAME, tmp_path / "out", data=data, size="toy")
    held = (40, 30, 20, 14)  # the two senses of spirals are one class
    assert outcome.findings[0].galaxies == sum(max(1, round(0.2 * n)) for n in held)  # stratified, none of dont_know
    assert outcome.findings[2].what == "recall of mergers (one class each)" and outcome.findings[2].galaxies == 3
    assert 5 < _check_unsure(outcome, "Stripe 82, real") <= 40
    assert any("0.68 as large" in note for note in outcome.notes)
    card = Card.load(tmp_path / "out" / "run-classes" / "model")
    assert card.display["crop"] == CROPS and sorted(card.names) == sorted(TYPES)
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'href="classes.html"' in page and 'href="humans-stripe82.html"' in page and "Copies per class" in page


def _rows(table: Path) -> list[dict[str, str]]:
    with open(table, newline="") as file:
        return list(csv.DictReader(file))


def _copy(source: Path, to: Path, table: str, rows: list[dict[str, str]]) -> None:
    """Some galaxies of one of the real samples, in its own layout."""
    (to / "images").mkdir(parents=True)
    for row in rows:
        shutil.copy(source / "images" / f"{row['objid']}.jpg", to / "images")
    with open(to / table, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_data_without_anything_for_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "GalaxyZoo1_DR_table2.csv").write_text("OBJID,P_EL\n1,1\n")  # but no pictures
    with pytest.raises(RecipeError, match=r"images/ named by OBJID.*gz1/ with.*It holds: GalaxyZoo1_DR_table2.csv"):
        reproduce(NAME, tmp_path / "out", data=tmp_path / "data", size="toy")


def test_shares_that_cannot_be_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unsure is \(0.8, 0.2\)"):
        reproduce(NAME, tmp_path / "out", size="toy", changes={"unsure": (0.8, 0.2)})
    assert not (tmp_path / "out" / "sky").exists()


def test_nobody_unsure_is_told_and_the_rest_stands(simulated: tuple[Outcome, Path], tmp_path: Path) -> None:
    shutil.copytree(simulated[1], tmp_path / "out", ignore=shutil.ignore_patterns("asked.json", "outcome.json"))
    outcome = reproduce(NAME, tmp_path / "out", size="toy", changes={"unsure": (0.0, 0.01)})
    assert [one.what for one in outcome.findings] == [one.what for one in simulated[0].findings[:3]]
    assert any("were people unsure" in note for note in outcome.notes) and "humans.html" not in outcome.pages


def _counted(*answers: tuple[str, int]) -> Catalog:
    """One galaxy's votes on Galaxy Zoo 2's tree, by the ends of its columns' names; none on all others."""
    counts = {name: 0 for name in GZ2.columns}
    for ending, number in answers:
        counts[next(name for name in GZ2.columns if name.endswith(ending))] = number
    return Catalog({"id": pa.array(["one"]), **{f"{name}_count": [number] for name, number in counts.items()}})


SMOOTH, STAR = (("a01_smooth", 20), ("a16_completely_round", 20), ("a15_no", 20)), (("a03_star_or_artifact", 20),)
MIXED = (  # 10 say smooth, 8 features (2 of them edge-on, 3 spiral), 2 a star; 9 of 18 find it odd, 6 of these a merger
    ("a01_smooth", 10), ("a02_features_or_disk", 8), ("a03_star_or_artifact", 2), ("a16_completely_round", 10),
    ("a04_yes", 2), ("a05_no", 6), ("a25_rounded", 2), ("a07_no_bar", 6), ("a08_spiral", 3), ("a09_no_spiral", 3),
    ("a28_tight", 3), ("a32_2", 3), ("a12_obvious", 6), ("a14_yes", 9), ("a15_no", 9), ("a24_merger", 6),
    ("a19_ring", 3),
)  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (SMOOTH, {"P_EL": 1.0}),
        (STAR, {"P_DK": 1.0}),
        (MIXED, {"P_EL": 1 / 3, "P_CW": 0.05, "P_ACW": 0.05, "P_EDGE": 1 / 15, "P_MG": 0.3, "P_DK": 0.2}),
    ],
)
def test_one_click_by_hand(answers: tuple[tuple[str, int], ...], expected: dict[str, float]) -> None:
    found = types_of(_counted(*answers))
    for key in ("P_EL", "P_CW", "P_ACW", "P_EDGE", "P_DK", "P_MG"):
        assert found[key][0] == pytest.approx(expected.get(key, 0.0)), key


def test_one_click_made_of_a_trees_votes_follows_what_the_same_volunteers_click() -> None:
    walked, clicked = truth_catalog(draw_population(0, 300), "sdss", 64), type_votes(draw_population(0, 300))
    found = types_of(walked)
    types = np.column_stack([found[key] for key in ("P_EL", "P_CW", "P_ACW", "P_EDGE", "P_DK", "P_MG")])
    assert types.min() >= 0 and types.sum(1) == pytest.approx(1)
    for keys in (("P_EL",), ("P_CW", "P_ACW"), ("P_EDGE",), ("P_MG",)):
        one, other = (sum(catalog[key] for key in keys) for catalog in (found, clicked))
        assert np.corrcoef(one, other)[0, 1] > 0.6, keys
    challenge = GZ2.to_challenge(np.column_stack([walked[f"{name}_fraction"] for name in GZ2.columns]))
    same = types_of(Catalog({"id": pa.array(walked.ids), **dict(zip(CHALLENGE, challenge.T, strict=True))}))
    assert same["P_EDGE"] == pytest.approx(found["P_EDGE"])
    with pytest.raises(LabelError, match="gz2"):
        types_of(clicked)


def test_both_real_samples_are_cut_to_the_same_part_of_a_picture() -> None:
    rng = np.random.default_rng(1)
    large = Image.fromarray(rng.integers(0, 255, (12, 12, 3), np.uint8)).resize((292, 292), Image.Resampling.BICUBIC)
    small = large.resize((200, 200), Image.Resampling.BICUBIC)
    display = Display(size=60, crop=CROPS, pixel_scale=1.0, bands=COLOUR)
    shown = [
        render(Cutout("one", np.asarray(picture).transpose(2, 0, 1), COLOUR, pixel_scale=scale), display).astype(float)
        for picture, scale in ((large, 1.0), (small, FRAMES))
    ]
    assert np.abs(shown[0] - shown[1]).mean() < 2  # grey levels
    assert np.abs(shown[0] - shown[0].transpose(0, 2, 1)).mean() > 20  # what another cut would differ by
