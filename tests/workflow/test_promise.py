"""What calibration promises, measured on answers that are known to keep it, or to break it."""

import dataclasses

import numpy as np
import pytest
from scipy import special

from tuningfork.galaxy.tree import Tree
from tuningfork.model.card import Card
from tuningfork.predict.answers import Head
from tuningfork.workflow.measure.findings import Findings
from tuningfork.workflow.measure.promise import certainty_promises, class_promises, interval_promises

EFIGI, GZ2 = Tree.load("efigi"), Tree.load("gz2")
CLASSES = ("a", "b", "c")
N = 4000


def told(findings: Findings) -> dict[str, dict[str, float]]:
    return {row["what"]: row for row in findings.measured["m"]}


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_temperature_is_undone_and_sets_hold_what_they_hold(temperature: float) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, 3)) * 2
    right = special.softmax(z, axis=1)
    truth = np.array([rng.choice(3, p=row) for row in right])
    card = Card("m", ("r",), {"size": 16}, "classes", CLASSES, "s1", temperature=temperature)
    sets = {"sets": {"coverage": 0.9, "threshold": 0.8, "galaxies": 100}}
    findings = Findings()
    class_promises(
        findings, "m", "toys", card, Head("m", "classes", CLASSES, None, sets), right, truth, 50, {"views": 1}
    )
    rows = told(findings)
    with_it, without = (rows[f"expected calibration error{one}"] for one in ("", ", without its temperature"))
    assert with_it["value"] < 0.03  # noise alone makes .01 of 4000
    before = special.softmax(z * temperature, axis=1)
    assert without["value"] > 0.08 and without["low"] > with_it["high"]
    off = abs(before.max(1).mean() - (before.argmax(1) == truth).mean())
    assert without["value"] == pytest.approx(off, abs=0.02)  # all bins err to one side
    inside = (1 - right <= 0.8) | (right == right.max(1, keepdims=True))
    assert rows["share of 90% sets with the true class"]["value"] == pytest.approx(
        inside[np.arange(N), truth].mean(), abs=1e-4
    )
    assert rows["classes in a 90% set"]["value"] == pytest.approx(inside.sum(1).mean(), abs=1e-3)
    assert with_it["views"] == 1 and with_it["galaxies"] == N


def test_intervals_are_counted_where_the_truth_is_defined() -> None:
    rng = np.random.default_rng(1)
    columns = {
        "T": {"edges": [3.0], "half_widths": [1.0, 2.0], "galaxies": 100},
        "Bar_Length": {"edges": [], "half_widths": [0.25], "galaxies": 100},
    }
    head = Head("m", "sigmoid", EFIGI.columns, EFIGI, {"intervals": {"coverage": 0.7, "columns": columns}})
    said, truth = np.full((N, 17), 0.5), np.full((N, 17), 0.5)
    said[:, 0] = rng.uniform(0, 6, N)
    truth[:, 0] = said[:, 0] + rng.uniform(-2, 2, N)  # half are within 1, all within 2
    bar = EFIGI.columns.index("Bar_Length")
    truth[:, bar] = np.where(np.arange(N) % 2, 0.9, -1)  # off by .4, or undefined
    findings = Findings()
    interval_promises(findings, "m", "toys", head, said, truth, 50, {})
    rows = told(findings)
    expected = np.mean(np.where(said[:, 0] >= 3, 2, 1) >= np.abs(truth[:, 0] - said[:, 0]))
    first = rows["share of 70% intervals with the true value, T"]
    assert first["value"] == pytest.approx(expected, abs=1e-4) and 0.7 < expected < 0.8
    pooled = rows["share of 70% intervals with the true value, all attributes"]
    assert pooled["value"] == pytest.approx(expected * N / (1.5 * N), abs=1e-4)


def test_scales_gain_where_votes_scatter_more_than_was_said() -> None:
    rng = np.random.default_rng(2)
    alpha, votes = np.ones((400, GZ2.n_answers)), np.zeros((400, GZ2.n_answers))
    question = GZ2.questions[0].name
    span = GZ2.slices[question]
    alpha[:, span] = 40 * rng.dirichlet(np.ones(span.stop - span.start) * 3, 400)
    for row in range(400):
        votes[row, span] = rng.multinomial(40, rng.dirichlet(alpha[row, span] / 10))
    head = Head("m", "dirichlet", GZ2.columns, GZ2, {"certainty": {"scales": {question: 0.1}, "galaxies": 88}})
    scaled = alpha.copy()
    scaled[:, span] *= 0.1
    findings = Findings()
    certainty_promises(findings, "m", "toys", head, scaled, votes, 50, {})
    rows = told(findings)
    assert rows["log-likelihood of a galaxy's votes, gained by its scales"]["low"] > 0
    gain = (
        rows["log-likelihood of a galaxy's votes"]["value"]
        - rows["log-likelihood of a galaxy's votes, without its scales"]["value"]
    )
    assert rows["log-likelihood of a galaxy's votes, gained by its scales"]["value"] == pytest.approx(gain, abs=2e-4)
    bare = Findings()
    certainty_promises(bare, "m", "toys", dataclasses.replace(head, calibration={}), scaled, votes, 50, {})
    assert not bare.measured
