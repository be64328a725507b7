"""Labels of the truth: as the card says, with what a flag changes; classes merged on both sides."""

import numpy as np
import pytest

from tuningfork.errors import LabelError
from tuningfork.evaluate.joined import default_choice, join
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.tree import Tree
from tuningfork.galaxy.votes import Votes, VotesWriter

CARD = {"labels": {"kind": "column", "column": "type", "merge": {"spiral": ["cw", "acw"]}, "drop": ["star"]}}


@pytest.fixture
def votes(tmp_path):
    def make(names, p, metadata=None, head="classes", tree=None):
        ids = [f"g{i}" for i in range(len(p))]
        with VotesWriter(tmp_path / "v.parquet", head, names, tree, metadata or {}) as writer:
            writer.write(ids, None, None, np.array(p, np.float32))
        return Votes.read(tmp_path / "v.parquet")

    return make


def test_a_change_keeps_all_the_other_choices_of_the_card(votes):
    ours = votes(("elliptical", "spiral"), [[0.3, 0.7]], {"card": CARD})
    truth = Catalog({"id": ["g0"], "type": ["cw"], "class": ["cw"]})
    choice = default_choice(ours, truth, {"drop": "merger,star"})
    assert (choice.column, choice.merge, choice.drop) == ("type", {"spiral": ("cw", "acw")}, ("merger", "star"))
    other = default_choice(ours, truth, {"column": "class"})
    assert (other.column, other.merge, other.drop) == ("class", {"spiral": ("cw", "acw")}, ("star",))
    assert default_choice(ours, truth, {"merge": ""}).merge == {}
    assert default_choice(ours, truth) == default_choice(ours, truth, {})


def test_a_tree_alone_takes_the_votes_that_the_truth_has(votes):
    tree = Tree.load("gz1")
    counts = np.full((2, tree.n_answers), 5)
    shares = tree.fractions(counts)
    foreign = votes(tree.columns, shares, head="fractions", tree=tree)
    truths = {
        "counts": Catalog({"id": ["g0", "g1"]} | {f"{c}_count": counts[:, i] for i, c in enumerate(tree.columns)}),
        "fractions": Catalog(
            {"id": ["g0", "g1"]} | {f"{c}_fraction": shares[:, i] for i, c in enumerate(tree.columns)}
        ),
    }
    for kind, truth in truths.items():
        assert default_choice(foreign, truth, {"tree": "gz1"}).kind == kind
        assert default_choice(foreign, truth).kind == kind
        assert default_choice(foreign, truth, {"kind": "largest"}).kind == "largest"
        assert len(join(foreign, truth, changes={"tree": "gz1"}).ids) == 2
    classes = votes(("smooth", "features"), [[0.5, 0.5]])
    assert default_choice(classes, truths["counts"], {"tree": "gz1"}).kind == "largest"


def test_classes_that_the_truth_merges_are_summed_in_the_votes(votes):
    p = [[0.1, 0.5, 0.25, 0.15], [0.7, 0.1, 0.1, 0.1]]
    rival = votes(("E", "cw", "acw", "odd"), p)
    truth = Catalog({"id": ["g0", "g1"], "class": ["acw", "E"]})
    joined = join(rival, truth, changes={"merge": "spiral=cw+acw"})
    shown = dict(zip(joined.names, joined.predicted.T, strict=True))
    assert set(shown) == {"E", "spiral", "odd"}
    assert shown["spiral"] == pytest.approx([0.75, 0.2])
    assert shown["E"] == pytest.approx([0.1, 0.7])
    assert [joined.names[k] for k in joined.classes] == ["spiral", "E"]
    assert "cw + acw were summed to that of spiral" in " ".join(joined.notes)


def test_a_class_merged_into_one_that_the_votes_have_too(votes):
    rival = votes(("spiral", "barred", "E"), [[0.5, 0.3, 0.2]])
    joined = join(rival, Catalog({"id": ["g0"], "class": ["barred"]}), changes={"merge": "spiral=spiral+barred"})
    assert dict(zip(joined.names, joined.predicted[0], strict=True)) == pytest.approx({"spiral": 0.8, "E": 0.2})


def test_votes_of_the_merged_class_alone_are_left_as_they_are(votes):
    ours = votes(("elliptical", "spiral"), [[0.3, 0.7]], {"card": CARD})
    joined = join(ours, Catalog({"id": ["g0"], "type": ["cw"]}))
    assert joined.notes == ()
    assert dict(zip(joined.names, joined.predicted[0], strict=True)) == pytest.approx(
        {"spiral": 0.7, "elliptical": 0.3}
    )


def test_a_class_of_the_truth_that_no_merge_gives_is_still_refused(votes):
    rival = votes(("E", "cw"), [[0.1, 0.9]])
    with pytest.raises(LabelError, match=r"holds 'lens'"):
        join(rival, Catalog({"id": ["g0"], "class": ["lens"]}), changes={"merge": "spiral=cw+lens,lens=lens"})
