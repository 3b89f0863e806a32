"""Push, index, verify and render over every kind of repository, from mirrors made by rule."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest

from cachelib.model.digest import Digest
from cachelib.model.image import BaseImage
from cachelib.model.oci import CATALOG_TAG, CONFIG, INDEX_TAG, LAYER_GZIP, MANIFEST, Descriptor, ImageManifest, spec_tag
from cachelib.model.outcome import NotPushed, Present, Pushed, PushOutcome
from cachelib.model.ports import Repository
from cachelib.steps import indexing, staleness
from cachelib.steps.artifacts import load_catalog
from cachelib.steps.pushing import plan_push, push
from cachelib.steps.verifying import verify
from cachelib.tools.mirror import DiskMirror
from tests.contract.conftest import Opener
from tests.support.mirrors import add_chain, add_entry, make_node
from tests.support.quiet import QuietProgress


def push_all(root: Path, repository: Repository, *, force: bool = False) -> dict[str, PushOutcome]:
    mirror = DiskMirror(root)
    plan = plan_push(mirror, repository.tags(), force=force)
    if force:
        staleness.mark_stale(repository, frozenset(item.entry.tag for item in plan.to_send()), jobs=4)
    labels = {"vendor": "tests", "source": "https://x.org/r"}
    return push(plan, mirror, repository, bases={}, labels=labels, jobs=4, progress=QuietProgress())


def index(repository: Repository, *, full: bool = False) -> indexing.Indexed:
    return indexing.index(repository, labels={}, jobs=4, progress=QuietProgress(), full=full)


def put_image(repository: Repository, config: bytes, tag: str, layers: int = 1) -> None:
    described = []
    for data, media_type in [(config, CONFIG), *[(b"layer", LAYER_GZIP)] * layers]:
        descriptor = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
        repository.put_blob(descriptor, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
        described.append(descriptor)
    manifest = ImageManifest(media_type=MANIFEST, config=described[0], layers=tuple(described[1:]), annotations={})
    repository.put_manifest(manifest.raw(), tag)
    repository.flush()


def test_the_whole_road(open_repository: Opener, tmp_path: Path) -> None:
    nodes = add_chain(tmp_path / "m", 4)
    repository = open_repository()
    outcomes = push_all(tmp_path / "m", repository)
    assert {type(outcome) for outcome in outcomes.values()} == {Pushed}
    indexed = index(repository)
    assert len(indexed.added) == 4
    assert indexed.written

    other = open_repository()
    top = other.manifest(spec_tag("part3", "1.0", nodes[3]["hash"]))
    assert top is not None
    manifest = ImageManifest.parse(top)
    config = json.loads(other.read_blob(manifest.config))
    mirror = {entry.spec.root.name: entry for entry in DiskMirror(tmp_path / "m").entries()}
    # The layers are the mirror's tarballs, byte for byte, dependencies first, the spec's own last.
    assert [layer.digest for layer in manifest.layers] == [mirror[f"part{at}"].tarball.digest for at in range(4)]
    assert [gzip.decompress(other.read_blob(layer)) for layer in manifest.layers]
    assert config["rootfs"]["diff_ids"] == [str(Digest.of(gzip.decompress(other.read_blob(layer)))) for layer in manifest.layers]
    assert config["binary_cache_checksum"] == {"hash_algorithm": "sha256", "hash": mirror["part3"].tarball.digest.hex}
    assert config["spec"]["nodes"][0] == nodes[3]
    assert (config["architecture"], config["os"], config["buildcache_layout_version"]) == ("amd64", "linux", 3)
    path = next(item for item in config["config"]["Env"] if item.startswith("PATH="))
    # Nobody left a record, so the tarballs tell: the spec's own bin before those of what it needs.
    assert path.split(":")[0] == f"PATH=/opt/cache/part3-1.0-{nodes[3]['hash']}/bin"
    assert path.endswith(":/bin:/usr/bin")
    assert manifest.annotations["org.opencontainers.image.title"] == "part3@1.0"
    assert manifest.annotations["org.opencontainers.image.vendor"] == "tests"
    assert manifest.annotations["org.opencontainers.image.source"] == "https://x.org/r"

    verified = verify(other, jobs=4, progress=QuietProgress())
    assert (verified.images, verified.blobs, verified.findings) == (4, 4, ())


def test_oras_pulls_one_file_of_an_image(open_repository: Opener, tmp_path: Path) -> None:
    """The oras CLI writes the layers that have a title, under that name: the spec's own tarball, and no dependency's."""
    add_chain(tmp_path / "m", 3)
    push_all(tmp_path / "m", open_repository())
    repository = open_repository()
    for entry in DiskMirror(tmp_path / "m").entries():
        root = entry.spec.root
        raw = repository.manifest(spec_tag(root.name, root.version, root.hash))
        assert raw is not None
        layers = ImageManifest.parse(raw).layers
        files = {title: layer.digest for layer in layers if (title := layer.annotations.get("org.opencontainers.image.title"))}
        assert files == {f"{root.name}-{root.version}-{root.hash}.tar.gz": entry.tarball.digest}
    # The catalog knows it too: the site tells `oras pull` where that writes something.
    index(repository)
    kept = [entry.tarball.annotations["org.opencontainers.image.title"] for entry in load_catalog(repository).entries.values()]
    assert sorted(kept) == [
        f"part{n}-1.0-{entry.hash}.tar.gz"
        for n, entry in enumerate(sorted(DiskMirror(tmp_path / "m").entries(), key=lambda e: e.spec.root.name))
    ]


def test_again_sends_nothing_and_changes_nothing(open_repository: Opener, tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 3)
    push_all(tmp_path / "m", open_repository())
    index(open_repository())
    before = {tag: open_repository().manifest(tag) for tag in open_repository().tags()}
    outcomes = push_all(tmp_path / "m", open_repository())
    assert {type(outcome) for outcome in outcomes.values()} == {Present}
    again = index(open_repository())
    assert (again.added, again.removed, again.written) == ((), (), False)
    assert {tag: open_repository().manifest(tag) for tag in open_repository().tags()} == before


def test_an_incremental_index_equals_a_full_one(open_repository: Opener, tmp_path: Path) -> None:
    add_entry(tmp_path / "m", [make_node("first")])
    push_all(tmp_path / "m", open_repository())
    index(open_repository())
    add_chain(tmp_path / "m", 3)
    push_all(tmp_path / "m", open_repository())
    grown = index(open_repository())
    assert (len(grown.added), grown.count) == (3, 4)
    tags = {tag: open_repository().manifest(tag) for tag in (CATALOG_TAG, INDEX_TAG)}
    full = index(open_repository(), full=True)
    assert (len(full.added), full.count, full.written) == (4, 4, False)
    assert {tag: open_repository().manifest(tag) for tag in (CATALOG_TAG, INDEX_TAG)} == tags


def test_what_is_published_counts(open_repository: Opener, tmp_path: Path) -> None:
    """A dependency that was built anew gives other bytes; the image of a dependent takes those that are published."""
    library = make_node("library")
    add_entry(tmp_path / "old", [library], {"lib/a": b"first build"})
    push_all(tmp_path / "old", open_repository())
    published = DiskMirror(tmp_path / "old")
    (old,) = published.entries()
    program = make_node("program", dependencies=[library])
    add_entry(tmp_path / "new", [library], {"lib/a": b"second build"})
    add_entry(tmp_path / "new", [program, library])
    for indexed in (False, True):
        if indexed:
            index(open_repository())
        add_entry(tmp_path / "new", [program, library])
        push_all(tmp_path / "new", open_repository())
        raw = open_repository().manifest(spec_tag("program", "1.0", program["hash"]))
        assert raw is not None
        assert ImageManifest.parse(raw).layers[0].digest == old.tarball.digest


def test_strangers_are_passed_over(open_repository: Opener, tmp_path: Path) -> None:
    add_entry(tmp_path / "m", [make_node("good")])
    repository = open_repository()
    push_all(tmp_path / "m", repository)
    other = make_node("other")
    spec = {"spec": {"_meta": {"version": 5}, "nodes": [other]}, "rootfs": {"diff_ids": ["sha256:" + "a" * 64]}}
    put_image(repository, b"{}", "foreign-1.0-x.spack")
    put_image(repository, b"not json", "broken.spack")
    put_image(repository, json.dumps(spec).encode(), "liar-1.0-y.spack")
    put_image(repository, json.dumps(spec).encode(), "bare-1.0-y.spack", layers=0)
    put_image(repository, b"{}", "latest")
    indexed = index(open_repository())
    assert [entry.tag.partition("-")[0] for entry in load_catalog(open_repository()).entries.values()] == ["good"]
    reasons = {warning.tag: warning.reason for warning in indexed.warnings}
    assert set(reasons) == {"foreign-1.0-x.spack", "broken.spack", "liar-1.0-y.spack", "bare-1.0-y.spack"}
    assert "holds no spec" in reasons["foreign-1.0-x.spack"]
    assert "not what its tag says" in reasons["liar-1.0-y.spack"]
    found = {finding.where for finding in verify(open_repository(), jobs=2, progress=QuietProgress()).findings}
    assert {"foreign-1.0-x.spack", "broken.spack", "liar-1.0-y.spack", "bare-1.0-y.spack"} <= found


def test_a_damaged_tarball_costs_what_contains_it(open_repository: Opener, tmp_path: Path) -> None:
    nodes = add_chain(tmp_path / "m", 3)
    add_entry(tmp_path / "m", [make_node("alone")])
    mirror = DiskMirror(tmp_path / "m")
    damaged = next(entry for entry in mirror.entries() if entry.spec.root.name == "part1")
    path = mirror.blob_path(damaged.tarball.digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    outcomes = push_all(tmp_path / "m", open_repository())
    by_name = {node["name"]: outcomes[node["hash"]] for node in nodes}
    assert isinstance(by_name["part0"], Pushed)
    assert isinstance(by_name["part1"], NotPushed)
    assert isinstance(by_name["part2"], NotPushed)
    assert "its dependency part1@1.0" in by_name["part2"].reason
    assert isinstance(outcomes[make_node("alone")["hash"]], Pushed)
    assert open_repository().tags() == {spec_tag(n["name"], "1.0", n["hash"]) for n in (nodes[0], make_node("alone"))}


def test_force_sends_again(open_repository: Opener, tmp_path: Path) -> None:
    node = make_node("one")
    add_entry(tmp_path / "a", [node], {"bin/one": b"1"})
    add_entry(tmp_path / "b", [node], {"bin/one": b"2"})
    push_all(tmp_path / "a", open_repository())
    first = open_repository().manifest(spec_tag("one", "1.0", node["hash"]))
    push_all(tmp_path / "b", open_repository())
    assert open_repository().manifest(spec_tag("one", "1.0", node["hash"])) == first
    push_all(tmp_path / "b", open_repository(), force=True)
    assert open_repository().manifest(spec_tag("one", "1.0", node["hash"])) != first


@pytest.mark.parametrize("docker", [False, True])
def test_a_base_image_lies_below(open_repository: Opener, tmp_path: Path, docker: bool) -> None:
    from cachelib.model.oci import DOCKER_LAYER_GZIP, DOCKER_MANIFEST

    layer = gzip.compress(b"base", mtime=0)
    below = Descriptor(media_type=LAYER_GZIP, digest=Digest.of(layer), size=len(layer))
    repository = open_repository()
    repository.put_blob(below, lambda: io.BytesIO(layer))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "b" * 64]},
        "config": {"Env": ["PATH=/base", "A=b=c"]},
    }
    base = BaseImage(name="ghcr.io/x/base:1", media_type=DOCKER_MANIFEST if docker else MANIFEST, layers=(below,), config=config)
    add_entry(tmp_path / "m", [make_node("one")])
    mirror = DiskMirror(tmp_path / "m")
    plan = plan_push(mirror, repository.tags())
    push(plan, mirror, repository, bases={"amd64": base}, labels={}, jobs=2, progress=QuietProgress())
    (tag,) = open_repository().tags()
    raw = open_repository().manifest(tag)
    assert raw is not None
    manifest = ImageManifest.parse(raw)
    assert (manifest.layers[0].digest, len(manifest.layers)) == (below.digest, 2)
    assert raw.media_type == base.media_type
    # Apptainer takes one family of media types or the other.
    assert manifest.layers[1].media_type == (DOCKER_LAYER_GZIP if docker else LAYER_GZIP)
    assert manifest.layers[0].annotations == {}
    assert bool(manifest.layers[1].annotations) is not docker
    assert manifest.annotations.get("org.opencontainers.image.base.name") == (None if docker else "ghcr.io/x/base:1")
    made = json.loads(open_repository().read_blob(manifest.config))
    assert len(made["rootfs"]["diff_ids"]) == 2
    assert "A=b=c" in made["config"]["Env"]
    assert any(item.startswith("PATH=/opt/cache/one") and item.endswith(":/base") for item in made["config"]["Env"])
