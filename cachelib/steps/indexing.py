"""Brings the catalog and Spack's index up to the tags of a repository, at the cost of what changed.

Several indexers may run at once. Each looks, before it writes, whether another has written since it read, and after it
wrote, whether what it wrote still stands and no tag has come; until both hold it starts again from what is there. So the
last one to write has seen everything that any other had seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern

from cachelib.model.catalog import Catalog, CatalogEntry, CatalogRoot, by_shard, shard_width, tags_digest, to_shards
from cachelib.model.database import Database, change
from cachelib.model.digest import Digest
from cachelib.model.entry import DATABASE
from cachelib.model.errors import CacheError, CatalogError, FormatError, RegistryError
from cachelib.model.oci import CATALOG_TAG, INDEX_TAG, Descriptor, is_spec_tag
from cachelib.model.outcome import Warned
from cachelib.model.ports import Progress, Repository
from cachelib.model.spec import NodePool
from cachelib.steps import artifacts
from cachelib.steps.artifacts import OLDER_TYPE, described
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.reading import read_tag
from cachelib.steps.tags import whole_tags

#: So often an indexer starts again because another one wrote, or because tags kept coming.
ROUNDS = 20
_OLDER = "has no place in Spack's index; it installs by hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What an index run found: how many entries there are, which tags came and went, and what was passed over."""

    count: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    warnings: tuple[Warned, ...] = ()
    #: Those of the warnings that are about tags which are there, and the registry doesn't give.
    unread: tuple[Warned, ...] = ()
    written: bool = False

    def joined(self, later: Indexed) -> Indexed:
        """Two rounds of one run as one."""
        return Indexed(
            count=later.count,
            added=tuple(dict.fromkeys((*self.added, *later.added))),
            removed=tuple(dict.fromkeys((*self.removed, *later.removed))),
            warnings=later.warnings,
            unread=later.unread,
            written=self.written or later.written,
        )


def index(
    repository: Repository,
    *,
    labels: Mapping[str, str],
    jobs: int,
    progress: Progress,
    full: bool = False,
    without: frozenset[str] = frozenset(),
) -> Indexed:
    """Bring catalog and Spack index up to the tags, leaving out those of `without`; with `full`, from the tags alone."""
    run = _Run(repository, labels, jobs, progress, without)
    whole = Indexed(count=0)
    for _ in range(ROUNDS):
        indexed = run.round(full=full)
        if indexed is None:
            continue  # another indexer was faster
        whole = whole.joined(indexed)
        if not indexed.written or run.settled():
            return whole
        full = False
    raise CatalogError(f"{repository.name}: other indexers kept writing", hint="run the same command again")


def read_catalog(repository: Repository, *, jobs: int, progress: Progress) -> tuple[Catalog, Indexed]:
    """The catalog as the tags are now, without writing anything."""
    run = _Run(repository, {}, jobs, progress, frozenset())
    change_of = run.read(full=False)
    try:
        kept = artifacts.load_catalog(repository, jobs=jobs) if change_of.base is not None else Catalog()
    except (CatalogError, FormatError) as error:
        run.aside(error)
        change_of, kept = run.read(full=True), Catalog()
    entries = {h: entry for h, entry in kept.entries.items() if h not in change_of.gone}
    entries |= {entry.hash: entry for entry, _ in change_of.added}
    catalog = Catalog(
        entries=dict(sorted(entries.items())),
        database=_grown(kept.database, change_of, indexed=True),
        older=_grown(kept.older, change_of, indexed=False),
    )
    return catalog, change_of.indexed(len(entries), written=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What is to change: against `base` (nothing where all is read anew), in the shards that were read."""

    base: artifacts.Held | None
    tags: frozenset[str]
    touched: frozenset[str]
    entries: Mapping[str, CatalogEntry]
    added: tuple[tuple[CatalogEntry, Mapping[str, bytes]], ...]
    gone: Mapping[str, CatalogEntry]
    renewed: bool
    warnings: tuple[Warned, ...]
    unread: tuple[Warned, ...]

    def indexed(self, count: int, *, written: bool) -> Indexed:
        return Indexed(
            count=count,
            added=tuple(entry.tag for entry, _ in self.added),
            removed=tuple(sorted(entry.tag for entry in self.gone.values())),
            warnings=self.warnings,
            unread=self.unread,
            written=written,
        )


class _Run:
    """One indexer at work on one repository."""

    def __init__(self, repository: Repository, labels: Mapping[str, str], jobs: int, progress: Progress, without: frozenset[str]) -> None:
        self._repository, self._labels, self._jobs, self._progress, self._without = repository, labels, jobs, progress, without
        self._root: CatalogRoot | None = None
        self._pool = NodePool()
        self._left_aside = False
        self._tags: frozenset[str] = frozenset()

    def round(self, *, full: bool) -> Indexed | None:
        """Read, merge and write once; nothing where another indexer wrote in between."""
        self._left_aside = False
        found = self.read(full=full)
        try:
            root, blobs = self._merged(found)
        except CacheError as error:
            if found.base is None or not _damage(error):
                raise
            self.aside(error)
            found = self.read(full=True)
            root, blobs = self._merged(found)
        self._root, self._tags = root, found.tags
        if not blobs and found.base is not None and root == found.base.root and artifacts.is_written(self._repository, root):
            return found.indexed(root.count, written=False)
        mended = artifacts.write_blobs(self._repository, root, blobs, found.base.root if found.base else None, check=found.base is None)
        if not full and not self._stands(found.base):
            return None
        # Spack's index first: a client that sees the new catalog's site finds everything it names.
        listed = artifacts.write_manifest(self._repository, INDEX_TAG, artifacts.index_manifest(root))
        kept = artifacts.write_manifest(self._repository, CATALOG_TAG, artifacts.catalog_manifest(root))
        return found.indexed(root.count, written=mended or listed or kept)

    def settled(self) -> bool:
        """Whether what was written still stands, and the tags are those that it tells of."""
        return self._root is not None and artifacts.is_written(self._repository, self._root) and self._spec_tags() == self._tags

    def read(self, *, full: bool) -> _Change:
        """Compare tags and catalog, and read what is new."""
        try:
            held = None if full else artifacts.read_root(self._repository)
            self._tags = tags = self._spec_tags()
            return self._read(held, tags)
        except (CatalogError, FormatError) as error:
            if full or not _damage(error):
                raise
            self.aside(error)
            return self.read(full=True)

    def _read(self, held: artifacts.Held | None, tags: frozenset[str]) -> _Change:
        root = held.root if held else None
        width = shard_width(root.count if root else len(tags))
        groups = by_shard(tags - self._without, width)
        shards = root.shards if root else {}
        touched = frozenset(
            key for key in groups.keys() | shards.keys()
            if key not in shards or key not in groups or shards[key].tags != tags_digest(groups[key])
        )  # fmt: skip
        known = artifacts.read_shards(self._repository, root, touched & shards.keys(), jobs=self._jobs) if root else {}
        fresh = {entry.tag for entry in known.values() if not entry.stale}
        new = sorted(tag for key in touched for tag in groups.get(key, ()) if tag not in fresh)
        vanished = {h: entry for h, entry in known.items() if entry.tag not in tags or entry.tag in self._without}
        added, warnings, unread = self._read_tags(new)
        gone, doubtful = self._confirm(vanished)
        # What was pushed anew and can't be read now is no longer what the catalog says of it.
        gone |= {h: entry for h, entry in known.items() if entry.stale and h not in {new.hash for new, _ in added}}
        return _Change(
            base=held, tags=tags, touched=touched, added=tuple(added), gone=gone,
            renewed=any(entry.hash in known for entry, _ in added), warnings=(*warnings, *doubtful), unread=unread,
            entries={h: entry for h, entry in known.items() if h not in gone},
        )  # fmt: skip

    def _spec_tags(self) -> frozenset[str]:
        return frozenset(filter(is_spec_tag, whole_tags(self._repository)))

    def _read_tags(self, tags: list[str]) -> tuple[list[tuple[CatalogEntry, Mapping[str, bytes]]], list[Warned], tuple[Warned, ...]]:
        added: list[tuple[CatalogEntry, Mapping[str, bytes]]] = []
        warnings: list[Warned] = []
        unread: list[Warned] = []
        shared: dict[bytes, bytes] = {}  # DAGs share most of their nodes: each is held once
        self._progress.start(f"index {self._repository.name}", len(tags))
        with workers(self._jobs) as pool:
            for tag, future in in_order(pool, lambda tag: read_tag(self._repository, tag, self._pool), tags):
                try:
                    entry, nodes = future.result()
                    added.append((entry, {intern(h): shared.setdefault(node, node) for h, node in nodes.items()}))
                    if not entry.indexed:
                        warnings.append(Warned(tag=tag, reason=f"spec format {entry.spec_format} (Spack 0.23 and older) {_OLDER}"))
                    self._progress.advance(f"read {tag}")
                except CacheError as error:
                    warnings.append(Warned(tag=tag, reason=error.message))
                    unread += warnings[-1:] if isinstance(error, RegistryError) else ()
                    self._progress.advance(f"passed over {tag}")
        self._progress.finish()
        return added, warnings, tuple(unread)

    def _confirm(self, vanished: Mapping[str, CatalogEntry]) -> tuple[dict[str, CatalogEntry], list[Warned]]:
        """Drop an entry only where its tag is really gone, not where a list left it out."""
        gone, doubtful = {}, []
        with workers(self._jobs) as pool:
            for h, future in in_order(pool, lambda h: self._is_gone(vanished[h].tag), vanished):
                if future.result():
                    gone[h] = vanished[h]
                else:
                    doubtful.append(Warned(tag=vanished[h].tag, reason="the tag list left it out, but it is there: it stays in the index"))
        return gone, doubtful

    def _is_gone(self, tag: str) -> bool:
        return tag in self._without or self._repository.manifest(tag) is None

    def _merged(self, found: _Change) -> tuple[CatalogRoot, dict[Digest, bytes]]:
        """The catalog that is to be, and those of its blobs that are new."""
        before = found.base.root if found.base else None
        touched = {**found.entries, **{entry.hash: entry for entry, _ in found.added}}
        kept = {key: part for key, part in before.shards.items() if key not in found.touched} if before else {}
        count = sum(part.count for part in kept.values()) + len(touched)
        width = shard_width(count)
        if before and kept and width != shard_width(before.count):
            touched |= artifacts.read_shards(self._repository, before, kept, jobs=self._jobs)
            kept = {}
        by_key = by_shard((entry.tag for entry in touched.values()), width)
        shards, blobs = artifacts.squeeze(
            to_shards(touched.values(), width), {key: (tags_digest(tags), len(tags)) for key, tags in by_key.items()}
        )
        database, mixed, changed = self._database(before, found, indexed=True)
        older, mixed_too, further = self._database(before, found, indexed=False)
        root = CatalogRoot(
            shards=dict(sorted({**kept, **shards}.items())),
            database=database,
            older=older,
            mixed=mixed or mixed_too,
            labels=dict(self._labels),
        )
        have = {part.blob.digest for part in before.shards.values()} if before else set()
        return root, {digest: data for digest, data in blobs.items() if digest not in have} | changed | further

    def _database(self, before: CatalogRoot | None, found: _Change, *, indexed: bool) -> tuple[Descriptor, bool, dict[Digest, bytes]]:
        """One of the two databases as it is to be, whether it is mixed, and its bytes where they are new."""
        held = (before.database if indexed else before.older) if before else None
        concerned = [*found.gone.values(), *(entry for entry, _ in found.added)]
        if before and held and not any(entry.indexed is indexed for entry in concerned):
            return held, before.mixed, {}
        database = artifacts.read_database(self._repository, held, mixed=before.mixed) if before and held else Database()
        grown = _grown(database, found, indexed=indexed)
        if grown.mixed and (found.gone or found.renewed):
            raise CatalogError("two entries tell different things of one node, and one of them may have gone")
        data = grown.data()
        blob = described(DATABASE if indexed else OLDER_TYPE, data)
        return blob, grown.mixed, {blob.digest: data} if held is None or held.digest != blob.digest else {}

    def _stands(self, base: artifacts.Held | None) -> bool:
        """Whether the catalog is the one that was read; one that is damaged, or was left aside, stands in nobody's way."""
        found = artifacts.find_manifest(self._repository, CATALOG_TAG)
        return self._left_aside or found == (base.raw if base else None)

    def aside(self, error: CacheError) -> None:
        """Say that the catalog is damaged, and what is done about it."""
        self._left_aside = True
        self._progress.say(f"WARNING: the catalog of {self._repository.name} is left aside and read anew: {error.message}")


def _grown(database: Database, found: _Change, *, indexed: bool) -> Database:
    added = ((entry.hash, nodes) for entry, nodes in found.added if entry.indexed is indexed)
    return change(database, added=added, gone=(h for h, entry in found.gone.items() if entry.indexed is indexed))


def _damage(error: CacheError) -> bool:
    return isinstance(error, FormatError | CatalogError) and "not whole" not in error.message
