"""Prunes a repository as planned: the index first, then tags and manifests, then what nothing names any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cachelib.model.config import Retention
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, FormatError, PruneError, RegistryError
from cachelib.model.oci import CATALOG_TAG, INDEX_TAG, is_spec_tag, parse_json
from cachelib.model.outcome import NotPruned, Pruned, PruneOutcome, Spared, Swept
from cachelib.model.ports import Deleter, Progress, Repository
from cachelib.model.spec import ConcreteSpec, parse_node
from cachelib.steps import indexing
from cachelib.steps.parallel import workers
from cachelib.steps.reading import read_tag
from cachelib.steps.retaining import SHARE, PrunePlan, plan_prune

# How attestations lie beside an image where a registry knows no referrers (distribution-spec, Referrers Tag Schema).
_ATTACHED = "sha256-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRun:
    """A plan and what it was made from: the tags there were. What came later is none of its business."""

    plan: PrunePlan
    tags: frozenset[str]


def plan(
    repository: Repository, rules: Mapping[str, Retention], locked: frozenset[str], *, now: datetime, jobs: int, progress: Progress
) -> PruneRun:
    """Look at what is there now, and decide."""
    tags = repository.tags()
    catalog, _ = indexing.read_catalog(repository, jobs=jobs, progress=progress)
    return PruneRun(plan=plan_prune(catalog, rules, locked, now=now), tags=tags)


def check(plan: PrunePlan, *, yes: bool) -> None:
    """Raise PruneError where the plan would empty the cache, or cut a large part of it that nobody said yes to."""
    if plan.items and not plan.kept():
        raise PruneError(
            f"no rule keeps any of the {len(plan.items)} entries; nothing was deleted",
            hint="mend `retention` in cache.yaml; a cache that is to go as a whole is deleted at its registry",
        )
    if plan.share() > SHARE and not yes:
        raise PruneError(
            f"{len(plan.doomed())} of {len(plan.items)} entries would go, {plan.share():.0%} of the cache; nothing was deleted",
            hint="look at the plan with --dry-run, and say --yes if that is what you mean",
        )


def prune(
    run: PruneRun,
    repository: Repository,
    deleter: Deleter,
    *,
    labels: Mapping[str, str],
    since: float,
    grace: float,
    jobs: int,
    progress: Progress,
) -> tuple[dict[str, PruneOutcome], Swept]:
    """Carry out a plan that began at `since` (seconds since the epoch); one outcome per DAG hash of what was to go.

    `grace` are seconds that what nothing names any more is left alone: a client may be reading an index of a moment ago,
    and a push may be about to name what it just sent.
    """
    needed = _needed_by_newcomers(repository, run.tags)
    final = run.plan.sparing(needed, "a spec that was pushed meanwhile needs it")
    doomed = final.doomed()
    outcomes: dict[str, PruneOutcome] = {
        item.entry.hash: Spared(reason="a spec that was pushed meanwhile needs it")
        for item in run.plan.doomed()
        if item.entry.hash in needed
    }
    if doomed:
        tags = frozenset(item.entry.tag for item in doomed)
        indexing.index(repository, labels=labels, jobs=jobs, progress=progress, without=tags)
        progress.start(f"prune {repository.name}", len(doomed))
        stays: set[str] = set()
        # What others stand on goes after them: where one of those stays, so does all that it needs.
        for item in sorted(doomed, key=lambda item: (-len(item.closure), item.entry.tag)):
            if item.entry.hash in stays:
                outcomes[item.entry.hash] = Spared(reason="what could not go needs it")
            else:
                outcomes[item.entry.hash] = _delete(deleter, item.entry.tag, item.entry.manifest.digest, item.size, since)
            if not isinstance(outcomes[item.entry.hash], Pruned):
                stays.update(item.closure)
            progress.advance(f"{type(outcomes[item.entry.hash]).__name__.lower()} {item.label}")
        deleter.flush()
        progress.finish()
        # What was spared, could not be deleted, or came meanwhile goes into the index again.
        indexing.index(repository, labels=labels, jobs=jobs, progress=progress)
    try:
        return outcomes, _sweep(repository, deleter, {item.entry.manifest.digest for item in doomed}, since, grace, jobs)
    except RegistryError as error:
        # What was deleted is to be told all the same; the next run sweeps.
        return outcomes, Swept(count=0, note=f"not swept: {error.message}")


def _delete(deleter: Deleter, tag: str, digest: Digest, size: int, since: float) -> PruneOutcome:
    try:
        gone = deleter.delete(tag, digest, since=since)
    except RegistryError as error:
        reason = f"{error.message} ({error.hint})" if error.hint else error.message
        # GitHub keeps what was downloaded often (docs, Deleting and restoring a package): no fault, and no use to try again.
        return Spared(reason=reason) if error.status == 400 else NotPruned(reason=reason)
    return Pruned(size=size) if gone else Spared(reason="it was pushed anew after the pruning began")


def _needed_by_newcomers(repository: Repository, before: frozenset[str]) -> frozenset[str]:
    """What specs need that were pushed after the plan was made. One that can't be read stops the pruning."""
    needed: set[str] = set()
    for tag in sorted(filter(is_spec_tag, repository.tags() - before)):
        try:
            entry, nodes = read_tag(repository, tag)
        except FormatError:
            continue  # not the image of a spec
        parsed = {h: parse_node(parse_json(node, tag)) for h, node in nodes.items()}
        spec = ConcreteSpec(root=parsed[entry.hash], nodes=parsed, format=entry.spec_format)
        needed |= {node.hash for node in spec.runtime_closure()}
    return frozenset(needed)


def _sweep(repository: Repository, deleter: Deleter, gone: set[Digest], since: float, grace: float, jobs: int) -> Swept:
    """Delete what no tag leads to. What an image index under a tag lists is led to: attestations lie so."""
    keep: set[Digest] = set()
    with workers(jobs) as pool:
        attached = [tag for tag in sorted(repository.tags()) if not is_spec_tag(tag) and tag not in (CATALOG_TAG, INDEX_TAG)]
        for tag, children in zip(attached, pool.map(lambda tag: list(_children(repository, tag)), attached), strict=True):
            orphan = tag.startswith(_ATTACHED) and tag.removeprefix(_ATTACHED) in {digest.hex for digest in gone}
            if orphan and (raw := repository.manifest(tag)) is not None:
                deleter.delete(tag, raw.digest, since=since)
            else:
                keep.update(children)
    return deleter.sweep(frozenset(keep), before=since - grace)


def _children(repository: Repository, tag: str) -> Iterable[Digest]:
    raw = repository.manifest(tag)
    if raw is None:
        return
    for item in parse_json(raw.data, f"the manifest of {tag}").get("manifests") or ():
        try:
            yield Digest.parse(item.get("digest"))
        except (CacheError, AttributeError):
            continue
