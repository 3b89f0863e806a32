"""Package repositories of a stack where they lie: folders, and checkouts of the commits that are pinned."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from cachelib.model.errors import ConfigError, InstallError, UsageError
from cachelib.model.package_repo import FolderRepo, GitRepo, PackageRepo, joined, parse_asked, parse_pinned
from cachelib.model.stack import Stack
from cachelib.model.text import printable
from cachelib.pipeline.workspace import Workspace
from cachelib.tools import git
from cachelib.tools.files import tree_digest

#: How the file is called by which a git repository tells where its package repositories are (Spack 1.0, spack/repo.py).
INDEX = "spack-repo-index.yaml"
#: Folders that a message lists at most, and levels below the root that are looked at for them.
_LISTED, _DEEP = 10, 6


def pinned_repos(ws: Workspace, asked: Sequence[PackageRepo]) -> tuple[str, ...]:
    """What a person asks for beside the stacks' own, each as one commit from here on, which is told; raise CacheError.

    What is a commit already is not asked for, so whoever takes it over takes the same.
    """
    return joined((str(_pin(ws, one)) for one in asked), ())


def _pin(ws: Workspace, asked: PackageRepo) -> PackageRepo:
    if isinstance(asked, FolderRepo):
        top = Path(git.top(ws.folder, ws.env) or ws.folder).resolve()
        path = (ws.folder / asked.path).resolve()
        if not path.is_relative_to(top):
            raise UsageError(f"the package repository {asked.path} lies outside of {top}", hint="name a folder in it, or a git address")
        if not (path / "repo.yaml").is_file():
            raise UsageError(f"{asked.path} holds no repo.yaml, relative to {ws.folder}", hint=_hint(ws.folder, path))
        return asked
    if asked.pinned:
        return asked
    found = replace(asked, ref=git.resolve(asked.url, asked.ref, ws.env))
    ws.progress.say(f"{asked.url}: {asked.ref or 'its default branch'} is {found.ref} now, which is taken from here on: {found}")
    return found


def with_repos(ws: Workspace, repos: Sequence[str]) -> Workspace:
    """The same with further package repositories, pinned ones, before those of each stack.

    Another commit of what a stack names takes the place of the stack's: both would state the same namespaces.
    """
    asked = [one for one in map(parse_pinned, repos) if isinstance(one, GitRepo)]

    def stays(repo: str) -> bool:
        own = parse_pinned(repo)
        return not isinstance(own, GitRepo) or not any(one.url == own.url and one.folder in ("", own.folder) for one in asked)

    stacks = {name: replace(stack, repos=joined(repos, filter(stays, stack.repos))) for name, stack in ws.settings.stacks.items()}
    return replace(ws, settings=replace(ws.settings, stacks=stacks)) if repos else ws


def asking_for(ws: Workspace, repos: Sequence[str], what: str = "--repo") -> tuple[Workspace, tuple[str, ...]]:
    """The workspace with what a person asks for, and that as commits; `what` is how it was asked."""
    pinned = pinned_repos(ws, parse_asked(repos, what))
    return with_repos(ws, pinned), pinned


def namespaces(ws: Workspace, repos: Sequence[str]) -> dict[str, str]:
    """The folders of package repositories by the namespace that each states; fetches what is missing.

    Raises ConfigError where two state the same.
    """
    found: dict[str, str] = {}
    told: dict[str, str] = {}
    for repo in repos:
        for path in folders(ws, repo):
            namespace, name = _namespace(path), repo if (ws.folder / repo).resolve() == path else f"{repo} ({path})"
            if namespace in found or namespace == "builtin":
                raise ConfigError(
                    f"{name} and {told.get(namespace, 'Spack')} both state the namespace {namespace}",
                    hint="rename one (`repo: {namespace: ...}` in its repo.yaml), or leave one out",
                )
            found[namespace], told[namespace] = str(path), name
    return found


def _namespace(path: Path) -> str:
    """The namespace that a package repository states; raise ConfigError where it states none, or one that Spack wouldn't take.

    Spack only warns of such a repository, and then builds from others what was to be built from it.
    """
    try:
        stated = yaml.safe_load((path / "repo.yaml").read_text(encoding="utf-8"))["repo"]
        namespace, api = stated.get("namespace"), str(stated.get("api", "v1.0"))
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path / 'repo.yaml'} can't be read: {error!r}"[:500], hint="it needs `repo: {namespace: NAME}`") from None
    # From version 2 of the package API on it follows from the folder (spack/repo.py, Repo).
    if not api.startswith(("v0.", "v1.")):
        derived = path.as_posix().rpartition("/spack_repo/")[2].replace("/", ".") if "/spack_repo/" in path.as_posix() else ""
        if not derived or namespace not in (None, derived):
            raise ConfigError(
                f"{path / 'repo.yaml'} states package API {api} and namespace {namespace!r}, and Spack passes over it in that folder",
                hint=f"since package API v2 it lies in a folder spack_repo/{namespace or 'NAME'}; name the one that does",
            )
        namespace = derived
    if not isinstance(namespace, str) or not namespace:
        raise ConfigError(f"{path / 'repo.yaml'} states no namespace", hint="it needs `repo: {namespace: NAME}`")
    return namespace


def folders(ws: Workspace, repo: str) -> tuple[Path, ...]:
    """The folders that a package repository is in; fetches it where it is a commit that isn't here."""
    match parse_pinned(repo):
        case FolderRepo(path=path):
            return ((ws.folder / path).resolve(),)
        case GitRepo() as found:
            return _inside(_checkout(ws, found), found)


def folders_inside(ws: Workspace, repo: GitRepo) -> list[str]:
    """The same of a commit, relative to the root of its checkout."""
    root = _checkout(ws, repo)
    return [path.relative_to(root).as_posix() for path in _inside(root, repo)]


def _checkout(ws: Workspace, repo: GitRepo) -> Path:
    root = ws.shared / "repos" / repo.ref[:12]
    if git.checkout(repo.url, "", repo.ref, root, ws.env):
        ws.progress.say(f"{repo.url} at {repo.ref[:12]} in {root}")
    return root.resolve()


def _inside(root: Path, repo: GitRepo) -> tuple[Path, ...]:
    """The folders of a checkout that are meant; raise InstallError where there are none, or where one is outside of it."""
    if repo.folder:
        return (_repository(root, repo.folder, repo, f"{repo} holds no repo.yaml"),)
    if (root / "repo.yaml").is_file():
        return (root,)
    if not (root / INDEX).is_file():
        raise InstallError(f"{repo} holds neither repo.yaml nor {INDEX} at its root", hint=_hint(root, root))
    try:
        paths = yaml.safe_load(_repository_file(root, repo).read_text(encoding="utf-8"))["repo_index"]["paths"]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError) as error:
        raise InstallError(f"{repo}: {INDEX} can't be read: {error!r}"[:500], hint="it needs `repo_index: {paths: [FOLDER]}`") from None
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) and path.isprintable() for path in paths):
        raise InstallError(f"{repo}: {INDEX} names no folders", hint="it needs `repo_index: {paths: [FOLDER]}`")
    return tuple(_repository(root, path, repo, f"{repo}: {INDEX} names {path}, which holds no repo.yaml") for path in paths)


def _repository_file(root: Path, repo: GitRepo) -> Path:
    path = (root / INDEX).resolve()
    if not path.is_relative_to(root):
        raise InstallError(f"{repo}: {INDEX} leads out of its checkout", hint="it is a link: look what that repository does there")
    return path


def _repository(root: Path, folder: str, repo: GitRepo, missing: str) -> Path:
    path = (root / folder).resolve()
    if not path.is_relative_to(root):
        raise InstallError(
            f"{repo}: the folder {printable(folder)} leads out of its checkout", hint="name one inside of it; links are followed"
        )
    if not (path / "repo.yaml").is_file():
        raise InstallError(printable(missing), hint=_hint(root, root))
    return path


def _hint(root: Path, below: Path) -> str:
    found = [printable(path) for path in _having(root, below)]
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return f"name one of these, which hold one: {', '.join(found[:_LISTED])}{more}" if found else "no folder in it holds a repo.yaml"


def _having(root: Path, below: Path) -> Iterator[str]:
    """Folders that hold a repo.yaml, without following links."""
    for place, names, files in os.walk(below):
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "packages")
        if len(Path(place).relative_to(below).parts) >= _DEEP:
            names.clear()
        if "repo.yaml" in files:
            yield Path(place).relative_to(root).as_posix()


def recipes_key(ws: Workspace, stack: Stack) -> tuple[str, ...]:
    """What the recipes of a stack's own repositories are known by: a commit, or a digest of what lies in a folder. Fetches nothing."""
    found = (parse_pinned(repo) for repo in stack.repos)
    return tuple(tree_digest(ws.folder / one.path, ws.var) if isinstance(one, FolderRepo) else str(one) for one in found)
