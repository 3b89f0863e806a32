"""Package repositories out of git: real repositories of the test, pinned, fetched and refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.model.errors import ConfigError, InstallError, UsageError
from cachelib.pipeline import locks, repositories
from cachelib.tools import git
from tests.conftest import need

ENV = {**os.environ, **{f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}}
PIN = "{version: v1.1.0, commit: 2e907202bcc8209a6a62243aab50c179b524cc3b}"


def commit(folder: Path, files: Mapping[str, str], *more: str) -> str:
    """A commit of these files in a repository; gives its name."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for command in (["init", "-q", "-b", "main"], ["add", "--all"], ["commit", "-qm", "x"], *(line.split() for line in more)):
        subprocess.run(["git", *command], cwd=folder, env=ENV, check=True)
    return git.head(folder, ENV)


def recipes(*namespaces: str) -> dict[str, str]:
    return {f"spack_repo/{name}/repo.yaml": f"repo: {{namespace: {name}, api: v2.0}}\n" for name in namespaces}


@pytest.fixture
def ws(tmp_path: Path) -> pipeline.Workspace:
    need("git")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/cache.yaml").write_text(f"registry: oci-layout:r\nstacks:\n  s: {{spack: {PIN}, packages: {PIN}, specs: [zlib]}}\n")
    return pipeline.open_workspace(str(tmp_path / "here/cache.yaml"))


def test_a_folder_of_a_commit(ws: pipeline.Workspace, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    old = commit(origin, recipes("a", "b"))
    commit(origin, {"spack_repo/a/packages/new/package.py": ""})
    repo = f"{origin.as_uri()}#{old}:spack_repo/a"
    root = ws.shared / "repos" / old[:12]
    assert repositories.namespaces(ws, [repo]) == {"a": str(root / "spack_repo/a")}
    assert not (root / "spack_repo/a/packages").exists(), "it is not that commit"
    assert git._git(ENV, root, "rev-list", "--count", "HEAD").text == "1"
    # It is here now, wherever the origin is.
    origin.rename(tmp_path / "gone")
    assert repositories.namespaces(ws, [repo, repo.replace("/a", "/b")]) == {
        "a": str(root / "spack_repo/a"), "b": str(root / "spack_repo/b"),
    }  # fmt: skip


def test_without_a_folder_it_is_the_root_or_what_the_index_names(ws: pipeline.Workspace, tmp_path: Path) -> None:
    plain = commit(tmp_path / "plain", {"repo.yaml": "repo: {namespace: plain}", "spack-repo-index.yaml": "repo_index: {paths: [nowhere]}"})
    index = {"spack-repo-index.yaml": "repo_index: {paths: [spack_repo/b, spack_repo/a]}"}
    several = commit(tmp_path / "several", recipes("a", "b", "c") | index)
    found = repositories.namespaces(ws, [f"{(tmp_path / 'several').as_uri()}#{several}", f"{(tmp_path / 'plain').as_uri()}#{plain}"])
    assert [(name, Path(path).relative_to(ws.shared / "repos").as_posix()) for name, path in found.items()] == [
        ("b", f"{several[:12]}/spack_repo/b"), ("a", f"{several[:12]}/spack_repo/a"), ("plain", plain[:12]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "folder", "said", "hint"),
    [
        (recipes("a", "b"), "", "holds neither repo.yaml nor spack-repo-index.yaml at its root", "spack_repo/a, spack_repo/b"),
        ({"x": ""}, "", "holds neither", "no folder in it holds a repo.yaml"),
        (recipes(*(f"n{at:02}" for at in range(12))), "", "holds neither", "spack_repo/n09 and 2 more"),
        (recipes("a"), "spack_repo/x", ":spack_repo/x holds no repo.yaml", "spack_repo/a"),
        (recipes("a") | {"spack-repo-index.yaml": "repo_index: {paths: [spack_repo/x]}"}, "", "names spack_repo/x, which holds no", "spack_repo/a"),
        (recipes("a") | {"spack-repo-index.yaml": "repo_index: {paths: [../../up]}"}, "", "leads out of its checkout", "inside"),
        (recipes("a") | {"spack-repo-index.yaml": "repo_index: {paths: [/etc]}"}, "", "leads out of its checkout", "inside"),
        (recipes("a") | {"spack-repo-index.yaml": "repo_index: {paths: []}"}, "", "names no folders", "paths"),
        (recipes("a") | {"spack-repo-index.yaml": "repo_index: {paths: [5]}"}, "", "names no folders", "paths"),
        (recipes("a") | {"spack-repo-index.yaml": "- x\n"}, "", "can't be read", "paths"),
        (recipes("a") | {"spack-repo-index.yaml": "{"}, "", "can't be read", "paths"),
    ],
)  # fmt: skip
def test_a_folder_that_is_none(ws: pipeline.Workspace, tmp_path: Path, files: Mapping[str, str], folder: str, said: str, hint: str) -> None:
    made = commit(tmp_path / "origin", files)
    with pytest.raises(InstallError) as caught:
        repositories.namespaces(ws, [f"{(tmp_path / 'origin').as_uri()}#{made}" + (f":{folder}" if folder else "")])
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("what", ["folder", "index"])
def test_a_link_does_not_lead_out(ws: pipeline.Workspace, tmp_path: Path, what: str) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/repo.yaml").write_text("repo: {namespace: secret}")
    (tmp_path / "secret/index").write_text("repo_index: {paths: [spack_repo/a]}")
    (tmp_path / "origin").mkdir()
    link = tmp_path / "origin" / ("mine" if what == "folder" else repositories.INDEX)
    link.symlink_to(tmp_path / "secret" / ("" if what == "folder" else "index"))
    made = commit(tmp_path / "origin", recipes("a"))
    with pytest.raises(InstallError, match="leads out of its checkout"):
        repositories.namespaces(ws, [f"{(tmp_path / 'origin').as_uri()}#{made}" + (":mine" if what == "folder" else "")])


def test_a_namespace_has_one_home(ws: pipeline.Workspace, tmp_path: Path) -> None:
    one, two = (commit(tmp_path / name, recipes("a") | {"who": name}) for name in ("one", "two"))
    first, second = f"{(tmp_path / 'one').as_uri()}#{one}:spack_repo/a", f"{(tmp_path / 'two').as_uri()}#{two}:spack_repo/a"
    with pytest.raises(ConfigError) as caught:
        repositories.namespaces(ws, [first, second])
    assert first in caught.value.message
    assert second in caught.value.message
    assert "both state the namespace a" in caught.value.message
    builtin = commit(tmp_path / "three", recipes("builtin"))
    with pytest.raises(ConfigError, match="and Spack both state the namespace builtin"):
        repositories.namespaces(ws, [f"{(tmp_path / 'three').as_uri()}#{builtin}:spack_repo/builtin"])


@pytest.mark.parametrize(
    ("folder", "text", "said"),
    [
        ("spack_repo/a", "repo: {namespace: a, api: v2.0}", "a"), ("spack_repo/a/b", "repo: {api: v2.2}", "a.b"),
        ("mine", "repo: {namespace: a}", "a"), ("mine", "repo: {namespace: a, api: v1.0}", "a"),
        ("mine", "repo: {namespace: mine, api: v2.0}", "Spack passes over it"), ("spack_repo/a", "repo: {namespace: b, api: v2.0}", "Spack passes over it"),
        ("mine", "repo: {api: v1.0}", "states no namespace"), ("mine", "repo: {namespace: 5}", "states no namespace"),
        ("mine", "repo: x", "can't be read"), ("mine", "[", "can't be read"), ("mine", "", "can't be read"),
    ],
)  # fmt: skip
def test_the_namespace_is_the_one_that_spack_takes(ws: pipeline.Workspace, folder: str, text: str, said: str) -> None:
    (ws.folder / folder).mkdir(parents=True)
    (ws.folder / folder / "repo.yaml").write_text(text)
    if " " not in said:
        assert repositories.namespaces(ws, [folder]) == {said: str(ws.folder / folder)}
        return
    with pytest.raises(ConfigError, match=said) as caught:
        repositories.namespaces(ws, [folder])
    assert "repo.yaml" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("protocol", ["0", "2"])
def test_a_commit_that_is_not_there(ws: pipeline.Workspace, tmp_path: Path, protocol: str) -> None:
    commit(tmp_path / "origin", recipes("a"))
    ws = with_protocol(ws, protocol)
    with pytest.raises(InstallError, match=f"has no commit {'a' * 40}") as caught:
        repositories.namespaces(ws, [f"{(tmp_path / 'origin').as_uri()}#{'a' * 40}:spack_repo/a"])
    assert "git ls-remote file://" in caught.value.hint
    assert not list((ws.shared / "repos").glob("*[0-9a-f]"))


def with_protocol(ws: pipeline.Workspace, version: str) -> pipeline.Workspace:
    more = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.version", "GIT_CONFIG_VALUE_0": version}
    return replace(ws, env={**ws.env, **more})


def test_a_server_that_gives_away_no_commit_by_its_name(ws: pipeline.Workspace, tmp_path: Path) -> None:
    old = commit(tmp_path / "origin", recipes("a"))
    commit(tmp_path / "origin", {"new": ""})
    ws = with_protocol(ws, "0")
    assert "a" in repositories.namespaces(ws, [f"{(tmp_path / 'origin').as_uri()}#{old}:spack_repo/a"])
    assert git.head(ws.shared / "repos" / old[:12], ENV) == old
    assert not (ws.shared / "repos" / old[:12] / "new").exists()


def test_a_tags_own_name_is_no_commit(ws: pipeline.Workspace, tmp_path: Path) -> None:
    made = commit(tmp_path / "origin", recipes("a"), "tag -a -m x v1")
    tag = git._git(ENV, tmp_path / "origin", "rev-parse", "v1").text
    assert tag != made
    with pytest.raises(InstallError, match=f"is commit {made}"):
        repositories.namespaces(ws, [f"{(tmp_path / 'origin').as_uri()}#{tag}:spack_repo/a"])


def test_what_is_asked_for_is_a_commit_at_once(ws: pipeline.Workspace, tmp_path: Path) -> None:
    origin, url = tmp_path / "origin", (tmp_path / "origin").as_uri()
    first = commit(origin, recipes("a"), "tag -a -m x v1")
    second = commit(origin, {"new": ""}, "branch other/one")
    said: list[str] = []
    ws = replace(ws, progress=Said(said))
    asked = [f"{url}#v1:spack_repo/a", url, f"{url}#other/one", f"{url}#{'b' * 40}"]
    _, pinned = repositories.asking_for(ws, asked)
    assert pinned == (f"{url}#{first}:spack_repo/a", f"{url}#{second}", f"{url}#{'b' * 40}")
    assert [line.split(" is ")[0] for line in said] == [f"{url}: v1", f"{url}: its default branch", f"{url}: other/one"]
    assert first in said[0]
    # Moved since: what is a commit by now is asked for no more.
    commit(origin, {"newer": ""}, "tag -d v1", "tag v1")
    assert repositories.asking_for(ws, pinned)[1] == pinned
    assert repositories.asking_for(ws, asked[:1])[1] != pinned[:1]
    for bad in (f"{url}#v9", (tmp_path / "nowhere").as_uri()):
        with pytest.raises(InstallError):
            repositories.asking_for(ws, [bad])


class Said:
    """Keeps what is said."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def say(self, text: str) -> None:
        self._lines.append(text)

    def start(self, what: str, total: int) -> None: ...

    def advance(self, item: str) -> None: ...

    def finish(self) -> None: ...


def test_a_folder_that_is_asked_for_lies_in_the_repository(ws: pipeline.Workspace, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(ws.folder)], check=True)
    for place in ("here/mine", "outside"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "repo.yaml").write_text("repo: {namespace: mine}")
    (ws.folder / "link").symlink_to(tmp_path / "outside")
    wide, pinned = repositories.asking_for(ws, ["mine"])
    assert (pinned, wide.settings.stacks["s"].repos) == (("mine",), ("mine",))
    for bad in ("../outside", "link", str(tmp_path / "outside")):
        with pytest.raises(UsageError, match="lies outside"):
            repositories.asking_for(ws, [bad])
    with pytest.raises(UsageError, match=r"holds no repo\.yaml") as caught:
        repositories.asking_for(ws, ["."])
    assert "mine" in caught.value.hint


def test_other_commits_are_other_concretizations_and_no_checkout_is_needed_to_tell(ws: pipeline.Workspace) -> None:
    runner = replace(ws, env={**ws.env, "ImageOS": "u", "ImageVersion": "1", "SPACK_ROOT": ""})
    keys = set()
    for repos in (
        [],
        [f"https://host.invalid/r#{'a' * 40}"],
        [f"https://host.invalid/r#{'b' * 40}"],
        [f"https://host.invalid/r#{'a' * 40}:x"],
    ):
        name, stack = repositories.with_repos(runner, repos).stack("")
        keys.add(locks._key(runner, name, stack, [], "", "r"))
        assert repositories.recipes_key(runner, stack) == tuple(repos)
    assert len(keys) == 4
    assert "" not in keys
    assert not (ws.shared / "repos").exists()


def test_recipes_behind_a_link_are_told_from_others(ws: pipeline.Workspace, tmp_path: Path) -> None:
    here = tmp_path / "here"
    commit(here, {"own/repo.yaml": "repo: {namespace: own}", "group/tool/package.py": "old"})
    (here / "own/packages").mkdir()
    (here / "own/packages/tool").symlink_to("../../group/tool")
    (here / "own/packages/round").symlink_to("..")
    stack = replace(ws.settings.stacks["s"], repos=("own",))
    before = repositories.recipes_key(ws, stack)
    (here / "group/tool/package.py").write_text("new")
    assert repositories.recipes_key(ws, stack) != before, "what was concretized with other recipes would be taken for these"


def test_a_repository_of_all_that_is_here_is_known_by_its_recipes(ws: pipeline.Workspace, tmp_path: Path) -> None:
    here = tmp_path / "here"
    commit(here, {"repo.yaml": "repo: {namespace: own}", "packages/tool/package.py": "old"})
    stack = replace(ws.settings.stacks["s"], repos=(".",))
    before = repositories.recipes_key(ws, stack)
    (here / ".git/FETCH_HEAD").write_text("x")
    (here / "var/work").mkdir(parents=True)
    (here / "var/work/log").write_text("x")
    assert repositories.recipes_key(ws, stack) == before, "nothing would ever be remembered"
    (here / "packages/tool/package.py").write_text("new")
    assert repositories.recipes_key(ws, stack) != before


def test_another_commit_of_what_a_stack_names_takes_its_place(ws: pipeline.Workspace, tmp_path: Path) -> None:
    """As one does to try a branch of the recipes that cache.yaml pins: both state the same namespace."""
    old = commit(tmp_path / "origin", recipes("a", "b"))
    new = commit(tmp_path / "origin", {"x": ""})
    url = (tmp_path / "origin").as_uri()
    own = (f"{url}#{old}:spack_repo/a", f"{url}#{old}:spack_repo/b")
    stack = replace(ws.settings.stacks["s"], repos=own)
    ws = replace(ws, settings=replace(ws.settings, stacks={"s": stack}))
    tried, pinned = repositories.asking_for(ws, [f"{url}#main:spack_repo/a"])
    assert pinned == (f"{url}#{new}:spack_repo/a",)
    assert tried.settings.stacks["s"].repos == (*pinned, own[1])
    assert set(repositories.namespaces(tried, tried.settings.stacks["s"].repos)) == {"a", "b"}
    every = repositories.with_repos(ws, [f"{url}#{new}"])
    assert every.settings.stacks["s"].repos == (f"{url}#{new}",), "without a folder it is all of them"
