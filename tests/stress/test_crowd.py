"""Sixteen pushers and two indexers at once, every fifth request failing: nothing is lost, nothing is broken."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cachelib.model.oci import spec_tag
from cachelib.steps import artifacts, indexing
from cachelib.steps.verifying import verify
from tests.conftest import need
from tests.stress.worker import open_repository
from tests.support.docker_registry import running
from tests.support.faults import TEMPORARY, FaultPlan, Kind
from tests.support.mirrors import add_entry
from tests.support.proxy import fault_proxy
from tests.support.quiet import QuietProgress
from tests.support.scale import made_dags

PROJECT = Path(__file__).resolve().parents[2]
PUSHERS, INDEXERS, ENTRIES = 16, 2, 80


def crowd(mirrors: Sequence[Path], url: str, stop: Path) -> None:
    """Let a process for each mirror push while others index; all of them must end well."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.stress.worker", *arguments, url]
        return subprocess.Popen(command, cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    indexers = [start("index", str(stop)) for _ in range(INDEXERS)]
    pushers = [start("push", str(mirror)) for mirror in mirrors]
    failed = [said for process in pushers if (said := process.communicate(timeout=600)[0]) or process.returncode]
    stop.touch()
    failed += [said for process in indexers if (said := process.communicate(timeout=600)[0]) or process.returncode]
    assert failed == []


def some_mirrors(folder: Path) -> tuple[list[Path], set[str]]:
    """Mirrors that share many of their entries, each with whole closures; and the tags of all."""
    chance = random.Random(16)
    dags = list(made_dags(ENTRIES))
    by_hash = {nodes[0]["hash"]: nodes for nodes in dags}
    mirrors, tags = [], set()
    for at in range(PUSHERS):
        mirror = folder / f"m{at}"
        wanted = {node["hash"] for nodes in chance.sample(dags, 12) for node in nodes}
        for h in wanted:
            nodes = by_hash[h]
            add_entry(mirror, nodes, {"bin/program": h.encode() * 50})
            tags.add(spec_tag(nodes[0]["name"], nodes[0]["version"], h))
        mirrors.append(mirror)
    return mirrors, tags


def nothing_is_lost(url: str, tags: set[str]) -> None:
    """Every tag is there, in the catalog and in Spack's index, and everything is whole; one more index changes nothing."""
    repository = open_repository(url)
    assert {tag for tag in repository.tags() if tag.endswith(".spack") and tag != "index.spack"} == tags
    catalog = artifacts.load_catalog(repository)
    assert catalog.tags() == tags
    assert catalog.database.present() == set(catalog.entries)
    assert verify(repository, jobs=4, progress=QuietProgress()).findings == ()
    assert not indexing.index(repository, labels={}, jobs=4, progress=QuietProgress()).written


def test_a_crowd_at_a_registry(tmp_path: Path) -> None:
    need("docker-registry")
    mirrors, tags = some_mirrors(tmp_path)
    # Tests of one client have these two: a token that is taken back from all eighteen at once, and a limit that asks for a minute.
    kinds = tuple(kind for kind in TEMPORARY if kind not in (Kind.EXPIRED, Kind.SECONDARY_LIMIT))
    plan = FaultPlan(share=0.2, seed=1, kinds=kinds)
    with running(tmp_path) as server, fault_proxy(server.host, plan) as proxy:
        crowd(mirrors, f"oci+http://{proxy.host}/a/b", tmp_path / "stop")
        assert sum(plan.met.values()) > 0.15 * len(proxy.requests)
        sent = [request for request in proxy.requests if request.startswith("PUT") and "/blobs/uploads/" in request]
        nothing_is_lost(f"{server.url}/a/b", tags)
        # Two pushers may race for a blob; they do not all send all they have.
        assert len(sent) < sum(1 for mirror in mirrors for _ in mirror.glob("v3/manifests/spec/*/*")) * 2


def test_a_crowd_at_a_directory(tmp_path: Path) -> None:
    mirrors, tags = some_mirrors(tmp_path)
    url = f"oci-layout:{tmp_path / 'layout'}"
    crowd(mirrors, url, tmp_path / "stop")
    nothing_is_lost(url, tags)
