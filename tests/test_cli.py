"""The command line as a user types it: the four commands end to end, and each kind of bad input."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tuningfork import Votes, cli
from tuningfork.galaxy.cutout import Record

SIDE = 48
CLASSES = ("round", "flat")


def picture(kind: str, seed: int) -> np.ndarray:
    """A round or a flat blob at some angle, (SIDE, SIDE, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    angle = rng.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    flux = np.exp(-np.hypot(along, across * (1 if kind == "round" else 5)) / 6)
    return (255 * np.clip(flux[..., None] * [1, 0.8, 0.6] + rng.normal(0, 0.03, (SIDE, SIDE, 3)), 0, 1)).astype(
        np.uint8
    )


def write_galaxies(folder: Path, n: int) -> Path:
    """``n`` JPEGs named by id, and the table of their classes; returns the table."""
    (folder / "images").mkdir(parents=True)
    lines = ["objid,class"]
    for k in range(n):
        name = str(1237648720693755000 + k)  # as of SDSS: above 2^53
        kind = CLASSES[k % 2]
        (folder / "images" / f"{name}.jpg").write_bytes(Record.from_picture(name, picture(kind, k)).data)
        lines.append(f"{name},{kind}")
    table = folder / "labels.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with galaxies, their store, and a run trained on it."""
    import tuningfork

    folder = tmp_path_factory.mktemp("trained")
    table = write_galaxies(folder / "sky", 80)
    tuningfork.ingest(folder / "sky", folder / "store", labels=table)
    changes = {
        "model.backbone": "resnet18", "display.size": 32, "train.epochs": 5, "train.batch": 8,
        "train.ema": 0.0, "split.method": "stratified", "split.test": 0.25,
    }  # fmt: skip
    tuningfork.train(folder / "store", folder / "run", labels="class", changes=changes)
    return folder


def test_the_four_commands(run, tmp_path: Path) -> None:
    table = write_galaxies(tmp_path / "sky", 60)
    done = run("ingest", tmp_path / "sky", "--labels", table, "--out", tmp_path / "store")
    assert done.code == 0 and "60 galaxies in = 60 done + 0 rejected" in done.out
    words = ("--backbone", "mobilenetv4_small", "--epochs", 1, "--size", 32, "--set", "split.method=stratified")
    done = run("train", "--data", tmp_path / "store", "--labels", "class", "--out", tmp_path / "run", *words)
    assert done.code == 0, done.err
    votes = tmp_path / "votes.parquet"
    done = run("predict", tmp_path / "store", "--model", tmp_path / "run", "--part", "test", "--out", votes, "--json")
    assert done.code == 0, done.err
    counts = json.loads(done.out)
    assert counts["n_in"] == counts["n_done"] == len(Votes.read(votes).ids) > 0
    report = tmp_path / "report.html"
    done = run("evaluate", votes, "--truth", table, "--out", report)
    assert done.code == 0, done.err
    assert "accuracy" in done.out.lower() and "<html" in report.read_text()
    for path in (tmp_path / "store", tmp_path / "run", votes, table):
        assert run("info", path).code == 0


def test_a_network_that_learnt_is_right_about_galaxies_it_never_saw(run, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "votes.parquet"
    assert run("predict", trained / "store", "--model", trained / "run", "--part", "test", "--out", out).code == 0
    words = ("--truth", trained / "sky" / "labels.csv", "--out", tmp_path / "r.html", "--json")
    numbers = json.loads(run("evaluate", out, *words).out)["numbers"]
    assert numbers["metrics"]["accuracy"]["value"] >= 0.9  # round against 5:1 flat: two shapes nobody could confuse


def test_views_and_ensembles_answer_for_every_galaxy(run, trained: Path, tmp_path: Path) -> None:
    model = trained / "run"
    out = tmp_path / "votes.parquet"
    words = ("--model", model, "--model", model, "--views", 8, "--engine", "onnxruntime", "--batch", 7)
    assert run("predict", trained / "store", *words, "--out", out).code == 0
    votes = Votes.read(out)
    assert len(votes.ids) == 80 and votes.done.all()
    assert np.allclose(votes.values.sum(axis=1), 1, atol=1e-5)


def test_engines_agree(trained: Path) -> None:
    from tuningfork.model.card import find_model, load_golden
    from tuningfork.predict.engine import ENGINES, open_engine

    images, _ = load_golden(find_model(trained / "run"))
    answers = {name: open_engine(find_model(trained / "run"), name).run(images) for name in ENGINES}
    for other in answers.values():
        np.testing.assert_allclose(other, answers["onnxruntime"], rtol=1e-4, atol=1e-5)


def png_bomb(side: int = 13_000) -> bytes:
    """A valid PNG of side x side grey pixels, 169 megapixels in some 20 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def giant_fits() -> bytes:
    """A header that claims 200000 x 200000 pixels of float32, and 2,880 bytes of them."""
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 200_000), ("NAXIS2", 200_000)])
    return header.tostring().encode().ljust(2880) + bytes(2880)


def nan_fits(path: Path) -> None:
    fits.writeto(path, np.full((3, SIDE, SIDE), np.nan, np.float32))


def test_bad_pictures_are_rejected_and_the_rest_is_done(run, trained: Path, tmp_path: Path) -> None:
    sky = tmp_path / "sky"
    write_galaxies(sky, 6)
    images = sky / "images"
    (images / "cut.jpg").write_bytes(Record.from_picture("cut", picture("flat", 99)).data[:700])
    (images / "page.jpg").write_bytes(b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>")
    (images / "bomb.png").write_bytes(png_bomb())
    (images / "giant.fits").write_bytes(giant_fits())
    nan_fits(images / "nan.fits")
    (images / "empty.jpg").write_bytes(b"")
    expected = {
        "cut": "truncated", "page": "not_an_image", "bomb": "too_large", "giant": "too_large", "nan": "no_coverage",
        "empty": "empty",
    }  # fmt: skip
    done = run("predict", sky, "--model", trained / "run", "--out", tmp_path / "votes.parquet")
    assert done.code == cli.REJECTED and "12 galaxies in = 6 done + 6 rejected" in done.out
    rows = Votes.read(tmp_path / "votes.parquet").table.to_pylist()
    assert {row["id"]: row["reason"] for row in rows if row["status"] == "rejected"} == expected
    assert all(row["class"] in CLASSES for row in rows if row["status"] == "done")
    done = run("ingest", sky, "--out", tmp_path / "store", "--json")
    assert done.code == cli.REJECTED
    counts = json.loads(done.out)
    assert (counts["n_in"], counts["n_done"], counts["n_rejected"]) == (12, 6, 6)
    assert {one["id"]: one["reason"] for one in counts["rejected"]} == expected


def test_a_duplicate_id_is_refused_and_named(run, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / "sky" / folder).mkdir(parents=True)
        (tmp_path / "sky" / folder / "m51.jpg").write_bytes(Record.from_picture("m51", picture("flat", 1)).data)
    done = run("ingest", tmp_path / "sky", "--out", tmp_path / "store")
    assert done.code == cli.FAILED and "m51" in done.err and not (tmp_path / "store" / "store.json").exists()


def test_a_duplicate_row_of_a_catalogue_is_refused_and_named(run, tmp_path: Path) -> None:
    table = write_galaxies(tmp_path / "sky", 4)
    table.write_text(table.read_text() + "1237648720693755001,flat\n")
    done = run("ingest", tmp_path / "sky", "--labels", table, "--out", tmp_path / "store")
    assert done.code == cli.FAILED and "1237648720693755001" in done.err


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda text: text.replace("1237648720693755003,flat\n", ""), "1237648720693755003"),
        (lambda text: text.replace("12376", "x12376"), "12376"),
        (lambda text: text.replace("objid", "name_of_it"), "id"),
    ],
    ids=["a galaxy without a row", "ids that never match", "no id column"],
)
def test_labels_that_do_not_join_are_refused(run, tmp_path: Path, edit, says: str) -> None:
    table = write_galaxies(tmp_path / "sky", 4)
    table.write_text(edit(table.read_text()))
    done = run("ingest", tmp_path / "sky", "--labels", table, "--out", tmp_path / "store")
    assert done.code == cli.FAILED and says in done.err


def test_float_ids_are_refused(run, tmp_path: Path) -> None:
    table = write_galaxies(tmp_path / "sky", 4)
    table.write_text(table.read_text().replace("1237648720693755000,", "1.237648720693755e18,"))
    done = run("ingest", tmp_path / "sky", "--labels", table, "--out", tmp_path / "store")
    assert done.code == cli.FAILED and "1.237648720693755e" in done.err


def test_other_bands_are_refused_before_any_work(run, trained: Path, tmp_path: Path) -> None:
    for band in "gr":
        fits.writeto(tmp_path / f"des_{band}.fits", np.random.default_rng(0).normal(size=(30, 40, 40)).astype("f4"))
    words = ("--bands", "g,r", "--model", trained / "run", "--out", tmp_path / "v.parquet")
    done = run("predict", tmp_path / "des_{band}.fits", *words)
    assert done.code == cli.FAILED and "g, r" in done.err and "red, green, blue" in done.err
    assert not (tmp_path / "v.parquet").exists()


def test_a_galaxy_that_lacks_a_band_is_rejected_alone(run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, bands in (("a", "gr"), ("b", "g"), ("c", "gr")):
        for band in bands:
            fits.writeto(tmp_path / f"{name}_{band}.fits", rng.normal(size=(40, 40)).astype("f4"))
    done = run("ingest", tmp_path / "{id}_{band}.fits", "--bands", "g,r", "--out", tmp_path / "store", "--json")
    counts = json.loads(done.out)
    assert done.code == cli.REJECTED and counts["n_done"] == 2
    assert [(one["id"], one["reason"]) for one in counts["rejected"]] == [("b", "missing_band")]


def test_an_empty_folder_is_refused(run, tmp_path: Path) -> None:
    (tmp_path / "sky").mkdir()
    done = run("ingest", tmp_path / "sky", "--out", tmp_path / "store")
    assert done.code == cli.FAILED and "sky" in done.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ingest", "nowhere", "--out", "store"], "nowhere"),
        (["tree", "gz3"], "gz2"),
        (["predict", "nowhere", "--model", "nomodel", "--out", "v.parquet"], "nowhere"),
        (["train", "--data", "nowhere", "--out", "run"], "nowhere"),
        (["info", "nowhere"], "nowhere"),
    ],
    ids=["ingest", "tree", "predict", "train", "info"],
)
def test_what_is_not_there_is_named(run, tmp_path: Path, monkeypatch, words: list[str], says: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.code == cli.FAILED and says in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("flag", ["train.epcohs=3", "train.epochs=many", "train"])
def test_a_misspelt_choice_is_refused(run, trained: Path, tmp_path: Path, flag: str) -> None:
    done = run("train", "--data", trained / "store", "--labels", "class", "--out", tmp_path / "run", "--set", flag)
    assert done.code == cli.FAILED and flag.split("=")[0] in done.err


def test_version_and_help(run) -> None:
    assert run("--version").out.startswith("tuningfork ")
    for verb in ("demo", "simulate", "ingest", "train", "predict", "evaluate", "tree", "models", "info"):
        assert verb in run("--help").out
        assert run(verb, "--help").code == 0
