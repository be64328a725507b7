"""What runs an exported network: ONNX Runtime, OpenVINO where installed, torch where asked; one small class each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BadWeights, MissingExtra, RecipeError
from ..model.card import ONNX, find_onnx, load_golden
from ..model.encoder import find_encoder, find_encoder_onnx

GOLDEN_RTOL = 1e-4  # fp32 engines differ by the order of their sums alone: about 1e-6 seen, 1e-4 allowed

Graph = Callable[[NDArray[Any]], NDArray[np.float32]]


class Runtime(Protocol):
    """What opens the networks of model folders with so many threads, 0 leaving the number to it."""

    name: str

    def __init__(self, threads: int) -> None: ...

    def encoder(self, folder: Path) -> Graph:
        """From images to features, of a model that shares its encoder."""

    def network(self, folder: Path) -> Graph:
        """From images to answers; of a model that shares its encoder, from features to answers."""


class OnnxRuntime:
    """ONNX files on the CPU, in float32, with Microsoft's runtime: the engine of the base install."""

    name = "onnxruntime"

    def __init__(self, threads: int) -> None:
        import onnxruntime

        self._open = onnxruntime.InferenceSession
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.log_severity_level = 3

    def encoder(self, folder: Path) -> Graph:
        """See :class:`Runtime`."""
        return self._graph(find_encoder_onnx(folder), "images")

    def network(self, folder: Path) -> Graph:
        """See :class:`Runtime`."""
        return self._graph(find_onnx(folder), "features" if find_encoder(folder) else "images")

    def _graph(self, path: Path | None, given: str) -> Graph:
        session = self._open(str(path), self._options, providers=["CPUExecutionProvider"])
        return lambda values: session.run(None, {given: values})[0]


class OpenVino:
    """ONNX files on the CPU with Intel's runtime; float32 is asked for, since by itself it would take bfloat16."""

    name = "openvino"

    def __init__(self, threads: int) -> None:
        try:
            import openvino
        except ImportError:
            raise MissingExtra("openvino", "fast") from None
        self._core = openvino.Core()
        self._settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            self._settings["INFERENCE_NUM_THREADS"] = threads

    def encoder(self, folder: Path) -> Graph:
        """See :class:`Runtime`."""
        return self._graph(find_encoder_onnx(folder))

    def network(self, folder: Path) -> Graph:
        """See :class:`Runtime`."""
        return self._graph(find_onnx(folder))

    def _graph(self, path: Path | None) -> Graph:
        model = self._core.compile_model(str(path), "CPU", self._settings)
        return lambda values: np.array(model(values)[0])


class Torch:
    """The safetensors weights in torch, on a GPU where there is one."""

    name = "torch"

    def __init__(self, threads: int) -> None:
        try:
            import torch
        except ImportError:
            raise MissingExtra("torch", "train") from None
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def encoder(self, folder: Path) -> Graph:
        """See :class:`Runtime`."""
        from ..model.net import FeatureNet

        return self._graph(folder, FeatureNet)

    def network(self, folder: Path) -> Graph:
        """See :class:`Runtime`."""
        from ..model.net import AnswerNet, LastNet

        return self._graph(folder, LastNet if find_encoder(folder) else AnswerNet)

    def _graph(self, folder: Path, part: Callable[[Any], Any]) -> Graph:
        import torch

        from ..model import weights

        module = part(weights.load(folder)[0]).to(self._device).eval()

        def run(values: NDArray[Any]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return module(torch.from_numpy(values).to(self._device)).float().cpu().numpy()

        return run


ENGINES: dict[str, type[Runtime]] = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "torch": Torch}


class Engines:
    """Networks that are ready to answer about the same images; encoders that several share run once for all of them."""

    def __init__(self, folders: Sequence[Path], runtime: Runtime) -> None:
        self.name = runtime.name
        self._encoders: dict[str, Graph] = {}  # by digest
        self._networks: list[tuple[str, Graph]] = []  # with the digest of its encoder, "" where it has none of its own
        for folder in folders:
            found = find_encoder(folder)
            digest = found[1].digest if found else ""
            if digest and digest not in self._encoders:
                self._encoders[digest] = runtime.encoder(folder)
            self._networks.append((digest, runtime.network(folder)))

    def run_all(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Answers (N, K) float32 of each model in order, for images (N, bands, size, size) uint8."""
        seen: dict[str, NDArray[Any]] = {"": images}
        seen |= {digest: encoder(images) for digest, encoder in self._encoders.items()}
        return [network(seen[digest]) for digest, network in self._networks]

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the one encoder of all models sees in the images: float32 (N, n_features).

        Raises :class:`BadWeights` where there is no such encoder, or are several.
        """
        if len(self._encoders) != 1 or any(not digest for digest, _ in self._networks):
            raise BadWeights("these models do not share one encoder, so that there are no features of it to be had")
        (encoder,) = self._encoders.values()
        return encoder(images)

    def read(self, features: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Answers of each model in order, for what :meth:`features` gave."""
        return [network(features) for _, network in self._networks]

    def run_one(self, index: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answers (N, K) of one model."""
        digest, network = self._networks[index]
        return network(self._encoders[digest](images) if digest else images)


class Engine:
    """A network that is ready to answer."""

    def __init__(self, engines: Engines) -> None:
        self.name = engines.name
        self._engines = engines

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answers (N, K) float32 for images (N, bands, size, size) uint8: what the head's columns hold."""
        return self._engines.run_one(0, images)


def open_engine(folder: Path, name: str = "auto", threads: int = 0) -> Engine:
    """Make the engine ``name`` for a model's folder and prove it on its golden pair; see :func:`open_engines`."""
    return Engine(open_engines([folder], name, threads))


def open_engines(folders: Sequence[Path], name: str = "auto", threads: int = 0) -> Engines:
    """Make the engine ``name`` for the folders of several models, and prove each on its golden pair.

    ``auto`` is OpenVINO where it is installed and ONNX Runtime elsewhere; ``threads`` 0 leaves the number to the
    engine. Raises :class:`BadWeights` where the engine cannot read a network, or does not repeat its golden output
    within a relative 1e-4; :class:`MissingExtra` where the engine asked for is not installed.
    """
    if name == "auto":
        name = "openvino" if importlib.util.find_spec("openvino") else "onnxruntime"
    if name not in ENGINES:
        raise RecipeError(f"there is no engine '{name}'; there are: auto, {', '.join(ENGINES)}")
    golden = [load_golden(folder) for folder in folders]
    told = f"'{folders[0] / ONNX}'" if len(folders) == 1 else f"one of {', '.join(str(one) for one in folders)}"
    try:
        engines = Engines(folders, ENGINES[name](threads))
        answers = [engines.run_one(index, images) for index, (images, _) in enumerate(golden)]
    except (MissingExtra, BadWeights):
        raise
    except Exception as error:  # the runtimes raise many kinds for one fact: they cannot run this file
        raise BadWeights(f"{name} cannot run {told}: {error}") from error
    for folder, found, (_, wanted) in zip(folders, answers, golden, strict=True):
        if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=GOLDEN_RTOL, atol=1e-5):
            raise BadWeights(
                f"the model in '{folder}' does not repeat its golden answers with {name}: expected "
                f"{wanted.ravel()[:3]}, got {found.ravel()[:3]}; the weights, the card or the export have been "
                "changed: fetch or train it again"
            )
    return engines
