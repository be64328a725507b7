"""Gather against a survey that misbehaves on purpose: every galaxy accounted for, nothing fetched twice, same rows."""

import json
import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tuningfork import disk
from tuningfork.errors import (
    BadCatalog,
    BadImage,
    BadStore,
    DiskFull,
    Locked,
    NetworkError,
    Reason,
    RecipeError,
)
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.store import Store
from tuningfork.network import ReplyError
from tuningfork.survey import gathering
from tuningfork.survey.gather import Summary, gather
from tuningfork.survey.ledger import Ledger, Outcome
from tuningfork.survey.service import Request, Survey


class NoNetwork:
    """A door that leads nowhere, and notes that somebody knocked."""

    def __init__(self, up: bool = True) -> None:
        self.up, self.knocks = up, 0

    def fetch(self, url: str, **_: Any) -> None:
        self.knocks += 1
        if not self.up:
            raise ReplyError(f"'{url}' failed", kind="transient", cause="connection", url=url)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Fake(Survey):
    """Draws each galaxy by its id; ``faults`` says what happens to which, ``asked`` counts."""

    faults: dict[str, Any] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    stop_after: int = 0

    def _take(self, network: Any, asked: Request, roots: tuple[str, ...]) -> Record:
        self.asked[asked.id] += 1
        if self.stop_after and sum(self.asked.values()) == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        fault = self.faults.get(asked.id)
        if isinstance(fault, list):
            fault = fault.pop(0) if fault else None
        if fault == Reason.UNREACHABLE:
            raise ReplyError("503", kind="transient", cause="status", url=f"{roots[0]}{asked.id}", status=503)
        if isinstance(fault, Reason):
            raise BadImage(fault, "so it was told")
        if fault is not None:
            raise fault
        pixels = np.random.default_rng(int(asked.id[1:])).normal(size=(2, asked.pixels, asked.pixels))
        return Record.from_pixels(
            asked.id, pixels.astype(np.float32), asked.bands, asked.pixel_scale, asked.ra, asked.dec,
            f"{roots[0]}{asked.id}",
        )  # fmt: skip


def fake(faults: dict[str, Any] | None = None, **more: Any) -> Fake:
    return Fake(
        "fake", "A survey that is not there", ("g", "r"), 0.5, "none", ("https://sky.test/",), 1.0, "none", "nobody",
        faults=faults or {}, **more,
    )  # fmt: skip


def sky(n: int) -> Catalog:
    return Catalog(
        {
            "id": [f"g{i}" for i in range(n)],
            "ra": [10.0 + i / 100 for i in range(n)],
            "dec": [i / 50 for i in range(n)],
            "size": [1.0 + i % 3 for i in range(n)],
            "class": [f"c{i % 2}" for i in range(n)],
        }
    )


def run(out: Path, catalog: Catalog, survey: Any, **more: Any) -> Summary:
    options = {"width": "6arcsec", "network": NoNetwork(), "shard_size": 5, "now": lambda: 0.0}
    return gather(catalog, survey, out, **(options | more))


def content(out: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file() and p.name != ".lock"
    }


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("shard-*.parquet")) for row in pq.read_table(path).to_pylist()]


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_rows_come_in_the_catalogues_order_with_their_columns_and_origin(tmp_path: Path) -> None:
    survey = fake({"g3": Reason.NO_COVERAGE, "g7": Reason.CORRUPT})
    done = run(tmp_path / "s", sky(13), survey)
    store = Store.open(tmp_path / "s")
    assert (done.n_in, done.n_done, done.n_rejected, done.stopped, done.n_left) == (13, 11, 2, False, 0)
    assert store.ids == [f"g{i}" for i in range(13) if i not in (3, 7)] and store.verify() == []
    assert [(r.id, r.reason) for r in store.rejected] == [("g3", Reason.NO_COVERAGE), ("g7", Reason.CORRUPT)]
    assert list(store.rejected) == list(done.rejected)
    record = store.record("g4")
    assert (record.source, record.bands, record.pixel_scale) == ("https://sky.test/g4", ("g", "r"), 0.5)
    assert (record.ra, record.dec) == (10.04, 0.08) and record.sha256 == disk.sha256(record.data)
    assert store.catalog["class"].tolist() == [f"c{i % 2}" for i in range(13) if i not in (3, 7)]
    assert "13 galaxies in = 11 done + 2 rejected" in str(done) and "no_coverage: 1 (g3)" in str(done)
    assert "cite nobody" in done.notes[0]


def test_the_ledger_tells_everything_and_the_pieces_are_gone(tmp_path: Path) -> None:
    run(tmp_path, sky(4), fake({"g1": Reason.UNREACHABLE, "g2": Reason.NO_COVERAGE, "g3": Reason.TRUNCATED}))
    lines = [json.loads(line)["outcomes"][0] for line in (tmp_path / "gather/ledger.jsonl").read_text().splitlines()]
    assert [(o["id"], o["state"], o.get("reason")) for o in lines] == [
        ("g0", "ok", None),
        ("g1", "transient", "unreachable"),
        ("g2", "no_coverage", "no_coverage"),
        ("g3", "permanent", "truncated"),
    ]
    assert lines[1]["url"] == "https://sky.test/g1" and all(o["tries"] == 1 and o["time"] == 0.0 for o in lines)
    assert not list((tmp_path / "gather" / "pieces").iterdir())


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    faults = {"g3": Reason.NO_COVERAGE, "g8": Reason.CORRUPT}
    for workers in (1, 7):
        run(tmp_path / str(workers), sky(23), fake(dict(faults)), workers=workers)
    assert content(tmp_path / "1") == content(tmp_path / "7")


def test_the_field_of_view_follows_a_column(tmp_path: Path) -> None:
    done = run(tmp_path, sky(6), fake(), width="0.5*size*16")
    sizes = [r.cutout().pixels.shape[1] for r in Store.open(tmp_path).records() if isinstance(r, Record)]
    assert done.n_done == 6 and sizes == [16, 32, 48, 16, 32, 48]


def test_a_galaxy_without_a_position_or_a_size_is_listed(tmp_path: Path) -> None:
    catalog = Catalog(
        {"id": ["g0", "g1", "g2"], "ra": [1.0, None, 3.0], "dec": [1.0, None, 3.0], "r": [5.0, 5.0, -9999.0]}
    )
    survey = fake()
    done = run(tmp_path, catalog, survey, width="2*r")
    assert [(r.id, r.reason) for r in done.rejected] == [("g1", Reason.MISSING), ("g2", Reason.MISSING)]
    assert "-9999" in done.rejected[1].detail and sorted(survey.asked) == ["g0"]


def test_galaxies_of_one_frame_are_asked_for_together(tmp_path: Path) -> None:
    frames = {"run": [752, 94, 752, 94, 752, None], "camcol": [1, 1, 2, 1, 1, 1], "field": [11, 9, 11, 9, 11, 3]}
    survey, catalog = fake(), sky(6).with_columns(frames)
    run(tmp_path, catalog, survey, workers=1)
    assert list(survey.asked) == ["g0", "g4", "g2", "g1", "g3", "g5"] and Store.open(tmp_path).ids == catalog.ids


def test_a_survey_by_its_name_at_an_address(tmp_path: Path, standin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    catalog = Catalog({"id": [5, 6, 7], "ra": [150.0, 151.0, 152.0], "dec": [2.0, -70.0, 3.0]})
    with standin.StandIn() as server:
        how: dict[str, Any] = {"width": "20arcsec", "bands": ("g", "r", "g_invvar"), "url": server.url, "rate": 1000.0}
        done = gather(catalog, "legacy:ls-dr9", tmp_path / "s", **how)
        asked = len(server.requests)
        assert gather(catalog, "legacy:ls-dr9", tmp_path / "s", **how) == done and len(server.requests) == asked
        assert done.rejected[0].id == "6" and done.rejected[0].reason == Reason.NO_COVERAGE
        store = Store.open(tmp_path / "s")
        assert (store.ids, store.bands) == (["5", "7"], ("g", "r", "g_invvar"))
        assert store.record("5").source.startswith(server.url) and "layer=ls-dr9" in store.record("5").source
    assert (tmp_path / "cache" / "tuningfork").is_dir()


# --- again ------------------------------------------------------------------------------------------------------------


def test_a_second_call_asks_for_nothing_and_changes_nothing(tmp_path: Path) -> None:
    survey, door = fake({"g3": Reason.NO_COVERAGE}), NoNetwork()
    first = run(tmp_path, sky(8), survey, network=door)
    before = content(tmp_path)
    stamps = {p: p.stat().st_ino for p in tmp_path.glob("shard*")}
    assert run(tmp_path, sky(8), survey, network=door) == first
    assert set(survey.asked.values()) == {1} and door.knocks == 1
    assert content(tmp_path) == before and {p: p.stat().st_ino for p in tmp_path.glob("shard*")} == stamps


def test_unreachable_galaxies_are_asked_for_again_and_take_their_place(tmp_path: Path) -> None:
    faults: dict[str, Any] = {"g2": [Reason.UNREACHABLE], "g9": [Reason.UNREACHABLE] * 2, "g4": Reason.NO_COVERAGE}
    survey = fake(faults)
    counts = [run(tmp_path / "s", sky(14), survey).n_rejected for _ in range(4)]
    assert counts == [3, 2, 1, 1]
    assert survey.asked["g2"] == 2 and survey.asked["g9"] == 3 and survey.asked["g0"] == survey.asked["g4"] == 1
    run(tmp_path / "whole", sky(14), fake({"g4": Reason.NO_COVERAGE}))
    kept, whole = content(tmp_path / "s"), content(tmp_path / "whole")
    ledgers = kept.pop("gather/ledger.jsonl"), whole.pop("gather/ledger.jsonl")
    assert (
        kept == whole
        and ledgers[0].replace(b'"tries": 3', b'"tries": 1').replace(b'"tries": 2', b'"tries": 1') == (ledgers[1])
    )


def test_permanent_ones_are_asked_for_again_only_when_told(tmp_path: Path) -> None:
    survey = fake({"g1": [Reason.NO_COVERAGE], "g5": [Reason.CORRUPT], "g6": [Reason.REFUSED] * 2})
    assert [run(tmp_path, sky(8), survey).n_rejected for _ in range(2)] == [3, 3]
    assert survey.asked["g1"] == 1
    done = run(tmp_path, sky(8), survey, retry_rejected=True)
    assert [r.id for r in done.rejected] == ["g6"] and Store.open(tmp_path).ids == [f"g{i}" for i in range(8) if i != 6]
    assert survey.asked["g0"] == 1 and survey.asked["g6"] == 2


def test_damage_is_mended_and_only_what_is_lost_is_fetched_again(tmp_path: Path) -> None:
    survey = fake({"g2": Reason.CORRUPT})
    run(tmp_path, sky(14), survey)
    before = content(tmp_path)
    path = tmp_path / "shard-00001.parquet"
    record = Store.open(tmp_path).record("g7")
    spoilt = bytearray(path.read_bytes())
    spoilt[bytes(spoilt).index(record.data) + 200] ^= 1
    path.write_bytes(spoilt)
    again = run(tmp_path, sky(14), survey)
    after = content(tmp_path)
    assert after.pop("gather/ledger.jsonl") != before.pop("gather/ledger.jsonl")  # g7 was asked for twice
    assert again.n_done == 13 and after == before
    assert [i for i, n in survey.asked.items() if n > 1] == ["g7"]
    for name in ("catalog.parquet", "rejected.parquet"):
        (tmp_path / name).write_bytes(b"PAR1 no more")
        run(tmp_path, sky(14), survey)
        assert content(tmp_path).keys() - {"gather/ledger.jsonl"} == before.keys()
        assert (tmp_path / name).read_bytes() == before[name] and sum(survey.asked.values()) == 15


def test_a_damaged_piece_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    survey = fake()
    run(tmp_path / "whole", sky(6), fake())
    assemble = gathering.Gathering._assemble

    def spoil(self: gathering.Gathering) -> None:
        piece = tmp_path / "s" / "gather" / "pieces" / disk.safe_name("g3")
        data = bytearray(piece.read_bytes())
        data[-5] ^= 1
        piece.write_bytes(data)
        assemble(self)

    monkeypatch.setattr(gathering.Gathering, "_assemble", spoil)
    run(tmp_path / "s", sky(6), survey)
    assert survey.asked["g3"] == 2 and rows(tmp_path / "s") == rows(tmp_path / "whole")


def test_sigterm_stops_and_the_same_call_goes_on(tmp_path: Path) -> None:
    survey = fake({"g1": Reason.CORRUPT}, stop_after=9)
    first = run(tmp_path / "s", sky(30), survey, workers=2)
    assert first.stopped and 7 <= first.n_in < 20 and first.n_in + first.n_left == 30
    assert first.n_in == first.n_done + first.n_rejected and "run the same command again" in str(first)
    with pytest.raises(BadStore, match="unfinished"):
        Store.open(tmp_path / "s")
    second = run(tmp_path / "s", sky(30), survey)
    assert not second.stopped and set(survey.asked.values()) == {1}
    run(tmp_path / "whole", sky(30), fake({"g1": Reason.CORRUPT}))
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_an_error_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    survey = fake({"g8": [DiskFull("no space left")]})
    with pytest.raises(DiskFull):
        run(tmp_path / "s", sky(12), survey, workers=3)
    asked = dict(survey.asked)
    run(tmp_path / "s", sky(12), survey)
    assert {i for i, n in survey.asked.items() if n > 1} == {"g8"} and asked["g0"] == 1


def test_a_service_that_is_down_is_not_asked_for_everything(tmp_path: Path) -> None:
    faults: dict[str, Any] = {f"g{i}": Reason.UNREACHABLE for i in range(5, 200)}
    survey = fake(faults)
    done = run(tmp_path, sky(200), survey, workers=2)
    assert done.stopped and done.n_done == 5 and done.n_left > 150 and "seems to be down" in str(done)
    assert sum(survey.asked.values()) < 40
    faults.clear()
    assert run(tmp_path, sky(200), survey).n_done == 200


def test_an_end_in_sight_is_an_end_though_some_stay_unreachable(tmp_path: Path) -> None:
    faults: dict[str, Any] = {f"g{i}": Reason.UNREACHABLE for i in range(0, 60, 2)}
    survey = fake(faults)
    first = run(tmp_path, sky(60), survey)
    again = run(tmp_path, sky(60), survey)
    assert not first.stopped and not again.stopped and (again.n_done, again.n_rejected) == (30, 30)
    assert Store.open(tmp_path).verify() == []


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_another_plan_is_refused_in_the_same_folder(tmp_path: Path) -> None:
    run(tmp_path, sky(4), fake())
    before = content(tmp_path)
    for other in ({"width": "8arcsec"}, {"bands": ("g",)}, {"url": "https://mirror.test/"}, {"pixels": 20}):
        with pytest.raises(BadStore, match=next(iter(other))):
            run(tmp_path, sky(4), fake(), **other)
    with pytest.raises(BadStore, match="catalog"):
        run(tmp_path, sky(5), fake())
    assert content(tmp_path) == before


def test_a_strangers_folder_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("do not touch")
    with pytest.raises(BadStore, match=r"thesis\.tex"):
        run(tmp_path, sky(4), fake())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"bands": ("q",)}, RecipeError, "has the bands g, r"),
        ({"width": "6"}, RecipeError, "'6' is no angle with a unit"),
        ({"width": "6*radius"}, BadCatalog, "radius"),
        ({"workers": 0}, RecipeError, "at least one worker"),
        ({"images": "tile*.fits"}, RecipeError, "mosaic"),
    ],
)
def test_choices_that_cannot_be_are_refused_before_any_work(
    tmp_path: Path, wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        run(tmp_path / "s", sky(3), fake(), **wrong)
    assert not (tmp_path / "s").exists()


def test_an_unknown_survey_and_a_catalogue_without_positions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="sdss"):
        run(tmp_path / "s", sky(3), "sds")
    with pytest.raises(BadCatalog, match="no positions"):
        run(tmp_path / "s", Catalog({"id": ["a"], "x": [1]}), fake())


def test_without_a_network_it_says_so_at_once(tmp_path: Path) -> None:
    survey = fake()
    with pytest.raises(NetworkError, match="no network"):
        run(tmp_path, sky(3), survey, network=NoNetwork(up=False))
    assert not survey.asked
    assert run(tmp_path, sky(3), survey).n_done == 3


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    gate, inside = threading.Event(), threading.Event()

    @dataclass(frozen=True)
    class Slow(Fake):
        def _take(self, network: Any, asked: Request, roots: tuple[str, ...]) -> Record:
            inside.set()
            assert gate.wait(20)
            return super()._take(network, asked, roots)

    thread = threading.Thread(target=run, args=(tmp_path, sky(3), Slow(**vars(fake()))))
    thread.start()
    assert inside.wait(20)
    try:
        with pytest.raises(Locked):
            run(tmp_path, sky(3), fake())
    finally:
        gate.set()
        thread.join()
    assert Store.open(tmp_path).verify() == []


# --- the ledger -------------------------------------------------------------------------------------------------------


def test_a_piece_that_nobody_noted_counts_as_fetched(tmp_path: Path) -> None:
    record = Record.from_pixels("../g1", np.ones((1, 8, 8), np.float32), ("g",), 0.5, 1.25, -2.5, "https://x/")
    Ledger(tmp_path, ["g0", "../g1"]).keep(record)
    ledger = Ledger(tmp_path, ["g0", "../g1"])
    assert ledger.held == {"../g1"} and list(ledger.left(False)) == [0]
    kept = ledger.piece("../g1")
    assert kept is not None and vars(kept) == vars(record)
    assert not (tmp_path.parent / "g1").exists()


def test_outcomes_are_read_back_whatever_was_in_flight(tmp_path: Path) -> None:
    ids = [f"g{i}" for i in range(5)]
    ledger = Ledger(tmp_path, ids, lambda: 12.5)
    ledger.note(Outcome("g0", "permanent", "corrupt", "x", "https://x/"))
    ledger.note(Outcome("g1", "transient", "unreachable"))
    ledger.note(Outcome("g1", "ok"))  # waits for its group: lost with the process, but for its piece
    again = Ledger(tmp_path, ids)
    assert again.outcomes["g0"].rejected.reason == Reason.CORRUPT and again.outcomes["g0"].time == 12.5
    assert again.outcomes["g1"].state == "transient" and list(again.left(False)) == [1, 2, 3, 4]
    ledger.flush()
    assert Ledger(tmp_path, ids).outcomes["g1"] == Outcome("g1", "ok", time=12.5, tries=2)
    assert list(Ledger(tmp_path, ids).left(True)) == [0, 2, 3, 4]
