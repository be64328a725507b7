"""Pan-STARRS: the file of each band, native pixels, and compressed counts made linear."""

import io
import math
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from tuningfork.errors import BadImage, Reason
from tuningfork.survey.panstarrs import ASINH, files
from tuningfork.survey.service import Request
from tuningfork.survey.surveys import SURVEYS

REQUEST = Request("a", 150.0, 2.0, 16.0, 0, ("g", "i"))


def test_each_band_is_cut_from_its_own_file(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky:
        record = SURVEYS["panstarrs"].fetch(network_to(sky.url), REQUEST, sky.url)
        listed, *cuts = sky.requests
    assert listed.query["filters"] == "gi" and listed.query["type"] == "stack"
    assert [cut.query["red"].split(".")[-3] for cut in cuts] == ["g", "i"]
    assert all(cut.query["size"] == "64" and cut.query["format"] == "fits" for cut in cuts)
    assert record.bands == ("g", "i") and record.pixel_scale == 0.25 and record.cutout().pixels.shape == (2, 64, 64)


def test_a_band_that_was_not_observed_is_no_coverage(standin: Any, network_to: Any) -> None:
    with standin.StandIn(lambda s, a, t: "one-band" if s == "ps1filenames" else "") as sky:
        with pytest.raises(BadImage) as caught:
            SURVEYS["panstarrs"].fetch(network_to(sky.url), REQUEST, sky.url)
        assert caught.value.reason is Reason.NO_COVERAGE and "no i image" in caught.value.detail


@pytest.mark.parametrize("table", [b"", b"<html></html>", b"filter filename\ng\n", b"a b c\n1 2 3\n"])
def test_a_list_of_files_that_is_none(table: bytes) -> None:
    with pytest.raises(BadImage):
        files(table)


def test_the_first_file_of_a_band_counts() -> None:
    table = b"filter filename x\ng /a 1\ng /b 2\nr /c 3\n"
    assert files(table) == {"g": "/a", "r": "/c"} and files(b"filter filename\n") == {}


def test_counts_compressed_by_asinh_are_made_linear(standin: Any, network_to: Any, monkeypatch: Any) -> None:
    flux = np.random.default_rng(1).uniform(-5, 5000, (64, 64))
    soften, offset = 320.0, 17.0
    # L = BOFFSET + BSOFTEN (e^(C/a) - e^(-C/a)), solved for C
    stored = (ASINH * np.arcsinh((flux - offset) / (2 * soften))).astype(np.float32)
    header = standin._header(150.0, 2.0, 64, 0.25)
    header["BSOFTEN"], header["BOFFSET"] = soften, offset
    stream = io.BytesIO()
    fits.PrimaryHDU(stored, header).writeto(stream)
    monkeypatch.setattr(standin.StandIn, "_fitscut", lambda self, asked, fault: standin.Say(stream.getvalue()))
    with standin.StandIn() as sky:
        record = SURVEYS["panstarrs"].fetch(network_to(sky.url), REQUEST, sky.url)
    assert pytest.approx(1.0857, abs=1e-4) == ASINH and math.isclose(ASINH, 2.5 / math.log(10))
    # float32 of C near 3 holds 2e-7 relative, so L to about C * 2e-7 / a of itself
    assert np.allclose(record.cutout().pixels[0], flux, rtol=2e-6, atol=1e-3)
