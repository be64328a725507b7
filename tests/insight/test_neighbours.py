"""The index of similar: exact cosines, recall, what a kill leaves, memory and room; features by row and in blocks."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork import disk
from tuningfork.errors import BadCatalog
from tuningfork.galaxy.cutout import Rejected
from tuningfork.insight.embedding import ROW_GROUP, Embedding, save_features
from tuningfork.insight.index import cosines, encode, learn_axes, open_index, unit
from tuningfork.insight.neighbours import nearest, similar


def like_features(n: int, f: int, seed: int = 0) -> np.ndarray:
    """Vectors (n, f) float32 in 40 clumps of 12 hidden dimensions, through a rectified layer, with noise."""
    rng = np.random.default_rng(seed)
    layer = np.random.default_rng(99).normal(0, 1, (12, f))
    hidden = np.random.default_rng(98).normal(0, 1, (40, 12))[rng.integers(40, size=n)] + rng.normal(0, 0.5, (n, 12))
    return np.maximum(hidden @ layer + rng.normal(0, 0.3, (n, f)), 0).astype(np.float32)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Embedding:
    """5,000 galaxies with 300 features: more than the index keeps, in more than one row group."""
    path = tmp_path_factory.mktemp("many") / "f.parquet"
    values = like_features(5000, 300)
    save_features(path, [f"g{k}" for k in range(5000)], (values[k : k + 700] for k in range(0, 5000, 700)))
    return Embedding.open(path)


# features at rest


def test_blocks_write_the_file_that_the_array_does(many: Embedding, tmp_path: Path) -> None:
    values = like_features(5000, 300)
    save_features(tmp_path / "whole.parquet", many.ids, values)
    assert Embedding.open(tmp_path / "whole.parquet").content == many.content
    np.testing.assert_array_equal(many.values(), values.astype(np.float16).astype(np.float32))
    for ids, block in ((["a"], values[:2]), (["a", "b", "c"], values[:2]), (["a", "a"], values[:2])):
        with pytest.raises(BadCatalog, match="ids"):
            save_features(tmp_path / "x.parquet", ids, iter([block]))
    assert [one.name for one in tmp_path.iterdir()] == ["whole.parquet"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, 4999), max_size=40))
def test_rows_are_read_in_any_order_and_twice(many: Embedding, rows: list[int]) -> None:
    wanted = np.array(rows, np.int64)
    file = pq.ParquetFile(many.path)
    sizes = [file.metadata.row_group(one).num_rows for one in range(file.num_row_groups)]
    assert len(sizes) == 4 and max(sizes) < 2 * ROW_GROUP
    group_of = np.repeat(np.arange(len(sizes)), sizes)
    found = np.full((len(rows), many.n_features), np.nan, np.float32)
    groups = 0
    for places, block in many.some(wanted):
        assert np.isnan(found[places]).all() and len({*group_of[wanted[places]].tolist()}) == 1
        found[places], groups = block, groups + 1
    np.testing.assert_array_equal(found, many.values()[wanted])
    assert groups == len({*group_of[wanted].tolist()})  # each part once, no other


@pytest.mark.parametrize("n", [1, ROW_GROUP, 2 * ROW_GROUP])
def test_a_last_group_that_is_full_is_no_end_of_the_file(tmp_path: Path, n: int) -> None:
    values = like_features(n, 8)
    save_features(tmp_path / "f.parquet", [str(k) for k in range(n)], values, precision="float32")
    np.testing.assert_array_equal(Embedding.open(tmp_path / "f.parquet").values(), values)


def test_rows_are_counted_without_the_rejected(tmp_path: Path) -> None:
    from tuningfork.insight.embedding import _Writer
    from tuningfork.predict.predict import Batch

    values = like_features(3 * ROW_GROUP, 8)
    told = {"format": "tuningfork features 1"}
    bad = {k for k in range(3 * ROW_GROUP) if k % 7 == 0 or ROW_GROUP <= k < 2 * ROW_GROUP}  # one group has no good one
    with _Writer(tmp_path / "f.parquet", "float32", told) as writer:
        for start in range(0, 3 * ROW_GROUP, 128):
            these = range(start, start + 128)
            out = [Rejected(f"g{k}", "truncated", "", "") for k in these if k in bad]  # type: ignore[arg-type]
            kept = values[[k for k in these if k not in bad]]
            batch = Batch([f"g{k}" for k in these], [(None, None)] * 128, [], out)
            writer.write(batch, kept if len(kept) else None)
    one = Embedding.open(tmp_path / "f.parquet")
    good = [k for k in range(3 * ROW_GROUP) if k not in bad]
    assert one.ids == [f"g{k}" for k in good] and set(one.rejected) == {f"g{k}" for k in bad}
    rows = np.array([0, len(good) - 1, len(good) // 2, 5])
    for places, block in one.some(rows):
        np.testing.assert_array_equal(block, values[[good[k] for k in rows[places]]])


# exact search


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), k=st.integers(1, 30), n=st.integers(1, 60))
def test_exact_search_is_a_stable_sort_of_all_cosines(
    tmp_path_factory: pytest.TempPathFactory, seed: int, k: int, n: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-1, 2, (n, 3)).astype(np.float32)  # few directions: many cosines are equal, some rows zero
    path = tmp_path_factory.mktemp("ties") / "f.parquet"
    save_features(path, [str(one) for one in range(n)], values, precision="float32")
    one = Embedding.open(path)
    one.blocks = lambda: iter(np.array_split(values, max(n // 7, 1)))  # type: ignore[method-assign]
    queries = rng.integers(-1, 2, (4, 3)).astype(np.float32)
    rows, found = nearest(one, queries, k)
    every = np.concatenate([unit(queries) @ unit(part).T for part in one.blocks()], axis=1)
    order = np.argsort(-every, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_array_equal(found, np.take_along_axis(every, order, 1))


# the index


def test_codes_keep_distances(many: Embedding) -> None:
    axes = learn_axes(many)
    assert axes.shape == (301, 128) and axes.dtype == np.float32
    codes = encode(many.values(), axes).astype(np.float64)
    step = 1 / np.linalg.norm(axes[:-1, 0])
    one, other = np.random.default_rng(0).integers(5000, size=(2, 2000))
    seen = unit(many.values())
    exact = np.linalg.norm(seen[one] - seen[other], axis=1)
    coded = step * np.linalg.norm(codes[one] - codes[other], axis=1)
    # the axes turn and shorten: never longer but for the rounding, of up to half a step in each of two codes
    assert (coded <= exact + step * np.sqrt(128)).all()
    assert np.corrcoef(exact, coded)[0, 1] > 0.99
    narrow = encode(many.values()[:, :20], np.eye(21, 20, dtype=np.float32) * 1000)
    assert narrow.min() >= -127 and narrow.max() == 127  # cut, not wrapped round


def test_the_index_finds_what_the_exact_search_does_with_exact_cosines(many: Embedding) -> None:
    pytest.importorskip("usearch")
    for left in Path(many.path).parent.glob("f.*.*"):  # by another test
        left.unlink()
    index, notes = open_index(many, 1)
    assert len(index) == 5000 and "made the index of 5,000 galaxies" in notes[0]
    queries = like_features(200, 300, 1)
    rows, values = index.search(queries, 10)
    wanted, best = nearest(many, queries, 10)
    recall = np.mean([len({*a} & {*b}) / 10 for a, b in zip(rows.tolist(), wanted.tolist(), strict=True)])
    assert recall >= 0.95
    np.testing.assert_allclose(values, cosines(many, queries, rows), rtol=0, atol=0)
    np.testing.assert_allclose(values[:, 0], best[:, 0], atol=1e-5)  # of another order of summation
    assert (np.diff(values, axis=1) <= 0).all()
    for number in (0, 7):  # one query alone is answered as among many
        alone, its = index.search(queries[number : number + 1], 10)
        np.testing.assert_array_equal(alone[0], rows[number])
        np.testing.assert_allclose(its[0], values[number], atol=1e-6)
    assert open_index(many, 1)[1] == ()  # taken as it lies there
    size = sum(path.stat().st_size for path in Path(many.path).parent.glob("f.*.*"))
    assert size < 5000 * 310 + 301 * 128 * 4 + 10_000  # bytes: codes and links, and the axes


def test_the_index_needs_the_axes_that_it_was_made_with(many: Embedding) -> None:
    pytest.importorskip("usearch")
    open_index(many, 1)
    (axes,) = Path(many.path).parent.glob("*.axes.npy")
    axes.write_bytes(axes.read_bytes()[:-100])
    index, notes = open_index(many, 1)
    assert "made the index" in notes[0] and np.load(axes).shape == (301, 128)
    queries = many.values()[:20]
    assert index.search(queries, 1)[0][:, 0].tolist() == [*range(20)]


def test_cosines_of_none_are_minus_infinity(many: Embedding) -> None:
    rows = np.array([[3, -1, 4999], [-1, -1, 3]])
    queries = many.values()[[3, 10]]
    found = cosines(many, queries, rows)
    seen = unit(many.values())
    np.testing.assert_allclose(found[0, [0, 2]], [1, seen[3] @ seen[4999]], atol=1e-5)
    assert found[1, 2] == pytest.approx(seen[10] @ seen[3], abs=1e-5) and (found[rows < 0] == -np.inf).all()


KILLED = """
import os, signal, sys
from tuningfork.insight import index
from tuningfork.insight.embedding import Embedding
index.KEEP = -1.0  # written after every block
def progress(done, total, told):
    if done > 3000: os.kill(os.getpid(), signal.SIGKILL)
index.open_index(Embedding.open(sys.argv[1]), 1, progress)
"""


def test_a_killed_index_is_gone_on_with(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    values = like_features(5000, 40)
    save_features(tmp_path / "f.parquet", [f"g{k}" for k in range(5000)], values)
    one = Embedding.open(tmp_path / "f.parquet")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "f.parquet")])
    assert ended.returncode == -signal.SIGKILL
    told: list[int] = []
    index, notes = open_index(one, 1, lambda done, total, text: told.append(done))
    assert "had 2,048 of 5,000 galaxies and was gone on with" in notes[0] and "of 2,952 galaxies" in notes[1]
    assert told == [3072, 4096, 5000] and len(index) == 5000
    rows, _ = index.search(one.values()[::50], 1)
    assert rows[:, 0].tolist() == [*range(0, 5000, 50)]
    again, nothing = open_index(one, 1)
    assert len(again) == 5000 and nothing == ()


def test_an_index_that_cannot_be_written_answers_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    save_features(tmp_path / "f.parquet", [f"g{k}" for k in range(300)], like_features(300, 20))

    def full(name: str, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "step", full)
    found = similar(tmp_path / "f.parquet", "g7", k=5, method="index", threads=1)
    assert [one for one in found.notes if "in memory alone" in one] == list(found.notes) and len(found.notes) == 1
    assert found.ids == similar(tmp_path / "f.parquet", "g7", k=5, method="exact").ids
    assert [one.name for one in tmp_path.iterdir()] == ["f.parquet"]


def test_twins_and_zeros_are_found(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    values = like_features(400, 20)
    values[100:200], values[300] = values[0], 0
    save_features(tmp_path / "f.parquet", [f"g{k}" for k in range(400)], values)
    found = similar(tmp_path / "f.parquet", ["g0", "g300"], k=30, method="index", threads=1)
    assert {int(one[1:]) for one in found.ids[0]} <= {*range(100, 200)}
    np.testing.assert_allclose(found.similarity[0], 1, atol=1e-6)
    assert (found.similarity[1] == 0).all()


# a killed writer


def test_what_a_killed_writer_left_goes_with_the_next_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\nfrom tuningfork import disk\n"
        "with disk.atomic(sys.argv[1]) as part:\n"
        " part.write_text('half')\n print('there', flush=True)\n time.sleep(60)\n"
    )
    writers = []
    for name in ("f.parquet", "f.parquet", "other.parquet"):
        writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / name)], stdout=subprocess.PIPE)
        assert writer.stdout is not None and writer.stdout.readline() == b"there\n"
        writers.append(writer)
    try:
        assert len([*tmp_path.glob(".part-*")]) == 3
        for writer in (writers[0], writers[2]):
            writer.kill()
            writer.wait()
        save_features(tmp_path / "f.parquet", ["a"], np.ones((1, 4)))
        left = {int(one.name.split("-")[2]) for one in tmp_path.glob(".part-*")}
        # that of the living writer stays, and that of another file, which the next run of that will remove
        assert left == {writers[1].pid, writers[2].pid}
        disk.sweep_dead(tmp_path / "other.parquet")
        assert {int(one.name.split("-")[2]) for one in tmp_path.glob(".part-*")} == {writers[1].pid}
        assert Embedding.open(tmp_path / "f.parquet").ids == ["a"]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()


def test_this_process_never_takes_its_own_for_dead(tmp_path: Path) -> None:
    with disk.atomic(tmp_path / "a.txt") as part:
        part.write_text("mine")
        disk.sweep_dead(tmp_path / "a.txt")
        assert part.exists()
    assert (tmp_path / "a.txt").read_text() == "mine"
