"""Trees: built-in ones against what was published, random ones against the laws of probability, broken ones refused."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.errors import TreeError
from tuningfork.galaxy.impossible import SLACK
from tuningfork.galaxy.question import Answer, Question
from tuningfork.galaxy.tree import CHALLENGE, FOLDER, TREES, Tree

VOTES = [name for name in TREES if name != "efigi"]


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A random DAG: every answer leads to a later question or to the end, and every question is reached."""
    n = draw(st.integers(1, 7))
    answers: list[list[str]] = []
    for number in range(n):
        ways = st.sampled_from(["", *(f"q{later}" for later in range(number + 1, n))])
        answers.append(draw(st.lists(ways, min_size=1, max_size=4)))
    for number in range(1, n):  # whatever nobody leads to hangs on the question before it
        if not any(f"q{number}" in one for one in answers[:number]):
            answers[number - 1].append(f"q{number}")
    questions = [
        Question(f"q{number}", "", tuple(Answer(f"a{i}", "", way) for i, way in enumerate(ways)))
        for number, ways in enumerate(answers)
    ]
    rest = draw(st.permutations(questions[1:]))  # only the first question has its place
    return Tree("random", questions=(questions[0], *rest))


@st.composite
def trees_with_fractions(draw: st.DrawFn, blank: bool = False) -> tuple[Tree, np.ndarray]:
    """A tree and fractions for a few galaxies; with ``blank``, some questions got no vote."""
    tree = draw(trees())
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    votes = generator.integers(0, 5, (4, tree.n_answers)).astype(float)
    for part in tree.slices.values():
        dead = generator.random(4) < 0.2 if blank else np.zeros(4, bool)
        votes[:, part.start] += 1
        votes[dead, part] = 0
    return tree, tree.fractions(votes)


def one_way(question: Question) -> bool:
    """Whether all answers lead to one question."""
    return len({answer.next for answer in question.answers}) == 1 and bool(question.answers[0].next)


def read(path: Path) -> list[list[str]]:
    """The rows of a CSV file, the header first."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def ends(tree: Tree) -> list[int]:
    """Columns of the answers that end the classification."""
    answers = [answer for question in tree.questions for answer in question.answers]
    return [column for column, answer in enumerate(answers) if not answer.next]


@pytest.mark.parametrize(
    ("name", "questions", "answers"),
    [
        ("gz2", 11, 37),
        ("gz1", 1, 6),
        ("decals_dr12", 10, 30),
        ("decals_dr5", 10, 34),
        ("candels", 17, 50),
        ("hubble", 18, 57),
        ("efigi", 17, 17),
    ],
)
def test_built_in_trees(name: str, questions: int, answers: int) -> None:
    tree = Tree.load(name)
    assert (len(tree.questions), tree.n_answers, len(set(tree.columns))) == (questions, answers, answers)
    assert tree.name == name and tree.title and tree.citation and tree.source
    assert all(question.text for question in tree.questions)
    assert all(column.replace("_", "").isalnum() and column.isascii() for column in tree.columns)
    assert Tree.from_toml(tree.to_toml()) == tree
    assert all(question.name in tree.text() for question in tree.questions)


def test_every_file_is_listed() -> None:
    assert sorted(TREES) == sorted(path.stem for path in FOLDER.glob("*.toml"))


def test_gz2_columns_are_those_of_the_published_table(real_data: Path) -> None:
    header = read(real_data / "gz2_stripe82" / "votes.csv")[0]
    published = [name.removesuffix("_count") for name in header if name.endswith("_count")]
    assert list(Tree.load("gz2").columns) == published


def test_gz2_parents_are_those_of_the_paper() -> None:
    tree = Tree.load("gz2")

    def from_answers(question: str) -> set[str]:
        return {tree.columns[column].split("_a")[-1][:2] for column in tree.parents(question)}

    assert from_answers("t05_bulge_prominence") == {"09", "31", "32", "33", "34", "36", "37"}
    assert from_answers("t06_odd") == {"10", "11", "12", "13", "16", "17", "18", "25", "26", "27"}
    assert from_answers("t08_odd_feature") == {"14"}
    assert from_answers("t01_smooth_or_features") == set()


def test_efigi_columns_are_those_of_the_catalogue(real_data: Path) -> None:
    header = read(real_data / "efigi" / "labels.csv")[0]
    tree = Tree.load("efigi")
    published = [name for name in header[1:-1] if not name.endswith((tree.lower, tree.upper))]
    assert list(tree.columns) == published
    assert {f"{name}{tree.lower}" for name in tree.columns} < set(header)


def test_scaled_attributes() -> None:
    tree = Tree.load("efigi")
    values = np.full((2, 17), 0.5)
    values[0, :2] = -1, -1  # T = -1 is a lenticular; Bulge_to_Total = -1 is undefined
    values[1, 0] = 11
    scaled = tree.scaled(values)
    assert scaled[0, 0] == pytest.approx(5 / 17) and np.isnan(scaled[0, 1])
    assert scaled[1, 0] == 1 and (scaled[:, 2:] == 0.5).all()
    with pytest.raises(TreeError, match="attributes, not votes"):
        tree.reach(values)
    with pytest.raises(TreeError, match="votes, not attributes"):
        Tree.load("gz1").scaled(np.zeros((1, 6)))


@settings(max_examples=150, deadline=None)
@given(trees_with_fractions())
def test_probability_is_conserved(pair: tuple[Tree, np.ndarray]) -> None:
    tree, fractions = pair
    reach, cumulative = tree.reach(fractions), tree.cumulative(fractions)
    np.testing.assert_allclose(cumulative[:, ends(tree)].sum(axis=1), 1, rtol=1e-12)
    for number, question in enumerate(tree.questions):
        np.testing.assert_allclose(cumulative[:, tree.slices[question.name]].sum(axis=1), reach[:, number], atol=1e-12)
        if number:
            parents = list(tree.parents(question.name))
            np.testing.assert_allclose(cumulative[:, parents].sum(axis=1), reach[:, number], atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(trees_with_fractions(blank=True))
def test_cumulative_fractions_go_there_and_back(pair: tuple[Tree, np.ndarray]) -> None:
    tree, fractions = pair
    reach = np.repeat(tree.reach(fractions), [part.stop - part.start for part in tree.slices.values()], axis=1)
    back = tree.from_cumulative(tree.cumulative(fractions))
    np.testing.assert_allclose(back, np.where(reach > 0, fractions, np.nan), rtol=1e-10)


@settings(max_examples=60, deadline=None)
@given(trees_with_fractions(blank=True))
def test_what_arrives_at_a_question_without_votes(pair: tuple[Tree, np.ndarray]) -> None:
    """It goes on where there is one way, and ends where there are several; NaN and 0 say the same."""
    tree, fractions = pair
    reach = tree.reach(fractions)
    np.testing.assert_array_equal(reach, tree.reach(np.nan_to_num(fractions, nan=0.0)))
    ended = np.zeros(len(fractions))
    for number, question in enumerate(tree.questions):
        silent = np.isnan(fractions[:, tree.slices[question.name].start])
        ended += np.where(silent & (not one_way(question)), reach[:, number], 0.0)
    np.testing.assert_allclose(tree.cumulative(fractions)[:, ends(tree)].sum(axis=1) + ended, 1, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(trees(), st.integers(0, 2**32 - 1))
def test_counts_go_to_fractions_and_back(tree: Tree, seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 60, (3, tree.n_answers)).astype(float)
    fractions = tree.fractions(counts)
    np.testing.assert_array_equal(tree.counts(fractions, tree.totals(counts)), counts)
    np.testing.assert_allclose(tree.fractions(fractions), fractions, rtol=1e-12)
    np.testing.assert_allclose(tree.fractions(counts * 7), fractions, rtol=1e-12)
    np.testing.assert_allclose(tree.fractions(counts[0]), fractions[0], rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(trees_with_fractions(), st.data())
def test_merging_answers_sums_columns(pair: tuple[Tree, np.ndarray], data: st.DataObject) -> None:
    """Merging commutes with everything: fractions, reach, cumulative fractions, and the Beta marginal's moments."""
    tree, fractions = pair
    question = data.draw(st.sampled_from(tree.questions))
    way = data.draw(st.sampled_from([answer.next for answer in question.answers]))
    names = [answer.name for answer in question.answers if answer.next == way]
    merged, add_up = tree.merge(question.name, names, "together")
    assert merged.n_answers == tree.n_answers - len(names) + 1
    np.testing.assert_allclose(merged.reach(add_up(fractions)), tree.reach(fractions), rtol=1e-12)
    np.testing.assert_allclose(merged.cumulative(add_up(fractions)), add_up(tree.cumulative(fractions)), atol=1e-12)
    counts = np.round(fractions * 40)
    np.testing.assert_allclose(merged.fractions(add_up(counts)), add_up(tree.fractions(counts)), rtol=1e-12)
    alpha = 1 + fractions * 100  # a sum of a Dirichlet's components is again one, with the sum of concentrations
    np.testing.assert_allclose(merged.totals(add_up(alpha)), tree.totals(alpha), rtol=1e-12)


def test_merging_refuses_what_cannot_be_one_answer() -> None:
    tree = Tree.load("gz2")
    with pytest.raises(TreeError, match="a01_smooth -> t07_rounded, a02_features_or_disk -> t02_edgeon"):
        tree.merge("t01_smooth_or_features", ["a01_smooth", "a02_features_or_disk"], "galaxy")
    with pytest.raises(TreeError, match="did you mean 'a24_merger'"):
        tree.merge("t08_odd_feature", ["a24_merge"], "odd")


def real_table(real_data: Path, name: str, suffix: str = "") -> np.ndarray:
    """The columns of one of the two Stripe 82 tables, in the tree's order."""
    header, *rows = read(real_data / "gz2_stripe82" / name)
    stems = Tree.load("gz2").columns if suffix else CHALLENGE
    columns = [header.index(f"{stem}{suffix}") for stem in stems]
    return np.array([[float(row[column]) for column in columns] for row in rows])


def test_the_challenge_columns_are_reproduced(real_data: Path) -> None:
    """The 37 columns are six-digit roundings: 5e-7. They are made from fractions brought back to a sum of 1."""
    tree = Tree.load("gz2")
    published = real_table(real_data, "kaggle37.csv")
    fractions = tree.fractions(real_table(real_data, "votes.csv", "_fraction"))
    assert len(published) > 150
    np.testing.assert_allclose(tree.to_challenge(fractions), published, atol=6e-7)
    back = tree.from_challenge(published)
    reached = np.repeat(tree.reach(fractions), [p.stop - p.start for p in tree.slices.values()], axis=1)
    # where all of a question's columns were rounded away, or are tiny, its fractions cannot come back: test above 1%
    np.testing.assert_allclose(back[reached > 0.01], fractions[reached > 0.01], atol=6e-7 / 0.01 * 2)
    assert (np.isnan(back) == np.isnan(fractions)).mean() > 0.99


def test_question_six_as_published_and_as_routed(real_data: Path) -> None:
    tree = Tree.load("gz2")
    fractions = tree.fractions(real_table(real_data, "votes.csv", "_fraction"))
    published, routed = tree.to_challenge(fractions), tree.to_challenge(fractions, q6="routed")
    odd = tree.slices["t06_odd"]
    np.testing.assert_allclose(published[:, odd].sum(axis=1), 1)
    np.testing.assert_allclose(routed[:, odd].sum(axis=1), 1 - fractions[:, 2])  # all but those who saw a star
    np.testing.assert_array_equal(routed, tree.cumulative(fractions))
    others = [c for name, part in tree.slices.items() if name[:3] not in ("t06", "t08") for c in range(37)[part]]
    np.testing.assert_array_equal(published[:, others], routed[:, others])
    np.testing.assert_allclose(tree.from_challenge(routed, q6="routed"), tree.from_challenge(published), atol=1e-9)
    starry = fractions[:, 2] > 0.05
    assert starry.any()
    with pytest.raises(TreeError, match=r"break q6='routed'.*t06_odd sums to 1\.0000, not 0"):
        tree.from_challenge(published[starry], q6="routed")
    with pytest.raises(TreeError, match="break q6='as_published'"):
        tree.from_challenge(routed[starry])


def test_the_challenge_belongs_to_gz2() -> None:
    assert CHALLENGE[0] == "Class1.1" and CHALLENGE[-1] == "Class11.6" and len(CHALLENGE) == 37
    with pytest.raises(TreeError, match="not to 'gz1'"):
        Tree.load("gz1").to_challenge(np.zeros((1, 6)))
    with pytest.raises(TreeError, match="q6 is 'broken'"):
        Tree.load("gz2").to_challenge(np.zeros((1, 37)), q6="broken")  # type: ignore[arg-type]


def test_a_network_without_constraints_can_be_read() -> None:
    raw = np.random.default_rng(0).random((5, 37))
    fractions = Tree.load("gz2").from_challenge(raw, tolerance=np.inf)
    np.testing.assert_allclose(Tree.load("gz2").totals(fractions), 1)


def test_no_real_row_is_a_false_alarm(real_data: Path) -> None:
    tree = Tree.load("gz2")
    counts = real_table(real_data, "votes.csv", "_count")
    assert tree.check_counts(counts) == []
    assert tree.check_fractions(real_table(real_data, "votes.csv", "_fraction")) == []
    assert tree.check_fractions(real_table(real_data, "votes.csv", "_debiased"), sums=False) == []
    arrived = tree.totals(counts)[:, 6] - counts[:, 0]
    assert arrived.max() == 1  # the slack is needed, and one vote of it suffices
    assert 0 < SLACK < 0.2


def test_shapes_are_refused() -> None:
    with pytest.raises(TreeError, match=r"shape \(2, 36\) do not fit the tree 'gz2', which has 37"):
        Tree.load("gz2").reach(np.zeros((2, 36)))
    with pytest.raises(TreeError, match="one per question"):
        Tree.load("gz2").counts(np.zeros((2, 37)), np.zeros((2, 37)))


def test_masked_values_are_nan() -> None:
    counts = np.ma.masked_equal(np.array([[3, 1, 0, 0, 0, -9]]), -9)
    np.testing.assert_array_equal(Tree.load("gz1").fractions(counts), [[0.75, 0.25, 0, 0, 0, 0]])


GOOD = """
name = "mine"
[[question]]
name = "shape"
answers = [{ name = "round", next = "odd" }, { name = "flat", next = "bar" }, { name = "star" }]
[[question]]
name = "bar"
answers = [{ name = "yes", next = "odd" }, { name = "no", next = "odd" }]
[[question]]
name = "odd"
answers = [{ name = "yes" }, { name = "no" }]
"""


def test_a_tree_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    tree = Tree.load(path)
    assert tree == Tree.load(str(path)) and hash(tree) == hash(Tree.load(path))
    np.testing.assert_allclose(tree.reach([0.5, 0.4, 0.1, 0.25, 0.75, 0.1, 0.9]), [1, 0.4, 0.9])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('next = "bar"', 'next = "bra"', "'flat' of 'shape' leads to 'bra'.*did you mean 'bar'"),
        ('{ name = "no" }]', '{ name = "no", next = "shape" }]', "go in a circle: .*shape -> .*odd -> .*shape|circle"),
        ('{ name = "flat", next = "bar" }', '{ name = "flat" }', "no answer leads to the question 'bar'"),
        ('name = "star"', 'name = "star/artifact"', "'star/artifact' may have letters.*write 'star_artifact'"),
        ('name = "star"', 'name = "Round"', "answers of 'shape' are named 'round' and 'Round'"),
        ('name = "odd"\n', 'name = "bar"\n', "two questions are named 'bar'"),
        ('name = "star"', 'nmae = "star"', "no key 'nmae'; did you mean 'name'"),
        ('name = "star"', 'text = "star"', "'name' is missing"),
        ('name = "star"', "name = 3", "name is 3; it takes a string"),
        ("[[question]]", "[[questoin]]", "no key 'questoin'; did you mean 'questions'"),
        ('name = "mine"', 'name = "mine"\nkind = "vote"', "did you mean 'votes'"),
        ('name = "mine"', 'name = "mine', "is no TOML"),
        ('[{ name = "yes" }, { name = "no" }]', "[]", "'odd' has no answers"),
        ('[{ name = "yes" }, { name = "no" }]', '["yes", "no"]', "is 'yes'; it is a table of name"),
        ('name = "mine"', 'title = "mine"', "'name' is missing"),
        (
            'name = "mine"',
            'name = "mine"\nkind = "attributes"',
            r"needs \[\[attribute\]\] tables; it has \[\[question\]\]",
        ),
    ],
)
def test_broken_trees_are_refused(old: str, new: str, message: str) -> None:
    if not message:
        Tree.from_toml(GOOD)
        return
    assert old in GOOD
    with pytest.raises(TreeError, match=message):
        Tree.from_toml(GOOD.replace(old, new))


def test_clashing_columns_are_refused() -> None:
    """question a with answer b_c and question a_b with answer c would be one column."""
    questions = (Question("a", "", (Answer("b_c", "", "a_b"),)), Question("a_b", "", (Answer("c"),)))
    with pytest.raises(TreeError, match="two columns are named 'a_b_c'"):
        Tree("clash", questions=questions)
    with pytest.raises(TreeError, match="0 questions"):
        Tree("empty")


def test_unknown_trees_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match="did you mean 'decals_dr5'"):
        Tree.load("decals_dr6")
    with pytest.raises(TreeError, match="cannot read the tree"):
        Tree.load(tmp_path / "absent.toml")
    with pytest.raises(TreeError, match="did you mean 't03_bar'"):
        Tree.load("gz2").question("t03_bars")


@settings(max_examples=60, deadline=None)
@given(trees(), st.text(max_size=20))
def test_toml_goes_there_and_back(tree: Tree, words: str) -> None:
    named = dataclasses.replace(tree, title=words, citation=words[::-1])
    assert Tree.from_toml(named.to_toml()) == named
    assert named.digest == tree.digest  # wording is not meaning


@settings(max_examples=60, deadline=None)
@given(trees())
def test_every_question_is_drawn_once_with_its_answers(tree: Tree) -> None:
    lines = [line.lstrip("│ ▶╰") for line in tree.text().splitlines()]
    for question in tree.questions:
        (place,) = [i for i, line in enumerate(lines) if line.split() == [question.name]]
        assert lines[place + 1].lstrip("├─┬ ").startswith("a0")
    drawn = sum(line.lstrip("├─┬ ").startswith("a") for line in lines)
    assert drawn == tree.n_answers


def test_digest_follows_the_meaning() -> None:
    digests = {Tree.load(name).digest for name in TREES}
    assert len(digests) == len(TREES)
    other = Tree.from_toml(GOOD.replace('"flat", next = "bar"', '"flat_", next = "bar"'))
    assert other.digest != Tree.from_toml(GOOD).digest


@pytest.mark.parametrize("name", VOTES)
def test_uniform_answers_reach_every_question(name: str) -> None:
    tree = Tree.load(name)
    reach = tree.reach(tree.fractions(np.ones(tree.n_answers)))
    assert (reach > 0).all() and (reach <= 1 + 1e-12).all()
