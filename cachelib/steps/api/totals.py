"""What there is of each stack, target and compiler: sums over all builds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from cachelib.model.site import Build, Contents
from cachelib.steps.api.text import Document, Ref, document, encode, rows

#: Rows at most, and names in a row: those of stacks and compilers come from images, and there is no other end to them.
MOST, NAMES = 2_000, 50

Group = tuple[str, ...]


class _Sum:
    """What the builds of one group add up to."""

    def __init__(self) -> None:
        self.builds = 0
        self.size = 0
        self.updated = ""
        self.packages: set[str] = set()
        self.targets: set[str] = set()

    def add(self, build: Build) -> None:
        self.builds += 1
        self.size += build.size
        self.updated = max(self.updated, build.created)
        self.packages.add(build.name)
        self.targets.add(build.target)

    def json(self) -> dict[str, object]:
        return {"packages": len(self.packages), "builds": self.builds, "size": self.size, "updated": self.updated or None}


def sums(contents: Contents, groups: Callable[[Build], Iterable[Group]]) -> dict[Group, _Sum]:
    """The sums of every group that builds belong to, sorted by group."""
    found: dict[Group, _Sum] = {}
    for package in contents.packages:
        for build in package.builds:
            for group in groups(build):
                found.setdefault(group, _Sum()).add(build)
    return dict(sorted(found.items()))


def coverage(contents: Contents) -> Generator[Document, None, Ref]:
    """What there is by image, stack and target."""
    found = sums(contents, lambda build: [(build.image, build.source.stack, build.target)])
    lines = [
        encode({"image": image, "stack": stack or None, "target": target, **one.json()}) for (image, stack, target), one in found.items()
    ]
    return (yield from _list("coverage", lines))


def compilers(contents: Contents) -> Generator[Document, None, Ref]:
    """What was built with each compiler, and for which targets."""
    found = sums(contents, lambda build: [(compiler,) for compiler in build.compilers])
    lines = [encode({"compiler": name, "targets": sorted(one.targets)[:NAMES], **one.json()}) for (name,), one in found.items()]
    return (yield from _list("compilers", lines))


def targets(contents: Contents) -> Generator[Document, None, Ref]:
    """What was built for each target, by operating system."""
    found = sums(contents, lambda build: [(build.target, build.platform, build.os)])
    lines = [encode({"target": target, "platform": platform, "os": name, **one.json()}) for (target, platform, name), one in found.items()]
    return (yield from _list("targets", lines))


def _list(kind: str, lines: list[bytes]) -> Generator[Document, None, Ref]:
    made = document(f"{kind}.json", kind, {"count": len(lines), kind: rows(lines[:MOST])})
    yield made
    return made.ref
