"""What a harness is set to, and what a run of it shares between its jobs."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.support.actions.containers import Image
from tests.support.actions.control import Control, Groups
from tests.support.actions.permissions import Permissions
from tests.support.actions.records import JobResult
from tests.support.actions.state import RunState, State
from tests.support.actions.values import Value, WorkflowError


@dataclass(frozen=True, slots=True)
class Origin:
    """A repository at a commit: where a file comes from decides what `$/` in it means."""

    name: str
    folder: Path
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInfo:
    """A step that is about to run, for hooks."""

    number: int
    id: str
    name: str
    uses: str
    run: str
    workspace: Path
    attempt: int


class Action(Protocol):
    """What a stand-in gets: its inputs, its place, and where its outputs go. It fails with ActionError."""

    inputs: dict[str, str]
    outputs: dict[str, str]

    @property
    def shared(self) -> Shared: ...
    @property
    def workspace(self) -> Path: ...
    @property
    def temp(self) -> Path: ...
    @property
    def job(self) -> str: ...
    @property
    def permissions(self) -> Permissions: ...
    @property
    def environment(self) -> str: ...
    @property
    def token(self) -> str: ...

    def say(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def add_path(self, folder: Path) -> None: ...
    def set_env(self, name: str, value: str) -> None: ...
    def inside(self, path: Path) -> str: ...
    def need(self, permission: str, level: str) -> None: ...
    def accept(self, *names: str, **defaults: str) -> None: ...


StandIn = Callable[[Action], None]
Hook = Callable[[str, StepInfo], None]


@dataclass(slots=True, kw_only=True)
class Settings:
    """See Harness."""

    repo: Origin
    home: Path
    state: State
    actions: Mapping[str, Path]
    standins: Mapping[str, StandIn]
    env: Mapping[str, str]
    variables: Mapping[str, str]
    sha: str
    ref: str
    actor: str
    runners: int
    minute: float
    grace: tuple[float, float]
    python: str
    default_permissions: Permissions
    images: Mapping[str, Image] = field(default_factory=dict)
    before_step: Hook | None = None
    after_step: Callable[[str, StepInfo, str], None] | None = None
    on_line: Callable[[str, StepInfo, str], None] | None = None

    def origin(self, name: str, ref: str) -> Origin | None:
        """A repository that the test gave, by its name."""
        if name.lower() == self.repo.name.lower():
            return Origin(self.repo.name, self.repo.folder, ref)
        return next((Origin(known, folder, ref) for known, folder in self.actions.items() if known.lower() == name.lower()), None)


@dataclass(slots=True)
class Member:
    """How one job of an id ended: what `needs` makes of it, and the jobs that it led to."""

    name: str
    result: str
    outputs: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Shared:
    """One attempt of a run. `kept` is what an attempt before leaves of each job id (with its callers)."""

    settings: Settings
    run: RunState
    event: str
    payload: Mapping[str, Any]
    workflow: str
    workflow_name: str
    fork: bool
    control: Control
    slots: threading.Semaphore
    groups: Groups
    members: dict[tuple[str, str], list[Member]] = field(default_factory=dict)
    results: dict[str, JobResult] = field(default_factory=dict)
    previous: Mapping[tuple[str, str], list[Member]] = field(default_factory=dict)
    previous_results: Mapping[str, JobResult] = field(default_factory=dict)
    controls: list[Control] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: int = 0

    def number(self) -> int:
        """The next number of a job."""
        with self.lock:
            self.numbers += 1
            return self.numbers

    def keep(self, result: JobResult) -> None:
        """Keep what a job came to; of two with one name, the second is told apart."""
        with self.lock:
            name, times = result.name, 1
            while name in self.results:
                times += 1
                name = f"{result.name} #{times}"
            self.results[name] = result

    def provide(self, origin: Origin) -> Path:
        """The whole copy of a repository, in which its actions lie: outside of every workspace."""
        target = self.run.folder / "_actions" / origin.name / origin.ref.replace("/", "-")
        with self.lock:
            if not target.exists():
                copy_repository(origin.folder, target)
        return target

    def github(self) -> dict[str, Value]:
        """The `github` context, as far as all jobs have the same."""
        settings, run = self.settings, self.run
        pull = self.payload.get("pull_request") or {}
        ref, number = settings.ref, pull.get("number", self.payload.get("number"))
        if self.event == "pull_request" and number is not None:
            ref = f"refs/pull/{number}/merge"
        short = ref.split("/", 2)[2] if ref.count("/") >= 2 else ref
        owner = settings.repo.name.split("/")[0]
        return {
            "event_name": self.event,
            "event": dict(self.payload),
            "repository": settings.repo.name,
            "repository_owner": owner,
            "repositoryUrl": f"git://github.com/{settings.repo.name}.git",
            "ref": ref,
            "ref_name": short,
            "ref_type": "tag" if ref.startswith("refs/tags/") else "branch",
            "ref_protected": False,
            "head_ref": (pull.get("head") or {}).get("ref", "") if self.event.startswith("pull_request") else "",
            "base_ref": (pull.get("base") or {}).get("ref", "") if self.event.startswith("pull_request") else "",
            "sha": settings.sha,
            "actor": settings.actor,
            "triggering_actor": settings.actor,
            "workflow": self.workflow_name,
            "workflow_ref": f"{settings.repo.name}/{self.workflow}@{ref}",
            "workflow_sha": settings.sha,
            "run_id": str(run.id),
            "run_number": str(run.number),
            "run_attempt": str(run.attempt),
            "retention_days": "90",
            "server_url": settings.state.server_url,
            "api_url": settings.state.api_url,
            "graphql_url": f"{settings.state.api_url}/graphql",
        }


def tracked(folder: Path) -> list[str]:
    """The files of a repository that git knows; without git all but what no repository holds."""
    if (folder / ".git").exists():
        done = subprocess.run(["git", "-C", str(folder), "ls-files", "-z"], check=True, capture_output=True)
        return [name for name in done.stdout.decode().split("\0") if name and (folder / name).is_symlink() | (folder / name).exists()]
    hidden = {".git", "var", ".nox", ".venv", "__pycache__"}
    paths = (path for path in folder.rglob("*") if not hidden & set(path.relative_to(folder).parts))
    return sorted(str(path.relative_to(folder)) for path in paths if path.is_symlink() or path.is_file())


def copy_repository(folder: Path, target: Path) -> None:
    """A copy of a repository's files."""
    target.mkdir(parents=True, exist_ok=True)
    for name in tracked(folder):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder / name, target / name, follow_symlinks=False)


def read_uses(uses: str, origin: Origin, settings: Settings) -> tuple[Origin, str] | None:
    """The repository and the path that `uses:` means; None for an action that only a stand-in can be. Raise WorkflowError for others."""
    if uses.startswith("$/"):
        return origin, uses[2:]
    name, at, ref = uses.partition("@")
    parts = name.split("/")
    if not at or not ref or len(parts) < 2 or uses.startswith("docker:"):
        raise WorkflowError(f"`uses: {uses}`: OWNER/NAME[/PATH]@REF, $/PATH or ./PATH was expected")
    if found := settings.origin("/".join(parts[:2]), ref):
        return found, "/".join(parts[2:])
    if len(ref) != 40 or set(ref) - set("0123456789abcdef"):
        raise WorkflowError(f"`uses: {uses}`: an action of others is pinned to the 40 digits of a commit")
    if name not in settings.standins:
        raise WorkflowError(f"`uses: {uses}`: there is no stand-in for {name}")
    return None
