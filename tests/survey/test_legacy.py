"""The Legacy Surveys' viewer: flux, inverse variance and mask by name, and its silent limits."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tuningfork.errors import BadImage, Reason, RecipeError
from tuningfork.galaxy.display import Display, render_record
from tuningfork.survey.service import Request
from tuningfork.survey.surveys import SURVEYS, find_survey

REQUEST = Request("a", 150.0, 2.0, 32.0, 64)
ALL = ("g", "r", "i", "z", "g_invvar", "r_invvar", "i_invvar", "z_invvar", "mask")


def fetch(standin: Any, network_to: Any, request: Request, fault: str = "", name: str = "legacy") -> Any:
    with standin.StandIn(lambda service, asked, time: fault) as sky:
        record = find_survey(name).fetch(network_to(sky.url), request, sky.url)
        return record, sky.requests[0].query


def test_flux_weight_and_mask_come_by_default(standin: Any, network_to: Any) -> None:
    record, query = fetch(standin, network_to, REQUEST)
    assert record.bands == ALL
    assert query["bands"] == "griz" and query["layer"] == "ls-dr10" and "invvar" in query and "maskbits" in query
    pixels = dict(zip(ALL, record.cutout().pixels, strict=True))
    assert np.array_equal(pixels["r"], np.float32(0.01) * standin.scene(150.0, 2.0, 64, "griz")[1])
    assert (pixels["z_invvar"] == 400).all() and set(np.unique(pixels["mask"])) == {0.0, 2.0}


def test_bands_are_those_asked_for_in_their_order(standin: Any, network_to: Any) -> None:
    record, query = fetch(standin, network_to, dataclasses.replace(REQUEST, bands=("z", "g")))
    assert record.bands == ("z", "g") and query["bands"] == "zg" and "invvar" not in query and "maskbits" not in query
    swapped, _ = fetch(standin, network_to, dataclasses.replace(REQUEST, bands=("r", "r_invvar", "mask")))
    assert swapped.bands == ("r", "r_invvar", "mask")
    with pytest.raises(RecipeError, match="asked for u"):
        fetch(standin, network_to, dataclasses.replace(REQUEST, bands=("u",)))


def test_a_display_picks_its_bands_by_name(standin: Any, network_to: Any) -> None:
    record, _ = fetch(standin, network_to, REQUEST)
    display = Display(size=32, bands=("z", "r", "g"), stretch="asinh")
    assert render_record(record, display).shape == (3, 32, 32)


def test_a_band_that_does_not_come_is_missed(standin: Any, network_to: Any) -> None:
    with pytest.raises(BadImage) as caught:
        fetch(standin, network_to, REQUEST, "one-band")
    assert caught.value.reason is Reason.MISSING_BAND and "z" in caught.value.detail


def test_no_weight_means_no_coverage(standin: Any, network_to: Any) -> None:
    with pytest.raises(BadImage) as caught:
        fetch(standin, network_to, REQUEST, "blank")
    assert caught.value.reason is Reason.NO_COVERAGE


@pytest.mark.parametrize("name", ["legacy", "legacy-jpeg"])
def test_the_server_clips_at_3000_pixels_and_we_do_not_ask_for_more(name: str, standin: Any, network_to: Any) -> None:
    with pytest.raises(BadImage) as caught:
        fetch(standin, network_to, dataclasses.replace(REQUEST, pixels=3001), name=name)
    assert caught.value.reason is Reason.TOO_LARGE
    careless = dataclasses.replace(SURVEYS[name], largest=4000)
    bands = ("g",) if name == "legacy" else ()
    with standin.StandIn() as sky, pytest.raises(BadImage) as caught:
        careless.fetch(
            network_to(sky.url, total=60.0, idle=30.0), Request("a", 150.0, 2.0, 1500.0, 3002, bands), sky.url
        )
    assert caught.value.reason is Reason.WRONG_SCALE and "3000 x 3000" in caught.value.detail


def test_another_layer_is_asked_for_by_name(standin: Any, network_to: Any) -> None:
    _, query = fetch(standin, network_to, dataclasses.replace(REQUEST, bands=("g",)), name="legacy:ls-dr9")
    assert query["layer"] == "ls-dr9"
    _, query = fetch(standin, network_to, REQUEST, name="legacy-jpeg:sdss2")
    assert query["layer"] == "sdss2"
    with pytest.raises(RecipeError, match="no layer"):
        find_survey("legacy:../../x")


def test_no_overlap_with_status_200_is_no_coverage(standin: Any, network_to: Any) -> None:
    with pytest.raises(BadImage) as caught:
        fetch(standin, network_to, REQUEST, "off")
    assert caught.value.reason is Reason.NO_COVERAGE and "no overlap" in caught.value.detail
