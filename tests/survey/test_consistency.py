"""Weights of volunteers: the paper's numbers, the paper's loop written plainly, and who gains by it."""

from pathlib import Path

import numpy as np
import pytest

from tuningfork.errors import BadCatalog
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.labels import find_votes
from tuningfork.galaxy.tree import Tree
from tuningfork.survey.consistency import agreement, weight_of
from tuningfork.survey.zooniverse import VoteSummary, from_zooniverse

GZ2 = Tree.load("gz2")
FIRST, EDGE = GZ2.questions[0], GZ2.questions[1]


def test_agreement_is_the_papers_example() -> None:
    # Willett et al. 2013, section 3.2: answers (a, b, c) with vote fractions (0.7, 0.2, 0.1)
    found = agreement(np.array([0.7, 0.2, 0.1]), np.array([3.0, 3.0, 3.0]))
    np.testing.assert_allclose(found, [0.8, 0.467, 0.4], atol=5e-4)  # the paper prints three digits


@pytest.mark.parametrize("m", [2, 3, 7])
def test_agreement_is_the_mean_of_what_the_paper_defines(m: int) -> None:
    shares = np.random.default_rng(m).dirichlet(np.ones(m))
    for clicked in range(m):
        each = [share if answer == clicked else 1 - share for answer, share in enumerate(shares)]
        assert agreement(shares[clicked : clicked + 1], np.array([float(m)]))[0] == pytest.approx(np.mean(each))


def test_the_weight_cuts_the_tail_only() -> None:
    kappa = np.array([1.0, 0.6, 0.55, 0.3, 0.0, np.nan])
    np.testing.assert_allclose(weight_of(kappa), [1, 1, (0.55 / 0.6) ** 8.5, (0.5) ** 8.5, 0, 1])
    rising = weight_of(np.linspace(0, 1, 101))
    assert (np.diff(rising) >= 0).all() and rising.max() == 1
    assert weight_of(np.array([0.345]))[0] < 0.01  # "w < 0.01 for only 1% of users": the far tail


def write(path: Path, clicks: list[tuple[str, str, int, int]]) -> Path:
    lines = [f"{s},{u},{GZ2.questions[q].name},{GZ2.questions[q].answers[a].name}" for s, u, q, a in clicks]
    path.write_text("subject,user,question,answer\n" + "\n".join(lines) + "\n")
    return path


def sample(seed: int = 2, contrary: int = 4) -> list[tuple[str, str, int, int]]:
    """Twenty volunteers on sixty galaxies of clear type, some of whom click what they are not."""
    rng = np.random.default_rng(seed)
    clicks = []
    for user in range(20):
        for subject in rng.permutation(60)[:50].tolist():
            truth = subject % 3
            slip = int(rng.integers(3))
            answer = (truth + 1 + (slip == 0)) % 3 if user < contrary else truth if rng.random() < 0.9 else slip
            clicks.append((f"s{subject:02d}", f"u{user:02d}", 0, answer))
            if answer == 1:
                clicks.append((f"s{subject:02d}", f"u{user:02d}", 1, int(rng.random() < 0.9)))
    return clicks


def plainly(
    clicks: list[tuple[str, str, int, int]],
) -> tuple[dict[str, float], dict[tuple[str, int], dict[int, float]]]:
    """The paper's three iterations over dictionaries."""
    weights = {user: 1.0 for _, user, _, _ in clicks}
    for turn in range(4):
        votes: dict[tuple[str, int], dict[int, float]] = {}
        for subject, user, question, answer in clicks:
            one = votes.setdefault((subject, question), {})
            one[answer] = one.get(answer, 0.0) + weights[user]
        if turn == 3:
            break
        kappas: dict[str, list[float]] = {}
        for subject, user, question, answer in clicks:
            one = votes[subject, question]
            total = sum(one.values())
            known = range(len(GZ2.questions[question].answers))
            each = [one.get(a, 0) / total if a == answer else 1 - one.get(a, 0) / total for a in known]
            kappas.setdefault(user, []).append(sum(each) / len(each))
        weights = {user: min(1.0, (sum(k) / len(k) / 0.6) ** 8.5) for user, k in kappas.items()}
    return weights, votes


def weighted(tmp_path: Path, clicks: list[tuple[str, str, int, int]]) -> VoteSummary:
    return from_zooniverse(
        write(tmp_path / "k.csv", clicks), tmp_path / "v.parquet", tree="gz2", weighting="consistency"
    )


def test_three_iterations_as_written_plainly(tmp_path: Path) -> None:
    clicks = sample()
    summary = weighted(tmp_path, clicks)
    weights, votes = plainly(clicks)
    people = Catalog.read(summary.volunteers)
    found = dict(zip(people.ids, people["weight"].tolist(), strict=True))
    assert found == pytest.approx(weights, rel=1e-5)  # float32
    made = dict(zip(people.ids, people["n_clicks"].tolist(), strict=True))
    assert made == {user: sum(one == user for _, one, _, _ in clicks) for user in weights}
    catalog = Catalog.read(summary.path)
    for (subject, question), one in votes.items():
        part = GZ2.columns[GZ2.slices[GZ2.questions[question].name]]
        row = catalog.ids.index(subject)
        for answer, column in enumerate(part):
            assert catalog[f"{column}_weight"][row] == pytest.approx(one.get(answer, 0.0), rel=1e-5)
            share = one.get(answer, 0.0) / sum(one.values())
            assert catalog[f"{column}_weighted_fraction"][row] == pytest.approx(share, rel=1e-5)
    assert find_votes(catalog, GZ2)[0] == "counts"
    assert find_votes(catalog, GZ2, ("fractions",))[0] == "fractions"


def test_the_contrary_weigh_less_and_the_votes_come_nearer_to_the_truth(tmp_path: Path) -> None:
    summary = weighted(tmp_path, sample())
    people = Catalog.read(summary.volunteers)
    weight = dict(zip(people.ids, people["weight"].tolist(), strict=True))
    contrary = [weight[f"u{user:02d}"] for user in range(4)]
    assert max(contrary) < 0.6 and min(weight[f"u{user:02d}"] for user in range(4, 20)) == 1
    catalog = Catalog.read(summary.path)
    truth = np.array([int(one[1:]) % 3 for one in catalog.ids])
    names = GZ2.columns[GZ2.slices[FIRST.name]]
    errors = {}
    for kind in ("fraction", "weighted_fraction"):
        shares = np.column_stack([catalog[f"{name}_{kind}"] for name in names])
        errors[kind] = 1 - shares[np.arange(len(truth)), truth].mean()
    assert errors["weighted_fraction"] < 0.85 * errors["fraction"]


def test_nobody_is_down_weighted_where_all_agree(tmp_path: Path) -> None:
    clicks = [(f"s{s}", f"u{u}", 0, s % 3) for s in range(6) for u in range(9)]
    summary = weighted(tmp_path, clicks)
    people = Catalog.read(summary.volunteers)
    np.testing.assert_array_equal(people["weight"], 1)
    np.testing.assert_array_equal(people["kappa"], 1)
    catalog = Catalog.read(summary.path)
    for name in GZ2.columns[GZ2.slices[FIRST.name]]:
        np.testing.assert_array_equal(catalog[f"{name}_weight"], catalog[f"{name}_count"])


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    clicks = sample()
    first = weighted(tmp_path, clicks)
    one = {n: w for n, w in zip(*(Catalog.read(first.volunteers)[c] for c in ("id", "weight")), strict=True)}
    mixed = [clicks[i] for i in np.random.default_rng(3).permutation(len(clicks))]
    again = weighted(tmp_path, mixed)
    other = {n: w for n, w in zip(*(Catalog.read(again.volunteers)[c] for c in ("id", "weight")), strict=True)}
    assert one == pytest.approx(other, rel=1e-6)


def test_a_volunteer_whose_clicks_are_not_of_this_tree_has_no_kappa(tmp_path: Path) -> None:
    export = write(tmp_path / "k.csv", sample())
    export.write_text(export.read_text() + "s01,stranger,t99,yes\n")
    summary = from_zooniverse(export, tmp_path / "v.parquet", tree="gz2", weighting="consistency")
    people = Catalog.read(summary.volunteers).select(["stranger"])
    assert np.isnan(people["kappa"][0]) and people["weight"][0] == 1 and people["n_clicks"][0] == 0


def test_without_votes_there_is_nothing_to_weigh(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("subject,user,question,answer\n1,a,t99,yes\n")
    with pytest.raises(BadCatalog, match="no vote"):
        from_zooniverse(tmp_path / "k.csv", tmp_path / "v.csv", tree="gz2", weighting="consistency")
