"""Labels: what each kind means, in any order of rows; nobody left out unseen; impossible votes named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork import recipe
from tuningfork.errors import ImpossibleVotes, LabelError, TreeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import LabelChoice, Labels, find_votes, make_labels
from tuningfork.galaxy.tree import CHALLENGE, TREES, Tree

GZ2 = Tree.load("gz2")


def volunteers(n: int, tree: Tree = GZ2, seed: int = 0, people: int = 40) -> np.ndarray:
    """Counts (n, answers) of volunteers who walk down the tree, some of whom stop on the way."""
    generator = np.random.default_rng(seed)
    counts = np.zeros((n, tree.n_answers))
    for row in range(n):
        arrived = {tree.questions[0].name: people}
        for one in tree.order:
            question = tree.questions[one]
            going = generator.binomial(arrived.get(question.name, 0), 0.98)
            chances = generator.dirichlet(np.full(len(question.answers), 0.5))
            votes = generator.multinomial(going, chances)
            counts[row, tree.slices[question.name]] = votes
            for answer, number in zip(question.answers, votes.tolist(), strict=True):
                if answer.next:
                    arrived[answer.next] = arrived.get(answer.next, 0) + number
    return counts


def table(values: np.ndarray, names: list[str], **more: object) -> Catalog:
    """A catalogue with ids g000, g001, ... and a column per name."""
    ids = [f"g{row:03d}" for row in range(len(values))]
    return Catalog({"id": ids, **dict(zip(names, values.T.tolist(), strict=True)), **more})


def counted(values: np.ndarray, tree: Tree = GZ2) -> Catalog:
    return table(values, [f"{column}_count" for column in tree.columns])


def gz1(rows: list[list[int]], **more: object) -> Catalog:
    return table(np.array(rows, float), [f"{c}_count" for c in Tree.load("gz1").columns], **more)


VOTED = volunteers(60)


@pytest.mark.parametrize("kind", ["largest", "threshold", "draw", "mode", "kmeans", "counts", "fractions"])
def test_labels_do_not_depend_on_the_order_of_rows(kind: str) -> None:
    choice = LabelChoice(kind, tree="gz2", clusters=4, threshold=0.6)  # type: ignore[arg-type]
    catalog = counted(VOTED)
    labels = make_labels(catalog, choice)
    shuffled = make_labels(catalog.rows(np.random.default_rng(1).permutation(len(catalog))), choice)
    assert set(shuffled.ids) == set(labels.ids) and shuffled.names == labels.names
    np.testing.assert_array_equal(shuffled.select(labels.ids).values, labels.values)
    assert shuffled.dropped == labels.dropped
    assert len(labels) + sum(labels.dropped.values()) == len(catalog)
    assert labels.values.dtype == np.float32 and labels.values.shape == (len(labels.ids), len(labels.names))


@pytest.mark.parametrize("kind", ["largest", "threshold", "draw", "mode", "kmeans"])
def test_classes_are_shares_that_sum_to_one(kind: str) -> None:
    labels = make_labels(counted(VOTED), LabelChoice(kind, tree="gz2", clusters=4, threshold=0.5))  # type: ignore[arg-type]
    np.testing.assert_allclose(labels.values.sum(axis=1), 1, rtol=1e-6)
    assert sum(labels.counts_per_class.values()) == len(labels)
    assert labels.kind == "classes" and (labels.classes == labels.values.argmax(axis=1)).all()
    if kind != "threshold":
        assert set(np.unique(labels.values)) == {0.0, 1.0}


def test_largest_takes_the_first_of_equals_and_counts_the_voteless() -> None:
    labels = make_labels(gz1([[5, 5, 0, 0, 0, 0], [0, 1, 4, 0, 0, 0], [0] * 6]), LabelChoice("largest", tree="gz1"))
    assert [labels.names[i] for i in labels.classes] == ["elliptical", "spiral_anticlockwise"]
    assert labels.dropped == {"without votes on the question": 1}


def test_threshold_renormalises_after_merging_and_dropping() -> None:
    """Row 0: 19 of 20 remaining votes for spirals is 0.95 exactly, and enough; row 3 has only dropped classes."""
    votes = [[1, 10, 9, 0, 20, 0], [2, 10, 8, 0, 0, 0], [19, 0, 0, 0, 0, 1], [0, 0, 0, 0, 9, 0]]
    choice = LabelChoice(
        "threshold",
        tree="gz1",
        merge={"face_on": ("spiral_clockwise", "spiral_anticlockwise")},
        drop=("dont_know",),
    )
    labels = make_labels(gz1(votes), choice)
    assert labels.names == ("elliptical", "face_on", "edge_on", "merger")
    assert labels.ids == ("g000", "g002")
    np.testing.assert_allclose(labels.values, [[0.05, 0.95, 0, 0], [0.95, 0, 0, 0.05]], rtol=1e-6)
    assert labels.dropped == {
        "without votes on the question": 0,
        "with votes for dropped classes only": 1,
        "below the threshold 0.95": 1,
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_merging_classes_sums_shares(seed: int, threshold: float) -> None:
    votes = np.random.default_rng(seed).integers(0, 20, (5, 6)) + 1
    plain = make_labels(gz1(votes.tolist()), LabelChoice("threshold", tree="gz1", threshold=0))
    merged = make_labels(
        gz1(votes.tolist()), LabelChoice("threshold", tree="gz1", threshold=0, merge={"spiral": SPIRALS})
    )
    np.testing.assert_allclose(merged.values[:, 1], plain.values[:, 1:4].sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(merged.values[:, [0, 2, 3]], plain.values[:, [0, 4, 5]], rtol=1e-6)


SPIRALS = ("spiral_clockwise", "spiral_anticlockwise", "edge_on")


def test_draw_follows_the_fractions_and_depends_on_id_and_seed_alone() -> None:
    n = 4000
    catalog = gz1([[30, 0, 0, 10, 0, 0]] * n)
    labels = make_labels(catalog, LabelChoice("draw", tree="gz1"))
    share = labels.counts_per_class["elliptical"] / n
    assert share == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / n))  # four standard deviations
    assert set(np.unique(labels.classes)) == {0, 3}  # never an answer that nobody gave
    few = make_labels(catalog.rows(np.arange(7, 50, 3)), LabelChoice("draw", tree="gz1"))
    np.testing.assert_array_equal(few.values, labels.select(few.ids).values)
    other = make_labels(catalog, LabelChoice("draw", tree="gz1", seed=1))
    agree = (other.classes == labels.classes).mean()
    assert agree == pytest.approx(0.75**2 + 0.25**2, abs=0.04)  # as independent draws do


def test_mode_is_the_largest_of_the_37_columns() -> None:
    labels = make_labels(counted(VOTED), LabelChoice("mode", tree="gz2"))
    columns = GZ2.to_challenge(GZ2.fractions(VOTED))
    np.testing.assert_array_equal(labels.classes, columns.argmax(axis=1))
    assert labels.names == GZ2.columns
    less = make_labels(counted(VOTED), LabelChoice("mode", tree="gz2", drop=("t06_odd_a15_no", "a14_yes")))
    assert len(less.names) == 35 and not any("t06" in name for name in less.names)


def test_kmeans_finds_the_types_that_were_put_in_and_numbers_them_by_size() -> None:
    """Three kinds of galaxies: 30 ellipticals, 20 edge-on, 10 mergers, each with one vote astray now and then."""
    kinds = np.repeat([0, 3, 5], [30, 20, 10])
    votes = np.eye(6)[kinds] * 40
    votes[np.arange(60), (kinds + 1) % 6] += np.arange(60) % 3
    labels = make_labels(gz1(votes.tolist()), LabelChoice("kmeans", tree="gz1", clusters=3))
    assert labels.counts_per_class == {"type_00": 30, "type_01": 20, "type_02": 10}
    np.testing.assert_array_equal(labels.classes, np.repeat([0, 1, 2], [30, 20, 10]))
    assert labels.centres is not None and labels.centres.shape == (3, 6)
    np.testing.assert_array_equal(labels.centres.argmax(axis=1), [0, 3, 5])
    with pytest.raises(LabelError, match="9 different galaxies with votes cannot form 10 clusters"):
        make_labels(gz1(votes.tolist()), LabelChoice("kmeans", tree="gz1", clusters=10))


def test_counts_and_fractions() -> None:
    votes = VOTED.copy()
    votes[3] = 0
    counts = make_labels(counted(votes), LabelChoice("counts", tree="gz2"))
    assert counts.kind == "counts" and counts.tree == GZ2 and counts.names == GZ2.columns
    np.testing.assert_array_equal(counts.values, np.delete(votes, 3, axis=0))
    assert counts.dropped == {"without votes": 1}
    fractions = make_labels(counted(votes), LabelChoice("fractions", tree="gz2"))
    np.testing.assert_allclose(fractions.values, np.delete(GZ2.fractions(votes), 3, axis=0), rtol=1e-6)
    with pytest.raises(LabelError, match="not classes"):
        _ = counts.classes


def test_answers_merge_in_the_tree_too() -> None:
    merge = {"a39_many": ("a34_4", "a36_more_than_4")}
    labels = make_labels(counted(VOTED), LabelChoice("counts", tree="gz2", merge=merge))
    assert labels.tree is not None and labels.tree.n_answers == 36 and labels.names == labels.tree.columns
    column = labels.names.index("t11_arms_number_a39_many")
    np.testing.assert_array_equal(labels.values[:, column], VOTED[:, 34] + VOTED[:, 35])
    with pytest.raises(LabelError, match="merges answers of several questions"):
        make_labels(counted(VOTED), LabelChoice("counts", tree="gz2", merge={"x": ("a34_4", "a38_dust_lane")}))
    with pytest.raises(TreeError, match="lead to one question"):
        make_labels(counted(VOTED), LabelChoice("counts", tree="gz2", merge={"x": ("a08_spiral", "a09_no_spiral")}))
    with pytest.raises(LabelError, match="cannot be dropped"):
        make_labels(counted(VOTED), LabelChoice("counts", tree="gz2", drop=("a08_spiral",)))


def test_column_of_class_names() -> None:
    names = ["spiral_cw", "elliptical", None, "spiral_acw", "", "star", " elliptical "]
    catalog = Catalog({"id": [f"g{i}" for i in range(7)], "class": names})
    choice = LabelChoice(merge={"spiral": ("spiral_cw", "spiral_acw")}, drop=("star",))
    labels = make_labels(catalog, choice)
    assert labels.names == ("elliptical", "spiral") and labels.ids == ("g0", "g1", "g3", "g6")
    assert labels.counts_per_class == {"elliptical": 2, "spiral": 2}
    assert labels.dropped == {"without a class": 2, "of the dropped class 'star'": 1}
    # a truth without stars and anticlockwise spirals is read by the same choice
    few = make_labels(catalog.select(["g0", "g1"]), choice, strict=False)
    assert few.names == ("elliptical", "spiral") and len(few) == 2
    assert few.dropped == {"without a class": 0, "of the dropped class 'star'": 0}
    one = make_labels(catalog.select(["g1"]), choice, strict=False)
    assert one.names == ("elliptical",)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (
            {"merge": {"spiral": ("spiral_wc",)}},
            r"'spiral_wc', merged into 'spiral' \(--merge.*did you mean 'spiral_cw'",
        ),
        ({"merge": {"spiral": ("spiral_cw", "spiral_acv")}}, "'spiral_acv', .*did you mean 'spiral_acw'"),
        ({"merge": {"star": ("stra",)}}, "'stra', .*did you mean 'star'"),
        ({"merge": {"a": ("star",), "b": ("star",)}}, "merged into 'a' and into 'b'"),
        ({"drop": ("stars",)}, r"'stars', .*\(--drop.*did you mean 'star'"),
        ({"drop": ("star",), "merge": {"odd": ("star",)}}, r"'star' is merged \(into 'odd'\) and dropped"),
    ],
)
def test_a_class_that_nobody_has_is_neither_merged_nor_dropped(choice: dict[str, Any], words: str) -> None:
    names = ["spiral_cw", "elliptical", "spiral_acw", "star"]
    catalog = Catalog({"id": ["a", "b", "c", "d"], "class": names})
    with pytest.raises(LabelError, match=words):
        make_labels(catalog, LabelChoice(**choice))


def test_bare_columns_of_whole_numbers_are_counts() -> None:
    """A table as DECaLS has it, with counts alone, gives the labels that the same columns give when named _count."""
    tree = Tree.load("gz1")
    votes = {column: [2 + number, 0] for number, column in enumerate(tree.columns)}
    bare = Catalog({"id": ["a", "b"], **votes})
    named = Catalog({"id": ["a", "b"], **{f"{name}_count": votes[name] for name in votes}})
    assert find_votes(bare, tree, ("fractions", "counts"))[0] == "counts"
    choice = LabelChoice("fractions", tree="gz1")
    one, other = make_labels(bare, choice), make_labels(named, choice)
    assert one.ids == other.ids == ("a",)
    np.testing.assert_array_equal(one.values, other.values)
    # all of one volunteer's opinion: shares of 1 as well as counts, and shares stay shares
    sure = Catalog({"id": ["a"], **{name: [float(number == 0)] for number, name in enumerate(votes)}})
    assert find_votes(sure, tree, ("fractions", "counts"))[0] == "fractions"


def test_a_dropped_answer_must_be_one() -> None:
    with pytest.raises(LabelError, match="did you mean 'dont_know'"):
        make_labels(gz1([[5, 0, 0, 0, 0, 0]]), LabelChoice("largest", tree="gz1", drop=("dont_now",)))


@pytest.mark.parametrize(
    ("column", "there", "words"),
    [
        ("klass", "class", "no column 'klass'; did you mean 'class'.*--column NAME"),
        ("class", "Class", "no column 'class'; did you mean 'Class'.*--column NAME"),
        ("class", "gz_CLASS", "did you mean 'gz_CLASS'"),
        ("class", "m", r"no column 'class'; say which holds the classes: --column NAME .*columns are id, m$"),
    ],
)
def test_a_column_that_is_not_there(column: str, there: str, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        make_labels(Catalog({"id": ["a"], there: ["star"]}), LabelChoice(column=column))


def test_integer_classes_sort_by_number() -> None:
    catalog = Catalog({"id": [str(i) for i in range(5)], "ans": [10, 2, -1, None, 2]})
    labels = make_labels(catalog, LabelChoice(column="ans"))
    assert labels.names == ("-1", "2", "10") and labels.dropped == {"without a class": 1}


def test_select_and_its_refusal() -> None:
    labels = make_labels(gz1([[5, 0, 0, 0, 0, 0], [0, 5, 0, 0, 0, 0]]), LabelChoice("largest", tree="gz1"))
    assert labels.select(["g001"]).classes.tolist() == [1]
    assert len(labels.select([])) == 0
    with pytest.raises(LabelError, match="1 of 2 galaxies have no label: 'g009'"):
        labels.select(["g000", "g009"])


# --- finding the votes

FRACTIONS = np.nan_to_num(GZ2.fractions(VOTED), nan=0.0)


def test_votes_are_found_under_every_name() -> None:
    """One truth, written as the surveys write it: the fractions that come out are the same."""
    tree = Tree.load("decals_dr5")
    counts = volunteers(30, tree, seed=4)
    expected = tree.fractions(counts)
    hyphens = [column.replace("_", "-") for column in tree.columns]
    dr5 = ["_".join(one.name.replace("_", "-") for one in (q, a)) for q in tree.questions for a in q.answers]
    assert dr5[1] == "smooth-or-featured_featured-or-disk"
    for names, values, kind in [
        ([f"{name}_count" for name in tree.columns], counts, "counts"),
        (hyphens, counts, "counts"),
        (dr5, counts, "counts"),
        ([name.upper() for name in dr5], counts, "counts"),
        ([f"{name}_fraction" for name in dr5], expected, "fractions"),
        ([f"{name}_weighted_frac" for name in tree.columns], np.nan_to_num(expected, nan=0.0), "fractions"),
        ([f"{name}_debiased" for name in tree.columns], expected, "debiased"),
        (dr5, expected, "fractions"),
    ]:
        found, votes = find_votes(table(values, names), tree)
        assert found == kind
        np.testing.assert_allclose(tree.fractions(votes), expected, rtol=1e-9)


def test_the_challenge_columns_are_found() -> None:
    columns = GZ2.to_challenge(GZ2.fractions(VOTED)).round(6)
    kind, values = find_votes(table(columns, list(CHALLENGE)), GZ2)
    assert kind == "challenge"
    np.testing.assert_array_equal(values, columns)
    same = make_labels(counted(VOTED), LabelChoice("largest", tree="gz2"))
    np.testing.assert_array_equal(
        make_labels(table(columns, list(CHALLENGE)), LabelChoice("largest", tree="gz2")).values, same.values
    )


@pytest.mark.parametrize("name", ["gz1", "hubble", "candels"])
def test_counts_come_from_fractions_and_totals(name: str) -> None:
    """Three surveys publish fractions (three digits) and the number of votes on each question."""
    tree = Tree.load(name)
    counts = volunteers(20, tree, seed=2)
    ending = "_frac" if name == "candels" else "_fraction"
    names = (
        ["P_EL", "P_CW", "P_ACW", "P_EDGE", "P_DK", "P_MG"] if name == "gz1" else [f"{c}{ending}" for c in tree.columns]
    )
    totals = dict(zip([q.total for q in tree.questions], tree.totals(counts).T.tolist(), strict=True))
    shares = np.nan_to_num(tree.fractions(counts), nan=0.0).round(3)
    kind, values = find_votes(table(shares, names, **totals), tree)
    assert kind == "counts"
    np.testing.assert_array_equal(values, counts)
    weighted = tree.fractions(shares * np.linspace(1, 2, tree.n_answers))  # as if some volunteers weighed more
    assert find_votes(table(weighted, names, **totals), tree)[0] == "fractions"


def test_the_wanted_votes_are_taken() -> None:
    both = table(
        np.hstack([VOTED, FRACTIONS[::-1]]),
        [f"{column}{ending}" for ending in ("_count", "_debiased") for column in GZ2.columns],
    )
    assert find_votes(both, GZ2)[0] == "counts"
    assert find_votes(both, GZ2, ("debiased", "counts"))[0] == "debiased"
    plain = make_labels(both, LabelChoice("largest", tree="gz2"))
    debiased = make_labels(both, LabelChoice("largest", tree="gz2", votes="debiased"))
    np.testing.assert_array_equal(plain.values[::-1], debiased.values)


def test_missing_votes_are_named() -> None:
    catalog = counted(VOTED)
    with pytest.raises(LabelError, match=r"lacks 't01_smooth_or_features_a01_smooth_debiased' and 36 more"):
        make_labels(catalog, LabelChoice("largest", tree="gz2", votes="debiased"))
    with pytest.raises(LabelError, match=r"need the votes' tree .*--tree NAME.*: one of gz2, gz1"):
        make_labels(catalog, LabelChoice("largest"))
    with pytest.raises(LabelError, match="did you mean 'largest'"):
        make_labels(catalog, LabelChoice("larges", tree="gz2"))  # type: ignore[arg-type]
    with pytest.raises(LabelError, match="did you mean 'a01_smooth'"):
        make_labels(catalog, LabelChoice("largest", tree="gz2", drop=("a01_smoth",)))
    with pytest.raises(LabelError, match="'yes' may be t02_edgeon_a04_yes, t06_odd_a14_yes: write the whole name"):
        make_labels(catalog, LabelChoice("mode", tree="gz2", drop=("yes",)))
    with pytest.raises(LabelError, match="leave 1 class"):
        make_labels(catalog, LabelChoice("largest", tree="gz2", drop=("smooth", "star_or_artifact")))
    with pytest.raises(LabelError, match="is merged and dropped"):
        make_labels(catalog, LabelChoice("largest", tree="gz2", drop=("smooth",), merge={"x": ("smooth",)}))
    with pytest.raises(LabelError, match=r"none of 2 galaxies has a label.*2 without votes"):
        make_labels(gz1([[0] * 6] * 2), LabelChoice("largest", tree="gz1"))
    words = Catalog({"id": ["a"], **{f"{c}_debiased": ["many"] for c in Tree.load("gz1").columns}})
    with pytest.raises(LabelError, match="holds no numbers"):
        make_labels(words, LabelChoice("largest", tree="gz1"))


# --- votes that nobody can have cast


def spoil_negative(row: np.ndarray) -> None:
    row[0] = -3


def spoil_fraction(row: np.ndarray) -> None:
    row[1] += 0.5


def spoil_infinite(row: np.ndarray) -> None:
    row[0] = np.inf


def spoil_one_blank(row: np.ndarray) -> None:
    row[1] = np.nan


def spoil_edge_on(row: np.ndarray) -> None:
    row[3] += row[1] + 2


def spoil_bar(row: np.ndarray) -> None:
    row[5] = row[4] + 10


def spoil_winding(row: np.ndarray) -> None:
    row[28] = row[7] + 3


def spoil_odd_feature(row: np.ndarray) -> None:
    row[36 - 12] = row[13] + 2


def spoil_roundness(row: np.ndarray) -> None:
    row[16] += 40


def spoil_everything_odd(row: np.ndarray) -> None:
    row[13] = 4 * row[:3].sum()


def spoil_reversed(row: np.ndarray) -> None:
    row[:] = row[::-1].copy()


def spoil_shifted(row: np.ndarray) -> None:
    row[:] = np.roll(row, 1)


SPOILERS: list[tuple[Callable[[np.ndarray], None], str]] = [
    (spoil_negative, "a01_smooth is -3, less than 0"),
    (spoil_fraction, "no whole number of votes"),
    (spoil_infinite, "a01_smooth is inf"),
    (spoil_one_blank, "is nan"),
    (spoil_edge_on, "t02_edgeon has .* led there"),
    (spoil_bar, "t03_bar has .* led there"),
    (spoil_winding, "t10_arms_winding has .* led there"),
    (spoil_odd_feature, "t08_odd_feature has .* led there"),
    (spoil_roundness, "t07_rounded has .* led there"),
    (spoil_everything_odd, "t06_odd has .* led there"),
    (spoil_reversed, "led there"),  # the columns in the wrong order
    (spoil_shifted, "led there"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILERS, ids=lambda one: getattr(one, "__name__", ""))
def test_each_of_twelve_spoilt_rows_is_named(real_data: Path, spoil: Callable, message: str) -> None:
    """B11: a real row, spoilt, is found by id among the other real rows, none of which is a false alarm."""
    catalog = Catalog.read(real_data / "gz2_stripe82" / "votes.csv")
    good = find_votes(catalog, GZ2)[1]
    row = int(np.flatnonzero((good[:, 1] > 2) & (good[:, 0] > 2))[SPOILERS.index((spoil, message))])
    bad = good.copy()
    spoil(bad[row])
    names = [f"{column}".replace("_", "-") for column in GZ2.columns]  # the reader itself refuses a bad *_count
    frame = Catalog({"id": catalog.ids, **dict(zip(names, bad.T, strict=True))})
    assert [at for at, _ in GZ2.check_counts(bad)] == [row]
    named = rf"1 of {len(good)} rows.*row {row + 1} \('{catalog.ids[row]}'\).*{message}"
    with pytest.raises(ImpossibleVotes, match=named):
        find_votes(frame, GZ2, ("counts",))


def test_impossible_fractions_are_named() -> None:
    for column, value, message in [(0, 1.4, "not a fraction in"), (0, -0.2, "not a fraction"), (3, 0.3, "sum to")]:
        bad = FRACTIONS.copy()
        bad[7, GZ2.slices["t02_edgeon"]] = 0, 1
        bad[7, column] = value
        with pytest.raises(ImpossibleVotes, match=rf"1 of 60 rows.*row 8 \('g007'\).*{message}"):
            find_votes(table(bad, [f"{column}_fraction" for column in GZ2.columns]), GZ2)
    columns = GZ2.to_challenge(GZ2.fractions(VOTED))
    columns[4, 5] += 0.2
    with pytest.raises(ImpossibleVotes, match=r"1 of 60 rows.*row 5 \('g004'\): t03_bar sums to"):
        find_votes(table(columns, list(CHALLENGE)), GZ2)


def test_a_solutions_table_that_cannot_be_is_refused_with_its_rows() -> None:
    """Too much, too little, a column that is not there, two that are swapped; and zeros of what nobody answered."""
    good, names = GZ2.to_challenge(FRACTIONS), list(CHALLENGE)
    assert find_votes(table(good, names), GZ2)[0] == "challenge"
    answered = np.flatnonzero(good[:, names.index("Class7.1")] > 0.02)[:3]
    short = good.copy()
    short[answered, names.index("Class7.1")] = 0
    with pytest.raises(ImpossibleVotes) as caught:
        find_votes(table(short, names), GZ2)
    message = str(caught.value)
    assert f"{len(answered)} of 60 rows" in message and "Class6 sum to 1" in message
    for row in answered:
        total, due = short[row, 15:18].sum(), good[row, 0]
        assert f"row {row + 1} ('g{row:03d}'): t07_rounded sums to {total:.4f}, not {due:.4f}" in message
    unanswered = good.copy()
    unanswered[answered, 15:18] = 0  # a question without votes is no contradiction
    assert find_votes(table(unanswered, names), GZ2)[0] == "challenge"
    swapped = good[:, [1, 0, *range(2, 37)]]
    with pytest.raises(ImpossibleVotes, match="named wrongly"):
        find_votes(table(swapped, names), GZ2)
    with pytest.raises(LabelError, match=r"it lacks 'Class7\.2' of 37"):
        find_votes(table(np.delete(good, 16, axis=1), names[:16] + names[17:]), GZ2)


# --- real galaxies


def test_real_tables_agree(real_data: Path) -> None:
    """The votes and the challenge's columns of the same galaxies give the same labels of every kind."""
    folder = real_data / "gz2_stripe82"
    votes, challenge = Catalog.read(folder / "votes.csv"), Catalog.read(folder / "kaggle37.csv")
    for kind in ("largest", "threshold", "draw", "mode", "kmeans"):
        choice = LabelChoice(kind, tree="gz2", threshold=0.8, clusters=5)  # type: ignore[arg-type]
        one, other = make_labels(votes, choice), make_labels(challenge, choice)
        assert one.ids == other.ids and len(one) > 50
        np.testing.assert_allclose(one.values, other.values, atol=2e-6)
    counts = make_labels(votes, LabelChoice("counts", tree="gz2"))
    assert len(counts) == len(votes) and (counts.values == np.rint(counts.values)).all()


def test_real_classes_and_attributes(real_data: Path) -> None:
    choice = LabelChoice(merge={"face_on": ("spiral_clockwise", "spiral_anticlockwise")}, drop=("dont_know",))
    catalog = Catalog.read(real_data / "gz1" / "labels.csv")
    labels = make_labels(catalog, choice)
    assert labels.names == ("edge_on", "elliptical", "face_on", "merger")
    assert len(labels) + sum(labels.dropped.values()) == len(catalog)
    efigi = Catalog.read(real_data / "efigi" / "labels.csv")
    attributes = make_labels(efigi, LabelChoice("fractions", tree="efigi"))
    known = attributes.values[~np.isnan(attributes.values)]
    assert attributes.values.shape == (len(efigi), 17) and known.min() == 0 and known.max() == 1
    with pytest.raises(LabelError, match="learn them with kind = 'fractions'"):
        make_labels(efigi, LabelChoice("largest", tree="efigi"))


# --- recipes


def test_a_choice_goes_through_a_recipe() -> None:
    choice = LabelChoice("threshold", tree="gz1", merge={"face_on": ("a", "b")}, drop=("c",), threshold=0.8)
    assert recipe.from_mapping(LabelChoice, recipe.to_mapping(choice)) == choice


@pytest.mark.parametrize("name", [name for name in TREES if name != "efigi"])
def test_honest_volunteers_are_never_impossible(name: str) -> None:
    tree = Tree.load(name)
    labels: Labels = make_labels(counted(volunteers(30, tree, seed=9), tree), LabelChoice("counts", tree=name))
    assert len(labels) == 30 and labels.names == tree.columns
