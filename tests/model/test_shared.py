"""Models that share one encoder answer as they would alone, in every engine, and a set that does not fit is refused."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch

from tuningfork import disk
from tuningfork.errors import BadWeights
from tuningfork.model import export, share, weights
from tuningfork.model.card import Card, find_model, find_onnx, load_golden
from tuningfork.model.encoder import Encoder, encoder_folder, find_encoder
from tuningfork.predict.engine import ENGINES, open_engine, open_engines

KINDS = ("classes", "sigmoid", "dirichlet")


def _family(make_card, make_net, backbone="mobilenetv4_small", size=32, kinds=KINDS):
    """Nets of one random backbone, with statistics that no batch norm begins with, under heads of each kind."""
    nets, state = {}, None
    for k, kind in enumerate(kinds):
        card = make_card(kind, backbone, size, temperature=1.5 if kind == "classes" else 1.0, licence="CC0-1.0")
        net = make_net(card)
        if state is None:
            torch.manual_seed(7)
            for module in net.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.running_var.uniform_(0.5, 2.0)
                    module.running_mean.normal_(0.0, 0.1)
            state = {key: value for key, value in net.state_dict().items() if not key.startswith("last.")}
        net.load_state_dict(state | {key: value for key, value in net.state_dict().items() if key.startswith("last.")})
        torch.manual_seed(k)
        torch.nn.init.normal_(net.last.weight, std=0.02)
        nets[kind] = (net.eval(), card)
    return nets


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def family(kept, make_card, make_net, make_images):
    """(nets, folder of their set), written once and never changed: tests that change it take a copy."""
    nets = _family(make_card, make_net)
    out = kept / "set"
    if not out.exists():
        share.share_encoder(nets, out, make_images(nets["classes"][1], 2), encoder="eye")
    return nets, out


@pytest.fixture
def copy(family, tmp_path):
    shutil.copytree(family[1], tmp_path / "set")
    return tmp_path / "set"


def test_the_set_holds_the_encoder_once_and_little_of_each_model(family):
    nets, out = family
    files = {str(path.relative_to(out)): path.stat().st_size for path in out.rglob("*") if path.is_file()}
    each = {f"{kind}/{name}" for kind in KINDS for name in ("weights.safetensors", "model.onnx")}
    cards = {f"{kind}/{name}" for kind in KINDS for name in ("card.json", "golden.safetensors")}
    eye = {"eye/encoder.json", "eye/encoder.safetensors", "eye/encoder.onnx"}
    assert set(files) == each | cards | eye
    halves = 2 * sum(p.numel() for p in nets["classes"][0].backbone.parameters())
    assert files["eye/encoder.safetensors"] < 1.1 * halves and files["eye/encoder.onnx"] < 1.1 * halves
    for name in each:
        assert files[name] < 2 * 1280 * 37 + 10_000
    assert set(safetensors.torch.load_file(out / "classes" / "weights.safetensors")) == {"last.weight", "last.bias"}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_answers_as_the_rounded_network_does(family, engine):
    nets, out = family
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (5, 2, 32, 32), dtype=np.uint8)
    engines = open_engines([out / kind for kind in KINDS], engine, 1)
    together = engines.run_all(images)
    read = engines.read(engines.features(images))
    for kind, answers, again in zip(KINDS, together, read, strict=True):
        net, card = nets[kind]
        state = weights._rounded(net.state_dict(), "float16")
        card = dataclasses.replace(card, precision="float16", mean=(0.25, 0.5), std=(0.5, 0.25))
        expected = weights.answer(weights._filled(card, state), images)
        for found in (answers, again, open_engine(out / kind, engine, 1).run(images)):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        one_by_one = np.concatenate([engines.run_all(images[k : k + 1])[KINDS.index(kind)] for k in range(5)])
        np.testing.assert_allclose(one_by_one, expected, rtol=1e-4, atol=1e-5)
        assert np.abs(expected - expected[:1]).max() > 1e-3  # so that a constant would not pass


def test_the_encoder_runs_once_for_all_that_share_it(family, monkeypatch):
    calls = []
    real = ENGINES["onnxruntime"].encoder

    def counted(self, folder):
        graph = real(self, folder)
        return lambda images: calls.append(len(images)) or graph(images)

    monkeypatch.setattr(ENGINES["onnxruntime"], "encoder", counted)
    engines = open_engines([family[1] / kind for kind in KINDS], "onnxruntime", 1)
    calls.clear()
    engines.run_all(np.zeros((4, 2, 32, 32), np.uint8))
    assert calls == [4]


def test_a_model_of_its_own_beside_those_that_share(family, save_model, make_images):
    alone = save_model(head="classes")
    export.export_onnx(alone)
    images = make_images(Card.load(alone), 3)
    engines = open_engines([alone, alone], "onnxruntime", 1)
    for answers in engines.run_all(images):
        np.testing.assert_allclose(answers, weights.answer(weights.load(alone)[0], images), rtol=1e-4, atol=1e-5)
    with pytest.raises(BadWeights, match="do not share one encoder"):
        engines.features(images)


def test_a_shared_model_loads_whole_and_trains_on(family, make_card, make_net):
    nets, out = family
    net, card = weights.load(out / "classes")
    assert card.encoder == "eye" and card.licence == "CC0-1.0" and card.precision == "float16"
    assert card.name == "classes" and card.temperature == net.head.temperature == 1.5
    for key, value in nets["classes"][0].state_dict().items():
        torch.testing.assert_close(net.state_dict()[key], value, rtol=1e-3, atol=1e-6)
    fresh = make_net(make_card("classes", "mobilenetv4_small", 32))
    assert sorted(weights.load_backbone(fresh, out / "eye" / "encoder.safetensors")) == ["mean", "std"]
    for key, value in fresh.backbone.state_dict().items():
        torch.testing.assert_close(value, net.backbone.state_dict()[key], rtol=0, atol=0)


def test_the_golden_answers_are_those_of_the_rounded_weights(family):
    nets, out = family
    images, golden = load_golden(out / "dirichlet")
    np.testing.assert_array_equal(weights.answer(weights.load(out / "dirichlet")[0], images), golden)
    assert not np.array_equal(weights.answer(nets["dirichlet"][0], images), golden)


def test_networks_of_other_backbones_cannot_share_and_nothing_is_written(make_card, make_net, make_images, tmp_path):
    nets = _family(make_card, make_net, "s1", 8, ("classes", "sigmoid"))
    next(iter(nets["sigmoid"][0].backbone.parameters())).data.add_(1e-7)
    images = make_images(nets["classes"][1])
    with pytest.raises(BadWeights, match=r"'classes' and 'sigmoid' cannot share an encoder: they differ in backbone\."):
        share.share_encoder(nets, tmp_path / "out", images)
    nets["sigmoid"] = _family(make_card, make_net, "s1", 9, ("sigmoid",))["sigmoid"]
    with pytest.raises(BadWeights, match=r"they differ in size \(8 and 9\)"):
        share.share_encoder(nets, tmp_path / "out", images)
    for name in ("../up", "", ".hidden", "a/b", "ü"):
        with pytest.raises(BadWeights, match="cannot name folders"):
            share.share_encoder({name: nets["classes"]}, tmp_path / "out", images)
    for models, encoder in (({}, "eye"), ({"eye": nets["classes"]}, "eye")):
        with pytest.raises(BadWeights, match="shared by models of other names"):
            share.share_encoder(models, tmp_path / "out", images, encoder=encoder)
    assert not (tmp_path / "out").exists()


def test_ship_makes_a_set_of_trained_models_and_tells_of_them(make_card, make_net, make_images, tmp_path):
    nets = _family(make_card, make_net, "s1", 8, ("classes", "sigmoid"))
    for kind, (net, card) in nets.items():
        weights.save(net, card, tmp_path / kind, make_images(card))
    figure = {"what": "accuracy", "value": 0.91, "low": 0.9, "high": 0.92, "on": "the test part", "galaxies": 100}
    tell = {"a": {"measured": (figure,), "fails": ("on mergers",), "citation": "nobody 2026"}}
    folders = {"a": tmp_path / "classes", "b": tmp_path / "sigmoid"}
    cards = share.ship(folders, tmp_path / "set", tell=tell)
    assert cards["a"].measured == (figure,) and cards["a"].fails == ("on mergers",) and not cards["b"].fails
    assert {card.encoder for card in cards.values()} == {"encoder"} and [c.name for c in cards.values()] == ["a", "b"]
    for name in cards:
        open_engine(tmp_path / "set" / name, "onnxruntime", 1)
    with pytest.raises(BadWeights, match="entries that can be told"):
        share.ship(folders, tmp_path / "set", tell={"a": {"names": ("x",)}})


def test_an_absent_encoder_is_asked_for(copy):
    shutil.rmtree(copy / "eye")
    for load in (weights.load, lambda folder: open_engine(folder, "onnxruntime")):
        with pytest.raises(BadWeights, match="the encoder 'eye', which is not beside it"):
            load(copy / "classes")


def test_another_encoder_is_refused(copy, make_card, make_net):
    net = make_net(make_card("classes", "mobilenetv4_small", 32))
    weights.save_encoder(net, copy / "eye")
    for load in (weights.load, lambda folder: open_engine(folder, "onnxruntime")):
        with pytest.raises(BadWeights, match=r"was made on another encoder.*digest"):
            load(copy / "classes")


@pytest.mark.parametrize("name", ["eye/encoder.safetensors", "eye/encoder.onnx", "classes/model.onnx"])
def test_changed_bytes_are_refused(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(bytes(data))
    with pytest.raises(BadWeights, match="SHA-256 differs"):
        if name.endswith("onnx"):
            open_engine(copy / "classes", "onnxruntime")
        else:
            weights.load(copy / "classes")


def test_a_forged_encoder_whose_digests_agree_fails_the_golden_pair(copy, make_card, make_net):
    """Its ONNX file replaced, with the digest in encoder.json made to fit."""
    net = make_net(make_card("classes", "mobilenetv4_small", 32))
    encoder = Encoder.load(copy / "eye")
    data = export.encoder_bytes(net.eval(), encoder)
    (copy / "eye" / "encoder.onnx").write_bytes(data)
    dataclasses.replace(encoder, onnx_digest=disk.sha256(data)).save(copy / "eye")
    with pytest.raises(BadWeights, match="does not repeat its golden answers"):
        open_engine(copy / "classes", "onnxruntime")


@pytest.mark.parametrize("name", ["../set/eye", "/etc", "..", "eye/", "a" * 65])
def test_an_encoder_is_never_a_path(copy, name):
    path = copy / "classes" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"encoder": name}))
    with pytest.raises(BadWeights, match="'encoder' must be the plain name"):
        weights.load(copy / "classes")


def test_a_swapped_digest_of_the_encoder_is_found_by_the_golden_pair(copy):
    path = copy / "classes" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"encoder_digest": "0" * 64}))
    with pytest.raises(BadWeights, match="edited or swapped"):
        load_golden(copy / "classes")


def test_a_last_layer_that_brings_a_backbone_is_refused(copy, forge):
    state = safetensors.torch.load_file(copy / "classes" / "weights.safetensors")
    forge(copy / "classes", safetensors.torch.save(state | {"mean": torch.zeros(1, 2, 1, 1)}))
    with pytest.raises(BadWeights, match=r"holds more than a last layer: \['mean'\]"):
        weights.load(copy / "classes")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format": 2}', b'{"nmae": "x"}', b"[" * 100_000])
def test_a_broken_card_of_an_encoder_is_refused(copy, data):
    (copy / "eye" / "encoder.json").write_bytes(data)
    with pytest.raises(BadWeights, match=r"encoder\.json"):
        find_encoder(copy / "classes")


def test_a_model_is_found_from_within_its_folder_too(copy, monkeypatch):
    monkeypatch.chdir(copy / "classes")
    assert encoder_folder(".") == copy / "eye" and find_encoder(find_model("."))[0] == copy / "eye"


def test_a_missing_export_is_told_and_made_again(copy):
    (copy / "eye" / "encoder.onnx").unlink()
    with pytest.raises(BadWeights, match=r"holds no encoder\.onnx"):
        open_engine(copy / "classes", "onnxruntime")
    export.export_onnx(copy / "classes")
    assert open_engine(copy / "sigmoid", "onnxruntime").name == "onnxruntime"
    assert find_onnx(copy / "classes").is_file()


@pytest.mark.parametrize(
    "figure",
    [
        {"what": "accuracy", "value": 0.9},
        {"what": "accuracy", "on": "x"},
        {"what": "accuracy", "on": "x", "value": 0.9, "low": 0.95, "high": 1.0},
        {"what": "accuracy", "on": "x", "value": 0.9, "low": 0.8},
        {"what": "accuracy", "on": "x", "value": True},
        {"what": "", "on": "x", "value": 0.9},
    ],
)
def test_a_figure_says_what_on_what_and_within_which_bounds(make_card, figure):
    with pytest.raises(BadWeights, match="'measured' holds figures such as"):
        make_card(measured=(figure,)).check()


def test_cards_of_before_there_were_encoders_still_read(save_model):
    folder = save_model()
    path = folder / "card.json"
    entries = json.loads(path.read_text())
    for key in ("encoder", "encoder_digest", "measured", "fails"):
        del entries[key]
    path.write_text(json.dumps(entries))
    assert not Card.load(folder).encoder and weights.load(folder)


def test_a_set_is_opened_without_torch(family):
    code = (
        "import sys, numpy as np; from pathlib import Path; from tuningfork.predict.engine import open_engines\n"
        f"folders = [Path({str(family[1])!r}) / kind for kind in {KINDS!r}]\n"
        "open_engines(folders, 'onnxruntime', 1).run_all(np.zeros((1, 2, 32, 32), np.uint8))\n"
        "assert not {'torch', 'timm', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_training_starts_from_a_shared_model(family, make_card, make_net):
    """As ``train --start``: all of the network but the last layer, whose answers are others."""
    from tuningfork.train.origin import take

    card = make_card("classes", "mobilenetv4_small", 32, names=("lens", "none"))
    net = make_net(card)
    (said,) = take(net, card, str(family[1] / "classes"))
    assert "last.weight" in said and "backbone" not in said.partition(":")[2]
    whole = weights.load(family[1] / "classes")[0]
    assert all(torch.equal(a, b) for a, b in zip(net.backbone.parameters(), whole.backbone.parameters(), strict=True))
    assert not torch.equal(net.last.weight, whole.last.weight[:2])
