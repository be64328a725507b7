"""The only door to weights: safetensors beside their card, loaded strictly or not at all, proved on a golden pair."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from .. import disk
from ..errors import BadWeights, RecipeError
from .backbone import BACKBONES
from .card import GOLDEN, GOLDEN_ATOL, GOLDEN_RTOL, ONNX, WEIGHTS, Card, load_golden
from .encoder import ENCODER_ONNX, ENCODER_WEIGHTS, Encoder, find_encoder
from .net import AnswerNet, GalaxyNet, net_from_card

_LARGEST_HEADER = 10_000_000  # bytes beyond the numbers themselves


def answer(net: GalaxyNet, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Answers (N, K) of a network for uint8 pictures (N, bands, size, size), without dropout and gradient."""
    was_training = net.training
    device = next(net.parameters()).device
    with torch.inference_mode():
        answers = AnswerNet(net).eval()(torch.from_numpy(np.ascontiguousarray(images)).to(device))
    net.train(was_training)
    return answers.float().cpu().numpy()


def save(net: GalaxyNet, card: Card, folder: str | Path, golden_input: NDArray[np.uint8]) -> Card:
    """Write weights.safetensors, golden.safetensors and card.json to ``folder``, and return the card as it reads.

    ``golden_input``: a few galaxies as the network sees them, uint8 (N, bands, size, size). The golden answers are
    those of the stored weights, after rounding where ``card.precision`` is "float16" (matrices and filters only; biases
    and statistics stay float32). Mean, std, temperature, dropout, number of parameters and version are the network's.
    The card is written last, so that a folder with a card that fits is whole; an older export is removed. Where the
    card names an ``encoder``, which :func:`save_encoder` has written beside, only the last layer is. Raises
    :class:`BadWeights` if card, network and golden input do not belong together, an answer is not finite, or the
    network's backbone is not that of the encoder.
    """
    folder = disk.make_folder(folder)
    state = _rounded(net.state_dict(), card.precision)
    own, encoder = (state, "") if not card.encoder else _beyond_encoder(state, folder.absolute().parent / card.encoder)
    data = safetensors.torch.save(own)
    card = _completed(net, dataclasses.replace(card, encoder_digest=encoder), disk.sha256(data))
    if golden_input.dtype != np.uint8 or golden_input.shape[1:] != (len(card.bands), card.size, card.size):
        raise BadWeights(
            f"golden input is {golden_input.dtype} {golden_input.shape}, the network wants uint8 "
            f"(N, {len(card.bands)}, {card.size}, {card.size})"
        )
    images = np.ascontiguousarray(golden_input)
    stored = _filled(card, {key: tensor.clone() for key, tensor in state.items()})
    output = answer(stored, images)
    if not len(images) or not np.isfinite(output).all():
        raise BadWeights(f"the network '{card.name}' answers its {len(images)} golden galaxies with NaN or infinity")
    golden = {"input": torch.from_numpy(images), "output": torch.from_numpy(output)}
    disk.remove(folder / ONNX)
    disk.write_bytes(folder / GOLDEN, safetensors.torch.save(golden, metadata={"meaning": card.meaning}))
    disk.write_bytes(folder / WEIGHTS, data)
    card.save(folder)
    return Card.load(folder)


def save_encoder(net: GalaxyNet, folder: str | Path, precision: str = "float16") -> Encoder:
    """Write encoder.safetensors and encoder.json to ``folder``: all of the network but its last layer.

    Rounded as :func:`save` does; an older export is removed. Models that share it are saved beside the folder, with its
    name as their card's ``encoder``.
    """
    folder = disk.make_folder(folder)
    state = _rounded({k: v for k, v in net.state_dict().items() if not k.startswith(_LAST)}, precision)
    data = safetensors.torch.save(state)
    encoder = Encoder(
        name=folder.name,
        backbone=net.backbone_name,
        bands=net.bands,
        size=net.size,
        n_features=net.last.in_features,
        parameters=sum(p.numel() for p in net.backbone.parameters()),
        precision=precision,
        digest=disk.sha256(data),
        tuningfork=importlib.metadata.version("tuningfork"),
    )
    disk.remove(folder / ENCODER_ONNX)
    disk.write_bytes(folder / ENCODER_WEIGHTS, data)
    encoder.save(folder)
    return encoder


def load(folder: str | Path) -> tuple[GalaxyNet, Card]:
    """The network of a model folder, on the CPU, in evaluation mode, and its card.

    Nothing in the folder is executed. Raises :class:`BadWeights` if the weights are not the bytes that the card tells
    of, if a tensor is missing, unexpected, or of another shape or type (all are listed), or if the network does not
    repeat its golden answers within a relative 1e-4. Of a model that shares its encoder, the encoder's folder must lie
    beside.
    """
    folder = Path(folder)
    card = Card.load(folder)
    images, golden = load_golden(folder)
    net = _filled(card, _state(folder, card))
    for key, values in (("mean", card.mean), ("std", card.std)):
        if not np.array_equal(getattr(net, key).numpy().ravel(), np.asarray(values, np.float32)):
            raise BadWeights(
                f"'{folder}': {key} is {values} in the card and {getattr(net, key).ravel().tolist()} in the weights"
            )
    answers = answer(net, images)
    if not np.allclose(answers, golden, rtol=GOLDEN_RTOL, atol=GOLDEN_ATOL):
        worst = np.unravel_index(np.argmax(np.abs(answers - golden)), golden.shape)
        raise BadWeights(
            f"'{folder}' does not repeat its golden answers: {answers[worst]:.6g} for {golden[worst]:.6g} "
            f"('{card.names[worst[1]]}' of golden galaxy {worst[0]}); do not predict with it, fetch or train it again"
        )
    return net, card


def load_backbone(net: GalaxyNet, path: str | Path) -> list[str]:
    """Fill the backbone of ``net`` from a safetensors file of pretrained weights, by name as timm and torchvision do.

    Such are ImageNet weights, Zoobot's encoders (huggingface.co/mwalmsley/zoobot-encoder-*), and weights.safetensors
    and encoder.safetensors of this package's models. All names may begin with one prefix ("encoder.", "backbone.",
    "model."): what lies outside it is not the backbone's. Every tensor of the backbone must be there by name, shape and
    type (of half precision they are widened), and the file may hold nothing else but what lies outside, a last layer of
    its own and auxiliary classifiers, whose names are returned. Raises :class:`BadWeights` that lists all differences,
    or, where there is no such file, says where one can be had.
    """
    path, net_state = Path(path), net.backbone.state_dict()
    if not path.is_file():
        raise BadWeights(f"'{path}' is no file of pretrained weights: {_where(net.backbone_name)}")
    size = sum(t.numel() * t.element_size() for t in net_state.values())
    if path.stat().st_size > 4 * size + _LARGEST_HEADER:
        raise BadWeights(f"'{path}' has {path.stat().st_size} bytes, a '{net.backbone_name}' needs {size}")
    state = _tensors(path.read_bytes(), path)
    prefix = _prefix(state, net_state)
    inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    left = [key for key in inside if key not in net_state and key.startswith(_CLASSIFIERS)]
    wanted = {key: (tuple(value.shape), value.dtype) for key, value in net_state.items()}
    given = {key: _widened(value) for key, value in inside.items() if key not in left}
    if wrong := _differences(given, wanted):
        raise BadWeights(
            f"'{path}' does not fit the backbone '{net.backbone_name}' of {len(net.bands)} bands in {len(wrong)}: "
            f"{'; '.join(wrong[:500])}. {_where(net.backbone_name)}"
        )
    net.backbone.load_state_dict({key: given[key] for key in net_state}, strict=True)
    return [prefix + key for key in left] + [key for key in state if not key.startswith(prefix)]


def _prefix(state: dict[str, Tensor], net_state: dict[str, Tensor]) -> str:
    """What stands before the backbone's names in a file: the shortest under which most of them are found, or ""."""
    first = next(iter(net_state))
    known = {"", *(key.removesuffix(first) for key in state if key.endswith(f".{first}"))}
    return max(sorted(known, key=len), key=lambda prefix: sum(prefix + key in state for key in net_state))


def _widened(tensor: Tensor) -> Tensor:
    """The same numbers in float32 where they are in a half precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


_LAST = "last."  # what a model that shares its encoder holds of its network
_CLASSIFIERS = ("fc.", "classifier.", "head.fc.", "AuxLogits.", "aux1.", "aux2.")


def _where(backbone: str) -> str:
    """What to do for ImageNet weights of a backbone."""
    repository = BACKBONES[backbone].imagenet
    if not repository:
        return (
            f"no ImageNet weights of '{backbone}' are published as safetensors: begin at random or at a model (start)"
        )
    return (
        f"ImageNet weights of '{backbone}', for three bands, are model.safetensors of https://huggingface.co/"
        f"{repository}: fetch it where the network allows, and give its path as model.pretrained"
    )


def _completed(net: GalaxyNet, card: Card, digest: str) -> Card:
    """The card with what the network knows; refuses one that tells of another network."""
    pairs = {
        "backbone": (card.backbone, net.backbone_name),
        "bands": (card.bands, net.bands),
        "display.size": (card.display.get("size"), net.size),
        "head": (card.head, net.head.kind),
        "names": (card.names, net.head.names),
        "link": (card.link, getattr(net.head, "link", card.link)),
    }
    wrong = [
        f"{key} is {ours} in the card, {theirs} in the network"
        for key, (ours, theirs) in pairs.items()
        if ours != theirs
    ]
    if wrong:
        raise BadWeights(f"the card of '{card.name}' tells of another network: {'; '.join(wrong)}")
    return dataclasses.replace(
        card,
        mean=tuple(float(v) for v in net.mean.ravel()),
        std=tuple(float(v) for v in net.std.ravel()),
        temperature=float(getattr(net.head, "temperature", 1.0)),
        dropout=float(net.dropout.p),
        parameters=net.n_parameters,
        digest=digest,
        onnx_digest="",
        tuningfork=importlib.metadata.version("tuningfork"),
    )


def _rounded(state: dict[str, Tensor], precision: str) -> dict[str, Tensor]:
    """The state as it is stored: contiguous, on the CPU, matrices and filters in the card's precision."""
    stored = {key: tensor.detach().to("cpu", copy=True).contiguous() for key, tensor in state.items()}
    if precision == "float16":
        stored = {
            k: t.half() if t.is_floating_point() and t.ndim > 1 and k not in _EXACT else t for k, t in stored.items()
        }
    return stored


_EXACT = ("mean", "std")


def _state(folder: Path, card: Card) -> dict[str, Tensor]:
    """All tensors of a model as they are stored, those of the encoder that it shares with them."""
    state = _read(folder / WEIGHTS, card.digest, card.parameters)
    if (found := find_encoder(folder)) is None:
        return state
    if others := [key for key in state if not key.startswith(_LAST)]:
        raise BadWeights(f"'{folder / WEIGHTS}' shares an encoder, but holds more than a last layer: {others[:5]}")
    place, encoder = found
    return state | _read(place / ENCODER_WEIGHTS, encoder.digest, encoder.parameters)


def _beyond_encoder(state: dict[str, Tensor], place: Path) -> tuple[dict[str, Tensor], str]:
    """What of a network's stored tensors is not in the encoder at ``place``, and the encoder's digest."""
    encoder = Encoder.load(place)
    shared = _read(place / ENCODER_WEIGHTS, encoder.digest, encoder.parameters)
    own = {key: tensor for key, tensor in state.items() if key.startswith(_LAST)}
    wrong = [
        key
        for key in {**shared, **state}
        if key not in own and not (key in shared and key in state and torch.equal(shared[key], state[key]))
    ]
    if wrong:
        raise BadWeights(
            f"the network does not stand on the encoder '{place}': it differs in {len(wrong)} tensors, first "
            f"{', '.join(wrong[:3])}; only networks with one backbone can share it"
        )
    return own, encoder.digest


def _read(path: Path, digest: str, parameters: int) -> dict[str, Tensor]:
    """The tensors of a weights file, proved to be the bytes that its card tells of."""
    try:
        size = path.stat().st_size
        most = 8 * parameters + _LARGEST_HEADER
        if size > most:
            raise BadWeights(f"'{path}' has {size} bytes, its card's {parameters} weights need fewer than {most}")
        data = path.read_bytes()
    except OSError as error:
        raise BadWeights(f"'{path}' cannot be read: {error.strerror or error}") from error
    if disk.sha256(data) != digest:
        raise BadWeights(f"'{path}' is not the file that its card tells of (SHA-256 differs): fetch or train it again")
    return _tensors(data, path)


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file's bytes."""
    if data.startswith((b"PK\x03\x04", b"\x80\x02")):  # torch.save, now and before 2020
        raise BadWeights(
            f"'{path}' is no safetensors file but a pickle (pytorch_model.bin, .ckpt, .pt), which can hold code and is "
            "not read. On huggingface.co it is often offered as model.safetensors of the branch refs/pr/1"
        )
    try:
        return {key: tensor.clone() for key, tensor in safetensors.torch.load(data).items()}
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BadWeights(f"'{path}' is no safetensors file: {error}") from error


def _filled(card: Card, state: dict[str, Tensor]) -> GalaxyNet:
    """The card's network with these tensors; built without memory first, so that a card cannot claim any."""
    try:
        with torch.device("meta"):
            net = net_from_card(card)
    except RecipeError as error:
        raise BadWeights(f"the card of '{card.name}' names a network that does not exist: {error}") from error
    wanted = {
        key: (tuple(tensor.shape), _stored_type(key, tensor, card.precision))
        for key, tensor in net.state_dict().items()
    }
    if wrong := _differences(state, wanted):
        more = f"; and {len(wrong) - 500} more" if len(wrong) > 500 else ""
        raise BadWeights(
            f"the weights of '{card.name}' do not fit their card in {len(wrong)}: {'; '.join(wrong[:500])}{more}"
        )
    full = {key: tensor.float() if tensor.dtype == torch.float16 else tensor for key, tensor in state.items()}
    net.load_state_dict(full, strict=True, assign=True)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.eval()


def _differences(state: dict[str, Tensor], wanted: dict[str, tuple[tuple[int, ...], torch.dtype]]) -> list[str]:
    """In what tensors differ from the shapes and types that are wanted by name, one line each."""
    wrong = [f"missing '{key}'" for key in wanted if key not in state]
    wrong += [f"unexpected '{key}'" for key in state if key not in wanted]
    for key, (shape, dtype) in wanted.items():
        if key in state and (tuple(state[key].shape), state[key].dtype) != (shape, dtype):
            wrong.append(f"'{key}' is {state[key].dtype} {tuple(state[key].shape)}, not {dtype} {shape}")
    return wrong


def _stored_type(key: str, tensor: Tensor, precision: str) -> torch.dtype:
    half = precision == "float16" and tensor.is_floating_point() and tensor.ndim > 1 and key not in _EXACT
    return torch.float16 if half else tensor.dtype
