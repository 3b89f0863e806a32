"""Makes what the site's search looks through: names first, then what packages are, then columns of the builds.

The builds of a column stand in the order of `Contents`: package after package, the newest version first. A build is one
character, the number of what it has, so that 100,000 of them travel in a few kilobytes and are read at once.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

from cachelib.model.ports import File
from cachelib.model.site import Build, Contents, Package
from cachelib.steps.api.packages import SHORT
from cachelib.steps.api.text import encode

#: What search.js reads; another number stands for files that it doesn't know how to read.
FORMAT = 1
SEARCH = PurePosixPath("search")
#: A longer word of a variant is left out: nobody types it.
VARIANT_LIMIT = 100
_Group = TypeVar("_Group")
# What tells of a source and not of a choice; digests would be most of what is loaded.
_NO_CHOICE = ("patches=", "commit=", "dev_path=")

#: Where and how a build was made. Few such kinds come together, however many builds there are: a stack has one compiler.
KIND: Mapping[str, Callable[[Build], tuple[str, ...]]] = {
    "image": lambda build: (build.image,),
    "stack": lambda build: (build.source.stack,),
    "target": lambda build: (build.target,),
    "os": lambda build: (build.os,),
    "compiler": lambda build: build.compilers,
}


def search_files(contents: Contents) -> Iterator[File]:
    """Every file of the search; the last one names the others by their digests, so that no two generations are mixed."""
    builds = [build for package in contents.packages for build in package.builds]
    bodies = {
        "names": encode(_names(contents.packages)),
        "catalog": encode(_catalog(contents.packages)),
        "kinds": encode(kinds(builds)),
        "versions": encode(single([build.version for build in builds])),
        "variants": encode(several([variants(build.variants) for build in builds])),
    }
    for key, body in bodies.items():
        yield SEARCH / f"{key}.json", body
    named = {key: _named(key, body) for key, body in bodies.items()}
    counts = {"packages": len(contents.packages), "builds": len(builds)}
    yield SEARCH / "index.json", encode({"meta": {"format": FORMAT, "kind": "search"}, "counts": counts, "files": named})


def _named(key: str, body: bytes) -> dict[str, str]:
    """A file by an address that changes with it, and its digest as Subresource Integrity has it (W3C SRI, 3.1)."""
    digest = hashlib.sha256(body).digest()
    return {"path": f"{key}.json?v={digest.hex()[:16]}", "integrity": f"sha256-{base64.b64encode(digest).decode()}"}


def _names(packages: Sequence[Package]) -> dict[str, object]:
    odd = {str(at): package.path for at, package in enumerate(packages) if package.path != package.name}
    return {"names": [package.name for package in packages], "paths": odd}


def _catalog(packages: Sequence[Package]) -> dict[str, object]:
    return {
        "descriptions": [package.description[:SHORT] for package in packages],
        "latest": [package.builds[0].version for package in packages],
        "counts": [len(package.builds) for package in packages],
    }


def variants(text: str) -> tuple[str, ...]:
    """The single choices of a build's variants, as they are typed."""
    return tuple(word for word in text.split() if len(word) <= VARIANT_LIMIT and not word.startswith(_NO_CHOICE))


def single(found: Sequence[str]) -> dict[str, object]:
    """What builds have one of each."""
    values, builds = _coded(found)
    return {"values": values, "builds": builds}


def several(found: Sequence[tuple[str, ...]]) -> dict[str, object]:
    """What builds have several of, coded twice: which values there are, and which of them come together."""
    groups, builds = _coded(found)
    return {**_values(groups), "builds": builds}


def kinds(found: Sequence[Build]) -> dict[str, object]:
    """Facets of which few combinations come together: one character a build tells of all of them."""
    groups, builds = _coded([tuple(of(build) for of in KIND.values()) for build in found])
    return {"columns": {key: _values([group[at] for group in groups]) for at, key in enumerate(KIND)}, "builds": builds}


def _coded(found: Sequence[_Group]) -> tuple[list[_Group], str]:
    """What there is, as it comes, and a character for each: how long ago it came first, nothing for what is new.

    What a package has is mostly new with it or just come, so few different characters tell of most builds.
    """
    numbers: dict[_Group, int] = {}
    letters = []
    for group in found:
        known = len(numbers)
        letters.append(letter(known - numbers.setdefault(group, known)))
    return list(numbers), "".join(letters)


def _values(groups: Sequence[tuple[str, ...]]) -> dict[str, object]:
    """Sets by the numbers of their values; what is in most of them has the shortest code."""
    used = Counter(value for group in groups for value in group)
    values = sorted(used, key=lambda value: (-used[value], value))
    codes = {value: letter(code) for code, value in enumerate(values)}
    return {"values": values, "sets": ["".join(codes[value] for value in group) for group in groups]}


def letter(code: int) -> str:
    """A number as one character that JSON writes as it is: no quotation mark, no backslash, no half of a surrogate pair."""
    point = code + 0x23
    point += point >= 0x5C
    return chr(point + (0x800 if point >= 0xD800 else 0))
