"""Damaged, hostile and boundless bytes: every one leaves the door as one BadImage, soon, and without filling memory."""

import bz2
import gzip
import importlib.util
import io
import json
import struct
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import BadImage, Reason
from tuningfork.galaxy.budget import MEMBERS, Budget
from tuningfork.galaxy.decode import decode, image_size
from tuningfork.galaxy.fits import read_planes

HERE = Path(__file__).parent / "badbytes.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("badbytes", HERE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


badbytes = _load()
SEEDS = badbytes.seeds()
CASES = [(kind, number) for kind, group in SEEDS.items() for number in range(len(group))]


def outcome(data: bytes) -> str:
    """The reason, or "accepted" with every promise about accepted images checked; no warning may be issued."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            image = decode(data)
        except BadImage as error:
            assert isinstance(error.reason, Reason) and len(error.detail) <= 200
            return error.reason.value
        finally:
            assert not heard, [str(warning.message) for warning in heard]
    assert image.pixels.ndim == 3 and image.pixels.dtype in (np.uint8, np.float32) and min(image.pixels.shape[1:]) >= 8
    assert len(image.bands) == len(image.pixels) and not np.isinf(image.pixels).any()
    return "accepted"


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_the_seeds_are_good(kind: str, number: int) -> None:
    assert outcome(SEEDS[kind][number]) == "accepted"


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_no_cut_is_accepted(kind: str, number: int) -> None:
    data = SEEDS[kind][number]
    told = {outcome(cut) for cut in badbytes.cuts(data, 2000 // len(SEEDS[kind]), seed=number)}
    assert told <= {"empty", "not_an_image", "truncated", "corrupt"}, told
    assert "truncated" in told


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_no_flip_escapes(kind: str, number: int) -> None:
    damaged = badbytes.flips(SEEDS[kind][number], 2000 // len(SEEDS[kind]), seed=number)
    told = [outcome(flip) for flip in damaged]
    assert len(set(told)) > 1  # some flips hit: the flipper works


@pytest.mark.parametrize("kind", ["png", "gzip", "bzip2"])
def test_formats_with_checksums_accept_no_flip_in_what_these_cover(kind: str) -> None:
    for data in SEEDS[kind]:
        skipped = 10 if kind == "gzip" else 0  # gzip's own header carries a time and a system that no checksum covers
        for flip in badbytes.flips(data[skipped:], 300, seed=5):
            if flip != data[skipped:]:  # two flips of one bit cancel
                assert outcome(data[:skipped] + flip) != "accepted"


@given(st.binary(max_size=300), st.sampled_from([b"", *(group[0][:40] for group in SEEDS.values())]))
def test_random_bytes_are_no_image(tail: bytes, head: bytes) -> None:
    assert outcome(head + tail) in {"empty", "not_an_image", "truncated", "corrupt", "too_large", "wrong_shape"}


@given(st.binary(max_size=300), st.sampled_from(sorted(SEEDS)))
def test_the_size_of_random_bytes_is_told_or_refused(tail: bytes, kind: str) -> None:
    try:
        height, width = image_size(SEEDS[kind][0][:60] + tail)
    except BadImage:
        return
    assert height >= 0 and width >= 0


PAGES = {
    "html": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not_an_image"),
    "json": (b'{"error": "no such object", "status": 404}', "not_an_image"),
    "text": (b"objid,ra,dec\n1,2,3\n", "not_an_image"),
    "xml": (b'<?xml version="1.0"?><VOTABLE/>', "not_an_image"),
    "gif": (b"GIF89a" + bytes(40), "not_an_image"),
    "pdf": (b"%PDF-1.7" + bytes(40), "not_an_image"),
    "pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00", "not_an_image"),
    "empty": (b"", "empty"),
    "zeros": (bytes(5000), "not_an_image"),
    "html in gzip": (gzip.compress(b"<html></html>"), "not_an_image"),
    "gzip of nothing": (gzip.compress(b""), "empty"),
    "gzip in gzip": (gzip.compress(gzip.compress(b"SIMPLE")), "not_an_image"),
    "many members": (gzip.compress(b"a") * (MEMBERS + 1), "corrupt"),
}


@pytest.mark.parametrize("name", PAGES)
def test_what_servers_send_in_place_of_images(name: str) -> None:
    data, reason = PAGES[name]
    assert outcome(data) == reason


def test_an_archive_of_arrays_says_what_to_do() -> None:
    stream = io.BytesIO()
    np.savez(stream, a=np.eye(9))
    with pytest.raises(BadImage, match=r"store one array as \.npy"):
        decode(stream.getvalue())


def test_arrays_of_objects_are_never_unpickled() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadImage, match="objects are never read"):
        decode(stream.getvalue())


@pytest.mark.parametrize("kind", ["HCOMPRESS_1", "PLIO_1"])
def test_unsafe_tile_compressions_never_reach_their_decoders(kind: str) -> None:
    """astropy 8.0.2 corrupts its heap on damaged tiles of these: a flipped bit can end the process."""
    hdu = fits.CompImageHDU(np.clip(badbytes.noise(16, 16), 0, 200).astype(np.int16), compression_type=kind)
    with pytest.raises(BadImage, match="funpack") as caught:
        decode(badbytes.fits_bytes(fits.PrimaryHDU(), hdu))
    assert caught.value.reason is Reason.NOT_AN_IMAGE


def test_bombs_are_refused_within_a_second_and_300_mb() -> None:
    """In a process of its own, which first decodes good images, so that what libraries cost is not counted."""
    bombs = badbytes.bombs()
    assert len(bombs) >= 12
    parts = [struct.pack("<I", len(x)) + x for name, data in bombs.items() for x in (name.encode(), data)]
    child = subprocess.run([sys.executable, str(HERE)], input=b"".join(parts), capture_output=True, check=True)
    told = json.loads(child.stdout)
    assert told.keys() == bombs.keys()
    for name, (reason, seconds, growth) in told.items():
        assert reason == "too_large", name
        assert seconds < 1, f"{name}: {seconds:.2f} s"
        assert growth < 300e6, f"{name}: {growth / 1e6:.0f} MB"


def test_bombs_are_refused_by_their_size_alone_too() -> None:
    for name, data in badbytes.bombs().items():
        if name in ("fits 200000 x 200000", "tile-compressed claim", "npy 10^10", "fits.gz of zeros"):
            with pytest.raises(BadImage) as caught:
                image_size(data)
            assert caught.value.reason is Reason.TOO_LARGE, name


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = badbytes.saved(badbytes.picture(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(BadImage, match="scans"):
        decode(data[:-2] + scan * 100 + data[-2:])


def test_the_budget_is_the_callers_to_lower() -> None:
    data = SEEDS["npy"][0]
    decode(data, budget=Budget(pixels=288))
    with pytest.raises(BadImage, match="at most 287"):
        decode(data, budget=Budget(pixels=287))
    zeros = bz2.compress(SEEDS["fits"][0])
    with pytest.raises(BadImage, match="more than the 5,000"):
        decode(zeros, budget=Budget(inflated=5000))


def test_many_hdus_are_refused() -> None:
    data = badbytes.fits_bytes(fits.PrimaryHDU(), *[fits.ImageHDU(np.eye(9)) for _ in range(4)])
    assert len(read_planes(data)) == 4
    with pytest.raises(BadImage, match="more than 4 HDUs"):
        read_planes(data, Budget(hdus=4))


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    """Filters belong to the process: decoding FITS and PNG side by side must not leave them changed."""
    group = [SEEDS["fits"][0], SEEDS["png"][0], SEEDS["fits"][2], SEEDS["tiff"][0]]
    escaped: list[BaseException] = []

    def work(data: bytes) -> None:
        try:
            for _ in range(25):
                decode(data)
                with pytest.raises(BadImage):
                    decode(data[:-5])
        except BaseException as error:
            escaped.append(error)

    interval = sys.getswitchinterval()
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # pytest's own "error" would hide the "error" that is left behind
        before = list(warnings.filters)
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=work, args=(data,)) for data in group]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert not escaped
        assert list(warnings.filters) == before


def test_pillow_told_to_accept_half_pictures_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(BadImage, match="LOAD_TRUNCATED_IMAGES"):
        decode(SEEDS["png"][0])
