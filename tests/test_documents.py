"""Documents tell the truth: every command in them exists with its flags, and every file they point to is there."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from tuningfork.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """The `tuningfork ...` lines of a page's code blocks, continued lines joined."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(), flags=re.S | re.M)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("tuningfork ")]


EVERY = [(page, line) for page in PAGES for line in commands(page)]


def test_the_readme_has_commands() -> None:
    assert len(commands(ROOT / "README.md")) >= 7


@pytest.mark.parametrize(("page", "line"), EVERY, ids=[f"{page.name}: {line[:60]}" for page, line in EVERY])
def test_every_command_parses(page: Path, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    context = None
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, f"no verb {words[:1]} in: {line}"
        context = command.context_class(command, parent=context, info_name=words[0])
        command, words = command.commands[words[0]], words[1:]
    command.make_context(line.split()[1], words, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_a_command_that_is_not_there_is_noticed() -> None:
    with pytest.raises(Exception, match="no-such-flag"):
        test_every_command_parses(ROOT / "README.md", "tuningfork tree gz2 --no-such-flag")
