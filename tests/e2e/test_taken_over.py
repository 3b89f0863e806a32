"""Caches that stock Spack filled are taken over as they are: docs/how-to/migrate-from-buildcache-push.md tells how, and this does it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.tools.mirror import DiskMirror
from tests.e2e.conftest import Client
from tests.e2e.test_published import spack_of
from tests.e2e.test_stock_spack import install_and_run
from tests.support.certificates import Certificates
from tests.support.docker_registry import Server


def by_spack(ws: pipeline.Workspace, place: str, mirror: Path, certificates: Certificates) -> None:
    """Let the Spack that built the examples push them itself, and make its own index."""
    spack, environments = spack_of(ws)
    entries = list(DiskMirror(mirror).entries())
    # Other tests of this layer build other requests in the same workspace.
    locks = {path.parent: path.read_text(encoding="utf-8") for path in environments.glob("*/spack.lock")}
    env = next(folder for folder, lock in locks.items() if all(entry.hash in lock for entry in entries))
    wanted = [f"/{entry.hash}" for entry in entries]
    done = spack.run(
        "-e", str(env), "buildcache", "push", "--unsigned", "--update-index", "--only", "package", place, *wanted,
        env={"SSL_CERT_FILE": str(certificates.authority)},
    )  # fmt: skip
    assert done.code == 0, done.text


@pytest.mark.parametrize("client_root", ["v1.1.0"], indirect=True)
def test_images_that_spack_pushed(
    client: Client,
    workspace: pipeline.Workspace,
    mirror: Path,
    registry: Server,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Indexed, shown and verified without being pushed again; stock Spack goes on installing from them."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    base = f"{registry.url}/taken/{tmp_path.name.replace('_', '-').lower().strip('-')}"
    by_spack(workspace, f"{base}/v1.1", mirror, certificates)
    said = pipeline.index(workspace, base)
    assert said.exit_code == 0, said.text
    assert "7 entries" in said.text
    assert pipeline.render(workspace, base, out=str(tmp_path / "site")).exit_code == 0
    page = (tmp_path / "site/packages/sundial/index.html").read_text(encoding="utf-8")
    assert "spack install" in page
    checked = pipeline.verify(workspace, base)
    assert checked.exit_code == 0, checked.text
    assert "7 images" in checked.text
    # Nothing is sent again for a run of our own: the hashes are there.
    again = pipeline.push(workspace, base)
    assert "push: 0 pushed" in again.text, again.text
    install_and_run(dataclasses.replace(client, mirrors={"cache": f"{base}/v1.1"}), mirror)


# With a client, though it needs none: so it comes before those tests that wipe the store that Spack pushes from.
@pytest.mark.parametrize("client_root", ["v1.1.0"], indirect=True)
def test_a_mirror_that_spack_filled(
    client_root: object, workspace: pipeline.Workspace, mirror: Path, certificates: Certificates, tmp_path: Path
) -> None:
    """A folder by `spack buildcache push file://...` is a mirror of ours where it stands as var/mirror/IMAGE."""
    theirs = tmp_path / "theirs"
    by_spack(workspace, theirs.as_uri(), mirror, certificates)
    ours = pipeline.open_workspace(str(workspace.folder / "cache.yaml"), var=str(tmp_path / "var"))
    shutil.copytree(theirs, ours.mirror("v1.1").root)
    to = f"oci-layout:{tmp_path / 'registry'}"
    pushed = pipeline.push(ours, to)
    assert pushed.exit_code == 0, pushed.text
    assert "push: 7 pushed" in pushed.text
    assert pipeline.index(ours, to).exit_code == 0
    checked = pipeline.verify(ours, to)
    assert checked.exit_code == 0, checked.text
