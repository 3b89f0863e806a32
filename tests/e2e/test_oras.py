"""The oras CLI, as Debian has it, fetches what is published by the lines that the site and the documentation give."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cachelib import pipeline
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import artifacts
from cachelib.steps.reports import Report
from tests.support.docker_registry import Server
from tests.support.quiet import QuietProgress


@pytest.fixture(scope="module")
def oras(request: pytest.FixtureRequest) -> str:
    """The program: this machine's, or that of a Debian that has it."""
    return shutil.which("oras") or str(request.getfixturevalue("debian").root / "usr/bin/oras")


def run(oras: str, *arguments: str, folder: Path) -> str:
    # A docker configuration of this machine's has no part in it.
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "DOCKER_CONFIG": str(folder)}
    done = subprocess.run([oras, *arguments], cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_oras_finds_and_fetches_what_is_published(oras: str, workspace: Workspace, built: Report, server: Server, tmp_path: Path) -> None:
    assert built.lines
    ws = dataclasses.replace(workspace, progress=QuietProgress())
    base = f"{server.url}/owner/cache"
    assert pipeline.push(ws, base).exit_code == 0
    assert pipeline.index(ws, base).exit_code == 0
    assert pipeline.sbom(ws, to=base, attach=True).exit_code == 0
    assert pipeline.tag(ws, "sundial-latest", "sundial", base).exit_code == 0
    repository = ws.repository(ws.location(base).child("v1.1"))
    entry = next(entry for entry in artifacts.load_catalog(repository).entries.values() if entry.tag.startswith("sundial-"))
    assert entry.tarball is not None
    image = f"{server.host}/owner/cache/v1.1"

    # The image by its tag, by its digest and by the owner's tag: the one file that is the binary, under a name that says which.
    for at, reference in enumerate((f"{image}:{entry.tag}", f"{image}@{entry.manifest.digest}", f"{image}:sundial-latest")):
        folder = tmp_path / str(at)
        folder.mkdir()
        run(oras, "pull", "--plain-http", reference, folder=folder)
        (file,) = folder.iterdir()
        assert file.name == f"{entry.tag.removesuffix('.spack')}.tar.gz"
        assert hashlib.sha256(file.read_bytes()).hexdigest() == entry.tarball.digest.hex
        with tarfile.open(file) as archive:
            assert any(name.endswith("/bin/sundial") for name in archive.getnames())
    blob = tmp_path / "blob"
    run(oras, "blob", "fetch", "--plain-http", "--output", str(blob), f"{image}@{entry.tarball.digest}", folder=tmp_path)
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == entry.tarball.digest.hex

    # What is attached, and that itself: docs/how-to/attach-boms.md.
    found: dict[str, Any] = json.loads(run(oras, "discover", "--plain-http", "--format", "json", f"{image}:{entry.tag}", folder=tmp_path))
    (attached,) = found["manifests"]
    assert attached["artifactType"] == "application/spdx+json"
    folder = tmp_path / "attached"
    folder.mkdir()
    run(oras, "pull", "--plain-http", f"{image}@{attached['digest']}", folder=folder)
    (file,) = folder.iterdir()
    assert file.name == f"{entry.tag.removesuffix('.spack')}.spdx.json"
    assert json.loads(file.read_bytes())["spdxVersion"] == "SPDX-2.3"
    assert entry.tag in run(oras, "repo", "tags", "--plain-http", image, folder=tmp_path).split()
