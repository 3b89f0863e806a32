"""The packages: a list cut into files, and a document of each with all of its builds."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence

from cachelib.model.site import Build, Package, page_path
from cachelib.steps.api.text import Document, Ref, chunks, document, encode, parts, rows

#: A line of a list holds so many characters of a description, and so many targets or compilers.
SHORT, FEW = 120, 8
#: A document of a package holds so many; its builds tell of all.
MANY = 1_000
#: So many names of dependent packages stand in a document; `dependents` tells of every single build.
DEPENDENTS = 2_000


def packages(found: Sequence[Package], dependents: Mapping[str, Sequence[str]]) -> Generator[Document, None, Ref]:
    """Every file of packages; returns the index of the list. `dependents` are the names of what builds on a name."""
    by_name = {package.name: package for package in found}
    listed = []
    for label, names in chunks(by_name):
        lines = []
        for name in names:
            ref = yield from _package(by_name[name], dependents.get(name, ()))
            lines.append(encode(_line(by_name[name], ref)))
        part = document(f"package-lists/{label}.json", "package-list", {"packages": rows(lines)})
        yield part
        listed.append({**part.ref.json(), "first": names[0], "last": names[-1], "count": len(names)})
    index = document("packages.json", "packages", {"count": len(found), "lists": rows(map(encode, listed))})
    yield index
    return index.ref


def _package(package: Package, dependents: Sequence[str]) -> Generator[Document, None, Ref]:
    first, *more = parts(map(encode, _build_lines(package)))
    further: list[Ref] = []
    for number, part in enumerate(more, 2):
        made = document(f"packages/{package.path}/{number}.json", "package-builds", {"name": package.name, "builds": rows(part)})
        yield made
        further.append(made.ref)
    about = {
        "name": package.name,
        "path": package.path,
        "description": package.description,
        "homepage": package.homepage or None,
        "license": package.license,
        "maintainers": package.maintainers,
        "versions": package.versions[:MANY],
        "targets": package.targets[:MANY],
        "compilers": package.compilers[:MANY],
        "updated": package.updated or None,
        "dependents": {"count": len(dependents), "packages": [_named(name) for name in dependents[:DEPENDENTS]]},
        "count": len(package.builds),
        "builds": rows(first),
        "more": [ref.json() for ref in further],
    }
    made = document(f"packages/{package.path}.json", "package", about, {"page": f"../../packages/{package.path}/index.html"})
    yield made
    return made.ref


def _named(name: str) -> dict[str, str]:
    return {"name": name, "path": page_path(name)}


def _build_lines(package: Package) -> Iterator[dict[str, object]]:
    for build in package.builds:
        yield _build_line(build)


def _build_line(build: Build) -> dict[str, object]:
    return {
        "hash": build.hash,
        "image": build.image,
        "version": build.version,
        "variants": build.variants,
        "target": build.target,
        "os": build.os,
        "compilers": build.compilers,
        "libc": build.libc,
        "size": build.size,
        "created": build.created or None,
    }


def _line(package: Package, ref: Ref) -> dict[str, object]:
    versions = package.versions
    return {
        **ref.json(),
        "name": package.name,
        "description": package.description[:SHORT],
        "latest": versions[0],
        "versions": len(versions),
        "targets": package.targets[:FEW],
        "compilers": package.compilers[:FEW],
        "builds": len(package.builds),
        "updated": package.updated or None,
    }
