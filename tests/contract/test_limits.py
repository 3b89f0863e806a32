"""What is read from a registry, a mirror or a part is bounded, whatever it says of itself; what is more is refused with the limit."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cachelib.model.catalog import Catalog
from cachelib.model.database import parse_database
from cachelib.model.digest import Digest
from cachelib.model.entry import SPEC_LIMIT, TARBALL, BlobRecord
from cachelib.model.errors import CacheError, FormatError, MirrorError, RegistryError
from cachelib.model.failure import parse_failures
from cachelib.model.oci import (
    BLOB_LIMIT,
    LAYER_GZIP,
    MANIFEST,
    MANIFEST_LIMIT,
    Descriptor,
    LayoutLocation,
    RawManifest,
    RegistryLocation,
    parse_json,
)
from cachelib.model.outcome import Built
from cachelib.model.plan import parse_plan
from cachelib.model.record import RECORD_LIMIT, Record
from cachelib.model.schedule import parse_schedule
from cachelib.steps.inflating import inflated
from cachelib.steps.remembering import remembered_lock
from cachelib.tools import layout_tags, mirror, process, registry, tar_members, tarball
from cachelib.tools.credentials import Credentials
from cachelib.tools.files import read_end
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.process import run
from cachelib.tools.registry import RegistryRepository
from tests.support.double import Fault, RegistryDouble, serving
from tests.support.mirrors import add_entry, make_catalog, make_node

HASH = "a" * 32
MIB = 1024 * 1024
DEEP = b'{"a":' * 900 + b"1" + b"}" * 900


# --- Tarballs ------------------------------------------------------------------------------------------------------------------------------


def inspected(folder: Path, data: bytes) -> Any:
    path = folder / "tarball"
    path.write_bytes(data)
    blob = BlobRecord(media_type=TARBALL, digest=Digest.of(data), size=len(data), compression="gzip")
    return tarball.inspect_tarball(path, blob, "tool")


def header(kind: bytes, size: int, name: str = "opt/x/f") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // 512) * 512, b"\0")


def pax(records: bytes, kind: bytes = b"x") -> bytes:
    return header(kind, len(records)) + padded(records)


FILE = header(b"0", 0)
SPARSE = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
BAD_TARBALLS: Mapping[str, tuple[bytes, str]] = {
    "long-name": (header(b"L", 3 * MIB) + bytes(3 * MIB) + FILE, "bytes of headers before a member"),
    "pax": (header(b"x", 3 * MIB) + bytes(3 * MIB) + FILE, "bytes of headers before a member"),
    "chain": (header(b"x", 0) * 3000 + FILE, "bytes of headers before a member"),
    "records-in-records": (pax(b"2 " * 4000 + b"=") + FILE, "pax header that is none"),
    "no-line-end": (pax(b"8 a=bbbX") + FILE, "pax header that is none"),
    "endless-length": (pax(b"9" * 5000 + b" a=b\n") + FILE, "pax header that is none"),
    "for-all": (pax(b"12 path=a/b\n", b"g") + FILE, "one name or size for all"),
    "sparse-map": (pax(SPARSE) + FILE + b"9999999\n".ljust(512, b"1"), "a sparse file"),
    "sparse": (header(b"S", 0), "a sparse file"),
    "less-than-nothing": (header(b"0", -512), "less than no bytes"),
    "size-in-words": (pax(b"12 size=inf\n") + FILE, "member of 'inf' bytes"),
    "past-the-end": (header(b"0", 2**59), "breaks off"),
    "cut-off": (header(b"0", 5000) + bytes(1024), "breaks off"),
    "no-tar": (b"no tar at all" * 100, "is damaged"),
    "empty": (b"", "is empty"),
}


@pytest.mark.parametrize("attack", BAD_TARBALLS)
def test_a_hostile_tarball_is_refused(tmp_path: Path, attack: str) -> None:
    data, words = BAD_TARBALLS[attack]
    with pytest.raises(MirrorError, match=words) as caught:
        inspected(tmp_path, gzip.compress(FILE + data if attack not in ("empty", "no-tar") else data, 1))
    assert caught.value.hint


def test_a_tarball_that_is_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarball, "LEAST_INFLATED", 8 * MIB)
    zeros = gzip.compress(bytes(64 * MIB))
    for bomb in (gzip.compress(header(b"0", 64 * MIB)) + zeros, gzip.compress(FILE) + zeros):  # in a file, and behind the end
        with pytest.raises(MirrorError, match=f"inflates to more than {tarball.MOST_INFLATED * len(bomb)} bytes"):
            inspected(tmp_path, bomb)
    # Nothing is refused that is small, however well it packs.
    assert inspected(tmp_path, gzip.compress(header(b"0", 7 * MIB) + bytes(7 * MIB))).uncompressed == 7 * MIB + 512


def test_a_gzip_header_without_end(tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="is damaged"):
        inspected(tmp_path, b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 2 * MIB)


def test_members_and_names_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = gzip.compress(b"".join(header(b"5", 0, f"opt/{at}/bin") for at in range(50)))
    assert inspected(tmp_path, folders).prefix == ""
    monkeypatch.setattr(tarball, "NAMES_LIMIT", 100)
    with pytest.raises(MirrorError, match="more than 100 characters"):
        inspected(tmp_path, folders)
    monkeypatch.setattr(tarball, "MOST_MEMBERS", 5)
    with pytest.raises(MirrorError, match="more than 5 members"):
        inspected(tmp_path, folders)


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_members_are_those_that_tarfile_finds(kind: int) -> None:
    names = ["opt/a/.spack/spec.json", "opt/a/" + "x" * 80 + "/" + "y" * 80]
    names += [] if kind == tarfile.USTAR_FORMAT else ["opt/a/" + "é" * 300 + "/bin", "opt/a/\udcff"]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind, pax_headers={"comment": "for all"}) as tar:
        for size, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = size * 600
            if kind == tarfile.PAX_FORMAT:
                info.mtime = 1.5
            tar.addfile(info, io.BytesIO(bytes(info.size)))
            link = tarfile.TarInfo(f"{name}-link")
            link.type, link.linkname = tarfile.SYMTYPE, name if kind != tarfile.USTAR_FORMAT else "x"
            tar.addfile(link)
    out.seek(0)
    found = [(member.name, member.size, member.type) for member in tar_members.read_members(out)]
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert found == [(member.name, member.size, member.type) for member in tar]
    assert len(found) == 2 * len(names)


# --- Mirrors and parts ---------------------------------------------------------------------------------------------------------------------


def sparse(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(size)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_an_entry_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = add_entry(tmp_path, [make_node("tool")])
    held = DiskMirror(tmp_path)
    (entry,) = held.entries()
    good = path.read_bytes()
    sparse(path, 1 << 40)
    with pytest.raises(MirrorError, match=rf"manifest of an entry of {1 << 40} bytes .*tool-1\.0.*no more than \d+"):
        list(held.entries())
    pipe(path)
    with pytest.raises(MirrorError, match="no plain file"):
        list(held.entries())
    path.unlink()
    path.write_bytes(good)
    sparse(held.blob_path(entry.spec_file.digest), 1 << 40)
    with pytest.raises(MirrorError, match=f"a spec file of .*no more than {SPEC_LIMIT}"):
        list(held.entries())


def test_a_record_is_read_up_to_its_limit(tmp_path: Path) -> None:
    held = DiskMirror(tmp_path)
    record = Record(name="t", version="1", hash=HASH, outcome=Built(seconds=1))
    held.write_record(record)
    (path,) = (tmp_path / "records/spec").iterdir()
    good = path.read_bytes()
    assert held.record(HASH) == record
    path.write_bytes(good + b" " * RECORD_LIMIT)
    assert held.record(HASH) is None
    for bad in (DEEP, b"[" * 100_000, b'{"record": 1, "outcome": ' + b"9" * 5000 + b"}"):
        path.write_bytes(bad)
        assert held.record(HASH) is None
    pipe(path)
    assert held.record(HASH) is None


def test_what_a_part_notes_of_a_tarball_is_not_looked_at(tmp_path: Path) -> None:
    add_entry(tmp_path, [make_node("tool")])
    held = DiskMirror(tmp_path)
    (entry,) = held.entries()
    note = tmp_path / "records/tarball" / f"{entry.tarball.digest.hex}.json"
    for bad in (b"[" * 100_000, DEEP, b'{"uncompressed": 1e999, "diff_id": "sha256:%b"}' % (b"0" * 64)):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_bytes(bad)
        assert held.inspect_tarball(entry.tarball).prefix
        note.write_bytes(bad)
        assert held.inspect_tarball(entry.tarball, again=True).prefix


def test_a_log_is_read_up_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "LOG_INFLATED", 20 * MIB)
    held = DiskMirror(tmp_path)
    path = held.log_path(HASH)
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(b"a" * 19 * MIB + b"the end"))
    assert held.read_log(HASH, 10) == b"aaathe end"
    path.write_bytes(gzip.compress(bytes(64 * MIB)))
    assert held.read_log(HASH, 10) is None
    path.write_bytes(gzip.compress(b"short"))
    sparse(path, 1 << 40)
    assert held.read_log(HASH, 10) is None
    pipe(path)
    assert held.read_log(HASH, 10) is None


def test_of_a_log_of_spacks_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sparse(path, 1 << 40)
    with path.open("ab") as file:
        file.write(b"the end")
    assert read_end(path, 10) == b"\0\0\0the end"
    assert read_end(path, 1 << 20)[-7:] == b"the end"


# --- JSON ----------------------------------------------------------------------------------------------------------------------------------

JSON: tuple[bytes, ...] = (
    b"[" * 100_000, b'{"a":' * 100_000, DEEP, b'{"a": ' + b"1" * 100_000 + b"}", b'{"a": "' + b"\xff" * 10, b"\0", b"",
)  # fmt: skip


@pytest.mark.parametrize("data", JSON, ids=range(len(JSON)))
def test_json_that_none_is_says_what_it_should_be(data: bytes) -> None:
    with pytest.raises(FormatError, match="a thing is n") as caught:
        parse_json(data, "a thing")
    assert len(caught.value.message) < 400


FAILURE = {"hash": HASH, "label": "l", "phase": "p", "message": "m", "errorLines": [], "origin": {}, "log": "", "spec": "", "times": 1}
TIME = "2026-11-01T00:00:00Z"
ITEM = {"hash": HASH, "label": "l", "action": "present", "reason": "r", "seconds": 10**400}
STACK = {"id": "0123abcd", "stack": "s", "image": "i", "runner": "r", "items": [ITEM], "needs": {}, "bound": 1, "roots": {}}
READERS: tuple[tuple[Callable[[Any], object], Any], ...] = (
    (parse_plan, {"meta": {"plan": "2.0"}, "stacks": [{**STACK, "schedule": {"workers": [], "leftOver": [], "seconds": 1}}]}),
    (parse_schedule, {"workers": [], "leftOver": [], "seconds": 10**400}),
)


@pytest.mark.parametrize(("read", "data"), READERS, ids=range(len(READERS)))
def test_numbers_and_times_that_none_are(read: Callable[[Any], object], data: Any) -> None:
    with pytest.raises(FormatError):
        read(data)


@pytest.mark.parametrize("wrong", [{"times": float("inf")}, {"last": "9999-12-31T00:00:00Z"}], ids=["times", "last"])
def test_a_failure_that_is_none_costs_no_other(wrong: dict[str, Any]) -> None:
    good = {**FAILURE, "since": TIME, "last": TIME}
    assert set(parse_failures({"failures": [{**good, **wrong}, {**good, "hash": "b" * 32}]})) == {"b" * 32}


@pytest.mark.parametrize("twice", [("x", "x"), ("x", "L"), ("L", "x")])
def test_a_member_that_is_named_twice_is_named_as_spack_will_name_it(twice: tuple[str, str]) -> None:
    """Spack extracts with tarfile: what is looked at is what will be written."""
    names = ("first", "other")
    headers = b"".join(
        pax(b"14 path=" + name.encode() + b"\n") if kind == "x" else header(b"L", 6) + (name.encode() + b"\0").ljust(512, b"\0")
        for kind, name in zip(twice, names, strict=True)
    )
    data = headers + FILE + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        wanted = tar.getnames()
    assert [member.name for member in tar_members.read_members(io.BytesIO(data))] == wanted


@pytest.mark.parametrize("node", [DEEP, b"{no json}"])
def test_a_line_of_an_index_that_holds_no_node(node: bytes) -> None:
    tool = make_node("tool")
    good = make_catalog([tool])
    data = good.database.data().replace(json.dumps(tool, separators=(",", ":")).encode(), node)
    assert data != good.database.data()
    with pytest.raises(CacheError):
        Catalog(entries=good.entries, database=parse_database(data)).spec(tool["hash"])


def test_what_inflates_to_too_much_is_named() -> None:
    assert inflated(gzip.compress(b"a" * 1000), 1000, "it") == b"a" * 1000
    with pytest.raises(FormatError, match="it inflates to more than 999 bytes"):
        inflated(gzip.compress(b"a" * 1000), 999, "it")
    for bad in (b"", b"none", gzip.compress(b"a" * 1000)[:-12]):
        with pytest.raises(FormatError, match="it is no gzip"):
            inflated(bad, 1000, "it")


# --- Registries ----------------------------------------------------------------------------------------------------------------------------


def opened(host: str, credentials: Credentials | None = None) -> RegistryRepository:
    return RegistryRepository(RegistryLocation(host=host, repository="a/b", plain_http=True), credentials, attempts=1)


def test_blobs_are_read_up_to_a_limit(double: RegistryDouble, tmp_path: Path) -> None:
    layout = LayoutRepository(LayoutLocation(path=tmp_path))
    for repository in (opened(double.host), layout):
        data = b"x" * 1000
        blob = Descriptor(media_type=LAYER_GZIP, digest=Digest.of(data), size=len(data))
        repository.put_blob(blob, lambda: io.BytesIO(b"x" * 1000))
        assert repository.read_blob(blob, 1000) == data
        with pytest.raises(RegistryError, match=rf"{blob.digest} has 1000 bytes: no more than 999"):
            repository.read_blob(blob, 999)
        with pytest.raises(RegistryError, match=f"no more than {BLOB_LIMIT}"):
            repository.read_blob(Descriptor(media_type=LAYER_GZIP, digest=blob.digest, size=1 << 40))
    # A file that is longer than it should be is not read to its end.
    sparse(tmp_path / "blobs/sha256" / blob.digest.hex, 1 << 40)
    with pytest.raises(RegistryError, match="other content"):
        layout.read_blob(blob)


def test_manifests_are_read_up_to_a_limit(double: RegistryDouble, tmp_path: Path) -> None:
    large = RawManifest(media_type=MANIFEST, data=b"{}".ljust(MANIFEST_LIMIT + 1))
    double.manifests[str(large.digest)] = (MANIFEST, large.data)
    with pytest.raises(RegistryError, match=rf"{large.digest} answered with more than {MANIFEST_LIMIT}"):
        opened(double.host).manifest(str(large.digest))
    layout = LayoutRepository(LayoutLocation(path=tmp_path))
    layout.put_manifest(large, None)
    with pytest.raises(RegistryError, match=rf"{large.digest} can't be read: .*no more than {MANIFEST_LIMIT}"):
        layout.manifest(str(large.digest))


def test_lists_of_tags_are_read_up_to_a_limit(double: RegistryDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    double.tags = {f"tag-{at}": "" for at in range(1000)}
    double.page = 10
    assert len(opened(double.host).tags()) == 1000
    monkeypatch.setattr(registry, "TAGS_LIMIT", 50_000)
    with pytest.raises(RegistryError, match="tag list has more than 50000"):
        opened(double.host).tags()
    layout = LayoutRepository(LayoutLocation(path=tmp_path))
    layout.put_manifest(RawManifest(media_type=MANIFEST, data=b"{}"), "one")
    layout.flush()
    monkeypatch.setattr(layout_tags, "TAGS_LIMIT", 50)
    with pytest.raises(RegistryError, match="no more than 50 are read"):
        LayoutRepository(LayoutLocation(path=tmp_path)).tags()


def test_an_error_that_is_nested_without_end(double: RegistryDouble) -> None:
    double.faults.append(Fault("tags", "status", 400, 1, body=b"[" * 60_000))
    with pytest.raises(RegistryError, match="400"):
        opened(double.host).tags()


def test_a_concretization_that_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Descriptor(media_type="x", digest=Digest.of(b""), size=1, annotations={"io.github.spack-build-cache.key": "key"})
    monkeypatch.setattr("cachelib.steps.remembering._layers", lambda *_: (layer,))
    monkeypatch.setattr("cachelib.steps.remembering._inflated", lambda *_: b'{"spack.lock": "\\ud800"}')
    assert remembered_lock(LayoutRepository(LayoutLocation(path=tmp_path)), "key") is None


class _Endless(BaseHTTPRequestHandler):
    """Answers a deletion, and who asks for a token, with more than anybody can hold."""

    protocol_version = "HTTP/1.1"
    sent = 0
    asks = False

    def do_DELETE(self) -> None:
        if self.asks:
            self.send_response(401)
            self.send_header("Www-Authenticate", f'Bearer realm="http://{self.headers["Host"]}/token"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.flood(202)

    def do_GET(self) -> None:
        self.flood(200)

    def flood(self, status: int) -> None:
        type(self).sent += 1
        self.send_response(status)
        self.send_header("Content-Length", str(1 << 40))
        self.end_headers()
        while type(self).sent < 256 * MIB:
            type(self).sent += MIB  # first: who doesn't read is gone before the first of it is written
            self.wfile.write(b" " * MIB)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(params=[False, True], ids=["answer", "token"])
def endless(request: pytest.FixtureRequest, double: RegistryDouble) -> Iterator[tuple[str, type[_Endless]]]:
    handler = type("Handler", (_Endless,), {"asks": request.param})
    with serving(handler) as host:
        yield host, handler


def test_an_answer_without_end_is_not_read(endless: tuple[str, type[_Endless]]) -> None:
    host, handler = endless
    repository = opened(host, Credentials(username="me", password="s3cret", source="a test"))
    if handler.asks:
        with pytest.raises(RegistryError):
            repository.delete("tag", Digest.of(b"x"), since=0)
    else:
        assert repository.delete("tag", Digest.of(b"x"), since=0)
    assert 0 < handler.sent < 64 * MIB


# --- Programs ------------------------------------------------------------------------------------------------------------------------------


def test_a_line_without_end_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"print('a' * {process.LONGEST_LINE}); print('b' * {process.LONGEST_LINE + 5}); print(); print('end', end='')"
    seen: list[str] = []
    done = run([sys.executable, "-c", text], env={}, on_line=seen.append)
    assert [(line[:3], len(line)) for line in seen] == [
        ("aaa", process.LONGEST_LINE), ("bbb", process.LONGEST_LINE), ("bbbbb"[:3], 5), ("", 0), ("end", 3),
    ]  # fmt: skip
    assert done.lines == tuple(seen)
    monkeypatch.setattr(process, "KEPT_TEXT", 100)
    assert run([sys.executable, "-c", text], env={}).lines == ("bbbbb", "", "end")
    monkeypatch.setattr(process, "KEPT_LINES", 2)
    assert run([sys.executable, "-c", text], env={}).lines == ("", "end")
