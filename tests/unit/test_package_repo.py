"""Package repositories by name: what is a folder, what a commit of a git repository, and what is neither, with the way out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cachelib.model.errors import FormatError, UsageError
from cachelib.model.inputs import parse_inputs, parse_setup
from cachelib.model.package_repo import MOST_REPOS, FolderRepo, GitRepo, joined, parse_asked, parse_pinned, parse_repo
from cachelib.model.plan import PLAN_VERSION, parse_plan
from tests.unit.test_config import GOOD, problems
from tests.unit.test_planning import lock, plan

COMMIT = "2e907202bcc8209a6a62243aab50c179b524cc3b"
URL = "https://github.com/org/recipes.git"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("spack_repo/mine", FolderRepo(path="spack_repo/mine")), ("../a folder#1", FolderRepo(path="../a folder#1")),
        (f"{URL}#{COMMIT}", GitRepo(url=URL, ref=COMMIT)),
        (f"{URL}#{COMMIT}:spack_repo/mine", GitRepo(url=URL, ref=COMMIT, folder="spack_repo/mine")),
        (URL, GitRepo(url=URL)), (f"{URL}#:a-b/c.d", GitRepo(url=URL, folder="a-b/c.d")),
        (f"{URL}#feature/x+1:mine", GitRepo(url=URL, ref="feature/x+1", folder="mine")),
        ("git@github.com:org/recipes.git#v1.0", GitRepo(url="git@github.com:org/recipes.git", ref="v1.0")),
        ("ssh://git@example.org:2222/~me/r#main", GitRepo(url="ssh://git@example.org:2222/~me/r", ref="main")),
        ("file:///srv/git/r#main", GitRepo(url="file:///srv/git/r", ref="main")),
    ],
)  # fmt: skip
def test_what_is_meant(text: str, found: FolderRepo | GitRepo) -> None:
    assert parse_repo(text) == found
    assert str(found) == text
    assert parse_repo(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "https://me:secret@host/r", "https://secret@host/r#main", "ssh://me:secret@host/r", "ssh://secret:@host:22/r", "http://me:secret@host/r",
        "HTTPS://me:secret@host/r", "git+https://secret@host/r", "https://me:secret#with-a-mark@host/r",
    ],
)  # fmt: skip
def test_a_password_is_refused_and_not_told(text: str) -> None:
    with pytest.raises(UsageError, match="holds a user or a password") as caught:
        parse_asked([text], "--repo")
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ext::sh -c touch% hacked", "no address"), ("--upload-pack=touch", "no address"), ("-x", "no address"), ("http://host/r", "no address"),
        ("git://host/r", "no address"), ("ext::https://host/r", "no address"), ("file://host/r", "no address"), ("https:///r", "no address"),
        ("ssh://-oProxyCommand=touch/r", "no address"), ("ssh://-x@host/r", "no address"), ("git@-oProxyCommand=x:r", "no package repository|no address"),
        ("https://host/$(touch x)", "no address"), ("https://host/a b", "no address"), ("https://host/a,b", "no address"), ("https://host/ü", "no address"),
        ("https://me:secret@host/r", "holds a user or a password"), ("https://secret@host/r#main", "holds a user or a password"),
        (f"{URL}#--upload-pack=x", "no commit, tag or branch"), (f"{URL}#a b", "no commit, tag or branch"), (f"{URL}#a..b", "no commit, tag or branch"),
        (f"{URL}#v1^{{}}", "no commit, tag or branch"), (f"{URL}#refs/", "no commit, tag or branch"), (f"{URL}#a//b", "no commit, tag or branch"),
        (f"{URL}#a.lock", "no commit, tag or branch"), (f"{URL}#+main", "no commit, tag or branch"), (f"{URL}#a#b", "no commit, tag or branch"),
        (f"{URL}#{COMMIT}:../up", "no folder inside"), (f"{URL}#{COMMIT}:/etc", "no folder inside"), (f"{URL}#{COMMIT}:a/../../b", "no folder inside"),
        (f"{URL}#{COMMIT}:a/", "no folder inside"), (f"{URL}#{COMMIT}:./a", "no folder inside"), (f"{URL}#{COMMIT}:a//b", "no folder inside"),
        (f"{URL}#{COMMIT}:a:b", "no folder inside"), (f"{URL}#{COMMIT}:a\n", "no folder inside"), (f"{URL}#{COMMIT}:a\x1b[2J", "no folder inside"),
        (f"{URL}#{COMMIT}\n", "no commit, tag or branch"), (f"{URL}\n#{COMMIT}", "no address"), ("a\x1b[2J", "no package repository"),
        ("", "no package repository"), ("a" * 1001, "no package repository"), (f"{URL}#{COMMIT}:{'a' * 1001}", "no address"),
    ],
)  # fmt: skip
def test_what_is_nothing_of_the_kind(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_repo(text)
    assert caught.value.hint
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (URL, "git ls-remote https://github.com/org/recipes.git HEAD`"), (f"{URL}#main:x", "recipes.git main 'main^{}'`"),
        (f"{URL}#{COMMIT[:12]}", "recipes.git 2e907202bcc8"), (f"{URL}#{COMMIT.upper()}", "lower-case"),
    ],
)  # fmt: skip
def test_what_can_move_is_no_pin(text: str, asked: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_pinned(text)
    assert asked in caught.value.hint
    assert "COMMIT:x " in caught.value.hint or ":x" not in text


def test_the_settings_name_the_line_of_each_mistake(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/repo.yaml").write_text("repo: {namespace: mine}")
    listed = ["mine", "nothing", f"{URL}#v1", f"{URL}#{COMMIT}:../x", f"{URL}#{COMMIT}", "ext::sh"]
    said = problems(GOOD + "    repos:\n" + "".join(f"      - '{repo}'\n" for repo in listed), tmp_path)
    start = GOOD.count("\n") + 2
    assert "4 problems" in said
    assert f"cache.yaml:{start + 1}: nothing holds no repo.yaml" in said
    assert f"cache.yaml:{start + 2}: {URL}#v1 pins {URL} to 'v1', which can move; write {URL}#COMMIT" in said
    assert f"`git ls-remote {URL} v1 'v1^{{}}'` tells it" in said
    assert f"cache.yaml:{start + 3}: '../x' is no folder inside of {URL}" in said
    assert f"cache.yaml:{start + 5}: 'ext?:sh' is no address" in said or f"cache.yaml:{start + 5}: 'ext::sh' is no address" in said


def test_inputs_are_separated_by_commas_and_lines() -> None:
    text = f"a, {URL}#main ,\r\n\n b/c\n{URL}#main"
    wanted = ("a", f"{URL}#main", "b/c")
    assert parse_inputs(json.dumps({"repos": text})).repos == wanted
    assert parse_setup(json.dumps({"repos": text})).repos == wanted
    assert parse_inputs("{}").repos == parse_setup("{}").repos == ()


@pytest.mark.parametrize("text", ["ext::sh -c x", "--help", ",".join(map(str, range(MOST_REPOS + 1)))])
def test_the_input_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="the input `repos`") as caught:
        parse_inputs(json.dumps({"repos": text}))
    assert caught.value.hint


def test_a_plan_has_commits_and_nothing_that_moves() -> None:
    pinned = f"{URL}#{COMMIT}:mine"
    made = replace(plan(lock()), repos=("near", pinned))
    stack = json.loads(json.dumps(made.json()))
    data = {"meta": {"plan": PLAN_VERSION}, "stacks": [stack]}
    assert parse_plan(data) == (made,)
    for bad in (f"{URL}#main", "ext::sh -c x", f"{URL}#{COMMIT}:../up"):
        stack["repos"] = [bad]
        with pytest.raises(FormatError, match="a plan is malformed"):
            parse_plan(data)


def test_those_that_are_asked_for_come_first_and_each_but_once() -> None:
    assert joined(("a", "b"), ("b", "c")) == ("a", "b", "c")
    assert parse_asked(["b", "a", "b"], "--repo") == (FolderRepo(path="b"), FolderRepo(path="a"))
