"""Models go to and come from a stand-in of huggingface.co on this machine, whole and proved or not at all."""

import base64
import dataclasses
import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch

from tuningfork.errors import BadWeights, MissingExtra, NetworkError, RecipeError
from tuningfork.evaluate.strangeness import fit_strangeness
from tuningfork.model import card as cards
from tuningfork.model import encoder, weights
from tuningfork.model.card import Card
from tuningfork.model.net import net_from_card
from tuningfork.model.share import share_encoder
from tuningfork.published import hub as door
from tuningfork.workflow.hub import _ENCODER, _MODEL, pull, push

pytest.importorskip("huggingface_hub")

COMMIT = "c0ffee" * 6 + "abcd"


class Hub:
    """One repository, in memory, behind as much of the site's protocol as sending and bringing files takes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.extra: dict[str, bytes] = {}  # what is listed besides, under any name
        self.asked: list[str] = []
        self.made: dict[str, object] = {}
        self.refuse = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words: object) -> None:
                pass

            def reply(self, value: object, status: int = 200, **headers: str) -> None:
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                for key, one in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(key.replace("_", "-"), one)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.asked.append(path)
                everything = hub.files | hub.extra
                if hub.refuse:
                    self.reply({"error": "no such thing"}, hub.refuse, X_Error_Message="no such thing")
                elif path.startswith("/api/models/"):
                    files = [{"rfilename": name, "size": len(data)} for name, data in everything.items()]
                    self.reply({"id": "me/galaxies", "sha": COMMIT, "siblings": files})
                elif (name := path.partition(f"/resolve/{COMMIT}/")[2]) in everything:
                    etag = hashlib.sha256(everything[name]).hexdigest()
                    self.reply(everything[name], ETag=f'"{etag}"', X_Repo_Commit=COMMIT)
                else:
                    self.reply({"error": path}, 404)

            do_HEAD = do_GET

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                hub.asked.append(self.path)
                if hub.refuse:
                    self.reply({"error": "who are you"}, hub.refuse)
                elif self.path == "/api/repos/create":
                    hub.made = json.loads(body)
                    self.reply({"url": f"{hub.url}/me/galaxies"})
                elif "/preupload/" in self.path:
                    names = [one["path"] for one in json.loads(body)["files"]]
                    modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
                    self.reply({"files": modes})
                elif "/commit/" in self.path:
                    for line in map(json.loads, body.splitlines()):
                        if line["key"] == "file":
                            hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                    self.reply({"commitUrl": f"{hub.url}/me/galaxies/commit/{COMMIT}", "commitOid": COMMIT})
                else:
                    self.reply({"errors": [], "warnings": []})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", "hf_of_no_one")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    hub = Hub()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models that share an encoder."""
    first = Card(
        name="x",
        bands=("g",),
        display={"size": 8},
        head="classes",
        names=("elliptical", "spiral"),
        backbone="s1",
        mean=(0.5,),
        std=(0.5,),
        licence="CC-BY-4.0",
        fails=("on mergers",),
    )
    torch.manual_seed(0)
    second = dataclasses.replace(first, names=("lens", "none"))
    nets = net_from_card(first), net_from_card(second)
    nets[1].load_state_dict(nets[0].state_dict())
    out = tmp_path_factory.mktemp("hub") / "set"
    pictures = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8), dtype=np.uint8)
    features = np.random.default_rng(1).normal(size=(150, nets[0].backbone.n_features))
    strange = fit_strangeness(features, directions=3).arrays
    share_encoder(
        {"gz1": (nets[0], first), "lens": (nets[1], second)}, out, pictures, encoder="eye", strangeness=strange
    )
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_pushed_is_what_is_pulled(site: Hub, kept: Path, tmp_path: Path) -> None:
    sent = push([kept / "gz1", kept / "lens"], "me/galaxies", url=site.url)
    assert sent.revision == COMMIT and sent.models == ("gz1", "lens")
    assert {name: data for name, data in site.files.items() if name != "README.md"} == contents(kept)
    assert site.made["name"] == "galaxies" and site.made.get("visibility", site.made.get("private")) in (
        "private",
        True,
    )
    page = site.files["README.md"].decode()
    assert "license: cc-by-4.0" in page and "## lens" in page and "  - on mergers" in page
    came = pull("me/galaxies", tmp_path / "models", url=site.url)
    assert contents(tmp_path / "models") == contents(kept) and came.bytes == sent.bytes
    weights.load(tmp_path / "models" / "lens")


def test_one_model_alone_takes_its_encoder_along(site: Hub, kept: Path) -> None:
    push(kept / "lens", "me/galaxies", public=True, url=site.url)
    assert {name.split("/")[0] for name in site.files} == {"lens", "eye", "README.md"}
    assert site.made.get("visibility", site.made.get("private")) in ("public", False)


def test_no_other_file_is_asked_for_and_none_leaves_the_folder(site: Hub, kept: Path, tmp_path: Path) -> None:
    site.files = contents(kept)
    site.extra = dict.fromkeys(
        ["pytorch_model.bin", "gz1/evil.py", "../card.json", "/etc/card.json", "a/b/card.json", "../../x/card.json",
         "..\\x/card.json", ".git/card.json", "gz1/../card.json", "gz1//card.json"], b"{}"
    )  # fmt: skip
    pull("me/galaxies", tmp_path / "in" / "models", url=site.url)
    assert contents(tmp_path) == {f"in/models/{name}": data for name, data in contents(kept).items()}
    got = {path.partition("/resolve/")[2] for path in site.asked if "/resolve/" in path}
    assert got == {f"{COMMIT}/{name}" for name in site.files}


@pytest.mark.parametrize("name", [*(f"gz1/{one}" for one in _MODEL), *(f"eye/{one}" for one in _ENCODER)])
@pytest.mark.parametrize("absent", [True, False])
def test_a_damaged_model_does_not_arrive(site: Hub, kept: Path, tmp_path: Path, name: str, absent: bool) -> None:
    site.files = contents(kept)
    data = site.files[name]
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    site.files[name] = data.replace(b'"bands"', b'"bnads"') if name.endswith(".json") else flipped
    if absent:
        del site.files[name]
    if name == "gz1/card.json" and absent:  # then there is one model less, which is whole
        assert pull("me/galaxies", tmp_path / "models", url=site.url).models == ("lens",)
        assert not (tmp_path / "models" / "gz1").exists()
        return
    with pytest.raises(BadWeights):
        pull("me/galaxies", tmp_path / "models", url=site.url)
    assert not contents(tmp_path)


def test_an_encoder_that_is_left_out_is_missed(site: Hub, kept: Path, tmp_path: Path) -> None:
    site.files = {name: data for name, data in contents(kept).items() if not name.startswith("eye/")}
    with pytest.raises(BadWeights, match="the encoder 'eye', which is not beside it"):
        pull("me/galaxies", tmp_path / "models", url=site.url)
    site.files = {name: data for name, data in contents(kept).items() if name.startswith("eye/")}
    with pytest.raises(BadWeights, match="holds no model"):
        pull("me/galaxies", tmp_path / "models", url=site.url)
    assert not contents(tmp_path)


def test_models_that_are_there_are_not_written_over_unasked(site: Hub, kept: Path, tmp_path: Path) -> None:
    site.files = contents(kept)
    (tmp_path / "gz1").mkdir()
    (tmp_path / "gz1" / "mine.txt").write_text("mine")
    with pytest.raises(RecipeError, match="holds gz1 already"):
        pull("me/galaxies", tmp_path, url=site.url)
    assert contents(tmp_path) == {"gz1/mine.txt": b"mine"}
    pull("me/galaxies", tmp_path, replace=True, url=site.url)
    assert contents(tmp_path) == contents(kept) | {"gz1/mine.txt": b"mine"}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_told_with_its_remedy(site: Hub, kept: Path, tmp_path: Path, status: int) -> None:
    site.refuse = status
    for call in (
        lambda: push(kept / "gz1", "me/galaxies", url=site.url),
        lambda: pull("me/galaxies", tmp_path, url=site.url),
    ):
        with pytest.raises(NetworkError, match=r"'me/galaxies'.*hf auth login") as told:
            call()
        assert "hf_of_no_one" not in str(told.value)
    assert not contents(tmp_path)


def test_an_empty_repository_a_bad_name_and_too_many_files(
    site: Hub, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NetworkError, match="holds no models of tuningfork"):
        pull("me/galaxies", tmp_path, url=site.url)
    with pytest.raises(NetworkError, match=r"me/galaxies/x.*OWNER|me/galaxies/x.*owner/name"):
        pull("me/galaxies/x/../y", tmp_path, url=site.url)
    site.files = contents(kept)
    monkeypatch.setattr(door, "LARGEST", 1000)
    with pytest.raises(NetworkError, match="at most 200 files of 1,000 bytes"):
        pull("me/galaxies", tmp_path, url=site.url)


def test_a_broken_model_is_not_sent(site: Hub, kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept, tmp_path / "set")
    (tmp_path / "set" / "gz1" / "model.onnx").write_bytes(b"?")
    with pytest.raises(BadWeights, match="SHA-256 differs"):
        push(tmp_path / "set" / "gz1", "me/galaxies", url=site.url)
    with pytest.raises(RecipeError, match="is called 'gz1', which is taken"):
        push([kept / "gz1", kept / "gz1"], "me/galaxies", url=site.url)
    assert not site.asked


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"tuningfork\[hub\]"):
        pull("me/galaxies", tmp_path)


def test_the_door_knows_the_files_of_a_model() -> None:
    ours = {cards.CARD, cards.WEIGHTS, cards.GOLDEN, cards.ONNX}
    assert {*door.FILES} == ours | {
        encoder.ENCODER_CARD,
        encoder.ENCODER_WEIGHTS,
        encoder.ENCODER_ONNX,
        encoder.STRANGENESS,
    }


def test_the_verbs_on_the_command_line(site: Hub, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from tuningfork.cli import app

    monkeypatch.setenv("HF_ENDPOINT", site.url)
    sent = CliRunner().invoke(app, ["push", "me/galaxies", "--model", str(kept / "gz1"), "--model", str(kept / "lens")])
    assert sent.exit_code == 0 and sent.output.startswith("sent gz1, lens (")
    came = CliRunner().invoke(app, ["pull", "me/galaxies", str(tmp_path / "models"), "--json"])
    assert json.loads(came.stdout)["models"] == ["gz1", "lens"] and contents(tmp_path / "models") == contents(kept)
