"""Layered caches: what an upstream holds, by its own catalog or by Spack's index, and what of it an image here is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import Protocol

from cachelib.model.catalog import CatalogEntry, CatalogRoot
from cachelib.model.database import DATABASE_LIMIT
from cachelib.model.entry import BlobRecord
from cachelib.model.errors import CacheError, CatalogError, FormatError, RegistryError
from cachelib.model.image import Layer
from cachelib.model.index_stream import present_in
from cachelib.model.oci import INDEX_TAG, ImageManifest
from cachelib.model.outcome import BuildOutcome, Reused
from cachelib.model.ports import Progress, Repository
from cachelib.model.record import PackageInfo, Record
from cachelib.model.stack import spack_line
from cachelib.model.text import printable
from cachelib.model.upstream import MOST, Offer, Upstream, package_name
from cachelib.steps import artifacts, bases
from cachelib.steps.collecting import web
from cachelib.steps.image import PREFIX, TITLE
from cachelib.steps.licensing import withheld
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.pushing import PushPlan
from cachelib.steps.reading import open_image
from cachelib.steps.recalling import published_package, told_of
from cachelib.steps.standing import seconds_of

_LABEL = "org.opencontainers.image."
_VERSION = f"{PREFIX}spack.version"
#: Shards of an upstream's catalog that are read at once, their number, and their bytes together.
_AT_ONCE, _SHARDS, _BYTES = 16, 1024, 512 * 1024 * 1024
#: Lines of Spack that are told of: an upstream may claim as many as it likes.
_LINES = 10
#: What the outcome of a spec begins with that came from an upstream.
FROM = "upstream "


class _WithheldError(CacheError):
    """A layer may not be given away."""


class IndexedMirror(Protocol):
    """A mirror whose index can be read."""

    def index(self) -> BlobRecord:
        """Where the index is."""

    def stream(self, blob: BlobRecord) -> Iterator[bytes]:
        """The index in pieces."""


def look_into_registry(repository: Repository, url: str, line: str, known: Upstream | None, now: str) -> Upstream:
    """What an upstream in a registry holds. Its catalog, where it is one of ours, tells more than Spack's index, and in fewer bytes.

    Of what another line of Spack than `line` built (empty: any), nothing counts. Raises CacheError where neither can be read.
    """
    try:
        held = artifacts.read_root(repository)
        if held is not None:
            if known is not None and known.digest == str(held.raw.digest):
                return known
            return _cataloged(repository, url, str(held.raw.digest), held.root, line, now)
    except (CatalogError, FormatError):
        pass  # of another version, or another program's: stock Spack reads its index all the same
    raw = repository.manifest(INDEX_TAG)
    if raw is None:
        raise RegistryError(f"{repository.name} has no index ({INDEX_TAG})", status=404, hint="is it public, and the address right?")
    layers = ImageManifest.parse(raw).layers
    if len(layers) != 1:
        raise FormatError(f"{repository.name}:{INDEX_TAG} is no index of Spack")
    if layers[0].size > DATABASE_LIMIT:
        raise FormatError(f"the index of {repository.name} has {layers[0].size} bytes: no more than {DATABASE_LIMIT} are read")
    return _indexed(url, str(layers[0].digest), repository.stream_blob(layers[0]), known, now)


def look_into_mirror(mirror: IndexedMirror, url: str, known: Upstream | None, now: str) -> Upstream:
    """What an upstream at a web address or in a directory holds, by Spack's index; raise CacheError where that can't be read."""
    blob = mirror.index()
    return _indexed(url, str(blob.digest), mirror.stream(blob), known, now)


def _indexed(url: str, digest: str, pieces: Iterator[bytes], known: Upstream | None, now: str) -> Upstream:
    if known is not None and known.digest == digest:
        return known
    found = dict(present_in(pieces))
    names = frozenset(found.values()) - {""}
    return Upstream(url=url, digest=digest, read=now, offers=dict.fromkeys(found, Offer()), names=names)


def _cataloged(repository: Repository, url: str, digest: str, root: CatalogRoot, line: str, now: str) -> Upstream:
    if len(root.shards) > _SHARDS or sum(part.blob.size for part in root.shards.values()) > _BYTES:
        raise FormatError(f"the catalog of {repository.name} is larger than {_SHARDS} shards of {_BYTES} bytes together")
    offers: dict[str, Offer] = {}
    strangers: dict[str, int] = {}
    names = set[str]()
    told = False
    keys = sorted(root.shards)
    for at in range(0, len(keys), _AT_ONCE):
        for h, entry in artifacts.read_shards(repository, root, keys[at : at + _AT_ONCE], jobs=4).items():
            version = entry.annotations.get(_VERSION, "")
            told = told or bool(version)
            if line and version and spack_line(version) != line:
                other = printable(spack_line(version)[:20])
                strangers[other if other in strangers or len(strangers) < _LINES else "other"] = strangers.get(other, 0) + 1
            else:
                offers[h] = _offer(entry)
                names.add(package_name(entry.annotations.get(TITLE, "").partition("@")[0]))
        if len(offers) > MOST:
            raise FormatError(f"the catalog of {repository.name} has more than {MOST} builds")
    site, source = (web(root.labels.get(f"{_LABEL}{label}", "")) for label in ("url", "source"))
    return Upstream(
        url=url, digest=digest, read=now, offers=offers, site=site, source=source, strangers=dict(sorted(strangers.items())), told=told,
        names=frozenset(names - {""}),
    )  # fmt: skip


def _offer(entry: CatalogEntry) -> Offer:
    return Offer(size=entry.tarball.size, seconds=seconds_of(entry))


def name_sources(outcomes: Mapping[str, BuildOutcome], published: Set[str], where: Mapping[str, str]) -> dict[str, BuildOutcome]:
    """The same outcomes, where what Spack took neither from the mirror nor from our own registry is said to come from an upstream.

    Which one isn't told by Spack: it is the first that has it by its index (`where`).
    """
    return {
        h: Reused(source=FROM + where.get(h, "that hasn't told of it"))
        if isinstance(outcome, Reused) and outcome.source == "registry" and h not in published
        else outcome
        for h, outcome in outcomes.items()
    }


def foreign(outcome: BuildOutcome | None) -> bool:
    """Whether a spec is an upstream's, by what became of it."""
    return isinstance(outcome, Reused) and outcome.source.startswith(FROM)


def bring_layers(
    plan: PushPlan,
    sources: Mapping[str, Repository],
    where: Mapping[str, str],
    target: Repository,
    *,
    jobs: int,
    progress: Progress,
    recorded: Callable[[str], Record | None] = lambda _: None,
    refusal: Callable[[PackageInfo, str], str] = lambda package, _: withheld(package),
) -> dict[str, Layer]:
    """Copy the layers that images need of upstreams in registries (`sources`); what can't be had is said, and left out.

    So is what may not be given away, by `refusal`: upstream or not, here it would be given away by this cache. What a package is
    tells what is `recorded` of it here, else its image.
    """
    sent = {item.entry.hash for item in plan.to_send()}
    wanted = {
        need.hash: need
        for item in plan.to_send()
        for need in item.closure
        if need.hash not in sent and need.tag not in plan.tags and where.get(need.hash, "") in sources
    }

    def bring(h: str) -> Layer:
        source = sources[where[h]]
        image, record = open_image(source, wanted[h].tag), recorded(h)
        package = record.package if record is not None else published_package(told_of(image.manifest, image.config))
        if reason := refusal(package, record.origin.stack if record is not None else ""):
            raise _WithheldError(reason)
        layer = Layer(digest=image.tarball.digest, size=image.tarball.size, diff_id=image.diff_ids[-1])
        bases.copy_blob(source, target, layer.descriptor())
        return layer

    found = {}
    progress.start("copy layers of upstreams", len(wanted))
    with workers(jobs) as pool:
        for h, future in in_order(pool, bring, wanted):
            try:
                found[h] = future.result()
            except CacheError as error:
                verb = "isn't" if isinstance(error, _WithheldError) else "can't be"
                told = f"the layer of {wanted[h].label} {verb} copied: {error.message}"
                progress.say(f"WARNING: {told}; images that need it install, but don't run by themselves")
            progress.advance(wanted[h].label)
    progress.finish()
    return found
