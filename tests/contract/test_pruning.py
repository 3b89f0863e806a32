"""Pruning as it is done: over a layout, over a real registry, and over ghcr.io as the doubles play it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest

from cachelib import pipeline
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, FormatError, PruneError, RegistryError, UsageError
from cachelib.model.oci import (
    CATALOG_TAG,
    CONFIG,
    EMPTY,
    IMAGE_INDEX,
    INDEX_TAG,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
    ImageManifest,
    LayoutLocation,
    RawManifest,
    RegistryLocation,
    compact_json,
    spec_tag,
)
from cachelib.model.outcome import Built, NotPruned, NotPushed, Pruned, PruneOutcome, Spared, Swept
from cachelib.model.ports import Deleter, Repository
from cachelib.model.record import Origin, Record
from cachelib.model.stack import Retention
from cachelib.steps import pruning
from cachelib.steps.artifacts import described, load_catalog
from cachelib.steps.prune_reports import prune_report
from cachelib.steps.reports import Report
from cachelib.steps.verifying import verify
from cachelib.tools.files import write_atomically
from cachelib.tools.github_deleter import GitHubDeleter
from cachelib.tools.github_packages import GitHubPackages
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.oras_client import OrasClient
from cachelib.tools.registry import RegistryRepository
from tests.conftest import need
from tests.contract.test_road import index, push_all, put_image
from tests.support.docker_registry import running
from tests.support.double import Fault, RegistryDouble
from tests.support.github_api import DOWNLOADS, SECONDARY, GitHubDouble, Limit, serving_github
from tests.support.mirrors import add_entry, make_node
from tests.support.quiet import QuietProgress

PROJECT = Path(__file__).resolve().parents[2]
DAY = 86400.0
RULES = {"s": Retention(newest=1)}
Node = dict[str, Any]


# --- Places: the three ways in which something is deleted --------------------------------------------------------------------------------


class Place:
    """A repository, opened each time anew, and what deletes from it."""

    kind = ""

    def open(self) -> Repository:
        raise NotImplementedError

    def deleter(self, repository: Repository) -> Deleter:
        return cast(LayoutRepository | RegistryRepository, repository)

    def age(self, days: float = 30) -> None:
        """Make everything that is there so many days old."""

    def collect(self) -> None:
        """Free, as a registry does at night, whatever no tag leads to."""
        raise NotImplementedError

    def copy(self) -> Callable[[], None]:
        """Remember everything that is there; what is given puts it back."""
        raise NotImplementedError


@dataclass
class LayoutPlace(Place):
    root: Path
    kind = "layout"

    def open(self) -> LayoutRepository:
        return LayoutRepository(LayoutLocation(path=self.root))

    def age(self, days: float = 30) -> None:
        for path in self.root.rglob("*"):
            os.utime(path, (time.time() - days * DAY,) * 2)

    def collect(self) -> None:
        swept = self.open().sweep(frozenset(), before=inf)
        assert not swept.note

    def copy(self) -> Callable[[], None]:
        kept = self.root.with_name(f"{self.root.name}.kept")
        shutil.copytree(self.root, kept)

        def restore() -> None:
            shutil.rmtree(self.root)
            shutil.copytree(kept, self.root)

        return restore


@dataclass
class DockerPlace(Place):
    host: str
    folder: Path
    kind = "docker"

    def open(self) -> RegistryRepository:
        return RegistryRepository(RegistryLocation(host=self.host, repository="a/b", plain_http=True), None)

    def collect(self) -> None:
        command = ["docker-registry", "garbage-collect", str(self.folder / "config.yml")]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def copy(self) -> Callable[[], None]:
        kept, data = self.folder / "kept", self.folder / "data"
        shutil.copytree(data, kept)

        def restore() -> None:
            shutil.rmtree(data)
            shutil.copytree(kept, data)

        return restore


@dataclass
class GhcrPlace(Place):
    double: RegistryDouble
    github: GitHubDouble
    pauses: list[float] = field(default_factory=list)
    kind = "ghcr"

    def open(self) -> RegistryRepository:
        return RegistryRepository(RegistryLocation(host=self.double.host, repository="eurohpc/hub/cache", plain_http=True), None)

    def deleter(self, repository: Repository) -> GitHubDeleter:
        github = self.github
        packages = GitHubPackages(github.url, github.owner, github.package, "ghs_token", pause=self.pauses.append, per_second=inf)
        return GitHubDeleter(packages)

    def age(self, days: float = 30) -> None:
        moment = rfc3339(time.time() - days * DAY)
        for digest in self.github.digests():
            entry = self.github.entry(digest)
            entry.created = entry.updated = moment
        # What is pushed from now on is of now: the double counts minutes from the beginning of 2026.
        minutes = int((datetime.now(UTC) - datetime(2026, 1, 1, tzinfo=UTC)) / timedelta(minutes=1))
        self.github.issued = max(self.github.issued, minutes) + 1

    def collect(self) -> None:
        named = [json.loads(data) for _, data in self.double.manifests.values()]
        used = {part["digest"] for item in named for part in (*item.get("layers", ()), *filter(None, [item.get("config")]))}
        for digest in self.double.blobs.keys() - used:
            del self.double.blobs[digest]

    def copy(self) -> Callable[[], None]:
        double, github = self.double, self.github
        kept = dict(double.blobs), dict(double.manifests), dict(double.tags), {d: (e.id, e.updated) for d, e in github.entries.items()}

        def restore() -> None:
            for held, before in zip((double.blobs, double.manifests, double.tags), kept, strict=False):
                cast(dict[str, Any], held).clear()
                cast(dict[str, Any], held).update(cast(dict[str, Any], before))
            github.entries.clear()
            for digest, (number, updated) in kept[3].items():
                entry = github.entry(digest)
                entry.id, entry.created, entry.updated = number, updated, updated

        return restore

    def version(self, digest: Digest | str) -> int:
        """GitHub's number of a manifest."""
        return self.github.entry(str(digest)).id


def rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def layout(tmp_path: Path) -> LayoutPlace:
    return LayoutPlace(tmp_path / "layout")


@pytest.fixture
def ghcr(double: RegistryDouble) -> Iterator[GhcrPlace]:
    with serving_github(double) as github:
        github.requests = double.requests  # one record of both, in the order in which they came
        yield GhcrPlace(double, github)


@pytest.fixture(params=["layout", "docker", "ghcr"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "docker":
        need("docker-registry")
        (tmp_path / "docker").mkdir()
        with running(tmp_path / "docker") as server:
            yield DockerPlace(server.host, tmp_path / "docker")
        return
    yield request.getfixturevalue(str(request.param))


# --- A cache with something to prune -----------------------------------------------------------------------------------------------------


@dataclass
class Cache:
    """A mirror, and what is in it by `name@version`."""

    root: Path
    nodes: dict[str, Node] = field(default_factory=dict)
    needs: dict[str, list[str]] = field(default_factory=dict)

    def add(
        self, label: str, *needs: str, ago: float = 0, stack: str = "s", builds: str = "", files: Mapping[str, bytes] | None = None
    ) -> None:
        """Write a build of so many days ago; `needs` are linked, `builds` was needed to build it."""
        name, _, version = label.partition("@")
        node = make_node(name, version, [self.nodes[need] for need in (*needs, *filter(None, [builds]))])
        if builds:
            from cachelib.model.spec import dag_hash

            del node["hash"]
            node["dependencies"][-1]["parameters"]["deptypes"] = ["build"]
            node["hash"] = dag_hash(node)
        self.nodes[label], self.needs[label] = node, [*needs, *filter(None, [builds])]
        # The bytes of each tarball are its own, so that nothing is kept by what it happens to share.
        add_entry(self.root, self.dag(label), files or {f"bin/{name}": os.urandom(8) + label.encode()})
        created = rfc3339(time.time() - ago * DAY)
        record = Record(
            name=name, version=version, hash=node["hash"], outcome=Built(seconds=1.0), origin=Origin(stack=stack, created=created)
        )
        DiskMirror(self.root).write_record(record)

    def dag(self, label: str) -> list[Node]:
        found = {label: self.nodes[label]}
        for below in self.needs[label]:
            found |= {str(node["hash"]): node for node in self.dag(below)}
        return list({node["hash"]: node for node in found.values()}.values())

    def tag(self, label: str) -> str:
        node = self.nodes[label]
        return spec_tag(node["name"], node["version"], node["hash"])

    def tags(self, labels: str) -> set[str]:
        return {self.tag(label) for label in labels.split()}

    def hash(self, label: str) -> str:
        return str(self.nodes[label]["hash"])


#: By RULES: what goes, and what stays, for one reason or another.
DOOMED = "lib@2 tool@1 tool@2 app@1 builder@1"
KEPT = "deep@1 deep@2 lib@1 lib@3 tool@3 app@2 builder@2 nobodys@1 foreign@1"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """deep@1 <- lib@1 <- tool@3 live by what the newest tool needs; builder@1 built it, and is needed no more."""
    made = Cache(tmp_path / "mirror")
    made.add("deep@1", ago=95)
    made.add("deep@2", ago=4)
    made.add("lib@1", "deep@1", ago=90)
    made.add("lib@2", ago=80)
    made.add("lib@3", "deep@2", ago=5)
    made.add("builder@1", ago=99)
    made.add("builder@2", ago=3)
    made.add("tool@1", "lib@1", ago=60)
    made.add("tool@2", "lib@2", ago=50)
    made.add("tool@3", "lib@1", ago=1, builds="builder@1")
    made.add("app@1", "lib@2", ago=70)
    made.add("app@2", "lib@3", ago=2)
    made.add("nobodys@1", ago=200, stack="")
    made.add("foreign@1", ago=200, stack="elsewhere")
    return made


def publish(cache: Cache, place: Place) -> None:
    """Push and index everything, a month ago."""
    assert not [outcome for outcome in push_all(cache.root, place.open()).values() if type(outcome).__name__ == "NotPushed"]
    index(place.open())
    place.age()


@dataclass
class Done:
    """A pruning and what came of it."""

    run: pruning.PruneRun
    result: pruning.PruneResult

    @property
    def outcomes(self) -> Mapping[str, PruneOutcome]:
        return self.result.outcomes

    @property
    def swept(self) -> Swept:
        return self.result.swept


def plan(place: Place, rules: Mapping[str, Retention] = RULES, locked: frozenset[str] = frozenset()) -> tuple[pruning.PruneRun, float]:
    now = datetime.now(UTC)
    return pruning.plan(place.open(), rules, locked, now=now, jobs=4, progress=QuietProgress()), now.timestamp()


def carry_out(
    run: pruning.PruneRun, since: float, place: Place, *, grace: float = DAY, wrap: Callable[[Any], Any] = lambda thing: thing
) -> Done:
    repository = place.open()
    deleter = place.deleter(repository)
    wrapped = wrap(repository)
    # Where a repository deletes by itself, it is one thing with two sides.
    deleting = wrapped if cast(object, deleter) is repository else wrap(deleter)
    result = pruning.prune(run, wrapped, deleting, labels={}, since=since, grace=grace, jobs=4, progress=QuietProgress())
    return Done(run, result)


def prune(
    place: Place, rules: Mapping[str, Retention] = RULES, *, grace: float = DAY, wrap: Callable[[Any], Any] = lambda thing: thing
) -> Done:
    return carry_out(*plan(place, rules), place, grace=grace, wrap=wrap)


def state(place: Place) -> dict[str, str]:
    """Every tag, and the digest that it names."""
    repository = place.open()
    return {tag: str(raw.digest) for tag in repository.tags() if (raw := repository.manifest(tag)) is not None}


def spec_tags(place: Place) -> set[str]:
    return {tag for tag in place.open().tags() if tag.endswith(".spack") and tag != INDEX_TAG}


def listed(place: Place) -> set[str]:
    """The DAG hashes that Spack's index offers."""
    repository = place.open()
    raw = repository.manifest(INDEX_TAG)
    assert raw is not None
    found = json.loads(repository.read_blob(ImageManifest.parse(raw).layers[0]))["database"]["installs"]
    return {h for h, row in found.items() if row["in_buildcache"]}


def named(place: Place) -> set[str]:
    """The tags that the catalog names; Spack's index says the same."""
    catalog = load_catalog(place.open())
    assert listed(place) == set(catalog.entries)
    return set(catalog.tags())


def whole(place: Place, tag: str) -> bool:
    """Whether an image can be read to its end, its layers one by one."""
    repository = place.open()
    raw = repository.manifest(tag)
    if raw is None:
        return False
    manifest = ImageManifest.parse(raw)
    return all(sum(map(len, repository.stream_blob(part))) == part.size for part in (manifest.config, *manifest.layers))


def resolves(place: Place) -> bool:
    """Whether everything that catalog and Spack's index name is there, as they say."""
    catalog, there = load_catalog(place.open()), state(place)
    tags = {tag.removesuffix(".spack")[-32:]: tag for tag in there}
    return all(h in tags and whole(place, tags[h]) for h in listed(place)) and all(
        there.get(entry.tag) == str(entry.manifest.digest) and whole(place, entry.tag) for entry in catalog.entries.values()
    )


def findings(place: Place) -> tuple[Any, ...]:
    return verify(place.open(), jobs=4, progress=QuietProgress()).findings


def assert_sound(place: Place, tags: set[str]) -> None:
    """These images are there and no others, all of them whole, also when the registry has taken its garbage out."""
    assert spec_tags(place) == tags
    assert named(place) == tags
    for _ in range(2):
        assert findings(place) == ()
        assert all(whole(place, tag) for tag in tags)
        place.collect()


# --- What is planned is what is done -----------------------------------------------------------------------------------------------------


def test_what_is_planned_is_what_is_done(cache: Cache, place: Place) -> None:
    publish(cache, place)
    before = state(place)
    run, since = plan(place)
    assert state(place) == before
    assert {item.entry.tag for item in run.plan.doomed()} == cache.tags(DOOMED)
    assert {item.entry.tag for item in run.plan.kept()} == cache.tags(KEPT)
    pruning.check(run.plan, yes=True)
    done = carry_out(run, since, place)
    sizes = {item.entry.hash: item.size for item in run.plan.doomed()}
    assert done.outcomes == {h: Pruned(size=size) for h, size in sizes.items()}
    after = state(place)
    assert {tag for tag in before if tag not in after} == {item.entry.tag for item in run.plan.doomed()}
    assert {tag: after[tag] for tag in cache.tags(KEPT)} == {tag: before[tag] for tag in cache.tags(KEPT)}
    assert_sound(place, cache.tags(KEPT))
    report = prune_report(run.plan, done.result, "here")
    assert report.exit_code == 0
    assert report.lines[-1].startswith(f"prune: 5 deleted ({sum(sizes.values())} bytes), 9 kept, 0 failed, in here; ")


def test_again_deletes_nothing(cache: Cache, place: Place) -> None:
    publish(cache, place)
    prune(place)
    before = state(place)
    place.age(2)
    again = prune(place)
    assert (again.run.plan.doomed(), again.outcomes) == ((), {})
    assert state(place) == before
    assert_sound(place, cache.tags(KEPT))


def test_what_was_never_indexed_is_pruned_too(cache: Cache, place: Place) -> None:
    push_all(cache.root, place.open())
    place.age()
    assert {type(outcome) for outcome in prune(place).outcomes.values()} == {Pruned}
    assert_sound(place, cache.tags(KEPT))


def test_a_stale_catalog_is_not_believed(cache: Cache, place: Place) -> None:
    """What was pushed since the last index run is planned for, and what is gone is not."""
    publish(cache, place)
    cache.add("tool@4", "lib@1", ago=0.5)
    cache.add("lone@1", ago=300)
    push_all(cache.root, place.open())
    place.age()
    done = prune(place)
    assert {item.entry.tag for item in done.run.plan.doomed()} == cache.tags(f"{DOOMED} tool@3")
    assert_sound(place, cache.tags(f"{KEPT} tool@4 lone@1") - cache.tags("tool@3"))


def test_a_node_that_is_told_in_two_ways(cache: Cache, place: Place) -> None:
    """The index of such a cache can't shrink by counting, and is made anew from what is left."""
    one, other = (make_node("glibc", external={"path": path, "module": None}) for path in ("/usr", "/opt"))
    other["hash"] = one["hash"]
    for label, node in (("left@1", one), ("left@2", other)):
        cache.nodes["glibc@1.0"], cache.needs["glibc@1.0"] = node, []
        cache.add(label, "glibc@1.0", ago=int(label[-1]))
    publish(cache, place)
    done = prune(place)
    assert {item.entry.tag for item in done.run.plan.doomed()} == cache.tags(f"{DOOMED} left@2")
    assert_sound(place, cache.tags(f"{KEPT} left@1"))


# --- Order -------------------------------------------------------------------------------------------------------------------------------


class Watched:
    """A repository or a deleter that tells before it changes something."""

    def __init__(self, inner: Any, tell: Callable[[str, str], None]) -> None:
        self._inner, self._tell = inner, tell

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in ("put_blob", "put_manifest", "delete", "sweep"):
            return method

        def told(*args: Any, **kwargs: Any) -> Any:
            self._tell(name, str(args[1] if name == "put_manifest" else args[0] if name == "delete" else ""))
            return method(*args, **kwargs)

        return told


def test_nothing_is_deleted_that_anything_names(cache: Cache, place: Place) -> None:
    """When the first tag goes, another process reads indexes that name none of those that will go."""
    publish(cache, place)
    assert cache.tags(DOOMED) <= named(place)
    seen = []

    def look(what: str, tag: str) -> None:
        if what == "delete":
            seen.append(tag)
            assert named(place) == cache.tags(KEPT)

    prune(place, wrap=lambda thing: Watched(thing, look))
    assert sorted(seen) == sorted(cache.tags(DOOMED))


def test_the_index_goes_over_the_wire_before_any_delete(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    ghcr.double.requests.clear()
    prune(ghcr)
    assert_order(ghcr.double.requests, deleted=len(DOOMED.split()))


def test_the_index_goes_over_a_real_wire_before_any_delete(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("docker-registry")
    sent: list[str] = []
    original = OrasClient.send

    def send(self: OrasClient, method: str, url: str, **kwargs: Any) -> Any:
        sent.append(f"{method} {url}")
        return original(self, method, url, **kwargs)

    with running(tmp_path) as server:
        docker = DockerPlace(server.host, tmp_path)
        publish(cache, docker)
        monkeypatch.setattr(OrasClient, "send", send)
        prune(docker)
    assert_order(sent, deleted=len(DOOMED.split()))


def assert_order(requests: list[str], *, deleted: int) -> None:
    changes = [request for request in requests if request.split()[0] in ("PUT", "DELETE") and "/blobs/" not in request]
    assert [request.rpartition("/")[2] for request in changes[:2]] == [INDEX_TAG, CATALOG_TAG]
    assert [request.split()[0] for request in changes[2 : 2 + deleted]] == ["DELETE"] * deleted
    first = requests.index(changes[2])
    assert not [request for request in requests[first:] if request.startswith(("POST", "PUT"))]


# --- Kills -------------------------------------------------------------------------------------------------------------------------------


class Mortal:
    """Lets so many changes happen, of all that one process makes; then the process is gone."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.made: list[str] = []

    def __call__(self, thing: Any) -> Watched:
        return Watched(thing, self._step)

    def _step(self, what: str, tag: str) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.made.append(what)


def steps(cache: Cache, place: Place, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """The changes that an undisturbed pruning makes, and what it ends with: over a twin of the place."""
    twin = LayoutPlace(tmp_path / "twin")
    publish(cache, twin)
    counting = Mortal(-1)
    prune(twin, wrap=counting)
    assert_sound(twin, cache.tags(KEPT))
    return counting.made, state(twin)


def killed_everywhere(cache: Cache, place: Place, tmp_path: Path, which: Callable[[list[str]], list[int]]) -> None:
    publish(cache, place)
    restore = place.copy()
    made, undisturbed = steps(cache, place, tmp_path)
    assert made.count("delete") == 5
    tried = which(made)
    assert tried
    for left in tried:
        restore()
        with pytest.raises(KeyboardInterrupt):
            prune(place, wrap=Mortal(left))
        assert resolves(place), f"killed after {made[:left]}"
        gone = cache.tags(f"{DOOMED} {KEPT}") - spec_tags(place)
        assert gone <= cache.tags(DOOMED)
        assert not gone & load_catalog(place.open()).tags()
        assert_taken_up(cache, place, undisturbed)


def assert_taken_up(cache: Cache, place: Place, undisturbed: dict[str, str]) -> None:
    """The next run finishes what the first began, and ends where that one would have ended."""
    prune(place)
    assert state(place) == undisturbed
    assert_sound(place, cache.tags(KEPT))


def test_killed_at_any_step(cache: Cache, layout: LayoutPlace, tmp_path: Path) -> None:
    killed_everywhere(cache, layout, tmp_path, lambda made: list(range(len(made))))


def test_killed_between_deletes(cache: Cache, place: Place, tmp_path: Path) -> None:
    def which(made: list[str]) -> list[int]:
        first = made.index("delete")
        return [first, first + 2] if place.kind == "docker" else [first - 1, first, first + 1, first + 3, first + 5]

    killed_everywhere(cache, place, tmp_path, which)


def test_a_process_that_is_killed(cache: Cache, tmp_path: Path) -> None:
    """The same with a real SIGKILL, wherever it falls."""
    folder = make_project(tmp_path, cache)
    registry, kept, twin = folder / "registry", tmp_path / "kept", LayoutPlace(tmp_path / "twin" / "cache")
    shutil.copytree(registry, kept)
    shutil.copytree(registry, twin.root.parent)
    prune(twin)
    layout, stopped = LayoutPlace(registry / "cache"), 0
    for left in range(0, 12, 3):
        shutil.rmtree(registry)
        shutil.copytree(kept, registry)
        command = [sys.executable, "-c", KILLED, str(folder / "cache.yaml"), str(left)]
        done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, timeout=120)
        stopped += done.returncode == -9
        assert resolves(layout)
        assert spec_tags(layout) >= cache.tags(KEPT)
        assert_taken_up(cache, layout, state(twin))
    assert stopped >= 2


#: `inv prune`, killed by its own hand when it is about to rename a file for the nth time.
KILLED = """
import os, signal, sys
from pathlib import Path
from cachelib import pipeline
left, replace = int(sys.argv[2]), Path.replace
def counted(self, target):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return replace(self, target)
Path.replace = counted
pipeline.prune(pipeline.open_workspace(sys.argv[1]), yes=True)
"""


# --- What comes meanwhile ----------------------------------------------------------------------------------------------------------------


def test_a_tag_that_is_pushed_anew_stays(cache: Cache, place: Place, tmp_path: Path) -> None:
    publish(cache, place)
    run, since = plan(place)
    again = Cache(tmp_path / "again")
    for label in ("lib@1", "tool@1"):
        again.nodes, again.needs = cache.nodes, cache.needs
        again.add(label, *cache.needs[label], ago=60)
    push_all(again.root, place.open(), force=True)
    anew = state(place)[cache.tag("tool@1")]
    assert anew != next(str(i.entry.manifest.digest) for i in run.plan.doomed() if i.entry.tag == cache.tag("tool@1"))
    done = carry_out(run, since, place)
    assert state(place)[cache.tag("tool@1")] == anew
    if place.kind == "layout":  # elsewhere what the plan meant is deleted by its digest, and it is the tag that lives on
        assert done.outcomes[cache.hash("tool@1")] == Spared(reason="it was pushed anew after the pruning began")
    assert_sound(place, cache.tags(f"{KEPT} tool@1"))


def test_the_same_image_pushed_anew_stays(cache: Cache, layout: LayoutPlace) -> None:
    publish(cache, layout)
    run, since = plan(layout)
    before = state(layout)
    time.sleep(0.05)  # what a file system tells of times is a little coarse
    push_all(cache.root, layout.open(), force=True)
    assert {tag: state(layout)[tag] for tag in cache.tags(DOOMED)} == {tag: before[tag] for tag in cache.tags(DOOMED)}
    done = carry_out(run, since, layout)
    assert [type(outcome) for outcome in done.outcomes.values()] == [Spared] * 5
    assert Spared(reason="it was pushed anew after the pruning began") in done.outcomes.values()
    assert_sound(layout, cache.tags(f"{DOOMED} {KEPT}"))


def test_a_version_that_was_touched_stays(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    digest = state(ghcr)[cache.tag("tool@1")]
    run, since = plan(ghcr)
    ghcr.github.entry(digest).updated = rfc3339(since + 1)
    done = carry_out(run, since, ghcr)
    assert done.outcomes[cache.hash("tool@1")] == Spared(reason="it was pushed anew after the pruning began")
    assert sum(isinstance(outcome, Pruned) for outcome in done.outcomes.values()) == 4
    assert_sound(ghcr, cache.tags(f"{KEPT} tool@1"))


def test_a_tag_that_is_pushed_anew_before_its_removal_is_written(cache: Cache, layout: LayoutPlace) -> None:
    publish(cache, layout)
    tag = cache.tag("tool@1")
    raw = layout.open().manifest(tag)
    assert raw is not None
    pruner, since = layout.open(), time.time()
    pruner.delete(cache.tag("tool@2"), Digest.parse(state(layout)[cache.tag("tool@2")]), since=since)  # is written at once
    assert pruner.delete(tag, raw.digest, since=since)  # is not
    time.sleep(0.05)
    pusher = layout.open()
    pusher.put_manifest(raw, tag)
    pusher.flush()
    pruner.flush()
    assert tag in layout.open().tags()


def test_what_a_newcomer_needs_is_saved(cache: Cache, place: Place) -> None:
    publish(cache, place)
    run, since = plan(place)
    cache.add("new@1", "tool@2", builds="builder@1")  # tool@2 needs lib@2, both doomed
    push_all(cache.root, place.open())
    done = carry_out(run, since, place)
    spared = Spared(reason="a spec that was pushed meanwhile needs it")
    assert {h for h, outcome in done.outcomes.items() if outcome == spared} == {cache.hash("tool@2"), cache.hash("lib@2")}
    assert {h for h, outcome in done.outcomes.items() if isinstance(outcome, Pruned)} == {
        cache.hash(label) for label in ("tool@1", "app@1", "builder@1")
    }
    assert_sound(place, cache.tags(f"{KEPT} tool@2 lib@2 new@1"))


def test_a_newcomer_that_comes_while_entries_go_is_saved_or_told_of(
    cache: Cache, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it needs is spared if it is still there; if it went a moment before, the report says what to do."""
    publish(cache, place)
    run, since = plan(place)
    monkeypatch.setattr("cachelib.steps.newcomers._SECONDS", 0.0)
    asked: list[str] = []

    def come(what: str, tag: str) -> None:
        if what == "delete":
            asked.append(tag)
            if len(asked) == 2:
                alone = Cache(tmp_path / "alone", cache.nodes, cache.needs)
                alone.add("new@1", "tool@2", "tool@1")
                push_all(alone.root, place.open())

    result = carry_out(run, since, place, wrap=lambda thing: Watched(thing, come)).result
    assert asked[:2] == [cache.tag("tool@1"), cache.tag("app@1")]
    assert result.outcomes[cache.hash("tool@2")] == Spared(reason="a spec that was pushed meanwhile needs it")
    assert isinstance(result.outcomes[cache.hash("lib@2")], Spared)
    (warning,) = result.warnings
    assert warning.tag == cache.tag("new@1")
    assert warning.reason.startswith("it was pushed meanwhile and needs tool@1/")
    report = prune_report(run.plan, result, "x")
    assert (report.exit_code, sum("WARNING" in line for line in report.lines)) == (12, 1)
    push_all(cache.root, place.open())
    index(place.open())
    assert findings(place) == ()


def test_a_newcomer_that_is_no_spec_saves_nothing(cache: Cache, place: Place) -> None:
    publish(cache, place)
    run, since = plan(place)
    put_image(place.open(), b"{}", "odd-1.0-x.spack")
    done = carry_out(run, since, place)
    assert {type(outcome) for outcome in done.outcomes.values()} == {Pruned}
    assert spec_tags(place) == cache.tags(KEPT) | {"odd-1.0-x.spack"}
    assert named(place) == cache.tags(KEPT)


def test_a_newcomer_that_can_not_be_read_stops_everything(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    run, since = plan(ghcr)
    cache.add("new@1", "tool@2")
    push_all(cache.root, ghcr.open())
    before = state(ghcr)
    ghcr.double.faults.append(Fault(f"manifests/{cache.tag('new@1')}", "status", 503, times=99))
    with pytest.raises(RegistryError):
        carry_out(run, since, ghcr)
    ghcr.double.faults.clear()
    assert state(ghcr) == before
    assert ghcr.github.deleted == []
    assert_sound_but_for_index(ghcr, cache.tags(f"{DOOMED} {KEPT} new@1"))


def assert_sound_but_for_index(place: Place, tags: set[str]) -> None:
    assert spec_tags(place) == tags
    index(place.open())
    assert_sound(place, tags)


def test_what_can_not_be_read_stops_everything(cache: Cache, ghcr: GhcrPlace) -> None:
    """It was pushed before the plan, but not indexed yet; a newcomer in the same state stops the pruning."""
    publish(cache, ghcr)
    cache.add("new@1", "tool@2")
    push_all(cache.root, ghcr.open())
    ghcr.age()
    ghcr.double.faults.append(Fault(f"manifests/{cache.tag('new@1')}", "status", 503, times=12))  # as often as one tries
    with suppress(CacheError):
        prune(ghcr)
    assert cache.tags("new@1 tool@2 lib@2") <= spec_tags(ghcr)


def test_a_tag_list_that_is_missing_for_once_hides_no_newcomer(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    run, since = plan(ghcr)
    cache.add("new@1", "tool@2")
    push_all(cache.root, ghcr.open())
    ghcr.double.faults.append(Fault("tags/list", "status", 404, times=1, code="NAME_UNKNOWN"))
    with suppress(CacheError):
        carry_out(run, since, ghcr)
    assert cache.tags("new@1 tool@2 lib@2") <= spec_tags(ghcr)


# --- What can't be deleted ---------------------------------------------------------------------------------------------------------------


def test_a_registry_that_deletes_nothing(cache: Cache, ghcr: GhcrPlace) -> None:
    """Asked itself, as Docker's is where nobody switched deletion on: all is reported, and named again."""
    publish(cache, ghcr)
    ghcr.double.faults.append(Fault("DELETE", "status", 405, times=99, code="UNSUPPORTED"))
    run, since = plan(ghcr)
    repository = ghcr.open()
    result = pruning.prune(run, repository, repository, labels={}, since=since, grace=DAY, jobs=4, progress=QuietProgress())
    assert_failed(run, result, "storage.delete.enabled")
    assert_sound(ghcr, cache.tags(f"{DOOMED} {KEPT}"))


def assert_failed(run: pruning.PruneRun, result: pruning.PruneResult, word: str) -> None:
    """Nothing was deleted; it is said of each entry why, and the exit code tells programs."""
    outcomes = result.outcomes
    assert outcomes.keys() == {item.entry.hash for item in run.plan.doomed()}
    failed = {h: outcome.reason for h, outcome in outcomes.items() if isinstance(outcome, NotPruned)}
    # What others need that could not be deleted may be spared without being asked for.
    assert all(isinstance(outcome, NotPruned | Spared) for outcome in outcomes.values())
    assert len(failed) >= 4
    assert [reason for reason in failed.values() if word not in reason] == []
    report = prune_report(run.plan, result, "x")
    assert (report.exit_code, sum("FAILED" in line for line in report.lines)) == (PruneError.exit_code, len(failed))
    assert f"prune: 0 deleted (0 bytes), 14 kept, {len(failed)} failed, in x" in report.lines[-1]


def test_what_was_downloaded_often_is_spared_and_named_again(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    ghcr.github.downloads = {state(ghcr)[cache.tag("tool@1")]: 5001, state(ghcr)[cache.tag("builder@1")]: 5000}
    done = prune(ghcr)
    spared = done.outcomes[cache.hash("tool@1")]
    assert isinstance(spared, Spared)
    assert DOWNLOADS in spared.reason
    assert "only its support deletes them" in spared.reason
    assert [type(outcome) for h, outcome in done.outcomes.items() if h != cache.hash("tool@1")] == [Pruned] * 4
    report = prune_report(done.run.plan, done.result, "x")
    assert report.exit_code == 0
    assert [line for line in report.lines if line.startswith("  spared   tool@1/")]
    assert_sound(ghcr, cache.tags(f"{KEPT} tool@1"))


def test_what_a_spared_entry_needs_is_spared_too(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    ghcr.github.downloads[state(ghcr)[cache.tag("tool@2")]] = 5001
    prune(ghcr)
    assert_sound(ghcr, cache.tags(f"{KEPT} tool@2 lib@2"))


def test_who_may_not_delete_is_told_so_and_loses_nothing(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    ghcr.github.role = "write"
    done = prune(ghcr)
    assert_failed(done.run, done.result, "Admin")
    assert_sound(ghcr, cache.tags(f"{DOOMED} {KEPT}"))


def test_what_fails_costs_itself_alone(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    version = ghcr.version(state(ghcr)[cache.tag("tool@1")])
    ghcr.github.faults.append(Fault(f"DELETE .*/{version}$", "status", 500, times=99))
    done = prune(ghcr)
    assert isinstance(done.outcomes[cache.hash("tool@1")], NotPruned)
    assert sum(isinstance(outcome, Pruned) for outcome in done.outcomes.values()) == 4
    report = prune_report(done.run.plan, done.result, "x")
    assert (report.exit_code, [line[:17] for line in report.lines if "FAILED" in line]) == (12, ["  FAILED   tool@1"])
    assert_sound(ghcr, cache.tags(f"{KEPT} tool@1"))


def test_what_is_another_spec_too_is_not_taken_from_it(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    raw = ghcr.open().manifest(cache.tag("app@1"))
    assert raw is not None
    other = f"app-0-{'z' * 32}.spack"
    run, since = plan(ghcr)
    ghcr.open().put_manifest(raw, other)
    ghcr.age()
    outcome = carry_out(run, since, ghcr).outcomes[cache.hash("app@1")]
    assert isinstance(outcome, NotPruned)
    assert f"is tagged {other} too" in outcome.reason
    assert {other, cache.tag("app@1")} <= state(ghcr).keys()


def test_an_owners_own_tags_keep_no_build(cache: Cache, place: Place) -> None:
    """Wherever it is published: a tag goes with what it names, two of one image index too, and others stay."""
    publish(cache, place)
    gone, kept = cache.tag("app@1"), cache.tag("app@2")
    repository = place.open()
    found = {tag: repository.manifest(tag) for tag in (gone, kept)}
    listed = [{**raw.descriptor().json()} for raw in found.values() if raw is not None]
    both = RawManifest(media_type=IMAGE_INDEX, data=compact_json({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": listed}))
    for name, raw in (("old", found[gone]), ("older", found[gone]), ("stable", found[kept]), ("both", both), ("both-too", both)):
        assert raw is not None
        repository.put_manifest(raw, name)
    repository.flush()
    place.age()
    done = prune(place)
    assert {type(outcome) for outcome in done.outcomes.values()} == {Pruned}
    assert done.result.swept.note in ("", "the registry frees the bytes when it next collects its garbage")
    left = state(place)
    assert not {"old", "older", "both", "both-too", gone} & left.keys()
    assert left["stable"] == left[kept]


def test_what_github_has_lost_already_counts_as_deleted(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    run, since = plan(ghcr)
    gone = cache.tag("app@1")
    del ghcr.double.manifests[ghcr.double.tags.pop(gone)]
    done = carry_out(run, since, ghcr)
    assert {type(outcome) for outcome in done.outcomes.values()} == {Pruned}
    assert_sound(ghcr, cache.tags(KEPT))


def test_a_rate_limit_is_taken_up_where_it_fell(cache: Cache, ghcr: GhcrPlace, tmp_path: Path) -> None:
    publish(cache, ghcr)
    _, undisturbed = steps(cache, ghcr, tmp_path)
    ghcr.github.limits = [Limit(after=2, times=1000)]
    done = prune(ghcr)
    assert sum(isinstance(outcome, Pruned) for outcome in done.outcomes.values()) == 2
    failed = [outcome.reason for outcome in done.outcomes.values() if isinstance(outcome, NotPruned)]
    assert failed
    assert all(SECONDARY in reason and "it goes on where it stopped" in reason for reason in failed)
    # What is still there is in the index, what is gone isn't.
    assert named(ghcr) == spec_tags(ghcr)
    ghcr.github.limits.clear()
    assert_taken_up(cache, ghcr, undisturbed)


# --- GitHub: what has no tag -------------------------------------------------------------------------------------------------------------


def put_bytes(repository: Repository, data: bytes, media_type: str = EMPTY) -> Descriptor:
    descriptor = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
    repository.put_blob(descriptor, lambda: io.BytesIO(data))
    return descriptor


def put_loose(place: Place, what: str, tag: str | None = None) -> Digest:
    """An image of nothing, without a tag."""
    repository = place.open()
    config = put_bytes(repository, json.dumps({"is": what}).encode(), CONFIG)
    raw = ImageManifest(
        media_type=MANIFEST, config=config, layers=(put_bytes(repository, what.encode(), LAYER_GZIP),), annotations={}
    ).raw()
    repository.put_manifest(raw, tag)
    repository.flush()
    return raw.digest


def put_index(place: Place, tag: str | None, *children: Digest) -> Digest:
    """An image index over some manifests."""
    repository = place.open()
    manifests = []
    for digest in children:
        raw = repository.manifest(str(digest))
        assert raw is not None
        manifests.append(raw.descriptor().json())
    raw = RawManifest(
        media_type=IMAGE_INDEX, data=json.dumps({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests}).encode()
    )
    repository.put_manifest(raw, tag)
    repository.flush()
    return raw.digest


def attest(place: Place, image: str) -> tuple[str, Digest, Digest]:
    """An attestation of an image, as GitHub's action leaves it: a tag, its image index, and the manifest below that."""
    child = put_loose(place, f"attestation of {image}")
    tag = image.replace(":", "-")
    return tag, put_index(place, tag, child), child


def has(place: Place, digest: Digest) -> bool:
    return place.open().manifest(str(digest)) is not None


@pytest.mark.parametrize(("days", "stays"), [(0.9, True), (1.1, False), (300, False)])
def test_what_has_no_tag_goes_when_it_is_old(cache: Cache, ghcr: GhcrPlace, days: float, stays: bool) -> None:
    publish(cache, ghcr)
    loose = put_loose(ghcr, "something")
    ghcr.github.entry(str(loose)).updated = rfc3339(time.time() - days * DAY)
    done = prune(ghcr, {"s": Retention()})
    assert done.outcomes == {}
    assert (has(ghcr, loose), done.swept.count) == (stays, 0 if stays else 1)
    assert_sound(ghcr, cache.tags(f"{DOOMED} {KEPT}"))


def test_indexes_of_old_days_go(cache: Cache, ghcr: GhcrPlace) -> None:
    push_all(cache.root, ghcr.open())
    index(ghcr.open())
    cache.add("more@1")
    publish(cache, ghcr)
    old = ghcr.double.manifests.keys() - ghcr.double.tags.values()
    assert len(old) == 2
    done = prune(ghcr, {"s": Retention()})
    assert (done.swept, ghcr.double.manifests.keys() & old) == (Swept(count=2), set())


@pytest.mark.parametrize("moment", ["", "never", "2026-99-99T00:00:00Z"])
def test_a_time_that_can_not_be_read_counts_as_now(cache: Cache, ghcr: GhcrPlace, moment: str) -> None:
    publish(cache, ghcr)
    loose = put_loose(ghcr, "something")
    ghcr.github.entry(str(loose)).updated = moment
    ghcr.github.entry(state(ghcr)[cache.tag("tool@1")]).updated = moment
    done = prune(ghcr)
    assert has(ghcr, loose)
    assert isinstance(done.outcomes[cache.hash("tool@1")], Spared)


def test_what_an_image_index_lists_stays(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    arm, amd, loose = (put_loose(ghcr, what) for what in ("arm", "amd", "loose"))
    put_index(ghcr, "tools", arm, amd)
    ghcr.age()
    done = prune(ghcr)
    assert [has(ghcr, digest) for digest in (arm, amd, loose)] == [True, True, False]
    assert done.swept.count == 1 + 2  # and the two indexes from before, which name what is gone


def test_what_an_image_index_in_an_image_index_lists_stays(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    image = put_loose(ghcr, "arm")
    inner = put_index(ghcr, None, image)
    put_index(ghcr, "tools", inner)
    ghcr.age()
    prune(ghcr)
    assert has(ghcr, inner)
    assert has(ghcr, image)


def test_a_tag_list_that_is_missing_for_once_costs_no_children(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    child = put_loose(ghcr, "arm")
    put_index(ghcr, "tools", child)
    ghcr.age()
    run, since = plan(ghcr, {"s": Retention()})
    ghcr.double.faults.append(Fault("tags/list", "status", 404, times=2, code="NAME_UNKNOWN"))
    with suppress(CacheError):
        carry_out(run, since, ghcr)
    assert has(ghcr, child)


def test_a_strange_manifest_under_a_tag_is_passed_over(cache: Cache, layout: LayoutPlace) -> None:
    publish(cache, layout)
    odd = RawManifest(media_type=IMAGE_INDEX, data=b'{"schemaVersion": 2, "mediaType": "%s", "manifests": 5}' % IMAGE_INDEX.encode())
    repository = layout.open()
    repository.put_manifest(odd, "odd")
    repository.flush()
    layout.age()
    done = prune(layout)
    assert {type(outcome) for outcome in done.outcomes.values()} == {Pruned}


def test_the_attestation_of_what_stays_stays_and_that_of_what_goes_goes(cache: Cache, place: Place) -> None:
    publish(cache, place)
    gone, stays = (attest(place, state(place)[cache.tag(label)]) for label in ("tool@1", "tool@3"))
    place.age()
    done = prune(place)
    assert {type(outcome) for outcome in done.outcomes.values()} == {Pruned}
    assert (gone[0] in state(place), stays[0] in state(place)) == (False, True)
    assert has(place, stays[1])
    assert has(place, stays[2])
    assert_sound(place, cache.tags(KEPT))
    if place.kind != "docker":  # which keeps its untagged manifests until its garbage is collected with --delete-untagged
        assert not has(place, gone[1])
        assert not has(place, gone[2])
    assert has(place, stays[2])


def test_the_attestation_of_what_is_spared_stays(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    image = state(ghcr)[cache.tag("tool@1")]
    tag, _, child = attest(ghcr, image)
    ghcr.age()
    ghcr.github.downloads[image] = 5001
    assert isinstance(prune(ghcr).outcomes[cache.hash("tool@1")], Spared)
    assert tag in state(ghcr)
    assert has(ghcr, child)


def test_an_attestation_that_can_not_be_deleted_costs_itself_alone(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    tag, top, _ = attest(ghcr, state(ghcr)[cache.tag("tool@1")])
    loose = put_loose(ghcr, "loose")
    ghcr.age()
    ghcr.github.downloads[str(top)] = 5001
    done = prune(ghcr)
    assert {type(outcome) for outcome in done.outcomes.values()} == {Pruned}
    assert tag in state(ghcr)
    assert not has(ghcr, loose)


def test_the_attestation_of_what_a_killed_run_deleted_goes(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    tags = [attest(ghcr, state(ghcr)[cache.tag(label)])[0] for label in DOOMED.split()]
    ghcr.age()
    made, _ = steps(cache, ghcr, cache.root.parent)
    with pytest.raises(KeyboardInterrupt):
        prune(ghcr, wrap=Mortal(made.index("delete") + 3))
    prune(ghcr)
    assert_sound(ghcr, cache.tags(KEPT))
    assert not [tag for tag in tags if tag in state(ghcr)]


def test_a_sweep_that_is_stopped_goes_on_next_time(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    loose = [put_loose(ghcr, f"number {at}") for at in range(5)]
    ghcr.age()
    ghcr.github.limits = [Limit(after=2, times=1000)]
    first = prune(ghcr, {"s": Retention()})
    assert first.swept.count == 2
    assert SECONDARY in first.swept.note
    assert sum(has(ghcr, digest) for digest in loose) == 3
    report = prune_report(first.run.plan, first.result, "x")
    assert "2 unnamed things swept (0 bytes) (" in report.lines[-1]
    ghcr.github.limits.clear()
    assert prune(ghcr, {"s": Retention()}).swept == Swept(count=3)
    assert_sound(ghcr, cache.tags(f"{DOOMED} {KEPT}"))


def test_a_sweep_that_can_not_begin_loses_no_report(cache: Cache, ghcr: GhcrPlace) -> None:
    publish(cache, ghcr)
    ghcr.double.requests.clear()

    def break_lists(what: str, tag: str) -> None:
        if what == "sweep":
            ghcr.github.faults.append(Fault("GET .*/versions", "status", 500, times=99))

    done = prune(ghcr, wrap=lambda thing: Watched(thing, break_lists))
    assert len(done.outcomes) == 5
    assert done.swept.note


# --- The layout's own sweep --------------------------------------------------------------------------------------------------------------


def blobs(layout: LayoutPlace) -> set[str]:
    return {path.name for path in (layout.root / "blobs" / "sha256").iterdir()}


def set_age(layout: LayoutPlace, digest: Digest, days: float) -> None:
    os.utime(layout.root / "blobs" / "sha256" / digest.hex, (time.time() - days * DAY,) * 2)


def orphan(layout: LayoutPlace, data: bytes, days: float) -> Digest:
    digest = put_bytes(layout.open(), data).digest
    set_age(layout, digest, days)
    return digest


def test_orphans_go_when_they_are_old_and_what_is_tagged_never(cache: Cache, layout: LayoutPlace) -> None:
    publish(cache, layout)
    layout.age(3000)
    before = blobs(layout)
    old, young = orphan(layout, b"an old one", 1.1), orphan(layout, b"a young one", 0.9)
    untagged = put_loose(layout, "an image without a tag")
    for digest in (untagged, Digest.of(b"an image without a tag"), Digest.of(b'{"is": "an image without a tag"}')):
        set_age(layout, digest, 2)
    sizes = {path.name: path.stat().st_size for path in (layout.root / "blobs" / "sha256").iterdir()}
    swept = layout.open().sweep(frozenset(), before=time.time() - DAY)
    assert blobs(layout) == before | {young.hex}
    assert (swept.count, swept.size) == (4, sum(size for name, size in sizes.items() if name not in blobs(layout)))
    assert not has(layout, old)
    assert_sound(layout, cache.tags(f"{DOOMED} {KEPT}"))


def test_what_is_asked_for_is_kept_with_all_its_parts(cache: Cache, layout: LayoutPlace) -> None:
    publish(cache, layout)
    image = put_loose(layout, "wanted")
    top = put_index(layout, None, image)
    layout.age()
    layout.open().sweep(frozenset({top, Digest.of(b"nothing like it")}), before=inf)
    assert has(layout, top)
    manifest = layout.open().manifest(str(image))
    assert manifest is not None
    assert layout.open().read_blob(ImageManifest.parse(manifest).layers[0]) == b"wanted"
    layout.collect()
    assert not has(layout, image)


def test_an_image_index_keeps_all_that_it_leads_to(cache: Cache, layout: LayoutPlace) -> None:
    image = put_loose(layout, "deep")
    put_index(layout, "tools", put_index(layout, None, image))
    layout.collect()
    manifest = layout.open().manifest(str(image))
    assert manifest is not None
    assert layout.open().read_blob(ImageManifest.parse(manifest).layers[0]) == b"deep"


def damage_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b" ")


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (damage_bytes, "other content than its digest says"),
        (Path.unlink, "is missing"),
        (lambda path: path.write_bytes(b""), "other content"),
    ],
)
def test_a_damaged_manifest_stops_the_sweep(cache: Cache, layout: LayoutPlace, damage: Callable[[Path], None], word: str) -> None:
    publish(cache, layout)
    orphan(layout, b"an orphan", 300)
    damage(layout.root / "blobs" / "sha256" / Digest.parse(state(layout)[cache.tag("tool@3")]).hex)
    before = blobs(layout)
    swept = layout.open().sweep(frozenset(), before=inf)
    assert swept.count == 0
    assert swept.note.startswith("nothing was swept: ")
    assert word in swept.note
    assert blobs(layout) == before


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"manifests": 5}', '{"manifests": [5]}', '{"manifests": [{"digest": "sha256:0", "size": 1}]}', ""]
)
def test_a_damaged_index_stops_the_sweep(cache: Cache, layout: LayoutPlace, text: str) -> None:
    publish(cache, layout)
    (layout.root / "index.json").write_text(text)
    before = blobs(layout)
    with suppress(RegistryError):
        assert layout.open().sweep(frozenset(), before=inf).note
    assert blobs(layout) == before


def test_an_index_that_is_gone_stops_the_sweep(cache: Cache, layout: LayoutPlace) -> None:
    publish(cache, layout)
    (layout.root / "index.json").unlink()
    before = blobs(layout)
    assert "index.json is gone" in layout.open().sweep(frozenset(), before=inf).note
    assert blobs(layout) == before


def test_nothing_is_swept_where_nothing_is(tmp_path: Path) -> None:
    assert LayoutPlace(tmp_path / "none").open().sweep(frozenset(), before=inf) == Swept(count=0)
    assert not (tmp_path / "none").exists()


def test_what_killed_writers_left_goes(cache: Cache, layout: LayoutPlace) -> None:
    publish(cache, layout)
    folder = layout.root / "blobs" / "sha256"
    old, young, index_json = folder / ".abc.1.partial", folder / ".abc.2.partial", layout.root / ".index.json.3.partial"
    for path in (old, young, index_json):
        path.write_bytes(b"half of i")
    for path in (old, index_json):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    swept = layout.open().sweep(frozenset(), before=time.time() - DAY)
    assert (swept.size, old.exists(), young.exists(), index_json.exists()) == (18, False, True, False)


def test_a_killed_writer_leaves_what_a_sweep_takes(layout: LayoutPlace) -> None:
    script = (
        "import io, os, signal, sys; from pathlib import Path\n"
        "from cachelib.model.digest import Digest; from cachelib.model.oci import Descriptor, LayoutLocation\n"
        "from cachelib.tools.layout import LayoutRepository\n"
        "class Dying(io.BytesIO):\n"
        "    def read(self, size=-1):\n"
        "        return super().read(5) or os.kill(os.getpid(), signal.SIGKILL)\n"
        "blob = Descriptor(media_type='x', digest=Digest.of(b'all of it'), size=9)\n"
        "LayoutRepository(LayoutLocation(path=Path(sys.argv[1]))).put_blob(blob, lambda: Dying(b'all of it'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(layout.root)], cwd=PROJECT, check=False, timeout=60)
    assert done.returncode == -9
    (left,) = blobs(layout)
    assert left.endswith(".partial")
    layout.open().sweep(frozenset(), before=time.time() - DAY)
    assert blobs(layout) == {left}
    layout.open().sweep(frozenset(), before=time.time() + 1)
    assert blobs(layout) == set()


def test_what_a_push_found_is_young_again(cache: Cache, layout: LayoutPlace) -> None:
    """A blob that lay about for long is not sent anew; so it must not go before the manifest comes that names it."""
    publish(cache, layout)
    found, other = orphan(layout, b"found again", 300), orphan(layout, b"not found", 300)
    descriptor = Descriptor(media_type=EMPTY, digest=found, size=len(b"found again"))
    assert layout.open().put_blob(descriptor, lambda: io.BytesIO(b"found again")) == 0
    layout.open().sweep(frozenset(), before=time.time() - DAY)
    assert found.hex in blobs(layout)
    assert other.hex not in blobs(layout)


def test_who_has_just_read_the_index_can_read_on(cache: Cache, layout: LayoutPlace) -> None:
    """`--grace`: hours for which what nothing names any more is left alone; a client may be reading an index of a moment ago."""
    publish(cache, layout)
    client = layout.open()
    names = [client.manifest(tag) for tag in (INDEX_TAG, cache.tag("tool@1"))]
    prune(layout)
    for raw in names:
        assert raw is not None
        assert client.read_blob(ImageManifest.parse(raw).layers[0])


def test_no_grace_takes_what_was_there_and_not_what_comes(cache: Cache, layout: LayoutPlace) -> None:
    publish(cache, layout)
    before = orphan(layout, b"before", 0.001)
    run, since = plan(layout)
    after = put_bytes(layout.open(), b"after").digest
    carry_out(run, since, layout, grace=0)
    assert (before.hex in blobs(layout), after.hex in blobs(layout)) == (False, True)
    assert_sound(layout, cache.tags(KEPT))


def test_a_pruned_layout_shrinks(cache: Cache, layout: LayoutPlace) -> None:
    publish(cache, layout)
    prune(layout)
    layout.age(2)
    done = prune(layout)
    repository, used = layout.open(), set()
    for tag in repository.tags():
        raw = repository.manifest(tag)
        assert raw is not None
        manifest = ImageManifest.parse(raw)
        used |= {raw.digest.hex, *(part.digest.hex for part in (manifest.config, *manifest.layers))}
    assert blobs(layout) == used
    assert done.swept.note == ""


# --- At the same time --------------------------------------------------------------------------------------------------------------------

#: Pushes images that share blobs, again and again; prints how often it was told that something was pruned meanwhile.
PUSHER = """
import io, sys
from pathlib import Path
from cachelib.model.digest import Digest
from cachelib.model.errors import RegistryError
from cachelib.model.oci import CONFIG, LAYER_GZIP, MANIFEST, Descriptor, ImageManifest, LayoutLocation
from cachelib.tools.layout import LayoutRepository

root, name, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def put(repository, data, media_type):
    blob = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
    repository.put_blob(blob, lambda: io.BytesIO(data))
    return blob

told = 0
for number in range(rounds):
    repository = LayoutRepository(LayoutLocation(path=root))
    for _ in range(1000):
        try:
            for at in range(4):
                layers = tuple(put(repository, b"shared %d" % (number * at % 3), LAYER_GZIP) for at in range(3))
                config = put(repository, b"%d" % at, CONFIG)
                raw = ImageManifest(media_type=MANIFEST, config=config, layers=layers, annotations={"who": name}).raw()
                repository.put_manifest(raw, f"{name}-{number}-{at}")
            if not repository.flush():
                break
        except RegistryError:
            pass
        told += 1
print(told)
"""


@contextmanager
def pushers(layout: LayoutPlace, rounds: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Three processes that push into a layout, which has one image already."""
    put_loose(layout, "the first", "first")
    started = []
    try:
        for name in ("one", "two", "three"):
            command = [sys.executable, "-c", PUSHER, str(layout.root), name, str(rounds)]
            started.append(subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def assert_pushed(layout: LayoutPlace, rounds: int, *, gone: bool = False) -> None:
    wanted = {f"{name}-{number}-{at}" for name in ("one", "two", "three") for number in range(rounds) for at in range(4)} | {"first"}
    assert layout.open().tags() == wanted or (gone and layout.open().tags() < wanted)
    assert [tag for tag in layout.open().tags() if not whole(layout, tag)] == []


@pytest.mark.parametrize("taking", [False, True], ids=["sweep", "delete and sweep"])
def test_pushes_that_merciless_sweeps_run_through_end_with_whole_images(layout: LayoutPlace, taking: bool) -> None:
    """No grace at all: a push may be told to push again, but what it is told is published can be read."""
    rounds, sweeps = 12, 0
    with pushers(layout, rounds) as running_:
        while any(process.poll() is None for process in running_):
            sweeper = layout.open()
            for tag in sorted(sweeper.tags())[:2] if taking else ():
                raw = sweeper.manifest(tag)
                if raw is not None:
                    sweeper.delete(tag, raw.digest, since=inf)
            swept = sweeper.sweep(frozenset(), before=inf)
            assert not swept.note
            sweeps += swept.count > 0
            assert [tag for tag in layout.open().tags() if not readable(layout, tag, taking=taking)] == []
        assert [(process.wait(), process.stderr and process.stderr.read()) for process in running_] == [(0, "")] * 3
    assert sweeps > 0
    assert_pushed(layout, rounds, gone=taking)


def readable(layout: LayoutPlace, tag: str, *, taking: bool) -> bool:
    try:
        return whole(layout, tag) or (taking and tag not in layout.open().tags())
    except RegistryError:
        return taking and tag not in layout.open().tags()


def test_pushes_and_sweeps_with_a_grace_do_not_notice_each_other(layout: LayoutPlace) -> None:
    for at in range(3):  # what they share lies there for long, named by nothing
        put_bytes(layout.open(), b"shared %d" % at, LAYER_GZIP)
    layout.age(300)
    rounds = 8
    with pushers(layout, rounds) as running_:
        while any(process.poll() is None for process in running_):
            assert not layout.open().sweep(frozenset(), before=time.time() - 600).note
        assert [process.stdout and process.stdout.read() for process in running_] == ["0\n"] * 3
    assert_pushed(layout, rounds)


def test_what_was_swept_under_a_push_is_no_success(cache: Cache, layout: LayoutPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says of the image that lost a part that it is not there, and of no other."""
    victim = DiskMirror(cache.root).entry(next(n for n in DiskMirror(cache.root).names() if n.tag == cache.tag("tool@3")))
    put = LayoutRepository.put_manifest

    def swept(self: LayoutRepository, manifest: RawManifest, tag: str | None) -> None:
        put(self, manifest, tag)
        if tag == cache.tag("tool@3"):
            (layout.root / "blobs" / "sha256" / victim.tarball.digest.hex).unlink()

    monkeypatch.setattr("cachelib.tools.layout_tags._WRITE_SECONDS", 1000.0)
    layout.open().flush()
    monkeypatch.setattr(LayoutRepository, "put_manifest", swept)
    outcomes = push_all(cache.root, layout.open())
    failed = {h: outcome.reason for h, outcome in outcomes.items() if isinstance(outcome, NotPushed)}
    assert failed == {cache.hash("tool@3"): "what it is made of was pruned meanwhile (push again)"}
    monkeypatch.undo()
    assert layout.open().tags() == cache.tags(f"{DOOMED} {KEPT}") - {cache.tag("tool@3")}
    push_all(cache.root, layout.open())
    index(layout.open())
    assert_sound(layout, cache.tags(f"{DOOMED} {KEPT}"))


def test_threads_that_push_through_one_repository(cache: Cache, layout: LayoutPlace) -> None:
    """The project's own push, of many threads, while another process sweeps without mercy: whatever is published is whole."""
    ended, swept = threading.Event(), [0]

    def sweep() -> None:
        while not ended.is_set():
            swept[0] += layout.open().sweep(frozenset(), before=inf).count
            ended.wait(0.05)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for at in range(200):
            if at >= 12 and swept[0]:
                break  # as often as that, and until the other one found something
            # So that there is something to find in each round, however the two fall together.
            loose = f"what nothing names, {at}".encode()
            with suppress(RegistryError):
                layout.open().put_blob(described("text/plain", loose), partial(io.BytesIO, loose))
                push_all(cache.root, layout.open())
            assert [tag for tag in layout.open().tags() if not whole(layout, tag)] == []
    finally:
        ended.set()
        sweeper.join()
    push_all(cache.root, layout.open())
    index(layout.open())
    assert swept[0] > 0
    assert_sound(layout, cache.tags(f"{DOOMED} {KEPT}"))


def test_who_reads_while_a_layout_begins_sees_an_empty_one(layout: LayoutPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def written(path: Path, data: bytes) -> None:
        write_atomically(path, data)
        seen.append(layout.open().tags())

    monkeypatch.setattr("cachelib.tools.layout_tags.write_atomically", written)
    put_loose(layout, "the first", "first")
    assert seen[-1] == {"first"}
    assert set(seen[:-1]) <= {frozenset(), frozenset({"first"})}


def test_who_is_told_that_his_image_was_pruned_is_he_whose_image_it_was(layout: LayoutPlace) -> None:
    repository = layout.open()
    raws = dict[str, RawManifest]()
    for at in range(3):
        config = put_bytes(repository, b"config %d" % at, CONFIG)
        raws[f"t{at}"] = ImageManifest(media_type=MANIFEST, config=config, layers=(), annotations={}).raw()
    repository.put_manifest(raws["t0"], "t0")  # is written at once
    repository.put_manifest(raws["t1"], "t1")  # is gathered
    (layout.root / "blobs" / "sha256" / Digest.of(b"config 1").hex).unlink()
    time.sleep(1.1)
    repository.put_manifest(raws["t2"], "t2")  # whole: nobody has a reason to refuse it
    assert [set(repository.flush()), set(repository.flush())] == [{"t1"}, set()]
    assert layout.open().tags() == {"t0", "t2"}


# --- The task ----------------------------------------------------------------------------------------------------------------------------

PIN = "{version: v1.1.0, commit: 2e907202bcc8209a6a62243aab50c179b524cc3b}"


def make_project(tmp_path: Path, cache: Cache, retention: str = "{newest: 1}", registry: str = "oci-layout:registry") -> Path:
    """A folder with a cache.yaml, its mirror, and all of it published a month ago."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_settings(folder, retention, registry)
    (folder / "var/mirror").mkdir(parents=True)
    shutil.copytree(cache.root, folder / "var/mirror/cache")
    workspace = pipeline.open_workspace(str(folder / "cache.yaml"))
    assert pipeline.push(workspace).exit_code == 0
    assert pipeline.index(workspace).exit_code == 0
    if registry.startswith("oci-layout:"):
        LayoutPlace(folder / "registry").age()
    return folder


def write_settings(folder: Path, retention: str, registry: str = "oci-layout:registry", more: str = "") -> None:
    stack = f"{{spack: {PIN}, packages: {PIN}, specs: [zlib], image: cache, retention: {retention}}}"
    (folder / "cache.yaml").write_text(f"registry: {registry}\nstacks:\n  s: {stack}\n{more}")


def inv(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "invoke", "prune", "--config", str(folder / "cache.yaml"), *arguments]
    done = subprocess.run(command, cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=120)
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, done.stdout


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: when it was written, and what it says."""
    found = {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}
    assert found
    return found


def counted(report: dict[str, Any], outcome: str) -> set[str]:
    return {item["hash"] for step in report["steps"] for item in step["items"] if item["outcome"] == outcome}


def test_the_dry_run_says_what_then_is_done(cache: Cache, tmp_path: Path) -> None:
    folder = make_project(tmp_path, cache)
    layout, report = LayoutPlace(folder / "registry" / "cache"), tmp_path / "report.json"
    before = files(folder / "registry")
    code, said = inv(folder, "--dry-run", "--json", str(report))
    assert (code, files(folder / "registry")) == (0, before)
    planned = json.loads(report.read_text())
    assert (planned["meta"], planned["exitCode"]) == ({"report": "1.0", "task": "prune"}, 0)
    doomed = {cache.hash(label) for label in DOOMED.split()}
    assert counted(planned, "delete") == doomed
    assert counted(planned, "keep") == {cache.hash(label) for label in KEPT.split()}
    items = planned["steps"][0]["items"]
    assert all(
        item["size"] > 0 and item["reason"] and f"  {item['outcome']:<8} {item['label']} ({item['size']} bytes)" in said for item in items
    )
    assert "would delete 5 of 14 entries" in said
    assert said.rstrip().endswith("nothing was deleted")

    code, said = inv(folder, "--json", str(report))
    assert (code, files(folder / "registry")) == (12, before)
    refused = json.loads(report.read_text())
    assert (refused["exitCode"], refused["steps"][0]["exitCode"]) == (12, 12)
    assert "5 of 14 entries would go" in said
    assert "hint: look at the plan with --dry-run, and say --yes if that is what you mean" in said

    code, said = inv(folder, "--yes", "--json", str(report))
    assert code == 0, said
    done = json.loads(report.read_text())
    assert (done["exitCode"], counted(done, "pruned")) == (0, doomed)
    sizes = {item["hash"]: item["size"] for item in items}
    assert {item["hash"]: item["size"] for item in done["steps"][0]["items"]} == {h: sizes[h] for h in doomed}
    assert done["steps"][0]["size"] == sum(sizes[h] for h in doomed)
    assert "prune: 5 deleted" in said
    assert_sound(layout, cache.tags(KEPT))

    code, said = inv(folder)
    assert (code, "prune: 0 deleted (0 bytes), 9 kept, 0 failed" in said) == (0, True), said


def test_the_same_over_a_registry(cache: Cache, tmp_path: Path) -> None:
    need("docker-registry")
    (tmp_path / "docker").mkdir()
    with running(tmp_path / "docker") as server:
        folder = make_project(tmp_path, cache, registry=f"{server.url}/a/b")
        workspace = pipeline.open_workspace(str(folder / "cache.yaml"))
        place = DockerPlace(server.host, tmp_path / "docker")
        place.open = lambda: RegistryRepository(RegistryLocation(host=server.host, repository="a/b/cache", plain_http=True), None)  # type: ignore[method-assign]
        before = state(place)
        planned = pipeline.prune(workspace, dry_run=True)
        assert state(place) == before
        done = pipeline.prune(workspace, yes=True)
        assert (planned.exit_code, done.exit_code) == (0, 0)
        assert (
            counted({"steps": planned.data}, "delete") == counted({"steps": done.data}, "pruned") == {cache.hash(x) for x in DOOMED.split()}
        )
        assert_sound(place, cache.tags(KEPT))


@pytest.mark.parametrize(
    ("retention", "arguments", "code", "said"),
    [
        ("{}", [], 2, ["no stack of cache.yaml has rules", "hint: write `retention:`"]),
        ("{newest: 1}", ["--grace", "-1"], 2, ["--grace is -1", "hint: hours, 0 or more"]),
        ("{newest: 1}", ["--jobs", "0"], 2, ["--jobs is 0", "hint:"]),
        ("{locks: [nowhere/spack.lock]}", ["--yes"], 2, ["no lock file is at 'nowhere/spack.lock'", "hint: paths in `retention: locks`"]),
        ("{newest: 1}", ["--keep", "nowhere.txt", "--yes"], 2, ["nowhere.txt can't be read", "hint: a spack.lock"]),
        ("{pinned: [tool ^lib], newest: 1}", ["--yes"], 2, ["' ^lib' is not understood", "hint:"]),
        ("{max_size: 0 B}", ["--yes"], 0, ["prune: 12 deleted"]),
        ("{newest: 1}", [], 12, ["would go", "nothing was deleted", "hint:"]),
    ],
)  # fmt: skip
def test_exit_codes_and_hints(cache: Cache, tmp_path: Path, retention: str, arguments: list[str], code: int, said: list[str]) -> None:
    folder = make_project(tmp_path, cache, retention)
    before = files(folder / "registry")
    report = tmp_path / "report.json"
    found, text = inv(folder, *arguments, "--json", str(report))
    assert found == code, text
    assert not [word for word in said if word not in text], text
    assert json.loads(report.read_text())["exitCode"] == code
    assert (files(folder / "registry") == before) is (code != 0)


def test_a_cache_is_never_emptied(cache: Cache, tmp_path: Path) -> None:
    """All that is published is of a stack whose rules keep none of it: no yes is yes enough."""
    only = Cache(tmp_path / "only")
    for at in range(3):
        only.add(f"old@{at}", ago=90)
    folder = make_project(tmp_path, only, "{days: 7}")
    before = files(folder / "registry")
    code, said = inv(folder, "--yes", "--grace", "0")
    assert code == 12
    assert "no rule keeps any of the 3 entries; nothing was deleted" in said
    assert "hint: mend `retention` in cache.yaml" in said
    assert files(folder / "registry") == before


def in_process(folder: Path, **flags: Any) -> Report:
    return pipeline.prune(pipeline.open_workspace(str(folder / "cache.yaml")), **flags)


def test_keeplists_and_lock_files_keep(cache: Cache, tmp_path: Path) -> None:
    folder = make_project(tmp_path, cache, "{newest: 1, locks: ['env/*/spack.lock']}")
    (folder / "env/a").mkdir(parents=True)
    (folder / "env/b").mkdir()
    (folder / "env/a/spack.lock").write_text(json.dumps({"concrete_specs": {cache.hash("lib@2"): {}, "z" * 32: {}}}))
    (folder / "env/b/spack.lock").write_text(json.dumps({"concrete_specs": {cache.hash("tool@1"): {}}}))
    keep = tmp_path / "keep.txt"
    keep.write_text(f"# what we want\n\n  /{cache.hash('app@1')}  # for the course\n{cache.hash('builder@1')}\n")
    report = in_process(folder, keep=[str(keep)], dry_run=True)
    assert counted({"steps": report.data}, "delete") == {cache.hash("tool@2")}
    report = in_process(folder, keep=[str(keep)])
    assert report.exit_code == 0  # one of fourteen is no large share
    assert_sound(LayoutPlace(folder / "registry" / "cache"), cache.tags(f"{KEPT} lib@2 tool@1 app@1 builder@1"))


def test_a_lock_file_by_its_whole_path(cache: Cache, tmp_path: Path) -> None:
    lock = tmp_path / "else where.lock"
    lock.write_text(json.dumps({"concrete_specs": {cache.hash("lib@2"): {}}}))
    folder = make_project(tmp_path, cache, f"{{newest: 1, locks: ['{lock}']}}")
    assert cache.hash("lib@2") in counted({"steps": in_process(folder, dry_run=True).data}, "keep")


@pytest.mark.parametrize(
    "text", ["{", "{}", "[]", '{"concrete_specs": 5}', '{"concrete_specs": {"short": {}}}', "../etc", "abc", "\x00", "a" * 31]
)
def test_a_keeplist_that_is_none_is_refused(cache: Cache, tmp_path: Path, text: str) -> None:
    folder = make_project(tmp_path, cache)
    (tmp_path / "keep").write_text(text)
    before = files(folder / "registry")
    with pytest.raises((UsageError, FormatError), match="keep"):
        in_process(folder, keep=[str(tmp_path / "keep")], yes=True)
    assert files(folder / "registry") == before


def test_a_keeplist_with_a_slip_of_the_pen_says_what_to_do(cache: Cache, tmp_path: Path) -> None:
    folder = make_project(tmp_path, cache)
    (tmp_path / "keep").write_text("abc\n")
    with pytest.raises(CacheError) as caught:
        in_process(folder, keep=[str(tmp_path / "keep")])
    assert (caught.value.exit_code, bool(caught.value.hint)) == (2, True)


def test_a_keeplist_of_many_brackets(cache: Cache, tmp_path: Path) -> None:
    folder = make_project(tmp_path, cache)
    (tmp_path / "keep").write_text('{"concrete_specs": ' + "[" * 100_000)
    with pytest.raises(CacheError):
        in_process(folder, keep=[str(tmp_path / "keep")])


@pytest.mark.parametrize("text", ["", "\n# nothing\n", '{"concrete_specs": {}}'])
def test_an_empty_keeplist_is_refused(cache: Cache, tmp_path: Path, text: str) -> None:
    folder = make_project(tmp_path, cache)
    (tmp_path / "keep").write_text(text)
    before = files(folder / "registry")
    with suppress(CacheError):
        in_process(folder, keep=[str(tmp_path / "keep")], yes=True)
    assert files(folder / "registry") == before


@pytest.mark.parametrize("pattern", ["/", "//nowhere", "env/**.lock"])
def test_a_pattern_of_lock_files_that_is_none(cache: Cache, tmp_path: Path, pattern: str) -> None:
    folder = make_project(tmp_path, cache, f"{{newest: 1, locks: ['{pattern}']}}")
    assert in_process(folder, yes=True).exit_code == 2


def test_one_image_that_is_refused_does_not_cost_the_other(cache: Cache, tmp_path: Path) -> None:
    """The first one that is not 0 is the exit code; every image has its own step in the report."""
    folder = make_project(tmp_path, cache)
    stack = f"{{spack: {PIN}, packages: {PIN}, specs: [zlib], image: other, retention: {{days: 1}}}}"
    write_settings(folder, "{newest: 1, max_size: 1 GB}", more=f"  t: {stack}\n")
    other = Cache(tmp_path / "other")
    for at in range(2):
        other.add(f"old@{at}", ago=90, stack="t")
    place = LayoutPlace(folder / "registry" / "other")
    publish(other, place)
    report = in_process(folder, yes=True)
    assert report.exit_code == 12
    assert [step["step"] for step in report.data] == ["prune", "error"]
    assert_sound(LayoutPlace(folder / "registry" / "cache"), cache.tags(KEPT))
    assert_sound(place, other.tags("old@0 old@1"))


def test_stacks_of_one_image_are_pruned_by_their_own_rules(cache: Cache, tmp_path: Path) -> None:
    cache.add("theirs@1", ago=50, stack="t")
    cache.add("theirs@2", "lib@2", ago=40, stack="t")
    cache.add("ours@1", ago=50, stack="u")
    folder = make_project(tmp_path, cache)
    stacks = {"t": "{newest: 1}", "u": "{}"}
    more = "".join(f"  {n}: {{spack: {PIN}, packages: {PIN}, specs: [zlib], image: cache, retention: {r}}}\n" for n, r in stacks.items())
    write_settings(folder, "{newest: 1}", more=more)
    assert in_process(folder, yes=True).exit_code == 0
    gone = cache.tags(f"{DOOMED} theirs@1") - cache.tags("lib@2")
    assert_sound(LayoutPlace(folder / "registry" / "cache"), {cache.tag(label) for label in cache.nodes} - gone)
