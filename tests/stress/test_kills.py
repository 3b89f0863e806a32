"""Two hundred kills at random moments: in between the cache works as Spack reads it, and in the end it is as if nothing had been."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cachelib.model.config import Site
from cachelib.model.errors import RegistryError
from cachelib.model.oci import INDEX_TAG, ImageManifest, parse_json, spec_tag
from cachelib.model.outcome import Built
from cachelib.model.record import Origin, Record
from cachelib.model.stack import Retention
from cachelib.steps import artifacts, indexing, pruning, pulling, rendering
from cachelib.steps.verifying import verify
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.site import write_site
from cachelib.tools.templates import JinjaTemplates
from tests.stress.worker import open_repository, push_mirror
from tests.support.mirrors import add_entry, make_node
from tests.support.quiet import QuietProgress
from tests.support.scale import made_dags

KILLS, EPISODES, ENTRIES = 5, 8, 24
PROJECT = Path(__file__).resolve().parents[2]
QUIET = QuietProgress()


class Place:
    """Where one cache lies: its mirror, its registry (a directory), its site, and what was pulled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"oci-layout:{folder / 'registry'}"

    def push(self) -> None:
        assert push_mirror(self.folder / "mirror", self.url) == []

    def index(self) -> None:
        indexing.index(open_repository(self.url), labels={}, jobs=4, progress=QUIET)

    def prune(self) -> None:
        repository = open_repository(self.url)
        assert isinstance(repository, LayoutRepository)
        rules = {"stack": Retention(newest=1)}
        run = pruning.plan(repository, rules, frozenset(), now=datetime.now(UTC), jobs=4, progress=QUIET)
        pruning.prune(run, repository, repository, labels={}, since=time.time() + 1, grace=0, jobs=4, progress=QUIET)

    def pull(self) -> None:
        repository, mirror = open_repository(self.url), DiskMirror(self.folder / "pulled")
        catalog, _ = indexing.read_catalog(repository, jobs=4, progress=QUIET)
        mirror.sweep(before=time.time() + 1)
        pulling.pull(pulling.plan_pull(catalog, mirror), repository, mirror, jobs=4, progress=QUIET)

    def render(self) -> None:
        image = rendering.SiteImage(
            name="v1.1", mirror_url="file:///m", reference="r", catalog=artifacts.load_catalog(open_repository(self.url))
        )
        write_site(self.folder / "site", rendering.render(Site(), [image], JinjaTemplates(PROJECT / "templates")))


STEPS: dict[str, tuple[Callable[[Place], None], tuple[Callable[[Place], None], ...]]] = {
    "push": (Place.push, ()),
    "index": (Place.index, (Place.push,)),
    "prune": (Place.prune, (Place.push, Place.index)),
    "pull": (Place.pull, (Place.push, Place.index)),
    "render": (Place.render, (Place.push, Place.index)),
}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror of entries with dates, half of which the rule keeps, some with tarballs that take time to write."""
    root = tmp_path_factory.mktemp("kills") / "mirror"
    chance = random.Random(5)
    for at, nodes in enumerate(made_dags(ENTRIES)):
        for version in range(2):
            # Two builds of each package: the newer one is kept.
            node = {**nodes[0], "package_hash": f"v{version}"}
            made = make_node(**{key: node[key] for key in ("name", "version", "package_hash", "parameters")}, dependencies=nodes[1:2])
            add_entry(root, [made, *nodes[1:]], {"bin/x": chance.randbytes(200_000 if at % 4 == 0 else 2000)})
            origin = Origin(stack="stack", created=f"2026-01-{version + 1:02}T00:00:00Z")
            DiskMirror(root).write_record(
                Record(name=node["name"], version=node["version"], hash=made["hash"], outcome=Built(seconds=1), origin=origin), None
            )
        add_entry(root, nodes, {"bin/x": nodes[0]["hash"].encode()})
        origin = Origin(stack="stack", created="2026-02-01T00:00:00Z")
        DiskMirror(root).write_record(
            Record(name=nodes[0]["name"], version=nodes[0]["version"], hash=nodes[0]["hash"], outcome=Built(seconds=1), origin=origin), None
        )
    return root


def killed(action: Callable[[], None], after: float) -> bool:
    """Do something in a process of its own, and kill that after so many seconds; tell whether it was killed in time."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert not (os.WIFEXITED(status) and os.WEXITSTATUS(status)), "it failed before it was killed"
    return os.WIFSIGNALED(status)


def works_as_spack_reads_it(place: Place) -> None:
    """Every tag is a whole image, and every entry of Spack's index can be installed."""
    repository = open_repository(place.url)
    try:
        tags = repository.tags()
    except RegistryError:
        return  # killed before there was anything
    if not tags:
        return
    found = verify(repository, jobs=4, progress=QUIET).findings
    # What isn't indexed yet is no fault of what is there; nor is an index that the last writer did not come to.
    assert [finding for finding in found if not finding.mendable and "is not published" not in finding.problem] == []
    raw = repository.manifest(INDEX_TAG)
    if raw is None:
        return
    database = json.loads(repository.read_blob(ImageManifest.parse(raw).layers[0]))["database"]["installs"]
    for h, row in database.items():
        if row["in_buildcache"]:
            tag = spec_tag(row["spec"]["name"], row["spec"]["version"], h)
            image = repository.manifest(tag)
            assert image is not None, f"the index names {tag}, which is gone"
            manifest = ImageManifest.parse(image)
            assert parse_json(repository.read_blob(manifest.config), tag)["spec"]["nodes"][0]["hash"] == h
            for layer in manifest.layers:
                repository.read_blob(layer)


def state(place: Place) -> dict[str, str]:
    """Everything that a user of the cache can see: what tags lead to, the site, the pulled mirror."""
    repository = open_repository(place.url)
    seen = {f"tag {tag}": str(raw.digest) for tag in repository.tags() if (raw := repository.manifest(tag))}
    for name in ("site", "pulled"):
        for path in sorted((place.folder / name).rglob("*")):
            if path.is_file() and not path.name.endswith(".partial"):
                seen[str(path.relative_to(place.folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return seen


@pytest.mark.parametrize("step", STEPS)
def test_killed_and_taken_up(step: str, mirror: Path, tmp_path: Path) -> None:
    action, before = STEPS[step]
    ready = Place(tmp_path / "ready")
    shutil.copytree(mirror, ready.folder / "mirror")
    for earlier in before:
        earlier(ready)
    undisturbed = Place(tmp_path / "undisturbed")
    shutil.copytree(ready.folder, undisturbed.folder)
    start = time.monotonic()
    action(undisturbed)
    taken = time.monotonic() - start
    expected = state(undisturbed)
    chance = random.Random(step)
    kills = 0
    for episode in range(EPISODES):
        place = Place(tmp_path / f"episode{episode}")
        shutil.copytree(ready.folder, place.folder)
        for _ in range(KILLS):
            # A run that takes up what another left has less to do: the moments grow shorter with each kill.
            for _ in range(30):
                if killed(lambda place=place: action(place), chance.uniform(0, taken)):  # type: ignore[misc]
                    break
                shutil.rmtree(place.folder)
                shutil.copytree(ready.folder, place.folder)
            else:
                pytest.fail("no kill came in time")
            kills += 1
            works_as_spack_reads_it(place)
        action(place)
        assert state(place) == expected
        shutil.rmtree(place.folder)
    assert kills == KILLS * EPISODES


def test_there_are_two_hundred() -> None:
    assert len(STEPS) * KILLS * EPISODES >= 200
