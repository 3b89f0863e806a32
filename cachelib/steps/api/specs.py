"""The concrete specs, each node once: shards by the first two characters of the DAG hash, and an index with their digests."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping

from cachelib.model.site import Build, Contents, Source, page_path
from cachelib.steps.api.text import Document, Ref, document, encode, portable, rows, table

#: Characters of a DAG hash that name its shard: 1,024 shards, whatever the cache's size.
WIDTH = 2
#: A node of more than this (bytes) is left out: a real one has a few thousand.
NODE_LIMIT = 64 * 1024

#: A build by its image and its DAG hash: two images may hold one hash, with different bytes.
Key = tuple[str, str]


def by_prefix(hashes: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """DAG hashes by shard, both sorted."""
    found: dict[str, list[str]] = {}
    for h in sorted(hashes):
        found.setdefault(h[:WIDTH], []).append(h)
    yield from found.items()


def index(path: str, kind: str, shards: Mapping[str, Ref], about: Mapping[str, object]) -> Document:
    """The small index of a family of shards: the digest of each by its prefix."""
    return document(path, kind, {**about, "shards": table((prefix, encode(ref.digest)) for prefix, ref in shards.items())})


def specs(contents: Contents, spec_files: Mapping[Key, Ref]) -> Generator[Document, None, Ref]:
    """Every shard of specs; returns their index."""
    builds: dict[str, list[Build]] = {}
    for package in contents.packages:
        for build in package.builds:
            builds.setdefault(build.hash, []).append(build)
    nodes = {h for held in contents.graphs for h in held.graph.nodes}
    shards: dict[str, Ref] = {}
    for prefix, hashes in by_prefix(nodes):
        made = _shard(contents, prefix, {h: builds.get(h, []) for h in hashes}, spec_files)
        yield made
        shards[prefix] = made.ref
    made = index("specs.json", "specs", shards, {"count": len(nodes), "published": len(builds), "width": WIDTH})
    yield made
    return made.ref


def _shard(contents: Contents, prefix: str, found: Mapping[str, list[Build]], spec_files: Mapping[Key, Ref]) -> Document:
    sources: dict[Source, int] = {}
    lines: list[tuple[str, bytes]] = []
    for h, builds in found.items():
        told = []
        for build in sorted(builds, key=lambda build: build.image):
            number = sources.setdefault(build.source, len(sources))
            told.append(_build(build, spec_files.get((build.image, h)), number))
        lines.append((h, _spec(contents, h, told)))
    return document(f"specs/{prefix}.json", "spec-shard", {"sources": rows(encode(_source(one)) for one in sources), "specs": table(lines)})


def _spec(contents: Contents, dag_hash: str, told: list[dict[str, object]]) -> bytes:
    # An external's hash doesn't cover all that is told of it: the first image that tells of it is taken.
    graph = next(held.graph for held in contents.graphs if dag_hash in held.graph.nodes)
    node = graph.database.text(dag_hash)
    return b'{"package":%s,"builds":%s,"node":%s}' % (
        encode(page_path(graph.nodes[dag_hash].name) if told else None),
        encode(told),
        portable(node) if len(node) <= NODE_LIMIT else b"null",
    )


def _build(build: Build, spec_file: Ref | None, source: int) -> dict[str, object]:
    return {
        "image": build.image,
        "reference": build.reference,
        "digest": build.digest,
        "size": build.size,
        "imageSize": build.image_size,
        "base": build.base or None,
        "compilers": build.compilers,
        "libc": build.libc,
        "created": build.created or None,
        "seconds": build.seconds,
        "run": build.run or None,
        "source": source,
        "missing": build.missing,
        "specFile": spec_file.json() if spec_file else None,
    }


def _source(source: Source) -> dict[str, object]:
    return {
        "stack": source.stack or None,
        "spack": {"version": source.spack_version or None, "commit": source.spack_commit or None},
        "packages": {"version": source.packages_version or None, "commit": source.packages_commit or None},
        "source": source.source or None,
        "revision": source.revision or None,
        "attestation": source.attestation or None,
    }
