"""SQL: all rows past every limit, the server's errors as errors, and presets that mean what they say."""

from typing import Any

import numpy as np
import pytest

from tuningfork.errors import BadCatalog, DuplicateIds, NetworkError, RecipeError
from tuningfork.survey.presets import PRESETS
from tuningfork.survey.query import run_preset, run_sql

FIRST = 1237648720693755904  # an SDSS objid; the next ones differ from it by less than a float64 can tell
N = 250


def galaxies(n: int = N) -> dict[str, Any]:
    names = ["objid", "ra", "dec", "run", "camcol", "field", "petroRad_r", "petroR50_r", "petroR90_r",
             *(f"petroMag_{b}" for b in "ugriz"), *(f"extinction_{b}" for b in "ugriz"), "note"]  # fmt: skip
    rows = [
        (FIRST + k, k / 10, -k / 100, 94, 1 + k % 6, 11 + k, 5.0, 2.0, -9999.0 if k == 3 else 4.0,
         *(17.0 + k / 1000 for _ in "ugriz"), *(0.1 for _ in "ugriz"), None if k % 2 else "x")
        for k in range(n)
    ]  # fmt: skip
    spectra = [(9 * FIRST // 8 + k, FIRST + k, 0.01 * k, 1e-4, 0) for k in range(0, n, 5)]
    return {
        "Galaxy": (names, rows[::-1]),
        "SpecObj": (["specobjid", "bestobjid", "z", "zErr", "zWarning"], spectra),
    }


def query(standin: Any, network_to: Any, sql: str, **how: Any) -> tuple[Any, Any]:
    server = {"tables": galaxies(), **{k: how.pop(k) for k in ("tables", "cap", "fault") if k in how}}
    with standin.StandIn(**server) as sky:
        return run_sql(network_to(sky.url), sql, url=sky.url, **how), sky


def test_a_small_query_is_asked_once(standin: Any, network_to: Any) -> None:
    catalog, sky = query(standin, network_to, f"SELECT objid, ra, dec, note FROM Galaxy WHERE objid < {FIRST + 7} ;")
    assert sky.asked == {"sql": 1} and len(catalog) == 7
    assert set(catalog.ids) == {str(FIRST + k) for k in range(7)}  # digit by digit
    assert sky.requests[0].query["format"] == "json" and catalog.unit("ra") == "deg"


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("page", [7, 50, 125, 249, 250, 251])
def test_pages_hold_every_row_once(page: int, form: str, standin: Any, network_to: Any) -> None:
    told: list[int] = []
    catalog, sky = query(
        standin, network_to, "SELECT * FROM Galaxy", key="objid", page=page, form=form,
        progress=lambda done, total, text: told.append(done),
    )  # fmt: skip
    assert catalog.ids == [str(FIRST + k) for k in range(N)]
    assert sky.asked["sql"] == -(-N // page) + 1  # the last, empty page proves that nothing was cut off
    assert told == [min(page * k, N) for k in range(1, -(-N // page) + 1)]


@pytest.mark.parametrize("cap", [1, 10, 100])
def test_a_row_limit_nobody_told_of_loses_nothing(cap: int, standin: Any, network_to: Any) -> None:
    small = {"tables": galaxies(20) if cap == 1 else galaxies()}
    catalog, _ = query(
        standin, network_to, "SELECT objid, ra, dec FROM Galaxy", key="objid", page=500, cap=cap, **small
    )
    assert len(catalog) == len(small["tables"]["Galaxy"][1])


def test_rows_that_look_like_a_limit_are_asked_for_in_pages(standin: Any, network_to: Any) -> None:
    with standin.StandIn(tables=galaxies(2500), cap=2000) as sky:
        catalog = run_sql(network_to(sky.url), "SELECT objid, ra, dec FROM Galaxy", url=sky.url, page=900)
    assert len(catalog) == 2500
    with standin.StandIn(tables=galaxies(2500), cap=2000) as sky, pytest.raises(NetworkError, match="2,000 rows"):
        run_sql(network_to(sky.url), "SELECT field, ra, dec FROM Galaxy", url=sky.url, id="field")
    with standin.StandIn(tables=galaxies(2500)) as sky:  # a limit of the user's own
        assert len(run_sql(network_to(sky.url), "SELECT TOP 1000 objid FROM Galaxy", url=sky.url)) == 1000


def test_a_key_that_stands_twice_is_refused(standin: Any, network_to: Any) -> None:
    with pytest.raises(BadCatalog, match="would lose rows"):
        query(standin, network_to, "SELECT objid, camcol FROM Galaxy", key="camcol", id="objid", page=10)
    with pytest.raises(RecipeError, match="whole numbers"):
        query(standin, network_to, "SELECT objid, petroMag_r FROM Galaxy", key="petroMag_r", page=10)


def test_an_id_that_stands_twice_is_refused(standin: Any, network_to: Any) -> None:
    with pytest.raises(DuplicateIds):
        query(standin, network_to, "SELECT camcol, ra, dec FROM Galaxy", id="camcol")


@pytest.mark.parametrize("sql", ["", "DROP TABLE Galaxy", "SELECT 1; SELECT 2", "EXEC x", "SELEC objid"])
def test_one_select_is_wanted(sql: str, standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky:
        with pytest.raises(RecipeError, match="one SELECT"):
            run_sql(network_to(sky.url), sql, url=sky.url)
        assert not sky.requests


def test_no_rows_are_said(standin: Any, network_to: Any) -> None:
    for how in ({}, {"key": "objid"}, {"form": "csv"}):
        with pytest.raises(BadCatalog, match="no rows"):
            query(standin, network_to, "SELECT objid FROM Galaxy WHERE objid < 0", **how)


def test_no_id_is_said(standin: Any, network_to: Any) -> None:
    with pytest.raises(BadCatalog, match="id="):
        query(standin, network_to, "SELECT ra, dec FROM Galaxy")


@pytest.mark.parametrize("form", ["json", "csv"])
def test_failed_sql_is_an_error_with_the_servers_words(form: str, standin: Any, network_to: Any) -> None:
    with pytest.raises(NetworkError, match="no such column: objd"):
        query(standin, network_to, "SELECT objd FROM Galaxy", form=form)


REPLIES = [
    b"<html><head><title>503 Service Unavailable</title></head></html>",
    b"\n<!DOCTYPE html><html><body>Skyserver Error</body></html>",
    b"Your_browser_sent_an_invalid_request\n",
    b"#Table1\nYour_browser_sent_an_invalid_request\n1\n",
    b'{"Error": "Query timeout"}',
    b'{"ErrorMessage": "Incorrect syntax near x", "Rows": []}',
    b"[]", b"[1]", b'[{"TableName": "Table1"}]', b'[{"Rows": [1]}]', b'[{"Rows": [{"objid": 1}, {"ra": 1}]}]',
    b'[{"Rows": [{"objid": 1, "objid": 2}]}]', b'[{"Rows": [{"objid": 1}', b"null", b"plain words of regret",
    b"#Table1\nobjid,ra\n1\n", b"#Table1\nobjid,objid\n1,2\n", b'#Table1\nobjid,ra\n1,"2\n',
    b'[{"Rows": [{"objid": [1]}, {"objid": 2}]}]',
]  # fmt: skip


@pytest.mark.parametrize("reply", REPLIES, ids=range(len(REPLIES)))
@pytest.mark.parametrize("form", ["json", "csv"])
def test_what_is_no_table_is_never_data(
    reply: bytes, form: str, standin: Any, network_to: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(standin.StandIn, "_sql", lambda self, asked, fault: standin.Say(reply))
    with standin.StandIn() as sky, pytest.raises((NetworkError, BadCatalog)) as caught:
        run_sql(network_to(sky.url), "SELECT objid FROM Galaxy", url=sky.url, form=form)
    assert isinstance(caught.value, NetworkError) or "no rows" in str(caught.value) or "id" in str(caught.value)


@pytest.mark.parametrize("fault", ["503", "429", "html", "cut", "reset", "empty"])
def test_a_fault_in_the_middle_of_the_pages_is_survived(fault: str, standin: Any, network_to: Any) -> None:
    seen: list[str] = []

    def third_fails(service: str, asked: Any, time: int) -> str:
        seen.append(asked.query["cmd"])
        return fault if len(set(seen)) == 3 and time == 1 else ""

    if fault == "html":  # a login page is no passing fault of a server: it is told at once
        with pytest.raises(NetworkError, match=r"(?i)sign in"):
            query(standin, network_to, "SELECT objid FROM Galaxy", key="objid", page=50, fault=third_fails)
        return
    catalog, _ = query(standin, network_to, "SELECT objid FROM Galaxy", key="objid", page=50, fault=third_fails)
    assert catalog.ids == [str(FIRST + k) for k in range(N)]


def test_a_maintenance_page_with_status_200_is_asked_for_again(standin: Any, network_to: Any, monkeypatch: Any) -> None:
    real, times = standin.StandIn._sql, [0]

    def first_down(self: Any, asked: Any, fault: str) -> Any:
        times[0] += 1
        return standin.Say(b"<html>503 Service Unavailable</html>") if times[0] == 1 else real(self, asked, fault)

    monkeypatch.setattr(standin.StandIn, "_sql", first_down)
    catalog, _ = query(standin, network_to, "SELECT objid FROM Galaxy")
    assert len(catalog) == N and times[0] == 2


def test_photometry_has_units_and_nulls(standin: Any, network_to: Any) -> None:
    with standin.StandIn(tables=galaxies()) as sky:
        network = network_to(sky.url)
        catalog = run_preset(network, "photometry", where="p.petroMag_r BETWEEN 14 AND 17.1", url=sky.url, page=40)
        assert all("petroMag_r BETWEEN 14 AND 17.1" in asked.query["cmd"] for asked in sky.requests)
        with pytest.raises(RecipeError, match="which galaxies"):
            run_preset(network, "photometry", url=sky.url)
    assert len(catalog) == 101 and catalog.ids[0] == str(FIRST)
    assert (
        catalog.unit("petroR90_r") == "arcsec" and catalog.unit("petroMag_u") == "mag" and catalog.unit("dec") == "deg"
    )
    assert np.isnan(catalog["petroR90_r"][3]) and catalog["petroR90_r"][4] == 4.0
    redshift = catalog["redshift"]
    assert np.isnan(redshift[1]) and redshift[5] == pytest.approx(0.05)


def zoo() -> dict[str, Any]:
    one = ["specobjid", "objid", "dr7objid", "ra", "dec", "nvote", "p_el", "p_cw", "p_acw", "p_edge", "p_dk", "p_mg",
           "p_cs", "p_el_debiased", "p_cs_debiased", "spiral", "elliptical", "uncertain"]  # fmt: skip
    rows = [(k, FIRST + k, 587722981736120347 + k, 1.5, 2.5, 40, *[0.1] * 9, 0, 0, 1) for k in range(30)]
    stem = "t01_smooth_or_features_a01_smooth"
    two = ["specobjid", "dr8objid", "dr7objid", "ra", "dec", "rastring", f"{stem}_count", f"{stem}_weight",
           f"{stem}_debiased", f"{stem}_flag"]  # fmt: skip
    votes = [(k, FIRST + k, 587722981736120347 + k, 1.5, 2.5, "00:06:00", k, 1.5, 0.5, 0) for k in range(30)]
    photo = galaxies(30)
    return {"zooSpec": (one, rows), "zooNoSpec": (one, rows[:9]), "zoo2MainSpecz": (two, votes),
            "PhotoObjAll": photo["Galaxy"], "SpecObj": photo["SpecObj"]}  # fmt: skip


@pytest.mark.parametrize(("preset", "rows"), [("galaxyzoo1", 30), ("galaxyzoo1-nospec", 9), ("galaxyzoo2", 30)])
def test_galaxy_zoo_has_its_votes_by_dr7_ids(preset: str, rows: int, standin: Any, network_to: Any) -> None:
    with standin.StandIn(tables=zoo()) as sky:
        catalog = run_preset(network_to(sky.url), preset, url=sky.url, page=8)
    assert catalog.ids == [str(587722981736120347 + k) for k in range(rows)]
    assert catalog.unit("ra") == "deg" and catalog.ra is not None
    if preset == "galaxyzoo2":
        names = set(catalog.columns)
        assert {"t01_smooth_or_features_a01_smooth_count", "t01_smooth_or_features_a01_smooth_debiased"} <= names
        assert not {"rastring", "t01_smooth_or_features_a01_smooth_weight"} & names
        assert {"run", "camcol", "field", "petroR90_r"} <= names and catalog.unit("petroR90_r") == "arcsec"
        assert catalog["t01_smooth_or_features_a01_smooth_count"].dtype == np.int64


def test_presets_are_documented_and_short_enough_for_a_server() -> None:
    for name, preset in PRESETS.items():
        assert preset.title and preset.units and len(preset.select("p.ra > 1")) < 1000, name
    with pytest.raises(RecipeError, match="galaxyzoo2"):
        run_preset(None, "galaxyzoo3")  # type: ignore[arg-type]
