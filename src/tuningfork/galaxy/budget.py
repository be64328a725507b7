"""How much an image may claim: limits checked before anything is allocated, and the inflater that obeys them."""

from __future__ import annotations

import bz2
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BadImage, Reason

CHUNK = 1 << 20  # bytes inflated at a time
MEMBERS = 64  # gzip or bzip2 members in one file
GZIP, BZIP2 = b"\x1f\x8b", b"BZh"


@dataclass(frozen=True)
class Budget:
    """What the bytes of one image may claim. Beyond any of these they are refused as TOO_LARGE, before allocation."""

    pixels: int = 4096 * 4096 * 10  # values of one array (bands x height x width)
    inflated: int = 256 << 20  # bytes after gzip or bzip2, and bytes of all arrays of a FITS file together
    ratio: int = 100  # how many times larger than the bytes that came their content may be ...
    free: int = 32 << 20  # ... once that content is larger than this many bytes
    hdus: int = 256  # extensions of a FITS file

    def check(self, shape: Sequence[int], itemsize: int, arrived: int, what: str) -> None:
        """Refuse an array of ``shape`` and ``itemsize`` bytes a value that ``arrived`` bytes claim to hold."""
        values = math.prod(shape)
        claim = f"{what} claims {' x '.join(str(side) for side in shape)} values in {arrived:,} bytes"
        if values > self.pixels:
            raise BadImage(Reason.TOO_LARGE, f"{claim}; at most {self.pixels:,} values are read")
        if values * itemsize > self.allowed(arrived):
            raise BadImage(Reason.TOO_LARGE, f"{claim}: more than {self.ratio} times what came")

    def allowed(self, arrived: int) -> int:
        """How many bytes the content of ``arrived`` bytes may have."""
        return max(self.free, self.ratio * arrived)


def inflate(data: bytes, budget: Budget, limit: int | None = None) -> bytes:
    """The content of gzip or bzip2 bytes, several members included; never more than the budget (or ``limit``) bytes.

    Raises BadImage: TOO_LARGE beyond the budget, TRUNCATED where the stream has no end, CORRUPT where it is broken or
    made of more than ``MEMBERS`` members. Bytes after the last member (padding) are ignored, as gzip itself does.
    """
    if limit is None:
        limit = min(budget.inflated, budget.allowed(len(data)))
    content = bytearray()
    rest = data
    for _ in range(MEMBERS):
        try:
            rest = _gzip(rest, content, limit) if rest[:2] == GZIP else _bzip2(rest, content, limit)
        except (zlib.error, OSError, ValueError, EOFError) as error:
            raise BadImage(Reason.CORRUPT, f"compressed bytes: {error}") from error
        if rest[:2] != GZIP and rest[:3] != BZIP2:
            return bytes(content)
    raise BadImage(Reason.CORRUPT, f"more than {MEMBERS} compressed members in one file")


def _room(content: bytearray, limit: int, arrived: int) -> None:
    """Refuse as soon as the limit is passed."""
    if len(content) > limit:
        raise BadImage(Reason.TOO_LARGE, f"{arrived:,} compressed bytes hold more than the {limit:,} that are allowed")


def _gzip(data: bytes, content: bytearray, limit: int) -> bytes:
    """Append one gzip member's content; return the bytes behind the member."""
    machine = zlib.decompressobj(wbits=31)
    fed = data
    while not machine.eof:
        piece = machine.decompress(fed, CHUNK)
        fed = machine.unconsumed_tail
        content += piece
        _room(content, limit, len(data))
        if not piece and not fed and not machine.eof:
            raise BadImage(Reason.TRUNCATED, f"the gzip stream of {len(data):,} bytes has no end")
    return machine.unused_data


def _bzip2(data: bytes, content: bytearray, limit: int) -> bytes:
    """Append one bzip2 member's content; return the bytes behind the member."""
    machine = bz2.BZ2Decompressor()
    fed = data
    while not machine.eof:
        if machine.needs_input and not fed:
            raise BadImage(Reason.TRUNCATED, f"the bzip2 stream of {len(data):,} bytes has no end")
        content += machine.decompress(fed, CHUNK)
        fed = b""
        _room(content, limit, len(data))
    return machine.unused_data
