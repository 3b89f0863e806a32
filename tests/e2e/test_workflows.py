"""The workflows as they stand, run on this machine: from an empty repository to a cache that is whole, killed and hostile runs too."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.oci import parse_location
from cachelib.steps.verifying import verify
from cachelib.tools.registry import RegistryRepository
from tests.conftest import need
from tests.e2e.conftest import EXAMPLES, PROJECT, SHARED
from tests.support.actions.harness import Harness
from tests.support.actions.records import RunResult
from tests.support.actions.settings import StepInfo
from tests.support.docker_registry import Server, running
from tests.support.quiet import QuietProgress

#: All of the examples but the one that is broken, and their build tools.
WHOLE = {"compiler-wrapper", "gcc-runtime", "libsundial", "almanac-data", "sundial", "moonphase", "py-almanac"}
BUILD_CACHE = ".github/workflows/build-cache.yml"
#: What a person would write into a repository of their own.
CALLER = """
name: Cache
on:
  push: {branches: [main]}
  schedule: [{cron: "17 3 * * *"}]
  workflow_dispatch:
  pull_request:
permissions: {}
jobs:
  cache:
    permissions: {contents: read, actions: write, packages: write, id-token: write, attestations: write, artifact-metadata: write, pages: write}
    uses: spack-cache/spack-cache/.github/workflows/build-cache.yml@v1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A repository on its way to a cache: its harness, and where its images lie."""

    harness: Harness
    registry: Server
    image: str

    def repository(self) -> RegistryRepository:
        location = parse_location(self.image, folder=Path())
        return RegistryRepository(location, None)  # type: ignore[arg-type]

    def published(self) -> set[str]:
        """The packages in the registry, after all of it was found whole."""
        repository = self.repository()
        assert verify(repository, jobs=4, progress=QuietProgress()).findings == ()
        return {tag.rsplit("-", 2)[0] for tag in repository.tags() if tag.endswith(".spack") and tag != "index.spack"}


def track(folder: Path) -> Path:
    """Make git know all files of a folder, as a repository on GitHub does."""
    for command in (["init", "-q"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def this_project(folder: Path) -> Path:
    """What `Use this template` copies: the files of this project that git knows, as they are now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=PROJECT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, folder / name)
    (folder / ".ci/run").chmod(0o755)
    return folder


def settings(registry: str, repos: str) -> str:
    """A cache.yaml that builds the examples, with so much beside each other that three workers are worth while."""
    data = yaml.safe_load((EXAMPLES / "cache.yaml").read_text(encoding="utf-8"))
    stack = data["stacks"]["examples"]
    stack["repos"] = [repos]
    stack["workers"] = 3
    stack["targets"] = ["x86_64_v3" if platform.machine() == "x86_64" else "aarch64"]  # there is one runner here
    stack["specs"] = [*stack["specs"], "moonphase ~emoji"]
    data["registry"] = registry
    return yaml.safe_dump(data, sort_keys=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    need("docker-registry")
    with running(tmp_path / "server", counted=True) as found:
        yield found


@pytest.fixture
def template(workspace: pipeline.Workspace, server: Server, tmp_path: Path) -> Place:
    """This project, used as a template."""
    folder = this_project(tmp_path / "template")
    (folder / "cache.yaml").write_text(settings(f"{server.url}/owner/cache", "examples/spack_repo/examples"), encoding="utf-8")
    return Place(harness=make_harness(track(folder), tmp_path), registry=server, image=f"{server.url}/owner/cache/v1.1")


def make_harness(folder: Path, tmp_path: Path, **more: object) -> Harness:
    """Spack lies where it was installed once, as on a runner of one's own; everything else is each job's own."""
    env = {"CACHE_SHARED": str(SHARED), "PIP_CACHE_DIR": str(tmp_path / "pip"), "CACHE_INTERVAL": "1"}
    env |= {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_"))}
    # A short name: Spack can't write a script's first line with a longer path than 127 characters.
    home = Path(tempfile.mkdtemp(prefix="w", dir="/tmp"))
    (tmp_path / "runs").symlink_to(home)
    return Harness(folder, home, env=env, **more)  # type: ignore[arg-type]


def log(run: RunResult) -> str:
    """All that was said, for a test that fails."""
    return "\n".join(f"=== {name}: {job.conclusion}\n{job.log}" for name, job in run.jobs.items())


def workers(run: RunResult) -> list[str]:
    return sorted(name for name in run.jobs if "build (examples on " in name)


def conclusions(run: RunResult, without: list[str]) -> dict[str, str]:
    return {name: job.conclusion for name, job in run.jobs.items() if name not in without}


def test_the_template_from_nothing_to_a_cache_and_a_site(template: Place) -> None:
    run = template.harness.run(BUILD_CACHE, event="workflow_dispatch")
    assert len(workers(run)) == 3, log(run)
    # The broken package makes its worker red, and nothing else.
    assert sorted(run.jobs[name].conclusion for name in workers(run)) == ["failure", "success", "success"], log(run)
    assert conclusions(run, workers(run)) == {
        "runners": "success", "plan (ubuntu-24.04)": "success", "schedule": "success", "publish": "success", "site / deploy": "success",
        "again": "skipped",
    }, log(run)  # fmt: skip
    assert template.published() == WHOLE
    # All that was published is attested, by digest; the site shows it; the failure is told where people look.
    (attestation,) = run.attestations
    repository = template.repository()
    found = {repository.manifest(tag) for tag in repository.tags() if tag.endswith(".spack") and tag != "index.spack"}
    assert {digest for _, digest in attestation.subjects} == {str(raw.digest) for raw in found if raw is not None}
    (site,) = run.deployments
    assert "moonphase" in (site.folder / "index.html").read_text(encoding="utf-8")
    (annotation,) = run.jobs["publish"].annotations
    assert (annotation.level, "broken-clock" in annotation.title, "no_such_variable" in annotation.text) == ("error", True, True)
    assert "https://github.com/spack/spack-packages/issues/new?title=" in run.jobs["publish"].summary
    assert "section Worker 1" in run.jobs["plan (ubuntu-24.04)"].summary

    # Again, with nothing changed: nothing is concretized or built, and hardly anything asked. What failed is not tried each night.
    before = template.registry.requests()
    again = template.harness.run(BUILD_CACHE, event="schedule")
    assert conclusions(again, []) == {
        "runners": "success", "plan (ubuntu-24.04)": "success", "schedule": "success", "${{ matrix.name }}": "skipped",
        "publish": "skipped", "site": "skipped", "again": "skipped",
    }, log(again)  # fmt: skip
    said = again.jobs["plan (ubuntu-24.04)"].log
    assert "the concretization of stack examples is remembered" in said, said
    assert "concretizing" not in said
    assert "Spack v1.1.0 in" not in said  # it isn't even installed
    assert "failing  broken-clock" in said
    assert template.registry.requests() - before < 20


def test_fifteen_lines_in_a_repository_of_ones_own(workspace: pipeline.Workspace, server: Server, tmp_path: Path) -> None:
    """A pull request builds and publishes nothing; a run whose worker dies leaves a cache that works, and the next one ends it."""
    folder = tmp_path / "own"
    (folder / ".github/workflows").mkdir(parents=True)
    (folder / ".github/workflows/cache.yml").write_text(CALLER)
    shutil.copytree(EXAMPLES / "spack_repo", folder / "spack_repo", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "cache.yaml").write_text(settings(f"{server.url}/me/own", "spack_repo/examples"), encoding="utf-8")
    killed: list[str] = []

    def kill(job: str, step: StepInfo, outcome: str) -> None:
        # The machine of the first worker that handed something on goes away.
        if not killed and "build (examples on " in job and outcome == "success" and "slot" in step.uses:
            killed.append(job)
            harness.kill(job)

    harness = make_harness(
        track(folder), tmp_path, repository="me/own", actions={"spack-cache/spack-cache": track(this_project(tmp_path / "project"))}
    )
    place = Place(harness=harness, registry=server, image=f"{server.url}/me/own/v1.1")
    pull = {"pull_request": {"head": {"repo": {"full_name": "stranger/own"}}, "base": {"repo": {"full_name": "me/own"}}}}
    run = harness.run(".github/workflows/cache.yml", event="pull_request", payload=pull)
    assert len(workers(run)) == 3, log(run)
    assert {name.rpartition(" / ")[2]: how for name, how in conclusions(run, workers(run)).items()} == {
        "runners": "success", "plan (ubuntu-24.04)": "success", "schedule": "success", "publish": "skipped", "site": "skipped",
        "again": "skipped",
    }, log(run)  # fmt: skip
    assert place.repository().tags() == frozenset()

    harness.settings.after_step = kill
    run = harness.run(".github/workflows/cache.yml", event="push")
    assert killed, log(run)
    assert run.jobs[killed[0]].conclusion == "failure"
    assert run.jobs["cache / publish"].conclusion == "success", log(run)
    part = place.published()
    assert part < WHOLE
    # There is work left and some was done, so the run started the next one by itself.
    assert [call.target for call in run.dispatches] == ["cache.yml"], log(run)

    harness.settings.after_step = None
    run = harness.run(".github/workflows/cache.yml", event="workflow_dispatch")
    assert place.published() == WHOLE, log(run)
    assert run.dispatches == ()
