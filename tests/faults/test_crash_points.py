"""Whatever step it dies at, the same command ends with the same bytes, and does nothing finished twice."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tuningfork.errors import BadStore, Reason
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record, Rejected
from tuningfork.galaxy.ingest import ingest
from tuningfork.galaxy.store import Store, StoreWriter

CRASH = Path(__file__).with_name("crash.py")


def crash(job: str, folder: Path, what: str) -> dict[str, object]:
    command = [sys.executable, str(CRASH), __file__, job, str(folder), what]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told | {"stderr": done.stderr}


# --- the jobs: each writes below the folder that it is given ---------------------------------------------------------


def galaxies(n: int) -> list[Record]:
    random = np.random.default_rng(0)
    return [
        Record.from_pixels(f"g{i}", random.normal(size=(2, 8, 8)).astype(np.float32), ("g", "r"), 0.3, i / 9, i / 9)
        for i in range(n)
    ]


def store_some(folder: Path) -> None:
    """Three shards and two rejected galaxies by hand."""
    check_that_what_opens_is_whole(folder)
    with StoreWriter(folder, shard_size=2, plan={"n": 7}) as writer:
        for number, record in list(enumerate(galaxies(7)))[writer.n_in :]:
            if number in (1, 4):
                writer.reject(Rejected(record.id, Reason.CORRUPT, "broken"))
            else:
                writer.add(record)
        writer.catalog = Catalog({"id": [f"g{i}" for i in range(7)], "class": list("abcdefg")})


def ingest_some(folder: Path) -> None:
    """A folder of pictures, some of them bad, with labels."""
    source = folder.parent / "pictures"
    if not source.exists():
        source.mkdir()
        for record in galaxies(9):
            cutout = record.cutout().pixels[[0, 1, 0]]
            picture = np.moveaxis((40 * cutout + 128).clip(0, 255).astype(np.uint8), 0, 2)
            (source / f"{record.id}.jpg").write_bytes(Record.from_picture(record.id, picture).data)
        (source / "g4.jpg").write_bytes(b"<html>")
        (source / "labels.csv").write_text("id,class\n" + "".join(f"g{i},{'ab'[i % 2]}\n" for i in range(9)))
    check_that_what_opens_is_whole(folder)
    ingest(source, folder, labels=source / "labels.csv", shard_size=3, threads=1)


def check_that_what_opens_is_whole(folder: Path) -> None:
    """After any death: files under final names are whole, and a store that opens is complete."""
    for path in folder.glob("shard-*.parquet"):
        pq.read_table(path)
    try:
        store = Store.open(folder)
    except BadStore:
        return
    assert store.verify() == [] and not any(isinstance(item, Rejected) for item in store.records())


# --- the tests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("job", "what"), [("store_some", "die"), ("ingest_some", "die"), ("ingest_some", "fail")])
def test_a_store_survives_every_crash_point(tmp_path: Path, job: str, what: str) -> None:
    told = crash(job, tmp_path, what)
    assert isinstance(told["steps"], int) and told["steps"] >= 40
    assert (told["differ"], told["redone"], told["broke"]) == ([], [], []), told["stderr"]


SLOW = """
import sys, time
from tuningfork.galaxy.ingest import ingest
def told(done, total, text):
    print(done, flush=True)
    time.sleep(0.002)
ingest(sys.argv[1], sys.argv[2], shard_size=5, progress=told)
print("finished", flush=True)
"""


def test_kill_9_again_and_again_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    source = tmp_path / "pictures"
    source.mkdir()
    for number in range(40):
        picture = np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)
        (source / f"{number:02d}.jpg").write_bytes(Record.from_picture("x", picture).data)
    ingest(source, tmp_path / "whole", shard_size=5)
    kills = 0
    for _ in range(12):
        command = [sys.executable, "-c", SLOW, str(source), str(tmp_path / "cut")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for lines, line in enumerate(process.stdout, 1):
                if lines == 13 and line.strip() != "finished":
                    process.send_signal(signal.SIGKILL)
                    kills += 1
            if process.wait() == 0:
                break
    assert kills >= 3  # 13 galaxies a life are two shards of 5: 40 galaxies take a few lives
    whole, cut = (
        {p.name: p.read_bytes() for p in (tmp_path / n).iterdir() if p.name != ".lock"} for n in ("whole", "cut")
    )
    assert whole == cut
