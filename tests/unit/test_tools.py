"""Credentials, mirrors on disk, progress: what they find and what they refuse."""

from __future__ import annotations

import base64
import io
import json
import threading
from pathlib import Path

import pytest

from cachelib.model.digest import Digest
from cachelib.model.errors import MirrorError
from cachelib.model.oci import MANIFEST, LayoutLocation, RawManifest
from cachelib.model.outcome import Built, Failed
from cachelib.model.record import Record
from cachelib.tools.credentials import find_credentials
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.progress import PlainProgress, make_progress
from cachelib.tools.spack import spack_reason
from tests.support.mirrors import add_chain, add_entry, make_node, make_tarball


def docker_config(folder: Path, host: str, text: str = "me:secret") -> None:
    folder.mkdir(parents=True)
    auth = base64.b64encode(text.encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def test_credentials_by_their_order(tmp_path: Path) -> None:
    docker_config(tmp_path / ".docker", "ghcr.io")
    env = {"CACHE_REGISTRY_USERNAME": "u", "CACHE_REGISTRY_PASSWORD": "p", "GITHUB_TOKEN": "t", "GITHUB_ACTOR": "octocat"}
    found = []
    for left_out in ("", "CACHE_REGISTRY_PASSWORD", "GITHUB_TOKEN"):
        env.pop(left_out, None)
        credentials = find_credentials("ghcr.io", env, tmp_path)
        assert credentials is not None
        found.append((credentials.username, credentials.password))
    assert found == [("u", "p"), ("octocat", "t"), ("me", "secret")]
    assert find_credentials("other.io", {"GITHUB_TOKEN": "t"}, tmp_path) is None


def test_credentials_where_podman_and_docker_keep_them(tmp_path: Path) -> None:
    docker_config(tmp_path / "elsewhere", "r.io", "a:b:c")
    docker_config(tmp_path / "run" / "containers", "r.io", "x:y")
    (tmp_path / "run/containers/config.json").rename(tmp_path / "run/containers/auth.json")
    first = find_credentials("r.io", {"DOCKER_CONFIG": str(tmp_path / "elsewhere"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}, tmp_path)
    second = find_credentials("r.io", {"XDG_RUNTIME_DIR": str(tmp_path / "run")}, tmp_path)
    assert first is not None
    assert (first.username, first.password) == ("a", "b:c")
    assert second is not None
    assert second.username == "x"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"auths": {"r.io": {"auth": "%%%"}}}', '{"auths": {"r.io": 5}}', '{"auths": null}'])
def test_a_broken_docker_config_is_no_config(tmp_path: Path, text: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(text)
    assert find_credentials("r.io", {}, tmp_path) is None


def test_credentials_never_show() -> None:
    found = find_credentials("ghcr.io", {"GITHUB_TOKEN": "s3cret"}, Path("/nowhere"))
    assert "s3cret" not in repr(found)


def test_entries_of_a_mirror(tmp_path: Path) -> None:
    add_chain(tmp_path, 3)
    assert [entry.label.partition("/")[0] for entry in DiskMirror(tmp_path).entries()] == ["part0@1.0", "part1@1.0", "part2@1.0"]


def test_a_tarball_tells_its_prefix_once(tmp_path: Path) -> None:
    node = make_node("tool")
    add_entry(tmp_path, [node], {"bin/tool": b"x", "share/man/man1/tool.1": b"y", "lib/pkgconfig/tool.pc": b"z"})
    mirror = DiskMirror(tmp_path)
    (entry,) = mirror.entries()
    info = mirror.inspect_tarball(entry.tarball)
    assert info.prefix == f"/opt/cache/tool-1.0-{node['hash']}"
    assert set(info.directories) >= {"bin", "lib/pkgconfig"}
    # The second look is remembered, even where the bytes have meanwhile gone bad; verify is there for those.
    path = mirror.blob_path(entry.tarball.digest)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert mirror.inspect_tarball(entry.tarball) == info
    path.write_bytes(b"short")
    with pytest.raises(MirrorError):
        mirror.inspect_tarball(entry.tarball)


@pytest.mark.parametrize(
    "damage", [b"", b"\x1f\x8b", b"no gzip at all", make_tarball("/x", {"bin/x": b"1"})[:-9], make_tarball("/x", {"bin/x": b"other"})]
)
def test_a_damaged_tarball_is_named(tmp_path: Path, damage: bytes) -> None:
    add_entry(tmp_path, [make_node("tool")])
    mirror = DiskMirror(tmp_path)
    (entry,) = mirror.entries()
    mirror.blob_path(entry.tarball.digest).write_bytes(damage)
    with pytest.raises(MirrorError) as caught:
        mirror.inspect_tarball(entry.tarball)
    assert caught.value.hint


def test_damaged_entries_are_named(tmp_path: Path) -> None:
    path = add_entry(tmp_path, [make_node("tool")])
    good = path.read_bytes()
    (entry,) = DiskMirror(tmp_path).entries()
    for damage in (
        b"",
        b"{}",
        b'{"version": 4, "data": []}',
        good.replace(b"gzip", b"zstd", 1)[:-3],
        good.replace(entry.spec_file.digest.hex.encode(), b"0" * 64),
    ):
        path.write_bytes(damage)
        with pytest.raises(MirrorError, match=r"tool-1\.0"):
            list(DiskMirror(tmp_path).entries())
    path.write_bytes(good)
    renamed = path.with_name(f"tool-1.0-{'a' * 32}.spec.manifest.json")
    path.rename(renamed)
    with pytest.raises(MirrorError, match="not what its name says"):
        list(DiskMirror(tmp_path).entries())


def test_a_signed_entry_is_read(tmp_path: Path) -> None:
    path = add_entry(tmp_path, [make_node("tool")])
    raw = path.read_bytes()
    path.write_bytes(
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"
        + raw
        + b"\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"
    )
    (entry,) = DiskMirror(tmp_path).entries()
    assert entry.spec.root.name == "tool"
    assert entry.raw == path.read_bytes()


def test_records_and_logs_lie_beside_the_entries(tmp_path: Path) -> None:
    mirror = DiskMirror(tmp_path)
    record = Record(name="tool", version="1.0", hash="a" * 32, outcome=Failed(phase="build", message="no"))
    mirror.write_record(record, b"the whole log")
    assert mirror.record("a" * 32) == record
    assert mirror.log_path("a" * 32).is_file()
    assert mirror.record("b" * 32) is None
    assert not mirror.names()
    mirror.write_record(Record(name="t", version="1", hash="../../x", outcome=Built(seconds=1)))
    assert not (tmp_path.parent / "x.json").exists()
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()} == {"records"}


def test_two_processes_tag_one_layout(tmp_path: Path) -> None:
    repositories = [LayoutRepository(LayoutLocation(path=tmp_path)) for _ in range(4)]

    def put(number: int) -> None:
        for at in range(10):
            data = json.dumps({"mediaType": MANIFEST, "n": number, "at": at}).encode()
            repositories[number].put_manifest(RawManifest(media_type=MANIFEST, data=data), f"t{number}-{at}")
            repositories[number].flush()

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tags = LayoutRepository(LayoutLocation(path=tmp_path)).tags()
    assert tags == {f"t{number}-{at}" for number in range(4) for at in range(10)}
    assert json.loads((tmp_path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert Digest.parse(json.loads((tmp_path / "index.json").read_text())["manifests"][0]["digest"])


def test_plain_progress_is_a_few_lines() -> None:
    out = io.StringIO()
    progress = make_progress(out, ci=False)
    assert isinstance(progress, PlainProgress)
    progress.start("push", 1000)
    for at in range(1000):
        progress.advance(f"item {at}")
    progress.finish()
    assert out.getvalue() == "push: 1000\n"


def test_spacks_reason_without_its_noise() -> None:
    lines = [
        "==> Warning: noise",
        "==> Error: failed to concretize `zlib@99` for the following reasons:",
        "     1. Cannot satisfy 'zlib@99'",
        "",
    ]
    assert spack_reason(lines) == "failed to concretize `zlib@99` for the following reasons:\n     1. Cannot satisfy 'zlib@99'"
    assert spack_reason([]) == ""
