"""What a pulled mirror takes of upstreams: all that its builds need, as it lies there, and nothing that is wrong or not signed as asked for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cachelib import pipeline
from cachelib.model.entry import signed_text
from cachelib.steps.reports import Report
from cachelib.tools.gpg import Gpg
from cachelib.tools.mirror import DiskMirror
from tests.conftest import need
from tests.contract.test_pulling import entry_files
from tests.contract.test_upstreams import said, serving, workspace
from tests.support.double import serving_double
from tests.support.mirrors import add_entry, make_node

LOW, MIDDLE = make_node("low"), make_node("middle")
TOP = make_node("top", dependencies=[MIDDLE, LOW])


def below(folder: Path, *nodes: dict[str, Any]) -> Path:
    """A mirror that is an upstream."""
    for node in nodes:
        add_entry(folder, [node])
    DiskMirror(folder).write_index()
    return folder


def own(folder: Path, *upstreams: str, **more: Any) -> pipeline.Workspace:
    """A cache that publishes what needs the two that lie upstream."""
    ws = workspace(folder, *upstreams, **more)
    add_entry(ws.mirror("v1.1").root, [TOP, MIDDLE, LOW])
    pipeline.push(ws)
    pipeline.index(ws)
    said(ws)
    return ws


def outcomes(report: Report) -> dict[str, tuple[str, str]]:
    """By package, what became of it and where it came from (empty: the own registry)."""
    return {
        item["label"].partition("@")[0]: (item["outcome"], item.get("upstream", ""))
        for data in report.data
        if data["step"] in ("pull", "pull upstream", "pull plan", "pull upstream plan")
        for item in data["items"]
    }


def test_whole_from_a_registry_a_server_and_a_directory(tmp_path: Path) -> None:
    third = make_node("third")
    top = make_node("many", dependencies=[MIDDLE, LOW, third])
    with serving_double() as double, serving(below(tmp_path / "web", MIDDLE, make_node("other"))) as web:
        registry = f"oci+http://{double.host}/up"
        lower = workspace(tmp_path / "below")
        add_entry(lower.mirror("v1.1").root, [LOW])
        pipeline.push(lower, registry)
        pipeline.index(lower, registry)
        urls = [f"{registry}/v1.1", web, f"file://{below(tmp_path / 'disk', third)}"]
        ws = workspace(tmp_path / "own", *urls)
        add_entry(ws.mirror("v1.1").root, [top, MIDDLE, LOW, third])
        pipeline.push(ws)
        pipeline.index(ws)
        planned = pipeline.pull(ws, out=str(tmp_path / "out"), dry_run=True)
        assert outcomes(planned) == {
            "many": ("fetch", ""), "low": ("fetch", urls[0]), "middle": ("fetch", urls[1]), "third": ("fetch", urls[2]),
        }  # fmt: skip
        assert "bytes, and of those whose size isn't told) from upstreams; nothing was fetched" in planned.text
        assert not (tmp_path / "out").exists()
        for specs in ([], ["many"]):
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            done = pipeline.pull(ws, specs, out=str(tmp_path / "out"))
            assert (done.exit_code, "WARNING" in done.text) == (0, False), done.text
            assert outcomes(done) == {
                "many": ("pulled", ""), "low": ("pulled", urls[0]), "middle": ("pulled", urls[1]), "third": ("pulled", urls[2]),
            }  # fmt: skip
            # What is there is what was published there, byte for byte, and the index names all of it.
            published = [lower.mirror("v1.1").root, tmp_path / "web", tmp_path / "disk", ws.mirror("v1.1").root]
            known: dict[str, bytes] = {}
            for root in published:
                known |= entry_files(root)
            pulled = entry_files(tmp_path / "out/v1.1")
            assert len(pulled) == 3 * 4
            assert pulled == {path: known[path] for path in pulled}
            assert DiskMirror(tmp_path / "out/v1.1").is_indexed()
    # With every upstream gone, nothing of them is asked for again.
    again = pipeline.pull(ws, out=str(tmp_path / "out"))
    assert (again.exit_code, {outcome for outcome, _ in outcomes(again).values()}) == (0, {"here"})


def test_what_leaves_upstreams_out(tmp_path: Path) -> None:
    ws = own(tmp_path / "own", f"file://{below(tmp_path / 'up', LOW, MIDDLE)}")
    asked = pipeline.pull(ws, ["top"], out=str(tmp_path / "a"), upstreams=False)
    assert set(outcomes(asked)) == {"top"}
    assert asked.text.count("which is not published") == 2
    assert set(outcomes(pipeline.pull(ws, out=str(tmp_path / "b"), closure=False))) == {"top"}
    # The local mirror is what is built here: nothing of others is to be signed or pushed from it.
    shutil.rmtree(ws.mirror("v1.1").root)
    assert set(outcomes(pipeline.pull(ws))) == {"top"}
    assert {name.name for name in ws.mirror("v1.1").names()} == {"top"}
    assert said(ws)
    # What no upstream has is told all the same.
    lacking = own(tmp_path / "lacking", f"file://{below(tmp_path / 'half', LOW)}")
    told = pipeline.pull(lacking, out=str(tmp_path / "c"))
    assert f"top@1.0/{TOP['hash'][:7]} needs middle@1.0/{MIDDLE['hash'][:7]}, which is not published" in told.text
    assert outcomes(told)["low"][0] == "pulled"


def _other_spec(mirror: Path) -> None:
    """Under the name of one spec lies another."""
    stranger = add_entry(mirror, [make_node("stranger")])
    (path,) = (mirror / "v3/manifests/spec/low").iterdir()
    path.write_bytes(stranger.read_bytes())


def _tarball(mirror: Path) -> None:
    (entry,) = (entry for entry in DiskMirror(mirror).entries() if entry.spec.root.name == "low")
    path = DiskMirror(mirror).blob_path(entry.tarball.digest)
    path.write_bytes(bytes(entry.tarball.size))


def _longer(mirror: Path) -> None:
    (entry,) = (entry for entry in DiskMirror(mirror).entries() if entry.spec.root.name == "low")
    with DiskMirror(mirror).blob_path(entry.spec_file.digest).open("ab") as file:
        file.write(b"\0")


def _no_entry(mirror: Path) -> None:
    (path,) = (mirror / "v3/manifests/spec/low").iterdir()
    path.write_bytes(b"[" * 100_000)


WRONG = {
    "another spec": (_other_spec, "not what its name says"),
    "other bytes": (_tarball, "other content"),
    "a longer spec file": (_longer, "other content"),
    "no entry": (_no_entry, "JSON"),
    "nothing": (lambda mirror: shutil.rmtree(mirror / "v3/manifests/spec/low"), "can't be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_upstream_gets_no_entry(case: str, tmp_path: Path) -> None:
    """It fails, with its reason, and the rest comes; another upstream that has it is asked next."""
    change, reason = WRONG[case]
    up, second = below(tmp_path / "up", LOW, MIDDLE), f"file://{below(tmp_path / 'second', LOW)}"
    change(up)
    ws = own(tmp_path / "own", f"file://{up}")
    done = pipeline.pull(ws, out=str(tmp_path / "out"))
    assert done.exit_code == 6
    assert outcomes(done) == {"top": ("pulled", ""), "low": ("notpulled", f"file://{up}"), "middle": ("pulled", f"file://{up}")}
    (line,) = (line for line in done.lines if "FAILED" in line)
    assert line.startswith(f"  FAILED   top@1.0/{TOP['hash'][:7]} needs low@1.0/{LOW['hash'][:7]}: file://{up}: ")
    assert reason in line
    assert {name.name for name in DiskMirror(tmp_path / "out/v1.1").names()} == {"top", "middle"}
    assert DiskMirror(tmp_path / "out/v1.1").is_indexed()
    ws = own(tmp_path / "two", f"file://{up}", second)
    done = pipeline.pull(ws, out=str(tmp_path / "out"))
    assert (done.exit_code, outcomes(done)["low"]) == (0, ("pulled", second))


# Signatures.


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, bytes, bytes]]:
    """Three keys, made once: public and private half, and what revokes them."""
    need("gpg")
    found = {}
    for name in ("own", "upstream", "stranger"):
        with Gpg(dict(os.environ)) as gpg:
            made = gpg.create(name, 1)
            found[name] = gpg.public_keys()[0].data, gpg.private_key(made.fingerprint), gpg.revocation(made.fingerprint)
    return found


def sign(mirror: Path, private: bytes, *names: str) -> None:
    with Gpg(dict(os.environ)) as gpg:
        gpg.import_keys(private)
        [key] = gpg.keys(secret=True)
        for name in DiskMirror(mirror).names():
            if name.name in names:
                raw = (mirror / name.path).read_bytes()
                (mirror / name.path).write_bytes(gpg.sign(signed_text(raw), key.fingerprint))


@pytest.fixture
def signed(tmp_path: Path, keys: dict[str, tuple[bytes, bytes, bytes]]) -> pipeline.Workspace:
    """A signed cache; of what it needs one is signed by its upstream, one by a stranger."""
    up = below(tmp_path / "up", LOW, MIDDLE)
    sign(up, keys["upstream"][1], "low")
    sign(up, keys["stranger"][1], "middle")
    ws = workspace(tmp_path / "own", f"file://{up}")
    (ws.folder / "keys/upstreams").mkdir(parents=True)
    (ws.folder / "keys/own.pub").write_bytes(keys["own"][0])
    add_entry(ws.mirror("v1.1").root, [TOP, MIDDLE, LOW])
    sign(ws.mirror("v1.1").root, keys["own"][1], "top")
    pipeline.push(ws)
    pipeline.index(ws)
    return ws


def told_keys(mirror: Path) -> int:
    return len(list((mirror / "v3/manifests/key").glob("*.key.manifest.json")))


def test_signed_takes_of_upstreams_what_a_trusted_key_signed(
    signed: pipeline.Workspace, keys: dict[str, tuple[bytes, bytes, bytes]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    # Without --signed, what strangers signed is taken as what nobody signed: as Spack's own cache is.
    loose = pipeline.pull(signed, out=str(tmp_path / "loose"))
    assert (loose.exit_code, {outcome for outcome, _ in outcomes(loose).values()}) == (0, {"pulled"}), loose.text
    assert "2 by keys that aren't known here, 0 refused, in upstreams" in loose.text

    strict = pipeline.pull(signed, out=str(out), signed=True)
    assert strict.exit_code == 6
    assert {name: outcome for name, (outcome, _) in outcomes(strict).items()} == {
        "top": "pulled", "low": "notpulled", "middle": "notpulled"
    }  # fmt: skip
    assert "keys/upstreams/NAME.pub" in strict.text
    assert {name.name for name in DiskMirror(out / "v1.1").names()} == {"top"}

    trusted = signed.folder / "keys/upstreams/base.pub"
    trusted.write_bytes(keys["upstream"][0])
    one = pipeline.pull(signed, out=str(out), signed=True)
    assert {name: outcome for name, (outcome, _) in outcomes(one).items()} == {"top": "here", "low": "pulled", "middle": "notpulled"}
    # Spack finds the keys of both in what was pulled.
    assert told_keys(out / "v1.1") == 2
    (signed.folder / "keys/upstreams/other.pub").write_bytes(keys["stranger"][0])
    both = pipeline.pull(signed, out=str(out), signed=True)
    assert (both.exit_code, outcomes(both)["middle"][0], told_keys(out / "v1.1")) == (0, "pulled", 3), both.text
    assert pipeline.keys(signed, "verify", out=str(out), required=True).exit_code == 0

    # A key for upstreams is none of the cache's own: what it signed of it is refused.
    sign(signed.mirror("v1.1").root, keys["upstream"][1], "top")
    assert "WRONG" in pipeline.keys(signed, "verify").text
    pipeline.push(signed, force=True)
    pipeline.index(signed)
    assert outcomes(pipeline.pull(signed, out=str(tmp_path / "again"), signed=True))["top"][0] == "notpulled"

    # What a revoked key signed is refused whether or not signatures are asked for, and what lies there of it doesn't stay counted.
    with Gpg(dict(os.environ)) as gpg:
        gpg.import_keys(keys["upstream"][0])
        gpg.import_keys(keys["upstream"][2])
        trusted.write_bytes(gpg.public_keys()[0].data)
    revoked = pipeline.pull(signed, out=str(out))
    assert (revoked.exit_code, outcomes(revoked)["low"][0]) == (6, "notpulled")
    assert "which was revoked" in revoked.text


def test_signed_refuses_what_an_upstream_did_not_sign(keys: dict[str, tuple[bytes, bytes, bytes]], tmp_path: Path) -> None:
    """Images that Spack pushed hold no signature, nor does an unsigned mirror."""
    ws = own(tmp_path / "own", f"file://{below(tmp_path / 'up', LOW, MIDDLE)}")
    (ws.folder / "keys").mkdir()
    (ws.folder / "keys/own.pub").write_bytes(keys["own"][0])
    done = pipeline.pull(ws, out=str(tmp_path / "out"), signed=True)
    assert done.exit_code == 6
    assert done.text.count("refused: it is not signed") == 3
    assert not DiskMirror(tmp_path / "out/v1.1").names()
    # What an upstream signed comes, though nothing of this cache does, and the index names it.
    sign(tmp_path / "up", keys["own"][1], "low")
    done = pipeline.pull(ws, out=str(tmp_path / "out"), signed=True)
    assert (done.exit_code, outcomes(done)["low"][0]) == (6, "pulled")
    assert DiskMirror(tmp_path / "out/v1.1").is_indexed()
    assert pipeline.pull(ws, out=str(tmp_path / "out")).exit_code == 0
