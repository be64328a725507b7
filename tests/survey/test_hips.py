"""hips2fits: full ids only, the mirror where the first server fails, NaN as no coverage."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tuningfork.errors import BadImage, Reason, RecipeError
from tuningfork.network import Limits, Network
from tuningfork.survey.service import Request
from tuningfork.survey.surveys import find_survey

REQUEST = Request("a", 150.0, 2.0, 32.0, 64)


@pytest.mark.parametrize("name", ["hips:DSS2", "hips:DSS2/red", "hips:", "hips:CDS P DSS2", "hips-jpeg:color"])
def test_a_short_id_is_refused_because_the_service_would_guess(name: str) -> None:
    with pytest.raises(RecipeError, match="at random"):
        find_survey(name)


@pytest.mark.parametrize("name", ["hips:CDS/P/DSS2/red", "hips:ivo://CDS/P/DSS2/red", "hips:ov-gso/P/GALEXGR6/AIS/NUV"])
def test_one_hips_is_one_band(name: str, standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky:
        record = find_survey(name).fetch(network_to(sky.url), REQUEST, sky.url)
        query = sky.requests[0].query
    assert record.bands == (name.rsplit("/", 1)[1],) and record.cutout().pixels.shape == (1, 64, 64)
    assert query["hips"] == name.removeprefix("hips:") and float(query["fov"]) * 3600 == pytest.approx(32.0)
    assert query["coordsys"] == "icrs" and query["projection"] == "TAN"


def test_a_pattern_is_one_hips_for_each_band(standin: Any, network_to: Any) -> None:
    request = dataclasses.replace(REQUEST, bands=("g", "r", "i"))
    with standin.StandIn() as sky:
        record = find_survey("hips:CDS/P/SDSS9/{band}").fetch(network_to(sky.url), request, sky.url)
        assert [asked.query["hips"] for asked in sky.requests] == [f"CDS/P/SDSS9/{band}" for band in "gri"]
    assert record.bands == ("g", "r", "i") and np.isfinite(record.cutout().pixels).all()


@pytest.mark.parametrize("crpix", [0.0, 0.5, 1.0])
def test_half_a_pixel_of_freedom_in_where_the_middle_is(crpix: float, standin: Any, network_to: Any) -> None:
    wide = dataclasses.replace(REQUEST, width_arcsec=640.0)  # 10 arcsec a pixel: half of it is far above 1 arcsec
    with standin.StandIn(crpix=crpix) as sky:
        find_survey("hips:CDS/P/DSS2/red").fetch(network_to(sky.url), wide, sky.url)


def test_an_unknown_hips_stops_the_run(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky, pytest.raises(RecipeError, match="No HiPS found"):
        find_survey("hips:CDS/P/unknown").fetch(network_to(sky.url), REQUEST, sky.url)


def test_a_picture_is_one_hips(standin: Any, network_to: Any) -> None:
    with pytest.raises(RecipeError, match="several"):
        find_survey("hips-jpeg:CDS/P/SDSS9/{band}")
    with standin.StandIn() as sky:
        record = find_survey("hips-jpeg:CDS/P/SDSS9/color").fetch(network_to(sky.url), REQUEST, sky.url)
        assert sky.requests[0].query["format"] == "jpg"
    assert record.format == "jpeg" and record.bands == ("red", "green", "blue")


def test_the_mirror_is_asked_where_the_first_fails_but_not_where_it_refuses(standin: Any, tmp_path: Any) -> None:
    def both(first: Any, second: Any) -> Any:
        roots = (first.url, second.url)
        survey = dataclasses.replace(find_survey("hips:CDS/P/DSS2/red"), roots=roots)
        limits = Limits(idle=1.0, total=5.0, tries=4)
        rates = {root.split("/")[2]: 1e9 for root in roots}
        with Network(tmp_path, mirrors=roots, rates=rates, limits=limits, sleep=lambda s: None) as network:
            return survey.fetch(network, REQUEST)

    with standin.StandIn(lambda service, asked, time: "500") as first, standin.StandIn() as second:
        assert both(first, second).source.startswith(second.url)
        assert first.asked == {"hips2fits": 3} and second.asked == {"hips2fits": 1}
    with standin.StandIn(lambda service, asked, time: "403") as first, standin.StandIn() as second:
        with pytest.raises(BadImage) as caught:
            both(first, second)
        assert caught.value.reason is Reason.REFUSED and not second.asked
