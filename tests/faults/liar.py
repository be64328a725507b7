"""A local HTTP server that lies as it is told to: statuses, headers, lengths, cuts, drips, resets, changed files.

Loopback only, one thread per connection, bounded in threads, bytes and time. A script maps a path to replies (the last
one is repeated) or to a function of the request and its number. The log says who asked for what, and when.
"""

import contextlib
import email.utils
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request: when its head had come (s, monotonic), on which connection, and what it said."""

    time: float
    connection: int
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Say:
    """One reply, true unless told otherwise."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    etag: str = ""
    length: int | None = -1  # what Content-Length claims; -1: the truth; None: nothing
    chunked: bool = False
    ranges: bool = False  # honour Range, and If-Range by the ETag
    blind: bool = False  # honour Range but not If-Range: splices
    cut: int | None = None  # close after so many bytes of this reply's body
    reset: bool = False  # close with a reset instead
    drip: float = 0.0  # s between bytes of the body
    drip_head: float = 0.0  # s between bytes of the head
    before: float = 0.0  # s of silence before the head
    raw: bytes | None = None  # the whole reply, verbatim


Script = Say | Sequence[Say] | Callable[[Asked, int], Say]


@dataclass
class Liar:
    """``with Liar({"/a": Say(b"...")}) as liar: ... liar.url + "/a" ...``; what is not scripted is 404."""

    scripts: dict[str, Script] = field(default_factory=dict)
    most_requests: int = 20_000
    most_threads: int = 64
    idle: float = 10.0
    tls: ssl.SSLContext | None = None  # https, at localhost

    def __enter__(self) -> Self:
        self.log: list[Asked] = []
        self._counts: dict[str, int] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._server.getsockname()[1]
        self.url = f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"
        self.origin = f"127.0.0.1:{self.port}"
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError), socket.socket() as bell:  # wakes the listener, without a look at any name
            bell.settimeout(1)
            bell.connect(("127.0.0.1", self.port))
        self._listener.join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._server.close()

    def asked(self, path: str) -> list[Asked]:
        """The requests for one path, in order."""
        return [asked for asked in list(self.log) if asked.path == path]

    # --- the server ---------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        number = 0
        while not self._stop.is_set():
            connection, _ = self._server.accept()
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if self._stop.is_set() or len(self._threads) >= self.most_threads or len(self.log) >= self.most_requests:
                connection.close()
                continue
            number += 1
            with self._lock:
                self._open.add(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection, number)))
            self._threads[-1].start()

    def _serve(self, plain: socket.socket, number: int) -> None:
        connection = plain
        connection.settimeout(self.idle)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with contextlib.suppress(OSError):
                if self.tls:
                    connection = self.tls.wrap_socket(connection, server_side=True)
                while (asked := self._read(connection, number)) is not None and self._answer(connection, asked):
                    pass
        finally:
            with self._lock:
                self._open.discard(plain)
            connection.close()
            plain.close()

    def _read(self, connection: socket.socket, number: int) -> Asked | None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(65_536)
            head += data
            if not data or len(head) > 65_536:
                return None
        first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        asked = Asked(time.monotonic(), number, method, unquote(url.path) or target, query, headers)
        with self._lock:
            self.log.append(asked)
        return asked

    def _answer(self, connection: socket.socket, asked: Asked) -> bool:
        """Reply; whether the connection stays open."""
        with self._lock:
            count = self._counts[asked.path] = self._counts.get(asked.path, 0) + 1
        script = self.scripts.get(asked.path, Say(b"no such thing", 404))
        if isinstance(script, Say):
            say = script
        else:
            say = script(asked, count) if callable(script) else script[min(count, len(script)) - 1]
        say, extra = self._part(say, asked)
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(say.body), say.body) if say.chunked and say.body else say.body
        if self._stop.wait(say.before):
            return False
        if say.raw is not None:
            connection.sendall(say.raw)
            return False
        head = self._head(say, extra)
        end = len(body) if say.cut is None else min(say.cut, len(body))
        if say.drip_head or say.drip:
            whole = self._drip(connection, head, say.drip_head) and self._drip(connection, body[:end], say.drip)
        else:
            connection.sendall(head + body[:end])
            whole = True
        if say.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(0.02)  # else the reset overtakes what was sent
        return whole and say.cut is None and not say.reset and (say.length is not None or say.chunked)

    def _part(self, say: Say, asked: Asked) -> tuple[Say, list[tuple[str, str]]]:
        """The reply to a request for a part."""
        said = asked.headers.get("range", "")
        same = asked.headers.get("if-range", say.etag) == say.etag
        if not said or not ((say.ranges and same) or say.blind) or say.status != 200:
            return say, []
        first, total = int(said.removeprefix("bytes=").split("-")[0]), len(say.body)
        if first >= total:
            return replace(say, status=416, body=b""), [("Content-Range", f"bytes */{total}")]
        return (
            replace(say, status=206, body=say.body[first:]),
            [("Content-Range", f"bytes {first}-{total - 1}/{total}")],
        )

    def _head(self, say: Say, extra: list[tuple[str, str]]) -> bytes:
        lines = [*say.headers, *extra]
        if say.etag:
            lines.append(("ETag", say.etag))
        if not any(name.lower() == "date" for name, _ in lines):
            lines.append(("Date", email.utils.formatdate(usegmt=True)))
        if say.chunked:
            lines.append(("Transfer-Encoding", "chunked"))
        elif say.length is not None:
            lines.append(("Content-Length", str(len(say.body) if say.length == -1 else say.length)))
        else:
            lines.append(("Connection", "close"))
        return "".join(
            [f"HTTP/1.1 {say.status} As Told\r\n", *(f"{name}: {value}\r\n" for name, value in lines), "\r\n"]
        ).encode("latin-1")

    def _drip(self, connection: socket.socket, data: bytes, pause: float) -> bool:
        if not pause:
            connection.sendall(data)
            return True
        for at in range(len(data)):
            if self._stop.wait(pause):
                return False
            connection.sendall(data[at : at + 1])
        return True
