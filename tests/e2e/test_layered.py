"""A cache on another one: what the upstream has is neither built nor pushed, and stock Spack installs from both."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.model.config import Settings
from cachelib.steps.artifacts import load_catalog
from cachelib.tools.mirror import DiskMirror
from tests.conftest import need
from tests.e2e.conftest import Client
from tests.e2e.test_stock_spack import program
from tests.support.bases import base_of_this_machine
from tests.support.certificates import Certificates
from tests.support.docker_registry import Server

#: What the program needs of the upstream; the rest that was built is left out of both caches.
BELOW = {"libsundial", "gcc-runtime", "compiler-wrapper"}


def some_of(mirror: Path, target: Path, names: set[str]) -> None:
    """A mirror of some packages."""
    for folder in ("blobs", "records"):
        shutil.copytree(mirror / folder, target / folder)
    for name in names:
        shutil.copytree(mirror / "v3/manifests/spec" / name, target / "v3/manifests/spec" / name)
    DiskMirror(target).write_index()


def layered(settings: Settings, registry: str, upstreams: Sequence[str]) -> Settings:
    stack = dataclasses.replace(settings.stacks["examples"], specs=("sundial",), upstreams=tuple(upstreams))
    return dataclasses.replace(settings, registry=registry, stacks={"examples": stack})


@pytest.mark.parametrize("client_root", ["v1.1.0"], indirect=True)
def test_a_cache_on_another(
    workspace: pipeline.Workspace, mirror: Path, registry: Server, client: Client, certificates: Certificates, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    authority = str(certificates.authority)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority)
    base = dataclasses.replace(workspace, env={**workspace.env, "SSL_CERT_FILE": authority})
    below = dataclasses.replace(base, var=tmp_path / "below")
    some_of(mirror, below.mirror("v1.1").root, BELOW)
    assert pipeline.push(below, f"{registry.url}/below/cache").exit_code == 0
    assert pipeline.index(below, f"{registry.url}/below/cache").exit_code == 0
    upstream = f"{registry.url}/below/cache/v1.1"

    ws = dataclasses.replace(
        base, var=tmp_path / "own", settings=layered(base.settings, f"{registry.url}/own/cache", [upstream])
    )  # fmt: skip
    planned = pipeline.plan(ws)
    builds = [line for line in planned.lines if line.startswith("  build ")]
    assert len(builds) == 1
    assert "sundial@" in builds[0]
    assert sum(f"in upstream {upstream}" in line for line in planned.lines) == len(BELOW)

    assert pipeline.work(ws, 1).exit_code == 0
    assert pipeline.gather(ws).exit_code == 0
    assert [name.name for name in ws.mirror("v1.1").names()] == ["sundial"]
    # Nor does a build by itself write what it has of the upstream.
    assert pipeline.build(ws).exit_code == 0
    assert [name.name for name in ws.mirror("v1.1").names()] == ["sundial"]
    pushed = pipeline.push(ws)
    assert "push: 1 pushed" in pushed.text
    pipeline.index(ws)
    own = ws.repository(ws.location("").child("v1.1"))
    assert {spec.rsplit("-", 2)[0] for spec in load_catalog(own).tags()} == {"sundial"}
    again = pipeline.plan(ws)
    assert "nothing to build" in again.text
    assert "0 of 1" in pipeline.push(ws, dry_run=True).text
    verified = pipeline.verify(ws)
    assert (verified.exit_code, "is not published" in verified.text) == (0, False), verified.text

    mirrors = {"own": f"{registry.url}/own/cache/v1.1", "upstream": upstream}
    client = dataclasses.replace(client, mirrors=mirrors)
    (h,) = load_catalog(own).entries
    listed = client.run("buildcache", "list", "--allarch", "--very-long")
    assert h in listed
    assert "libsundial" in listed
    client.run("install", "--use-buildcache", "only", "--no-check-signature", f"/{h}")
    said = subprocess.run([program(client, "sundial"), "52", "172"], text=True, capture_output=True, check=True).stdout
    assert said == "16.50 hours of daylight\n"

    # Pulled for a machine without internet, it is whole: a Spack that knows of nothing else installs from it.
    done = pipeline.pull(ws, out=str(tmp_path / "usb"), upstreams=False)
    assert {name.name for name in DiskMirror(tmp_path / "usb/v1.1").names()} == {"sundial"}, done.text
    done = pipeline.pull(ws, out=str(tmp_path / "usb"))
    assert done.exit_code == 0, done.text
    needed = {node.name for node in load_catalog(own).spec(h).runtime_closure()}
    assert {"sundial", "libsundial"} <= needed
    assert {name.name for name in DiskMirror(tmp_path / "usb/v1.1").names()} == needed
    client.wipe()
    offline = dataclasses.replace(client, mirrors={"usb": (tmp_path / "usb/v1.1").as_uri()})
    assert "libsundial" in offline.run("buildcache", "list", "--allarch")
    offline.run("install", "--use-buildcache", "only", "--no-check-signature", f"/{h}")
    said = subprocess.run([program(offline, "sundial"), "52", "172"], text=True, capture_output=True, check=True).stdout
    assert said == "16.50 hours of daylight\n"

    # A container of it has the upstream's layers, and runs.
    if os.geteuid() == 0:
        report = pipeline.container(
            ws, specs=["sundial"], base=base_of_this_machine(tmp_path, "sh"), tags=["tools"], put_to=f"oci-layout:{tmp_path}/containers"
        )
        assert report.exit_code == 0, report.text
        bundle = tmp_path / "bundle"
        unpack = [need("umoci"), "unpack", "--image", f"{tmp_path}/containers:tools", str(bundle)]
        subprocess.run(unpack, check=True, capture_output=True)
        process = json.loads((bundle / "config.json").read_text())["process"]
        enter = [need("chroot"), str(bundle / "rootfs"), *process["args"], "-c", "sundial --version"]
        env = dict(item.split("=", 1) for item in process["env"])
        said = subprocess.run(enter, env=env, capture_output=True, text=True, check=True).stdout
        assert said == "sundial 1.2.0, libsundial 1.2.0\n"
        # In the cache's own registry, where the upstream lies too, no layer crosses the wire.
        before = len(registry.log.read_text().splitlines())
        beside = pipeline.container(ws, specs=["sundial"], base="none", tags=["beside"])
        assert beside.exit_code == 0, beside.text
        libraries = {entry.tarball.digest.hex for entry in DiskMirror(tmp_path / "usb/v1.1").entries()}
        asked = registry.log.read_text().splitlines()[before:]
        assert not [line for line in asked if any(digest in line for digest in libraries) and "http.request.method=PUT" in line]
