"""A union of sources: every galaxy once, as it is in its sample; columns side by side, null where there are none."""

from dataclasses import replace

import numpy as np
import pytest

from tuningfork.errors import BadImage, BadStore, Reason
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.cutout import Record, Rejected
from tuningfork.galaxy.records import Source
from tuningfork.galaxy.union import Union

SLOPE = np.arange(8, dtype=np.uint8)  # a constant picture is refused


class Some(Source):
    """Grey squares in memory, as bright as their number; row 1 has no bytes."""

    kind = "some"

    def __init__(self, n: int, level: int, columns: dict) -> None:
        super().__init__("some", [f"g{i}" for i in range(n)], f"{n}{level}", bands=("grey",))
        self.level = level
        self.with_catalog(Catalog({"id": list(self.ids), **columns}))

    def _read(self, row: int) -> Record:
        if row == 1:
            raise BadImage(Reason.EMPTY, "no bytes")
        return Record.from_pixels(self.ids[row], np.full((1, 8, 8), self.level + row, np.uint8) + SLOPE, ("grey",))

    def _where(self, row: int) -> str:
        return f"some {row}"


def both() -> Union:
    a = Some(3, 10, {"class": ["x", "y", "x"], "ra": [1.0, 2.0, 3.0], "dec": [0.0, 0.0, 0.0]})
    return Union(
        {"a": a, "b": Some(2, 50, {"class": ["p", "q"], "n": [1, 2], "sample": ["s", "t"]})},
        {"b": {"class": "b_class"}},
    )


def test_every_galaxy_comes_once_and_as_it_is() -> None:
    union = both()
    assert list(union.ids) == ["a:g0", "a:g1", "a:g2", "b:g0", "b:g1"] and union.bands == ("grey",)
    found = list(union.records())
    assert [one.id for one in found] == list(union.ids)
    assert [type(one) for one in found] == [Record, Rejected, Record, Record, Rejected]
    levels = [int(one.cutout().pixels[0, 0, 0]) for one in found if isinstance(one, Record)]
    assert levels == [10, 12, 50]
    assert found[1].reason == Reason.EMPTY and found[1].source == "some (g1)"
    assert union.record("b:g0").id == "b:g0" and union.record("a:g2").ra == 3.0


def test_columns_stand_side_by_side() -> None:
    catalog = both().catalog
    assert catalog is not None
    assert list(catalog["sample"]) == ["a"] * 3 + ["b"] * 2
    assert list(catalog["class"])[:3] == ["x", "y", "x"] and not any(list(catalog["class"])[3:])
    assert list(catalog["sample_other"])[3:] == ["s", "t"]
    assert list(catalog["b_class"])[3:] == ["p", "q"] and np.isnan(catalog.ra[3:]).all()


def test_its_digest_is_that_of_names_and_members() -> None:
    a, b = Some(3, 10, {}), Some(2, 50, {})
    digests = {Union({"a": a, "b": b}).digest, Union({"b": b, "a": a}).digest, Union({"c": a, "b": b}).digest}
    assert len(digests) == 3 and Union({"a": a, "b": b}).digest in digests


def test_what_cannot_be_one_is_refused() -> None:
    with pytest.raises(BadStore, match="cannot be one"):
        Union({"a": Some(2, 1, {"n": [1, 2]}), "b": Some(2, 1, {"n": ["x", "y"]})})
    for sources in ({}, {"a:b": Some(2, 1, {})}, {"": Some(2, 1, {})}):
        with pytest.raises(BadStore, match="names without a colon"):
            Union(sources)


def test_records_are_equal_but_for_their_names() -> None:
    union = both()
    assert replace(union.record("a:g0"), id="g0", ra=None, dec=None).data == union.sources["a"].record("g0").data
