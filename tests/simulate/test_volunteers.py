"""Volunteers: votes that fit the tree, answers that follow the truth, confusion that grows with distance."""

from dataclasses import replace

import numpy as np
import pytest

from tuningfork.galaxy.tree import Tree
from tuningfork.simulate.truth import Galaxy, draw_population
from tuningfork.simulate.volunteers import expected_fractions, visibility, vote

TREE = Tree.load("gz2")
SPIRAL = Galaxy(
    "spiral", magnitude=14.5, radius=7.0, bulge_fraction=0.12, bulge_radius=1.0, inclination=20.0, arms=2, pitch=20.0,
    direction=1, arm_strength=0.65, flocculence=0.1, disk_youth=0.7,
)  # fmt: skip
ELLIPTICAL = Galaxy("elliptical", magnitude=14.5, radius=5.0, bulge_fraction=1.0, bulge_index=4, bulge_radius=5.0)


def share(galaxy: Galaxy, column: str) -> float:
    return float(expected_fractions(galaxy, "sdss", TREE)[TREE.columns.index(column)])


def test_every_question_sums_to_one() -> None:
    for survey in ("sdss", "des"):
        for galaxy in draw_population(2, 150, survey):
            expected = expected_fractions(galaxy, survey, TREE)
            assert expected.shape == (37,) and (expected >= 0).all() and np.isfinite(expected).all()
            sums = [expected[part].sum() for part in TREE.slices.values()]
            np.testing.assert_allclose(sums, 1)


def test_votes_follow_the_routing() -> None:
    population = list(draw_population(2, 200))
    counts = np.array([vote(galaxy, expected_fractions(galaxy, "sdss", TREE), TREE) for galaxy in population])
    assert TREE.check_counts(counts) == []
    totals = dict(zip([question.name for question in TREE.questions], TREE.totals(counts).T, strict=True))
    for question in TREE.questions[1:]:
        np.testing.assert_array_equal(counts[:, list(TREE.parents(question.name))].sum(1), totals[question.name])
    stars = counts[:, TREE.columns.index("t01_smooth_or_features_a03_star_or_artifact")]
    np.testing.assert_array_equal(totals["t06_odd"] + stars, totals["t01_smooth_or_features"])
    assert totals["t01_smooth_or_features"].min() >= 5
    assert totals["t01_smooth_or_features"].mean() == pytest.approx(40, abs=2)  # Poisson: 0.45
    np.testing.assert_array_equal(counts[3], vote(population[3], expected_fractions(population[3], "sdss", TREE), TREE))


def test_many_votes_come_to_the_expected_fractions() -> None:
    expected = expected_fractions(SPIRAL, "sdss", TREE)
    counts = vote(SPIRAL, expected, TREE, mean=400_000)
    asked = np.repeat(TREE.totals(counts), [part.stop - part.start for part in TREE.slices.values()])
    error = np.sqrt(expected * (1 - expected) / asked)
    assert (np.abs(TREE.fractions(counts) - expected) < 5 * error).all()


def test_large_bright_galaxies_are_told_for_what_they_are() -> None:
    assert share(ELLIPTICAL, "t01_smooth_or_features_a01_smooth") > 0.85
    assert share(ELLIPTICAL, "t07_rounded_a16_completely_round") > 0.7
    assert share(SPIRAL, "t01_smooth_or_features_a02_features_or_disk") > 0.8
    assert share(SPIRAL, "t04_spiral_a08_spiral") > 0.8
    assert share(SPIRAL, "t11_arms_number_a32_2") > 0.7
    assert share(SPIRAL, "t10_arms_winding_a29_medium") > 0.5
    assert share(SPIRAL, "t05_bulge_prominence_a11_just_noticeable") > 0.5
    edge = replace(SPIRAL, inclination=88.0)
    assert share(edge, "t02_edgeon_a04_yes") > 0.8 > 0.1 > share(SPIRAL, "t02_edgeon_a04_yes")
    assert share(replace(edge, bulge_boxy=True), "t09_bulge_shape_a26_boxy") > 0.4
    barred = replace(SPIRAL, bar_length=0.8, bar_strength=0.25)
    assert share(barred, "t03_bar_a06_bar") > 0.6 > 0.15 > share(SPIRAL, "t03_bar_a06_bar")
    ringed = replace(SPIRAL, ring_radius=1.0, ring_strength=0.4)
    assert share(ringed, "t08_odd_feature_a19_ring") > 0.5 and share(ringed, "t06_odd_a14_yes") > 0.4
    merger = replace(SPIRAL, kind="merger", tail=0.3, companions=(ELLIPTICAL,))
    assert share(merger, "t06_odd_a14_yes") > 0.8 and share(merger, "t08_odd_feature_a24_merger") > 0.4
    lane = replace(edge, dust=2.0)
    assert share(lane, "t08_odd_feature_a38_dust_lane") > 0.4
    for intruder in (Galaxy("star", magnitude=14), Galaxy("artefact", artefact="trail")):
        assert share(intruder, "t01_smooth_or_features_a03_star_or_artifact") > 0.8


def test_confusion_grows_as_galaxies_get_small_and_faint() -> None:
    farther = [
        replace(SPIRAL, magnitude=SPIRAL.magnitude + 5 * np.log10(f), radius=SPIRAL.radius / f, bulge_radius=1.0 / f)
        for f in (1, 2, 4, 8)
    ]
    seen = [visibility(galaxy) for galaxy in farther]
    assert seen == sorted(seen, reverse=True) and seen[0] > 0.9 and seen[-1] < 0.1
    for column, falls in [
        ("t01_smooth_or_features_a01_smooth", False),
        ("t04_spiral_a08_spiral", True),
        ("t11_arms_number_a37_cant_tell", False),
        ("t05_bulge_prominence_a11_just_noticeable", True),
    ]:
        shares = [share(galaxy, column) for galaxy in farther]
        assert shares == sorted(shares, reverse=falls) and shares[0] != shares[-1]
    assert share(farther[-1], "t01_smooth_or_features_a01_smooth") > 0.6
    fainter = [visibility(replace(SPIRAL, magnitude=m)) for m in (14, 17, 20, 23)]
    assert fainter == sorted(fainter, reverse=True) and fainter[-1] < 0.1 * fainter[0]


def test_tight_and_loose_arms_are_told_apart() -> None:
    tight, loose = (
        expected_fractions(replace(SPIRAL, pitch=pitch), "sdss", TREE)[TREE.slices["t10_arms_winding"]]
        for pitch in (8.0, 38.0)
    )
    assert tight.argmax() == 0 and loose.argmax() == 2
