"""What a build is to do, and what became of it: decisions over Spack's answers, no Spack in here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cachelib.model.errors import BuildError, FormatError
from cachelib.model.outcome import BuildOutcome, Built, Elsewhere, Failed, Phase, Rejected, Reused, Skipped
from cachelib.model.record import EnvChange, Origin, PackageInfo, Record
from cachelib.model.spec import Node, parse_node

_INSTALLING = re.compile(r"==> Installing (?P<what>\S+-(?P<hash>[a-z2-7]{32}))(?: \[(?P<at>\d+)/(?P<of>\d+)\])?")
_DONE = re.compile(r"\[\+\] \S*/(?P<what>[^/\s]+-(?P<hash>[a-z2-7]{32}))$")
_ERROR = re.compile(r"==> Error: (?P<what>\S+-(?P<hash>[a-z2-7]{32})): (?P<message>.*)")
_GENERIC_ERROR = re.compile(r"==> Error: (?P<message>.*)")
#: A build that took so long (seconds) and was cut off has failed: the next run would not do better.
LONG = 3600.0
NO_TIME = "the time of the job was over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A concretized environment: all nodes by DAG hash, and the requests by the hash of what they became."""

    nodes: Mapping[str, Node]
    roots: Mapping[str, str] = field(default_factory=dict)

    def buildable(self) -> tuple[Node, ...]:
        """All nodes but externals, dependencies first."""
        ordered: dict[str, Node] = {}

        def visit(h: str) -> None:
            stack = [(h, iter(self.nodes[h].dependencies))]
            seen.add(h)
            while stack:
                at, edges = stack[-1]
                for edge in edges:
                    if edge.hash not in seen:
                        seen.add(edge.hash)
                        stack.append((edge.hash, iter(self.nodes[edge.hash].dependencies)))
                        break
                else:
                    stack.pop()
                    ordered[at] = self.nodes[at]

        seen: set[str] = set()
        for h in sorted(self.nodes, key=lambda h: (self.nodes[h].name, h)):
            if h not in seen:
                visit(h)
        return tuple(node for node in ordered.values() if not node.external)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What became of a build: an outcome per spec, the requests that were refused, how many entries are new.

    `withheld` are those that may not be given away, by DAG hash, each with the reason. What is `elsewhere` this machine leaves to others.
    """

    outcomes: Mapping[str, BuildOutcome]
    nodes: Mapping[str, Node]
    rejected: tuple[Rejected, ...]
    mirror: str
    written: int
    trouble: str = ""
    elsewhere: tuple[Elsewhere, ...] = ()
    withheld: Mapping[str, str] = field(default_factory=dict)

    def not_built(self) -> frozenset[str]:
        """The names of packages and requests that should be there and aren't."""
        missing = {self.nodes[h].name for h, outcome in self.outcomes.items() if isinstance(outcome, Failed | Skipped)}
        return frozenset(missing | {rejection.request for rejection in self.rejected})


def parse_lock(data: Mapping[str, Any]) -> Lock:
    """Read a spack.lock (lockfile versions 5 and later)."""
    try:
        nodes = {h: parse_node({**raw, "hash": h}) for h, raw in data["concrete_specs"].items()}
        roots = {str(root["hash"]): str(root["spec"]) for root in data.get("roots", ())}
        if not roots.keys() <= nodes.keys():
            raise FormatError("a root is not among the specs")
        for node in nodes.values():
            if lost := next((edge for edge in node.dependencies if edge.hash not in nodes), None):
                raise FormatError(f"{node.label} depends on {lost.name}/{lost.hash}, which is not among the specs")
    except (KeyError, TypeError, AttributeError, FormatError) as error:
        raise BuildError(f"Spack's spack.lock is not understood: {error!r}") from None
    return Lock(nodes=nodes, roots=roots)


@dataclass(slots=True)
class InstallWatch:
    """Follows the output of `spack install`: which specs it began, and what it said of their ends."""

    attempted: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    #: When each of them began (seconds of a monotonic clock), and when Spack was ended, as the time was over.
    began: dict[str, float] = field(default_factory=dict)
    stopped: float | None = None
    _said: str = ""

    def line(self, line: str, now: float = 0.0) -> str | None:
        """Take one line, said `now`; return what a person should hear of it, if anything."""
        if match := _INSTALLING.match(line):
            self.attempted.add(match["hash"])
            self.began.setdefault(match["hash"], now)
            return f"building {match['what'][:-25]}"
        if match := _DONE.search(line):
            self.done.add(match["hash"])
            return f"installed {match['what'][:-25]}"
        if match := _ERROR.match(line):
            if match["hash"] in self.errors:
                return None
            self.errors[match["hash"]] = match["message"].strip().rstrip(":")
            self.done.add(match["hash"])
            return f"FAILED {match['what'][:-25]}"
        if match := _GENERIC_ERROR.match(line):
            self._said = match["message"]
        return None

    @property
    def last_error(self) -> str:
        """The last thing Spack complained of without naming a spec."""
        return self._said


def classify(
    lock: Lock,
    described: Mapping[str, Mapping[str, Any]],
    watch: InstallWatch,
    before: frozenset[str],
    mirrored: frozenset[str],
) -> dict[str, BuildOutcome]:
    """The outcome of every node that isn't external, from what is installed now and what Spack said on the way.

    `before` was installed when the build began, `mirrored` lay in the local mirror.
    """
    outcomes: dict[str, BuildOutcome] = {}
    for node in lock.buildable():
        facts = described.get(node.hash, {})
        times = facts.get("times") or {}
        if facts.get("installed"):
            if node.hash in before:
                outcomes[node.hash] = Reused(source="install tree")
            elif times.get("cache"):
                outcomes[node.hash] = Reused(source="mirror" if node.hash in mirrored else "registry")
            else:
                outcomes[node.hash] = Built(
                    seconds=round(float(times.get("total", 0.0)), 3),
                    phases=tuple(
                        Phase(name=str(phase["name"]), seconds=round(float(phase["seconds"]), 3))
                        for phase in times.get("phases", ())
                        if "/" not in str(phase.get("path", ""))
                    ),
                )
            continue
        broken = next((edge for edge in node.dependencies if isinstance(outcomes.get(edge.hash), Failed | Skipped)), None)
        if node.hash not in watch.attempted and broken is not None:
            cause = outcomes[broken.hash]
            because = cause.because_of if isinstance(cause, Skipped) and cause.because_of else lock.nodes[broken.hash].label
            outcomes[node.hash] = Skipped(reason="a dependency failed", because_of=because)
        elif watch.stopped is not None and node.hash not in watch.errors:
            outcomes[node.hash] = _cut_off(watch.stopped - watch.began.get(node.hash, watch.stopped), facts)
        elif node.hash in watch.attempted or node.hash in watch.errors:
            outcomes[node.hash] = Failed(
                # Without a log it never came to a phase: its sources were not to be had.
                phase=str(facts.get("phase") or ("stage" if facts.get("log") else "fetch")),
                message=watch.errors.get(node.hash, watch.last_error or "Spack did not say why"),
                error_lines=tuple(map(str, facts.get("errors", ()))),
                log=str(facts.get("log", "")),
            )
        else:
            outcomes[node.hash] = Skipped(reason=watch.last_error or "Spack ended before its turn")
    return outcomes


def _cut_off(seconds: float, facts: Mapping[str, Any]) -> BuildOutcome:
    """What a spec is, at which Spack was for so long when its time was over: one that had next to no time did nothing wrong."""
    if seconds < LONG:
        return Skipped(reason=NO_TIME)
    message = f"it was not done after {seconds / 60:.0f} minutes, when the time of its job was over"
    return Failed(phase="time", message=message, error_lines=tuple(map(str, facts.get("errors", ()))), log=str(facts.get("log", "")))


def plan_lines(lock: Lock, before: frozenset[str], mirrored: frozenset[str]) -> tuple[str, ...]:
    """What a build would do with each spec, dependencies first, and why."""
    lines = []
    for node in lock.buildable():
        if node.hash in before:
            lines.append(f"  keep     {node.label}: installed")
        elif node.hash in mirrored:
            lines.append(f"  reuse    {node.label}: in the mirror")
        else:
            lines.append(f"  build    {node.label}: neither installed nor in the mirror")
    return tuple(lines)


def make_record(node: Node, outcome: BuildOutcome, facts: Mapping[str, Any], origin: Origin) -> Record:
    """The record of one spec from its outcome and from what Spack told of it."""
    package = dict(facts.get("package") or {})
    return Record(
        name=node.name,
        version=node.version,
        hash=node.hash,
        outcome=outcome,
        package=PackageInfo(**{**package, "maintainers": tuple(package.get("maintainers", ()))}),
        environment=tuple(EnvChange(**change) for change in facts.get("environment") or ()),
        origin=origin,
    )


def rejection(request: str, reason: str) -> Rejected:
    """A request that can't be built, with Spack's reason in a few lines and what to do."""
    lines = [line.rstrip() for line in reason.splitlines() if line.strip()]
    text = "\n".join(lines[:12])
    if "not found" in text:
        hint = "check the name (`spack list NAME`); a recipe of your own needs its repository in `repos:`"
    elif "syntax" in text.lower() or "unexpected" in text.lower():
        hint = "write it as after `spack install`, such as 'hdf5@1.14 +mpi ^openmpi'"
    else:
        hint = "the spec and the stack's targets, compilers and config ask for what can't be together: loosen one of them"
    return Rejected(request=request, reason=text, hint=hint)


def to_mirror(
    lock: Lock, described: Mapping[str, Mapping[str, Any]], in_mirror: Iterable[str], elsewhere: Iterable[str], withheld: Iterable[str] = ()
) -> list[str]:
    """Which hashes are to be written into the mirror: installed, not `withheld` from others, and not there or in a registry."""
    left_out = frozenset(withheld).union(in_mirror, elsewhere)
    return [node.hash for node in lock.buildable() if described.get(node.hash, {}).get("installed") and node.hash not in left_out]
