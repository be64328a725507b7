"""The exported network answers as torch does, for any number of galaxies, in the engines that will run it."""

import dataclasses
import json

import numpy as np
import onnx
import pytest

from tuningfork import disk
from tuningfork.errors import BadWeights
from tuningfork.model import export, weights
from tuningfork.model.card import Card, find_onnx, load_golden


@pytest.mark.parametrize(
    ("backbone", "head", "size"),
    [
        ("s1", "dirichlet", 21),
        ("mobilenetv4_small", "classes", 32),
        ("s1", "fractions", 8),
        ("s2_cnn", "sigmoid", 16),
        ("night_sky", "classes", 36),
        ("s4_cnn", "classes", 8),
        ("s4_resnet", "classes", 9),
        ("viewpoints16", "classes", 56),
        ("googlenet", "classes", 32),
    ],
)
def test_engines_repeat_torch(make_card, make_net, make_images, tmp_path, backbone, head, size):
    link = "divisive" if head == "fractions" else "softmax"
    card = make_card(head, backbone, size, temperature=1.5 if head == "classes" else 1.0, link=link)
    net = make_net(card)
    weights.save(net, card, tmp_path, make_images(card))
    path = export.export_onnx(tmp_path)
    assert find_onnx(tmp_path) == path and Card.load(tmp_path).onnx_digest == disk.sha256(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "card.json",
        "golden.safetensors",
        "model.onnx",  # one file: no weights beside it
        "weights.safetensors",
    ]
    images = np.random.default_rng(1).integers(0, 256, (5, 2, size, size), dtype=np.uint8)
    golden_input, golden = load_golden(tmp_path)
    for run in (_onnxruntime(path), _openvino(path)):
        for n in (1, 2, 5):
            np.testing.assert_allclose(run(images[:n]), weights.answer(net, images[:n]), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(run(golden_input), golden, rtol=1e-4, atol=1e-5)
    _check_interface(path, card)


def _onnxruntime(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["answers"], {"images": images})[0]


def _openvino(path):
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: model(images)[0]


def _check_interface(path, card):
    model = onnx.load(path)
    onnx.checker.check_model(model)
    (given,), (answers,) = model.graph.input, model.graph.output
    shape = [d.dim_value or "any" for d in given.type.tensor_type.shape.dim]
    assert (given.name, shape) == ("images", ["any", 2, card.size, card.size])
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert answers.name == "answers" and answers.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert answers.type.tensor_type.shape.dim[1].dim_value == len(card.names)
    assert {p.key: p.value for p in model.metadata_props}["tuningfork_digest"] == Card.load(path.parent).digest


def test_an_export_that_disagrees_is_not_written(save_model, monkeypatch):
    folder = save_model()

    def other(net, card):
        net.last.bias.data[0] += 0.01
        data = real(net, card)
        net.last.bias.data[0] -= 0.01
        return data

    real = export.onnx_bytes
    monkeypatch.setattr(export, "onnx_bytes", other)
    before = json.loads((folder / "card.json").read_text())
    with pytest.raises(BadWeights, match="disagrees with torch"):
        export.export_onnx(folder)
    assert not (folder / "model.onnx").exists() and json.loads((folder / "card.json").read_text()) == before


def test_exporting_is_silent_and_changes_nothing_but_the_export(save_model, capfd):
    folder = save_model()
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    card = Card.load(folder)
    export.export_onnx(folder)
    assert capfd.readouterr() == ("", "")
    after = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"model.onnx", "card.json"}
    assert dataclasses.replace(Card.load(folder), onnx_digest="") == card
