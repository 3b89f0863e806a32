"""What documentation and errors tell people to type is understood as it stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke.collection import Collection
from invoke.exceptions import ParseError
from invoke.parser import Parser
from invoke.parser.context import ParserContext

import tasks
from cachelib.tools.task_help import task_help

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted([PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").rglob("*.md")])
CALL = re.compile(r"(?:inv|invoke|nox -s inv --) (?P<words>.+)")
FLAGS = {task.name: {flag.name for flag in task.flags} for task in task_help(PROJECT)}
#: Flags of Invoke itself.
OWN = {"--list", "--help", "--version", "--json"}


def typed() -> Iterator[tuple[str, str]]:
    """The lines of consoles that call tasks."""
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            if (match := re.match(r"\s*\$ (.+)", line)) and (call := CALL.match(match[1])):
                yield page.relative_to(PROJECT).as_posix(), call["words"]


def mentioned() -> Iterator[tuple[str, str]]:
    """What stands as code in a sentence of a page, or of an error's hint."""
    for page in [*PAGES, *(PROJECT / "cachelib").rglob("*.py")]:
        for match in re.finditer(r"`((?:inv|invoke) [a-z][^`{}\n]*)`", page.read_text(encoding="utf-8")):
            yield page.relative_to(PROJECT).as_posix(), match[1].partition(" ")[2]


def words_of(text: str) -> list[str]:
    words = shlex.split(text.replace("…", ""), comments=True)
    ends = [at for at, word in enumerate(words) if word in ("&&", "|", ";", ">")]
    return words[: ends[0]] if ends else words


@pytest.mark.parametrize(("page", "line"), list(typed()))
def test_a_typed_line_is_parsed(page: str, line: str) -> None:
    contexts = Collection.from_module(tasks).to_contexts()
    try:
        parsed = Parser(contexts=contexts, initial=ParserContext()).parse_argv(words_of(line))
    except ParseError as error:
        pytest.fail(f"{page}: inv {line}: {error}")
    assert len(parsed) > 1, "it calls no task"


@pytest.mark.parametrize(("page", "line"), sorted(set(mentioned())))
def test_a_mentioned_command_has_its_flags(page: str, line: str) -> None:
    words = words_of(line.replace("'", "").replace('"', ""))
    if words[0].isupper() or set(words) & OWN == {words[0]}:
        return
    task = words[0].strip(",.;:)")
    assert task in FLAGS, f"{page}: inv {line}"
    known = set().union(*(FLAGS.get(word, set()) for word in words))
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known | OWN, f"{page}: inv {line}"


def test_there_are_such_lines() -> None:
    assert len(list(typed())) > 30
    assert len(set(mentioned())) > 100
