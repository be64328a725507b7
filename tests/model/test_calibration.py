"""Calibration on the card: its form by the head, the digest it enters, older cards, and a set's strangeness."""

import dataclasses
import json

import numpy as np
import pytest

from tuningfork.errors import BadWeights
from tuningfork.evaluate.strangeness import Strangeness, fit_strangeness
from tuningfork.galaxy.tree import Tree
from tuningfork.model.calibration import check_calibration, check_costs, check_rates
from tuningfork.model.card import Card, load_golden
from tuningfork.model.encoder import (
    STRANGENESS,
    STRANGENESS_ARRAYS,
    Encoder,
    find_strangeness,
    save_strangeness,
)
from tuningfork.model.share import share_encoder

EFIGI, GZ2 = Tree.load("efigi"), Tree.load("gz2")
SETS = {"sets": {"coverage": 0.9, "threshold": 0.6, "galaxies": 100}}
COLUMN = {"edges": [0.5], "half_widths": [1.2, 1.1], "galaxies": 100}
INTERVALS = {"intervals": {"coverage": 0.7, "columns": {"T": COLUMN}}}
CERTAINTY = {"certainty": {"scales": {GZ2.questions[0].name: 0.5}, "galaxies": 88}}
RIGHT = [("classes", None, SETS), ("sigmoid", EFIGI, INTERVALS), ("dirichlet", GZ2, CERTAINTY)]


@pytest.mark.parametrize(("head", "tree", "told"), RIGHT)
def test_each_head_has_its_own_calibration_or_none(head, tree, told):
    names = tree.columns if tree else ("a", "b")
    check_calibration(told, head, names, tree)
    for _, _, other in RIGHT:
        if other is not told:
            with pytest.raises(BadWeights, match="'calibration'"):
                check_calibration(other, head, names, tree)
    check_calibration({}, head, names, tree)


def _changed(told, **changes):
    ((kind, entries),) = told.items()
    return {kind: {**entries, **changes}}


@pytest.mark.parametrize(
    ("head", "tree", "told"),
    [
        ("classes", None, _changed(SETS, threshold=1.1)),
        ("classes", None, _changed(SETS, coverage=1.0)),
        ("classes", None, _changed(SETS, galaxies=0)),
        ("classes", None, _changed(SETS, threshold=True)),
        ("classes", None, _changed(SETS, more=1)),
        ("classes", None, {"sets": [0.9]}),
        ("sigmoid", None, INTERVALS),
        ("sigmoid", EFIGI, _changed(INTERVALS, columns={})),
        ("sigmoid", EFIGI, _changed(INTERVALS, columns={"t": COLUMN})),
        ("sigmoid", EFIGI, _changed(INTERVALS, columns={"T": COLUMN | {"edges": []}})),
        ("sigmoid", EFIGI, _changed(INTERVALS, columns={"T": COLUMN | {"edges": [1, 0], "half_widths": [1, 1, 1]}})),
        ("sigmoid", EFIGI, _changed(INTERVALS, columns={"T": COLUMN | {"half_widths": [-1, 1]}})),
        ("sigmoid", EFIGI, _changed(INTERVALS, columns={"T": COLUMN | {"half_widths": "11"}})),
        ("dirichlet", GZ2, _changed(CERTAINTY, scales={"nothing": 1.0})),
        ("dirichlet", GZ2, _changed(CERTAINTY, scales={GZ2.questions[0].name: 0})),
        ("fractions", GZ2, CERTAINTY),
    ],
)
def test_what_cannot_be_is_refused(head, tree, told):
    with pytest.raises(BadWeights, match="'calibration'"):
        check_calibration(told, head, tree.columns if tree else ("a", "b"), tree)


def test_it_is_part_of_what_the_card_means_and_older_cards_read(make_card, save_model):
    plain, fitted = make_card(), make_card(calibration=SETS)
    assert plain.meaning != fitted.meaning != make_card(calibration=_changed(SETS, threshold=0.5)).meaning
    folder = save_model(calibration=SETS)
    assert Card.load(folder).calibration == SETS and load_golden(folder)
    path = folder / "card.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps(entries | {"calibration": _changed(SETS, threshold=0.1)}))
    with pytest.raises(BadWeights, match="edited or swapped"):
        load_golden(folder)
    del entries["calibration"]
    path.write_text(json.dumps(entries))
    assert Card.load(folder).calibration == {} and Card.load(folder).meaning != fitted.meaning


RATES = {"shares": {"a": 0.001, "b": 0.999}, "learnt": {"a": 0.5, "b": 0.5}, "source": "a paper"}


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("sigmoid", RATES),
        ("classes", {"shares": RATES["shares"]}),
        ("classes", RATES | {"shares": {"a": 0.001, "c": 0.999}}),
        ("classes", RATES | {"shares": {"a": 0.1, "b": 0.8}}),
        ("classes", RATES | {"learnt": {"a": 0.0, "b": 1.0}}),
        ("classes", RATES | {"shares": {"a": "1", "b": 0.5}}),
        ("classes", RATES | {"source": 3}),
    ],
)
def test_rates_are_of_all_classes_and_one_in_sum(head, told):
    check_rates(RATES, "classes", ("a", "b"))
    check_rates({}, head, ("a", "b"))
    with pytest.raises(BadWeights, match="'rates'"):
        check_rates(told, head, ("a", "b"))


@pytest.mark.parametrize(
    ("head", "told"),
    [("sigmoid", {"a": 2.0}), ("classes", {"c": 2.0}), ("classes", {"a": 0.0}), ("classes", {"a": "2"})],
)
def test_costs_are_numbers_above_zero_of_some_classes(head, told):
    check_costs({"a": 12.0}, "classes", ("a", "b"))
    check_costs({}, head, ("a", "b"))
    with pytest.raises(BadWeights, match="'costs'"):
        check_costs(told, head, ("a", "b"))


def test_rates_are_for_words_so_the_golden_pair_stays(save_model):
    folder = save_model()
    before = Card.load(folder)
    shares = dict.fromkeys(before.names, 1 / len(before.names))
    dataclasses.replace(before, rates={"shares": shares, "learnt": shares, "source": "a paper"}).save(folder)
    assert Card.load(folder).rates["shares"] == shares and Card.load(folder).meaning == before.meaning
    load_golden(folder)  # still belongs to the card


@pytest.fixture
def strange(make_card, make_net):
    n = make_net(make_card()).last.in_features
    return fit_strangeness(np.random.default_rng(0).normal(size=(150, n)), directions=3)


def test_a_set_brings_its_strangeness_and_a_changed_one_is_refused(make_card, make_net, make_images, strange, tmp_path):
    card = make_card()
    nets = {"a": (make_net(card), card)}
    share_encoder(nets, tmp_path / "plain", make_images(card))
    assert find_strangeness(tmp_path / "plain" / "a") is None
    place = tmp_path / "set" / "encoder"
    share_encoder(nets, place.parent, make_images(card), strangeness=strange.arrays)
    back = Strangeness.from_arrays(find_strangeness(place.parent / "a"))
    for name in STRANGENESS_ARRAYS:
        np.testing.assert_array_equal(getattr(back, name), getattr(strange, name))
    assert Encoder.load(place).onnx_digest
    with pytest.raises(BadWeights, match="has the arrays"):
        save_strangeness(place, {"mean": np.zeros(3)})
    with pytest.raises(BadWeights, match="of 3 features"):
        save_strangeness(place, strange.arrays | {"mean": np.zeros(3, np.float32)})
    data = bytearray((place / STRANGENESS).read_bytes())
    data[-1] ^= 1
    (place / STRANGENESS).write_bytes(bytes(data))
    with pytest.raises(BadWeights, match="SHA-256 differs"):
        find_strangeness(place.parent / "a")
    (place / STRANGENESS).unlink()
    with pytest.raises(BadWeights, match="cannot be read"):
        find_strangeness(place.parent / "a")


def test_encoders_of_before_there_was_strangeness_still_read(make_card, make_net, make_images, tmp_path):
    card = make_card()
    share_encoder({"a": (make_net(card), card)}, tmp_path, make_images(card))
    path = tmp_path / "encoder" / "encoder.json"
    entries = json.loads(path.read_text())
    del entries["strangeness_digest"]
    path.write_text(json.dumps(entries))
    assert Encoder.load(path.parent).strangeness_digest == "" and find_strangeness(tmp_path / "a") is None
