"""One suite over every kind of repository: the layout directory, the double, and a real registry in four set-ups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cachelib.model.oci import LayoutLocation, RegistryLocation
from cachelib.model.ports import Repository
from cachelib.tools import oras_client, registry
from cachelib.tools.credentials import Credentials
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.registry import RegistryRepository
from tests.conftest import need
from tests.support.certificates import Certificates
from tests.support.docker_registry import running
from tests.support.double import RegistryDouble, serving_double
from tests.support.tokens import issuing

TESTER = Credentials(username="tester", password="s3cret-t0ken", source="the tests")
Opener = Callable[[], Repository]

KINDS = ("layout", "double", "docker-http", "docker-tls", "docker-tls-password", "docker-tls-token")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryDouble]:
    """The double, and no waiting: how long is asked, not slept."""
    monkeypatch.setattr(registry, "_backoff", lambda state: 0.0)
    for module in (registry, oras_client):
        monkeypatch.setattr(module, "LONGEST_ASKED", 0.5)
    monkeypatch.setattr(registry, "_pause", lambda attempt, error: None)
    with serving_double() as made:
        yield made


@pytest.fixture(params=KINDS)
def open_repository(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opener]:
    """Opens the same repository, each time anew, as another process would."""
    kind = str(request.param)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    if kind == "layout":
        yield lambda: LayoutRepository(LayoutLocation(path=tmp_path / "layout"))
        return
    if kind == "double":
        with serving_double() as double:
            double.page = 3
            yield lambda: RegistryRepository(RegistryLocation(host=double.host, repository="a/b", plain_http=True), None)
        return
    need("docker-registry")
    tls = certificates if "tls" in kind else None
    if kind.endswith("token"):
        with (
            issuing(certificates, TESTER.username, TESTER.password) as issuer,
            running(tmp_path, certificates=tls, issuer=issuer) as server,
        ):
            yield lambda: RegistryRepository(RegistryLocation(host=server.host, repository="a/b"), TESTER)
        return
    htpasswd: Path | None = request.getfixturevalue("htpasswd") if kind.endswith("password") else None
    with running(tmp_path, certificates=tls, htpasswd=htpasswd) as server:
        location = RegistryLocation(host=server.host, repository="a/b", plain_http=tls is None)
        yield lambda: RegistryRepository(location, TESTER if htpasswd else None)
