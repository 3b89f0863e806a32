"""What stacks, lock files and requests want, against what the cache has."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from cachelib.model.errors import CacheError, UsageError
from cachelib.model.failure import Failure
from cachelib.model.oci import parse_json
from cachelib.model.ports import Repository
from cachelib.model.wanted import WANTED_LIMIT, Wanted
from cachelib.pipeline.layers import read_upstreams
from cachelib.pipeline.locks import concretized
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import artifacts, building, remembering, reports
from cachelib.steps import weather as deciding
from cachelib.steps.reports import Report
from cachelib.steps.runners import runner_here, runners
from cachelib.steps.standing import stored, upstream_stored
from cachelib.steps.weather import Stored, wanted_of
from cachelib.steps.weather_reports import weather_report
from cachelib.tools.files import read_limited


def weather(
    ws: Workspace, specs: Sequence[str] = (), stack_name: str = "", lock: str = "", spack_root: str = "", to: str = ""
) -> Report:  # fmt: skip
    """Tell how much of a lock file, of requests, or of what the stacks want is in the cache, and why the rest is not."""
    if lock and specs:
        raise UsageError("--lock and --spec together", hint="the one is concretized already, the other not yet: ask twice")
    names = [ws.stack(stack_name)[0]] if stack_name or specs or lock else list(ws.settings.stacks)
    found = []

    @functools.cache  # several stacks may share an image
    def known(image: str) -> tuple[Repository, Mapping[str, Stored], Mapping[str, Failure]]:
        place = ws.repository(ws.location(to).child(image))
        return place, stored(artifacts.load_catalog(place).entries), remembering.known_failures(place)

    for name in names:
        stack = ws.settings.stacks[name]
        repository, held, failing = known(stack.image_name)
        if not held:
            found.append(Report(lines=(f"nothing is indexed in {repository.name}: is it the right place?",)))
        if lock:
            wanted: tuple[Wanted, ...] = (wanted_of("", "", _lock(Path(lock))),)
        elif specs:
            ready = concretized(ws, repository, specs, name, spack_root, runner_here(stack, ws.machine))
            refused = {one.request: one.reason for one in ready.rejected}
            wanted = (wanted_of(name, "", ready.lock or building.Lock(nodes={}), restricted=ready.restricted, refused=refused),)
        else:
            wanted = stack_wants(ws, repository, name)
            if not wanted:
                found.append(Report(lines=(f"stack {name} has not told yet what it wants: a run does, or `inv build` and `inv push`",)))
        held = {**upstream_stored(read_upstreams(ws, stack)), **held}
        found += [weather_report(deciding.weather(one, held, failing), repository.name) for one in wanted]
    return reports.join(found)


def stack_wants(ws: Workspace, repository: Repository, name: str) -> tuple[Wanted, ...]:
    """What a stack wants, on each kind of runner that builds it; where none told, on the machines that did."""
    known = remembering.known_wanted(repository, name)
    return tuple(one for one in known if one.runner in runners(ws.settings.stacks[name])) or known


def _lock(path: Path) -> building.Lock:
    """A lock file, or that of the environment in a folder."""
    path = path / "spack.lock" if path.is_dir() else path
    try:
        return building.parse_lock(parse_json(read_limited(path, WANTED_LIMIT, "a lock file"), str(path)))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", hint="`spack concretize` writes it into an environment") from None
    except CacheError as error:
        raise UsageError(f"{path} is no lock file: {error.message}", hint="`spack concretize` writes one") from None
