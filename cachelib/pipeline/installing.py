"""Installing Spack and its packages, and setting a Spack up for a stack."""

from __future__ import annotations

import sys
from pathlib import Path

from cachelib.model.errors import InstallError
from cachelib.model.stack import Stack, is_release, spack_line
from cachelib.pipeline.developing import checkouts
from cachelib.pipeline.repositories import namespaces
from cachelib.pipeline.workspace import Workspace
from cachelib.steps.reports import Report
from cachelib.tools import git
from cachelib.tools.spack import Folders, Spack
from cachelib.tools.system_packages import ensure


def install(ws: Workspace, stack_name: str = "", spack_root: str = "") -> Report:
    """Install the Spack and the packages of a stack, or look at the Spack that is there."""
    name, stack = ws.stack(stack_name)
    spack, repos = prepare_spack(ws, stack, name, spack_root)
    _, _, version = spack.version()
    return Report(lines=(f"install: Spack {version} in {spack.root}, packages {stack.packages.version} in {repos['builtin']}",))


def prepare_spack(ws: Workspace, stack: Stack, name: str, spack_root: str) -> tuple[Spack, dict[str, str]]:
    """A configured Spack for a stack, and its package repositories; installs what is missing."""
    if stack.system_packages:
        ours = ws.env.get("RUNNER_ENVIRONMENT") == "github-hosted" or bool(ws.container)
        ensure(stack.system_packages, install=ours, env=ws.env, say=ws.progress.say)
    root = Path(spack_root or ws.env.get("SPACK_ROOT", "") or ws.shared / "spack" / stack.spack.commit[:12])
    given = bool(spack_root or ws.env.get("SPACK_ROOT"))
    if not given:
        ws.progress.say(f"Spack {stack.spack.version} in {root}")
        git.checkout(stack.spack.url, stack.spack.version, stack.spack.commit, root, ws.env)
    elif not (root / "bin" / "spack").is_file():
        raise InstallError(f"{root} holds no Spack (bin/spack)", hint="mend --spack or SPACK_ROOT, or unset it to have one installed")
    packages = ws.shared / "packages" / stack.packages.commit[:12]
    git.checkout(stack.packages.url, stack.packages.version, stack.packages.commit, packages, ws.env)
    work = ws.var / "work" / stack.image_name
    folders = Folders(
        config=work / "config" / name,
        store=work / "store",
        stage=work / "stage",
        cache=ws.shared / "cache" / f"{stack.spack.commit[:12]}-{stack.packages.commit[:12]}",
        padding=stack.padding,
    )
    spack = Spack(root, folders, python=sys.executable, env=ws.env)
    major, minor, version = spack.version()
    if given and is_release(stack.spack.version) and spack_line(version) != spack_line(stack.spack.version):
        raise InstallError(
            f"the Spack in {root} is {version}, but stack {name} is pinned to {stack.spack.version}",
            hint="DAG hashes don't tell Spack versions apart, so one image takes one line: pin the stack to this Spack, "
            "or unset SPACK_ROOT to have the pinned one installed",
        )
    repos = namespaces(ws, stack.repos)
    repos["builtin"] = str(packages / "repos" / "spack_repo" / "builtin")
    code = {name: folder.as_uri() for name, folder in checkouts(ws, stack).items()}
    spack.configure(repos, new_enough_for_installer=(major, minor) >= (1, 1), code=code)
    if not spack.detected():
        ws.progress.say("looking for compilers (the first time Spack also reads all recipes: a minute or two)")
        spack.find_compilers()
    if stack.externals and (missing := spack.find_externals(stack.externals)):
        raise InstallError(
            f"stack {name} takes {', '.join(missing)} from this machine, but Spack doesn't find it here",
            hint="install it with the system's package manager, or take it out of `externals`",
        )
    return spack, repos
