"""S4: the classes are the commonest answers, every net is judged on the same galaxies, the real stack is accounted."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from tuningfork.errors import RecipeError
from tuningfork.evaluate.report import Section, Table, Wall
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import LabelChoice
from tuningfork.galaxy.store import Store
from tuningfork.galaxy.tree import Tree
from tuningfork.galaxy.votes import Votes
from tuningfork.model.card import Card
from tuningfork.simulate.galaxies import simulate_galaxies
from tuningfork.workflow.experiments.choices import load_experiment
from tuningfork.workflow.experiments.desk import Desk
from tuningfork.workflow.experiments.fiveband import (
    ANSWER,
    STAR,
    FiveBandRecipe,
    first_answers,
    possible_nets,
    run,
    without_stars,
)
from tuningfork.workflow.experiments.fivebanddata import DES_BANDS, SDSS_BANDS
from tuningfork.workflow.experiments.outcome import Finding

NAME = "s4-five-band"
VOTES = LabelChoice("largest", tree="gz2", votes="counts")


def answered(*counts: tuple[int, int, int]) -> Catalog:
    """Galaxies with so many votes for smooth, features, and star or artefact; no other question was answered."""
    columns = Tree.load("gz2").columns
    values = {f"{column}_count": [0] * len(counts) for column in columns}
    for answer, column in enumerate(columns[:3]):
        values[f"{column}_count"] = [one[answer] for one in counts]
    return Catalog({"id": pa.array([f"g{n}" for n in range(len(counts))]), **values})


def test_the_class_is_the_commonest_answer_and_no_vote_is_no_class() -> None:
    catalog = answered((9, 1, 0), (1, 9, 0), (4, 2, 10), (5, 5, 0), (0, 0, 0))
    found = first_answers(catalog, VOTES)
    assert dict(zip(found.ids, found[ANSWER], strict=True)) == {
        "g0": "smooth", "g1": "features_or_disk", "g2": STAR, "g3": "smooth",
    }  # fmt: skip
    # a star is taken out, not given to the second commonest answer
    assert without_stars(found).ids == ["g0", "g1", "g3"]


def test_a_net_of_stars_is_left_out_where_there_is_none(tmp_path: Path) -> None:
    recipe = load_experiment(FiveBandRecipe, NAME, "toy")
    at = Desk(NAME, tmp_path, recipe, "toy")
    assert possible_nets(at, first_answers(answered((9, 1, 0), (0, 1, 8)), VOTES)) == recipe.nets and not at.notes
    left = possible_nets(at, first_answers(answered((9, 1, 0), (1, 8, 0)), VOTES))
    assert left == tuple(net for net in recipe.nets if not net.stars) and len(left) == len(recipe.nets) - 1
    assert len(at.notes) == 1 and "is left out" in at.notes[0]


@pytest.mark.parametrize("size", ["full", "hour", "toy"])
def test_the_recipe_is_the_authors_ablation(size: str) -> None:
    recipe = load_experiment(FiveBandRecipe, NAME, size)
    augment, display = recipe.train.augment, recipe.train.display
    chances = {getattr(augment, f"{one}_chance") for one in ("rotate", "flip", "shift", "zoom")}
    assert chances == {0.25} and augment.rotate_step == 45 and augment.zoom == 1.3
    assert augment.shift / display.size == 4 / 64  # the same share of the field at every size
    assert (display.per_band, display.stretch, display.low, display.high) == (True, "linear", 0, 100)
    assert recipe.sky.bands == SDSS_BANDS and set(recipe.real_bands) <= set(DES_BANDS) & set(recipe.real_sky.bands)
    assert len({net.name for net in recipe.nets}) == len(recipe.nets)
    assert {net.figure for net in recipe.nets if net.figure} <= {".85", ".87", "goal above .90"}
    if size != "toy":
        table = Counter((net.bands, net.augmented) for net in recipe.nets if net.backbone == "s4_cnn" and not net.stars)
        assert table == {(bands, on): 1 for bands in (SDSS_BANDS, ("g", "r", "i"), ("r",)) for on in (True, False)}


# --- the simulated sky ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk[FiveBandRecipe], tuple[Finding, ...]]:
    pytest.importorskip("galsim")
    recipe = load_experiment(FiveBandRecipe, NAME, "toy")
    desk = Desk(NAME, tmp_path_factory.mktemp("s4") / "out", recipe, "toy")
    return desk, run(desk)


def test_all_nets_are_judged_on_the_same_galaxies_without_stars(
    simulated: tuple[Desk[FiveBandRecipe], tuple[Finding, ...]],
) -> None:
    desk, findings = simulated
    answers = first_answers(Store.open(desk.out / "sky").catalog, VOTES)
    truth = dict(zip(answers.ids, answers[ANSWER], strict=True))
    galaxies = None
    for number, net in enumerate(desk.recipe.nets):
        votes = Votes.read(desk.out / f"votes-{number}.parquet")
        given = dict(zip(votes.ids, votes.table.column("class").to_pylist(), strict=True))
        assert set(votes.names) == {"smooth", "features_or_disk"} | ({STAR} if net.stars else set())
        judged = {one for one in given if truth[one] != STAR}
        assert net.stars or judged == set(given)  # stars come to the net that knows them alone
        assert galaxies is None or judged == galaxies
        galaxies = judged
        finding = next(one for one in findings if one.what == f"{net.name}, accuracy")
        assert finding.ours.value == pytest.approx(np.mean([given[one] == truth[one] for one in judged]))
        assert finding.galaxies == len(judged) and finding.published == net.figure and finding.images > 0
        assert finding.ours.low <= finding.ours.value <= finding.ours.high


def test_each_net_sees_its_own_bands_scaled_one_by_one(
    simulated: tuple[Desk[FiveBandRecipe], tuple[Finding, ...]],
) -> None:
    desk, _ = simulated
    for number, net in enumerate(desk.recipe.nets):
        card = Card.load(desk.out / f"run-{number}" / "model")
        assert tuple(card.bands) == net.bands and card.display["per_band"] is True
        recipe = (desk.out / f"run-{number}" / "recipe.toml").read_text()
        assert ("rotate = false" in recipe) is not net.augmented and f'backbone = "{net.backbone}"' in recipe


def test_star_or_artefact_has_its_own_figures_and_no_real_galaxy_is_told_of(
    simulated: tuple[Desk[FiveBandRecipe], tuple[Finding, ...]],
) -> None:
    desk, findings = simulated
    (net,) = (one for one in desk.recipe.nets if one.stars)
    votes = Votes.read(desk.out / f"votes-{desk.recipe.nets.index(net)}.parquet")
    (over_three,) = (one for one in findings if one.what == f"{net.name}, accuracy over three classes")
    assert over_three.galaxies == votes.n_done
    recall = [one for one in findings if one.what.endswith("recall of that class")]
    stars = votes.n_done - next(one for one in findings if one.what == f"{net.name}, accuracy").galaxies
    assert [one.galaxies for one in recall] == ([stars] if stars else [])
    assert {one.data for one in findings} == {"simulated sky"}
    assert any("infinitely many volunteers" in note for note in desk.notes)
    assert [section.anchor for section in desk.sections] == ["ablation"]
    assert {"ablation.html", "stars.html"} == set(desk.pages)


# --- the user's FITS files --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty simulated galaxies as five FITS files each with a table of votes, one file short; and five DES stacks."""
    pytest.importorskip("galsim")
    root = tmp_path_factory.mktemp("files")
    data = root / "data"
    (data / "fits").mkdir(parents=True)
    sky = simulate_galaxies(60, root / "sky", survey="sdss", colour=False, size=32, workers=1)
    for identifier in sky.ids:
        for band, plane in zip(SDSS_BANDS, sky.record(identifier).cutout().pixels, strict=True):
            fits.PrimaryHDU(plane).writeto(data / "fits" / f"{identifier}_{band}.fits")
    (data / "fits" / f"{sky.ids[7]}_u.fits").unlink()
    sky.catalog.write(data / "gz2_hart16.csv")
    far = simulate_galaxies(9, root / "far", survey="des", colour=False, workers=1)
    cubes = np.stack([far.record(one).cutout().pixels for one in far.ids])  # (9, 5, 91, 91)
    cubes[4] = 1.0  # one without signal in any band
    for number, band in enumerate(DES_BANDS):
        fits.PrimaryHDU(cubes[:, number]).writeto(data / "fits" / f"des_{band}.fits")
    return data


def test_the_users_files_are_learnt_and_the_stack_is_accounted_for(files: Path, tmp_path: Path) -> None:
    recipe = load_experiment(FiveBandRecipe, NAME, "toy")
    small = dataclasses.replace(recipe, nets=(recipe.nets[0], recipe.nets[1]))
    desk = Desk(NAME, tmp_path, small, "toy", files)
    findings = run(desk)
    assert {one.data for one in findings} == {"GZ2, SDSS FITS", "DES, real"}
    store = Store.open(tmp_path / "five-band")
    assert [(one.id, str(one.reason)) for one in store.rejected] == [("sim-0-000007", "missing_band")]
    assert any("1 of 61 galaxies have no row" in note for note in desk.notes)  # des_g.fits fits the pattern too
    (real,) = (one for one in findings if one.data == "DES, real")
    votes = Votes.read(tmp_path / "votes-des.parquet")
    assert real.galaxies == 9 and real.ours.value == 8 / 9 and votes.n_done == 8 and math.isnan(real.ours.low)
    assert "9 galaxies in = 8 done + 1 rejected" in real.note and real.published == ""
    assert tuple(Card.load(tmp_path / "run-des" / "model").bands) == recipe.real_bands
    section = next(one for one in desk.sections if one.anchor == "real")
    _check_wall(section, votes)


def _check_wall(section: Section, votes: Votes) -> None:
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    (wall,) = (block for block in section.blocks if isinstance(block, Wall))
    assert sum(int(row[1]) for row in table.rows if isinstance(row[1], int)) == len(wall.exhibits) == votes.n_done
    assert all(one.picture is not None and not one.missing for one in wall.exhibits)


def test_data_without_fits_are_refused_with_what_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    desk = Desk(NAME, tmp_path / "out", load_experiment(FiveBandRecipe, NAME, "toy"), "toy", tmp_path / "data")
    with pytest.raises(RecipeError, match=r"\{id\}_\{band\}\.fits.*gz2_hart16\.csv.*des_<band>\.fits"):
        run(desk)
