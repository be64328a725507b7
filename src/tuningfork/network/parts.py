"""The parts of a download: pieces on the disk, each whole, taken up again only while the server's file is the same."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import disk
from ..errors import DiskError, DiskFull
from .reply import HEAD, ReplyError, Teller, Wanted, headers_of

if TYPE_CHECKING:
    import httpx

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Origin:
    """What a sidecar says: whence the pieces are, which state of the file they show, how long the whole is."""

    url: str
    etag: str = ""
    modified: str = ""
    length: int | None = None

    @property
    def validator(self) -> str:
        """What If-Range may carry (RFC 9110, 13.1.5): a strong ETag, else a date, else nothing."""
        if self.etag:
            return "" if self.etag.startswith("W/") else self.etag
        return self.modified


class Parts:
    """What has come of the file ``path`` so far.

    Beside it stand ``path``.part.json (an :class:`Origin`) and pieces ``path``.part-OFFSET-DIGEST, each written whole
    or not at all; pieces without the sidecar, or after a gap, count for nothing. The finished file has
    ``path``.origin.json with its SHA-256.
    """

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url
        self._sidecar, self._done = path.with_name(f"{path.name}.part.json"), path.with_name(f"{path.name}.origin.json")
        self.origin = self._read()
        self._pieces: list[tuple[int, Path]] = []
        if self.origin.url != url:
            self.discard()
        self._find()

    def _read(self) -> Origin:
        with contextlib.suppress(DiskError, TypeError):
            origin = Origin(**disk.read_json(self._sidecar))
            if all(isinstance(text, str) for text in (origin.url, origin.etag, origin.modified)):
                return origin
        return Origin("")

    def _find(self) -> None:
        """List the pieces that follow upon each other; remove the others."""
        name = re.compile(re.escape(self.path.name) + r"\.part-(\d{15})-[0-9a-f]{16}")
        found = [(int(m[1]), p) for p in self.path.parent.iterdir() if (m := name.fullmatch(p.name))]
        self._pieces, end = [], 0
        for offset, piece in sorted(found):
            if offset == end and self.origin.url:
                self._pieces.append((offset, piece))
                end += piece.stat().st_size
            else:
                disk.remove(piece)

    def have(self) -> int:
        """The bytes that have come, from the first on without a gap."""
        return self._pieces[-1][0] + self._pieces[-1][1].stat().st_size if self._pieces else 0

    @property
    def complete(self) -> bool:
        """Whether all pieces are there."""
        return self.origin.length is not None and self.have() == self.origin.length

    def is_done(self, digest: str | None) -> bool:
        """Whether the finished file is there, proven by ``digest``, or by the one it was given when it was named."""
        if not self.path.is_file():
            return False
        if digest is None:
            with contextlib.suppress(DiskError):
                told = disk.read_json(self._done)
                if isinstance(told, dict) and told.get("url") == self.url:
                    digest = told.get("sha256")
        return digest is not None and disk.sha256(self.path) == digest

    def discard(self) -> None:
        """Forget what has come; the sidecar goes first, so that a kill in between leaves nothing that is believed."""
        disk.remove(self._sidecar)
        self.origin = Origin("")
        self._find()

    def begin(self, origin: Origin) -> None:
        """Start from the first byte of the file that ``origin`` describes."""
        self.discard()
        disk.write_json(self._sidecar, vars(origin))
        self.origin = origin

    def add(self, data: bytes) -> None:
        """Keep the next bytes."""
        offset = self.have()
        digest = hashlib.sha256(data).hexdigest()[:16]
        piece = self.path.with_name(f"{self.path.name}.part-{offset:015d}-{digest}")
        disk.write_bytes(piece, data)
        self._pieces.append((offset, piece))

    def end(self, length: int) -> None:
        """Where no length was announced at first: now it is known."""
        self.origin = Origin(self.origin.url, self.origin.etag, self.origin.modified, length)
        disk.write_json(self._sidecar, vars(self.origin))

    def require_room(self, length: int) -> None:
        """Raise DiskFull at once if the rest of the pieces, and the file joined from them, will not fit."""
        need, free = 2 * length - self.have(), shutil.disk_usage(self.path.parent).free
        if need > free:
            raise DiskFull(
                f"'{self.path}' needs {need / 1e9:.2f} GB while it is put together, and {free / 1e9:.2f} GB are free "
                "there: free some space and run the same command again; what has come is kept"
            )

    def join(self, wanted: Wanted, teller: Teller) -> None:
        """Prove the whole, name it, and remove the pieces; if it is not what was wanted, they are removed too."""
        try:
            with disk.atomic(self.path) as temporary:
                digest = self._write(temporary, wanted, teller)
                wanted.prove(self.url, self.have(), digest, teller)
                disk.write_json(self._done, {**vars(self.origin), "sha256": digest})
        except ReplyError as error:
            if error.kind == "permanent":
                self.discard()
            raise
        self.discard()

    def _write(self, temporary: Path, wanted: Wanted, teller: Teller) -> str:
        """Write all pieces to one file and return its SHA-256; what follows a damaged piece is asked for again."""
        import pyarrow as pa  # late: it is slow to import, and only downloads need it

        whole, head = hashlib.sha256(), b""
        with pa.OSFile(str(temporary), "wb") as file:
            for offset, piece in self._pieces:
                data = piece.read_bytes()
                if not piece.name.endswith(hashlib.sha256(data).hexdigest()[:16]):
                    disk.remove(piece)
                    self._find()
                    said = f"came well, but its bytes from {offset} on were damaged on our disk"
                    raise teller.error(self.url, said, "transient", "digest")
                head += data[: HEAD - len(head)]
                whole.update(data)
                file.write(data)
        wanted.judge(self.url, head, teller)
        return whole.hexdigest()


class Download:
    """One download: what to ask for next, and what to make of the reply."""

    def __init__(self, parts: Parts, wanted: Wanted, teller: Teller, piece: int, progress: Progress | None) -> None:
        self.parts, self.wanted, self.teller, self.piece, self.progress = parts, wanted, teller, piece, progress

    def headers(self) -> dict[str, str]:
        """The headers of the next request: the rest, if it can be told that the file is still the same."""
        have, validator = self.parts.have(), self.parts.origin.validator
        if have and (validator or self.wanted.sha256):
            return {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {})
        return {}

    def take(self, response: httpx.Response, url: str) -> None:
        """Keep the body of a reply; after a fault what came before it is kept, after a lie nothing is."""
        length = self._continued(response, url) if response.status_code == 206 else self._begun(response, url)
        if length is not None:
            self.parts.require_room(length)
        buffer = bytearray()
        try:
            for chunk in response.iter_raw():
                buffer += chunk
                self.wanted.limit(url, self.parts.have() + len(buffer), self.teller)
                if len(buffer) >= self.piece:
                    self._keep(buffer, url)
            self._keep(buffer, url)
        except BaseException as error:
            if isinstance(error, ReplyError) and error.cause != "timeout":  # not what was announced, or wanted
                self.parts.discard()
            elif buffer and not isinstance(error, DiskError):
                self.parts.add(bytes(buffer))  # whatever it is: all is judged again when it is joined
            raise
        if self.parts.origin.length is None:
            self.parts.end(self.parts.have())

    def _keep(self, buffer: bytearray, url: str) -> None:
        if not buffer:
            return
        if self.parts.have() == 0 and len(buffer) >= HEAD:  # a shorter one is judged when it is joined
            self.wanted.judge(url, bytes(buffer[:HEAD]), self.teller)
        self.parts.add(bytes(buffer))
        buffer.clear()
        self._tell()

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.parts.have(), self.parts.origin.length or self.wanted.size or 0, self.parts.path.name)

    def _begun(self, response: httpx.Response, url: str) -> int | None:
        """A reply from the first byte on, whether or not that was asked for: what came before is of no use."""
        headers, length = headers_of(response), self.wanted.announced(url, response, self.teller)
        if length is None and "transfer-encoding" not in headers and not (self.wanted.size or self.wanted.sha256):
            said = "does not say how long it is, so that a cut could not be seen; give its size or SHA-256"
            raise self.teller.wrong(url, said, "length")
        if length == 0:
            raise self.teller.wrong(url, "sent nothing at all", "content")
        if None not in (length, self.wanted.size) and length != self.wanted.size:
            raise self.teller.wrong(url, f"sends {length} bytes instead of {self.wanted.size}", "length")
        self.parts.begin(Origin(self.parts.url, headers.get("etag", ""), headers.get("last-modified", ""), length))
        return length

    def _continued(self, response: httpx.Response, url: str) -> int | None:
        """The rest of the file: exactly what was asked for, of the very same file, or all is forgotten."""
        headers, origin, have = headers_of(response), self.parts.origin, self.parts.have()
        said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("content-range", "").strip().lower())
        announced = self.wanted.announced(url, response, self.teller)
        first, last, total = (int(said[1]), int(said[2]), said[3]) if said else (-1, -1, "")
        faults: dict[str, Any] = {
            "was not asked for a part": not have or "Range" not in response.request.headers,
            "sent another part than was asked for": first != have or last < first,
            "announced another length than its part has": announced not in (None, last - first + 1),
            "has changed meanwhile (length)": total != "*" and origin.length not in (None, int(total or -1)),
            "has changed meanwhile (ETag)": headers.get("etag", origin.etag) != origin.etag,
            "has changed meanwhile (date)": headers.get("last-modified", origin.modified) != origin.modified,
            "sent bytes beyond its own end": origin.length is not None and last >= origin.length,
        }
        for fault, found in faults.items():
            if found:
                self.parts.discard()
                raise self.teller.error(url, f"{fault}, so that it is begun anew", "transient", "content", status=206)
        if origin.length is None and total != "*":
            self.parts.end(int(total))
        return self.parts.origin.length
