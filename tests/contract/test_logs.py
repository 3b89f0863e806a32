"""The log of any build: out of its tarball in a registry, a directory or the local mirror; what a hostile tarball holds stays data."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.errors import CacheError, FormatError, MirrorError, RegistryError, UsageError
from cachelib.model.outcome import Built, Failed
from cachelib.model.record import Origin, Record
from cachelib.pipeline import logs
from cachelib.pipeline.site import site_images
from cachelib.steps import remembering
from cachelib.tools import build_log
from cachelib.tools.build_log import find_log
from cachelib.tools.mirror import DiskMirror
from tests.support.double import RegistryDouble, serving_double
from tests.support.mirrors import add_entry, make_node

PROJECT = Path(__file__).resolve().parents[2]
PIN = {"version": "v1.1.0", "commit": "a" * 40}
LIBC = make_node("glibc", "2.36", external={"path": "/usr", "module": None})
TOOL = make_node("tool", "3.0")
ALPHA = make_node("alpha", dependencies=[LIBC, TOOL])
BETA = make_node("beta", dependencies=[ALPHA, LIBC, TOOL])
DAGS = {node["name"]: dag for dag in ([ALPHA, LIBC, TOOL], [BETA, ALPHA, LIBC, TOOL]) for node in dag[:1]}
SAID = b"==> alpha: Executing phase: 'install'\nmade it\n"
#: Bytes that no compressor makes fewer.
NOISE = os.urandom(3 * 1024 * 1024)


def tarball(*members: tuple[str, bytes | str]) -> bytes:
    """A gzipped tarball; a text in place of bytes is where a link leads."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0)


def with_log(log: bytes, *more: tuple[str, bytes | str], prefix: str = "opt/alpha") -> bytes:
    """A tarball as Spack writes it, with the log of a build."""
    kept = [(f"{prefix}/.spack/spack-build-env.txt", b"PATH=/bin\n"), (f"{prefix}/.spack/spack-build-out.txt.gz", gzip.compress(log))]
    return tarball(*kept, (f"{prefix}/.spack/spec.json", b"{}"), *more)


@pytest.fixture
def ws(tmp_path: Path) -> pipeline.Workspace:
    (tmp_path / "cache.yaml").write_text(
        yaml.safe_dump({"registry": "oci-layout:r", "stacks": {"s": {"spack": PIN, "packages": PIN, "specs": ["x"]}}})
    )
    return pipeline.open_workspace(str(tmp_path / "cache.yaml"))


@pytest.fixture
def double() -> Iterator[RegistryDouble]:
    with serving_double() as made:
        yield made


def publish(ws: pipeline.Workspace, data: bytes, name: str = "alpha", to: str = "") -> str:
    """Publish a build with a tarball, so that it is nowhere but in the registry; gives its DAG hash."""
    add_entry(ws.mirror("v1.1").root, DAGS[name], tarball=data)
    assert pipeline.push(ws, to).exit_code == 0
    pipeline.index(ws, to)
    shutil.rmtree(ws.mirror("v1.1").root)
    return str(DAGS[name][0]["hash"])


def test_the_log_of_what_real_spack_built(ws: pipeline.Workspace) -> None:
    shutil.copytree(PROJECT / "examples/mirror", ws.mirror("v1.1").root)
    names = {name.name: name.hash for name in ws.mirror("v1.1").names()}
    # From the mirror as long as nothing is pushed, and from the registry then.
    here = pipeline.log(ws, f"/{names['py-almanac'][:7]}")
    assert any("Executing phase: 'install'" in line for line in here.lines)
    assert here.lines[-1].startswith(f"log: py-almanac@0.3.0/{names['py-almanac'][:7]} in {ws.mirror('v1.1').root}; from its tarball of ")
    pipeline.push(ws)
    pushed = pipeline.log(ws, names["py-almanac"])
    assert pushed.lines[:-1] == here.lines[:-1]
    assert pushed.lines[-1].endswith(", whose digest is right")
    assert f" in oci-layout:{ws.folder / 'r/v1.1'}; " in pushed.lines[-1]


def test_a_large_tarball_is_read_no_further_than_the_log(
    ws: pipeline.Workspace, double: RegistryDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = f"oci+http://{double.host}/o/r"
    h = publish(ws, with_log(SAID, ("opt/alpha/lib/a.so", NOISE)), to=to)
    whole = pipeline.log(ws, h, to)
    assert whole.lines[:-1] == ("==> alpha: Executing phase: 'install'", "made it")
    assert whole.lines[-1].endswith("from its tarball of 3.1 MB, whose digest is right")
    monkeypatch.setattr(logs, "WHOLE", 1_000_000)
    early = pipeline.log(ws, h, to)
    assert early.lines[:-1] == whole.lines[:-1]
    assert early.lines[-1].endswith("from its tarball of 3.1 MB, of which only the first 1.0 MB were read: its digest was not checked")
    # The connection that was left in the middle is in nobody's way.
    assert pipeline.log(ws, h, to).lines == early.lines


def test_a_log_is_text_whatever_it_says(ws: pipeline.Workspace) -> None:
    h = publish(ws, with_log(b"\x1b[2Jgone\n::error::x\n##[error]y\r\n\x1b]0;title\x07\nback\rward\n\xff\n"))
    assert pipeline.log(ws, h).text.split("\n")[:-1] == ["?[2Jgone", "?:error::x", "?#[error]y", "?]0;title?", "back?ward", "�"]


def test_of_a_long_log_the_end_is_told(ws: pipeline.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_LIMIT", 1000)
    h = publish(ws, with_log(b"x" * 50_000 + b"\nend\n"))
    lines = pipeline.log(ws, h).lines
    assert lines[:-1] == ("x" * 995, "end")
    assert "; the last 1.0 kB of 50.0 kB; from its tarball" in lines[-1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (with_log(b""), b""),
        (with_log(SAID, prefix="opt/" + "__spack_path_placeholder__/" * 12 + "alpha"), SAID),
        (tarball(("./opt/alpha/.spack/spack-build-out.txt", SAID)), SAID),
        (tarball((".spack/spack-build-out.txt.gz", gzip.compress(SAID))), SAID),
        (with_log(SAID, ("opt/alpha/share/x/.spack/spack-build-out.txt.gz", gzip.compress(b"another's"))), SAID),
        (tarball(("opt/alpha/.spack/spec.json", b"{}")), None),
        (tarball(("opt/alpha/.spack/spack-build-out.txt.gz", "/etc/passwd")), None),
        (tarball(("opt/alpha/my.spack/spack-build-out.txt.gz", SAID)), None),
    ],
    ids=["empty", "padded", "plain", "at the top", "of another", "none", "a link", "another folder"],
)
def test_where_a_log_is_and_where_none_is(data: bytes, said: bytes | None) -> None:
    found = find_log([data[:100], b"", data[100:]], len(data), 10_000)
    assert (found.text if found else None) == said


def flipped(data: bytes) -> bytes:
    """A log whose last bytes, its checksum, are others."""
    return data[:-8] + bytes(8)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty|is damaged"),
        (b"no gzip at all", "is damaged"),
        (gzip.compress(b"no tarball" * 100), "is damaged"),
        (with_log(NOISE[:100_000])[:50_000], "is damaged|breaks off"),
        (tarball(("a/.spack/spack-build-out.txt.gz", b"no gzip")), "is damaged"),
        (tarball(("a/.spack/spack-build-out.txt.gz", gzip.compress(SAID)[:-9])), "is damaged"),
        (tarball(("a/.spack/spack-build-out.txt.gz", flipped(gzip.compress(SAID)))), "is damaged"),
        (tarball(("a/.spack/spack-build-out.txt.gz", gzip.compress(bytes(2_000_000)))), "holds a log of more than 1000000 bytes"),
        (tarball(("a/.spack/spack-build-out.txt", bytes(2_000_000))), "holds a log of more than 1000000 bytes"),
        (tarball(("a/zeros", bytes(40_000_000))), "inflates to more than"),
        (tarball(*((f"a/{at}", b"") for at in range(101))), "has more than 100 members"),
    ],
)
def test_what_is_damaged_or_without_end_is_refused(data: bytes, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_log, "LOG_INFLATED", 1_000_000)
    monkeypatch.setattr(build_log, "LEAST_INFLATED", 20_000_000)
    monkeypatch.setattr(build_log, "MOST_INFLATED", 2)
    monkeypatch.setattr(build_log, "MOST_MEMBERS", 100)
    with pytest.raises(FormatError, match=says):
        find_log(iter([data]), len(data), 100)


def test_no_more_is_taken_than_it_takes() -> None:
    data = with_log(SAID, ("opt/alpha/lib/a.so", NOISE))
    pieces = iter([data[at : at + 1024] for at in range(0, len(data), 1024)])
    found = find_log(pieces, len(data), 1000)
    assert found is not None
    assert found.text == SAID
    left = sum(map(len, pieces))
    assert left > len(data) - 2_100_000


def test_a_tarball_that_was_changed_is_told(ws: pipeline.Workspace) -> None:
    """The log could be read; that the rest is other than its digest says is no reason to keep silent."""
    data = with_log(SAID, ("opt/alpha/lib/a.so", NOISE))
    h = publish(ws, data)
    (blob,) = [path for path in (ws.folder / "r/v1.1/blobs/sha256").iterdir() if path.stat().st_size == len(data)]
    blob.write_bytes(data[:-100_000] + bytes(100_000))
    with pytest.raises(RegistryError, match="has other content than its digest says"):
        pipeline.log(ws, h)
    blob.write_bytes(b"nothing")
    with pytest.raises(CacheError, match=r"other content|is damaged"):
        pipeline.log(ws, h)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (lambda: ALPHA["hash"], f"alpha@1.0/{ALPHA['hash'][:7]} has no log: its tarball in .* holds no .spack/spack-build-out.txt.gz"),
        (lambda: LIBC["hash"][:8], f"glibc@2.36/{LIBC['hash'][:7]} has no log: it is an external"),
        (lambda: f"/{TOOL['hash']}", f"tool@3.0/{TOOL['hash'][:7]} is not in the cache, though"),
        (lambda: "a" * 32, "there is no build 'a+'; nothing is failing"),
        (lambda: "alpha", "there is no build 'alpha'"),
    ],
)
def test_what_has_no_log_is_told_why(ws: pipeline.Workspace, wanted: Callable[[], str], says: str) -> None:
    publish(ws, tarball(("opt/alpha/.spack/spec.json", b"{}")))
    with pytest.raises(UsageError, match=says):
        pipeline.log(ws, wanted())


def record(node: Mapping[str, Any], outcome: Built | Failed) -> Record:
    return Record(
        name=node["name"], version=node["version"], hash=node["hash"], outcome=outcome, origin=Origin(created="2026-11-01T10:00:00Z")
    )


def test_what_is_not_pushed_yet_is_looked_for_here(ws: pipeline.Workspace) -> None:
    """After `inv build` both kinds of logs are at hand: those of failures beside the mirror, the others in it."""
    mirror = DiskMirror(ws.mirror("v1.1").root)
    add_entry(mirror.root, DAGS["alpha"], tarball=with_log(SAID))
    mirror.write_record(record(ALPHA, Built(seconds=1.0)))
    mirror.write_record(record(BETA, Failed(phase="build", message="boom")), b"it broke\n")
    assert "made it" in pipeline.log(ws, ALPHA["hash"]).lines
    assert pipeline.log(ws, "beta").lines == ("it broke",)
    assert pipeline.log(ws, BETA["hash"][:7]).lines == ("it broke",)
    mirror.log_path(BETA["hash"]).write_bytes(b"no gzip")
    with pytest.raises(UsageError, match="can't be read"):
        pipeline.log(ws, "beta")
    # What was built since is no failure any more, though its old log lies about.
    mirror.write_record(replace(record(BETA, Built(seconds=1.0))))
    with pytest.raises(UsageError, match="there is no build 'beta'"):
        pipeline.log(ws, "beta")
    tar = mirror.entry(mirror.names()[0]).tarball
    mirror.blob_path(tar.digest).unlink()
    with pytest.raises(MirrorError, match="can't be read: No such file"):
        pipeline.log(ws, ALPHA["hash"])


def test_whoever_reads_a_log_may_stop_before_its_end(ws: pipeline.Workspace) -> None:
    h = publish(ws, with_log(b"a line of many\n" * 200_000))
    command = f"'{sys.executable}' -m invoke --search-root '{PROJECT}' log --config '{ws.folder / 'cache.yaml'}' {h} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=PROJECT, text=True, capture_output=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("a line of many\n", "", 0)


def test_what_was_pushed_by_hand_since_it_failed_fails_no_more(ws: pipeline.Workspace) -> None:
    """No run has told the memory of failures yet; whoever reads it looks what is published by now."""
    repository = ws.repository(ws.location("").child("v1.1"))
    failed = Failed(phase="build", message="no")
    known = Record(
        name="alpha", version="1.0", hash=ALPHA["hash"], outcome=failed, origin=Origin(stack="s", created="2026-01-01T00:00:00Z")
    )
    remembering.remember_failures(repository, [known], lambda _: b"it broke", lambda _: b"{}", frozenset())
    pipeline.index(ws)
    assert pipeline.stats(ws).lines[-1].endswith("1 failing")
    assert pipeline.log(ws, ALPHA["hash"][:7]).lines[0] == "it broke"
    assert [len(image.failures) for image in site_images(ws)] == [1]
    publish(ws, with_log(SAID))
    assert "0 failing" in pipeline.stats(ws).lines[-1]
    assert "made it" in pipeline.log(ws, ALPHA["hash"][:7]).lines
    assert [len(image.failures) for image in site_images(ws)] == [0]
