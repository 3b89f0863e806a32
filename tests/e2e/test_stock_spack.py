"""Stock Spack of several lines lists and installs what was published, by every road, on a wiped store."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.steps.reports import Report
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.site import serving
from tests.e2e.conftest import Client
from tests.support.api_client import expand


def hashes(mirror: Path) -> dict[str, str]:
    return {entry.spec.root.name: entry.hash for entry in DiskMirror(mirror).entries()}


def program(client: Client, name: str) -> str:
    """Find an installed program; its prefix is none that it was built for."""
    (path,) = (client.home / "opt").glob(f"**/bin/{name}")
    return str(path)


def install_and_run(client: Client, mirror: Path) -> None:
    found = hashes(mirror)
    listed = client.run("buildcache", "list", "--allarch", "--very-long")
    for name in ("sundial", "libsundial", "moonphase", "py-almanac", "almanac-data"):
        assert found[name] in listed, f"{name} is not listed"
    assert "broken-clock" not in listed
    client.run("install", "--use-buildcache", "only", "--no-check-signature", *(f"/{found[n]}" for n in ("sundial", "py-almanac")))
    said = subprocess.run([program(client, "sundial"), "52", "172"], text=True, capture_output=True, check=True).stdout
    assert said == "16.50 hours of daylight\n"
    said = subprocess.run([program(client, "almanac"), "2026-03-14"], text=True, capture_output=True, check=True).stdout
    assert said == "2026-03-14: day 73, 19.7% of the year gone, Pi Day\n"


def test_from_the_registry(client: Client, published: str, mirror: Path) -> None:
    client = dataclasses.replace(client, mirrors={"cache": published})
    install_and_run(client, mirror)


def test_from_the_mirror(client: Client, mirror: Path) -> None:
    install_and_run(dataclasses.replace(client, mirrors={"cache": mirror.as_uri()}), mirror)


def test_from_what_was_pulled(
    client: Client, published: str, mirror: Path, workspace: pipeline.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte the mirror that was pushed; stock Spack lists it and installs from it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(client.certificates.authority))
    assert pipeline.pull(workspace, to=published.removesuffix("/v1.1"), out=str(tmp_path / "pulled")).exit_code == 0
    pulled = tmp_path / "pulled/v1.1"
    entries = sorted(path.relative_to(mirror) for path in mirror.glob("v3/manifests/spec/*/*"))
    assert entries == sorted(path.relative_to(pulled) for path in pulled.glob("v3/manifests/spec/*/*"))
    assert entries
    for path in (*entries, *(path.relative_to(pulled) for path in pulled.glob("blobs/sha256/*/*"))):
        assert (pulled / path).read_bytes() == (mirror / path).read_bytes()
    install_and_run(dataclasses.replace(client, mirrors={"cache": pulled.as_uri()}), mirror)


def test_split_serving(
    client: Client, published: str, mirror: Path, workspace: pipeline.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site alone tells what there is, the registry alone has the bytes."""
    import threading

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(client.certificates.authority))
    pipeline.render(workspace, published.removesuffix("/v1.1"), out=str(tmp_path / "site"))
    with serving(tmp_path / "site", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{server.server_port}/v1.1"
        forget_index(client, published)
        assert "sundial" not in dataclasses.replace(client, mirrors={"cache": published}).run(
            "buildcache", "list", "--allarch", check=False
        )
        install_and_run(dataclasses.replace(client, mirrors={"index": site, "cache": published}), mirror)
        server.shutdown()
    pipeline.index(workspace, published.removesuffix("/v1.1"), full=True)


def spec_file(site: Path, package: str) -> tuple[str, Path]:
    """The hash of a package's only build and its spec file, found by links from the site's service document on."""
    api = site / "api/v1"
    (build,) = json.loads((api / f"packages/{package}.json").read_text())["builds"]
    template = json.loads((api / "index.json").read_text())["templates"]["spec-shard"]
    spec = json.loads((api / expand(template, hash=build["hash"])).read_text())["specs"][build["hash"]]
    return str(build["hash"]), api / spec["builds"][0]["specFile"]["path"]


def test_from_a_spec_file_of_the_site(
    client: Client, published: str, mirror: Path, workspace: pipeline.Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spack takes a spec file of the site in place of a spec, and installs that very build."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(client.certificates.authority))
    pipeline.render(workspace, published.removesuffix("/v1.1"), out=str(tmp_path / "site"))
    found, file = spec_file(tmp_path / "site", "py-almanac")
    client = dataclasses.replace(client, mirrors={"cache": published})
    client.run("install", "--use-buildcache", "only", "--no-check-signature", str(file))
    assert found == hashes(mirror)["py-almanac"]
    assert found in client.run("find", "--format", "{hash}")


def test_spacks_own_index_of_what_was_pushed(client: Client, published: str) -> None:
    """Spack's update-index reads every image of ours, and finds what our index says."""
    client = dataclasses.replace(client, mirrors={"cache": published})
    ours = index_of(client, published)
    forget_index(client, published)
    client.run("buildcache", "update-index", "cache")
    theirs = index_of(client, published)
    assert theirs == ours


def forget_index(client: Client, published: str) -> None:
    """Delete index.spack from the registry."""
    import requests

    base = published.replace("oci://", "https://").replace("/owner/", "/v2/owner/")
    verify = str(client.certificates.authority)
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    digest = requests.head(f"{base}/manifests/index.spack", headers=accept, verify=verify, timeout=30).headers["Docker-Content-Digest"]
    assert requests.delete(f"{base}/manifests/{digest}", verify=verify, timeout=30).status_code == 202


def index_of(client: Client, published: str) -> dict[str, object]:
    import requests

    base = published.replace("oci://", "https://").replace("/owner/", "/v2/owner/")
    verify = str(client.certificates.authority)
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    manifest = requests.get(f"{base}/manifests/index.spack", headers=accept, verify=verify, timeout=30).json()
    blob = requests.get(f"{base}/blobs/{manifest['layers'][0]['digest']}", verify=verify, timeout=30).content
    found: dict[str, object] = json.loads(blob)
    return found


def test_the_report_names_the_failure(built: Report) -> None:
    assert built.exit_code == 5
    assert "FAILED   broken-clock@0.1" in built.text
    assert "no_such_variable" in built.text
    assert "7 new in the mirror" in built.text
