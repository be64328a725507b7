"""measure over a source: nothing is lost, by hanging, dying or bad galaxies; it goes on after a stop; the verb."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

pytest.importorskip("statmorph", reason="needs the extra [insight]")
from astropy.io import fits

from tuningfork import disk
from tuningfork.errors import BadCatalog, BandError, Reason, RecipeError, Stopped, TuningforkError
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.source import open_source
from tuningfork.galaxy.store import StoreWriter
from tuningfork.galaxy.tablefile import metadata, read_table
from tuningfork.insight import measuring
from tuningfork.insight.measuring import Psf, measure, read_psf
from tuningfork.insight.morphometry import measure_image
from tuningfork.insight.processes import Lost, in_processes

BANDS = ("g", "r")


def flux(seed: int, scale: float = 4.0) -> np.ndarray:
    """A disc in noise, (2, 64, 64) float32."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 31.5
    light = 60 * np.exp(-np.hypot(x, y * 1.4) / scale)
    return np.stack([light * k + rng.normal(0, 1, x.shape) for k in (0.5, 1)]).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good galaxies and a blank one, number 3."""
    place = tmp_path_factory.mktemp("sky") / "store"
    with StoreWriter(place) as writer:
        for number in range(6):
            pixels = flux(number) if number != 3 else np.random.default_rng(9).normal(0, 1, (2, 64, 64))
            writer.add(Record.from_pixels(f"galaxy{number}", pixels.astype(np.float32), BANDS, 0.4, 10.0 + number, 5.0))
    return place


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path) as file:
        return list(csv.DictReader(file))


def twice(item: object) -> object:
    """What the processes of these tests do: double a number, sleep for ever, die, or raise."""
    if item == "hang":
        time.sleep(600)
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "raise":
        raise ValueError("no such galaxy")
    return item * 2  # type: ignore[operator]


def test_what_hangs_or_dies_is_lost_alone_and_the_order_stays():
    items = [1, "hang", 2, "die", 3, "raise", 4, 5]
    came = list(in_processes(twice, items, workers=2, limit=4))
    reasons = [one.reason if isinstance(one, Lost) else one for one in came]
    assert reasons == [2, Reason.TOO_SLOW, 4, Reason.FAILED, 6, Reason.FAILED, 8, 10]
    assert "4 seconds" in came[1].detail and "signal 9" in came[3].detail and "no such galaxy" in came[5].detail


def test_processes_end_when_asked_and_with_nothing_to_do():
    assert list(in_processes(twice, [], workers=3, limit=1)) == []
    asked: list[object] = []
    came = []
    for one in in_processes(twice, [1, 2, "hang"], 1, 600, lambda: bool(asked)):
        came.append(one)
        if len(came) == 2:
            asked.append(True)
    assert came == [2, 4]


def test_a_script_that_cannot_be_imported_again_is_told(tmp_path: Path):
    """Without a guard each process would run the script anew."""
    script = tmp_path / "script.py"
    script.write_text(
        "from tuningfork.insight.processes import in_processes\nprint(list(in_processes(abs, [1], 1, 5)))\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert run.returncode and TuningforkError.__name__ in run.stderr and 'if __name__ == "__main__"' in run.stderr


def test_every_galaxy_is_a_row(store: Path, tmp_path: Path):
    told = []
    done = measure(store, tmp_path / "t.parquet", workers=2, progress=lambda *one: told.append(one))
    assert (done.n_in, done.n_done, done.n_rejected, done.n_resumed) == (6, 5, 1, 0)
    assert done.reasons == {"no_source": 1} and done.rejected[0].id == "galaxy3" and told[-1][:2] == (6, 6)
    table = read_table(tmp_path / "t.parquet")
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == [f"galaxy{n}" for n in range(6)]
    assert [row["status"] for row in rows] == ["done"] * 3 + ["rejected"] + ["done"] * 2
    assert rows[3]["reason"] == "no_source" and rows[3]["gini"] is None and rows[3]["ra"] == 13.0
    one = measure_image(flux(2), bands=BANDS).row()
    assert {name: rows[2][name] for name in one} == one  # what one call gives, to the last bit
    assert rows[2]["band"] == "r" and rows[2]["pixel_scale"] == 0.4
    assert metadata(table)["statmorph"] and table.schema.field("rhalf_ellip").metadata[b"unit"] == b"pix"
    assert not (tmp_path / "t.parquet.unfinished").exists()


def test_flagged_galaxies_stay(tmp_path: Path):
    """A galaxy as large as its picture leaves no sky: statmorph says so, and the row is there."""
    y, x = np.mgrid[:64, :64] - 31.5
    wide = 60 * np.exp(-(x**2 + y**2) / 2 / 16**2) + np.random.default_rng(0).normal(0, 1, x.shape)
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(Record.from_pixels("wide", wide[None].astype(np.float32), ("r",)))
    done = measure(tmp_path / "store", tmp_path / "t.csv", workers=1)
    row = rows_of(tmp_path / "t.csv")[0]
    assert (done.n_done, done.n_rejected, done.n_flagged) == (1, 0, 1)
    assert row["flag"] == "2" and "Image is not background-subtracted." in row["warnings"] and row["gini"]


def test_it_goes_on_where_it_was_stopped(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measuring, "KEPT", 1)
    whole, broken = tmp_path / "whole.parquet", tmp_path / "broken.parquet"
    measure(store, whole, workers=1)

    def sigterm(done: int, *_: object) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="2 of 6 galaxies are measured"):
        measure(store, broken, workers=1, progress=sigterm)
    assert not broken.exists()
    ledger = broken.with_name("broken.parquet.unfinished") / "rows.jsonl"
    ledger.write_bytes(ledger.read_bytes() + b'{"rows": [{"id": "torn')  # and a kill while it wrote
    with pytest.raises(RecipeError, match=r"another run \(band\)"):
        measure(store, broken, workers=1, band="g")
    done = measure(store, broken, workers=1)
    assert (done.n_in, done.n_resumed, done.n_done) == (6, 2, 5)
    assert pq.read_table(broken).equals(pq.read_table(whole))


def test_two_runs_do_not_share_a_table(store: Path, tmp_path: Path):
    with disk.lock(tmp_path / "t.parquet.unfinished"), pytest.raises(TuningforkError, match="in use"):
        measure(store, tmp_path / "t.parquet", workers=1)


@pytest.mark.parametrize(
    ("choice", "error", "match"),
    [
        ({"band": "z"}, BandError, "has the bands g, r; --band asks for 'z'"),
        ({"gain": 2.0}, RecipeError, "name that band"),
        ({"gain": -2.0, "band": "r"}, RecipeError, "gain is -2"),
        ({"limit": 0}, RecipeError, "limit is 0"),
        ({"workers": -1}, RecipeError, "workers is -1"),
        ({"psf": "wide"}, RecipeError, "neither a width such as 3.2px"),
        ({"psf": "-1px"}, RecipeError, "positive"),
        ({"ids": ["nobody"]}, BadCatalog, "nobody"),
    ],
)
def test_choices_that_cannot_be_are_refused_before_work(store: Path, tmp_path: Path, choice, error, match):
    with pytest.raises(error, match=match):
        measure(store, tmp_path / "t.parquet", **choice)
    assert not list(tmp_path.iterdir())


def test_a_psf_as_text_and_as_file(tmp_path: Path):
    assert read_psf("") == Psf() or read_psf("").width is None
    assert read_psf("3.2px").at(None) == read_psf("3.2").at(0.5) == 3.2
    assert read_psf("1.2arcsec").at(0.4) == pytest.approx(3.0)
    kernel = np.zeros((9, 9), np.float32)
    kernel[3:6, 3:6] = 1
    fits.writeto(tmp_path / "psf.fits", kernel)
    assert read_psf(str(tmp_path / "psf.fits")).at(None) == pytest.approx(kernel / 9)
    (tmp_path / "bad.fits").write_bytes(b"nothing")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_psf(str(tmp_path / "bad.fits"))


def test_the_verb(store: Path, tmp_path: Path, run):
    out = tmp_path / "t.parquet"
    came = run("measure", store, "--out", out, "--band", "g", "--psf", "1.2arcsec", "--workers", 1, "--json")
    told = json.loads(came.out)
    assert came.code == 3 and (told["n_in"], told["n_done"], told["n_rejected"]) == (6, 5, 1)
    assert told["rejected"][0]["reason"] == "no_source"
    assert set(pq.read_table(out)["band"].to_pylist()) == {"g", None}
    refused = run("measure", store, "--out", tmp_path / "t.txt")
    assert refused.code == 2 and "name a table to write" in refused.err


def test_ellipticals_are_more_concentrated_than_spirals(real_data: Path, tmp_path: Path):
    """Of EFIGI's pictures: experts' types against a number that never saw them, with a bootstrap interval.

    The stretch flattens nuclei, so that the AUC is near 0.75, and ten of each would not do.
    """
    labels = rows_of(real_data / "efigi" / "labels.csv")
    alone = [row for row in labels if float(row["Contamination"]) <= 0.25]
    early = [row["PGCname"] for row in alone if float(row["T"]) <= -4][:30]
    late = [row["PGCname"] for row in alone if 3 <= float(row["T"]) <= 6 and float(row["Inclination"]) <= 0.5][:30]
    source = open_source(real_data / "efigi" / "images")
    with StoreWriter(tmp_path / "store") as writer:  # half the pixels on each side: a third of the time
        for name in early + late:
            pixels = np.moveaxis(source.record(name).cutout().pixels, 0, -1)
            side = min(pixels.shape[:2]) // 2
            blocks = pixels[: 2 * side, : 2 * side].reshape(side, 2, side, 2, 3)
            halved = np.moveaxis(blocks.mean(axis=(1, 3)).round().astype(np.uint8), -1, 0)
            writer.add(Record.from_pixels(name, halved, ("red", "green", "blue")))
    done = measure(tmp_path / "store", tmp_path / "t.parquet", workers=2)
    assert done.n_in == done.n_done + done.n_rejected == 60 and "stretched pictures" in done.notes[0]
    rows = [row for row in pq.read_table(tmp_path / "t.parquet").to_pylist() if row["concentration"] is not None]
    is_early = np.array([row["id"] in early for row in rows])
    score = np.array([row["concentration"] for row in rows])
    rng = np.random.default_rng(0)
    draws = [
        np.concatenate([rng.choice(np.flatnonzero(is_early == k), (is_early == k).sum()) for k in (0, 1)])
        for _ in range(500)
    ]
    low = np.quantile([roc_auc_score(is_early[one], score[one]) for one in draws], 0.025)
    assert low > 0.5, f"AUC {roc_auc_score(is_early, score):.2f}, 95% above {low:.2f}"
