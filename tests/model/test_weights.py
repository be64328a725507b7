"""The door to weights: what goes in comes out, and nothing else comes in."""

import dataclasses
import io
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tuningfork.errors import BadWeights
from tuningfork.model import weights
from tuningfork.model.backbone import BACKBONES
from tuningfork.model.card import HEADS, Card, load_golden


@pytest.mark.parametrize("head", HEADS)
def test_loaded_weights_answer_as_those_that_were_saved(make_card, make_net, make_images, tmp_path, head):
    card = make_card(head, link="divisive" if head == "fractions" else "softmax")
    net, images = make_net(card), make_images(card, 3)
    written = weights.save(net, card, tmp_path, images)
    loaded, read = weights.load(tmp_path)
    assert read == written and read.parameters == net.n_parameters and not loaded.training
    np.testing.assert_array_equal(weights.answer(loaded, images), weights.answer(net, images))
    np.testing.assert_array_equal(load_golden(tmp_path)[1], weights.answer(net, images))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_is_whole_after_loading(make_card, make_net, make_images, tmp_path, backbone):
    card = make_card(backbone=backbone, size=max(64, BACKBONES[backbone].smallest))
    net = make_net(card)
    weights.save(net, card, tmp_path, make_images(card, 1))
    loaded, _ = weights.load(tmp_path)
    tensors = [*loaded.named_parameters(), *loaded.named_buffers()]
    assert not [name for name, tensor in tensors if tensor.is_meta]
    assert all(p.requires_grad for p in loaded.parameters())
    for key, value in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_loaded_weights_can_be_trained_on(save_model):
    net, _ = weights.load(save_model())
    net.train()(torch.rand(2, 2, 8, 8)).square().sum().backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    assert all(p.grad is not None for p in net.parameters())


def test_half_precision_halves_the_file_and_its_golden_pair_is_of_the_rounded_weights(
    make_card, make_net, make_images, tmp_path
):
    card = make_card(precision="float16")
    net, images = make_net(card), make_images(card)
    full = weights.save(net, dataclasses.replace(card, precision="float32"), tmp_path / "full", images)
    weights.save(net, card, tmp_path / "half", images)
    sizes = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("full", "half")]
    assert 0.49 < sizes[1] / sizes[0] < 0.52
    loaded, _ = weights.load(tmp_path / "half")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    golden = load_golden(tmp_path / "half")[1]
    np.testing.assert_array_equal(weights.answer(loaded, images), golden)
    assert 0 < np.abs(golden - weights.answer(net, images)).max() < 1e-2  # float16 keeps 11 bits
    assert full.digest != Card.load(tmp_path / "half").digest


def test_saving_takes_mean_std_and_temperature_from_the_network(make_card, make_net, make_images, tmp_path):
    card = make_card(temperature=1.5, mean=(0.1, 0.2))
    net = make_net(card)
    written = weights.save(
        net, dataclasses.replace(card, mean=(), std=(), temperature=1.0), tmp_path, make_images(card)
    )
    assert written.temperature == 1.5 and np.allclose(written.mean, (0.1, 0.2)) and written.std == (0.5, 0.25)


def test_a_card_of_another_network_is_not_saved(make_card, make_net, make_images, tmp_path):
    card = make_card()
    with pytest.raises(BadWeights, match=r"bands is .'r', 'g'. in the card.*names is"):
        weights.save(
            make_net(card),
            dataclasses.replace(card, bands=("r", "g"), names=("a", "b")),
            tmp_path,
            make_images(card),
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [np.zeros((1, 2, 8, 9), np.uint8), np.zeros((1, 2, 8, 8), np.float32)])
def test_golden_input_of_another_shape_or_type_is_refused(make_card, make_net, tmp_path, bad):
    with pytest.raises(BadWeights, match="golden input is"):
        weights.save(make_net(make_card()), make_card(), tmp_path, bad)


def test_a_network_that_answers_nan_is_not_saved(make_card, make_net, make_images, tmp_path):
    net = make_net(make_card())
    torch.nn.init.constant_(net.last.bias, float("nan"))
    with pytest.raises(BadWeights, match="NaN or infinity"):
        weights.save(net, make_card(), tmp_path, make_images(make_card()))
    assert not list(tmp_path.iterdir())


def test_saving_again_removes_the_older_export(save_model):
    folder = save_model()
    (folder / "model.onnx").write_bytes(b"older")
    save_model(temperature=2.0)
    assert not (folder / "model.onnx").exists()


# What must not come in (reliability.md, M1-M3). ``forge`` makes every digest agree, so that the reader itself is tried.


class _Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def _header(text: bytes, body: bytes = b"", claim: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if claim is None else claim) + text + body


def _pickle(protocol: int):
    return lambda good, bomb: pickle.dumps(_Bomb(bomb), protocol)


def _torch_file(good: bytes, bomb: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(_Bomb(bomb), buffer)
    return buffer.getvalue()


def _entry(dtype: str, shape: list[int], start: int, end: int) -> bytes:
    return json.dumps({"last.bias": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}).encode()


ATTACKS = {
    "pickle": _pickle(4),
    "text pickle": _pickle(0),
    "torch.save": _torch_file,
    "pickle after the tensors": lambda good, bomb: good + pickle.dumps(_Bomb(bomb)),
    "trailing byte": lambda good, bomb: good + b"\0",
    "empty": lambda good, bomb: b"",
    "seven bytes": lambda good, bomb: good[:7],
    "cut in the header": lambda good, bomb: good[:100],
    "cut in the tensors": lambda good, bomb: good[:-1],
    "header of 100 MB claimed": lambda good, bomb: _header(b"{}", claim=100_000_001),
    "header of 2^63 claimed": lambda good, bomb: _header(b"{}", claim=2**63),
    "header is no JSON": lambda good, bomb: _header(b"{'a': 1}"),
    "header nests deeply": lambda good, bomb: _header(b'{"a":' * 50_000),
    "offsets beyond the file": lambda good, bomb: _header(_entry("F32", [3], 0, 12), b"1234"),
    "offsets run backwards": lambda good, bomb: _header(_entry("F32", [3], 12, 0), b"0" * 12),
    "a hole before the tensor": lambda good, bomb: _header(_entry("F32", [3], 4, 16), b"0" * 16),
    "shape overflows": lambda good, bomb: _header(_entry("F32", [2**62, 2**62], 0, 12), b"0" * 12),
    "unknown type": lambda good, bomb: _header(_entry("OBJ", [3], 0, 12), b"0" * 12),
    "html": lambda good, bomb: b"<!DOCTYPE html><html>503 Service Unavailable</html>",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_file_is_refused_and_nothing_in_it_is_executed(save_model, forge, tmp_path, attack):
    folder, bomb = save_model(), tmp_path / "executed"
    forge(folder, ATTACKS[attack]((folder / "weights.safetensors").read_bytes(), bomb))
    with pytest.raises(BadWeights, match="is no safetensors file"):
        weights.load(folder)
    assert not bomb.exists()


def test_a_file_far_larger_than_its_card_tells_is_refused_unread(save_model, forge):
    folder = save_model()
    forge(folder, parameters=1)
    with open(folder / "weights.safetensors", "r+b") as file:
        file.truncate(20_000_000_000)  # sparse: takes no room
    with pytest.raises(BadWeights, match="has 20000000000 bytes"):
        weights.load(folder)


def test_one_flipped_bit_is_found(save_model):
    path = save_model() / "weights.safetensors"
    data = bytearray(path.read_bytes())
    for place in (9, len(data) // 2, len(data) - 1):
        broken = data.copy()
        broken[place] ^= 1
        path.write_bytes(broken)
        with pytest.raises(BadWeights, match="SHA-256 differs"):
            weights.load(path.parent)


def _state(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load((folder / "weights.safetensors").read_bytes())


def test_all_differences_of_keys_and_shapes_are_listed(save_model, forge):
    folder = save_model()
    state = _state(folder)
    state["backbone.fc6.weight"] = state.pop("backbone.fc5.weight")
    state["last.weight"] = state["last.weight"][:2].contiguous()
    del state["mean"]
    forge(folder, safetensors.torch.save(state))
    with pytest.raises(BadWeights) as caught:
        weights.load(folder)
    for told in (
        "in 4:",
        "missing 'mean'",
        "missing 'backbone.fc5.weight'",
        "unexpected 'backbone.fc6.weight'",
        "'last.weight' is torch.float32 (2, 500), not torch.float32 (3, 500)",
    ):
        assert told in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int32])
def test_tensors_of_another_type_are_refused(save_model, forge, dtype):
    folder = save_model()
    state = _state(folder)
    state["last.weight"] = state["last.weight"].to(dtype)
    forge(folder, safetensors.torch.save(state))
    with pytest.raises(BadWeights, match=f"'last.weight' is {dtype}"):
        weights.load(folder)


@pytest.mark.parametrize(("key", "value"), [("last.bias", 1e-2), ("backbone.fc4.weight", float("nan"))])
def test_other_numbers_fail_the_golden_pair(save_model, forge, key, value):
    folder = save_model()
    state = _state(folder)
    state[key].view(-1)[0] += value
    forge(folder, safetensors.torch.save(state))
    with pytest.raises(BadWeights, match="does not repeat its golden answers"):
        weights.load(folder)


def test_a_mean_that_differs_between_card_and_weights_is_refused(save_model, forge):
    folder = save_model()
    forge(folder, mean=[0.25, 0.5 + 1e-6])
    with pytest.raises(BadWeights, match="mean is"):
        weights.load(folder)


def test_swapped_classes_with_agreeing_digests_cannot_be_told_but_a_swapped_tree_can(save_model, forge):
    folder = save_model(head="dirichlet")
    names = list(Card.load(folder).names)
    with pytest.raises(BadWeights, match="columns of the tree"):
        forge(folder, names=[names[1], names[0], *names[2:]])
        weights.load(folder)


@pytest.mark.parametrize("backbone", ["os.system", "torch.nn.Linear", "__import__", "resnet81", ""])
def test_a_backbone_is_a_key_of_the_table_and_never_code(save_model, forge, backbone):
    folder = save_model()
    forge(folder, backbone=backbone)
    with pytest.raises(BadWeights, match=f"no backbone is called '{backbone}'"):
        weights.load(folder)


def test_a_card_cannot_claim_memory(save_model, forge):
    folder = save_model()
    state = _state(folder)
    forge(folder, safetensors.torch.save(state))
    card = dataclasses.replace(Card.load(folder), display={"size": 4096})
    with pytest.raises(BadWeights, match=r"'backbone.fc4.weight'.*not torch.float32 \(500, 33817088\)"):
        weights._filled(card, state)  # 68 GB, were it allocated


def test_a_pretrained_backbone_fits_by_name_or_every_difference_is_listed(make_card, make_net, tmp_path):
    net, path = make_net(make_card(backbone="resnet18", size=32)), tmp_path / "imagenet.safetensors"
    state = {key: torch.full_like(value, 0.5).contiguous() for key, value in net.backbone.state_dict().items()}
    path.write_bytes(safetensors.torch.save({**state, "fc.weight": torch.ones(10, 512), "fc.bias": torch.ones(10)}))
    assert sorted(weights.load_backbone(net, path)) == ["fc.bias", "fc.weight"]
    assert all(torch.equal(value, state[key]) for key, value in net.backbone.state_dict().items())
    assert not (net.last.weight == 1).any()

    del state["layer1.0.bn1.weight"]
    state |= {"conv1.weight": torch.ones(64, 3, 7, 7), "layer9.weight": torch.ones(1)}
    path.write_bytes(safetensors.torch.save(state))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(BadWeights) as error:
        weights.load_backbone(net, path)
    for said in (
        "of 2 bands in 3: missing 'layer1.0.bn1.weight'; unexpected 'layer9.weight'; 'conv1.weight' is torch.float32 "
        "(64, 3, 7, 7), not torch.float32 (64, 2, 7, 7)",
        "https://huggingface.co/timm/resnet18.a1_in1k",
    ):
        assert said in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_where_pretrained_weights_can_be_had_is_told(make_card, make_net, tmp_path):
    net = make_net(make_card(backbone="resnet18", size=32))
    with pytest.raises(BadWeights, match=r"no file of pretrained weights.*timm/resnet18\.a1_in1k"):
        weights.load_backbone(net, tmp_path / "absent.safetensors")
    with pytest.raises(BadWeights, match="no ImageNet weights of 's1'"):
        weights.load_backbone(make_net(make_card()), tmp_path / "absent.safetensors")
    (tmp_path / "page.html").write_text("<html>503 Service Unavailable</html>")
    with pytest.raises(BadWeights, match="is no safetensors file"):
        weights.load_backbone(net, tmp_path / "page.html")


@pytest.mark.parametrize("prefix", ["", "encoder.", "model.", "module.encoder.", "backbone."])
@pytest.mark.parametrize("backbone", ["convnext_nano", "resnet18"])
def test_an_encoder_is_found_by_name_under_any_one_prefix(make_card, make_net, tmp_path, backbone, prefix):
    """As Zoobot's encoders on huggingface.co (timm's names) and what its fine-tuned models hold beside a head."""
    net, path = make_net(make_card(backbone=backbone, size=32)), tmp_path / "encoder.safetensors"
    state = {key: torch.rand(value.shape).to(value.dtype) for key, value in net.backbone.state_dict().items()}
    beside = {"head.1.weight": torch.ones(3), "loss.scale": torch.ones(1)} if prefix else {"fc.weight": torch.ones(2)}
    path.write_bytes(safetensors.torch.save({prefix + key: value for key, value in state.items()} | beside))
    assert sorted(weights.load_backbone(net, path)) == sorted(beside)
    assert all(torch.equal(value, state[key]) for key, value in net.backbone.state_dict().items())

    wanting = {prefix + key: value for key, value in list(state.items())[:-1]}
    path.write_bytes(safetensors.torch.save(wanting))
    with pytest.raises(BadWeights, match="in 1: missing"):
        weights.load_backbone(net, path)


def test_half_precision_is_widened_and_whole_numbers_are_not_taken_for_weights(make_card, make_net, tmp_path):
    net, path = make_net(make_card()), tmp_path / "half.safetensors"
    state = {key: value.to(torch.bfloat16).contiguous() for key, value in net.backbone.state_dict().items()}
    path.write_bytes(safetensors.torch.save(state))
    weights.load_backbone(net, path)
    assert all(torch.equal(value, state[key].float()) for key, value in net.backbone.state_dict().items())
    path.write_bytes(safetensors.torch.save({key: value.int() for key, value in state.items()}))
    with pytest.raises(BadWeights, match=r"is torch\.int32"):
        weights.load_backbone(net, path)


def test_a_pickled_encoder_is_refused_and_where_a_safe_one_may_be_is_told(make_card, make_net, tmp_path):
    net, path = make_net(make_card()), tmp_path / "pytorch_model.bin"
    torch.save(net.backbone.state_dict(), path)
    with pytest.raises(BadWeights, match=r"is no safetensors file but a pickle.*refs/pr/1"):
        weights.load_backbone(net, path)
