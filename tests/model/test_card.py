"""The card: what it keeps, what it refuses, and that it needs no torch."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork.errors import BadWeights
from tuningfork.galaxy.tree import Tree
from tuningfork.model import card as cards
from tuningfork.model.card import Card, find_model, find_onnx, load_golden, shipped_models

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _entries(card):
    return json.loads(json.dumps(card.to_json()))


@pytest.mark.parametrize("head", cards.HEADS)
def test_a_card_comes_back_as_it_was_written(make_card, head, tmp_path):
    card = make_card(head, history=({"epoch": 1, "loss": 0.5},), labels={"kind": "column"}, metrics={"f1": 0.9})
    card.save(tmp_path)
    assert Card.load(tmp_path) == card


def test_reading_cards_and_golden_pairs_needs_no_torch(save_model):
    code = (
        "import sys; from tuningfork.model.card import Card, load_golden; "
        f"load_golden({str(save_model())!r}); assert not {{'torch', 'timm', 'onnxruntime'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_key_is_refused_with_the_nearest_that_exists(make_card):
    with pytest.raises(BadWeights, match="'bnads' is no key of a card; did you mean 'bands'"):
        Card.from_json(_entries(make_card()) | {"bnads": ["g"]})


def test_every_missing_key_is_named(make_card):
    entries = _entries(make_card())
    del entries["std"], entries["names"]
    with pytest.raises(BadWeights, match="lacks names, std"):
        Card.from_json(entries)


@pytest.mark.parametrize("key", [f.name for f in dataclasses.fields(Card)])
def test_a_value_of_another_type_is_refused_by_its_key(make_card, key):
    entries = _entries(make_card())
    for wrong in ([["deep"]], True, None, {"a": 1} if not isinstance(entries[key], dict) else "text"):
        with pytest.raises(BadWeights, match=f"'{key}'"):
            Card.from_json(entries | {key: wrong})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"head": "dirichlt"}, "did you mean 'dirichlet'"),
        ({"link": "linear"}, "'link' must be one of softmax, divisive"),
        ({"precision": "int8"}, "'precision'"),
        ({"bands": ()}, "'bands'"),
        ({"bands": ("g", "g")}, "'bands'"),
        ({"names": ("a", "")}, "'names'"),
        ({"display": {}}, "'size'"),
        ({"display": {"size": 10**9}}, "'size'"),
        ({"display": {"size": 64.0}}, "'size'"),
        ({"mean": (0.1,)}, "'mean' must be 2 finite numbers"),
        ({"mean": (0.1, float("nan"))}, "'mean'"),
        ({"std": (0.1, 0.0)}, "'std' must be 2 finite numbers above 0"),
        ({"temperature": 0.0}, "'temperature'"),
        ({"dropout": 1.0}, "'dropout'"),
        ({"history": ({"loss": float("nan")},)}, "'history' holds what JSON cannot"),
        ({"metrics": {"f1": np.float32(0.9)}}, "'metrics' holds what JSON cannot"),
        ({"display": {"size": 64, "low": float("inf")}}, "'display' holds what JSON cannot"),
        ({"head": "dirichlet"}, "'tree' is empty, but a dirichlet head"),
    ],
)
def test_a_card_that_contradicts_itself_cannot_be_saved(make_card, tmp_path, changes, told):
    with pytest.raises(BadWeights, match=told):
        dataclasses.replace(make_card(), **changes).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_card_of_another_format_asks_for_an_update(make_card):
    with pytest.raises(BadWeights, match="format 1: update it"):
        Card.from_json(_entries(make_card()) | {"format": 2})


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "no JSON"), (b"\xff\xfe", "no JSON"), (b"[1]", "JSON object"), (b"[" * 100_000, "cannot be read")],
)
def test_a_card_of_other_bytes_is_refused(tmp_path, content, told):
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(BadWeights, match=told):
        Card.load(tmp_path)


def test_an_absent_card_says_what_to_name(tmp_path):
    with pytest.raises(BadWeights, match="name the folder of a model"):
        Card.load(tmp_path / "nothing")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(key=st.sampled_from([f.name for f in dataclasses.fields(Card)]), value=JSON)
def test_any_value_under_any_key_gives_a_card_or_bad_weights(make_card, key, value):
    try:
        card = Card.from_json(_entries(make_card()) | {key: value})
    except BadWeights:
        return
    assert Card.from_json(_entries(card)) == card


def test_permuted_columns_of_a_tree_are_refused(make_card):
    card = make_card("dirichlet")
    swapped = (card.names[1], card.names[0], *card.names[2:])
    with pytest.raises(BadWeights, match=f"'{swapped[0]}' for '{card.names[0]}'"):
        dataclasses.replace(card, names=swapped).check()


def test_an_unknown_tree_and_another_version_of_a_tree_are_refused(make_card):
    with pytest.raises(BadWeights, match="'tree' is 'gz99', which is not built in"):
        dataclasses.replace(make_card("dirichlet"), tree="gz99").check()
    with pytest.raises(BadWeights, match="another version of the tree 'gz2'"):
        dataclasses.replace(make_card("dirichlet"), tree_digest="0" * 64).check()


def test_a_tree_of_the_users_travels_inside_the_card(make_card, tmp_path):
    built_in = Tree.load("gz2")
    card = dataclasses.replace(make_card("dirichlet"), **cards.tree_entries(dataclasses.replace(built_in, name="mine")))
    card.save(tmp_path)
    assert Card.load(tmp_path).load_tree().columns == built_in.columns
    with pytest.raises(BadWeights, match="cannot be had"):
        dataclasses.replace(card, tree_toml="import os").check()


def test_a_built_in_tree_stands_in_the_card_by_name_and_digest():
    entries = cards.tree_entries(Tree.load("gz1"))
    assert entries["tree"] == "gz1" and not entries["tree_toml"] and len(entries["tree_digest"]) == 64
    assert set(cards.tree_entries(None).values()) == {""}


def test_a_tree_is_never_read_from_a_path_that_a_card_names(make_card, tmp_path):
    (tmp_path / "tree.toml").write_text(Tree.load("gz2").to_toml())
    with pytest.raises(BadWeights, match="not built in"):
        dataclasses.replace(make_card("dirichlet"), tree=str(tmp_path / "tree.toml")).check()


@pytest.mark.parametrize(
    "changes",
    [
        {"bands": ["r", "g"]},
        {"display": {"size": 8, "stretch": "asinh"}},
        {"names": ["spiral", "elliptical", "merger"]},
        {"mean": [0.0, 0.5]},
        {"std": [0.5, 0.5]},
        {"temperature": 2.0},
        {"backbone": "resnet18"},
        {"digest": "0" * 64},
    ],
)
def test_an_edit_of_the_meaning_is_found_by_the_golden_pair(save_model, changes):
    folder = save_model()
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(BadWeights, match="edited or swapped"):
        load_golden(folder)


def test_an_edit_of_the_licence_changes_no_meaning(save_model):
    folder = save_model()
    dataclasses.replace(Card.load(folder), licence="CC-BY-4.0", notes="hello").save(folder)
    images, answers = load_golden(folder)
    assert images.dtype == np.uint8 and answers.shape == (2, 3)


@pytest.mark.parametrize(
    ("golden", "told"),
    [
        ({"input": np.zeros((1, 2, 8, 8), np.uint8)}, "not 'input' and 'output'"),
        ({"input": np.zeros((1, 2, 9, 8), np.uint8), "output": np.zeros((1, 3), np.float32)}, "golden input"),
        ({"input": np.zeros((1, 2, 8, 8), np.float32), "output": np.zeros((1, 3), np.float32)}, "golden input"),
        ({"input": np.zeros((0, 2, 8, 8), np.uint8), "output": np.zeros((0, 3), np.float32)}, "golden input"),
        ({"input": np.zeros((), np.uint8), "output": np.zeros((0, 3), np.float32)}, "golden input"),
        ({"input": np.zeros((1, 2, 8, 8), np.uint8), "output": np.zeros((1, 4), np.float32)}, "golden output"),
        ({"input": np.zeros((1, 2, 8, 8), np.uint8), "output": np.full((1, 3), np.nan, np.float32)}, "golden output"),
        (b"PK\x03\x04 no safetensors", "cannot be read"),
        (b"", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_golden_pair_that_does_not_fit_is_refused(save_model, golden, told):
    folder = save_model()
    (folder / "golden.safetensors").unlink()
    if golden is not None:
        data = golden if isinstance(golden, bytes) else safetensors.numpy.save(golden)
        (folder / "golden.safetensors").write_bytes(data)
    with pytest.raises(BadWeights, match=told):
        load_golden(folder)


def test_a_model_is_found_by_its_folder_its_run_its_card_and_its_name(save_model, monkeypatch):
    folder = save_model()
    monkeypatch.setattr(cards, "SHIPPED", folder.parent)
    for name in (folder, str(folder), folder.parent, folder / "card.json", "model"):
        assert Path(find_model(name)).resolve() == folder.resolve()
    assert list(shipped_models()) == ["model"]
    with pytest.raises(BadWeights, match=r"'modle' is no model.*did you mean 'model'"):
        find_model("modle")


def test_no_model_by_that_name_lists_those_there_are(monkeypatch, tmp_path):
    monkeypatch.setattr(cards, "SHIPPED", tmp_path / "absent")
    with pytest.raises(BadWeights, match="none are installed"):
        find_model("../../etc")


def test_an_export_is_found_only_if_it_is_the_one_the_card_tells_of(save_model):
    folder = save_model()
    with pytest.raises(BadWeights, match=r"holds no model\.onnx"):
        find_onnx(folder)
    (folder / "model.onnx").write_bytes(b"another")
    with pytest.raises(BadWeights, match="SHA-256 differs"):
        find_onnx(folder)
