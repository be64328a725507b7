"""From weights to ONNX: one file from uint8 pictures to answers, proved against torch before it gets its name.

Models that share an encoder have two: the encoder's, from pictures to features, with its matrices in half precision,
and their own few kilobytes from features to answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .. import disk
from ..errors import BadWeights, MissingExtra
from .card import GOLDEN_RTOL, ONNX, Card, load_golden
from .encoder import ENCODER_ONNX, Encoder, find_encoder
from .net import AnswerNet, FeatureNet, GalaxyNet, LastNet
from .weights import answer, load

OPSET = 18  # the exporter's own; ONNX Runtime and OpenVINO read it, and no conversion is needed
_ATOL = 1e-5


def export_onnx(folder: str | Path) -> Path:
    """Export the weights of a model folder to its model.onnx, enter the file's digest in the card, and return the path.

    The graph takes "images", uint8 (N, bands, size, size) with any N >= 1, and gives "answers", float32 (N, K):
    division by 255, mean and std, network, head and temperature are inside. Of a model that shares its encoder it takes
    "features", float32 (N, n_features), and the encoder's graph, from "images" to "features", is exported too where it
    is not there yet. All is written only if ONNX Runtime repeats torch within 1e-4 on the golden galaxies and on random
    pictures, for one galaxy and for several; otherwise, and where the weights do not fit their card,
    :class:`BadWeights` is raised.
    """
    folder = Path(folder)
    net, card = load(folder)
    golden_input, _ = load_golden(folder)
    shape = (3, len(card.bands), card.size, card.size)
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    batches = (golden_input, golden_input[:1], pictures)
    if (found := find_encoder(folder)) is None:
        data = onnx_bytes(net, card)
        _prove((data,), net, card, batches)
    else:
        place, encoder = found
        path = place / ENCODER_ONNX
        is_there = path.is_file() and disk.sha256(path) == encoder.onnx_digest
        shared = path.read_bytes() if is_there else encoder_bytes(net, encoder)
        data = last_bytes(net, card)
        _prove((shared, data), net, card, batches)
        if not is_there:
            disk.write_bytes(path, shared)
            dataclasses.replace(encoder, onnx_digest=disk.sha256(shared)).save(place)
    disk.write_bytes(folder / ONNX, data)
    dataclasses.replace(card, onnx_digest=disk.sha256(data)).save(folder)
    return folder / ONNX


def onnx_bytes(net: GalaxyNet, card: Card) -> bytes:
    """The network as one ONNX file, with the card's name and digest in its metadata; nothing is checked here."""
    images = torch.zeros(2, len(net.bands), net.size, net.size, dtype=torch.uint8)
    program = _program(AnswerNet(net), images, "images", "answers")
    program.model.metadata_props.update({"tuningfork_model": card.name, "tuningfork_digest": card.digest})
    return program.model_proto.SerializeToString()


def encoder_bytes(net: GalaxyNet, encoder: Encoder) -> bytes:
    """The network without its last layer as one ONNX file, in half precision at rest (:func:`_packed`); not checked.

    Batch norms stay apart from their convolutions, whose filters would else be other numbers, which halves do not hold.
    The runtimes join them when they open the file.
    """
    images = torch.zeros(2, len(net.bands), net.size, net.size, dtype=torch.uint8)
    program = _program(FeatureNet(net), images, "images", "features", fuse=False)
    program.model.metadata_props.update({"tuningfork_encoder": encoder.name, "tuningfork_digest": encoder.digest})
    return _packed(program.model_proto)


def last_bytes(net: GalaxyNet, card: Card) -> bytes:
    """What a model adds to its encoder as one ONNX file, in half precision at rest; nothing is checked here."""
    program = _program(LastNet(net), torch.zeros(2, net.last.in_features), "features", "answers")
    program.model.metadata_props.update({"tuningfork_model": card.name, "tuningfork_digest": card.digest})
    return _packed(program.model_proto)


def _program(module: nn.Module, example: torch.Tensor, given: str, found: str, *, fuse: bool = True) -> Any:
    """torch's export of a module, for any number of galaxies."""
    try:
        import onnx  # noqa: F401
        import onnxscript.optimizer
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train") from error
    with _quiet():
        program: Any = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            input_names=[given],
            output_names=[found],
            dynamic_shapes=({0: torch.export.Dim("galaxies", min=1)},),
            opset_version=OPSET,
            optimize=fuse,
            verbose=False,
        )
        if not fuse:
            onnxscript.optimizer.fold_constants(program.model)
            onnxscript.optimizer.remove_unused_nodes(program.model)
    return program


def _packed(model: Any) -> bytes:
    """A model as bytes, with every matrix and filter that loses nothing by it in float16, widened inside the graph.

    So the file takes half the room, while all is computed in float32 from the very numbers that torch has. What the
    exporter remarks on where nodes come from is left out.
    """
    import onnx

    graph, widened = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if np.array_equal(halves.astype(np.float32), values):
            name = f"{tensor.name}.half"
            widened.append(onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
            tensor.CopyFrom(onnx.numpy_helper.from_array(halves, name))
    nodes = [*widened, *graph.node]
    graph.ClearField("node")
    graph.ClearField("value_info")
    graph.node.extend(nodes)
    for node in graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    onnx.checker.check_model(model)
    return model.SerializeToString()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about its own inside from the user: deprecations, and its progress on stdout."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        for kind in (DeprecationWarning, FutureWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", kind)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _prove(chain: tuple[bytes, ...], net: GalaxyNet, card: Card, batches: tuple[NDArray[np.uint8], ...]) -> None:
    """Raise :class:`BadWeights` unless the graphs, one after the other, answer as torch does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    sessions = [onnxruntime.InferenceSession(one, options, providers=["CPUExecutionProvider"]) for one in chain]
    for images in batches:
        expected = answer(net, images)
        got: NDArray[Any] = images
        for session in sessions:
            (got,) = session.run(None, {session.get_inputs()[0].name: got})
        if got.shape != expected.shape or not np.allclose(got, expected, rtol=GOLDEN_RTOL, atol=_ATOL):
            off = np.abs(got - expected).max() if got.shape == expected.shape else f"shape {got.shape}"
            raise BadWeights(
                f"the export of '{card.name}' disagrees with torch on {len(images)} pictures (off by {off}): "
                "use engine 'torch' for this model and report the versions of torch, onnxscript and onnxruntime"
            )
