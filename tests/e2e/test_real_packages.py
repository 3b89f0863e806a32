"""Two packages of Spack's builtin repository, from a request to a program that stock Spack installed on a wiped store."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.model.outcome import Built
from cachelib.pipeline.building import run_build
from cachelib.tools.mirror import DiskMirror
from tests.e2e.conftest import Client
from tests.support.debian_sources import source_mirror


@pytest.fixture(scope="module")
def real(workspace: pipeline.Workspace, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Workspace:
    """A stack of its own, that takes its sources from Debian's archives."""
    sources = source_mirror(tmp_path_factory.mktemp("sources"), ["bzip2", "libsigsegv"])
    if sources is None:
        if os.environ.get("CI") and shutil.which("apt-get"):
            pytest.fail("apt gave no source packages; CI must have them")
        pytest.skip("this machine's apt has no source packages of bzip2 and libsigsegv")
    examples = workspace.settings.stacks["examples"]
    stack = dataclasses.replace(
        examples, specs=("bzip2@1.0.8", "libsigsegv@2.14"), externals=("gmake", "diffutils"), repos=(), image="real",
        config={"mirrors": {"sources": {"url": sources.as_uri(), "binary": False, "source": True}}},
    )  # fmt: skip
    return dataclasses.replace(workspace, settings=dataclasses.replace(workspace.settings, stacks={"real": stack}))


def test_bzip2_and_libsigsegv(real: pipeline.Workspace, client: Client) -> None:
    result = run_build(real)
    found = {result.nodes[h].name: (outcome, result.nodes[h]) for h, outcome in result.outcomes.items()}
    assert result.not_built() == frozenset(), result.outcomes
    assert isinstance(found["bzip2"][0], Built) or result.written == 0
    mirror = real.mirror("real")
    record = mirror.record(found["bzip2"][1].hash)
    assert record is not None
    assert isinstance(record.outcome, Built)
    assert record.outcome.seconds > 0
    assert {phase.name for phase in record.outcome.phases} >= {"build", "install"} or len(record.outcome.phases) > 1
    assert record.package.license == "bzip2-1.0.6"
    hashes = {entry.spec.root.name: entry.hash for entry in DiskMirror(mirror.root).entries()}
    client = dataclasses.replace(client, mirrors={"cache": mirror.root.as_uri()})
    client.run("install", "--use-buildcache", "only", "--no-check-signature", f"/{hashes['bzip2']}", f"/{hashes['libsigsegv']}")
    (program,) = (client.home / "opt").glob("**/bin/bzip2")
    packed = subprocess.run([program, "-c"], input=b"squeeze me" * 100, capture_output=True, check=True).stdout
    assert subprocess.run([program, "-dc"], input=packed, capture_output=True, check=True).stdout == b"squeeze me" * 100
    assert list((client.home / "opt").glob("**/lib/libsigsegv.so"))
    assert all(Path(path).exists() for path in (client.home / "opt").glob("**/libbz2.so*"))
