"""What was published is what Spack would have published, and other clients read it; the cache uses itself."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from cachelib import pipeline
from cachelib.model.oci import spec_tag
from cachelib.model.outcome import Reused
from cachelib.pipeline.building import run_build
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.spack import Folders, Spack
from tests.conftest import need
from tests.contract.conftest import TESTER
from tests.e2e.conftest import EXAMPLES, PROJECT, SHARED
from tests.support.bases import base_of_this_machine
from tests.support.certificates import Certificates
from tests.support.docker_registry import Server, running
from tests.support.tokens import issuing


def spack_of(ws: pipeline.Workspace) -> tuple[Spack, Path]:
    """The Spack that built the examples, and the environment it built."""
    _, stack = ws.stack("")
    work = ws.var / "work" / stack.image_name
    folders = Folders(
        config=work / "config" / "examples", store=work / "store", stage=work / "stage", padding=128,
        cache=SHARED / "cache" / f"{stack.spack.commit[:12]}-{stack.packages.commit[:12]}",
    )  # fmt: skip
    return Spack(SHARED / "spack" / stack.spack.commit[:12], folders, python=sys.executable, env=dict(os.environ)), work / "env"


def image(url: str, tag: str, certificates: Certificates) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest and the config of an image."""
    scheme, _, rest = url.partition("://")
    host, _, name = rest.partition("/")
    base = f"{'https' if scheme == 'oci' else 'http'}://{host}/v2/{name}"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    manifest = requests.get(f"{base}/manifests/{tag}", headers=accept, verify=str(certificates.authority), timeout=30).json()
    blob = requests.get(f"{base}/blobs/{manifest['config']['digest']}", verify=str(certificates.authority), timeout=30)
    return manifest, blob.json()


def test_images_are_those_that_spack_writes(
    workspace: pipeline.Workspace,
    published: str,
    mirror: Path,
    registry: Server,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Spack pushes the same installed specs itself; image by image, what differs is the time and our annotations."""
    spack, environments = spack_of(workspace)
    (env,) = environments.iterdir()
    theirs = f"{registry.url}/owner/by-spack"
    entries = list(DiskMirror(mirror).entries())
    wanted = [f"/{entry.hash}" for entry in entries]
    done = spack.run(
        "-e", str(env), "buildcache", "push", "--unsigned", "--only", "package", theirs, *wanted, env={"SSL_CERT_FILE": str(certificates.authority)}
    )  # fmt: skip
    assert done.code == 0, done.text
    for entry in entries:
        root = entry.spec.root
        tag = spec_tag(root.name, root.version, root.hash)
        their_manifest, their_config = image(theirs, tag, certificates)
        our_manifest, our_config = image(published, tag, certificates)
        # By this `oras pull` names the file; Spack gives no layer a name.
        assert our_manifest["layers"][-1].pop("annotations") == {"org.opencontainers.image.title": f"{tag.removesuffix('.spack')}.tar.gz"}
        assert our_manifest["layers"] == their_manifest["layers"], tag
        assert our_config.pop("archive_timestamp")
        assert our_config.pop("created")
        # The mirror's own entry, for pull; Spack ignores it.
        assert our_config.pop("io.github.spack-build-cache.entry")
        their_config.pop("archive_timestamp")
        assert our_config == their_config, tag
        assert "org.opencontainers.image.description" in our_manifest["annotations"]


def test_skopeo_reads_every_image(
    published: str, mirror: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    skopeo = need("skopeo")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    name = published.replace("oci://", "docker://")
    entries = {entry.hash: entry for entry in DiskMirror(mirror).entries()}
    for entry in entries.values():
        root = entry.spec.root
        tag = spec_tag(root.name, root.version, root.hash)
        found = json.loads(subprocess.run([skopeo, "inspect", f"{name}:{tag}"], capture_output=True, text=True, check=True).stdout)
        assert found["Layers"] == [str(entries[node.hash].tarball.digest) for node in entry.spec.runtime_closure()]
        assert (found["Os"], found["Architecture"]) == ("linux", {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine])
    subprocess.run([skopeo, "copy", "--quiet", f"{name}:{tag}", f"oci:{tmp_path}/copy:it"], check=True, timeout=120)


def test_skopeo_reads_the_embedded_layout(workspace: pipeline.Workspace, mirror: Path, tmp_path: Path) -> None:
    skopeo = need("skopeo")
    to = f"oci-layout:{tmp_path / 'registry'}"
    for step in (pipeline.push, pipeline.index, pipeline.verify):
        report = step(workspace, to)
        assert report.exit_code == 0, report.text
    count = 0
    for entry in DiskMirror(mirror).entries():
        root = entry.spec.root
        reference = f"oci:{tmp_path}/registry/v1.1:{spec_tag(root.name, root.version, root.hash)}"
        found = json.loads(subprocess.run([skopeo, "inspect", reference], capture_output=True, text=True, check=True).stdout)
        assert found["Layers"][-1] == str(entry.tarball.digest)
        count += 1
    assert count == 7


def test_an_image_runs_as_a_container(workspace: pipeline.Workspace, mirror: Path, tmp_path: Path) -> None:
    """On a base that holds nothing but the libc, unpacked and entered as a container runtime would."""
    umoci = need("umoci")
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    base = base_of_this_machine(tmp_path)
    settings = workspace.settings
    stack = dataclasses.replace(settings.stacks["examples"], base_image=base)
    based = dataclasses.replace(workspace, settings=dataclasses.replace(settings, stacks={"examples": stack}))
    assert pipeline.push(based, f"oci-layout:{tmp_path / 'registry'}").exit_code == 0
    (sundial,) = [entry for entry in DiskMirror(mirror).entries() if entry.spec.root.name == "sundial"]
    tag = spec_tag("sundial", "1.2.0", sundial.hash)
    bundle = tmp_path / "bundle"
    subprocess.run([umoci, "unpack", "--image", f"{tmp_path}/registry/v1.1:{tag}", str(bundle)], check=True, capture_output=True)
    config = json.loads((bundle / "config.json").read_text())
    env = dict(item.split("=", 1) for item in config["process"]["env"])
    program = next(f"{folder}/sundial" for folder in env["PATH"].split(":") if (bundle / "rootfs" / folder.strip("/") / "sundial").exists())
    said = subprocess.run(
        [need("chroot"), str(bundle / "rootfs"), program, "--version"], env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout == "sundial 1.2.0, libsundial 1.2.0\n"
    assert env["SUNDIAL_ROOT"].endswith(sundial.hash), "what the recipe sets at run time is set"


def test_the_cache_uses_itself(workspace: pipeline.Workspace, mirror: Path) -> None:
    """On a wiped store nothing is compiled again, and nothing new is written."""
    shutil.rmtree(workspace.var / "work" / "v1.1" / "store")
    result = run_build(workspace, ["sundial", "moonphase +emoji", "py-almanac"])
    found = {result.nodes[h].name: outcome for h, outcome in result.outcomes.items()}
    assert {found[name] for name in ("sundial", "libsundial", "moonphase", "py-almanac")} == {Reused(source="mirror")}
    assert (result.written, result.not_built()) == (0, frozenset())


def test_bad_requests_do_not_cost_the_good_ones(workspace: pipeline.Workspace, built: object) -> None:
    bad = ["sundial@@1", "no-such-package", "moonphase@99", "moonphase +nosuchvariant"]
    result = run_build(workspace, ["sundial ^libsundial@1.2.0", *bad])
    assert {rejection.request for rejection in result.rejected} == set(bad)
    assert all(rejection.reason and rejection.hint for rejection in result.rejected)
    reasons = {rejection.request: rejection.reason for rejection in result.rejected}
    assert "no-such-package" in reasons["no-such-package"]
    assert "99" in reasons["moonphase@99"]
    assert {node.name for node in result.nodes.values()} >= {"sundial", "libsundial"}
    assert result.not_built() == set(bad)


def test_no_secret_in_any_output(workspace: pipeline.Workspace, mirror: Path, certificates: Certificates, tmp_path: Path) -> None:
    """With a password and with a token, right and wrong: what is printed and written never holds them."""
    need("docker-registry")
    outputs = []
    with (
        issuing(certificates, TESTER.username, TESTER.password) as issuer,
        running(tmp_path, certificates=certificates, issuer=issuer) as server,
    ):
        for password in (TESTER.password, "wr0ng-t0ken"):
            env = {
                **os.environ, "REQUESTS_CA_BUNDLE": str(certificates.authority), "CACHE_REGISTRY_USERNAME": TESTER.username,
                "CACHE_REGISTRY_PASSWORD": password, "GITHUB_TOKEN": "ghs_s3cret", "HOME": str(tmp_path),
            }  # fmt: skip
            settings = tmp_path / "project" / "cache.yaml"
            settings.parent.mkdir(exist_ok=True)
            text = (EXAMPLES / "cache.yaml").read_text()
            settings.write_text(
                f"registry: {server.url}/me/cache\n" + text.replace("[spack_repo/examples]", f"[{EXAMPLES / 'spack_repo/examples'}]")
            )
            shutil.copytree(mirror, tmp_path / "project/var/mirror/v1.1", dirs_exist_ok=True)
            for task, code in (("push", 0), ("index", 0), ("verify", 0), ("render", 0)):
                done = subprocess.run(
                    [sys.executable, "-m", "invoke", task, "--config", str(settings)], cwd=PROJECT, env=env, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                )  # fmt: skip
                outputs.append(done.stdout)
                right = password == TESTER.password
                assert "Traceback" not in done.stdout
                assert (done.returncode == code) or not right, done.stdout
    assert "7 pushed" in outputs[0]
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "project/var/site").rglob("*") if path.is_file())
    for secret in (TESTER.password, "wr0ng-t0ken", "ghs_s3cret"):
        assert secret not in "".join(outputs) + written


def test_a_build_sees_no_secret(workspace: pipeline.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "GITHUB_TOKEN",
        "CACHE_REGISTRY_PASSWORD",
        "ACTIONS_RUNTIME_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "MY_API_KEY",
        "DOCKER_AUTH_CONFIG",
    ):
        monkeypatch.setenv(name, "s3cret")
    spack, _ = spack_of(workspace)
    done = spack.run("python", "-c", "import os; print(dict(os.environ))")
    assert done.code == 0
    assert "s3cret" not in done.text
