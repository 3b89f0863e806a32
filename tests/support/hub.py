"""A repository on GitHub, played on this machine: this project as a template, or called from another repository."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from cachelib.model.oci import RegistryLocation, parse_location
from cachelib.steps.verifying import verify
from cachelib.tools.registry import RegistryRepository
from tests.support.actions.harness import Harness
from tests.support.actions.records import RunResult
from tests.support.docker_registry import Server
from tests.support.quiet import QuietProgress

PROJECT = Path(__file__).resolve().parents[2]
SHARED = PROJECT / "var"
EXAMPLES = PROJECT / "examples"
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
        assert isinstance(location, RegistryLocation)
        return RegistryRepository(location, None)

    def published(self) -> set[str]:
        """The packages in the registry, after all of it was found whole."""
        repository = self.repository()
        if not repository.tags():
            return set()
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
    data["provenance"] = True
    return yaml.safe_dump(data, sort_keys=False)


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
