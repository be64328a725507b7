"""The index of similar: recall@10 against exact search, and its time and memory beside those of exact search.

The vectors are drawn to be like features of a network: a few hundred clumps in 24 hidden dimensions, seen through a
random rectified layer, with noise. (Vectors without such structure have no neighbours worth the name in many
dimensions, and no index finds them.) With --features a file of embed is repeated with noise instead. The claims:
recall@10 of at least 0.95, and a search at least 10 times quicker than looking at every vector.

    python benchmarks/neighbours.py [--vectors 1000000 | --ten-million] [--dimensions 256] [--features FILE]
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tuningfork.insight.embedding import Embedding
from tuningfork.insight.neighbours import make_index, unit

BLOCK = 20_000
K = 10


def drawn(n: int, dimensions: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Blocks of vectors like features, float32 (at most BLOCK, dimensions)."""
    rng = np.random.default_rng(seed)
    centres, layer = rng.normal(0, 1, (300, 24)), rng.normal(0, 1, (24, dimensions)) / np.sqrt(24)
    for start in range(0, n, BLOCK):
        m = min(BLOCK, n - start)
        hidden = centres[rng.integers(len(centres), size=m)] + rng.normal(0, 0.5, (m, 24))
        yield np.maximum(hidden @ layer + rng.normal(0, 0.1, (m, dimensions)), 0).astype(np.float32)


def repeated(path: str, n: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Blocks of the features in a file, each with noise of a fifth of its deviations, until there are ``n``."""
    rng = np.random.default_rng(seed)
    values = Embedding.open(path).values()
    deviation = values.std(axis=0)
    for start in range(0, n, BLOCK):
        some = values[rng.integers(len(values), size=min(BLOCK, n - start))]
        yield (some + rng.normal(0, 0.2, some.shape) * deviation).astype(np.float32)


def main() -> None:
    """Measure, and print one line per fact and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--ten-million", action="store_true")
    parser.add_argument("--dimensions", type=int, default=256, help="the memory of 10 million is 512 bytes x this")
    parser.add_argument("--features", default="")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--threads", type=int, default=0)
    choice = parser.parse_args()
    n = 10_000_000 if choice.ten_million else choice.vectors

    def blocks(seed: int = 0) -> Iterator[np.ndarray]:
        return repeated(choice.features, n, seed) if choice.features else drawn(n, choice.dimensions, seed)

    asked = next(blocks())[: choice.queries]  # the first vectors: a query finds itself and nine others
    wanted = unit(asked)
    index, building, looking, start = None, 0.0, 0.0, 0
    best = np.zeros((len(asked), 0), np.float32)
    rows = np.zeros((len(asked), 0), np.int64)
    for block in blocks():
        index = index if index is not None else make_index(block.shape[1])
        began = time.perf_counter()
        index.add(np.arange(start, start + len(block), dtype=np.uint64), block, threads=choice.threads)
        building += time.perf_counter() - began
        began = time.perf_counter()
        best = np.concatenate([best, wanted @ unit(block).T], axis=1)
        rows = np.concatenate([rows, np.tile(np.arange(start, start + len(block)), (len(asked), 1))], axis=1)
        top = np.argpartition(-best, K - 1, axis=1)[:, :K]
        best, rows = np.take_along_axis(best, top, 1), np.take_along_axis(rows, top, 1)
        looking += time.perf_counter() - began
        start += len(block)
    assert index is not None
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "index.usearch"
        index.save(str(path))
        size = path.stat().st_size
    began = time.perf_counter()
    found = index.search(asked, K, threads=choice.threads)
    searching = time.perf_counter() - began
    recall = np.mean(
        [len({*a.tolist()} & {*b.tolist()}) / K for a, b in zip(rows, np.asarray(found.keys), strict=True)]
    )
    f = index.ndim
    print(f"{n:,} vectors of {f}; {len(asked)} queries; {index.hardware_acceleration}")
    print(f"recall@{K} against exact search: {recall:.3f} (claim: >= 0.95)")
    print(f"search: {1e3 * searching / len(asked):.2f} ms a query; exact {1e3 * looking / len(asked):.2f} ms")
    print(f"exact / index: {looking / searching:.1f} times as long (claim: >= 10)")
    print(
        f"building: {building:.0f} s, {n / building:,.0f} vectors/s, as long as "
        f"{building / looking * len(asked):,.0f} exact queries"
    )
    print(f"index file / float16 vectors: {size / (2 * n * f):.2f}; in memory / file: {index.memory_usage / size:.2f}")
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
