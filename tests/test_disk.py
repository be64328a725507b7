"""The door to the disk: whole or absent, locked once, no line lost, no name that escapes."""

import errno
import os
import signal
import string
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork import disk
from tuningfork.errors import DiskError, DiskFull, Locked

DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"COM{i}" for i in range(10)), *(f"LPT{i}" for i in range(10))}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- atomic -------------------------------------------------------------------------------------------------------


def test_a_file_is_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    disk.write_bytes(tmp_path / "new" / "a.bin", b"first")
    disk.write_bytes(tmp_path / "new" / "a.bin", b"second")
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"second"
    assert names(tmp_path / "new") == ["a.bin"]


def test_the_temporary_file_is_beside_the_final_one_and_keeps_its_suffix(tmp_path: Path) -> None:
    with disk.atomic(tmp_path / "a.parquet") as part:
        assert part.parent == tmp_path and part.suffix == ".parquet" and part.name.startswith(".part-")
        part.touch()


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_a_failing_body_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    disk.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(type(error)), disk.atomic(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_of_reading_in_the_body_is_not_called_one_of_writing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.csv"), disk.atomic(tmp_path / "a.txt"):
        (tmp_path / "absent.csv").read_bytes()
    with pytest.raises(OSError, match="broken picture"), disk.atomic(tmp_path / "a.txt"):
        raise OSError("broken picture")  # as Pillow and astropy raise, without an errno
    assert names(tmp_path) == []


def test_a_body_that_writes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"cannot write .*a\.txt"), disk.atomic(tmp_path / "a.txt"):
        pass


def test_the_order_of_calls_is_data_name_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        calls.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def spy_replace(old: Path, new: Path) -> None:
        calls.append(("replace", Path(new).name))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    disk.write_bytes(tmp_path / "a.bin", b"x")
    assert [kind for kind, _ in calls] == ["fsync", "replace", "fsync"]
    assert calls[0][1].startswith(".part-") and calls[1][1] == "a.bin" and calls[2][1] == tmp_path.name


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("at", ["begin", "written", "synced", "renamed", "named"])
def test_each_step_that_fails_is_one_disk_error_and_the_file_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, at: str
) -> None:
    def fail(name: str, path: Path) -> None:
        if name == at:
            raise OSError(code, os.strerror(code))

    disk.write_bytes(tmp_path / "a.bin", b"old")
    monkeypatch.setattr(disk, "step", fail)
    with pytest.raises(DiskFull if code == errno.ENOSPC else DiskError, match=r"a\.bin"):
        disk.write_bytes(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == (b"new" if at in ("renamed", "named") else b"old")
    assert names(tmp_path) == ["a.bin"]


# --- no space -----------------------------------------------------------------------------------------------------

LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from tuningfork import disk
from tuningfork.errors import DiskFull
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write beyond the limit fails with EFBIG, as at a full quota
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
folder = Path(sys.argv[1])
table = pa.table({"a": [np.random.default_rng(0).bytes(100_000)]})

def with_parquet(path):
    with disk.atomic(path) as part:
        pq.write_table(table, part)

def with_numpy(path):
    with disk.atomic(path) as part:
        np.save(part, np.zeros(100_000))

writers = {
    "a.bin": lambda path: disk.write_bytes(path, bytes(100_000)),
    "a.json": lambda path: disk.write_json(path, list(range(20_000))),
    "a.parquet": with_parquet,
    "a.npy": with_numpy,
    "a.jsonl": lambda path: disk.Ledger(path).append({"a": "x" * 100_000}),
}
for name, write in writers.items():
    try:
        write(folder / name)
    except DiskFull as error:
        print(name, "DiskFull", str(error))
"""


def test_no_space_is_disk_full_for_every_kind_of_writer_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = [line.split()[:2] for line in done.stdout.splitlines()]
    assert told == [[name, "DiskFull"] for name in ("a.bin", "a.json", "a.parquet", "a.npy", "a.jsonl")]
    assert all("free some space and run the same command again" in line for line in done.stdout.splitlines())
    assert names(tmp_path) in ([], ["a.jsonl"])
    assert disk.Ledger(tmp_path / "a.jsonl").read() == []  # the torn line of the failed append does not count


def test_a_full_device_is_disk_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(DiskFull, match=r"a\.txt"), disk.atomic(tmp_path / "a.txt") as part:
        part.symlink_to("/dev/full")
        part.write_bytes(b"x")
    assert names(tmp_path) == []


# --- folders, JSON, digests ---------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=r"cannot write .*file"):
        disk.make_folder(tmp_path / "file" / "sub")
    (tmp_path / "closed").mkdir(mode=0o555)
    if os.access(tmp_path / "closed", os.W_OK):  # root may write anywhere
        disk.make_folder(tmp_path / "closed")
    else:
        with pytest.raises(DiskError, match="closed"):
            disk.make_folder(tmp_path / "closed")
    assert disk.make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_a_disk_error(tmp_path: Path, content: bytes) -> None:
    disk.write_bytes(tmp_path / "a.json", content)
    with pytest.raises(DiskError, match=r"a\.json.* is no JSON"):
        disk.read_json(tmp_path / "a.json")


def test_json_goes_round_and_nan_is_refused(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, "ü"], "a": {"x": True}}
    disk.write_json(tmp_path / "a.json", value)
    assert disk.read_json(tmp_path / "a.json") == value
    with pytest.raises(ValueError):
        disk.write_json(tmp_path / "a.json", float("nan"))
    with pytest.raises(DiskError, match=r"cannot read .*absent\.json"):
        disk.read_json(tmp_path / "absent.json")


def test_the_digest_of_bytes_is_that_of_a_file_and_of_the_standard(tmp_path: Path) -> None:
    # FIPS 180-2, appendix B.1: SHA-256 of "abc"
    golden = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    disk.write_bytes(tmp_path / "abc", b"abc")
    assert disk.sha256(b"abc") == disk.sha256(tmp_path / "abc") == disk.sha256(str(tmp_path / "abc")) == golden


def test_sweep_removes_what_a_killed_process_left_and_nothing_else(tmp_path: Path) -> None:
    disk.write_bytes(tmp_path / ".part-0123456789ab.parquet", b"torn")
    disk.write_bytes(tmp_path / "a.parquet", b"whole")
    disk.sweep(tmp_path)
    assert names(tmp_path) == ["a.parquet"]


# --- safe_name ----------------------------------------------------------------------------------------------------

HOSTILE = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "/root",
    "a\0b",
    "CON",
    "nul.txt",
    "x" * 400,
    "-rf",
    "~",
    "a\nb",
    "ü",
    "\ud800",
]


@given(st.text(alphabet=st.characters(), max_size=500) | st.sampled_from(HOSTILE))
def test_a_safe_name_is_one_plain_short_name(identifier: str) -> None:
    name = disk.safe_name(identifier)
    assert set(name) <= set(string.ascii_letters + string.digits + "_+-")
    assert 1 <= len(name) <= 80 and name[0] in string.hexdigits
    assert name.split(".")[0].upper() not in DEVICES
    assert Path(name).name == name and (Path("/folder") / name).resolve().parent == Path("/folder")
    assert disk.safe_name(identifier) == name


@given(st.lists(st.text(alphabet="aA./_ \0", max_size=6) | st.text(max_size=80), unique=True, max_size=200))
def test_safe_names_differ_where_ids_differ_even_without_case(identifiers: list[str]) -> None:
    assert len({disk.safe_name(identifier).casefold() for identifier in identifiers}) == len(identifiers)


def test_a_hundred_thousand_ids_that_look_alike_do_not_collide() -> None:
    ids = [f"{'aA'[i % 2]}{'/._ '[i % 4]}{i // 8}{'x' * 70}{i}" for i in range(100_000)]
    assert len({disk.safe_name(identifier).casefold() for identifier in ids}) == len(set(ids)) == 100_000


# --- Ledger -------------------------------------------------------------------------------------------------------

ENTRIES = st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3), max_size=5)


@given(entries=ENTRIES, cut=st.integers(0, 200))
def test_a_ledger_cut_anywhere_reads_as_its_whole_lines_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, object]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "done.jsonl"
    ledger = disk.Ledger(path)
    for entry in entries:
        ledger.append(entry)
    assert ledger.read() == entries
    if not entries:
        return
    whole = path.read_bytes()
    torn = whole[: max(0, len(whole) - cut)]
    path.write_bytes(torn)
    kept = entries[: torn.count(b"\n")]
    assert ledger.read() == kept
    ledger.append({"after": 1})
    assert ledger.read() == [*kept, {"after": 1}]


def test_a_broken_line_in_the_middle_of_a_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "done.jsonl").write_bytes(b'{"a": 1}\n{"b"\n{"c": 3}\n')
    with pytest.raises(DiskError, match="line 2"):
        disk.Ledger(tmp_path / "done.jsonl").read()


def test_an_absent_ledger_is_empty_and_an_unreadable_one_is_not(tmp_path: Path) -> None:
    assert disk.Ledger(tmp_path / "absent.jsonl").read() == []
    with pytest.raises(DiskError, match="cannot read"):
        disk.Ledger(tmp_path).read()  # a folder


# --- lock ---------------------------------------------------------------------------------------------------------

RACER = """
import sys, time
from tuningfork import disk
from tuningfork.errors import Locked
print("ready", flush=True)
sys.stdin.readline()
started = time.monotonic()
try:
    with disk.lock(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.readline()
except Locked as error:
    print("locked", time.monotonic() - started, str(error), flush=True)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", RACER, str(folder)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_twenty_processes_one_holds_the_folder_and_the_others_say_so_at_once(tmp_path: Path) -> None:
    processes = [start(tmp_path) for _ in range(20)]
    try:
        assert {hear(process) for process in processes} == {"ready"}
        for process in processes:
            tell(process)
        answers = [hear(process) for process in processes]
        assert sum(answer == "held" for answer in answers) == 1
        locked = [answer.split(maxsplit=2) for answer in answers if answer != "held"]
        assert len(locked) == 19 and all(word == "locked" and float(seconds) < 1 for word, seconds, _ in locked)
        holder = processes[answers.index("held")]
        late = start(tmp_path)
        processes.append(late)
        assert hear(late) == "ready"
        tell(late)
        assert f"process {holder.pid} " in hear(late)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    holder = start(tmp_path)
    hear(holder)
    tell(holder)
    assert hear(holder) == "held"
    with pytest.raises(Locked, match=f"process {holder.pid} "), disk.lock(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    started = time.monotonic()
    with disk.lock(tmp_path):
        assert time.monotonic() - started < 1
    with disk.lock(tmp_path):  # and can be taken again after it was given back
        pass
