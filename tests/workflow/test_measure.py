"""What the cards of the reference models say of them: figures of planted answers, and of small models on drawings."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuningfork.errors import Reason, RecipeError
from tuningfork.evaluate.bootstrap import Estimate
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record, Rejected
from tuningfork.galaxy.records import Source
from tuningfork.galaxy.source import open_source
from tuningfork.galaxy.tree import CHALLENGE, Tree
from tuningfork.galaxy.union import Union
from tuningfork.model.card import Card, _check_measured
from tuningfork.predict.answers import Head
from tuningfork.predict.classify import classify
from tuningfork.simulate.truth import Galaxy, draw_population
from tuningfork.workflow.measure import border, redshift
from tuningfork.workflow.measure.ask import Asked, ask, changed, ids_of_part, open_heads, shown_images
from tuningfork.workflow.measure.border import (
    WIDTH,
    border_areas,
    border_features,
    borders,
    drawn_sky,
    false_alarms,
    grades,
)
from tuningfork.workflow.measure.findings import Findings, mean
from tuningfork.workflow.measure.headline import (
    attribute_figures,
    challenge_figures,
    class_figures,
    headline,
    weigh_mergers,
)
from tuningfork.workflow.measure.noise import ceiling, confident, noise_figures
from tuningfork.workflow.measure.redshift import distance, moved, receding
from tuningfork.workflow.measure.shift import other_files, shifted, survey_figures
from tuningfork.workflow.measure.zoom import magnified, zoomed
from tuningfork.workflow.samples import example_votes, read_examples

from ..predict.sketches import CLASSES, make_set, picture

LABELS = np.array(["elliptical", "spiral_clockwise", "spiral_anticlockwise", "edge_on", "merger", "dont_know"] * 10)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("models") / "set")


@pytest.fixture(scope="module")
def union(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Drawn galaxies in place of the three samples, all but the first two of each in the test part."""
    sources: dict[str, Source] = {}
    generator, parts = np.random.default_rng(0), []
    for number, name in enumerate(("gz1", "efigi", "stripe82")):
        folder = tmp_path_factory.mktemp(name)
        for seed in range(8):
            data = Record.from_picture("", picture(80, 0.6 + 0.1 * seed, seed=seed + 8 * number)).data
            (folder / f"{number}{seed}.jpg").write_bytes(data)
        source = open_source(folder)
        columns: dict[str, object] = {"id": list(source.ids)}
        if name == "gz1":
            columns["gz1_class"] = [*CLASSES, "elliptical", "dont_know", "merger"]
        if name == "efigi":
            columns |= {one: generator.random(8).round(2) for one in Tree.load("efigi").columns}
        sources[name] = source.with_catalog(Catalog(columns))
        parts += ["train"] * 2 + ["test"] * 6
    whole = Union(sources)
    assert whole.catalog is not None
    return whole.with_catalog(whole.catalog.with_columns({"part": parts}))


def planted(
    name: str, kind: str, values: np.ndarray, tree: str = "", names: tuple[str, ...] = CLASSES, **calibration: Any
) -> Asked:
    """Answers that a head never gave."""
    known = Tree.load(tree) if tree else None
    head = Head(name, kind, known.columns if known else names, known, calibration)
    return Asked(tuple(f"s:{k}" for k in range(len(values))), {name: head}, {name: values.astype(np.float32)}, {})


def rows_of(findings: Findings, model: str) -> dict[str, dict]:
    return {row["what"]: row for row in findings.measured[model]}


def test_findings_are_what_a_card_holds() -> None:
    findings = Findings("python that.py")
    findings.add("gz1", "accuracy", "ten", Estimate(0.5, 0.6, 0.7), 10, views=8)  # few galaxies: a bootstrap beside it
    findings.add("gz1", "recall", "ten", Estimate(0.25), 10)
    findings.add("gz1", "nothing", "none", Estimate(float("nan")), 0)
    findings.fail("lens", "It is blind.")
    first, second = findings.tell()["gz1"]["measured"]
    assert (first["low"], first["value"], first["high"]) == (0.5, 0.5, 0.7) and first["command"] == "python that.py"
    assert "low" not in second and findings.tell(("gz1",)).keys() == {"gz1"}
    for row in (first, second):
        _check_measured(row)
    joined = findings.join(findings)
    assert len(joined.measured["gz1"]) == 4 and joined.fails == {"lens": ["It is blind."] * 2}
    assert "accuracy, ten: 0.500 [0.500, 0.700] (10 galaxies, views 8)" in findings.text()


def test_classes_are_counted_as_they_say() -> None:
    """Answers that are right but for the direction of spirals, for edge-on discs, and for one merger."""
    values = np.full((60, 5), 0.05)
    for row, label in enumerate(LABELS):
        told = {"spiral_clockwise": "spiral_anticlockwise", "edge_on": "elliptical"}.get(label, label)
        told = "elliptical" if row == 4 else told
        values[row, CLASSES.index(told) if told in CLASSES else 1] = 0.8
    values[0] = np.nan
    findings = Findings()
    sets = {"coverage": 0.9, "threshold": 0.5, "galaxies": 100}  # of the likeliest class alone, which has .8
    class_figures(findings, planted("gz1", "classes", values, sets=sets), LABELS, 50, 1)
    rows = rows_of(findings, "gz1")
    told = {what: (row["value"], row["galaxies"]) for what, row in rows.items()}
    assert told["accuracy, elliptical against spiral"] == (1, 29)
    assert told["accuracy, elliptical against spiral or edge-on"] == (round(29 / 39, 4), 39)
    assert told["accuracy, four classes"] == (round(38 / 49, 4), 49)
    assert told["balanced accuracy, four classes"] == (round((1 + 1 + 0 + 0.9) / 4, 4), 49)
    assert told["recall of mergers"] == (0.9, 49) and told["precision of mergers"] == (1, 49)
    assert rows["recall of mergers"]["mergers"] == 10 and rows["recall of mergers"]["rejected"] == 1
    assert told["accuracy, clockwise against anticlockwise"] == (0.5, 20)
    # right 28 of 49 (all but 10 clockwise, 10 edge-on, 1 merger), each with 0.8
    error = rows["expected calibration error, five classes"]
    assert error["value"] == pytest.approx(0.8 - 28 / 49, abs=1e-4) and error["if_perfectly_calibrated"] < 0.1
    assert told["share of 90% sets with the true class"] == (round(28 / 49, 4), 49)
    assert told["classes in a 90% set"] == (1, 49)


def test_mergers_counted_more_are_found_more_often_and_called_too_often() -> None:
    """A galaxy is called a merger where the odds of merger against the likeliest other are above 1 in so many."""
    generator = np.random.default_rng(7)
    said = generator.dirichlet([2.0, 2.0, 2.0, 0.5], 2000)
    mergers = np.array([generator.choice(4, p=one) for one in said]) == 3
    np.testing.assert_array_equal(weigh_mergers(said, 1.0), said)
    recall, wrong = [], []
    for times in (0.0, 0.5, 1.0, 3.0, 12.0):
        weighed = weigh_mergers(said, times)
        np.testing.assert_array_equal(weighed[:, :3], said[:, :3])
        called = weighed.argmax(1) == 3
        assert (called == (said[:, 3] * times > said[:, :3].max(1))).all()
        recall.append(called[mergers].mean())
        wrong.append(called[~mergers].mean())
    assert recall[0] == wrong[0] == 0 and (np.diff(recall) > 0).all() and (np.diff(wrong) > 0).all()


def test_attributes_are_on_their_own_scales() -> None:
    tree, n = Tree.load("efigi"), 40
    generator = np.random.default_rng(1)
    truth = {name: generator.choice([0, 0.25, 0.5, 0.75, 1.0], n) for name in tree.columns}
    truth["T"] = generator.integers(-6, 10, n).astype(float)
    values = np.stack([truth[name] for name in tree.columns], axis=1)
    values[:, 0] = (truth["T"] + 2 + 6) / 17  # two stages too late
    values[:, tree.columns.index("Inclination")] *= -1
    truth["Inclination"][:3] = -1  # undefined
    findings = Findings()
    columns = {"T": {"edges": [4.0], "half_widths": [2.0, 1.0], "galaxies": 100}}
    asked = planted("efigi", "sigmoid", values, "efigi", intervals={"coverage": 0.7, "columns": columns})
    attribute_figures(findings, asked, Catalog({"id": list(asked.ids), **truth}), 50, 1)
    rows = rows_of(findings, "efigi")
    assert rows["RMS error of T"]["value"] == pytest.approx(2, abs=1e-4)
    assert rows["Spearman's correlation of T"]["value"] == 1
    assert rows["Spearman's correlation of Inclination"]["value"] == -1
    assert rows["Spearman's correlation of Inclination"]["galaxies"] == n - 3
    bar = rows["ROC AUC of bars (Bar_Length 0.5 or more against 0)"]
    assert bar["value"] == 1 and bar["galaxies"] == int((truth["Bar_Length"] != 0.25).sum())
    held = rows["share of 70% intervals with the true value, T"]
    assert held["value"] == pytest.approx((truth["T"] + 2 < 4).mean(), abs=1e-4) and held["galaxies"] == n


def test_votes_are_judged_as_the_challenge_did() -> None:
    """The right fractions have no error; columns of their own means have that of a constant."""
    tree, generator = Tree.load("gz2"), np.random.default_rng(2)
    alpha = generator.gamma(1.0, size=(12, 37)) + 0.1
    columns = tree.to_challenge(tree.fractions(alpha))
    table = {name: columns[:, k] for k, name in enumerate(CHALLENGE)}
    challenge = Catalog({"id": [str(k) for k in range(12)], **table})
    findings, asked = Findings(), planted("gz2", "dirichlet", alpha[:8], "gz2")
    challenge_figures(findings, asked, challenge, ["8", "9", "10", "11"], 50, 1)
    own, mean_of_others = findings.measured["gz2"]
    assert own["value"] == pytest.approx(0, abs=1e-4) and own["galaxies"] == 8
    expected = np.sqrt(((columns[8:].mean(0) - columns[:8]) ** 2).mean())
    assert mean_of_others["value"] == pytest.approx(expected, abs=1e-4)


def test_a_picture_is_magnified_about_its_middle() -> None:
    whole = picture(96, 1.0)
    assert magnified(whole, 1) is whole
    half, twice = magnified(whole, 0.5), magnified(whole, 2)
    assert half.shape == (48, 48, 3) and twice.shape == whole.shape
    blocks = whole.reshape(48, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(half - blocks).mean() < 2  # bicubic is nearly the mean of what becomes one pixel
    assert np.abs(twice[::2, ::2].astype(float) - whole[24:72, 24:72]).mean() < 6  # the central half
    assert magnified(whole[:60, :90], 1.4).shape == (60, 90, 3)


def test_galaxies_move_away_as_they_must() -> None:
    near = replace(next(one for one in draw_population(3, 200, "sdss") if one.companions), redshift=0.01)
    same = moved(near, 0.01)
    assert same.magnitude == pytest.approx(near.magnitude) and same.radius == pytest.approx(near.radius)
    far = moved(near, 0.02)
    there_and_back = moved(far, 0.01)
    assert there_and_back.magnitude == pytest.approx(near.magnitude)
    assert there_and_back.companions[0].dx == pytest.approx(near.companions[0].dx)
    # nearby, twice the distance is a quarter of the light and half the size; to 2% of z
    assert far.magnitude - near.magnitude == pytest.approx(5 * np.log10(2), abs=0.04)
    assert far.radius / near.radius == pytest.approx(0.5, rel=0.02)
    assert far.companions[0].dx / near.companions[0].dx == pytest.approx(far.radius / near.radius)
    assert far.inclination == near.inclination and far.companions[0].redshift == 0.02
    # astropy's FlatLambdaCDM(70, 0.3): 460.3 Mpc at 0.1, 1222 Mpc at 0.24
    assert distance(0.1) == pytest.approx(460.3, rel=0.01) and distance(0.24) == pytest.approx(1202, rel=0.03)


def test_borders_tell_only_what_is_in_them() -> None:
    generator = np.random.default_rng(4)
    images = generator.integers(0, 40, (90, 3, 64, 64), dtype=np.uint8)
    positive = np.arange(90) % 3 == 0
    inside = images.copy()
    inside[positive, :, WIDTH:-WIDTH, WIDTH:-WIDTH] = 255
    np.testing.assert_array_equal(border_features(inside), border_features(images))
    assert border_features(images).shape == (90, 18)
    inside[positive, :, 0, :] += 12  # a brighter row at the edge
    areas = border_areas(border_features(inside), positive, 50, permuted=2)
    assert all(area.value > 0.95 and chance < 0.75 for area, chance in areas.values()) and len(areas) == 2
    assert border_areas(border_features(images[:6]), positive[:6], 50) == {}


def test_planted_wrong_labels_are_found() -> None:
    """Labels drawn from the probabilities themselves agree as the mean of the largest says; flipped ones stand out."""
    generator = np.random.default_rng(5)
    p = generator.dirichlet([0.25] * 3, 3000)
    truth = np.array([generator.choice(3, p=one) for one in p])
    findings, names = Findings(), ("a", "b", "c")
    ids = [f"g{k}" for k in range(3000)]
    noise_figures(findings, ids, truth, p, names, 200)
    rows = rows_of(findings, "gz1")
    best = next(row for what, row in rows.items() if what.startswith("estimated ceiling"))
    assert best["value"] == pytest.approx(rows["accuracy, five classes"]["value"], abs=0.03)  # 3 standard errors
    sharp = np.eye(3)[generator.integers(0, 3, 400)] * 0.91 + 0.03
    labels = sharp.argmax(1)
    labels[:20] = (labels[:20] + 1) % 3
    sure, contradicted = confident(labels, sharp)
    assert sure.all() and np.flatnonzero(contradicted).tolist() == list(range(20))
    doubtful = noise_figures(Findings(), ids[:400], labels, sharp, names, 50)
    assert {one.id for one in doubtful} == set(ids[:20]) and doubtful[0].of_said > 0.8 > doubtful[0].of_label
    assert noise_figures(Findings(), [], labels[:0], sharp[:0], names, 50) == []


def test_answers_are_those_of_classify(models: Path, tmp_path: Path) -> None:
    for seed in range(3):
        (tmp_path / f"g{seed}.jpg").write_bytes(Record.from_picture("", picture(80, seed=seed)).data)
    noise = np.random.default_rng(0).integers(8, 18, (64, 64, 3), dtype=np.uint8)
    (tmp_path / "noise.jpg").write_bytes(Record.from_picture("", noise).data)
    source, eyes = open_source(tmp_path), open_heads(models)
    asked = ask(source.records(), eyes)
    done = classify(tmp_path, models).galaxies
    assert asked.ids == tuple(one.id for one in done) and asked.reasons == {"noise": "no_source"}
    assert asked.answered("gz2").tolist() == [True, True, True, False]
    for name in ("gz1", "efigi", "gz2"):
        for row, galaxy in enumerate(done[:3]):
            assert asked.said(name)[row] == pytest.approx(list(galaxy.answers[name].values()), abs=2e-5)
    again = ask(changed(source.records(), lambda pixels: pixels), eyes)
    np.testing.assert_array_equal(again.values["gz1"], asked.values["gz1"])
    assert again.reasons == asked.reasons
    only = open_heads(models, ("gz1",))
    assert [head.name for eye in only for head in eye.heads] == ["gz1"] and open_heads(models, ("lens",)) == ()
    ids, images = shown_images(source.records(), only[0])
    assert ids == ["g0", "g1", "g2"] and images.shape == (3, 3, 24, 24)


def test_a_set_is_measured_on_its_test_parts(models: Path, union: Source) -> None:
    truth = np.random.default_rng(6).dirichlet([1.0] * 37, 8)
    challenge = Catalog({"id": [f"2{k}" for k in range(8)], **{name: truth[:, k] for k, name in enumerate(CHALLENGE)}})
    findings = headline(models, union, challenge, views=2, resamples=20, command="python that.py")
    assert findings.measured.keys() == {"gz1", "efigi", "gz2"}
    rows = rows_of(findings, "gz1")
    assert rows["accuracy, four classes"]["galaxies"] == 5 and "test" in rows["accuracy, four classes"]["on"]
    assert rows_of(findings, "gz2")["RMSE, 37 columns of the Galaxy Challenge"]["galaxies"] == 6
    card = Card.load(models / "gz1")
    replace(card, **findings.tell()["gz1"]).check()
    assert ids_of_part(union, "gz1", part="train") == ["gz1:00", "gz1:01"]
    some = ids_of_part(union, "gz1", 3)
    assert len(some) == 3 and set(some) < set(ids_of_part(union, "gz1"))
    with pytest.raises(RecipeError, match="gather the samples first"):
        ids_of_part(next(iter(union.sources.values())), "gz1")  # type: ignore[attr-defined]


def test_zoom_and_noise_are_measured_with_their_figures(models: Path, union: Source) -> None:
    findings = zoomed(models, union, zooms=(0.5, 1.0), resamples=20)
    rows = findings.measured["gz1"]
    assert [(row["zoom"], row["seen"]) for row in rows] == [
        (0.5, "framed by the source"), (1.0, "framed by the source"),
        (0.5, "the whole picture"), (1.0, "the whole picture"),
    ]  # fmt: skip
    assert all(row["galaxies"] + row["rejected"] >= 5 for row in rows) and len(findings.measured["efigi"]) == 4
    assert len(findings.figures["zoom"].axes) == 2
    told, doubtful = ceiling(models, union, views=1, shown=3, resamples=20)
    assert len(told.figures["disagreements"].axes) == min(3, len(doubtful)) and doubtful
    assert all(one.label != one.said and one.of_said >= one.of_label for one in doubtful)


INDEX = """file,survey,question,answer_text
images/a.jpg,sloan,"Is the galaxy simply smooth and rounded, with no sign of a disk?",Smooth
images/b.jpg,ukidss,"Is the galaxy simply smooth and rounded, with no sign of a disk?",Features or disk
images/c.jpg,ukidss,"Does the galaxy look green?",Smooth
images/d.jpg,ukidss,"Is the galaxy simply smooth and rounded, with no sign of a disk?",Green
"""


def test_examples_of_other_surveys_are_read_and_counted(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text(INDEX)
    examples = read_examples(tmp_path / "index.csv")
    assert [(one.id, one.survey, one.answer) for one in examples] == [("a", "sloan", 0), ("b", "ukidss", 1)]
    assert example_votes(tmp_path / "index.csv", "sloan").ids == ["a"]
    alpha = np.ones((12, 37))
    alpha[:9, 1] = 5  # features or disk
    alpha[11] = np.nan
    findings = Findings()
    survey_figures(findings, planted("gz2", "dirichlet", alpha, "gz2"), [examples[1]] * 12, 50)
    (row,) = findings.measured["gz2"]
    assert (row["value"], row["galaxies"], row["rejected"]) == (round(9 / 11, 4), 11, 1)
    assert row["chance"] == 0.333 and "UKIDSS" in findings.fails["gz2"][0] and "better" in findings.fails["gz2"][0]


def test_other_files_are_answered_or_rejected_with_reasons(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fits"
    folder.mkdir()
    (folder / "g.jpg").write_bytes(Record.from_picture("", picture(80)).data)
    (folder / "torn.jpg").write_bytes(Record.from_picture("", picture(80)).data[:700])
    findings = other_files(models, folder, "odd files", resamples=20)
    (row,) = findings.measured["gz1"]
    assert (row["value"], row["galaxies"], row["reasons"]) == (0.5, 2, {"truncated": 1})
    assert findings.fails["gz1"][0].startswith("Of 2 odd files, 1 are answered (")
    both = shifted(models, tmp_path, galaxies=0, resamples=20)
    assert [one["value"] for one in both.measured["gz1"]] == [0.5]
    with pytest.raises(RecipeError, match="no folder"):
        shifted(models, tmp_path / "nowhere")


def test_a_receding_sky_is_the_same_galaxies(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = receding(models, n=6, redshifts=(0.03, 0.2), resamples=20)
    for name in ("gz1", "gz2"):
        assert [row["redshift"] for row in findings.measured[name]] == [0.03, 0.2]
        assert len({row["galaxies"] + row["rejected"] for row in findings.measured[name]}) >= 1
    with pytest.raises(RecipeError, match="above 0"):
        receding(models, redshifts=(0.0,))
    shares = iter((1.0, 0.0))  # right answers near, wrong ones far
    monkeypatch.setattr(redshift, "_judged", lambda asked, labels: [("gz1", "accuracy", np.full(6, next(shares)))])
    (sentence,) = receding(models, n=2, redshifts=(0.03, 0.2), resamples=20).fails["gz1"]
    assert "1.00 [1.00, 1.00] at redshift 0.03, 0.00 [0.00, 0.00] at redshift 0.2" in sentence


def test_simulated_borders_are_measured_without_the_heads(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, other = drawn_sky(14, 5, 48)
    assert len(records) == 14 and 0 < other.sum() < 14
    assert [one.id for one in drawn_sky(3, 5, 48)[0]] == [one.id for one in records[:3]]
    drawn: Callable[[int, int], tuple[list[Record], np.ndarray]] = lambda n, seed: drawn_sky(n, seed, 48)  # noqa: E731
    monkeypatch.setattr(border_areas, "__defaults__", (1,))  # one permutation
    monkeypatch.setattr(border, "TREES", 10)
    monkeypatch.setattr(border, "drawn_lenses", drawn)
    monkeypatch.setattr(border, "drawn_sky", drawn)
    findings = borders(models, n=40, resamples=20)
    assert findings.measured.keys() == {"lens", "galaxy-or-not"} and len(findings.measured["lens"]) == 4
    assert all(0 <= row["value"] <= 1 and row["galaxies"] <= 40 for row in findings.measured["lens"])
    (tmp_path / "index.csv").write_text("file,asw,grade,label\nimages/x.1_gri.jpg,A,2.7,g\nimages/y.jpg,B,,lens_sim\n")
    assert grades(tmp_path / "index.csv") == {"x.1_gri": 2.7}


def test_false_alarms_are_counted_by_probability_and_in_words(
    models: Path, union: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of planted answers: a p of 0.6 is above 0.5, and where a lens is 1 in 1,000 no word mentions it."""
    rates = {"shares": {"lens": 0.001, "not_lens": 0.999}, "learnt": {"lens": 0.5, "not_lens": 0.5}}
    head = Head("lens", "classes", ("lens", "not_lens"), rates=rates)
    # weighed by 1 to 999: 0.6 becomes 0.0015, 0.96 0.023 (mentioned), 0.9999 0.91 (called a lens)
    ordinary, lenses = [0.1, 0.1, 0.6, 0.96, np.nan], [0.3, 0.9999, 0.9999, 0.96]
    seen: list[list[str]] = []

    def asked(records: Iterable[Record], eyes: object) -> Asked:
        seen.append([one.id for one in records])
        p = np.array(lenses if seen[-1][0].startswith("sim") else ordinary)
        return replace(planted("lens", "classes", np.stack([p, 1 - p], axis=1)), heads={"lens": head})

    monkeypatch.setattr(border, "open_heads", lambda *_, **__: ("an eye",))
    monkeypatch.setattr(border, "drawn_lenses", lambda n, seed: drawn_sky(n, seed, 48))
    monkeypatch.setattr(border, "ask", asked)
    findings = false_alarms(models, union, n=8)
    is_lens = drawn_sky(8, border.SEED, 48)[1]
    assert len(seen[0]) == is_lens.sum() > 0  # the lenses of the stamps alone
    assert seen[1] == ids_of_part(union, "gz1")
    told = {(row["what"], row["galaxies"]): row["value"] for row in findings.measured["lens"]}
    for words, of_ordinary, of_lenses in (
        ("with p above 0.5", 0.5, 0.75),
        ("with p above 0.95", 0.25, 0.75),
        ("whose words mention a lens", 0.25, 0.75),
        ("whose words call it a lens", 0.0, 0.5),
    ):
        assert told[f"share of ordinary galaxies {words}", 4] == of_ordinary
        assert told[f"share of lenses {words}", 4] == of_lenses
    none = next(row for row in findings.measured["lens"] if "ordinary galaxies whose words call" in row["what"])
    assert none["low"] == 0 and none["high"] > 0.3  # none of four is not never
    assert "0.500 [" in findings.fails["lens"][0]
    monkeypatch.setattr(border, "open_heads", lambda *_, **__: ())
    assert false_alarms(models, union).measured == {}  # a set without the head "lens"


def test_a_mean_of_nothing_is_no_figure() -> None:
    findings = Findings()
    findings.add("gz1", "accuracy", "none", mean([], 20), 0)
    assert findings.measured == {} and findings.tell() == {}
    assert moved(Galaxy("spiral"), 0.05).radius == pytest.approx(3.0)
    assert next(changed([Rejected("x", Reason.MISSING)], lambda pixels: pixels)).id == "x"
