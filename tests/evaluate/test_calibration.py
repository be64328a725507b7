"""Calibration: draws from the probabilities themselves are calibrated, and a temperature that was put in is found."""

from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import softmax

from tuningfork.evaluate import calibration


def calibrated(n=20_000, k=3, seed=0):
    generator = np.random.default_rng(seed)
    p = softmax(2 * generator.normal(size=(n, k)), axis=1)
    truth = (generator.random((n, 1)) > p.cumsum(1)).sum(1).clip(max=k - 1)
    return truth, p


def ece(truth, p, binning="width"):
    confidence, correct = p.max(1), (p.argmax(1) == truth).astype(float)
    return calibration.expected_calibration_error(confidence, correct, np.ones((1, len(truth))), 15, binning)[0]


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_draws_from_the_probabilities_are_calibrated(binning):
    truth, p = calibrated()
    level = calibration.calibrated_level(p.max(1), binning=binning)
    assert ece(truth, p, binning) < 2 * level < 0.02
    assert ece(truth, calibration.scale(p, 0.4), binning) > 0.05


def test_the_error_of_a_guess_that_is_always_sure_is_its_share_of_mistakes():
    confidence, correct = np.ones(8), np.array([1, 1, 1, 0, 0, 1, 1, 1.0])
    for binning in ("width", "mass"):
        found = calibration.expected_calibration_error(confidence, correct, np.ones((1, 8)), 15, binning)
        assert found[0] == pytest.approx(0.25)


def test_the_error_by_hand():
    # Two bins of width 0.5: 2 galaxies at 0.4, one right (gap 0.1); 2 at 0.9, one right (gap 0.4): (0.1 + 0.4) / 2.
    found = calibration.expected_calibration_error(
        np.array([0.4, 0.4, 0.9, 0.9]), np.array([1.0, 0, 1, 0]), np.ones((1, 4)), 2, "width"
    )
    assert found[0] == pytest.approx(0.25)


def test_bins_of_equal_mass_hold_equally_many_and_never_part_ties():
    confidence = np.random.default_rng(0).random(1500)
    np.testing.assert_array_equal(np.bincount(calibration.bin_of(confidence, 15, "mass")), 100)
    tied = calibration.bin_of(np.array([0.5] * 10 + [0.9]), 5, "mass")
    assert len(set(tied[:10])) == 1
    np.testing.assert_array_equal(calibration.bin_of(np.array([0.0, 1 / 15, 0.0667, 1.0])), [0, 0, 1, 14])


def test_the_diagram_counts_every_galaxy_once():
    truth, p = calibrated(3000)
    points = calibration.reliability(p.max(1), (p.argmax(1) == truth).astype(float))
    assert points.count.sum() == 3000
    assert (points.count * points.accuracy).sum() == pytest.approx((p.argmax(1) == truth).sum())
    assert ((points.low <= points.accuracy) & (points.accuracy <= points.high)).all()


def test_wilson_against_its_closed_form():
    z = NormalDist().inv_cdf(0.975)
    low, high = calibration.wilson(np.array([0.0, 0.3]), np.array([10.0, 50.0]))
    assert (low[0], high[0]) == pytest.approx((0, z**2 / (10 + z**2)), abs=1e-12)
    for edge in (low[1], high[1]):  # both edges solve |share - x| = z sqrt(x (1 - x) / n)
        assert abs(0.3 - edge) == pytest.approx(z * np.sqrt(edge * (1 - edge) / 50))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_temperature_that_was_put_in_is_found(temperature):
    truth, p = calibrated()
    # The standard error of T at n = 20,000 is about 1%; 4% is far above it and far below any real miscalibration.
    assert calibration.fit_temperature(truth, calibration.scale(p, 1 / temperature)) == pytest.approx(
        temperature, rel=0.04
    )


def test_scaling_undoes_itself_and_keeps_the_order():
    _, p = calibrated(100)
    np.testing.assert_allclose(calibration.scale(calibration.scale(p, 3.0), 1 / 3.0), p, rtol=1e-9)
    np.testing.assert_array_equal(calibration.scale(p, 3.0).argmax(1), p.argmax(1))
    np.testing.assert_allclose(calibration.scale(p, 1.0), p, rtol=1e-12)
    np.testing.assert_allclose(calibration.scale(p, 1e9), 1 / 3, rtol=1e-6)


def test_cross_fitting_never_judges_a_galaxy_with_its_own_truth():
    truth, p = calibrated(2000)
    p = calibration.scale(p, 0.5)
    second = calibration.halves(tuple(str(i) for i in range(2000)))
    scaled, temperatures = calibration.cross_fitted(truth, p, second)
    spoiled = truth.copy()
    spoiled[second] = (spoiled[second] + 1) % 3  # whatever the second half says, the second half's T stays the same
    again, others = calibration.cross_fitted(spoiled, p, second)
    np.testing.assert_array_equal(again[second], scaled[second])
    assert others[1] == temperatures[1]
    assert others[0] != temperatures[0]
    assert ece(truth, scaled) < ece(truth, p)


def test_halves_are_even_seeded_and_independent_of_the_order():
    ids = tuple(f"galaxy {i}" for i in range(2000))
    half = calibration.halves(ids)
    assert 900 < half.sum() < 1100
    np.testing.assert_array_equal(calibration.halves(ids[::-1]), half[::-1])
    assert not np.array_equal(calibration.halves(ids, seed=1), half)


def test_nothing_to_fit():
    none = np.zeros(0, np.int64)
    assert calibration.fit_temperature(none, np.zeros((0, 3))) == 1.0
    assert np.isnan(calibration.calibrated_level(np.zeros(0)))
    truth, p = calibrated(50)
    scaled, temperatures = calibration.cross_fitted(truth, p, np.zeros(50, bool))
    np.testing.assert_array_equal(scaled, calibration.scale(p, 1.0))
    assert temperatures[0] == 1.0
