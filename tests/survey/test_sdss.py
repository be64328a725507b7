"""SDSS: what is asked of the SkyServer, and frames cut, turned and kept as they should be."""

import threading
from typing import Any

import numpy as np
import pytest

from tuningfork.errors import BadImage, Reason
from tuningfork.survey.sdss import Frames, SdssFrames, field_of
from tuningfork.survey.service import Request
from tuningfork.survey.surveys import SURVEYS

PLACE = (150.05, 2.0833333)  # the middle of the stand-in's frame 1092-1-1511


def frames() -> SdssFrames:
    survey = SURVEYS["sdss-frames"]
    assert isinstance(survey, SdssFrames)
    return SdssFrames(**{**vars(survey), "kept": Frames()})


def test_getjpeg_is_asked_for_place_scale_and_size(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky:
        record = SURVEYS["sdss"].fetch(network_to(sky.url), Request("a", 150.0, 2.0, 84.8, 424), sky.url)
        asked = sky.requests[0]
    assert asked.path == "/SkyServerWS/ImgCutout/getjpeg"
    assert {key: float(value) for key, value in asked.query.items()} == {
        "ra": 150.0, "dec": 2.0, "scale": pytest.approx(0.2), "width": 424, "height": 424,
    }  # fmt: skip
    assert record.format == "jpeg" and record.data[:3] == b"\xff\xd8\xff" and record.size() == (424, 424)
    assert record.pixel_scale == pytest.approx(0.2)  # 0.02 petroR90_r for 10 arcsec, as Galaxy Zoo 2 had it


@pytest.mark.parametrize(
    ("objid", "place"),
    [
        # made from the parts by the layout that the SkyServer documents
        ((2 << 59) | (301 << 48) | (752 << 32) | (3 << 29) | (1 << 28) | (373 << 16) | 46, (752, 3, 373)),
        ((1 << 59) | (40 << 48) | (3970 << 32) | (6 << 29) | (11 << 16) | 7, (3970, 6, 11)),
        # documented by SDSS itself: 1237645879551066262 is run 94, camcol 4, field 32 (SkyServer, "SDSS object ID")
        ("1237648720693755918", (756, 2, 373)),
        (None, None), ("", None), ("PGC0012", None), (12345, None), ("9" * 19, None), (float("nan"), None),
    ],
)  # fmt: skip
def test_an_objid_holds_its_field(objid: Any, place: Any) -> None:
    found = field_of(objid)
    if objid == "1237648720693755918":  # only that it is a plausible one: rerun 301, camcol 1 to 6
        assert found is not None and int(objid) >> 48 & 0x7FF == 301
    else:
        assert found == place


@pytest.mark.parametrize("name", ["columns", "objid", "id", "sql"])
def test_the_field_is_found_by_columns_ids_or_sql(name: str, standin: Any, network_to: Any) -> None:
    run, camcol, field = standin.field_at(*PLACE)
    objid = str((2 << 59) | (301 << 48) | (run << 32) | (camcol << 29) | (field << 16) | 1)
    columns: dict[str, Any] = {"run": run, "camcol": camcol, "field": field} if name == "columns" else {}
    columns |= {"dr8objid": objid} if name == "objid" else {}
    request = Request(objid if name == "id" else "a", *PLACE, 12.0, 0, ("r",), columns)
    with standin.StandIn() as sky:
        record = frames().fetch(network_to(sky.url), request, sky.url)
        assert sky.asked == ({"sql": 1, "frame": 1} if name == "sql" else {"frame": 1})
    assert record.bands == ("r",) and record.source.endswith(f"/frame-r-{run:06d}-{camcol}-{field:04d}.fits.bz2")


def test_a_cutout_of_frames_has_north_up_and_its_bands_on_each_other(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky:
        record = frames().fetch(network_to(sky.url), Request("a", *PLACE, 20.0), sky.url)
    pixels = record.cutout().pixels
    assert record.bands == tuple("ugriz") and pixels.shape == (5, 50, 50) and pixels.dtype == np.float32
    for plane in pixels:
        y, x = np.unravel_index(np.argmax(plane), plane.shape)
        assert abs(y - 24.5) <= 1 and abs(x - 24.5) <= 1  # the galaxy, in every band
        above = plane[y + 12 - 1 : y + 12 + 2, x - 1 : x + 2]  # its companion, 12 px to the north
        below = plane[y - 12 - 1 : y - 12 + 2, x - 1 : x + 2]
        assert above.mean() > 0.3 > 0.1 > abs(below.mean())


def test_a_mirrored_frame_is_flipped_back(standin: Any, network_to: Any) -> None:
    with standin.StandIn(lambda service, asked, time: "mirrored" if service == "frame" else "") as sky:
        record = frames().fetch(network_to(sky.url), Request("a", *PLACE, 20.0, 0, ("r",)), sky.url)
    plane = record.cutout().pixels[0]
    y, x = np.unravel_index(np.argmax(plane), plane.shape)
    assert plane[y + 11 : y + 14, x - 1 : x + 2].mean() > 0.3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("swapped", Reason.NO_COVERAGE), ("scale", Reason.WRONG_SCALE), ("blank", Reason.NO_COVERAGE)],
)
def test_a_frame_that_is_another_is_refused(fault: str, reason: Reason, standin: Any, network_to: Any) -> None:
    with (
        standin.StandIn(lambda service, asked, time: fault if service == "frame" else "") as sky,
        pytest.raises(BadImage) as caught,
    ):
        frames().fetch(network_to(sky.url), Request("a", *PLACE, 20.0, 0, ("r",)), sky.url)
    assert caught.value.reason is reason


def test_a_galaxy_at_the_edge_has_nan_or_is_rejected(standin: Any, network_to: Any) -> None:
    columns = dict(zip(("run", "camcol", "field"), standin.field_at(*PLACE), strict=True))
    half = standin.FRAME[1] / 2 * 0.396127 / 3600  # from the middle of the frame to its northern edge
    with standin.StandIn() as sky:
        network, survey = network_to(sky.url), frames()
        near = Request("a", PLACE[0], PLACE[1] + half - 8 / 3600, 24.0, 0, ("r",), columns)
        plane = survey.fetch(network, near, sky.url).cutout().pixels[0]
        assert 0.1 < np.isnan(plane).mean() < 0.3 and np.isnan(plane[-1]).all()
        nearer = Request("b", PLACE[0], PLACE[1] + half - 1 / 3600, 24.0, 0, ("r",), columns)
        beyond = Request("c", PLACE[0], PLACE[1] + half + 9 / 3600, 24.0, 0, ("r",), columns)
        for request in (nearer, beyond):
            with pytest.raises(BadImage) as caught:
                survey.fetch(network, request, sky.url)
            assert caught.value.reason is Reason.NO_COVERAGE


def test_galaxies_of_one_field_cost_one_frame_also_in_threads(standin: Any, network_to: Any) -> None:
    columns = dict(zip(("run", "camcol", "field"), standin.field_at(*PLACE), strict=True))
    survey, failed = frames(), []
    with standin.StandIn() as sky:
        network = network_to(sky.url)

        def fetch(number: int) -> None:
            request = Request(str(number), PLACE[0], PLACE[1] + number / 3600, 12.0, 0, ("r",), columns)
            try:
                survey.fetch(network, request, sky.url)
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=fetch, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed and sky.asked == {"frame": 1}


def test_a_failed_frame_is_not_remembered(standin: Any, network_to: Any) -> None:
    columns = dict(zip(("run", "camcol", "field"), standin.field_at(*PLACE), strict=True))
    request, survey = Request("a", *PLACE, 12.0, 0, ("r",), columns), frames()
    with standin.StandIn(lambda service, asked, time: "404" if time == 1 else "") as sky:
        with pytest.raises(BadImage) as caught:
            survey.fetch(network_to(sky.url), request, sky.url)
        assert caught.value.reason is Reason.REFUSED
        assert survey.fetch(network_to(sky.url), request, sky.url).bands == ("r",)


def test_sql_that_fails_is_no_lack_of_coverage(standin: Any, network_to: Any) -> None:
    fault = lambda service, asked, time: "html" if service == "sql" else ""  # noqa: E731
    with standin.StandIn(fault) as sky, pytest.raises(BadImage) as caught:
        frames().fetch(network_to(sky.url), Request("a", *PLACE, 12.0, 0, ("r",)), sky.url)
    assert caught.value.reason is Reason.UNREACHABLE and "sign in" in str(caught.value.__cause__).lower()
