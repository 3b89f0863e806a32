"""The one place that knows environment, configuration and clock: wires tools into steps, one function a task."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from cachelib.model.catalog import Catalog
from cachelib.model.config import Settings, Stack, json_schema, spack_line
from cachelib.model.database import database
from cachelib.model.errors import BuildError, CacheError, ConfigError, InstallError, MirrorError, UsageError
from cachelib.model.image import BaseImage
from cachelib.model.oci import LayoutLocation, Location, RegistryLocation, parse_location
from cachelib.model.outcome import Failed, Rejected, Reused
from cachelib.model.ports import Progress, Repository
from cachelib.model.record import Origin
from cachelib.steps import building, indexing, pushing, rendering, reports, verifying
from cachelib.steps.reports import Report
from cachelib.steps.targets import choose_target
from cachelib.tools import git
from cachelib.tools.config_file import read_settings
from cachelib.tools.credentials import find_credentials
from cachelib.tools.files import write_atomically
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.progress import make_progress
from cachelib.tools.registry import RegistryRepository
from cachelib.tools.site import serving, write_site
from cachelib.tools.spack import Folders, Spack, spack_reason
from cachelib.tools.templates import JinjaTemplates

#: The checkout of this project: templates, examples and schemas lie there.
PROJECT = Path(__file__).resolve().parent.parent
EXAMPLES = PROJECT / "examples"
#: Requests to a registry that are under way at once.
JOBS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Everything outside that a task depends on, taken in once.

    `folder` holds cache.yaml; `var` takes what tasks make; `shared` takes Spack checkouts and their caches.
    """

    settings: Settings
    folder: Path
    var: Path
    shared: Path
    env: Mapping[str, str]
    home: Path
    machine: str
    progress: Progress

    def stack(self, name: str) -> tuple[str, Stack]:
        """The stack of a name, or the default one; raise UsageError naming those there are."""
        name = name or self.settings.default_stack
        if name not in self.settings.stacks:
            raise UsageError(f"there is no stack {name!r}", hint=f"cache.yaml has: {', '.join(self.settings.stacks)}")
        return name, self.settings.stacks[name]

    def images(self) -> dict[str, tuple[str, Stack]]:
        """The images of all stacks, each with the first stack that publishes into it."""
        found: dict[str, tuple[str, Stack]] = {}
        for name, stack in self.settings.stacks.items():
            found.setdefault(stack.image_name, (name, stack))
        return found

    def mirror(self, image: str) -> DiskMirror:
        """The local mirror of an image."""
        return DiskMirror(self.var / "mirror" / image)

    def location(self, to: str) -> Location:
        """The registry: as told on the command line (relative to here), or as in cache.yaml (relative to it)."""
        return parse_location(to, folder=Path.cwd()) if to else parse_location(self.settings.registry, folder=self.folder)

    def repository(self, location: Location) -> Repository:
        """The repository at a location, with the credentials that are found for it."""
        match location:
            case LayoutLocation():
                return LayoutRepository(location)
            case RegistryLocation():
                return RegistryRepository(location, find_credentials(location.host, self.env, self.home), connections=JOBS)


def open_workspace(config: str = "cache.yaml", var: str = "", shared: str = "") -> Workspace:
    """Read cache.yaml and look around; raise ConfigError."""
    path = Path(config).resolve()
    place = Path(var).resolve() if var else path.parent / "var"
    return Workspace(
        settings=read_settings(path),
        folder=path.parent,
        var=place,
        shared=Path(shared).resolve() if shared else place,
        env=dict(os.environ),
        home=Path.home(),
        machine=platform.machine(),
        progress=make_progress(sys.stdout, ci=bool(os.environ.get("CI"))),
    )


def config(ws: Workspace) -> Report:
    """Say what cache.yaml means: it has been checked by being read."""
    lines = []
    for name, stack in ws.settings.stacks.items():
        target = choose_target(stack.targets, ws.machine) or "this machine's own"
        lines.append(f"  {name}: {len(stack.specs)} requests with Spack {stack.spack.version}, target {target}")
        lines.append(f"    publishes to {ws.location('').child(stack.image_name)}")
    return Report(lines=("cache.yaml is right:", *lines))


def write_schema(path: Path) -> Report:
    """Write the JSON Schema of cache.yaml, which editors use."""
    write_atomically(path, (json.dumps(json_schema(), indent=2) + "\n").encode())
    return Report(lines=(f"wrote {path}",))


def install(ws: Workspace, stack_name: str = "", spack_root: str = "") -> Report:
    """Install the Spack and the packages of a stack, or look at the Spack that is there."""
    name, stack = ws.stack(stack_name)
    spack, repos = _spack(ws, stack, name, spack_root)
    _, _, version = spack.version()
    return Report(lines=(f"install: Spack {version} in {spack.root}, packages {stack.packages.version} in {repos['builtin']}",))


def build(ws: Workspace, specs: Sequence[str] = (), stack_name: str = "", spack_root: str = "", jobs: int = 0, packages: int = 0) -> Report:
    """Build requests (the stack's own where none are given) into the mirror; go on past failures."""
    name, stack = ws.stack(stack_name)
    if stack.targets and not choose_target(stack.targets, ws.machine):
        raise BuildError(
            f"stack {name} has no target for {ws.machine}", hint=f"add one to its `targets`: {', '.join(stack.targets)} suit other machines"
        )
    spack, repos = _spack(ws, stack, name, spack_root)
    mirror, location = ws.mirror(stack.image_name), ws.location("").child(stack.image_name)
    env, lock, rejected = _concretize(ws, spack, name, stack, repos, tuple(specs) or stack.specs, mirror, location)
    if lock is None:
        return reports.build_report({}, {}, rejected, str(mirror.root), 0)
    before = frozenset(h for h, facts in spack.describe(env).items() if facts["installed"])
    watch = building.InstallWatch()
    ws.progress.start(f"build {name}", sum(node.hash not in before for node in lock.buildable()))

    def on_line(line: str) -> None:
        known = len(watch.done)
        if said := watch.line(line):
            (ws.progress.advance if len(watch.done) > known else ws.progress.say)(said)

    cores = os.cpu_count() or 1
    packages = packages or max(1, min(4, cores // 2))
    spack.install(env, jobs=jobs or max(1, cores // packages), packages=packages, on_line=on_line)
    ws.progress.finish()
    described = spack.describe(env)
    outcomes = building.classify(lock, described, watch, before)
    written = _write_mirror(ws, spack, env, lock, described, mirror, location)
    origin = _origin(ws, name, stack, spack)
    for h, outcome in outcomes.items():
        log = Path(outcome.log).read_bytes() if isinstance(outcome, Failed) and outcome.log else None
        # A record tells how its entry came to be; that it was reused later is no news about it.
        if not isinstance(outcome, Reused) or mirror.record(h) is None:
            mirror.write_record(building.make_record(lock.nodes[h], outcome, described.get(h, {}), origin), log)
    return reports.build_report(outcomes, lock.nodes, rejected, str(mirror.root), written)


def push(ws: Workspace, to: str = "", *, force: bool = False, dry_run: bool = False, jobs: int = JOBS) -> Report:
    """Push the mirrors of all images into the registry."""
    return reports.join(_push(ws, image, stack, ws.location(to).child(image), force, dry_run, jobs) for image, (_, stack) in _mirrored(ws))


def index(ws: Workspace, to: str = "", *, full: bool = False, jobs: int = JOBS) -> Report:
    """Bring catalog and Spack index of every image up to its tags."""
    found = []
    for image in ws.images():
        repository = ws.repository(ws.location(to).child(image))
        known = Catalog() if full else _known_catalog(ws, repository)
        indexed = indexing.read_tags(repository, known, jobs=jobs, progress=ws.progress)
        # Spack's index first: a client that sees the new catalog's site finds everything it names.
        spack_changed = indexing.write_spack_index(repository, indexing.spack_index(indexed.catalog))
        changed = indexing.write_catalog(repository, indexed.catalog)
        found.append(reports.index_report(indexed.with_written(changed or spack_changed), repository.name))
    return reports.join(found)


def render(ws: Workspace, to: str = "", out: str = "") -> Report:
    """Render website and API from the catalogs."""
    images = []
    for image in ws.images():
        location = ws.location(to).child(image)
        repository = ws.repository(location)
        catalog = indexing.load_catalog(repository)
        images.append(
            rendering.SiteImage(name=image, mirror_url=_mirror_url(ws, image, location), reference=repository.name, catalog=catalog)
        )
    folder = Path(out).resolve() if out else ws.var / "site"
    count = write_site(folder, rendering.render(ws.settings.site, images, JinjaTemplates(PROJECT / "templates")))
    return Report(lines=(f"render: {count} files in {folder}",))


def verify(ws: Workspace, to: str = "", *, jobs: int = JOBS) -> Report:
    """Check everything the registry holds against everything else."""
    repositories = [ws.repository(ws.location(to).child(image)) for image in ws.images()]
    return reports.join(reports.verify_report(verifying.verify(r, jobs=jobs, progress=ws.progress), r.name) for r in repositories)


def serve(ws: Workspace, port: int = 8000, out: str = "") -> None:
    """Show the rendered site on this machine until interrupted."""
    with serving(Path(out).resolve() if out else ws.var / "site", port) as server:
        ws.progress.say(f"the site is at http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
        server.serve_forever()


def cache(ws: Workspace, specs: Sequence[str] = (), stack_name: str = "", spack_root: str = "", to: str = "") -> Report:
    """The whole road: install, build, push, index, render, verify. A failed build doesn't keep the rest from going out."""
    built = build(ws, specs, stack_name, spack_root)
    return reports.join([built, push(ws, to), index(ws, to), render(ws, to), verify(ws, to)])


def demo(spack_root: str = "") -> Report:
    """The whole road on the examples; where there is no Spack, from the mirror that ships with them."""
    ws = open_workspace(str(EXAMPLES / "cache.yaml"), var=str(PROJECT / "var" / "demo"), shared=str(PROJECT / "var"))
    try:
        install(ws, spack_root=spack_root)
    except InstallError as error:
        ws.progress.say(f"No Spack here ({error.message.splitlines()[0]}), so this walks on with the mirror in examples/mirror.")
        (image,) = ws.images()
        shutil.copytree(EXAMPLES / "mirror", ws.mirror(image).root, dirs_exist_ok=True)
        built = Report(lines=(f"build: left out; {ws.mirror(image).root} is a copy of examples/mirror",))
    else:
        built = build(ws, spack_root=spack_root)
        if built.exit_code == BuildError.exit_code:
            note = "  (broken-clock fails on purpose: a failure is reported, and the rest goes out)"
            built = Report(lines=(*built.lines, note))
    road = reports.join([built, push(ws), index(ws), render(ws), verify(ws)])
    return Report(lines=(*road.lines, *_what_next(ws)), exit_code=road.exit_code)


def _what_next(ws: Workspace) -> Iterator[str]:
    (image,) = ws.images()
    yield ""
    yield "The cache is whole. Look at its site:"
    yield f"  {ws.var / 'site' / 'index.html'}"
    yield "Install from it with any Spack 1.x:"
    yield f"  spack mirror add --unsigned demo file://{ws.mirror(image).root}"
    yield "  spack buildcache list --allarch"
    yield "Build and publish something of your own:"
    yield "  nox -s cache -- --spec bzip2"


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


def _write_mirror(
    ws: Workspace,
    spack: Spack,
    env: Path,
    lock: building.Lock,
    described: Mapping[str, Mapping[str, Any]],
    mirror: DiskMirror,
    location: Location,
) -> int:
    """Write what is installed into the mirror, and the mirror's index anew; return how many entries are new."""
    published: frozenset[str] = frozenset()
    if isinstance(location, RegistryLocation):
        tags = RegistryRepository(location, None).tags()  # read as anybody: a build holds no credentials
        published = frozenset(tag.removesuffix(".spack")[-32:] for tag in tags)
    missing = building.to_mirror(lock, described, (entry.hash for entry in mirror.entries()), published)
    if missing:
        ws.progress.start("write the mirror", len(missing))
        pushed = "] Pushed "
        spack.buildcache_push(
            env, mirror.root, missing, jobs=os.cpu_count() or 1,
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


def _mirrored(ws: Workspace) -> Iterator[tuple[str, tuple[str, Stack]]]:
    found = [(image, named) for image, named in ws.images().items() if ws.mirror(image).entry_paths()]
    if not found:
        raise MirrorError(f"there is nothing to push: {ws.var / 'mirror'} holds no entries", hint="run `inv build` first")
    yield from found


def _push(ws: Workspace, image: str, stack: Stack, location: Location, force: bool, dry_run: bool, jobs: int) -> Report:
    mirror, repository = ws.mirror(image), ws.repository(location)
    plan = pushing.plan_push(mirror.entries(), repository.tags(), force=force)
    if dry_run:
        return reports.plan_report(plan, repository.name)
    bases: dict[str, BaseImage] = {}
    if stack.base_image:
        where, _, reference = stack.base_image.rpartition(":")
        source = ws.repository(parse_location(where, folder=ws.folder))
        for arch in sorted({pushing.architecture(item.entry) for item in plan.to_send()}):
            bases[arch] = pushing.base_image(source, reference, stack.base_image.partition("://")[2] or stack.base_image, arch)
            pushing.copy_base(source, repository, bases[arch])
    outcomes = pushing.push(
        plan,
        mirror,
        repository,
        catalog=_known_catalog(ws, repository),
        bases=bases,
        vendor=ws.settings.vendor,
        jobs=jobs,
        progress=ws.progress,
    )
    return reports.push_report(outcomes, {item.entry.hash: item.entry.label for item in plan.items}, repository.name)


def _known_catalog(ws: Workspace, repository: Repository) -> Catalog:
    """The last catalog; a damaged one is read anew from the tags."""
    try:
        return indexing.load_catalog(repository)
    except CacheError as error:
        ws.progress.say(f"WARNING: the catalog of {repository.name} is left aside: {error.message}")
        return Catalog()


def _mirror_url(ws: Workspace, image: str, location: Location) -> str:
    """What stock Spack takes as a mirror: the registry, or the local mirror where the registry is a directory."""
    return str(location) if isinstance(location, RegistryLocation) else ws.mirror(image).root.as_uri()


def _tree_digest(folder: Path) -> str:
    """What the recipes in a folder say, in one digest."""
    hasher = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            hasher.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()
