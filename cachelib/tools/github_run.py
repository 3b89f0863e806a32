"""A run of GitHub Actions by its REST API: its artifacts, its jobs, and the next run."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from cachelib.model.errors import RegistryError, UsageError
from cachelib.tools.github_rest import PUBLIC_API, TIMEOUT, GitHubRest, plain

#: An artifact of more bytes than this is none of ours.
MOST_BYTES = 200 * 10**9
_BLOCK = 1024 * 1024
#: With so many requests left nobody needs to save; who saves, does so for as many workers as a run may have.
_PLENTY, _SHARERS = 300, 20
_HINTS = {
    "^401": "a job's GITHUB_TOKEN dies with its job",
    "^403": "what does the job state under `permissions:`? artifacts and jobs take `actions: read`, a new run `actions: write`, "
    "an answer on an issue `issues: write`",
    "^404": "does the repository or the run exist, and may this token see it?",
    "^422": "does the workflow state `workflow_dispatch`?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a job of the run handed on; `size` is that of its archive in bytes, `digest` sha256:<hex> where GitHub tells it."""

    id: int
    name: str
    size: int
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job of the run. `status` and `conclusion` are GitHub's words: queued, in_progress, completed; success, failure, ...

    `broke_down` says that it failed, though no step of it did: its machine was lost, not a command.
    """

    name: str
    status: str
    conclusion: str
    broke_down: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow of the repository; `state` is GitHub's word: active, disabled_manually, disabled_inactivity, ..."""

    id: int
    path: str
    state: str


class GitHubRun:
    """One run, for one thread."""

    def __init__(self, rest: GitHubRest, repository: str, run_id: str) -> None:
        name = r"[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*"  # never `..`
        if not re.fullmatch(f"{name}/{name}", repository) or not re.fullmatch("[0-9]+", run_id):
            raise UsageError(f"{repository!r} and {run_id!r} name no run", hint="GITHUB_REPOSITORY and GITHUB_RUN_ID do, in a workflow")
        self._rest, self._home = rest, f"repos/{repository}/actions"
        self._run = f"{self._home}/runs/{run_id}"
        self._known: dict[str, tuple[str, Any]] = {}

    def artifact(self, name: str) -> Artifact | None:
        """The newest artifact of a name, if it is there by now.

        Asked for again and again, it costs nothing of the rate limit as long as nothing changed (304).
        """
        found = list(self._artifacts(f"per_page=100&name={quote(name, safe='')}"))
        return max(found, key=lambda artifact: artifact.id, default=None)

    def artifacts(self) -> tuple[Artifact, ...]:
        """All artifacts of the run."""
        return tuple(self._artifacts("per_page=100"))

    def jobs(self) -> tuple[Job, ...]:
        """All jobs of the run, as of their latest attempt."""
        return tuple(
            Job(name=str(item["name"]), status=str(item["status"]), conclusion=str(item["conclusion"] or ""), broke_down=_broke_down(item))
            for item in self._listed(f"{self._run}/jobs?per_page=100&filter=latest", "jobs")
        )

    def download(self, artifact: Artifact, into: Path) -> None:
        """Write the archive of an artifact into a file; raise RegistryError where it isn't what GitHub says it is, time and again."""
        self._rest.patiently(lambda: self._download(artifact, into))

    def _download(self, artifact: Artifact, into: Path) -> None:
        # The address that GitHub sends to is good for a minute, so each try asks for one of its own.
        answer = self._rest.once("GET", f"{self._rest.api}/{self._home}/artifacts/{artifact.id}/zip", 302)
        where = answer.headers.get("Location", "")
        if urlsplit(where).scheme != urlsplit(self._rest.api).scheme:
            raise self._rest.error(f"{artifact.name}: GitHub sends to {plain(where)!r}")
        hasher, size = hashlib.sha256(), 0
        try:
            # The address itself is the permission: the token stays at home.
            with requests.get(where, stream=True, timeout=TIMEOUT) as response, into.open("wb") as file:
                response.raise_for_status()
                for block in response.iter_content(_BLOCK):
                    hasher.update(block)
                    size += len(block)
                    if size > MOST_BYTES:
                        raise self._rest.error(f"{artifact.name}: its archive is larger than {MOST_BYTES} bytes")
                    file.write(block)
        except requests.exceptions.RequestException as error:
            raise self._rest.error(f"{artifact.name} can't be fetched: {type(error).__name__}", temporary=True) from None
        if artifact.digest.startswith("sha256:") and artifact.digest != f"sha256:{hasher.hexdigest()}":
            raise self._rest.error(f"{artifact.name}: what came has another digest than GitHub says", temporary=True)

    def dispatch(self, workflow: str, ref: str, inputs: Mapping[str, str]) -> None:
        """Start a workflow (its file's name) once more; raise RegistryError where it can't be."""
        self._rest.send(
            "POST", f"{self._home}/workflows/{quote(workflow, safe='')}/dispatches", 200, 204, body={"ref": ref, "inputs": dict(inputs)}
        )

    def workflows(self) -> tuple[Workflow, ...]:
        """The workflows of the repository."""
        return tuple(
            Workflow(id=int(item["id"]), path=str(item["path"]), state=str(item["state"]))
            for item in self._listed(f"{self._home}/workflows?per_page=100", "workflows")
        )

    def enable(self, workflow: Workflow) -> None:
        """Switch a workflow on; one that is on stays on, and its 60 days begin anew."""
        self._rest.send("PUT", f"{self._home}/workflows/{workflow.id}/enable", 204)

    def comment(self, issue: int, text: str) -> None:
        """Answer on an issue."""
        self._rest.send("POST", f"{self._home.removesuffix('/actions')}/issues/{issue}/comments", 201, body={"body": text})

    def interval(self, usual: float) -> float:
        """Seconds to the next look: so many that what is left of this hour's requests lasts, for all the workers of a run."""
        if self._rest.remaining >= _PLENTY:
            return usual
        return min(max(usual, (self._rest.reset - time.time()) * _SHARERS / max(self._rest.remaining, 1)), 600.0)

    def _artifacts(self, query: str) -> Iterator[Artifact]:
        for item in self._listed(f"{self._run}/artifacts?{query}", "artifacts"):
            if not item.get("expired"):
                yield Artifact(
                    id=int(item["id"]), name=str(item["name"]), size=int(item["size_in_bytes"]), digest=str(item.get("digest") or "")
                )

    def _listed(self, path: str, key: str) -> list[dict[str, Any]]:
        """A list in pages, each of which is asked for with what is known of it already."""
        found: list[dict[str, Any]] = []
        url = path
        while url:
            tag, body = self._known.get(url, ("", None))
            response = self._rest.send("GET", url, 200, 304, headers={"If-None-Match": tag} if tag else {})
            if response.status_code == 200:
                body = self._parsed(response, key)
                self._known[url] = (response.headers.get("ETag", ""), body)
            items, url = body
            found += items
        return found

    def _parsed(self, response: requests.Response, key: str) -> tuple[list[dict[str, Any]], str]:
        try:
            items = response.json()[key]
            if not isinstance(items, list) or not all(isinstance(item, dict) and isinstance(item["name"], str) for item in items):
                raise TypeError
        except (ValueError, LookupError, TypeError, RecursionError):
            raise self._rest.error(f"{plain(response.url)} answered with something that is no list of {key}") from None
        url = response.links.get("next", {}).get("url", "")
        return items, self._rest.at_home(response.url, url) if url else ""


def _broke_down(job: Mapping[str, Any]) -> bool:
    steps = [step for step in job.get("steps") or () if isinstance(step, dict)]
    return job["conclusion"] in ("failure", "timed_out") and bool(steps) and not any(step.get("conclusion") == "failure" for step in steps)


def open_run(env: Mapping[str, str], say: Callable[[str], None], *, until: float = math.inf) -> GitHubRun:
    """The run that this process is part of; raise UsageError outside of a workflow, RegistryError without a token.

    Nothing of it is waited for past `until` (seconds of the monotonic clock).
    """
    api = env.get("GITHUB_API_URL") or PUBLIC_API
    repository, run = env.get("GITHUB_REPOSITORY", ""), env.get("GITHUB_RUN_ID", "")
    if not repository or not run:
        raise UsageError("this is no run of GitHub Actions", hint="elsewhere, workers share a folder: leave --run out")
    try:
        rest = GitHubRest(api, env.get("GITHUB_TOKEN", ""), repository, hints=_HINTS, say=say, until=until)
    except RegistryError as error:
        raise UsageError(error.message, hint="pass `GITHUB_TOKEN: ${{ github.token }}` in the step's `env:`") from None
    return GitHubRun(rest, repository, run)
