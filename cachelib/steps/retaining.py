"""Decides what of a cache is kept: a pure function from catalog, rules and the time of day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cachelib.model.catalog import Catalog, CatalogEntry
from cachelib.model.request import parse_request
from cachelib.model.spec import ConcreteSpec
from cachelib.model.stack import Retention
from cachelib.steps.image import PREFIX

#: More than this share of a cache is only cut with --yes.
SHARE = 0.25
_CREATED = "org.opencontainers.image.created"
_UNKNOWN = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneItem:
    """One published entry, whether it is kept, and why. `size` is that of its tarball in bytes."""

    entry: CatalogEntry
    label: str
    keep: bool
    reason: str
    closure: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return self.entry.tarball.size


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """All entries, those that go first."""

    items: tuple[PruneItem, ...]

    def doomed(self) -> tuple[PruneItem, ...]:
        return tuple(item for item in self.items if not item.keep)

    def kept(self) -> tuple[PruneItem, ...]:
        return tuple(item for item in self.items if item.keep)

    def share(self) -> float:
        """The share of the cache that goes: of its entries or of its bytes, whichever is more."""
        size, doomed = sum(item.size for item in self.items), self.doomed()
        if not self.items:
            return 0.0
        return max(len(doomed) / len(self.items), sum(item.size for item in doomed) / size if size else 0.0)

    def sparing(self, hashes: frozenset[str], reason: str) -> PrunePlan:
        """The same plan with some entries kept after all."""
        return PrunePlan(
            items=tuple(
                replace(item, keep=True, reason=reason) if not item.keep and item.entry.hash in hashes else item for item in self.items
            )
        )


def plan_prune(catalog: Catalog, rules: Mapping[str, Retention], locked: frozenset[str], *, now: datetime) -> PrunePlan:
    """Keep what a rule of its stack keeps, and the whole link/run closure of that; the rest goes.

    `rules` are by the name of the stack. Entries of a stack without rules, or of none that is known, are kept.
    `locked` are DAG hashes that lock files and keeplists name; where rules trim by size, those stay too.
    """
    specs = {h: catalog.spec(h) for h in catalog.entries}
    why: dict[str, str] = {}
    for stack, entries in sorted(_by_stack(catalog).items()):
        retention = rules.get(stack)
        if retention is None:
            reason = f"no stack of cache.yaml is called {stack!r}" if stack else "it names no stack"
            _keep(why, specs, ((entry, reason) for entry in entries))
        elif not retention:
            _keep(why, specs, ((entry, f"stack {stack} keeps everything") for entry in entries))
        else:
            _keep(why, specs, _by_rules(entries, specs, retention, locked, now))
    items = [
        PruneItem(
            entry=entry,
            label=specs[h].label,
            keep=h in why,
            reason=why.get(h, "no rule of its stack keeps it"),
            closure=tuple(_closure(specs[h])),
        )
        for h, entry in catalog.entries.items()
    ]
    return PrunePlan(items=tuple(sorted(items, key=lambda item: (item.keep, item.entry.tag))))


def _by_stack(catalog: Catalog) -> dict[str, list[CatalogEntry]]:
    """The entries of each stack, newest first."""
    groups: dict[str, list[CatalogEntry]] = {}
    for entry in sorted(catalog.entries.values(), key=lambda entry: (_created(entry), entry.hash), reverse=True):
        groups.setdefault(entry.annotations.get(f"{PREFIX}stack", ""), []).append(entry)
    return groups


def _by_rules(
    entries: list[CatalogEntry], specs: Mapping[str, ConcreteSpec], retention: Retention, locked: frozenset[str], now: datetime
) -> Iterator[tuple[CatalogEntry, str]]:
    """The entries of a stack that a rule keeps, each with its reason: newest first, as long as they fit.

    What a rule would keep and doesn't fit takes nobody's place: so a second run decides as the first did.
    """
    only_size = not (retention.newest or retention.days or retention.pinned or retention.locks)
    fixed = dict(_fixed(entries, specs, retention, locked))
    room = _Room({entry.hash: entry for entry in entries}, specs, retention.max_bytes)
    for h in fixed:
        room.take(h)
    newest: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = (specs[entry.hash].root.name, specs[entry.hash].root.target)
        if entry.hash in fixed:
            yield entry, fixed[entry.hash]
            newest[key] = newest.get(key, 0) + (entry.hash in locked or _created(entry) != _UNKNOWN)
            continue
        if newest.get(key, 0) < retention.newest:
            reason = f"one of the {retention.newest} newest of {key[0]} for {key[1]}"
        elif retention.days and _created(entry) >= now - timedelta(days=retention.days):
            reason = f"built in the last {retention.days} days"
        elif only_size:
            reason = f"fits into {retention.max_size}"
        else:
            continue
        if room.fits(entry.hash):
            newest[key] = newest.get(key, 0) + 1
            yield entry, reason


def _fixed(
    entries: list[CatalogEntry], specs: Mapping[str, ConcreteSpec], retention: Retention, locked: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """What is kept whatever its size, and why."""
    requests = [parse_request(text) for text in retention.pinned]
    for entry in entries:
        pinned = next((request.text for request in requests if request.matches(specs[entry.hash])), None)
        if entry.hash in locked:
            yield entry.hash, "a lock file or keeplist names it"
        elif pinned is not None:
            yield entry.hash, f"pinned by {pinned!r}"
        elif _created(entry) == _UNKNOWN:
            yield entry.hash, "when it was built is not known"


class _Room:
    """The bytes that a stack may have: those of what is kept and of all that it needs, each counted once."""

    def __init__(self, entries: Mapping[str, CatalogEntry], specs: Mapping[str, ConcreteSpec], limit: float) -> None:
        self._entries, self._specs, self._left = entries, specs, limit
        self._kept: set[str] = set()

    def take(self, root: str) -> None:
        """Keep an entry, whether it fits or not."""
        new = self._new(root)
        self._left -= self._size(new)
        self._kept.update(new)

    def fits(self, root: str) -> bool:
        """Keep an entry if it fits beside what is kept."""
        if self._size(self._new(root)) > self._left:
            return False
        self.take(root)
        return True

    def _new(self, root: str) -> list[str]:
        return [h for h in _closure(self._specs[root]) if h not in self._kept]

    def _size(self, hashes: list[str]) -> int:
        return sum(self._entries[h].tarball.size for h in hashes if h in self._entries)


def _keep(why: dict[str, str], specs: Mapping[str, ConcreteSpec], found: Iterator[tuple[CatalogEntry, str]]) -> None:
    for entry, reason in found:
        why[entry.hash] = reason
        for h in _closure(specs[entry.hash]):
            if h in specs:
                why.setdefault(h, f"{specs[entry.hash].label} needs it")


def _closure(spec: ConcreteSpec) -> list[str]:
    return [node.hash for node in spec.runtime_closure()]


def _created(entry: CatalogEntry) -> datetime:
    """When an entry was built; where nobody tells, it counts as new: what isn't known is no reason to delete."""
    try:
        found = datetime.fromisoformat(entry.annotations.get(_CREATED, ""))
    except ValueError:
        return _UNKNOWN
    return found if found.tzinfo else found.replace(tzinfo=UTC)
