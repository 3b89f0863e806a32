"""What a diagnosis makes of cache.yaml, of Spack and of this machine; nothing here needs a network."""

from __future__ import annotations

from collections.abc import Iterator

from cachelib.model.check import Check, Unknown, ok, problem, unchecked, warning
from cachelib.model.config import Settings
from cachelib.model.develop import Code
from cachelib.model.errors import BuildError, CacheError, ConfigError, InstallError
from cachelib.model.github import repository_of
from cachelib.model.machine import Disk, FoundSpack, Machine
from cachelib.model.oci import Location, RegistryLocation
from cachelib.model.stack import Stack, is_release, spack_line
from cachelib.steps.targets import beyond, can_run, family, targets_here

#: Free bytes below which a build fails, or soon will; GitHub promises its runners 14 GB.
LITTLE, SOME = 5 * 10**9, 10 * 10**9
#: The same of inodes: the recipes alone are some ten thousand files.
FEW_INODES, SOME_INODES = 50_000, 200_000
#: The oldest Spack whose mirrors and images are of the layout that is written here.
OLDEST = (1, 0)
_PYTHON = (3, 11)
_PREREQUISITES = "https://spack.readthedocs.io/en/latest/installing_prerequisites.html"
_RUNNERS = "https://docs.github.com/en/actions/reference/runners/github-hosted-runners"
_CONNECT = "https://docs.github.com/en/packages/learn-github-packages/connecting-a-repository-to-a-package"


def settings_check(settings: Settings | ConfigError) -> Check:
    """Whether cache.yaml is right; all mistakes where it isn't."""
    if isinstance(settings, ConfigError):
        return problem("cache.yaml", ConfigError, settings.message, settings.hint)
    count = "one stack" if len(settings.stacks) == 1 else f"{len(settings.stacks)} stacks"
    # The schema takes 40 hex digits and nothing else for a pin.
    return ok("cache.yaml", f"it is right: {count}, Spack and packages pinned by commit")


def code_checks(stack: str, code: tuple[Code, ...] | CacheError) -> Iterator[Check]:
    """Whether the code that a stack builds from checkouts is in commits."""
    if isinstance(code, CacheError):
        yield problem(f"code of {stack}", type(code), code.message, code.hint)
    elif code:
        told = ", ".join(f"{one.name}@{one.version} is commit {one.commit[:12]}" for one in code)
        yield ok(f"code of {stack}", told)


def place_checks(written: str, location: Location, *, on_github: bool, repository: str, by_default: bool) -> Iterator[Check]:
    """Whether the registry, as it is written, is where this repository can publish; `repository` is OWNER/NAME, where known.

    `by_default` says that no registry is written anywhere.
    """
    if not isinstance(location, RegistryLocation):
        there = f"oci://ghcr.io/{repository.lower()}"
        remedy = f"`inv doctor --to {there}` looks at where runs on GitHub publish" if by_default and repository else ""
        yield ok("registry name", f"{location} is a directory: it needs no account", remedy)
        return
    name = written.partition("://")[2]
    if name != name.lower():
        yield warning(
            "registry name",
            f"{written} has capitals; what is published is {location}",
            "write it in lower case: oras, podman and docker refuse capitals",
        )
    else:
        yield ok("registry name", f"{location}")
    if not on_github:
        return
    owner = location.repository.partition("/")[0]
    if not repository:
        yield unchecked("registry owner", "no repository is known to hold it against")
    elif owner != repository.partition("/")[0].lower():
        yield problem(
            "registry owner",
            ConfigError,
            f"the registry belongs to {owner}, this repository to {repository.partition('/')[0]}, whose workflows can't write there",
            f"in cache.yaml, write registry: oci://{location.host}/{repository.lower()}",
            _CONNECT,
        )
    else:
        yield ok("registry owner", f"{owner} owns the registry and this repository")


def source_check(settings: Settings, *, on_github: bool, repository: str, server: str, in_actions: bool) -> Check:
    """Whether packages get linked to this repository."""
    mine = f"{server}/{repository}"
    if settings.source and repository:
        if repository_of(settings.source, server).lower() != repository.lower():
            return problem(
                "source",
                ConfigError,
                f"cache.yaml says {settings.source}, but this is {mine}: packages would be linked to the other one",
                f"in cache.yaml, write source: {mine}",
                _CONNECT,
            )
        return ok("source", f"packages are linked to {mine}")
    if settings.source:
        return unchecked("source", f"no repository is known to hold {settings.source} against")
    if on_github and not in_actions:
        remedy = f"in cache.yaml, write source: {mine if repository else f'{server}/OWNER/REPO'}"
        return warning("source", "it isn't set: packages that are pushed from here are linked to no repository", remedy, _CONNECT)
    return ok("source", f"GitHub Actions tells it: {mine}" if in_actions else "it isn't set, and not needed: it links packages of ghcr.io")


def spack_check(name: str, stack: Stack, found: FoundSpack) -> Check:
    """Whether a stack's Spack is there and new enough, and is the pinned one."""
    what, pinned = f"Spack of stack {name}", stack.spack.version
    line = tuple(map(int, spack_line(pinned)[1:].split("."))) if is_release(pinned) else OLDEST
    newer = "pin v1.0.0 or newer in cache.yaml; packages v2025.07.0 or newer go with it"
    if line < OLDEST:
        return problem(what, InstallError, f"{pinned} is too old: the cache is of Spack 1.0 and newer", newer)
    match found.version:
        case Unknown(reason=reason):
            again = (
                "mend SPACK_ROOT, or unset it to have the pinned one installed"
                if found.given
                else f"delete {found.root}, then `inv install`"
            )
            return problem(what, InstallError, f"the one in {found.root} does not run: {reason}", again)
        case None if found.given:
            remedy = "mend SPACK_ROOT, or unset it to have the pinned one installed"
            return problem(what, InstallError, f"SPACK_ROOT is {found.root}, which holds no Spack (bin/spack)", remedy)
        case None:
            return warning(
                what, f"{pinned} is not installed yet", f"`inv install --stack {name}`; a build does it by itself, with a network"
            )
        case (major, minor, _) if (major, minor) < OLDEST:
            return problem(what, InstallError, f"the one in {found.root} is {found.version[2]}: 1.0 or newer is needed", newer)
        case (_, _, version) if is_release(pinned) and spack_line(version) != spack_line(pinned):
            remedy = "pin the stack to this Spack, or unset SPACK_ROOT to have the pinned one installed"
            return problem(what, InstallError, f"the one in {found.root} is {version}, but the stack is pinned to {pinned}", remedy)
        case (_, _, version) if found.commit and found.commit != stack.spack.commit:
            remedy = "unset SPACK_ROOT to build with the pinned one" if found.given else f"`inv install --stack {name}`"
            return warning(what, f"{version} in {found.root} is commit {found.commit[:12]}, pinned is {stack.spack.commit[:12]}", remedy)
        case (_, _, version):
            return ok(what, f"{version} in {found.root}")


def machine_checks(machine: Machine) -> Iterator[Check]:
    """Whether Spack finds what it needs, and there is room to build."""
    python = ".".join(map(str, machine.python))
    if machine.python < _PYTHON:
        yield problem("Python", InstallError, f"{python} is too old", "use Python 3.11 or newer: `nox -s dev` makes an environment")
    elif not machine.clingo:
        yield problem("Python", InstallError, f"{python} lacks clingo, without which Spack concretizes nothing", "`nox -s dev` installs it")
    else:
        yield ok("Python", f"{python}, with clingo")
    if machine.missing:
        names = ", ".join(machine.missing)
        yield problem(
            "programs", InstallError, f"not found on PATH: {names}", f"install with the system's package manager: {names}", _PREREQUISITES
        )
    else:
        yield ok("programs", "everything that Spack needs is on PATH")
    if machine.compilers:
        yield ok("C compiler", ", ".join(machine.compilers))
    else:
        remedy = "install gcc or clang, with C++ (on Debian: apt install build-essential)"
        yield problem("C compiler", InstallError, "none is found on PATH", remedy, _PREREQUISITES)
    yield from _disk(machine.disk)


def _disk(disk: Disk | Unknown) -> Iterator[Check]:
    if isinstance(disk, Unknown):
        yield unchecked("disk", disk)
        return
    free = f"{disk.free / 1e9:.1f} GB free for {disk.folder}"
    remedy = "free some, or work on a larger disk; hosted runners promise 14 GB, and a job can remove what it doesn't need from them"
    if disk.free < LITTLE:
        yield problem("disk", BuildError, f"{free}: too little to build in", remedy, _RUNNERS)
    elif disk.free < SOME:
        yield warning("disk", f"{free}: little to build in", remedy, _RUNNERS)
    else:
        yield ok("disk", free)
    if disk.inodes is not None and disk.inodes < SOME_INODES:
        words = f"{disk.inodes} more files can be made for {disk.folder}"
        many = "delete folders with many small files, or work on a disk with more inodes (df -i)"
        yield problem("inodes", BuildError, words, many) if disk.inodes < FEW_INODES else warning("inodes", words, many)


def target_check(name: str, stack: Stack, *, machine: str, cpu: str | Unknown) -> Check:
    """Whether this machine builds every target of a stack that is of its family; `machine` is as uname tells it, `cpu` as archspec does."""
    what = f"target of stack {name}"
    if not stack.targets:
        own = f"x86_64_v3 or the like; `{cpu}` is this machine's" if not isinstance(cpu, Unknown) else "x86_64_v3 or the like"
        return warning(
            what, "none is pinned: hosted runners differ in CPU, so every hash may differ from run to run", f"pin one: {own}", _RUNNERS
        )
    here = targets_here(stack.targets, machine)
    if not here:
        return unchecked(what, f"it builds on other machines: {', '.join(stack.targets)} are not of {machine}'s family")
    if isinstance(cpu, Unknown):
        return unchecked(what, cpu)
    above = [target for target in here if beyond(cpu, target)]
    remedy = f"pin a lower target (such as {_lower(cpu)}), or name a `runner` that has {' and '.join(above)}"
    if len(above) == len(here):
        words = f"this runner is {cpu}, below the stack's {' and '.join(above)}: it can't run what it builds"
        return problem(what, BuildError, words, remedy, _RUNNERS)
    runs = ", ".join(target for target in here if target not in above)
    if above:
        return warning(what, f"{runs} are built here; {', '.join(above)} not, as this machine ({cpu}) can't run that", remedy, _RUNNERS)
    return ok(what, f"{runs}, which this machine ({cpu}) runs")


def system_check(name: str, stack: Stack, *, container: str) -> Iterator[Check]:
    """Whether this is the system that a stack is built for, where that is the one of a container; `container` is the one that this is."""
    what = f"system of stack {name}"
    if stack.container and "@sha256:" not in stack.container:
        remedy = f"write its digest behind it: `skopeo inspect --format '{{{{.Digest}}}}' docker://{stack.container}`"
        yield warning(what, f"{stack.container} is a tag: what is built by it tomorrow may be for another system, or compiler", remedy)
    elif stack.container and stack.container == container:
        yield ok(what, f"this is {container}")
    elif stack.container:
        yield unchecked(what, f"it is built in {stack.container} on GitHub; what is built here is for this machine's own system")


def _lower(cpu: str) -> str:
    """The highest of the generic levels that a CPU runs."""
    levels = [f"{family(cpu)}_v{level}" for level in (4, 3, 2)]
    return next((level for level in levels if can_run(cpu, level)), family(cpu))
