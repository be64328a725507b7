"""Every survey against every failure of its service: the right record, or the right reason, and never anything else."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tuningfork.errors import BadImage, NetworkError, Reason, RecipeError
from tuningfork.galaxy.cutout import COLOUR
from tuningfork.network import Limits, Network, ReplyError
from tuningfork.survey.service import Request, check_flux, check_picture, check_reachable, connect, refusal
from tuningfork.survey.surveys import SURVEYS, find_survey

NAMES = ("sdss", "sdss-frames", "skyview", "legacy", "legacy-jpeg", "hips:CDS/P/SDSS9/{band}",
         "hips-jpeg:CDS/P/SDSS9/color", "panstarrs")  # fmt: skip
NATIVE = ("sdss-frames", "panstarrs")
PICTURES = ("sdss", "legacy-jpeg", "hips-jpeg:CDS/P/SDSS9/color")
PLACE = (150.05, 2.0833333)  # the middle of one of the stand-in's frames
OFF = (150.0, -75.0)


def request_for(name: str, place: tuple[float, float] = PLACE, bands: tuple[str, ...] = ()) -> Request:
    chosen = bands or (("g", "r") if name not in PICTURES else ())
    if name in NATIVE:
        return Request("a", *place, 25.0, 0, chosen)
    return Request("a", *place, 32.0, 64, chosen)


def once(wanted: str, fault: str) -> Callable[[str, Any, int], str]:
    """A fault at the first request for anything of one service."""
    return lambda service, asked, time: fault if service == wanted and time == 1 else ""


def always(fault: str, *services: str) -> Callable[[str, Any, int], str]:
    return lambda service, asked, time: fault if not services or service in services else ""


def image_service(name: str) -> str:
    kinds = {"sdss": "getjpeg", "sdss-frames": "frame", "skyview": "runquery", "legacy": "fits-cutout",
             "legacy-jpeg": "jpeg-cutout", "panstarrs": "fitscut"}  # fmt: skip
    return kinds.get(name, "hips2fits")


@pytest.mark.parametrize("name", NAMES)
def test_a_good_service_gives_the_record_that_was_asked_for(name: str, standin: Any, network_to: Any) -> None:
    survey, request = find_survey(name), request_for(name)
    with standin.StandIn() as sky:
        record = survey.fetch(network_to(sky.url), request, sky.url)
        again = survey.fetch(network_to(sky.url), request, sky.url)
    assert record.data == again.data and record.sha256 == again.sha256 and len(record.sha256) == 64
    cutout = record.cutout()
    assert cutout.bands == (COLOUR if name in PICTURES else ("g", "r"))
    side = round(25 / survey.pixel_scale) if name in NATIVE else 64
    assert cutout.pixels.shape[1:] == (side, side)
    assert (record.ra, record.dec) == PLACE and record.pixel_scale == pytest.approx(
        survey.pixel_scale if name in NATIVE else 0.5
    )
    assert record.source.startswith(sky.url)
    middle = cutout.pixels[:, side // 2 - 3 : side // 2 + 3, side // 2 - 3 : side // 2 + 3].astype(float)
    assert np.nanmean(middle) > 3 * np.nanmedian(np.abs(cutout.pixels.astype(float)))  # the galaxy is in the middle


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", ["429", "503", "500", "html", "empty", "cut", "reset"])
def test_what_passes_is_survived(name: str, fault: str, standin: Any, network_to: Any) -> None:
    survey, request = find_survey(name), request_for(name)
    with standin.StandIn(once(image_service(name), fault)) as sky:
        record = survey.fetch(network_to(sky.url), request, sky.url)
    with standin.StandIn() as good:
        expected = find_survey(name).fetch(network_to(good.url), request, good.url)
    assert record.data == expected.data


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [("503", Reason.UNREACHABLE), ("429", Reason.UNREACHABLE), ("cut", Reason.UNREACHABLE),
     ("reset", Reason.UNREACHABLE),
     ("404", Reason.REFUSED), ("403", Reason.REFUSED), ("html", Reason.NOT_AN_IMAGE), ("empty", Reason.NOT_AN_IMAGE)],
)  # fmt: skip
def test_what_stays_has_its_reason(name: str, fault: str, reason: Reason, standin: Any, network_to: Any) -> None:
    survey = find_survey(name)
    with standin.StandIn(always(fault, image_service(name))) as sky, pytest.raises(BadImage) as caught:
        survey.fetch(network_to(sky.url), request_for(name), sky.url)
    assert caught.value.reason is reason
    assert isinstance(caught.value.__cause__, ReplyError)
    if fault == "html":
        assert "sign in" in caught.value.__cause__.text.lower()


@pytest.mark.parametrize("name", ["sdss", "legacy"])
def test_a_slow_drip_is_cut_off(name: str, standin: Any, network_to: Any) -> None:
    with standin.StandIn(always("drip")) as sky, pytest.raises(BadImage) as caught:
        find_survey(name).fetch(network_to(sky.url, total=0.6, tries=1), request_for(name), sky.url)
    assert caught.value.reason is Reason.UNREACHABLE


@pytest.mark.parametrize("name", NAMES)
def test_off_the_footprint_is_no_coverage(name: str, standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky, pytest.raises(BadImage) as caught:
        find_survey(name).fetch(network_to(sky.url), request_for(name, OFF), sky.url)
    assert caught.value.reason is Reason.NO_COVERAGE


@pytest.mark.parametrize("name", NAMES)
def test_a_blank_tile_is_no_coverage(name: str, standin: Any, network_to: Any) -> None:
    with standin.StandIn(always("blank", image_service(name))) as sky, pytest.raises(BadImage) as caught:
        find_survey(name).fetch(network_to(sky.url), request_for(name), sky.url)
    assert caught.value.reason is Reason.NO_COVERAGE


@pytest.mark.parametrize("name", [n for n in NAMES if n != "sdss-frames"])
def test_a_clipped_image_is_of_the_wrong_scale(name: str, standin: Any, network_to: Any) -> None:
    with standin.StandIn(always("clipped")) as sky, pytest.raises(BadImage) as caught:
        find_survey(name).fetch(network_to(sky.url), request_for(name), sky.url)
    assert caught.value.reason is Reason.WRONG_SCALE


@pytest.mark.parametrize("name", [n for n in NAMES if n not in PICTURES and n != "sdss-frames"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [("centre", Reason.WRONG_POSITION), ("swapped", Reason.WRONG_POSITION), ("scale", Reason.WRONG_SCALE),
     ("mirrored", Reason.WRONG_POSITION), ("turned", Reason.WRONG_POSITION)],
)  # fmt: skip
def test_an_image_of_elsewhere_is_refused(name: str, fault: str, reason: Reason, standin: Any, network_to: Any) -> None:
    if (name, fault) == ("panstarrs", "turned"):
        pytest.skip("skycells are turned against north by design")
    with standin.StandIn(always(fault, image_service(name))) as sky, pytest.raises(BadImage) as caught:
        find_survey(name).fetch(network_to(sky.url), request_for(name), sky.url)
    assert caught.value.reason is reason


@pytest.mark.parametrize("name", NAMES)
def test_garbage_behind_a_good_beginning_is_refused(name: str, standin: Any, network_to: Any) -> None:
    with standin.StandIn(always("garbage", image_service(name))) as sky, pytest.raises(BadImage) as caught:
        find_survey(name).fetch(network_to(sky.url), request_for(name), sky.url)
    expected = {Reason.CORRUPT, Reason.TRUNCATED, Reason.NOT_AN_IMAGE, Reason.NO_COVERAGE, Reason.WRONG_POSITION}
    assert caught.value.reason in expected


# --- requests that no service is asked --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "request_", "error"),
    [
        ("sdss", Request("a", 1, 2, 30.0, 64, ("q",)), RecipeError),
        ("sdss", Request("a", 1, 2, 30.0, 32), Reason.TOO_SMALL),
        ("sdss", Request("a", 1, 2, 30.0, 2049), Reason.TOO_LARGE),
        ("legacy", Request("a", 1, 2, 30.0, 3001), Reason.TOO_LARGE),
        ("sdss", Request("a", math.nan, 2, 30.0, 64), Reason.WRONG_POSITION),
        ("sdss", Request("a", 1, 90.1, 30.0, 64), Reason.WRONG_POSITION),
        ("sdss", Request("a", 1, 2, 0.0, 64), Reason.WRONG_SCALE),
        ("sdss", Request("a", 1, 2, math.inf, 64), Reason.WRONG_SCALE),
        ("panstarrs", Request("a", 1, 2, 30.0, 64), RecipeError),
        ("skyview:DSS2 Red", Request("a", 1, 2, 30.0), RecipeError),
        ("hips", Request("a", 1, 2, 30.0, 64), RecipeError),
        ("hips:CDS/P/SDSS9/{band}", Request("a", 1, 2, 30.0, 64), RecipeError),
    ],
)
def test_what_a_survey_never_gives_is_not_asked_for(
    name: str, request_: Request, error: Any, standin: Any, network_to: Any
) -> None:
    with standin.StandIn() as sky:
        kind = BadImage if isinstance(error, Reason) else error
        with pytest.raises(kind) as caught:
            find_survey(name).fetch(network_to(sky.url), request_, sky.url)
        assert not sky.requests
    if isinstance(error, Reason):
        assert caught.value.reason is error


def test_native_pixels_are_counted_by_the_field_of_view() -> None:
    asked = SURVEYS["panstarrs"].complete(Request("a", 1, 2, 25.1))
    assert asked.pixels == 100 and asked.width_arcsec == 25.0 and asked.pixel_scale == 0.25
    free = SURVEYS["legacy"].complete(Request("a", 1, 2, 26.0))
    assert free.pixels == 99 and free.width_arcsec == 26.0  # the width is kept, the pixels are a little larger


def test_the_table_says_what_each_survey_is() -> None:
    for name, survey in SURVEYS.items():
        assert survey.name == name and survey.title and survey.units and survey.licence and survey.citation
        assert survey.rate > 0 and all(root.startswith("https://") and root.endswith("/") for root in survey.roots)
        assert all(survey.hosts)


def test_a_survey_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'legacy'"):
        find_survey("legasy")
    with pytest.raises(RecipeError, match="nothing after a colon"):
        find_survey("sdss:dr9")
    assert find_survey("skyview:DSS2 Red").name == "skyview:DSS2 Red"


def test_connect_allows_the_survey_or_the_mirror_alone(tmp_path: Any) -> None:
    survey = SURVEYS["sdss"]
    with connect(tmp_path, survey) as network:
        assert network.hosts.allow == {"skyserver.sdss.org"} and network.rates == {"skyserver.sdss.org": survey.rate}
    with connect(tmp_path, survey, "http://127.0.0.1:9/", rate=7.0) as network:
        assert not network.hosts.allow and network.rates == {"127.0.0.1:9": 7.0}
        with pytest.raises(NetworkError, match="not asked"):
            survey.fetch(network, Request("a", 1, 2, 30.0, 64))


def test_what_concerns_every_galaxy_is_no_galaxys_fault() -> None:
    for cause in ("address", "connection"):
        with pytest.raises(ReplyError):
            refusal(ReplyError("the certificate is not trusted", kind="permanent", cause=cause))
    assert refusal(ReplyError("reset", kind="transient", cause="connection")).reason is Reason.UNREACHABLE


def test_a_service_may_keep_silent_as_long_as_it_needs(tmp_path: Any) -> None:
    for name, silence in (("sdss", 30.0), ("skyview", 180.0)):
        with connect(tmp_path, SURVEYS[name]) as network:
            assert network.limits.idle == silence and network.limits.total >= 2 * silence
    with connect(tmp_path, SURVEYS["sdss"], limits=Limits(idle=5.0)) as network:
        assert network.limits.idle == 5.0


def test_no_network_is_said_at_once(network_to: Any) -> None:
    network = network_to("http://127.0.0.1:1/")
    with pytest.raises(NetworkError, match="no such server"):
        check_reachable(network, "http://127.0.0.1:1/")


def test_any_answer_means_that_there_is_a_network(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky:
        check_reachable(network_to(sky.url), sky.url + "nothing")
        assert len(sky.requests) == 1


@pytest.mark.parametrize(
    ("text", "kind", "cause", "reason"),
    [
        ("no overlap", "permanent", "content", Reason.NO_COVERAGE),
        ("The position lies outside the footprint", "permanent", "status", Reason.NO_COVERAGE),
        ("No images found at this position", "permanent", "status", Reason.NO_COVERAGE),
        ("No data overlaps RA,Dec", "permanent", "status", Reason.NO_COVERAGE),
        ("no overlap", "transient", "status", Reason.UNREACHABLE),
        ("Sign in", "permanent", "content", Reason.NOT_AN_IMAGE),
        ("", "permanent", "limit", Reason.TOO_LARGE),
        ("Not found", "permanent", "status", Reason.REFUSED),
        ("no such survey", "permanent", "status", Reason.REFUSED),
    ],
)
def test_refusals(text: str, kind: str, cause: str, reason: Reason) -> None:
    assert refusal(ReplyError("said", kind=kind, cause=cause, text=text)).reason is reason


# --- blank or not -----------------------------------------------------------------------------------------------------


def test_partial_coverage_is_kept_unless_the_middle_is_missing() -> None:
    plane = np.random.default_rng(0).normal(size=(30, 30)).astype(np.float32)
    plane[:8] = np.nan
    check_flux(plane, "g")
    plane[10:20, 10:20] = np.nan
    with pytest.raises(BadImage, match="middle"):
        check_flux(plane, "g")


def test_pictures_of_real_galaxies_are_not_blank(real_data: Any) -> None:
    from tuningfork.galaxy.decode import decode

    paths = sorted((real_data / "gz1").rglob("*.jpg"))[:60] + sorted((real_data / "efigi").rglob("*.jpg"))[:60]
    assert len(paths) == 120
    for path in paths:
        check_picture(decode(path.read_bytes()).pixels)


def test_the_network_is_not_asked_twice_for_what_is_refused(standin: Any, network_to: Any) -> None:
    with standin.StandIn(always("404")) as sky, pytest.raises(BadImage):
        SURVEYS["sdss"].fetch(network_to(sky.url), request_for("sdss"), sky.url)
    assert sky.asked == {"getjpeg": 1}


def test_network_is_a_network(network_to: Any, standin: Any) -> None:
    with standin.StandIn() as sky:
        assert isinstance(network_to(sky.url), Network)
