"""What a Spack may be set up with: what is no mirror, no version and no folder is refused before anything is fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.model import setup
from cachelib.model.errors import CacheError, UsageError
from cachelib.model.inputs import RunInputs, SetupInputs, parse_inputs, parse_setup
from cachelib.steps.reports import error_text

PROJECT = Path(__file__).resolve().parents[2]


def test_mirrors_are_named_in_their_order() -> None:
    urls = ["oci://ghcr.io/Owner/Repo/v1.1", "https://owner.github.io/repo/v1.1", "file:///srv/mirror", "oci+http://127.0.0.1:5000/a"]
    assert setup.mirrors(urls) == {
        "cache": "oci://ghcr.io/owner/repo/v1.1", "cache-2": urls[1], "cache-3": urls[2], "cache-4": urls[3],
    }  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "ghcr.io/owner/repo", "oci-layout:var/registry", "oci://ghcr.io", "oci://me:secret@ghcr.io/a", "https://", "file:///", "file://",
        "https://me:secret@host/a", "https://host/$(touch x)", "file:///$HOME/a", "https://host/a b", "https://host/a\nb", "/srv/mirror",
        "javascript://host/a", "", "$spack/mirror",
    ],
)  # fmt: skip
def test_what_is_no_mirror(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        setup.mirrors(["file:///srv/mirror", url])
    assert caught.value.hint
    assert "secret" not in caught.value.message + caught.value.hint


def test_there_must_be_one() -> None:
    with pytest.raises(UsageError, match="no cache is named"):
        setup.mirrors([])


@pytest.mark.parametrize("version", ["v1.1.0", "develop", "releases/v1.1", "2e907202bcc8209a6a62243aab50c179b524cc3b"])
def test_versions(version: str) -> None:
    assert setup.check_version(version, "Spack") == version
    assert setup.is_commit(version) == (len(version) == 40)


@pytest.mark.parametrize("version", ["--upload-pack=touch", "v1 v2", "v1\n", "$(x)", "v1^{}", "*", "", "a" * 201])
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(UsageError, match="the version of Spack is"):
        setup.check_version(version, "Spack")


@pytest.mark.parametrize("folder", ["/opt/spack", "/home/jürgen/s-1.1_x+y@z", "/"])
def test_folders(folder: str) -> None:
    assert setup.check_folder(Path(folder)) == Path(folder)


@pytest.mark.parametrize("folder", ["/a b", "/a:b", "/$HOME", "/a\n", "/a;b", "/a'b", "relative", "/~x", "/a\\b"])
def test_what_is_no_folder_for_a_spack(folder: str) -> None:
    with pytest.raises(UsageError, match="can't be set up"):
        setup.check_folder(Path(folder))


def test_the_inputs_of_the_actions() -> None:
    given = {"cache": " oci://a/b \n\nfile:///c\n", "spack-version": " v1.0.2 ", "packages-version": "", "path": ""}
    assert parse_setup(json.dumps(given)) == SetupInputs(caches=("oci://a/b", "file:///c"), spack_version="v1.0.2")
    assert parse_setup("null") == SetupInputs()
    assert parse_inputs(json.dumps({"spec": "zlib\n hdf5 +mpi\n", "stack": "a", "config": "x"})) == RunInputs(
        specs=("zlib", "hdf5 +mpi"), stack="a"
    )
    for text in ("[]", "{", '"x"', '{"cache": []}', '{"path": true}'):
        with pytest.raises(UsageError):
            parse_setup(text)


def test_the_environment_names_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CACHE_REGISTRY", "oci-layout:elsewhere")
    ws = pipeline.open_workspace(str(PROJECT / "cache.yaml"))
    assert str(ws.location("")) == f"oci-layout:{PROJECT}/elsewhere"
    assert str(ws.location("oci-layout:told")) == f"oci-layout:{tmp_path}/told"
    monkeypatch.setenv("CACHE_REGISTRY", "")
    assert ws.settings == pipeline.open_workspace(str(PROJECT / "cache.yaml")).settings
    assert "elsewhere" not in str(pipeline.open_workspace(str(PROJECT / "cache.yaml")).location(""))


def test_an_error_commands_no_runner() -> None:
    told = error_text(CacheError("/a\n::set-env name=X::y is not there", hint="##[add-path]/x"))
    assert told == "error: /a\n?:set-env name=X::y is not there\n  hint: ?#[add-path]/x"
