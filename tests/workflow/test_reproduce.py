"""reproduce: the recipes of all experiments, the folder that resumes, and the table."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from tuningfork import recipe as recipes
from tuningfork.errors import RecipeError
from tuningfork.evaluate.bootstrap import Estimate
from tuningfork.train.choices import check
from tuningfork.workflow.experiments import EXPERIMENTS
from tuningfork.workflow.experiments.choices import RECIPES, SIZES, load_experiment, merged
from tuningfork.workflow.experiments.outcome import Finding, Outcome, markdown, minutes, rows_of, share_seen
from tuningfork.workflow.reproduce import reproduce

NAMES = (
    "s1-morphology-types", "s1-lens-scratch", "s1-lens-transfer", "s2-spiral-elliptical", "s3-night-sky",
    "s4-five-band", "s5-googlenet-svm", "challenge-winner",
)  # fmt: skip


def test_every_experiment_is_there_with_its_recipe():
    assert tuple(EXPERIMENTS) == NAMES
    assert sorted(path.stem for path in RECIPES.glob("*.toml")) == sorted(NAMES)
    assert (Path(__file__).parents[2] / "recipes").resolve() == RECIPES


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_recipes_can_be(name: str, size: str):
    recipe = load_experiment(EXPERIMENTS[name][0], name, size)
    check(recipe.train)
    assert recipe.title and recipe.published.author
    assert recipes.from_mapping(type(recipe), recipes.to_mapping(recipe)) == recipe
    assert recipe.published.images == 0 or recipe.published.images_from  # no number without where it is from


@pytest.mark.parametrize("name", NAMES)
def test_smaller_sizes_are_smaller(name: str):
    full, hour, toy = (load_experiment(EXPERIMENTS[name][0], name, size) for size in SIZES)
    images = [one.sky.galaxies * one.train.train.epochs for one in (full, hour, toy)]
    assert images[0] >= images[1] > images[2] and toy.bootstrap < full.bootstrap


def test_merging_goes_key_by_key():
    below = {"a": {"b": 1, "c": [1, 2]}, "d": 2}
    assert merged(below, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}, "d": 2}
    assert below == {"a": {"b": 1, "c": [1, 2]}, "d": 2}
    assert merged(below, {}) == below


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("s2-spiral", "toy", "did you mean 's2-spiral-elliptical'"),
        ("s2-spiral-elliptical", "hours", "did you mean 'hour'"),
    ],
)
def test_unknown_names_are_refused(tmp_path: Path, name: str, size: str, words: str):
    with pytest.raises(RecipeError, match=words):
        reproduce(name, tmp_path / "x", size=size)


def test_data_that_is_not_there_or_holds_nothing_is_refused(tmp_path: Path):
    with pytest.raises(RecipeError, match="is no folder"):
        reproduce("s2-spiral-elliptical", tmp_path / "x", data=tmp_path / "nowhere", size="toy")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "holiday.jpg").write_bytes(b"")
    with pytest.raises(RecipeError, match=r"training_solutions_rev1.csv.*holiday.jpg.*Without --data"):
        reproduce("s2-spiral-elliptical", tmp_path / "y", data=tmp_path / "data", size="toy")


def outcome(**changes: object) -> Outcome:
    findings = (
        Finding("net, accuracy", "sky", Estimate(0.9, 0.8, 0.95), 1000, ".85", 24_000, "a note"),
        Finding("rival, accuracy", "sky", Estimate(0.5), 1000, note="a note"),
    )
    values = {
        "name": "n",
        "title": "t",
        "size": "toy",
        "author": "a",
        "findings": findings,
        "seconds": {"train": 100.0},
    }
    return Outcome(**{**values, "images": 2.4e6, "images_from": "x", **changes})  # type: ignore[arg-type]


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path):
    told = outcome(notes=("one",), pages=("p.html",))
    told.save(tmp_path)
    found = Outcome.load(tmp_path)
    assert found.findings[0] == told.findings[0] and math.isnan(found.findings[1].ours.low)
    assert found.as_dict() == told.as_dict()
    assert json.loads(json.dumps(told.as_dict(), allow_nan=False))["findings"][1]["ours"]["low"] is None


def test_the_table_says_who_what_and_how_much():
    rows = rows_of(outcome())
    assert rows[0] == ("n", "net, accuracy", "sky", ".85", "0.900 [0.800, 0.950]", "1,000", "24,000 (1%)", "1.7 min")
    assert rows[1][0] == rows[1][-1] == "" and rows[1][3] == "not reported"
    text = markdown([outcome(), outcome(name="m")])
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 4 and {line.count("|") for line in table} == {9}
    assert text.count("a note") == 1 and "[1]" in table[2]
    assert "All of it: 3.3 min." in text


def test_the_document_holds_the_table_of_all():
    text = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
    table = text.partition("<!-- table -->")[2].partition("<!-- end of table -->")[0]
    named = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert [name for name in named[2:] if name] == list(NAMES)
    assert "random initial weights" in table and "All of it:" in table


def test_times_and_shares_in_words():
    assert [minutes(s) for s in (31, 252, 37_800)] == ["31 s", "4.2 min", "10.5 h"]
    assert share_seen(25_000_000, 25_000_000) == "25.0 million (100%)"
    assert share_seen(0, 10) == "–" and "not known" in share_seen(10, 0)


def test_s2_runs_and_tells_itself_again(tmp_path: Path):
    first = reproduce("s2-spiral-elliptical", tmp_path / "s2", size="toy")
    assert [one.what.split(",")[0] for one in first.findings[:3]] == ["CNN", "decision tree", "one-hidden-layer MLP"]
    assert len(first.findings) == 4 and "frozen galaxy features" in first.findings[3].what
    galaxies = {one.galaxies for one in first.findings}
    assert len(galaxies) == 1 and galaxies.pop() in range(50, 61)  # half of 120, less stars, all on the same ones
    assert all(0 <= one.ours.low <= one.ours.value <= one.ours.high <= 1 for one in first.findings)
    assert first.findings[0].images in range(2 * 45, 2 * 60, 2)  # two epochs of the half, less validation and stars
    page = (tmp_path / "s2" / "report.html").read_text()
    assert ".7854" in page and 'href="rivals.html"' in page and re.search(r"random initial\s+weights", page)
    rivals = (tmp_path / "s2" / "rivals.html").read_text()
    assert rivals.count("Confusion") >= 4 or rivals.count("confusion") >= 4
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "s2").rglob("*.parquet"))
    again = reproduce("s2-spiral-elliptical", tmp_path / "s2", size="toy")
    assert again.as_dict() == first.as_dict()
    assert before == sorted(path.stat().st_mtime_ns for path in (tmp_path / "s2").rglob("*.parquet"))
    with pytest.raises(RecipeError, match="holds another experiment: size was 'toy', is 'hour'"):
        reproduce("s2-spiral-elliptical", tmp_path / "s2", size="hour")
    with pytest.raises(RecipeError, match="of another recipe"):
        reproduce("s2-spiral-elliptical", tmp_path / "s2", size="toy", changes={"bootstrap": 7})
