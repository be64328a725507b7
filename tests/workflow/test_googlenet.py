"""S5 at toy size: its figures are those of its files, no galaxy is on two sides, and drawn labels have a ceiling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tuningfork
from tuningfork.errors import RecipeError
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.labels import LabelChoice, make_labels
from tuningfork.galaxy.store import Store
from tuningfork.galaxy.tree import Tree
from tuningfork.galaxy.votecolumns import find_votes
from tuningfork.galaxy.votes import Votes
from tuningfork.simulate.galaxies import simulate_galaxies
from tuningfork.workflow.experiments.choices import load_experiment
from tuningfork.workflow.experiments.desk import Desk
from tuningfork.workflow.experiments.googlenet import HOW, GoogLeNetRecipe, ceiling, galaxies, largest, parts_of
from tuningfork.workflow.experiments.outcome import Outcome
from tuningfork.workflow.experiments.sixteen import cut_views
from tuningfork.workflow.reproduce import reproduce

NAME = "s5-googlenet-svm"
DRAW = LabelChoice(kind="draw", tree="gz2", question="t01_smooth_or_features")
REAL = 12  # stand-ins for Stripe 82's galaxies


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a toy run whose data hold no Galaxy Challenge, but galaxies with votes laid out as Stripe 82's."""
    data = tmp_path_factory.mktemp("data")
    sky = simulate_galaxies(REAL, data / "drawn", size=80, seed=9)
    (data / "gz2_stripe82" / "images").mkdir(parents=True)
    for one in sky.ids:
        (data / "gz2_stripe82" / "images" / f"{one}.jpg").write_bytes(sky.record(one).data)
    sky.catalog.write(data / "gz2_stripe82" / "votes.csv")
    out = tmp_path_factory.mktemp("s5")
    reproduce(NAME, out / "run", data=data, size="toy")
    return out / "run"


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Outcome:
    return Outcome.load(folder)


def table(votes: Votes) -> dict[str, int]:
    return dict(zip(votes.ids, votes.values.argmax(axis=1).tolist(), strict=True))


def test_every_figure_is_that_of_the_votes_on_the_disk(folder: Path, outcome: Outcome) -> None:
    views = Store.open(folder / "views")
    drawn, most = (make_labels(views.catalog, choice) for choice in (DRAW, largest(DRAW)))
    truth = [dict(zip(one.ids, one.classes.tolist(), strict=True)) for one in (drawn, most)]
    assert truth[0] != truth[1]
    found = {one.what: one for one in outcome.findings if one.data == "simulated sky"}
    assert len(found) == 8
    for name in ("softmax", "linear SVM"):
        file = name.replace(" ", "-")
        single = table(Votes.read(folder / f"votes-{file.lower()}-views.parquet"))
        mean = table(Votes.read(folder / f"votes-{file}.parquet"))
        assert len(single) == 16 * len(mean)
        guesses = (single, {one: mean[one[:-3]] for one in single})
        for row, how in enumerate(HOW):
            right = [guesses[row % 2][one] == truth[row // 2][one] for one in single]
            finding = found[f"{name}, accuracy: {how}"]
            assert finding.ours.value == pytest.approx(np.mean(right)), how
            assert finding.galaxies == len(mean) and finding.ours.low <= finding.ours.value <= finding.ours.high
            assert finding.published == (".67" if row == 0 else "")
    by_votes = Votes.read(folder / "votes-softmax-views.parquet")
    mean = Votes.read(folder / "votes-softmax.parquet")
    np.testing.assert_allclose(mean.values, by_votes.values.reshape(-1, 16, 3).mean(axis=1), atol=1e-6)


def test_no_galaxy_is_on_two_sides_and_the_images_are_counted(folder: Path, outcome: Outcome) -> None:
    split = tuningfork.Catalog.read(folder / "run" / "split.parquet")
    sides: dict[str, set[str]] = {}
    for one, part in zip(split.ids, split["part"], strict=True):
        sides.setdefault(one[:-3], set()).add(str(part))
    assert len(sides) == 60 and all(len(parts) == 1 for parts in sides.values())
    trained = sum(parts == {"train"} for parts in sides.values())
    assert {one.images for one in outcome.findings} == {16 * trained}  # one epoch
    svm = Votes.read(folder / "votes-linear-svm-views.parquet").metadata
    assert svm["card"]["training"]["trained on"] == 2 * trained  # svm_views
    assert set(Votes.read(folder / "votes-softmax.parquet").ids) == {
        one for one, part in sides.items() if "test" in part
    }


def test_galaxies_of_another_sky_are_judged_apart(folder: Path, outcome: Outcome) -> None:
    real = [one for one in outcome.findings if one.data == "Stripe 82, real"]
    assert [one.what.split(": ")[1] for one in real] == list(HOW)
    assert {one.galaxies for one in real} == {REAL}
    assert all("trained on others (simulated sky)" in one.note and not one.published for one in real)
    views = Store.open(folder / "stripe82-views")
    assert set(views.catalog["part"]) == {"test"} and len(views) == 16 * REAL
    assert not set(views.ids) & set(Store.open(folder / "views").ids)
    scale = views.record(views.ids[0]).pixel_scale
    whole = Store.open(folder / "stripe82").record(views.catalog["parent"][0]).pixel_scale
    assert whole is None or scale == pytest.approx(whole * 80 * 207 / 424 / 69)


def test_the_page_tells_ceiling_colour_and_time(folder: Path, outcome: Outcome) -> None:
    page = (folder / "report.html").read_text()
    sky = Store.open(folder / "sky")
    test = Votes.read(folder / "votes-softmax.parquet").ids
    assert f"here {ceiling(sky.catalog, test, DRAW):.3f}" in outcome.findings[0].note
    assert "random initial weights" in outcome.findings[0].note
    for title in ("Confusion matrices on drawn labels", "Sensitivity to colour", "What it costs"):
        assert title in page
    colour = page[page.index('id="colour"') : page.index('id="cost"')]
    for how in (HOW[0], HOW[2]):  # at strength 0 nothing is shifted
        finding = next(one for one in outcome.findings if one.what == f"softmax, accuracy: {how}")
        number, _, interval = finding.ours.text().partition(" ")
        assert f'{number} <span class="interval">{interval}</span>' in colour
    for name in ("softmax-and-svm.html", "softmax.html", "stripe82.html"):
        assert name in outcome.pages and (folder / name).exists()


def test_the_ceiling_is_what_the_largest_share_gets_on_drawn_labels(tmp_path: Path) -> None:
    catalog = simulate_galaxies(40, tmp_path / "sky", size=32, seed=4).catalog
    best = make_labels(catalog, largest(DRAW))
    got = [(make_labels(catalog, replace(DRAW, seed=seed)).classes == best.classes).mean() for seed in range(300)]
    assert ceiling(catalog, best.ids, DRAW) == pytest.approx(np.mean(got), abs=0.015)
    assert ceiling(catalog, best.ids, DRAW) < 0.95  # the volunteers do not agree, or this tells nothing


def test_the_challenges_pictures_are_cut_as_the_author_cut_them(tmp_path: Path) -> None:
    """Pictures of 424 px in which only the central 207 px are lit, so that a view is lit from edge to edge."""
    data, tree = tmp_path / "data", Tree.load("gz2")
    (data / "images_training_rev1").mkdir(parents=True)
    lit = np.zeros((424, 424, 3), np.uint8)
    lit[108:316, 108:316] = 200
    sky = simulate_galaxies(24, tmp_path / "sky", size=32, seed=5).catalog
    columns = tree.to_challenge(find_votes(sky, tree, ("fractions",))[1])
    widths = [part.stop - part.start for part in tree.slices.values()]
    lines = ["GalaxyID," + ",".join(f"Class{q}.{a}" for q, n in enumerate(widths, 1) for a in range(1, n + 1))]
    for number, row in enumerate(np.nan_to_num(columns), 100008):
        picture = Record.from_picture(str(number), lit).data
        (data / "images_training_rev1" / f"{number}.jpg").write_bytes(picture)
        lines.append(f"{number}," + ",".join(f"{value:.6f}" for value in row))
    (data / "training_solutions_rev1.csv").write_text("\n".join(lines) + "\n")
    recipe = load_experiment(GoogLeNetRecipe, NAME, "toy")
    desk = Desk(NAME, tmp_path / "out", replace(recipe, cut=replace(recipe.cut, colour=0.0)), "toy", data)
    parents, cut, told = galaxies(desk)
    assert told == "Galaxy Challenge" and len(parents) == 24
    views = cut_views(parents, tmp_path / "views", parts_of(desk, parents), cut)
    assert len(views) == 24 * 16 and "Class1.1" in views.catalog
    for number, most in ((0, 46 * 46), (8, 46 * 46)):  # turned by 45 degrees, the dark beyond the square is seen
        share = (views.record(f"100008#{number:02d}").cutout().pixels[0] > 100).sum() / most
        assert share == 1 if number == 0 else 0.6 < share < 0.95


def test_a_folder_without_votes_is_refused_and_says_what_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(RecipeError, match=r"training_solutions_rev1.csv.*gz2_stripe82"):
        reproduce(NAME, tmp_path / "out", data=tmp_path / "data", size="toy")


def test_the_author_saw_sixteen_views_of_every_galaxy_thirty_times() -> None:
    full = load_experiment(GoogLeNetRecipe, NAME)
    assert full.published.images == full.sky.galaxies * 16 * full.train.train.epochs == 985_248 * 30
    assert full.train.display.size == full.cut.side and full.train.labels == DRAW
