"""The door to the network against a server that lies: rows N1-N8, P3 and P7 of the reliability page, case by case."""

import errno
import hashlib
import importlib.util
import itertools
import json
import logging
import math
import os
import pickle
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tuningfork import disk
from tuningfork.errors import DiskError, DiskFull, Locked, MissingExtra, NetworkError
from tuningfork.network import Limits, Network, ReplyError, door, parts
from tuningfork.network.politeness import Bucket, full_jitter, retry_after
from tuningfork.network.reply import mask
from tuningfork.network.wire import Hosts


def _load() -> Any:
    if "liar" not in sys.modules:
        spec = importlib.util.spec_from_file_location("liar", Path(__file__).parent / "faults" / "liar.py")
        assert spec and spec.loader
        sys.modules["liar"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["liar"])
    return sys.modules["liar"]


Liar, Say = _load().Liar, _load().Say
JPEG = b"\xff\xd8\xff" + bytes(range(256)) * 40  # 10,243 bytes
OTHER = b"\xff\xd8\xff" + bytes(reversed(range(256))) * 40
SHA = hashlib.sha256(JPEG).hexdigest()


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time, self.slept = 1.7e9, list[float]()

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Network]]:
    """A Network for some liars, without a rate, whose sleeps take no time."""
    made: list[Network] = []

    def build(*liars: Any, **given: Any) -> Network:
        given = {"rates": {"127.0.0.1": math.inf}, "now": clock.now, "sleep": clock.sleep} | given
        made.append(Network(tmp_path / "net", mirrors=[liar.url for liar in liars], **given))
        return made[-1]

    yield build
    for network in made:
        network.close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"net"}


def test_the_bytes_come_with_their_address_and_headers(make: Callable[..., Network]) -> None:
    with Liar(
        {"/a b": Say(JPEG, headers=(("X-Thing", "é"), ("Set-Cookie", "a=b"))), "/c": Say(b"c" * 9, chunked=True)}
    ) as liar:
        network = make(liar)
        got = network.fetch(liar.url + "/a%20b", params={"ra": 1.5, "survey": "x&y"}, accept=(b"\xff\xd8",), sha256=SHA)
        assert (got.data, got.status, got.headers["x-thing"]) == (JPEG, 200, "é")
        assert got.url == liar.url + "/a%20b?ra=1.5&survey=x%26y"
        assert network.fetch(liar.url + "/c", size=9).data == b"c" * 9
        first, second = liar.log
        assert first.query == {"ra": "1.5", "survey": "x&y"} and first.headers["accept-encoding"] == "identity"
        assert first.headers["user-agent"].startswith("tuningfork/")
        assert "cookie" not in second.headers and first.connection == second.connection


# --- N1: faults, waits, rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
def test_five_faults_are_survived(make: Callable[..., Network], clock: Clock, status: int) -> None:
    with Liar({"/a": [Say(b"busy", status)] * 5 + [Say(JPEG)]}) as liar:
        assert make(liar).fetch(liar.url + "/a").data == JPEG
        assert len(liar.log) == 6 and len(clock.slept) == 5


def test_eight_tries_and_no_more(make: Callable[..., Network], clock: Clock) -> None:
    with Liar({"/a": Say(b"\x1b[31mdown\x00 for   maintenance" + b"!" * 9000, 503)}) as liar:
        with pytest.raises(ReplyError, match=r"503 \(Service Unavailable: .*tried 8 times") as told:
            make(liar, draw=lambda: 1.0).fetch(liar.url + "/a")
        assert len(liar.log) == 8 and clock.slept == [1, 2, 4, 8, 16, 32, 60]
        error = told.value
        assert (error.kind, error.cause, error.status, error.url) == ("transient", "status", 503, liar.url + "/a")
        assert error.text.startswith("[31mdown for maintenance!") and len(error.text) == 2048
        assert isinstance(error, NetworkError)
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == str(error) and vars(again) == vars(error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 501, 304, 204, 206])
def test_a_no_is_a_no(make: Callable[..., Network], status: int) -> None:
    with Liar({"/a": Say(b"" if status in (204, 304) else b"not here", status)}) as liar:
        with pytest.raises(ReplyError, match=str(status)) as told:
            make(liar).fetch(liar.url + "/a")
        assert len(liar.log) == 1 and told.value.kind == "permanent" and told.value.status == status


@pytest.mark.parametrize(
    "header",
    ["7", " 7 ", "Fri, 20 Nov 2026 12:00:07 GMT"],
)
def test_retry_after_is_a_minimum(make: Callable[..., Network], clock: Clock, header: str) -> None:
    times = []

    def script(asked: Any, count: int) -> Any:
        times.append(clock.time)
        date = ("Date", "Fri, 20 Nov 2026 12:00:00 GMT")  # the server's clock is not ours
        return Say(b"", 429, headers=(("Retry-After", header), date)) if count < 3 else Say(JPEG)

    with Liar({"/a": script, "/b": lambda asked, count: Say(str(clock.time).encode())}) as liar:
        network = make(liar, draw=lambda: 0.0)
        assert network.fetch(liar.url + "/a").data == JPEG
        assert [b - a for a, b in itertools.pairwise(times)] == [7, 7]


def test_retry_after_holds_for_every_address_of_the_host(make: Callable[..., Network], clock: Clock) -> None:
    with Liar({"/a": Say(b"", 503, headers=(("Retry-After", "40"),)), "/b": Say(JPEG)}) as liar:
        network, began = make(liar), clock.time
        with pytest.raises(ReplyError):
            network.fetch(liar.url + "/a", tries=1)
        network.fetch(liar.url + "/b")
        assert clock.time >= began + 40


def test_a_wait_beyond_patience_is_told_and_kept(make: Callable[..., Network], clock: Clock) -> None:
    with Liar({"/a": [Say(b"", 503, headers=(("Retry-After", "5000"),)), Say(JPEG)]}) as liar:
        network = make(liar)
        with pytest.raises(ReplyError, match="503") as told:
            network.fetch(liar.url + "/a")
        assert told.value.wait == 5000 and told.value.kind == "transient"
        with pytest.raises(ReplyError, match="left alone for 5000 s") as told:
            network.fetch(liar.url + "/a")
        assert told.value.kind == "transient" and clock.slept == [] and len(liar.log) == 1
        clock.time += 5000
        assert network.fetch(liar.url + "/a").data == JPEG


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        ("٣", None),
        ("0", 0),
        ("120", 120),
        ("9" * 400, 1000000000.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thu, 99 Jan 1970 00:00 GMT", None),
    ],
)
def test_retry_after_is_read_with_care(header: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": header}, now=10.0) == seconds


def test_full_jitter_fills_its_range() -> None:
    assert [full_jitter(n, 1.0, 60.0, lambda: 1.0) for n in (1, 2, 3, 7, 8, 5000)] == [1, 2, 4, 60, 60, 60]
    assert full_jitter(5, 1.0, 60.0, lambda: 0.0) == 0
    assert full_jitter(5, 1.0, 60.0, lambda: 0.25) == 4


CHILD = """
import sys, threading
from tuningfork.network import Network
url, folder, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
network = Network(folder, mirrors=[url], rates={"127.0.0.1": rate})
print("ready", flush=True)
sys.stdin.readline()
def ask():
    for _ in range(5):
        network.fetch(url + "/a")
threads = [threading.Thread(target=ask) for _ in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
network.close()
"""


def test_all_processes_together_keep_to_the_rate(tmp_path: Path) -> None:
    rate, processes = 40.0, 3
    with Liar({"/a": [Say(b"x", 500), Say(b"x")]}) as liar:  # retries are requests too
        arguments = [sys.executable, "-W", "error", "-c", CHILD, liar.url, str(tmp_path), str(rate)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        children = [subprocess.Popen(arguments, **pipes) for _ in range(processes)]  # type: ignore[call-overload]
        for child in children:
            child.stdout.readline()
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        for child in children:
            child.communicate(timeout=60)
            assert child.returncode == 0
        times = sorted(asked.time for asked in liar.log)
    assert len(times) == processes * 10 + 1
    late = 0.15  # s by which a busy machine may delay one request against the next
    assert times[-1] - times[0] >= (len(times) - 1) / rate - late
    for i, early in enumerate(times):
        for j in range(i + 1, len(times)):
            assert j - i <= rate * (times[j] - early + late)


def test_buckets_of_one_folder_are_one(tmp_path: Path, clock: Clock) -> None:
    one, two = (Bucket(tmp_path, clock.now, clock.sleep) for _ in range(2))
    began, taken = clock.time, []
    for bucket in (one, two, one, two):
        assert bucket.take("a", 2.0) == 0
        taken.append(clock.time - began)
    assert taken == [0, 0.5, 1, 1.5]
    one.pause("a", 30)
    assert two.take("a", 2.0, patience=10) == 30 and clock.time - began == 1.5, "too long: told, not waited for"
    two.take("b", 2.0)
    assert clock.time - began == 1.5, "another host is another bucket"
    two.take("a", 2.0)
    assert clock.time - began == 31.5
    two.take("c", math.inf), one.take("c", math.inf)
    assert clock.time - began == 31.5


def test_a_pause_that_comes_while_we_wait_is_kept(tmp_path: Path, clock: Clock) -> None:
    other = Bucket(tmp_path, clock.now, clock.sleep)

    def sleep(seconds: float) -> None:
        if not clock.slept:
            other.pause("a", 100)
        clock.sleep(seconds)

    bucket, began = Bucket(tmp_path, clock.now, sleep), clock.time
    bucket.take("a", 1.0), bucket.take("a", 1.0)
    assert clock.time == began + 100


def test_a_clock_set_back_does_not_stop_us(tmp_path: Path, clock: Clock) -> None:
    bucket = Bucket(tmp_path, clock.now, clock.sleep)
    bucket.take("a", 1.0)
    clock.time -= 86_400
    began = clock.time
    bucket.take("a", 1.0)
    assert clock.time == pytest.approx(began + 1.0, abs=1e-3)


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b'{"next": "x", "pause": 0, "written": 0}', b"\xff"])
def test_a_damaged_bucket_is_an_empty_one(tmp_path: Path, clock: Clock, junk: bytes) -> None:
    bucket = Bucket(tmp_path, clock.now, clock.sleep)
    bucket.take("a", 1.0)
    disk.write_bytes(bucket.place("a") / "times.json", junk)
    assert bucket.take("a", 1.0) == 0


def test_a_rate_is_set_by_host_or_by_port(make: Callable[..., Network], clock: Clock) -> None:
    with Liar({"/a": Say(b"a")}) as liar:
        network = make(liar)
        network.rate(liar.origin, 0.5)
        for _ in range(3):
            network.fetch(liar.url + "/a")
        assert clock.slept == [2, 2]
        with pytest.raises(ValueError, match="never ask 'x'"):
            network.rate("x", 0)


# --- N2: silence, drips, resets -----------------------------------------------------------------------------------


def timed(call: Callable[[], Any]) -> tuple[ReplyError, float]:
    began = time.monotonic()
    with pytest.raises(ReplyError) as told:
        call()
    return told.value, time.monotonic() - began


@pytest.mark.parametrize(
    ("say", "limits"),
    [
        (Say(b"a", before=20), Limits(idle=0.2)),
        (Say(JPEG, drip=0.01), Limits(total=0.3, idle=5)),
        (Say(JPEG, chunked=True, drip=0.01), Limits(total=0.3, idle=5)),
        (Say(b"a", drip_head=0.02), Limits(total=0.3, idle=5)),
        (Say(b"a" * 40_000, 500, drip=0.01), Limits(total=0.3, idle=5)),
        (Say(b"", length=10, drip=1), Limits(idle=0.2)),
    ],
    ids=["silent", "drip", "chunked drip", "drip in the head", "drip of an error's text", "nothing after the head"],
)
def test_slowness_is_bounded(make: Callable[..., Network], tmp_path: Path, say: Any, limits: Limits) -> None:
    with Liar({"/a": say}) as liar:
        network = make(liar, limits=limits)
        for call in (
            lambda: network.fetch(liar.url + "/a", tries=1),
            lambda: network.download(liar.url + "/a", tmp_path / "a", tries=1),
        ):
            error, seconds = timed(call)
            assert error.cause == ("status" if say.status == 500 else "timeout") and error.kind == "transient"
            assert seconds < 2.5
        assert not (tmp_path / "a").exists()


def test_a_slow_reply_of_some_size_gets_its_time(make: Callable[..., Network]) -> None:
    with Liar({"/a": Say(JPEG[:150], drip=0.004)}) as liar:
        assert make(liar, limits=Limits(total=0.2, slowest=100)).fetch(liar.url + "/a").data == JPEG[:150]


def test_a_server_that_takes_no_call(make: Callable[..., Network]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        full = [socket.socket() for _ in range(4)]
        for caller in full:
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        class Deaf:
            pass

        Deaf.url = url  # type: ignore[attr-defined]
        network = make(Deaf, limits=Limits(connect=0.2))
        error, seconds = timed(lambda: network.fetch(url + "/a", tries=2))
        for caller in full:
            caller.close()
    assert error.cause == "timeout" and seconds < 2
    error, seconds = timed(lambda: network.fetch(url + "/a", tries=2))
    assert error.cause == "connection" and error.kind == "transient" and "tried 2 times" in str(error) and seconds < 2


def test_resets_at_fifty_offsets(make: Callable[..., Network]) -> None:
    offsets = [len(JPEG) * k // 50 for k in range(50)]
    with Liar({f"/{at}": [Say(JPEG, cut=at, reset=True), Say(JPEG)] for at in offsets}) as liar:
        network = make(liar)
        for at in offsets:
            assert network.fetch(f"{liar.url}/{at}").data == JPEG
        assert len(liar.log) == 100


@pytest.mark.parametrize(
    "raw", [b"", b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200"]
)
def test_what_is_no_http_is_told(make: Callable[..., Network], raw: bytes) -> None:
    with Liar({"/a": Say(raw=raw)}) as liar:
        with pytest.raises(ReplyError) as told:
            make(liar).fetch(liar.url + "/a", tries=2)
        assert (told.value.kind, told.value.cause) == ("transient", "connection") and len(liar.log) == 2


# --- N3: other bytes than were wanted -----------------------------------------------------------------------------

BAD = [
    b"<!DOCTYPE html><html><body>Please log in <form action=/login></body></html>",
    b"<html><head><title>502</title></head></html>",
    b"  \n<html>leading space</html>",
    b"\xef\xbb\xbf<html>BOM</html>",
    b'{"error": "no such position"}',
    b"[]",
    b"null",
    b"",
    b"\n",
    b"<?xml version='1.0'?><VOTABLE><INFO name='QUERY_STATUS' value='ERROR'/></VOTABLE>",
    b"Maximum 60 queries allowed per minute. Rejected query: SELECT 1",
    b"SQL command failed",
    b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
    b"GIF89a" + b"\0" * 50,
    b"SIMPLE  =                    T" + b" " * 50,
    b"\x1f\x8b\x08" + b"\0" * 50,
    b"%PDF-1.4",
    b"PK\x03\x04",
    b"\xff",
    b"\0" * 5000,
    b"<html>" + b"x" * 200_000,
]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_what_is_no_image_gets_no_name(make: Callable[..., Network], tmp_path: Path, body: bytes) -> None:
    with Liar({"/a": Say(body)}) as liar:
        network = make(liar)
        for call in (
            lambda: network.fetch(liar.url + "/a", accept=(b"\xff\xd8", b"II*\0")),
            lambda: network.fetch(liar.url + "/a", check=lambda data: data.startswith(b"\xff\xd8")),
            lambda: network.download(liar.url + "/a", tmp_path / "a.jpg", accept=(b"\xff\xd8",)),
        ):
            with pytest.raises(ReplyError) as told:
                call()
            assert (told.value.kind, told.value.cause, told.value.status) == ("permanent", "content", 200)
            assert len(told.value.text) <= 2048 and told.value.text.isprintable()
        assert len(liar.log) == 9 and names(tmp_path) == set()
        if body.startswith(b"<!DOCTYPE"):
            assert "Please log in" in told.value.text and "Please log in" in str(told.value)


def test_a_page_shown_while_restarting_is_no_answer(make: Callable[..., Network], tmp_path: Path) -> None:
    with Liar({path: [Say(BAD[0]), Say(BAD[0]), Say(JPEG)] for path in ("/a", "/b")}) as liar:
        network = make(liar)
        assert network.fetch(liar.url + "/a", accept=(b"\xff\xd8",)).data == JPEG
        assert network.download(liar.url + "/b", tmp_path / "b", accept=(b"\xff\xd8",)).read_bytes() == JPEG


def test_a_check_sees_all_of_what_is_fetched_and_the_head_of_a_download(
    make: Callable[..., Network], tmp_path: Path
) -> None:
    seen: list[int] = []

    def check(data: bytes) -> bool:
        seen.append(len(data))
        return True

    with Liar(
        {
            "/a": Say(JPEG * 10),
            "/b": [Say(JPEG * 10, etag='"1"', ranges=True, cut=5), Say(JPEG * 10, etag='"1"', ranges=True)],
        }
    ) as liar:
        network = make(liar)
        network.fetch(liar.url + "/a", check=check)
        network.download(liar.url + "/a", tmp_path / "a", check=check)
        network.download(liar.url + "/b", tmp_path / "b", check=check)
    assert set(seen[1:]) == {65_536} and seen[0] == len(JPEG) * 10


# --- N4: lengths and digests --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("say", "cause"),
    [
        (Say(JPEG, length=len(JPEG) + 1, cut=len(JPEG)), "connection"),
        (Say(JPEG, length=10**6, cut=len(JPEG)), "connection"),
        (Say(JPEG, length=len(JPEG) - 1), "length"),
        (Say(JPEG, length=1), "length"),
        (Say(JPEG, chunked=True, cut=len(JPEG) - 1), "connection"),
        (Say(JPEG, headers=(("Content-Length", "5"),)), "connection"),
    ],
    ids=["short by one", "short", "long by one", "long", "chunk cut", "two lengths"],
)
def test_the_length_is_exact_both_ways(make: Callable[..., Network], tmp_path: Path, say: Any, cause: str) -> None:
    with Liar({"/a": say, "/good": Say(b"good")}) as liar:
        network = make(liar)
        for call in (
            lambda: network.fetch(liar.url + "/a"),
            lambda: network.download(liar.url + "/a", tmp_path / "a"),
        ):
            with pytest.raises(ReplyError) as told:
                call()
            assert (told.value.kind, told.value.cause) == ("transient", cause)
            assert network.fetch(liar.url + "/good").data == b"good", "what was left is not the next reply"
        assert not (tmp_path / "a").exists() and len(liar.asked("/a")) == 16


def test_the_size_and_the_digest_that_were_given_hold(make: Callable[..., Network], tmp_path: Path) -> None:
    with Liar(
        {"/a": Say(JPEG), "/c": Say(JPEG, chunked=True), "/ok": [Say(OTHER), Say(OTHER[:-1]), Say(JPEG)]}
    ) as liar:
        network = make(liar)
        for path in ("/a", "/c"):
            for wanted, cause in (({"size": len(JPEG) + 1}, "length"), ({"sha256": "0" * 64}, "digest")):
                for call in (
                    lambda p=path, w=wanted: network.fetch(liar.url + p, **w),
                    lambda p=path, w=wanted: network.download(liar.url + p, tmp_path / "a", **w),
                ):
                    with pytest.raises(ReplyError, match="tried 3 times") as told:
                        call()
                    assert (told.value.kind, told.value.cause) == ("permanent", cause)
                    assert names(tmp_path) == set()
        assert network.fetch(liar.url + "/ok", sha256=SHA.upper(), size=len(JPEG)).data == JPEG


@pytest.mark.parametrize(
    "say", [Say(JPEG), Say(JPEG, chunked=True), Say(JPEG, length=None)], ids=["told", "chunked", "not"]
)
def test_more_than_we_take_is_refused(make: Callable[..., Network], tmp_path: Path, say: Any) -> None:
    with Liar({"/a": say}) as liar:
        network = make(liar, limits=Limits(max_bytes=10_000))
        assert network.fetch(liar.url + "/a", max_bytes=len(JPEG)).data == JPEG
        with pytest.raises(ReplyError, match="than the 10000 that are taken") as told:
            network.fetch(liar.url + "/a")
        assert (told.value.kind, told.value.cause) == ("permanent", "limit")
        with pytest.raises(ReplyError, match="than the 10000 that are taken"):
            network.download(liar.url + "/a", tmp_path / "a", max_bytes=10_000, sha256=SHA)
        assert len(liar.log) == 3 and names(tmp_path) == set()


def test_compressed_replies_are_refused_but_files_are_files(make: Callable[..., Network]) -> None:
    coded = (("Content-Encoding", "gzip"),)
    with Liar({"/a": Say(JPEG, headers=coded), "/a.fits.gz": Say(JPEG, headers=coded)}) as liar:
        network = make(liar)
        with pytest.raises(ReplyError, match=r"compressed \(gzip\)"):
            network.fetch(liar.url + "/a")
        assert network.fetch(liar.url + "/a.fits.gz").data == JPEG, "as it came: its digest is that of the file"


def test_a_download_whose_end_cannot_be_seen(make: Callable[..., Network], tmp_path: Path) -> None:
    with Liar({"/a": Say(JPEG, length=None), "/c": Say(JPEG, chunked=True)}) as liar:
        network = make(liar)
        with pytest.raises(ReplyError, match="does not say how long it is"):
            network.download(liar.url + "/a", tmp_path / "a")
        assert network.download(liar.url + "/a", tmp_path / "a", sha256=SHA).read_bytes() == JPEG
        assert network.download(liar.url + "/a", tmp_path / "b", size=len(JPEG)).read_bytes() == JPEG
        assert network.download(liar.url + "/c", tmp_path / "c").read_bytes() == JPEG


# --- N5 and P3: downloads that are taken up again ------------------------------------------------------------------


def test_cuts_at_fifty_offsets_refetch_nothing(make: Callable[..., Network], tmp_path: Path) -> None:
    offsets = [1 + len(JPEG) * k // 51 for k in range(50)]
    good = Say(JPEG, etag='"1"', ranges=True)
    with Liar({f"/{at}": [Say(JPEG, etag='"1"', ranges=True, cut=at), good] for at in offsets}) as liar:
        network = make(liar, limits=Limits(piece=1000))
        for at in offsets:
            path = network.download(f"{liar.url}/{at}", tmp_path / "f" / f"{at}.jpg", accept=(b"\xff\xd8",))
            assert path.read_bytes() == JPEG
            first, second = liar.asked(f"/{at}")
            assert "range" not in first.headers
            assert (second.headers["range"], second.headers["if-range"]) == (f"bytes={at}-", '"1"')
    assert names(tmp_path / "f") == {f"{at}.jpg{end}" for at in offsets for end in ("", ".origin.json")}


def test_a_file_that_is_cut_again_and_again_arrives(make: Callable[..., Network], tmp_path: Path) -> None:
    say = Say(JPEG, etag='"1"', ranges=True, cut=300)  # 35 cuts: more than 8, but each brings a piece
    with Liar({"/a": lambda asked, count: say}) as liar:
        network = make(liar, limits=Limits(piece=300))
        assert network.download(liar.url + "/a", tmp_path / "a", sha256=SHA).read_bytes() == JPEG
        assert len(liar.log) == math.ceil(len(JPEG) / 300)


def test_a_file_that_never_stays_the_same_is_given_up(make: Callable[..., Network], tmp_path: Path) -> None:
    with Liar({"/a": lambda asked, count: Say(JPEG, etag=f'"{count}"', ranges=True, cut=5000)}) as liar:
        with pytest.raises(ReplyError, match="tried 8 times"):
            make(liar, limits=Limits(piece=1000)).download(liar.url + "/a", tmp_path / "a")
        assert len(liar.log) == 8 and not (tmp_path / "a").exists()


def test_kill_9_costs_at_most_one_piece(make: Callable[..., Network], tmp_path: Path) -> None:
    code = (
        "import sys; from tuningfork.network import Limits, Network\n"
        "n = Network(sys.argv[2], mirrors=[sys.argv[1]], limits=Limits(piece=1000))\n"
        "n.download(sys.argv[1] + '/a', sys.argv[3], progress=lambda *p: print(p[0], flush=True))\n"
    )
    path = tmp_path / "f" / "a"
    good = Say(JPEG, etag='"1"', ranges=True)
    with Liar({"/a": [Say(JPEG, etag='"1"', ranges=True, drip=0.0003), good]}) as liar:
        arguments = [sys.executable, "-c", code, liar.url, str(tmp_path / "net"), str(path)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            told = [int(child.stdout.readline()) for _ in range(3)]
            child.send_signal(signal.SIGKILL)
        assert not path.exists() and told[-1] >= 3000
        network = make(liar, limits=Limits(piece=1000))
        assert network.download(liar.url + "/a", path).read_bytes() == JPEG
        assert int(liar.log[1].headers["range"].removeprefix("bytes=").rstrip("-")) >= told[-1]
    assert names(path.parent) == {"a", "a.origin.json"}


CHANGED = {
    "If-Range is honoured": (Say(JPEG, etag='"1"', ranges=True, cut=4000), Say(OTHER, etag='"2"', ranges=True)),
    "Range is ignored": (Say(JPEG, etag='"1"', cut=4000), Say(OTHER, etag='"2"')),
    "If-Range is ignored": (Say(JPEG, etag='"1"', cut=4000), Say(OTHER, etag='"2"', blind=True)),
    "If-Range is ignored, date": (
        Say(JPEG, headers=(("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"),), cut=4000),
        Say(OTHER, headers=(("Last-Modified", "Thu, 01 Jan 2026 00:00:01 GMT"),), blind=True),
    ),
    "it has no validator": (Say(JPEG, cut=4000), Say(OTHER, blind=True)),
    "its ETag is weak": (Say(JPEG, etag='W/"1"', cut=4000), Say(OTHER, etag='W/"1"', blind=True)),
    "its length differs": (Say(JPEG, etag='"1"', cut=4000), Say(OTHER + b"x", etag='"1"', blind=True)),
    "it is shorter than what we have": (Say(JPEG, etag='"1"', cut=4000), Say(OTHER[:99], etag='"1"', blind=True)),
    "the part is another": (
        Say(JPEG, etag='"1"', cut=4000),
        Say(OTHER[1:], status=206, headers=(("Content-Range", f"bytes 1-{len(JPEG) - 1}/{len(JPEG)}"),), etag='"1"'),
    ),
    "the part is nonsense": (Say(JPEG, etag='"1"', cut=4000), Say(OTHER, status=206, etag='"1"')),
    "the part goes beyond the end": (
        Say(JPEG, etag='"1"', cut=4000),
        Say(OTHER, status=206, headers=(("Content-Range", f"bytes 4000-{3999 + len(OTHER)}/*"),), etag='"1"'),
    ),
}


@pytest.mark.parametrize("case", CHANGED)
@pytest.mark.parametrize("killed", [False, True], ids=["same call", "next call"])
def test_a_file_that_changed_is_never_spliced(
    make: Callable[..., Network], tmp_path: Path, case: str, killed: bool
) -> None:
    first, second = CHANGED[case]

    def script(asked: Any, count: int) -> Any:
        if count == 1:
            return first
        return second if second.status == 200 or "range" in asked.headers else Say(OTHER, etag='"2"')

    with Liar({"/a": script}) as liar:
        network = make(liar, limits=Limits(piece=1000))
        if killed:
            with pytest.raises(ReplyError):
                network.download(liar.url + "/a", tmp_path / "a", tries=1)
            assert (tmp_path / "a.part.json").exists()
        expected = second.body if second.status == 200 else OTHER
        assert network.download(liar.url + "/a", tmp_path / "a").read_bytes() == expected
        assert len(liar.log) <= 3, "the lie was seen when it was told"
        assert names(tmp_path) == {"a", "a.origin.json"}


def test_a_digest_lets_us_go_on_without_an_etag_and_finds_the_splice(
    make: Callable[..., Network], tmp_path: Path
) -> None:
    with Liar(
        {"/a": [Say(JPEG, cut=4000), Say(JPEG, blind=True)], "/b": [Say(OTHER, cut=4000), Say(JPEG, blind=True)]}
    ) as liar:
        network = make(liar)
        for path, requests in (("/a", 2), ("/b", 3)):
            assert network.download(liar.url + path, tmp_path / "a", sha256=SHA).read_bytes() == JPEG
            assert len(liar.asked(path)) == requests and liar.asked(path)[1].headers["range"] == "bytes=4000-"
            (tmp_path / "a").unlink()


def test_parts_of_another_address_are_not_ours(make: Callable[..., Network], tmp_path: Path) -> None:
    with Liar({"/a": Say(OTHER, etag='"1"', cut=4000), "/b": Say(JPEG, etag='"1"', blind=True)}) as liar:
        network = make(liar)
        with pytest.raises(ReplyError):
            network.download(liar.url + "/a", tmp_path / "a", tries=1)
        assert network.download(liar.url + "/b", tmp_path / "a").read_bytes() == JPEG


@pytest.mark.parametrize("damage", ["flip", "sidecar", "junk sidecar", "gap", "stranger"])
def test_damaged_parts_are_fetched_again(make: Callable[..., Network], tmp_path: Path, damage: str) -> None:
    with Liar({"/a": [Say(JPEG, etag='"1"', ranges=True, cut=5000), Say(JPEG, etag='"1"', ranges=True)]}) as liar:
        network = make(liar, limits=Limits(piece=1000))
        with pytest.raises(ReplyError):
            network.download(liar.url + "/a", tmp_path / "a", tries=1)
        pieces = sorted(tmp_path.glob("a.part-*"))
        if damage == "flip":
            pieces[-1].write_bytes(bytes(byte ^ 1 for byte in pieces[-1].read_bytes()))
        elif damage == "gap":
            pieces[0].unlink()
        elif damage == "stranger":
            (tmp_path / "a.part-000000000000007-0123456789abcdef").write_bytes(b"x")
        else:
            (tmp_path / "a.part.json").write_bytes(b"" if damage == "sidecar" else b'{"url": 5, "color": []}')
        assert network.download(liar.url + "/a", tmp_path / "a").read_bytes() == JPEG
        assert names(tmp_path) == {"a", "a.origin.json"}


def test_what_is_there_is_not_asked_for_again(make: Callable[..., Network], tmp_path: Path) -> None:
    with Liar({"/a": Say(JPEG), "/b": Say(JPEG)}) as liar:
        network, path = make(liar), tmp_path / "a"
        told: list[tuple[int, int, str]] = []
        network.download(liar.url + "/a", path, progress=lambda *step: told.append(step))
        assert told == [(len(JPEG), len(JPEG), "a")]
        network.download(liar.url + "/a", path)
        network.download(liar.url + "/b", path, sha256=SHA)
        assert len(liar.log) == 1
        path.write_bytes(JPEG[:-1] + b"?")
        assert network.download(liar.url + "/a", path).read_bytes() == JPEG
        assert network.download(liar.url + "/b", path).read_bytes() == JPEG, "another address, no digest: asked"
        assert len(liar.log) == 3
        assert json.loads((tmp_path / "a.origin.json").read_text())["sha256"] == SHA


def test_a_failure_leaves_the_old_file(make: Callable[..., Network], tmp_path: Path) -> None:
    with Liar({"/a": [Say(JPEG), Say(b"", 500), Say(OTHER)]}) as liar:
        network, path = make(liar), tmp_path / "a"
        network.download(liar.url + "/a", path)
        with pytest.raises(ReplyError):
            network.download(liar.url + "/a", path, sha256=hashlib.sha256(OTHER).hexdigest(), tries=1)
        assert path.read_bytes() == JPEG
        network.download(liar.url + "/a", path, sha256=hashlib.sha256(OTHER).hexdigest())
        assert path.read_bytes() == OTHER, "failures are not remembered"


def test_two_downloads_of_one_file(make: Callable[..., Network], tmp_path: Path) -> None:
    begun = threading.Event()

    def script(asked: Any, count: int) -> Any:
        begun.set()
        return Say(JPEG, before=0.3)

    with Liar({"/a": script}) as liar, ThreadPoolExecutor(1) as pool:
        network = make(liar)
        first = pool.submit(network.download, liar.url + "/a", tmp_path / "a")
        assert begun.wait(5)
        with pytest.raises(Locked, match="in use by process"):
            network.download(liar.url + "/a", tmp_path / "a")
        assert first.result().read_bytes() == JPEG


# --- P7: disk full, and death at every step -----------------------------------------------------------------------


def steps_of(call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], at: int) -> int:
    """Call with a hook that acts at one step of the disk; the number of steps."""
    count = 0

    def step(name: str, path: Path) -> None:
        nonlocal count
        count += 1
        if count == at:
            act()

    with monkeypatch.context() as patch:
        patch.setattr(disk, "step", step)
        call()
    return count


def full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def dead() -> None:
    os._exit(9)


def forked(call: Callable[[], Any]) -> int:
    """Call in a child that dies as if by kill -9 if told so; its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the liar; the child uses none of them
        child = os.fork()
    if child == 0:
        try:
            call()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("act", [full, dead])
def test_every_step_of_a_download_may_fail(
    make: Callable[..., Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]
) -> None:
    with Liar({"/a": Say(JPEG, etag='"1"', ranges=True)}) as liar:
        network = make(liar, limits=Limits(piece=4000), rates={"127.0.0.1": 1e6})

        def download(folder: str) -> Path:
            return network.download(liar.url + "/a", tmp_path / folder / "a")

        points = steps_of(lambda: download("undisturbed"), monkeypatch, act, 0)
        assert points >= 25
        for at in range(1, points + 1):
            folder = str(at)
            if act is full:
                with pytest.raises(DiskFull, match="free some space"):
                    steps_of(lambda f=folder: download(f), monkeypatch, act, at)
            else:
                assert forked(lambda f=folder, n=at: steps_of(lambda: download(f), monkeypatch, act, n)) == 9
            path = tmp_path / folder / "a"
            assert not path.exists() or path.read_bytes() == JPEG, "whole or absent"
            assert download(folder).read_bytes() == JPEG
            left = {name for name in names(tmp_path / folder) if act is full or not name.startswith(".part-")}
            assert left == {"a", "a.origin.json"}, at


def test_a_disk_that_fills_up_while_the_pieces_are_joined(make: Callable[..., Network], tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Liar({"/a": Say(JPEG * 10)}) as liar:
        network = make(liar, limits=Limits(piece=20_000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, hard))
        try:
            with pytest.raises(DiskFull, match=r"no space left to write '.*a'"):
                network.download(liar.url + "/a", tmp_path / "a")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert not (tmp_path / "a").exists()
        assert network.download(liar.url + "/a", tmp_path / "a").read_bytes() == JPEG * 10
        assert len(liar.log) == 1, "what had come was kept"


def test_too_little_room_is_told_before_it_is_used(
    make: Callable[..., Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * len(JPEG) - 1)
    monkeypatch.setattr(parts.shutil, "disk_usage", lambda path: usage)
    with Liar({"/a": Say(JPEG)}) as liar, pytest.raises(DiskFull, match="free some space and run the same command"):
        make(liar).download(liar.url + "/a", tmp_path / "a")
    assert not list(tmp_path.glob("a.part-*"))


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_asked(
    make: Callable[..., Network], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with Liar({"/a": Say(JPEG)}) as liar:
        with pytest.raises(DiskError, match="cannot write"):
            make(liar).download(liar.url + "/a", tmp_path / "file" / "a")
        assert liar.log == []


# --- N6: redirects and addresses ----------------------------------------------------------------------------------


def goes(to: str, status: int = 302) -> Any:
    return Say(b"moved", status, headers=(("Location", to),))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_five_redirects_are_followed_and_no_more(make: Callable[..., Network], tmp_path: Path, status: int) -> None:
    chain = {f"/{k}": goes(f"/{k + 1}?x=1#part", status) for k in range(6)}
    with Liar({**chain, "/6": Say(JPEG)}) as liar:
        network = make(liar)
        got = network.fetch(liar.url + "/1")
        assert got.data == JPEG and got.url == liar.url + "/6?x=1" and len(liar.log) == 6
        assert network.download(liar.url + "/1", tmp_path / "a").read_bytes() == JPEG
        with pytest.raises(ReplyError, match="after 5 times") as told:
            network.fetch(liar.url + "/0")
        assert (told.value.kind, told.value.cause) == ("permanent", "redirect") and len(liar.log) == 18


ELSEWHERE = [
    "http://example.org/",
    "https://example.org/",
    "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:1/",
    "http://localhost/",
    "https://[::1]/",
    "https://127.1/",
    "http://2130706433/",
    "//example.org/x",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "https://",
    "http://[",
    "",
]


@pytest.mark.parametrize("to", ELSEWHERE)
def test_redirects_do_not_lead_elsewhere(make: Callable[..., Network], tmp_path: Path, to: str) -> None:
    with Liar({"/a": goes(to), "/b": [goes("/a")]}) as liar:
        network = make(liar)
        for call in (
            lambda: network.fetch(liar.url + "/b"),
            lambda: network.download(liar.url + "/b", tmp_path / "a"),
        ):
            with pytest.raises(ReplyError) as told:
                call()
            assert (told.value.kind, told.value.cause, told.value.status) == ("permanent", "redirect", 302)
        assert len(liar.log) == 4 and names(tmp_path) == set()


def test_a_redirect_goes_to_a_mirror_that_was_named_but_takes_no_token(
    make: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKY_TOKEN", "hunter22")
    with (
        Liar({"/b": Say(JPEG)}) as there,
        Liar({"/a": goes(there.url + "/b"), "/p": goes("/q"), "/q": Say(b"q")}) as here,
    ):
        network = make(here, there, tokens={here.origin: "SKY_TOKEN"})
        assert network.fetch(here.url + "/a").data == JPEG
        assert here.log[0].headers["authorization"] == "Bearer hunter22"
        assert "authorization" not in there.log[0].headers
        network.fetch(here.url + "/p")
        assert here.asked("/q")[0].headers["authorization"] == "Bearer hunter22"
        with pytest.raises(ReplyError, match="redirects to where we do not go"):
            make(here).fetch(here.url + "/a")


def canned(monkeypatch: pytest.MonkeyPatch, handler: Callable[[httpx.Request], httpx.Response]) -> None:
    monkeypatch.setattr(door, "make_transport", lambda hosts, pace: httpx.MockTransport(handler))


def test_https_is_never_left(monkeypatch: pytest.MonkeyPatch, make: Callable[..., Network]) -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        to = {"/down": "http://sky.example/x", "/local": "http://127.0.0.1:9/x", "/up": "https://sky.example/x"}
        where = to.get(request.url.path)
        return (
            httpx.Response(302, headers={"Location": where})
            if where
            else httpx.Response(200, stream=httpx.ByteStream(b"x"))
        )

    canned(monkeypatch, handler)

    class Here:
        url = "http://127.0.0.1:9"

    network = make(Here, allow=["sky.example"])
    for path in ("/down", "/local"):
        with pytest.raises(ReplyError, match="is no https") as told:
            network.fetch("https://sky.example" + path)
        assert (told.value.kind, told.value.cause) == ("permanent", "redirect")
    assert network.fetch(Here.url + "/up").data == b"x"
    assert len(asked) == 4


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost that nobody has signed, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate of this test, is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    given = ["-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=localhost"]
    given += ["-addext", "subjectAltName=DNS:localhost"]
    key, signed = path.with_name("key.pem"), path.with_name("signed.pem")
    subprocess.run(["openssl", "req", *given, "-keyout", key, "-out", signed], check=True, capture_output=True)
    path.write_bytes(key.read_bytes() + signed.read_bytes())
    return path


def test_https_speaks_only_to_whom_it_can_prove(
    make: Callable[..., Network], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    scripts = {"/a": Say(JPEG), "/long": Say(JPEG, length=99), "/d": [Say(JPEG, etag='"1"', cut=999, ranges=True)]}
    scripts["/d"].append(Say(JPEG, etag='"1"', ranges=True))
    with Liar({"/b": Say(b"b")}) as plain, Liar({**scripts, "/down": goes(plain.url + "/b")}, tls=context) as liar:
        with pytest.raises(ReplyError, match="CERTIFICATE_VERIFY_FAILED") as told:
            make(liar).fetch(liar.url + "/a")
        assert (told.value.kind, told.value.cause) == ("permanent", "connection") and liar.log == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        network = make(liar, plain)
        assert network.fetch(liar.url + "/a").data == network.fetch(liar.url + "/a").data == JPEG
        assert liar.log[0].connection == liar.log[1].connection
        assert network.download(liar.url + "/d", tmp_path / "d").read_bytes() == JPEG
        assert liar.log[-1].headers["range"] == "bytes=999-"
        with pytest.raises(ReplyError, match="more bytes came than the 99"):
            network.fetch(liar.url + "/long", tries=1)
        with pytest.raises(ReplyError, match="is no https"):
            network.fetch(liar.url + "/down")
        assert plain.log == []


def test_a_bad_certificate_is_final(monkeypatch: pytest.MonkeyPatch, make: Callable[..., Network]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired")

    canned(monkeypatch, handler)
    with pytest.raises(ReplyError, match="certificate has expired") as told:
        make(allow=["sky.example"]).fetch("https://sky.example/")
    assert (told.value.kind, told.value.cause) == ("permanent", "connection")


@pytest.mark.parametrize(
    "url",
    [
        "http://sky.example/",
        "https://other.example/",
        "https://notsky.example/",
        "https://a.sky.example/",
        "https://below.example/",
        "https://me:pw@sky.example/",
        "ftp://sky.example/",
        "sky.example",
        "",
        "https://",
        "a b",
        "https://127.0.0.1/",
        "http://127.0.0.1/",
        "http://localhost:80/",
        "https://sky.example:99999/",
        "https://\x00/",
    ],
)
def test_only_the_hosts_that_were_named_are_asked(make: Callable[..., Network], url: str) -> None:
    network = make(allow=["sky.example", ".below.example"])
    with pytest.raises(ReplyError) as told:
        network.fetch(url)
    assert (told.value.kind, told.value.cause) == ("permanent", "address") and "pw" not in str(told.value)


def test_a_dot_stands_for_every_host_below(make: Callable[..., Network], monkeypatch: pytest.MonkeyPatch) -> None:
    canned(monkeypatch, lambda request: httpx.Response(200, stream=httpx.ByteStream(request.url.host.encode())))
    network = make(allow=["Sky.Example", ".below.example"])
    for host in ("sky.example", "SKY.example", "a.below.example", "a.b.below.example"):
        assert network.fetch(f"https://{host}/").data == host.lower().encode()


@pytest.mark.parametrize(
    "mirror",
    ["http://sky.example/", "http://10.0.0.1/", "https://me:pw@sky.example/", "sky.example", "ftp://127.0.0.1/"],
)
def test_what_may_not_be_a_mirror(tmp_path: Path, mirror: str) -> None:
    with pytest.raises(ReplyError, match=r"was not asked") as told:
        Network(tmp_path, mirrors=[mirror])
    assert told.value.cause == "address" and "pw" not in str(told.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
    ],
)
def test_a_public_name_with_a_private_address(
    make: Callable[..., Network], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with Liar({"/a": Say(b"secret")}) as liar:
        entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, liar.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: [entry])
        for url in (f"https://sky.example:{liar.port}/a", "https://sky.example/a"):
            with pytest.raises(ReplyError, match="no public address") as told:
                make(allow=["sky.example"]).fetch(url)
            assert (told.value.kind, told.value.cause) == ("permanent", "address")
        assert liar.log == []


def test_public_addresses_and_named_mirrors_are_called() -> None:
    hosts = Hosts.of(["sky.example"], ["https://mirror.example", "http://127.0.0.1:8000", "https://m.example:444"])
    hosts.check_address("sky.example", 443, "8.8.8.8")
    hosts.check_address("sky.example", 443, "2606:4700:4700::1111")
    hosts.check_address("sky.example", 443, "::ffff:8.8.8.8")
    hosts.check_address("mirror.example", 443, "10.0.0.1")
    hosts.check_address("m.example", 444, "10.0.0.1")
    hosts.check_address("127.0.0.1", 8000, "127.0.0.1")
    for host, port in (("mirror.example", 444), ("127.0.0.1", 8001), ("m.example", 443)):
        with pytest.raises(ReplyError):
            hosts.check_address(host, port, "127.0.0.1")


def test_a_name_that_does_not_resolve(make: Callable[..., Network], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any, **more: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ReplyError, match="is the network up") as told:
        make(allow=["sky.example"]).fetch("https://sky.example/", tries=2)
    assert (told.value.kind, told.value.cause) == ("transient", "connection")


def test_every_address_of_a_host_is_tried(make: Callable[..., Network], monkeypatch: pytest.MonkeyPatch) -> None:
    with Liar({"/a": Say(b"a")}) as liar:
        found = [(0, 0, 0, "", (address, liar.port)) for address in ("127.0.0.2", "127.0.0.1")]
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *given, **more: found if host == "localhost" else real(host, *given, **more),
        )

        class Named:
            url = f"http://localhost:{liar.port}"

        assert make(Named).fetch(Named.url + "/a").data == b"a"


def test_the_proxy_of_the_environment_is_used(make: Callable[..., Network], monkeypatch: pytest.MonkeyPatch) -> None:
    with Liar({"sky.example:443": Say(b"", 403), "/a": Say(b"a")}) as liar:
        monkeypatch.setenv("https_proxy", f"http://me:hunter22@127.0.0.1:{liar.port}")
        monkeypatch.setenv("no_proxy", "other.example")
        network = make(liar, allow=["sky.example", "other.example"])
        with pytest.raises(ReplyError, match="ProxyError") as told:
            network.fetch("https://sky.example/a", tries=1)
        assert "hunter22" not in str(told.value)
        assert [asked.method for asked in liar.log] == ["CONNECT"]
        assert liar.log[0].headers["proxy-authorization"].startswith("Basic ")
        assert network.fetch(liar.url + "/a").data == b"a", "a mirror on this machine is called straight"
        monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: [])
        with pytest.raises(ReplyError, match="has no address"):
            network.fetch("https://other.example/a", tries=1)


# --- N8: secrets --------------------------------------------------------------------------------------------------


def test_masking_takes_linear_time() -> None:
    began = time.monotonic()
    for text in ("." * 200_000, "a=" * 100_000, "//" * 100_000, "token" * 40_000, "//a" * 60_000 + "@"):
        mask(text)
    assert time.monotonic() - began < 2
    assert mask("https://me:pw@a.b/?q=1&my_token=abc&x=2 'sig=9'") == "https://***@a.b/?q=1&my_token=***&x=2 'sig=***'"
    assert mask("sigma=3&design=2&key=5") == "sigma=3&design=2&key=5"


def test_a_token_is_nowhere_but_in_its_header(
    make: Callable[..., Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = "hf_q8ZsT0pS3cr3tValue"
    monkeypatch.setenv("SKY_TOKEN", f"  {token}\n")
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    def echo(status: int, pad: int = 0) -> Callable[[Any, int], Any]:
        return lambda asked, n: Say(b" " * pad + asked.headers["authorization"].encode(), status, (("X-Echo", token),))

    def away(asked: Any, count: int) -> Any:
        return goes(f"/blob?X-Amz-Signature={token}&access_token={token}&n={count}")

    scripts = {"/403": echo(403), "/200": echo(200), "/away": away, "/far": goes(f"https://x.example/?sig={token}")}
    scripts |= {f"/pad{k}": echo(403, 4096 - k) for k in range(8, 30)}
    with Liar({**scripts, "/blob": Say(JPEG)}) as liar:
        network = make(liar, tokens={liar.origin: "SKY_TOKEN"})
        for path in scripts:
            for call in (
                lambda p=path: network.fetch(liar.url + p, accept=(b"\xff\xd8",)),
                lambda p=path: network.download(liar.url + p, tmp_path / "a", accept=(b"\xff\xd8",)),
                lambda p=path: network.download(liar.url + p, tmp_path / "b", params={"token": token, "q": "kept"}),
            ):
                try:
                    said.append(repr(call()))
                except ReplyError as error:
                    said += [repr(error), str(vars(error)), repr(pickle.dumps(error))]
        said.append(repr(network))
        assert all(asked.headers["authorization"] == f"Bearer {token}" for asked in liar.log)
    kept = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file() and path.name != "b"]
    assert any("q=kept" in text for text in kept) and "$SKY_TOKEN" in said[-1] and "X-Amz-Signature=***" in caplog.text
    for text in [*said, *kept, caplog.text, *(str(path) for path in tmp_path.rglob("*"))]:
        assert token[:8] not in text


def test_a_token_that_cannot_be_one_is_not_sent(make: Callable[..., Network], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKY_TOKEN", "hunter22\r\nX-Evil: 1")
    with Liar({"/a": Say(b"a")}) as liar:
        with pytest.raises(ReplyError, match=r"\$SKY_TOKEN") as told:
            make(liar, tokens={liar.origin: "SKY_TOKEN"}).fetch(liar.url + "/a")
        assert "hunter22" not in str(told.value) and liar.log == []
        monkeypatch.delenv("SKY_TOKEN")
        assert make(liar, tokens={liar.origin: "SKY_TOKEN"}).fetch(liar.url + "/a").data == b"a"
        assert "authorization" not in liar.log[0].headers


# --- threads, processes, extras -----------------------------------------------------------------------------------


def test_threads_share_one_network(make: Callable[..., Network]) -> None:
    def script(asked: Any, count: int) -> Any:
        return Say(
            asked.query["n"].encode() * 1000, status=500 if count % 7 == 0 else 200, cut=5 if count % 11 == 0 else None
        )

    with Liar({"/a": script}) as liar, ThreadPoolExecutor(12) as pool:
        network = make(liar)
        got = list(pool.map(lambda n: network.fetch(liar.url + "/a", params={"n": n}).data, range(100)))
        assert got == [str(n).encode() * 1000 for n in range(100)]
        assert len({asked.connection for asked in liar.log}) < len(liar.log), "connections are used again"


def test_a_forked_child_does_not_speak_on_our_connections(make: Callable[..., Network]) -> None:
    with Liar({"/a": Say(b"a"), "/child": Say(b"b")}) as liar:
        network = make(liar)
        network.fetch(liar.url + "/a")
        assert forked(lambda: network.fetch(liar.url + "/child")) == 0
        assert network.fetch(liar.url + "/a").data == b"a"
        first, child, last = (asked.connection for asked in liar.log)
        assert first == last != child


def test_without_httpx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtra, match=r"tuningfork\[sky\]"):
        Network(tmp_path)


def test_a_network_is_closed_by_its_block(tmp_path: Path) -> None:
    with Liar({"/a": Say(b"a")}) as liar:
        with Network(tmp_path, mirrors=[liar.url]) as network:
            network.fetch(liar.url + "/a")
        with pytest.raises(RuntimeError, match="closed"):
            network.fetch(liar.url + "/a")
