"""Stores: what goes in comes out, in any order; damage is found, named, and mended by the same command."""

import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork import disk
from tuningfork.errors import BadImage, BadStore, DuplicateIds, Locked, Reason
from tuningfork.galaxy import shard
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record, Rejected
from tuningfork.galaxy.store import Store, StoreWriter


def galaxy(number: int, *, bands: tuple[str, ...] = ("g", "r"), side: int = 8) -> Record:
    pixels = np.random.default_rng(number).normal(size=(len(bands), side, side)).astype(np.float32)
    return Record.from_pixels(f"galaxy-{number}", pixels, bands, 0.263, number * 0.01, -number * 0.01, f"{number}.fits")


def make(folder: Path, n: int = 20, shard_size: int = 6, plan: dict[str, object] | None = None) -> Store:
    with StoreWriter(folder, shard_size=shard_size, plan=plan) as writer:
        for number in range(writer.n_in, n):
            if number % 7 == 3:
                writer.reject(Rejected(f"galaxy-{number}", Reason.CORRUPT, "broken", f"{number}.fits"))
            else:
                writer.add(galaxy(number))
    return writer.store


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


def flip(path: Path, position: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def same(a: Record | Rejected, b: Record) -> bool:
    fields = ("id", "data", "format", "bands", "pixel_scale", "ra", "dec", "source")
    return isinstance(a, Record) and all(getattr(a, name) == getattr(b, name) for name in fields)


KEPT = [number for number in range(20) if number % 7 != 3]


def test_what_goes_in_comes_out_in_order_by_id_and_in_any_order(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    assert store.ids == [f"galaxy-{number}" for number in KEPT] and len(store) == 17
    assert all(same(record, galaxy(n)) for record, n in zip(store.records(), KEPT, strict=True))
    shuffled = [*reversed(KEPT), *KEPT[::3]]
    items = store.records([f"galaxy-{n}" for n in shuffled])
    assert all(same(record, galaxy(n)) for record, n in zip(items, shuffled, strict=True))
    assert same(store.record("galaxy-11"), galaxy(11))
    assert store.record("galaxy-11").sha256 == disk.sha256(galaxy(11).data)


def test_the_manifest_tells_bands_scale_and_rejected(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    assert store.bands == ("g", "r") and store.pixel_scale == 0.263 and store.kind == "store"
    assert [r.id for r in store.rejected] == ["galaxy-3", "galaxy-10", "galaxy-17"] and store.n_rejected == 3
    assert store.rejected[0] == Rejected("galaxy-3", Reason.CORRUPT, "broken", "3.fits")
    assert store.verify() == []
    with StoreWriter(tmp_path / "mixed") as writer:
        writer.add(galaxy(1))
        writer.add(Record.from_pixels("grey", np.eye(9, dtype=np.uint8)[None], ("grey",), 0.263))
    assert writer.store.bands is None and writer.store.pixel_scale == 0.263
    assert "galaxy-1" in writer.store and "galaxy-9" not in writer.store


def test_an_id_that_is_not_there_is_an_error_alone_and_a_row_in_a_stream(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    with pytest.raises(BadStore, match="no galaxy 'galaxy-3' in"):
        store.record("galaxy-3")
    missing, found = store.records(["galaxy-3", "galaxy-4"])
    assert isinstance(missing, Rejected) and missing.reason is Reason.MISSING and missing.id == "galaxy-3"
    assert same(found, galaxy(4))


def test_any_parquet_reader_opens_a_shard(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    table = pq.read_table(tmp_path / "store" / "shard-00000.parquet")
    assert table.column_names == ["id", "ra", "dec", "bands", "pixel_scale", "format", "data", "sha256", "source"]
    assert [shard.rows for shard in store.shards] == [6, 6, 5]
    assert table["bands"].to_pylist() == [["g", "r"]] * 6
    assert pq.read_table(tmp_path / "store" / "catalog.parquet")["id"].to_pylist() == store.ids


def test_the_catalogue_of_a_store_follows_its_galaxies(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store") as writer:
        for number in (5, 2, 4):
            writer.add(galaxy(number))
        ids = [f"galaxy-{number}" for number in range(8)]
        writer.catalog = Catalog(pa.table({"id": ids, "class": [f"kind {n}" for n in range(8)]}))
    catalog = Store.open(tmp_path / "store").catalog
    assert catalog.ids == ["galaxy-5", "galaxy-2", "galaxy-4"]
    assert list(catalog["class"]) == ["kind 5", "kind 2", "kind 4"]
    assert catalog.ra is not None
    np.testing.assert_array_equal(catalog.ra, [0.05, 0.02, 0.04])  # from the records: the table had none


def test_an_empty_store_is_a_store(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store") as writer:
        writer.reject(Rejected("a", Reason.EMPTY))
    store = writer.store
    assert len(store) == 0 and list(store.records()) == [] and store.rejected[0].id == "a" and store.catalog.ids == []


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=20).filter(lambda s: s.isprintable()), st.binary(max_size=300)),
        unique_by=lambda row: row[0],
        max_size=9,
    ),
    st.integers(1, 4),
)
def test_any_ids_and_bytes_go_round(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, bytes]], shard_size: int
) -> None:
    folder = tmp_path_factory.mktemp("any") / "store"
    with StoreWriter(folder, shard_size=shard_size) as writer:
        for identifier, data in rows:
            writer.add(Record(identifier, data, "npy", ()))
    store = Store.open(folder)
    assert [(r.id, r.data) for r in store.records() if isinstance(r, Record)] == rows
    assert store.verify() == []


# --- the same command ---------------------------------------------------------------------------------------------


def test_two_runs_of_one_command_write_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path / "a", plan={"seed": 1})
    make(tmp_path / "b", plan={"seed": 1})
    assert content(tmp_path / "a") == content(tmp_path / "b")
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a").glob("shard-*.parquet")}
    make(tmp_path / "a", plan={"seed": 1})  # all there: nothing is made again
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert before == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a").glob("shard-*.parquet")}


def test_a_run_that_fails_goes_on_where_it_ended(tmp_path: Path) -> None:
    make(tmp_path / "whole", plan={})
    with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "cut", shard_size=6, plan={}) as writer:
        for number in range(11):
            if number % 7 == 3:
                writer.reject(Rejected(f"galaxy-{number}", Reason.CORRUPT, "broken", f"{number}.fits"))
            else:
                writer.add(galaxy(number))
        raise KeyboardInterrupt
    with pytest.raises(BadStore, match="unfinished store"):
        Store.open(tmp_path / "cut")
    with pytest.raises(DuplicateIds, match="galaxy-0"), StoreWriter(tmp_path / "cut", shard_size=6, plan={}) as resumed:
        assert resumed.n_in == 7 and resumed.n_done == 6  # one shard of 6, and the galaxy rejected meanwhile
        resumed.add(galaxy(0))
    make(tmp_path / "cut", plan={})
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


@pytest.mark.parametrize("change", [{"seed": 2}, {"seed": 1, "bands": ["g"]}, {}])
def test_another_command_is_refused_and_harms_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    make(tmp_path / "store", plan={"seed": 1})
    before = content(tmp_path / "store")
    with pytest.raises(BadStore, match=r"another command or from other data \(they differ in (seed|bands)\)"):
        make(tmp_path / "store", plan=change)
    with pytest.raises(BadStore, match="differ in shard_size"):
        make(tmp_path / "store", plan={"seed": 1}, shard_size=7)
    with pytest.raises(BadStore, match="is not empty"):
        make(tmp_path / "store")
    assert content(tmp_path / "store") == before


def test_a_folder_of_the_users_and_a_file_are_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(BadStore, match=r"not empty \(it holds thesis\.tex\)"):
        make(tmp_path / "mine", plan={})
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]
    with pytest.raises(BadStore, match="is a file"):
        make(tmp_path / "mine" / "thesis.tex")


def test_two_writers_do_not_share_a_folder(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", plan={}), pytest.raises(Locked):  # noqa: SIM117
        with StoreWriter(tmp_path / "store", plan={}):
            pass


def test_a_duplicate_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DuplicateIds, match="galaxy-1"), StoreWriter(tmp_path / "store") as writer:
        writer.add(galaxy(1))
        writer.add(galaxy(1))
    assert [p.name for p in (tmp_path / "store").iterdir()] == [".lock"]  # and no half shard is left


@pytest.mark.parametrize("name", ["shard-00001.parquet", "catalog.parquet", "rejected.parquet", "store.json"])
@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_the_same_command_mends_what_is_damaged(tmp_path: Path, name: str, harm: str) -> None:
    make(tmp_path / "store", plan={})
    before = content(tmp_path / "store")
    path = tmp_path / "store" / name
    if harm == "flipped":
        flip(path, path.stat().st_size // 2)
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.unlink()
    make(tmp_path / "store", plan={})
    assert content(tmp_path / "store") == before


# --- damage -------------------------------------------------------------------------------------------------------


def test_one_flipped_bit_in_an_image_costs_that_galaxy_alone(tmp_path: Path) -> None:
    make(tmp_path / "store")
    path = tmp_path / "store" / "shard-00001.parquet"
    victim = "galaxy-9"
    flip(path, path.read_bytes().index(galaxy(9).data) + 200, 5)
    store = Store.open(tmp_path / "store")
    items = {item.id: item for item in store.records()}
    lost = [item for item in items.values() if isinstance(item, Rejected)]
    assert [(item.id, item.reason, item.source) for item in lost] == [(victim, Reason.DIGEST_MISMATCH, path.name)]
    assert all(same(items[f"galaxy-{n}"], galaxy(n)) for n in KEPT if n != 9)
    with pytest.raises(BadImage, match="digest_mismatch"):
        store.record(victim)
    report = store.verify()
    assert report[0].startswith("shard-00001.parquet: its bytes are not those that were stored; 1 of 6 galaxies lost")
    assert "galaxy-9" in report[1] and len(report) == 2


def test_no_flipped_bit_anywhere_in_a_shard_comes_out_as_another_galaxy(tmp_path: Path) -> None:
    make(tmp_path / "store")
    path = tmp_path / "store" / "shard-00001.parquet"
    original = path.read_bytes()
    truth = {f"galaxy-{n}": galaxy(n) for n in KEPT}
    positions = np.random.default_rng(2).integers(0, len(original) * 8, 400)
    for position in positions.tolist():
        flip(path, position // 8, position % 8)
        store = Store.open(tmp_path / "store")
        items = list(store.records())
        assert [item.id for item in items] == list(truth)
        assert all(isinstance(item, Rejected) or same(item, truth[item.id]) for item in items)
        assert not any(isinstance(item, Rejected) for item in items[:6] + items[12:])  # the other shards are whole
        path.write_bytes(original)


def test_every_flipped_bit_is_found_by_verify(tmp_path: Path) -> None:
    make(tmp_path / "store")
    files = sorted(p.name for p in (tmp_path / "store").glob("*.parquet"))
    random = np.random.default_rng(3)
    for name in itertools.islice(itertools.cycle(files), 50):
        path = tmp_path / "store" / name
        original = path.read_bytes()
        store = Store.open(tmp_path / "store")
        flip(path, int(random.integers(len(original))), int(random.integers(8)))
        assert any(line.startswith(f"{name}: ") for line in store.verify())
        path.write_bytes(original)


def test_a_lost_or_cut_shard_rejects_its_galaxies_and_the_rest_are_done(tmp_path: Path) -> None:
    make(tmp_path / "store")
    path = tmp_path / "store" / "shard-00000.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    items = list(Store.open(tmp_path / "store").records())
    assert [isinstance(item, Rejected) for item in items] == [True] * 6 + [False] * 11
    path.unlink()
    items = list(Store.open(tmp_path / "store").records())
    assert [item.reason for item in items if isinstance(item, Rejected)] == [Reason.MISSING] * 6
    assert len(Store.open(tmp_path / "store").verify()) == 7


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("store.json", "{", "is no JSON"),
        ("store.json", "[]", "not the manifest"),
        ("store.json", '{"format": "tuningfork store", "version": 9}', "version 9"),
        ("store.json", '{"format": "tuningfork store", "version": 1}', "lacks or garbles"),
        ("catalog.parquet", "x", "not those that were stored"),
    ],
)
def test_a_store_that_cannot_be_trusted_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    make(tmp_path / "store")
    (tmp_path / "store" / name).write_text(text)
    with pytest.raises(BadStore, match=message):
        Store.open(tmp_path / "store")


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadStore, match=r"is no store: it has no store\.json"):
        Store.open(tmp_path)


# --- scale --------------------------------------------------------------------------------------------------------


def test_shards_end_by_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "SHARD_BYTES", 3 * len(galaxy(0).data))
    store = make(tmp_path / "store", shard_size=1000)
    assert [s.rows for s in store.shards] == [3, 3, 3, 3, 3, 2]


def test_one_record_is_read_without_reading_the_shard(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store") as writer:
        for number in range(200):
            writer.add(galaxy(number))
    store = writer.store
    assert same(store.record("galaxy-150"), galaxy(150))
    assert len(store._groups) == 1 and len(next(iter(store._groups.values())).data) == shard.GROUP_ROWS
    list(store.records())
    assert len(store._groups) <= 4  # streaming keeps no more than a few row groups


def test_threads_may_read_one_store(tmp_path: Path) -> None:
    store = make(tmp_path / "store", 60, 10)
    truth = {identifier: galaxy(int(identifier.split("-")[1])) for identifier in store.ids}
    wrong: list[str] = []

    def read(seed: int) -> None:
        for identifier in np.random.default_rng(seed).permutation(store.ids).tolist():
            if not same(store.record(identifier), truth[identifier]):
                wrong.append(identifier)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
