"""SWAP: Bayes by hand, volunteers whose skills are known, lenses found; the order of time, not of rows, decides."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import BadCatalog, TreeError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.survey.swap import Crowd, SwapChoice, SwapSummary, information, swap, updated

LENSES = """
name = "lenses"
[[question]]
name = "lens"
text = "Is there a lens?"
answers = [{ name = "lens", text = "Lens" }, { name = "not", text = "Not" }]
"""
Click = tuple[str, str, str, str]  # subject, user, answer, time
chance = st.floats(0.01, 0.99)


@given(chance, chance, chance)
def test_bayes(p: float, yes: float, no: float) -> None:
    up, down = updated(p, True, yes, no), updated(p, False, yes, no)
    assert 0 < up < 1 and 0 < down < 1
    said = p * yes + (1 - p) * (1 - no)  # P("yes"); the posteriors' mean is the prior
    assert said * up + (1 - said) * down == pytest.approx(p)
    assert (up > p) == (yes > 1 - no) or up == pytest.approx(p)
    assert updated(up, False, yes, no) == pytest.approx(updated(down, True, yes, no))  # clicks commute


def test_bayes_by_hand() -> None:
    # prior 1/5, volunteer right on 4/5 of lenses and 9/10 of duds: 0.16 / (0.16 + 0.08), and 0.04 / (0.04 + 0.72)
    assert updated(0.2, True, 0.8, 0.9) == pytest.approx(2 / 3)
    assert updated(0.2, False, 0.8, 0.9) == pytest.approx(1 / 19)
    assert updated(0.2, True, 0.5, 0.5) == pytest.approx(0.2)


def test_information_is_that_of_a_channel() -> None:
    np.testing.assert_allclose(information(np.array([0.5, 1.0, 0.9]), np.array([0.5, 0.0, 0.1])), 0, atol=1e-12)
    assert information(np.array([1.0]), np.array([1.0]))[0] == pytest.approx(1, abs=1e-9)
    assert information(np.array([0.0]), np.array([0.0]))[0] == pytest.approx(1, abs=1e-9)  # always wrong tells as much
    # the binary symmetric channel with error 0.11: 1 - H(0.11) = 0.500
    assert information(np.array([0.89]), np.array([0.89]))[0] == pytest.approx(0.500, abs=5e-4)


def test_skills_are_running_shares_of_right_answers() -> None:
    crowd = Crowd.of(np.array([1, 0, -1], np.int8), 1, SwapChoice(ceiling=0.999))
    crowd.hear([(0, 0, True), (0, 0, True), (0, 0, False), (1, 0, False), (2, 0, True)])
    assert crowd.skill_yes[0] == pytest.approx((0.5 * 2 + 2) / (2 + 3)) and crowd.n_yes[0] == 3
    assert crowd.skill_no[0] == pytest.approx((0.5 * 2 + 1) / (2 + 1)) and crowd.n_no[0] == 1
    assert crowd.posterior[2] == pytest.approx(updated(2e-4, True, crowd.skill_yes[0], crowd.skill_no[0]))
    assert crowd.n_clicks == [5]


def test_a_retired_subject_learns_no_more_and_known_ones_never_retire() -> None:
    choice = SwapChoice(prior=0.3, reject=0.1, accept=0.9)
    crowd = Crowd.of(np.array([-1, 0], np.int8), 1, choice)
    crowd.skill_yes[0] = crowd.skill_no[0] = 0.9
    crowd.hear([(0, 0, False), (0, 0, True), (0, 0, True)])
    assert crowd.retired == [True, False] and (crowd.n_before[0], crowd.n_after[0]) == (1, 2)
    assert crowd.posterior[0] == pytest.approx(updated(0.3, False, 0.9, 0.9))
    crowd.hear([(1, 0, False)] * 50)
    assert crowd.retired == [True, False] and crowd.posterior[1] == choice.floor
    assert crowd.skill_no[0] == pytest.approx(choice.ceiling, abs=0.02)


@pytest.mark.parametrize("wrong", [{"prior": 0.0}, {"reject": 0.01}, {"accept": 1.0}, {"start": 0.0}, {"ceiling": 1.0}])
def test_numbers_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="it has to be"):
        SwapChoice(**wrong)


def write(folder: Path, clicks: list[Click]) -> Path:
    (folder / "tree.toml").write_text(LENSES)
    path = folder / "k.csv"
    path.write_text(
        "subject,user,question,answer,created_at\n"
        + "".join(",".join((s, u, "lens", a, t)) + "\n" for s, u, a, t in clicks)
    )
    return path


SKILLS = {f"good{i}": (0.9, 0.95) for i in range(12)} | {f"coin{i}": (0.5, 0.5) for i in range(6)}
SKILLS |= {f"eager{i}": (0.98, 0.4) for i in range(3)} | {f"reverse{i}": (0.15, 0.1) for i in range(2)}


def survey(seed: int = 4) -> tuple[list[Click], dict[str, int]]:
    """Volunteers of known skill on 60 training subjects (half simulated lenses) and 150 others, of which 30 lenses."""
    rng = np.random.default_rng(seed)
    truth = {f"t{i:03d}": i % 2 for i in range(60)} | {f"x{i:03d}": int(i < 30) for i in range(150)}
    clicks = []
    for user, (yes, no) in SKILLS.items():
        names = rng.permutation(sorted(truth)).tolist()
        for subject in names[:170]:
            right = rng.random() < (yes if truth[subject] else no)
            clicks.append((subject, user, "lens" if right == bool(truth[subject]) else "not"))
    order = rng.permutation(len(clicks)).tolist()
    return [
        (*clicks[one], f"2024-02-{1 + i // 86400:02d} {i // 3600 % 24:02d}:{i // 60 % 60:02d}:{i % 60:02d} UTC")
        for i, one in enumerate(order)
    ], truth


def gold(truth: dict[str, int]) -> Catalog:
    ids = [name for name in truth if name[0] == "t"]
    return Catalog({"id": ids, "truth": ["LENS" if truth[name] else "NOT" for name in ids]}, name="'gold.csv'")


def run(folder: Path, clicks: list[Click], known: Catalog, **more: object) -> SwapSummary:
    choice = SwapChoice(prior=0.2, reject=1e-4)
    out, tree = folder / "lenses.csv", folder / "tree.toml"
    return swap(write(folder, clicks), out, tree=tree, question="lens", positive="lens", gold=known, choice=choice,
                **more)  # type: ignore[arg-type]  # fmt: skip


def test_lenses_are_found_and_skills_measured(tmp_path: Path) -> None:
    clicks, truth = survey()
    summary = run(tmp_path, clicks, gold(truth))
    assert (summary.n_in, summary.n_done, summary.n_rejected) == (len(clicks), len(clicks), 0)
    people = Catalog.read(summary.volunteers)
    for name, yes, no, bits in zip(
        people.ids, people["skill_yes"], people["skill_no"], people["information"], strict=True
    ):
        assert yes == pytest.approx(SKILLS[name][0], abs=0.25) and no == pytest.approx(SKILLS[name][1], abs=0.25)
        assert (bits > 0.3) == (name[:4] == "good") or name[:4] == "reve"
    table = Catalog.read(summary.path, id="id")
    test = table["kind"] == "test"
    real = np.array([truth[name] for name in table.ids])
    assert test.sum() == 150 and summary.n_training == 60
    status = table["status"]
    # 30 lenses, 120 others, about 17 clicks each, 9 of them good: errors of a few in a thousand are expected, not more
    assert (status[test & (real == 1)] == "detected").sum() >= 29
    assert (status[test & (real == 0)] == "detected").sum() <= 1
    assert (status[test & (real == 0)] == "rejected").sum() >= 110
    counts = {name: [0, 0] for name in truth}
    for subject, _, answer, _ in clicks:
        counts[subject][answer == "lens"] += 1
    simple = np.array([counts[name][1] > counts[name][0] for name in table.ids])
    assert ((table["posterior"] > 0.5) == real)[test].mean() > (simple == real)[
        test
    ].mean()  # better than a show of hands
    assert (table["n_clicks"] + table["n_after"]).sum() == len(clicks)
    assert "detected" in str(summary) and "60 for training" in str(summary)


def test_time_decides_not_the_rows(tmp_path: Path) -> None:
    clicks, truth = survey()
    first = Catalog.read(run(tmp_path, clicks, gold(truth)).path, id="id")
    mixed = [clicks[i] for i in np.random.default_rng(0).permutation(len(clicks))]
    again = Catalog.read(run(tmp_path, mixed, gold(truth)).path, id="id").select(first.ids)
    np.testing.assert_array_equal(first["posterior"], again["posterior"])
    turned = [(s, u, a, t) for (s, u, a, _), (_, _, _, t) in zip(clicks, reversed(clicks), strict=True)]
    other = Catalog.read(run(tmp_path, turned, gold(truth)).path, id="id").select(first.ids)
    assert (first["posterior"] != other["posterior"]).any()


def test_without_training_no_subject_moves(tmp_path: Path) -> None:
    clicks, truth = survey()
    trained = {u for s, u, _, _ in clicks if s == "t000"}
    some = [one for one in clicks if one[0][0] == "x" and one[1] not in trained] + [
        one for one in clicks if one[0] == "t000"
    ]
    summary = run(tmp_path, some, gold(truth))
    table = Catalog.read(summary.path, id="id")
    np.testing.assert_allclose(table["posterior"][table["kind"] == "test"], 0.2)


def test_rows_without_a_time_are_rejected(tmp_path: Path) -> None:
    clicks, truth = survey()
    clicks[3] = (*clicks[3][:3], "yesterday")
    summary = run(tmp_path, clicks, gold(truth))
    assert pq.read_table(summary.rejected).to_pylist()[0]["row"] == 5
    assert (summary.n_in, summary.n_rejected) == (len(clicks), 1) and summary.account.rejected == {"no_time": 1}


def test_what_cannot_be_weighed_is_refused(tmp_path: Path) -> None:
    clicks, truth = survey()
    known = gold(truth)
    with pytest.raises(BadCatalog, match=r"no subject of 'gold.csv'"):
        run(tmp_path, [one for one in clicks if one[0][0] == "x"], known)
    with pytest.raises(BadCatalog, match="says 'maybe'"):
        run(tmp_path, clicks, known.with_columns({"truth": ["maybe"] * len(known)}))
    with pytest.raises(BadCatalog, match="did you mean 'truth'"):
        run(tmp_path, clicks, known, gold_column="trut")
    export = write(tmp_path, clicks)
    with pytest.raises(TreeError, match="did you mean 'lens'"):
        swap(export, tmp_path / "o.csv", tree=tmp_path / "tree.toml", question="lens", positive="lense", gold=known)
    export.write_text("subject,user,question,answer\nt000,a,lens,lens\n")
    with pytest.raises(BadCatalog, match="who clicked when"):
        swap(export, tmp_path / "o.csv", tree=tmp_path / "tree.toml", question="lens", positive="lens", gold=known)
    assert not list(tmp_path.glob(".*"))
