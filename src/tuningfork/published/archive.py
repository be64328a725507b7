"""Archives unpacked with distrust: member by member, regular files of expected names alone, within a budget."""

from __future__ import annotations

import contextlib
import fnmatch
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from .. import disk
from ..errors import BadStore

Progress = Callable[[int, int, str], None]

_CHUNK = 1 << 20
_HEADER = 16 << 20  # bytes that a tar's own header may have at once
_ENTRY = 256  # bytes per entry that a zip's table of contents may have
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@ -]{0,199}")
_ENDS = (".zip", ".tar.gz", ".tgz", ".tar")


@dataclass(frozen=True)
class Allowance:
    """What an archive may claim; beyond any of these it is refused, and nothing after that is written."""

    members: int = 100_000  # entries of any kind
    member: int = 1 << 30  # bytes of one file
    total: int = 256 << 30  # bytes of all
    ratio: int = 200  # how many times larger than the archive the content may be ...
    free: int = 64 << 20  # ... once it is larger than this many bytes

    def allowed(self, arrived: int) -> int:
        """How many bytes may come out of an archive of ``arrived`` bytes."""
        return min(self.total, max(self.free, self.ratio * arrived))


@dataclass(frozen=True)
class Unpacked:
    """What came out of an archive: ``n`` files, ``n_new`` of them new or mended; ``others`` were left inside."""

    folder: str
    n: int
    n_new: int
    n_others: int
    others: tuple[str, ...] = ()  # the first ten


def is_archive(name: str) -> bool:
    """Whether a file's name promises an archive that :func:`unpack` reads."""
    return name.lower().endswith(_ENDS)


def unpack(
    archive: str | Path,
    folder: str | Path,
    pattern: str = "*",
    *,
    keep_class: bool = False,
    allowance: Allowance | None = None,
    progress: Progress | None = None,
) -> Unpacked:
    """Write the files of a zip, tar or tar.gz whose paths match ``pattern`` into ``folder``, flat, each whole or not.

    ``pattern`` is a shell pattern in which * stands for / too. With ``keep_class`` a file keeps the last folder of its
    path, which names its class. What does not match stays inside and is counted; hidden files and __MACOSX never match.
    Links, devices, absolute paths, .. and encrypted members refuse the whole archive, also where they would not match,
    and so do two files of one name, names beyond letters, digits and ``_.+=@ -``, and anything beyond ``allowance``.
    The same call after a kill writes only what is not there as it should be. Nothing is ever written outside
    ``folder``. Raises :class:`~tuningfork.errors.BadStore` that names the archive, the member and the reason.
    """
    path, out, limits = Path(archive), Path(folder), allowance or Allowance()
    taken: dict[str, str] = {}
    others: list[str] = []
    new = 0
    reader = _zip_members if path.name.lower().endswith(".zip") else _tar_members
    with _told(path):
        for name, member in reader(path, limits):
            parts = _parts(path, name)
            if member is None:  # a folder
                continue
            if not wanted(parts, pattern):
                others.append("/".join(parts))
                continue
            inside = parts[-2:] if keep_class else parts[-1:]
            if keep_class and len(inside) < 2:
                raise _bad(path, name, "lies in no folder that could name its class")
            for part in inside:
                if not _NAME.fullmatch(part) or part.endswith((" ", ".")):
                    raise _bad(path, name, "has a name that is not safe on every disk")
            key = "/".join(inside).casefold()
            if key in taken:
                raise _bad(path, name, f"would overwrite '{taken[key]}'")
            taken[key] = name
            target, data = out.joinpath(*inside), member()
            if not _is_there(target, data):
                disk.write_bytes(target, data)
                new += 1
            if progress is not None:
                progress(len(taken), 0, f"unpacking {path.name}")
    if not taken:
        shown = ", ".join(others[:5]) or "nothing"
        raise BadStore(f"the archive '{path}' has no file like '{pattern}'; it has {shown}")
    return Unpacked(str(out), len(taken), new, len(others), tuple(others[:10]))


def wanted(parts: tuple[str, ...], pattern: str) -> bool:
    """Whether a path, split into its parts, is one of those that ``pattern`` asks for."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and fnmatch.fnmatchcase("/".join(parts), pattern)


def prove_gzip(path: Path, allowance: Allowance | None = None) -> int:
    """The bytes inside a .gz, all inflated and thrown away; raises BadStore if it is cut, broken or beyond budget."""
    with _told(path), _Inflater(path, allowance or Allowance()) as stream:
        while stream.read(_CHUNK):
            pass
        return stream.tell()


def _parts(archive: Path, name: str) -> tuple[str, ...]:
    """A member's path in parts; raises BadStore where it tries to leave its folder."""
    if name.startswith("/") or "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name):
        raise _bad(archive, name, "has no path below a folder")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or (not parts and name.strip("./")):
        raise _bad(archive, name, "tries to leave its folder")
    return parts or (".",)


def _bad(archive: Path, name: str, why: str) -> BadStore:
    return BadStore(f"the archive '{archive}' is refused: its member {name[:120]!r} {why}. Nothing of it was used")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the readers raise on broken archives into a BadStore."""
    try:
        yield
    except BadStore:
        raise
    except FileNotFoundError as error:
        raise BadStore(f"there is no archive '{path}'") from error
    except (
        zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
        struct.error,
    ) as error:  # fmt: skip
        raise BadStore(
            f"the archive '{path}' is cut or broken ({type(error).__name__}: {error}): remove it and fetch it again"
        ) from error


def _is_there(target: Path, data: bytes) -> bool:
    try:
        return target.stat().st_size == len(data) and target.read_bytes() == data
    except OSError:
        return False


Member = tuple[str, Callable[[], bytes] | None]


def _zip_members(path: Path, limits: Allowance) -> Iterator[Member]:
    """The entries of a zip; what its table of contents claims is judged before anything is inflated."""
    _judge_contents(path, limits)
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
        _count(path, len(entries), limits)
        claimed = sum(entry.file_size for entry in entries)
        if claimed > limits.allowed(path.stat().st_size):
            raise BadStore(f"the archive '{path}' is refused: it claims {claimed:,} bytes of content")
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _bad(path, entry.filename, "is a link or a device")
            if entry.is_dir() or kind == stat.S_IFDIR:
                yield entry.filename, None
                continue
            if entry.flag_bits & 1:
                raise _bad(path, entry.filename, "is encrypted")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _bad(
                    path, entry.filename, f"is compressed in a way (number {entry.compress_type}) we do not read"
                )
            _weigh(path, entry.filename, entry.file_size, limits)
            yield entry.filename, partial(_read_zip, file, entry, path)


def _read_zip(file: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> bytes:
    with file.open(entry) as stream:
        data = stream.read(entry.file_size + 1)  # its CRC is proven at the end
    if len(data) != entry.file_size:
        raise _bad(path, entry.filename, f"has other than the {entry.file_size:,} bytes that it claims")
    return data


def _judge_contents(path: Path, limits: Allowance) -> None:
    """Refuse a table of contents that would fill the memory before its entries could be counted."""
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 65_557))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise BadStore(f"'{path}' is cut, or no zip: it has no table of contents. Remove it and fetch it again")
    count, size = struct.unpack("<HI", tail[at + 10 : at + 16])
    wide = tail.rfind(b"PK\x06\x06")
    if 0xFFFF in (count,) or size == 0xFFFFFFFF:
        count, size = struct.unpack("<QQ", tail[wide + 32 : wide + 48]) if wide >= 0 else (count, size)
    _count(path, count, limits)
    if size > 65_536 + _ENTRY * limits.members:
        raise BadStore(f"the archive '{path}' is refused: its table of contents has {size:,} bytes")


def _count(path: Path, members: int, limits: Allowance) -> None:
    if members > limits.members:
        raise BadStore(
            f"the archive '{path}' is refused: it has more than the {limits.members:,} members that are expected"
        )


def _weigh(path: Path, name: str, size: int, limits: Allowance) -> None:
    if size > limits.member or size < 0:
        raise _bad(path, name, f"claims {size:,} bytes; a file in it has at most {limits.member:,}")


def _tar_members(path: Path, limits: Allowance) -> Iterator[Member]:
    """The entries of a tar or tar.gz, in one pass, inflated within the budget."""
    with _Inflater(path, limits) as stream, tarfile.open(fileobj=cast(Any, stream), mode="r:") as file:
        number = 0
        while (entry := file.next()) is not None:
            cast(Any, file).members.clear()  # or they would all be kept
            number += 1
            _count(path, number, limits)
            if entry.isdir():
                yield entry.name, None
                continue
            if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or entry.issparse():
                raise _bad(path, entry.name, "is a link, a device or no regular file")
            _weigh(path, entry.name, entry.size, limits)
            yield entry.name, partial(_read_tar, file, entry, path)
        while data := stream.read(_CHUNK):  # tarfile takes a broken header for the end
            if data.strip(b"\0"):
                raise BadStore(f"the archive '{path}' is broken after {number} members: remove it and fetch it again")
        if not stream.compressed and _last(path).strip(b"\0"):
            raise BadStore(f"the archive '{path}' is cut: remove it and fetch it again")
    if not number:
        raise BadStore(f"the archive '{path}' is empty")


def _last(path: Path) -> bytes:
    """The last block of a file, which is zeros in a whole tar."""
    with open(path, "rb") as file:
        file.seek(-min(512, path.stat().st_size), 2)
        return file.read()


def _read_tar(file: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> bytes:
    stream, data = file.extractfile(entry), bytearray()
    while stream is not None and (piece := stream.read(_CHUNK)):
        data += piece
    if len(data) != entry.size:
        raise _bad(path, entry.name, "is cut")
    return bytes(data)


class _Inflater:
    """A file, gzipped or not, read forward only and never beyond the budget."""

    def __init__(self, path: Path, limits: Allowance) -> None:
        self._path = path
        self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115  (closed by __exit__)
        self._machine = zlib.decompressobj(wbits=31) if self._file.read(2) == b"\x1f\x8b" else None
        self._file.seek(0)
        self.compressed = self._machine is not None
        self._most = limits.allowed(path.stat().st_size)
        self._buffer, self._rest, self._at, self._ended = bytearray(), b"", 0, False

    def __enter__(self) -> _Inflater:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _more(self) -> bool:
        """Put the next bytes into the buffer; False at the end."""
        data = self._file.read(_CHUNK) if self._machine is None else self._inflated()
        self._buffer += data
        if self._at + len(self._buffer) > self._most:
            raise BadStore(f"the archive '{self._path}' is refused: it holds more than {self._most:,} bytes")
        return bool(data)

    def _inflated(self) -> bytes:
        while self._machine is not None:
            if self._machine.eof:  # one more gzip member may follow; zeros after it are padding
                self._rest = self._machine.unused_data.lstrip(b"\0") or self._file.read(_CHUNK).lstrip(b"\0")
                if not self._rest:
                    return b""
                self._machine = zlib.decompressobj(wbits=31)
            fed = self._rest or self._file.read(_CHUNK)
            if not fed:
                raise EOFError("the compressed stream has no end")
            data = self._machine.decompress(fed, _CHUNK)
            self._rest = self._machine.unconsumed_tail
            if data:
                return data
        return b""

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; fewer at the end alone."""
        if not 0 <= size <= _HEADER:
            raise BadStore(f"the archive '{self._path}' is refused: a header of it claims {size:,} bytes")
        while len(self._buffer) < size and self._more():
            pass
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._at += len(data)
        return data

    def tell(self) -> int:
        """The bytes read so far."""
        return self._at

    def seek(self, to: int, whence: int = 0) -> int:
        """Go forward."""
        if whence or to < self._at:
            raise BadStore(f"the archive '{self._path}' is refused: its members overlap")
        while self._at < to and self.read(min(_CHUNK, to - self._at)):
            pass
        return self._at

    def seekable(self) -> bool:
        """Only forward."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True
