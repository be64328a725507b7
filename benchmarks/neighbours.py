"""The index of similar: recall@10 against exact search, and its time, memory and room beside those of exact search.

A few thousand real galaxies are grown to as many vectors as asked for: each is a real one, drawn at random, moved
towards three of its ten nearest (weights of a flat Dirichlet distribution over itself and them), plus noise: 0.8 times
the difference between two other galaxies that are neighbours, so that its size and directions are those of the real
data near any galaxy. What is below 0 becomes 0, as in a network that ends in a rectifier. Printed beside those of the
real ones: the local dimension (Levina & Bickel 2004, over ten neighbours), the distance to the tenth neighbour, and
the variance that the axes of the index carry. The queries are further vectors of this kind, not in the index. All
files are written below --place and taken from there the next time; a run that was killed is gone on with.

    tuningfork embed GALAXIES --model gz1 --out features.parquet
    python benchmarks/neighbours.py --features features.parquet --place DIR [--n 1000000] [--queries 1000]

Times are of the processor (all threads together), with those of the clock beside them: on a busy machine the clock's
say little. Of 1280 features, 10 million take about 20 GB in DIR, and 5 GB of memory while the index is made. The
claims: recall@10 of at least 0.95, and a search at least 10 times quicker than looking at every galaxy.
"""

import argparse
import math
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tuningfork import disk
from tuningfork.insight.embedding import Embedding, save_features
from tuningfork.insight.index import Index, encode, learn_axes, open_index, unit
from tuningfork.insight.neighbours import nearest

BLOCK, K, NOISE = 1024, 10, 0.8


def near(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The K nearest others of each row (n, K), by cosine, and their distances at length 1."""
    seen = unit(values)
    rows, apart = np.empty((len(seen), K), np.int64), np.empty((len(seen), K))
    for start in range(0, len(seen), BLOCK):
        cosine = seen[start : start + BLOCK] @ seen.T
        cosine[np.arange(len(cosine)), np.arange(start, start + len(cosine))] = -2
        best = np.argsort(-cosine, axis=1)[:, :K]
        rows[start : start + BLOCK] = best
        apart[start : start + BLOCK] = np.sqrt(np.maximum(2 - 2 * np.take_along_axis(cosine, best, 1), 1e-9))
    return rows, apart


def grown(real: np.ndarray, neighbours: np.ndarray, n: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of ``n`` vectors that have the local structure of ``real``; see the head of this file."""
    rng = np.random.default_rng(seed)
    for start in range(0, n, BLOCK):
        m = min(BLOCK, n - start)
        one, other = rng.integers(len(real), size=(2, m))
        weights = rng.dirichlet(np.ones(4), size=m).astype(np.float32)
        made = weights[:, :1] * real[one]
        for number in (1, 2, 3):
            made += weights[:, number : number + 1] * real[neighbours[one, rng.integers(K, size=m)]]
        made += np.float32(NOISE) * (real[other] - real[neighbours[other, rng.integers(K, size=m)]])
        yield np.maximum(made, 0)


def structure(name: str, values: np.ndarray, axes: np.ndarray) -> None:
    """One line: what the neighbourhoods of some vectors are like."""
    _, apart = near(values)
    dimension = 1 / np.log(apart[:, -1:] / apart[:, :-1]).mean()
    seen = unit(values)
    carried = (seen @ axes[:-1]).var(axis=0).sum() * (axes[:-1, 0] ** 2).sum() ** -1 / seen.var(axis=0).sum()
    print(
        f"{name:6} {len(values):,}: local dimension {dimension:.1f}, tenth neighbour at {np.median(apart[:, -1]):.3f}, "
        f"{100 * carried:.1f}% of the variance in {axes.shape[1]} axes", flush=True,
    )  # fmt: skip


class Watch:
    """Seconds of the processor and of the clock since it was made."""

    def __init__(self) -> None:
        self.cpu, self.clock = time.process_time(), time.perf_counter()

    def __call__(self) -> tuple[float, float]:
        return time.process_time() - self.cpu, time.perf_counter() - self.clock


def memory() -> str:
    """The peak of this process so far."""
    return f"peak memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB"


def told(what: str) -> Callable[[int, int, str], None]:
    """A progress that prints every tenth."""
    last = 0

    def progress(done: int, total: int, text: str) -> None:
        nonlocal last
        if 10 * done // total > last:
            last = 10 * done // total
            print(f"  {what} {done:,} of {total:,}: {text}; {memory()}", flush=True)

    return progress


def main() -> None:
    """Measure, and print one line per fact and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", nargs="+", required=True, help="files of embed, of real galaxies")
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    choice = parser.parse_args()
    real = np.concatenate([Embedding.open(path).values() for path in choice.features])
    neighbours, _ = near(real)
    path = choice.place / f"grown-{choice.n}.parquet"
    if not path.exists():
        watch = Watch()
        save_features(path, [f"g{k}" for k in range(choice.n)], grown(real, neighbours, choice.n, 0))
        cpu, clock = watch()
        print(f"features written in {cpu:.0f} s of the processor, {clock:.0f} s of the clock; {memory()}", flush=True)
    watch = Watch()
    embedding = Embedding.open(path)
    room, raw = path.stat().st_size, 2 * choice.n * embedding.n_features
    print(
        f"{len(embedding):,} x {embedding.n_features}: opened in {watch()[0]:.1f} s, {room / 1e6:,.0f} MB", flush=True
    )
    axes = learn_axes(embedding)
    structure("real", real, axes)
    structure("grown", head(embedding, len(real)), axes)
    asked = np.concatenate(list(grown(real, neighbours, choice.queries, 1)))

    watch = Watch()
    index, notes = open_index(embedding, choice.threads, told("index"))
    building, clock = watch()
    print(
        f"index: {building:.0f} s of the processor, {clock:.0f} s of the clock, {choice.n / building:,.0f} galaxies/s"
    )
    for note in notes:
        print(f"  {note}")
    print(f"index / features in float16: {index.graph.serialized_length / raw:.3f} of the room; {memory()}", flush=True)
    watch = Watch()
    found, _ = index.search(asked, K)
    together, clock = watch()
    print(
        f"search, all at once: {1e3 * together / len(asked):.2f} ms of the processor a query, "
        f"{len(asked) / clock:,.0f}/s"
    )
    watch = Watch()
    for one in asked[:50]:
        index.search(one[None], K)
    alone, clock = watch()[0] / 50, watch()[1]
    print(f"search, one at a time: {1e3 * alone:.1f} ms of the processor, {50 / clock:,.1f}/s")
    rows, exact, looking = truth(choice.place / f"exact-{choice.n}-{choice.queries}.npz", embedding, asked)
    print(f"recall@{K}: {held(rows, found)} (95%, {len(rows)} queries; claim: >= 0.95)", flush=True)
    candidates(index, rows, encode(asked, axes), choice.threads)
    print(
        f"exact search: {exact:.1f} s of the processor for one query, {1e3 * looking / len(asked):.1f} ms each of all"
    )
    print(f"exact / index, one query: {exact / alone:.0f} times as long (claim: >= 10)")
    print(f"exact / index, {len(asked)} at once: {looking / together:.1f} times as long")
    print(f"making the index takes as long as {building / exact:.0f} exact searches; {memory()}")


def truth(kept: Path, embedding: Embedding, asked: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The exact neighbours (Q, K), and the processor's seconds for the first query alone and for all.

    They take minutes of 10 million galaxies, and are kept beside these.
    """
    if kept.exists():
        print(f"exact search: as it was measured before, in '{kept}'")
        found = np.load(kept)
        return found["rows"], float(found["seconds"][0]), float(found["seconds"][1])
    watch = Watch()
    nearest(embedding, asked[:1], K, told("exact, one"))
    one = watch()[0]
    watch = Watch()
    rows, _ = nearest(embedding, asked, K, told("exact, all"))
    seconds = one, watch()[0]
    with disk.atomic(kept) as part, part.open("wb") as file:
        np.savez(file, rows=rows, seconds=seconds)
    return rows, *seconds


def held(rows: np.ndarray, found: np.ndarray) -> str:
    """What share of the neighbours (Q, K) is found, with its interval."""
    shared = np.array([len({*a.tolist()} & {*b.tolist()}) / K for a, b in zip(rows, found, strict=True)])
    return f"{shared.mean():.4f} +- {1.96 * shared.std(ddof=1) / math.sqrt(len(shared)):.4f}"


def candidates(index: Index, rows: np.ndarray, codes: np.ndarray, threads: int) -> None:
    """What share of the neighbours the graph gives as candidates, by how many it looks at and how many it gives."""
    usual = index.graph.expansion_search
    for looked in (usual // 8, usual // 4, usual // 2, usual):
        index.graph.expansion_search = looked
        watch = Watch()
        given = np.asarray(index.graph.search(codes, min(looked, 512), threads=threads).keys).astype(np.int64)
        seconds = watch()[0] / len(codes)
        shares = (
            f"{held(rows, given[:, :count])} of {count}" for count in (2 * K, 64, 128, 256, 512) if count <= looked
        )
        print(f"  among the graph's candidates, of {looked} looked at ({1e3 * seconds:.2f} ms): {'; '.join(shares)}")
    index.graph.expansion_search = usual


def head(embedding: Embedding, n: int) -> np.ndarray:
    """The first ``n`` rows."""
    return np.concatenate([block for _, block in embedding.some(np.arange(min(n, len(embedding))))])


if __name__ == "__main__":
    main()
