"""The only door to the disk: files whole or absent, locked folders, ledgers, names safe for every file system."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from .errors import DiskError, DiskFull, Locked

step: Callable[[str, Path], None] = lambda name, path: None  # noqa: E731  (tests/faults replaces this hook to die at each step)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn an OSError into a DiskError that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        raise _explained(error, path) from error


def _explained(error: OSError, path: Path) -> DiskError:
    if error.errno in _FULL or _short_write(error):
        return DiskFull(
            f"no space left to write '{path}' ({_free(path) / 1e9:.2f} GB free there): free some space and run the "
            "same command again; everything finished so far is kept"
        )
    return DiskError(f"cannot write '{path}': {error.strerror or error}; check that the folder is writable")


def _short_write(error: OSError) -> bool:
    """NumPy's ``tofile`` tells of a full disk without an errno, as "1000 requested and 24 written"."""
    return error.errno is None and re.search(r"\d+ requested and \d+ written", str(error)) is not None


@contextlib.contextmanager
def _told_of_writing(part: Path, path: Path) -> Iterator[None]:
    """As :func:`_told`, for the body of :func:`atomic`, which may also read: an error of another file is not ours."""
    try:
        yield
    except OSError as error:
        named = {str(name) for name in (error.filename, error.filename2) if name is not None}
        ours = str(part) in named or (error.errno is not None and not named)
        if ours or _short_write(error):
            raise _explained(error, path) from error
        raise


def _free(path: Path) -> int:
    for folder in [path, *path.parents]:
        if folder.exists():
            status = os.statvfs(folder)
            return status.f_bavail * status.f_frsize
    return 0


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on a clean exit it becomes ``path``, otherwise it is removed.

    The order is data fsync, rename, folder fsync, so that after a kill or a power cut the final name holds either the
    old file or the whole new one. The temporary file keeps the suffix, for libraries that choose a format by it.
    Raises :class:`DiskFull` or :class:`DiskError`, naming the path; errors of the body that are not about writing pass
    through as they are.
    """
    path = Path(path)
    part = path.with_name(f".part-{_machine()}-{os.getpid()}-{_mark(path)}-{uuid.uuid4().hex[:12]}{path.suffix}")
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _told(path):
            step("begin", path)
        with _told_of_writing(part, path):
            yield part
        with _told(path):
            step("written", path)
            _sync(part)
            step("synced", path)
            os.replace(part, path)
            step("renamed", path)
            _sync(path.parent)
            step("named", path)
    finally:
        with contextlib.suppress(OSError):  # what went wrong before is the better message
            part.unlink(missing_ok=True)


@functools.cache
def _machine() -> str:
    """Eight digits for who shares our process numbers: this start of this machine, this container."""
    try:
        told = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink("/proc/self/ns/pid")
    except OSError:
        told = uuid.uuid4().hex  # no other process is then known to be dead
    return sha256(told.encode())[:8]


def _mark(path: Path) -> str:
    return sha256(path.name.encode("utf-8", "surrogatepass"))[:8]


def sweep_dead(path: str | Path) -> None:
    """Remove the temporary files of ``path`` whose writers were killed; those of the living stay, whoever they are.

    A process is known to be dead by its number, so that only files of this machine (and container) since it was started
    are removed. It lists the folder: for one large file that is written in it, not for every one of many.
    """
    path = Path(path)
    for part in path.parent.glob(f".part-{_machine()}-*-{_mark(path)}-*"):
        try:
            os.kill(int(part.name.split("-")[2]), 0)
        except ProcessLookupError:
            remove(part)
        except (ValueError, OSError):
            continue  # a name that is not ours, or a process of another user


def sweep(folder: str | Path) -> None:
    """Remove the temporary files that a killed process left in ``folder``; only for who holds its :func:`lock`."""
    for part in Path(folder).glob(".part-*"):
        remove(part)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all."""
    with atomic(path) as part:
        part.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON; NaN and infinity are refused, because other programs cannot read them."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; raises :class:`DiskError` that says what is wrong with it."""
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise DiskError(f"cannot read '{path}': {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DiskError(f"'{path}' is no JSON: {error}") from error


def make_folder(path: str | Path) -> Path:
    """Create a folder, and its parents, if it is not there; probe that it can be written."""
    path = Path(path)
    with _told(path):
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".part-{uuid.uuid4().hex[:12]}"
        probe.touch()
        probe.unlink()
    return path


def remove(path: str | Path) -> None:
    """Remove one file if it is there."""
    with _told(Path(path)):
        Path(path).unlink(missing_ok=True)


def remove_folder(path: str | Path) -> None:
    """Remove a folder with the files in it, if it is there; one that holds folders is refused with DiskError."""
    path = Path(path)
    with _told(path):
        for one in path.glob("*"):
            one.unlink(missing_ok=True)
        if path.is_dir():
            path.rmdir()


def sha256(content: bytes | str | Path) -> str:
    """The SHA-256 of bytes, or of the file at a path, as 64 hexadecimal digits."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with open(content, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safe_name(identifier: str) -> str:
    """A file name for any id: 16 digits of its SHA-256, then as much of it as every file system takes.

    Two ids that differ (also by case alone) get names that differ; no name has a separator, a dot in front, or a
    device's name (CON, NUL); at most 80 characters.
    """
    tail = re.sub(r"[^A-Za-z0-9_+-]+", "_", identifier)[:60]
    return f"{hashlib.sha256(identifier.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}-{tail}"


def is_plain(name: str) -> bool:
    """Whether a name of unknown origin can be one file or folder, on any system: 1 to 64 of A-Z a-z 0-9 _ . -

    It begins with a letter or digit, so that ".." is none, and has no separator: it is never a path.
    """
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name))


class Ledger:
    """Lines of JSON that are only ever added: what has been finished, readable after any kill.

    A torn last line (the process died while writing it) is passed over by :meth:`read` and cut off by the next
    :meth:`append`; a torn line anywhere else raises :class:`DiskError`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, entry: dict[str, Any]) -> None:
        """Add one entry and flush it to the disk."""
        line = json.dumps(entry, allow_nan=False).encode() + b"\n"
        with _told(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as file:
                self._cut_torn_line(file)
                step("begin", self.path)
                file.write(line)
                file.flush()
                step("written", self.path)
                os.fsync(file.fileno())
                step("synced", self.path)
                if file.tell() == len(line):  # a new file: its name has to reach the disk too
                    _sync(self.path.parent)

    def _cut_torn_line(self, file: IO[bytes]) -> None:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)

    def read(self) -> list[dict[str, Any]]:
        """All entries, oldest first; an absent ledger is an empty one."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DiskError(f"cannot read '{self.path}': {error.strerror or error}") from error
        entries = []
        for number, line in enumerate(lines[:-1], 1):  # what follows the last newline is a torn line
            try:
                entries.append(json.loads(line))
            except ValueError as error:
                raise DiskError(f"line {number} of '{self.path}' is no JSON: {error}") from error
        return entries


@contextlib.contextmanager
def lock(folder: str | Path) -> Iterator[None]:
    """Hold ``folder`` for this process alone; a second process gets :class:`Locked`, which names the first, at once.

    The lock is the kernel's (flock): it dies with its process, so that no stale lock has to be removed by hand.
    """
    path = make_folder(folder) / ".lock"
    with _told(path):
        file = open(path, "a+")  # noqa: SIM115  (closed below, after the lock)
    try:
        with _told(path):
            _take(file, folder)
        yield
    finally:
        file.close()


@contextlib.contextmanager
def stop_on_sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets (in the main thread; elsewhere Python takes no signals), as long as this lasts.

    Whoever works in here looks at it between two pieces of work, and when it is set raises
    :class:`~tuningfork.errors.Stopped` with what is kept: the command line then ends with exit code 75.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def _take(file: IO[str], folder: str | Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "another process"
        raise Locked(f"'{folder}' is in use by {owner}: wait for it, stop it, or choose another folder") from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
