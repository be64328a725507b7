"""Which labels a truth gives: those of the card's choice, also where the truth has not every class that it names."""

from pathlib import Path

import numpy as np
import pytest

from tuningfork.errors import LabelError
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
