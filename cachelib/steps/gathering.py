"""Takes over what a worker handed on, and believes nothing of it: packages run arbitrary code where it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace

from cachelib.model.entry import Entry
from cachelib.model.errors import BuildError, CacheError, FormatError
from cachelib.model.outcome import Built, Failed, Reused, Skipped, Warned
from cachelib.model.plan import StackPlan
from cachelib.model.ports import Mirror
from cachelib.model.record import Record
from cachelib.model.spec import Node, dag_hash
from cachelib.steps.building import Lock

#: Of a log that is longer (bytes), only the end is taken.
LOG_LIMIT = 20 * 1024 * 1024
#: What a process exits with where something that was handed on was refused.
REFUSED = BuildError.exit_code
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What a part held: the records of its specs, the hashes of those that are in the mirror now, and what was refused."""

    records: Mapping[str, Record]
    taken: frozenset[str]
    refused: tuple[Warned, ...] = ()

    def not_built(self) -> bool:
        """Whether anything of it failed, or was not tried."""
        return any(isinstance(record.outcome, Failed | Skipped) for record in self.records.values())


def gather(part: Mirror, mirror: Mirror, lock: Lock, allowed: Set[str]) -> Gathered:
    """Copy the entries of a part into the mirror: those of `allowed` specs that are what they claim, and no others.

    Digests, sizes, DAG hashes and the form of each tarball are checked. What one entry does costs no other.
    """
    refused: list[Warned] = []
    taken: set[str] = set()
    for name in part.names(lambda error: refused.append(Warned(tag="a file", reason=error.message))):
        try:
            if name.hash not in allowed:
                raise FormatError("the plan has nobody build it there")
            entry = part.entry(name)
            check_entry(entry, lock)
            part.inspect_tarball(entry.tarball, again=True)
            _copy(part, mirror, entry)
            taken.add(name.hash)
        except CacheError as error:
            refused.append(Warned(tag=name.label, reason=error.message))
        except OSError as error:
            refused.append(Warned(tag=name.label, reason=str(error)))
    records = {h: record for h in sorted(allowed) if (record := _record(part, h, lock)) is not None}
    return Gathered(records=records, taken=frozenset(taken), refused=tuple(refused))


def copy_entry(source: Mirror, target: Mirror, dag_hash: str) -> None:
    """Copy the entry of a spec from one mirror to another, blobs first; raise MirrorError where it is not whole."""
    for name in source.names(lambda _: None):
        if name.hash == dag_hash:
            _copy(source, target, source.entry(name))


def _copy(source: Mirror, target: Mirror, entry: Entry) -> None:
    if not target.has_blob(entry.tarball):
        target.put_blob(entry.tarball, _pieces(source, entry))
    with source.open_blob(entry.spec_file.digest) as file:
        target.put_blob(entry.spec_file, [file.read(entry.spec_file.size + 1)])
    target.put_entry(entry.path, entry.raw)


def check_entry(entry: Entry, lock: Lock) -> None:
    """Raise FormatError where the spec of an entry is not, node by node, what was concretized."""
    for node in entry.spec.nodes.values():
        planned = lock.nodes.get(node.hash)
        if planned is None:
            raise FormatError(f"it names {node.label}, which the plan doesn't know")
        if not _same(node, planned):
            raise FormatError(f"its {node.label} is not what was concretized")


def _same(node: Node, planned: Node) -> bool:
    """Whether a node is the planned one. The hash of an external, or of a spliced node, doesn't tell: those must be the same text."""
    if planned.external or "build_spec" in planned.raw:
        return {key: value for key, value in node.raw.items() if key != "hash"} == {
            key: value for key, value in planned.raw.items() if key != "hash"
        }
    return "build_spec" not in node.raw and dag_hash(node.raw) == planned.hash


def _record(part: Mirror, h: str, lock: Lock) -> Record | None:
    """The record of a spec, if it is about that spec. Where a log lies there is no business of this machine."""
    record, node = part.record(h), lock.nodes[h]
    if record is None or (record.hash, record.name, record.version) != (h, node.name, node.version):
        return None
    if isinstance(record.outcome, Failed):
        return replace(record, outcome=replace(record.outcome, log=""))
    return record if isinstance(record.outcome, Built | Reused | Skipped) else None


def _pieces(part: Mirror, entry: Entry) -> Iterator[bytes]:
    with part.open_blob(entry.tarball.digest) as file:
        while piece := file.read(_PIECE):
            yield piece


def lacking(hashes: tuple[str, ...], lock: Lock, missing: Mapping[str, str]) -> dict[str, Skipped]:
    """Of the specs of a slot, in their order, those that can't be built, as something that they need is missing; and why."""
    found: dict[str, Skipped] = {}
    for h in hashes:
        for edge in lock.nodes[h].dependencies:
            if edge.hash in found:
                found[h] = Skipped(reason=found[edge.hash].reason, because_of=found[edge.hash].because_of)
                break
            if edge.hash in missing:
                found[h] = Skipped(reason=missing[edge.hash], because_of=lock.nodes[edge.hash].label)
                break
    return found


def made_between(record: Record, since: str, now: str) -> Record:
    """The record, if it is of a time between two (RFC 3339, UTC); else that with the first of them as its own.

    What is thought to be of another century is never tried again, or never pruned.
    """
    if since <= record.origin.created <= now:
        return record
    return replace(record, origin=replace(record.origin, created=since))


def broke_down(plan: StackPlan, there: Set[str], broken: Set[str]) -> dict[str, Failed]:
    """What the jobs of a plan that broke down were at: the first spec of the first part that each did not hand on.

    `there` are the parts that were handed on, `broken` the names of jobs that broke down. It may be another one of that part; then that
    is the first one of the next run, which leaves this one out.
    """
    found = {}
    for worker, slots in enumerate(plan.schedule.workers, 1):
        if plan.job(worker) not in broken:
            continue
        lost = next((slot for number, slot in enumerate(slots, 1) if plan.part(worker, number) not in there), None)
        if lost is not None:
            message = "its job broke down and handed nothing on: out of memory or disk, or killed"
            found[lost.builds[0]] = Failed(phase="job", message=message)
    return found


def fate(record: Record | None) -> str:
    """Why a spec that another worker was to build can't be had; nothing where it was built."""
    match record.outcome if record else None:
        case None:
            return "what another worker was to build was not handed on"
        case Failed():
            return "a dependency failed"
        case Skipped() as skipped:
            return skipped.reason
        case _:
            return ""
