"""A published data set's card: where its files are, how they are proven, what may be done with them, whom to cite."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from .. import recipe
from ..errors import RecipeError, TreeError
from ..galaxy.tree import Tree

Layout = Literal["table", "pictures", "classes", "hdf5"]
Role = Literal["table", "pictures", "map", "stack"]

CARDS = Path(__file__).resolve().parents[1] / "cards"
ROLES: dict[str, tuple[set[str], set[str]]] = {  # layout -> the roles that its files must, and may, have
    "table": ({"table"}, set()),
    "pictures": ({"pictures", "table"}, {"map"}),
    "classes": ({"pictures"}, set()),
    "hdf5": ({"stack"}, set()),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")


@dataclass(frozen=True)
class File:
    """One file of a data set, and by what it is proven."""

    name: str  # as it is called on the disk
    role: Role  # what it is: a table, pictures, a map from pictures to rows of the table, a stack (HDF5)
    url: str = ""  # https; "" = it has to be fetched by hand
    size: int = 0  # bytes exactly; 0 = not known
    megabytes: float = 0.0  # about how large it is, where the size is not known exactly; 0 = not known
    sha256: str = ""
    md5: str = ""  # what Zenodo publishes
    members: str = ""  # of an archive: the pattern of the paths that are wanted; '*' stands for '/' too
    most: int = 100_000  # members that the archive may have
    verified: bool = False  # whether address and name were read in the source; otherwise they are recalled
    source: str = ""  # where address, name, size and digest were read


@dataclass(frozen=True)
class DataSet:
    """A card. Read one with :func:`find_dataset`; it is checked as it is made (ValueError, hence RecipeError).

    Layouts: "table" becomes a catalogue; "pictures" a store whose labels are the table's rows; "classes" a store of
    pictures sorted into folders named by class; "hdf5" a store from a stack in Galaxy10's layout. ``tree`` is the name
    of a built-in tree, a TOML file, or "" where the labels are no votes.
    """

    name: str
    title: str
    layout: Layout
    files: tuple[File, ...]
    licence: str
    citation: str
    page: str  # where people read about it
    fetched: Literal["stand-in", "real"]  # whether we have ever fetched it from its real address
    about: str = ""
    tree: str = ""
    galaxies: int = 0  # rows of the table or pictures; 0 = not known
    id: str = ""  # column of the table that holds the ids; "" = guessed
    columns: tuple[str, ...] = ()  # names of the columns of a table without a header
    map_id: str = ""  # column of the map that holds the pictures' ids
    map_to: str = ""  # column of the map that holds the table's ids
    unmatched: Literal["refuse", "drop"] = "refuse"  # what becomes of pictures without a row
    strict: bool = False  # whether votes that nobody can have cast refuse the set; otherwise they are told
    pixel_scale: float = 0.0  # arcsec per pixel of all pictures; 0 = not one for all
    login: str = ""  # environment variable that holds the access token
    by_hand: str = ""  # how to get what cannot be fetched
    hosts: tuple[str, ...] = ()  # further hosts, to which the addresses redirect
    notes: str = ""

    def __post_init__(self) -> None:
        for wrong in self._faults():
            raise ValueError(wrong)

    def _faults(self) -> list[str]:
        faults = [f"'{n}' is no plain name" for n in (self.name, *(f.name for f in self.files)) if not _plain(n)]
        if len({file.name.casefold() for file in self.files}) < len(self.files):
            faults.append("two of its files have one name")
        roles = [file.role for file in self.files]
        must, may = ROLES[self.layout]
        if not must <= set(roles) <= must | may or len(set(roles)) < len(roles):
            faults.append(
                f"the layout '{self.layout}' takes one file each of {sorted(must)}, and may have {sorted(may)}"
            )
        if {bool(self.map_id), bool(self.map_to)} != {"map" in roles}:
            faults.append("a map needs map_id and map_to, and these a map")
        faults += [
            f"'{key}' is empty" for key in ("title", "licence", "citation", "page") if not getattr(self, key).strip()
        ]
        faults += [f"'{url}' is no https address" for url in (self.page, *self._urls()) if not _https(url)]
        for file in self.files:
            if not re.fullmatch(r"([0-9a-f]{64})?", file.sha256) or not re.fullmatch(r"([0-9a-f]{32})?", file.md5):
                faults.append(f"the digests of '{file.name}' are no SHA-256 and MD5 in lower-case hexadecimal digits")
            if file.size < 0 or file.megabytes < 0 or file.most < 1:
                faults.append(f"the sizes of '{file.name}' are negative")
            if not file.url and not self.by_hand:
                faults.append(f"'{file.name}' has no address, and by_hand does not say how to get it")
        if self.tree:
            try:
                Tree.load(self.tree)
            except TreeError as error:
                faults.append(str(error))
        return faults

    def _urls(self) -> list[str]:
        return [file.url for file in self.files if file.url]

    @property
    def allowed(self) -> tuple[str, ...]:
        """The hosts that may be asked for its files."""
        return tuple(sorted({urlsplit(url).hostname or "" for url in self._urls()} | set(self.hosts)))

    @property
    def megabytes(self) -> float:
        """About how much there is to download, in MB; files of unknown size count for nothing."""
        return sum(file.size / 1e6 or file.megabytes for file in self.files)

    def file(self, role: Role) -> File | None:
        """Its file of that role."""
        return next((file for file in self.files if file.role == role), None)

    def __str__(self) -> str:
        """The card as lines of text, for people."""
        many = f"{self.galaxies:,} galaxies, " if self.galaxies else ""
        tree = f", tree {self.tree}" if self.tree else ""
        real = "its real address" if self.fetched == "real" else "the local stand-in only"
        lines = [
            f"{self.name}: {self.title}",
            f"  {many}about {self.megabytes:,.0f} MB, layout {self.layout}{tree}; fetched from {real}",
        ]
        for file in self.files:
            size = (
                f"{file.size:,} bytes" if file.size else f"{file.megabytes:g} MB" if file.megabytes else "size unknown"
            )
            proof = "SHA-256" if file.sha256 else "MD5" if file.md5 else "no published digest"
            doubt = "" if file.verified or not file.url else ", address recalled, not verified"
            lines.append(f"  {file.name} ({file.role}, {size}, {proof}{doubt}): {file.url or 'by hand'}")
        more = {"login": self.login and f"${self.login}", "by hand": self.by_hand}
        more |= {
            "licence": self.licence,
            "cite": self.citation,
            "page": self.page,
            "about": self.about,
            "notes": self.notes,
        }
        return "\n".join(lines + [f"  {key}: {text}" for key, text in more.items() if text])


def _plain(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _https(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc


def _cards() -> dict[str, Path]:
    """The cards that come with tuningfork, by name."""
    return {name: CARDS / f"{name}.toml" for name in sorted(path.stem for path in CARDS.glob("*.toml"))}


def datasets() -> tuple[DataSet, ...]:
    """All published sets that tuningfork knows, by name; raises :class:`RecipeError` for a card that is none."""
    return tuple(recipe.load(DataSet, path) for path in _cards().values())


def find_dataset(name: str | Path) -> DataSet:
    """The set of that name, or of a card of the user's own (a path that ends in .toml).

    Raises :class:`RecipeError` with the nearest name that exists.
    """
    if str(name).endswith(".toml"):
        return recipe.load(DataSet, name)
    known = _cards()
    if str(name) in known:
        return recipe.load(DataSet, known[str(name)])
    folded = {key.replace("-", ""): key for key in known}
    alike = folded.get(re.sub(r"[^a-z0-9]", "", str(name).lower()))
    hint = f"; did you mean '{alike}'?" if alike else recipe.nearest(str(name), list(known))
    raise RecipeError(
        f"there is no published set '{name}'{hint} There are: {', '.join(known)}; your own is a card that ends in .toml"
    )
