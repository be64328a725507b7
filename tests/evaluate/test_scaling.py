"""Scales of questions: a known miscalibration is found and undone, what is calibrated is left alone."""

import numpy as np
import pytest

from tuningfork.errors import BadVotes
from tuningfork.evaluate.calibration import fit_temperature
from tuningfork.evaluate.questions import log_likelihood, vote_ranks
from tuningfork.evaluate.scaling import apply_scaling, calibration_errors, fit_scaling

SLICES = {"smooth": slice(0, 3), "bar": slice(3, 5), "only": slice(5, 6)}


def volunteers(n=3000, seed=0, votes=40):
    """Concentrations (n, 6) of at least 1 as our heads give them, and votes drawn from just these."""
    generator = np.random.default_rng(seed)
    alpha = 1 + generator.gamma(0.7, 12, (n, 6))
    counts = np.zeros((n, 6))
    for columns in SLICES.values():
        for row in range(n):
            p = generator.dirichlet(alpha[row, columns])
            counts[row, columns] = generator.multinomial(generator.integers(0, votes), p)
    return alpha, counts


@pytest.fixture(scope="module")
def calibrated():
    return volunteers()


WRONG = {"smooth": 0.4, "bar": 3.0}


@pytest.mark.parametrize("form", ["certainty", "excess", "temperature"])
def test_what_is_calibrated_is_left_alone(calibrated, form):
    alpha, counts = calibrated
    scales = fit_scaling(alpha, counts, SLICES, form)
    assert scales["only"] == 1.0
    assert scales["smooth"] == pytest.approx(1, abs=0.06)
    assert scales["bar"] == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("form", ["certainty", "excess", "temperature"])
def test_a_known_miscalibration_is_found_and_undone(calibrated, form):
    alpha, counts = calibrated
    wrong = apply_scaling(alpha, WRONG, SLICES, form)
    scales = fit_scaling(wrong, counts, SLICES, form)
    for name, scale in WRONG.items():
        assert scales[name] * scale == pytest.approx(1, abs=0.08)
    again = apply_scaling(wrong, {name: 1 / scale for name, scale in WRONG.items()}, SLICES, form)
    np.testing.assert_allclose(again, alpha, rtol=1e-9)


def test_the_scaled_votes_cover_as_promised_on_other_galaxies(calibrated):
    alpha, counts = calibrated
    wrong = apply_scaling(alpha, {"smooth": 15.0}, SLICES)
    half = len(alpha) // 2
    right = apply_scaling(wrong, fit_scaling(wrong[:half], counts[:half], SLICES), SLICES)
    covered = []
    for values in (wrong, right):
        part = values[half:, :3]
        ranks = vote_ranks(part, part.sum(1), counts[half:, :3])
        ranks = ranks[np.isfinite(ranks)]
        covered.append(((ranks >= 0.05) & (ranks <= 0.95)).mean())
    assert covered[0] < 0.8
    assert covered[1] == pytest.approx(0.9, abs=0.02)


def test_certainty_leaves_the_expected_fractions_alone(calibrated):
    alpha, _ = calibrated
    scaled = apply_scaling(alpha, WRONG, SLICES)
    for columns in SLICES.values():
        before, after = (one[:, columns] / one[:, columns].sum(1, keepdims=True) for one in (alpha, scaled))
        np.testing.assert_allclose(after, before)
    np.testing.assert_array_equal(scaled[:, 5], alpha[:, 5])
    assert (alpha[:, 0] != scaled[:, 0]).all()  # a copy


def test_no_other_scale_is_likelier(calibrated):
    alpha, counts = calibrated
    wrong = apply_scaling(alpha, WRONG, SLICES, "excess")
    best = fit_scaling(wrong, counts, SLICES, "excess")

    def total(factor):
        some = apply_scaling(wrong, {name: one * factor for name, one in best.items()}, SLICES, "excess")
        return [log_likelihood(some[:, SLICES[name]], counts[:, SLICES[name]]).sum() for name in WRONG]

    for factor in (0.9, 0.99, 1.01, 1.1):
        assert (np.array(total(factor)) < total(1.0)).all()


def test_one_vote_per_galaxy_on_fractions_is_the_temperature_of_classes():
    """Fractions with a single vote each are probabilities of classes: both ways find one temperature."""
    generator = np.random.default_rng(1)
    p = generator.dirichlet([1, 1, 1], 2000)
    truth = np.array([generator.choice(3, p=row) for row in p])
    sure = p**2 / (p**2).sum(1, keepdims=True)
    found = fit_scaling(sure, np.eye(3)[truth], {"q": slice(0, 3)}, "temperature")["q"]
    assert found == pytest.approx(fit_temperature(truth, sure), rel=1e-3)
    assert found == pytest.approx(2, abs=0.2)


def test_few_votes_say_nothing():
    alpha, counts = volunteers(60)
    counts[20:, :3] = np.nan  # 20 galaxies at most
    scales = fit_scaling(alpha * 9, counts, SLICES)
    assert scales["smooth"] == 1.0 and scales["bar"] < 0.5


def test_calibration_errors_count_votes(calibrated):
    alpha, counts = calibrated
    fractions = alpha.copy()
    for columns in SLICES.values():
        fractions[:, columns] /= fractions[:, columns].sum(1, keepdims=True)
    right = calibration_errors(fractions, counts, SLICES)
    flat = apply_scaling(fractions, {"smooth": 4.0, "bar": 4.0}, SLICES, "temperature")
    wrong = calibration_errors(flat, counts, SLICES)
    assert right["smooth"] < 0.02 < 0.08 < wrong["smooth"]
    assert right["bar"] < 0.02 < 0.08 < wrong["bar"]
    assert right["only"] == 0
    # a galaxy with no votes on a question counts nothing, and one with twice the votes counts twice
    two = calibration_errors([[0.9, 0.1], [0.6, 0.4]], [[3, 0], [0, 1]], {"q": slice(0, 2)}, binning="width")
    assert two["q"] == pytest.approx((2 * 3 * 0.1 + 2 * 1 * 0.6) / 8)
    assert np.isnan(calibration_errors([[0.5, 0.5]], [[0, 0]], {"q": slice(0, 2)})["q"])


def test_what_cannot_be_is_refused(calibrated):
    alpha, counts = calibrated
    with pytest.raises(BadVotes, match=r"\(3000, 6\) and votes of shape \(3000, 5\)"):
        fit_scaling(alpha, counts[:, :5], SLICES)
    with pytest.raises(BadVotes, match="no form 'dirichlet' of scaling: certainty"):
        fit_scaling(alpha, counts, SLICES, "dirichlet")
    with pytest.raises(BadVotes, match="'bar' sum to 1: fractions are scaled by form='temperature'"):
        fit_scaling(np.full((3000, 2), 0.5), counts[:, 3:5], {"bar": slice(0, 2)})
    with pytest.raises(BadVotes, match="'bar' are not finite"):
        fit_scaling(np.full((3000, 2), np.nan), counts[:, 3:5], {"bar": slice(0, 2)})
    with pytest.raises(BadVotes, match="below 0"):
        fit_scaling(alpha, counts - 1, SLICES)
