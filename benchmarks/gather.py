"""What gathering costs besides the network: galaxies per second and memory at 100,000 rows, beside a bare httpx loop.

A server in a second process answers every request at once with one colour JPEG of 256 x 256 px; no rate is kept. The
bare loop asks for the same addresses with as many threads, and keeps nothing. gather also decodes and checks each
picture, writes each to the disk before it counts as fetched, keeps the ledger, and makes the store. No service lets
itself be asked anywhere near as fast: SDSS is asked twice a second.

    python benchmarks/gather.py [--rows 100000] [--workers 8] [--folder DIR]
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record

SIDE = 256


def picture() -> bytes:
    """A galaxy in noise, as JPEG of about 20 kB."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    galaxy = 200 * np.exp(-np.hypot(x, 1.6 * y) / 30)[:, :, None] * np.array([1.0, 0.9, 0.7])
    noise = np.random.default_rng(0).normal(20, 6, (SIDE, SIDE, 3))
    return Record.from_picture("x", (galaxy + noise).clip(0, 255).astype(np.uint8), quality=88).data


def serve(port: Any) -> None:
    """One reply for every request, on the loopback, until killed."""
    body = picture()
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def bare(url: str, rows: int, workers: int) -> float:
    """Galaxies per second of httpx alone."""
    import httpx

    client = httpx.Client(limits=httpx.Limits(max_connections=workers))
    chunks = np.array_split(np.arange(rows), workers)

    def ask(chunk: Any) -> None:
        for number in chunk:
            parameters = {"ra": number / 1000, "dec": 1.0, "scale": 0.4, "width": SIDE, "height": SIDE}
            assert client.get(f"{url}SkyServerWS/ImgCutout/getjpeg", params=parameters).content

    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(ask, chunks))
    return rows / (time.perf_counter() - began)


def gathered(url: str, rows: int, workers: int, folder: str) -> None:
    """One gathering, in a process of its own; prints what it cost as JSON."""
    from tuningfork.survey.gather import gather
    from tuningfork.survey.service import connect
    from tuningfork.survey.surveys import find_survey

    ids = [f"1237648720693{number:06d}" for number in range(rows)]
    catalog = Catalog({"id": ids, "ra": np.arange(rows) / rows * 359, "dec": np.full(rows, 1.0)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    marks = [0.0]

    def progress(done: int, total: int, text: str) -> None:
        if not marks[0] and text.endswith("is written"):
            marks[0] = time.perf_counter()

    network = connect(f"{folder}/rates", find_survey("sdss"), url, rate=float("inf"))
    began = time.perf_counter()
    done = gather(
        catalog, "sdss", f"{folder}/store", width="100arcsec", pixels=SIDE, url=url, workers=workers, network=network,
        progress=progress,
    )  # fmt: skip
    ended = time.perf_counter()
    assert done.n_done == rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": ended - began, "store": ended - marks[0], "peak": peak / 1024, "idle": before / 1024}))


def main() -> None:
    """Measure, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--folder", default=None, help="where to write; default a temporary folder")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    choice = parser.parse_args()
    if choice.child:
        return gathered(choice.child, choice.rows, choice.workers, choice.folder)
    port: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{port.get(timeout=30)}/"
    try:
        alone = bare(url, min(choice.rows, 10_000), choice.workers)
        print(f"bare httpx  {alone:8,.0f} galaxies/s ({choice.workers} threads, {len(picture()) / 1000:.0f} kB each)")
        with tempfile.TemporaryDirectory(dir=choice.folder) as folder:
            command = [sys.executable, __file__, "--child", url, "--rows", str(choice.rows), "--folder", folder]
            done = subprocess.run([*command, "--workers", str(choice.workers)], capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            told = json.loads(done.stdout)
        rate = choice.rows / told["seconds"]
        cores = len(os.sched_getaffinity(0))
        print(f"gather      {rate:8,.0f} galaxies/s ({choice.rows:,} rows in {told['seconds']:.0f} s,")
        print(f"            of which {told['store']:.0f} s for the store; {cores} cores)")
        print(f"gather / bare httpx = {rate / alone:.2f}")
        print(f"peak memory {told['peak']:.0f} MB, {told['peak'] - told['idle']:.0f} MB above the start")
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
