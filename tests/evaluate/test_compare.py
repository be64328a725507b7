"""Several votes side by side: the same galaxies for all, differences that are paired, and one page."""

import json
import re

import numpy as np
import pytest
from scipy.special import softmax

from tuningfork.errors import BadVotes, LabelError, Reason
from tuningfork.evaluate.asclasses import as_classes, shares_of
from tuningfork.evaluate.compare import compare
from tuningfork.evaluate.judge import evaluate
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Rejected
from tuningfork.galaxy.labels import LabelChoice, make_labels
from tuningfork.galaxy.tree import Tree
from tuningfork.galaxy.votes import Votes, VotesWriter

NAMES = ("disk", "merger", "smooth")
N = 300


def truth(seed=0):
    return np.random.default_rng(seed).choice(3, p=[0.4, 0.1, 0.5], size=N)


IDS = [f"g{i:03d}" for i in range(N)]
CATALOG = Catalog({"id": IDS, "class": [NAMES[k] for k in truth()]}, name="'truth.csv'")


def votes(path, name, skill, seed=1, rejected=(), ids=IDS, names=NAMES, part="test"):
    z = np.random.default_rng(seed).normal(size=(N, 3))
    z[np.arange(N), truth()] += skill
    p = softmax(z, axis=1).astype(np.float32)[: len(ids)]
    bad = [Rejected(one, Reason.TRUNCATED) for one in rejected]
    keep = [i for i, one in enumerate(ids) if one not in rejected]
    order = [NAMES.index(one) for one in names]
    with VotesWriter(path, "classes", names, None, {"model": {"name": name, "digest": "d"}, "part": part}) as writer:
        writer.write(ids, None, None, p[keep][:, order], bad)
    return path


@pytest.fixture
def three(tmp_path):
    return [
        votes(tmp_path / "a.parquet", "network", 3.0),
        votes(tmp_path / "b.parquet", "tree", 1.0, seed=2),
        votes(tmp_path / "c.parquet", "twin", 3.0, names=("smooth", "disk", "merger")),
    ]


def test_each_is_judged_as_alone(three):
    found = compare(three, CATALOG, bootstrap=0).numbers
    for path, name in zip(three, ("network", "tree", "twin"), strict=True):
        alone = evaluate(path, CATALOG, bootstrap=0).numbers
        for key in ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc", "log_loss", "brier"):
            assert found["votes"][name]["metrics"][key]["value"] == pytest.approx(alone["metrics"][key]["value"])
        assert found["baseline"]["accuracy"] == alone["baseline"]["accuracy"]


def test_a_difference_is_paired(three):
    found = compare(three, CATALOG, bootstrap=300)
    numbers = found.numbers["votes"]
    twin = numbers["twin"]["difference"]["accuracy"]  # the same votes with their columns in another order
    assert (twin["value"], twin["low"], twin["high"]) == (0, 0, 0)
    worse = numbers["tree"]["difference"]["accuracy"]
    assert worse["high"] < 0
    alone = [numbers[name]["metrics"]["accuracy"]["value"] for name in ("network", "tree")]
    assert worse["value"] == pytest.approx(alone[1] - alone[0])
    assert numbers["network"]["difference"] == {}
    json.dumps(found.numbers, allow_nan=False)
    assert "“tree” differs from “network” in accuracy by -0." in found.text() and "“network”" in found.summary[0]


def test_the_order_of_the_votes_turns_the_sign_alone(three):
    forth = compare(three[:2], CATALOG, bootstrap=100).numbers["votes"]["tree"]["difference"]["brier"]
    back = compare(three[1::-1], CATALOG, bootstrap=100).numbers["votes"]["network"]["difference"]["brier"]
    assert forth["value"] == pytest.approx(-back["value"])
    assert (forth["low"], forth["high"]) == (pytest.approx(-back["high"]), pytest.approx(-back["low"]))


def test_only_galaxies_that_all_have_are_compared(three, tmp_path):
    fewer = votes(tmp_path / "d.parquet", "fewer", 3.0, rejected=IDS[:7], ids=IDS[:200])
    found = compare([three[0], fewer], CATALOG, bootstrap=0)
    assert found.n_judged == 193
    assert sum(map(sum, found.numbers["votes"]["network"]["confusion"])) == 193
    assert "107 of “network”" in found.text()


def test_a_page_that_is_whole(three, tmp_path):
    page = tmp_path / "page.html"
    found = compare(three, CATALOG, page, bootstrap=20)
    text = page.read_text()
    assert found.path == str(page)
    assert text.count('<table class="confusion">') == 3
    assert text.count("ROC and precision-recall curves.") == 3  # one figure for each class
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    for name in found.names:
        assert name in text
    assert "some may have been learnt" not in text


def test_votes_of_another_part_are_warned_of(three, tmp_path):
    other = votes(tmp_path / "d.parquet", "other", 3.0, part="train")
    compare([three[0], other], CATALOG, tmp_path / "page.html", bootstrap=0)
    assert "(parts: test, train): some may have been learnt" in (tmp_path / "page.html").read_text()


def test_names(three):
    assert compare([three[0], three[0]], CATALOG, bootstrap=0).names == ("network", "network (2)")
    assert compare(three[:2], CATALOG, bootstrap=0, names=("x", "y")).names == ("x", "y")
    with pytest.raises(BadVotes, match="give each its own"):
        compare(three[:2], CATALOG, names=("x", "x"))
    with pytest.raises(BadVotes, match="1 file of votes came"):
        compare(three[:1], CATALOG)


def test_votes_without_a_galaxy_in_common(tmp_path):
    first = votes(tmp_path / "a.parquet", "a", 1.0, rejected=IDS[:10], ids=IDS[:20])
    second = votes(tmp_path / "b.parquet", "b", 1.0, rejected=IDS[10:20], ids=IDS[:20])
    with pytest.raises(LabelError, match="no galaxy is judged in all"):
        compare([first, second], CATALOG)


def fractions(path, n=40, head="fractions"):
    tree = Tree.load("gz1")
    values = np.random.default_rng(0).dirichlet(np.ones(6), n).astype(np.float32)
    values[0] = (0, 0, 0, 0, 1, 0)  # a star
    with VotesWriter(path, head, tree.columns, tree, {"part": "test", "model": {"name": "votes"}}) as writer:
        ids = [f"g{i:03d}" for i in range(n)]
        writer.write(
            ids,
            None,
            None,
            values[:-1] * (1000 if head == "dirichlet" else 1) + (head == "dirichlet"),
            [Rejected(ids[-1], Reason.EMPTY)],
        )
    return path, values


CHOICE = LabelChoice(
    kind="largest",
    tree="gz1",
    merge={"spiral": ("spiral_clockwise", "spiral_anticlockwise")},
    drop=("dont_know",),
)


def test_votes_on_a_tree_are_read_as_labels_are_made(tmp_path):
    path, values = fractions(tmp_path / "v.parquet")
    read = Votes.read(path)
    found = as_classes(read, CHOICE)
    assert found.names == ("elliptical", "spiral", "edge_on", "merger")
    assert (found.n_in, found.n_rejected, found.reasons()) == (40, 1, {"empty": 1})
    expected = np.column_stack([values[:, 0], values[:, 1] + values[:, 2], values[:, 3], values[:, 5]])[1:-1]
    assert found.values[1:-1] == pytest.approx(expected / expected.sum(1, keepdims=True), abs=1e-6)
    assert found.values[0] == pytest.approx(0.25)  # nothing is left of a star: no class is preferred
    people = Catalog({"id": read.ids, **{c: values[:, i].astype(float) for i, c in enumerate(_published())}})
    labels = make_labels(people, shares_of(CHOICE))
    assert found.values[1:-1] == pytest.approx(labels.select(read.ids[1:-1]).values, abs=1e-6)


def _published():
    return ("P_EL", "P_CW", "P_ACW", "P_EDGE", "P_DK", "P_MG")


def test_votes_on_a_tree_stand_beside_classes(tmp_path):
    path, values = fractions(tmp_path / "v.parquet", head="dirichlet")
    people = Catalog(
        {"id": Votes.read(path).ids, **{c: values[:, i].astype(float) for i, c in enumerate(_published())}}
    )
    found = compare([path, path], people, bootstrap=0, choice=CHOICE)
    # the star has no class among people; one galaxy is rejected. Concentrations 1000 p + 1 have nearly the order of p
    assert found.n_judged == 38
    assert found.numbers["votes"]["votes"]["metrics"]["accuracy"]["value"] > 0.9


def test_votes_that_are_no_shares(tmp_path):
    read = Votes.read(fractions(tmp_path / "v.parquet")[0])
    with pytest.raises(LabelError, match="labels of kind 'column' are no shares"):
        as_classes(read, LabelChoice())
    with pytest.raises(LabelError, match="predicts the tree 'gz1', but the labels are of 'gz2'"):
        as_classes(read, LabelChoice(kind="largest", tree="gz2"))
