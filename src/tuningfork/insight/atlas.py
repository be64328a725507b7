"""An atlas: thousands of galaxies on one grid, so that those a network sees alike lie side by side."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from .. import recipe
from ..errors import BadStore, MissingExtra, Reason, RecipeError
from ..evaluate.plots import STYLE
from ..galaxy.catalog import Catalog
from ..galaxy.cutout import Rejected
from ..galaxy.display import Display
from ..galaxy.source import Source, open_source
from ..galaxy.tablefile import write_table
from ..galaxy.votes import Votes
from ..predict.answers import Head
from ..predict.inwords import tell
from .anomalies import components
from .colouring import NONE, Colouring, colouring
from .embedding import Embedding
from .gridplaces import Ints, Kept, Singles, grid_places, grid_shape, kept_neighbours

Progress = Callable[[int, int, str], None]
METHODS = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal components"}
FEWEST, MOST = 4, 250_000  # galaxies of an atlas
COMPONENTS = 50  # that t-SNE and UMAP see of the features (van der Maaten & Hinton 2008 take 30)
PERPLEXITY, NEIGHBOURS = 30.0, 15  # of t-SNE and of UMAP: their authors' defaults


@dataclass(frozen=True, eq=False)
class Atlas:
    """N galaxies on a map and on a grid.

    ``positions`` (N, 2) float32 are those on the map, x to the right and y up, in units without a meaning; ``places``
    (N, 2) int64 the row and column on the grid of ``shape``, the first row above, each place taken once. ``kept`` tells
    how well the grid keeps neighbours. ``says`` is what the votes say of each galaxy, "" where there are none.
    ``left_out`` were not drawn by lot; ``rejected`` have no features or votes. ``display`` is how the ``model`` saw
    them, None where that is not known.
    """

    ids: tuple[str, ...]
    positions: Singles
    places: Ints
    shape: tuple[int, int]
    method: str
    kept: Kept
    says: tuple[str, ...]
    left_out: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    colours: Colouring | None
    display: Display | None
    pictures: str
    model: str = ""
    notes: tuple[str, ...] = ()

    @property
    def n_in(self) -> int:
        """How many galaxies came in: those with a place, those left out, and the rejected."""
        return len(self.ids) + len(self.left_out) + len(self.rejected)

    @property
    def title(self) -> str:
        """How many galaxies there are, whose eyes saw them, and by which method they were laid out."""
        seen = f" as {self.model} sees them," if self.model else ""
        return f"{len(self.ids):,} galaxies{seen} by {METHODS[self.method]}"

    def source(self, galaxies: str | Path | Source | None = None) -> Source:
        """Where the pictures are: ``galaxies``, or the source that features or votes were made from."""
        return _source(self.pictures, galaxies)

    def table(self) -> pa.Table:
        """One row per galaxy that came in: ``id``, ``status`` ("placed", "left out" or "rejected"), ``reason``, ``x``,
        ``y``, ``row`` and ``column`` (from 0), null where it has no place."""
        others = [*self.left_out, *(one.id for one in self.rejected)]
        empty = [None] * len(others)
        placed, out = ["placed"] * len(self.ids), ["left out"] * len(self.left_out)
        columns: dict[str, Any] = {
            "id": [*self.ids, *others],
            "status": [*placed, *out, *(["rejected"] * len(self.rejected))],
            "reason": [*[None] * (len(self.ids) + len(out)), *(str(one.reason) for one in self.rejected)],
        }
        for axis, name in enumerate(("x", "y")):
            columns[name] = pa.array([*self.positions[:, axis].tolist(), *empty], pa.float32())
        for axis, name in enumerate(("row", "column")):
            columns[name] = pa.array([*self.places[:, axis].tolist(), *empty], pa.int64())
        return pa.table(columns)

    def write(self, path: str | Path) -> None:
        """Write :meth:`table` as .csv, .ecsv, .fits, .vot or .parquet."""
        write_table(self.table(), path)

    def text(self) -> str:
        """What was made and how well it keeps neighbours, in lines for people."""
        rows, columns = self.shape
        lines = [
            f"{self.title} on {rows} x {columns} cells",
            f"of a galaxy's neighbours on the grid {self.kept.share:.0%} are among its 20 nearest "
            f"({self.kept.projected:.0%} before it was laid on the grid; {self.kept.chance:.2%} by chance)",
        ]
        if self.left_out:
            shown = ", ".join(self.left_out[:5]) + (", ..." if len(self.left_out) > 5 else "")
            lines.append(f"left out by lot: {len(self.left_out):,} ({shown}); --n {self.n_in} takes all")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def figure(self) -> Figure:
        """The map as points, in the colours of the legend."""
        with matplotlib.rc_context({**STYLE, "axes.grid": False}):
            figure = Figure(figsize=(9, 6.5), facecolor="white", layout="constrained")
            axes = figure.add_subplot(xticks=[], yticks=[], aspect="equal")
            axes.spines[:].set_visible(False)
            size = float(np.clip(20_000 / len(self.ids), 2, 30))
            x, y = self.positions.T
            if self.colours is None:
                axes.scatter(x, y, s=size, c="#0072B2", linewidths=0, rasterized=True)
            else:
                hue = np.array([*self.colours.colours, NONE])[self.colours.group]
                order = np.random.default_rng(0).permutation(len(x))  # no class is drawn over the others
                axes.scatter(x[order], y[order], s=size, c=hue[order], linewidths=0, rasterized=True)
                for label, colour in zip(self.colours.labels, self.colours.colours, strict=True):
                    axes.scatter([], [], s=30, c=colour, label=label)
                axes.legend(title=self.colours.name, loc="center left", bbox_to_anchor=(1, 0.5))
            axes.set_title(self.title)
        return figure


def atlas(
    table: str | Path | Embedding | Votes,
    *,
    method: str = "tsne",
    n: int = 10_000,
    seed: int = 0,
    colour: str = "",
    catalog: str | Path | Catalog | None = None,
    galaxies: str | Path | Source | None = None,
    progress: Progress | None = None,
) -> Atlas:
    """Lay galaxies out so that those which look alike lie side by side, each in a cell of its own.

    Args:
        table: features (:func:`~tuningfork.insight.embedding.embed`), which are brought to length 1, since what is
            alike is told by the angle; or votes (predict), of which the square roots are taken, of a tree those of the
            share of volunteers who give each answer: distances are then Hellinger's.
        method: "tsne" (van der Maaten & Hinton 2008), "umap" (McInnes et al. 2018; the extra [insight]) or "pca". The
            first two see 50 principal components and begin from the first two of these (Kobak & Linderman 2021), so
            that the large regions are placed as they lie to each other.
        n: how many galaxies; of more as many are drawn by lot.
        seed: of the lot and the map; the same seed gives the same atlas.
        colour: a column of ``catalog``, of the votes, or of the catalogue that the pictures came with; of votes also
            "likeliest", which is what they are coloured by where nothing is said; "none" for none.
        galaxies: where the pictures are, if they have moved.

    The places on the grid: :func:`~tuningfork.insight.gridplaces.grid_places`. Raises :class:`RecipeError` for choices
    that cannot be, :class:`BadStore` for a file that is neither or galaxies that do not differ, :class:`BadCatalog` for
    a column that is not there, :class:`MissingExtra` where UMAP is not installed.
    """
    _check(method, n)
    opened = open_table(table)
    ids = opened.ids if isinstance(opened, Embedding) else [opened.ids[row] for row in np.flatnonzero(opened.done)]
    if len(ids) < FEWEST:
        raise BadStore(
            f"an atlas wants {FEWEST} galaxies or more; '{_name(opened)}' has {len(ids)} that are not rejected"
        )
    steps = _Steps(progress)
    steps("reading")
    lot = np.sort(np.random.default_rng(seed).permutation(len(ids))[:n])
    chosen = tuple(ids[row] for row in lot)
    values, says = _values(opened, lot)
    if not np.ptp(values, axis=0).max() > 0:
        raise BadStore(f"the {len(lot):,} galaxies of '{_name(opened)}' do not differ: there is no map of them")
    x = components(values, np.arange(len(values)), seed, COMPONENTS)
    shown = colouring(colour, chosen, opened, catalog, lambda: _pictures(opened, galaxies))
    steps(METHODS[method])
    positions = projected(x, method, seed)
    steps("a cell for each")
    places = grid_places(positions, x)
    kept = kept_neighbours(x, places, positions, seed=seed)
    steps("done")
    left = tuple(np.delete(np.array(ids, object), lot).tolist())
    notes = shown.notes if shown else ()
    display, model = _seen_by(opened)
    pictures = str(galaxies.path if isinstance(galaxies, Source) else galaxies or opened.metadata.get("source", ""))
    return Atlas(
        chosen, positions, places, grid_shape(len(lot)), method, kept, says, left, _rejected(opened), shown, display,
        pictures, model, notes,
    )  # fmt: skip


def open_table(table: str | Path | Embedding | Votes) -> Embedding | Votes:
    """A file of features or of votes, whichever it is; raises :class:`BadStore` or :class:`BadVotes` for others."""
    if isinstance(table, Embedding | Votes):
        return table
    if not Path(table).is_file():
        raise BadStore(f"there is no file '{table}': name features (tuningfork embed) or votes (tuningfork predict)")
    try:
        names = pq.read_schema(table).names if Path(table).suffix == ".parquet" else []
    except (pa.ArrowException, OSError) as error:
        raise BadStore(f"'{table}' holds neither features nor votes ({error})") from error
    return Embedding.open(table) if "feature" in names else Votes.read(table)


def open_pictures(opened: Embedding | Votes, galaxies: str | Path | Source | None = None) -> Source:
    """Where the pictures of features or votes are: ``galaxies``, or the source that they were made from."""
    return _source(opened.metadata.get("source", ""), galaxies)


def _source(place: str, galaxies: str | Path | Source | None) -> Source:
    if isinstance(galaxies, Source):
        return galaxies
    if galaxies is None and not place:
        raise BadStore("the table does not say where the pictures of its galaxies are: name them with --galaxies")
    try:
        return open_source(place if galaxies is None else galaxies)
    except BadStore as error:
        raise BadStore(f"{error}; --galaxies names where the pictures are now") from error


def projected(x: Singles, method: str, seed: int = 0) -> Singles:
    """The map (N, 2) of principal components x (N, D), float32: see :func:`atlas`."""
    start = x[:, :2] if x.shape[1] > 1 else np.column_stack([x[:, 0], np.zeros(len(x), np.float32)])
    if method == "pca":
        return np.asarray(start, np.float32)
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
        begin = np.asarray(start / start[:, 0].std() * 1e-4, np.float32)
        return np.asarray(TSNE(perplexity=perplexity, init=begin, random_state=seed).fit_transform(x), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parts of it that are not used here
        try:
            from umap import UMAP
        except ImportError as error:
            raise MissingExtra("umap-learn", "insight") from error
        begin = np.asarray(start / np.abs(start).max() * 10, np.float32)
        count = min(NEIGHBOURS, len(x) - 1)
        made = UMAP(n_neighbors=count, init=begin, random_state=seed, n_jobs=1)
        return np.asarray(made.fit_transform(x), np.float32)


def _check(method: str, n: int) -> None:
    if method not in METHODS:
        near = recipe.nearest(method, list(METHODS))
        raise RecipeError(f"--method is '{method}'{near}; it may be {', '.join(METHODS)}")
    if not FEWEST <= n <= MOST:
        raise RecipeError(f"--n is {n}; an atlas takes {FEWEST} to {MOST:,} galaxies")


class _Steps:
    """The bar's steps, one after the other."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.done = progress, 0

    def __call__(self, live: str) -> None:
        if self.progress is not None:
            self.progress(self.done, 3, live)
        self.done += 1


def _values(opened: Embedding | Votes, lot: Ints) -> tuple[NDArray[Any], tuple[str, ...]]:
    """What tells galaxies apart, of the rows ``lot`` of those that are done, and what the votes say of them."""
    if isinstance(opened, Embedding):
        found, start = np.empty((len(lot), opened.n_features), np.float32), 0
        for block in opened.blocks():
            here = (lot >= start) & (lot < start + len(block))
            found[here] = block[lot[here] - start]
            start += len(block)
        return normalize(found), ("",) * len(lot)
    rows = np.flatnonzero(opened.done)[lot]
    shares = np.asarray(opened.fractions[rows], np.float64)
    if opened.tree is not None and opened.tree.kind == "votes":
        shares = opened.tree.cumulative(shares)
    head = Head("", opened.head, opened.names, opened.tree)
    says = tuple(tell(head, head.said(opened.values[row]), short=True) for row in rows)
    return np.sqrt(np.clip(np.nan_to_num(shares), 0, None)).astype(np.float32), says


def _seen_by(opened: Embedding | Votes) -> tuple[Display | None, str]:
    """How the model saw the galaxies, where the table tells, and its name."""
    told = opened.metadata
    kind = told.get("display") or told.get("card", {}).get("display")
    display = recipe.from_mapping(Display, kind) if kind else None
    return display, told.get("model", {}).get("name", "")


def _rejected(opened: Embedding | Votes) -> tuple[Rejected, ...]:
    if isinstance(opened, Embedding):
        return tuple(Rejected(one, reason, "it has no features") for one, reason in opened.rejected.items())
    reasons = zip(opened.ids, opened.table.column("reason").to_pylist(), opened.done.tolist(), strict=True)
    return tuple(Rejected(one, Reason(why), "it has no votes") for one, why, done in reasons if not done)


def _pictures(opened: Embedding | Votes, galaxies: str | Path | Source | None) -> Catalog | None:
    """The catalogue that the pictures came with."""
    if isinstance(galaxies, Source):
        return galaxies.catalog
    place = galaxies or opened.metadata.get("source", "")
    return open_source(place).catalog if place and Path(str(place)).exists() else None


def _name(opened: Embedding | Votes) -> str:
    return opened.path if isinstance(opened, Embedding) else opened.name.strip("'")
