"""The lying server itself: it tells the truth unless asked, lies exactly as asked, and leaves nothing behind."""

import contextlib
import http.client
import importlib.util
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent / "liar.py"


def _load() -> Any:
    if "liar" not in sys.modules:
        spec = importlib.util.spec_from_file_location("liar", HERE)
        assert spec and spec.loader
        sys.modules["liar"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["liar"])
    return sys.modules["liar"]


Liar, Say = _load().Liar, _load().Say
BODY = bytes(range(256)) * 4


def ask(server: Any, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        with connection.getresponse() as reply:
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
    finally:
        connection.close()


def raw(server: Any, path: str) -> bytes:
    """Every byte of a reply, until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while data := connection.recv(65_536):
            got += data
        return got


def test_it_tells_the_truth_and_logs_who_asked() -> None:
    with Liar({"/a": Say(BODY, etag='"1"'), "/c": Say(BODY, chunked=True)}) as server:
        status, headers, body = ask(server, "/a?x=1&y=b%20c", X_Test="yes")
        assert (status, headers["content-length"], headers["etag"], body) == (200, "1024", '"1"', BODY)
        assert ask(server, "/c")[2] == BODY
        assert ask(server, "/none")[0] == 404
        (asked,) = server.asked("/a")
        assert asked.query == {"x": "1", "y": "b c"} and asked.headers["x-test"] == "yes"
        assert [entry.path for entry in server.log] == ["/a", "/c", "/none"]
        assert server.log[0].time < server.log[1].time < time.monotonic()


def test_scripts_follow_their_order_and_stay_at_the_last() -> None:
    with Liar({"/a": [Say(b"1"), Say(b"2")], "/f": lambda asked, n: Say(f"{asked.method}{n}".encode())}) as server:
        assert [ask(server, "/a")[2] for _ in range(3)] == [b"1", b"2", b"2"]
        assert [ask(server, "/f")[2] for _ in range(2)] == [b"GET1", b"GET2"]


def test_ranges_follow_the_etag_unless_it_is_blind() -> None:
    scripts = {"/r": Say(BODY, etag='"2"', ranges=True), "/b": Say(BODY, etag='"2"', blind=True), "/n": Say(BODY)}
    with Liar(scripts) as server:
        status, headers, body = ask(server, "/r", Range="bytes=1000-", If_Range='"2"')
        assert (status, headers["content-range"], body) == (206, "bytes 1000-1023/1024", BODY[1000:])
        assert ask(server, "/r", Range="bytes=1000-", If_Range='"1"')[::2] == (200, BODY)
        assert ask(server, "/b", Range="bytes=1000-", If_Range='"1"')[::2] == (206, BODY[1000:])
        assert ask(server, "/n", Range="bytes=1000-")[::2] == (200, BODY)
        assert ask(server, "/r", Range="bytes=1024-")[0] == 416


@pytest.mark.parametrize("cut", [0, 1, 500, 1023, 1024])
def test_it_cuts_at_the_byte(cut: int) -> None:
    with Liar({"/a": Say(BODY, cut=cut)}) as server:
        head, _, body = raw(server, "/a").partition(b"\r\n\r\n")
        assert b"Content-Length: 1024" in head and body == BODY[:cut]


def test_it_lies_about_lengths_and_sends_what_it_is_told() -> None:
    with Liar({"/s": Say(BODY, length=1), "/l": Say(b"", length=7, cut=0), "/raw": Say(raw=b"junk")}) as server:
        assert raw(server, "/s").endswith(BODY) and b"Content-Length: 1\r\n" in raw(server, "/s")
        assert b"Content-Length: 7\r\n" in raw(server, "/l")
        assert raw(server, "/raw") == b"junk"


def test_it_resets() -> None:
    with Liar({"/a": Say(BODY, cut=10, reset=True)}) as server, pytest.raises(ConnectionResetError):
        raw(server, "/a")
        pytest.fail("the connection was closed in peace")


def test_it_drips_and_is_silent() -> None:
    with Liar({"/d": Say(b"abcd", drip=0.03), "/h": Say(b"a", drip_head=0.001), "/b": Say(b"a", before=0.1)}) as server:
        for path, least in (("/d", 0.12), ("/h", 0.06), ("/b", 0.1)):
            began = time.monotonic()
            ask(server, path)
            assert time.monotonic() - began >= least


def test_it_ends_at_once_though_clients_hang_on_it() -> None:
    before = threading.active_count()
    began = time.monotonic()
    with Liar({"/d": Say(BODY, drip=5), "/b": Say(b"a", before=60)}) as server, contextlib.ExitStack() as stack:
        for path in ("/d", "/b", ""):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
            connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode() if path else b"GET /half")
        while len(server.log) < 2:
            time.sleep(0.01)
    assert time.monotonic() - began < 3 and threading.active_count() == before


def test_it_is_bounded() -> None:
    with Liar({"/a": Say(b"a")}, most_requests=3) as server:
        assert [ask(server, "/a")[2] for _ in range(3)] == [b"a"] * 3
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            ask(server, "/a")
        assert server.url.startswith("http://127.0.0.1:")
