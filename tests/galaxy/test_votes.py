"""Predictions keep their schema, their numbers and their provenance, through every format and through errors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tuningfork.errors import BadVotes, DiskError, Reason
from tuningfork.galaxy.cutout import Rejected
from tuningfork.galaxy.tree import TREES, Tree
from tuningfork.galaxy.votelayout import Layout, column_names, interval_fields
from tuningfork.galaxy.votes import ROW_GROUP, Votes, VotesWriter, column_name, dirichlet_columns

FORMATS = [".fits", ".vot", ".ecsv", ".csv", ".parquet"]
MODEL = {"model": {"name": "m & 'n'", "digest": "ab" * 32}, "input_digest": "cd" * 32, "views": 4}
GZ2 = Tree.load("gz2")


def outputs(head: str, n: int, seed: int = 0) -> tuple[tuple[str, ...], Tree | None, np.ndarray]:
    """Names, tree and n rows of plausible outputs of each kind of head."""
    rng = np.random.default_rng(seed)
    if head == "classes":
        names = ("elliptical", "edge-on", "3 arms", "é")
        return names, None, rng.dirichlet(np.ones(len(names)), n).astype(np.float32)
    if head == "attributes":
        tree = Tree.load("efigi")
        return tree.columns, tree, rng.uniform(0, 1, (n, tree.n_answers)).astype(np.float32)
    alpha = rng.uniform(1, 101, (n, GZ2.n_answers)).astype(np.float32)
    if head == "dirichlet":
        return GZ2.columns, GZ2, alpha
    return GZ2.columns, GZ2, dirichlet_columns(alpha, GZ2)["fraction"].astype(np.float32)


HEADS = ["classes", "dirichlet", "fractions", "attributes"]


def kind(head: str) -> str:
    return "fractions" if head == "attributes" else head


def written(path: Path, head: str, metadata: dict[str, Any] | None = None) -> tuple[Votes, np.ndarray]:
    """Six galaxies, two of them rejected (one in its place, one at the end), as a file and in memory."""
    names, tree, values = outputs(head, 4)
    with VotesWriter(path, kind(head), names, tree, metadata or MODEL) as writer:
        writer.write(["588848901532418163", "b", "007"], [1.25, None, 359.5], [-1.25, None, 1 / 3], values[:2],
                     [Rejected("b", Reason.TRUNCATED, "cut"), Rejected("z", Reason.EMPTY)])  # fmt: skip
        writer.write(["d", "e"], None, None, values[2:])
    return Votes.read(path), values


# the file


@pytest.mark.parametrize("head", HEADS)
def test_what_is_written_is_read(head: str, tmp_path: Path) -> None:
    votes, values = written(tmp_path / "v.parquet", head)
    assert votes.ids == ["588848901532418163", "b", "007", "z", "d", "e"]
    assert votes.done.tolist() == [True, False, True, False, True, True]
    assert (votes.n_in, votes.n_done, votes.n_rejected) == (6, 4, 2)
    assert votes.reasons() == {"truncated": 1, "empty": 1}
    assert votes.table["reason"].to_pylist() == [None, "truncated", None, "empty", None, None]
    np.testing.assert_array_equal(votes.values[votes.done], values)
    assert np.isnan(votes.values[~votes.done]).all()
    np.testing.assert_array_equal(votes.ra, [1.25, np.nan, 359.5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(votes.dec[:3], [-1.25, np.nan, 1 / 3])
    names, tree, _ = outputs(head, 1)
    assert (votes.head, votes.names, votes.tree) == (kind(head), names, tree)
    assert {key: votes.metadata[key] for key in MODEL} == MODEL
    assert votes.metadata["version"] and votes.metadata["tree"] == (tree.name if tree else "")
    assert votes.catalog().ids == votes.ids


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_exports_lose_nothing(head: str, suffix: str, tmp_path: Path) -> None:
    """The table, its types and its metadata come back from every format; a CSV has no place for the metadata."""
    votes, _ = written(tmp_path / "v.parquet", head)
    votes.export(tmp_path / f"e{suffix}")
    back = Votes.read(tmp_path / f"e{suffix}")
    assert back.table.schema.equals(votes.table.schema)  # names and types
    assert (back.head, back.layout.value_columns, back.tree) == (votes.head, votes.layout.value_columns, votes.tree)
    np.testing.assert_array_equal(back.values, votes.values)
    if suffix != ".csv":  # a class that a CSV's column "class" does not spell is named as its column
        assert back.names == votes.names
    if suffix == ".csv":  # intervals and reach are computed anew, from float32: they may differ in the last bit
        for name in votes.table.column_names:
            if pa.types.is_floating(votes.table.schema.field(name).type):
                np.testing.assert_allclose(back.table[name].to_numpy(), votes.table[name].to_numpy(), rtol=2e-7)
            else:
                assert back.table[name] == votes.table[name], name
    else:
        assert back.table.equals(votes.table)
        assert back.metadata == votes.metadata


def test_astropy_opens_the_exports(tmp_path: Path) -> None:
    votes, values = written(tmp_path / "v.parquet", "classes")
    for suffix, form in ((".fits", "fits"), (".vot", "votable"), (".ecsv", "ascii.ecsv"), (".csv", "ascii.csv")):
        votes.export(tmp_path / f"e{suffix}")
        table = Table.read(tmp_path / f"e{suffix}", format=form)
        assert table.colnames == votes.table.column_names
        np.testing.assert_array_equal(np.ma.filled(table["p_edge_on"], np.nan)[votes.done].astype("f4"), values[:, 1])
        assert [str(one) for one in table["id"]] == votes.ids
        if suffix != ".csv":
            assert table["ra"].unit == "deg"
    header = fits.getheader(tmp_path / "e.fits", 1)
    assert json.loads(header["TFORKMET"]) == votes.metadata
    with fits.open(tmp_path / "e.fits") as file:
        assert np.isnan(file[1].data["entropy"]).tolist() == (~votes.done).tolist()
        assert file[1].data["reason"].tolist() == ["", "truncated", "", "empty", "", ""]
        assert file[1].columns["entropy"].format == "E"


@pytest.mark.parametrize("name", TREES)
def test_names_are_fit_for_fits_and_topcat(name: str) -> None:
    tree = Tree.load(name)
    heads = ["fractions"] if tree.kind == "attributes" else ["fractions", "dirichlet"]
    for head in heads:
        names = Layout(head, tree.columns, tree).schema.names
        assert all(one.isidentifier() and one.isascii() and len(one) <= 68 for one in names)
        assert len({one.lower() for one in names}) == len(names)
        assert names[:5] == ["id", "ra", "dec", "status", "reason"]


def test_columns_of_a_vote_head(tmp_path: Path) -> None:
    votes, _ = written(tmp_path / "v.parquet", "dirichlet")
    assert votes.table.num_columns == 5 + 11 + 4 * 37
    first = "t01_smooth_or_features"
    assert votes.table.column_names[5:10] == [f"{first}_reached"] + [
        f"{first}_a01_smooth_{what}" for what in ("fraction", "low", "high", "concentration")
    ]
    for part in GZ2.slices.values():
        np.testing.assert_allclose(votes.fractions[votes.done][:, part].sum(axis=1), 1, atol=1e-6)  # float32
    reached = votes.table[f"{first}_reached"].to_pylist()
    assert reached == [1, None, 1, None, 1, 1]


def test_class_and_entropy(tmp_path: Path) -> None:
    with VotesWriter(tmp_path / "v.parquet", "classes", ["edge-on", "merger"], None, {}) as writer:
        writer.write(["a", "b", "c"], None, None, np.array([[0.5, 0.5], [0, 1], [0.25, 0.75]]))
    table = Votes.read(tmp_path / "v.parquet").table
    assert table["class"].to_pylist() == ["edge-on", "merger", "merger"]
    # -sum p ln p by hand: ln 2; 0; ln 4 - 0.75 ln 3; float32 keeps 7 digits
    np.testing.assert_allclose(table["entropy"].to_numpy(), [np.log(2), 0, np.log(4) - 0.75 * np.log(3)], rtol=2e-7)


def test_a_class_that_is_dear_to_miss_is_given_sooner(tmp_path: Path) -> None:
    """Costs 1, 1 and 12: .08 of the third beats .90 of the first (.96 against .90), .07 does not (.84)."""
    values = np.array([[0.90, 0.02, 0.08], [0.92, 0.01, 0.07], [0.1, 0.8, 0.1]], np.float32)
    costs = (1.0, 1.0, 12.0)
    with VotesWriter(tmp_path / "v.parquet", "classes", ("a", "b", "c"), None, {}, costs=costs) as writer:
        writer.write(["x", "y", "z"], None, None, values)
    votes = Votes.read(tmp_path / "v.parquet")
    assert votes.table.column("class").to_pylist() == ["c", "a", "c"] and votes.layout.costs == costs
    np.testing.assert_array_equal(votes.values, values)  # probabilities stay
    assert "c 12" in votes.table.schema.field("class").metadata[b"description"].decode()
    free, same = (Layout("classes", ("a", "b", "c"), None, one) for one in ((), (3.0, 3.0, 3.0)))
    assert free.chosen(values).tolist() == same.chosen(values).tolist() == values.argmax(1).tolist()
    assert len(free.chosen(values[:0])) == 0
    for wrong in ((1.0, 2.0), (1.0, 1.0, 0.0), (1.0, 1.0, float("inf"))):
        with pytest.raises(BadVotes, match="costs are of classes"):
            Layout("classes", ("a", "b", "c"), None, wrong)
    with pytest.raises(BadVotes, match="costs are of classes"):
        Layout("sigmoid", ("a", "b"), None, (1.0, 2.0))


def test_memory_is_constant_rows_go_out_in_groups(tmp_path: Path) -> None:
    n, values = ROW_GROUP + 700, np.tile(np.float32([[0.25, 0.75]]), (64, 1))
    with VotesWriter(tmp_path / "v.parquet", "classes", ["a", "b"], None, {"n_in": n // 64 * 64}) as writer:
        for start in range(0, n - 63, 64):
            writer.write([str(one) for one in range(start, start + 64)], None, None, values)
            assert writer._n_waiting < ROW_GROUP
    assert pq.ParquetFile(tmp_path / "v.parquet").num_row_groups == 2
    assert Votes.read(tmp_path / "v.parquet").ids == [str(one) for one in range(n // 64 * 64)]


def test_nothing_to_write_is_a_table_without_rows(tmp_path: Path) -> None:
    with VotesWriter(tmp_path / "v.parquet", "classes", ["a", "b"], None, {}):
        pass
    votes = Votes.read(tmp_path / "v.parquet")
    assert (votes.n_in, votes.values.shape) == (0, (0, 2))


def test_all_rejected(tmp_path: Path) -> None:
    with VotesWriter(tmp_path / "v.parquet", "dirichlet", GZ2.columns, GZ2, {}) as writer:
        writer.write(["a"], [1.0], [2.0], None, [Rejected("a", Reason.NO_SIGNAL)])
        writer.write([], None, None, None, [Rejected("b", Reason.MISSING)])
    votes = Votes.read(tmp_path / "v.parquet")
    assert (votes.n_done, votes.n_rejected, votes.ra[0]) == (0, 2, 1.0)


def test_an_error_leaves_no_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    with pytest.raises(KeyboardInterrupt), VotesWriter(path, "classes", ["a", "b"], None, {}) as writer:
        writer.write(["x"], None, None, np.array([[0.5, 0.5]]))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    written(path, "classes")
    before = path.read_bytes()
    with (
        pytest.raises(BadVotes, match="was to have 2 rows, but 1 came"),
        VotesWriter(path, "classes", ["a", "b"], None, {"n_in": 2}) as writer,
    ):
        writer.write(["x"], None, None, np.array([[0.5, 0.5]]))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DiskError, match="cannot write"),
        VotesWriter(tmp_path / "file" / "v.parquet", "classes", ["a", "b"], None, {}),
    ):
        pass


# what may not be written


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.5, 0.6], r"do not sum to 1:\n  row 2 \(id bad\): \[0.5, 0.6\]"),
        ([-0.1, 1.1], r"outside \[0, 1\]"),
        ([np.nan, 1], "NaN or infinity .*not_finite"),
        ([1.0], "predictions of shape"),
    ],
)
def test_impossible_probabilities_name_the_galaxy(row: list[float], message: str, tmp_path: Path) -> None:
    good = [0.5, 0.5]
    values = np.array([good, row]) if len(row) == 2 else np.array([[1.0], row])
    with (
        pytest.raises(BadVotes, match=message),
        VotesWriter(tmp_path / "v.parquet", "classes", ["a", "b"], None, {}) as writer,
    ):
        writer.write(["good", "bad"], None, None, values)
    assert list(tmp_path.iterdir()) == []


def test_rows_and_ids_must_fit(tmp_path: Path) -> None:
    one = np.array([[0.5, 0.5]])
    with VotesWriter(tmp_path / "v.parquet", "classes", ["a", "b"], None, {}) as writer:
        with pytest.raises(BadVotes, match="for 2 galaxies"):
            writer.write(["x", "y"], None, None, one)
        with pytest.raises(BadVotes, match=r"twice in one call, such as \['x'\]"):
            writer.write(["x", "x"], None, None, np.vstack([one, one]))
        with pytest.raises(BadVotes, match="1 positions for 2 ids"):
            writer.write(["x", "y"], [1.0], [1.0, 2.0], np.vstack([one, one]))
        assert writer.n_in == 0
        writer.write(["x"], None, None, one)
    assert Votes.read(tmp_path / "v.parquet").ids == ["x"]


def test_heads_names_trees_and_metadata_that_do_not_go_together(tmp_path: Path) -> None:
    def make(head: str, names: Any, tree: Tree | None, metadata: Any = None) -> VotesWriter:
        return VotesWriter(tmp_path / "v.parquet", head, names, tree, metadata or {})

    with pytest.raises(BadVotes, match="no head 'softmax'"):
        make("softmax", ["a"], None)
    with pytest.raises(BadVotes, match="needs the tree"):
        make("dirichlet", ["a"], None)
    with pytest.raises(BadVotes, match=r"not the columns of the tree 'gz2'.* 't01_smooth_or_features_a01_smooth'"):
        make("dirichlet", tuple(reversed(GZ2.columns)), GZ2)
    with pytest.raises(BadVotes, match=r"'p_a-b' and 'p_A b' would both be the column"):
        make("classes", ["a-b", "A b"], None)
    with pytest.raises(BadVotes, match="needs the names"):
        make("classes", [], None)
    with pytest.raises(BadVotes, match="has no tree"):
        make("classes", GZ2.columns, GZ2)
    with pytest.raises(BadVotes, match="must be JSON"):
        make("classes", ["a", "b"], None, {"loss": float("nan")})
    with pytest.raises(BadVotes, match="'head' is kept for 'classes'"):
        make("classes", ["a", "b"], None, {"head": "other"})


# what may not be read


def tampered(path: Path, head: str, change: Any) -> None:
    """The file with its columns, as a dict of lists, changed."""
    table = pq.read_table(path)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    change(columns)
    fields = [field for field in table.schema if field.name in columns]
    arrays = [pa.array(columns[field.name], field.type) for field in fields]
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields, table.schema.metadata)), path)


def put(name: str, row: int, value: Any) -> Any:
    return lambda columns: columns[name].__setitem__(row, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("id", 1, "d"), r"ids on several rows, such as \['d'\]"),
        (put("id", 1, None), "no id in row 2"),
        (put("status", 0, "maybe"), r"row 1 \(id 588848901532418163\): status 'maybe'"),
        (put("reason", 1, "tired"), "reason 'tired'"),
        (put("reason", 1, None), "status 'rejected' with reason None"),
        (put("reason", 0, "empty"), "status 'done' with reason 'empty'"),
        (put("p_edge_on", 0, None), "is done but has no value in column 'p_edge_on'"),
        (put("entropy", 4, None), "is done but has no value in column 'entropy'"),
        (put("p_edge_on", 1, 0.5), r"row 2 \(id b\) is rejected but has a value"),
        (put("p_edge_on", 0, 2.0), r"outside \[0, 1\]"),
        (lambda columns: columns.update({f"p_{n}": [None if v is None else v / 2 for v in columns[f"p_{n}"]]
                                         for n in ("elliptical", "edge_on", "3_arms", "e")}), "do not sum to 1"),
        (lambda columns: columns.pop("entropy"), "no column 'entropy'"),
        (lambda columns: [column.pop() for column in columns.values()], "has 5 rows, but .* 6 galaxies came in"),
    ],
)  # fmt: skip
def test_a_table_that_breaks_the_schema_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    written(path, "classes", {"n_in": 6})
    tampered(path, "classes", change)
    with pytest.raises(BadVotes, match=message):
        Votes.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "tuningfork votes 9"}, "its format is 'tuningfork votes 9'"),
        ({"head": None}, "no head"),
        ({"names": 5}, "is damaged"),
        ({"tree_toml": "what = ["}, "is damaged"),
        ({"tree_digest": "0" * 64}, "not the one that its digest"),
    ],
)
def test_damaged_metadata_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    votes, _ = written(path, "dirichlet")
    table = votes.table.replace_schema_metadata({"tuningfork": json.dumps({**votes.metadata, **change})})
    pq.write_table(table, path)
    with pytest.raises(BadVotes, match=message):
        Votes.read(path)


def test_columns_of_the_astronomers_own_stay(tmp_path: Path) -> None:
    votes, _ = written(tmp_path / "v.parquet", "classes")
    pq.write_table(votes.table.append_column("note", pa.array(list("abcdef"))), tmp_path / "w.parquet")
    more = Votes.read(tmp_path / "w.parquet")
    assert more.table["note"].to_pylist() == list("abcdef")
    assert more.head == "classes" and more.metadata == votes.metadata


# another program's tables


def rival(tmp_path: Path, text: str, **named: Any) -> Votes:
    (tmp_path / "rival.csv").write_text(text)
    return Votes.read(tmp_path / "rival.csv", **named)


def test_probabilities_of_a_rival(tmp_path: Path) -> None:
    votes = rival(tmp_path, "objid,p_spiral,p_edge_on\n588848901532418163,0.25,0.75\n2,,\n3,0.501,0.501\n")
    assert (votes.head, votes.names, votes.tree) == ("classes", ("spiral", "edge_on"), None)
    assert votes.ids == ["588848901532418163", "2", "3"]
    assert votes.reasons() == {"missing": 1}
    np.testing.assert_array_equal(votes.values[0], np.float32([0.25, 0.75]))
    votes.export(tmp_path / "again.fits")  # rounded to three digits it stays readable
    assert Votes.read(tmp_path / "again.fits").table.equals(votes.table)


def test_other_shapes_of_a_rival(tmp_path: Path) -> None:
    bare = rival(tmp_path, "id,ra,dec,spiral,edge-on\na,10,20,0.25,0.75\nb,11,21,1,0\n")
    assert (bare.names, bare.ra.tolist()) == (("spiral", "edge-on"), [10, 11])
    sure = rival(tmp_path, "id,class\na,spiral\nb,edge-on\nc,\n")
    assert sure.names == ("edge-on", "spiral") and sure.values[:2].tolist() == [[0, 1], [1, 0]]
    assert sure.n_rejected == 1
    written_as = rival(tmp_path, "id,class,p_edge_on,p_spiral\na,edge-on,0.75,0.25\n")
    assert written_as.names == ("edge-on", "spiral")
    loose = rival(tmp_path, "id,bar_fraction,ring_fraction\na,0.5,0.75\n")
    assert (loose.head, loose.names, loose.tree) == ("fractions", ("bar", "ring"), None)
    told = rival(tmp_path, "id,status,reason,p_a,p_b\n1,done,,0.5,0.5\n2,rejected,empty,,\n3,rejected,,,\n")
    assert told.reasons() == {"empty": 1, "missing": 1}


def test_fractions_and_concentrations_of_a_rival_find_their_tree(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    alpha = rng.uniform(1, 9, (5, GZ2.n_answers)).round(3)
    columns = dirichlet_columns(alpha, GZ2)
    shuffled = rng.permutation(GZ2.n_answers)
    for what, head in (("fraction", "fractions"), ("concentration", "dirichlet")):
        table = Table({"objid": np.arange(5)})
        for column in shuffled:
            table[f"{GZ2.columns[column]}_{what}"] = columns[what][:, column]
        table.write(tmp_path / "rival.csv", overwrite=True)
        for tree in (None, GZ2):
            votes = Votes.read(tmp_path / "rival.csv", tree=tree)
            assert (votes.head, votes.names) == (head, GZ2.columns)
            np.testing.assert_allclose(votes.values, columns[what], rtol=1e-7)
            np.testing.assert_allclose(votes.fractions, columns["fraction"], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objid,p_a,p_b\n1,0.5,0.9\n", r"do not sum to 1:\n  row 1 \(id 1\)"),
        ("objid,p_a,p_b\n1,0.5,\n", r"some predictions but not all: row 1 \(id 1\)"),
        ("objid,p_a,p_b\n1,0.5,0.5\n1,0.5,0.5\n", "1 id stands on several rows"),
        ("objid,p_a,p_b\n1.0,0.5,0.5\n", "floating-point ids"),
        ("p_a,p_b\n0.5,0.5\n", "no column that is known to hold ids"),
        ("objid,mag\n1,17.5\n", "no predictions are known .*p_<class>"),
        ("<html>", "is an HTML page"),
    ],
)
def test_a_rival_that_cannot_be_judged(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadVotes, match=message):
        rival(tmp_path, text)
    with pytest.raises(BadVotes, match="there is no file"):
        Votes.read(tmp_path / "none.csv")


def test_a_tree_that_a_rival_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(BadVotes, match=r"no column 't01_smooth_or_features_a01_smooth_fraction'.*tree 'gz2'"):
        rival(tmp_path, "objid,p_a,p_b\n1,0.5,0.5\n", tree=GZ2)


# names


def test_column_names() -> None:
    assert column_name("edge-on") == "edge_on"
    assert column_name("3 arms") == "n3_arms"
    assert column_name("Irr / é (pec.)") == "Irr_e_pec"
    assert column_name("p_3") == "p_3"
    for bad in ("", "???", "_"):
        with pytest.raises(BadVotes, match="no letter or digit"):
            column_name(bad)
    with pytest.raises(BadVotes, match="has 69 characters; FITS takes 68"):
        column_name("x" * 69)
    with pytest.raises(BadVotes, match="'Sa' and 'sa' would both be the column 'sa'"):
        column_names(["Sa", "sa"])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_any_text_is_a_sound_name_or_refused(text: str) -> None:
    try:
        name = column_name(text)
    except BadVotes:
        assert len(text) > 20 or not any(one.isascii() and one.isalnum() for one in text)
        return
    assert name.isascii() and name.isidentifier() and name[0].isalpha() and len(name) <= 68
    assert column_name(name) == name


# the Dirichlet's numbers


def test_intervals_are_those_of_the_beta_marginals() -> None:
    """Against scipy.stats.beta, which inverts its distribution function by another route; and coverage by sampling."""
    rng = np.random.default_rng(5)
    alpha = rng.uniform(1, 101, (20, GZ2.n_answers))
    columns = dirichlet_columns(alpha, GZ2)
    for part in GZ2.slices.values():
        others = alpha[:, part].sum(axis=1, keepdims=True) - alpha[:, part]
        np.testing.assert_allclose(columns["low"][:, part], stats.beta(alpha[:, part], others).ppf(0.05), rtol=1e-9)
        np.testing.assert_allclose(columns["high"][:, part], stats.beta(alpha[:, part], others).ppf(0.95), rtol=1e-9)
    draws = rng.dirichlet(alpha[0, :3], 200_000)
    inside = ((draws > columns["low"][0, :3]) & (draws < columns["high"][0, :3])).mean(axis=0)
    np.testing.assert_allclose(inside, 0.9, atol=0.004)  # 6 sigma of a binomial of 200,000
    np.testing.assert_allclose(draws.mean(axis=0), columns["fraction"][0, :3], atol=0.002)


def test_a_uniform_pair_has_known_quantiles() -> None:
    """Beta(1, 1) is uniform: 0.05 and 0.95; Beta(1, 2) has the quantile 1 - sqrt(1 - p)."""
    alpha = np.ones((1, GZ2.n_answers))
    columns = dirichlet_columns(alpha, GZ2)
    edge_on, first = GZ2.slices["t02_edgeon"], GZ2.slices["t01_smooth_or_features"]
    np.testing.assert_allclose(columns["low"][0, edge_on], 0.05, rtol=1e-12)
    np.testing.assert_allclose(columns["high"][0, edge_on], 0.95, rtol=1e-12)
    np.testing.assert_allclose(columns["low"][0, first], 1 - np.sqrt(0.95), rtol=1e-12)
    np.testing.assert_allclose(columns["high"][0, first], 1 - np.sqrt(0.05), rtol=1e-12)
    np.testing.assert_allclose(columns["reached"], GZ2.reach(columns["fraction"]))


def test_a_question_of_one_answer_is_certain_and_bad_concentrations_are_refused() -> None:
    tree = Tree.from_toml('name = "t"\n[[question]]\nname = "q"\n[[question.answers]]\nname = "yes"\n')
    columns = dirichlet_columns([[3.0]], tree)
    assert [columns[what].item() for what in ("fraction", "low", "high")] == [1, 1, 1]
    with pytest.raises(BadVotes, match=r"positive numbers; they are not in rows \[1\]"):
        dirichlet_columns([[1.0], [0.0]], tree)
    with pytest.raises(BadVotes, match=r"shape \(1, 2\)"):
        dirichlet_columns([[1.0, 2.0]], tree)


def test_more_votes_narrow_the_interval_around_the_same_fraction() -> None:
    rng = np.random.default_rng(6)
    alpha = rng.uniform(1, 20, (50, GZ2.n_answers))
    few, many = dirichlet_columns(alpha, GZ2), dirichlet_columns(10 * alpha, GZ2)
    np.testing.assert_allclose(few["fraction"], many["fraction"], rtol=1e-12)
    assert (many["high"] - many["low"] < few["high"] - few["low"]).all()
    assert ((few["low"] < few["fraction"]) & (few["fraction"] < few["high"])).all()


@pytest.mark.parametrize("ending", [".parquet", ".fits", ".vot", ".ecsv", ".csv"])
def test_attributes_keep_their_own_scale(tmp_path: Path, ending: str) -> None:
    """EFIGI's T runs from -6 to 11, so that 0 is -6, 1 is 11, and the rest from 0 to 1."""
    tree = Tree.load("efigi")
    values = np.random.default_rng(3).random((4, len(tree.columns))).astype(np.float32)
    values[0], values[1] = 0, 1
    with VotesWriter(tmp_path / "v.parquet", "sigmoid", tree.columns, tree, {}) as writer:
        writer.write(list("abcd"), None, None, values)
    Votes.read(tmp_path / "v.parquet").export(tmp_path / f"out{ending}")
    back = Votes.read(tmp_path / f"out{ending}")
    assert back.head == "sigmoid" and back.names == tree.columns and back.n_done == 4
    assert back.table.column("T").to_pylist()[:2] == [-6, 11]
    assert back.table.column("Bar_Length").to_pylist()[:2] == [0, 1]
    np.testing.assert_allclose(back.values, values, atol=3e-7)  # float32 of numbers up to 11, over 17


@pytest.mark.parametrize("ending", [".parquet", ".fits", ".vot", ".ecsv"])  # of CSV, what is known is kept
def test_further_columns_stand_after_those_of_the_head_and_are_read_back(tmp_path: Path, ending: str) -> None:
    tree = Tree.load("efigi")
    values = np.full((2, len(tree.columns)), 0.5, np.float32)
    ends = {"T_low": np.array([1.5, -6.0]), "T_high": np.array([3.5, 11.0])}
    rejected = [Rejected("b", Reason.TRUNCATED, "cut off", "")]
    with VotesWriter(tmp_path / "v.parquet", "sigmoid", tree.columns, tree, {}, interval_fields("T", 0.7)) as writer:
        writer.write(list("abc"), None, None, values, rejected, ends)
        writer.write(["d"], None, None, None, [Rejected("d", Reason.TRUNCATED, "", "")])  # none is done: no ends
    votes = Votes.read(tmp_path / "v.parquet")
    assert votes.table.column_names == [*votes.layout.schema.names, "T_low", "T_high"]
    assert votes.table.column("T_low").to_pylist() == [1.5, None, -6.0, None]
    votes.export(tmp_path / f"out{ending}")
    back = Votes.read(tmp_path / f"out{ending}")
    assert back.head == "sigmoid" and (back.n_done, back.n_rejected) == (2, 2)
    np.testing.assert_array_equal(
        back.table.column("T_high").to_numpy().astype(np.float64), [3.5, np.nan, 11.0, np.nan]
    )


def test_classes_that_do_not_exclude_each_other(tmp_path: Path) -> None:
    with VotesWriter(tmp_path / "v.parquet", "sigmoid", ("ring", "bar"), None, {}) as writer:
        writer.write(["a"], None, None, np.array([[0.9, 0.8]], np.float32))
    Votes.read(tmp_path / "v.parquet").export(tmp_path / "v.fits")
    back = Votes.read(tmp_path / "v.fits")
    assert back.layout.value_columns == ["p_ring", "p_bar"] and "entropy" not in back.table.column_names
    np.testing.assert_array_equal(back.values, np.array([[0.9, 0.8]], np.float32))
    with pytest.raises(BadVotes, match="outside"), VotesWriter(tmp_path / "w", "sigmoid", ("r",), None, {}) as writer:
        writer.write(["a"], None, None, np.array([[1.1]], np.float32))
