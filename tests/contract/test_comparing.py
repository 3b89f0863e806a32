"""Two builds and two caches compared, and a cache added up."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.catalog import Catalog
from cachelib.model.errors import CatalogError, UsageError
from cachelib.model.oci import LayoutLocation, parse_location
from cachelib.steps.comparing import caches_report, held
from cachelib.tools.layout import LayoutRepository
from tests.support.caches import made_catalog, publish_catalog
from tests.support.double import serving_double

PIN = {"version": "v1.1.0", "commit": "2e907202bcc8209a6a62243aab50c179b524cc3b"}
CATALOG = made_catalog(300)


@pytest.fixture
def ws(tmp_path: Path) -> pipeline.Workspace:
    """A cache of 300 builds, and an empty one."""
    stacks = {"s": {"spack": PIN, "packages": PIN, "specs": ["zlib"]}}
    (tmp_path / "cache.yaml").write_text(yaml.safe_dump({"registry": f"oci-layout:{tmp_path}/registry", "stacks": stacks}))
    place(tmp_path, "registry", 300)
    return pipeline.open_workspace(str(tmp_path / "cache.yaml"))


def place(folder: Path, name: str, count: int) -> str:
    location = parse_location(f"oci-layout:{folder}/{name}", folder=folder).child("v1.1")
    assert isinstance(location, LayoutLocation)
    publish_catalog(LayoutRepository(location), made_catalog(count))
    return f"oci-layout:{folder}/{name}"


def two(name: str) -> list[str]:
    """The DAG hashes of two builds of a package."""
    return [h for h in CATALOG.entries if CATALOG.name(h) == name][:2]


def test_two_builds_by_their_hashes(ws: pipeline.Workspace) -> None:
    a, b = two("libpng")
    report = pipeline.diff(ws, f"/{a[:8]}", b)
    ours, theirs = CATALOG.spec(a), CATALOG.spec(b)
    assert report.lines[-1].startswith(f"diff: {ours.label} and {theirs.label} differ in ")
    assert report.lines[0].startswith("  target: ")
    assert f"{ours.root.target} in {ours.label}, {theirs.root.target} in {theirs.label}" in report.lines[0]
    other = next(h for h in CATALOG.entries if CATALOG.name(h) == "zstd")
    assert pipeline.diff(ws, a, other).lines[0] == "  they are of two packages"
    assert pipeline.diff(ws, a, a).text == f"diff: {ours.label} and {ours.label} are the same spec"


def test_a_build_and_a_file(ws: pipeline.Workspace, tmp_path: Path) -> None:
    (a, _) = two("libpng")
    spec = CATALOG.spec(a)
    nodes = [node.raw for node in spec.nodes.values()]
    nodes[0] |= {"version": "0.0.1", "hash": "a" * 32}
    (tmp_path / "mine.json").write_text(json.dumps({"spec": {"_meta": {"version": 5}, "nodes": nodes}}))
    report = pipeline.diff(ws, str(tmp_path / "mine.json"), a)
    assert report.lines[0] == f"  version: 0.0.1 in libpng@0.0.1/aaaaaaa, {spec.root.version} in {spec.label}"
    assert report.lines[1].endswith("differ in 1 thing")


def test_what_names_no_build_or_several_is_told(ws: pipeline.Workspace, tmp_path: Path) -> None:
    a = two("libpng")[0]
    with pytest.raises(UsageError, match="there is no build 'nosuch' in the cache"):
        pipeline.diff(ws, "nosuch", a)
    with pytest.raises(UsageError, match=r"'libpng' names \d builds:\n  /") as caught:
        pipeline.diff(ws, a, "libpng")
    assert "write more of the hash" in caught.value.hint
    with pytest.raises(UsageError, match="one is a cache and the other is none"):
        pipeline.diff(ws, a, "oci-layout:x")
    with pytest.raises(UsageError, match=r"nowhere\.json can't be read"):
        pipeline.diff(ws, a, str(tmp_path / "nowhere.json"))


def test_two_caches(ws: pipeline.Workspace, tmp_path: Path) -> None:
    smaller = place(tmp_path, "smaller", 250)
    report = pipeline.diff(ws, f"oci-layout:{tmp_path}/registry", smaller)
    assert report.lines[0].startswith(f"only in oci-layout:{tmp_path}/registry/v1.1: 50 builds, ")
    assert f"only in {smaller}/v1.1: 0 builds, 0 B" in report.lines
    assert report.lines[-1] == "diff: 250 builds are in both"
    assert "  ... and 10 more" in report.lines


def test_a_cache_added_up(ws: pipeline.Workspace, tmp_path: Path) -> None:
    lines = pipeline.stats(ws).lines
    packages = {CATALOG.name(h) for h in CATALOG.entries}
    assert lines[-1].startswith(f"stats: 300 builds of {len(packages)} packages, ")
    assert "building them took" in lines[-1]
    rows = [line for line in lines if line.startswith("  v1.1  everything  ") and ": Runs on " not in line]
    assert any(": Runs on Linux with glibc " in line for line in lines)
    assert sum(int(line.partition(": ")[2].split()[0]) for line in rows) == 300
    assert sum(int(line.split()[1]) for line in lines if line.startswith("  2020-")) == 300
    with pytest.raises(CatalogError, match="nothing is indexed"):
        pipeline.stats(ws, f"oci-layout:{tmp_path}/empty")


def test_a_cache_that_is_not_there_is_told(ws: pipeline.Workspace, tmp_path: Path) -> None:
    """A slip of the pen is no cache without builds."""
    here, typo = f"oci-layout:{tmp_path}/registry", f"oci-layout:{tmp_path}/regsitry"
    report = pipeline.diff(ws, here, typo)
    assert report.lines[0].startswith(f"WARNING: nothing is indexed in {typo}; name where the cache is, without the name of an image")
    with pytest.raises(CatalogError, match=r"nothing is indexed in .*, nor in"):
        pipeline.diff(ws, typo, f"{here}/v1.1")


def test_credentials_of_the_own_cache_go_to_no_other(ws: pipeline.Workspace) -> None:
    """Who compares with a stranger's cache doesn't hand the stranger a password."""
    env = {"CACHE_REGISTRY_USERNAME": "me", "CACHE_REGISTRY_PASSWORD": "s3cret"}
    with serving_double() as own, serving_double() as other:
        settings = replace(ws.settings, registry=f"oci+http://{own.host}/o/r")
        ws = replace(ws, env=env, settings=settings)
        for double in (own, other):
            double.plan.tokens.required = True
        with pytest.raises(CatalogError, match="nothing is indexed"):
            pipeline.diff(ws, f"oci+http://{own.host}/o/r", f"oci+http://{other.host}/o/r")
        sent = [[one for one in double.authorizations if one.startswith("Basic")] for double in (own, other)]
    assert sent[0]
    assert not sent[1]


def test_two_caches_of_ten_thousand(ws: pipeline.Workspace) -> None:
    catalog = made_catalog(10_000)
    entries = list(catalog.entries.values())
    half = Catalog(entries={one.hash: one for one in entries[::2]}, database=catalog.database)
    began = time.monotonic()
    report = caches_report(held(catalog), held(half), ("a", "b"))
    assert time.monotonic() - began < 5
    assert report.lines[-1] == "diff: 5000 builds are in both"
    assert len(report.lines) < 60


def test_an_image_that_tells_nothing_is_named_by_its_tag() -> None:
    catalog = made_catalog(20)
    bare = Catalog(entries={h: replace(one, annotations={}) for h, one in catalog.entries.items()}, database=catalog.database)
    assert {one.label for one in held(bare).values()} == {catalog.spec(h).label for h in catalog.entries}
