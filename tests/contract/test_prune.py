"""Pruning a directory, a registry, and ghcr.io as GitHub's API plays it: what was planned is what is done, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cachelib.model.config import Retention
from cachelib.model.digest import Digest
from cachelib.model.oci import CATALOG_TAG, INDEX_TAG, LayoutLocation, RegistryLocation
from cachelib.model.outcome import Built, Pruned, Spared, Swept
from cachelib.model.ports import Deleter, Repository
from cachelib.model.record import Origin, Record
from cachelib.steps import pruning
from cachelib.steps.artifacts import load_catalog
from cachelib.steps.verifying import verify
from cachelib.tools.github_deleter import GitHubDeleter
from cachelib.tools.github_packages import GitHubPackages
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.registry import RegistryRepository
from tests.conftest import need
from tests.contract.test_road import index, push_all
from tests.support.docker_registry import running
from tests.support.double import serving_double
from tests.support.github_api import GitHubDouble, serving_github
from tests.support.mirrors import add_entry, make_node
from tests.support.quiet import QuietProgress

RULES = {"stack": Retention(newest=1)}
LATER = time.time() + 10 * 365 * 86400
Place = tuple[Callable[[], Repository], Callable[[], Deleter]]


@contextmanager
def github(tmp_path: Path) -> Iterator[tuple[Place, GitHubDouble]]:
    """A double of a registry, whose versions GitHub's API lists and deletes."""
    with serving_double() as double, serving_github(double) as api:
        location = RegistryLocation(host=double.host, repository="owner/cache", plain_http=True)

        def deleter() -> Deleter:
            return GitHubDeleter(GitHubPackages(api.url, api.owner, api.package, api.token or "t0ken", pause=lambda _: None))

        yield (lambda: RegistryRepository(location, None), deleter), api


@pytest.fixture(params=["layout", "docker-registry", "github"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "layout":
        yield lambda: layout(tmp_path), lambda: layout(tmp_path)
    elif request.param == "github":
        with github(tmp_path) as (found, _):
            yield found
    else:
        need("docker-registry")
        with running(tmp_path) as server:
            location = RegistryLocation(host=server.host, repository="a/b", plain_http=True)
            yield lambda: RegistryRepository(location, None), lambda: RegistryRepository(location, None)


def layout(tmp_path: Path) -> LayoutRepository:
    return LayoutRepository(LayoutLocation(path=tmp_path / "layout"))


def a_mirror(root: Path) -> None:
    """Two builds of a library and of a program on each; only the newer ones are kept, and a third library that a newer one needs."""
    mirror = DiskMirror(root)
    shared = make_node("shared")
    for day, version in ((1, "1.0"), (2, "2.0")):
        library = make_node("library", version, dependencies=[shared] if day == 2 else [])
        program = make_node("program", version, dependencies=[library])
        add_entry(root, [library, *([shared] if day == 2 else [])], {"lib/a": version.encode()})
        add_entry(root, [program, library, *([shared] if day == 2 else [])], {"bin/p": version.encode()})
        for node in (library, program):
            remember(mirror, node, day)
    add_entry(root, [shared])
    add_entry(root, [newer := make_node("shared", "2.0")])
    remember(mirror, shared, 1)
    remember(mirror, newer, 3)


def remember(mirror: DiskMirror, node: dict[str, object], day: int) -> None:
    origin = Origin(stack="stack", created=f"2026-01-{day:02}T00:00:00Z")
    name, version, dag_hash = (str(node[key]) for key in ("name", "version", "hash"))
    mirror.write_record(Record(name=name, version=version, hash=dag_hash, outcome=Built(seconds=1), origin=origin), None)


def publish(tmp_path: Path, open_repository: Callable[[], Repository]) -> None:
    a_mirror(tmp_path / "m")
    push_all(tmp_path / "m", open_repository())
    index(open_repository())


def planned(repository: Repository) -> pruning.PruneRun:
    return pruning.plan(repository, RULES, frozenset(), now=datetime.now(UTC), jobs=2, progress=QuietProgress())


def carry_out(run: pruning.PruneRun, repository: Repository, deleter: Deleter, since: float = LATER) -> pruning.PruneResult:
    return pruning.prune(run, repository, deleter, labels={}, since=since, grace=0, jobs=2, progress=QuietProgress())


def names(repository: Repository) -> set[str]:
    return {tag.rsplit("-", 1)[0] for tag in repository.tags() if tag not in (CATALOG_TAG, INDEX_TAG)}


LEFT = {"library-2.0", "program-2.0", "shared-1.0", "shared-2.0"}


def test_what_was_planned_is_what_is_done(place: Place, tmp_path: Path) -> None:
    open_repository, open_deleter = place
    publish(tmp_path, open_repository)
    before = open_repository().tags()
    run = planned(open_repository())
    assert open_repository().tags() == before
    reasons = {item.label.partition("/")[0]: item.reason for item in run.plan.items}
    assert reasons["shared@1.0"].startswith(("library@2.0", "program@2.0"))
    assert {item.label.partition("/")[0] for item in run.plan.doomed()} == {"library@1.0", "program@1.0"}
    outcomes = carry_out(run, open_repository(), open_deleter()).outcomes
    assert {h for h, outcome in outcomes.items() if isinstance(outcome, Pruned)} == {item.entry.hash for item in run.plan.doomed()}
    assert names(open_repository()) == LEFT
    catalog = load_catalog(open_repository())
    assert {entry.tag.rsplit("-", 1)[0] for entry in catalog.entries.values()} == LEFT
    assert catalog.database.present() == set(catalog.entries)
    assert verify(open_repository(), jobs=2, progress=QuietProgress()).findings == ()
    # Once more: there is nothing left to do.
    again = planned(open_repository())
    assert again.plan.doomed() == ()
    assert carry_out(again, open_repository(), open_deleter()).outcomes == {}


class Stopping:
    """A deleter that is stopped after so many deletions, and looks at the index before each."""

    def __init__(self, deleter: Deleter, repository: Repository, after: int) -> None:
        self._deleter, self._repository, self._left = deleter, repository, after

    def delete(self, tag: str, digest: Digest, *, since: float) -> bool:
        assert tag not in load_catalog(self._repository).tags(), "the index goes first"
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        return self._deleter.delete(tag, digest, since=since)

    def finish(self) -> frozenset[str]:
        return self._deleter.finish()

    def sweep(self, keep: frozenset[Digest], *, before: float) -> Swept:
        return self._deleter.sweep(keep, before=before)


@pytest.mark.parametrize("after", [0, 1])
def test_stopped_and_taken_up(place: Place, tmp_path: Path, after: int) -> None:
    open_repository, open_deleter = place
    publish(tmp_path, open_repository)
    with pytest.raises(KeyboardInterrupt):
        carry_out(planned(open_repository()), open_repository(), Stopping(open_deleter(), open_repository(), after))
    repository = open_repository()
    catalog = load_catalog(repository)
    assert catalog.tags() <= repository.tags()
    assert catalog.database.present() == set(catalog.entries)
    carry_out(planned(open_repository()), open_repository(), open_deleter())
    assert names(open_repository()) == LEFT
    assert verify(open_repository(), jobs=2, progress=QuietProgress()).findings == ()


def test_what_was_pushed_meanwhile_saves_what_it_needs(place: Place, tmp_path: Path) -> None:
    open_repository, open_deleter = place
    publish(tmp_path, open_repository)
    run = planned(open_repository())
    old = next(entry.spec.root.raw for entry in DiskMirror(tmp_path / "m").entries() if entry.label.startswith("library@1.0"))
    add_entry(tmp_path / "new", [make_node("newcomer", dependencies=[old]), old])
    push_all(tmp_path / "new", open_repository())
    outcomes = carry_out(run, open_repository(), open_deleter()).outcomes
    assert sorted(type(outcome).__name__ for outcome in outcomes.values()) == ["Pruned", "Spared"]
    assert names(open_repository()) == LEFT | {"newcomer-1.0", "library-1.0"}
    assert verify(open_repository(), jobs=2, progress=QuietProgress()).findings == ()


def test_what_was_pushed_anew_is_spared(place: Place, tmp_path: Path) -> None:
    open_repository, open_deleter = place
    publish(tmp_path, open_repository)
    run = planned(open_repository())
    (old,) = [entry for entry in DiskMirror(tmp_path / "m").entries() if entry.label.startswith("program@1.0")]
    library = [node.raw for node in old.spec.nodes.values() if node.name == "library"]
    add_entry(tmp_path / "again", [old.spec.root.raw, *library], {"bin/p": b"built again"})
    push_all(tmp_path / "again", open_repository(), force=True)
    carry_out(run, open_repository(), open_deleter())
    assert "program-1.0" in names(open_repository())
    found = verify(open_repository(), jobs=2, progress=QuietProgress()).findings
    # Its library was on the list before anybody knew of it: verify names it, and the next push brings it back.
    assert {finding.problem.partition("/")[0] for finding in found} <= {"its dependency library@1.0"}
    push_all(tmp_path / "m", open_repository())
    index(open_repository())
    assert verify(open_repository(), jobs=2, progress=QuietProgress()).findings == ()


def test_the_same_bytes_pushed_again_are_spared_in_a_directory(tmp_path: Path) -> None:
    publish(tmp_path, lambda: layout(tmp_path))
    for path in (tmp_path / "layout/blobs/sha256").iterdir():
        os.utime(path, (1, 1))
    run, since = planned(layout(tmp_path)), time.time() - 5
    push_all(tmp_path / "m", layout(tmp_path), force=True)
    outcomes = carry_out(run, layout(tmp_path), layout(tmp_path), since=since).outcomes
    assert {type(outcome) for outcome in outcomes.values()} == {Spared}
    assert verify(layout(tmp_path), jobs=2, progress=QuietProgress()).findings == ()


def test_what_was_downloaded_often_stays_and_is_told(tmp_path: Path) -> None:
    with github(tmp_path) as ((open_repository, open_deleter), api):
        publish(tmp_path, open_repository)
        run = planned(open_repository())
        api.downloads[str(run.plan.doomed()[0].entry.manifest.digest)] = 5001
        outcomes = carry_out(run, open_repository(), open_deleter()).outcomes
        (spared,) = [outcome for outcome in outcomes.values() if isinstance(outcome, Spared)]
        assert "5,000" in spared.reason or "5000" in spared.reason
        assert load_catalog(open_repository()).tags() == {t for t in open_repository().tags() if t not in (CATALOG_TAG, INDEX_TAG)}
        assert verify(open_repository(), jobs=2, progress=QuietProgress()).findings == () or len(names(open_repository())) == 5


def test_a_sweep_takes_what_is_old_and_nothing_leads_to(tmp_path: Path) -> None:
    publish(tmp_path, lambda: layout(tmp_path))
    blobs = tmp_path / "layout/blobs/sha256"
    old, young, left = blobs / ("0" * 64), blobs / ("1" * 64), blobs / ".killed.x.partial"
    for path in (old, young, left):
        path.write_bytes(b"orphan")
    for path in (old, left):
        os.utime(path, (1, 1))
    swept = layout(tmp_path).sweep(frozenset(), before=time.time() - 3600)
    assert (old.exists(), young.exists(), left.exists()) == (False, True, False)
    assert (swept.count, swept.size) == (1, 12)
    assert verify(layout(tmp_path), jobs=2, progress=QuietProgress()).findings == ()
    # A pusher that finds a blob there makes it young.
    orphan = Digest.of(b"orphan again")
    path = blobs / orphan.hex
    path.write_bytes(b"orphan again")
    os.utime(path, (1, 1))
    from cachelib.model.oci import LAYER_GZIP, Descriptor

    descriptor = Descriptor(media_type=LAYER_GZIP, digest=orphan, size=len(b"orphan again"))
    assert layout(tmp_path).put_blob(descriptor, lambda: path.open("rb")) == 0
    layout(tmp_path).sweep(frozenset(), before=time.time() - 3600)
    assert path.exists()


def test_a_damaged_manifest_stops_the_sweep(tmp_path: Path) -> None:
    publish(tmp_path, lambda: layout(tmp_path))
    tag = min(tag for tag in layout(tmp_path).tags() if tag.startswith("program"))
    raw = layout(tmp_path).manifest(tag)
    assert raw is not None
    (tmp_path / "layout/blobs/sha256" / raw.digest.hex).write_bytes(b"{}")
    before = sorted((tmp_path / "layout/blobs/sha256").iterdir())
    swept = layout(tmp_path).sweep(frozenset(), before=time.time() + 10)
    assert (swept.count, "nothing was swept" in swept.note) == (0, True)
    assert sorted((tmp_path / "layout/blobs/sha256").iterdir()) == before


def test_old_indexes_go_from_github_and_attestations_stay(tmp_path: Path) -> None:
    with github(tmp_path) as ((open_repository, open_deleter), api):
        publish(tmp_path, open_repository)
        run = planned(open_repository())
        doomed, kept = run.plan.doomed()[0].entry.manifest.digest, run.plan.kept()[0].entry.manifest.digest
        attest(open_repository(), doomed)
        child = attest(open_repository(), kept)
        stranded = {digest for digest in api.registry.manifests if digest not in api.registry.tags.values()} - {str(child)}
        swept = carry_out(replace(run, tags=open_repository().tags()), open_repository(), open_deleter()).swept
        assert f"sha256-{doomed.hex}" not in open_repository().tags()
        assert f"sha256-{kept.hex}" in open_repository().tags()
        assert str(child) in api.registry.manifests
        assert swept.count >= len(stranded)
        assert {digest for digest in api.registry.manifests if digest not in api.registry.tags.values()} == {str(child)}


def attest(repository: Repository, digest: Digest) -> Digest:
    """Attach something to an image as registries without referrers have it; the digest of what is attached."""
    import io
    import json

    from cachelib.model.oci import EMPTY, IMAGE_INDEX, MANIFEST, Descriptor, ImageManifest, RawManifest

    config = Descriptor(media_type=EMPTY, digest=Digest.of(b"{}"), size=2)
    repository.put_blob(config, lambda: io.BytesIO(b"{}"))
    attached = ImageManifest(media_type=MANIFEST, config=config, layers=(), annotations={"of": str(digest)}).raw()
    repository.put_manifest(attached, None)
    index_of = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [attached.descriptor().json()]}
    repository.put_manifest(RawManifest(media_type=IMAGE_INDEX, data=json.dumps(index_of).encode()), f"sha256-{digest.hex}")
    return attached.digest
