"""The API over HTTP, as clients have it: today's, and the first generation's."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.outcome import Failed
from cachelib.model.record import Origin, Record
from cachelib.steps import remembering
from cachelib.tools.site import serving
from tests.support.api_client import expand
from tests.support.mirrors import make_node

PROJECT = Path(__file__).resolve().parents[2]
BROKEN = make_node("broken")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Workspace:
    """A cache of the mirror that ships, with one failure."""
    folder = tmp_path_factory.mktemp("served")
    text = (PROJECT / "examples/cache.yaml").read_text().replace("[spack_repo/examples]", f"[{PROJECT / 'examples/spack_repo/examples'}]")
    (folder / "cache.yaml").write_text(text)
    shutil.copytree(PROJECT / "examples/mirror", folder / "var/mirror/v1.1")
    ws = pipeline.open_workspace(str(folder / "cache.yaml"))
    pipeline.push(ws)
    pipeline.index(ws)
    record = Record(
        name="broken", version="1.0", hash=BROKEN["hash"], outcome=Failed(phase="build", message="no", error_lines=("error: no",)),
        origin=Origin(created="2026-01-02T03:04:05Z", stack="examples"),
    )  # fmt: skip
    repository = ws.repository(ws.location("").child("v1.1"))
    remembering.remember_failures(repository, [record], lambda _: b"the whole log", lambda _: b"{}", frozenset())
    return ws


@pytest.fixture(scope="module")
def site(workspace: pipeline.Workspace) -> Iterator[str]:
    """Where the site is served; it knows its own address, as the first generation's endpoints need it."""
    folder = workspace.var / "site"
    folder.mkdir(parents=True)
    with serving(folder, 0) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        config = workspace.folder / "cache.yaml"
        config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"site": {"url": url}}))
        # Into the folder itself: the server keeps its name, and what a render puts there is another folder.
        pipeline.render(pipeline.open_workspace(str(config)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield url
        server.shutdown()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.loads(answer.read())


def test_a_client_goes_by_links_and_templates(site: str) -> None:
    start = f"{site}/api/v1/index.json"
    service = get(start)
    found = 0
    for part in get(urljoin(start, service["documents"]["packages"]["path"]))["lists"]:
        for package in get(urljoin(start, part["path"]))["packages"]:
            for build in get(urljoin(start, package["path"]))["builds"]:
                spec = get(urljoin(start, expand(service["templates"]["spec-shard"], hash=build["hash"])))["specs"][build["hash"]]
                whole = get(urljoin(start, spec["builds"][0]["specFile"]["path"]))
                assert whole["spec"]["nodes"][0] == spec["node"]
                assert spec["node"]["name"] == package["name"]
                found += 1
    assert found == service["counts"]["builds"] == 2
    failure = get(urljoin(start, expand(service["templates"]["failure-shard"], hash=BROKEN["hash"])))["failures"][BROKEN["hash"]][0]
    assert (failure["errorLines"], failure["stack"], failure["since"]) == (["error: no"], "examples", "2026-01-02T03:04:05Z")


def test_the_first_generations_client_finds_a_spec(site: str) -> None:
    """As autamus/spack-build-cache-client does it (mirrors/ghcr.py): fetch_spec, get_fingerprint_links, get_download_tarball."""
    with urllib.request.urlopen(f"{site}/manifest/", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")
        manifest = json.loads(answer.read())
    assert manifest["keys"] == []
    assert len(manifest["packages"]) == 2
    for package in manifest["packages"]:
        prefixes = get(f"{site}/manifest/dates/")
        found = None
        for prefix in prefixes["dates"]:
            try:
                found = get(f"{prefixes['url_prefix']}{prefix}/{package['name'].replace('.spack', '.spec.json')}")
                break
            except urllib.error.HTTPError:
                pass
        assert found == get(package["spec"])
        assert "/_cache/" in package["spec"]
        urllib.request.urlopen(package["html_url"], timeout=30).close()


def test_a_second_render_writes_nothing(workspace: pipeline.Workspace, site: str) -> None:
    report = pipeline.render(pipeline.open_workspace(str(workspace.folder / "cache.yaml")))
    assert "0 new, 0 changed, 0 gone" in report.text
