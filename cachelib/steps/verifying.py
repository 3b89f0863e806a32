"""Re-derives what a repository claims: every digest, every spec, every closure, the catalog and the index."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial

from isal import isal_zlib

from cachelib.model.catalog import CatalogEntry
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, MirrorError, UnpublishedError, VerifyError
from cachelib.model.finding import Finding
from cachelib.model.oci import DOCKER_LAYER_GZIP, LAYER_GZIP, Descriptor, is_spec_tag
from cachelib.model.ports import Journal, Mirror, Progress, Repository
from cachelib.model.spec import Node, NodePool, dag_hash
from cachelib.steps.catalog_check import check_catalog
from cachelib.steps.entries import kept_entry
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.reading import catalog_entry, open_image

# zlib, inflateInit2: 15 bits of window, and 16 for the header of gzip.
_GZIP = 31
_BROKEN: tuple[type[Exception], ...] = (isal_zlib.error,)  # type: ignore[assignment]
_PUSH = "push it again with --force from a mirror that has it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was looked at, and what was found wrong. `before` counts layers that an earlier run had found right.

    `manifests` are those of the images that were looked at, by tag.
    """

    images: int
    blobs: int
    bytes: int
    before: int
    findings: tuple[Finding, ...]
    mended: tuple[str, ...] = ()
    manifests: Mapping[str, Digest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Which images to look at: a share of them, chosen by a seed, so that the same seed looks at the same ones."""

    percent: int = 100
    seed: int = 0

    def of(self, tags: Sequence[str]) -> list[str]:
        """The tags that are looked at."""
        if self.percent >= 100 or not tags:
            return list(tags)
        chosen = random.Random(self.seed).sample(sorted(tags), max(1, len(tags) * self.percent // 100))  # noqa: S311
        return sorted(chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """What is kept of an image after it was read: enough to hold it against everything else."""

    entry: CatalogEntry
    label: str
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]
    closure: tuple[tuple[str, str], ...]
    nodes: tuple[tuple[str, bytes], ...]
    problems: tuple[str, ...]


def verify(
    repository: Repository,
    *,
    jobs: int,
    progress: Progress,
    sample: Sample | None = None,
    journal: Journal | None = None,
    mirror: Mirror | None = None,
    elsewhere: Set[str] = frozenset(),
) -> Verified:
    """Read everything there is (or a sample of the images), and check it against everything else.

    What upstreams have (`elsewhere`) is not missing here.

    Layers that `journal` knows are not read again; with `mirror`, its entries are held against the images too.
    """
    listed = repository.tags()
    if not listed:
        hint = "is it the right place? `inv push` and `inv index` fill it"
        raise UnpublishedError(f"nothing is published in {repository.name}", hint=hint)
    sample = sample or Sample()
    tags = sorted(filter(is_spec_tag, listed))
    images, findings = _images(repository, sample.of(tags), jobs, progress)
    told: dict[Digest, dict[int, Descriptor]] = {}
    for image in images.values():
        for layer in image.layers:
            told.setdefault(layer.digest, {}).setdefault(layer.size, layer)
    known = journal.known() if journal else {}
    layers, read, unpacked, broken = _layers(repository, images, told, known, journal, jobs, progress)
    findings += broken
    findings += _diff_ids(images, unpacked, layers)
    findings += _closures(images, elsewhere | {tag.removesuffix(".spack")[-32:] for tag in tags})
    whole = {image.entry.tag: (image.entry, image.nodes) for image in images.values()}
    findings += check_catalog(repository, tags, whole, complete=len(images) == len(tags))
    if mirror is not None:
        findings += _mirror(mirror, images, frozenset(tags), elsewhere)
    return Verified(
        images=len(images), blobs=len(read), bytes=sum(layers[digest].size for digest in read),
        before=len(layers) - len(read), findings=tuple(findings),
        manifests={tag: image.entry.manifest.digest for tag, image in images.items()},
    )  # fmt: skip


def _images(repository: Repository, tags: Sequence[str], jobs: int, progress: Progress) -> tuple[dict[str, _Image], list[Finding]]:
    images: dict[str, _Image] = {}
    findings: list[Finding] = []
    # Images share most of their layers and nodes: each is held once.
    layers: dict[tuple[str, Digest, int], Descriptor] = {}
    nodes: dict[tuple[str, bytes], tuple[str, bytes]] = {}
    names: dict[tuple[str, str], tuple[str, str]] = {}
    progress.start(f"verify images of {repository.name}", len(tags))
    with workers(jobs) as pool:
        for tag, future in in_order(pool, partial(_image, repository, NodePool(), set[bytes]()), tags):
            try:
                image = future.result()
                images[tag] = replace(
                    image,
                    layers=tuple(layers.setdefault((layer.media_type, layer.digest, layer.size), layer) for layer in image.layers),
                    nodes=tuple(nodes.setdefault(pair, pair) for pair in image.nodes),
                    closure=tuple(names.setdefault(pair, pair) for pair in image.closure),
                )
                findings += [Finding(where=tag, problem=problem, remedy=_PUSH) for problem in image.problems]
            except CacheError as error:
                findings.append(Finding(where=tag, problem=error.message, remedy=_PUSH))
            progress.advance(tag)
    progress.finish()
    return images, findings


def _image(repository: Repository, pool: NodePool, right: set[bytes], tag: str) -> _Image:
    image = open_image(repository, tag, pool=pool)
    spec, manifest, diff_ids = image.spec, image.manifest, image.diff_ids
    problems = []
    for node in spec.nodes.values():
        if node.json not in right and not hash_fits(node, spec.format):
            problems.append(f"the DAG hash of {node.label} is not that of its contents")
        elif spec.format >= 4:
            right.add(node.json)  # DAGs share most of their nodes: each is recomputed once
    if len(diff_ids) != len(manifest.layers):
        problems.append(f"its config names {len(diff_ids)} layers, its manifest {len(manifest.layers)}")
    checksum = image.config.get("binary_cache_checksum")
    if not isinstance(checksum, dict):
        problems.append("its config does not name its tarball")
    elif checksum.get("hash") != image.tarball.digest.hex:
        problems.append("its last layer is not the tarball that its config names")
    try:
        kept_entry(image.config, image.tarball, spec)
    except CacheError as error:
        problems.append(error.message)
    return _Image(
        entry=catalog_entry(tag, image),
        label=spec.label,
        layers=manifest.layers,
        diff_ids=diff_ids,
        closure=tuple((node.hash, node.label) for node in spec.runtime_closure()),
        nodes=tuple(spec.lines().items()),
        problems=tuple(problems),
    )


def hash_fits(node: Node, spec_format: int) -> bool:
    """Whether a node's DAG hash is that of its JSON, as far as the hash covers it."""
    # An external's hash, and that of a spliced node, do not cover the JSON that stands here.
    return node.external or spec_format < 4 or "build_spec" in (raw := node.raw) or dag_hash(raw) == node.hash


def _layers(
    repository: Repository,
    images: Mapping[str, _Image],
    told: Mapping[Digest, Mapping[int, Descriptor]],
    known: Mapping[str, str],
    journal: Journal | None,
    jobs: int,
    progress: Progress,
) -> tuple[dict[Digest, Descriptor], list[Digest], dict[Digest, Digest], list[Finding]]:
    """Read every layer that isn't known to be right; each as it is, which were read, what each unpacks to, and what is wrong."""
    layers = {digest: next(iter(sizes.values())) for digest, sizes in told.items()}
    users = {layer.digest: tag for tag in sorted(images, reverse=True) for layer in images[tag].layers}
    unpacked = {digest: Digest.parse(known[str(digest)]) for digest in layers if str(digest) in known}
    reading = [layers[digest] for digest in layers if digest not in unpacked]
    findings = []

    def read(layer: Descriptor) -> Digest:
        *others, last = told[layer.digest].values()
        for one in (*others, last):  # where images tell several sizes, one of them is right
            try:
                found = _read(repository, one)
            except CacheError:
                if one is last:
                    raise
                continue
            layers[layer.digest] = one
            if journal:
                journal.note(str(layer.digest), str(found))
            break
        return found

    progress.start(f"verify blobs of {repository.name}", len(reading))
    with workers(jobs) as pool:
        for layer, future in in_order(pool, read, reading):
            try:
                unpacked[layer.digest] = future.result()
            except CacheError as error:
                findings.append(Finding(where=f"{users[layer.digest]} (layer {layer.digest})", problem=error.message, remedy=_PUSH))
            progress.advance(str(layer.digest))
    progress.finish()
    return layers, [layer.digest for layer in reading], unpacked, findings


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


def _diff_ids(images: Mapping[str, _Image], unpacked: Mapping[Digest, Digest], read: Mapping[Digest, Descriptor]) -> Iterator[Finding]:
    """Each image's own claim of its layers, and of what they unpack to: one that lies is not covered by another that doesn't."""
    for tag, image in images.items():
        for layer in image.layers:
            if (told := read[layer.digest]).size != layer.size:
                problem = f"layer {layer.digest} has {layer.size} bytes here, and {told.size} in another image"
                yield Finding(where=tag, problem=problem, remedy=_PUSH)
        for layer, diff_id in zip(image.layers, image.diff_ids, strict=False):
            gzipped = layer.media_type in (LAYER_GZIP, DOCKER_LAYER_GZIP)
            if gzipped and unpacked.get(layer.digest, diff_id) != diff_id:
                problem = f"layer {layer.digest} unpacks to other content than its config says"
                yield Finding(where=tag, problem=problem, remedy=_PUSH)


def _closures(images: Mapping[str, _Image], published: Set[str]) -> Iterator[Finding]:
    for image in images.values():
        for h, label in image.closure:
            if h not in published:
                yield Finding(where=image.label, problem=f"its dependency {label} is not published", remedy="build and push it")


def _mirror(mirror: Mirror, images: Mapping[str, _Image], tags: frozenset[str], elsewhere: Set[str]) -> Iterator[Finding]:
    """Hold a mirror against the images: what is in it is published, with the same bytes, and is whole."""
    damaged: list[MirrorError] = []
    for name in mirror.names(damaged.append):
        where = f"mirror: {name.label}"
        try:
            entry = mirror.entry(name)
            mirror.inspect_tarball(entry.tarball, again=True)
        except MirrorError as error:
            damaged.append(error)
            continue
        if name.tag not in tags and name.hash in elsewhere:
            continue
        if name.tag not in tags:
            yield Finding(where=where, problem="it is not published", remedy="run `inv push`")
        elif name.tag in images and images[name.tag].entry.tarball.digest != entry.tarball.digest:
            remedy = "`inv pull` takes the published one, `inv push --force` publishes this one"
            yield Finding(where=where, problem="its tarball is another than the published one: it was built twice", remedy=remedy)
    for problem in damaged:
        yield Finding(where="mirror", problem=problem.message, remedy=problem.hint)
