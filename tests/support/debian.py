"""Another system than this machine's: a Debian that debootstrap makes, for jobs that run in a container of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.actions.containers import Image
from tests.support.hub import SHARED

#: Its release, its name to Spack, and its glibc.
RELEASE, OS, GLIBC = ("trixie", "debian13", "2.41")
# A compiler, the libraries that the python of the tests is linked with, and the oras CLI, which older releases don't have. Neither git nor
# make, nor what Spack unpacks with.
_PACKAGES = "g++,libc6-dev,libssl3t64,libffi8,libsqlite3-0,libreadline8t64,oras"


def other_debian(folder: Path) -> Image:
    """A Debian 13 with a C++ compiler and next to nothing else; skip where none can be made here."""
    if os.geteuid() != 0:
        pytest.skip("mounting and chroot take root")
    if "trixie" in Path("/etc/os-release").read_text(encoding="utf-8"):
        pytest.skip("this machine is that system")
    python = Path(sys.base_prefix).resolve()
    if python == Path("/usr"):
        pytest.skip("the python of the system runs in no other one")
    root = folder / "debian"
    done = subprocess.run(
        [need("debootstrap"), "--variant=minbase", f"--include={_PACKAGES}", RELEASE, str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    mounts = {python: str(python), SHARED: str(SHARED)}
    if certificates := os.environ.get("PIP_CERT"):
        mounts[Path(certificates)] = "/certificates.crt"
    return Image(root=root, mounts=mounts)
