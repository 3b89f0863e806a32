"""Makes what the site tells of out of catalogs: every value checked or cut to what a list can hold, each build once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from sys import intern

from cachelib.model.catalog import CatalogEntry
from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError
from cachelib.model.graph import Graph, read_graph
from cachelib.model.oci import compact_json
from cachelib.model.site import Build, Contents, Held, Package, SiteImage, Source, page_path
from cachelib.model.text import printable
from cachelib.model.upstream import holders
from cachelib.model.version import version_key
from cachelib.steps.image import DESCRIPTION_LIMIT, LICENSE_LIMIT, PREFIX

_OCI = "org.opencontainers.image."
#: Longer texts than these (characters) are cut: a list is no place for them.
WORD_LIMIT, VARIANTS_LIMIT, MAINTAINERS_LIMIT = 100, 2_000, 20
_WEB = re.compile(r"https?://[^\s\x00-\x20\x7f\"<>\\^`{|}]{1,1000}")
_TIME = re.compile(r"[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Whoever ran the workflow attested in that repository: GitHub, REST API, "List attestations".
_GITHUB = re.compile(r"https://github\.com/([A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100})/actions/runs/\d+(?:/.*)?")


def collect(images: Iterable[SiteImage]) -> Contents:
    """Everything that the site tells of, whatever the order of the images; raise FormatError where a catalog is damaged."""
    images = tuple(sorted(images, key=lambda image: image.name))
    graphs: list[Held] = []
    named: dict[str, list[tuple[Build, CatalogEntry]]] = {}
    for image in images:
        held = _graphs(image)
        graphs += held
        for build, entry in _builds(image, held):
            named.setdefault(build.name, []).append((build, entry))
    tarballs = {entry.tarball.digest: entry.tarball.size for image in images for entry in image.catalog.entries.values()}
    return Contents(
        images=images,
        packages=tuple(_package(name, found) for name, found in sorted(named.items())),
        graphs=tuple(graphs),
        size=sum(tarballs.values()),
        digest=str(Digest.of("\n".join(f"{image.name} {image_digest(image)}" for image in images).encode())),
    )


def image_digest(image: SiteImage) -> str:
    """What tells one state of an image from another: its builds by the digests of their manifests, what fails, what is wanted."""
    lines = [f"{h} {entry.manifest.digest}" for h, entry in sorted(image.catalog.entries.items())]
    failures = [compact_json(image.failures[h].json()).decode() for h in sorted(image.failures)]
    wanted = [compact_json(one.json()).decode() for one in image.wanted]
    upstreams = [f"{one.url} {one.digest}" for one in image.upstreams]
    keys = [f"{one.key.fingerprint} {one.digest}" for one in image.keys]
    lines += [*failures, *wanted, *upstreams, *keys]
    return str(Digest.of("\n".join([image.mirror_url, image.reference, *lines]).encode("utf-8", "replace")))


def _graphs(image: SiteImage) -> list[Held]:
    databases = (image.catalog.database, image.catalog.older)
    return [Held(image=image.name, indexed=at == 0, graph=read_graph(database)) for at, database in enumerate(databases)]


def _builds(image: SiteImage, held: list[Held]) -> Iterator[tuple[Build, CatalogEntry]]:
    published = image.catalog.entries.keys() | holders(image.upstreams).keys()
    known = {one.indexed: (one.graph, one.graph.libcs(), one.graph.missing(published)) for one in held}
    for entry in image.catalog.entries.values():
        graph, libcs, missing = known[entry.indexed]
        if entry.hash not in graph.nodes:
            raise FormatError(f"the catalog names {entry.tag} but not its node", hint="run `inv index --full`")
        lacks = tuple(sorted(missing.get(entry.hash, ())))
        yield _build(image, entry, graph, libcs.get(entry.hash, ""), lacks), entry


def _build(image: SiteImage, entry: CatalogEntry, graph: Graph, libc: str, missing: tuple[str, ...]) -> Build:
    node, about = graph.nodes[entry.hash], entry.annotations
    run = web(about.get(f"{PREFIX}build.run", ""))
    return Build(
        image=image.name, hash=intern(entry.hash), name=node.name, version=node.version, variants=printable(node.variants[:VARIANTS_LIMIT]),
        target=node.target, os=node.os, platform=node.platform, compilers=graph.compilers(entry.hash), libc=libc,
        size=entry.tarball.size, image_size=entry.layers_size, digest=str(entry.manifest.digest),
        reference=f"{image.reference}:{entry.tag}", base=word(about.get(f"{_OCI}base.name", "")),
        created=moment(about.get(f"{_OCI}created", "")),
        seconds=_seconds(about.get(f"{PREFIX}build.seconds", "")), run=run, source=_source(about, run),
        needs=node.runtime, missing=missing,
    )  # fmt: skip


def _source(about: Mapping[str, str], run: str) -> Source:
    ran = _GITHUB.fullmatch(run)
    return Source(
        stack=word(about.get(f"{PREFIX}stack", "")),
        spack_version=word(about.get(f"{PREFIX}spack.version", "")),
        spack_commit=commit(about.get(f"{PREFIX}spack.commit", "")),
        packages_version=word(about.get(f"{PREFIX}packages.version", "")),
        packages_commit=commit(about.get(f"{PREFIX}packages.commit", "")),
        source=web(about.get(f"{_OCI}source", "")),
        revision=commit(about.get(f"{_OCI}revision", "")),
        attestation=intern(f"https://api.github.com/repos/{ran[1]}/attestations/{{digest}}") if ran else "",
    )


def _package(name: str, found: list[tuple[Build, CatalogEntry]]) -> Package:
    found.sort(key=lambda pair: (pair[0].image, pair[0].target, pair[0].hash))
    found.sort(key=lambda pair: version_key(pair[0].version), reverse=True)
    about = found[0][1].annotations
    return Package(
        name=name,
        path=page_path(name),
        description=printable(about.get(f"{_OCI}description", "")[:DESCRIPTION_LIMIT]),
        homepage=web(about.get(f"{_OCI}url", "")),
        license=printable(about.get(f"{_OCI}licenses", "")[:LICENSE_LIMIT]),
        maintainers=tuple(word(one) for one in about.get(f"{PREFIX}maintainers", "").split(",")[:MAINTAINERS_LIMIT] if one),
        builds=tuple(build for build, _ in found),
    )


def web(url: str) -> str:
    """A link, if it is one that a page may hold; else nothing."""
    return intern(url) if _WEB.fullmatch(url) and printable(url) == url else ""


def commit(text: str) -> str:
    """A commit, if it is one."""
    return intern(text) if _COMMIT.fullmatch(text) else ""


def moment(text: str) -> str:
    """A time in UTC, if it is one."""
    try:
        return text if _TIME.fullmatch(text) and datetime.fromisoformat(text) else ""
    except ValueError:  # the 39th of a month
        return ""


def word(text: str) -> str:
    """A short text in one line."""
    return intern(printable(text[:WORD_LIMIT]))


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text[:WORD_LIMIT])
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
