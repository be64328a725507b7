"""Which labels a truth gives: those of the card's choice, also where the truth has not every class that it names."""

from pathlib import Path

import numpy as np
import pytest

from tuningfork.errors import LabelError
from tuningfork.evaluate.classhead import judge_classes
from tuningfork.evaluate.compare import compare
from tuningfork.evaluate.joined import join
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import LabelChoice
from tuningfork.galaxy.votes import Votes, VotesWriter


def written(path: Path, head: str) -> Votes:
    with VotesWriter(path, head, ("elliptical", "spiral"), None, {}) as writer:
        writer.write(["a", "b"], None, None, np.array([[0.9, 0.1], [0.2, 0.8]], np.float32))
    return Votes.read(path)


def test_a_truth_without_one_of_the_merged_and_dropped_classes(tmp_path: Path) -> None:
    truth = Catalog({"id": ["a", "b"], "class": ["elliptical", "cw"]})
    choice = LabelChoice(merge={"spiral": ("cw", "acw")}, drop=("star",))
    joined = join(written(tmp_path / "v.parquet", "classes"), truth, choice)
    assert joined.names == ("elliptical", "spiral")
    assert joined.classes.tolist() == [0, 1]


def test_sigmoid_answers_that_are_no_attributes_are_refused_as_such(tmp_path: Path) -> None:
    truth = Catalog({"id": ["a", "b"], "class": ["elliptical", "spiral"]})
    with pytest.raises(LabelError, match="sigmoid head's answers"):
        join(written(tmp_path / "v.parquet", "sigmoid"), truth, LabelChoice())


def test_the_class_given_is_judged_where_missing_one_is_dear(tmp_path: Path) -> None:
    """Of ten galaxies with p(spiral) .2 three are: at a cost of 5 all are given as spirals, .3 of them right."""
    ids = [f"g{k}" for k in range(10)]
    truth = Catalog({"id": ids, "class": ["spiral"] * 3 + ["elliptical"] * 7})
    p = np.tile(np.float32([0.8, 0.2]), (10, 1))
    found = []
    for name, costs in (("plain", ()), ("dear", (1.0, 5.0))):
        with VotesWriter(tmp_path / name, "classes", ("elliptical", "spiral"), None, {}, costs=costs) as writer:
            writer.write(ids, None, None, p)
        joined = join(Votes.read(tmp_path / name), truth)
        found.append(judge_classes(joined, resamples=20))
    plain, dear = found
    assert plain["metrics"]["accuracy"].value == 0.7 and dear["metrics"]["accuracy"].value == 0.3
    assert dear["classes"]["spiral"]["recall"].value == 1.0 and plain["classes"]["spiral"]["recall"].value == 0.0
    assert dear["confusion"] == [[0, 7], [0, 3]]
    for one in ("log_loss", "brier", "macro_roc_auc"):  # what judges the probabilities does not ask for the class
        assert dear["metrics"][one] == plain["metrics"][one]
    both = compare([tmp_path / "plain", tmp_path / "dear"], truth, names=["plain", "dear"], bootstrap=20)
    assert both.numbers["votes"]["dear"]["confusion"] == [[0, 7], [0, 3]]
    assert both.numbers["votes"]["plain"]["confusion"] == [[7, 0], [3, 0]]
