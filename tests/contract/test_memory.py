"""Memory stays flat, whatever the size of a tarball."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from cachelib.model.digest import Digest
from cachelib.model.entry import BlobRecord
from tests.conftest import need
from tests.support.docker_registry import running
from tests.support.mirrors import add_entry, make_node

SIZE = 1_000_000_000
LIMIT_MIB = 150
PROJECT = Path(__file__).resolve().parents[2]

PUSH = """
import sys
from pathlib import Path
from cachelib.model.oci import parse_location
from cachelib.steps.pushing import plan_push, push
from cachelib.steps.verifying import verify
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.registry import RegistryRepository
from tests.support.quiet import QuietProgress
mirror, to, quiet = DiskMirror(Path(sys.argv[1])), sys.argv[2], QuietProgress()
location = parse_location(to, folder=Path("/"))
repository = LayoutRepository(location) if to.startswith("oci-layout") else RegistryRepository(location, None)
plan = plan_push(mirror, repository.tags())
outcomes = push(plan, mirror, repository, bases={}, labels={}, jobs=4, progress=quiet)
print([type(outcome).__name__ for outcome in outcomes.values()])
print(len(verify(repository, jobs=2, progress=quiet).findings), "findings")
# VmHWM is this program's own peak; getrusage would count that of the process that started it too (getrusage(2), exec).
print(next(int(line.split()[1]) // 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


class _Endless:
    """A file of many bytes that takes none to hold."""

    def __init__(self) -> None:
        self._block = os.urandom(1 << 20)

    def read(self, count: int) -> bytes:
        return (self._block * (count // len(self._block) + 1))[:count]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror of one entry with a tarball of a gigabyte."""
    root = tmp_path_factory.mktemp("large")
    path = root / "tarball"
    with gzip.open(path, "wb", compresslevel=0) as out, tarfile.open(fileobj=out, mode="w|") as tar:
        info = tarfile.TarInfo("opt/big/.spack/spec.json")
        tar.addfile(info)
        info = tarfile.TarInfo("opt/big/data")
        info.size = SIZE
        tar.addfile(info, _Endless())  # type: ignore[arg-type]
    small = add_entry(root / "m", [make_node("big")])
    import hashlib

    with path.open("rb") as file:
        digest = Digest(hashlib.file_digest(file, "sha256").hexdigest())
    blob = BlobRecord(media_type="application/vnd.spack.install.v2.tar+gzip", digest=digest, size=path.stat().st_size, compression="gzip")
    import json

    manifest = json.loads(small.read_text())
    manifest["data"] = [blob.json(), manifest["data"][1]]
    small.write_text(json.dumps(manifest))
    target = root / "m/blobs/sha256" / digest.hex[:2] / digest.hex
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    return root / "m"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("kind", ["layout", "docker"])
def test_a_gigabyte_in_little_memory(large: Path, tmp_path: Path, kind: str) -> None:
    def push(to: str) -> None:
        done = subprocess.run([sys.executable, "-c", PUSH, str(large), to], cwd=PROJECT, text=True, capture_output=True, check=True)
        outcomes, findings, memory = done.stdout.splitlines()
        assert outcomes == "['Pushed']"
        # Neither index nor catalog was written here: those two are told, and nothing else.
        assert findings == "1 findings"
        assert int(memory) < LIMIT_MIB, f"{memory} MiB"

    if kind == "layout":
        push(f"oci-layout:{tmp_path / 'layout'}")
        return
    need("docker-registry")
    with running(tmp_path) as server:
        push(f"{server.url}/a/b")
