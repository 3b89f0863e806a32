"""Containers out of the cache's own layers: no Docker, no Spack, and of the packages not a byte that isn't published already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import yaml

from cachelib.model.catalog import Catalog
from cachelib.model.container import NO_BASE, Choice, Container, check_tag_name, parse_familiar
from cachelib.model.errors import CacheError, CatalogError, UsageError
from cachelib.model.image import BaseImage
from cachelib.model.oci import RegistryLocation, parse_json, parse_location
from cachelib.model.ports import Repository
from cachelib.model.request import Request, parse_request
from cachelib.model.wanted import WANTED_LIMIT
from cachelib.pipeline.lending import Lender
from cachelib.pipeline.workspace import JOBS, Workspace, check_jobs
from cachelib.steps import artifacts, building, container_push, containing, remembering, reports
from cachelib.steps.bases import base_image
from cachelib.steps.container_reports import container_report
from cachelib.steps.distributions import distribution_image
from cachelib.steps.reports import Report
from cachelib.tools.files import read_limited


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelves:
    """All images of the cache, by name: what is in them, what stacks want of it, and where they lie."""

    repositories: Mapping[str, Repository]
    catalogs: Mapping[str, Catalog]
    wanted: frozenset[str]


def container(
    ws: Workspace,
    name: str = "",
    specs: Sequence[str] = (),
    environment: str = "",
    base: str = "",
    tags: Sequence[str] = (),
    to: str = "",
    put_to: str = "",
    *,
    dry_run: bool = False,
    jobs: int = JOBS,
) -> Report:
    """Make a container of some requests or of an environment, or those that cache.yaml names (or one of them)."""
    check_jobs(jobs)
    folder = Path.cwd()
    if specs or environment:
        if name:
            raise UsageError(f"{name!r} is a container of cache.yaml, and --spec or --env names another", hint="leave one of them out")
        asked = {"": Container(specs=tuple(specs), environment=environment, base=base, tags=tuple(tags), to=put_to)}
    else:
        asked, folder = _named(ws, name), ws.folder
        given = {"base": base, "tags": tuple(tags), "to": put_to}
        asked = {key: replace(one, **{k: v for k, v in given.items() if v}) for key, one in asked.items()}  # type: ignore[arg-type]
    for one in asked.values():
        for tag in one.tags:
            check_tag_name(tag)
    shelves = open_shelves(ws, to, jobs)
    step = partial(_container, ws, shelves, to, folder, dry_run, jobs)
    return reports.join(reports.attempt(partial(step, key, one)) for key, one in asked.items())


def open_shelves(ws: Workspace, to: str, jobs: int) -> Shelves:
    """Read the catalogs of the cache's images; raise CatalogError where nothing is published."""
    repositories = {image: ws.repository(ws.location(to).child(image)) for image in ws.images()}
    catalogs = {image: artifacts.load_catalog(repository, jobs=jobs) for image, repository in repositories.items()}
    if not any(catalog.entries for catalog in catalogs.values()):
        raise CatalogError(f"nothing is published in {ws.location(to)}", hint="`inv build push index` fill it")
    wanted = [one for repository in repositories.values() for one in remembering.known_wanted(repository)]
    return Shelves(repositories=repositories, catalogs=catalogs, wanted=frozenset(h for one in wanted for h in one.roots))


def _named(ws: Workspace, name: str) -> dict[str, Container]:
    known = ws.settings.containers
    if name and name not in known:
        raise UsageError(f"there is no container {name!r}", hint=f"cache.yaml has: {', '.join(known) or 'none'}")
    if not known:
        raise UsageError("no container is asked for", hint="`--spec hdf5`, `--env FOLDER`, or `containers:` in cache.yaml")
    return {name: known[name]} if name else dict(known)


def _container(
    ws: Workspace, shelves: Shelves, to: str, folder: Path, dry_run: bool, jobs: int, name: str, asked: Container
) -> Report:  # fmt: skip
    requests = [parse_request(text) for text in asked.specs] or _environment(folder / asked.environment)
    lender = Lender(ws)
    choices = containing.choose(shelves.catalogs, requests, shelves.wanted, lender.lend)
    below, bases = _bases(ws, asked.base, folder, choices)
    tags = asked.tags or _default_tags(name, asked, choices)
    sources = {**shelves.repositories, **lender.repositories}
    made = container_push.make(choices, bases, sources, name, ws.labels(), jobs=jobs)
    target = _target(ws, asked.to, to, folder, choices[0])
    new = container_push.check_tags(target, tags, made)
    sent = 0
    if new and not dry_run:
        sent = container_push.put(made, target, new, sources, below, jobs=jobs, progress=ws.progress)
    return container_report(made, target.name, tags, new, sent, dry_run=dry_run)


def _target(ws: Workspace, put_to: str, to: str, folder: Path, choice: Choice) -> Repository:
    """Where a container goes: to its first package's image, where its layers lie already, or elsewhere."""
    home = ws.location(to)
    if not put_to:
        return ws.repository(home.child(choice.roots[0].image))
    place = parse_location(put_to, folder=folder)
    own = not isinstance(place, RegistryLocation) or (isinstance(home, RegistryLocation) and place.host == home.host)
    return ws.repository(place, own=own)


def _bases(ws: Workspace, asked: str, folder: Path, choices: Sequence[Choice]) -> tuple[Repository | None, list[BaseImage]]:
    """The base of each architecture, and where it lies: as asked for, as the stack has it, or the distribution that built the packages."""
    first = choices[0].roots[0]
    stack = ws.images()[first.image][1]
    if not asked:
        folder = ws.folder if stack.base_image else folder
        asked = stack.base_image or distribution_image(first.spec.root.os)
    if not asked:
        raise UsageError(
            f"no image is known of {first.spec.root.os}, which the packages were built on",
            hint="name one with --base, such as ubuntu:24.04; --base none makes a container that holds the packages alone",
        )
    if asked == NO_BASE:
        return None, [BaseImage() for _ in choices]
    place, reference = parse_familiar(asked, folder=folder)
    source = ws.repository(place, own=False)
    name = asked.partition("://")[2] or asked
    try:
        return source, [base_image(source, reference, name, choice.architecture) for choice in choices]
    except CacheError as error:
        raise type(error)(f"the base {asked}: {error.message}", hint=error.hint or "choose another with --base") from None


def _default_tags(name: str, asked: Container, choices: Sequence[Choice]) -> tuple[str, ...]:
    """The container's name in cache.yaml; else that of its package with the version, or of the environment's folder."""
    roots = choices[0].roots
    if not name and len(roots) > 1 and not asked.environment:
        raise UsageError(f"a container of {len(roots)} packages needs a name", hint="--tag NAME; it may be given several times")
    path = Path(asked.environment)
    folder = (path if path.is_dir() else path.parent).resolve().name if asked.environment else ""
    return (check_tag_name(name or folder or f"{roots[0].spec.root.name}-{roots[0].spec.root.version}"),)


def _environment(path: Path) -> list[Request]:
    """What an environment asks for: the very specs of its lock file, where it has one, else its requests."""
    lock = path / "spack.lock" if path.is_dir() else path.with_name("spack.lock")
    try:
        if lock.is_file():
            parsed = building.parse_lock(parse_json(read_limited(lock, WANTED_LIMIT, "a lock file"), str(lock)))
            return [parse_request(f"/{h}") for h in parsed.roots]
        file = path / "spack.yaml" if path.is_dir() else path
        data = yaml.safe_load(read_limited(file, WANTED_LIMIT, "an environment"))
        specs = data["spack"]["specs"]
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", hint="name a folder with a spack.yaml, or a spack.lock") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, CacheError):
        raise UsageError(f"{path} is no environment with `specs`", hint="name a folder with a spack.yaml, or a spack.lock") from None
    if not isinstance(specs, list) or not specs or not all(isinstance(one, str) for one in specs):
        raise UsageError(
            f"{path} has specs that only Spack can read (a matrix, definitions), or none",
            hint="`spack -e FOLDER concretize` writes a spack.lock beside it, which will do",
        )
    return [parse_request(text) for text in specs]
