"""ImageNet weights: fetched once from a real local server, proven, kept, and put where the recipe says imagenet."""

import dataclasses
import importlib.util
import json
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from tuningfork import Record, cli, ingest, train
from tuningfork.errors import NetworkError, RecipeError
from tuningfork.model import weights
from tuningfork.model.backbone import BACKBONES, make_backbone
from tuningfork.network import Limits, Network
from tuningfork.published.imagenet import HUB, cache, fetch_imagenet

REPOSITORY = "timm/tiny.a1_in1k"
ADDRESS = f"/{REPOSITORY}/resolve/main/model.safetensors"


def _load() -> Any:
    if "liar" not in sys.modules:
        spec = importlib.util.spec_from_file_location("liar", Path(__file__).parent / "faults" / "liar.py")
        assert spec and spec.loader
        sys.modules["liar"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["liar"])
    return sys.modules["liar"]


Liar, Say = _load().Liar, _load().Say


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this test."""
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[[str], Network]]:
    """connect(url): a network without pauses that may ask one liar."""
    made: list[Network] = []

    def build(url: str) -> Network:
        limits = Limits(tries=2, idle=2.0, total=10.0, piece=4096, per_second=1e6)
        made.append(Network(tmp_path / "net", mirrors=[url], limits=limits, sleep=lambda _: None))
        return made[-1]

    yield build
    for network in made:
        network.close()


def tensors(n: int = 5000) -> bytes:
    """A safetensors file of n + 3 numbers."""
    return safetensors.numpy.save({"conv1.weight": np.arange(n, dtype=np.float32), "fc.bias": np.ones(3, np.float32)})


def test_weights_come_once_and_are_kept(folder: Path) -> None:
    told = []
    with Liar({ADDRESS: Say(tensors(), etag='"1"')}) as liar:
        path = fetch_imagenet(REPOSITORY, url=liar.url, progress=lambda *what: told.append(what))
        assert path.read_bytes() == tensors() and folder in path.parents
        assert told[-1] == (len(tensors()), len(tensors()), "model.safetensors")
        assert fetch_imagenet(REPOSITORY, url=f"{liar.url}/") == path
        assert len(liar.asked(ADDRESS)) == 1
    assert fetch_imagenet(REPOSITORY, url=liar.url) == path  # the server is gone


def test_a_damaged_file_in_the_cache_is_fetched_again() -> None:
    with Liar({ADDRESS: Say(tensors())}) as liar:
        path = fetch_imagenet(REPOSITORY, url=liar.url)
        path.write_bytes(tensors()[:-1] + b"!")
        assert fetch_imagenet(REPOSITORY, url=liar.url).read_bytes() == tensors()
        assert len(liar.asked(ADDRESS)) == 2


def test_a_download_that_was_cut_goes_on(connect: Callable[[str], Network]) -> None:
    whole = Say(tensors(), etag='"1"', ranges=True)
    with Liar({ADDRESS: [dataclasses.replace(whole, cut=9000), whole]}) as liar:
        path = fetch_imagenet(REPOSITORY, url=liar.url, network=connect(liar.url))
        assert path.read_bytes() == tensors()
        assert int(liar.asked(ADDRESS)[1].headers["range"].removeprefix("bytes=").rstrip("-")) >= 8192


def test_a_redirect_to_where_large_files_lie_is_followed(connect: Callable[[str], Network]) -> None:
    with Liar({"/large": Say(tensors())}) as liar:
        liar.scripts[ADDRESS] = Say(status=302, headers=(("Location", f"{liar.url}/large"),))
        assert fetch_imagenet(REPOSITORY, url=liar.url, network=connect(liar.url)).read_bytes() == tensors()


def header(text: bytes, claim: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if claim is None else claim) + text


NOT_WEIGHTS = {
    "a page": b"<!DOCTYPE html><html><body>Log in to Hugging Face</body></html>",
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46807446\n",
    "a pickle": b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94",
    "a zip": b"PK\x03\x04" + bytes(100),
    "cut, and sent as if whole": tensors()[:-100],
    "more than the header tells of": tensors() + b"\0" * 8,
    "a header that is no JSON": header(b"{conv1}"),
    "a header of another shape": header(b'{"conv1.weight": [1, 2]}'),
    "a header without tensors": header(b"{}"),
    "a header of text where numbers belong": header(b'{"a": {"data_offsets": [0, "x"]}}'),
    "a header deeper than a stack": header(b'{"a":' + b"[" * 200_000),
    "a header longer than the file": header(b"{}", 5_000_000),
}


@pytest.mark.parametrize("kind", NOT_WEIGHTS)
def test_what_is_no_safetensors_file_is_never_kept(kind: str, folder: Path, connect: Callable[[str], Network]) -> None:
    with Liar({ADDRESS: Say(NOT_WEIGHTS[kind])}) as liar, pytest.raises(NetworkError) as error:
        fetch_imagenet(REPOSITORY, url=liar.url, network=connect(liar.url))
    assert "127.0.0.1 did not give the ImageNet weights" in str(error.value)
    assert "give --pretrained FILE" in str(error.value) and ADDRESS in str(error.value)
    assert not list(folder.rglob("model.safetensors*"))
    with Liar({ADDRESS: Say(tensors())}) as liar:  # nothing stands in the way of a better one
        assert fetch_imagenet(REPOSITORY, url=liar.url).read_bytes() == tensors()


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_refusal_says_what_to_do_instead(status: int, connect: Callable[[str], Network]) -> None:
    with (
        Liar({ADDRESS: Say(b"no", status)}) as liar,
        pytest.raises(NetworkError, match=rf"did not give.*answered {status}.*fetch .*elsewhere.*or leave it out"),
    ):
        fetch_imagenet(REPOSITORY, url=liar.url, network=connect(liar.url))


def closed() -> str:
    """The address of a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_no_network_says_what_to_do_instead(connect: Callable[[str], Network]) -> None:
    url = closed()
    with pytest.raises(NetworkError) as error:
        fetch_imagenet(REPOSITORY, url=url, network=connect(url))
    said = str(error.value)
    assert said.startswith("cannot reach 127.0.0.1 (") and f"fetch {url}{ADDRESS} elsewhere" in said
    assert "give --pretrained FILE" in said and "leave it out for random weights" in said


def test_a_mirror_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Liar({ADDRESS: Say(tensors())}) as liar:
        monkeypatch.setenv("HF_ENDPOINT", f"{liar.url}/")
        assert fetch_imagenet(REPOSITORY).read_bytes() == tensors()
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example")
    with pytest.raises(NetworkError, match="plain http is for this machine alone"):
        fetch_imagenet(REPOSITORY)


def test_the_hub_is_asked_by_https_alone_and_redirects_stay_with_it() -> None:
    network = Network(cache(), allow=("huggingface.co", ".huggingface.co", ".hf.co"))
    assert HUB.startswith("https://")
    for url in ("https://cdn-lfs-us-1.hf.co/x", "https://cas-bridge.xethub.hf.co/x", f"{HUB}/x"):
        network.hosts.check(network._address(url, None), url)
    for url in ("http://huggingface.co/x", "https://hf.co.example.org/x", "https://nothf.co/x"):
        with pytest.raises(NetworkError, match="was not asked"):
            network.hosts.check(network._address(url, None), url)


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache() == tmp_path / "cache"
    monkeypatch.delenv("TUNINGFORK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache() == tmp_path / "xdg" / "tuningfork"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache() == Path.home() / ".cache" / "tuningfork"


# --- in training ------------------------------------------------------------------------------------------------------

BACKBONE = "s4_resnet"  # small; that it has ImageNet weights is true here alone


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, dict[str, torch.Tensor]]]:
    """A server with weights of BACKBONE, of which the recipe of a run may speak; the server, and the weights."""
    torch.manual_seed(5)
    state = {key: value.contiguous() for key, value in make_backbone(BACKBONE, 3, 16).state_dict().items()}
    data = safetensors.torch.save({**state, "fc.weight": torch.zeros(10, 4)})
    monkeypatch.setitem(BACKBONES, BACKBONE, dataclasses.replace(BACKBONES[BACKBONE], imagenet=REPOSITORY))
    with Liar({ADDRESS: Say(data)}) as liar:
        monkeypatch.setenv("HF_ENDPOINT", liar.url)
        yield liar, state


@pytest.fixture
def sky(tmp_path: Path) -> Path:
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
    "model.backbone": BACKBONE, "display.size": 16, "train.epochs": 1, "train.rate": 1e-12, "train.ema": 0.0,
    "train.weight_decay": 0.0, "train.threads": 1, "split.method": "stratified",
}  # fmt: skip


def same(run: Path, state: dict[str, torch.Tensor]) -> None:
    """Assert that the run's backbone has these weights (means and counts of its norms do change)."""
    found = weights.load(run / "model")[0].backbone.state_dict()
    for key, value in state.items():
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(found[key], value, rtol=0, atol=1e-9)


def test_a_recipe_may_say_imagenet(hub: Any, sky: Path, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "recipe.toml").write_text(f'model = {{backbone = "{BACKBONE}", pretrained = "imagenet"}}\n')
    changes = {key: value for key, value in STILL.items() if not key.startswith("model.")}
    summary = train(sky, tmp_path / "run", recipe=tmp_path / "recipe.toml", changes=changes)
    same(tmp_path / "run", hub[1])
    assert f"the backbone starts from '{folder}" in summary.text() and "fc.weight" in summary.text()


def test_the_command_line_says_it_with_one_flag_and_what_does_not_fit_is_refused(
    hub: Any, sky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hub[0].scripts[ADDRESS] = Say(tensors())  # whole, but of another network
    words = [word for key, value in STILL.items() for word in ("--set", f"{key}={value}")]
    command = ["tuningfork", "train", "--data", str(sky), "--out", str(tmp_path / "run"), "--json", *words]
    monkeypatch.setattr(sys, "argv", [*command, "--pretrained", "imagenet"])
    for _ in range(2):
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = json.loads(capfd.readouterr().err)
        assert stop.value.code == cli.FAILED and told["kind"] == "BadWeights"
        assert f"'{fetch_imagenet(REPOSITORY)}' does not fit the backbone '{BACKBONE}' of 3 bands" in told["error"]
    assert len(hub[0].asked(ADDRESS)) == 1  # what is in the cache is not fetched again


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model.backbone": "googlenet"}, "no ImageNet weights of 'googlenet'.*pickle.*resnet18.*safetensors"),
        ({"model.backbone": "s1"}, "no ImageNet weights of 's1'.*Choose one of resnet18"),
        ({"model.backbone": "resnet8"}, "did you mean 'resnet18'"),
        ({"display.bands": "red,green"}, r"of three bands, and these galaxies have 2 \(red, green\)"),
        ({"start": "elsewhere"}, "a network starts from one"),
    ],
)
def test_what_has_none_is_refused_without_a_request(hub: Any, sky: Path, tmp_path: Path, changes, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        train(sky, tmp_path / "run", changes={**STILL, "model.pretrained": "imagenet", **changes})
    assert hub[0].log == []


def test_every_backbone_that_has_imagenet_weights_names_a_repository() -> None:
    named = {name: one.imagenet for name, one in BACKBONES.items() if one.imagenet}
    assert named and all(repository.startswith("timm/") and repository.count("/") == 1 for repository in named.values())
