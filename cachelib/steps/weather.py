"""Decides how a stack stands: what it wants against what the cache has, and why the rest is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from cachelib.model.failure import Failure
from cachelib.model.spec import RUNTIME
from cachelib.model.text import printable
from cachelib.model.wanted import REASON, Wanted, WantedSpec
from cachelib.steps.building import Lock

#: Why something is missing of which nothing more is known.
UNKNOWN = "not in the cache: not built yet, or removed since"


class State(Enum):
    """How a request stands: whether Spack can take all that it needs from the cache, and if not, why."""

    READY = "ready"
    PARTLY = "in part"
    MISSING = "missing"
    FAILING = "failing"
    REFUSED = "refused"
    RESTRICTED = "restricted"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the cache knows of a build: the size of its tarball (bytes), and how long it took (seconds; nothing where nobody told).

    What is `upstream` is in another cache, on which this one stands.
    """

    size: int
    seconds: float | None = None
    upstream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """A spec that is not in the cache, and why."""

    hash: str
    name: str
    label: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How a request stands. Of the `total` specs that it needs at run time, itself among them, `present` are in the cache or in an
    upstream (`upstream` of them).

    `size` are the bytes to fetch of those, `seconds` what building them took. `spec` is none where Spack refuses the request.
    """

    request: str
    state: State
    reason: str = ""
    spec: WantedSpec | None = None
    present: int = 0
    total: int = 0
    size: int = 0
    seconds: float = 0.0
    upstream: int = 0
    lacks: tuple[Lack, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of what is wanted for a target is there, each spec counted once."""

    target: str
    present: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How a stack stands on a kind of runner: its requests, the worst first, and the sums over all that they need, each spec once.

    `withheld` are specs that may not be given away, `external` those of the machine; neither is among the `total`. `targets` are the same
    sums for each target.
    """

    stack: str
    runner: str
    requests: tuple[Forecast, ...]
    present: int
    total: int
    withheld: int
    external: int
    size: int
    seconds: float
    upstream: int
    lacks: tuple[Lack, ...]
    targets: tuple[Coverage, ...] = ()

    def of(self, *states: State) -> int:
        """How many requests stand so."""
        return sum(one.state in states for one in self.requests)


_ORDER = (State.REFUSED, State.FAILING, State.MISSING, State.PARTLY, State.RESTRICTED, State.READY, State.EXTERNAL)


def wanted_of(
    stack: str, runner: str, lock: Lock, *, restricted: Mapping[str, str] | None = None, refused: Mapping[str, str] | None = None
) -> Wanted:
    """What a concretization says that a stack wants."""
    specs = {}
    for h, node in lock.nodes.items():
        needs = {edge.hash for edge in node.dependencies if edge.deptypes & RUNTIME}
        takes = {edge.hash for edge in node.dependencies} - needs
        specs[h] = WantedSpec(
            hash=h, name=node.name, version=node.version, target=node.target, needs=tuple(sorted(needs)), takes=tuple(sorted(takes)),
            external=node.external, restricted=(restricted or {}).get(h, ""),
        )  # fmt: skip
    return Wanted(stack=stack, runner=runner, specs=specs, roots=dict(lock.roots), refused=dict(refused or {}))


def weather(wanted: Wanted, stored: Mapping[str, Stored], failing: Mapping[str, Failure]) -> Weather:
    """How a stack stands, by what the cache has and what failed there."""
    specs = wanted.specs
    reasons = _reasons(wanted, stored, failing)
    found = [Forecast(request=request, state=State.REFUSED, reason=reason) for request, reason in wanted.refused.items()]
    every: dict[str, WantedSpec] = {}
    for h, request in wanted.roots.items():
        closure = [specs[one] for one in below(specs, h)]
        every |= {spec.hash: spec for spec in closure}
        found.append(_forecast(request, specs[h], closure, stored, reasons))
    counted = [spec for spec in every.values() if not spec.external and not spec.restricted]
    return Weather(
        stack=wanted.stack, runner=wanted.runner,
        requests=tuple(sorted(found, key=lambda one: (_ORDER.index(one.state), one.request, one.spec.hash if one.spec else ""))),
        total=len(counted), withheld=sum(bool(spec.restricted) for spec in every.values()),
        external=sum(spec.external for spec in every.values()), lacks=_lacks(counted, stored, reasons), **_sums(counted, stored),
        targets=tuple(_coverage(counted, stored)),
    )  # fmt: skip


def _coverage(counted: Sequence[WantedSpec], stored: Mapping[str, Stored]) -> Iterator[Coverage]:
    for target in sorted({spec.target for spec in counted}):
        hashes = [spec.hash for spec in counted if spec.target == target]
        yield Coverage(target=target, present=sum(h in stored for h in hashes), total=len(hashes))


def below(specs: Mapping[str, WantedSpec], root: str) -> Iterator[str]:
    """A spec and all that it needs at run time; what an external needs is the machine's affair."""
    seen, waiting = {root}, [root]
    while waiting:
        h = waiting.pop()
        yield h
        for needed in specs[h].needs if not specs[h].external else ():
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)


def _forecast(
    request: str, root: WantedSpec, closure: Sequence[WantedSpec], stored: Mapping[str, Stored], reasons: Mapping[str, str]
) -> Forecast:
    counted = [spec for spec in closure if not spec.external and not spec.restricted]
    lacks = _lacks(counted, stored, reasons)
    sums = _sums(counted, stored)
    if root.external:
        state, reason = State.EXTERNAL, "taken from the machine"
    elif root.restricted:
        state, reason = State.RESTRICTED, root.restricted
    elif failed := [lack for lack in lacks if lack.reason != UNKNOWN]:
        own = [lack for lack in failed if lack.hash == root.hash]
        state, reason = State.FAILING, own[0].reason if own else f"{failed[0].label}, which it needs: {failed[0].reason}"
    elif lacks:
        state, reason = State.PARTLY if sums["present"] else State.MISSING, UNKNOWN
    else:
        state, reason = State.READY, _but(closure)
    return Forecast(request=request, state=state, reason=reason, spec=root, total=len(counted), lacks=lacks, **sums)


def _but(closure: Iterable[WantedSpec]) -> str:
    """What Spack builds all the same, where everything is there that may be."""
    withheld = sorted(spec.label for spec in closure if spec.restricted)
    more = f" and {len(withheld) - 1} more" if len(withheld) > 1 else ""
    return f"but for {withheld[0]}{more}, which may not be given away: Spack builds that" if withheld else ""


def _sums(counted: Iterable[WantedSpec], stored: Mapping[str, Stored]) -> dict[str, int]:
    held = [stored[spec.hash] for spec in counted if spec.hash in stored]
    return {
        "present": len(held),
        "size": sum(one.size for one in held),
        "seconds": round(sum(one.seconds or 0.0 for one in held)),
        "upstream": sum(one.upstream for one in held),
    }


def _lacks(counted: Iterable[WantedSpec], stored: Mapping[str, Stored], reasons: Mapping[str, str]) -> tuple[Lack, ...]:
    missing = [spec for spec in counted if spec.hash not in stored]
    # What failed first: that is what somebody can do something about.
    order = sorted(missing, key=lambda spec: (spec.hash not in reasons, spec.name, spec.hash))
    return tuple(Lack(hash=spec.hash, name=spec.name, label=spec.label, reason=reasons.get(spec.hash, UNKNOWN)) for spec in order)


def _reasons(wanted: Wanted, stored: Mapping[str, Stored], failing: Mapping[str, Failure]) -> dict[str, str]:
    """Why specs are not there: they failed, or something that building them takes did."""
    specs = wanted.specs
    users: dict[str, list[str]] = {}
    for spec in specs.values():
        for h in (*spec.needs, *spec.takes):
            users.setdefault(h, []).append(spec.hash)
    found = {h: printable(failing[h].told()[:REASON]) for h in sorted(specs) if h in failing and h not in stored}
    waiting = [(h, f"{specs[h].label}, which building it takes, {reason}") for h, reason in found.items()]
    while waiting:
        h, reason = waiting.pop(0)
        for user in sorted(users.get(h, ())):
            if user not in found and user not in stored:
                found[user] = reason
                waiting.append((user, reason))
    return found
