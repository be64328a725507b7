"""The only door to the network: an address becomes verified bytes, or an error that says why not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .. import __version__, disk
from .parts import Download, Parts, Progress
from .politeness import Bucket, Draw, draw, full_jitter, retry_after
from .reply import TEXT, ReplyError, Teller, Wanted, headers_of, mask
from .wire import Hosts, Pace, libraries, make_transport, origin_of

if TYPE_CHECKING:
    import httpx

Check = Callable[[bytes], bool]
Params = Mapping[str, str | int | float]
T = TypeVar("T")

_REDIRECTS = (301, 302, 303, 307, 308)
_AGAIN = ("content", "length", "digest")  # causes that a server which restarts may show, so that we ask three times


@dataclass(frozen=True)
class Limits:
    """How long, how often and how much; every wait in here is bounded."""

    connect: float = 10.0  # s to reach one address of a host
    idle: float = 30.0  # s without a byte
    total: float = 60.0  # s for a whole reply, besides what its size may take
    slowest: float = 20_000.0  # bytes/s: each so many bytes allow the reply one more second
    tries: int = 8  # of one request, the first included
    first_wait: float = 1.0  # s: the first wait is drawn from 0 to this, each later one from twice the range
    longest_wait: float = 60.0  # s: no range is longer
    patience: float = 300.0  # s that we wait for a host because it, or its rate, says so; beyond: an error
    redirects: int = 5  # followed in a row
    per_second: float = 5.0  # requests that start per s and host, where nothing else is said
    max_bytes: int = 256_000_000  # of one reply that is fetched into memory
    piece: int = 8_388_608  # bytes of a download that go to the disk at once


@dataclass(frozen=True)
class Fetched:
    """A verified reply: the address that gave it (secrets masked), its headers (names in lower case), its bytes."""

    url: str
    status: int
    headers: dict[str, str]
    data: bytes


class Network:
    """Polite, patient, distrustful: one for a run, shared by its threads; every process makes its own.

    ``folder`` is where the token buckets live: processes that name the same folder share their rates. ``allow`` lists
    the hosts that may be asked (".example.org" stands for every host below it), by https alone; ``mirrors`` lists
    addresses that the user gave himself, which may be private, and http on this machine. ``rates`` holds requests per
    second by host (or host:port). ``tokens`` names, by host, the environment variable that holds the bearer token to
    send there; its value is never stored, shown or logged, nor sent anywhere else. Raises :class:`MissingExtra` without
    httpx, and :class:`ReplyError` for a mirror that may not be one. The length of name resolution is the operating
    system's affair; all else is bounded by ``limits``. ``sleep``, ``now`` (Unix time, s) and ``draw`` (uniform in [0,
    1)) can be replaced by a test.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        allow: Iterable[str] = (),
        mirrors: Iterable[str] = (),
        rates: Mapping[str, float] | None = None,
        tokens: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        draw: Draw = draw,
    ) -> None:
        self.folder, self.limits = Path(folder), limits or Limits()
        self.hosts = Hosts.of(allow, mirrors)
        self.rates, self._teller = dict(rates or {}), Teller(tokens or {})
        self._now, self._sleep, self._draw = now, sleep, draw
        self._bucket = Bucket(self.folder / "rates", now, sleep)
        self._pace = Pace(self.limits.total, self.limits.slowest)
        self._wires: dict[int, httpx.BaseTransport] = {}  # by process: a child keeps, but never uses, its parent's
        self._making, self._closed = threading.Lock(), False

    def __repr__(self) -> str:
        hosts = sorted(self.hosts.allow | {host for _, host, _ in self.hosts.mirrors})
        tokens = {host: f"${name}" for host, name in self._teller.tokens.items()}
        return f"Network('{self.folder}', hosts={hosts}, tokens={tokens})"

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close this process's connections."""
        self._closed = True
        if wire := self._wires.get(os.getpid()):
            wire.close()

    def rate(self, host: str, per_second: float) -> None:
        """Start at most so many requests per second to ``host`` (or host:port), all processes together."""
        if not per_second > 0:
            raise ValueError(f"a rate of {per_second} requests per second would never ask '{host}'")
        self.rates[host] = per_second

    def fetch(
        self,
        url: str,
        *,
        params: Params | None = None,
        accept: tuple[bytes, ...] = (),
        check: Check | None = None,
        max_bytes: int | None = None,
        size: int | None = None,
        sha256: str | None = None,
        tries: int | None = None,
    ) -> Fetched:
        """The bytes at ``url``, in memory, all of them and of the right kind.

        They have to begin with one of ``accept``, pass ``check`` (which gets them all), and have ``size`` and
        ``sha256`` where these are given; they are never empty, and never more than ``max_bytes`` (default:
        ``limits.max_bytes``). A reply that is of the wrong kind, size or hash is asked for up to three times, since
        servers show a page while they restart; a transient failure up to ``tries`` times (default: ``limits.tries``);
        404, 403 and the like once. Raises :class:`ReplyError`.
        """
        most = self.limits.max_bytes if max_bytes is None else max_bytes
        wanted = Wanted(accept, check, size, sha256 and sha256.lower(), most)
        address = self._address(url, params)
        return self._retry(tries, lambda: self._once(address, wanted))

    def download(
        self,
        url: str,
        path: str | Path,
        *,
        params: Params | None = None,
        accept: tuple[bytes, ...] = (),
        check: Check | None = None,
        max_bytes: int | None = None,
        size: int | None = None,
        sha256: str | None = None,
        tries: int | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Put the bytes at ``url`` into the file ``path``, which gets its name only when they are proven.

        As :meth:`fetch`, but of any length, and ``check`` gets the first 64 KiB. What has come is kept beside ``path``
        (see :class:`Parts`) and taken up again by the next call, after a cut, a kill or a full disk, provided that the
        server shows, by ETag or date, that the file is still the same (or ``sha256`` is given, which proves it). The
        file's digest is kept in ``path``.origin.json: if the file is there and has it, or has ``sha256``, nothing is
        asked. While the pieces are joined they need the file's size a second time. ``progress`` gets (bytes done,
        bytes in all or 0, file name). Raises :class:`ReplyError`, :class:`DiskFull`, and :class:`Locked` if another
        process downloads to the same path.
        """
        path, address = Path(path), self._address(url, params)
        wanted = Wanted(accept, check, size, sha256 and sha256.lower(), max_bytes)
        disk.make_folder(path.parent)
        with disk.lock(self.folder / "downloads" / disk.safe_name(str(path.absolute()))):
            parts = Parts(path, mask(str(address)))
            if parts.is_done(wanted.sha256):
                parts.discard()
            else:
                self._retry(tries, lambda: self._part(address, parts, wanted, progress), parts.have)
        return path

    def _once(self, address: httpx.URL, wanted: Wanted) -> Fetched:
        with self._reply(address, {}) as (response, url):
            if response.status_code != 200:
                raise self._refused(response, url)
            wanted.announced(url, response, self._teller)
            data = bytearray()
            for chunk in response.iter_raw():
                data += chunk
                wanted.limit(url, len(data), self._teller)
            whole = bytes(data)
            wanted.judge(url, whole, self._teller)
            wanted.prove(url, len(whole), hashlib.sha256(whole).hexdigest(), self._teller)
            return Fetched(url, response.status_code, headers_of(response), whole)

    def _part(self, address: httpx.URL, parts: Parts, wanted: Wanted, progress: Progress | None) -> None:
        """One try of a download: what is missing, then the proof."""
        download = Download(parts, wanted, self._teller, self.limits.piece, progress)
        if not parts.complete:
            with self._reply(address, download.headers()) as (response, url):
                if response.status_code == 416 and parts.have():
                    parts.discard()
                    raise self._teller.error(url, "has no more bytes, so that it is begun anew", "transient", "content")
                if response.status_code not in (200, 206):
                    raise self._refused(response, url)
                download.take(response, url)
            if not parts.complete:
                said = f"sent a part only, up to byte {parts.have()} of {parts.origin.length}"
                raise self._teller.error(url, said, "transient", "length", status=response.status_code)
        parts.join(wanted, self._teller)

    def _refused(self, response: httpx.Response, url: str) -> ReplyError:
        """The error for a status; a wait that the server asks for is told to all who would ask its host."""
        status, body = response.status_code, b""
        with contextlib.suppress(ReplyError), self._told(url):
            for chunk in response.iter_raw():
                body += chunk
                if len(body) >= TEXT:
                    break
        wait = retry_after(headers_of(response), self._now()) if status in (429, 503) else None
        if wait:
            self._bucket.pause(origin_of(response.request.url), wait)
        return self._teller.refused(url, status, body, wait)

    def _wire(self) -> httpx.BaseTransport:
        """This process's connections: a forked child must not speak on its parent's."""
        if self._closed:
            raise RuntimeError(f"{self!r} is closed")
        with self._making:
            wire = self._wires.get(os.getpid()) or make_transport(self.hosts, self._pace)
            self._wires[os.getpid()] = wire
        return wire

    def _address(self, url: str, params: Params | None) -> httpx.URL:
        http, _ = libraries()
        try:
            address: httpx.URL = http.URL(url)
            return address.copy_merge_params(dict(params)) if params else address
        except (http.InvalidURL, UnicodeError, TypeError) as error:
            raise self._teller.error(str(url), f"is no address ({error})", "permanent", "address") from None

    def _headers(self, address: httpx.URL, url: str) -> dict[str, str]:
        host = origin_of(address)
        token = self._teller.token(host)
        if token and not re.fullmatch(r"[\x21-\x7e]+", token):
            said = f"was not asked: what ${self._teller.tokens[host]} holds is no token"
            raise self._teller.error(url, said, "permanent", "address")
        always = {"User-Agent": f"tuningfork/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        return always | ({"Authorization": f"Bearer {token}"} if token else {})

    @contextlib.contextmanager
    def _reply(self, address: httpx.URL, headers: dict[str, str]) -> Iterator[tuple[httpx.Response, str]]:
        """The reply at the end of the redirects, its body unread, and its address as it may be shown."""
        http, _ = libraries()
        limits = {"timeout": http.Timeout(self.limits.idle, connect=self.limits.connect).as_dict()}
        for _ in range(self.limits.redirects + 1):
            url = mask(str(address))
            self.hosts.check(address, url)
            self._take_turn(address, url)
            with self._told(url):
                request = http.Request("GET", address, headers=headers | self._headers(address, url), extensions=limits)
                response = self._wire().handle_request(request)
                response.request = request
            try:
                if response.status_code not in _REDIRECTS:
                    with self._told(url):
                        yield response, url
                    return
                address = self._next(address, response, url)
            finally:
                response.close()
        said = f"redirected once more after {self.limits.redirects} times"
        raise self._teller.error(url, said, "permanent", "redirect", status=response.status_code)

    def _take_turn(self, address: httpx.URL, url: str) -> None:
        host, patience = origin_of(address), self.limits.patience
        rate = self.rates.get(host, self.rates.get(address.host, self.limits.per_second))
        if wait := self._bucket.take(host, rate, patience):
            said = f"was not asked: its host is to be left alone for {wait:.0f} s more"
            raise self._teller.error(url, said, "transient", "status", wait=wait)
        self._pace.start()

    def _next(self, address: httpx.URL, response: httpx.Response, url: str) -> httpx.URL:
        """Where a redirect leads, if we go there."""
        status, said = response.status_code, response.headers.get("location", "")
        try:
            if not said:
                raise ReplyError("it does not say where to", kind="permanent", cause="redirect")
            target = address.join(self._address(said, None)).copy_with(fragment=None)
            shown = mask(str(target))
            if address.scheme == "https" and target.scheme != "https":
                raise ReplyError(f"'{shown}' is no https", kind="permanent", cause="redirect")
            self.hosts.check(target, shown)
        except ReplyError as error:
            said = f"redirects to where we do not go ({error})"
            raise self._teller.error(url, said, "permanent", "redirect", status=status) from None
        return target

    @contextlib.contextmanager
    def _told(self, url: str) -> Iterator[None]:
        """Turn whatever httpx and httpcore raise into a ReplyError; others pass."""
        http, core = libraries()
        faults = (
            http.HTTPError,
            http.StreamError,
            core.NetworkError,
            core.ProtocolError,
            core.ProxyError,
        )
        try:
            yield
        except ReplyError as error:
            if error.url:
                raise
            raise self._teller.error(url, f"failed: {error}", error.kind, error.cause) from None
        except (http.TimeoutException, core.TimeoutException) as error:
            said = f"kept silent for too long ({type(error).__name__})"
            raise self._teller.error(url, said, "transient", "timeout") from None
        except (http.InvalidURL, http.UnsupportedProtocol, core.UnsupportedProtocol) as error:
            raise self._teller.error(url, f"is no address ({error})", "permanent", "address") from None
        except faults as error:
            kind = "permanent" if "CERTIFICATE_VERIFY_FAILED" in str(error) else "transient"
            said = f"failed ({type(error).__name__}: {error})"
            raise self._teller.error(url, said, kind, "connection") from None

    def _retry(self, tries: int | None, once: Callable[[], T], gained: Callable[[], int] = lambda: 0) -> T:
        """Call ``once`` until it succeeds or may not be tried again; each piece gained restarts the count."""
        tries, failures, best = tries or self.limits.tries, 0, gained()
        while True:
            try:
                return once()
            except ReplyError as error:
                if gained() - best >= self.limits.piece:
                    failures, best = 0, gained()
                failures += 1
                again = tries if error.kind == "transient" else min(tries, 3 if error.cause in _AGAIN else 1)
                if failures >= again or (error.wait or 0.0) > self.limits.patience:
                    if failures > 1:
                        error.args = (f"{error} (tried {failures} times)",)
                    raise
                self._sleep(full_jitter(failures, self.limits.first_wait, self.limits.longest_wait, self._draw))
