"""Attestations that GitHub Actions really made hold, for their repository and their digests alone; nothing else does."""

from __future__ import annotations

import base64
import copy
import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

import tasks
from cachelib import pipeline
from cachelib.model.attestation import Statement
from cachelib.model.digest import Digest
from cachelib.model.errors import InstallError, RegistryError, UsageError, VerifyError
from cachelib.pipeline import verifying
from cachelib.steps import provenance as beside
from cachelib.steps import referring
from cachelib.steps.artifacts import load_catalog
from cachelib.steps.attesting import Attested, attest
from cachelib.steps.provenance import parse_bundles
from cachelib.tools import attestations, github_rest
from cachelib.tools.attestations import SigstoreVerifier
from cachelib.tools.github_attestations import HINTS, MOST, GitHubAttestations
from cachelib.tools.github_rest import GitHubRest
from tests.support.github_site import Site, serving_site
from tests.support.mirrors import add_chain
from tests.support.quiet import QuietProgress

if importlib.util.find_spec("sigstore") is None:  # pragma: no cover
    if os.environ.get("CI"):
        pytest.fail("sigstore is not installed; CI must have it", pytrace=False)
    pytest.skip("sigstore is not installed", allow_module_level=True)

PROJECT = Path(__file__).resolve().parents[2]
DATA = PROJECT / "tests/data/attestations"
REPOSITORY = "malancas/attest-demo"
ADDRESS = f"https://github.com/{REPOSITORY}"
SUBJECT = Digest("49a3aa6075e0f49f82843e74b5baa614ad2a588e6675612bf108a0a008c5ac25")
OTHER = Digest.of(b"another image")
SIGNER = f"{ADDRESS}/.github/workflows/shared.yml@refs/heads/main"
TOKEN = "ghs_0123456789"
PUBLIC = (DATA / "public.sigstore.json").read_bytes()
Bundle = dict[str, Any]


@pytest.fixture(scope="module")
def verifier() -> SigstoreVerifier:
    """With the roots of trust that came with the package: no network."""
    return SigstoreVerifier(ADDRESS, offline=True)


def bundle(name: str = "public") -> Bundle:
    made: Bundle = json.loads((DATA / f"{name}.sigstore.json").read_bytes())
    return made


# --- Real bundles --------------------------------------------------------------------------------------------------------------------------


def test_a_real_attestation_holds(verifier: SigstoreVerifier) -> None:
    assert verifier.read(PUBLIC) == Statement(subjects=frozenset({SUBJECT}), signer=SIGNER)


def test_capitals_in_the_name_of_a_repository_do_not_matter() -> None:
    assert SigstoreVerifier(ADDRESS.replace("malancas", "MALANCAS"), offline=True).read(PUBLIC).signer == SIGNER


@pytest.mark.parametrize(
    "name", ["malancas/attest-dem", "malancas/attest-demo2", "evil/attest-demo", "github/artifact-attestations-workflows"]
)
def test_an_attestation_of_another_repository(name: str) -> None:
    """Also where the workflow that it calls is of that repository: who asked for it counts."""
    with pytest.raises(VerifyError, match=f"is of another repository: {ADDRESS}"):
        SigstoreVerifier(f"https://github.com/{name}", offline=True).read(PUBLIC)


PARTS: dict[str, Callable[[Bundle], tuple[Any, Any]]] = {
    "payload": lambda made: (made["dsseEnvelope"], "payload"),
    "signature": lambda made: (made["dsseEnvelope"]["signatures"][0], "sig"),
    "certificate": lambda made: (made["verificationMaterial"]["certificate"], "rawBytes"),
    "log entry": lambda made: (made["verificationMaterial"]["tlogEntries"][0], "canonicalizedBody"),
    "promise of the log": lambda made: (made["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"], "signedEntryTimestamp"),
    "proof of the log": lambda made: (made["verificationMaterial"]["tlogEntries"][0]["inclusionProof"], "rootHash"),
}


@pytest.mark.parametrize("part", PARTS)
def test_one_byte_changed(verifier: SigstoreVerifier, part: str) -> None:
    whole, dice = bundle(), random.Random(part)
    for _ in range(20):
        made = copy.deepcopy(whole)
        held, key = PARTS[part](made)
        data = bytearray(base64.b64decode(held[key]))
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        held[key] = base64.b64encode(data).decode()
        with pytest.raises(VerifyError, match="its attestation"):
            verifier.read(json.dumps(made).encode())
    # The same way there and back, without the change, holds.
    assert verifier.read(json.dumps(whole).encode()).subjects == {SUBJECT}


def test_a_payload_of_ones_own_under_a_real_signature(verifier: SigstoreVerifier) -> None:
    made = bundle()
    statement = json.loads(base64.b64decode(made["dsseEnvelope"]["payload"]))
    statement["subject"] = [{"name": "evil", "digest": {"sha256": OTHER.hex}}]
    made["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    with pytest.raises(VerifyError, match="does not hold"):
        verifier.read(json.dumps(made).encode())


def test_another_issuer_is_not_believed() -> None:
    verifier = SigstoreVerifier("https://github.com/too-legit/attest", offline=True)
    with pytest.raises(VerifyError, match=r"does not hold: .*hammer-time"):
        verifier.read(json.dumps(bundle("other-issuer")).encode())


def test_an_attestation_of_a_private_repository_is_named_as_such(verifier: SigstoreVerifier) -> None:
    with pytest.raises(VerifyError, match=r"in no public log: .*gh attestation verify"):
        verifier.read(json.dumps(bundle("private")).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"5", b'"x"', b"\xff", b"[" * 100_000, b'{"mediaType": 5}', b'{"verificationMaterial": []}'],
)
def test_what_is_no_bundle_at_all(verifier: SigstoreVerifier, data: bytes) -> None:
    with pytest.raises(VerifyError, match="its attestation"):
        verifier.read(data)


def test_a_bundle_that_is_too_large_is_not_looked_into(verifier: SigstoreVerifier) -> None:
    with pytest.raises(VerifyError, match="none has so many"):
        verifier.read(PUBLIC + b" " * (9 << 20))


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b'{"subject": 5}', b'{"subject": [5]}', b'{"subject": [{"digest": {"sha256": "x"}}]}']
)
def test_a_statement_that_is_none(payload: bytes) -> None:
    with pytest.raises(VerifyError, match="nothing that is understood"):
        attestations._subjects(payload)


def test_subjects_of_other_digests_are_none() -> None:
    payload = {"subject": [{"digest": {"sha512": "x"}}, {"digest": {"sha256": OTHER.hex}}]}
    assert attestations._subjects(json.dumps(payload).encode()) == {OTHER}


# --- Images and their attestations ---------------------------------------------------------------------------------------------------------


class Kept:
    """Attestations of which a test says what they state."""

    def __init__(self, kept: dict[Digest, Sequence[bytes]], stated: dict[bytes, Statement]) -> None:
        self.kept, self.stated, self.asked = kept, stated, list[Digest]()

    def bundles(self, digest: Digest) -> Sequence[bytes]:
        self.asked.append(digest)
        return self.kept.get(digest, ())

    def read(self, bundle: bytes) -> Statement:
        if bundle not in self.stated:
            raise VerifyError("bad")
        return self.stated[bundle]


def test_a_push_is_asked_for_once() -> None:
    digests = [Digest.of(bytes([at])) for at in range(5)]
    whole = Statement(subjects=frozenset(digests), signer="w")
    kept = Kept({digest: [b"whole"] for digest in digests}, {b"whole": whole})
    found = attest({f"t{at}": digest for at, digest in enumerate(digests)}, kept, QuietProgress())
    assert found == Attested(signers={f"t{at}": "w" for at in range(5)}, without=(), findings=())
    assert kept.asked == digests[:1]


def test_one_that_holds_is_enough_and_one_that_does_not_is_not() -> None:
    good, bad, none, foreign = (Digest.of(name) for name in (b"good", b"bad", b"none", b"foreign"))
    mine, others = (Statement(subjects=frozenset({digest}), signer="w") for digest in (good, OTHER))
    kept = Kept({good: [b"x", b"mine"], bad: [b"x"], foreign: [b"others", b"x"]}, {b"mine": mine, b"others": others})
    found = attest({"good": good, "bad": bad, "none": none, "foreign": foreign}, kept, QuietProgress())
    assert (found.signers, found.without) == ({"good": "w"}, ("none",))
    assert [(finding.where, finding.problem) for finding in found.findings] == [
        ("bad", "bad"),
        ("foreign", "its attestation is not of this image: it names 1 others; bad"),
    ]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """GitHub's API with the repository and the attestation of the real bundle."""
    monkeypatch.setattr(github_rest, "_pause", lambda seconds: None)
    made = Site(answers={f"repos/{REPOSITORY}": {"full_name": REPOSITORY}}, token=TOKEN)
    keep(made, SUBJECT, bundle())
    with serving_site(made) as served:
        yield served


def keep(site: Site, digest: Digest, *bundles: object) -> None:
    items = [{"bundle": made, "repository_id": 1, "bundle_url": "https://example.org/x"} for made in bundles]
    site.answers[f"repos/{REPOSITORY}/attestations/{digest}?per_page={MOST}"] = {"attestations": items}


def kept_at(site: Site, verifier: SigstoreVerifier, token: str = TOKEN) -> GitHubAttestations:
    return GitHubAttestations(GitHubRest(site.url, token, REPOSITORY, hints=HINTS, pause=lambda _: None), REPOSITORY, verifier)


def test_images_by_what_github_keeps_of_them(site: Site, verifier: SigstoreVerifier) -> None:
    changed = bundle()
    changed["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"0" * 70).decode()
    moved, bad, link = Digest.of(b"moved"), Digest.of(b"bad"), Digest.of(b"link")
    keep(site, moved, bundle())
    keep(site, bad, changed)
    keep(site, link, None)
    found = attest({"moved": moved, "attested": SUBJECT, "bad": bad, "link": link, "none": OTHER}, kept_at(site, verifier), QuietProgress())
    assert (found.signers, found.without) == ({"attested": SIGNER}, ("none",))
    told = {finding.where: finding.problem for finding in found.findings}
    assert sorted(told) == ["bad", "link", "moved"]
    assert "not of this image" in told["moved"]
    assert "does not hold" in told["bad"]
    assert "without giving it" in told["link"]
    assert set(site.authorizations) == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("answer", [{}, [], {"attestations": 5}, {"attestations": [5]}, {"attestations": [{}]}, (200, {}, b"<html>")])
def test_an_answer_that_is_none_is_not_taken_for_no_attestation(site: Site, verifier: SigstoreVerifier, answer: object) -> None:
    site.answers[f"repos/{REPOSITORY}/attestations/{OTHER}?per_page={MOST}"] = answer
    with pytest.raises(RegistryError, match="no list of attestations"):
        kept_at(site, verifier).bundles(OTHER)


def test_a_repository_that_can_not_be_seen_has_no_say(site: Site, verifier: SigstoreVerifier) -> None:
    del site.answers[f"repos/{REPOSITORY}"]
    with pytest.raises(RegistryError, match="404") as caught:
        kept_at(site, verifier).check()
    assert "may this token see it" in caught.value.hint
    with pytest.raises(RegistryError, match="401"):
        kept_at(site, verifier, "bad").bundles(SUBJECT)


def test_what_names_no_repository_is_not_asked_for(site: Site, verifier: SigstoreVerifier) -> None:
    rest = GitHubRest(site.url, TOKEN, "x", hints=HINTS)
    for name in ("", "a", "a/b/c", "../x", "a/.."):
        with pytest.raises(UsageError, match="names no repository"):
            GitHubAttestations(rest, name, verifier)


# --- The task ------------------------------------------------------------------------------------------------------------------------------

PIN = f"{{version: v1.1.0, commit: {'a' * 40}}}"


@pytest.fixture
def ws(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> pipeline.Workspace:
    """A cache of two images, and GitHub beside it."""
    stack = f"{{spack: {PIN}, packages: {PIN}, specs: [x]}}"
    (tmp_path / "cache.yaml").write_text(f"registry: oci-layout:r\nsource: {ADDRESS}\nstacks:\n  s: {stack}\n")
    for name in ("GH_TOKEN", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CACHE_CONFIG", str(tmp_path / "cache.yaml"))
    monkeypatch.setenv("GITHUB_API_URL", site.url)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    monkeypatch.setattr(verifying, "SigstoreVerifier", partial(SigstoreVerifier, offline=True))
    ws = pipeline.open_workspace()
    add_chain(ws.mirror("v1.1").root, 2)
    assert pipeline.push(ws).exit_code == pipeline.index(ws).exit_code == 0
    return ws


def manifests(ws: pipeline.Workspace) -> dict[str, Digest]:
    repository = ws.repository(ws.location("").child("v1.1"))
    found = {}
    for tag in sorted(repository.tags()):
        if tag.endswith(".spack") and tag != "index.spack":
            raw = repository.manifest(tag)
            assert raw is not None
            found[tag] = raw.digest
    assert len(found) == 2
    return found


def test_images_without_an_attestation_are_told_and_are_no_error(ws: pipeline.Workspace, tmp_path: Path) -> None:
    report = pipeline.verify(ws, attestations=True)
    assert report.exit_code == 0, report.text
    assert f"WARNING  2 images that no run of {REPOSITORY} attested, such as part0-" in report.text
    assert report.lines[-1].startswith(f"attestations: 0 images attested by {REPOSITORY}, 2 by nobody, 0 findings, in ")
    assert [data["step"] for data in report.data] == ["verify", "attestations"]
    assert report.data[1]["counts"] == {"unattested": 2}
    # Without the flag nobody is asked.
    assert [data["step"] for data in pipeline.verify(ws).data] == ["verify"]


def test_an_attestation_that_does_not_hold_is_an_error(ws: pipeline.Workspace, site: Site, tmp_path: Path) -> None:
    tag, digest = next(iter(manifests(ws).items()))
    keep(site, digest, bundle())
    with pytest.raises(Exit) as caught:
        tasks.verify.body(None, attestations=True, json=str(tmp_path / "report.json"))
    assert caught.value.code == 10
    told = json.loads((tmp_path / "report.json").read_text())
    items = [item for step in told["steps"] for item in step["items"] if item["outcome"] == "wrong"]
    assert [(item["label"], item["problem"]) for item in items] == [(tag, "its attestation is not of this image: it names 1 others")]
    assert "who pushed it" in items[0]["remedy"]


def test_attested_images_are_told_with_who_signed(ws: pipeline.Workspace, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No real attestation is of these images: what it states is put in their place, after it held."""
    stated, digests = attestations._subjects, manifests(ws)
    monkeypatch.setattr(attestations, "_subjects", lambda payload: stated(payload) | frozenset(digests.values()))
    keep(site, next(iter(digests.values())), bundle())
    report = pipeline.verify(ws, attestations=True)
    assert report.exit_code == 0
    assert f"  signed   2 images by {SIGNER}" in report.lines
    assert [(item["label"], item["signer"]) for item in report.data[1]["items"]] == [(tag, SIGNER) for tag in digests]
    assert sum("/attestations/" in request for request in site.requests) == 1


def test_what_lies_beside_the_images_needs_no_github(ws: pipeline.Workspace, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    stated, digests = attestations._subjects, manifests(ws)
    monkeypatch.setattr(attestations, "_subjects", lambda payload: stated(payload) | frozenset(digests.values()))
    monkeypatch.delenv("GITHUB_TOKEN")
    ws = replace(pipeline.open_workspace(), settings=replace(ws.settings, provenance=True))
    repository = ws.repository(ws.location("").child("v1.1"))
    first, second = sorted(load_catalog(repository).entries.values(), key=lambda entry: entry.tag)
    (real,) = parse_bundles(PUBLIC)
    referring.prepare(repository)
    assert beside.attach(repository, first, real, frozenset())
    repository.flush()
    asked = len(site.requests)
    report = pipeline.verify(ws, attestations=True)
    assert report.exit_code == 0, report.text
    # It speaks for all of its subjects, so the second image needs none of its own.
    assert f"  signed   2 images by {SIGNER}" in report.lines
    assert "NOTE     GitHub is not asked (the token for GitHub's API is empty" in report.text
    assert len(site.requests) == asked
    # One that was tampered with is a finding, as GitHub's would be.
    made = bundle()
    made["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"forged").decode()
    assert beside.attach(repository, second, replace(real, data=json.dumps(made).encode()), frozenset())
    repository.flush()
    monkeypatch.setattr(attestations, "_subjects", lambda payload: stated(payload) | frozenset({first.manifest.digest}))
    report = pipeline.verify(ws, attestations=True)
    assert report.exit_code == VerifyError.exit_code
    assert f"WRONG    {second.tag}: its attestation does not hold" in report.text


def test_what_others_signed_beside_an_image_is_no_finding(ws: pipeline.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With cosign, by a name of their own, or from a repository that copied it: the image counts as attested by nobody here."""
    monkeypatch.delenv("GITHUB_TOKEN")
    opened = pipeline.open_workspace()
    ws = replace(opened, settings=replace(opened.settings, provenance=True, source="https://github.com/malancas/another"))
    repository = ws.repository(ws.location("").child("v1.1"))
    (real,) = parse_bundles(PUBLIC)
    referring.prepare(repository)
    for entry in load_catalog(repository).entries.values():
        assert beside.attach(repository, entry, real, frozenset())
    repository.flush()
    report = pipeline.verify(ws, attestations=True)
    assert report.exit_code == 0, report.text
    assert "0 images attested by malancas/another, 2 by nobody, 0 findings" in report.text


def test_what_is_missing_is_said_before_anything_is_read(ws: pipeline.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachelib.steps.verifying.verify", lambda *_, **__: pytest.fail("it began to read"))
    monkeypatch.delenv("GITHUB_TOKEN")
    with pytest.raises(UsageError) as caught:
        pipeline.verify(pipeline.open_workspace(), attestations=True)
    assert "gh auth token" in caught.value.hint
    path = Path(os.environ["CACHE_CONFIG"])
    path.write_text(path.read_text().replace(ADDRESS, "https://gitlab.com/o/r"))
    with pytest.raises(UsageError, match=r"no repository of github\.com"):
        pipeline.verify(pipeline.open_workspace(), attestations=True)


def test_without_sigstore_it_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "sigstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sigstore", None)
    with pytest.raises(InstallError, match="sigstore, which is not here") as caught:
        SigstoreVerifier(ADDRESS, offline=True)
    assert "nox -s attestations" in caught.value.hint


def test_who_does_not_ask_for_attestations_does_not_load_sigstore() -> None:
    code = "import sys, tasks\nfrom cachelib.pipeline import verify\nprint(sorted({m.split('.')[0] for m in sys.modules} & {'sigstore', 'tuf'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, text=True, capture_output=True, check=True)
    assert done.stdout == "[]\n"


def test_without_a_network_the_roots_of_the_package_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    from sigstore.errors import TUFError
    from sigstore.verify import Verifier

    production, asked = Verifier.production, []

    def away(*, offline: bool = False) -> Verifier:
        asked.append(offline)
        if not offline:
            raise TUFError("Failed to refresh TUF metadata")
        return production(offline=True)

    monkeypatch.setattr(Verifier, "production", away)
    verifier = SigstoreVerifier(ADDRESS)
    assert asked == [False, True]
    assert "Sigstore's roots of today can't be had" in verifier.notes[0]
    assert verifier.read(PUBLIC).subjects == {SUBJECT}
