"""Containers out of the cache's own layers: in layouts and in a registry, for one architecture and for two."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.container import parse_familiar
from cachelib.model.errors import CatalogError, ConfigError, UsageError
from cachelib.model.oci import DOCKER_LAYER_GZIP, Descriptor, LayoutLocation, RegistryLocation
from cachelib.model.stack import Retention
from cachelib.steps.container_image import merge
from cachelib.steps.distributions import distribution_image
from cachelib.steps.reports import Report
from cachelib.tools.config_file import parse_settings
from cachelib.tools.layout import LayoutRepository
from tests.conftest import need
from tests.support.bases import base_image
from tests.support.docker_registry import running
from tests.support.mirrors import add_chain, add_entry, make_node
from tests.support.quiet import QuietProgress

PIN = {"version": "v1.1.0", "commit": "0" * 40}
ARM = {"platform": "linux", "platform_os": "debian12", "target": "aarch64"}
WIDE = {"platform": "linux", "platform_os": "debian12", "target": "x86_64_v4"}


def workspace(folder: Path, **more: Any) -> pipeline.Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    stacks = {"s": {"spack": PIN, "packages": PIN, "specs": ["x"]}}
    (folder / "cache.yaml").write_text(yaml.safe_dump({"registry": "oci-layout:registry", "stacks": stacks, **more}, sort_keys=False))
    return replace(pipeline.open_workspace(str(folder / "cache.yaml")), progress=QuietProgress())


def publish(ws: pipeline.Workspace, to: str = "") -> None:
    assert pipeline.push(ws, to).exit_code == 0
    assert pipeline.index(ws, to).exit_code == 0


def made(report: Report) -> Mapping[str, Any]:
    assert report.exit_code == 0, report.text
    (data,) = report.data
    return data


def held(path: Path, reference: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A manifest, and its config where it has one."""
    repository = LayoutRepository(LayoutLocation(path=path))
    raw = repository.manifest(reference)
    assert raw is not None
    manifest = json.loads(raw.data)
    if "config" not in manifest:
        return manifest, {}
    return manifest, json.loads(repository.read_blob(Descriptor.parse(manifest["config"])))


@pytest.fixture
def cache(tmp_path: Path) -> pipeline.Workspace:
    """A cache with a chain of three, and a program for several targets."""
    ws = workspace(tmp_path / "cache")
    root = ws.mirror("v1.1").root
    add_chain(root, 3)
    more: tuple[tuple[str, dict[str, Any]], ...] = (("1.0", {}), ("1.2", {}), ("1.2", {"arch": WIDE}), ("1.1", {"arch": ARM}))
    for version, extra in more:
        add_entry(root, [make_node("tool", version, **extra)])
    publish(ws)
    return ws


def container(ws: pipeline.Workspace, *specs: str, tmp_path: Path, **more: Any) -> Report:
    return pipeline.container(ws, specs=specs, **{"base": base_image(tmp_path), **more})


def test_layers_labels_and_environment(cache: pipeline.Workspace, tmp_path: Path) -> None:
    data = made(container(cache, "part2", tmp_path=tmp_path, tags=["it", "latest"]))
    manifest, config = held(cache.folder / "registry/v1.1", "latest")
    assert held(cache.folder / "registry/v1.1", "it") == (manifest, config)
    assert data["new"] == ["it", "latest"]
    # The base's, the chain's with what it stands on first, and the one for login shells.
    (item,) = data["items"]
    assert (item["label"], item["packages"], len(manifest["layers"])) == ("linux/amd64", 3, 5)
    assert len(config["rootfs"]["diff_ids"]) == 5
    labels = config["config"]["Labels"]
    assert labels == manifest["annotations"]
    assert (labels["org.spack.packages"], labels["org.spack.package.name"]) == ("part2@1.0", "part2")
    assert labels["org.opencontainers.image.title"] == "part2@1.0"
    path = dict(entry.split("=", 1) for entry in config["config"]["Env"])["PATH"].split(":")
    assert [folder.split("/")[3].split("-")[0] for folder in path[:3]] == ["part2", "part1", "part0"]
    assert path[3:] == ["/bin", "/usr/bin"]
    assert config["config"]["Cmd"] == ["/bin/sh"]


def test_the_same_again_is_there_already(cache: pipeline.Workspace, tmp_path: Path) -> None:
    first = made(container(cache, "part2", tmp_path=tmp_path))
    again = made(container(cache, "part2", tmp_path=tmp_path))
    assert (again["digest"], again["new"], again["sent"]) == (first["digest"], [], 0)
    assert "is it already" in container(cache, "part2", tmp_path=tmp_path).text
    # And the cache is as it was: the tag is passed over, and what it names is right.
    assert "0 warnings" in pipeline.index(cache).text
    assert pipeline.verify(cache).exit_code == 0


def test_what_fits_best_is_chosen(cache: pipeline.Workspace, tmp_path: Path) -> None:
    """The newest; of those what runs on most CPUs; a target that is asked for is what it is."""
    found = {item["label"]: item["roots"][0]["spec"] for item in made(container(cache, "tool", tmp_path=tmp_path, base="none"))["items"]}
    assert {label: spec.split("/")[0] for label, spec in found.items()} == {"linux/amd64": "tool@1.2", "linux/arm64": "tool@1.1"}
    special = made(container(cache, "tool target=x86_64_v4", tmp_path=tmp_path, base="none"))["items"][0]["roots"][0]["spec"]
    assert special.split("/")[0] == "tool@1.2"
    assert special != found["linux/amd64"]


def test_two_architectures_are_one_tag(cache: pipeline.Workspace, tmp_path: Path) -> None:
    skopeo = need("skopeo")
    made(container(cache, "tool", tmp_path=tmp_path, base="none", tags=["tool"]))
    index, _ = held(cache.folder / "registry/v1.1", "tool")
    assert [one["platform"] for one in index["manifests"]] == [{"architecture": a, "os": "linux"} for a in ("amd64", "arm64")]
    for architecture, version in (("amd64", "1.2"), ("arm64", "1.1")):
        command = [skopeo, "inspect", "--override-arch", architecture, f"oci:{cache.folder}/registry/v1.1:tool"]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        assert (told["Architecture"], told["Labels"]["org.spack.package.version"]) == (architecture, version)
    # A pruning keeps what a tag leads to, the images of an index too.
    kept = replace(cache.settings.stacks["s"], retention=Retention(newest=9))
    pruned = pipeline.prune(replace(cache, settings=replace(cache.settings, stacks={"s": kept})), grace=0)
    assert pruned.exit_code == 0, pruned.text
    assert held(cache.folder / "registry/v1.1", index["manifests"][1]["digest"])[1]["architecture"] == "arm64"


def test_it_stays_when_its_builds_go(cache: pipeline.Workspace, tmp_path: Path) -> None:
    """Its tag keeps their layers."""
    made(container(cache, "part2", tmp_path=tmp_path, tags=["kept"]))
    path = cache.folder / "registry/v1.1"
    repository, soon = LayoutRepository(LayoutLocation(path=path)), time.time() + 60
    for tag in repository.tags():
        raw = repository.manifest(tag)
        if tag.endswith(".spack") and raw is not None:
            assert repository.delete(tag, raw.digest, since=soon)
    assert repository.finish() == frozenset()
    assert repository.sweep(frozenset(), before=soon).count > 4
    assert not any(tag.startswith("part2") for tag in repository.tags())
    manifest, _ = held(path, "kept")
    assert len(manifest["layers"]) == 5
    for layer in manifest["layers"]:
        assert sum(map(len, repository.stream_blob(Descriptor.parse(layer)))) == layer["size"]


def test_of_two_packages_only_what_both_are_for(cache: pipeline.Workspace, tmp_path: Path) -> None:
    data = made(container(cache, "tool", "part0", tmp_path=tmp_path, tags=["both"]))
    assert [item["label"] for item in data["items"]] == ["linux/amd64"]
    assert "needs a name" in container(cache, "tool", "part0", tmp_path=tmp_path).text


@pytest.mark.parametrize(
    ("specs", "more", "said"),
    [
        (["nosuch"], {}, "no build for Linux that is published matches 'nosuch'"),
        (["tool@9"], {}, "no build for Linux"),
        (["tool target=aarch64", "part0"], {"tags": ["x"]}, "no architecture has all that is asked for"),
        (["part0"], {"base": "oci-layout:nowhere:1"}, "the base oci-layout:nowhere:1"),
        (["part0"], {"base": "no such image"}, "is no image"),
        (["part0"], {"put_to": "nonsense"}, "is no place for a cache"),
    ],
)
def test_what_cannot_be_made_is_said(
    cache: pipeline.Workspace, tmp_path: Path, specs: Sequence[str], more: dict[str, Any], said: str
) -> None:
    report = container(cache, *specs, tmp_path=tmp_path, **more)
    assert report.exit_code
    assert said in report.text


@pytest.mark.parametrize("tag", ["catalog", "index.spack", "x.spack", "a b", "sha256-" + "0" * 64])
def test_the_cache_s_own_tags_are_no_container_s(cache: pipeline.Workspace, tmp_path: Path, tag: str) -> None:
    with pytest.raises(UsageError):
        container(cache, "part0", tmp_path=tmp_path, tags=[tag])


def test_another_s_tag_is_left_alone(cache: pipeline.Workspace, tmp_path: Path) -> None:
    """A tag of ours moves; one that is something else doesn't."""
    repository = LayoutRepository(LayoutLocation(path=cache.folder / "registry/v1.1"))
    other = repository.manifest("catalog")
    assert other is not None
    repository.put_manifest(other, "theirs")
    repository.flush()
    assert "is something else than a container" in container(cache, "part0", tmp_path=tmp_path, tags=["theirs"]).text
    made(container(cache, "part0", tmp_path=tmp_path, tags=["mine"]))
    assert made(container(cache, "part1", tmp_path=tmp_path, tags=["mine"]))["new"] == ["mine"]
    made(container(cache, "tool", tmp_path=tmp_path, tags=["mine"], base="none"))
    assert made(container(cache, "part0", tmp_path=tmp_path, tags=["mine"]))["new"] == ["mine"]


def test_what_it_needs_must_be_published(tmp_path: Path) -> None:
    ws = workspace(tmp_path / "cache")
    low = make_node("low")
    add_entry(ws.mirror("v1.1").root, [make_node("high", dependencies=[low]), low])
    publish(ws)
    assert "needs low@1.0" in container(ws, "high", tmp_path=tmp_path).text
    with pytest.raises(CatalogError, match="nothing is published"):
        pipeline.container(workspace(tmp_path / "empty"), specs=["x"])


def test_an_environment_and_those_of_the_settings(cache: pipeline.Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "spack.yaml").write_text("spack: {specs: [part1, tool@1.2]}")
    base = base_image(tmp_path)
    data = made(pipeline.container(cache, environment=str(folder), base=base))
    assert data["tags"] == ["tools"]
    assert [root["spec"].split("@")[0] for root in data["items"][0]["roots"]] == ["part1", "tool"]
    # Its lock file says which very builds are meant.
    old = next(root["hash"] for root in made(container(cache, "tool@1.0", tmp_path=tmp_path))["items"][0]["roots"])
    node = make_node("tool", "1.0")
    assert node["hash"] == old
    lock = {"_meta": {"lockfile-version": 6}, "roots": [{"hash": old, "spec": "tool"}], "concrete_specs": {old: node}}
    (folder / "spack.lock").write_text(json.dumps(lock))
    assert [root["hash"] for root in made(pipeline.container(cache, environment=str(folder), base=base))["items"][0]["roots"]] == [old]
    (folder / "spack.lock").unlink()
    (folder / "spack.yaml").write_text("spack: {specs: [{matrix: [[a], [b]]}]}")
    assert "only Spack can read" in pipeline.container(cache, environment=str(folder), base=base).text

    settings = workspace(
        cache.folder, containers={"work": {"specs": ["part2"], "base": base}, "arm": {"specs": ["tool target=aarch64"], "base": "none"}}
    )
    done = pipeline.container(settings)
    assert done.exit_code == 0, done.text
    assert [data["tags"] for data in done.data] == [["work"], ["arm"]]
    assert made(pipeline.container(settings, "arm"))["new"] == []
    with pytest.raises(UsageError, match="there is no container 'other'"):
        pipeline.container(settings, "other")


def test_settings_that_can_t_be_meant(tmp_path: Path) -> None:
    text = yaml.safe_dump(
        {
            "stacks": {"s": {"spack": PIN, "packages": PIN, "specs": ["x"]}},
            "containers": {"catalog": {"specs": ["a ^b"]}, "two": {"specs": ["a"], "environment": "x", "base": "UPPER CASE"}},
        }
    )
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "cache.yaml", tmp_path)
    for said in ("is the cache's own", "can't be held against", "made of nothing, or of two things", "is no image"):
        assert said in caught.value.message


def test_on_a_base_in_docker_s_format_all_is_docker_s(cache: pipeline.Workspace, tmp_path: Path) -> None:
    """Apptainer refuses a mixture."""
    skopeo = need("skopeo")
    place = base_image(tmp_path).removeprefix("oci-layout:").rpartition(":")[0]
    with running(tmp_path / "server") as server:
        host = server.url.partition("://")[2]
        copy = [skopeo, "copy", "--format", "v2s2", "--dest-tls-verify=false", f"oci:{place}:1", f"docker://{host}/base:1"]
        subprocess.run(copy, check=True, capture_output=True)
        made(container(cache, "part1", tmp_path=tmp_path, base=f"oci+http://{host}/base:1", tags=["it"]))
        manifest, config = held(cache.folder / "registry/v1.1", "it")
        assert {layer["mediaType"] for layer in manifest["layers"]} == {DOCKER_LAYER_GZIP}
        assert "annotations" not in manifest
        assert config["config"]["Labels"]["org.spack.packages"] == "part1@1.0"
        # It is known for ours by its label, so the next may take its tag.
        assert made(container(cache, "part0", tmp_path=tmp_path, tags=["it"]))["new"] == ["it"]


def test_in_one_registry_nothing_is_sent_twice(tmp_path: Path) -> None:
    """Of the packages' layers, a repository beside has them mounted; another registry's base is copied."""
    need("docker-registry")
    with running(tmp_path / "server", counted=True) as server:
        ws = workspace(tmp_path / "cache")
        add_chain(ws.mirror("v1.1").root, 2)
        publish(ws, f"{server.url}/owner/cache")
        sent = made(
            container(ws, "part1", tmp_path=tmp_path, to=f"{server.url}/owner/cache", put_to=f"{server.url}/owner/tools", tags=["it"])
        )
        layers = [entry.tarball.digest.hex for entry in ws.mirror("v1.1").entries()]
        asked = [line for line in server.log.read_text().splitlines() if "/owner/tools/" in line]
        for layer in layers:
            assert any(f"mount=sha256%3A{layer}" in line for line in asked)
            assert not any(layer in line and "http.request.method=PUT" in line for line in asked)
        assert sent["sent"] < 3000
        told = subprocess.run(
            [need("skopeo"), "inspect", "--tls-verify=false", f"docker://{server.url.partition('://')[2]}/owner/tools:it"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert {f"sha256:{layer}" for layer in layers} < set(json.loads(told.stdout)["Layers"])


@pytest.mark.parametrize(
    ("text", "host", "name", "tag"),
    [
        ("ubuntu:24.04", "registry-1.docker.io", "library/ubuntu", "24.04"),
        ("ubuntu", "registry-1.docker.io", "library/ubuntu", "latest"),
        ("rockylinux/rockylinux:9", "registry-1.docker.io", "rockylinux/rockylinux", "9"),
        ("docker.io/debian:12", "registry-1.docker.io", "library/debian", "12"),
        ("quay.io/centos/centos:stream9", "quay.io", "centos/centos", "stream9"),
        ("localhost:5000/mine", "localhost:5000", "mine", "latest"),
        ("oci://ghcr.io/owner/name:1", "ghcr.io", "owner/name", "1"),
    ],
)
def test_names_as_docker_takes_them(text: str, host: str, name: str, tag: str) -> None:
    assert parse_familiar(text, folder=Path("/")) == (RegistryLocation(host=host, repository=name), tag)


def test_distributions_by_spack_s_names() -> None:
    assert distribution_image("ubuntu24.04") == "ubuntu:24.04"
    assert distribution_image("rocky9") == "rockylinux/rockylinux:9"
    assert distribution_image("opensuse-leap15") == "opensuse/leap:15"
    assert [distribution_image(other) for other in ("sequoia", "mystery1", "")] == ["", "", ""]


def test_environments_come_together() -> None:
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C"}
    first = {"PATH": "/opt/a/bin:/bin:/usr/bin", "MANPATH": "/opt/a/man:", "A_ROOT": "/opt/a", "CFLAGS": "-O2"}
    second = {"PATH": "/opt/b/bin:/opt/a/bin:/bin", "A_ROOT": "/opt/b"}
    own, env = merge(base, [first, second])
    assert env == {
        "PATH": "/opt/a/bin:/opt/b/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C", "MANPATH": "/opt/a/man", "A_ROOT": "/opt/b", "CFLAGS": "-O2",
    }  # fmt: skip
    assert own["PATH"] == "/opt/a/bin:/opt/b/bin"
