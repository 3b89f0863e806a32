"""A build once more, on one's own machine: what a failure left in the registry, and what to type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cachelib.model.errors import CacheError, UsageError
from cachelib.model.failure import Failure
from cachelib.model.oci import RegistryLocation, is_spec_tag
from cachelib.model.package_repo import FolderRepo, GitRepo, commits_of, parse_pinned
from cachelib.model.ports import Repository
from cachelib.model.record import Origin
from cachelib.model.spec import ConcreteSpec
from cachelib.model.stack import Stack
from cachelib.model.text import printable
from cachelib.pipeline.repositories import folders_inside
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import reading, remembering, reproducing
from cachelib.steps.recalling import published_origin
from cachelib.steps.reports import Report
from cachelib.steps.reproducing import Checkout, Chosen, Setup
from cachelib.steps.targets import beyond
from cachelib.tools import git
from cachelib.tools.files import write_atomically


def reproduce(ws: Workspace, wanted: str, to: str = "", image: str = "", out: str = "") -> Report:
    """Write the concrete spec and the log of a build into a folder, and tell what to type there."""
    repositories = repositories_of(ws, to, image)
    chosen = reproducing.choose(wanted, *known_builds(repositories))
    repository = repositories[chosen.image]
    spec, origin = _build(repository, chosen)
    setup = _setup(ws, to, chosen.image, origin, spec.root.target)
    folder = Path(out).resolve() if out else ws.var / "reproduce" / chosen.hash
    log, trouble = _log(repository, chosen)
    if trouble:
        setup = replace(setup, notes=(*setup.notes, trouble))
    for name, data in reproducing.files(spec, setup):
        write_atomically(folder / name, data)
    if log is None:
        (folder / "log.txt").unlink(missing_ok=True)  # one of another build is not to be taken for this one's
    else:
        write_atomically(folder / "log.txt", log)
    typed = reproducing.commands(folder, setup)
    return reproducing.reproduce_report(chosen, spec, setup, folder, None if log is None else len(log), typed)


def repositories_of(ws: Workspace, to: str, image: str) -> dict[str, Repository]:
    """The repositories of the images that are looked into, by their names; raise UsageError where there is no such image."""
    if image and image not in ws.images():
        raise UsageError(f"there is no image {image!r}", hint=f"cache.yaml has: {', '.join(ws.images())}")
    return {name: ws.repository(ws.location(to).child(name)) for name in ([image] if image else ws.images())}


def known_builds(repositories: Mapping[str, Repository]) -> tuple[dict[str, dict[str, Failure]], dict[str, list[str]]]:
    """What fails, and the tags of what is published, by image."""
    tags = {image: [t for t in repository.tags() if is_spec_tag(t)] for image, repository in repositories.items()}
    there = {image: {tag.removesuffix(".spack")[-32:] for tag in held} for image, held in tags.items()}
    return {image: remembering.known_failures(repository, there[image]) for image, repository in repositories.items()}, tags


def _build(repository: Repository, chosen: Chosen) -> tuple[ConcreteSpec, Origin]:
    """The concrete spec of a build, and where it came from."""
    if chosen.failure is None:
        image = reading.open_image(repository, chosen.tag)
        return image.spec, published_origin(image)
    if not chosen.failure.spec:
        raise UsageError(f"no spec was kept of {chosen.label}", hint="run it again: `inv plan --retry`, or `inv build` here")
    return reproducing.failed_spec(remembering.failure_blob(repository, chosen.failure.spec), chosen), chosen.failure.origin


def _log(repository: Repository, chosen: Chosen) -> tuple[bytes | None, str]:
    """The log, or why there is none: that is no reason to withhold the rest."""
    if chosen.failure is None:
        return None, ""
    if not chosen.failure.log:
        return None, "no log was kept: it failed before it had one"
    try:
        return remembering.failure_blob(repository, chosen.failure.log), ""
    except CacheError as error:
        return None, f"the log can't be read: {error.message}"


def _setup(ws: Workspace, to: str, image: str, origin: Origin, target: str) -> Setup:
    """What it was built from and with, as far as it is told; what isn't told, as cache.yaml has it now."""
    here = ws.settings.stacks.get(origin.stack)
    stack = here or ws.images()[image][1]
    notes = [] if here else [f"its stack {origin.stack!r} isn't in cache.yaml: the first one of {image} stands in for it"]
    spack, spack_note = reproducing.pinned("Spack", origin.spack_commit, stack.spack.url, stack.spack.commit)
    packages, note = reproducing.pinned("packages", origin.packages_commit, stack.packages.url, stack.packages.commit)
    own, fetched = _own(ws, stack, origin), _fetched(ws, stack, origin)
    location = ws.location(to).child(image)
    cpu_note = beyond(ws.cpu, target)
    return Setup(
        spack=spack, packages=packages, recipes={**own.checkouts, **fetched.checkouts}, repos=(*fetched.repos, *own.repos),
        padding=stack.padding,
        mirror=str(location) if isinstance(location, RegistryLocation) else "",
        notes=tuple(note for note in (*notes, spack_note, note, *own.notes, *fetched.notes, cpu_note) if note),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipes:
    """Recipes beside Spack's: checkouts by the folder that each goes into, the folders to read, and what to know of that."""

    checkouts: Mapping[str, Checkout] = field(default_factory=dict)
    repos: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _own(ws: Workspace, stack: Stack, origin: Origin) -> _Recipes:
    """The recipes that lie in the cache's own repository: of which commit, which folders of it."""
    own = [one.path for one in map(parse_pinned, stack.repos) if isinstance(one, FolderRepo)]
    if not own:
        return _Recipes()
    source = origin.source or ws.source()
    # Where nobody told a web address, this checkout is the repository that was built from.
    top = git.top(ws.folder, ws.env)
    url, root = source if reproducing.is_fetchable(source) else top, Path(top or ws.folder).resolve()
    paths = [(ws.folder / path).resolve() for path in own]
    if not url or not reproducing.is_commit(origin.revision) or not all(path.is_relative_to(root) for path in paths):
        note = f"of which commit its own recipes were isn't known: these are the ones in {ws.folder} now"
        return _Recipes(repos=tuple(map(str, paths)), notes=(note,))
    note = ""
    if source and url != source:
        note = f"its recipes come from {source!r}, which is no web address: the checkout in {top} stands in for it"
    elif source and ws.source() and source != ws.source():
        note = f"its recipes come from {source}, which is not the source of this cache ({ws.source()}): look before you run them"
    return _Recipes(
        checkouts={"recipes": Checkout(url=url, commit=origin.revision)},
        repos=tuple(f"recipes/{path.relative_to(root).as_posix()}" for path in paths),
        notes=(note,) if note else (),
    )


def _fetched(ws: Workspace, stack: Stack, origin: Origin) -> _Recipes:
    """The recipes that come out of other git repositories, as the build tells, or as cache.yaml has them now."""
    here = commits_of(stack.repos)
    known = {one.url for one in map(parse_pinned, here) if isinstance(one, GitRepo)}
    names: dict[Checkout, str] = {}
    repos, notes = list[str](), list[str]()
    if here and not origin.repos:
        notes.append("of which commits its further recipes were isn't told: these are the ones that cache.yaml pins now")
    for text in origin.repos.split() or here:
        try:
            repo = parse_pinned(text)
            if not isinstance(repo, GitRepo):
                raise UsageError(f"{text!r} is no commit of a git repository")
            if repo.url not in known and not repo.folder:
                # Nothing is fetched from an address that came from outside: a person looks first.
                raise UsageError(f"cache.yaml doesn't name {repo.url}, of which no folder is told")
            inside = [repo.folder] if repo.folder else folders_inside(ws, repo)
        except CacheError as error:
            notes.append(f"further recipes are left out: {printable(error.message)[:300]}")
            continue
        if repo.url not in known:
            notes.append(f"further recipes come from {repo.url}, which cache.yaml doesn't name: look before you run them")
        name = names.setdefault(Checkout(url=repo.url, commit=repo.ref), f"recipes-{len(names) + 1}")
        repos += [f"{name}/{path}".removesuffix("/.") for path in inside]
    return _Recipes(checkouts={name: one for one, name in names.items()}, repos=tuple(repos), notes=tuple(notes))
