"""Decides what of a stack is to be built: what its requests need, minus what is there; and lays that out for workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from statistics import median

from cachelib.model.catalog import Catalog
from cachelib.model.plan import Action, PlanItem, StackPlan
from cachelib.model.schedule import Costs, Limits, Work
from cachelib.model.spec import Edge, Node
from cachelib.steps.building import Lock
from cachelib.steps.changes import changed
from cachelib.steps.image import PREFIX
from cachelib.steps.scheduling import make_schedule
from cachelib.steps.timing import bound

#: What a build is thought to take where nothing is known of any (seconds).
UNKNOWN_SECONDS = 120.0
_RUNTIME = frozenset({"link", "run"})


def blocked(lock: Lock, present: Mapping[str, str], failing: Mapping[str, str]) -> dict[str, str]:
    """What is not to be tried, each with its reason: what failed lately, and what can't be built without it."""
    found = {h: reason for h, reason in failing.items() if h in lock.nodes and h not in present}
    if not found:
        return {}
    for node in lock.buildable():  # dependencies first
        if node.hash in found or node.hash in present:
            continue
        for edge in node.dependencies:
            if edge.hash in found:
                label = lock.nodes[edge.hash].label
                first = edge.hash in failing
                found[node.hash] = f"{label}, which it needs, {found[edge.hash]}" if first else found[edge.hash]
                break
    return found


def needed(lock: Lock, present: Mapping[str, str], without: Mapping[str, str] | None = None) -> dict[str, str]:
    """What is to be built, each with its reason: requests that are not there, and what those need and is not there either.

    What is there needs no more than its link/run closure: a compiler that built it last year need not be built again. What is
    `without` is not built, and neither is what only that needs.
    """
    reasons: dict[str, str] = {}
    without = without or {}
    seen: set[str] = set()
    waiting = [(h, f"requested as {request!r}") for h, request in sorted(lock.roots.items(), key=lambda root: (root[1], root[0]))]
    while waiting:
        h, reason = waiting.pop(0)
        node = lock.nodes[h]
        if h in seen or node.external or h in without:
            continue
        seen.add(h)
        edges: Iterable[Edge] = node.dependencies
        if h in present:
            edges = (edge for edge in edges if edge.deptypes & _RUNTIME)
        else:
            reasons[h] = reason
        waiting += [(edge.hash, f"{node.label} needs it") for edge in edges]
    return reasons


def wanted(lock: Lock, present: Mapping[str, str], without: Mapping[str, str], restricted: Set[str]) -> dict[str, str]:
    """What is to be built, as `needed` says, without what may not be given away and serves to build nothing else of it."""
    reasons = needed(lock, present, without)
    while True:
        used = {edge.hash for h in reasons for edge in lock.nodes[h].dependencies}
        idle = [h for h in reasons if h in restricted and h not in used]
        if not idle:
            return reasons
        reasons = needed(lock, present, dict(without) | dict.fromkeys((*idle, *(restricted - reasons.keys())), ""))


def known_seconds(catalog: Catalog) -> dict[str, float]:
    """What the builds of each package took, by its name: the median of those that tell."""
    told: dict[str, list[float]] = {}
    for entry in catalog.entries.values():
        try:
            seconds = float(entry.annotations.get(f"{PREFIX}build.seconds", ""))
        except ValueError:
            continue
        if 0 <= seconds < 1e6:
            told.setdefault(entry.annotations.get("org.opencontainers.image.title", "").partition("@")[0], []).append(seconds)
    return {name: median(seconds) for name, seconds in told.items()}


def make_plan(
    lock: Lock,
    *,
    id: str,  # noqa: A002 - the field's own name
    stack: str,
    image: str,
    runner: str,
    present: Mapping[str, str],
    seconds: Mapping[str, float],
    limits: Limits,
    costs: Costs,
    failing: Mapping[str, str] | None = None,
    restricted: Mapping[str, str] | None = None,
    builds: Mapping[str, list[Node]] | None = None,
    rebuild: Set[str] = frozenset(),
    repos: tuple[str, ...] = (),
    container: str = "",
) -> StackPlan:
    """The plan of a stack. `present` tells where what is there is; `seconds` what builds took, by the name of the package.

    `failing` says of what is not to be tried again yet why; `restricted` may not be given away, each with the reason; `builds` are
    those that the cache has, by the name of the package. What is to be built again though it is there is in `rebuild`, and not in
    `present`. `repos` are package repositories that come before the stack's own, `container` is the image that it is planned in.
    """
    without, restricted = blocked(lock, present, failing or {}), restricted or {}
    reasons = _told(lock, wanted(lock, present, without, restricted.keys()), builds or {}, rebuild)
    works = _works(lock, reasons, seconds)
    schedule = make_schedule(list(works.values()), limits=limits, costs=costs)
    left = {item.hash: item.reason for item in schedule.left_over}
    items = [
        _item(node, left=left, reasons=reasons, restricted=restricted, without=without, present=present) for node in lock.nodes.values()
    ]
    timed = [replace(item, seconds=works[item.hash].seconds) if item.hash in works else item for item in items]
    built = {h: work for h, work in works.items() if h not in left}
    order = {h: at for at, h in enumerate(schedule.place())}
    return StackPlan(
        id=id, stack=stack, image=image, runner=runner, schedule=schedule, bound=bound(built, limits.workers, costs),
        items=tuple(sorted(timed, key=lambda item: (list(Action).index(item.action), order.get(item.hash, 0), item.label, item.hash))),
        needs={h: work.needs for h, work in built.items()}, roots=lock.roots, rebuild=frozenset(built.keys() & rebuild),
        repos=repos, container=container,
    )  # fmt: skip


def _told(lock: Lock, reasons: Mapping[str, str], builds: Mapping[str, list[Node]], rebuild: Set[str]) -> dict[str, str]:
    """Why each is built, and what is new about it against the builds that the cache has."""
    found = {}
    for h, reason in reasons.items():
        difference = "" if h in rebuild else changed(lock.nodes[h], builds.get(lock.nodes[h].name, []))
        again = ", and to be built again" if h in rebuild else ", and not in the cache"
        found[h] = f"{reason}; {difference}" if difference else f"{reason}{again}"
    return found


def _works(lock: Lock, reasons: Mapping[str, str], seconds: Mapping[str, float]) -> dict[str, Work]:
    """The builds, each with how long it is thought to take, and which of the others it needs."""
    usual = median(seconds.values()) if seconds else UNKNOWN_SECONDS
    works = {}
    for h in reasons:
        node = lock.nodes[h]
        needs = tuple(sorted({edge.hash for edge in node.dependencies if edge.hash in reasons}))
        works[h] = Work(hash=h, label=node.label, seconds=seconds.get(node.name, usual), needs=needs)
    return works


def _item(
    node: Node, *, left: Mapping[str, str], reasons: Mapping[str, str], restricted: Mapping[str, str], without: Mapping[str, str],
    present: Mapping[str, str],
) -> PlanItem:  # fmt: skip
    """What becomes of a spec, and why."""
    h = node.hash
    if node.external:
        action, reason = Action.EXTERNAL, "taken from the machine"
    elif h in left:
        action, reason = Action.LEFT_OVER, left[h]
    elif h in reasons:
        action, reason = Action.BUILD, reasons[h]
    elif h in restricted:
        action, reason = Action.RESTRICTED, restricted[h]
    elif h in without:
        action, reason = Action.FAILING, without[h]
    elif h in present:
        action, reason = Action.PRESENT, present[h]
    else:
        action, reason = Action.IDLE, "only needed to build what is there already"
    return PlanItem(hash=h, label=node.label, action=action, reason=reason)
