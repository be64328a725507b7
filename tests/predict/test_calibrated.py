"""Calibrated models: sets, intervals, surer or less sure votes and p-values, in the table, the JSON and the words."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuningfork
from tuningfork.evaluate.conformal import Promise, fit_banded, sets
from tuningfork.evaluate.scaling import apply_scaling
from tuningfork.evaluate.strangeness import fit_strangeness
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.tablefile import read_table
from tuningfork.galaxy.tree import Tree
from tuningfork.model.share import ship
from tuningfork.predict.answers import Galaxy, Head, certain
from tuningfork.predict.classify import classify
from tuningfork.predict.engine import open_engines
from tuningfork.predict.inwords import block, line, ranked, tell, unusual, worded
from tuningfork.predict.predict import predict

from .sketches import CLASSES, HEADS, SIDE, make_set, picture

EFIGI, GZ2 = Tree.load("efigi"), Tree.load("gz2")
FIRST = GZ2.questions[0].name
TELL = {
    "gz1": {"calibration": {"sets": {"coverage": 0.9, "threshold": 0.95, "galaxies": 100}}},
    "efigi": {
        "calibration": {
            "intervals": {
                "coverage": 0.7,
                "columns": {
                    "T": {"edges": [2.5], "half_widths": [1.5, 25.0], "galaxies": 100},
                    "Bar_Length": {"edges": [], "half_widths": [0.25], "galaxies": 100},
                },
            }
        }
    },
    "gz2": {"calibration": {"certainty": {"scales": {FIRST: 0.25}, "galaxies": 88}}},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same set without calibration, and with it."""
    place = tmp_path_factory.mktemp("models")
    plain = make_set(place / "plain")
    images = np.random.default_rng(0).integers(0, 256, (120, 3, SIDE, SIDE), dtype=np.uint8)
    features = open_engines([plain / "gz1"], "onnxruntime", 1).features(images)  # of noise: galaxies are strange to it
    arrays = fit_strangeness(features, directions=8).arrays
    ship({name: plain / name for name in HEADS}, place / "fitted", tell=TELL, strangeness=arrays)
    return plain, place / "fitted"


@pytest.fixture
def sky(tmp_path: Path) -> Path:
    (tmp_path / "sky").mkdir()
    for seed in range(4):
        record = Record.from_picture(f"g{seed}", picture(80, 0.8 + 0.1 * seed, seed=seed), quality=98)
        (tmp_path / "sky" / f"g{seed}.jpg").write_bytes(record.data)
    return tmp_path / "sky"


@pytest.mark.parametrize("views", [1, 8])
def test_what_was_fitted_is_added_and_nothing_else_changes(models, sky: Path, tmp_path: Path, views: int) -> None:
    plain, fitted = (classify(sky, one, views=views, out=tmp_path / f"{one.name}.parquet") for one in models)
    for before, after in zip(plain.galaxies, fitted.galaxies, strict=True):
        assert before.p_typical is None and not before.likely and 0 < after.p_typical <= 1
        for name, answers in before.answers.items():
            now = after.answers[name]
            assert list(answers.values()) == pytest.approx([now[key] for key in answers], abs=2e-3)  # halves again
        t = after.answers["efigi"]
        width = 1.5 if t["T"] < 2.5 else 25.0
        assert (t["T_low"], t["T_high"]) == pytest.approx((max(t["T"] - width, -6), min(t["T"] + width, 11)))
        assert 0 <= t["Bar_Length_low"] <= t["Bar_Length"] <= t["Bar_Length_high"] <= 1
        ranked = sorted(CLASSES, key=lambda one: -after.answers["gz1"][one])
        assert after.likely["gz1"][0] == ranked[0]
    table, bare = (read_table(tmp_path / f"{one.name}.parquet") for one in reversed(models))
    new = {"p_typical", "class_set", "T_low", "T_high", "Bar_Length_low", "Bar_Length_high"}
    assert {*table.column_names} - {*bare.column_names} == new and {*bare.column_names} <= {*table.column_names}
    assert table.column("T_low").to_pylist() == pytest.approx([g.answers["efigi"]["T_low"] for g in fitted.galaxies])
    assert table.column("class_set").to_pylist() == [";".join(one.likely["gz1"]) for one in fitted.galaxies]
    assert table.column("p_typical").to_pylist() == [one.p_typical for one in fitted.galaxies]
    assert "T 4" in fitted.text() or "70% within" in fitted.text()
    said = json.loads(json.dumps(fitted.as_json()))["galaxies"][0]
    assert said["likely"]["gz1"] and said["p_typical"] == fitted.galaxies[0].p_typical


def test_predict_and_classify_are_as_sure_of_votes(models, sky: Path, tmp_path: Path) -> None:
    """A scaled question has other bounds and the same fractions; the others are as they were."""
    classify(sky, models[1] / "gz2", out=tmp_path / "c.parquet")
    for place, name in zip(models, "ab", strict=True):
        tuningfork.predict(sky, place / "gz2", tmp_path / f"{name}.parquet")
    before, after = (tuningfork.Votes.read(tmp_path / f"{name}.parquet") for name in "ab")
    table = read_table(tmp_path / "c.parquet")
    for column in GZ2.columns:
        factor = 0.25 if column.startswith(FIRST) else 1.0
        old, new = (np.array(one.table.column(f"{column}_concentration")) for one in (before, after))
        np.testing.assert_allclose(new, factor * old, rtol=5e-3)  # the weights were rounded once more
        np.testing.assert_allclose(np.array(table.column(f"{column}_concentration")), new, rtol=1e-4)
    np.testing.assert_allclose(before.fractions, after.fractions, atol=2e-3)
    low, wide = (np.array(one.table.column(f"{GZ2.columns[0]}_low")) for one in (before, after))
    assert (wide < low).all()


def test_predict_writes_the_intervals_that_classify_does(models, sky: Path, tmp_path: Path) -> None:
    (sky / "bad.jpg").write_bytes(b"no picture")
    plain, fitted = models
    for one, name in ((fitted / "efigi", "one"), (plain / "efigi", "none"), ([fitted / "efigi"] * 2, "two")):
        tuningfork.predict(sky, one, tmp_path / f"{name}.parquet")
    classify(sky, fitted / "efigi", out=tmp_path / "c.parquet")
    votes, table = tuningfork.Votes.read(tmp_path / "one.parquet"), read_table(tmp_path / "c.parquet")
    ends = ["T_low", "T_high", "Bar_Length_low", "Bar_Length_high"]
    assert votes.table.column_names == [*votes.layout.schema.names, *ends] and votes.n_rejected == 1
    order = [table.column("id").to_pylist().index(one) for one in votes.ids]
    for name in [*EFIGI.columns, *ends]:
        expected = table.column(name).to_numpy().astype(float)[order]
        np.testing.assert_allclose(votes.table.column(name).to_numpy().astype(float), expected, atol=2e-6)
    assert np.isfinite(votes.table.column("T_low").to_numpy().astype(float)).tolist() == votes.done.tolist()
    for name in ("none", "two"):  # of an ensemble, no intervals were fitted
        assert not {*ends} & {*tuningfork.Votes.read(tmp_path / f"{name}.parquet").table.column_names}


def test_certain_is_the_scaling_that_was_fitted() -> None:
    values = 1 + 99 * np.random.default_rng(0).random((6, GZ2.n_answers)).astype(np.float32)
    calibration = TELL["gz2"]["calibration"]
    expected = apply_scaling(values, {FIRST: 0.25}, GZ2.slices)
    np.testing.assert_allclose(certain(values, calibration, GZ2), expected, rtol=1e-6)
    assert certain(values, {}, GZ2) is values


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_set_is_the_conformal_one_and_never_empty(seed: int, threshold: float) -> None:
    p = np.random.default_rng(seed).dirichlet(np.ones(5)).round(6)
    head = Head("m", "classes", tuple("abcde"), None, {"sets": {"coverage": 0.9, "threshold": threshold}})
    found = head.likely(dict(zip("abcde", p.tolist(), strict=True)))
    inside = sets(p[None], Promise(threshold + 1e-6, 0.9, 1, "least_ambiguous"), never_empty=True)[0]
    assert {*found} == {one for one, has in zip("abcde", inside, strict=True) if has} and found[0] == "abcde"[
        p.argmax()
    ]


def test_words_hold_the_set_the_interval_and_what_is_unusual() -> None:
    head = Head("gz1", "classes", ("edge_on", "merger", "spiral"), None, TELL["gz1"]["calibration"])
    said = {"edge_on": 0.3, "merger": 0.01, "spiral": 0.69}
    assert tell(head, said) == "spiral .69 (edge on .30, merger .01); 90% set: spiral, edge on"
    assert tell(head, said, short=True) == "spiral .69 or edge on"
    sure = {"edge_on": 0.0, "merger": 0.0, "spiral": 1.0}
    assert tell(head, sure) == tell(dataclasses.replace(head, calibration={}), sure) == "spiral 1.00"
    efigi = Head("efigi", "sigmoid", EFIGI.columns, EFIGI, TELL["efigi"]["calibration"])
    values = np.zeros(len(EFIGI.columns), np.float32)
    values[0] = 7 / 17  # T = 1
    assert "Sa (T 1.0, 70% within -0.5 to 2.5)" in tell(efigi, efigi.said(values))
    for p, words in ((0.001, "(1 of 1,000 galaxies of that kind looks as strange)"), (0.004, "(4 of 1,000 galaxies")):
        assert words in unusual(Galaxy("a", p_typical=p))
    assert not unusual(Galaxy("a", p_typical=0.01)) and not unusual(Galaxy("a"))
    assert line(Galaxy("a", p_typical=0.002, answers={"gz1": sure}), [head], 1) == "a  spiral 1.00; unusual"


RATES = {"shares": {"lens": 0.001, "not_lens": 0.999}, "learnt": {"lens": 0.5, "not_lens": 0.5}, "source": "a paper"}


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-6, 1 - 1e-6), st.floats(0.001, 0.999), st.floats(0.01, 0.99))
def test_rates_shift_the_odds_and_what_was_learnt_changes_nothing(p: float, rate: float, learnt: float) -> None:
    shares, old = {"a": rate, "b": 1 - rate}, {"a": learnt, "b": 1 - learnt}
    head = Head("m", "classes", ("a", "b"), rates={"shares": shares, "learnt": old, "source": ""})
    now = head.weighed({"a": p, "b": 1 - p})
    assert sum(now.values()) == pytest.approx(1)
    odds = p / (1 - p) * (rate / (1 - rate)) / (learnt / (1 - learnt))
    assert now["a"] == pytest.approx(odds / (1 + odds), rel=1e-9)
    same = dataclasses.replace(head, rates={"shares": old, "learnt": old, "source": ""})
    assert same.weighed({"a": p, "b": 1 - p}) == pytest.approx({"a": p, "b": 1 - p})


def test_a_lens_is_told_of_by_how_rare_lenses_are_and_the_answer_stays() -> None:
    """p .95 is 19 to 1 where half are lenses, 19 to 999 where 1 in 1,000 is: .019."""
    sets = {"sets": {"coverage": 0.9, "threshold": 0.99, "galaxies": 52}}
    head = Head("lens", "classes", ("lens", "not_lens"), None, sets, RATES)
    said = head.said(np.array([0.95, 0.05], np.float32))
    assert said["lens"] == pytest.approx(0.95)
    assert tell(head, said) == "not lens .98 (lens .02; lens: 1 in 1,000 galaxies)"
    assert tell(head, said, short=True) == "not lens .98"  # the set is of a sky of lenses: not told
    assert tell(head, {"lens": 0.8, "not_lens": 0.2}) == "not lens 1.00"
    assert tell(head, {"lens": 0.9999, "not_lens": 0.0001}).startswith("lens .91")
    assert tell(dataclasses.replace(head, rates={}), said).startswith("lens .95 (not lens .05); 90% set")


def test_a_class_that_is_dear_to_miss_is_told_first() -> None:
    head = Head("gz1", "classes", ("elliptical", "merger"), costs={"merger": 12.0})
    assert tell(head, {"elliptical": 0.9, "merger": 0.1}) == "perhaps merger .10 (elliptical .90)"
    assert tell(head, {"elliptical": 0.9, "merger": 0.1}, short=True) == "perhaps merger .10"
    assert tell(head, {"elliptical": 0.95, "merger": 0.05}).startswith("elliptical .95")
    assert tell(head, {"elliptical": 0.2, "merger": 0.8}).startswith("merger .80")
    assert tell(dataclasses.replace(head, costs={}), {"elliptical": 0.9, "merger": 0.1}).startswith("elliptical .90")
    sets = {"sets": {"coverage": 0.9, "threshold": 0.95, "galaxies": 100}}  # both classes: p >= .05
    both = dataclasses.replace(head, calibration=sets)
    assert tell(both, {"elliptical": 0.9, "merger": 0.1}, short=True) == "perhaps merger .10 or elliptical"
    assert tell(both, {"elliptical": 0.1, "merger": 0.9}, short=True) == "merger .90 or elliptical"
    assert ranked(head, {"elliptical": 0.9, "merger": 0.1}) == [("merger", 0.1), ("elliptical", 0.9)]
    assert worded(head, {"elliptical": 0.9, "merger": 0.1}) == [("perhaps merger", 0.1), ("elliptical", 0.9)]
    assert worded(head, {"elliptical": 0.2, "merger": 0.8}) == [("merger", 0.8), ("elliptical", 0.2)]


def test_what_is_no_galaxy_is_told_first() -> None:
    heads = (Head("galaxy-or-not", "classes", ("galaxy", "other")), Head("gz1", "classes", ("elliptical", "merger")))
    answers = {"galaxy-or-not": {"galaxy": 0.01, "other": 0.99}, "gz1": {"elliptical": 0.8, "merger": 0.2}}
    trail = Galaxy("trail", answers=answers)
    assert line(trail, heads, 5).startswith("trail  probably no galaxy; other .99")
    assert "doubtful        probably no galaxy" in block(trail, heads)
    galaxy = dataclasses.replace(trail, answers=answers | {"galaxy-or-not": {"galaxy": 0.9, "other": 0.1}})
    assert "no galaxy" not in line(galaxy, heads, 5) + block(galaxy, heads)
    assert "no galaxy" not in line(trail, heads[1:], 5)  # nobody was asked


def test_the_cards_costs_choose_the_class_in_the_table(models, sky: Path, tmp_path: Path) -> None:
    ship({name: models[1] / name for name in HEADS}, tmp_path / "dear", tell={"gz1": {"costs": {CLASSES[0]: 1e6}}})
    predict(sky, tmp_path / "dear" / "gz1", tmp_path / "v.parquet")
    found = classify(sky, tmp_path / "dear" / "gz1", out=tmp_path / "c.parquet")
    done = [one for one in read_table(tmp_path / "v.parquet").column("class").to_pylist() if one is not None]
    assert found.galaxies and {*done} == {CLASSES[0]}
    assert {*read_table(tmp_path / "c.parquet").column("class").to_pylist()} - {None} == {CLASSES[0]}


def test_the_cards_rates_reach_the_words_and_leave_the_table(models, sky: Path, tmp_path: Path) -> None:
    rates = {
        "shares": {name: 0.002 if name == CLASSES[0] else 0.998 / (len(CLASSES) - 1) for name in CLASSES},
        "learnt": dict.fromkeys(CLASSES, 1 / len(CLASSES)),
        "source": "a paper",
    }
    fitted = models[1]
    ship({name: fitted / name for name in HEADS}, tmp_path / "rated", tell={"gz1": {"rates": rates}})
    before, after = (classify(sky, place / "gz1", out=tmp_path / f"{place.name}.parquet") for place in
                     (fitted, tmp_path / "rated"))  # fmt: skip
    said = after.galaxies[0].answers["gz1"]
    assert said == pytest.approx(before.galaxies[0].answers["gz1"], abs=2e-3)
    now = after.heads[0].weighed(said)
    assert now[CLASSES[0]] < 0.1 < 0.5 < said[CLASSES[0]]
    first = max(now, key=now.__getitem__)
    assert f"{first.replace('_', ' ')} {now[first]:.2f}".replace(" 0.", " .") in after.text()
    table = read_table(tmp_path / "rated.parquet")
    assert table.column(f"p_{CLASSES[0]}").to_pylist() == pytest.approx([g.answers["gz1"][CLASSES[0]] for g in
                                                                         after.galaxies])  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_intervals_cover_in_every_band_where_errors_grow(seed: int) -> None:
    """Where one width for all would be far too wide below and too narrow above (coverage .97 and .35 here)."""
    rng = np.random.default_rng(seed)
    guess = rng.random(8000)
    truth = guess + guess**2 * rng.normal(size=8000)
    fitted = fit_banded(guess[:4000], truth[:4000], 0.7)
    assert fitted is not None and fitted.n == 4000 and len(fitted.edges) == 2
    inside = np.abs(truth - guess)[4000:] <= fitted.half_width(guess[4000:])
    places = np.searchsorted(fitted.edges, guess[4000:], side="right")
    for band in range(3):  # 1300 galaxies each in fit and test: a standard error of 0.018
        assert inside[places == band].mean() == pytest.approx(0.7, abs=0.06)


def test_few_galaxies_have_fewer_bands_and_equal_predictions_one() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(50)
    assert len(fit_banded(rng.random(50), truth).half_widths) == 1
    assert len(fit_banded(np.zeros(500), rng.random(500)).half_widths) == 1
    assert fit_banded(truth[:2], truth[:2]) is None and fit_banded([], []) is None
    assert fit_banded(rng.random(200), np.r_[truth, np.full(150, np.nan)]).n == 50
