"""Prunes a repository as planned: the index first, then tags and manifests, then what nothing names any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cachelib.model.errors import CacheError, PruneError, RegistryError
from cachelib.model.oci import CATALOG_TAG
from cachelib.model.outcome import NotPruned, Pruned, PruneOutcome, Spared, Swept, Warned
from cachelib.model.ports import Deleter, Progress, Repository
from cachelib.model.stack import Retention
from cachelib.steps import indexing
from cachelib.steps.newcomers import Newcomers
from cachelib.steps.retaining import SHARE, PruneItem, PrunePlan, plan_prune
from cachelib.steps.sweeping import sweep
from cachelib.steps.tags import whole_tags

_NEEDED = "a spec that was pushed meanwhile needs it"
_ANEW = "it was pushed anew after the pruning began"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRun:
    """A plan and what it was made from: the tags there were. What came later is none of its business."""

    plan: PrunePlan
    tags: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """One outcome per DAG hash of what was to go, what was swept, and what came meanwhile and lacks something now."""

    outcomes: Mapping[str, PruneOutcome]
    swept: Swept
    warnings: tuple[Warned, ...] = ()


def plan(
    repository: Repository, rules: Mapping[str, Retention], locked: frozenset[str], *, now: datetime, jobs: int, progress: Progress
) -> PruneRun:
    """Look at what is there now, and decide; raise PruneError where a spec can't be read, as what it needs isn't known then."""
    tags = whole_tags(repository)
    catalog, read = indexing.read_catalog(repository, jobs=jobs, progress=progress)
    # A tag whose manifest is not there any more is a spec that nobody can install.
    unread = [warning for warning in read.unread if repository.manifest(warning.tag) is not None]
    if unread:
        raise PruneError(
            f"{repository.name}:{unread[0].tag} can't be read: {unread[0].reason}; what it needs is not known, so nothing was deleted",
            hint="run the same command again; what is damaged for good is to be pushed anew with --force, or its tag deleted",
        )
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
) -> PruneResult:
    """Carry out a plan that began at `since` (seconds since the epoch).

    `grace` are seconds that what nothing names any more is left alone: a client may be reading an index of a moment ago,
    and a push may be about to name what it just sent.
    """
    newcomers = Newcomers(repository, run.tags)
    needed = newcomers.needed(now=True)
    outcomes: dict[str, PruneOutcome] = {item.entry.hash: Spared(reason=_NEEDED) for item in run.plan.doomed() if item.entry.hash in needed}
    doomed = run.plan.sparing(frozenset(needed), _NEEDED).doomed()
    warnings: tuple[Warned, ...] = ()
    if doomed:
        tags = frozenset(item.entry.tag for item in doomed)
        indexing.index(repository, labels=labels, jobs=jobs, progress=progress, without=tags)
        progress.start(f"prune {repository.name}", len(doomed))
        stays: dict[str, str] = {}
        # What others stand on goes after them: where one of those stays, so does all that it needs.
        for item in sorted(doomed, key=lambda item: (-len(item.closure), item.entry.tag)):
            h = item.entry.hash
            reason = stays.get(h) or (_NEEDED if h in newcomers.needed() else "")
            outcomes[h] = Spared(reason=reason) if reason else _delete(deleter, item, since)
            if not isinstance(outcomes[h], Pruned):
                stays.update(dict.fromkeys(item.closure, "what could not go needs it"))
            progress.advance(f"{type(outcomes[h]).__name__.lower()} {item.label}")
        stayed = deleter.finish()
        outcomes |= {item.entry.hash: Spared(reason=_ANEW) for item in doomed if item.entry.tag in stayed}
        progress.finish()
        # What was spared, could not be deleted, or came meanwhile goes into the index again.
        indexing.index(repository, labels=labels, jobs=jobs, progress=progress)
        warnings = _lacking(newcomers, run.plan, outcomes)
    return PruneResult(outcomes=outcomes, swept=_swept(run.plan, outcomes, repository, deleter, since, grace, jobs), warnings=warnings)


def _delete(deleter: Deleter, item: PruneItem, since: float) -> PruneOutcome:
    try:
        gone = deleter.delete(item.entry.tag, item.entry.manifest.digest, since=since)
    except RegistryError as error:
        reason = f"{error.message} ({error.hint})" if error.hint else error.message
        # GitHub keeps what was downloaded often (docs, Deleting and restoring a package): no fault, and no use to try again.
        return Spared(reason=reason) if error.status == 400 else NotPruned(reason=reason)
    return Pruned(size=item.size) if gone else Spared(reason=_ANEW)


def _lacking(newcomers: Newcomers, plan: PrunePlan, outcomes: Mapping[str, PruneOutcome]) -> tuple[Warned, ...]:
    """What came at the last moment, and needs what was just deleted: a look in time spares most, but no registry can lock."""
    entries = {item.entry.hash: item for item in plan.items}
    try:
        needed = newcomers.needed(now=True)
    except CacheError as error:
        return (Warned(tag=CATALOG_TAG, reason=f"whether what was pushed meanwhile is whole isn't known: {error.message}"),)
    return tuple(
        Warned(tag=tag, reason=f"it was pushed meanwhile and needs {entries[h].label}, which was deleted; push again")
        for h, tag in needed.items()
        if isinstance(outcomes.get(h), Pruned) and entries[h].entry.tag not in newcomers.tags
    )


def _swept(
    plan: PrunePlan, outcomes: Mapping[str, PruneOutcome], repository: Repository, deleter: Deleter, since: float, grace: float, jobs: int
) -> Swept:
    images = {item.entry.hash: item.entry.manifest.digest for item in plan.items}
    gone = frozenset(digest for h, digest in images.items() if isinstance(outcomes.get(h), Pruned))
    try:
        return sweep(repository, deleter, gone=gone, kept=frozenset(images.values()) - gone, since=since, grace=grace, jobs=jobs)
    except CacheError as error:
        # What was deleted is to be told all the same; the next run sweeps.
        return Swept(count=0, note=f"not swept: {error.message}")
