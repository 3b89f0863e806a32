"""Real Spack, a real registry over TLS, and the examples built and published once for all tests of this layer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.errors import InstallError
from cachelib.steps.reports import Report
from cachelib.tools import git
from tests.conftest import need
from tests.support.actions.containers import Image
from tests.support.certificates import Certificates
from tests.support.debian import other_debian
from tests.support.docker_registry import Server, running
from tests.support.hub import Place, make_harness, settings, this_project, track

PROJECT = Path(__file__).resolve().parents[2]
SHARED = PROJECT / "var"
EXAMPLES = PROJECT / "examples"
#: Spacks that must read what is published: of each line, and develop as of early 2026, with recipes of their time.
CLIENTS = {
    "v1.0.2": ("5efd8eea1b8ea701074d72372a4acf0a972d736b", "v2025.07.0", "4b8bb3514838ce9e8bbc2ca7f98e62dbd7100c63"),
    "v1.1.0": ("2e907202bcc8209a6a62243aab50c179b524cc3b", "v2025.11.0", "119680aeee8ea802c6111b7167583bddef97e82f"),
    "develop": ("9cf66332df3dd988248617fc93400045be59ebab", "v2025.11.0", "119680aeee8ea802c6111b7167583bddef97e82f"),
}


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Workspace:
    """The examples' settings, with everything a task makes in a folder of this run; Spack itself is kept in var/."""
    ws = pipeline.open_workspace(str(EXAMPLES / "cache.yaml"), var=str(tmp_path_factory.mktemp("var")), shared=str(SHARED))
    try:
        pipeline.install(ws)
    except InstallError as error:
        no_spack(error)
    return ws


def no_spack(error: InstallError) -> NoReturn:
    """Skip where Spack can't be fetched; where it can but doesn't install, and in CI, that is a failure."""
    if os.environ.get("CI") or "could not be fetched" not in error.message:
        raise error
    pytest.skip(f"no Spack: {error.message.splitlines()[0]}")


@pytest.fixture(scope="session")
def built(workspace: pipeline.Workspace) -> Report:
    """The report of building the examples."""
    return pipeline.build(workspace)


@pytest.fixture(scope="session")
def mirror(workspace: pipeline.Workspace, built: Report) -> Path:
    """The mirror that the build wrote."""
    return workspace.mirror("v1.1").root


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    """A registry over TLS: the index of a plain one is never read by Spack."""
    need("docker-registry")
    with running(tmp_path_factory.mktemp("registry"), certificates=certificates) as server:
        yield server


@pytest.fixture(scope="session")
def published(
    workspace: pipeline.Workspace, built: Report, registry: Server, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The examples pushed and indexed; gives the URL of their image."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
        base = f"{registry.url}/owner/cache"
        assert pipeline.push(workspace, base).exit_code == 0
        assert pipeline.index(workspace, base).exit_code == 0
    return f"{base}/v1.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A stock Spack of a user: nothing of this project in it, a store and a configuration of its own."""

    root: Path
    home: Path
    packages: Path
    certificates: Certificates
    mirrors: Mapping[str, str] = field(default_factory=dict)
    cache: Path
    signed: bool = False
    repos: Mapping[str, str] = field(default_factory=lambda: {"examples": str(EXAMPLES / "spack_repo/examples")})

    def env(self) -> dict[str, str]:
        """The environment in which Spack is this user's, with the user's configuration written."""
        config = self.home / "config"
        config.mkdir(parents=True, exist_ok=True)
        settings = {
            "config": {
                "install_tree": {"root": str(self.home / "opt")}, "build_stage": [str(self.home / "stage")],
                # OCI blobs are kept in the source cache: it must be this client's own, or nothing is downloaded.
                "source_cache": str(self.home / "sources"), "misc_cache": str(self.cache), "test_stage": str(self.home / "test"),
            },
            "repos": {"builtin": str(self.packages / "repos/spack_repo/builtin"), **self.repos},
            # Spack doesn't even look for gpg where it may not bootstrap one; it is there, so none is fetched.
            "bootstrap": {"enable": self.signed, "root": str(self.home / "bootstrap")},
            "mirrors": {name: {"url": url, "signed": self.signed} for name, url in self.mirrors.items()},
            "packages": {"python": {"externals": [{"spec": "python@3.11.2", "prefix": "/usr"}], "buildable": False}},
        }  # fmt: skip
        for name, section in settings.items():
            (config / f"{name}.yaml").write_text(yaml.safe_dump({name: section}), encoding="utf-8")
        env = {key: value for key, value in os.environ.items() if not key.startswith("SPACK_")}
        env |= {
            "SPACK_USER_CONFIG_PATH": str(config), "SPACK_SYSTEM_CONFIG_PATH": str(config / "none"), "HOME": str(self.home),
            "SPACK_USER_CACHE_PATH": str(self.home / "cache"), "SPACK_PYTHON": sys.executable,
            "SSL_CERT_FILE": str(self.certificates.authority), "SPACK_GNUPGHOME": str(self.home / "gpg"),
        }  # fmt: skip
        return env

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run a command of Spack; return its output."""
        done = subprocess.run(
            [str(self.root / "bin/spack"), "--color", "never", *arguments],
            env=self.env(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=900, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def wipe(self) -> None:
        """Forget everything that was installed or downloaded."""
        for name in ("opt", "sources", "stage"):
            shutil.rmtree(self.home / name, ignore_errors=True)


@pytest.fixture(scope="session", params=sorted(CLIENTS))
def client_root(request: pytest.FixtureRequest) -> tuple[Path, Path, str]:
    """A checkout of a Spack, and of packages of its time."""
    version = str(request.param)
    commit, packages_version, packages_commit = CLIENTS[version]
    env = dict(os.environ)
    url, packages_url = "https://github.com/spack/spack.git", "https://github.com/spack/spack-packages.git"
    try:
        root, packages = SHARED / "spack" / commit[:12], SHARED / "packages" / packages_commit[:12]
        git.checkout(url, version, commit, root, env)
        git.checkout(packages_url, packages_version, packages_commit, packages, env)
    except InstallError as error:
        no_spack(error)
    return root, packages, f"{commit[:12]}-{packages_commit[:12]}"


@pytest.fixture
def client(client_root: tuple[Path, Path, str], certificates: Certificates, tmp_path: Path) -> Client:
    """A stock Spack with nothing installed."""
    root, packages, key = client_root
    return Client(root=root, packages=packages, home=tmp_path / "user", certificates=certificates, cache=SHARED / "cache" / key / "misc")


@pytest.fixture(autouse=True)
def tidied(tmp_path: Path) -> Iterator[None]:
    """What runs on the harness left behind goes with its test: gigabytes, all tests together."""
    yield
    shutil.rmtree((tmp_path / "runs").resolve(), ignore_errors=True)


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Another system than this machine's."""
    return other_debian(tmp_path_factory.mktemp("debian"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A registry of one test, which counts its requests."""
    need("docker-registry")
    with running(tmp_path / "server", counted=True) as found:
        yield found


@pytest.fixture
def template(workspace: pipeline.Workspace, server: Server, tmp_path: Path) -> Place:
    """This project, used as a template."""
    folder = this_project(tmp_path / "template")
    (folder / "cache.yaml").write_text(settings(f"{server.url}/owner/cache", "examples/spack_repo/examples"), encoding="utf-8")
    return Place(harness=make_harness(track(folder), tmp_path), registry=server, image=f"{server.url}/owner/cache/v1.1")
