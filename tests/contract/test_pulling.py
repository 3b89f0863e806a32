"""What is pulled is what was pushed, byte for byte; nothing is fetched twice, and nothing that is wrong gets a name."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

import tasks
from cachelib import pipeline
from cachelib.model.digest import Digest
from cachelib.model.entry import ENTRY_SUFFIX, TARBALL, BlobRecord, find_blob, parse_blob_records
from cachelib.model.errors import CacheError, MirrorError, UsageError
from cachelib.model.image import BaseImage
from cachelib.model.oci import CATALOG_TAG, DOCKER_MANIFEST, Descriptor, ImageManifest, LayoutLocation
from cachelib.model.outcome import Built, Here, NotPulled, Pulled, PullOutcome, Pushed
from cachelib.model.ports import Repository
from cachelib.model.record import EnvChange, Origin, PackageInfo, Record
from cachelib.model.request import parse_request
from cachelib.model.spec import dag_hash
from cachelib.steps.indexing import read_catalog
from cachelib.steps.pulling import plan_pull, pull
from cachelib.steps.pushing import plan_push, push
from cachelib.steps.verifying import verify
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from tests.conftest import need
from tests.contract.conftest import Opener
from tests.contract.test_misbehaving import repository as registry_of
from tests.contract.test_road import index, push_all
from tests.support.double import Fault, RegistryDouble
from tests.support.mirrors import add_chain, add_entry, make_node, make_tarball
from tests.support.quiet import QuietProgress

PROJECT = Path(__file__).resolve().parents[2]
KEPT = "io.github.spack-build-cache.entry"
BASE = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}, "config": {"Env": ["PATH=/usr/bin", "X=1"]}}


def pull_all(
    repository: Repository, root: Path, *texts: str, closure: bool = True, jobs: int = 4, mirror: DiskMirror | None = None
) -> dict[str, PullOutcome]:
    """Pull by package name: what became of each."""
    mirror = mirror or DiskMirror(root)
    catalog, _ = read_catalog(repository, jobs=4, progress=QuietProgress())
    plan = plan_pull(catalog, mirror, [parse_request(text) for text in texts], closure=closure)
    outcomes = pull(plan, repository, mirror, jobs=jobs, progress=QuietProgress())
    return {item.label.partition("@")[0]: outcomes[item.entry.hash] for item in plan.items}


def kinds(outcomes: dict[str, PullOutcome]) -> dict[str, type]:
    return {name: type(outcome) for name, outcome in sorted(outcomes.items())}


def entry_files(root: Path) -> dict[str, bytes]:
    """The entries of a mirror and the blobs that they name: path and bytes."""
    mirror, found = DiskMirror(root), {}
    for entry in mirror.entries():
        found[str(entry.path)] = entry.raw
        for blob in (entry.tarball, entry.spec_file):
            path = mirror.blob_path(blob.digest)
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


def tree(root: Path) -> dict[str, bytes]:
    """Every file, hidden ones too, but for our own notes beside Spack's files."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.relative_to(root).parts[0] != "records")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def check_names(root: Path) -> int:
    """Nothing under its final name is other than its name says, no entry is without its blobs; return how many entries there are."""
    for path in (root / "blobs").rglob("*"):
        if path.is_file() and not path.name.endswith(".partial"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    mirror, count = DiskMirror(root), 0
    for count, entry in enumerate(mirror.entries(), 1):  # noqa: B007
        assert mirror.has_blob(entry.tarball)
    return count


def signed(text: bytes, end: bytes = b"\n") -> bytes:
    """The bytes of a clear-signed message around a text, as gpg writes it; its signature is none."""
    lines = [b"- " + line if line.startswith(b"-") else line for line in text.splitlines()]
    head = [b"-----BEGIN PGP SIGNED MESSAGE-----", b"Hash: SHA512", b""]
    return end.join([*head, *lines, b"-----BEGIN PGP SIGNATURE-----", b"", b"iQ==", b"=abcd", b"-----END PGP SIGNATURE-----", b""])


def older(path: Path, spec_format: int) -> None:
    """Make an entry one of an older spec format."""
    root = path.parents[4]
    raw = json.loads(path.read_bytes())
    record = raw["data"][1]
    blob = root / "blobs/sha256" / record["checksum"][:2] / record["checksum"]
    spec = json.loads(gzip.decompress(blob.read_bytes()))
    spec["spec"]["_meta"]["version"] = spec_format
    data = gzip.compress(json.dumps(spec).encode(), mtime=0)
    blob.unlink()
    record |= {"checksum": Digest.of(data).hex, "contentLength": len(data)}
    changed = root / "blobs/sha256" / record["checksum"][:2] / record["checksum"]
    changed.parent.mkdir(parents=True, exist_ok=True)
    changed.write_bytes(data)
    path.write_text(json.dumps(raw))


def make_mirror(root: Path) -> None:
    """Entries of every sort: a chain, a signed one, one with line ends of another system, a git version, an older format."""
    add_chain(root, 3)
    path = add_entry(root, [make_node("signed")])
    path.write_bytes(signed(path.read_bytes()))
    path = add_entry(root, [make_node("windows")])
    path.write_bytes(signed(path.read_bytes(), b"\r\n"))
    add_entry(root, [make_node("branch", "git.feature/x=1.0")])
    older(add_entry(root, [make_node("old")]), 4)


def rewrite(repository: Repository, tag: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Put an image again with another config."""
    raw = repository.manifest(tag)
    assert raw is not None
    manifest = ImageManifest.parse(raw)
    config = json.loads(repository.read_blob(manifest.config))
    change(config)
    data = json.dumps(config, separators=(",", ":")).encode()
    blob = Descriptor(media_type=manifest.config.media_type, digest=Digest.of(data), size=len(data))
    repository.put_blob(blob, lambda: io.BytesIO(data))
    repository.put_manifest(replace(manifest, config=blob).raw(), tag)
    repository.flush()


def tag_named(repository: Repository, name: str) -> str:
    (tag,) = (tag for tag in repository.tags() if tag.startswith(f"{name}-"))
    return tag


def layout(tmp_path: Path) -> LayoutRepository:
    return LayoutRepository(LayoutLocation(path=tmp_path / "layout"))


def test_back_byte_for_byte(open_repository: Opener, tmp_path: Path) -> None:
    make_mirror(tmp_path / "m")
    assert {type(outcome) for outcome in push_all(tmp_path / "m", open_repository()).values()} == {Pushed}
    pushed = entry_files(tmp_path / "m")
    assert len(pushed) == 3 * 7
    for indexed in (False, True):
        if indexed:
            index(open_repository())
        out = tmp_path / f"out{indexed}"
        outcomes = pull_all(open_repository(), out)
        assert len(outcomes) == 7
        assert all(isinstance(outcome, Pulled) and outcome.original for outcome in outcomes.values())
        assert entry_files(out) == pushed
        assert {path for path in tree(out) if path.endswith(ENTRY_SUFFIX)} == {path for path in pushed if path.endswith(ENTRY_SUFFIX)}
        assert {path: data for path, data in tree(out).items() if path in pushed} == pushed
        # And Spack finds in it what it finds in a mirror that was written here.
        DiskMirror(tmp_path / "m").write_index()
        assert tree(out / "v3") == tree(tmp_path / "m/v3")
    assert set(kinds(pull_all(open_repository(), tmp_path / "outTrue")).values()) == {Here}


def test_the_mirror_that_ships_survives(open_repository: Opener, tmp_path: Path) -> None:
    """Its entries were written by Spack 1.1."""
    shutil.copytree(PROJECT / "examples/mirror", tmp_path / "m")
    push_all(tmp_path / "m", open_repository())
    index(open_repository())
    assert len(pull_all(open_repository(), tmp_path / "out")) == 2
    assert entry_files(tmp_path / "out") == entry_files(PROJECT / "examples/mirror")


def test_an_image_that_spack_pushed_is_made_an_entry(open_repository: Opener, tmp_path: Path) -> None:
    nodes = add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", open_repository())
    tag = tag_named(open_repository(), "part1")
    rewrite(open_repository(), tag, lambda config: config.pop(KEPT))
    outcomes = pull_all(open_repository(), tmp_path / "out")
    assert {name: isinstance(o, Pulled) and o.original for name, o in outcomes.items()} == {"part0": True, "part1": False}
    source, made = DiskMirror(tmp_path / "m"), DiskMirror(tmp_path / "out")
    for name in source.names():
        ours, theirs = source.entry(name), made.entry(name)
        assert (theirs.spec, theirs.tarball) == (ours.spec, ours.tarball)
        assert made.inspect_tarball(theirs.tarball) == source.inspect_tarball(ours.tarball)
    (name,) = (name for name in made.names() if name.hash == nodes[1]["hash"])
    # gpg cuts lines that are longer than this: an entry has to bear being signed.
    assert max(map(len, (tmp_path / "out" / name.path).read_bytes().splitlines())) < 20_000
    assert kinds(pull_all(open_repository(), tmp_path / "out")) == {"part0": Here, "part1": Here}
    pull_all(open_repository(), tmp_path / "again")
    assert tree(tmp_path / "again") == tree(tmp_path / "out")
    assert verify(open_repository(), jobs=2, progress=QuietProgress()).findings[1:] == (), "but for the catalog, which is missing"


def test_a_real_signature_still_holds(tmp_path: Path) -> None:
    gpg = need("gpg")
    path = add_entry(tmp_path / "m", [make_node("one")])
    with tempfile.TemporaryDirectory(prefix="gpg") as home:
        command = [gpg, "--homedir", home, "--batch", "--quiet", "--yes", "--trust-model", "always"]
        try:
            subprocess.run(
                [*command, "--passphrase", "", "--quick-generate-key", "tester", "ed25519", "sign"], check=True, capture_output=True
            )
            plain = path.read_bytes()
            subprocess.run([*command, "--clearsign", "--output", f"{path}.asc", str(path)], check=True, capture_output=True)
            Path(f"{path}.asc").replace(path)
            push_all(tmp_path / "m", layout(tmp_path))
            pull_all(layout(tmp_path), tmp_path / "out")
            pulled = tmp_path / "out" / path.relative_to(tmp_path / "m")
            done = subprocess.run([*command, "--decrypt", str(pulled)], check=True, capture_output=True)
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
    assert done.stdout.rstrip() == plain.rstrip()
    assert b"PGP SIGNATURE" in pulled.read_bytes()
    assert entry_files(tmp_path / "out") == entry_files(tmp_path / "m")


def test_only_what_is_missing_is_fetched(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 4)
    push_all(tmp_path / "m", registry_of(double))
    index(registry_of(double))
    out = tmp_path / "out"
    pull_all(registry_of(double), out)
    assert all(double.count(f"GET .*{entry.tarball.digest}") == 1 for entry in DiskMirror(out).entries())
    whole = tree(out)

    def again() -> tuple[dict[str, type], int]:
        double.requests.clear()
        outcomes = pull_all(registry_of(double), out)
        assert tree(out) == whole
        layers = {str(entry.tarball.digest) for entry in DiskMirror(out).entries()}
        return kinds(outcomes), sum(1 for request in double.requests if any(digest in request for digest in layers))

    assert again() == (dict.fromkeys(["part0", "part1", "part2", "part3"], Here), 0)
    # Nor is anything asked for each entry.
    assert double.count("manifests/(?!catalog$)") == 0, double.requests
    entries = {entry.spec.root.name: entry for entry in DiskMirror(out).entries()}
    mirror = DiskMirror(out)

    tarball = mirror.blob_path(entries["part0"].tarball.digest)
    tarball.write_bytes(tarball.read_bytes()[:-7])
    assert again() == ({"part0": Pulled, "part1": Here, "part2": Here, "part3": Here}, 1)
    tarball.unlink()
    (out / entries["part1"].path).unlink()
    mirror.blob_path(entries["part2"].spec_file.digest).write_bytes(b"\x1f\x8b")
    (out / entries["part3"].path).write_bytes(b"{")
    assert again() == (dict.fromkeys(["part0", "part1", "part2", "part3"], Pulled), 1), "the tarballs of three are here"
    anew = pull_all(registry_of(double), tmp_path / "new")
    assert {name: outcome.received for name, outcome in anew.items() if isinstance(outcome, Pulled)} == {
        name: entry.tarball.size for name, entry in entries.items()
    }


def test_a_tarball_of_other_bytes_gets_no_entry(tmp_path: Path) -> None:
    add_entry(tmp_path / "m", [make_node("one")])
    push_all(tmp_path / "m", layout(tmp_path))
    (entry,) = DiskMirror(tmp_path / "m").entries()
    there = DiskMirror(tmp_path / "out").blob_path(entry.tarball.digest)
    there.parent.mkdir(parents=True)
    there.write_bytes(bytes(entry.tarball.size))
    pull_all(layout(tmp_path), tmp_path / "out")
    assert there.read_bytes() == DiskMirror(tmp_path / "m").blob_path(entry.tarball.digest).read_bytes()


def test_what_was_built_twice_becomes_the_published_one(tmp_path: Path) -> None:
    node = make_node("one")
    add_entry(tmp_path / "m", [node], {"bin/one": b"published"})
    path = add_entry(tmp_path / "out", [node], {"bin/one": b"built here"})
    push_all(tmp_path / "m", layout(tmp_path))
    assert kinds(pull_all(layout(tmp_path), tmp_path / "out")) == {"one": Pulled}
    assert path.read_bytes() == (tmp_path / "m" / path.relative_to(tmp_path / "out")).read_bytes()


def test_what_is_asked_for(open_repository: Opener, tmp_path: Path) -> None:
    nodes = add_chain(tmp_path / "m", 3)
    add_entry(tmp_path / "m", [make_node("alone")])
    push_all(tmp_path / "m", open_repository())
    index(open_repository())
    for texts, closure, names in (
        (["part1"], True, {"part0", "part1"}),
        (["part1"], False, {"part1"}),
        (["alone", "part0"], True, {"alone", "part0"}),
        ([f"/{nodes[2]['hash'][:7]}"], True, {"part0", "part1", "part2"}),
        (["@1.0", "part1"], False, {"alone", "part0", "part1", "part2"}),
        ([], False, {"alone", "part0", "part1", "part2"}),
    ):
        out = tmp_path / "out"
        assert kinds(pull_all(open_repository(), out, *texts, closure=closure)) == dict.fromkeys(sorted(names), Pulled)
        assert {entry.spec.root.name for entry in DiskMirror(out).entries()} == names
        shutil.rmtree(out)
    with pytest.raises(UsageError, match="'part9'"):
        pull_all(open_repository(), tmp_path / "out", "part1", "part9")
    assert not (tmp_path / "out").exists()


def test_what_is_only_built_with_is_left_out(tmp_path: Path) -> None:
    tool = make_node("tool")
    program = make_node("program", dependencies=[tool])
    program["dependencies"][0]["parameters"]["deptypes"] = ["build"]
    program["hash"] = dag_hash(program)
    add_entry(tmp_path / "m", [tool])
    add_entry(tmp_path / "m", [program, tool])
    push_all(tmp_path / "m", layout(tmp_path))
    assert kinds(pull_all(layout(tmp_path), tmp_path / "out", "program")) == {"program": Pulled}


def test_a_closure_that_is_not_whole_is_told(tmp_path: Path) -> None:
    low, middle = make_node("low"), make_node("middle", dependencies=[make_node("low")])
    top = make_node("top", dependencies=[middle])
    add_entry(tmp_path / "m", [middle, low])
    add_entry(tmp_path / "m", [top, middle, low])
    push_all(tmp_path / "m", layout(tmp_path))
    catalog, _ = read_catalog(layout(tmp_path), jobs=2, progress=QuietProgress())
    plan = plan_pull(catalog, DiskMirror(tmp_path / "out"), [parse_request("top")])
    assert [item.entry.hash for item in plan.items] == [middle["hash"], top["hash"]]
    (told,) = plan.missing
    assert re.fullmatch(r"(top|middle)@1\.0/\w{7} needs low@1\.0/\w{7}, which is not published", told)
    assert plan_pull(catalog, DiskMirror(tmp_path / "out"), [parse_request("top")], closure=False).missing == ()


def foreign_records(config: dict[str, Any], **changed: Any) -> None:
    kept = json.loads(base64.b64decode(config[KEPT]["manifest"]))
    kept["data"][0] |= changed
    config[KEPT]["manifest"] = base64.b64encode(json.dumps(kept).encode()).decode()


def change_spec(config: dict[str, Any]) -> None:
    """Put the spec file of another spec in, and have the records fit it."""
    other = {"spec": {"_meta": {"version": 5}, "nodes": [make_node("other")]}, "buildcache_layout_version": 2}
    data = gzip.compress(json.dumps(other).encode(), mtime=0)
    kept = json.loads(base64.b64decode(config[KEPT]["manifest"]))
    kept["data"][1] |= {"checksum": Digest.of(data).hex, "contentLength": len(data)}
    config[KEPT] = {"manifest": base64.b64encode(json.dumps(kept).encode()).decode(), "spec": base64.b64encode(data).decode()}


TAMPERED: dict[str, Callable[[dict[str, Any]], None]] = {
    "checksum": lambda config: foreign_records(config, checksum="0" * 64),
    "length": lambda config: foreign_records(config, contentLength=7),
    "type": lambda config: foreign_records(config, mediaType="text/plain"),
    "algorithm": lambda config: foreign_records(config, checksumAlgorithm="md5"),
    "spec": lambda config: config[KEPT].update(spec=base64.b64encode(b"other").decode()),
    "no spec": lambda config: config[KEPT].pop("spec"),
    "no base64": lambda config: config[KEPT].update(manifest="%%%"),
    "not ASCII": lambda config: config[KEPT].update(manifest="\u00fc"),
    "no text": lambda config: config[KEPT].update(manifest=5),
    "no object": lambda config: config.update({KEPT: [1, 2]}),
    "a number": lambda config: config.update({KEPT: 5}),
    "no JSON": lambda config: config[KEPT].update(manifest=base64.b64encode(b"{").decode()),
    "no entry": lambda config: config[KEPT].update(manifest=base64.b64encode(b"{}").decode()),
}


@pytest.mark.parametrize(
    "how",
    [
        *TAMPERED,
        "another spec",
    ],
)
def test_a_tampered_entry_is_refused(tmp_path: Path, how: str) -> None:
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", layout(tmp_path))
    tag = tag_named(layout(tmp_path), "part1")
    rewrite(layout(tmp_path), tag, {**TAMPERED, "another spec": change_spec}[how])
    index(layout(tmp_path))
    outcomes = pull_all(layout(tmp_path), tmp_path / "out")
    assert kinds(outcomes) == {"part0": Pulled, "part1": NotPulled}
    assert list((tmp_path / "out/v3/manifests/spec").iterdir()) == [tmp_path / "out/v3/manifests/spec/part0"]
    assert [finding.where for finding in verify(layout(tmp_path), jobs=1, progress=QuietProgress()).findings] == [tag]


@pytest.mark.parametrize("kind", ["corrupt", "truncate"])
@pytest.mark.parametrize("part", ["tarball", "config"])
def test_spoiled_answers_get_no_name(double: RegistryDouble, tmp_path: Path, kind: str, part: str) -> None:
    add_chain(tmp_path / "m", 2)
    noise = hashlib.shake_256(b"noise").digest(3_000_000)
    node = make_node("large")
    add_entry(tmp_path / "m", [node], tarball=make_tarball(f"/opt/cache/large-1.0-{node['hash']}", {"lib/x": noise}))
    push_all(tmp_path / "m", registry_of(double))
    index(registry_of(double))
    raw = registry_of(double).manifest(tag_named(registry_of(double), "large"))
    assert raw is not None
    manifest = ImageManifest.parse(raw)
    digest = (manifest.layers[-1] if part == "tarball" else manifest.config).digest
    # Every try is spoiled, however often.
    fault = Fault(f"GET .*{digest}", kind, times=99)
    double.faults.append(fault)
    outcomes = pull_all(registry_of(double), tmp_path / "out")
    assert fault.times < 99
    assert kinds(outcomes) == {"large": NotPulled, "part0": Pulled, "part1": Pulled}
    assert check_names(tmp_path / "out") == 2
    assert not list((tmp_path / "out").rglob("*.partial"))
    double.faults.clear()
    assert kinds(pull_all(registry_of(double), tmp_path / "out")) == {"large": Pulled, "part0": Here, "part1": Here}
    assert entry_files(tmp_path / "out") == entry_files(tmp_path / "m")


def test_a_road_full_of_holes(double: RegistryDouble, tmp_path: Path) -> None:
    make_mirror(tmp_path / "m")
    push_all(tmp_path / "m", registry_of(double))
    index(registry_of(double))
    double.faults += [Fault("GET .*blobs", "truncate", times=5), Fault("GET", "reset", times=5), Fault("GET", "status", 503, 5)]
    assert set(kinds(pull_all(registry_of(double), tmp_path / "out")).values()) == {Pulled}
    assert entry_files(tmp_path / "out") == entry_files(tmp_path / "m")


class Dying(LayoutRepository):
    """Ends the program in the middle of the blob that comes after so many others."""

    def __init__(self, path: Path, left: int, end: Callable[[], None]) -> None:
        super().__init__(LayoutLocation(path=path))
        self._left, self._end = left, end

    def stream_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        for piece in super().stream_blob(descriptor):
            self._left -= 1
            if self._left < 0:
                yield piece[: len(piece) // 2]
                self._end()
            yield piece


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_pull_that_was_interrupted_anywhere(tmp_path: Path) -> None:
    make_mirror(tmp_path / "m")
    push_all(tmp_path / "m", layout(tmp_path))
    index(layout(tmp_path))
    pull_all(layout(tmp_path), tmp_path / "undisturbed")
    whole, counts = tree(tmp_path / "undisturbed"), []
    for left in range(100):
        out = tmp_path / f"out{left}"
        try:
            pull_all(Dying(tmp_path / "layout", left, interrupt), out, jobs=1)
        except KeyboardInterrupt:
            counts.append(check_names(out))
        else:
            break
        assert not list(out.rglob("*.partial"))
        pull_all(layout(tmp_path), out)
        assert whole.items() <= tree(out).items()
        # Of the first time an index is left that tells of fewer entries; Spack, too, leaves its old ones.
        assert all(data.startswith(b'{"database":') for path, data in tree(out).items() if path not in whole)
    assert counts == sorted(counts)
    assert set(counts) == set(range(7)), "it was interrupted before, between and in all entries"


def test_no_entry_comes_before_its_blobs(tmp_path: Path) -> None:
    """Interrupted before any of its writes: what can be seen is whole."""
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", layout(tmp_path))
    pull_all(layout(tmp_path), tmp_path / "undisturbed")

    class Unlucky(DiskMirror):
        left = 0

        def count(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt

        def put_blob(self, blob: BlobRecord, pieces: Iterable[bytes]) -> None:
            self.count()
            super().put_blob(blob, pieces)

        def put_entry(self, path: PurePosixPath, raw: bytes) -> None:
            self.count()
            super().put_entry(path, raw)

    seen = []
    for left in range(6):
        mirror = Unlucky(tmp_path / f"out{left}")
        mirror.left = left
        with pytest.raises(KeyboardInterrupt):
            pull_all(layout(tmp_path), mirror.root, mirror=mirror, jobs=1)
        seen.append(check_names(mirror.root))
        pull_all(layout(tmp_path), mirror.root)
        assert tree(tmp_path / "undisturbed").items() <= tree(mirror.root).items()
    assert seen == [0, 0, 0, 1, 1, 1]


def test_a_mirror_keeps_no_blob_that_is_not_what_it_is_called(tmp_path: Path) -> None:
    mirror, data = DiskMirror(tmp_path), b"0123456789"
    blob = BlobRecord(media_type=TARBALL, digest=Digest.of(data), size=len(data), compression="gzip")
    for pieces in ([], [data[:5]], [data, b"x"], [b"x" * 10], [data[5:], data[:5]]):
        with pytest.raises(MirrorError, match="another digest or size"):
            mirror.put_blob(blob, pieces)
        with pytest.raises(MirrorError, match="another digest or size"):
            mirror.put_blob(replace(blob, size=9), pieces)
    assert tree(tmp_path) == {}
    mirror.put_blob(blob, [data[:5], b"", data[5:]])
    assert list(tree(tmp_path).values()) == [data]


DYING = """
import os, sys
from pathlib import Path
from tests.contract.test_pulling import Dying, pull_all
pull_all(Dying(Path(sys.argv[1]), int(sys.argv[3]), lambda: os._exit(9)), Path(sys.argv[2]), jobs=1)
"""


def test_a_pull_that_was_killed(tmp_path: Path) -> None:
    """Without any chance to clear up: half a file is left, under no name that anybody reads, and goes when it is old."""
    add_chain(tmp_path / "var/mirror/v1.1", 4)
    push_all(tmp_path / "var/mirror/v1.1", LayoutRepository(LayoutLocation(path=tmp_path / "registry/v1.1")))
    pull_all(LayoutRepository(LayoutLocation(path=tmp_path / "registry/v1.1")), tmp_path / "undisturbed")
    out, leftovers = tmp_path / "out/v1.1", 0
    # Each costs its config for the catalog that is not there, and then once more its config, and its tarball.
    for left in (5, 5):
        command = [sys.executable, "-c", DYING, str(tmp_path / "registry/v1.1"), str(out), str(left)]
        done = subprocess.run(command, cwd=PROJECT, check=False, timeout=60)
        assert done.returncode == 9
        check_names(out)
        leftovers += len(list(out.rglob("*.partial")))
    assert leftovers
    for path in out.rglob("*.partial"):
        os.utime(path, (time.time() - 7200,) * 2)
    report = pipeline.pull(workspace(tmp_path), to=f"oci-layout:{tmp_path}/registry", out=str(tmp_path / "out"))
    assert report.exit_code == 0
    assert tree(out) == tree(tmp_path / "undisturbed")


def test_a_pull_that_was_killed_before_the_index(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", layout(tmp_path))
    pull_all(layout(tmp_path), tmp_path / "undisturbed")

    class Killed(DiskMirror):
        def write_index(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull_all(layout(tmp_path), tmp_path / "out", mirror=Killed(tmp_path / "out"))
    pull_all(layout(tmp_path), tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    "part",
    [
        "manifest",
        "database",
        "shard",
    ],
)
def test_a_damaged_catalog_is_left_aside(double: RegistryDouble, tmp_path: Path, part: str) -> None:
    """Who pulls may not be allowed to mend it."""
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", registry_of(double))
    index(registry_of(double))
    raw = registry_of(double).manifest(CATALOG_TAG)
    assert raw is not None
    if part == "manifest":
        double.tags[CATALOG_TAG] = double.tags["index.spack"]
    else:
        double.blobs[str(ImageManifest.parse(raw).layers[0 if part == "database" else 2].digest)] = b"rubbish"
    before = dict(double.tags)
    assert set(kinds(pull_all(registry_of(double), tmp_path / "out")).values()) == {Pulled}
    assert entry_files(tmp_path / "out") == entry_files(tmp_path / "m")
    assert double.tags == before


def test_what_is_pulled_can_be_pushed(tmp_path: Path) -> None:
    make_mirror(tmp_path / "m")
    push_all(tmp_path / "m", layout(tmp_path))
    pull_all(layout(tmp_path), tmp_path / "out")
    other = LayoutRepository(LayoutLocation(path=tmp_path / "other"))
    push_all(tmp_path / "out", other)
    assert {tag: other.manifest(tag) for tag in other.tags()} == {tag: layout(tmp_path).manifest(tag) for tag in layout(tmp_path).tags()}


@pytest.mark.parametrize(
    "base", [BaseImage(), BaseImage(config=BASE), BaseImage(config=BASE, media_type=DOCKER_MANIFEST)], ids=["none", "oci", "docker"]
)
def test_what_is_pulled_tells_all_that_it_told(tmp_path: Path, base: BaseImage) -> None:
    """Pushed again, signed for instance, it is the same image: where it came from, its licence, its environment."""
    lib = make_node("lib")
    tool = make_node("tool", dependencies=[lib])
    changes = (EnvChange(op="prepend_path", name="PATH", value="/p/sbin"), EnvChange(op="set", name="T", value="a=b"))
    built = DiskMirror(tmp_path / "built")
    for nodes, environment in (([lib], ()), ([tool, lib], changes)):
        add_entry(built.root, nodes)
        package = PackageInfo(description="A tool.", homepage="https://x.example", license="MIT OR Zlib", maintainers=("a", "b"))
        origin = Origin(
            stack="s", spack_version="1.1.0", repos="https://x.example#1", revision="1", run="2", created="2026-01-01T00:00:00Z"
        )
        built.write_record(
            Record(
                name=nodes[0]["name"], version="1.0", hash=nodes[0]["hash"], outcome=Built(seconds=2.5), package=package,
                environment=environment, origin=origin,
            )
        )  # fmt: skip

    def publish(mirror: DiskMirror, repository: LayoutRepository) -> dict[str, Any]:
        plan = plan_push(mirror, repository.tags())
        push(plan, mirror, repository, bases={"amd64": base}, labels={"vendor": "tests"}, jobs=4, progress=QuietProgress())
        index(repository)
        return {tag: repository.manifest(tag) for tag in repository.tags() if tag.startswith(("lib-", "tool-"))}

    first = layout(tmp_path / "first")
    published = publish(built, first)
    assert len(published) == 2
    pull_all(first, tmp_path / "pulled")
    assert publish(DiskMirror(tmp_path / "pulled"), layout(tmp_path / "second")) == published


def workspace(folder: Path) -> pipeline.Workspace:
    """A cache whose only image is v1.1."""
    text = (PROJECT / "examples/cache.yaml").read_text().replace("[spack_repo/examples]", f"[{PROJECT / 'examples/spack_repo/examples'}]")
    (folder / "cache.yaml").write_text(text)
    return pipeline.open_workspace(str(folder / "cache.yaml"))


def run(task: Any, folder: Path, **flags: Any) -> tuple[int, dict[str, Any]]:
    """A task as invoke calls it: its exit code, and the report that it wrote."""
    path = folder / "report.json"
    path.unlink(missing_ok=True)
    flags = {"config": str(folder / "cache.yaml"), "to": f"oci-layout:{folder}/registry", "json": str(path), **flags}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "prepare_process", lambda: None)
        try:
            task(Context(), **flags)
        except Exit as ended:
            return ended.code, json.loads(path.read_text())
    return 0, json.loads(path.read_text())


def test_the_task_and_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = add_chain(tmp_path / "var/mirror/v1.1", 3)
    workspace(tmp_path)
    out = tmp_path / "out"
    assert run(tasks.push, tmp_path)[0] == 0

    code, told = run(tasks.pull, tmp_path, spec=["part1"], out=str(out), dry_run=True)
    assert (code, out.exists(), told["meta"]) == (0, False, {"report": "1.0", "task": "pull"})
    assert "would fetch 2 of 2 entries" in capsys.readouterr().out
    (step,) = told["steps"]
    assert (step["step"], step["counts"], step["missing"]) == ("pull plan", {"fetch": 2}, [])
    assert [item["reason"] for item in step["items"]] == [f"part1@1.0/{nodes[1]['hash'][:7]} needs it", "asked for by 'part1'"]

    code, told = run(tasks.pull, tmp_path, spec=["part1"], out=str(out), closure=False)
    assert (code, told["exitCode"]) == (0, 0)
    (step,) = told["steps"]
    (item,) = step["items"]
    (entry,) = DiskMirror(out / "v1.1").entries()
    assert item == {
        "label": entry.label, "hash": nodes[1]["hash"], "outcome": "pulled",
        "path": str(entry.path), "received": entry.tarball.size, "original": True,
    }  # fmt: skip
    assert (step["step"], step["mirror"], step["received"]) == ("pull", (out / "v1.1").as_uri(), entry.tarball.size)
    code, told = run(tasks.pull, tmp_path, spec=[], out=str(out))
    assert (code, told["steps"][0]["counts"]) == (0, {"pulled": 2, "here": 1})
    assert entry_files(out / "v1.1") == entry_files(tmp_path / "var/mirror/v1.1")
    # Without --out it mends the local mirror.
    shutil.rmtree(tmp_path / "var/mirror")
    assert run(tasks.pull, tmp_path, spec=[])[0] == 0
    assert entry_files(out / "v1.1") == entry_files(tmp_path / "var/mirror/v1.1")

    (tmp_path / "registry/v1.1/blobs/sha256" / entry.tarball.digest.hex).write_bytes(b"")
    shutil.rmtree(out)
    code, told = run(tasks.pull, tmp_path, spec=[], out=str(out))
    # What contains it is whole by itself.
    assert (code, told["steps"][0]["counts"]) == (6, {"pulled": 2, "notpulled": 1})
    assert "FAILED   part1@1.0" in capsys.readouterr().out


def test_what_a_pull_can_not_do(tmp_path: Path) -> None:
    add_chain(tmp_path / "var/mirror/v1.1", 1)
    workspace(tmp_path)
    assert run(tasks.push, tmp_path)[0] == 0
    code, told = run(tasks.pull, tmp_path, spec=["part0", "nothing-like-it"])
    assert (code, told["exitCode"], told["steps"][0]["step"]) == (2, 2, "error")
    assert "'nothing-like-it'" in told["steps"][0]["message"]
    code, told = run(tasks.pull, tmp_path, spec=[], image="v9")
    assert (code, told["exitCode"], told["error"]["hint"], told["steps"]) == (2, 2, "cache.yaml has: v1.1", [])
    for flags in ({"spec": ["a ^b"]}, {"spec": [""]}, {"spec": [], "jobs": 0}, {"spec": [], "to": "nowhere"}):
        code, told = run(tasks.pull, tmp_path, **flags)
        assert (code, told["exitCode"], bool(told["error"]["message"])) == (2, 2, True)


def test_a_place_that_takes_no_file(tmp_path: Path) -> None:
    """As a disk that is full."""
    add_chain(tmp_path / "var/mirror/v1.1", 1)
    workspace(tmp_path)
    assert run(tasks.push, tmp_path)[0] == 0
    (tmp_path / "file").write_text("")
    code, told = run(tasks.pull, tmp_path, spec=[], out=str(tmp_path / "file"))
    assert (code, told["exitCode"]) == (6, 6)


def test_an_entry_has_one_tarball_and_one_spec(tmp_path: Path) -> None:
    """What the tests above sign is read as what gpg signs is."""
    path = add_entry(tmp_path, [make_node("one")])
    plain = parse_blob_records(path.read_bytes())
    for end in (b"\n", b"\r\n"):
        assert parse_blob_records(signed(path.read_bytes(), end)) == plain
    with pytest.raises(CacheError, match="holds 0 blobs"):
        find_blob(plain, "text/plain")
