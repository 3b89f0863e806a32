"""The actions that any repository uses: the workflows of the guide as they stand there, and inputs that want to be more than data."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.oci import parse_location
from cachelib.steps.verifying import verify
from cachelib.tools.registry import RegistryRepository
from tests.conftest import need
from tests.e2e.conftest import EXAMPLES, PROJECT
from tests.support.actions.records import RunResult
from tests.support.certificates import Certificates
from tests.support.docker_registry import Server, running
from tests.support.hub import log, make_harness, this_project, track
from tests.support.quiet import QuietProgress


def jobs(run: RunResult) -> dict[str, str]:
    return {name: job.conclusion for name, job in run.jobs.items()}


GUIDE = PROJECT / "docs/how-to/use-the-actions.md"
OURS = "spack-cache/spack-cache"
WORKFLOW = ".github/workflows/w.yml"
#: What the guide's job installs, and here: a library is there to be found, and a program that runs is the proof.
INSTALL = "spack install --use-buildcache auto hdf5"
USE = """|
          spack repo add spack_repo/examples
          spack install --use-buildcache only sundial
          "$(spack location -i sundial)/bin/sundial" 52 172
          . "$SPACK_ROOT/share/spack/setup-env.sh"
          spack env create -d here
          spack env activate here
          spack add sundial
          spack install --use-buildcache only
          sundial 52 172
          if test -e ~/.spack; then echo "somebody wrote to ~/.spack"; exit 1; fi
          if test -n "$pythonLocation"; then echo "somebody took the job's python"; exit 1; fi
        env:
          SSL_CERT_FILE: AUTHORITY"""
#: What an input may hold that wants to be run, to end its line, to be evaluated, or to command the runner.
HOSTILE = (
    "$(touch hacked)",
    "; touch hacked",
    "\n::set-env name=HACKED::y\nHACKED=y\ntouch hacked",
    "${{ github.token }}",
    "::set-env name=HACKED::y",
    "##[add-path]/hacked",
    "--help",
)
#: The nox of the tests' own environment: the same task, without an installation for each of the many calls.
QUICK = """
name: Tools of the cache
description: Those of the tests
runs:
  using: composite
  steps:
    - shell: bash
      run: |
        ln -sfn "$(cd "$GITHUB_ACTION_PATH/../../.." && pwd)" "$RUNNER_TEMP/cache"
        mkdir -p "$RUNNER_TEMP/nox/bin"
        cp "$RUNNER_TEMP/cache/nox.sh" "$RUNNER_TEMP/nox/bin/nox"
"""
INPUTS = [
    *(("setup", name) for name in ("cache", "spack-version", "packages-version", "repos", "path")),
    *(("build", name) for name in ("spec", "stack", "repos", "config")),
    *(("push", name) for name in ("registry", "config")),
    *(("publish-site", name) for name in ("registry", "config")),
]


def guide(first: str) -> str:
    """The workflow of that name in the guide."""
    (found,) = [
        text for text in re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.M | re.S) if f"name: {first}\n" in text
    ]
    return str(found)


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text with something else in some places, each of which must be there."""
    for old, new in changes.items():
        assert old in text, f"the guide says nothing of {old}"
        text = text.replace(old, new)
    return text


def repository(folder: Path, workflow: str) -> Path:
    """A repository that has nothing but a workflow."""
    (folder / WORKFLOW).parent.mkdir(parents=True)
    (folder / WORKFLOW).write_text(workflow, encoding="utf-8")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """This project, at the reference that others call it by."""
    return track(this_project(tmp_path / "project"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    need("docker-registry")
    with running(tmp_path / "server") as found:
        yield found


def test_a_workflow_installs_from_a_cache(project: Path, published: str, certificates: Certificates, tmp_path: Path) -> None:
    use = USE.replace("AUTHORITY", str(certificates.authority))
    folder = repository(tmp_path / "repo", changed(guide("Test"), {"oci://ghcr.io/OWNER/REPO/v1.1": published, INSTALL: use}))
    for path in (EXAMPLES / "spack_repo/examples").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = folder / "spack_repo/examples" / path.relative_to(EXAMPLES / "spack_repo/examples")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    run = make_harness(track(folder), tmp_path, actions={OURS: project}).run(WORKFLOW)
    assert run.conclusion == "success", log(run)
    assert log(run).count("16.50 hours of daylight") == 2, log(run)
    assert "Extracting" in log(run), log(run)


def test_workflows_build_publish_and_show(project: Path, server: Server, workspace: pipeline.Workspace, tmp_path: Path) -> None:
    place = f"{server.url}/owner/cache"
    specs = {"hdf5@1.14 +hl ~mpi": "almanac-data", "zlib-ng": "moonphase ~emoji", "oci://ghcr.io/OWNER/REPO": place}
    folder = repository(tmp_path / "repo", changed(guide("Cache"), specs))
    data = yaml.safe_load((EXAMPLES / "cache.yaml").read_text(encoding="utf-8"))
    data["stacks"]["examples"]["repos"] = [str(EXAMPLES / "spack_repo/examples")]
    (folder / "cache.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    harness = make_harness(track(folder), tmp_path, actions={OURS: project})
    run = harness.run(WORKFLOW)
    assert jobs(run) == {"cache": "success", "publish": "success", "site": "success"}, log(run)
    repository_ = RegistryRepository(parse_location(f"{place}/v1.1", folder=Path()), None)  # type: ignore[arg-type]
    verified = verify(repository_, jobs=4, progress=QuietProgress())
    assert verified.findings == ()
    names = {tag.rsplit("-", 2)[0] for tag in repository_.tags() if tag.endswith(".spack") and tag != "index.spack"}
    assert {"almanac-data", "moonphase"} <= names
    assert run.jobs["publish"].outputs["pushed"] == str(len(names)) == str(verified.images)
    assert run.jobs["cache"].outputs["mirror"].endswith("/var/mirror/v1.1")
    (deployed,) = run.deployments
    assert (deployed.url, run.jobs["site"].url) == ("https://acme.github.io/hub/",) * 2
    assert "moonphase" in (deployed.folder / "index.html").read_text(encoding="utf-8")
    assert (deployed.folder / "docs/how-to/use-the-actions.html").is_file()


@pytest.mark.parametrize(("action", "name"), INPUTS, ids=[f"{action}-{name}" for action, name in INPUTS])
def test_an_input_stays_data(project: Path, workspace: pipeline.Workspace, tmp_path: Path, action: str, name: str) -> None:
    """Each value by itself, in one job; what is no such thing is refused, in words that command nothing."""
    (project / ".github/actions/tools/action.yml").write_text(QUICK, encoding="utf-8")
    (project / "nox.sh").write_text(
        f'#!/bin/sh\nroot=$(dirname "$2"); shift 5\nexec {sys.executable} -m invoke --search-root "$root" "$@"\n'
    )
    (project / "nox.sh").chmod(0o755)
    track(project)
    others = {"cache": "oci://127.0.0.1:9/owner/cache/v1.1"} if action == "setup" and name != "cache" else {}
    # A folder may have a name that begins with two dashes.
    values = [value for value in HOSTILE if (name, value) != ("path", "--help")]
    steps = [
        {
            "uses": f"{OURS}/.github/actions/{action}@v1", "id": f"at{at}", "continue-on-error": True,
            "with": {**others, name: f"${{{{ inputs.v{at} }}}}"},
        }
        for at in range(len(values))
    ]  # fmt: skip
    after = {"id": "after", "if": "always()", "run": 'test -z "$HACKED" && test -z "$SPACK_ROOT" && ! echo "$PATH" | grep hacked'}
    workflow = {
        "on": {"workflow_dispatch": {"inputs": {f"v{at}": {"type": "string"} for at in range(len(values))}}},
        "permissions": {},
        "jobs": {
            "hostile": {
                "runs-on": "ubuntu-24.04", "permissions": {"pages": "write", "id-token": "write"}, "environment": "github-pages",
                "steps": [*steps, after],
            }
        },
    }  # fmt: skip
    folder = repository(tmp_path / "repo", yaml.safe_dump(workflow))
    data = yaml.safe_load((EXAMPLES / "cache.yaml").read_text(encoding="utf-8"))
    (folder / "cache.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    run = make_harness(track(folder), tmp_path, actions={OURS: project}).run(
        WORKFLOW, inputs={f"v{at}": value for at, value in enumerate(values)}
    )
    nothing_happened(run, values, tmp_path)


def nothing_happened(run: RunResult, values: list[str], tmp_path: Path) -> None:
    (job,) = run.jobs.values()
    told = log(run)
    assert job.step("after").outcome == "success", told
    for at, value in enumerate(values):
        step = job.step(f"at{at}")
        assert step.outcome == "failure", (value, told)
        assert "error: " in step.log or "REJECTED" in step.log, (value, told)
        assert set(step.commands) <= {"error", "warning"}, (value, told)
        assert "Traceback" not in step.log, (value, told)
        assert not any("disabled" in complaint for complaint in step.complaints)
    assert "***" not in told, "the token was put in"
    assert not [path for path in (tmp_path / "runs").resolve().rglob("*") if "hacked" in path.name]
