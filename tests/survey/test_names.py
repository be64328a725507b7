"""Names to positions: found, unknown, refused, hostile."""

from typing import Any

import pytest

from tuningfork.errors import BadCatalog, DuplicateIds, NetworkError
from tuningfork.survey.names import parse, resolve

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<Sesame>'
FOUND = "<Resolver name='S=Simbad (CDS)'><jradeg>10.5</jradeg><jdedeg>-20.25</jdedeg><oname>M  1</oname></Resolver>"
NOTHING = "<Resolver name='S=Simbad'><INFO>*** Nothing found ***</INFO></Resolver>"
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE Sesame [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    "<Sesame><Target>&b;</Target></Sesame>"
)
OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE Sesame [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<Sesame><Target><Resolver><jradeg>&x;</jradeg><jdedeg>1</jdedeg></Resolver></Target></Sesame>"
)


def test_names_become_a_catalogue(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky:
        catalog = resolve(network_to(sky.url), ["M51", " NGC 4303 "], url=sky.url)
        assert [asked.path for asked in sky.requests] == ["/cgi-bin/nph-sesame/-oxp/SNV"] * 2
    assert catalog.ids == ["M51", "NGC 4303"]
    assert catalog.ra == pytest.approx([202.469575, 185.478729]) and catalog.dec == pytest.approx([47.195258, 4.473647])
    assert list(catalog["resolver"]) == ["Simbad", "Simbad"] and catalog["known_as"][0] == "M 51"
    assert catalog.unit("ra") == "deg"


def test_all_unknown_names_are_listed_at_once(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky, pytest.raises(BadCatalog, match="'Nibiru', 'NGC 99999'; the other 1"):
        resolve(network_to(sky.url), ["Nibiru", "M51", "NGC 99999"], url=sky.url)


@pytest.mark.parametrize("names", [[], [""], ["M51", " "]])
def test_no_names(names: list[str], network_to: Any) -> None:
    with pytest.raises(BadCatalog, match="names"):
        resolve(network_to("http://127.0.0.1:1/"), names)


def test_one_name_twice(standin: Any, network_to: Any) -> None:
    with standin.StandIn() as sky, pytest.raises(DuplicateIds):
        resolve(network_to(sky.url), ["M51", "M51"], url=sky.url)


@pytest.mark.parametrize("fault", ["429", "503", "html", "cut", "empty"])
def test_a_passing_fault_is_survived(fault: str, standin: Any, network_to: Any) -> None:
    with standin.StandIn(lambda service, asked, time: fault if time == 1 else "") as sky:
        assert resolve(network_to(sky.url), ["M51"], url=sky.url).ids == ["M51"]


@pytest.mark.parametrize("fault", ["503", "html", "404"])
def test_a_lasting_fault_is_no_unknown_name(fault: str, standin: Any, network_to: Any) -> None:
    with standin.StandIn(lambda service, asked, time: fault) as sky, pytest.raises(NetworkError):
        resolve(network_to(sky.url), ["M51"], url=sky.url)


def test_without_network_it_is_said() -> None:
    found = parse(f"{HEAD}<Target>{FOUND}</Target></Sesame>".encode())
    assert found is not None and (found.ra, found.dec, found.resolver, found.known_as) == (
        10.5,
        -20.25,
        "Simbad",
        "M 1",
    )


def test_the_first_resolver_that_knows_it_counts() -> None:
    second = FOUND.replace("10.5", "99").replace("Simbad", "NED")
    assert parse(f"{HEAD}<Target>{NOTHING}{second}</Target></Sesame>".encode()).ra == 99  # type: ignore[union-attr]
    assert parse(f"{HEAD}<Target>{FOUND}{second}</Target></Sesame>".encode()).ra == 10.5  # type: ignore[union-attr]
    assert parse(f"{HEAD}<Target>{NOTHING}</Target></Sesame>".encode()) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "<html>", "<Other/>", f"{HEAD}</Sesame>", f"{HEAD}<Target>{FOUND}</Target>", BOMB, OUTSIDE,
        f"{HEAD}<Target>{FOUND}</Target><Target>{FOUND}</Target></Sesame>",
        f"{HEAD}<Target>{FOUND.replace('10.5', '400')}</Target></Sesame>",
        f"{HEAD}<Target>{FOUND.replace('10.5', 'nan')}</Target></Sesame>",
        f"{HEAD}<Target>{FOUND.replace('10.5', '')}</Target></Sesame>",
        f"{HEAD}<Target>{FOUND.replace('-20.25', '-91')}</Target></Sesame>",
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error(text: str) -> None:
    with pytest.raises(NetworkError, match="cannot be read"):
        parse(text.encode(), "M51")
