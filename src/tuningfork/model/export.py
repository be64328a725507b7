"""From weights to ONNX: one file from uint8 pictures to answers, proved against torch before it gets its name."""

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

from .. import disk
from ..errors import BadWeights, MissingExtra
from .card import GOLDEN_RTOL, ONNX, Card, load_golden
from .net import AnswerNet, GalaxyNet
from .weights import answer, load

OPSET = 18  # the exporter's own; ONNX Runtime and OpenVINO read it, and no conversion is needed
_ATOL = 1e-5


def export_onnx(folder: str | Path) -> Path:
    """Export the weights of a model folder to its model.onnx, enter the file's digest in the card, and return the path.

    The graph takes "images", uint8 (N, bands, size, size) with any N >= 1, and gives "answers", float32 (N, K):
    division by 255, mean and std, network, head and temperature are inside. It is written only if ONNX Runtime repeats
    torch within 1e-4 on the golden galaxies and on random pictures, for one galaxy and for several; otherwise, and
    where the weights do not fit their card, :class:`BadWeights` is raised.
    """
    folder = Path(folder)
    net, card = load(folder)
    data = onnx_bytes(net, card)
    golden_input, _ = load_golden(folder)
    shape = (3, len(card.bands), card.size, card.size)
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    _prove(data, net, card, (golden_input, golden_input[:1], pictures))
    disk.write_bytes(folder / ONNX, data)
    dataclasses.replace(card, onnx_digest=disk.sha256(data)).save(folder)
    return folder / ONNX


def onnx_bytes(net: GalaxyNet, card: Card) -> bytes:
    """The network as one ONNX file, with the card's name and digest in its metadata; nothing is checked here."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train") from error
    images = torch.zeros(2, len(net.bands), net.size, net.size, dtype=torch.uint8)
    with _quiet():
        program: Any = torch.onnx.export(
            AnswerNet(net).eval(),
            (images,),
            dynamo=True,
            input_names=["images"],
            output_names=["answers"],
            dynamic_shapes={"images": {0: torch.export.Dim("galaxies", min=1)}},
            opset_version=OPSET,
            verbose=False,
        )
    program.model.metadata_props.update({"tuningfork_model": card.name, "tuningfork_digest": card.digest})
    return program.model_proto.SerializeToString()


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


def _prove(data: bytes, net: GalaxyNet, card: Card, batches: tuple[NDArray[np.uint8], ...]) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    for images in batches:
        expected = answer(net, images)
        (got,) = session.run(["answers"], {"images": images})
        if got.shape != expected.shape or not np.allclose(got, expected, rtol=GOLDEN_RTOL, atol=_ATOL):
            off = np.abs(got - expected).max() if got.shape == expected.shape else f"shape {got.shape}"
            raise BadWeights(
                f"the export of '{card.name}' disagrees with torch on {len(images)} pictures (off by {off}): "
                "use engine 'torch' for this model and report the versions of torch, onnxscript and onnxruntime"
            )
