"""Fetch a published set: download or find its files, prove each, and make a store or a catalogue of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from .. import disk, recipe
from ..errors import BadStore, NetworkError
from ..galaxy.ingest import Summary
from ..network import Network, ReplyError
from .card import DataSet, File, Role, find_dataset
from .layout import build, expected, find_own

Progress = Callable[[int, int, str], None]

MAGIC = {  # how files of a suffix begin, so that a login page is told from an archive
    ".zip": (b"PK\x03\x04",), ".gz": (b"\x1f\x8b",), ".tgz": (b"\x1f\x8b",), ".h5": (b"\x89HDF\r\n\x1a\n",),
    ".hdf5": (b"\x89HDF\r\n\x1a\n",), ".parquet": (b"PAR1",), ".fits": (b"SIMPLE  =",),
}  # fmt: skip
CARD = "card.json"  # in the folder: of which set it is
_LOGIN = (401, 403)


@dataclass(frozen=True)
class FetchedFile:
    """One file, proven: its digests as computed here, and how it came.

    ``came`` is "downloaded", "resumed" (a part of an earlier try was used), "here" (an earlier run had it) or "own" (it
    lies in the user's folder). ``proven`` says by what: "sha256", "md5", "size", or "" where the card knows none of
    them and the file's kind alone was proven. A folder of unpacked pictures has no digest of its own.
    """

    name: str
    path: str
    bytes: int
    sha256: str
    came: str
    proven: str


@dataclass(frozen=True)
class FetchSummary:
    """What was fetched, and what was made of it: a catalogue (``table``, its path) or a ``store`` (its summary)."""

    dataset: DataSet
    out: str
    files: tuple[FetchedFile, ...]
    rows: int = 0
    table: str = ""
    store: Summary | None = None
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """The bytes of all files."""
        return sum(file.bytes for file in self.files)

    def __str__(self) -> str:
        """The account as lines of text."""
        lines = [f"{self.dataset.title}: {len(self.files)} files, {self.bytes:,} bytes"]
        for file in self.files:
            proof = f"proven by its {file.proven}" if file.proven else "no published digest to prove it by"
            digest = f" SHA-256 {file.sha256}," if file.sha256 else ""
            lines.append(f"  {file.name}: {file.bytes:,} bytes, {file.came},{digest} {proof}")
        if self.table:
            lines.append(f"{self.rows:,} galaxies in the catalogue '{self.table}'")
        if self.store is not None:
            lines.append(str(self.store))
        lines += self.notes
        if self.dataset.galaxies and self.rows and self.rows != self.dataset.galaxies:
            lines.append(f"the card speaks of {self.dataset.galaxies:,} galaxies, here are {self.rows:,}")
        return "\n".join([*lines, f"licence: {self.dataset.licence}", f"please cite: {self.dataset.citation}"])

    def to_mapping(self) -> dict[str, Any]:
        """The account as plain values, for JSON."""
        store = None
        if self.store is not None:
            store = {key: getattr(self.store, key) for key in ("path", "n_in", "n_done", "n_rejected")}
        return {
            "name": self.dataset.name,
            "files": [vars(file) for file in self.files],
            "rows": self.rows,
            "table": self.table,
            "store": store,
            "notes": list(self.notes),
        }


def fetch(
    name: str | Path | DataSet,
    out: str | Path,
    *,
    url: str | None = None,
    own: str | Path | None = None,
    network: Network | None = None,
    ingest: bool = True,
    progress: Progress | None = None,
) -> FetchSummary:
    """Bring a published set into the folder ``out``: files/ as they came, then store/ or catalog.parquet.

    ``name`` is a set's name, the path of a card of the user's own, or a card. ``url`` is a mirror's address, under
    which the files lie by their names (a stand-in). ``own`` is a folder with the user's own download, packed or
    unpacked: nothing is fetched, the files are proven where they are. ``ingest=False`` only fetches and proves.
    ``network`` replaces the one that is made for the set. ``progress`` is called as (bytes or galaxies done, of how
    many or 0, text).

    Downloads resume, and a file gets its name only when its size, digest and kind are those of the card; the same call
    after a kill goes on, and after it ended changes nothing. Tokens come from the environment variable that the card
    names, and are shown nowhere. Raises :class:`~tuningfork.errors.RecipeError` (no such set),
    :class:`~tuningfork.errors.NetworkError` (also: a login is needed, with what to do), and whatever :func:`build`
    raises, :class:`~tuningfork.errors.Locked` and :class:`~tuningfork.errors.DiskFull` among it.
    """
    dataset = name if isinstance(name, DataSet) else find_dataset(name)
    folder = disk.make_folder(out)
    _refuse_other(dataset, folder)
    with disk.lock(folder):
        disk.sweep(folder)
        disk.sweep(folder / "files")
        disk.write_json(folder / CARD, recipe.to_mapping(dataset))
        if own is not None:
            files, places = _own(dataset, Path(own))
        else:
            files, places = _downloads(dataset, folder, url, network, progress)
        done = FetchSummary(dataset, str(out), tuple(files))
        if ingest:
            roles = [file.role for file in dataset.files]
            digests = {role: file.sha256 for role, file in zip(roles, files, strict=True) if file.sha256}
            built = build(dataset, places, digests, folder, progress)
            done = FetchSummary(dataset, str(out), tuple(files), built.rows, built.table, built.store, built.notes)
        disk.write_json(folder / "fetched.json", done.to_mapping())
        return done


def _refuse_other(dataset: DataSet, folder: Path) -> None:
    """Raise BadStore if the folder holds another set, or something that is none."""
    content = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if CARD in content:
        card = disk.read_json(folder / CARD)
        found = card.get("name") if isinstance(card, dict) else None
        if found != dataset.name:
            raise BadStore(f"'{folder}' holds '{found}', not '{dataset.name}': choose another folder")
    elif content:
        raise BadStore(f"'{folder}' is not empty (it holds {', '.join(content[:3])}): a set needs a folder of its own")


def how(dataset: DataSet) -> str:
    """What somebody has to do for a set that needs a login, or a download by hand."""
    lines = []
    if dataset.login:
        lines.append(
            f"log in at {dataset.page} and accept its rules; then either put an access token of yours into the "
            f"environment variable {dataset.login} and run this again, or download the files there yourself"
        )
    if dataset.by_hand:
        lines.append(dataset.by_hand)
    lines.append(
        f"Once the files are on your disk: tuningfork fetch {dataset.name} --from FOLDER. The folder should hold "
        f"{expected(dataset)}"
    )
    return ". ".join(lines)


def _downloads(
    dataset: DataSet, folder: Path, url: str | None, network: Network | None, progress: Progress | None
) -> tuple[list[FetchedFile], dict[Role, Path]]:
    by_hand = [file.name for file in dataset.files if not file.url]
    if url is None and by_hand:
        raise NetworkError(f"'{dataset.name}' cannot be fetched by a program ({', '.join(by_hand)}): {how(dataset)}")
    if url is None and dataset.login and not os.environ.get(dataset.login, "").strip():
        raise NetworkError(f"'{dataset.name}' needs a login: {how(dataset)}")
    made = None if network is not None else _network(dataset, folder, url)
    try:
        files, places = [], dict[Role, Path]()
        for file in dataset.files:
            path = folder / "files" / file.name
            address = file.url if url is None else f"{url.rstrip('/')}/{quote(file.name)}"
            files.append(_download(network or made, dataset, file, address, path, progress))  # type: ignore[arg-type]
            places[file.role] = path
        return files, places
    finally:
        if made is not None:
            made.close()


def _network(dataset: DataSet, folder: Path, url: str | None) -> Network:
    if url is not None:
        return Network(folder / ".network", mirrors=[url])
    tokens = {urlsplit(file.url).hostname or "": dataset.login for file in dataset.files} if dataset.login else {}
    return Network(folder / ".network", allow=dataset.allowed, tokens=tokens)


def _download(
    network: Network, dataset: DataSet, file: File, address: str, path: Path, progress: Progress | None
) -> FetchedFile:
    before = path.stat().st_mtime_ns if path.is_file() else None
    begun = path.parent.is_dir() and any(one.name.startswith(f"{file.name}.part-") for one in path.parent.iterdir())
    accept = MAGIC.get(path.suffix.lower(), ())
    try:
        network.download(
            address, path, accept=accept, check=None if accept else _is_no_page, size=file.size or None,
            sha256=file.sha256 or None, progress=progress,
        )  # fmt: skip
    except ReplyError as error:
        if dataset.login and (error.cause == "content" or error.status in _LOGIN):
            raise NetworkError(f"{error}. Most likely the login did not hold: {how(dataset)}") from error
        raise
    came = "here" if path.stat().st_mtime_ns == before else "resumed" if begun else "downloaded"
    try:
        return _proven(file, path, came)
    except BadStore as error:
        disk.remove(path)
        disk.remove(path.with_name(f"{path.name}.origin.json"))
        shown = urlsplit(address)._replace(query="", fragment="").geturl()
        raise ReplyError(f"'{shown}' was fetched, but {error}", kind="permanent", cause="digest", url=shown) from error


def _is_no_page(head: bytes) -> bool:
    """Whether the first bytes are no web page and no binary file: a table in text."""
    return not head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<") and b"\0" not in head


def _proven(file: File, path: Path, came: str) -> FetchedFile:
    """A file's digests and size, held against the card; raises BadStore where they differ."""
    size, sha256 = path.stat().st_size, disk.sha256(path)
    checks = {"sha256": (file.sha256, sha256), "md5": (file.md5, ""), "size": (file.size or "", size)}
    proven = ""
    for kind, (wanted, found) in checks.items():
        if not wanted:
            continue
        if kind == "md5":
            with open(path, "rb") as stream:
                found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if wanted != found:
            raise BadStore(f"its {kind} is {found}, where the card says {wanted}: remove '{path}' and fetch it again")
        proven = proven or kind
    return FetchedFile(file.name, str(path), size, sha256, came, proven)


def _own(dataset: DataSet, folder: Path) -> tuple[list[FetchedFile], dict[Role, Path]]:
    """The files of a set in the user's own folder, each proven where it can be."""
    if not folder.is_dir():
        raise BadStore(f"'{folder}' is no folder; --from takes the folder that holds your download of '{dataset.name}'")
    files, places = [], dict[Role, Path]()
    for file in dataset.files:
        place = places[file.role] = find_own(dataset, file, folder)
        if place.is_dir():
            files.append(FetchedFile(file.name, str(place), 0, "", "own", ""))
        elif place.name == file.name:
            files.append(_check_own(file, place))
        else:
            files.append(FetchedFile(place.name, str(place), place.stat().st_size, disk.sha256(place), "own", ""))
    return files, places


def _check_own(file: File, place: Path) -> FetchedFile:
    accept = MAGIC.get(place.suffix.lower(), ())
    with open(place, "rb") as stream:
        head = stream.read(2048)
    if not (head.startswith(accept) if accept else _is_no_page(head)):
        raise BadStore(
            f"'{place}' is not what its name says: it begins {head[:60]!r}. Was a login page saved in its place?"
        )
    return _proven(file, place, "own")
