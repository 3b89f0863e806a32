"""Stock Spack checks what the cache signs: with its own gpg, by the keys that a pulled mirror tells of."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.model.entry import EntryName, signed_text
from cachelib.steps.signing import SECRET
from cachelib.tools.gpg import Gpg
from cachelib.tools.mirror import DiskMirror
from tests.conftest import need
from tests.e2e.conftest import Client

LIBRARY, TOP = "almanac-data", "py-almanac"
v1_1 = pytest.mark.parametrize("client_root", ["v1.1.0"], indirect=True)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The owner of a signed cache: a workspace, the keys that were made in it, and where it is published."""

    ws: pipeline.Workspace
    place: str

    def make_key(self) -> str:
        """Make a key; return its fingerprint."""
        before = set((self.ws.folder / "keys").glob("*.pub"))
        assert pipeline.keys(self.ws, "create").exit_code == 0
        (made,) = set((self.ws.folder / "keys").glob("*.pub")) - before
        return made.stem

    def private(self, fingerprint: str) -> str:
        return (self.ws.var / "keys" / f"{fingerprint}.key").read_text()

    def using(self, fingerprint: str) -> pipeline.Workspace:
        """The workspace of a job that has a key as its secret."""
        return replace(self.ws, env={**self.ws.env, SECRET: self.private(fingerprint)})

    def pull(self, out: Path) -> Path:
        """Pull what is published, as somebody with the owner's checkout; return the mirror."""
        assert pipeline.pull(self.ws, to=self.place, out=str(out), signed=True).exit_code == 0
        return out / "v1.1"


@pytest.fixture
def owner(workspace: pipeline.Workspace, mirror: Path, tmp_path: Path) -> Owner:
    need("gpg")
    ws = replace(workspace, folder=tmp_path / "owner", var=tmp_path / "owner/var")
    shutil.copytree(mirror, ws.var / "mirror/v1.1")
    return Owner(ws=ws, place=f"oci-layout:{tmp_path}/registry")


@pytest.fixture
def user(client: Client) -> Client:
    """A stock Spack whose mirrors are to be signed."""
    return replace(client, signed=True)


def names(mirror: Path) -> dict[str, EntryName]:
    return {name.name: name for name in DiskMirror(mirror).names()}


def installs(user: Client, mirror: Path, package: str = LIBRARY) -> bool:
    """Whether Spack installs a package from a mirror; else it says that it failed to, and nothing is installed."""
    user.wipe()
    # Each mirror lies elsewhere, so no index of another is taken for its own.
    at = replace(user, mirrors={"pulled": mirror.as_uri()})
    said = at.run("install", "--use-buildcache", "only", f"/{names(mirror)[package].hash}", check=False)
    found = at.run("find", "--format", "{name}", check=False).split()
    assert (package in found) != ("Error: Failed to install" in said), said
    return package in found


def trust(user: Client, mirror: Path) -> None:
    """Trust the keys that a mirror tells of, as its users are told to."""
    replace(user, mirrors={"pulled": mirror.as_uri()}).run("buildcache", "keys", "--install", "--trust")


@pytest.mark.parametrize("client_root", ["v1.1.0", "v1.0.2"], indirect=True)
def test_a_signed_mirror_installs_once_its_key_is_trusted_and_not_when_it_was_tampered_with(
    owner: Owner, user: Client, tmp_path: Path
) -> None:
    job = owner.using(owner.make_key())
    assert pipeline.push(job, owner.place).exit_code == 0
    assert pipeline.index(job, owner.place).exit_code == 0
    pulled = owner.pull(tmp_path / "pulled")
    assert not installs(user, pulled)
    trust(user, pulled)
    assert installs(user, pulled, TOP)

    changed = Path(shutil.copytree(pulled, tmp_path / "changed"))
    path = changed / names(changed)[LIBRARY].path
    text = path.read_bytes()
    # The size that is told of the tarball: JSON, and Spack, would read it all the same.
    at = text.index(b'"contentLength":') + len(b'"contentLength":')
    at += len(text[at:]) - len(text[at:].lstrip())
    path.write_bytes(text[:at] + (b"8" if text[at : at + 1] == b"9" else b"9") + text[at + 1 :])
    assert signed_text(path.read_bytes()) != signed_text(text)
    assert not installs(user, changed)

    broken = Path(shutil.copytree(pulled, tmp_path / "broken"))
    tarball = DiskMirror(broken).entry(names(broken)[LIBRARY]).tarball
    blob = DiskMirror(broken).blob_path(tarball.digest)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    assert not installs(user, broken)

    foreign = Path(shutil.copytree(pulled, tmp_path / "foreign"))
    with Gpg(owner.ws.env) as gpg:
        stranger = gpg.create("a stranger", 1)
        path = foreign / names(foreign)[LIBRARY].path
        path.write_bytes(gpg.sign(signed_text(text), stranger.fingerprint))
    assert not installs(user, foreign)

    for copy, wrong in ((pulled, 0), (changed, 1), (foreign, 1)):
        out = tmp_path / "looked-at" / copy.name
        shutil.copytree(copy, out / "v1.1")
        report = pipeline.keys(owner.ws, "verify", out=str(out), required=True)
        assert (report.exit_code != 0, report.text.count("WRONG")) == (wrong == 1, wrong)


@v1_1
def test_rotation_and_revocation(owner: Owner, user: Client, tmp_path: Path) -> None:
    old = owner.make_key()
    assert pipeline.push(owner.using(old), owner.place).exit_code == 0
    assert pipeline.index(owner.using(old), owner.place).exit_code == 0
    before = owner.pull(tmp_path / "before")
    trust(user, before)

    new = owner.make_key()
    library = owner.ws.mirror("v1.1").root / names(before)[LIBRARY].path
    kept = library.read_bytes()
    # A new key beside the old one: what the old one signed stays as it is, and installs beside what the new one signed.
    assert pipeline.keys(owner.using(new), "sign").exit_code == 0
    library.write_bytes(kept)
    assert pipeline.push(owner.using(new), owner.place, resigned=True).exit_code == 0
    assert pipeline.index(owner.using(new), owner.place).exit_code == 0
    both = owner.pull(tmp_path / "both")
    assert not installs(user, both, TOP)
    trust(user, both)
    assert installs(user, both, TOP)

    assert pipeline.keys(owner.ws, "revoke", key=old).exit_code == 0
    # What is pulled now is refused as long as the revoked key's signature is what is published.
    assert pipeline.pull(owner.ws, to=owner.place, out=str(tmp_path / "refused")).exit_code != 0
    assert pipeline.keys(owner.using(new), "sign").exit_code == 0
    assert pipeline.push(owner.using(new), owner.place, resigned=True).exit_code == 0
    assert pipeline.index(owner.using(new), owner.place).exit_code == 0
    after = owner.pull(tmp_path / "after")

    fresh = replace(user, home=tmp_path / "fresh")
    trust(fresh, after)
    assert not installs(fresh, before)
    assert installs(fresh, after, TOP)
    # Stock Spack asks gpg for its exit code alone, which is 0 for the signature of a revoked key. Who trusted that key has to be told.
    trust(user, after)
    assert installs(user, before)
    user.run("gpg", "untrust", old)
    assert not installs(user, before)
    assert installs(user, after, TOP)
