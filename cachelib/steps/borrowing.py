"""What a pulled mirror takes of upstreams, so that it is whole by itself: what the pulled builds need, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cachelib.model.errors import CacheError
from cachelib.model.outcome import Here, NotPulled, PullOutcome
from cachelib.model.ports import Mirror, Progress
from cachelib.model.spec import Node
from cachelib.model.upstream import Upstream
from cachelib.steps.fetching import Found, take
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.signing import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamItem:
    """A build that upstreams have, and why it is needed. `urls` are those that say they have it, in the order of cache.yaml.

    `size` is that of its tarball in bytes, where the first tells.
    """

    node: Node
    urls: tuple[str, ...]
    reason: str
    here: bool
    size: int | None


#: Opens a build of an upstream, by the upstream's address; raises CacheError.
Open = Callable[[str, Node], Found]


def choose(needed: Mapping[str, Node], why: Mapping[str, str], upstreams: Sequence[Upstream], mirror: Mirror) -> Iterator[UpstreamItem]:
    """What of the needed nodes upstreams have."""
    held = {entry.hash for entry in mirror.entries(lambda _: None) if mirror.has_blob(entry.tarball)} if needed and upstreams else set()
    for h in sorted(needed, key=lambda h: (needed[h].name, h)):
        found = [one for one in upstreams if h in one.offers]
        if found:
            urls = tuple(one.url for one in found)
            yield UpstreamItem(node=needed[h], urls=urls, reason=why[h], here=h in held, size=found[0].offers[h].size)


def borrow(
    items: Sequence[UpstreamItem], find: Open, mirror: Mirror, *, jobs: int, progress: Progress, policy: Policy | None = None
) -> dict[str, tuple[str, PullOutcome]]:
    """Take builds of upstreams into the mirror: by DAG hash, which upstream was asked last, and what became of it.

    What is there already is left, unless `policy` refuses it. The mirror's index is written by who calls.
    """
    outcomes: dict[str, tuple[str, PullOutcome]] = {}
    names = {name.hash: name for name in mirror.names(lambda _: None)}
    wanted = []
    for item in items:
        try:
            if item.here and policy is not None:
                policy.demand(item.node.hash, mirror.entry(names[item.node.hash]).raw)
        except CacheError:
            wanted.append(item)
        else:
            if item.here:
                outcomes[item.node.hash] = item.urls[0], Here()
            else:
                wanted.append(item)
    progress.start("pull from upstreams", len(wanted))
    with workers(jobs) as pool:
        for item, future in in_order(pool, partial(_borrow, find, mirror, policy), wanted):
            outcomes[item.node.hash] = url, outcome = future.result()
            progress.advance(f"{'failed' if isinstance(outcome, NotPulled) else 'pulled'} {item.node.label} of {url}")
    progress.finish()
    return outcomes


def _borrow(find: Open, mirror: Mirror, policy: Policy | None, item: UpstreamItem) -> tuple[str, PullOutcome]:
    reasons = []
    for url in item.urls:
        try:
            found = find(url, item.node)
            if policy is not None:
                policy.demand(item.node.hash, found.entry.raw)
            return url, take(found, mirror)
        except CacheError as error:
            reasons.append(f"{url}: {error.message}")
    return item.urls[-1], NotPulled(reason="; ".join(reasons))
