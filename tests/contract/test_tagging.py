"""Tags of an owner's own: in layouts and in a registry, for one architecture and for two."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cachelib import pipeline
from cachelib.model.errors import CatalogError, ConfigError, UsageError
from cachelib.model.outcome import Built
from cachelib.model.record import Origin, Record
from cachelib.model.stack import Retention
from cachelib.steps.artifacts import load_catalog
from cachelib.steps.reports import Report
from tests.conftest import need
from tests.contract.test_containers import ARM, PIN, WIDE, publish, workspace
from tests.contract.test_road import put_image
from tests.support.docker_registry import running
from tests.support.mirrors import add_entry, make_node


def add(ws: pipeline.Workspace, node: dict[str, Any]) -> None:
    """A build of the stack."""
    mirror = ws.mirror("v1.1")
    add_entry(mirror.root, [node])
    told = {"name": node["name"], "version": node["version"], "hash": node["hash"]}
    mirror.write_record(Record(**told, outcome=Built(seconds=1), origin=Origin(stack="s", created="2026-01-01T00:00:00Z")), None)


@pytest.fixture(params=["layout", "docker-registry"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[pipeline.Workspace]:
    """A cache with two versions of a tool for two architectures, and what is no one's tool."""
    stack = {"spack": PIN, "packages": PIN, "specs": ["x"]}
    more = {"registry": "oci-layout:registry", "stacks": {"s": stack}, "tags": {"tool-latest": "tool target=x86_64_v3", "both": "tool"}}

    def filled(ws: pipeline.Workspace) -> pipeline.Workspace:
        for node in (make_node("tool", "1.0"), make_node("tool", "1.2"), make_node("tool", "1.1", arch=ARM), make_node("other")):
            add(ws, node)
        publish(ws)
        return ws

    if request.param == "layout":
        yield filled(workspace(tmp_path / "cache", **more))
        return
    need("docker-registry")
    with running(tmp_path / "server") as server:
        yield filled(workspace(tmp_path / "cache", **{**more, "registry": f"{server.url}/owner/cache"}))


def names(ws: pipeline.Workspace, tag: str) -> list[str]:
    """The labels of the builds that a tag names."""
    repository = ws.repository(ws.location("").child("v1.1"))
    raw = repository.manifest(tag)
    assert raw is not None, f"there is no {tag}"
    data = json.loads(raw.data)
    digests = [one["digest"] for one in data["manifests"]] if "manifests" in data else [str(raw.digest)]
    entries = {str(entry.manifest.digest): entry for entry in load_catalog(repository).entries.values()}
    return [entries[digest].tag.rpartition("-")[0] for digest in digests]


def done(report: Report) -> Report:
    assert report.exit_code == 0, report.text
    return report


def test_it_names_the_newest_build_and_moves(cache: pipeline.Workspace) -> None:
    assert "names tool@1.2/" in done(pipeline.tag(cache, "tool-latest")).text
    assert names(cache, "tool-latest") == ["tool-1.2"]
    assert "is already tool@1.2/" in done(pipeline.tag(cache, "tool-latest")).text
    add(cache, make_node("tool", "1.3"))
    publish(cache)
    assert "would name tool@1.3/" in done(pipeline.tag(cache, "tool-latest", dry_run=True)).text
    assert names(cache, "tool-latest") == ["tool-1.2"]
    done(pipeline.tag(cache, "tool-latest"))
    assert names(cache, "tool-latest") == ["tool-1.3"]
    done(pipeline.tag(cache, "tool-latest", "tool@1.0"))
    assert names(cache, "tool-latest") == ["tool-1.0"]


def test_each_architecture_has_its_own(cache: pipeline.Workspace) -> None:
    done(pipeline.tag(cache))
    assert names(cache, "both") == ["tool-1.2", "tool-1.1"]
    assert names(cache, "tool-latest") == ["tool-1.2"]
    # What is looked for by its hash is found as before, and an index takes no notice.
    done(pipeline.index(cache, full=True))
    assert len(load_catalog(cache.repository(cache.location("").child("v1.1"))).entries) == 4
    assert done(pipeline.verify(cache)).exit_code == 0


def test_clients_find_the_very_image(cache: pipeline.Workspace) -> None:
    done(pipeline.tag(cache))
    place = cache.settings.registry
    if place.startswith("oci-layout:"):
        prefix, tls = f"oci:{cache.folder}/registry/v1.1", []
    else:
        prefix, tls = f"docker://{place.partition('://')[2]}/v1.1", ["--tls-verify=false"]
    node = make_node("tool", "1.2")

    def look(tag: str, architecture: str) -> dict[str, str]:
        command = [need("skopeo"), "inspect", *tls, "--override-arch", architecture, f"{prefix}:{tag}"]
        found: dict[str, str] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return found

    assert look("tool-latest", "amd64")["Digest"] == look(f"tool-1.2-{node['hash']}.spack", "amd64")["Digest"]
    assert (look("both", "amd64")["Architecture"], look("both", "arm64")["Architecture"]) == ("amd64", "arm64")


def test_what_is_something_else_stays(cache: pipeline.Workspace) -> None:
    done(pipeline.container(cache, specs=["other"], base="none", tags=["box"]))
    report = pipeline.tag(cache, "box", "other")
    assert report.exit_code == UsageError.exit_code
    assert "is something else than a build of this cache" in report.text
    # And the other way round.
    done(pipeline.tag(cache, "mine", "other"))
    assert "is something else than a container" in pipeline.container(cache, specs=["other"], base="none", tags=["mine"]).text


def test_what_nobody_can_read_stays(cache: pipeline.Workspace) -> None:
    repository = cache.repository(cache.location("").child("v1.1"))
    put_image(repository, b"[" * 100_000 + b"]" * 100_000, "odd")
    assert "is something else than a build of this cache" in pipeline.tag(cache, "odd", "other").text


@pytest.mark.parametrize("name", ["catalog", "index.spack", "x.spack", "a b", "-x", "sha256-" + "0" * 64])
def test_the_caches_own_tags(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="tag"):
        pipeline.tag(workspace(tmp_path), name, "tool")


def test_what_cannot_be_meant(tmp_path: Path) -> None:
    ws = workspace(tmp_path)
    for name, spec, said in (("", "", "no tag is asked for"), ("nosuch", "", "there is no tag 'nosuch'"), ("", "tool", "no tag is told")):
        with pytest.raises(UsageError, match=said):
            pipeline.tag(ws, name, spec)
    with pytest.raises(CatalogError, match="nothing is published"):
        pipeline.tag(ws, "x", "tool")
    for tags, said in (({"x.spack": "tool"}, "the cache's own"), ({"-x": "tool"}, "the name '-x' in tags"), ({"x": "@@"}, "cache.yaml:")):
        with pytest.raises(ConfigError, match=said):
            workspace(tmp_path / "other", tags=tags)
    with pytest.raises(ConfigError, match="x is a tag of the container box already"):
        workspace(tmp_path / "other", containers={"box": {"specs": ["tool"], "tags": ["a", "x"]}}, tags={"x": "tool"})
    workspace(tmp_path / "other", containers={"x": {"specs": ["tool"], "to": "oci://h/n"}}, tags={"x": "tool"})  # they are apart


def test_no_build_that_fits(cache: pipeline.Workspace) -> None:
    report = pipeline.tag(cache, "x", "tool@9")
    assert report.exit_code == UsageError.exit_code
    assert "no build for Linux that is published matches 'tool@9'" in report.text


def test_a_tag_goes_with_its_build(cache: pipeline.Workspace) -> None:
    done(pipeline.tag(cache))
    done(pipeline.tag(cache, "old", "tool@1.0"))
    add(cache, make_node("tool", "1.4", arch=WIDE))
    publish(cache)
    kept = replace(cache.settings.stacks["s"], retention=Retention(pinned=("tool@1.2", "tool@1.4", "other")))
    ws = replace(cache, settings=replace(cache.settings, stacks={"s": kept}))
    done(pipeline.prune(ws, grace=0, yes=True))
    tags = ws.repository(ws.location("").child("v1.1")).tags()
    assert {tag for tag in tags if tag.startswith("tool-") and tag.endswith(".spack")} == {
        f"tool-1.2-{make_node('tool', '1.2')['hash']}.spack", f"tool-1.4-{make_node('tool', '1.4', arch=WIDE)['hash']}.spack",
    }  # fmt: skip
    assert "tool-latest" in tags
    # One that named a build for another architecture too goes as a whole; the next run makes it anew.
    assert not {"old", "both"} & tags
    done(pipeline.tag(ws))
    assert names(ws, "both") == ["tool-1.4"]
