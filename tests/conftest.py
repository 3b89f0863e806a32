"""Fixtures for all layers. In CI a tool that is missing is a failure: a skip would look like a pass."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.certificates import Certificates, make_certificates

# CI tries the same cases each time: what a random one finds is found, and kept as a case, on somebody's machine.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def need(program: str) -> str:
    """The path of a program, or a skip; in CI a failure."""
    if found := shutil.which(program):
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{program} is not installed; CI must have it")
    pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of one test run."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def htpasswd(tmp_path: Path) -> Path:
    """A password file with tester:s3cret-t0ken."""
    import subprocess

    path = tmp_path / "htpasswd"
    subprocess.run([need("htpasswd"), "-Bbc", str(path), "tester", "s3cret-t0ken"], check=True, capture_output=True)
    return path
