"""`inv setup` with a program in the place of Spack: what is fetched, written and told. With real Spack: tests/e2e/test_actions.py."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.errors import InstallError, UsageError
from cachelib.tools import git
from tests.conftest import need
from tests.support.actions.commands import read_pairs

ENV = {**os.environ, **{f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}}
SPACK = """#!/bin/sh
case "$*" in
  *--version*) echo "VERSION (0123456)" ;;
  *"compiler find"*) echo "packages: {gcc: {buildable: false}}" >> "$SPACK_USER_CONFIG_PATH/packages.yaml" ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings whose Spack is a repository of the test: 1.1.0 is pinned, v0.23.1 and v1.2.0 are tags."""
    need("git")
    folder, commits = tmp_path / "upstream", {}
    (folder / "bin").mkdir(parents=True)
    for version in ("0.23.1", "1.1.0", "1.2.0"):
        (folder / "bin/spack").write_text(SPACK.replace("VERSION", version))
        (folder / "bin/spack").chmod(0o755)
        for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", version], ["tag", f"v{version}"]):
            subprocess.run(["git", *command], cwd=folder, env=ENV, check=True)
        commits[version] = git.head(folder, ENV)
    pin = {"version": "v1.1.0", "commit": commits["1.1.0"], "url": folder.as_uri()}
    path = tmp_path / "cache.yaml"
    path.write_text(yaml.safe_dump({"stacks": {"one": {"spack": pin, "packages": pin, "specs": ["zlib"]}}}))
    return path


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home to be left alone, on no runner of GitHub's."""
    for name in ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_ACTIONS", "CACHE_SHARED", "SPACK_ROOT", "WORKFLOW_INPUTS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def recipes(folder: Path) -> tuple[str, str]:
    """A package repository in git; gives its address and its commit."""
    (folder / "spack_repo/acme").mkdir(parents=True)
    (folder / "spack_repo/acme/repo.yaml").write_text("repo: {namespace: acme, api: v2.0}")
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "x"], ["tag", "-am", "x", "v1"]):
        subprocess.run(["git", *command], cwd=folder, env=ENV, check=True)
    return folder.as_uri(), git.head(folder, ENV)


@pytest.mark.parametrize("by", ["flag", "input"])
def test_package_repositories_are_registered_before_spacks_own(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    url, head = recipes(tmp_path / "recipes")
    (tmp_path / "work/mine").mkdir(parents=True)
    (tmp_path / "work/mine/repo.yaml").write_text("repo: {namespace: mine}")
    monkeypatch.chdir(tmp_path / "work")
    folder, listed = tmp_path / "here", [f"{url}#v1:spack_repo/acme", "mine"]
    if by == "flag":
        report = pipeline.setup(["file:///srv/mirror"], path=str(folder), config=str(config), repos=listed)
    else:
        asked = {"cache": "file:///srv/mirror", "path": str(folder), "repos": ", ".join(listed)}
        monkeypatch.setenv("WORKFLOW_INPUTS", json.dumps(asked))
        report = pipeline.setup(config=str(config), inputs=True)
    found = settings(folder, "repos")
    assert isinstance(found, dict)
    assert list(found) == ["acme", "mine", "builtin"]
    assert (found["acme"], found["mine"]) == (f"{folder}/repos/{head[:12]}/spack_repo/acme", f"{tmp_path}/work/mine")
    assert f"package repositories {url}#{head}:spack_repo/acme, mine" in report.lines[0]
    with pytest.raises(UsageError, match="lies outside"):
        pipeline.setup(["file:///srv/mirror"], path=str(tmp_path / "there"), config=str(config), repos=["../upstream"])
    assert not (tmp_path / "there").exists()


def settings(folder: Path, name: str) -> object:
    return yaml.safe_load((folder / "config" / f"{name}.yaml").read_text())[name]


def test_a_laptop_is_told_what_to_type(config: Path, outside: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    report = pipeline.setup(["oci://ghcr.io/Owner/Repo/v1.1", "file:///srv/mirror"], path=str(folder), config=str(config))
    (root,) = (folder / "spack").iterdir()
    assert report.lines[0].startswith(f"setup: Spack 1.1.0 in {root}, packages v1.1.0, mirrors oci://ghcr.io/owner/repo/v1.1, file:///srv")
    assert report.lines[-1] == f"  . {root}/share/spack/setup-env.sh"
    assert {line.split("=")[0] for line in report.lines[2:-1]} == {
        "  export SPACK_ROOT", "  export SPACK_USER_CONFIG_PATH", "  export SPACK_USER_CACHE_PATH", "  export SPACK_PYTHON",
    }  # fmt: skip
    assert settings(folder, "mirrors") == {
        "cache": {"url": "oci://ghcr.io/owner/repo/v1.1", "signed": False},
        "cache-2": {"url": "file:///srv/mirror", "signed": False},
    }
    (recipes,) = (folder / "packages").iterdir()
    assert settings(folder, "repos") == {"builtin": f"{recipes}/repos/spack_repo/builtin"}
    kept = settings(folder, "config")
    assert isinstance(kept, dict)
    places = [
        kept["install_tree"]["root"],
        *kept["build_stage"],
        *(kept[key] for key in ("source_cache", "misc_cache", "environments_root")),
    ]
    assert [place for place in places if not place.startswith(f"{folder}/")] == []
    assert list(outside.iterdir()) == [], "something was written outside of the folder"


def test_the_second_time_only_the_mirrors_change(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    pipeline.setup(["file:///a"], path=str(folder), config=str(config))
    pipeline.setup(["file:///b"], path=str(folder), config=str(config))
    assert settings(folder, "mirrors") == {"cache": {"url": "file:///b", "signed": False}}
    assert len((folder / "config/packages.yaml").read_text().splitlines()) == 1, "compilers were looked for again"
    assert len(list((folder / "spack").iterdir())) == 1


def test_a_job_has_it_in_the_steps_that_follow(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "RUNNER_TEMP": str(tmp_path),
        "WORKFLOW_INPUTS": '{"cache": "file:///a\\n", "path": ""}',
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("GITHUB_ENV", "GITHUB_PATH"):
        monkeypatch.setenv(name, str(tmp_path / name))
    pipeline.setup(["file:///not/asked"], config=str(config), inputs=True)
    (root,) = (tmp_path / "spack/spack").iterdir()
    assert (tmp_path / "GITHUB_PATH").read_text() == f"{root}/bin\n"
    found = read_pairs(tmp_path / "GITHUB_ENV")
    assert found.pop("SPACK_PYTHON")
    assert found == {
        "SPACK_ROOT": str(root), "SPACK_USER_CONFIG_PATH": f"{tmp_path}/spack/config", "SPACK_USER_CACHE_PATH": f"{tmp_path}/spack/cache",
    }  # fmt: skip
    assert settings(tmp_path / "spack", "mirrors") == {"cache": {"url": "file:///a", "signed": False}}


def test_another_version(config: Path, tmp_path: Path) -> None:
    report = pipeline.setup(["file:///a"], "v1.2.0", "v0.23.1", path=str(tmp_path / "here"), config=str(config))
    assert "setup: Spack 1.2.0 in" in report.text
    assert "packages v0.23.1" in report.text
    with pytest.raises(InstallError, match=r"Spack 0\.23\.1 can't be set up"):
        pipeline.setup(["file:///a"], "v0.23.1", path=str(tmp_path / "old"), config=str(config))
    with pytest.raises(InstallError, match="no tag and no branch 'v9'"):
        pipeline.setup(["file:///a"], "v9", path=str(tmp_path / "new"), config=str(config))


def test_nothing_is_fetched_for_what_can_not_be_meant(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    for caches, version, path in (
        ([], "", folder),
        (["ghcr.io/a"], "", folder),
        (["file:///a"], "--x", folder),
        (["file:///a"], "", tmp_path / "a b"),
    ):
        with pytest.raises(UsageError):
            pipeline.setup(caches, version, path=str(path), config=str(config))
    assert not folder.exists()
