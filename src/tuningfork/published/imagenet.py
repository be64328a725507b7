"""ImageNet weights of a backbone: fetched once from huggingface.co into the user's cache, proven, and kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from .. import disk
from ..errors import NetworkError
from ..network import Limits, Network, ReplyError

Progress = Callable[[int, int, str], None]

HUB = "https://huggingface.co"
HOSTS = ("huggingface.co", ".huggingface.co", ".hf.co")  # it redirects to hosts of these for large files
FILE = "model.safetensors"
LARGEST = 1 << 30  # bytes of weights that are taken
_LARGEST_HEADER = 10_000_000  # bytes of a safetensors file's JSON
_UNREACHED = ("connection", "timeout")


def cache() -> Path:
    """The folder where what is fetched once lies for all runs of this user; it may be removed at any time.

    The environment variable TUNINGFORK_CACHE names it; else it is ``tuningfork`` in XDG_CACHE_HOME, or in ~/.cache.
    """
    if named := os.environ.get("TUNINGFORK_CACHE", "").strip():
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tuningfork"


def fetch_imagenet(
    repository: str, *, url: str | None = None, network: Network | None = None, progress: Progress | None = None
) -> Path:
    """The path of the ImageNet weights (safetensors) of a repository such as "timm/resnet18.a1_in1k", in :func:`cache`.

    They are fetched where they are not there yet, or damaged, from ``url`` (a mirror of huggingface.co; by default what
    the environment variable HF_ENDPOINT names, if anything). A download that was cut is taken up again; the file gets
    its name when it has the bytes that the server announced and looks like safetensors, and is kept if its header
    tells of exactly the bytes that follow it. No tensor is read here: whether the weights fit their network is judged
    by :func:`tuningfork.model.weights.load_backbone`. ``network`` replaces the one that is made; ``progress`` is
    called as (bytes done, of how many or 0, file). Raises :class:`~tuningfork.errors.NetworkError`, which says what
    to do instead, and what :meth:`~tuningfork.network.Network.download` raises of the disk.
    """
    base = (url or os.environ.get("HF_ENDPOINT", "").strip() or HUB).rstrip("/")
    address = f"{base}/{repository}/resolve/main/{FILE}"
    path = cache() / "imagenet" / disk.safe_name(repository) / FILE
    mirrors = () if base == HUB else (base,)
    door = network or Network(cache(), allow=HOSTS, mirrors=mirrors, limits=Limits(tries=3))
    try:
        door.download(address, path, check=_looks_right, max_bytes=LARGEST, progress=progress)
        _prove(path, address)
    except ReplyError as error:
        host = urlsplit(base).hostname
        said = f"cannot reach {host}" if error.cause in _UNREACHED else f"{host} did not give the ImageNet weights"
        raise NetworkError(
            f"{said} ({error}). Or fetch {address} elsewhere and give --pretrained FILE (model.pretrained), or leave "
            "it out for random weights"
        ) from error
    finally:
        if network is None:
            door.close()
    return path


def _looks_right(head: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of the header, 8 bytes from the lowest on, then JSON."""
    return 2 <= int.from_bytes(head[:8], "little") <= _LARGEST_HEADER and head[8:9] == b"{"


def _prove(path: Path, address: str) -> None:
    """Remove the file, and raise ReplyError, unless its header tells of exactly the bytes that follow it."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, _LARGEST_HEADER))
    told = -1
    try:
        tensors = json.loads(header)
        told = 8 + length + max(int(one["data_offsets"][1]) for key, one in tensors.items() if key != "__metadata__")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        pass  # no header of safetensors
    size = path.stat().st_size
    if told == size:
        return
    disk.remove(path)
    disk.remove(path.with_name(f"{path.name}.origin.json"))
    why = f"tells of {told:,} bytes, where {size:,} came" if told >= 0 else "cannot be read"
    raise ReplyError(
        f"'{address}' sent no safetensors file: its header {why}", kind="permanent", cause="content", url=address
    )
