"""Re-derives what a repository claims: every digest, every spec, every closure, the catalog and the index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from isal import isal_zlib

from cachelib.model.catalog import Catalog, CatalogEntry
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, VerifyError
from cachelib.model.oci import (
    CATALOG_TAG,
    DOCKER_LAYER_GZIP,
    INDEX_TAG,
    LAYER_GZIP,
    Descriptor,
    ImageManifest,
    RawManifest,
    is_spec_tag,
    parse_json,
)
from cachelib.model.ports import Progress, Repository
from cachelib.model.spec import ConcreteSpec, dag_hash
from cachelib.steps.indexing import CONFIG_LIMIT, catalog_entry, load_catalog, read_image_config, spack_index
from cachelib.steps.parallel import workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it claims to be: where, what, and how to mend it."""

    where: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was looked at, and what was found wrong."""

    images: int
    blobs: int
    bytes: int
    findings: tuple[Finding, ...]


# zlib, inflateInit2: 15 bits of window, and 16 for the header of gzip.
_GZIP = 31
_BROKEN: tuple[type[Exception], ...] = (isal_zlib.error,)  # type: ignore[assignment]
_PUSH = "push it again with --force from a mirror that has it"
_INDEX = "run `inv index --full`"


def verify(repository: Repository, *, jobs: int, progress: Progress) -> Verified:
    """Read everything there is, and check it against everything else."""
    findings: list[Finding] = []
    listed = repository.tags()
    if not listed:
        raise VerifyError(f"nothing is published in {repository.name}", hint="is it the right place? `inv push` and `inv index` fill it")
    tags = sorted(tag for tag in listed if is_spec_tag(tag))
    images: dict[str, _Image] = {}
    progress.start(f"verify images of {repository.name}", len(tags))
    with workers(jobs) as pool:
        for tag, future in [(tag, pool.submit(_image, repository, tag)) for tag in tags]:
            try:
                images[tag], problems = future.result()
                findings += [Finding(where=tag, problem=problem, remedy=_PUSH) for problem in problems]
            except CacheError as error:
                findings.append(Finding(where=tag, problem=error.message, remedy=_PUSH))
            progress.advance(tag)
        progress.finish()
        layers = {layer.digest: layer for image in images.values() for layer in image.manifest.layers}
        users = {layer.digest: tag for tag in sorted(images, reverse=True) for layer in images[tag].manifest.layers}
        progress.start(f"verify blobs of {repository.name}", len(layers))
        unpacked: dict[Digest, Digest] = {}
        for digest, reading in [(d, pool.submit(_read, repository, layer)) for d, layer in layers.items()]:
            try:
                unpacked[digest] = reading.result()
            except CacheError as error:
                findings.append(Finding(where=f"{users[digest]} (layer {digest})", problem=error.message, remedy=_PUSH))
            progress.advance(str(digest))
        progress.finish()
    specs = {image.spec.root.hash: image.spec for image in images.values()}
    findings += _diff_ids(images, unpacked)
    findings += _closures(specs)
    findings += _catalog(repository, images)
    return Verified(images=len(images), blobs=len(layers), bytes=sum(layer.size for layer in layers.values()), findings=tuple(findings))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    raw: RawManifest
    manifest: ImageManifest
    spec: ConcreteSpec
    diff_ids: tuple[Digest, ...]


def _image(repository: Repository, tag: str) -> tuple[_Image, list[str]]:
    raw = repository.manifest(tag)
    if raw is None:
        raise CacheError("its manifest is missing")
    manifest = ImageManifest.parse(raw)
    if manifest.config.size > CONFIG_LIMIT or not manifest.layers:
        raise CacheError("its config is too large, or it has no layer: not the image of a spec")
    config = parse_json(repository.read_blob(manifest.config), "its config")
    spec, diff_ids = read_image_config(tag, config)
    problems = []
    for node in spec.nodes.values():
        if not node.external and "build_spec" not in node.raw and spec.format >= 4 and dag_hash(node.raw) != node.hash:
            problems.append(f"the DAG hash of {node.label} is not that of its contents")
    if len(diff_ids) != len(manifest.layers):
        problems.append(f"its config names {len(diff_ids)} layers, its manifest {len(manifest.layers)}")
    checksum = config.get("binary_cache_checksum")
    if not isinstance(checksum, dict):
        problems.append("its config does not name its tarball")
    elif manifest.layers and checksum.get("hash") != manifest.layers[-1].digest.hex:
        problems.append("its last layer is not the tarball that its config names")
    return _Image(raw=raw, manifest=manifest, spec=spec, diff_ids=diff_ids), problems


def _diff_ids(images: dict[str, _Image], unpacked: dict[Digest, Digest]) -> Iterator[Finding]:
    """Each image's own claim of what its layers unpack to: one that lies is not covered by another that doesn't."""
    for tag, image in images.items():
        for layer, diff_id in zip(image.manifest.layers, image.diff_ids, strict=False):
            gzipped = layer.media_type in (LAYER_GZIP, DOCKER_LAYER_GZIP)
            if gzipped and unpacked.get(layer.digest, diff_id) != diff_id:
                problem = f"layer {layer.digest} unpacks to other content than its config says"
                yield Finding(where=tag, problem=problem, remedy=_PUSH)


def _read(repository: Repository, layer: Descriptor) -> Digest:
    """Read a layer to its end (which checks its digest), and give the digest of what it unpacks to."""
    hasher, inflater = hashlib.sha256(), isal_zlib.decompressobj(_GZIP)
    try:
        for piece in repository.stream_blob(layer):
            data = piece if layer.media_type in (LAYER_GZIP, DOCKER_LAYER_GZIP) else b""
            while data:
                hasher.update(inflater.decompress(data))
                data = inflater.unused_data
                if inflater.eof:
                    inflater = isal_zlib.decompressobj(_GZIP)
    except _BROKEN as error:
        raise VerifyError(f"it is no gzip: {error}") from None
    return Digest(hasher.hexdigest())


def _closures(specs: dict[str, ConcreteSpec]) -> Iterator[Finding]:
    for spec in specs.values():
        for node in spec.runtime_closure():
            if node.hash not in specs:
                yield Finding(where=spec.label, problem=f"its dependency {node.label} is not published", remedy="build and push it")


def _catalog(repository: Repository, images: dict[str, _Image]) -> Iterator[Finding]:
    try:
        _config(repository, CATALOG_TAG)
        catalog = load_catalog(repository)
        expected = spack_index(catalog)
    except CacheError as error:
        yield Finding(where="catalog", problem=error.message, remedy=_INDEX)
        return
    for tag in sorted(images.keys() - catalog.tags()):
        yield Finding(where="catalog", problem=f"it lacks {tag}", remedy="run `inv index`")
    for tag in sorted(catalog.tags() - images.keys()):
        yield Finding(where="catalog", problem=f"it names {tag}, which is not there or not whole", remedy=_INDEX)
    for entry in catalog.entries.values():
        if entry.tag in images and entry != _entry(entry.tag, images[entry.tag]):
            yield Finding(where="catalog", problem=f"it tells other things of {entry.tag} than its image", remedy=_INDEX)
    yield from _index(repository, catalog, expected)


def _entry(tag: str, image: _Image) -> CatalogEntry:
    return catalog_entry(tag, image.raw, image.manifest, image.spec, image.diff_ids)


def _index(repository: Repository, catalog: Catalog, expected: bytes) -> Iterator[Finding]:
    try:
        manifest = _config(repository, INDEX_TAG)
        if manifest is None:
            if catalog.entries:
                yield Finding(where=INDEX_TAG, problem="it is missing", remedy="run `inv index`")
            return
        data = repository.read_blob(manifest.layers[0])
    except (CacheError, LookupError) as error:
        yield Finding(where=INDEX_TAG, problem=str(error), remedy=_INDEX)
        return
    if data != expected:
        yield Finding(where=INDEX_TAG, problem="it does not say what the catalog says", remedy="run `inv index`")


def _config(repository: Repository, tag: str) -> ImageManifest | None:
    """The manifest of one of our own artifacts, its config read too, so that nothing of it stays unread."""
    raw = repository.manifest(tag)
    if raw is None:
        return None
    manifest = ImageManifest.parse(raw)
    repository.read_blob(manifest.config)
    return manifest
