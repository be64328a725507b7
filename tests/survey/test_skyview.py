"""SkyView: the file at once or by a link, its survey by name, and SDSS bands as one cube."""

from typing import Any

import pytest

from tuningfork.errors import BadImage, Reason, RecipeError
from tuningfork.survey.service import Request
from tuningfork.survey.surveys import SURVEYS, find_survey

REQUEST = Request("a", 150.0, 2.0, 32.0, 64)


def test_sdss_comes_as_five_bands(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky:
        record = SURVEYS["skyview"].fetch(network_to(sky.url), REQUEST, sky.url)
        asked = sky.requests
    assert record.bands == tuple("ugriz") and record.cutout().pixels.shape == (5, 64, 64)
    assert [one.query["survey"] for one in asked] == [f"SDSS{band}" for band in "ugriz"]
    assert all(float(one.query["size"]) * 3600 == pytest.approx(32.0) for one in asked)  # never SkyView's default
    assert all(one.query["Position"] == "150.0000000,2.0000000" for one in asked)


def test_two_steps_give_the_same_record_as_one(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky:
        direct = SURVEYS["skyview"].fetch(network_to(sky.url), REQUEST, sky.url)
    with standin.StandIn(two_steps=True) as sky:
        linked = SURVEYS["skyview"].fetch(network_to(sky.url), REQUEST, sky.url)
        assert sky.asked == {"runquery": 5, "tempspace": 5}
    assert direct.data == linked.data
    assert "tempspace" not in linked.source  # those names change from run to run


def test_a_survey_by_its_name_has_one_band(standin: Any, network_to: Any) -> None:
    survey = find_survey("skyview:DSS2 Red")
    with standin.StandIn() as sky:
        record = survey.fetch(network_to(sky.url), REQUEST, sky.url)
        assert sky.requests[0].query["survey"] == "DSS2 Red"
    assert record.bands == ("Red",) and survey.pixel_scale == 0  # so that the number of pixels has to be said


def test_an_unknown_survey_stops_the_run_rather_than_reject_each_galaxy(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky, pytest.raises(RecipeError, match="DSS9 Violet"):
        find_survey("skyview:DSS9 Violet").fetch(network_to(sky.url), REQUEST, sky.url)


def test_a_page_without_a_link_is_no_image(standin: Any, network_to: Any) -> None:
    with standin.StandIn(lambda service, asked, time: "html") as sky, pytest.raises(BadImage) as caught:
        SURVEYS["skyview"].fetch(network_to(sky.url), REQUEST, sky.url)
    assert caught.value.reason is Reason.NOT_AN_IMAGE


def test_a_link_that_leads_nowhere_is_refused(standin: Any, network_to: Any) -> None:
    fault = lambda service, asked, time: "404" if service == "tempspace" else ""  # noqa: E731
    with standin.StandIn(fault, two_steps=True) as sky, pytest.raises(BadImage) as caught:
        SURVEYS["skyview"].fetch(network_to(sky.url), REQUEST, sky.url)
    assert caught.value.reason is Reason.REFUSED
