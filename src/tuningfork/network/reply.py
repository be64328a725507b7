"""A server's reply, judged: what was wanted of it, what is wrong with it, and how that is told without secrets."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..errors import NetworkError

if TYPE_CHECKING:
    import httpx

TEXT = 2048  # characters of a server's words that are kept
HEAD = 65_536  # bytes of a download that its check gets to see
TRANSIENT = {408, 425, 429, *range(500, 600)} - {501, 505}

_PAIR = re.compile(r"(?<![\w.%-])([\w.%-]+=)([^&\s'\"]+)")  # begins where a word does, or it would take quadratic time
_SECRET = re.compile(r"(?i)token|secret|signature|password|credential|api_?key|access_?key|\bsig=|\bauth=")
_LOGIN = re.compile(r"//[^/@\s]*@")


class ReplyError(NetworkError):
    """One address did not give the bytes that were asked for.

    ``kind`` is "transient" (worth another run later) or "permanent"; ``cause`` is one of "address" (refused by our own
    rules, nothing was sent), "redirect", "connection", "timeout", "status", "content" (other bytes than were wanted: an
    HTML page, say), "length" (more or fewer bytes than announced or wanted), "limit" (more than we take), "digest".
    ``status`` is the HTTP status if one came, ``url`` the address that was asked, ``text`` at most 2,048 characters of
    what the server said, ``wait`` the seconds that it wants to be left alone. Secrets are masked in all of them.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        cause: str,
        url: str = "",
        status: int | None = None,
        text: str = "",
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind, self.cause, self.url, self.status, self.text, self.wait = kind, cause, url, status, text, wait

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (str(self), self.kind, self.cause, self.url, self.status, self.text, self.wait)


def _revived(message: str, kind: str, cause: str, url: str, status: int | None, text: str, wait: float | None) -> Any:
    return ReplyError(message, kind=kind, cause=cause, url=url, status=status, text=text, wait=wait)


_NAMES: set[str] = set()  # of the environment variables that hold tokens; their values are kept nowhere


def tokens() -> list[str]:
    """The tokens that this process may send to somebody."""
    return [value for name in sorted(_NAMES) if (value := os.environ.get(name, "").strip())]


def mask(text: str) -> str:
    """``text`` without any token, login in an address, or value of a parameter that sounds secret (token=, sig=)."""
    for token in tokens():
        text = text.replace(token, "***")
    text = _LOGIN.sub("//***@", text)
    return _PAIR.sub(lambda pair: f"{pair[1]}***" if _SECRET.search(pair[1]) else pair[0], text)


def _masked(record: logging.LogRecord) -> bool:
    record.msg, record.args = mask(record.getMessage()), None
    return True


def guard_logs() -> None:
    """Mask what httpcore logs (a redirect to a storage service may carry a signature)."""
    for name in ("httpcore.connection", "httpcore.http11", "httpcore.proxy"):
        logging.getLogger(name).addFilter(_masked)


def headers_of(response: httpx.Response) -> dict[str, str]:
    """The headers of a reply, their names in lower case."""
    return {name.lower(): value for name, value in response.headers.items()}


class Teller:
    """Words errors so that no secret is in them: neither a token of the environment nor one inside an address.

    ``tokens`` is host -> name of the environment variable with the token for it.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self.tokens = dict(tokens)
        _NAMES.update(self.tokens.values())

    def token(self, host: str) -> str:
        """The bearer token for one host, or nothing."""
        name = self.tokens.get(host)
        return os.environ.get(name, "").strip() if name else ""

    def text(self, body: bytes) -> str:
        """A server's words as they may be shown: no control characters, no secrets, at most 2,048 characters."""
        words = body[: 2 * TEXT].decode("utf-8", "replace")
        for token in tokens():
            cut = next(
                (k for k in range(len(token), 3, -1) if words.endswith(token[:k])), 0
            )  # one that we cut ourselves
            words = words[: len(words) - cut]
        shown = "".join(c if c.isprintable() else " " for c in mask(words))
        return " ".join(shown.split())[:TEXT]

    def error(self, url: str, said: str, kind: str, cause: str, **more: Any) -> ReplyError:
        """The error that ``url`` has caused: what was said of it, and what to do next."""
        advice = "run the same command again later" if kind == "transient" else "trying again will not help"
        shown = mask(url)
        return ReplyError(f"'{shown}' {mask(said)}: {advice}", kind=kind, cause=cause, url=shown, **more)

    def refused(self, url: str, status: int, body: bytes, wait: float | None) -> ReplyError:
        """The error that a status other than the one hoped for becomes."""
        text = self.text(body)
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "no known status"
        said = f"answered {status} ({phrase}{': ' + text[:200] if text else ''})"
        kind = "transient" if status in TRANSIENT else "permanent"
        return self.error(url, said, kind, "status", status=status, text=text, wait=wait)

    def wrong(self, url: str, said: str, cause: str, body: bytes = b"") -> ReplyError:
        """The error that a good status with a bad body becomes."""
        text = self.text(body)
        return self.error(url, f"{said}{': ' + text[:200] if text else ''}", "permanent", cause, status=200, text=text)


@dataclass(frozen=True)
class Wanted:
    """What the bytes have to be; each test is left out where nothing was said."""

    accept: tuple[bytes, ...] = ()
    check: Callable[[bytes], bool] | None = None
    size: int | None = None
    sha256: str | None = None
    max_bytes: int | None = None

    def announced(self, url: str, response: httpx.Response, teller: Teller) -> int | None:
        """The bytes that a reply says are coming, or None; raises ReplyError if it comes compressed or too large."""
        coding = response.headers.get("content-encoding", "").strip().lower()
        of_the_file = coding in ("gzip", "x-gzip") and response.request.url.path.endswith((".gz", ".tgz"))
        if coding not in ("", "identity") and not of_the_file:  # servers say "gzip" of a .gz that they send as it is
            raise teller.wrong(url, f"came compressed ({coding}), which was not asked for", "content")
        if "transfer-encoding" in response.headers or "content-length" not in response.headers:
            return None
        length = int(response.headers["content-length"])
        self.limit(url, length, teller)
        return length

    def limit(self, url: str, length: int, teller: Teller) -> None:
        """Raise ReplyError if ``length`` bytes are more than we take."""
        if self.max_bytes is not None and length > self.max_bytes:
            said = f"sends more bytes ({length} so far or announced) than the {self.max_bytes} that are taken"
            raise teller.wrong(url, said, "limit")

    def judge(self, url: str, head: bytes, teller: Teller) -> None:
        """Raise ReplyError unless the first bytes, or all of them, are of the kind that was wanted."""
        if not head:
            raise teller.wrong(url, "sent nothing at all", "content")
        if self.accept and not head.startswith(self.accept):
            expected = " or ".join(repr(prefix) for prefix in self.accept)
            said = f"sent bytes that do not begin with {expected}"
            raise teller.wrong(url, said, "content", head)
        if self.check is not None and not self.check(head):
            raise teller.wrong(url, "sent other bytes than were wanted", "content", head)

    def prove(self, url: str, size: int, digest: str, teller: Teller) -> None:
        """Raise ReplyError unless the whole has the size and the SHA-256 that were given."""
        if self.size is not None and size != self.size:
            raise teller.wrong(url, f"sent {size} bytes instead of {self.size}", "length")
        if self.sha256 is not None and digest != self.sha256:
            raise teller.wrong(url, f"sent bytes with SHA-256 {digest} instead of {self.sha256}", "digest")
