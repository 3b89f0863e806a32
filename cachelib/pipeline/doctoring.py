"""What is wrong with a set-up: gathers facts, each of which may be out of reach, and has them judged."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from cachelib.model.check import Check, Unknown, unchecked
from cachelib.model.config import Settings
from cachelib.model.errors import CacheError, ConfigError, RegistryError
from cachelib.model.github import PUBLIC_SERVER, is_repository, package_page, repository_of
from cachelib.model.machine import FoundSpack
from cachelib.model.oci import LayoutLocation, RegistryLocation
from cachelib.model.stack import Stack
from cachelib.pipeline.developing import code_of
from cachelib.pipeline.doctoring_github import ask_github
from cachelib.pipeline.signing import check_signing
from cachelib.pipeline.workspace import open_workspace
from cachelib.steps import doctor_reports, github_checks, local_checks, registry_checks
from cachelib.steps.registry_checks import Place
from cachelib.steps.reports import Report
from cachelib.tools import git
from cachelib.tools.credentials import Credentials, find_credentials
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.machine import look_at_machine
from cachelib.tools.pacer import Pacer, limit_of
from cachelib.tools.registry import RegistryRepository
from cachelib.tools.registry_login import takes_login
from cachelib.tools.spack import Folders, Spack

T = TypeVar("T")

#: The registry whose packages belong to owners of repositories on GitHub.
GHCR = "ghcr.io"
#: Requests at once; a diagnosis reads little.
_JOBS = 4
_OFFLINE = "--offline: it needs a network"


def doctor(config: str = "", to: str = "", *, offline: bool = False) -> Report:
    """Check all that a cache depends on; with `offline`, what needs no network."""
    run = _Doctor(config, to, offline=offline)
    return doctor_reports.doctor_report(tuple(run.checks()), str(run.folder))


class _Doctor:
    """One diagnosis: what several checks need is found out once."""

    def __init__(self, config: str, to: str, *, offline: bool) -> None:
        self._to, self._offline = to, offline
        self._settings: Settings | ConfigError
        try:
            self._ws = open_workspace(config)
            self._settings = self._ws.settings
        except ConfigError as error:
            # What doesn't depend on cache.yaml is looked at all the same.
            self._ws, self._settings = open_workspace(config, settings=Settings(stacks={})), error
        self.folder = self._ws.folder
        self._location = self._ws.location(to)
        self._server = (self._ws.env.get("GITHUB_SERVER_URL") or PUBLIC_SERVER).rstrip("/")
        self._repository = self._find_repository()
        self._on_github = isinstance(self._location, RegistryLocation) and self._location.host == GHCR

    def checks(self) -> Iterator[Check]:
        """All checks, in the order in which they are printed."""
        ws, settings = self._ws, self._settings
        yield local_checks.settings_check(settings)
        name = self._repository if isinstance(self._repository, str) else ""
        if isinstance(settings, Settings):
            written = self._to or ws.registry()
            yield from local_checks.place_checks(
                written, self._location, on_github=self._on_github, repository=name, by_default=not (self._to or settings.registry)
            )
            in_actions = bool(ws.env.get("GITHUB_REPOSITORY"))
            yield local_checks.source_check(
                settings, on_github=self._on_github, repository=name, server=self._server, in_actions=in_actions
            )
            for stack_name, stack in settings.stacks.items():
                yield local_checks.spack_check(stack_name, stack, self._spack(stack))
                if stack.develop or stack.environment:
                    yield from local_checks.code_checks(stack_name, _tried(partial(code_of, ws, stack), CacheError))
        if isinstance(settings, Settings):
            yield from check_signing(ws)
        machine = look_at_machine(ws.var, ws.env)
        yield from local_checks.machine_checks(machine)
        for stack_name, stack in ws.settings.stacks.items():
            yield local_checks.target_check(stack_name, stack, machine=ws.machine, cpu=machine.target)
            yield from local_checks.system_check(stack_name, stack, container=ws.container)
        if isinstance(settings, ConfigError):
            yield unchecked("Spack, targets, registry", "cache.yaml has to be mended first")
        yield from self._remote()

    def _remote(self) -> Iterator[Check]:
        facts = None
        packages: dict[str, str] = {}
        if isinstance(self._location, RegistryLocation) and self._on_github:
            owner, _, parent = self._location.repository.partition("/")
            packages = {image: f"{parent}/{image}".lstrip("/") for image in self._ws.images()}
        if not self._offline and isinstance(self._repository, str):
            facts = ask_github(self._ws.env, self._repository, owner if packages else "", packages)
        kind = getattr(facts.repository, "owner_kind", "") if facts else ""
        pages = {image: package_page(self._server, kind, owner, package) for image, package in packages.items()}
        known = {image for image, package in facts.packages.items() if package and not isinstance(package, Unknown)} if facts else set()
        yield from self._registry(pages, known)
        if self._offline:
            yield unchecked("GitHub", _OFFLINE)
        elif facts is None or isinstance(self._repository, Unknown):
            yield unchecked("GitHub", self._repository if isinstance(self._repository, Unknown) else "no repository is known")
        else:
            home = f"{self._server}/{self._repository}"
            yield from github_checks.github_checks(
                facts, asked=self._repository, home=home, site=self._ws.settings.site.url, on_github=self._on_github, pages=pages
            )

    def _find_repository(self) -> str | Unknown:
        """OWNER/NAME of the repository on GitHub that this is."""
        if told := self._ws.env.get("GITHUB_REPOSITORY", ""):
            return told if is_repository(told) else Unknown(reason="GITHUB_REPOSITORY is not OWNER/NAME")
        try:
            origin = git.origin(self._ws.folder, self._ws.env)
        except CacheError as error:
            return Unknown(reason=f"the remote origin isn't known: {error.message}")
        for address in (origin, self._ws.settings.source):
            if name := repository_of(address, self._server):
                return name
        return Unknown(reason=f"no repository on {self._server} is known: neither GITHUB_REPOSITORY nor the remote origin names one")

    def _spack(self, stack: Stack) -> FoundSpack:
        given = self._ws.env.get("SPACK_ROOT", "")
        root = Path(given) if given else self._ws.shared / "spack" / stack.spack.commit[:12]
        if not (root / "bin" / "spack").is_file():
            return FoundSpack(root=str(root), given=bool(given), commit="", version=None)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)  # Spack writes where it is told to: a diagnosis leaves nothing behind
            folders = Folders(config=place / "config", store=place / "store", stage=place / "stage", cache=place / "cache", padding=0)
            spack = Spack(root, folders, python=sys.executable, env=self._ws.env)
            version = _tried(spack.version, CacheError)
        commit = _tried(lambda: git.head(root, self._ws.env), CacheError)
        return FoundSpack(
            root=str(root), given=bool(given), commit=commit if isinstance(commit, str) else "",
            version=Unknown(reason=version.message) if isinstance(version, CacheError) else version,
        )  # fmt: skip

    def _registry(self, pages: dict[str, str], known: set[str]) -> Iterator[Check]:
        location = self._location
        if isinstance(location, LayoutLocation):
            for image in self._ws.images():
                layout = LayoutRepository(location.child(image))
                tags = _tried(layout.tags, RegistryError)
                if isinstance(tags, RegistryError):
                    yield unchecked(f"index of {image}", tags.message)
                else:
                    yield registry_checks.index_check(image, layout, tags, jobs=_JOBS)
        elif self._offline:
            yield unchecked(f"registry {location.host}", _OFFLINE)
        elif self._ws.settings.stacks:
            yield from self._online(location, pages, known)

    def _online(self, location: RegistryLocation, pages: dict[str, str], known: set[str]) -> Iterator[Check]:
        found = find_credentials(location.host, self._ws.env, self._ws.home)
        pacer = Pacer(limit_of(location.host, self._ws.settings.requests_per_second))

        def opened(image: str, credentials: Credentials | None) -> RegistryRepository:
            return RegistryRepository(location.child(image), credentials, pacer=pacer, attempts=1)

        down = None
        for image in self._ws.images():
            place = Place(image=image, page=pages.get(image, ""))
            repository = opened(image, None)
            tags = down or _tried(repository.tags, RegistryError)
            member = None
            if isinstance(tags, RegistryError) and (tags.status == 0 or tags.retry_after is not None):
                down = tags  # nobody there, or it has had enough of us: the others would only wait for it too
            if registry_checks.is_denial(tags) and found:
                repository = opened(image, found)
                member = _tried(repository.tags, RegistryError)
            yield registry_checks.reading_check(place, tags, member, known=image in known)
            seen = tags if isinstance(tags, frozenset) else member
            if isinstance(seen, frozenset):
                yield registry_checks.index_check(image, repository, seen, jobs=_JOBS)
            else:
                yield unchecked(f"index of {image}", "the registry can't be read")
        first = next(iter(self._ws.images()))
        taken = down or (_tried(lambda: takes_login(location.child(first), found), RegistryError) if found else None)
        yield registry_checks.login_check(location.host, found.source if found else "", taken, on_github=self._on_github)


E_ = TypeVar("E_", bound=CacheError)


def _tried(step: Callable[[], T], kind: type[E_]) -> T | E_:
    """What a step gives, or the error that it raises."""
    try:
        return step()
    except kind as error:
        return error
