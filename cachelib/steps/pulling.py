"""Pulls a repository back into a mirror: byte for byte what was pushed, signed entries too, and only what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cachelib.model.catalog import Catalog, CatalogEntry
from cachelib.model.errors import CacheError, UsageError
from cachelib.model.outcome import Here, NotPulled, Pulled, PullOutcome
from cachelib.model.ports import Mirror, Progress, Repository
from cachelib.model.request import Request
from cachelib.model.signing import Standing
from cachelib.model.spec import Node
from cachelib.model.upstream import Upstream
from cachelib.steps.borrowing import UpstreamItem, choose
from cachelib.steps.fetching import find_in_registry, take
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.signing import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class PullItem:
    """One published entry, whether it is to be fetched, and why. `size` is that of its tarball in bytes."""

    entry: CatalogEntry
    label: str
    fetch: bool
    reason: str

    @property
    def size(self) -> int:
        return self.entry.tarball.size


@dataclass(frozen=True, slots=True, kw_only=True)
class PullPlan:
    """What of a repository is to be in the mirror; `missing` names closures that the repository doesn't hold whole.

    `upstream` is what of them upstreams have.
    """

    items: tuple[PullItem, ...]
    missing: tuple[str, ...]
    upstream: tuple[UpstreamItem, ...] = ()

    def to_fetch(self) -> tuple[PullItem, ...]:
        return tuple(item for item in self.items if item.fetch)


def plan_pull(
    catalog: Catalog,
    mirror: Mirror,
    requests: Sequence[Request] = (),
    *,
    closure: bool = True,
    policy: Policy | None = None,
    upstreams: Sequence[Upstream] = (),
) -> PullPlan:
    """Choose entries, all of them where nothing is asked for; with `closure`, what they need at run time too, of `upstreams` as well.

    With `policy`, what is in the mirror without a good signature is fetched again: it may be signed by now.
    Raises UsageError naming the requests that match nothing.
    """
    why, needed = _chosen(catalog, requests, closure=closure, whole=bool(upstreams))
    here = _here(mirror, policy)
    lent = tuple(choose(needed, why, upstreams, mirror))
    missing = needed.keys() - {item.node.hash for item in lent}
    items = []
    for h in sorted(why.keys() & catalog.entries.keys(), key=lambda h: (catalog.entries[h].tag, h)):
        entry = catalog.entries[h]
        present = here.get(h) == entry.tarball.digest.hex
        label = catalog.spec(h).label
        items.append(PullItem(entry=entry, label=label, fetch=not present, reason="in the mirror already" if present else why[h]))
    return PullPlan(items=tuple(items), missing=tuple(f"{why[h]}, which is not published" for h in needed if h in missing), upstream=lent)


def _chosen(catalog: Catalog, requests: Sequence[Request], *, closure: bool, whole: bool) -> tuple[dict[str, str], dict[str, Node]]:
    """The DAG hashes to pull, each with its reason, and the nodes of those that are not published.

    Where everything is pulled, that is only looked for if all is to be `whole`.
    """
    needed: dict[str, Node] = {}
    if not requests:
        why = dict.fromkeys(catalog.entries, "not in the mirror")
        for spec in map(catalog.spec, sorted(catalog.entries) if whole and closure else ()):
            for node in spec.runtime_closure():
                if node.hash not in why:
                    why[node.hash], needed[node.hash] = f"{spec.label} needs {node.label}", node
        return why, needed
    why = {}
    specs = {h: catalog.spec(h) for h in catalog.entries}
    for request in requests:
        found = [spec for spec in specs.values() if request.matches(spec)]
        if not found:
            raise UsageError(f"nothing that is published matches {request.text!r}", hint="the site lists what is published")
        for spec in found:
            why[spec.root.hash] = f"asked for by {request.text!r}"
            for node in spec.runtime_closure() if closure else ():
                if node.hash not in catalog.entries:
                    needed.setdefault(node.hash, node)
                    why.setdefault(node.hash, f"{spec.label} needs {node.label}")
                why.setdefault(node.hash, f"{spec.label} needs it")
    return why, needed


def _here(mirror: Mirror, policy: Policy | None) -> dict[str, str]:
    """The entries that are in the mirror with both blobs, and the checksum of their tarballs."""
    found = {}
    for entry in mirror.entries(lambda _: None):
        if mirror.has_blob(entry.tarball) and (policy is None or policy.look(entry.hash, entry.raw).standing is Standing.GOOD):
            found[entry.hash] = entry.tarball.digest.hex
    return found


def pull(
    plan: PullPlan, repository: Repository, mirror: Mirror, *, jobs: int, progress: Progress, policy: Policy | None = None
) -> dict[str, PullOutcome]:
    """Carry out the plan; one outcome per DAG hash. Blobs first, then the entry that names them, then the mirror's index."""
    outcomes: dict[str, PullOutcome] = {item.entry.hash: Here() for item in plan.items if not item.fetch}
    fetching = plan.to_fetch()
    progress.start(f"pull from {repository.name}", len(fetching))
    with workers(jobs) as pool:
        for item, future in in_order(pool, partial(_pull_one, repository, mirror, policy), fetching):
            try:
                outcomes[item.entry.hash] = future.result()
                progress.advance(f"pulled {item.label}")
            except CacheError as error:
                outcomes[item.entry.hash] = NotPulled(reason=error.message)
                progress.advance(f"failed {item.label}")
    progress.finish()
    finish(mirror, outcomes)
    return outcomes


def finish(mirror: Mirror, outcomes: Mapping[str, PullOutcome]) -> None:
    """Write the index of a mirror into which something was pulled."""
    # A run that was killed may have written the last entry and not the index.
    if not all(isinstance(outcome, NotPulled) for outcome in outcomes.values()) and not mirror.is_indexed():
        mirror.write_index()


def _pull_one(repository: Repository, mirror: Mirror, policy: Policy | None, item: PullItem) -> Pulled:
    found = find_in_registry(repository, item.entry.tag)
    if policy is not None:
        policy.demand(item.entry.hash, found.entry.raw)
    return take(found, mirror)


def total(items: Iterable[PullItem]) -> int:
    """The bytes of some entries' tarballs, each counted once."""
    sizes: Mapping[str, int] = {item.entry.tarball.digest.hex: item.size for item in items}
    return sum(sizes.values())
