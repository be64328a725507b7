"""Figures: SVG in data addresses, with words for those who cannot see them, and nothing to draw is no error."""

import base64

import numpy as np

from tuningfork.evaluate import calibration, plots


def svg(picture):
    head, data = picture.address.split(",", 1)
    assert head == "data:image/svg+xml;base64"
    return base64.b64decode(data).decode()


def curve(label, n=50):
    generator = np.random.default_rng(0)
    return plots.Curve(label, generator.random(n) < 0.3, generator.random(n))


def test_curves_are_drawn_and_told():
    picture = plots.ranking_curves([curve("spiral $x_1$ <b>"), curve("other")], "bar?")
    drawn = svg(picture)
    assert "spiral $x_1$ &lt;b&gt;" in drawn
    assert "<script" not in drawn
    assert "other" in picture.alt
    assert picture.width > 300


def test_the_same_galaxies_give_the_same_bytes():
    assert plots.ranking_curves([curve("a")]).address == plots.ranking_curves([curve("a")]).address


def test_a_class_that_all_or_none_have_is_left_out():
    none = plots.Curve("none", np.zeros(5, bool), np.arange(5.0))
    everything = plots.Curve("everything", np.ones(5, bool), np.arange(5.0))
    assert "no answer that some galaxies have" in plots.ranking_curves([none, everything]).alt


def test_reliability_diagrams():
    confidence = np.random.default_rng(0).uniform(0.5, 1, 300)
    points = calibration.reliability(confidence, np.ones(300))
    picture = plots.reliability_diagram([("as predicted", points, confidence)])
    assert "as predicted" in svg(picture)
    assert "as predicted" in picture.alt
    assert "arms" in plots.fraction_reliability([("arms", points)] * 5).alt


def test_learning_curves_of_whatever_the_card_recorded():
    rows = [{"epoch": 1, "train_loss": 2.0, "accuracy": None}, {"epoch": 2, "train_loss": 1.0, "accuracy": 0.5}]
    picture = plots.learning_curves(rows)
    assert picture is not None
    assert "train_loss" in picture.alt
    assert "accuracy" in picture.alt
    assert plots.learning_curves(rows[:1]) is None
    assert plots.learning_curves([]) is None
    assert plots.learning_curves([{"epoch": 1, "rate": 0.1}, {"epoch": 2, "rate": 0.2}]) is None


def test_epochs_are_whole_and_bookkeeping_is_not_drawn():
    rows = [{"epoch": e, "train_loss": 1 / e, "accuracy": 0.5, "skipped": 0} for e in (1, 2, 3)]
    picture = plots.learning_curves(rows)
    assert picture is not None
    assert "skipped" not in picture.alt
    drawn = svg(picture)
    assert ">1<" in drawn.replace("</text>", "<") and ">1.5<" not in drawn.replace("</text>", "<")
    assert not [number for number in (1.25, 1.5, 1.75, 2.25, 2.5) if f">{number:.2f}" in drawn]
