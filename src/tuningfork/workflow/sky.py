"""From names or positions to a store, and from SQL to a catalogue: the surveys' verbs with their network opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import RecipeError
from ..galaxy.catalog import Catalog
from ..network import Network
from ..survey import names as sesame
from ..survey import query as sql_service
from ..survey.gather import Summary
from ..survey.gather import gather as gather_catalog
from ..survey.origin import rates
from ..survey.presets import PRESETS
from ..survey.service import open_network

Progress = Callable[[int, int, str], None]


def resolve(names: str | tuple[str, ...], *, url: str | None = None) -> Catalog:
    """Positions of galaxies by name ("M51,NGC1300"), from CDS Sesame; see :func:`tuningfork.survey.names.resolve`."""
    wanted = names.split(",") if isinstance(names, str) else names
    with _network(sesame, url) as network:
        return sesame.resolve(network, wanted, url=url)


def gather(
    catalog: str | Path | Catalog | None,
    survey: str,
    out: str | Path,
    *,
    width: str,
    names: str = "",
    names_url: str | None = None,
    **choices: Any,
) -> Summary:
    """Fetch a cutout of each galaxy of a catalogue, or of ``names``, into a store.

    ``choices`` are those of :func:`tuningfork.survey.gather.gather`. Raises :class:`RecipeError` where neither or both
    of catalogue and names are given.
    """
    if (catalog is None) == (not names):
        raise RecipeError("give either a catalogue of positions or --names M51,NGC1300")
    return gather_catalog(
        resolve(names, url=names_url) if catalog is None else catalog, survey, out, width=width, **choices
    )


def query(
    out: str | Path,
    *,
    preset: str = "",
    sql: str = "",
    where: str = "",
    url: str | None = None,
    progress: Progress | None = None,
) -> Catalog:
    """Ask the SDSS for rows by a preset or by SQL, all of them, and write them as a catalogue with units.

    Raises :class:`RecipeError` where neither or both are given, and what :func:`tuningfork.survey.query.run_sql` does.
    """
    if bool(preset) == bool(sql):
        known = ", ".join(PRESETS)
        raise RecipeError(f"give either --preset ({known}) or a SELECT")
    with _network(sql_service, url) as network:
        if preset:
            found = sql_service.run_preset(network, preset, where=where, url=url, progress=progress)
        else:
            found = sql_service.run_sql(network, sql, url=url, progress=progress)
    found.write(out)
    return found


def _network(service: Any, url: str | None) -> Network:
    return open_network(rates(), service.HOSTS, service.RATE, service.SILENCE, url)
