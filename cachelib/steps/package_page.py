"""What the page of a package tells, computed: templates only write it down."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cachelib.model.site import Build, Contents, Held, Package, page_path
from cachelib.steps.matrix import Matrix, matrix
from cachelib.steps.wording import variant_words

#: Names of dependents on a page, and months of its history: the API has all.
DEPENDENTS, NEEDS, MONTHS = 12, 40, 6
# What a shell takes as one word as it is: the references of registries, but not every path of this machine.
_PLAIN = re.compile(r"[\w.:-]+(?:/[\w.:@-]+)+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A line to copy, and what it does."""

    about: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a build directly needs at run time; `path` is that of its package's page, empty where it is not published."""

    name: str
    hash: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePage:
    """A package and its newest build, in the words of its page."""

    package: Package
    newest: Build
    words: tuple[str, ...]
    commands: tuple[Command, ...]
    why: str
    built: str
    needs: tuple[Need, ...]
    dependents: tuple[tuple[str, str], ...]
    more_dependents: int
    matrix: Matrix
    count: str
    size: int
    first: str
    months: tuple[tuple[str, int], ...]


def package_pages(contents: Contents, dependents: Mapping[str, Sequence[str]]) -> Iterator[PackagePage]:
    """The page of every package; `dependents` are the names of what builds on a name."""
    graphs = {(held.image, held.indexed): held for held in contents.graphs}
    published = {image.name: image.catalog.entries for image in contents.images}
    for package in contents.packages:
        newest = newest_build(package)
        entries = published[newest.image]
        names = dependents.get(package.name, ())
        days = [build.created for build in package.builds if build.created]
        yield PackagePage(
            package=package, newest=newest, words=variant_words(newest.variants), commands=commands(newest),
            why=why(newest), built=built(newest), count="1 build" if len(package.builds) == 1 else f"{len(package.builds)} builds",
            needs=_needs(newest, graphs[newest.image, entries[newest.hash].indexed], entries),
            dependents=tuple((name, page_path(name)) for name in names[:DEPENDENTS]), more_dependents=max(0, len(names) - DEPENDENTS),
            matrix=matrix(package), size=sum(build.size for build in package.builds), first=min(days, default="")[:10],
            months=tuple(sorted(Counter(day[:7] for day in days).items(), reverse=True)[:MONTHS]),
        )  # fmt: skip


def newest_build(package: Package) -> Build:
    """Of the newest version the build that was made last."""
    version = package.builds[0].version
    return max((build for build in package.builds if build.version == version), key=lambda build: (build.created, build.image, build.hash))


def commands(build: Build) -> tuple[Command, ...]:
    """The ways to have a build; those that take an image only where a registry holds it, and running it where there is a shell in it."""
    spack = Command(about="With Spack", line=f"spack install --use-buildcache only /{build.hash}")
    if not _PLAIN.fullmatch(build.reference):
        return (spack,)
    container = Command(about="As a container", line=f"podman run --rm -it {build.reference}")
    files = Command(about="As files", line=f"skopeo copy docker://{build.reference} oci:{build.name}")
    attached = Command(about="What is attached: bill of materials, signatures", line=f"oras discover {build.reference}")
    return (spack, container, files, attached) if build.base else (spack, files, attached)


def why(build: Build) -> str:
    """Why it is this build that a page begins with, and who wanted it so."""
    source = build.source
    spack = " ".join(part for part in (source.spack_version, source.spack_commit and f"({source.spack_commit[:12]})") if part)
    recipes = " ".join(part for part in (source.packages_version, source.packages_commit and f"({source.packages_commit[:12]})") if part)
    told = (source.stack and f"stack {source.stack}", spack and f"Spack {spack}", recipes and f"recipes {recipes}")
    return ", ".join(("the last one of the newest version", *(part for part in told if part)))


def built(build: Build) -> str:
    """When it was made and how long that took; nothing where nobody recorded it."""
    if not build.created:
        return ""
    took = "" if build.seconds is None else f", in {build.seconds:.0f} s"
    return f"{build.created[:10]} {build.created[11:16]} UTC{took}"


def _needs(build: Build, held: Held, published: Mapping[str, object]) -> tuple[Need, ...]:
    """Direct dependencies at run time, externals aside."""
    nodes = held.graph.nodes
    found = ((h, nodes[h]) for h in build.needs[:NEEDS] if not nodes[h].external)
    return tuple(Need(name=node.name, hash=h, path=page_path(node.name) if h in published else "") for h, node in found)
