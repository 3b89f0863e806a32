"""Random packages for a scheduled run, as real Spack knows them."""

from __future__ import annotations

from datetime import UTC, datetime

from cachelib.model.errors import CacheError
from cachelib.model.ports import Repository
from cachelib.pipeline.installing import prepare_spack
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import artifacts, remembering
from cachelib.steps.picking import pick
from cachelib.steps.reports import some


def picked(ws: Workspace, repository: Repository, stack_name: str, spack_root: str, count: int, seed: str) -> tuple[str, ...]:
    """Pick packages for a stack, and say which, by which seed, and what was passed over."""
    name, stack = ws.stack(stack_name)
    spack, _ = prepare_spack(ws, stack, name, spack_root)
    seed, now = seed or f"{datetime.now(UTC):%Y-%m-%d}", datetime.now(UTC)
    cached: set[str] = set()
    try:
        entries = artifacts.load_catalog(repository).entries.values()
        cached = {entry.annotations.get("org.opencontainers.image.title", "").partition("@")[0] for entry in entries}
    except CacheError as error:
        ws.progress.say(f"WARNING: what is cached isn't known: {error.message}")
    failing = {
        failure.label.partition("@")[0]: f"{failure.told()}; it is tried again on {failure.next_try():%Y-%m-%d}"
        for failure in remembering.known_failures(repository).values()
        if failure.next_try() > now
    }
    ws.progress.say(f"picking {count} packages by the seed {seed!r}")
    found = pick(spack.names(), count, seed, cached=cached, failing=failing, unfit=spack.unfit)
    for line in some([f"  passed   {package}: {reason}" for package, reason in found.passed.items()]):
        ws.progress.say(line)
    ws.progress.say(f"picked {', '.join(found.names)}; --random {count} --seed {seed} picks the same again")
    return found.names
