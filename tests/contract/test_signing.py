"""Entries are signed by real gpg before they are pushed, and what is pulled is checked; nobody's keyring is touched."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cachelib import pipeline
from cachelib.model.check import Verdict
from cachelib.model.entry import is_one_message, is_signed, parse_blob_records, signed_text
from cachelib.model.errors import SigningError
from cachelib.model.signing import PublicKey, Signature, Standing, key_files
from cachelib.pipeline.signing import check_signing, public_keys
from cachelib.steps import remembering
from cachelib.steps.signing import SECRET, check, sign_entries
from cachelib.tools.gpg import Gpg
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.spack import Folders, Spack
from tests.conftest import need
from tests.contract.conftest import Opener
from tests.support.mirrors import add_chain
from tests.support.quiet import QuietProgress

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes, bytes, bytes]]:
    """Two keys, made once, as that takes seconds: fingerprint, public and private half, and what revokes them."""
    need("gpg")
    found = []
    for name in ("first", "second"):
        with Gpg(dict(os.environ)) as gpg:
            key = gpg.create(name, 730)
            found.append((key.fingerprint, gpg.public_keys()[0].data, gpg.private_key(key.fingerprint), gpg.revocation(key.fingerprint)))
    return found


@pytest.fixture
def ws(tmp_path: Path, made: list[tuple[str, bytes, bytes, bytes]], monkeypatch: pytest.MonkeyPatch) -> pipeline.Workspace:
    """A cache whose mirror holds three entries, and the keyring of a person who must not notice."""
    need("gpg")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "home/.gnupg"))
    text = (PROJECT / "examples/cache.yaml").read_text().replace("[spack_repo/examples]", f"[{PROJECT / 'examples/spack_repo/examples'}]")
    (tmp_path / "cache.yaml").write_text(text)
    opened = pipeline.open_workspace(str(tmp_path / "cache.yaml"))
    add_chain(opened.mirror("v1.1").root, 3)
    for fingerprint, public, private, revocation in made:
        for path, data in ((f"made/{fingerprint}.pub", public), (f"{fingerprint}.key", private), (f"{fingerprint}.rev", revocation)):
            (opened.var / "keys" / path).parent.mkdir(parents=True, exist_ok=True)
            (opened.var / "keys" / path).write_bytes(data)
    return opened


def make_key(ws: pipeline.Workspace) -> str:
    """Take the next of the two keys into use."""
    path = min((ws.var / "keys/made").iterdir())
    (ws.folder / "keys").mkdir(exist_ok=True)
    path.rename(ws.folder / "keys" / path.name)
    return path.stem


def using(ws: pipeline.Workspace, fingerprint: str, **more: str) -> pipeline.Workspace:
    return replace(ws, env={**ws.env, SECRET: (ws.var / "keys" / f"{fingerprint}.key").read_text(), **more})


def entries(mirror: DiskMirror) -> dict[str, bytes]:
    return {entry.spec.root.name: entry.raw for entry in mirror.entries()}


def standings(ws: pipeline.Workspace, mirror: DiskMirror) -> set[Standing]:
    with Gpg(ws.env) as gpg:
        for one in public_keys(ws):
            gpg.import_keys(one.data)
        return {check(raw, gpg).standing for raw in entries(mirror).values()}


def signatures(report: Any) -> list[str]:
    """What a pull tells of signatures."""
    return [item["outcome"] for data in report.data if data["step"] == "signatures" for item in data["items"]]


def test_a_key_is_made_whose_private_half_only_its_owner_reads(ws: pipeline.Workspace, tmp_path: Path) -> None:
    own = replace(ws, env={**ws.env, "CACHE_SIGNING_PASSPHRASE": "s3cret words"})
    told = pipeline.keys(own, "create", days=29).text
    [public] = (ws.folder / "keys").iterdir()
    private = ws.var / "keys" / f"{public.stem}.key"
    assert f"gh secret set {SECRET} < {private}" in told
    assert [stat.S_IMODE(path.stat().st_mode) for path in (private, private.with_suffix(".rev"))] == [0o600] * 2
    assert b"PRIVATE KEY BLOCK" in private.read_bytes()
    assert b"PRIVATE" not in public.read_bytes()
    [found] = public_keys(ws)
    assert (found.key.fingerprint, found.key.revoked, bool(found.key.expires)) == (public.stem, False, True)
    # The keyring of the person who made it knows nothing of it.
    assert not (tmp_path / "home").exists()
    # It is soon over, and its passphrase is asked for.
    assert [check.verdict for check in check_signing(using(ws, public.stem))] == [Verdict.WARNING]
    assert "could not be signed" in pipeline.push(using(ws, public.stem)).text
    assert pipeline.push(using(own, public.stem)).exit_code == 0
    assert standings(ws, ws.mirror("v1.1")) == {Standing.GOOD}


@pytest.mark.parametrize("passphrase", ["p\udce4ss", "ünï\n"], ids=["latin-1", "utf-8"])
def test_whatever_letters_a_name_and_a_passphrase_have(passphrase: str) -> None:
    """As the environment has them, where they are not UTF-8."""
    need("gpg")
    with Gpg(dict(os.environ), passphrase) as gpg:
        key = gpg.create("K\udce4fer <k@example.org>", 0)
        assert b"-----BEGIN PGP PUBLIC KEY" in gpg.revocation(key.fingerprint)
        private = gpg.private_key(key.fingerprint)
    with Gpg(dict(os.environ), passphrase) as gpg:
        gpg.import_keys(private)
        assert is_signed(gpg.sign(b"{}", key.fingerprint))
    with Gpg(dict(os.environ), "another") as gpg:
        gpg.import_keys(private)
        with pytest.raises(SigningError):
            gpg.sign(b"{}", key.fingerprint)


def test_a_passphrase_is_one_line() -> None:
    with pytest.raises(SigningError, match="several lines"):
        Gpg(dict(os.environ), "first\nsecond")


def test_what_is_pushed_is_signed_and_comes_back_byte_for_byte(ws: pipeline.Workspace, tmp_path: Path) -> None:
    fingerprint, mirror = make_key(ws), ws.mirror("v1.1")
    unsigned = entries(mirror)
    assert pipeline.push(using(ws, fingerprint), "").exit_code == 0
    signed = entries(mirror)
    assert {name: signed_text(raw).strip() for name, raw in signed.items()} == {name: raw.strip() for name, raw in unsigned.items()}
    assert standings(ws, mirror) == {Standing.GOOD}
    told = pipeline.index(ws)
    assert "1 public keys published" in told.text
    report = pipeline.pull(ws, out=str(tmp_path / "out"), signed=True)
    assert (report.exit_code, signatures(report)) == (0, ["good"] * 3)
    pulled = DiskMirror(tmp_path / "out/v1.1")
    assert entries(pulled) == signed
    for path, data in key_files(public_keys(ws)):
        assert (pulled.root / path).read_bytes() == data
    # Signed once is enough, and without the secret a push says so.
    assert "3 present" in pipeline.push(using(ws, fingerprint)).text
    # Somebody else, whose checkout has no keys, goes by those that the registry tells of.
    shutil.rmtree(ws.folder / "keys")
    assert signatures(pipeline.pull(ws, out=str(tmp_path / "other"), signed=True)) == ["good"] * 3


def test_what_is_not_signed_is_told_and_refused_where_it_must_be(ws: pipeline.Workspace, tmp_path: Path) -> None:
    assert pipeline.push(ws).exit_code == 0
    assert pipeline.index(ws).exit_code == 0
    report = pipeline.pull(ws, out=str(tmp_path / "out"), signed=True)
    assert (report.exit_code, "there are no keys" in report.text) == (SigningError.exit_code, True)
    make_key(ws)
    report = pipeline.pull(ws, out=str(tmp_path / "out"))
    assert (report.exit_code, signatures(report)) == (0, ["unsigned"] * 3)
    report = pipeline.pull(ws, out=str(tmp_path / "strict"), signed=True)
    assert (report.exit_code, report.text.count("refused: it is not signed")) == (6, 3)
    assert not entries(DiskMirror(tmp_path / "strict/v1.1"))


def test_rotation_and_revocation(ws: pipeline.Workspace, tmp_path: Path) -> None:
    old, mirror = make_key(ws), ws.mirror("v1.1")
    assert pipeline.push(using(ws, old)).exit_code == 0
    pipeline.index(ws)
    new = make_key(ws)
    out = tmp_path / "out"
    assert signatures(pipeline.pull(ws, out=str(out), signed=True)) == ["good"] * 3
    assert pipeline.keys(ws, "revoke", key=old[-8:]).exit_code == 0
    assert {one.key.fingerprint: one.key.revoked for one in public_keys(ws)} == {old: True, new: False}
    assert standings(ws, mirror) == {Standing.REVOKED}
    report = pipeline.pull(ws, out=str(tmp_path / "after"))
    assert (report.exit_code, report.text.count(f"signed by {old}, which was revoked")) == (6, 3)
    assert pipeline.keys(ws, "verify", out=str(out)).text.count("WRONG") == 3
    assert "WRONG" in pipeline.verify(ws, mirror=True).text

    assert pipeline.keys(using(ws, new), "sign").exit_code == 0
    assert "0 signed, 3 signed before" in pipeline.keys(using(ws, new), "sign").text
    assert "3 pushed" in pipeline.push(using(ws, new), resigned=True).text
    assert "0 pushed" in pipeline.push(using(ws, new), resigned=True).text
    pipeline.index(ws)
    # What lies there with a revoked key's signature is fetched again, and the revoked key is no longer handed out.
    assert signatures(pipeline.pull(ws, out=str(out), signed=True)) == ["good"] * 3
    assert [path.name for path in sorted((out / "v1.1/v3/manifests/key").iterdir())] == [f"{new}.key.manifest.json", "keys.manifest.json"]
    assert pipeline.verify(ws, mirror=True).exit_code == 0


@pytest.mark.parametrize("kind", ["flipped", "before", "behind", "header", "twice", "foreign", "empty"])
def test_no_signature_is_believed_that_is_not_the_caches(ws: pipeline.Workspace, kind: str) -> None:
    fingerprint, stranger_key = make_key(ws), make_key(ws)
    raw = entries(ws.mirror("v1.1"))["part0"]
    with Gpg(ws.env) as gpg, Gpg(ws.env) as stranger:
        gpg.import_keys((ws.var / "keys" / f"{fingerprint}.key").read_bytes())
        good = gpg.sign(raw, fingerprint)
        assert check(good, gpg) == Signature(standing=Standing.GOOD, fingerprint=fingerprint)
        stranger.import_keys((ws.var / "keys" / f"{stranger_key}.key").read_bytes())
        other = stranger.sign(raw, stranger_key)
        evil = raw.replace(b'"version": 3', b'"version": 4')
        tampered = {
            "flipped": good.replace(b'"version": 3', b'"version": 4'),
            "before": evil + b"\n" + good,
            "behind": good + evil,
            # gpg takes a line of blanks for the end of the head; what stands before it would be read, and not be signed.
            "header": good.replace(b"\nHash: SHA512\n\n", b"\nHash: SHA512\n \n" + evil + b"\n\n"),
            "twice": good + good,
            "foreign": other,
            "empty": good[: good.index(b"-----BEGIN PGP SIGNATURE-----")]
            + b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n",
        }[kind]
        assert is_signed(tampered)
        assert check(tampered, gpg).standing is (Standing.FOREIGN if kind == "foreign" else Standing.BAD)
    if kind in ("flipped", "foreign"):
        # Nor is it made the cache's by signing it anew.
        (ws.folder / "keys" / f"{stranger_key}.pub").unlink()
        mirror = ws.mirror("v1.1")
        path = mirror.root / next(name.path for name in mirror.names() if name.name == "part0")
        path.write_bytes(tampered if kind == "foreign" else good.replace(b'"version": 3', b'"version":  3'))
        report = pipeline.keys(using(ws, fingerprint), "sign")
        assert (report.exit_code, report.text.count("FAILED")) == (SigningError.exit_code, 1)


def test_a_kill_in_the_middle_leaves_entries_that_are_signed_or_not(ws: pipeline.Workspace) -> None:
    fingerprint, mirror = make_key(ws), ws.mirror("v1.1")

    class Killed(QuietProgress):
        def advance(self, item: str) -> None:
            raise KeyboardInterrupt

    with Gpg(ws.env) as gpg:
        gpg.import_keys((ws.var / "keys" / f"{fingerprint}.key").read_bytes())
        [key] = gpg.keys()
        with pytest.raises(KeyboardInterrupt):
            sign_entries(mirror, mirror.names(), gpg, key, Killed())
        assert sorted(is_one_message(raw) for raw in entries(mirror).values()) == [False, False, True]
        done = sign_entries(mirror, mirror.names(), gpg, key, QuietProgress())
    assert (len(done.signed), len(done.kept), done.failed) == (2, 1, {})
    assert all(parse_blob_records(raw) for raw in entries(mirror).values())


def test_a_key_that_will_not_do_is_named_before_anything_is_pushed(ws: pipeline.Workspace) -> None:
    fingerprint, foreign = make_key(ws), make_key(ws)
    public = (ws.folder / "keys" / f"{fingerprint}.pub").read_text()
    (ws.folder / "keys" / f"{foreign}.pub").unlink()
    cases = {
        "holds no private key": replace(ws, env={**ws.env, SECRET: public}),
        "holds no private key, ": replace(ws, env={**ws.env, SECRET: "rubbish"}),
        "whose public half is not in keys/": using(ws, foreign),
        "gpg is not installed": replace(using(ws, fingerprint), env={**using(ws, fingerprint).env, "PATH": "/nowhere"}),
    }
    for words, one in cases.items():
        report = pipeline.push(one)
        assert (report.exit_code, words.removesuffix(", ") in report.text) == (SigningError.exit_code, True), report.text
        [told] = check_signing(one)
        assert (told.verdict, bool(told.remedy)) == (Verdict.PROBLEM, True)
    assert not ws.repository(ws.location("").child("v1.1")).tags()
    assert pipeline.keys(ws, "revoke", key=fingerprint).exit_code == 0
    assert "was revoked" in pipeline.push(using(ws, fingerprint)).text


def test_the_doctor_has_nothing_to_say_of_keys_that_are_right(ws: pipeline.Workspace) -> None:
    assert list(check_signing(ws)) == []
    fingerprint = make_key(ws)
    assert [check.verdict for check in (*check_signing(ws), *check_signing(using(ws, fingerprint)))] == [Verdict.OK] * 2


def test_keys_are_published_beside_the_images(open_repository: Opener, ws: pipeline.Workspace) -> None:
    make_key(ws)
    keys: tuple[PublicKey, ...] = public_keys(ws)
    assert remembering.known_keys(open_repository()) == ()
    assert remembering.remember_keys(open_repository(), keys)
    assert remembering.known_keys(open_repository()) == keys
    assert not remembering.remember_keys(open_repository(), keys)
    assert not [tag for tag in open_repository().tags() if tag.endswith(".spack")]


def test_spack_never_sees_the_key(tmp_path: Path) -> None:
    program = tmp_path / "bin/spack"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nenv\n")
    program.chmod(0o755)
    folders = Folders(config=tmp_path, store=tmp_path, stage=tmp_path, cache=tmp_path, padding=0)
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", SECRET: "s3cret", "CACHE_SIGNING_PASSPHRASE": "s3cret", "GNUPGHOME": "/s3cret"}
    said = Spack(tmp_path, folders, python="/usr/bin/python3", env=env).run("env").text
    assert "LANG=C.UTF-8" in said
    assert "s3cret" not in said
