"""What a task works on: settings, folders, environment, taken in once."""

from __future__ import annotations

import os
import platform
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cachelib.model.config import Settings
from cachelib.model.errors import UsageError
from cachelib.model.oci import LayoutLocation, Location, RegistryLocation, parse_location
from cachelib.model.ports import Deleter, Progress, Repository
from cachelib.model.stack import Stack
from cachelib.tools.config_file import read_settings
from cachelib.tools.credentials import find_credentials
from cachelib.tools.github_deleter import GitHubDeleter
from cachelib.tools.github_packages import GitHubPackages
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.machine import find_cpu
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.pacer import Pacer, limit_of
from cachelib.tools.progress import make_progress
from cachelib.tools.registry import RegistryRepository

#: The checkout of this project: templates, examples and schemas lie there.
PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "examples"
#: Requests to a registry that are under way at once.
JOBS, MOST_JOBS = 16, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Everything outside that a task depends on, taken in once.

    `folder` holds cache.yaml; `var` takes what tasks make; `shared` takes Spack checkouts and their caches. `machine` is as uname tells
    it, `cpu` as archspec does (empty where it can't).
    """

    settings: Settings
    folder: Path
    var: Path
    shared: Path
    env: Mapping[str, str]
    home: Path
    machine: str
    progress: Progress
    cpu: str = ""

    @property
    def container(self) -> str:
        """The image of the container that this job runs in, as the workflow says; empty where it runs in none, or nobody says so."""
        return self.env.get("JOB_CONTAINER", "")

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
        return parse_location(to or self.registry(), folder=Path.cwd() if to else self.folder)

    def registry(self) -> str:
        """Where the cache is: as CACHE_REGISTRY says, or cache.yaml; else, on GitHub, what belongs to the repository; else a directory."""
        repository = self.env.get("GITHUB_REPOSITORY", "")
        own = f"oci://ghcr.io/{repository.lower()}" if repository and self.env.get("GITHUB_ACTIONS") == "true" else ""
        return self.env.get("CACHE_REGISTRY", "") or self.settings.registry or own or "oci-layout:var/registry"

    def repository(self, location: Location, *, own: bool = True) -> Repository:
        """The repository at a location, with the credentials that are found for it.

        CACHE_REGISTRY_USERNAME and CACHE_REGISTRY_PASSWORD are for the cache's own registry, and never sent to another.
        """
        env = {key: value for key, value in self.env.items() if own or not key.startswith("CACHE_REGISTRY_")}
        match location:
            case LayoutLocation():
                return LayoutRepository(location)
            case RegistryLocation():
                pacer = Pacer(limit_of(location.host, self.settings.requests_per_second if own else 0))
                credentials = find_credentials(location.host, env, self.home)
                return RegistryRepository(location, credentials, connections=MOST_JOBS, pacer=pacer, say=self.progress.say)

    def deleter(self, location: Location, repository: Repository) -> Deleter:
        """What deletes from a repository: itself, or GitHub's API for ghcr.io."""
        if isinstance(location, RegistryLocation) and location.host == "ghcr.io":
            found = find_credentials(location.host, self.env, self.home)
            if found is None:
                raise UsageError(
                    "deleting from ghcr.io needs a login", hint="on GitHub Actions pass GITHUB_TOKEN; elsewhere `docker login ghcr.io`"
                )
            owner, _, package = location.repository.partition("/")
            api = self.env.get("GITHUB_API_URL") or "https://api.github.com"
            return GitHubDeleter(GitHubPackages(api, owner, package, found.password, say=self.progress.say))
        return typing.cast(LayoutRepository | RegistryRepository, repository)

    def source(self) -> str:
        """The web address of the repository that owns the cache: as in cache.yaml, or as GitHub Actions tells it."""
        server, name = self.env.get("GITHUB_SERVER_URL", ""), self.env.get("GITHUB_REPOSITORY", "")
        return self.settings.source or (f"{server}/{name}" if server and name else "")

    def labels(self) -> dict[str, str]:
        """What everything that is published says of its owner."""
        return {key: value for key, value in (("vendor", self.settings.vendor), ("source", self.source())) if value}

    def oci_labels(self) -> dict[str, str]:
        """The same, and where the site is, as annotations of the indexes."""
        site = {"url": self.settings.site.url} if self.settings.site.url else {}
        return {f"org.opencontainers.image.{key}": value for key, value in (self.labels() | site).items()}


def check_jobs(jobs: int) -> None:
    """Raise UsageError for a number of requests at once that can't be meant."""
    if not 1 <= jobs <= MOST_JOBS:
        raise UsageError(f"--jobs is {jobs}", hint=f"from 1 to {MOST_JOBS} requests can be under way at once")


def now() -> str:
    """This moment (RFC 3339, UTC, to the second)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def settings_path(config: str = "") -> Path:
    """The settings file: as told on the command line, else what CACHE_CONFIG names, else cache.yaml."""
    return Path(config or os.environ.get("CACHE_CONFIG") or "cache.yaml").resolve()


def open_workspace(config: str = "", var: str = "", shared: str = "", *, settings: Settings | None = None) -> Workspace:
    """Read cache.yaml, or what CACHE_CONFIG names (or take the settings given in its place), and look around; raise ConfigError.

    CACHE_SHARED names a folder that keeps Spack's checkouts and caches for all workspaces, as on a runner of one's own. A pull request
    has no part in it: what anybody may have written must not lie where the next run takes its Spack from. On GitHub's own runners nothing
    lies any longer than its job.
    """
    kept = os.environ.get("RUNNER_ENVIRONMENT") != "github-hosted"
    anybodys = kept and os.environ.get("GITHUB_EVENT_NAME", "").startswith("pull_request")
    shared = shared or ("" if anybodys else os.environ.get("CACHE_SHARED", ""))
    path = settings_path(config)
    place = Path(var).resolve() if var else path.parent / "var"
    return Workspace(
        settings=settings or read_settings(path),
        folder=path.parent,
        var=place,
        shared=Path(shared).resolve() if shared else place,
        env=dict(os.environ),
        home=Path.home(),
        machine=platform.machine(),
        progress=make_progress(sys.stdout, ci=bool(os.environ.get("CI"))),
        cpu=cpu if isinstance(cpu := find_cpu(), str) else "",
    )
