"""What runs an exported network: ONNX Runtime, OpenVINO where installed, torch where asked; one small class each."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BadWeights, MissingExtra, RecipeError
from ..model.card import find_onnx, load_golden

GOLDEN_RTOL = 1e-4  # fp32 engines differ by the order of their sums alone: about 1e-6 seen, 1e-4 allowed


class Engine(Protocol):
    """A network that is ready to answer."""

    name: str

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answers (N, K) float32 for images (N, bands, size, size) uint8: what the head's columns hold."""


class OnnxRuntime:
    """``model.onnx`` on the CPU, in float32, with Microsoft's runtime: the engine of the base install."""

    name = "onnxruntime"

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(find_onnx(folder)), options, providers=["CPUExecutionProvider"]
        )

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`Engine`."""
        return self._session.run(None, {"images": images})[0]


class OpenVino:
    """``model.onnx`` on the CPU with Intel's runtime; float32 is asked for, since by itself it would take bfloat16."""

    name = "openvino"

    def __init__(self, folder: Path, threads: int) -> None:
        try:
            import openvino
        except ImportError:
            raise MissingExtra("openvino", "fast") from None
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._model = openvino.Core().compile_model(str(find_onnx(folder)), "CPU", settings)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`Engine`."""
        return np.array(self._model(images)[0])


class Torch:
    """The safetensors weights in torch, on a GPU where there is one."""

    name = "torch"

    def __init__(self, folder: Path, threads: int) -> None:
        try:
            import torch
        except ImportError:
            raise MissingExtra("torch", "train") from None
        from ..model import weights
        from ..model.net import AnswerNet

        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network, _ = weights.load(folder)
        self._network = AnswerNet(network).to(self._device).eval()

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`Engine`."""
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(images).to(self._device)
            return self._network(batch).float().cpu().numpy()


ENGINES: dict[str, type[Any]] = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "torch": Torch}


def open_engine(folder: Path, name: str = "auto", threads: int = 0) -> Engine:
    """Make the engine ``name`` for a model's folder and prove it on the model's golden pair.

    ``auto`` is OpenVINO where it is installed and ONNX Runtime elsewhere; ``threads`` 0 leaves the number to the
    engine. Raises :class:`BadWeights` where the engine cannot read the network, or does not repeat the golden output
    within a relative 1e-4; :class:`MissingExtra` where the engine asked for is not installed.
    """
    if name == "auto":
        name = "openvino" if importlib.util.find_spec("openvino") else "onnxruntime"
    if name not in ENGINES:
        raise RecipeError(f"there is no engine '{name}'; there are: auto, {', '.join(ENGINES)}")
    images, golden = load_golden(folder)
    try:
        engine: Engine = ENGINES[name](folder, threads)
        answers = engine.run(images)
    except (MissingExtra, BadWeights):
        raise
    except Exception as error:  # the runtimes raise many kinds for one fact: they cannot run this file
        raise BadWeights(f"{name} cannot run '{folder / 'model.onnx'}': {error}") from error
    if answers.shape != golden.shape or not np.allclose(answers, golden, rtol=GOLDEN_RTOL, atol=1e-5):
        raise BadWeights(
            f"the model in '{folder}' does not repeat its golden answers with {name}: expected {golden.ravel()[:3]}, "
            f"got {answers.ravel()[:3]}; the weights, the card or the export have been changed: fetch or train it again"
        )
    return engine
