"""The builds of a package as a table: versions down, targets across, in each cell a link per build. Bounded, whatever there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from cachelib.model.site import Build, Package
from cachelib.steps.wording import variant_words

#: Rows that are seen at once, builds on a page, columns, and builds in a cell: what is beyond them the API tells on demand.
OPEN, MOST, COLUMNS, FEW = 6, 40, 8, 4
_NOTE = 60

Column = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A build in a cell: by its compilers, and where those don't tell it from its neighbours, by what does."""

    hash: str
    label: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Builds of one version for one target; `more` of them are not linked here."""

    links: tuple[Link, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A version, the day of its last build (or nothing), and a cell per column."""

    version: str
    day: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The table: targets with their systems, the rows to see at once, those to unfold; `more` builds are not in it."""

    columns: tuple[Column, ...]
    first: tuple[Row, ...]
    further: tuple[Row, ...]
    more: int


def matrix(package: Package) -> Matrix:
    """The newest versions of a package, as many as a page may hold; a DAG hash that several images hold stands once."""
    builds = list({build.hash: build for build in reversed(package.builds)}.values())[::-1]
    columns = _columns(builds)
    rows: list[Row] = []
    shown = 0
    for version, group in groupby(builds, key=lambda build: build.version):
        row, links = _row(version, list(group), columns)
        if rows and shown + links > MOST:
            break
        rows.append(row)
        shown += links
    return Matrix(columns=columns, first=tuple(rows[:OPEN]), further=tuple(rows[OPEN:]), more=len(builds) - shown)


def _columns(builds: Iterable[Build]) -> tuple[Column, ...]:
    """The targets with the most builds, by name."""
    counts = Counter((build.target, build.os) for build in builds)
    return tuple(sorted(sorted(counts, key=lambda column: (-counts[column], column))[:COLUMNS]))


def _row(version: str, builds: Sequence[Build], columns: Sequence[Column]) -> tuple[Row, int]:
    cells = tuple(_cell([build for build in builds if (build.target, build.os) == column]) for column in columns)
    day = max(build.created for build in builds)[:10]
    return Row(version=version, day=day, cells=cells), sum(len(cell.links) for cell in cells)


def _cell(builds: Sequence[Build]) -> Cell:
    labels = {build.hash: ", ".join(build.compilers[:2]) or "build" for build in builds}
    notes = _notes(builds, labels)
    newest = sorted(builds, key=lambda build: (build.created, build.hash), reverse=True)[:FEW]
    ordered = sorted(newest, key=lambda build: (labels[build.hash], notes[build.hash], build.hash))
    links = tuple(Link(hash=build.hash, label=labels[build.hash], note=notes[build.hash]) for build in ordered)
    return Cell(links=links, more=len(builds) - len(links))


def _notes(builds: Sequence[Build], labels: Mapping[str, str]) -> dict[str, str]:
    """What tells builds of one label apart: the variants that not all of them have, else the hash."""
    notes: dict[str, str] = {}
    for label in set(labels.values()):
        alike = {build.hash: frozenset(variant_words(build.variants)) for build in builds if labels[build.hash] == label}
        common = frozenset.intersection(*alike.values())
        said = {h: ", ".join(sorted(words - common))[:_NOTE] for h, words in alike.items()}
        several = Counter(said.values())
        for h, text in said.items():
            notes[h] = text if len(alike) == 1 or (text and several[text] == 1) else f"/{h[:7]}"
    return notes
