"""What the runner and the API both know: runs, their jobs and artifacts, tokens, and what was asked."""

from __future__ import annotations

import hashlib
import itertools
import re
import secrets
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.actions.records import Artifact, Attestation, Call, Deployment
from tests.support.actions.values import WorkflowError

_NAME = re.compile(r'[":<>|*?\r\n\\/]')
_PATH = re.compile(r'[":<>|*?\r\n]')


class ActionError(Exception):
    """An action failed, and says why."""


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Grant:
    """What a token may: it belongs to one job of one attempt."""

    run: int
    job: str
    permissions: Mapping[str, str]
    used: set[str] = field(default_factory=set)

    def may(self, permission: str, level: str) -> bool:
        """Whether it may; that it was asked for is kept either way."""
        self.used.add(f"{permission}: {level}")
        ranks = ("none", "read", "write")
        return ranks.index(self.permissions.get(permission, "none")) >= ranks.index(level)


@dataclass(slots=True)
class JobRow:
    """A job as the API lists it, while it runs."""

    id: int
    name: str
    attempt: int
    labels: list[str]
    status: str = "queued"
    conclusion: str | None = None
    created: datetime = field(default_factory=now)
    started: datetime | None = None
    ended: datetime | None = None
    #: The conclusions of its steps; of one that goes on, or was cut off, none.
    steps: list[str | None] = field(default_factory=list)


@dataclass(slots=True)
class Fault:
    """The `nth` request that is like this, and those after it so often, are answered so: with a status, or with a body that is `cut`
    off or `other` than it should be."""

    match: str
    nth: int = 1
    times: int = 1
    status: int = 502
    kind: str = "status"
    seen: int = 0

    def hits(self, request: str) -> bool:
        """Count a request; whether it is one of those."""
        if not re.search(self.match, request):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


@dataclass(slots=True)
class RunState:
    """What there is of a run, over its attempts."""

    id: int
    number: int
    sha: str
    workflow: str
    folder: Path
    attempt: int = 1
    jobs: list[JobRow] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)
    attestations: list[Attestation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@dataclass(slots=True)
class State:
    """One repository and its runs. `limit` is of requests; `pages` what the API says of the site, None for no site."""

    repository: str
    folder: Path
    server_url: str
    api_url: str = ""
    pages: dict[str, Any] | None = None
    #: Workflows that are not active, by their files.
    switched: dict[str, str] = field(default_factory=dict)
    limit: int = 1000
    spent: int = 0
    reset: int = 0
    faults: list[Fault] = field(default_factory=list)
    tokens: dict[str, Grant] = field(default_factory=dict)
    runs: dict[int, RunState] = field(default_factory=dict)
    blobs: dict[str, Path] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(9_000_000_001, 7))

    def new_id(self) -> int:
        """A number that nothing else has."""
        with self.lock:
            return next(self.ids)

    def token(self, run: int, job: str, permissions: Mapping[str, str]) -> tuple[str, Grant]:
        """A new token of a job."""
        with self.lock:
            token = f"ghs_{secrets.token_hex(18)}"
            self.tokens[token] = grant = Grant(run, job, dict(permissions))
            return token, grant

    def store(
        self, run: RunState, name: str, files: Mapping[str, Path], job: str, *, overwrite: bool, level: int, days: int | None
    ) -> Artifact:
        """A new artifact; raise ActionError where upload-artifact fails."""
        if not name or (found := _NAME.search(name)):
            raise ActionError(
                f"The artifact name is not valid: {name}. Contains the following character: {found[0] if name and found else ''}"
            )
        for inner in files:
            if found := _PATH.search(inner):
                raise ActionError(
                    f"The path for one of the files in artifact is not valid: {inner}. Contains the following character: {found[0]}"
                )
        number = self.new_id()
        path = run.folder / "_artifacts" / f"{number}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED, compresslevel=level or None) as archive:
            for inner, source in sorted(files.items()):
                archive.writestr(zipfile.ZipInfo(inner), source.read_bytes(), compress_type=archive.compression)
        data = path.read_bytes()
        with self.lock:
            same = [one for one in run.artifacts if one.name == name and one.attempt == run.attempt]
            if same and not overwrite:
                raise ActionError(
                    "Failed to CreateArtifact: Received non-retryable error: Failed request: (409) Conflict: "
                    "an artifact with this name already exists on the workflow run"
                )
            run.artifacts = [one for one in run.artifacts if one not in same]
            artifact = Artifact(
                id=number,
                name=name,
                path=path,
                size=len(data),
                digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
                created=now(),
                attempt=run.attempt,
                job=job,
                retention_days=days,
            )
            run.artifacts.append(artifact)
            return artifact

    def latest(self, run: RunState) -> dict[str, Artifact]:
        """The artifacts of a run by their names, of each the newest: another attempt may have made one of the same name."""
        with self.lock:
            return {artifact.name: artifact for artifact in run.artifacts}

    def run_of(self, number: int) -> RunState:
        """A run by its number."""
        if number not in self.runs:
            raise WorkflowError(f"there is no run {number}")
        return self.runs[number]
