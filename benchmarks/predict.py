"""How near predict comes to its limit: its galaxies per second beside decode alone and network alone, in one run.

The limit of a machine that decodes and runs the network one after the other is 1 / (1/decode + 1/network). The claim:
predict, with everything that it does besides (reading, checking digests, writing votes), reaches at least half of it.

Memory: the same source is predicted once and four times over, each in a process of its own; the claim is that the peak
grows by less than a tenth.

    python benchmarks/predict.py SOURCE MODEL [--repeat 3]
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from os import sched_getaffinity
from pathlib import Path

import numpy as np

import tuningfork
from tuningfork import recipe
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.display import Display, render_record
from tuningfork.galaxy.source import Source
from tuningfork.model.card import Card, find_model
from tuningfork.predict.engine import open_engine


class Again(Source):
    """A source several times over, under new ids."""

    kind = "repeated source"

    def __init__(self, inner: Source, times: int) -> None:
        ids = [f"{turn}-{one}" for turn in range(times) for one in inner.ids]
        super().__init__(inner.path, ids, inner.digest, bands=inner.bands, pixel_scale=inner.pixel_scale)
        self.inner = inner

    def _read(self, row: int) -> Record:
        name = self.ids[row].partition("-")[2]
        return replace(self.inner.record(name), id=self.ids[row])

    def _where(self, row: int) -> str:
        return f"{self.path}, row {row}"


def peak_megabytes(source: str, model: str, times: int) -> float:
    """Peak resident memory of this process after predicting ``source`` ``times`` times over."""
    with tempfile.TemporaryDirectory() as place:
        tuningfork.predict(Again(tuningfork.open_source(source), times), model, Path(place) / "votes.parquet")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure, and print one line per part and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("model")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; the best of each part counts")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--engine", default="auto")
    choice = parser.parse_args()
    source = tuningfork.open_source(choice.source)
    folder = find_model(choice.model)
    display = recipe.from_mapping(Display, Card.load(folder).display)
    records = [one for one in islice(source.records(), 20_000) if isinstance(one, Record)]
    engine = open_engine(folder, choice.engine)
    cores = len(sched_getaffinity(0))

    def decode() -> np.ndarray:
        chunks = [records[start : start + choice.batch] for start in range(0, len(records), choice.batch)]
        with ThreadPoolExecutor(cores) as pool:
            done = pool.map(lambda chunk: np.stack([render_record(one, display) for one in chunk]), chunks)
            return np.concatenate(list(done))

    images = decode()

    def network() -> None:
        for start in range(0, len(images), choice.batch):
            engine.run(images[start : start + choice.batch])

    def whole() -> None:
        with tempfile.TemporaryDirectory() as place:
            ids = [one.id for one in records]
            tuningfork.predict(source, folder, Path(place) / "votes.parquet", ids=ids, engine=choice.engine)

    rates = {}
    for name, part in (("decode alone", decode), ("network alone", network), ("predict", whole)):
        seconds = []
        for _ in range(choice.repeat):
            began = time.perf_counter()
            part()
            seconds.append(time.perf_counter() - began)
        rates[name] = len(records) / min(seconds)
        print(f"{name:14} {rates[name]:10,.0f} galaxies/s")
    limit = 1 / (1 / rates["decode alone"] + 1 / rates["network alone"])
    print(f"{'limit':14} {limit:10,.0f} galaxies/s = 1 / (1/decode + 1/network)")
    once, often = (
        multiprocessing.get_context("spawn").Pool(1).apply(peak_megabytes, (choice.source, choice.model, times))
        for times in (1, 4)
    )
    print(f"predict / limit = {rates['predict'] / limit:.2f} (claim: >= 0.5; {engine.name}, {cores} cores)")
    n = len(source.ids)
    print(f"peak memory: {once:,.0f} MB for {n:,} galaxies, {often:,.0f} MB for {4 * n:,}")
    print(f"ratio {often / once:.2f} (claim: < 1.1)")


if __name__ == "__main__":
    main()
