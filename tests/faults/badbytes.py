"""Seeded damage: tiny good images of every format, a cutter, a flipper, and bombs that claim more than they hold.

Run as a script, it decodes every bomb and prints, as JSON, what became of it, how long that took, and how far the
process grew: for the test that measures this in a process of its own.
"""

import bz2
import gzip
import io
import json
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from PIL import Image, PngImagePlugin


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    """Smooth blobs with noise, float32, so that every format has something to compress."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    blob = 900 * np.exp(-((x - shape[-1] / 2) ** 2 + (y - shape[-2] / 2) ** 2) / 20)
    return (blob + generator.normal(100, 10, shape)).astype(np.float32)


def picture(height: int = 20, width: int = 24) -> np.ndarray:
    return np.moveaxis(np.clip(noise(3, height, width) / 4, 0, 255).astype(np.uint8), 0, 2).copy()


def saved(image: np.ndarray, kind: str, mode: str = "", **options: Any) -> bytes:
    stream = io.BytesIO()
    made = Image.fromarray(image)
    (made.convert(mode) if mode else made).save(stream, kind, **options)
    return stream.getvalue()


def fits_bytes(*hdus: Any) -> bytes:
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream)
    return stream.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def wcs_header() -> fits.Header:
    header = fits.Header()
    header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=150.0, CRVAL2=2.2, CRPIX1=6.5, CRPIX2=6.5)
    header.update(CD1_1=-7.3e-5, CD1_2=0.0, CD2_1=0.0, CD2_2=7.3e-5, BANDS="grz")
    return header


def scaled_integers() -> fits.PrimaryHDU:
    hdu = fits.PrimaryHDU(noise(16, 16).astype(np.float64))
    hdu.scale("int16", bzero=500.0, bscale=0.05)
    return hdu


def compressed(kind: str) -> bytes:
    return fits_bytes(fits.PrimaryHDU(), fits.CompImageHDU(noise(16, 16).astype(np.int32), compression_type=kind))


def seeds() -> dict[str, list[bytes]]:
    """Good images by format: small, so that a cut or a flip often hits what matters."""
    cube = fits_bytes(fits.PrimaryHDU(noise(3, 12, 12), wcs_header()))
    extension = fits_bytes(fits.PrimaryHDU(), fits.ImageHDU(noise(12, 12).astype(np.float64), name="SCI"))
    return {
        "jpeg": [
            saved(picture(), "JPEG"),
            saved(picture(), "JPEG", "L"),
            saved(picture(), "JPEG", progressive=True),
            saved(picture(), "JPEG", "CMYK"),
        ],
        "png": [saved(picture(), "PNG"), saved(noise(16, 16).astype(np.uint16), "PNG"), saved(picture(), "PNG", "P")],
        "tiff": [
            saved(picture(), "TIFF"),
            saved(noise(16, 16), "TIFF"),
            saved(picture(), "TIFF", compression="tiff_lzw"),
            saved(picture(), "TIFF", compression="tiff_deflate"),
        ],
        "webp": [saved(picture(), "WEBP", lossless=True), saved(picture(), "WEBP", quality=90)],
        "fits": [
            cube,
            extension,
            fits_bytes(scaled_integers()),
            compressed("RICE_1"),
            compressed("GZIP_2"),
        ],
        "npy": [npy_bytes(noise(2, 12, 12)), npy_bytes(np.moveaxis(picture(), 2, 0).copy())],
        "gzip": [gzip.compress(cube, mtime=0), gzip.compress(npy_bytes(noise(3, 12, 12)), mtime=0)],
        "bzip2": [bz2.compress(cube), bz2.compress(npy_bytes(noise(3, 12, 12)))],
    }


def cuts(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """The first k bytes, k drawn from 0 .. len - 1: the ends always, the rest at random."""
    generator = np.random.default_rng(seed)
    for k in (0, 1, 2, len(data) - 1, *generator.integers(0, len(data), size=max(0, count - 4)).tolist()):
        yield data[:k]


def flips(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """One to four flipped bits; every second time among the first 400 bytes, where the headers are."""
    generator = np.random.default_rng(seed)
    for turn in range(count):
        damaged = bytearray(data)
        reach = min(len(data), 400) if turn % 2 else len(data)
        for _ in range(int(generator.integers(1, 5))):
            damaged[int(generator.integers(reach))] ^= 1 << int(generator.integers(8))
        yield bytes(damaged)


def patched(header: dict[str, Any], hdu: Any) -> bytes:
    """The HDU's bytes with header values overwritten in place, lengths and all the rest unchanged."""
    data = bytearray(fits_bytes(*([fits.PrimaryHDU()] if isinstance(hdu, fits.CompImageHDU) else []), hdu))
    for keyword, value in header.items():
        start = data.index(keyword.ljust(8).encode() + b"=")
        data[start : start + 80] = f"{keyword:8}= {value:>20}".ljust(80).encode()
    return bytes(data)


def png_claiming(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    stream = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    stream.seek(0, io.SEEK_END)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        PngImagePlugin.putchunk(stream, name, body)
    return stream.getvalue()


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(saved(picture(), "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_claiming(width: int, height: int) -> bytes:
    data = bytearray(saved(picture(), "WEBP", lossless=True))
    start = data.index(b"\x2f", data.index(b"VP8L") + 8)
    kept = struct.unpack("<I", data[start + 1 : start + 5])[0] & ~0xFFFFFFF
    data[start + 1 : start + 5] = struct.pack("<I", kept | (width - 1) | (height - 1) << 14)
    return bytes(data)


def tiff_claiming(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    from PIL import TiffImagePlugin

    Image.fromarray(picture()).save(stream, "TIFF", compression="tiff_lzw")
    data = bytearray(stream.getvalue())
    offset = struct.unpack("<I", data[4:8])[0]
    for entry in range(struct.unpack("<H", data[offset : offset + 2])[0]):
        at = offset + 2 + 12 * entry
        tag = struct.unpack("<H", data[at : at + 2])[0]
        value = {TiffImagePlugin.IMAGEWIDTH: width, TiffImagePlugin.IMAGELENGTH: height, 278: height}.get(tag)
        if value:
            data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    return bytes(data)


def gzip_tile() -> bytes:
    """A tile-compressed image whose one gzip tile inflates to 8 MB, where its pixels fill 64 kB."""
    hdu = fits.CompImageHDU(noise(128, 128).astype(np.int32), compression_type="GZIP_1", tile_shape=(128, 128))
    data = bytearray(fits_bytes(fits.PrimaryHDU(), hdu))
    start = data.index(b"\x1f\x8b\x08")
    machine = zlib.compressobj(9, zlib.DEFLATED, 31)
    tile = b"".join(machine.compress(bytes(1 << 20)) for _ in range(8)) + machine.flush()
    with fits.open(io.BytesIO(bytes(data)), disable_image_compression=True) as hdus:
        room = int(hdus[1].data.field("COMPRESSED_DATA")[0].size)
    assert len(tile) <= room, (len(tile), room)
    data[start : start + len(tile)] = tile
    return bytes(data)


def bombs() -> dict[str, bytes]:
    """Small files that claim, or hold, far more than a galaxy."""
    small = noise(16, 16)
    zeros = gzip.compress(bytes(120 << 20), 1, mtime=0)
    head = fits_bytes(fits.PrimaryHDU(small))[:2880]
    tile = fits.CompImageHDU(small.astype(np.int32), compression_type="RICE_1")
    return {
        "fits 200000 x 200000": patched({"NAXIS1": 200000, "NAXIS2": 200000}, fits.PrimaryHDU(small)),
        "fits cube": patched({"NAXIS1": 9999, "NAXIS2": 9999, "NAXIS3": 9999}, fits.PrimaryHDU(noise(3, 16, 16))),
        "fits 2^63 values": patched({"NAXIS1": 2**62, "NAXIS2": 2}, fits.PrimaryHDU(small)),
        "fits.gz of a claim": gzip.compress(patched({"NAXIS1": 200000, "NAXIS2": 200000}, fits.PrimaryHDU(small))),
        "tile-compressed claim": patched({"ZNAXIS1": 200000, "ZNAXIS2": 200000}, tile),
        "tile-compressed tile": patched({"ZNAXIS1": 13000, "ZNAXIS2": 12000, "ZTILE1": 13000, "ZTILE2": 12000}, tile),
        "gzip tile": gzip_tile(),
        "fits.gz of zeros": gzip.compress(head, mtime=0) + zeros,
        "fits.bz2 of zeros": bz2.compress(head) + bz2.compress(bytes(4 << 20)) * 20,
        "png 60000 x 60000": png_claiming(60000, 60000, 8, 2, b""),
        "png of one colour": png_claiming(16000, 10000, 1, 0, bytes(10000 * 2001)),
        "jpeg 65000 x 65000": jpeg_claiming(65000, 65000),
        "webp 16383 x 16383": webp_claiming(16383, 16383),
        "tiff 100000 x 100000": tiff_claiming(100000, 100000),
        "npy 10^10": npy_bytes(small).replace(b"(16, 16)", b"(99999, 99999)")[:400],
    }


def grown() -> int:
    """The process's largest resident size so far, in bytes."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def main() -> None:
    """Decode the bombs read from standard input; print what became of them."""
    from tuningfork.errors import BadImage
    from tuningfork.galaxy.decode import decode

    good = seeds()
    for group in good.values():
        for data in group:
            decode(data)
    stream = io.BytesIO(sys.stdin.buffer.read())
    held = {}
    while name := stream.read(struct.unpack("<I", stream.read(4) or bytes(4))[0]).decode():
        held[name] = stream.read(struct.unpack("<I", stream.read(4))[0])
    before, told = grown(), {}
    for name, data in held.items():
        start = time.perf_counter()
        try:
            decode(data)
            outcome = "accepted"
        except BadImage as error:
            outcome = error.reason.value
        told[name] = (outcome, time.perf_counter() - start, grown() - before)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
