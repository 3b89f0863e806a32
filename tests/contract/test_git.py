"""Pinned checkouts, with real git and repositories of the test."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cachelib.model.errors import InstallError
from cachelib.tools import git
from tests.conftest import need

ENV = {**os.environ, "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t"}


@pytest.fixture
def upstream(tmp_path: Path) -> tuple[str, list[str]]:
    """A repository of three commits, the second tagged."""
    need("git")
    folder, commits = tmp_path / "upstream", []
    for at in range(3):
        folder.mkdir(exist_ok=True)
        (folder / "file").write_text(str(at))
        for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", str(at)]):
            subprocess.run(["git", *command], cwd=folder, env=ENV, check=True)
        commits.append(git.head(folder, ENV))
    subprocess.run(["git", "tag", "v1", commits[1]], cwd=folder, env=ENV, check=True)
    return folder.as_uri(), commits


def test_exactly_the_commit(upstream: tuple[str, list[str]], tmp_path: Path) -> None:
    url, commits = upstream
    assert git.checkout(url, "v1", commits[1], tmp_path / "out", ENV)
    assert (tmp_path / "out/file").read_text() == "1"
    assert git.head(tmp_path / "out", ENV) == commits[1]
    assert not git.checkout(url, "v1", commits[1], tmp_path / "out", ENV), "it was fetched again"
    assert git.checkout(url, "main", commits[2], tmp_path / "out", ENV), "another pin was not followed"
    assert (tmp_path / "out/file").read_text() == "2"


def test_a_half_done_checkout_is_taken_up(upstream: tuple[str, list[str]], tmp_path: Path) -> None:
    url, commits = upstream
    (tmp_path / "out.partial").mkdir()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "out.partial", check=True)
    (tmp_path / "out.partial/file").write_text("half")
    git.checkout(url, "v1", commits[1], tmp_path / "out", ENV)
    assert (tmp_path / "out/file").read_text() == "1"
    assert not (tmp_path / "out.partial").exists()


def test_several_that_want_the_same_at_once(upstream: tuple[str, list[str]], tmp_path: Path) -> None:
    url, commits = upstream
    for at in range(5):  # a race is not lost each time
        with ThreadPoolExecutor(4) as pool:
            tries = [pool.submit(git.checkout, url, "v1", commits[1], tmp_path / f"shared/{at}", ENV) for _ in range(4)]
        assert sorted(one.result() for one in tries) == [False, False, False, True]


def test_a_tag_that_moved_is_told(upstream: tuple[str, list[str]], tmp_path: Path) -> None:
    url, _ = upstream
    with pytest.raises(InstallError, match="v1 is commit") as caught:
        git.checkout(url, "v1", "a" * 40, tmp_path / "out", ENV)
    assert "cache.yaml" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_no_way_there(tmp_path: Path) -> None:
    need("git")
    with pytest.raises(InstallError, match="could not be fetched") as caught:
        git.checkout((tmp_path / "nowhere").as_uri(), "v1", "a" * 40, tmp_path / "out", ENV)
    assert "--spack" in caught.value.hint


def test_a_lock_that_a_kill_left_is_no_obstacle(upstream: tuple[str, list[str]], tmp_path: Path) -> None:
    url, commits = upstream
    subprocess.run(["git", "init", "-q", str(tmp_path / "out.partial")], check=True)
    (tmp_path / "out.partial/.git/index.lock").touch()
    (tmp_path / "out.partial/.git/shallow.lock").touch()
    assert git.checkout(url, "v1", commits[1], tmp_path / "out", ENV)


def test_a_hooks_variables_do_not_lead_astray(upstream: tuple[str, list[str]], tmp_path: Path) -> None:
    url, commits = upstream
    subprocess.run(["git", "init", "-q", str(tmp_path / "mine")], check=True)
    git.checkout(
        url, "v1", commits[1], tmp_path / "out", {**ENV, "GIT_DIR": str(tmp_path / "mine/.git"), "GIT_WORK_TREE": str(tmp_path / "mine")}
    )
    assert git.head(tmp_path / "mine", ENV) in ("", "HEAD")
    assert (tmp_path / "out/file").read_text() == "1"


def test_a_tag_or_a_branch_is_a_commit(upstream: tuple[str, list[str]], tmp_path: Path) -> None:
    url, commits = upstream
    folder = tmp_path / "upstream"
    subprocess.run(["git", "tag", "-a", "-m", "told", "v0", commits[0]], cwd=folder, env=ENV, check=True)
    subprocess.run(["git", "branch", "v1", commits[2]], cwd=folder, env=ENV, check=True)
    assert git.resolve(url, "v1", ENV) == commits[1], "a branch came before the tag"
    assert git.resolve(url, "v0", ENV) == commits[0], "the tag's own object is no commit"
    assert git.resolve(url, "main", ENV) == commits[2]
    with pytest.raises(InstallError, match="has no tag and no branch 'v2'"):
        git.resolve(url, "v2", ENV)
    with pytest.raises(InstallError, match="could not be fetched"):
        git.resolve((tmp_path / "none").as_uri(), "v1", ENV)


def test_what_ssh_says_is_told(tmp_path: Path) -> None:
    need("git")
    (tmp_path / "ssh").write_text("#!/bin/sh\necho 'git@host: Permission denied (publickey).' >&2\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    with pytest.raises(InstallError, match=r"Permission denied \(publickey\)"):
        git.resolve("git@host:org/recipes.git", "", {**ENV, "GIT_SSH_COMMAND": str(tmp_path / "ssh")})
