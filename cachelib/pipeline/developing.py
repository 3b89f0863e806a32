"""The code that a stack builds from checkouts: where it lies, and as which commit it is known."""

from __future__ import annotations

from pathlib import Path

from cachelib.model.develop import Code, Develop, parse_develop
from cachelib.model.errors import BuildError, ConfigError
from cachelib.model.stack import Stack
from cachelib.pipeline.concretize import given_environment
from cachelib.pipeline.workspace import Workspace
from cachelib.tools import git


def checkouts(ws: Workspace, stack: Stack) -> dict[str, Path]:
    """The git checkout that has the code of each package, to be fetched from there; raise ConfigError where it lies in none."""
    found = {}
    for name, (_, folder) in _developed(ws, stack).items():
        found[name] = _top(ws, name, folder)
        git.complete(folder, git.last_commit(folder, ws.env), ws.env)
    return found


def code_of(ws: Workspace, stack: Stack) -> tuple[Code, ...]:
    """As what the code of each package is built; raise BuildError where some of it is in no commit.

    Spack's own `develop` makes the path a part of the hash, and not what lies there: two builds of different code would be one entry.
    """
    found = []
    for name, (develop, folder) in _developed(ws, stack).items():
        top = _top(ws, name, folder)
        changed, unknown = git.changes(folder, ws.env)
        if changed:
            raise BuildError(
                f"the code of {name} has changes that are in no commit: {_some(changed)}",
                hint=f"`git -C {folder} commit` them: what is built is known by its commit, so that nobody takes it for other code",
            )
        if unknown := tuple(path for path in unknown if ws.var not in ((top / path).resolve(), *(top / path).resolve().parents)):
            ws.progress.say(f"WARNING: {name} is built without what git doesn't know in {folder}: {_some(unknown)}")
        found.append(Code(name=name, version=develop.version, commit=git.last_commit(folder, ws.env)))
    return tuple(found)


def _developed(ws: Workspace, stack: Stack) -> dict[str, tuple[Develop, Path]]:
    """What is developed and where its code lies: as the stack's environment says, and over that the stack."""
    found = {}
    if section := (given_environment(ws, stack) or {}).get("develop"):
        path = ws.folder / stack.environment
        found = {name: (one, path.parent / one.path) for name, one in parse_develop(section, str(path)).items()}
    found |= {name: (one, ws.folder / one.path) for name, one in stack.develop.items()}
    return {name: (one, folder.resolve()) for name, (one, folder) in found.items()}


def _top(ws: Workspace, name: str, folder: Path) -> Path:
    top = git.top(folder, ws.env) if folder.is_dir() else ""
    if not top or not git.last_commit(folder, ws.env):
        if folder.is_dir() and git.distrusts(folder, ws.env):
            raise ConfigError(
                f"develop: {name}: git doesn't read the checkout that {folder} is in, as another user owns it",
                hint=f"where you trust it: `git config --global --add safe.directory {folder}` (of a folder inside, its uppermost one)",
            )
        reason = "is in no git checkout with a commit" if folder.is_dir() else "is no folder"
        raise ConfigError(
            f"develop: {name}: {folder} {reason}",
            hint="name the folder that has the code, in a clone of its repository: what is built is known by its commit",
        )
    return Path(top).resolve()


def _some(paths: tuple[str, ...]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
