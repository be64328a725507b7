"""Attributes judged as EFIGI publishes them: own units, undefined values, the expert's bounds, yes or no, the page."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tuningfork.errors import LabelError, Reason
from tuningfork.evaluate.attributehead import attribute_summary, attribute_walls, judge_attributes
from tuningfork.evaluate.attributeplots import density
from tuningfork.evaluate.attributes import (
    Attribute,
    Reading,
    attribute_statistic,
    default_readings,
    pooled_statistic,
    reading_statistic,
    spearman,
)
from tuningfork.evaluate.joined import join
from tuningfork.evaluate.judge import evaluate
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Rejected
from tuningfork.galaxy.labels import LabelChoice
from tuningfork.galaxy.tree import Tree
from tuningfork.galaxy.votelayout import interval_fields
from tuningfork.galaxy.votes import Votes, VotesWriter

EFIGI = Tree.load("efigi")
K = len(EFIGI.columns)
LOW = np.array([one.low for one in EFIGI.questions])
LENGTH = np.array([one.high - one.low for one in EFIGI.questions])
CARD = {"labels": {"kind": "fractions", "tree": "efigi"}}


def codes(n=90, seed=0):
    """Attributes on EFIGI's own scales (n, K), some undefined, with bounds one step to either side."""
    generator = np.random.default_rng(seed)
    values = generator.choice([0, 0.25, 0.5, 0.75, 1.0], (n, K))
    values[:, 0] = generator.integers(-6, 12, n)
    step = np.where(np.arange(K) == 0, 1.0, 0.25)
    lower = np.maximum(values - step, LOW)
    upper = np.minimum(values + step, LOW + LENGTH)
    undefined = generator.random((n, K)) < 0.2
    undefined &= np.array([one.undefined is not None for one in EFIGI.questions])
    return (np.where(undefined, -1.0, part) for part in (values, lower, upper))


def catalogue(values, lower=None, upper=None):
    columns = {"id": [f"g{row:03d}" for row in range(len(values))]}
    for number, name in enumerate(EFIGI.columns):
        columns[name] = values[:, number]
        if lower is not None:
            columns |= {f"{name}_inf": lower[:, number], f"{name}_sup": upper[:, number]}
    return Catalog(columns, name="'efigi.csv'")


def written(path: Path, predicted, metadata=None) -> Path:
    with VotesWriter(path, "sigmoid", EFIGI.columns, EFIGI, {"card": CARD} if metadata is None else metadata) as writer:
        ids = [f"g{row:03d}" for row in range(len(predicted))]
        writer.write(ids, None, None, ((predicted - LOW) / LENGTH).astype(np.float32))
    return path


def attribute(predicted, truth, lower=None, upper=None, low=0.0, high=1.0):
    arrays = [None if one is None else np.asarray(one, float) for one in (predicted, truth, lower, upper)]
    return Attribute("A", low, high, *arrays)


def numbers_of(one):
    return {key: value[0] for key, value in attribute_statistic(one)(np.ones((1, len(one.truth)))).items()}


def test_numbers_are_in_the_attributes_own_units_and_undefined_values_are_masked(tmp_path):
    values, lower, upper = codes()
    predicted = np.where(values == -1, 0.5, values)
    predicted[:, 0] = np.clip(values[:, 0] + 2, -6, 11)
    found = evaluate(written(tmp_path / "v.parquet", predicted), catalogue(values, lower, upper), bootstrap=20)
    rows = found.numbers["attributes"]
    off = predicted[:, 0] - values[:, 0]
    assert rows["T"]["rmse"]["value"] == pytest.approx(np.sqrt((off**2).mean()), rel=1e-5)
    assert rows["T"]["bias"]["value"] == pytest.approx(off.mean(), rel=1e-5)
    assert rows["T"]["galaxies"] == 90  # -1 is a lenticular
    assert (rows["T"]["step"], rows["Bar_Length"]["step"]) == (pytest.approx(1), pytest.approx(0.25))
    defined = values[:, 5] != -1
    assert 0 < defined.sum() < 90 and rows["Bar_Length"]["galaxies"] == defined.sum()
    assert rows["Bar_Length"]["rmse"]["value"] == pytest.approx(0, abs=1e-6)
    assert rows["Bar_Length"]["rmse_constant"]["value"] == pytest.approx(values[defined, 5].std(), rel=1e-5)
    assert rows["Bar_Length"]["within"]["value"] == rows["Bar_Length"]["spearman"]["value"] == 1
    json.dumps(found.numbers, allow_nan=False)
    assert len(found.summary) == 5 and "T (-6 to 11): RMS error" in found.summary[1]


@pytest.mark.parametrize("ending", [".parquet", ".fits"])
def test_the_votes_own_intervals_are_judged_in_any_order_of_rows(tmp_path, ending):
    values, lower, upper = codes()
    card = CARD | {"calibration": {"intervals": {"coverage": 0.7, "columns": {}}}}
    generator = np.random.default_rng(1)
    width = generator.choice([0.5, 2.5], len(values))
    guess = np.clip(values[:, 0] + generator.choice([-1, 1], len(values)), -6, 11)
    predicted = np.where(values == -1, 0.5, values)
    predicted[:, 0] = guess
    order, names = generator.permutation(len(values)), [f"g{row:03d}" for row in range(len(values))]
    fields = interval_fields("T", 0.7)
    with VotesWriter(tmp_path / "v.parquet", "sigmoid", EFIGI.columns, EFIGI, {"card": card}, fields) as writer:
        rejected = [Rejected("lost", Reason.TRUNCATED, "", "")]  # the first row: rows of done ones are others
        ends = {"T_low": (guess - width)[order], "T_high": (guess + width)[order]}
        answers = ((predicted - LOW) / LENGTH).astype(np.float32)[order]
        writer.write(["lost", *(names[row] for row in order)], None, None, answers, rejected, ends)
    Votes.read(tmp_path / "v.parquet").export(tmp_path / f"out{ending}")
    truth = catalogue(values, lower, upper)
    found = evaluate(tmp_path / f"out{ending}", truth, tmp_path / "report.html", bootstrap=50)
    row = found.numbers["attributes"]["T"]
    held = np.abs(values[:, 0] - guess) <= width
    assert 0.3 < held.mean() < 0.9  # the wide ones, and few that were clipped
    assert row["covered"]["value"] == pytest.approx(held.mean())
    assert row["covered"]["low"] < row["covered"]["value"] < row["covered"]["high"]
    assert row["width"]["value"] == pytest.approx(2 * width.mean(), rel=1e-5)
    assert found.numbers["level"] == 0.7 and "covered" not in found.numbers["attributes"]["Bar_Length"]
    assert "truth inside" in (page := (tmp_path / "report.html").read_text()) and "meant are 70%" in page
    before = evaluate(written(tmp_path / "bare.parquet", predicted), truth, bootstrap=0).numbers
    assert "level" not in before and "covered" not in before["attributes"]["T"]


def test_votes_without_a_card_are_read_as_attributes(tmp_path):
    values, lower, upper = codes()
    predicted = np.where(values == -1, 0.5, values)
    path = written(tmp_path / "v.parquet", predicted, {})
    Votes.read(path).export(tmp_path / "rival.csv")  # a foreign table is known by its columns
    first, second = (
        evaluate(one, catalogue(values, lower, upper), bootstrap=0).numbers for one in (path, tmp_path / "rival.csv")
    )
    assert first["tree"] == "efigi"
    assert first["rmse"] == pytest.approx(second["rmse"])


def test_bounds_are_optional_and_read_to_half_a_step():
    truth = np.repeat([0, 0.25, 0.5, 0.75, 1.0], 4)
    assert "within" not in numbers_of(attribute(truth, truth))
    near = numbers_of(attribute(truth + 0.12, truth, truth, truth))
    assert (near["within"], near["within_exactly"], near["within_constant"]) == (1, 0, 0.2)
    far = numbers_of(attribute(truth + 0.13, truth, truth, truth))
    assert far["within"] == 0
    wide = numbers_of(attribute(truth, truth, truth * 0, truth * 0 + 1))
    assert wide["within"] == wide["within_exactly"] == wide["within_constant"] == 1
    missing = np.where(truth == 0, np.nan, truth)
    assert numbers_of(attribute(np.where(truth == 0, 9, truth), truth, missing, missing))["within"] == 1


def test_continuous_truth_has_no_step():
    truth = np.random.default_rng(0).random(200)
    one = attribute(truth + 0.01, truth, truth - 0.02, truth + 0.005)
    assert one.step == 0
    assert numbers_of(one)["within"] == numbers_of(one)["within_exactly"] == 0


def test_a_constant_prediction_has_relative_error_one_and_no_rank_order():
    truth = np.random.default_rng(1).random(300)
    flat = numbers_of(attribute(np.full(300, truth.mean()), truth))
    assert flat["relative"] == pytest.approx(1)
    assert np.isnan(flat["spearman"])
    assert np.isnan(numbers_of(attribute(truth, np.full(300, 0.5)))["relative"])


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_of_weights_is_that_of_repeated_galaxies(ties):
    generator = np.random.default_rng(2)
    first = generator.random(60)
    second = first + generator.random(60)
    if ties:
        first, second = np.round(first * 4), np.round(second * 3)
    weights = generator.integers(0, 4, (5, 60)).astype(float)
    expected = [stats.spearmanr(first.repeat(row), second.repeat(row)).statistic for row in weights.astype(int)]
    np.testing.assert_allclose(spearman(first, second, weights), expected, atol=1e-12)


def test_pooled_error_of_the_means_is_that_of_the_constant():
    generator = np.random.default_rng(3)
    truth = generator.random((80, 4))
    truth[generator.random((80, 4)) < 0.3] = np.nan
    means = np.tile(np.nanmean(truth, 0), (80, 1))
    found = pooled_statistic(means, truth)(np.ones((1, 80)))
    assert found["rmse"] == pytest.approx(found["rmse_constant"])
    weights = generator.integers(0, 3, (1, 80)).astype(float)
    repeated = pooled_statistic(*(one.repeat(weights[0].astype(int), 0) for one in (means, truth)))
    direct = pooled_statistic(means, truth)(weights)
    for key, value in repeated(np.ones((1, int(weights.sum())))).items():
        assert direct[key] == pytest.approx(value)


def test_yes_or_no_leaves_out_what_lies_between():
    truth = np.array([0, 0, 0.25, 0.25, 0.5, 1, np.nan])
    one = attribute([0.1, 0.2, 0.9, 0.0, 0.3, 0.4, 0.99], truth)
    found = reading_statistic(one, Reading("A", 0.5, 0))(np.ones((1, 7)))
    assert found["roc_auc"][0] == 1
    other = reading_statistic(one, Reading("A", 0.25, 0))(np.ones((1, 7)))
    assert other["roc_auc"][0] == pytest.approx(6 / 8)


def test_the_readings_can_be_chosen_and_wrong_ones_are_refused(tmp_path):
    values, lower, upper = codes()
    path = written(tmp_path / "v.parquet", np.where(values == -1, 0.5, values))
    truth = catalogue(values, lower, upper)
    found = evaluate(path, truth, bootstrap=0, readings=[Reading("Bar_Length", 0.5, 0)]).numbers["readings"]
    assert list(found) == ["Bar_Length ≥ 0.5 against ≤ 0"]
    row = found["Bar_Length ≥ 0.5 against ≤ 0"]
    assert (row["yes"], row["no"]) == ((values[:, 5] >= 0.5).sum(), (values[:, 5] == 0).sum())
    with pytest.raises(LabelError, match="no attribute 'Bar_length'; did you mean 'Bar_Length'"):
        evaluate(path, truth, bootstrap=0, readings=[Reading("Bar_length", 0.5, 0)])
    with pytest.raises(LabelError, match="must lie above"):
        evaluate(path, truth, bootstrap=0, readings=[Reading("Bar_Length", 0.5, 0.5)])


def test_default_readings_lie_on_each_attributes_scale():
    for one, asked in zip(default_readings(EFIGI), EFIGI.questions, strict=True):
        assert one.attribute == asked.name and asked.low <= one.low < one.high <= asked.high
    assert default_readings(EFIGI)[0].title == "T ≥ 1 against ≤ -1"


def test_the_density_holds_every_galaxy_of_a_value_once():
    values, *_ = codes()
    one = Attribute("T", -6, 11, values[:, 0] * 3, values[:, 0])  # predictions beyond the scale are drawn at its ends
    across, up, shares = density(one)
    assert (len(across), len(up)) == (19, 25)
    np.testing.assert_allclose(shares.sum(0), np.isin(np.arange(-6, 12), values[:, 0]))


def test_votes_of_questions_and_attributes_do_not_mix(tmp_path):
    values, *_ = codes(10)
    votes = Votes.read(written(tmp_path / "v.parquet", np.where(values == -1, 0.5, values)))
    with pytest.raises(LabelError, match=r"predicts attributes \(T, .*but the truth was read as classes"):
        join(votes, Catalog({"id": list(votes.ids), "class": ["x"] * 10}), LabelChoice())
    gz1 = {"id": [f"g{i:03d}" for i in range(10)]} | {name: [1 / 6] * 10 for name in Tree.load("gz1").columns}
    with pytest.raises(LabelError, match="predicts measured attributes, but the truth was read on the tree 'gz1'"):
        join(votes, Catalog(gz1), LabelChoice("fractions", tree="gz1"))


def test_the_page_shows_every_attribute_and_the_largest_disagreements(tmp_path):
    values, lower, upper = codes()
    predicted = np.where(values == -1, 0.5, values)
    predicted[7, 5] = 1 - predicted[7, 5] if predicted[7, 5] != 0.5 else 0.0
    path = written(tmp_path / "v.parquet", predicted)
    evaluate(path, catalogue(values, lower, upper), tmp_path / "r.html", bootstrap=20)
    page = (tmp_path / "r.html").read_text()
    assert all(name in page for name in EFIGI.columns)
    for anchor in ("metrics", "readings", "predictions", "calibration", "galleries"):
        assert f'id="{anchor}"' in page
    assert "Predicted attributes of the tree efigi against the truth of 90 galaxies" in page
    joined = join(Votes.read(path), catalogue(values, lower, upper))
    title, _, index, lines = attribute_walls(joined)[2]
    assert title.startswith("Largest disagreements")
    assert [joined.ids[row] for row, line in zip(index, lines, strict=True) if "Bar Length" in line[0]] == ["g007"]
    assert len(page) < 600_000


def test_no_galaxy_and_few_galaxies(tmp_path):
    values, lower, upper = codes(12)
    path = written(tmp_path / "v.parquet", np.where(values == -1, 0.5, values))
    found = evaluate(path, catalogue(values, lower, upper), tmp_path / "r.html", bootstrap=10)
    assert any("Attributes judged on fewer than 30 galaxies" in line for line in found.warnings)
    joined = join(Votes.read(path), catalogue(values, lower, upper))
    empty = joined.__class__(
        **{**joined.__dict__, "ids": ()}
        | {
            "predicted": joined.predicted[:0],
            "truth": joined.truth[:0],
            "bounds": tuple(one[:0] for one in joined.bounds),
        }
    )
    assert attribute_summary(judge_attributes(empty, resamples=5), 0) == ("No galaxy could be judged.",)


def test_efigi_as_published(real_data, tmp_path):
    truth = Catalog.read(real_data / "efigi" / "labels.csv").rows(np.arange(0, 3822, 13))
    values = np.column_stack([truth[name] for name in EFIGI.columns]).astype(float)
    predicted = np.where(values == -1, 0.5, values)
    predicted[:, 0] = values[:, 0]
    with VotesWriter(tmp_path / "v.parquet", "sigmoid", EFIGI.columns, EFIGI, {"card": CARD}) as writer:
        writer.write(list(truth.ids), None, None, ((predicted - LOW) / LENGTH).astype(np.float32))
    rows = evaluate(tmp_path / "v.parquet", truth, bootstrap=0).numbers["attributes"]
    assert all(row["within_exactly"]["value"] == 1 for row in rows.values())  # the expert's own values
    assert all(row["rmse"]["value"] < 1e-5 for row in rows.values())
