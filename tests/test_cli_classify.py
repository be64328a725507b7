"""`tuningfork classify` as a user types it: text, JSON, table, figure, exit codes; without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuningfork import cli
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.tablefile import read_table

from .predict import sketches


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set of models, a picture a.jpg, and many/, eleven galaxies and one that is noise."""
    folder = tmp_path_factory.mktemp("sky")
    sketches.make_set(folder / "set")
    (folder / "many").mkdir()
    for seed in range(11):
        shown = sketches.picture(64, 0.7, seed=seed)
        (folder / "many" / f"g{seed:02d}.jpg").write_bytes(Record.from_picture("g", shown).data)
    noise = np.random.default_rng(0).integers(8, 18, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "many" / "noise.png")
    (folder / "a.jpg").write_bytes((folder / "many" / "g00.jpg").read_bytes())
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tuningfork", "classify", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capfd.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


def test_one_picture_is_a_block_of_lines(sky: Path, run) -> None:
    code, out, _ = run(sky / "a.jpg", "--model", sky / "set")
    lines = out.splitlines()
    assert code == cli.DONE and lines[0] == "a" and lines[-1] == "1 galaxies in = 1 done + 0 rejected"
    assert [line.split()[0] for line in lines[1:5]] == ["source", "gz1", "efigi", "gz2"]
    assert "Petrosian radius" in lines[1] and "(T " in lines[3] and "→" in lines[4]


def test_many_are_a_line_each_and_a_rejected_one_makes_the_exit_code_3(sky: Path, run, tmp_path: Path) -> None:
    words = ("--out", tmp_path / "t.fits", "--figure", tmp_path / "f.png", "--views", 8)
    code, out, _ = run(sky / "many", "--model", sky / "set", *words)
    lines = out.splitlines()
    assert code == cli.REJECTED and len(lines) == 12 + 4
    assert lines[11].startswith("noise  rejected: no_source") and "12 galaxies in = 11 done + 1 rejected" in out
    table = read_table(tmp_path / "t.fits")
    assert table.num_rows == 12 and {"x", "petrosian_radius", "p_edge_on", "T"} <= set(table.column_names)
    with Image.open(tmp_path / "f.png") as figure:
        assert min(figure.size) > 1000
    assert lines[-2:] == [f"table: {tmp_path / 't.fits'}", f"figure: {tmp_path / 'f.png'}"]


def test_json_holds_the_answers_and_nothing_else_is_printed(sky: Path, run) -> None:
    code, out, err = run(sky / "many" / "noise.png", sky / "a.jpg", "--model", sky / "set", "--json")
    done = json.loads(out)
    assert code == cli.REJECTED and not err and (done["n_in"], done["n_done"], done["n_rejected"]) == (2, 1, 1)
    noise, galaxy = done["galaxies"]
    assert noise["status"] == "rejected" and noise["reason"] == "no_source" and "answers" not in noise
    assert sum(galaxy["answers"]["gz1"].values()) == pytest.approx(1, abs=1e-4)
    assert done["models"]["gz2"] == {"head": "dirichlet", "tree": "gz2"}
    code, out, _ = run(sky / "many" / "noise.png", "--model", sky / "set", "--json", "--no-resize")
    assert code == cli.DONE and "x" not in json.loads(out)["galaxies"][0]


def test_a_figure_of_nothing_is_told_and_not_drawn(sky: Path, run, tmp_path: Path) -> None:
    code, out, _ = run(sky / "many" / "noise.png", "--model", sky / "set", "--figure", tmp_path / "f.png")
    assert code == cli.REJECTED and "is not drawn: no galaxy was classified" in out
    assert not (tmp_path / "f.png").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("a.png",), "did you mean"),
        (("a.jpg", "--model", "nowhere"), "is no model"),
        (("a.jpg", "--out", "x.txt"), "its suffix may be"),
        (("a.jpg", "--figure", "x.gif"), "its suffix may be"),
        (("a.jpg", "--views", "3"), "it may be 1, 2, 4"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(sky: Path, run, monkeypatch, words, told: str) -> None:
    monkeypatch.chdir(sky)
    model = () if "--model" in words else ("--model", "set")
    code, _, err = run(*words, *model)
    assert code == cli.FAILED and told in err


def test_it_starts_and_runs_without_torch_and_draws_only_where_asked(sky: Path) -> None:
    words = ["tuningfork", "classify", str(sky / "a.jpg"), "--model", str(sky / "set"), "--engine", "onnxruntime"]
    code = (
        f"import sys; sys.argv = {words!r}\n"
        "from tuningfork.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'timm', 'onnx', 'openvino', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
