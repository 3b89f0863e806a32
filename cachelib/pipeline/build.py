"""Installing Spack and building with it, into the local mirror."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from cachelib.model.config import Stack, spack_line
from cachelib.model.database import database
from cachelib.model.errors import BuildError, ConfigError, InstallError
from cachelib.model.oci import Location, RegistryLocation
from cachelib.model.outcome import Failed, Rejected, Reused
from cachelib.model.record import Origin
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import building, reports
from cachelib.steps.reports import Report
from cachelib.steps.targets import choose_target
from cachelib.tools import git
from cachelib.tools.files import write_atomically
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.registry import RegistryRepository
from cachelib.tools.spack import Folders, Spack, spack_reason


def install(ws: Workspace, stack_name: str = "", spack_root: str = "") -> Report:
    """Install the Spack and the packages of a stack, or look at the Spack that is there."""
    name, stack = ws.stack(stack_name)
    spack, repos = _spack(ws, stack, name, spack_root)
    _, _, version = spack.version()
    return Report(lines=(f"install: Spack {version} in {spack.root}, packages {stack.packages.version} in {repos['builtin']}",))


def build(
    ws: Workspace,
    specs: Sequence[str] = (),
    stack_name: str = "",
    spack_root: str = "",
    jobs: int = 0,
    packages: int = 0,
    *,
    dry_run: bool = False,
) -> Report:
    """Build requests (the stack's own where none are given) into the mirror; go on past failures."""
    if dry_run:
        return plan_build(ws, specs, stack_name, spack_root)
    return reports.build_report(run_build(ws, specs, stack_name, spack_root, jobs, packages))


def plan_build(ws: Workspace, specs: Sequence[str] = (), stack_name: str = "", spack_root: str = "") -> Report:
    """Tell what a build would do; concretizes, but builds nothing."""
    ready = _prepare(ws, specs, stack_name, spack_root)
    refused = reports.build_report(building.BuildResult(outcomes={}, nodes={}, rejected=ready.rejected, mirror="", written=0))
    if ready.lock is None:
        return refused
    lines = building.plan_lines(ready.lock, ready.installed(), ready.mirrored())
    return Report(
        lines=(*refused.lines[:-1], *lines, f"build would go through {len(lines)} specs of stack {ready.name}; nothing was built"),
        exit_code=refused.exit_code,
    )


def run_build(
    ws: Workspace, specs: Sequence[str] = (), stack_name: str = "", spack_root: str = "", jobs: int = 0, packages: int = 0
) -> building.BuildResult:
    """Build, and tell what became of each spec."""
    ready = _prepare(ws, specs, stack_name, spack_root)
    lock, spack, mirror = ready.lock, ready.spack, ready.mirror
    if lock is None:
        return building.BuildResult(outcomes={}, nodes={}, rejected=ready.rejected, mirror=str(mirror.root), written=0)
    before, mirrored = ready.installed(), ready.mirrored()
    watch = building.InstallWatch()
    ws.progress.start(f"build {ready.name}", sum(node.hash not in before for node in lock.buildable()))

    def on_line(line: str) -> None:
        known = len(watch.done)
        if said := watch.line(line):
            ws.progress.say(said)
            if len(watch.done) > known:
                ws.progress.advance(said)

    cores = os.cpu_count() or 1
    packages = packages or max(1, min(4, cores // 2))
    spack.install(ready.env, jobs=jobs or max(1, cores // packages), packages=packages, on_line=on_line)
    ws.progress.finish()
    described = spack.describe(ready.env)
    outcomes = building.classify(lock, described, watch, before, mirrored)
    written = _write_mirror(ws, ready, lock, described)
    origin = _origin(ws, ready.name, ready.stack, spack)
    for h, outcome in outcomes.items():
        log = None
        if isinstance(outcome, Failed) and outcome.log:
            log = Path(outcome.log).read_bytes()
            outcome = outcomes[h] = replace(outcome, log=str(mirror.log_path(h)))
        # A record tells how its entry came to be; that it was reused later is no news about it.
        if not isinstance(outcome, Reused) or mirror.record(h) is None:
            mirror.write_record(building.make_record(lock.nodes[h], outcome, described.get(h, {}), origin), log)
    return building.BuildResult(outcomes=outcomes, nodes=lock.nodes, rejected=ready.rejected, mirror=str(mirror.root), written=written)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A build that can begin: a configured Spack and a concretized environment (no lock where every request was refused)."""

    name: str
    stack: Stack
    spack: Spack
    mirror: DiskMirror
    location: Location
    env: Path
    lock: building.Lock | None
    rejected: tuple[Rejected, ...]

    def installed(self) -> frozenset[str]:
        """What is in the install tree already."""
        return frozenset(h for h, facts in self.spack.describe(self.env).items() if facts["installed"])

    def mirrored(self) -> frozenset[str]:
        """What is in the mirror already."""
        return frozenset(entry.hash for entry in self.mirror.entries())


def _prepare(ws: Workspace, specs: Sequence[str], stack_name: str, spack_root: str) -> _Ready:
    name, stack = ws.stack(stack_name)
    if stack.targets and not choose_target(stack.targets, ws.machine):
        raise BuildError(
            f"stack {name} has no target for {ws.machine}",
            hint=f"add one to its `targets`: {', '.join(stack.targets)} suit other machines",
        )
    spack, repos = _spack(ws, stack, name, spack_root)
    mirror, location = ws.mirror(stack.image_name), ws.location("").child(stack.image_name)
    env, lock, rejected = _concretize(ws, spack, name, stack, repos, tuple(specs) or stack.specs, mirror, location)
    return _Ready(name=name, stack=stack, spack=spack, mirror=mirror, location=location, env=env, lock=lock, rejected=tuple(rejected))


def _spack(ws: Workspace, stack: Stack, name: str, spack_root: str) -> tuple[Spack, dict[str, str]]:
    """A configured Spack for a stack, and its package repositories; installs what is missing."""
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
    if given and spack_line(version) != spack_line(stack.spack.version):
        raise InstallError(
            f"the Spack in {root} is {version}, but stack {name} is pinned to {stack.spack.version}",
            hint="DAG hashes don't tell Spack versions apart, so one image takes one line: pin the stack to this Spack, "
            "or unset SPACK_ROOT to have the pinned one installed",
        )
    repos = {Path(repo).name: str((ws.folder / repo).resolve()) for repo in stack.repos}
    repos["builtin"] = str(packages / "repos" / "spack_repo" / "builtin")
    spack.configure(repos, new_enough_for_installer=(major, minor) >= (1, 1))
    if not spack.detected():
        ws.progress.say("looking for compilers (the first time Spack also reads all recipes: a minute or two)")
        spack.find_compilers()
        if stack.externals and (missing := spack.find_externals(stack.externals)):
            raise InstallError(
                f"stack {name} takes {', '.join(missing)} from this machine, but Spack doesn't find it here",
                hint="install it with the system's package manager, or take it out of `externals`",
            )
    return spack, repos


def _concretize(
    ws: Workspace,
    spack: Spack,
    name: str,
    stack: Stack,
    repos: Mapping[str, str],
    requests: tuple[str, ...],
    mirror: DiskMirror,
    location: Location,
) -> tuple[Path, building.Lock | None, list[Rejected]]:
    """One concretization for all requests; those that Spack refuses are set aside with its reason. A lock is remembered."""
    given = _given_environment(ws, stack)
    recipes = "".join(_tree_digest(Path(repo)) for repo in repos.values() if ws.shared not in Path(repo).parents)
    mirrors = {"cache-mirror": mirror.root.as_uri()}
    if isinstance(location, RegistryLocation):
        mirrors["cache-registry"] = str(location)

    def attempt(wanted: Sequence[str]) -> tuple[Path, str]:
        """Concretize; return the environment's folder and, where it failed, Spack's reason."""
        text = yaml.safe_dump(building.environment_yaml(stack, wanted, machine=ws.machine, mirrors=mirrors, given=given), sort_keys=False)
        key = building.lock_key(stack, text, spack.detected(), recipes)
        env = ws.var / "work" / stack.image_name / "env" / f"{name}-{key[:12]}"
        if (env / "spack.lock").is_file():
            ws.progress.say(f"the concretization of {len(wanted)} requests is remembered")
            return env, ""
        write_atomically(env / "spack.yaml", text.encode())
        ws.progress.say(f"concretizing {', '.join(wanted) or stack.environment} (a minute or more; the result is remembered)")
        done = spack.concretize(env)
        return env, "" if (env / "spack.lock").is_file() else spack_reason(done.lines)

    refused = spack.parse(requests)
    rejected = [building.rejection(request, reason) for request, reason in refused.items()]
    wanted = [request for request in requests if request not in refused]
    if not wanted and given is None:
        return Path(), None, rejected
    env, reason = attempt(wanted)
    if reason and len(wanted) > 1 and given is None:
        # Together they fail: find out who is to blame, so that the others are built all the same.
        alone = {request: attempt([request])[1] for request in wanted}
        rejected += [building.rejection(request, why) for request, why in alone.items() if why]
        wanted = [request for request, why in alone.items() if not why]
        if wanted and any(alone.values()):
            env, reason = attempt(wanted)
    if reason:
        rejected += [building.rejection(request, reason) for request in wanted or ([stack.environment] if given else [])]
        return env, None, rejected
    return env, building.parse_lock(json.loads((env / "spack.lock").read_text(encoding="utf-8"))), rejected


def _given_environment(ws: Workspace, stack: Stack) -> dict[str, Any] | None:
    if not stack.environment:
        return None
    path = ws.folder / stack.environment
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("spack"), dict):
        raise ConfigError(f"{path} is no Spack environment", hint="it begins with `spack:`")
    return dict(data["spack"])


def _write_mirror(ws: Workspace, ready: _Ready, lock: building.Lock, described: Mapping[str, Mapping[str, Any]]) -> int:
    """Write what is installed into the mirror, and the mirror's index anew; return how many entries are new."""
    mirror = ready.mirror
    published: frozenset[str] = frozenset()
    if isinstance(ready.location, RegistryLocation):
        tags = RegistryRepository(ready.location, None).tags()  # read as anybody: a build holds no credentials
        published = frozenset(tag.removesuffix(".spack")[-32:] for tag in tags)
    missing = building.to_mirror(lock, described, (entry.hash for entry in mirror.entries()), published)
    if missing:
        ws.progress.start("write the mirror", len(missing))
        pushed = "] Pushed "
        ready.spack.buildcache_push(
            ready.env, mirror.root, missing, jobs=os.cpu_count() or 1,
            on_line=lambda line: ws.progress.advance(line.split(pushed)[-1]) if pushed in line else None,
        )  # fmt: skip
        ws.progress.finish()
    nodes: dict[str, Mapping[str, Any]] = {}
    present = []
    for entry in mirror.entries():
        present.append(entry.hash)
        nodes |= {h: node.raw for h, node in entry.spec.nodes.items()}
    mirror.write_index(database(nodes, present))
    return len(missing)


def _origin(ws: Workspace, name: str, stack: Stack, spack: Spack) -> Origin:
    env, server = ws.env, ws.env.get("GITHUB_SERVER_URL", "")
    source = f"{server}/{env['GITHUB_REPOSITORY']}" if server and env.get("GITHUB_REPOSITORY") else ""
    return Origin(
        stack=name,
        spack_version=spack.version()[2],
        spack_commit=git.head(spack.root, env) or stack.spack.commit,
        packages_version=stack.packages.version,
        packages_commit=stack.packages.commit,
        source=ws.settings.source or source,
        revision=env.get("GITHUB_SHA", "") or git.head(ws.folder, env),
        run=f"{source}/actions/runs/{env['GITHUB_RUN_ID']}" if source and env.get("GITHUB_RUN_ID") else "",
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _tree_digest(folder: Path) -> str:
    """What the recipes in a folder say, in one digest."""
    hasher = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            hasher.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()
