"""Setting a stock Spack up for people who install from a cache: a folder of its own, nothing outside of it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cachelib.model.errors import InstallError
from cachelib.model.inputs import SetupInputs, parse_setup
from cachelib.model.setup import check_folder, check_version, is_commit, mirrors
from cachelib.model.stack import PackagesPin, SpackPin
from cachelib.pipeline.repositories import asking_for, namespaces
from cachelib.pipeline.workspace import PROJECT, Workspace, open_workspace
from cachelib.steps.reports import Report
from cachelib.tools import actions, git
from cachelib.tools.spack import Folders, Spack, misc_cache


def setup(
    caches: Sequence[str] = (),
    spack_version: str = "",
    packages_version: str = "",
    path: str = "",
    config: str = "",
    *,
    inputs: bool = False,
    repos: Sequence[str] = (),
) -> Report:
    """Install a Spack whose mirrors are the caches, and say how to call it; with `inputs` the workflow says what, in place of the flags.

    `repos` are package repositories that come before Spack's own; folders are relative to here.
    """
    ws = open_workspace(config or str(PROJECT / "cache.yaml"))
    asked = SetupInputs(caches=tuple(caches), spack_version=spack_version, packages_version=packages_version, path=path, repos=tuple(repos))
    if inputs:
        asked = parse_setup(ws.env.get("WORKFLOW_INPUTS", ""))
    found = mirrors(asked.caches)
    folder = check_folder(Path(asked.path).resolve() if asked.path.strip() else _usual(ws))
    ws = replace(ws, folder=Path.cwd(), var=folder, shared=folder if ws.shared == ws.var else ws.shared)
    _, own = asking_for(ws, asked.repos)
    _, stack = ws.stack("")
    pin = replace(stack.spack, **_pin(ws, stack.spack, asked.spack_version, "Spack"))
    packages = replace(stack.packages, **_pin(ws, stack.packages, asked.packages_version, "the packages"))
    spack, version = _install(ws, pin, packages, found, own)
    variables = {
        "SPACK_ROOT": str(spack.root),
        "SPACK_USER_CONFIG_PATH": str(folder / "config"),
        "SPACK_USER_CACHE_PATH": str(folder / "cache"),
        # clingo comes from this interpreter's environment, so Spack bootstraps no concretizer from the network.
        "SPACK_PYTHON": sys.executable,
    }
    actions.set_variables(ws.env, variables)
    actions.add_to_path(ws.env, spack.root / "bin")
    return Report(
        lines=(
            f"setup: Spack {version} in {spack.root}, packages {packages.version}, mirrors {', '.join(found.values())}"
            + (f", package repositories {', '.join(own)}" if own else ""),
            "It is on PATH in the steps that follow." if ws.env.get("GITHUB_PATH") else "Type this to have it at hand in a shell:",
            *(f"  export {name}={shlex.quote(value)}" for name, value in variables.items()),
            f"  . {shlex.quote(str(spack.root / 'share/spack/setup-env.sh'))}",
        )
    )


def _usual(ws: Workspace) -> Path:
    """Where a Spack is set up if nobody says where: what a job on GitHub leaves goes with the job."""
    temp = ws.env.get("RUNNER_TEMP", "") if ws.env.get("GITHUB_ACTIONS") == "true" else ""
    return Path(temp, "spack") if temp else ws.var / "setup"


def _pin(ws: Workspace, pin: SpackPin | PackagesPin, version: str, what: str) -> dict[str, str]:
    """The version and commit that are meant: the pinned ones, a commit itself, or what a tag or branch is now."""
    if not version or version == pin.version:
        return {"version": pin.version, "commit": pin.commit}
    check_version(version, what)
    return {"version": version, "commit": version if is_commit(version) else git.resolve(pin.url, version, ws.env)}


def _install(ws: Workspace, pin: SpackPin, packages: PackagesPin, found: dict[str, str], own: tuple[str, ...]) -> tuple[Spack, str]:
    """Fetch what is missing, and write the settings: a scope of its own, so that nobody's ~/.spack is read or written."""
    root, recipes = ws.shared / "spack" / pin.commit[:12], ws.shared / "packages" / packages.commit[:12]
    ws.progress.say(f"Spack {pin.version} in {root}")
    git.checkout(pin.url, pin.version, pin.commit, root, ws.env)
    git.checkout(packages.url, packages.version, packages.commit, recipes, ws.env)
    cache = ws.shared / "cache" / f"{pin.commit[:12]}-{packages.commit[:12]}"
    folders = Folders(config=ws.var / "config", store=ws.var / "store", stage=ws.var / "stage", cache=cache, padding=0)
    spack = Spack(root, folders, python=sys.executable, env=ws.env)
    major, _, version = spack.version()
    if major < 1:
        raise InstallError(
            f"Spack {version} can't be set up here", hint="packages are a repository of their own since Spack 1.0: take that or newer"
        )
    repos = namespaces(ws, own) | {"builtin": str(recipes / "repos" / "spack_repo" / "builtin")}
    settings = {
        "install_tree": {"root": str(folders.store)},
        "build_stage": [str(folders.stage)],
        "source_cache": str(ws.var / "sources"),
        "misc_cache": str(misc_cache(cache, repos)),
        "environments_root": str(ws.var / "environments"),
    }
    spack.write_settings(
        {"config": settings, "repos": repos, "mirrors": {name: {"url": url, "signed": False} for name, url in found.items()}}
    )
    if not spack.detected():
        ws.progress.say("looking for compilers (the first time Spack also reads all recipes: a minute or two)")
        spack.find_compilers()
    return spack, version
