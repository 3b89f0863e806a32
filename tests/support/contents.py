"""What a site tells of, made up: as many different names, words, versions and variants as a public cache has, and no catalog behind it."""

from __future__ import annotations

import random

from cachelib.model.config import Site
from cachelib.model.ports import Files, Templates
from cachelib.model.site import Build, Contents, Package, Source, page_path
from cachelib.model.version import version_key
from cachelib.steps.rendering import render
from cachelib.steps.search import search_files
from tests.support.caches import BUILDS_PER_PACKAGE, TARGETS

#: A stack is built with one compiler on one system, for some targets.
STACKS = {
    "everything": ("gcc@12.2.0", "debian12"), "radiuss": ("gcc@13.3.0", "ubuntu24.04"), "ml": ("llvm@18.1.8", "ubuntu24.04"),
    "hpc": ("gcc@14.2.0", "rocky9"), "tools": ("oneapi@2025.1.0", "rocky9"),
}  # fmt: skip
_SYLLABLES = [a + b for a in "bcdfghjklmnprstvwz" for b in "aeiou"]


def made_contents(count: int) -> Contents:
    """So many builds; chance decides what they are, the same each time."""
    chance = random.Random(count)
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) + chance.choice(("", "n", "s", "tion")) for _ in range(6_000)]
    weights = [1 / (at + 10) for at in range(len(words))]
    choices = [
        *(f"{sign}{word}" for word in words[:1_500] for sign in "+~"),
        *(f"{word}={other}" for word, other in zip(words, words[9:1_000], strict=False)),
    ]
    common = [1 / (at + 10) for at in range(len(choices))]
    named: dict[str, int] = dict.fromkeys(("hdf5", "hdf5-blosc", "hdf5-vfd", "py-h5py", "netcdf"), BUILDS_PER_PACKAGE)
    while sum(named.values()) < count:
        kind = chance.choice(("py-", "py-", "r-", "perl-", "", "", ""))
        name = kind + "-".join("".join(chance.choices(_SYLLABLES, k=chance.randint(1, 3))) for _ in range(chance.choice((1, 1, 2, 3))))
        named.setdefault(name, min(chance.randint(1, 2 * BUILDS_PER_PACKAGE - 1), count - sum(named.values())))
    return Contents(
        images=(), graphs=(), size=0, digest="made",
        packages=tuple(
            _package(chance, name, builds, " ".join(chance.choices(words, weights, k=chance.randint(4, 18))), list(dict.fromkeys(chance.choices(choices, common, k=chance.randint(1, 9)))))
            for name, builds in sorted(named.items())
        ),
    )  # fmt: skip


def _package(chance: random.Random, name: str, count: int, description: str, choices: list[str]) -> Package:
    version = [chance.randint(0, 9), chance.randint(0, 30), chance.randint(0, 9)]
    kinds = [choices, *([_turned(choice) if chance.random() < 0.2 else choice for choice in choices] for _ in range(3))]
    builds = []
    for _ in range(count):
        version[chance.randint(1, 2)] += chance.random() < 0.3
        taken = " ".join(["build_type=Release", "+shared", *chance.choices(kinds, (6, 2, 1, 1))[0]])
        builds.append(_build(chance, name, ".".join(map(str, version)), taken))
    builds.sort(key=lambda one: (one.target, one.hash))
    builds.sort(key=lambda one: version_key(one.version), reverse=True)
    return Package(
        name=name, path=page_path(name), description=description.capitalize(), homepage="", license="", maintainers=(), builds=tuple(builds)
    )


def _turned(choice: str) -> str:
    return {"+": "~", "~": "+"}.get(choice[0], choice[0]) + choice[1:]


def _build(chance: random.Random, name: str, version: str, variants: str) -> Build:
    stack = chance.choice(list(STACKS))
    compiler, system = STACKS[stack]
    source = Source(
        stack=stack, spack_version="", spack_commit="", packages_version="", packages_commit="", source="", revision="", attestation=""
    )
    return Build(
        image="v1.1", hash="".join(chance.choices("abcdefghijklmnopqrstuvwxyz234567", k=32)), name=name, version=version, variants=variants,
        target=chance.choice(TARGETS), os=system, platform="linux", compilers=(compiler,), libc="glibc@2.36", size=1, image_size=1, base="",
        digest="", reference="", created="", seconds=None, run="", source=source, needs=(), missing=(),
    )  # fmt: skip


def search_site(contents: Contents, templates: Templates) -> Files:
    """What there is of a site without its builds: the search with what it looks through, of whatever size."""
    yield from {path: data for path, data in render(Site(), [], templates) if path.parts[0] != "search" or path.suffix == ".html"}.items()
    yield from search_files(contents)
