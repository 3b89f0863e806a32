"""The Markdown as GitHub shows it: every link leads to a file that is there, and every fragment to a heading."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
_LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"')


def text(path: Path) -> str:
    """A page without its code, in which nothing is a link or a heading."""
    whole = re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]+`", lambda found: re.sub(r"[\[\]()#]", "", found[0]), whole)


@functools.cache
def headings(path: Path) -> frozenset[str]:
    """The fragments of a page by GitHub's rule: lower case, letters, digits, `-` and `_`, blanks as dashes, a number where one comes again."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} (.+)$", text(path), flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return frozenset(found)


def broken(path: Path, content: str) -> list[str]:
    """The links of a page that lead nowhere."""
    bad = []
    for found in _LINK.finditer(content):
        link = found[1] or found[2]
        target, _, fragment = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        where = (path.parent / target).resolve() if target else path
        if (
            not where.exists()
            or not where.is_relative_to(PROJECT)
            or (fragment and where.suffix == ".md" and fragment not in headings(where))
        ):
            bad.append(link)
    return bad


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    assert broken(path, text(path)) == []


def test_there_are_many() -> None:
    assert sum(len(_LINK.findall(text(path))) for path in PAGES) > 200


@pytest.mark.parametrize("link", ["gone.md", "docs/index.md#gone", "#gone", "docs/gone/", "../outside.md"])
def test_what_leads_nowhere_is_seen(link: str) -> None:
    assert broken(PROJECT / "README.md", f"[a](docs/index.md#how-to) [b]({link}) [c](#try-it)") == [link]


def test_every_page_is_in_the_menu() -> None:
    """docs/index.md lists each page of docs/; what the README leads to is there as well."""
    index = (PROJECT / "docs/index.md").read_text(encoding="utf-8")
    pages = {path.relative_to(PROJECT / "docs").as_posix() for path in (PROJECT / "docs").rglob("*.md")} - {"index.md"}
    assert set(re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", index, flags=re.MULTILINE)) == pages
