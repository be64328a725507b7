"""Models on huggingface.co: files of model folders go there and come from there, and no others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from .. import disk
from ..errors import MissingExtra, NetworkError
from .imagenet import HUB, LARGEST

FILES = (  # of a model, and of the encoder that models share; no other file is taken, whatever a repository holds
    *("card.json", "weights.safetensors", "golden.safetensors", "model.onnx"),
    *("encoder.json", "encoder.safetensors", "encoder.onnx", "strangeness.safetensors"),
)
PAGE = "README.md"  # goes up for people, and is not taken back
MOST = 200  # files


def upload(
    files: Mapping[str, Path],
    page: str,
    repository: str,
    *,
    private: bool = True,
    message: str = "models",
    url: str | None = None,
) -> str:
    """Send files, "FOLDER/FILE" to path, and a page for people to a repository, as one commit; return its revision.

    The repository "owner/name" is made if it is not there, private where asked for; one that is there stays as public
    as it was. Who sends is known by the token of ``hf auth login`` or HF_TOKEN. ``url`` is another server than
    huggingface.co (by default what HF_ENDPOINT names). Raises :class:`MissingExtra` without huggingface_hub, and
    :class:`NetworkError`, with what the server said, where the files did not get there.
    """
    wrong = [name for name in files if not _ours(name)]
    if wrong or not files:
        raise NetworkError(f"{wrong or 'nothing'} cannot be sent: a repository of models holds FOLDER/FILE")
    hub = _library()
    try:
        api = hub.HfApi(endpoint=_server(url))
        api.create_repo(repository, private=private, exist_ok=True)
        parts = {**{name: str(path) for name, path in files.items()}, PAGE: page.encode()}
        operations = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=part) for name, part in parts.items()]
        return str(api.create_commit(repository, operations, commit_message=message).oid)
    except Exception as error:  # the library raises its own kinds, those of its network library, and OSError
        raise _told(error, repository, "does not take the models", url) from error


def download(
    repository: str, into: str | Path, *, revision: str = "main", url: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """Bring a repository's model files to ``into``/FOLDER/FILE; return its revision (40 digits) and what came.

    Only names of :data:`FILES` in folders of plain names are asked for, all of one revision, at most 200 of 1 GiB
    together. Nothing is read or proved here. Arguments and errors as for :func:`upload`.
    """
    hub, into = _library(), disk.make_folder(into)
    try:
        api = hub.HfApi(endpoint=_server(url))
        found = api.model_info(repository, revision=revision, files_metadata=True)
        sizes = {one.rfilename: int(one.size or 0) for one in found.siblings or () if _ours(one.rfilename)}
        if not sizes:
            raise NetworkError(f"'{repository}' holds no models of tuningfork: no FOLDER/{FILES[0]}")
        if len(sizes) > MOST or sum(sizes.values()) > LARGEST:
            raise NetworkError(
                f"'{repository}' holds {len(sizes)} files of {sum(sizes.values()):,} bytes; at most {MOST} files of "
                f"{LARGEST:,} bytes together are taken"
            )
        for name, size in sizes.items():
            path = Path(
                hub.hf_hub_download(repository, name, revision=found.sha, local_dir=into, endpoint=_server(url))
            )
            if path.stat().st_size != size:
                raise NetworkError(f"'{name}' of '{repository}' has {path.stat().st_size:,} bytes, announced {size:,}")
        return str(found.sha), tuple(sizes)
    except NetworkError:
        raise
    except Exception as error:  # as above
        raise _told(error, repository, "does not give the models", url) from error


def _library() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise MissingExtra("huggingface_hub", "hub") from error
    return huggingface_hub


def _server(url: str | None) -> str:
    return (url or os.environ.get("HF_ENDPOINT", "").strip() or HUB).rstrip("/")


def _ours(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) == 2 and "/".join(parts) == name and disk.is_plain(parts[0]) and parts[1] in FILES


def _told(error: Exception, repository: str, problem: str, url: str | None) -> NetworkError:
    """What went wrong, in one line, and what to do."""
    said = " ".join(str(error).split())[:500]
    return NetworkError(
        f"{_server(url)} {problem} of '{repository}': {type(error).__name__}: {said}. Check the name (owner/name) and, "
        "for private repositories and to send, the login: hf auth login, or HF_TOKEN"
    )
