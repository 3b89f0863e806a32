"""Picking packages by chance: what Spack knows and what the registry remembers, for the step that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cachelib.model.catalog import Catalog
from cachelib.model.errors import CacheError
from cachelib.model.inputs import RunInputs
from cachelib.model.ports import Repository
from cachelib.model.upstream import Upstream
from cachelib.pipeline.installing import prepare_spack
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import artifacts, picking, plan_reports, remembering
from cachelib.steps.licensing import unpublishable
from cachelib.steps.reports import Report
from cachelib.steps.targets import targets_here


def pick_packages(
    ws: Workspace,
    repository: Repository,
    asked: RunInputs,
    stack_name: str,
    spack_root: str = "",
    *,
    retry: bool = False,
    upstreams: Sequence[Upstream] = (),
) -> tuple[tuple[str, ...], Report]:
    """The packages that chance picks for a stack, as requests, and what is to be told of that.

    With `retry`, what failed lately has its turn like any other. What `upstreams` have is there as if it lay here.
    """
    name, stack = ws.stack(stack_name)
    now = datetime.now(UTC)
    seed = asked.seed or f"{now:%Y-%m-%d}"
    spack, _ = prepare_spack(ws, stack, name, spack_root)
    targets = targets_here(stack.targets, ws.machine)
    catalog = Catalog()
    try:
        catalog = artifacts.load_catalog(repository)
    except CacheError as error:
        ws.progress.say(f"WARNING: what is in the cache already isn't known: {error.message}")
    mirrored = {entry.name for entry in ws.mirror(stack.image_name).names(lambda _: None)}
    failing = {} if retry else picking.failing_names(remembering.known_failures(repository, catalog.entries).values(), now)
    names = spack.names()

    def facts(some: Sequence[str]) -> Mapping[str, str]:
        ws.progress.say(f"looking at the recipes of {len(some)} packages")
        looked = spack.facts(some, targets)
        return {name: reason or unpublishable(stated, stack.licenses) for name, (reason, stated) in looked.items()}

    cached = picking.cached_names(catalog).union(mirrored, *(one.names for one in upstreams))
    found = picking.pick(names, asked.random, seed, cached=cached, failing=failing, facts=facts)
    return found.names, plan_reports.pick_report(found, name, seed, len(names))
