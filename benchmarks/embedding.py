"""How near embed comes to the bare network: galaxies per second of both, and of decoding alone, in one run.

The limit of a machine that decodes and runs the network one after the other is 1 / (1/decode + 1/network). The claim:
embed, with everything that it does besides (reading, checking digests, writing features), reaches at least half of it.

With --memory, instead: the peak memory of embed of few and of many galaxies (the source's, repeated under other ids),
each in a process of its own. The claim: no galaxy is lost, and ten times as many take less than a tenth more memory.

    python benchmarks/embedding.py SOURCE MODEL [--galaxies 2000] [--repeat 3] [--memory 2000 20000]
"""

import argparse
import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from os import sched_getaffinity
from pathlib import Path

import numpy as np

import tuningfork
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.display import render_record
from tuningfork.galaxy.records import Source
from tuningfork.insight.embedding import Embedding, embed, open_seer


class Repeated(Source):
    """The galaxies of a source over and over, under ids of their own, until there are ``n``."""

    def __init__(self, source: Source, n: int) -> None:
        super().__init__(source.path, [f"{k}" for k in range(n)], source.digest, bands=source.bands)
        self.source = source

    def _read(self, row: int) -> Record:
        record = self.source.record(self.source.ids[row % len(self.source)])
        return dataclasses.replace(record, id=self.ids[row])

    def _where(self, row: int) -> str:
        return self.source.path


def peak(choice: argparse.Namespace) -> None:
    """Embed ``choice.child`` galaxies and print the peak memory of this process, in MB, and the rate."""
    source = Repeated(tuningfork.open_source(choice.source), choice.child)
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "features.parquet"
        done = embed(source, choice.model, out, engine=choice.engine, threads=choice.threads, batch=choice.batch)
        opened = Embedding.open(out)
    assert {*opened.ids, *opened.rejected} == {*source.ids}
    assert done.n_in == len(opened) + len(opened.rejected) == choice.child
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} {done.n_in / done.seconds:.1f}")


def memory(choice: argparse.Namespace) -> None:
    """The peak memory at each number of galaxies, and the ratio of the last to the first."""
    found = []
    for n in choice.memory:
        ended = subprocess.run(
            [sys.executable, *sys.argv, "--child", str(n)], check=True, text=True, stdout=subprocess.PIPE
        )
        megabytes, rate = map(float, ended.stdout.split()[-2:])
        found.append(megabytes)
        print(f"{n:8,} galaxies: {megabytes:,.0f} MB at the peak, {rate:,.0f} galaxies/s, none lost", flush=True)
    print(f"memory of {choice.memory[-1]:,} / of {choice.memory[0]:,}: {found[-1] / found[0]:.3f} (claim: < 1.1)")


def main() -> None:
    """Measure, and print one line per part and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("model")
    parser.add_argument("--galaxies", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=3, help="rounds; the best of each part counts")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--memory", type=int, nargs="+", default=[], help="numbers of galaxies")
    parser.add_argument("--child", type=int, default=0, help=argparse.SUPPRESS)
    choice = parser.parse_args()
    if choice.child or choice.memory:
        return peak(choice) if choice.child else memory(choice)
    source = tuningfork.open_source(choice.source)
    seer = open_seer(choice.model, engine=choice.engine, threads=choice.threads)
    some = islice(source.records(), choice.galaxies)
    records = [one for one in some if isinstance(one, Record)]
    cores = choice.threads or len(sched_getaffinity(0))
    starts = range(0, len(records), choice.batch)

    def decode() -> list[np.ndarray]:
        chunks = [records[start : start + choice.batch] for start in starts]
        with ThreadPoolExecutor(cores) as pool:
            made = pool.map(lambda chunk: np.stack([render_record(one, seer.display) for one in chunk]), chunks)
            return list(made)

    images = decode()

    def network() -> None:
        for some in images:
            seer.graph(some)

    def whole() -> None:
        with tempfile.TemporaryDirectory() as place:
            embed(
                source, choice.model, Path(place) / "features.parquet", ids=[one.id for one in records],
                engine=choice.engine, threads=choice.threads, batch=choice.batch,
            )  # fmt: skip

    rates = {}
    for name, part in (("decode alone", decode), ("network alone", network), ("embed", whole)):
        seconds = []
        for _ in range(choice.repeat):
            began = time.perf_counter()
            part()
            seconds.append(time.perf_counter() - began)
        rates[name] = len(records) / min(seconds)
        print(f"{name:14} {rates[name]:10,.0f} galaxies/s")
    limit = 1 / (1 / rates["decode alone"] + 1 / rates["network alone"])
    print(f"{'limit':14} {limit:10,.0f} galaxies/s = 1 / (1/decode + 1/network)")
    print(f"embed / limit = {rates['embed'] / limit:.2f} (claim: >= 0.5; {seer.engine}, {cores} cores)")
    print(f"embed / network alone = {rates['embed'] / rates['network alone']:.2f}")


if __name__ == "__main__":
    main()
