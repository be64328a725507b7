"""The wire under the door: which addresses may be called, how long a reply may take, and where it has to end."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ..errors import MissingExtra
from .reply import ReplyError, guard_logs, mask

if TYPE_CHECKING:
    import httpcore
    import httpx

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def libraries() -> tuple[Any, Any]:
    """The modules httpx and httpcore, imported late because the base install has neither; else MissingExtra."""
    try:
        import httpcore
        import httpx
    except ImportError:
        raise MissingExtra("httpx", "sky") from None
    return httpx, httpcore


def origin_of(url: httpx.URL) -> str:
    """``host`` or ``host:port`` (where the port is not the scheme's own): what a rate belongs to."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return host if url.port is None else f"{host}:{url.port}"


@dataclass(frozen=True)
class Hosts:
    """Who may be asked.

    ``allow`` holds host names, reached by https at public addresses alone; one with a leading dot stands for every
    host below it. ``mirrors`` holds (scheme, host, port) that the user named himself: they may be private, and plain
    http if they are on this machine.
    """

    allow: frozenset[str]
    mirrors: frozenset[tuple[str, str, int | None]]

    @classmethod
    def of(cls, allow: Iterable[str], mirrors: Iterable[str]) -> Hosts:
        """From host names and whole addresses; a mirror that cannot be one raises ReplyError."""
        http, _ = libraries()
        named = set()
        for mirror in mirrors:
            try:
                url = http.URL(mirror)
            except http.InvalidURL:
                url = http.URL("")
            if not url.host or url.userinfo or url.scheme not in ("http", "https"):
                raise _refused(mirror, "a mirror is an address like https://host/ without name and password")
            if url.scheme == "http" and url.host not in LOOPBACK:
                raise _refused(mirror, f"plain http is for this machine alone ({', '.join(LOOPBACK)}): use https")
            named.add((url.scheme, url.host, url.port))
        return cls(frozenset(name.lower() for name in allow), frozenset(named))

    def is_mirror(self, url: httpx.URL) -> bool:
        """Whether the user himself named this scheme, host and port."""
        return (url.scheme, url.host, url.port) in self.mirrors

    def check(self, url: httpx.URL, shown: str) -> None:
        """Raise ReplyError (permanent, "address") unless ``url`` may be asked; ``shown`` is how a message names it."""
        if url.userinfo:
            raise _refused(shown, "names and passwords do not belong into an address")
        if not 0 < (url.port or 1) < 65_536:
            raise _refused(shown, f"there is no port {url.port}")
        if self.is_mirror(url):
            return
        if url.scheme != "https":
            raise _refused(shown, "only https is spoken (and http to a mirror on this machine)")
        parents = {url.host[at:] for at in range(len(url.host)) if url.host[at] == "."}
        if url.host not in self.allow and not parents & self.allow:
            raise _refused(shown, f"the host '{url.host}' is none of those expected here: {self._names()}")

    def _names(self) -> str:
        return ", ".join(sorted(self.allow | {host for _, host, _ in self.mirrors})) or "none"

    def check_address(self, host: str, port: int, address: str) -> None:
        """Raise ReplyError unless ``host`` may resolve to ``address``: a public one, unless the user named the host."""
        if any(name == host and port == (given or {"https": 443, "http": 80}[s]) for s, name, given in self.mirrors):
            return
        ip = ipaddress.ip_address(address.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip  # some Pythons judge ::ffff:127.0.0.1 by its IPv6 half
        if not ip.is_global or ip.is_multicast:
            raise _refused(host, f"it resolves to {address}, which is no public address")


def _refused(shown: str, why: str) -> ReplyError:
    shown = mask(shown)
    return ReplyError(f"'{shown}' was not asked: {why}", kind="permanent", cause="address", url=shown)


class Pace(threading.local):
    """How long the reply that this thread waits for may still take: ``total`` s, and 1 s more per ``slowest`` bytes."""

    def __init__(self, total: float, slowest: float) -> None:
        self.total, self.slowest = total, slowest
        self.start()

    def start(self) -> None:
        """A new request begins."""
        self.began, self.received = time.monotonic(), 0

    def clip(self, timeout: float | None) -> float:
        """``timeout``, or less where the total is nearly used up; raises ReplyError once it is."""
        left = self.began + self.total + self.received / self.slowest - time.monotonic()
        if left <= 0:
            raise ReplyError(
                f"only {self.received} bytes came in {time.monotonic() - self.began:.0f} s",
                kind="transient",
                cause="timeout",
            )
        return left if timeout is None else min(timeout, left)


_HEAD_END = re.compile(rb"\r?\n\r?\n")


class _Stream:
    """A connection that keeps to the pace, and counts what comes after the head of each reply."""

    def __init__(self, inner: httpcore.NetworkStream, pace: Pace) -> None:
        self._inner, self._pace = inner, pace
        self._head: bytes | None = b""
        self.body = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._inner.read(max_bytes, self._pace.clip(timeout))
        self._pace.received += len(data)
        if self._head is None:
            self.body += len(data)
            return data
        self._head += data
        while self._head is not None and (end := _HEAD_END.search(self._head)):
            rest = self._head[end.end() :]
            if self._head[8:10] == b" 1":  # "100 Continue" and its like stand before the reply proper
                self._head = rest
            else:
                self._head, self.body = None, len(rest)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._head, self.body = b"", 0
        self._inner.write(buffer, self._pace.clip(timeout))

    def ends_at(self, length: int) -> bool:
        """Whether nothing came, or lies waiting, beyond ``length`` bytes of body."""
        if self.body == length and self._inner.get_extra_info("is_readable"):
            with contextlib.suppress(Exception):  # a connection that was reset has nothing more to say
                self.body += len(self._inner.read(1, 0.1))
        return self.body <= length

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._pace.clip(timeout))
        return _Stream(inner, self._pace)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend:
    """Connects to addresses that were checked, not to names that may resolve otherwise a moment later."""

    def __init__(self, hosts: Hosts | None, pace: Pace) -> None:
        self._hosts, self._pace = hosts, pace

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> _Stream:
        _, core = libraries()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise core.ConnectError(f"the name '{host}' cannot be resolved ({error}): is the network up?") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if self._hosts is not None:
            for address in addresses:
                self._hosts.check_address(host, port, address)
        for address in addresses:
            try:
                allowed = self._pace.clip(timeout)
                inner = core.SyncBackend().connect_tcp(address, port, allowed, local_address, socket_options)
                return _Stream(inner, self._pace)
            except (core.ConnectError, core.ConnectTimeout):
                if address == addresses[-1]:
                    raise
        raise core.ConnectError(f"the name '{host}' has no address")

    def sleep(self, seconds: float) -> None:
        """Part of httpcore's interface; its own retries are off."""


def _pool(hosts: Hosts, pace: Pace, context: ssl.SSLContext | None, proxy: str) -> Any:
    """A pool of connections, straight or through the proxy that the environment names."""
    http, core = libraries()
    settings = {"ssl_context": context, "max_connections": None, "max_keepalive_connections": 20, "keepalive_expiry": 5}
    if not proxy:
        return core.ConnectionPool(network_backend=cast(Any, _Backend(hosts, pace)), **settings)
    url = http.URL(proxy if "://" in proxy else f"http://{proxy}")
    login = (url.username, url.password) if url.userinfo else None
    return core.HTTPProxy(
        str(url.copy_with(username=None, password=None)),
        proxy_auth=login,
        network_backend=cast(Any, _Backend(None, pace)),  # the proxy resolves the names, so it has to guard them
        **settings,
    )


def make_transport(hosts: Hosts, pace: Pace) -> httpx.BaseTransport:
    """What sends requests: our own connections, HTTP/1.1, no retries of its own, proxies but for mirrors."""
    http, core = libraries()

    class Body(http.SyncByteStream):  # type: ignore[misc,name-defined]
        """A reply's bytes as they came over the wire; exactly as many as were announced."""

        def __init__(self, reply: httpcore.Response) -> None:
            self.reply, self.stream = reply, cast(Any, reply.stream)
            headers = {name.lower(): value for name, value in reply.headers}
            announced = headers.get(b"content-length", b"") if b"transfer-encoding" not in headers else b""
            self.length = int(announced) if announced.isdigit() else None

        def __iter__(self) -> Iterator[bytes]:
            yield from self.stream
            stream = self.reply.extensions.get("network_stream")
            if self.length is not None and isinstance(stream, _Stream) and not stream.ends_at(self.length):
                stream.close()  # what is left in it would be taken for the next reply
                said = f"more bytes came than the {self.length} that were announced"
                raise ReplyError(said, kind="transient", cause="length")

        def close(self) -> None:
            self.stream.close()

    class Transport(http.BaseTransport):  # type: ignore[misc,name-defined]
        """Requests of httpx through pools of httpcore."""

        def __init__(self) -> None:
            guard_logs()
            self.proxy = urllib.request.getproxies().get("https", "")
            self.pools: dict[tuple[bool, str], Any] = {}
            self.making = threading.Lock()

        def pool(self, url: httpx.URL) -> Any:
            """The pool for an address, made when it is first needed: certificates take a while to load."""
            straight = not self.proxy or hosts.is_mirror(url) or urllib.request.proxy_bypass(url.host)
            key = (url.scheme == "https", "" if straight else self.proxy)
            with self.making:
                if key not in self.pools:
                    self.pools[key] = _pool(hosts, pace, http.create_ssl_context() if key[0] else None, key[1])
                return self.pools[key]

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            url = request.url
            target = core.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
            reply = self.pool(url).handle_request(
                core.Request(request.method, target, headers=request.headers.raw, extensions=request.extensions)
            )
            return http.Response(reply.status, headers=reply.headers, stream=Body(reply), extensions=reply.extensions)

        def close(self) -> None:
            for pool in self.pools.values():
                pool.close()

    return cast("httpx.BaseTransport", Transport())
