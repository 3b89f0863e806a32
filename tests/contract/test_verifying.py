"""What verify looks at, what it finds, what it mends, and what it tells of all that."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import tasks
from cachelib.model.catalog import CatalogEntry, CatalogRoot, to_shards
from cachelib.model.database import change as drop_entries
from cachelib.model.digest import Digest
from cachelib.model.finding import Finding
from cachelib.model.oci import CATALOG_TAG, INDEX_TAG, Descriptor, ImageManifest, LayoutLocation, is_spec_tag
from cachelib.model.ports import Repository
from cachelib.model.spec import dag_hash
from cachelib.steps import artifacts
from cachelib.steps.artifacts import load_catalog
from cachelib.steps.repairing import repair
from cachelib.steps.staleness import mark_stale
from cachelib.steps.verifying import Sample, Verified, verify
from cachelib.tools.journal import FileJournal
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from tests.contract.conftest import Opener
from tests.contract.test_indexers import Watched, check_settled, external, put_foreign_index, untag, written
from tests.contract.test_misbehaving import repository as registry_of
from tests.contract.test_pulling import PROJECT, layout, older, rewrite, run, tag_named, workspace
from tests.contract.test_road import index, push_all, put_image
from tests.support.double import RegistryDouble
from tests.support.mirrors import add_chain, add_entry, make_node
from tests.support.quiet import QuietProgress


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests write need not outlive a power cut."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def look(repository: Repository, **more: Any) -> Verified:
    return verify(repository, jobs=1, progress=QuietProgress(), **more)


def problems(repository: Repository, **more: Any) -> list[tuple[str, str]]:
    return [(finding.where, finding.problem) for finding in look(repository, **more).findings]


def publish(root: Path, repository: Repository) -> None:
    push_all(root, repository)
    index(repository)


def blob(folder: Path, digest: Digest) -> Path:
    return folder / "layout/blobs/sha256" / digest.hex


def image(repository: Repository, tag: str) -> ImageManifest:
    raw = repository.manifest(tag)
    assert raw is not None
    return ImageManifest.parse(raw)


def flip(path: Path, at: int = -1, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


# ------------------------------------------------------------------------------------------------------------ every byte


def test_a_thousand_flipped_bytes(tmp_path: Path) -> None:
    """Any bit of any blob: of images, their layers, the catalog, the index. All are found, by the right name."""
    add_chain(tmp_path / "m", 4)
    add_entry(tmp_path / "m", [make_node("alone")])
    older(add_entry(tmp_path / "m", [make_node("old")]), 4)
    publish(tmp_path / "m", layout(tmp_path))
    clean = look(layout(tmp_path))
    assert (clean.images, clean.findings) == (6, ())
    chance = random.Random(2026)
    files = sorted((tmp_path / "layout/blobs/sha256").iterdir())
    # Six of each image's manifest, config and tarball; catalog and index; two databases, a shard an entry, `{}`.
    assert len(files) >= 3 * 6 + 2 + 2 + 2
    missed, met = [], set()
    for _ in range(1000):
        path = chance.choice(files)
        good = path.read_bytes()
        at, bit = chance.randrange(len(good)), chance.randrange(8)
        flip(path, at, bit)
        if not look(layout(tmp_path)).findings:
            missed.append((path.name, at, bit))
        path.write_bytes(good)
        met.add(path)
    assert missed == []
    assert met == set(files)
    assert look(layout(tmp_path)) == clean


def test_any_blob_that_is_gone_or_cut_off(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 3)
    publish(tmp_path / "m", layout(tmp_path))
    for path in sorted((tmp_path / "layout/blobs/sha256").iterdir()):
        good = path.read_bytes()
        for data in (good[:-1], good + b"\0", b""):
            path.write_bytes(data)
            assert look(layout(tmp_path)).findings
        path.unlink()
        assert look(layout(tmp_path)).findings
        path.write_bytes(good)
    assert look(layout(tmp_path)).findings == ()


# --------------------------------------------------------------------------------------------------------- what is wrong


def test_splices_and_externals_are_nothing_wrong(open_repository: Opener, tmp_path: Path) -> None:
    """Their hashes do not cover the JSON that stands in the spec."""
    libc = external(compilers={"c": "/usr/bin/gcc"})
    library = {**make_node("library"), "build_spec": {"name": "library", "hash": "b" * 32}}
    library["hash"] = "s" * 32
    program = make_node("program", dependencies=[library, libc])
    add_entry(tmp_path / "m", [library])
    add_entry(tmp_path / "m", [program, library, libc])
    publish(tmp_path / "m", open_repository())
    verified = look(open_repository())
    assert (verified.images, verified.findings) == (2, ())


@pytest.mark.parametrize("which", ["root", "dependency"])
def test_a_node_that_is_not_what_its_hash_says(open_repository: Opener, tmp_path: Path, which: str) -> None:
    library = make_node("library")
    program = make_node("program", dependencies=[library])
    wrong = library if which == "dependency" else program
    wrong["parameters"]["shared"] = False
    add_entry(tmp_path / "m", [library])
    add_entry(tmp_path / "m", [program, library])
    publish(tmp_path / "m", open_repository())
    label = f"{wrong['name']}@1.0/{wrong['hash'][:7]}"
    names = ["library", "program"] if which == "dependency" else ["program"]
    assert problems(open_repository()) == [
        (tag_named(open_repository(), name), f"the DAG hash of {label} is not that of its contents") for name in names
    ]


def test_a_dependency_that_is_not_published(open_repository: Opener, tmp_path: Path) -> None:
    nodes = add_chain(tmp_path / "m", 2)
    shutil.rmtree(tmp_path / "m/v3/manifests/spec/part0")
    publish(tmp_path / "m", open_repository())
    label = f"part0@1.0/{nodes[0]['hash'][:7]}"
    assert problems(open_repository()) == [(f"part1@1.0/{nodes[1]['hash'][:7]}", f"its dependency {label} is not published")]


def test_a_dependency_that_is_only_built_with_may_be_missing(tmp_path: Path) -> None:
    tool = make_node("tool")
    program = make_node("program", dependencies=[tool])
    program["dependencies"][0]["parameters"]["deptypes"] = ["build"]
    program["hash"] = dag_hash(program)
    add_entry(tmp_path / "m", [program, tool])
    publish(tmp_path / "m", layout(tmp_path))
    assert problems(layout(tmp_path)) == []


def put_layers(repository: Repository, tag: str, change: Callable[[list[Descriptor]], list[Descriptor]]) -> None:
    """Put an image again whose manifest tells of other layers."""
    manifest = image(repository, tag)
    repository.put_manifest(replace(manifest, layers=tuple(change(list(manifest.layers)))).raw(), tag)
    repository.flush()


def test_a_config_that_does_not_fit_its_manifest(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", layout(tmp_path))
    tag, catalog = tag_named(layout(tmp_path), "part1"), ("catalog", "it is missing: nothing tells of 2 images")
    good = layout(tmp_path).manifest(tag)
    assert good is not None
    changes: list[tuple[Callable[[dict[str, Any]], object], str]] = [
        (lambda config: config["rootfs"]["diff_ids"].pop(), "its config names 1 layers, its manifest 2"),
        (lambda config: config.pop("binary_cache_checksum"), "its config does not name its tarball"),
        (lambda config: config["binary_cache_checksum"].update(hash="0" * 64), "its last layer is not the tarball that its config names"),
        (lambda config: config.pop("spec"), "its config holds no spec: an image of something else"),
        (lambda config: config["rootfs"].update(diff_ids=[]), "its config names no layers"),
    ]
    for change, told in changes:
        rewrite(layout(tmp_path), tag, change)  # type: ignore[arg-type]
        found = problems(layout(tmp_path))
        assert (tag, told) in found
        assert catalog in found
        layout(tmp_path).put_manifest(good, tag)
    put_layers(layout(tmp_path), tag, lambda layers: layers[::-1])
    found = problems(layout(tmp_path))
    assert (tag, "its last layer is not the tarball that its config names") in found
    assert sum("unpacks to other content" in problem for _, problem in found) == 2


def put_catalog(repository: Repository, root: CatalogRoot, parts: dict[str, bytes]) -> None:
    """A catalog, and the Spack index to it, with what is new of their blobs: right in every digest."""
    for data in parts.values():
        part = artifacts.described("", data)
        repository.put_blob(part, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
    repository.put_manifest(artifacts.index_manifest(root), INDEX_TAG)
    repository.put_manifest(artifacts.catalog_manifest(root), CATALOG_TAG)
    repository.flush()


def test_a_catalog_that_is_whole_and_tells_other_things(tmp_path: Path) -> None:
    """Every digest is right, and yet it is not what the images say: each of its parts is held against them."""
    add_chain(tmp_path / "m", 3)
    publish(tmp_path / "m", layout(tmp_path))
    held = artifacts.read_root(layout(tmp_path))
    assert held is not None
    root, catalog = held.root, load_catalog(layout(tmp_path))
    data = catalog.database.data()
    some = Sample(percent=40, seed=1)

    def database(changed: bytes) -> tuple[CatalogRoot, dict[str, bytes]]:
        assert changed != data
        return replace(root, database=artifacts.described(root.database.media_type, changed)), {"database": changed}

    def found(changed: tuple[CatalogRoot, dict[str, bytes]], sample: Sample | None = None) -> list[str]:
        put_catalog(layout(tmp_path), *changed)
        told = problems(layout(tmp_path), sample=sample)
        assert {where for where, _ in told} <= {"catalog"}
        return [problem for _, problem in told]

    anew = "Spack's index is not made of the images that are there"
    without = drop_entries(catalog.database, gone=[next(iter(catalog.entries))]).data()
    assert found(database(data.replace(b'"shared":true', b'"shared":false', 1))) == [anew]
    assert found(database(data.replace(b'"ref_count":1', b'"ref_count":2', 1))) == [anew]
    assert found(database(data.replace(b'"in_buildcache":true', b'"in_buildcache":false', 1))) == [anew]
    assert found(database(without)) == [anew]
    assert found(database(without), some) == ["its nodes are not those of its entries"]
    assert found(database(b"{}")) == ["a Spack index that this program did not write"]

    key, shard = next(iter(root.shards.items()))
    (entry,) = artifacts.read_shards(layout(tmp_path), root, [key], jobs=1).values()

    def shards(changed: CatalogEntry, tags: str = shard.tags, count: int = 1) -> tuple[CatalogRoot, dict[str, bytes]]:
        parts, blobs = artifacts.squeeze(to_shards([changed], len(key)), {key: (tags, count)})
        return replace(root, shards={**root.shards, **parts}), {str(digest): data for digest, data in blobs.items()}

    other = f"it tells other things of {entry.tag} than its image"
    assert found(shards(replace(entry, layers_size=7))) == [other]
    assert found(shards(replace(entry, diff_id=entry.manifest.digest))) == [other]
    assert found(shards(entry, tags="sha256:" + "0" * 64)) == [f"shard {key} does not hold what its manifest says"]
    assert found(shards(entry, count=2)) == [f"shard {key} does not hold what its manifest says"]
    nobody = replace(entry, tag=entry.tag.replace("part", "nobody"))
    assert {f"it lacks {entry.tag}", f"it names {nobody.tag}, which is not there"} <= set(found(shards(nobody)))
    assert found((replace(root, shards={k: part for k, part in root.shards.items() if k != key}), {})) == [f"it lacks {entry.tag}"]
    assert found((root, {})) == []


def test_a_size_that_lies_is_not_covered_by_an_honest_image(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", layout(tmp_path))
    for name, at in (("part0", 0), ("part1", 0)):
        tag = tag_named(layout(tmp_path), name)
        good = layout(tmp_path).manifest(tag)
        assert good is not None
        put_layers(layout(tmp_path), tag, lambda layers, at=at: [replace(layers[at], size=7), *layers[at + 1 :]])  # type: ignore[misc]
        index(layout(tmp_path), full=True)
        found = [where for where, _ in problems(layout(tmp_path))]
        assert {where.partition(" ")[0] for where in found} == {tag}
        one = layout(tmp_path)
        one.put_manifest(good, tag)
        one.flush()


def test_a_wrong_node_is_not_covered_by_an_old_format(tmp_path: Path) -> None:
    wrong = make_node("wrong")
    wrong["parameters"]["shared"] = False
    older(add_entry(tmp_path / "m", [make_node("first", dependencies=[wrong]), wrong]), 3)
    add_entry(tmp_path / "m", [make_node("second", dependencies=[wrong]), wrong])
    push_all(tmp_path / "m", layout(tmp_path))
    found = [where for where, problem in problems(layout(tmp_path)) if "DAG hash" in problem]
    assert found == [tag_named(layout(tmp_path), "second")]


def test_an_index_of_the_wrong_size(tmp_path: Path) -> None:
    """Registries don't compare: a client that does refuses the index."""
    add_chain(tmp_path / "m", 1)
    publish(tmp_path / "m", layout(tmp_path))
    put_layers(layout(tmp_path), INDEX_TAG, lambda layers: [replace(layers[0], size=7)])
    assert [where for where, _ in problems(layout(tmp_path))] == [INDEX_TAG]


# --------------------------------------------------------------------------------------------------------------- samples


def test_the_same_seed_chooses_the_same_images() -> None:
    tags = [f"spec{at}-1.0.spack" for at in range(200)]
    mixed = random.Random(1).sample(tags, 200)
    for percent in (1, 10, 50, 99):
        chosen = Sample(percent=percent, seed=7).of(tags)
        assert chosen == Sample(percent=percent, seed=7).of(mixed) == sorted(chosen)
        assert len(set(chosen)) == 200 * percent // 100
        assert set(chosen) <= set(tags)
        assert chosen != Sample(percent=percent, seed=8).of(tags)
    assert Sample().of(tags) == Sample(percent=100, seed=3).of(tags) == tags
    assert set().union(*(Sample(percent=10, seed=seed).of(tags) for seed in range(200))) == set(tags), "every image has its turn"
    assert len(Sample(percent=1).of(tags[:3])) == 1, "of a few, one is looked at"


def test_a_sample_of_a_cache_that_was_emptied(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 1)
    publish(tmp_path / "m", layout(tmp_path))
    untag(layout(tmp_path), tag_named(layout(tmp_path), "part0"))
    index(layout(tmp_path))
    assert look(layout(tmp_path)).findings == ()
    assert look(layout(tmp_path), sample=Sample(percent=10, seed=1)).findings == ()


def test_a_sample_reads_what_it_chose(open_repository: Opener, tmp_path: Path) -> None:
    for at in range(10):
        add_entry(tmp_path / "m", [make_node(f"spec{at}")])
    publish(tmp_path / "m", open_repository())
    tags = sorted(filter(is_spec_tag, open_repository().tags()))
    for seed in range(4):
        sample, asked = Sample(percent=30, seed=seed), set[str]()

        def before(call: str, what: str, asked: set[str] = asked) -> None:
            asked |= {what} if call == "manifest" and is_spec_tag(what) else set()

        verified = look(Watched(open_repository(), before), sample=sample)
        assert (verified.images, verified.blobs, verified.findings) == (3, 3, ())
        assert asked == set(sample.of(tags))


def test_what_is_wrong_in_the_sample_is_found(tmp_path: Path) -> None:
    for at in range(6):
        add_entry(tmp_path / "m", [make_node(f"spec{at}")])
    publish(tmp_path / "m", layout(tmp_path))
    tags = sorted(filter(is_spec_tag, layout(tmp_path).tags()))
    flip(blob(tmp_path, image(layout(tmp_path), tags[2]).layers[-1].digest))
    found = set()
    for seed in range(12):
        sample = Sample(percent=50, seed=seed)
        wrong = look(layout(tmp_path), sample=sample).findings
        assert bool(wrong) is (tags[2] in sample.of(tags))
        found.add(bool(wrong))
    assert found == {True, False}
    # Catalog and index are looked at whatever is chosen.
    flip(blob(tmp_path, image(layout(tmp_path), CATALOG_TAG).layers[-1].digest))
    assert all(CATALOG_TAG in dict(problems(layout(tmp_path), sample=Sample(percent=20, seed=seed))) for seed in range(4))


# ---------------------------------------------------------------------------------------------------------------- resume


class Reading(LayoutRepository):
    """Tells of the layers that are read, and is interrupted at one."""

    def __init__(self, folder: Path, stop_at: int = 1000) -> None:
        super().__init__(LayoutLocation(path=folder / "layout"))
        self.read: list[str] = []
        self._stop_at = stop_at

    def stream_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        if "tar" in descriptor.media_type:
            if len(self.read) == self._stop_at:
                raise KeyboardInterrupt
            self.read.append(str(descriptor.digest))
        return super().stream_blob(descriptor)


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 6)
    push_all(tmp_path / "m", layout(tmp_path))
    undisturbed = Reading(tmp_path)
    whole = look(undisturbed)
    for stop_at in range(6):
        journal = FileJournal(tmp_path / "var" / f"{stop_at}.txt")
        first, second = Reading(tmp_path, stop_at), Reading(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            look(first, journal=journal)
        assert journal.known().keys() == set(first.read)
        verified = look(second, journal=FileJournal(tmp_path / "var" / f"{stop_at}.txt"))
        assert sorted(first.read + second.read) == sorted(undisturbed.read)
        assert (verified.before, verified.blobs, verified.findings) == (stop_at, 6 - stop_at, whole.findings)


def test_what_was_found_wrong_is_read_again(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 3)
    push_all(tmp_path / "m", layout(tmp_path))
    journal = FileJournal(tmp_path / "journal.txt")
    wrong = image(layout(tmp_path), tag_named(layout(tmp_path), "part1")).layers[-1].digest
    flip(blob(tmp_path, wrong))
    for _ in range(2):
        reading = Reading(tmp_path)
        found = look(reading, journal=journal).findings
        assert sum(str(wrong) in finding.where for finding in found) == 1
    assert reading.read == [str(wrong)]


def test_what_is_known_of_a_layer_still_holds_the_images_to_it(tmp_path: Path) -> None:
    """A layer that was read by an earlier run is compared all the same."""
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", layout(tmp_path))
    journal = FileJournal(tmp_path / "journal.txt")
    look(layout(tmp_path), journal=journal)
    tag = tag_named(layout(tmp_path), "part1")
    rewrite(layout(tmp_path), tag, lambda config: config["rootfs"]["diff_ids"].__setitem__(0, "sha256:" + "0" * 64))
    reading = Reading(tmp_path)
    found = [finding.problem for finding in look(reading, journal=journal).findings if finding.where == tag]
    assert ["unpacks to other content" in problem for problem in found] == [True]
    assert reading.read == []


FACTS = {str(Digest.of(bytes([at]))): str(Digest.of(bytes([at, at]))) for at in range(5)}


def test_a_line_that_was_cut_off_is_no_fact(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "var/journal.txt")
    assert journal.known() == {}
    for key, value in FACTS.items():
        journal.note(key, value)
    assert FileJournal(tmp_path / "var/journal.txt").known() == FACTS
    text = (tmp_path / "var/journal.txt").read_bytes()
    line = text.index(b"\n") + 1
    for length in range(len(text)):
        (tmp_path / "var/journal.txt").write_bytes(text[:length])
        # But for its end the line is whole already.
        assert len(journal.known()) == (length + 1) // line
        assert journal.known().items() <= FACTS.items()
    for rubbish in (b"\xff\xfe\n", b"sha256:x sha256:y\n", b"a b c\n", b"\0" * 200):
        (tmp_path / "var/journal.txt").write_bytes(rubbish + text)
        assert set(FACTS.items()) - journal.known().items() <= {next(iter(FACTS.items()))}
    journal.begin()
    journal.begin()
    assert journal.known() == {}


def test_what_is_noted_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    (first, *rest) = FACTS.items()
    FileJournal(tmp_path / "journal.txt").note(*first)
    (tmp_path / "journal.txt").write_bytes((tmp_path / "journal.txt").read_bytes()[:-20])
    journal = FileJournal(tmp_path / "journal.txt")
    for fact in rest:
        journal.note(*fact)
    assert journal.known() == dict(rest)


def test_what_was_read_is_noted_at_once(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 4)
    push_all(tmp_path / "m", layout(tmp_path))
    journal = FileJournal(tmp_path / "journal.txt")

    class Slow(Reading):
        def stream_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
            first = "tar" in descriptor.media_type and not self.read
            pieces = super().stream_blob(descriptor)
            if not first:
                return pieces
            return self.wait()

        def wait(self) -> Iterator[bytes]:
            for _ in range(100):
                if len(journal.known()) == 3:
                    break
                time.sleep(0.01)
            yield b""
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(Slow(tmp_path), jobs=4, progress=QuietProgress(), journal=journal)
    assert len(journal.known()) == 3


def test_a_run_that_ended_well_is_forgotten(tmp_path: Path) -> None:
    add_chain(tmp_path / "var/mirror/v1.1", 3)
    workspace(tmp_path)
    assert [run(tasks.push, tmp_path)[0], run(tasks.index, tmp_path)[0]] == [0, 0]

    def verified(**flags: Any) -> tuple[int, int, int]:
        code, told = run(tasks.verify, tmp_path, **flags)
        (step,) = told["steps"]
        return code, step["blobs"], step["before"]

    registry = tmp_path / "registry/v1.1"
    assert verified() == (0, 3, 0)
    assert verified(resume=True) == (0, 3, 0)
    layer = image(LayoutRepository(LayoutLocation(path=registry)), tag_at(registry, "part1")).layers[-1].digest
    flip(registry / "blobs/sha256" / layer.hex)
    assert verified() == (10, 3, 0)
    assert verified(resume=True) == (10, 1, 2)
    assert verified() == (10, 3, 0), "without --resume all is read anew"
    flip(registry / "blobs/sha256" / layer.hex)
    assert verified(resume=True) == (0, 1, 2)
    assert verified(resume=True) == (0, 3, 0)


def tag_at(registry: Path, name: str) -> str:
    return tag_named(LayoutRepository(LayoutLocation(path=registry)), name)


def test_what_was_right_elsewhere_is_read(tmp_path: Path) -> None:
    add_chain(tmp_path / "var/mirror/v1.1", 3)
    workspace(tmp_path)
    assert [run(tasks.push, tmp_path)[0], run(tasks.index, tmp_path)[0]] == [0, 0]
    shutil.copytree(tmp_path / "registry", tmp_path / "other")
    tag = tag_at(tmp_path / "other/v1.1", "part1")
    layers = image(LayoutRepository(LayoutLocation(path=tmp_path / "other/v1.1")), tag).layers
    # Something is wrong in both, so that the first run is remembered.
    flip(tmp_path / "registry/v1.1/blobs/sha256" / layers[0].digest.hex)
    flip(tmp_path / "other/v1.1/blobs/sha256" / layers[1].digest.hex)
    assert run(tasks.verify, tmp_path)[0] == 10
    code, told = run(tasks.verify, tmp_path, to=f"oci-layout:{tmp_path}/other", resume=True)
    assert (code, layers[1].digest.hex in json.dumps(told["steps"])) == (10, True)


# ---------------------------------------------------------------------------------------------------------------- repair


def lose_tags(folder: Path, *tags: str) -> None:
    """As if index.json had been written by somebody who knew less."""
    path = folder / "layout/index.json"
    told = json.loads(path.read_text())
    told["manifests"] = [item for item in told["manifests"] if item["annotations"]["org.opencontainers.image.ref.name"] not in tags]
    path.write_text(json.dumps(told))


def part(folder: Path, at: int) -> Path:
    return blob(folder, image(layout(folder), CATALOG_TAG).layers[at].digest)


def manifest_blob(folder: Path, tag: str) -> Path:
    raw = layout(folder).manifest(tag)
    assert raw is not None
    return blob(folder, raw.digest)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "lost tag": lambda folder: lose_tags(folder, tag_named(layout(folder), "part1")),
    "lost tags": lambda folder: lose_tags(folder, *filter(is_spec_tag, layout(folder).tags())),
    "shard": lambda folder: flip(part(folder, 2)),
    "shard gone": lambda folder: part(folder, -1).unlink(),
    "database": lambda folder: flip(part(folder, 0), 100),
    "database gone": lambda folder: part(folder, 0).unlink(),
    "older": lambda folder: flip(part(folder, 1)),
    "empty config": lambda folder: flip(blob(folder, Digest.of(b"{}"))),
    "no index": lambda folder: lose_tags(folder, INDEX_TAG),
    "no catalog": lambda folder: lose_tags(folder, CATALOG_TAG),
    "neither": lambda folder: lose_tags(folder, CATALOG_TAG, INDEX_TAG),
    "foreign index": lambda folder: put_foreign_index(layout(folder)),
    "foreign catalog": lambda folder: put_image(layout(folder), b"{}", CATALOG_TAG),
    "index manifest gone": lambda folder: manifest_blob(folder, INDEX_TAG).unlink(),
    "catalog manifest gone": lambda folder: manifest_blob(folder, CATALOG_TAG).unlink(),
    "index manifest": lambda folder: flip(manifest_blob(folder, INDEX_TAG)),
    "catalog manifest": lambda folder: flip(manifest_blob(folder, CATALOG_TAG)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_can_be_mended_is_mended(tmp_path: Path, damage: str) -> None:
    add_chain(tmp_path / "var/mirror/v1.1", 3)
    older(add_entry(tmp_path / "var/mirror/v1.1", [make_node("old")]), 4)
    workspace(tmp_path)
    to = f"oci-layout:{tmp_path}/registry"
    (tmp_path / "registry").mkdir()
    (tmp_path / "layout").mkdir()
    (tmp_path / "registry/v1.1").symlink_to(tmp_path / "layout")
    assert [run(tasks.push, tmp_path, to=to)[0], run(tasks.index, tmp_path, to=to)[0]] == [0, 0]
    before, tags = written(layout(tmp_path)), layout(tmp_path).tags()
    DAMAGE[damage](tmp_path)
    code, told = run(tasks.verify, tmp_path)
    assert (code, told["steps"][0]["counts"].keys()) == (10, {"wrong"})
    code, told = run(tasks.verify, tmp_path, repair=True)
    assert (code, told["steps"][0]["counts"].keys()) == (0, {"mended"}), told
    assert layout(tmp_path).tags() == tags
    assert written(layout(tmp_path)) == before
    assert run(tasks.verify, tmp_path)[0] == 0
    assert run(tasks.verify, tmp_path, repair=True)[1]["steps"][0]["counts"] == {}
    check_settled(lambda: layout(tmp_path))


def test_what_can_not_be_mended_is_still_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_chain(tmp_path / "var/mirror/v1.1", 3)
    workspace(tmp_path)
    (tmp_path / "registry").mkdir()
    (tmp_path / "layout").mkdir()
    (tmp_path / "registry/v1.1").symlink_to(tmp_path / "layout")
    assert [run(tasks.push, tmp_path)[0], run(tasks.index, tmp_path)[0]] == [0, 0]
    tags = {name: tag_named(layout(tmp_path), name) for name in ("part0", "part1", "part2")}
    layer = image(layout(tmp_path), tags["part2"]).layers[-1].digest
    flip(blob(tmp_path, layer))
    code, told = run(tasks.verify, tmp_path, repair=True)
    assert (code, told["steps"][0]["counts"]) == (10, {"wrong": 1})
    lose_tags(tmp_path, tags["part1"])
    # An image that lost its tag, and is not whole, stays without.
    config = image(layout(tmp_path), tags["part0"]).config.digest
    lose_tags(tmp_path, tags["part0"])
    flip(blob(tmp_path, config))
    capsys.readouterr()
    code, told = run(tasks.verify, tmp_path, repair=True)
    said = capsys.readouterr().out
    assert code == 10
    assert layout(tmp_path).tags() == {tags["part1"], tags["part2"], CATALOG_TAG, INDEX_TAG}
    items = told["steps"][0]["items"]
    assert [item["label"] for item in items if item["outcome"] == "mended"] == [
        f"{tags['part1']} names its image again",
        "catalog and Spack index were read anew from the tags: 2 entries",
    ]
    wrong = [item["label"] + ": " + item["problem"] for item in items if item["outcome"] == "wrong"]
    assert any(str(layer) in line for line in wrong)
    assert sum("its dependency part0@1.0" in line for line in wrong) == 2
    assert len(wrong) == 3
    assert all(line in said for line in wrong)
    # What is left is mended by a push.
    assert run(tasks.push, tmp_path, force=True)[0] == 0
    assert run(tasks.index, tmp_path)[0] == 0
    assert run(tasks.verify, tmp_path)[0] == 0


def test_tags_that_a_registry_lost(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path, 3)
    publish(tmp_path, registry_of(double))
    lost = {tag: double.tags.pop(tag) for tag in [*double.tags] if tag.startswith(("part0", "part2"))}
    assert len(lost) == 2
    found = look(registry_of(double)).findings
    mended = repair(registry_of(double), found, labels={}, jobs=2, progress=QuietProgress())
    assert mended == tuple(f"{tag} names its image again" for tag in sorted(lost, key=lambda tag: tag.removesuffix(".spack")[-32:]))
    assert lost.items() <= double.tags.items()
    assert look(registry_of(double)).findings == ()
    check_settled(lambda: registry_of(double))


def test_nothing_is_mended_where_nothing_can_be(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path, 2)
    publish(tmp_path, registry_of(double))
    double.requests.clear()
    finding = Finding(where="x", problem="y", remedy="z")
    assert repair(registry_of(double), [finding], labels={}, jobs=2, progress=QuietProgress()) == ()
    assert double.requests == []


def test_a_tag_is_not_given_to_what_was_pushed_anew(tmp_path: Path) -> None:
    """Whoever has taken a tag away to push it anew is in the middle of that."""
    add_chain(tmp_path / "m", 2)
    publish(tmp_path / "m", layout(tmp_path))
    tag = tag_named(layout(tmp_path), "part1")
    mark_stale(layout(tmp_path), frozenset([tag]), jobs=1)
    lose_tags(tmp_path, tag)
    found = look(layout(tmp_path)).findings
    repair(layout(tmp_path), found, labels={}, jobs=1, progress=QuietProgress())
    assert tag not in layout(tmp_path).tags()
    assert tag not in load_catalog(layout(tmp_path)).tags()


# ---------------------------------------------------------------------------------------------------------------- mirror


def test_a_mirror_against_what_is_published(open_repository: Opener, tmp_path: Path) -> None:
    nodes = add_chain(tmp_path / "m", 3)
    publish(tmp_path / "m", open_repository())
    mirror = DiskMirror(tmp_path / "m")
    assert look(open_repository(), mirror=mirror).findings == ()

    def labels(*which: int) -> list[str]:
        return [f"mirror: part{at}@1.0/{nodes[at]['hash'][:7]}" for at in which]

    new = make_node("new")
    add_entry(tmp_path / "m", [new])
    assert problems(open_repository(), mirror=mirror) == [(f"mirror: new@1.0/{new['hash'][:7]}", "it is not published")]
    shutil.rmtree(tmp_path / "m/v3/manifests/spec/new")

    add_entry(tmp_path / "m", [nodes[1], nodes[0]], {"bin/part1": b"built again"})
    (twice,) = look(open_repository(), mirror=mirror).findings
    assert (twice.where, "built twice" in twice.problem) == (labels(1)[0], True)
    assert "inv pull" in twice.remedy
    assert "inv push --force" in twice.remedy
    push_all(tmp_path / "m", open_repository(), force=True)
    index(open_repository())
    assert look(open_repository(), mirror=mirror).findings == ()

    entry = next(entry for entry in mirror.entries() if entry.spec.root.name == "part2")
    path = mirror.blob_path(entry.tarball.digest)
    good = path.read_bytes()
    for data in (good[:-1] + b"\xff", good[:40], b"", b"rubbish" * 50):
        path.write_bytes(data)
        (found,) = look(open_repository(), mirror=mirror).findings
        assert (found.where, entry.tarball.digest.hex in found.problem, bool(found.remedy)) == ("mirror", True, True)
    path.unlink()
    (found,) = look(open_repository(), mirror=mirror).findings
    assert "missing" in found.problem
    path.write_bytes(good)
    (tmp_path / "m" / entry.path).write_bytes(b"{}")
    (found,) = look(open_repository(), mirror=mirror).findings
    assert "part2" in found.problem
    # All that is the mirror's: without it there is nothing to find.
    assert look(open_repository()).findings == ()


def test_a_mirror_that_holds_less_is_nothing_wrong(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 3)
    publish(tmp_path / "m", layout(tmp_path))
    shutil.rmtree(tmp_path / "m/v3/manifests/spec/part1")
    assert look(layout(tmp_path), mirror=DiskMirror(tmp_path / "m")).findings == ()
    assert look(layout(tmp_path), mirror=DiskMirror(tmp_path / "nowhere")).findings == ()


# ---------------------------------------------------------------------------------------------------------------- report


def test_the_task_and_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_chain(tmp_path / "var/mirror/v1.1", 2)
    workspace(tmp_path)
    assert [run(tasks.push, tmp_path)[0], run(tasks.index, tmp_path)[0]] == [0, 0]
    registry = tmp_path / "registry/v1.1"
    sizes = sum(layer.size for layer in image(LayoutRepository(LayoutLocation(path=registry)), tag_at(registry, "part1")).layers)
    code, told = run(tasks.verify, tmp_path, mirror=True, sample=100)
    assert (code, told) == (
        0,
        {
            "meta": {"report": "1.0", "task": "verify"},
            "exitCode": 0,
            "steps": [
                {
                    "step": "verify", "where": f"oci-layout:{registry}", "images": 2, "blobs": 2, "bytes": sizes, "before": 0,
                    "counts": {}, "items": [],
                }
            ],
        },
    )  # fmt: skip
    add_entry(tmp_path / "var/mirror/v1.1", [make_node("new")])
    capsys.readouterr()
    code, told = run(tasks.verify, tmp_path, mirror=True)
    said = capsys.readouterr().out
    (step,) = told["steps"]
    (item,) = step["items"]
    assert (code, told["exitCode"], step["counts"]) == (10, 10, {"wrong": 1})
    assert item.keys() == {"label", "outcome", "problem", "remedy"}
    assert f"WRONG    {item['label']}: {item['problem']}" in said
    assert f"remedy: {item['remedy']}" in said
    assert run(tasks.verify, tmp_path)[0] == 0


def test_the_seed_is_told_and_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for at in range(8):
        add_entry(tmp_path / "var/mirror/v1.1", [make_node(f"spec{at}")])
    workspace(tmp_path)
    assert [run(tasks.push, tmp_path)[0], run(tasks.index, tmp_path)[0]] == [0, 0]
    capsys.readouterr()
    code, told = run(tasks.verify, tmp_path, sample=25)
    said = capsys.readouterr().out
    assert (code, told["steps"][0]["images"]) == (0, 2)
    assert "25 % of the images; --seed " in said
    registry = tmp_path / "registry/v1.1"
    tags = sorted(filter(is_spec_tag, LayoutRepository(LayoutLocation(path=registry)).tags()))
    # It looks at what the seed that it was told says.
    flip(registry / "blobs/sha256" / image(LayoutRepository(LayoutLocation(path=registry)), tags[3]).config.digest.hex)
    codes = {seed: run(tasks.verify, tmp_path, sample=25, seed=seed)[0] for seed in range(1, 12)}
    assert codes == {seed: 10 if tags[3] in Sample(percent=25, seed=seed).of(tags) else 0 for seed in range(1, 12)}
    assert set(codes.values()) == {0, 10}


@pytest.mark.parametrize("flags", [{"sample": 0}, {"sample": 101}, {"sample": -5}, {"jobs": 0}, {"to": "nowhere"}])
def test_what_can_not_be_asked_for(tmp_path: Path, flags: dict[str, Any]) -> None:
    workspace(tmp_path)
    code, told = run(tasks.verify, tmp_path, **flags)
    assert (code, told["exitCode"], bool(told["error"]["hint"]), told["steps"]) == (2, 2, True, [])


def inv(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "invoke", *arguments, "--config", str(folder / "cache.yaml"), "--to", f"oci-layout:{folder}/registry"]
    return subprocess.run(command, cwd=PROJECT, text=True, capture_output=True, check=False, timeout=120)


def test_a_report_that_can_not_be_written(tmp_path: Path) -> None:
    workspace(tmp_path)
    done = inv(tmp_path, "verify", "--sample", "0", "--json", str(tmp_path))
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr, done.stderr


def test_an_empty_place_is_an_error(tmp_path: Path) -> None:
    workspace(tmp_path)
    code, told = run(tasks.verify, tmp_path)
    assert (code, told["exitCode"], told["steps"][0]["step"], told["steps"][0]["exitCode"]) == (14, 14, "error", 14)
    assert not (tmp_path / "registry").exists(), "looking makes nothing"


def test_a_stack_that_was_never_published_is_no_fault_of_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever adds a stack doesn't find the nightly check red until its first build is through."""
    ws = workspace(tmp_path)
    add_entry(tmp_path / "var/mirror/v1.1", [make_node("zlib")])
    assert [run(tasks.push, tmp_path)[0], run(tasks.index, tmp_path)[0]] == [0, 0]
    data = yaml.safe_load((tmp_path / "cache.yaml").read_text())
    (stack,) = data["stacks"].values()
    data["stacks"]["new"] = {**stack, "image": "new"}
    (tmp_path / "cache.yaml").write_text(yaml.safe_dump(data))
    capsys.readouterr()
    assert run(tasks.verify, tmp_path)[0] == 0
    assert "registry/new: its stacks have built nothing yet" in capsys.readouterr().out
    # What is wrong with the others is found as ever.
    (tag,) = filter(is_spec_tag, ws.repository(LayoutLocation(path=tmp_path / "registry/v1.1")).tags())
    layout_there = LayoutRepository(LayoutLocation(path=tmp_path / "registry/v1.1"))
    flip(tmp_path / "registry/v1.1/blobs/sha256" / image(layout_there, tag).config.digest.hex)
    assert run(tasks.verify, tmp_path)[0] == 10
