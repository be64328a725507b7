"""The cost of an atlas, beside that of reading its pictures once, and how well its grid keeps neighbours.

Galaxies are drawn (simulated discs of 256 px in a store), or given with --features, a file of embed whose pictures are
where it says. The ratios, of CPU seconds, all of one run: each step against reading and decoding every picture once;
the grid against an exact assignment of the whole map, on a sample of a thousand, since that grows as the cube; and the
share of a galaxy's neighbours on the grid that are among its 20 nearest by the features, against chance and against the
map before it was laid on the grid.

    python benchmarks/atlas.py [--galaxies 10000] [--features FILE] [--methods tsne,umap,pca] [--threads 2]
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.store import StoreWriter
from tuningfork.insight.anomalies import components
from tuningfork.insight.atlas import COMPONENTS, Atlas, atlas, projected
from tuningfork.insight.atlaspage import write_page
from tuningfork.insight.embedding import Embedding, save_features
from tuningfork.insight.gridplaces import grid_places, grid_shape, halved, kept_neighbours

SIDE = 256  # px


def drawn(n: int, folder: Path) -> Path:
    """Features of ``n`` simulated discs whose size, flattening, angle and colour are what the features tell."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    told = rng.uniform(0, 1, (n, 4))
    with StoreWriter(folder / "store") as writer:
        for k, (size, flat, angle, red) in enumerate(told):
            turn = np.pi * angle
            along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
            light = np.exp(-np.hypot(along, across * (1 + 4 * flat)) / (8 + 24 * size))
            picture = 200 * light[..., None] * [0.6 + 0.4 * red, 0.8, 1 - 0.4 * red] + rng.integers(
                5, 15, (SIDE, SIDE, 1)
            )
            writer.add(Record.from_picture(f"g{k}", picture.clip(0, 255).astype(np.uint8)))
    layer = rng.normal(0, 1, (6, 256))
    hidden = np.column_stack([told, np.cos(2 * np.pi * told[:, 2]), np.sin(2 * np.pi * told[:, 2])])
    values = np.maximum((hidden - 0.5) @ layer, 0) + rng.normal(0, 0.1, (n, 256))
    save_features(folder / "f.parquet", [f"g{k}" for k in range(n)], values, source=folder / "store")
    return folder / "f.parquet"


def timed(work: object) -> tuple[object, float]:
    """What ``work()`` gives, and its seconds of CPU, of all threads: those do not depend on what else runs."""
    began = time.process_time()
    made = work()  # type: ignore[operator]
    return made, time.process_time() - began


def against_exact(x: np.ndarray, positions: np.ndarray, n: int = 1024) -> None:
    """The grid of some galaxies beside that of an exact assignment of the whole map."""
    some = np.sort(np.random.default_rng(0).permutation(len(x))[:n])
    x, positions = x[some], positions[some]
    rows, columns = grid_shape(len(x))
    cells = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1).reshape(-1, 2)
    along = np.stack([-positions[:, 1], positions[:, 0]], axis=1)
    along = (along - along.min(axis=0)) / np.ptp(along, axis=0) * (rows - 1, columns - 1)
    cost = ((along[:, None] - cells[None]) ** 2).sum(axis=2)
    (_, chosen), exact = timed(lambda: linear_sum_assignment(cost))
    ours, seconds = timed(lambda: grid_places(positions, x))
    shares = [
        kept_neighbours(x, places, positions).share
        for places in (ours, cells[chosen], halved(positions, rows, columns))
    ]
    print(f"  of {len(x):,}: the exact assignment takes {exact / seconds:.1f} times as long as the grid", flush=True)
    print("  neighbours kept: {:.1%}; by the exact assignment {:.1%}, by halving alone {:.1%}".format(*shares))


def main() -> None:
    """Measure, and print one line per fact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, default=10_000)
    parser.add_argument("--features", default="")
    parser.add_argument("--methods", default="tsne,umap,pca")
    parser.add_argument("--cell", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    choice = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        path = Path(choice.features) if choice.features else drawn(choice.galaxies, Path(place))
        made = atlas(path, method="pca", n=choice.galaxies)
        source = made.source()
        _, reading = timed(lambda: sum(record.cutout().pixels.size for record in source.records(made.ids)))
        print(f"{len(made.ids):,} galaxies; reading their pictures once: {reading:.1f} s of CPU", flush=True)
        embedding = Embedding.open(path)
        values = embedding.values()[embedding.rows_of(list(made.ids))]
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        x = components(values, np.arange(len(values)), 0, COMPONENTS)
        for method in choice.methods.split(","):
            if method == "umap":
                projected(x[:200], method)  # its library compiles itself first
            positions, mapping = timed(lambda method=method: projected(x, method))
            places, laying = timed(lambda positions=positions: grid_places(positions, x))
            kept = kept_neighbours(x, places, positions)
            print(f"{method}: map / reading {mapping / reading:.2f}, grid / reading {laying / reading:.3f}", flush=True)
            print(
                f"  neighbours kept: {kept.share:.1%} on the grid, {kept.projected:.1%} on the map, {kept.chance:.2%} "
                f"by chance: {kept.share / kept.chance:.0f} times"
            )
            against_exact(x, positions)
        out = Path(place) / "page" / "atlas.html"
        assert isinstance(made, Atlas)
        done, writing = timed(lambda: write_page(made, out, cell=choice.cell, threads=choice.threads))
        size = sum(one.stat().st_size for one in out.parent.rglob("*") if one.is_file())
        print(f"page with {done.tiles} tiles: {writing / reading:.2f} times reading, {size / 1e6:.0f} MB")
        print(f"  image in memory: {3e-6 * done.size[0] * done.size[1]:.0f} MB")
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
