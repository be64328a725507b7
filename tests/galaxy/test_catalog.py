"""Ids stay exact, positions become ICRS degrees, and nothing joins or drops out in silence."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import MaskedColumn, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork.errors import BadCatalog, DuplicateIds, ImpossibleVotes, Unmatched
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.tree import Tree

FORMATS = [".csv", ".ecsv", ".fits", ".vot", ".parquet"]
QUIET = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read(tmp_path: Path, text: str, **named: str) -> Catalog:
    (tmp_path / "a.csv").write_text(text)
    return Catalog.read(tmp_path / "a.csv", **named)


# ids


@pytest.mark.parametrize("suffix", FORMATS)
def test_integers_beyond_2_to_53_and_text_ids_stay_exact(suffix: str, tmp_path: Path) -> None:
    """1e5 neighbouring ids, of which a float64 would merge 256 at a time."""
    ids = 1237648720693755918 + np.arange(100_000 if suffix != ".ecsv" else 2_000)
    for kept in (ids, [f"{one:020d}" for one in ids[:1000]], ["007", "PGC7", "1e5x", "é"]):
        Catalog({"id": kept}).write(tmp_path / f"a{suffix}")
        assert Catalog.read(tmp_path / f"a{suffix}").ids == [str(one) for one in kept]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2"], pa.int64()),
        (["-5", "0", str(2**63 - 1)], pa.int64()),
        ([str(2**63), "1"], pa.string()),
        (["007", "8"], pa.string()),
        (["J1234+5", "12.5"], pa.string()),
        ([" 5", "6"], pa.string()),
    ],
)
def test_ids_of_a_csv_are_kept_digit_by_digit(cells: list[str], kind: pa.DataType, tmp_path: Path) -> None:
    catalog = read(tmp_path, "objid,x\n" + "".join(f"{cell},1\n" for cell in cells))
    assert catalog.ids == cells
    assert catalog.table.schema.field("id").type == kind


@pytest.mark.parametrize("cells", [["1.237e18", "2"], ["123.0", "124.0"], ["1", "2."], [".5", "1"], ["1E3", "5"]])
def test_float_ids_are_refused_with_the_first_rows(cells: list[str], tmp_path: Path) -> None:
    bad = next(cell for cell in cells if not cell.isdigit())
    with pytest.raises(BadCatalog, match="floating-point") as caught:
        read(tmp_path, "objid\n" + "\n".join(cells) + "\n")
    assert bad in str(caught.value)
    assert "export the ids anew" in str(caught.value)


@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".vot", ".parquet"])
def test_float_id_columns_of_typed_tables_are_refused(suffix: str, tmp_path: Path) -> None:
    from tuningfork.galaxy.tablefile import write_table

    write_table(pa.table({"objid": [1.0, 2.0]}), tmp_path / f"a{suffix}")
    with pytest.raises(BadCatalog, match=r"floating-point ids: 1\.0"):
        Catalog.read(tmp_path / f"a{suffix}")


def test_other_ids_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(BadCatalog, match="have no id in column 'id': rows 2"):
        Catalog({"id": ["a", None]})
    with pytest.raises(BadCatalog, match=r"have no id .* rows 2, 3"):
        read(tmp_path, "id,x\n1,2\n,3\n,4\n")
    with pytest.raises(BadCatalog, match="holds bool"):
        Catalog({"id": [True, False]})
    assert Catalog({"id": np.array([3, 4], np.uint64)}).table.schema.field("id").type == pa.int64()
    assert Catalog({"id": np.array([3, 2**64 - 1], np.uint64)}).ids == ["3", "18446744073709551615"]
    assert Catalog({"id": pa.array(["a", "b"]).dictionary_encode()}).ids == ["a", "b"]


def test_fits_text_ids_lose_their_padding(tmp_path: Path) -> None:
    Table({"iauname": np.array([b"J1  ", b"J22"], "S8")}).write(tmp_path / "a.fits")
    assert Catalog.read(tmp_path / "a.fits").ids == ["J1", "J22"]


@QUIET
@given(st.lists(st.integers(0, 60), min_size=2, max_size=40), st.booleans())
def test_duplicates_are_refused_if_and_only_if_there_are_any(numbers: list[int], text: bool) -> None:
    ids = [f"x{number}" for number in numbers] if text else numbers
    twice = {one for one in ids if ids.count(one) > 1}
    if not twice:
        assert len(Catalog({"id": ids})) == len(ids)
        return
    with pytest.raises(DuplicateIds) as caught:
        Catalog({"id": ids})
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("1 id stands on" if len(twice) == 1 else f"{len(twice)} ids stand on several rows")
    assert len(lines) - 1 == min(len(twice), 5)
    first = next(one for one in ids if one in twice)
    rows = ", ".join(str(row) for row, one in enumerate(ids, 1) if one == first)[:8]
    assert any(line.strip().startswith(f"{first!r}: rows {rows}") for line in lines)


@pytest.mark.parametrize(
    "name", ["objid", "dr7objid", "OBJID", "id_str", "iauname", "GalaxyID", "PGCname", "asset_id", "id", "ID"]
)
def test_the_column_of_ids_is_found(name: str, tmp_path: Path) -> None:
    assert read(tmp_path, f"class,{name}\na,5\nb,6\n").ids == ["5", "6"]


def test_naming_the_column_of_ids(tmp_path: Path) -> None:
    text = "id,key\n1,b\n1,c\n"
    with pytest.raises(DuplicateIds, match="column 'id'"):
        read(tmp_path, text)
    catalog = read(tmp_path, text, id="key")
    assert catalog.ids == ["b", "c"]
    assert catalog.columns == ["id", "id_other"]
    with pytest.raises(BadCatalog, match="no column 'kee'; did you mean 'key'"):
        read(tmp_path, text, id="kee")
    with pytest.raises(BadCatalog, match=r"name it with id=.*left, right"):
        read(tmp_path, "left,right\n1,2\n")


# positions

SEXAGESIMAL = [
    ("12:34:56.7", "+01:02:03"),
    ("12h34m56.7s", "-00d30m00s"),
    ("12h34m", "-89:59:59.99"),
    ("00 00 00.0", "+00 00 00"),
    ("23:59:59.99", "-1:02"),
    ("187d30m", "2d30m15.5s"),
]


def test_sexagesimal_text_agrees_with_astropy(tmp_path: Path) -> None:
    rows = "".join(f"{n},{ra},{dec}\n" for n, (ra, dec) in enumerate(SEXAGESIMAL))
    catalog = read(tmp_path, "objid,RA,DEC\n" + rows)
    ra = [Angle(t, u.deg if "d" in t else u.hourangle).deg for t, _ in SEXAGESIMAL]
    dec = [Angle(t, u.deg).deg for _, t in SEXAGESIMAL]
    assert catalog.ra is not None and catalog.dec is not None
    np.testing.assert_allclose(catalog.ra, ra, rtol=1e-14, atol=0)  # a few roundings in another order
    np.testing.assert_allclose(catalog.dec, dec, rtol=1e-14, atol=0)
    assert catalog.unit("ra") == catalog.unit("dec") == "deg"


@QUIET
@given(st.lists(st.tuples(st.floats(0, 359.99), st.floats(-89.99, 89.99)), min_size=1, max_size=20))
def test_text_that_astropy_writes_is_read_back(tmp_path: Path, sky: list[tuple[float, float]]) -> None:
    """To 1e-4 seconds of time and arc, in which the texts are written."""
    points = SkyCoord([ra for ra, _ in sky], [dec for _, dec in sky], unit="deg")
    for style in ("colon", "hmsdms"):
        separators = {"sep": ":"} if style == "colon" else {}
        ra = points.ra.to_string(unit="hour", precision=4, pad=True, **separators)
        dec = points.dec.to_string(unit="deg", precision=4, alwayssign=True, **separators)
        catalog = Catalog({"id": list(range(len(sky))), "ra": list(ra), "dec": list(dec)})
        back = SkyCoord(catalog.ra, catalog.dec, unit="deg")
        assert (points.separation(back).arcsec < 1e-3).all()


@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".vot"])
def test_units_of_angle_become_degrees(suffix: str, tmp_path: Path) -> None:
    table = Table({"objid": [1, 2], "ra": [1.0, 3.0] * u.rad, "dec": MaskedColumn([0.5, -0.5], unit=u.rad)})
    table["z"] = [0.1, 0.2]
    table["r"] = [1.0, 2.0] * u.arcsec
    table.write(tmp_path / f"a{suffix}", **({"format": "votable"} if suffix == ".vot" else {}))
    catalog = Catalog.read(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(catalog["ra"], np.degrees([1, 3]), rtol=1e-15)
    np.testing.assert_allclose(catalog["dec"], np.degrees([0.5, -0.5]), rtol=1e-15)
    assert (catalog.unit("ra"), catalog.unit("r"), catalog.unit("z")) == ("deg", "arcsec", "")


def test_hours_as_a_unit_and_a_unit_that_is_no_angle(tmp_path: Path) -> None:
    table = Table({"id": [1], "ra": [12.5] * u.hourangle, "dec": [3.0] * u.deg})
    table.write(tmp_path / "a.ecsv")
    np.testing.assert_allclose(Catalog.read(tmp_path / "a.ecsv")["ra"], [187.5], rtol=1e-15)
    table["ra"].unit = u.kg
    table.write(tmp_path / "b.ecsv")
    with pytest.raises(BadCatalog, match="unit 'kg', which is no angle"):
        Catalog.read(tmp_path / "b.ecsv")


@pytest.mark.parametrize(
    ("ra", "dec", "message"),
    [
        (360.0, 0.0, "0 <= RA < 360"),
        (-0.1, 0.0, "0 <= RA < 360"),
        (10.0, 90.1, "-90 <= Dec <= 90"),
        (np.inf, 0.0, "0 <= RA < 360"),
        ("12:60:00", "1:2:3", "texts that are no position: '12:60:00' (row 2)"),
        ("24:00:00", "1:2:3", "0 <= RA < 360"),
        ("somewhere", "1:2:3", "'somewhere' (row 2)"),
        (10.0, None, "known by half"),
    ],
)
def test_positions_off_the_sphere_are_listed(ra: object, dec: object, message: str) -> None:
    good = ("1:00:00", "1:00:00") if isinstance(ra, str) else (1.0, 1.0)
    with pytest.raises(BadCatalog) as caught:
        Catalog({"id": ["first", "second"], "ra": [good[0], ra], "dec": [good[1], dec]})
    assert message in str(caught.value)
    assert "row 2" in str(caught.value)


def test_unknown_positions_stay_unknown(tmp_path: Path) -> None:
    catalog = read(tmp_path, "id,ra,dec\n1,,\n2,359.999999,-90\n3,nan,NaN\n")
    assert catalog.table["ra"].to_pylist() == [None, 359.999999, None]
    assert catalog.dec is not None and np.isnan(catalog.dec).tolist() == [True, False, True]
    without = Catalog({"id": [1]})
    assert without.ra is None and without.dec is None


def test_positions_under_other_names(tmp_path: Path) -> None:
    catalog = read(tmp_path, "objid,RAJ2000,DEJ2000\n1,10.5,-3\n")
    assert (catalog["ra"][0], catalog["dec"][0]) == (10.5, -3.0)
    named = read(tmp_path, "objid,x,y,ra,dec\n1,10.5,-3,99,98\n", ra="x", dec="y")
    assert named.columns == ["id", "ra", "dec", "ra_other", "dec_other"]
    assert (named["ra"][0], named["ra_other"][0]) == (10.5, 99)


# columns


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_catalogue_comes_back(suffix: str, tmp_path: Path) -> None:
    catalog = Catalog({
        "class": ["edge-on", "merger", None],
        "objid": [588848901532418163, 1, 2],
        "ra": [1.25, None, 3.5], "dec": [-1.25, None, 1 / 3],
        "mag": [17.5, None, 18.25],
    }, id="objid").with_columns({"size": [1.5, 2.5, 3.5]}, {"size": "arcsec"})  # fmt: skip
    catalog.write(tmp_path / f"a{suffix}")
    back = Catalog.read(tmp_path / f"a{suffix}")
    assert back.table.to_pydict() == catalog.table.to_pydict()
    assert back.columns == ["id", "ra", "dec", "class", "mag", "size"]
    assert back.unit("size") == ("" if suffix == ".csv" else "arcsec")


def test_columns_as_arrays() -> None:
    catalog = Catalog({
        "id": [1, 2], "n": [1, None], "big": [2**60 + 1, None], "whole": [2**60 + 1, 0], "x": [None, 1.5],
        "text": ["a", None], "flag": [True, None], "yes": [True, False],
    })  # fmt: skip
    assert catalog["n"].dtype == np.float64 and np.isnan(catalog["n"][1])
    assert catalog["big"].tolist() == [2**60 + 1, None]
    assert catalog["whole"].dtype == np.int64 and catalog["whole"][0] == 2**60 + 1
    assert np.isnan(catalog["x"][0])
    assert catalog["text"].tolist() == ["a", None]
    assert catalog["flag"].tolist() == [True, None]
    assert catalog["yes"].dtype == bool
    assert "n" in catalog and "m" not in catalog
    with pytest.raises(BadCatalog, match="no column 'flags'; did you mean 'flag'"):
        catalog["flags"]


def test_select_rows_and_with_columns_leave_the_catalogue_alone() -> None:
    catalog = Catalog({"id": [5, 6, 7], "x": [50, 60, 70]})
    assert catalog.select(["7", 5])["x"].tolist() == [70, 50]
    assert catalog.rows(np.array([False, True, False])).ids == ["6"]
    assert len(catalog.select([])) == 0
    with pytest.raises(Unmatched, match="1 of 2 rows of the selection have no partner by id in the table: '8'"):
        catalog.select(["5", "8"])
    more = catalog.with_columns({"x": np.array([1.0, 2.0, 3.0]), "y": ["a", "b", "c"]})
    assert more.columns == ["id", "x", "y"] and more["x"].tolist() == [1, 2, 3]
    assert catalog["x"].tolist() == [50, 60, 70]
    masked = catalog.with_columns({"m": np.ma.masked_array([1, 2, 3], [True, False, False])})
    assert masked.table["m"].to_pylist() == [None, 2, 3]
    with pytest.raises(BadCatalog, match="has 2 values for the 3 rows"):
        catalog.with_columns({"x": [1, 2]})


# votes


@pytest.mark.parametrize("bad", [-1, 2.5, np.inf])
def test_impossible_counts_are_refused_with_the_row(bad: float, tmp_path: Path) -> None:
    with pytest.raises(ImpossibleVotes, match=r"'smooth_count'.*\n  row 2 \(id b\)"):
        Catalog({"id": ["a", "b"], "smooth_count": [3.0, bad]})
    assert len(Catalog({"id": ["a", "b"], "smooth_count": [3.0, None], "bulge": [0, bad]})) == 2


def test_votes_below_a_question_that_fewer_reached() -> None:
    tree = Tree.load("gz2")
    counts = np.zeros((2, tree.n_answers), int)
    counts[:, 0], counts[:, 1] = 3, 4
    catalog = Catalog({"id": ["a", "b"]} | {f"{c}_count": counts[:, i] for i, c in enumerate(tree.columns)})
    catalog.check_votes(tree)
    counts[1, tree.slices["t02_edgeon"].start] = 9  # 4 were led to the question
    with pytest.raises(ImpossibleVotes, match=r"1 impossible votes for tree gz2.*\n  row 2 \(id b\)"):
        catalog.check_votes(tree, counts)


# joins


def test_join_by_id_keeps_the_order_and_renames_what_is_taken() -> None:
    left = Catalog({"id": [3, 1, 2], "class": ["c", "a", "b"]})
    right = Catalog({"objid": ["1", "2", "3", "4"], "class": ["A", "B", "C", "D"], "z": [1.0, 2, 3, 4]}, id="objid")
    joined, report = left.join(right)
    assert joined.ids == ["3", "1", "2"]
    assert joined["class"].tolist() == ["c", "a", "b"]
    assert joined["class_2"].tolist() == ["C", "A", "B"]
    assert joined["z"].tolist() == [3, 1, 2]
    assert (report.n_left, report.n_right, report.n_matched) == (3, 4, 3)
    assert (report.left_only, report.right_only, report.renamed) == ((), ("4",), {"class": "class_2"})
    assert "3 of 3 rows found a partner among 4" in str(report)


def test_unmatched_rows_refuse_unless_they_are_dropped() -> None:
    left, right = Catalog({"id": ["a", "b", "c"]}), Catalog({"id": ["b", "c", "d"], "x": [1, 2, 3]})
    with pytest.raises(
        Unmatched,
        match=r"1 of 3 rows of the table have no partner.*'a'\n.*--unmatched drop \(in Python unmatched='drop'\)$",
    ):
        left.join(right)
    joined, report = left.join(right, unmatched="drop")
    assert joined.ids == ["b", "c"] and joined["x"].tolist() == [1, 2]
    assert (report.left_only, report.right_only) == (("a",), ("d",))
    with pytest.raises(Unmatched, match="no row of the table"):
        left.join(Catalog({"id": ["e"]}), unmatched="drop")
    with pytest.raises(ValueError, match="'refuse' or 'drop'"):
        left.join(right, unmatched="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("left", "right", "hint"),
    [
        (["a", "b"], ["a ", " b"], "white space"),
        (["PGC1", "PGC2"], ["pgc1", "pgc2"], "upper and lower case"),
        (["PGC1", "PGC2"], ["PGC1.jpg", "images/PGC2.fits.gz"], "folder and suffix"),
        ([5, 6], ["5.0", "6.0"], "integers, not floats"),
        ([5, 6], ["005", "006"], "leading zeros"),
        ([1237648720693755918], ["1237648720693755904"], "rounding to a float"),
        ([1237648720693755918], ["1.2376487206937559e+18"], "rounding to a float"),
    ],
)
def test_labels_that_do_not_join_are_told_why(left: list, right: list, hint: str) -> None:
    for one, other in ((left, right), (right, left)):
        with pytest.raises(Unmatched, match=f"hint: (all )?{len(left)} would match .*{hint}"):
            Catalog({"id": one}).join(Catalog({"id": other}))
    with pytest.raises(Unmatched) as caught:
        Catalog({"id": ["17", "18"]}).join(Catalog({"id": ["27", "28"]}))
    assert "hint" not in str(caught.value)


@QUIET
@given(st.sets(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 30), min_size=1))
def test_a_join_accounts_for_every_row(left: set[int], right: set[int]) -> None:
    a = Catalog({"id": [str(one) for one in left]})
    b = Catalog({"id": list(right), "x": list(right)})
    if not left & right:
        with pytest.raises(Unmatched):
            a.join(b, unmatched="drop")
        return
    joined, report = a.join(b, unmatched="drop")
    assert set(joined.ids) == {str(one) for one in left & right}
    assert [str(x) for x in joined["x"]] == joined.ids
    assert report.n_left == report.n_matched + len(report.left_only)
    assert report.n_right == report.n_matched + len(report.right_only)
    assert set(report.left_only) == {str(one) for one in left - right}


# positions on the sky


def sky(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def test_match_finds_shifted_galaxies_also_at_the_pole_and_across_zero_hours() -> None:
    ra, dec = sky(300, 1)
    ra[:3], dec[:3] = [359.99999, 0.00001, 120.0], [0.0, 40.0, 89.99999]
    here = SkyCoord(ra, dec, unit="deg")
    there = here.directional_offset_by(np.linspace(0, 360, 300) * u.deg, 1 * u.arcsec)
    order = np.random.default_rng(2).permutation(300)
    a = Catalog({"id": [f"a{i}" for i in range(300)], "ra": ra, "dec": dec})
    b = Catalog({"id": [f"b{i}" for i in order], "ra": there.ra.deg[order], "dec": there.dec.deg[order]})
    joined, report = a.match(b, 1.5)
    assert [name[1:] for name in joined["id_2"]] == [name[1:] for name in joined.ids]
    np.testing.assert_allclose(joined["separation_arcsec"], 1, atol=1e-6)  # chords of the unit sphere in float64
    assert joined.unit("separation_arcsec") == "arcsec"
    assert report.n_matched == 300 and report.ambiguous == ()
    with pytest.raises(Unmatched, match="no row of the table"):
        a.match(b, 0.5)


def test_match_is_mutual_reports_crowds_and_skips_unknown_positions() -> None:
    second = 1 / 3600
    a = Catalog({"id": ["lone", "near", "far", "lost", "blank"], "ra": [10.0, 20.0, 20.0, 50.0, None],
                 "dec": [0.0, 0.0, 1.4 * second, 0.0, None]})  # fmt: skip
    b = Catalog({"id": [1, 2, 3], "ra": [10.0, 20.0, None], "dec": [0.0, 0.2 * second, None]})
    with pytest.raises(Unmatched, match=r"3 of 5 rows .*'far', 'lost', 'blank'"):
        a.match(b, 2)
    joined, report = a.match(b, 2, unmatched="drop")
    assert joined.ids == ["lone", "near"] and joined["id_2"].tolist() == [1, 2]
    assert report.ambiguous == ("near", "far")
    assert report.right_only == ("3",)
    assert "several candidates" in str(report)


def test_match_needs_positions_and_a_radius() -> None:
    a, b = Catalog({"id": [1], "ra": [1.0], "dec": [1.0]}), Catalog({"id": [1]})
    with pytest.raises(BadCatalog, match="no positions to match by"):
        a.match(b, 2)
    with pytest.raises(ValueError, match="positive number of arcsec"):
        a.match(a, 0)


# real catalogues


@pytest.mark.parametrize(
    ("file", "rows", "kind", "column"),
    [
        ("gz1/labels.csv", 5649, pa.int64(), "objid"),
        ("efigi/labels.csv", 3822, pa.string(), "PGCname"),
        ("gz2_stripe82/votes.csv", 187, pa.int64(), "objid"),
    ],
)
def test_real_catalogues(real_data: Path, file: str, rows: int, kind: pa.DataType, column: str, tmp_path: Path) -> None:
    catalog = Catalog.read(real_data / file)
    lines = (real_data / file).read_text().splitlines()
    place = lines[0].split(",").index(column)
    assert len(catalog) == rows
    assert catalog.ids == [line.split(",")[place] for line in lines[1:]]
    assert catalog.table.schema.field("id").type == kind
    for suffix in (".fits", ".vot", ".parquet"):
        catalog.write(tmp_path / f"a{suffix}")
        assert Catalog.read(tmp_path / f"a{suffix}").table.to_pydict() == catalog.table.to_pydict()
