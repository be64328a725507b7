"""Die at every step of a job's writing, run it again, compare: the program that the tests of crash points start.

python crash.py SCENARIO.py FUNCTION FOLDER [die|fail] loads FUNCTION from SCENARIO.py; FUNCTION(folder) does a job that
writes through tuningfork.disk into the folder given. It is run once undisturbed; then, for each step n of that run, in
a fresh folder: once so that it dies at step n ("die": like kill -9; "fail": the step finds the disk full), and once
more undisturbed. One line of JSON tells: how many steps there were, at which the end differed, after which a file
that the ledgers had called finished was written anew, and where the job failed in another way than it should.
Each run is a forked child, so that this process never has threads and a job costs no import. fsync does nothing here:
the death of a process loses no written page, and it would take most of the time.
"""

import contextlib
import errno
import importlib
import importlib.util
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tuningfork import disk
from tuningfork.errors import DiskFull

DIED, FULL, BROKE = 77, 28, 70


def in_child(job: Callable[[Path], object], folder: Path, hook: Callable[[str, Path], None]) -> int:
    """Run ``job(folder)`` in a forked child with ``hook`` at every step; its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        disk.step = hook
        os.fsync = lambda descriptor: None
        job(folder)
        os._exit(0)
    except DiskFull:
        os._exit(FULL)
    except BaseException:
        traceback.print_exc()
    os._exit(BROKE)


def at(step: int, what: str) -> Callable[[str, Path], None]:
    """A hook that dies, or finds the disk full, at one step."""
    seen = 0

    def hook(name: str, path: Path) -> None:
        nonlocal seen
        seen += 1
        if seen == step and what == "die":
            os._exit(DIED)
        if seen == step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return hook


def counter(log: Path) -> Callable[[str, Path], None]:
    """A hook that counts steps into a file, one byte each."""

    def hook(name: str, path: Path) -> None:
        with open(log, "ab") as file:
            file.write(b".")

    return hook


def content(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)): disk.sha256(p) for p in files}


def finished(folder: Path) -> dict[str, int]:
    """The inodes of the shards that the ledgers call finished: a file that is written anew has another."""
    found = {}
    for ledger in folder.rglob("*.jsonl"):
        for entry in disk.Ledger(ledger).read():
            shard = entry.get("shard")
            if shard:
                path = ledger.parent / shard["name"]
                found[str(path)] = path.stat().st_ino
    return found


def import_what_the_job_imports(job: Callable[[Path], object], folder: Path, log: Path) -> None:
    """Libraries that a job loads late would be loaded anew in every child."""

    def listed(folder: Path) -> None:
        job(folder)
        log.write_text("\n".join(sys.modules))

    assert in_child(listed, folder, quiet) == 0, "the undisturbed run failed"
    for name in log.read_text().split():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def quiet(name: str, path: Path) -> None:
    """The hook of an undisturbed run."""


def main(scenario: str, function: str, folder: str, what: str = "die") -> None:
    spec = importlib.util.spec_from_file_location("scenario", scenario)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    job: Callable[[Path], object] = getattr(module, function)
    work, log = Path(folder), Path(folder) / "steps"
    import_what_the_job_imports(job, work / "first", work / "modules")
    assert in_child(job, work / "whole", counter(log)) == 0, "the undisturbed run failed"
    steps, whole = log.stat().st_size, content(work / "whole")
    told: dict[str, object] = {"steps": steps, "files": len(whole)}
    differ, redone, broke = [], [], []
    for step in range(1, steps + 1):
        trial = work / "trial"
        if in_child(job, trial, at(step, what)) != (DIED if what == "die" else FULL):
            broke.append(step)
        before = finished(trial) if trial.exists() else {}
        if in_child(job, trial, quiet) != 0 or content(trial) != whole:
            differ.append(step)
        if any(Path(path).stat().st_ino != inode for path, inode in before.items()):
            redone.append(step)
        shutil.rmtree(trial, ignore_errors=True)
    print(json.dumps(told | {"differ": differ, "redone": redone, "broke": broke}))


if __name__ == "__main__":
    main(*sys.argv[1:])
