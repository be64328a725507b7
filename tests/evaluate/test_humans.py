"""Human against machine: identities of ranks and errors, who counts as unsure, and a page that is whole."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from tuningfork.errors import LabelError, Reason
from tuningfork.evaluate.humanplots import POINTS, drawn
from tuningfork.evaluate.humans import bins, humans, spearman
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Rejected
from tuningfork.galaxy.labels import LabelChoice
from tuningfork.galaxy.tree import Tree
from tuningfork.galaxy.votes import VotesWriter

NAMES = ("elliptical", "spiral", "edge_on", "merger")  # S3's four classes
CHOICE = LabelChoice(
    kind="threshold",
    tree="gz1",
    threshold=0.95,
    merge={"spiral": ("spiral_clockwise", "spiral_anticlockwise")},
    drop=("dont_know",),
)
COLUMNS = ("P_EL", "P_CW", "P_ACW", "P_EDGE", "P_DK", "P_MG")
N = 240
IDS = [f"g{i:03d}" for i in range(N)]


def shares(seed=0, sharpness=0.8):
    return np.random.default_rng(seed).dirichlet(np.full(6, sharpness), N)


def people(values):
    return Catalog({"id": IDS, **{name: values[:, i] for i, name in enumerate(COLUMNS)}}, name="'gz1.csv'")


def classes(values):
    """S3's four classes of gz1's six, renormalised."""
    four = np.column_stack([values[:, 0], values[:, 1] + values[:, 2], values[:, 3], values[:, 5]])
    return four / four.sum(1, keepdims=True)


def votes(path, p, rejected=(), **metadata):
    bad = [Rejected(one, Reason.TRUNCATED) for one in rejected]
    keep = [i for i, one in enumerate(IDS) if one not in rejected]
    with VotesWriter(path, "classes", NAMES, None, {"model": {"name": "net"}, **metadata}) as writer:
        writer.write(IDS, None, None, p[keep].astype(np.float32), bad)
    return path


def noisy(seed=1):
    p = classes(shares()) * np.exp(np.random.default_rng(seed).normal(0, 0.5, (N, 4)))
    return p / p.sum(1, keepdims=True)


@pytest.mark.parametrize("digits", [8, 1])
def test_spearman_is_scipys_also_with_ties_and_resamples(digits):
    generator = np.random.default_rng(0)
    x = np.round(generator.random(80), digits)
    y = np.round(x + generator.normal(0, 0.3, 80), digits)
    weights = np.stack([np.ones(80), np.bincount(generator.integers(80, size=80), minlength=80)]).astype(float)
    found = spearman(x, y)(weights)["spearman"]
    for row, value in zip(weights.astype(int), found, strict=True):
        assert value == pytest.approx(stats.spearmanr(np.repeat(x, row), np.repeat(y, row)).statistic, abs=1e-12)


def test_spearman_knows_order_alone():
    x = np.arange(20.0)
    one = np.ones((1, 20))
    assert spearman(x, np.exp(x))(one)["spearman"] == pytest.approx([1])
    assert spearman(x, -(x**3))(one)["spearman"] == pytest.approx([-1])
    assert np.isnan(spearman(x, np.zeros(20))(one)["spearman"]).all()


def test_a_machine_that_says_what_people_say(tmp_path):
    path = votes(tmp_path / "v.parquet", classes(shares()))
    found = humans(path, people(shares()), choice=CHOICE, bootstrap=50).numbers
    for key in ("where_unsure", "where_sure"):
        assert found[key]["agreement"]["value"] == 1
        for row in found[key]["classes"].values():
            assert row["spearman"]["value"] == pytest.approx(1, abs=1e-6)
            assert row["rmse"]["value"] == pytest.approx(0, abs=1e-6)
            assert row["bias"]["value"] == pytest.approx(0, abs=1e-6)


def test_a_machine_that_always_says_the_mean_share(tmp_path):
    four = classes(shares())
    chosen = four.max(1) <= 0.8
    path = votes(tmp_path / "v.parquet", np.tile(four[chosen].mean(0), (N, 1)))
    for row in humans(path, people(shares()), choice=CHOICE, bootstrap=0).numbers["where_unsure"]["classes"].values():
        assert row["rmse"]["value"] == pytest.approx(row["constant"]["value"], abs=1e-6)
        assert row["spearman"]["value"] is None


def test_the_numbers_are_those_of_the_galaxies_on_which_people_were_unsure(tmp_path):
    four, p = classes(shares()), noisy()
    found = humans(votes(tmp_path / "v", p), people(shares()), choice=CHOICE, unsure=(0.4, 0.6), bootstrap=0).numbers
    some = (four.max(1) >= 0.4) & (four.max(1) <= 0.6)
    assert found["where_unsure"]["galaxies"] == some.sum() > 20
    assert found["where_unsure"]["galaxies"] + found["where_sure"]["galaxies"] == N
    for k, name in enumerate(NAMES):
        row = found["where_unsure"]["classes"][name]
        assert row["rmse"]["value"] == pytest.approx(np.sqrt(np.mean((p - four)[some, k] ** 2)), abs=1e-6)
        expected = stats.spearmanr(four[some, k], p[some, k].astype(np.float32)).statistic
        assert row["spearman"]["value"] == pytest.approx(expected, abs=1e-3)  # float32 makes and breaks ties
        assert sum(one["galaxies"] for one in found["bins"][name]) == some.sum()
    agreement = (four.argmax(1) == p.argmax(1))[some].mean()
    assert found["where_unsure"]["agreement"]["value"] == pytest.approx(agreement)


def test_intervals_hold_their_values(tmp_path):
    found = humans(votes(tmp_path / "v", noisy()), people(shares()), choice=CHOICE, bootstrap=200).numbers
    for row in found["where_unsure"]["classes"].values():
        for key in ("spearman", "rmse"):
            assert row[key]["low"] < row[key]["value"] < row[key]["high"]
    json.dumps(found, allow_nan=False)


def test_the_threshold_of_the_training_is_not_that_of_the_judgement(tmp_path):
    told = {"card": {"labels": {"kind": "threshold", "tree": "gz1", "threshold": 0.95, "drop": ["dont_know"],
                                "merge": {"spiral": ["spiral_clockwise", "spiral_anticlockwise"]}}}}  # fmt: skip
    path = votes(tmp_path / "v.parquet", noisy(), **told)
    found = humans(path, people(shares()), bootstrap=0)
    assert found.n_judged == N
    assert found.numbers == humans(path, people(shares()), choice=CHOICE, bootstrap=0).numbers


def test_votes_on_the_tree_itself(tmp_path):
    tree, values = Tree.load("gz1"), shares()
    with VotesWriter(tmp_path / "v.parquet", "fractions", tree.columns, tree, {}) as writer:
        writer.write(IDS, None, None, values.astype(np.float32))
    found = humans(tmp_path / "v.parquet", people(values), choice=CHOICE, bootstrap=0).numbers
    assert found["names"] == list(NAMES)
    assert found["where_unsure"]["classes"]["spiral"]["rmse"]["value"] == pytest.approx(0, abs=1e-6)


def test_bins_hold_every_galaxy_once_and_equal_shares_together():
    human = np.repeat([0.0, 0.5, 1.0], [70, 20, 30])
    found = bins(human, human / 2, 0, 0)
    assert [row["galaxies"] for row in found] == [70, 20, 30]
    assert [row["machine"].value for row in found] == pytest.approx([0, 0.25, 0.5])


def test_the_account_and_the_page(tmp_path):
    path = votes(tmp_path / "v.parquet", noisy(), rejected=IDS[:3])
    found = humans(path, people(shares()), tmp_path / "page.html", choice=CHOICE, bootstrap=20)
    assert (found.n_in, found.n_done, found.n_rejected, found.n_judged) == (N, N - 3, 3, N - 3)
    text = (tmp_path / "page.html").read_text()
    assert found.path == str(tmp_path / "page.html")
    assert "There are no pictures: the votes do not say where" in text
    assert text.count("people: ") == 18
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    for name in NAMES:
        assert f"{name}, bin 1" in text


def test_what_cannot_be_judged(tmp_path):
    path = votes(tmp_path / "v.parquet", noisy())
    with pytest.raises(LabelError, match="does not say how its classes are made of people's votes"):
        humans(path, people(shares()))
    with pytest.raises(LabelError, match="labels of kind 'counts' are no shares"):
        humans(path, people(shares()), choice=LabelChoice(kind="counts", tree="gz1"))
    with pytest.raises(LabelError, match=r"on none of 240 galaxies.*between 0\.1 and 0\.2; they lie from"):
        humans(path, people(shares()), choice=CHOICE, unsure=(0.1, 0.2))
    with pytest.raises(LabelError, match="it is two shares"):
        humans(path, people(shares()), choice=CHOICE, unsure=(0.8, 0.2))


@pytest.mark.parametrize("n", [0, 1, POINTS, POINTS + 1, 7 * POINTS + 3])
def test_a_page_draws_so_many_points_at_most(n):
    assert min(n, POINTS // 2) <= len(np.arange(n)[drawn(n)]) <= POINTS
