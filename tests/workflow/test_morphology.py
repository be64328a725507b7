"""S1's types: the run tells what its files say, a type is told by its votes, and real galaxies take the other road."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tuningfork
from tuningfork.errors import LabelError, RecipeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import LabelChoice, Labels, make_labels
from tuningfork.galaxy.store import Store
from tuningfork.galaxy.tree import Tree
from tuningfork.galaxy.votes import Votes
from tuningfork.model.card import Card
from tuningfork.workflow.experiments.choices import SIZES, load_experiment
from tuningfork.workflow.experiments.morphology import MorphologyRecipe, described, steadiness
from tuningfork.workflow.experiments.outcome import Outcome
from tuningfork.workflow.reproduce import reproduce

NAME = "s1-morphology-types"
TREE = Tree.load("gz2")
KINDS = {  # of galaxies, by the answers that everybody gives to the questions asked
    "smooth": ("a01_smooth", "a16_completely_round", "a15_no"),
    "spiral": ("disk", "a05_no", "a07_no_bar", "a08_spiral", "a28_tight", "a32_2", "a12_obvious", "a15_no"),
    "edge": ("disk", "a04_yes", "a25_rounded", "a15_no"),
}  # fmt: skip


def shares(kind: str) -> np.ndarray:
    """The 37 fractions of a galaxy about which all agree; NaN where a question is not asked."""
    given = np.array([column.endswith(KINDS[kind]) for column in TREE.columns], dtype=float)
    for part in TREE.slices.values():
        given[part] = given[part] if given[part].any() else np.nan
    return given


def catalogue(voted: list[str], expected: list[str] | None = None) -> Catalog:
    """Galaxies with twenty votes each as ``voted``, drawn (so the shares say) from ``expected``."""
    columns: dict[str, object] = {"id": [f"g{number:03d}" for number in range(len(voted))]}
    counts = np.array([np.nan_to_num(20 * shares(kind)) for kind in voted])
    fractions = np.array([shares(kind) for kind in expected or voted])
    for number, name in enumerate(TREE.columns):
        columns[f"{name}_count"] = counts[:, number].astype(np.int64)
        columns[f"{name}_fraction"] = fractions[:, number]
    return Catalog(columns)


def types(catalog: Catalog, clusters: int = 3) -> Labels:
    return make_labels(catalog, LabelChoice(kind="kmeans", tree="gz2", clusters=clusters, votes="counts"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    pytest.importorskip("galsim")
    folder = tmp_path_factory.mktemp("s1") / "out"
    return folder, reproduce(NAME, folder, size="toy")


def test_it_tells_of_types_of_the_volunteers_and_of_the_mode(made: tuple[Path, Outcome]) -> None:
    folder, told = made
    parts = {run: tuningfork.Votes.read(folder / f"votes-{run}.parquet") for run in ("types", "mode")}
    assert parts["types"].ids == parts["mode"].ids  # both runs are judged on the same galaxies
    assert [one.what for one in told.findings] == [
        "4 k-means types, accuracy",
        "4 k-means types, forty volunteers against infinitely many, agreement",
        "“mode” labels, accuracy",
    ]
    assert {one.galaxies for one in told.findings} == {len(parts["types"].ids)} and len(parts["types"].ids) > 10
    assert {one.data for one in told.findings} == {"simulated sky"}
    assert [one.published for one in told.findings] == [".448", "", ""]
    training = 120 - len(parts["types"].ids)
    assert 0.7 * 2 * training < told.findings[0].images < 2 * training  # two epochs, less the validation part
    assert told.findings[2].images == told.findings[0].images / 2 and told.findings[1].images == 0
    assert 0.5 < told.findings[1].ours.value <= 1
    assert all(one.ours.low <= one.ours.value <= one.ours.high for one in told.findings)


def test_the_accuracies_are_those_of_the_votes_on_disk(made: tuple[Path, Outcome]) -> None:
    folder, told = made
    recipe = load_experiment(MorphologyRecipe, NAME, "toy")
    catalog = Store.open(folder / "sky").catalog
    assert catalog is not None
    mode = dataclasses.replace(recipe.mode, votes="counts")
    for finding, choice, name in ((0, recipe.train.labels, "types"), (2, mode, "mode")):
        votes = Votes.read(folder / f"votes-{name}.parquet")
        truth = make_labels(catalog, choice).select(votes.ids)
        right = np.array(votes.names)[votes.values.argmax(1)] == np.array(truth.names)[truth.classes]
        assert told.findings[finding].ours.value == pytest.approx(right.mean())
        commonest = np.bincount(truth.classes).max() / len(truth)
        assert f"right in {commonest:.3f}" in told.findings[finding].note


def test_the_report_describes_every_type(made: tuple[Path, Outcome]) -> None:
    folder, told = made
    page = (folder / "report.html").read_text()
    rows = re.findall(r"<tr>\s*<th[^>]*>(type_\d\d)</th>\s*<td[^>]*>(\d+)</td>\s*<td[^>]*>([^<]+)</td>", page)
    assert [name for name, _, _ in rows] == ["type_00", "type_01", "type_02", "type_03"]
    counts = [int(count) for _, count, _ in rows]
    assert sum(counts) == 120 and counts == sorted(counts, reverse=True)
    assert "smooth or features: smooth" in " ".join(words for _, _, words in rows[:2])
    assert told.pages == ("types.html", "mode.html") and (folder / "types.html").exists()


def test_the_weights_know_that_they_want_smoothed_galaxies(made: tuple[Path, Outcome]) -> None:
    card = Card.load(made[0] / "run" / "model")
    assert card.display["smooth"] == 0.438 and card.display["size"] == 32 and card.backbone == "s1"


def test_a_type_is_told_by_what_sets_it_apart() -> None:
    labels = types(catalogue(["smooth"] * 20 + ["spiral"] * 10 + ["edge"] * 5))
    smooth, spiral, edge = described(labels)
    assert smooth.startswith("smooth or features: smooth 1.00, rounded: completely round 1.00")
    assert "odd: no" not in smooth + spiral + edge  # all galaxies say so
    assert "spiral: spiral 1.00" in spiral or "arms number: 2 1.00" in spiral
    assert "edgeon: yes 1.00" in edge and "bulge shape: rounded 1.00" in edge
    with pytest.raises(LabelError, match="kind 'mode' have no centres"):
        described(make_labels(catalogue(["smooth", "edge"]), LabelChoice(kind="mode", tree="gz2")))


def test_types_are_steady_as_often_as_the_votes_are_what_was_to_be_expected() -> None:
    voted = ["smooth"] * 20 + ["spiral"] * 12 + ["edge"] * 8
    sure = catalogue(voted)
    same = steadiness(types(sure), sure, sure.ids, 100)
    assert same is not None and (same.value, same.low, same.high) == (1.0, 1.0, 1.0)
    expected = ["spiral"] * 5 + voted[5:]  # five spirals were voted smooth
    chance = catalogue(voted, expected)
    found = steadiness(types(chance), chance, chance.ids, 200)
    assert found is not None and found.value == 35 / 40 and found.low < found.value < found.high
    part = steadiness(types(chance), chance, chance.ids[:10], 0)
    assert part is not None and part.value == 0.5
    by_shares = make_labels(sure, LabelChoice(kind="kmeans", tree="gz2", clusters=3, votes="fractions"))
    assert steadiness(by_shares, sure, sure.ids, 10) is None


@pytest.mark.parametrize("size", SIZES)
def test_simulated_galaxies_are_smoothed_as_the_authors_pictures(size: str) -> None:
    """A simulated picture shows the central 292 of Galaxy Zoo's 424 px."""
    recipe = load_experiment(MorphologyRecipe, NAME, size)
    assert recipe.sky.size == recipe.train.display.size and recipe.train.display.crop == 0
    assert recipe.train.display.smooth == pytest.approx(4 * recipe.sky.size / 292, rel=0.01)
    assert (recipe.challenge.crop, recipe.challenge.smooth) == (344, 4)
    assert recipe.mode_epochs < recipe.train.train.epochs


def test_the_schedule_is_the_authors() -> None:
    train = load_experiment(MorphologyRecipe, NAME).train.train
    rates = [train.rate * train.gamma**fall for fall in range(len(train.milestones) + 1)]
    assert rates == pytest.approx([1e-3, 1e-4, 1e-5]) and (train.momentum, train.weight_decay) == (0.9, 5e-4)
    assert train.optimizer == "sgd" and not train.nesterov and train.batch == 64 and train.ema == 0


def test_the_galaxy_challenge_is_shown_as_the_author_showed_it(tmp_path: Path) -> None:
    """Stand-ins for its pictures: discs and ellipses of 424 px, with their 37 columns."""
    folder = tmp_path / "data"
    (folder / "images_training_rev1").mkdir(parents=True)
    generator = np.random.default_rng(0)
    y, x = np.mgrid[-212:212, -212:212]
    lines = ["GalaxyID," + ",".join(f"Class{q}.{a}" for q, n in enumerate(widths(), 1) for a in range(1, n + 1))]
    for number in range(60):
        kind = ("smooth", "spiral", "edge")[number % 3]
        flat = {"smooth": 1.0, "spiral": 2.0, "edge": 5.0}[kind]
        light = 230 * np.exp(-np.hypot(x, flat * y) / 40)[..., None] + generator.uniform(0, 12, (424, 424, 1))
        picture = Image.fromarray(np.repeat(light.clip(0, 255), 3, axis=2).astype(np.uint8))
        picture.save(folder / "images_training_rev1" / f"{100008 + number}.jpg")
        row = TREE.to_challenge(np.nan_to_num(shares(kind))[None])[0]
        lines.append(f"{100008 + number}," + ",".join(f"{value:.6f}" for value in row))
    (folder / "training_solutions_rev1.csv").write_text("\n".join(lines) + "\n")
    told = reproduce(NAME, tmp_path / "out", data=folder, size="toy", changes={"train.labels.clusters": 3})
    assert [one.what for one in told.findings] == ["3 k-means types, accuracy", "“mode” labels, accuracy"]
    assert {one.data for one in told.findings} == {"Galaxy Challenge"} and not (tmp_path / "out" / "sky").exists()
    display = Card.load(tmp_path / "out" / "run" / "model").display
    assert (display["crop"], display["smooth"], display["size"]) == (344.0, 4.0, 32)


def widths() -> list[int]:
    """Answers per question of Galaxy Zoo 2."""
    return [part.stop - part.start for part in TREE.slices.values()]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "votes.csv").write_text("id\n1\n")
    with pytest.raises(RecipeError, match=r"training_solutions_rev1\.csv.*It holds: votes\.csv"):
        reproduce(NAME, tmp_path / "a", data=tmp_path / "data", size="toy")
    with pytest.raises(RecipeError, match="mask is 300; it is a grey level"):
        reproduce(NAME, tmp_path / "b", size="toy", changes={"challenge.mask": 300})
