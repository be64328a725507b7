"""S1's lenses at toy size: what they train, what they judge on, what they share, and what real data adds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuningfork.errors import BadCatalog, RecipeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.ingest import ingest
from tuningfork.galaxy.store import Store
from tuningfork.galaxy.votes import Votes, VotesWriter
from tuningfork.model.card import Card, find_model
from tuningfork.train.stages import s1_rounds
from tuningfork.workflow.experiments.choices import SIZES, load_experiment
from tuningfork.workflow.experiments.desk import Desk
from tuningfork.workflow.experiments.lensdata import LENS, NOT_LENS
from tuningfork.workflow.experiments.lenses import (
    SCRATCH,
    LensSky,
    ScratchRecipe,
    TransferRecipe,
    _real,
    _Stage,
    _zoo,
    order,
    scratch,
    stamps,
    transfer,
)
from tuningfork.workflow.experiments.outcome import Finding

TRANSFER = "s1-lens-transfer"


def desk(out: Path, name: str, data: Path | None = None) -> Desk:
    cls = ScratchRecipe if name == SCRATCH else TransferRecipe
    return Desk(name, out / name, load_experiment(cls, name, "toy"), "toy", data)


def parts(run: Path) -> dict[str, str]:
    split = Catalog.read(run / "split.parquet")
    return dict(zip(split.ids, split["part"].tolist(), strict=True))


Both = tuple[Path, Desk, tuple[Finding, ...], Desk, tuple[Finding, ...]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    pytest.importorskip("galsim")
    pytest.importorskip("lenstronomy")
    out = tmp_path_factory.mktemp("lenses")
    first, second = desk(out, SCRATCH), desk(out, TRANSFER)
    return out, first, scratch(first), second, transfer(second)


def test_scratch_tells_both_of_the_authors_figures_flavors_and_stage_two(both: Both):
    _, at, findings, _, _ = both
    assert [one.published for one in findings] == [".975", ".132", "", "", "", ""]
    accuracy, loss, area, flavors, before, after = findings
    assert 0 <= accuracy.ours.low <= accuracy.ours.value <= accuracy.ours.high <= 1 and loss.ours.value > 0
    tested = [one for one, part in parts(at.out / "run").items() if part == "test"]
    assert accuracy.galaxies == loss.galaxies == area.galaxies == flavors.galaxies == len(tested)
    assert before.galaxies == after.galaxies
    told = [Votes.read(at.out / f"{name}.parquet") for name in ("votes-stage-2", "votes-stage-2-tuned")]
    assert told[0].ids == told[1].ids and not np.array_equal(told[0].values, told[1].values)  # another net
    assert accuracy.images == 2 * list(parts(at.out / "run").values()).count("train")
    assert "always “" in accuracy.note and "4 classes" in flavors.note
    names = Votes.read(at.out / "votes-flavor.parquet").names
    assert set(names) == {NOT_LENS, "lensed galaxy", "lensed quasar", "lensing cluster"}
    assert "ROC" in (at.out / "stage-1.html").read_text()
    assert set(at.pages) == {"stage-1.html", "flavors.html", "stage-2.html", "stage-2-tuned.html"}


def test_the_flavor_net_sees_no_test_stamp_of_the_first(both: Both):
    _, at, *_ = both
    first, flavor = parts(at.out / "run"), parts(at.out / "flavor")
    assert {one for one, part in first.items() if part == "test"} == {
        one for one, part in flavor.items() if part == "test"
    }


def test_transfer_is_judged_on_the_stamps_of_scratch(both: Both):
    _, one, theirs, other, findings = both
    assert [row.published for row in findings] == [".971", ".070", "", "", ""]
    assert not (other.out / "sky").exists() and not (other.out / "second-sky").exists()  # those beside it serve
    assert parts(one.out / "run") == parts(other.out / "run")
    assert findings[0].galaxies == theirs[0].galaxies and findings[0].note.split(";")[0] == theirs[0].note.split(";")[0]


def test_transfer_begins_with_the_zoo_net_and_says_which(both: Both):
    *_, at, _ = both
    assert any("is a short one" in note for note in at.notes)
    card = Card.load(find_model(at.out / "zoo"))
    assert card.backbone == "s1" and len(card.names) == 4
    log = (at.out / "run" / "log.csv").read_text().splitlines()
    column = log[0].split(",").index("stage")
    assert [line.split(",")[column] for line in log[1:]] == list("1234567")


def test_the_net_of_the_experiment_beside_is_taken_where_it_fits(both: Both, tmp_path: Path):
    *_, done, _ = both
    place = tmp_path / "s1-morphology-types"
    place.mkdir()
    (place / "run").symlink_to(done.out / "zoo")
    at = desk(tmp_path, TRANSFER)
    assert _zoo(at) == place / "run" and "beside this experiment" in at.notes[0]


@pytest.mark.parametrize("size", SIZES)
def test_the_two_recipes_have_one_sky_one_split_and_the_authors_rounds(size: str):
    one, other = load_experiment(ScratchRecipe, SCRATCH, size), load_experiment(TransferRecipe, TRANSFER, size)
    assert (one.sky, one.second_sky, one.second) == (other.sky, other.second_sky, other.second)
    for key in ("labels", "split", "display", "augment", "model"):
        assert getattr(one.train, key) == getattr(other.train, key)
    assert one.flavor.epochs < one.train.train.epochs or size != "full"
    assert other.zoo.display.size == other.train.display.size and other.zoo.model == other.train.model
    assert other.train.stages == s1_rounds(other.train.stages[0].epochs)


def test_another_sky_beside_is_not_taken(both: Both, tmp_path: Path):
    out, at, *_ = both
    fresh = Desk(TRANSFER, out / "other", at.recipe, "toy", None)
    assert stamps(fresh, at.recipe.sky, "sky").folder == at.out / "sky"
    another = dataclasses.replace(at.recipe.sky, galaxies=3, seed=5)
    assert isinstance(another, LensSky) and stamps(fresh, another, "sky").folder == out / "other" / "sky"


# --- data of the user's -----------------------------------------------------------------------------------------------


def warps(folder: Path, n: int = 30) -> Path:
    """A made-up copy of Space Warps: a lens has a bright ring; both stages have half of them, some unknown."""
    rng = np.random.default_rng(0)
    lines = ["id,category,kind,truth,flavor,stage,alpha"]
    y, x = np.mgrid[-24:24, -24:24]
    for number in range(2 * n):
        stage, lens = 1 + number // n, number % 3 == 0
        flavor = ("lensed galaxy", "lensed quasar", "lensing cluster")[number // 3 % 3]
        row = f"training,sim,LENS,{flavor},{stage},1" if lens else f"training,dud,NOT,dud,{stage},"
        lines.append(f"s{number},{row if number % 7 else f'test,test,UNKNOWN,test,{stage},'}")
        ring = 150 * (np.abs(np.hypot(x, y) - 12) < 3) if lens else np.zeros((48, 48))
        pixels = np.clip(rng.normal(40, 15, (48, 48, 3)) + ring[..., None], 0, 255).astype(np.uint8)
        (folder / "cutouts").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "cutouts" / f"s{number}.png")
    (folder / "warps.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_the_users_space_warps_are_trained_on_instead(tmp_path: Path):
    at = desk(tmp_path, SCRATCH, warps(tmp_path / "data", 45))
    findings = scratch(at)
    assert not (at.out / "sky").exists()
    told = [one.data for one in findings]
    assert told == ["Space Warps, stage 1"] * 4 + ["Space Warps, stage 2"] * 2
    unknown = {f"s{number}" for number in range(0, 90, 7)}
    assert not unknown & (set(parts(at.out / "run")) | set(parts(at.out / "second")))
    assert Card.load(find_model(at.out / "run")).display["crop"] == 0


def test_a_copy_without_stage_two_says_so(tmp_path: Path):
    table = warps(tmp_path / "data", 45) / "warps.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:46]) + "\n")
    at = desk(tmp_path, SCRATCH, tmp_path / "data")
    assert [one.data for one in scratch(at)] == ["Space Warps, stage 1"] * 4
    assert any("no row of stage 2" in note for note in at.notes) and not (at.out / "second").exists()


def test_data_without_lenses_or_alpha_is_refused(tmp_path: Path):
    (tmp_path / "data").mkdir()
    with pytest.raises(RecipeError, match=r"Space Warps catalogue.*lens_challenge.*\. It holds: nothing"):
        scratch(desk(tmp_path, SCRATCH, tmp_path / "data"))
    table = warps(tmp_path / "more", 6) / "warps.csv"
    table.write_text(table.read_text().replace("alpha", "brightness"))
    with pytest.raises(BadCatalog, match="no column 'alpha'"):
        scratch(desk(tmp_path, SCRATCH, tmp_path / "more"))


def test_scores_are_held_against_grades(tmp_path: Path):
    ids, grades = [f"c{number}" for number in range(9)], [0.3, 0.3, 0.7, 1.0, 1.3, 2.0, 3.0, np.nan, np.nan]
    for number, one in enumerate(ids):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{one}.png")
    ingest(tmp_path / "in", tmp_path / "store", labels=Catalog({"id": ids, "grade": grades}))
    store = Store.open(tmp_path / "store")

    def found(scores: list[float]) -> tuple[float, int]:
        path = tmp_path / "votes.parquet"
        with VotesWriter(path, "classes", (LENS, NOT_LENS), None, {}) as writer:
            lens = np.array(scores, np.float32)
            writer.write(ids, None, None, np.stack([lens, 1 - lens], axis=1))
        value, n = order(Votes.read(path), store, resamples=20)
        return value.value, n

    rising = [0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0, 1.0]  # the last two have no grade
    assert found(rising) == (pytest.approx(1.0), 7)
    assert found([1 - one for one in rising])[0] == pytest.approx(-1.0)
    assert np.isnan(found([0.5] * 9)[0])


def test_real_candidates_and_the_challenge_are_judged(both: Both, real_data: Path):
    _, done, *_ = both
    at = Desk(SCRATCH, done.out, done.recipe, "toy", real_data)
    first = _Stage(Store.open(done.out / "sky"), done.recipe.train, "simulated stamps", True)
    findings = {one.data: one for one in _real(at, first)}
    counts = [one.galaxies for one in findings.values()]
    assert counts == [46 + 16 + 11 + 3, 220, 12, 16]
    assert all(-1 <= one.ours.low <= one.ours.value <= one.ours.high <= 1 for one in findings.values())
    assert "62 lenses and 14 others" in findings["Space Warps' graded sample, real"].note
