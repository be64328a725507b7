"""Tables come back as they were written, whatever the format; files that are no table say what they are."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork.errors import BadCatalog
from tuningfork.galaxy.tablefile import FORMATS, field, metadata, note, read_table, with_metadata, write_table

TYPED = [".ecsv", ".fits", ".vot", ".parquet"]


def everything() -> pa.Table:
    """Each type, with and without nulls, at its limits."""
    columns = {
        "id": pa.array([588848901532418163, -(2**63) + 1, 2**63 - 1]),
        "text": pa.array(["é", None, "two words"]),
        "mag": pa.array([1.5, None, 0.1], pa.float32()),
        "angle": pa.array([1 / 3, None, 1e-300]),
        "votes": pa.array([999999, None, -(2**63)]),  # both are values that astropy may take for null
        "small": pa.array([0, None, 255], pa.uint8()),
        "flag": pa.array([True, False, True]),
        "pair": pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2, 3, 4, 5, 6]), 2),
        "void": pa.array([None, None, None], pa.string()),
    }
    units = {"mag": ("mag", "a magnitude"), "angle": ("deg", "")}
    fields = [field(name, array.type, *units.get(name, ("", ""))) for name, array in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


@pytest.mark.parametrize("suffix", TYPED)
def test_every_type_comes_back_exactly(suffix: str, tmp_path: Path) -> None:
    table = everything()
    write_table(table, tmp_path / f"a{suffix}")
    back = read_table(tmp_path / f"a{suffix}")
    assert back.column_names == table.column_names
    for name in table.column_names:
        assert back[name].to_pylist() == table[name].to_pylist(), name
        if name != "pair":  # Arrow names the items of a list otherwise after each format
            assert back.schema.field(name).type == table.schema.field(name).type, name
    assert [note(back.schema.field(name), "unit") for name in ("mag", "angle", "id")] == ["mag", "deg", ""]


def test_csv_keeps_the_values_and_refuses_lists(tmp_path: Path) -> None:
    table = everything()
    with pytest.raises(BadCatalog, match="'pair' holds lists"):
        write_table(table, tmp_path / "a.csv")
    table = table.drop_columns(["pair"])
    write_table(table, tmp_path / "a.csv")
    back = read_table(tmp_path / "a.csv")
    for name in table.column_names:
        wanted = table[name].to_pylist()
        if name == "mag":  # 0.1 as a float32 is written with the digits that a float32 needs
            assert [None if v is None else np.float32(v) for v in back[name].to_pylist()] == wanted
        else:
            assert back[name].to_pylist() == wanted, name


@pytest.mark.parametrize("suffix", [".fits", ".vot"])
def test_types_that_a_format_lacks_become_the_next_wider(suffix: str, tmp_path: Path) -> None:
    table = pa.table({
        "i1": pa.array([-128, None, 127], pa.int8()),
        "u2": pa.array([0, None, 65535], pa.uint16()),
        "u4": pa.array([0, None, 2**32 - 1], pa.uint32()),
        "u8": pa.array([0, None, 2**63 - 1], pa.uint64()),
    })  # fmt: skip
    write_table(table, tmp_path / f"a{suffix}")
    assert read_table(tmp_path / f"a{suffix}").to_pydict() == table.to_pydict()
    beyond = pa.table({"u8": pa.array([1, 2**64 - 1], pa.uint64())})
    write_table(beyond, tmp_path / f"b{suffix}")
    assert read_table(tmp_path / f"b{suffix}")["u8"].to_pylist() == ["1", "18446744073709551615"]


def test_a_fits_boolean_with_nulls_becomes_an_integer(tmp_path: Path) -> None:
    write_table(pa.table({"b": [True, None, False]}), tmp_path / "a.fits")
    assert read_table(tmp_path / "a.fits")["b"].to_pylist() == [1, None, 0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("suffix", TYPED)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(value=st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_any_metadata_comes_back(suffix: str, tmp_path: Path, value: dict[str, object]) -> None:
    table = with_metadata(pa.table({"a": [1, 2]}), value)
    write_table(table, tmp_path / f"a{suffix}")
    assert metadata(read_table(tmp_path / f"a{suffix}")) == value


@pytest.mark.parametrize("suffix", TYPED)
def test_metadata_with_quotes_ampersands_folds_and_spaces(suffix: str, tmp_path: Path) -> None:
    """Characters that FITS cards, XML and YAML change where a long text is folded; every seam is hit by some length."""
    value = {f"k{n}": "x" * n + "it's & <ok>   \n  # 'quoted'   " * 9 for n in range(0, 70, 7)}
    table = with_metadata(pa.table({"a": [1]}), value)
    write_table(table, tmp_path / f"a{suffix}")
    assert metadata(read_table(tmp_path / f"a{suffix}")) == value


def test_metadata_that_is_no_object_is_refused() -> None:
    assert metadata(pa.table({"a": [1]})) == {}
    for text in ("[1]", "{"):
        with pytest.raises(BadCatalog, match="metadata is no JSON"):
            metadata(pa.table({"a": [1]}).replace_schema_metadata({"tuningfork": text}))
    with pytest.raises(ValueError):
        with_metadata(pa.table({"a": [1]}), {"x": float("nan")})


def csv(tmp_path: Path, text: str | bytes) -> pa.Table:
    path = tmp_path / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path)


@pytest.mark.parametrize(
    "text",
    ["x,name\n1,b\n2,c\n", "\ufeffx,name\n1,b\n2,c\n", "x, name\r\n1,b\r\n2,c\r\n", "x;name\n1;b\n2;c\n",
     "x\tname\n1\tb\n2\tc\n", "#Table1\nx,name\n1,b\n2,c\n", "# a comment\n#x,name\n1,b\n2,c\n",
     gzip.compress(b"x,name\n1,b\n2,c\n", mtime=0)],  # its time would name the test anew in each process
)  # fmt: skip
def test_dialects_of_csv(tmp_path: Path, text: str | bytes) -> None:
    assert csv(tmp_path, text).to_pydict() == {"x": [1, 2], "name": ["b", "c"]}


def test_csv_types(tmp_path: Path) -> None:
    """Dates stay as written; integers that only a float would hold stay text; NA is a null among numbers only."""
    table = csv(
        tmp_path, "day,big,tiny,n,word,huge\n2003-01-05,18446744073709551615,1e-3,NA,NA,1e300\n,1,,2,,5\n,2,,3,x,6\n"
    )
    assert table.to_pydict() == {
        "day": ["2003-01-05", None, None],
        "big": ["18446744073709551615", "1", "2"],
        "tiny": [1e-3, None, None],
        "n": [None, 2, 3],
        "word": ["NA", None, "x"],
        "huge": [1e300, 5.0, 6.0],
    }


def test_a_number_column_that_turns_to_text_far_down(tmp_path: Path) -> None:
    rows = [str(n) for n in range(300_000)] + ["unknown"]
    assert csv(tmp_path, "x\n" + "\n".join(rows) + "\n")["x"].to_pylist() == rows


BROKEN = {
    "empty": (b"", "is empty"),
    "blank": (b"\n \n", "is empty"),
    "html": (b"<!DOCTYPE html><html><body>503</body></html>", "is an HTML page"),
    "xml": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is an XML or HTML document"),
    "header only": (b"id,class\n", "a header but no rows"),
    "comment only": (b"#Table1\n", "comments only"),
    "twins": (b"id,ra,id\n1,2,3\n", "'id' more than once"),
    "unnamed": (b"id,,ra\n1,2,3\n", "column 2 of .* has no name"),
    "ragged": (b"id,ra\n1,2\n3\n", "Expected 2 columns, got 1"),
    "picture": (b"\xff\xd8\xff\xe0\0\0\0", "binary data"),
    "latin": ("id,nom\n1,é\n".encode("latin-1"), "'nom' of .* is not UTF-8"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_files_that_are_no_csv_say_what_they_are(case: str, tmp_path: Path) -> None:
    data, message = BROKEN[case]
    with pytest.raises(BadCatalog, match=message) as caught:
        csv(tmp_path, data)
    assert "a.csv" in str(caught.value)


def test_a_missing_file_a_folder_and_a_wrong_suffix(tmp_path: Path) -> None:
    with pytest.raises(BadCatalog, match="there is no file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(BadCatalog, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(BadCatalog, match="suffix must be one of"):
        write_table(pa.table({"a": [1]}), tmp_path / "a.xlsx")
    (tmp_path / "a.fits").write_bytes(b"not FITS")
    with pytest.raises(BadCatalog, match="named as fits but is no"):
        read_table(tmp_path / "a.fits")


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    for suffix in TYPED:
        write_table(pa.table({"a": [1, 2]}), tmp_path / f"a{suffix}")
        moved = (tmp_path / f"a{suffix}").rename(tmp_path / f"a{suffix}.csv")
        assert read_table(moved)["a"].to_pylist() == [1, 2]


def test_fits_images_without_a_table_are_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "a.fits")
    with pytest.raises(BadCatalog, match="holds images only"):
        read_table(tmp_path / "a.fits")


@pytest.mark.parametrize("suffix", TYPED)
def test_a_truncated_file_is_refused(suffix: str, tmp_path: Path) -> None:
    """Every cut (a sample of 12) is a BadCatalog, but for ECSV, which may end at any line."""
    table = pa.table({"id": np.arange(3000), "x": np.arange(3000) / 7})
    path = tmp_path / f"a{suffix}"
    write_table(table, path)
    data = path.read_bytes()
    for cut in np.linspace(0, len(data) * 0.95, 12).astype(int):
        path.write_bytes(data[:cut])
        if suffix == ".ecsv" and cut > 500:
            continue
        with pytest.raises(BadCatalog):
            read_table(path)


def test_names_of_formats_are_the_written_ones(tmp_path: Path) -> None:
    for suffix in FORMATS:
        write_table(pa.table({"a": [1, 2]}), tmp_path / f"a{suffix}")
        assert read_table(tmp_path / f"a{suffix}")["a"].to_pylist() == [1, 2]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".part")]


def test_a_dictionary_column_and_large_strings_become_text(tmp_path: Path) -> None:
    table = pa.table(
        {"d": pa.array(["a", "b", "a"]).dictionary_encode(), "s": pa.array(["x", None, "z"], pa.large_string())}
    )
    write_table(table, tmp_path / "a.parquet")
    back = read_table(tmp_path / "a.parquet")
    assert back.to_pydict() == {"d": ["a", "b", "a"], "s": ["x", None, "z"]}
    assert back.schema.types == [pa.string(), pa.string()]
    assert json.dumps(metadata(back)) == "{}"
