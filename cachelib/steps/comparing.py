"""Two builds compared, or two caches; and what a cache adds up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cachelib.model.catalog import Catalog, CatalogEntry
from cachelib.model.errors import UsageError
from cachelib.model.quantity import human_bytes, human_seconds
from cachelib.model.site import Contents
from cachelib.model.spec import ConcreteSpec
from cachelib.model.text import printable
from cachelib.steps.api.totals import sums
from cachelib.steps.compatibility import compatibility
from cachelib.steps.differing import differences
from cachelib.steps.reports import Report, some
from cachelib.steps.why_reports import told

#: Characters of a DAG hash that name a build; builds that an error lists; packages, stacks and months that are told of.
SHORTEST, LISTED, LARGEST, GROUPS, MONTHS = 5, 10, 10, 40, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A build of a catalog: its DAG hash, `name@version/hash7`, and the size of its tarball (bytes)."""

    hash: str
    label: str
    size: int


def find_build(catalogs: Iterable[Catalog], wanted: str) -> ConcreteSpec:
    """The build that a person means by the beginning of a DAG hash, or by a package of which there is one build; raise UsageError."""
    text = wanted.removeprefix("/")
    found: dict[str, Catalog] = {}
    for catalog in catalogs:
        found |= {h: catalog for h in catalog.entries if len(text) >= SHORTEST and h.startswith(text)} | dict.fromkeys(
            catalog.named(text), catalog
        )
    if len(found) == 1:
        ((h, catalog),) = found.items()
        return catalog.spec(h)
    if not found:
        raise UsageError(f"there is no build {wanted!r} in the cache", hint="name the beginning of a DAG hash, a package, or a spec file")
    labels = [f"  /{h}  {catalog.spec(h).label.partition('/')[0]}" for h, catalog in sorted(found.items())[:LISTED]]
    more = [f"  ... and {len(found) - LISTED} more"] if len(found) > LISTED else []
    raise UsageError("\n".join([f"{wanted!r} names {len(found)} builds:", *labels, *more]), hint="write more of the hash")


def builds_report(a: ConcreteSpec, b: ConcreteSpec) -> Report:
    """In what one build differs from another."""
    found = differences(a, b)
    if not found:
        return Report(lines=(f"diff: {a.label} and {b.label} are the same spec",))
    lines = [f"  {told(one, ours=a.label, theirs=b.label)}" for one in found]
    if a.root.name != b.root.name:
        lines.insert(0, "  they are of two packages")
    return Report(lines=(*some(lines), f"diff: {a.label} and {b.label} differ in {len(found)} {'thing' if len(found) == 1 else 'things'}"))


def held(catalog: Catalog) -> dict[str, Held]:
    """The builds of a catalog, by their DAG hashes."""
    found = {}
    for h, entry in catalog.entries.items():
        title = entry.annotations.get("org.opencontainers.image.title") or _named(catalog, entry)
        found[h] = Held(hash=h, label=f"{printable(title[:200])}/{h[:7]}", size=entry.tarball.size)
    return found


def _named(catalog: Catalog, entry: CatalogEntry) -> str:
    """`name@version` of an image that tells nothing, as those in Docker's format do: as far as its tag does."""
    name = catalog.name(entry.hash)
    return f"{name}@{version}" if (version := entry.tag.removesuffix(f"-{entry.hash}.spack")[len(name) + 1 :]) else name


def caches_report(a: dict[str, Held], b: dict[str, Held], names: tuple[str, str]) -> Report:
    """What one cache has and the other lacks."""
    lines: list[str] = []
    for ours, theirs, name in ((a, b, names[0]), (b, a, names[1])):
        only = sorted((ours[h] for h in ours.keys() - theirs.keys()), key=lambda one: (one.label, one.hash))
        lines.append(f"only in {name}: {len(only)} builds, {human_bytes(sum(one.size for one in only))}")
        lines += some([f"  {one.label}  {human_bytes(one.size)}" for one in only])
    return Report(lines=(*lines, f"diff: {len(a.keys() & b.keys())} builds are in both"))


def statistics(contents: Contents) -> Report:
    """What a cache adds up to: by stack and target, by month, by package."""
    return Report(lines=tuple(_statistics(contents)))


def _statistics(contents: Contents) -> Iterator[str]:
    builds = [build for package in contents.packages for build in package.builds]
    groups = sums(contents, lambda build: [(build.image, build.source.stack or "(not told)", build.target)])
    if groups:
        yield "by image, stack and target:"
        yield from some([
            f"  {image}  {stack}  {target}: {one.builds} builds of {len(one.packages)} packages, {human_bytes(one.size)}"
            + (f", the last on {one.updated[:10]}" if one.updated else "")
            for (image, stack, target), one in list(groups.items())[:GROUPS]
        ])  # fmt: skip
    if runs_on := compatibility(contents):
        yield "what they run on:"
        yield from some([f"  {one.image}  {one.stack or '(not told)'}  {one.target}: {one.words}" for one in runs_on])
    months = Counter(build.created[:7] for build in builds if build.created)
    if months:
        yield "by month:"
        most = max(months.values())
        yield from (f"  {month}  {months[month]:>6}  {'#' * max(1, 40 * months[month] // most)}" for month in sorted(months)[-MONTHS:])
    sizes = Counter[str]()
    for build in builds:
        sizes[build.name] += build.size
    if sizes:
        yield "the largest packages, all their builds together:"
        yield from (f"  {name}: {human_bytes(size)}" for name, size in sizes.most_common(LARGEST))
    seconds = sum(build.seconds or 0 for build in builds)
    took = f"; building them took {human_seconds(seconds)}" if seconds else ""
    failing = sum(len(image.failures) for image in contents.images)
    yield f"stats: {len(builds)} builds of {len(contents.packages)} packages, {human_bytes(contents.size)}, {failing} failing{took}"
