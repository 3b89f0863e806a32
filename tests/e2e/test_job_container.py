"""A stack whose jobs run in a container is built for the system of that container, by real programs of that system."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from cachelib import pipeline
from tests.e2e.conftest import CLIENTS, EXAMPLES, SHARED
from tests.e2e.test_stock_spack import spec_file
from tests.support.actions.containers import Container, Image
from tests.support.debian import OS
from tests.support.docker_registry import Server
from tests.support.hub import BUILD_CACHE, Place, log, make_harness, settings, this_project, track

#: Whoever pins it by digest has its concretization remembered.
IMAGE = f"docker.io/library/debian:13@sha256:{'5' * 64}"

#: A job of one's own in a container, as docs/how-to/use-the-actions.md has it.
OWN = """
name: Own
on: [workflow_dispatch]
permissions: {}
jobs:
  cache:
    runs-on: ubuntu-24.04
    container: debian:13
    env:
      JOB_CONTAINER: debian:13
    permissions:
      contents: read
    steps:
      - uses: spack-cache/spack-cache/.github/actions/container@v1
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          persist-credentials: false
      - uses: spack-cache/spack-cache/.github/actions/build@v1
        id: build
        with:
          spec: almanac-data
      - uses: actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0
        with:
          name: mirror
          path: ${{ steps.build.outputs.mirror }}
"""


@pytest.fixture
def python(debian: Image, tmp_path: Path) -> Iterator[str]:
    """A line of .github/actions/tools/python.txt: the python of the tests, which the container sees, in place of one from the internet."""
    assert debian
    (tmp_path / "web").mkdir()
    (tmp_path / "packed/python/bin").mkdir(parents=True)
    (tmp_path / "packed/python/bin/python3").symlink_to(Path(sys.base_prefix).resolve() / "bin/python3")
    with tarfile.open(tmp_path / "web/python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "packed/python", "python")
    digest = hashlib.sha256((tmp_path / "web/python.tar.gz").read_bytes()).hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{platform.machine()} {digest} http://127.0.0.1:{server.server_port}/python.tar.gz\n"
        server.shutdown()


def contained(template: Place, image: Image, python: str) -> Place:
    """The template with one stack that is built in that image, and one beside it that is not."""
    (template.harness.settings.repo.folder / ".github/actions/tools/python.txt").write_text(python, encoding="utf-8")
    path = template.harness.settings.repo.folder / "cache.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    stack = data["stacks"]["examples"] | {"specs": ["sundial"], "workers": 1}
    stack.pop("externals", None)
    data["stacks"] = {
        "other": stack | {"container": IMAGE, "system_packages": ["less"]},
        "own": stack | {"specs": ["almanac-data"]},
    }
    data["provenance"] = False
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    template.harness.settings.images = {IMAGE: image}
    return template


def system_of(site: Path, package: str) -> str:
    (build,) = json.loads((site / f"api/v1/packages/{package}.json").read_text(encoding="utf-8"))["builds"]
    return str(build["os"])


def install_in(image: Image, folder: Path, mirror: str, spec: Path) -> str:
    """What a user sees in a container of that system, with a stock Spack that has one mirror, and a program of the package."""
    commit, _, packages = CLIENTS["v1.1.0"]
    (folder / "user").mkdir()
    config = {
        "config": {
            "install_tree": {"root": "/opt/spack"},
            "misc_cache": str(SHARED / "cache" / f"{commit[:12]}-{packages[:12]}" / "misc"),
            "build_stage": ["/tmp/stage"],
            "source_cache": "/tmp/s",
        },
        "repos": {
            "builtin": str(SHARED / "packages" / packages[:12] / "repos/spack_repo/builtin"),
            "examples": "/recipes/spack_repo/examples",
        },
        "mirrors": {"cache": {"url": mirror, "signed": False}},
        "bootstrap": {"enable": False},
    }
    for name, section in config.items():
        (folder / "user" / f"{name}.yaml").write_text(yaml.safe_dump({name: section}), encoding="utf-8")
    user = Container(image, folder, {folder / "user": "/user", spec.parent: "/spec", EXAMPLES / "spack_repo": "/recipes/spack_repo"})
    env = {
        "PATH": image.path, "HOME": "/root", "SPACK_PYTHON": f"{Path(sys.base_prefix).resolve()}/bin/python3",
        "SPACK_USER_CONFIG_PATH": "/user", "SPACK_USER_CACHE_PATH": "/tmp/cache",
    }  # fmt: skip
    spack = f"{SHARED}/spack/{commit[:12]}/bin/spack"
    script = (
        "set -e; apt-get -qq update; apt-get -qq install --no-install-recommends git patch bzip2 xz-utils unzip file > /dev/null 2>&1; "
        f"{spack} install --use-buildcache only --no-check-signature /spec/{spec.name}; $({spack} location -i sundial)/bin/sundial 52 172"
    )
    command, env = user.command(["/bin/bash", "-c", script], folder / "user", env)
    done = subprocess.run(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_jobs_of_a_stack_run_in_its_container(template: Place, debian: Image, python: str, tmp_path: Path) -> None:
    place = contained(template, debian, python)
    run = place.harness.run(BUILD_CACHE, event="workflow_dispatch")
    assert run.conclusion == "success", log(run)
    planned, built = run.jobs[f"plan (ubuntu-24.04 in {IMAGE})"], run.jobs["build (other on ubuntu-24.04, worker 1)"]
    for job in (planned, built):
        assert "the container lacks curl git patch bzip2 unzip file make xz ca-certificates" in job.log, job.log
        assert "installing less" in job.log
    assert "the container lacks" not in run.jobs["plan (ubuntu-24.04)"].log
    assert place.published() == {"sundial", "libsundial", "almanac-data", "compiler-wrapper", "gcc-runtime"}
    (site,) = run.deployments
    assert system_of(site.folder, "sundial") == OS
    assert system_of(site.folder, "almanac-data") != OS

    # A user of that system installs from it with stock Spack, and compiles nothing; the program is that system's.
    said = install_in(debian, tmp_path, place.image, spec_file(site.folder, "sundial")[1])
    assert said.endswith("16.50 hours of daylight\n"), said

    # The next run remembers what was concretized, as the digest says that it is the same system; nothing is built.
    again = place.harness.run(BUILD_CACHE, event="schedule")
    assert again.conclusion == "success", log(again)
    assert "the concretization of stack other is remembered" in again.jobs[f"plan (ubuntu-24.04 in {IMAGE})"].log, log(again)
    assert not [name for name in again.jobs if name.startswith("build (")]


def test_another_python_than_the_locked_one_plans_nothing(template: Place, debian: Image, python: str) -> None:
    machine, _, url = python.split()
    place = contained(template, debian, f"{machine} {'0' * 64} {url}\n")
    run = place.harness.run(BUILD_CACHE, event="workflow_dispatch")
    planned = run.jobs[f"plan (ubuntu-24.04 in {IMAGE})"]
    assert (planned.conclusion, "computed checksum did NOT match" in planned.log) == ("failure", True), planned.log
    # The other stack is published all the same.
    assert run.jobs["publish"].conclusion == "success", log(run)
    assert place.published() == {"almanac-data"}


def test_the_actions_build_in_a_container_of_ones_own(
    workspace: pipeline.Workspace, debian: Image, python: str, server: Server, tmp_path: Path
) -> None:
    assert workspace.shared == SHARED  # Spack is there
    folder = tmp_path / "own"
    (folder / ".github/workflows").mkdir(parents=True)
    (folder / ".github/workflows/own.yml").write_text(OWN, encoding="utf-8")
    shutil.copytree(EXAMPLES / "spack_repo", folder / "spack_repo", ignore=shutil.ignore_patterns("__pycache__"))
    data = yaml.safe_load(settings(f"{server.url}/me/own", "spack_repo/examples"))
    data["stacks"]["examples"].pop("externals", None)
    data["stacks"]["examples"]["container"] = "debian:13"
    (folder / "cache.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    project = this_project(tmp_path / "project")
    (project / ".github/actions/tools/python.txt").write_text(python, encoding="utf-8")
    actions = {"spack-cache/spack-cache": track(project)}
    run = make_harness(track(folder), tmp_path, repository="me/own", actions=actions, images={"debian:13": debian}).run(
        ".github/workflows/own.yml"
    )
    assert run.conclusion == "success", log(run)
    assert "is built in debian:13" not in log(run)  # it is where it should be
    (built,) = (name for name in run.artifacts["mirror"].files() if name.endswith(".spec.manifest.json"))
    assert "/almanac-data-2026.1-" in built
