"""What is left of a run: frozen records of jobs, steps, artifacts and what was done through the API."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """An error, a warning or a notice that a line of a log made."""

    level: str
    text: str
    title: str = ""
    file: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step; `commands` are the names of all commands in its log, `complaints` what the runner itself said of it.

    `steps` are those of a composite action; their logs, annotations and summaries are in this one, too.
    """

    name: str
    id: str
    outcome: str
    conclusion: str
    log: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    annotations: tuple[Annotation, ...] = ()
    commands: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    summary: str = ""
    steps: tuple[StepResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """A job on a runner of its own; a skipped one has no steps. `used` are the permissions that its token was asked for."""

    id: str
    name: str
    conclusion: str
    attempt: int = 1
    number: int = 0
    outputs: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepResult, ...] = ()
    matrix: Mapping[str, Any] | None = None
    permissions: Mapping[str, str] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    environment: str = ""
    url: str = ""
    runs_on: Any = None
    concurrency: str = ""
    timeout_minutes: float | None = None
    complaints: tuple[str, ...] = ()
    folder: Path | None = None
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def log(self) -> str:
        """The logs of all steps."""
        return "".join(step.log for step in self.steps)

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """Those of all steps."""
        return tuple(annotation for step in self.steps for annotation in step.annotations)

    @property
    def summary(self) -> str:
        """The page of the job: the summaries of its steps, one below the other."""
        return "\n".join(step.summary for step in self.steps if step.summary)

    def step(self, name: str) -> StepResult:
        """A step by its id or its name."""
        return next(step for step in self.steps if name in (step.id, step.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An artifact: nobody changes it, it can only be replaced."""

    id: int
    name: str
    path: Path
    size: int
    digest: str
    created: datetime
    attempt: int
    job: str
    retention_days: int | None = None

    def files(self) -> dict[str, bytes]:
        """What is in it."""
        with zipfile.ZipFile(self.path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def unpack(self, target: Path) -> None:
        """Lay it out in a folder; modes don't survive, as with GitHub's."""
        target.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(self.path) as archive:
            archive.extractall(target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A site that was deployed, in a folder."""

    url: str
    folder: Path
    job: str
    environment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """Whose provenance was signed: names with their `sha256:` digests."""

    subjects: tuple[tuple[str, str], ...]
    job: str
    inputs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What was done through the API: the kind (dispatch, enable, comment, label, unlabel), of what, and the body."""

    kind: str
    target: str
    body: Mapping[str, Any]
    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run, as it stood after one attempt; jobs by the name that is displayed."""

    id: int
    number: int
    attempt: int
    name: str
    conclusion: str
    jobs: Mapping[str, JobResult]
    artifacts: Mapping[str, Artifact]
    deployments: tuple[Deployment, ...]
    attestations: tuple[Attestation, ...]
    calls: tuple[Call, ...]
    requests: tuple[str, ...]
    folder: Path
    concurrency: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def dispatches(self) -> tuple[Call, ...]:
        """Workflows that were started by hand through the API."""
        return tuple(call for call in self.calls if call.kind == "dispatch")

    @property
    def summary(self) -> str:
        """The summaries of all jobs, in the order of their ends."""
        jobs = sorted((job for job in self.jobs.values() if job.ended), key=lambda job: str(job.ended))
        return "\n".join(job.summary for job in jobs if job.summary)
