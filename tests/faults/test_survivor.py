"""The survivor's test: faults, bad images, the edge of the sky and kill -9 change no row and waste no request."""

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tuningfork.errors import BadImage, BadStore, Reason
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.store import Store
from tuningfork.survey.gather import gather
from tuningfork.survey.service import Request, Survey

HERE = Path(__file__).parent
TRANSIENT, BAD, OFF = 0.05, 0.02, 0.01
GOES, STAYS = ("503", "500", "reset", "cut"), ("html", "garbage", "empty", "clipped", "404")
REASONS = {
    Reason.NOT_AN_IMAGE,
    Reason.CORRUPT,
    Reason.TRUNCATED,
    Reason.WRONG_SCALE,
    Reason.REFUSED,
    Reason.NO_COVERAGE,
}
WORKERS = 6  # as in survivor.py


def standin() -> Any:
    if "standin" not in sys.modules:
        spec = importlib.util.spec_from_file_location("standin", HERE.parent / "survey" / "standin.py")
        assert spec and spec.loader
        sys.modules["standin"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["standin"])
    return sys.modules["standin"]


def sky(n: int) -> tuple[Catalog, set[str]]:
    """n places, the hundredth part of them off the footprint, which are told too."""
    random = np.random.default_rng(1)
    ra, dec = random.uniform(0, 360, n).round(6), random.uniform(-30, 60, n).round(6)
    off = random.permutation(n)[: round(OFF * n)]
    dec[off] = random.uniform(-80, -65, len(off)).round(6)
    ids = [f"1237648720693{number:06d}" for number in range(n)]
    return Catalog({"id": ids, "ra": ra, "dec": dec, "class": [f"c{i % 3}" for i in range(n)]}), {ids[i] for i in off}


def lot(query: dict[str, str]) -> float:
    """A number in [0, 1) for each place."""
    return int.from_bytes(hashlib.sha256(f"{query['ra']},{query['dec']}".encode()).digest()[:4], "big") / 2**32


def fate(query: dict[str, str]) -> tuple[str, bool]:
    """(fault, does it stay) of a place."""
    drawn = lot(query)
    if drawn < BAD:
        return STAYS[int(drawn / BAD * len(STAYS))], True
    if drawn < BAD + TRANSIENT:
        return GOES[int((drawn - BAD) / TRANSIENT * len(GOES))], False
    return "", False


def fault(service: str, asked: Any, time: int) -> str:
    if service != "getjpeg":
        return ""
    name, stays = fate(asked.query)
    return name if stays or time == 1 else ""


def survive(sky: Any, table: Path, out: Path, rate: float, longest: float) -> dict[str, Any]:
    command = [
        sys.executable,
        str(HERE / "survivor.py"),
        sky.url,
        str(table),
        str(out),
        f"{out}-rates",
        str(rate),
        str(longest),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=environment)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file() and path.name != ".lock"}


nightly = pytest.mark.skipif("TUNINGFORK_NIGHTLY" not in os.environ, reason="set TUNINGFORK_NIGHTLY=1")


@pytest.mark.parametrize(
    ("n", "rate", "longest"),
    [
        (240, 50.0, 0.7),
        pytest.param(2000, 100.0, 4.0, marks=nightly),
    ],
)  # fmt: skip
def test_a_gathering_survives(tmp_path: Path, n: int, rate: float, longest: float) -> None:
    catalog, off = sky(n)
    catalog.write(tmp_path / "catalog.parquet")
    with standin().StandIn(fault) as server:
        whole = survive(server, tmp_path / "catalog.parquet", tmp_path / "whole", 1000.0, 0)
        first, begun = server.requests, len(server.requests)
        server._seen.clear()  # the same faults once more
        told = survive(server, tmp_path / "catalog.parquet", tmp_path / "out", rate, longest)
        log = [asked for asked in server.requests[begun:] if asked.path.endswith("getjpeg")]
    kills = told["kills"]
    assert len(kills) >= 3

    # the store is that of the undisturbed run, byte for byte
    assert files(tmp_path / "out") == files(tmp_path / "whole") and whole["account"] == told["account"]
    store = Store.open(tmp_path / "out")
    assert store.verify() == [] and all(isinstance(item, Record) for item in store.records())
    assert pq.read_table(tmp_path / "out" / "shard-00000.parquet").num_rows == 64

    # every other galaxy is listed, with the reason that it has
    rejected = {item.id: item.reason for item in store.rejected}
    places = {
        i: {"ra": str(ra), "dec": str(dec)}
        for i, ra, dec in zip(catalog.ids, catalog["ra"], catalog["dec"], strict=True)
    }
    bad = {i for i, place in places.items() if fate(place)[1]}
    assert set(rejected) == bad | off and {rejected[i] for i in off - bad} == {Reason.NO_COVERAGE}
    assert {rejected[i] for i in bad} <= REASONS and len(bad) > 1
    assert sorted([*store.ids, *rejected]) == sorted(catalog.ids)
    assert told["account"] == [n, n - len(rejected), len(rejected)]

    # nothing was asked for twice but by its own fault, or because it was in flight when the child was killed
    lives: dict[tuple[str, str], set[int]] = defaultdict(set)
    for asked in log:
        lives[asked.query["ra"], asked.query["dec"]].add(int(np.searchsorted(kills, asked.time)))
    assert len(lives) == n
    cut = Counter(life for seen in lives.values() for life in sorted(seen)[:-1])
    assert all(number <= WORKERS for number in cut.values()), cut
    most = max(Counter((a.query["ra"], a.query["dec"], int(np.searchsorted(kills, a.time))) for a in log).values())
    assert most <= 3  # tries within one life: a passing fault, or a wrong body three times

    # and the host was never asked faster than its limit: at most `workers` requests can be bunched on their way
    times = np.sort([asked.time for asked in log])
    order = np.arange(n := len(times))
    gaps = times[None, :] - times[:, None]
    number = order[None, :] - order[:, None] + 1
    after = np.triu(np.ones((n, n), dtype=bool))
    assert (number <= rate * gaps + 1 + WORKERS)[after].all()
    assert n >= catalog.table.num_rows and len(first) >= catalog.table.num_rows


# --- every crash point ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn(Survey):
    """A survey without a network: "g1" is off the sky; only ``allowed`` may be asked for, if anything."""

    allowed: tuple[str, ...] = ()
    away: tuple[str, ...] = ()

    def _take(self, network: Any, request: Request, roots: tuple[str, ...]) -> Record:
        assert not self.allowed or request.id in self.allowed, f"{request.id} was asked for again"
        if request.id in self.away:
            raise BadImage(Reason.UNREACHABLE, "away")
        if request.id == "g1":
            raise BadImage(Reason.NO_COVERAGE, "so it is")
        pixels = np.random.default_rng(int(request.id[1:])).normal(size=(1, 8, 8)).astype(np.float32)
        return Record.from_pixels(request.id, pixels, ("r",), 0.5, request.ra, request.dec, "drawn")


class Quiet:
    """A network that is there and says nothing."""

    def fetch(self, url: str, **_: Any) -> None:
        pass

    def close(self) -> None:
        pass


def drawn(folder: Path, **how: Any) -> None:
    survey = Drawn("drawn", "Drawn", ("r",), 0.5, "none", ("https://sky.test/",), 1.0, "none", "nobody", **how)
    catalog = Catalog({"id": [f"g{i}" for i in range(4)], "ra": np.arange(4.0), "dec": np.arange(4.0)})
    network: Any = Quiet()
    gather(catalog, survey, folder, width=4.0, workers=1, shard_size=2, network=network, now=lambda: 0.0)


def gather_all(folder: Path) -> None:
    """From nothing to a store."""
    check_what_is_there(folder)
    drawn(folder)


def gather_the_rest(folder: Path) -> None:
    """A store of which one galaxy was away: it is asked for again, it alone, and the store is made anew."""
    earlier = folder.parent / "earlier"
    if not earlier.exists():
        drawn(earlier, away=("g2",))
    if not folder.exists():
        shutil.copytree(earlier, folder)
    check_what_is_there(folder)
    drawn(folder, allowed=("g2",))


def check_what_is_there(folder: Path) -> None:
    """After any death a store that opens is whole."""
    with contextlib.suppress(BadStore):
        assert Store.open(folder).verify() == []


@pytest.mark.parametrize(
    ("job", "what"),
    [
        ("gather_all", "die"),
        ("gather_the_rest", "die"),
        pytest.param("gather_all", "fail", marks=nightly),
        pytest.param("gather_the_rest", "fail", marks=nightly),
    ],
)
def test_a_gathering_survives_every_crash_point(tmp_path: Path, job: str, what: str) -> None:
    command = [sys.executable, str(HERE / "crash.py"), __file__, job, str(tmp_path), what]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["steps"] >= 50 and (told["differ"], told["broke"]) == ([], []), done.stderr
    assert not told["redone"] or job == "gather_the_rest"
