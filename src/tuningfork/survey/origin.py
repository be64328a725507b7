"""Where cutouts come from: a survey's service, or the user's own tiles; either gives jobs that anybody may do."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from ..errors import NetworkError, RecipeError
from ..galaxy.cutout import Record
from ..network import Network
from .mosaic import Mosaic
from .service import Request, Survey, check_reachable, connect
from .stop import Stop
from .surveys import find_survey

Job = tuple[Request, Callable[[], Record]]


class Origin(Protocol):
    """Where cutouts come from: a service, or the user's own tiles; ``name`` in a word."""

    name: str

    def plan(self) -> dict[str, Any]:
        """What a folder remembers of it."""

    def check(self, request: Request) -> None:
        """Raise RecipeError for what it never gives, BadImage for what it cannot give this galaxy."""

    def jobs(self, requests: Iterable[Request]) -> Iterator[Job]:
        """For each request (in any order) what to call, in any thread: it gives the record, or raises BadImage."""

    def notes(self) -> tuple[str, ...]:
        """What a user should know about the images."""

    def close(self) -> None:
        """Nothing more is asked for."""


class Service:
    """A survey's service, asked over the network, which is opened when the first galaxy is asked for."""

    def __init__(self, survey: Survey, url: str | None, network: Callable[[Survey], Network]) -> None:
        self._survey, self._url, self._make = survey, url, network
        self.name = survey.name
        self._network: Network | None = None

    def plan(self) -> dict[str, Any]:
        """The survey's name, and the mirror that was named."""
        return {"survey": self._survey.name, "url": self._url}

    def check(self, request: Request) -> None:
        """See :class:`Origin`."""
        self._survey.complete(request)

    def jobs(self, requests: Iterable[Request]) -> Iterator[Job]:
        """In the order of the requests; raises NetworkError at once where nobody answers."""
        for request in requests:
            if self._network is None:
                self._network = self._make(self._survey)
                self._reach(self._network)
            yield request, functools.partial(self._survey.fetch, self._network, request, self._url)

    def _reach(self, network: Network) -> None:
        roots = (self._url,) if self._url else self._survey.roots
        for number, root in enumerate(roots, 1):
            try:
                return check_reachable(network, root)
            except NetworkError:
                if number == len(roots):
                    raise

    def notes(self) -> tuple[str, ...]:
        """Units, licence, and what to cite."""
        survey = self._survey
        return (f"{survey.title}: pixels in {survey.units}; {survey.licence}; cite {survey.citation}",)

    def close(self) -> None:
        """Close the connections."""
        if self._network is not None:
            self._network.close()


def open_origin(
    survey: str | Survey,
    url: str | None,
    images: str | None,
    weights: str | None,
    masks: str | None,
    partial: bool,
    bands: tuple[str, ...] | None,
    network: Callable[[Survey], Network],
) -> Origin:
    """The survey of a name, or "mosaic"; raises RecipeError for what does not go together."""
    if survey == "mosaic":
        if url is not None or not images:
            raise RecipeError(
                "survey 'mosaic' cuts from your own tiles: name them with --images 'tile*.fits', no --url"
            )
        return Mosaic(images, bands=bands, weights=weights, masks=masks, partial=partial)
    if images or weights or masks or partial:
        raise RecipeError(
            "images, weights, masks and partial belong to survey 'mosaic', which cuts from your own tiles"
        )
    survey = find_survey(survey) if isinstance(survey, str) else survey
    return Service(survey, url, network)


def rates() -> Path:
    """The folder of this user where all processes share how often each host was asked."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tuningfork"


def open_network(survey: Survey, url: str | None, rate: float | None, stop: Stop) -> Network:
    """The door to a survey's hosts (or its mirror), with the rates that all processes of this user share."""
    return connect(rates(), survey, url, rate=rate, sleep=stop.sleep)
