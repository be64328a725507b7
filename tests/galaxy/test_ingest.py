"""Ingest: every galaxy accounted for by id, the bad with a reason, labels joined or refused, the same run the same."""

import gzip
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import simplejpeg
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tuningfork.errors import BadCatalog, BadStore, DuplicateIds, Reason, Stopped, Unmatched
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import COLOUR, Record
from tuningfork.galaxy.ingest import Summary, ingest
from tuningfork.galaxy.source import open_source
from tuningfork.galaxy.store import Store


def jpeg(seed: int, side: int = 16) -> bytes:
    picture = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return simplejpeg.encode_jpeg(picture)


def folder_of(path: Path, ids: list[str]) -> Path:
    path.mkdir()
    for number, name in enumerate(ids):
        (path / f"{name}.jpg").write_bytes(jpeg(number))
    return path


def labels(path: Path, ids: list[str]) -> Path:
    path.write_text(
        "objid,class\n" + "".join(f"{name},{'spiral' if n % 2 else 'smooth'}\n" for n, name in enumerate(ids))
    )
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


def accounted(summary: Summary, ids: list[str]) -> None:
    store = Store.open(summary.path)
    assert summary.n_in == summary.n_done + summary.n_rejected == len(ids)
    assert sorted([*store.ids, *(r.id for r in summary.rejected)]) == sorted(ids)
    assert store.rejected == list(summary.rejected) and len(store) == summary.n_done


# --- what is stored -----------------------------------------------------------------------------------------------


def test_pictures_keep_their_bytes_and_get_their_labels(tmp_path: Path) -> None:
    ids = [str(1237648720693755918 + n) for n in range(9)]  # beyond 2^53
    source = folder_of(tmp_path / "in", ids)
    labels(source / "labels.csv", ids)
    calls: list[tuple[int, int, str]] = []
    told = lambda done, total, text: calls.append((done, total, text))  # noqa: E731
    summary = ingest(source, tmp_path / "out", labels=source / "labels.csv", shard_size=4, progress=told)
    accounted(summary, ids)
    store = Store.open(tmp_path / "out")
    assert list(store.ids) == ids and store.bands == COLOUR and [s.rows for s in store.shards] == [4, 4, 1]
    assert all(
        isinstance(r, Record) and r.data == jpeg(n) and r.format == "jpeg" for n, r in enumerate(store.records())
    )
    assert store.catalog.ids == ids
    assert list(store.catalog["class"]) == ["smooth", "spiral"] * 4 + ["smooth"]
    assert calls == [(n, 9, "0 rejected") for n in range(1, 10)]
    assert summary.others == ("labels.csv",) and "1 file that is no image was passed by: labels.csv" in str(summary)


def test_flux_becomes_npy_with_what_the_header_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    data = np.random.default_rng(0).normal(size=(3, 20, 20))
    hdu = fits.PrimaryHDU(data)
    hdu.header["BANDS"] = "grz"
    for key, value in {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 10.5, "CRPIX2": 10.5,
        "CD1_1": -0.262 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.262 / 3600, "CUNIT1": "deg", "CUNIT2": "deg",
    }.items():  # fmt: skip
        hdu.header[key] = value
    hdu.writeto(tmp_path / "in" / "a.fits")
    accounted(ingest(tmp_path / "in", tmp_path / "out"), ["a"])
    record = Store.open(tmp_path / "out").record("a")
    assert record.format == "npy" and record.bands == ("g", "r", "z")
    np.testing.assert_array_equal(record.cutout().pixels, data.astype(np.float32))
    assert record.pixel_scale == pytest.approx(0.262) and (record.ra, record.dec) == pytest.approx((150.0, 2.0))
    assert record.pixel_scale == open_source(tmp_path / "in").record("a").cutout().pixel_scale


def test_positions_of_the_labels_go_into_the_records_and_the_users_scale_wins(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["a", "b"])
    table = Catalog(pa.table({"id": ["b", "a"], "ra": [2.0, 1.0], "dec": [-2.0, -1.0]}))
    ingest(source, tmp_path / "out", labels=table, pixel_scale=0.4)
    record = Store.open(tmp_path / "out").record("b")
    assert (record.ra, record.dec, record.pixel_scale) == (2.0, -2.0, 0.4)


def test_a_store_can_be_ingested_and_keeps_its_digests(tmp_path: Path) -> None:
    ingest(folder_of(tmp_path / "in", ["a", "b"]), tmp_path / "one")
    ingest(tmp_path / "one", tmp_path / "two")
    one, two = Store.open(tmp_path / "one"), Store.open(tmp_path / "two")
    assert [s.sha256 for s in one.shards] == [s.sha256 for s in two.shards]


# --- bad galaxies -------------------------------------------------------------------------------------------------


def bad_galaxies(folder: Path) -> dict[str, Reason]:
    (folder / "html.jpg").write_bytes(b"<!DOCTYPE html><html><body>log in</body></html>")
    (folder / "cut.jpg").write_bytes(jpeg(1, 64)[:900])
    (folder / "empty.png").write_bytes(b"")
    (folder / "tiny.jpg").write_bytes(jpeg(1, 4))
    Image.new("RGB", (32, 32), (9, 9, 9)).save(folder / "flat.png")
    Image.new("L", (13_000, 13_000)).save(folder / "bomb.png")
    fits.PrimaryHDU(np.full((16, 16), np.nan, np.float32)).writeto(folder / "nan.fits")
    fits.PrimaryHDU(np.ones((16, 16), np.float32)).writeto(folder / "giant.fits")
    giant = (folder / "giant.fits").read_bytes()
    for axis in (b"NAXIS1  =                   ", b"NAXIS2  =                   "):
        assert axis + b"16" in giant
        giant = giant.replace(axis + b"16", axis[:-4] + b"200000")
    (folder / "giant.fits").write_bytes(giant)
    (folder / "inflates.fits.gz").write_bytes(gzip.compress(bytes(100_000_000), 1))
    (folder / "link.jpg").symlink_to(folder / "nowhere.jpg")
    return {
        "html": Reason.NOT_AN_IMAGE, "cut": Reason.TRUNCATED, "empty": Reason.EMPTY, "tiny": Reason.TOO_SMALL,
        "flat": Reason.NO_SIGNAL, "bomb": Reason.TOO_LARGE, "nan": Reason.NO_COVERAGE, "giant": Reason.TOO_LARGE,
        "inflates": Reason.TOO_LARGE, "link": Reason.MISSING,
    }  # fmt: skip


def test_every_bad_galaxy_has_its_reason_and_the_rest_are_done(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["good1", "good2", "z-good"])
    reasons = bad_galaxies(source)
    summary = ingest(source, tmp_path / "out", shard_size=2)
    accounted(summary, ["good1", "good2", "z-good", *reasons])
    assert {r.id: r.reason for r in summary.rejected} == reasons
    assert all(r.detail and r.source for r in summary.rejected)
    assert str(summary).startswith(f"13 galaxies in = 3 done + 10 rejected: '{tmp_path / 'out'}'\n  too_large: 3 (")


def test_more_rejected_than_a_shard_holds_are_told_to_the_ledger(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", [])
    for number in range(7):
        (source / f"{number}.jpg").write_bytes(b"<html>")
    accounted(ingest(source, tmp_path / "out", shard_size=2), [str(n) for n in range(7)])
    assert len((tmp_path / "out" / "shards.jsonl").read_text().splitlines()) == 4
    accounted(ingest(source, tmp_path / "out", shard_size=2), [str(n) for n in range(7)])


def test_duplicates_and_empty_folders_are_errors_before_any_work(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["a"])
    (source / "sub").mkdir()
    (source / "sub" / "a.png").write_bytes(b"")
    with pytest.raises(DuplicateIds, match=r"'a': a\.jpg, sub/a\.png"):
        ingest(source, tmp_path / "out")
    with pytest.raises(BadStore, match="is empty"):
        ingest(folder_of(tmp_path / "none", []), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- labels that do not join --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (["1", "2", "3"], ["1", "2", "4"]),  # one is missing
        (["1", "2"], ["1", "2 "]),  # white space
        (["PGC1", "PGC2"], ["PGC1", "pgc2"]),  # case
        (["1", "2"], ["1", "02"]),  # leading zeros
    ],
)
def test_labels_that_do_not_join_refuse_the_run_with_the_ids(tmp_path: Path, own: list[str], theirs: list[str]) -> None:
    source = folder_of(tmp_path / "in", own)
    with pytest.raises(Unmatched, match=rf"(?s){own[-1]}.*--unmatched drop"):
        ingest(source, tmp_path / "out", labels=labels(tmp_path / "labels.csv", theirs))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (["a.jpg", "b.jpg"], "without the file's folder and suffix: 'a' and 'a.jpg'"),
        (["a ", "b  "], "if white space around the ids were stripped: 'a' and 'a '"),
        (["x/a.png ", "x/b.png "], "without white space and the file's folder and suffix: 'a' and 'x/a.png '"),
    ],
)
def test_where_no_label_joins_the_reason_is_told_and_dropping_all_is_not_offered(
    tmp_path: Path, theirs: list[str], why: str
) -> None:
    source = folder_of(tmp_path / "in", ["a", "b"])
    for choice in ("refuse", "drop"):
        with pytest.raises(Unmatched) as told:
            ingest(source, tmp_path / "out", labels=labels(tmp_path / "labels.csv", theirs), unmatched=choice)
        assert f"hint: all 2 would match {why}" in str(told.value)
        assert str(told.value).count("hint") == 1 and "unmatched" not in str(told.value)


def test_the_way_to_drop_is_said_once_as_the_command_line_says_it(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["a", "b"])
    with pytest.raises(Unmatched) as told:
        ingest(source, tmp_path / "out", labels=labels(tmp_path / "labels.csv", ["a", "c"]))
    assert str(told.value).endswith("leave them out by --unmatched drop (in Python unmatched='drop')")
    assert str(told.value).count("--unmatched drop") == str(told.value).count("unmatched=") == 1
    with pytest.raises(Unmatched) as told:  # whoever selects has no such choice
        Catalog({"id": ["a", "c"]}).select(["a", "b"])
    assert "unmatched" not in str(told.value)


def test_float_ids_and_duplicate_labels_are_refused(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["1", "2"])
    with pytest.raises(BadCatalog):
        ingest(source, tmp_path / "out", labels=Catalog(pa.table({"id": [1.0, 2.0]})))
    with pytest.raises(DuplicateIds):
        ingest(source, tmp_path / "out", labels=labels(tmp_path / "labels.csv", ["1", "2", "1"]))


def test_galaxies_without_labels_are_left_out_only_on_request_and_are_told(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["1", "2", "3"])
    table = labels(tmp_path / "labels.csv", ["3", "1", "9"])
    summary = ingest(source, tmp_path / "out", labels=table, unmatched="drop")
    accounted(summary, ["1", "3"])
    assert summary.join is not None and summary.join.left_only == ("2",) and summary.join.right_only == ("9",)
    assert "1 without a partner: '2'" in str(summary)
    store = Store.open(tmp_path / "out")
    assert list(store.ids) == store.catalog.ids == ["1", "3"] and list(store.catalog["class"]) == ["spiral", "smooth"]


def test_the_id_column_can_be_named(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["a", "b"])
    (tmp_path / "l.csv").write_text("id,file_of,class\n1,a,x\n2,b,y\n")
    summary = ingest(source, tmp_path / "out", labels=tmp_path / "l.csv", id_column="file_of")
    assert summary.n_done == 2 and list(Store.open(tmp_path / "out").catalog["class"]) == ["x", "y"]


# --- the same command ---------------------------------------------------------------------------------------------


def test_the_same_command_changes_nothing_and_another_is_refused(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["a", "b", "c"])
    table = labels(tmp_path / "labels.csv", ["a", "b", "c"])
    first = ingest(source, tmp_path / "out", labels=table)
    before = content(tmp_path / "out")
    assert ingest(source, tmp_path / "out", labels=table) == first
    assert content(tmp_path / "out") == before
    with pytest.raises(BadStore, match="they differ in pixel_scale"):
        ingest(source, tmp_path / "out", labels=table, pixel_scale=0.4)
    with pytest.raises(BadStore, match="they differ in labels"):
        ingest(source, tmp_path / "out", labels=labels(tmp_path / "other.csv", ["a", "c", "b"]))
    (source / "b.jpg").write_bytes(jpeg(99))
    os.utime(source / "b.jpg", ns=(1, 1))
    with pytest.raises(BadStore, match="they differ in source"):
        ingest(source, tmp_path / "out", labels=table)
    assert content(tmp_path / "out") == before


def test_options_of_opening_are_refused_for_a_source_that_is_open(tmp_path: Path) -> None:
    source = open_source(folder_of(tmp_path / "in", ["a"]))
    with pytest.raises(BadStore, match="open_source"):
        ingest(source, tmp_path / "out", pixel_scale=1.0)
    assert ingest(source, tmp_path / "out").n_done == 1


@settings(max_examples=15, deadline=None)
@given(good=st.lists(st.booleans(), min_size=1, max_size=12), shard=st.integers(1, 5), threads=st.integers(1, 4))
def test_order_shards_and_threads_change_no_galaxy(
    tmp_path_factory: pytest.TempPathFactory, good: list[bool], shard: int, threads: int
) -> None:
    path = tmp_path_factory.mktemp("any")
    source = folder_of(path / "in", [f"g{number:02d}" for number in range(len(good))])
    for number, fine in enumerate(good):
        if not fine:
            (source / f"g{number:02d}.jpg").write_bytes(b"<html>")
    summary = ingest(source, path / "out", shard_size=shard, threads=threads)
    accounted(summary, [f"g{number:02d}" for number in range(len(good))])
    assert list(Store.open(path / "out").ids) == [f"g{number:02d}" for number, fine in enumerate(good) if fine]


# --- real galaxies ------------------------------------------------------------------------------------------------


def test_two_hundred_real_galaxies_with_their_labels(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    files = sorted((real_data / "gz1" / "images").glob("*.jpg"))[:200]
    for file in files:
        (tmp_path / "in" / file.name).symlink_to(file)
    summary = ingest(tmp_path / "in", tmp_path / "out", labels=real_data / "gz1" / "labels.csv")
    accounted(summary, [file.stem for file in files])
    assert summary.n_rejected == 0
    store = Store.open(tmp_path / "out")
    assert {r.cutout().pixels.shape for r in store.records() if isinstance(r, Record)} == {(3, 292, 292)}
    lines = (real_data / "gz1" / "labels.csv").read_text().splitlines()[1:]
    truth = dict(line.split(",")[:2] for line in lines)
    assert dict(zip(store.ids, store.catalog["class"], strict=True)) == {file.stem: truth[file.stem] for file in files}


def test_all_real_fits_files_are_stored_or_rejected_with_a_reason(real_data: Path, tmp_path: Path) -> None:
    summary = ingest(real_data / "fits", tmp_path / "out")
    accounted(summary, [path.stem for path in (real_data / "fits").glob("*.fits")])
    stacks = {f"des_{band}" for band in "grizY"}  # taken for single galaxies here, they have 46 planes
    assert {r.id: r.reason for r in summary.rejected} == dict.fromkeys(stacks, Reason.WRONG_SHAPE)
    assert Store.open(tmp_path / "out").verify() == []


# --- stopped --------------------------------------------------------------------------------------------------------


def test_sigterm_ends_it_with_what_is_kept_and_the_same_call_goes_on(tmp_path: Path) -> None:
    source, before = folder_of(tmp_path / "in", [f"g{n}" for n in range(10)]), signal.getsignal(signal.SIGTERM)

    def stop(done: int, total: int, text: str) -> None:
        if done == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=r"keeps 6 of 10 galaxies; run the same command again"):
        ingest(source, tmp_path / "out", shard_size=3, threads=1, progress=stop)
    assert signal.getsignal(signal.SIGTERM) is before
    kept = content(tmp_path / "out")
    assert [name for name in sorted(kept) if name.startswith("shard-")] == [
        "shard-00000.parquet",
        "shard-00001.parquet",
    ]
    summary = ingest(source, tmp_path / "out", shard_size=3)
    ingest(source, tmp_path / "whole", shard_size=3)
    accounted(summary, [f"g{n}" for n in range(10)])
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_sigterm_after_the_last_galaxy_stops_nothing(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["a", "b"])
    said = lambda done, total, text: done == total and os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    accounted(ingest(source, tmp_path / "out", progress=said), ["a", "b"])


def test_in_another_thread_no_signal_is_touched(tmp_path: Path) -> None:
    source, done = folder_of(tmp_path / "in", ["a"]), []
    thread = threading.Thread(target=lambda: done.append(ingest(source, tmp_path / "out")))
    thread.start()
    thread.join()
    assert done and done[0].n_done == 1


def test_the_command_line_ends_with_75_and_says_to_run_it_again(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", [f"g{n}" for n in range(5)])
    code = (
        "import os, signal, sys, importlib\n"
        "ingest = importlib.import_module('tuningfork.galaxy.ingest')\n"
        "prove = ingest._prove\n"
        "ingest._prove = lambda item: (os.kill(os.getpid(), signal.SIGTERM), prove(item))[1]\n"
        "from tuningfork.cli import main\n"
        "main()"
    )
    words = [sys.executable, "-c", code, "ingest", str(source), "--out", str(tmp_path / "out")]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 75, ended.stderr
    assert "of 5 galaxies; run the same command again" in ended.stderr and "Traceback" not in ended.stderr
