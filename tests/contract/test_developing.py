"""Code in checkouts, known by its commit: real git, in repositories of the test."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from cachelib import pipeline
from cachelib.model.config import Settings
from cachelib.model.develop import Code, Develop
from cachelib.model.errors import BuildError, ConfigError
from cachelib.model.stack import PackagesPin, SpackPin, Stack
from cachelib.pipeline import locks
from cachelib.pipeline.developing import checkouts, code_of
from cachelib.pipeline.workspace import Workspace
from cachelib.tools.spack import Folders, Spack
from tests.conftest import need

COMMIT = "0" * 40
ENV = {**os.environ, "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t"}


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run([need("git"), *arguments], cwd=folder, env=ENV, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, files: Mapping[str, str]) -> str:
    """Write files and commit them; the commit."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "files")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Path, str]:
    """A repository with code, and the commit that it is at."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder, commit(folder, {"src/main.c": "1", "README": "1", "cache.yaml": "", ".gitignore": "*.o\n"})


def workspace(folder: Path, stack: Stack, said: list[str] | None = None) -> Workspace:
    ws = pipeline.open_workspace(str(folder / "cache.yaml"), settings=Settings(stacks={"mine": stack}))

    class Progress:
        def say(self, text: str) -> None:
            (said if said is not None else []).append(text)

        def start(self, what: str, total: int) -> None: ...
        def advance(self, what: str = "") -> None: ...
        def finish(self) -> None: ...

    return dataclasses.replace(ws, progress=Progress())


def stack(path: str = "src", environment: str = "") -> Stack:
    develop = {"solver": Develop(spec="solver@main", path=path)} if path else {}
    spack, packages = SpackPin(version="v1.1.0", commit=COMMIT), PackagesPin(version="v1", commit=COMMIT)
    return Stack(spack=spack, packages=packages, develop=develop, environment=environment)


def code(ws: Workspace) -> tuple[Code, ...]:
    return code_of(ws, ws.settings.stacks["mine"])


def test_the_last_commit_that_changed_it(checkout: tuple[Path, str]) -> None:
    folder, first = checkout
    ws = workspace(folder, stack())
    assert code(ws) == (Code(name="solver", version="main", commit=first),)
    commit(folder, {"README": "2"})
    assert code(ws)[0].commit == first, "other files of the repository make it no other code"
    third = commit(folder, {"src/main.c": "2"})
    assert code(ws)[0].commit == third
    assert checkouts(ws, ws.settings.stacks["mine"]) == {"solver": folder}


def test_a_shallow_clone_knows_its_own_commit(checkout: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = checkout
    newest = commit(folder, {"README": "2"})
    git(tmp_path, "clone", "-q", "--depth", "1", folder.as_uri(), "clone")
    assert code(workspace(tmp_path / "clone", stack()))[0].commit == newest


@pytest.mark.parametrize("staged", [False, True])
def test_what_is_in_no_commit_is_not_built(checkout: tuple[Path, str], *, staged: bool) -> None:
    folder, first = checkout
    (folder / "README").write_text("changed, and no part of the code")
    assert code(workspace(folder, stack()))[0].commit == first
    (folder / "src/main.c").write_text("2")
    if staged:
        git(folder, "add", ".")
    with pytest.raises(BuildError, match=r"the code of solver has changes that are in no commit: src/main\.c") as caught:
        code(workspace(folder, stack()))
    assert f"git -C {folder}/src commit" in caught.value.hint


def test_what_git_does_not_know_is_told(checkout: tuple[Path, str]) -> None:
    folder, _ = checkout
    (folder / "src/new.c").write_text("new")
    (folder / "src/main.o").write_text("ignored")
    (folder / "var").mkdir()
    (folder / "var/ours").write_text("what tasks make")
    said: list[str] = []
    code(workspace(folder, stack("."), said))
    assert said == [f"WARNING: solver is built without what git doesn't know in {folder}: src/new.c"]


@pytest.mark.parametrize(("path", "said"), [("gone", "is no folder"), ("other", "is in no git checkout with a commit")])
def test_no_checkout(tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match=said) as caught:
        checkouts(workspace(tmp_path, stack(path)), stack(path))
    assert "develop: solver" in caught.value.message
    assert caught.value.hint


def test_signatures_that_a_person_has_git_show(checkout: tuple[Path, str], tmp_path: Path) -> None:
    folder, first = checkout
    gpg = tmp_path / "gpg"
    gpg.write_text(
        "#!/bin/sh\necho '\n[GNUPG:] SIG_CREATED x' >&2\necho '-----BEGIN PGP SIGNATURE-----'\necho '-----END PGP SIGNATURE-----'\n"
    )
    gpg.chmod(0o755)
    for key, value in (("gpg.program", str(gpg)), ("commit.gpgSign", "true"), ("log.showSignature", "true")):
        git(folder, "config", key, value)
    signed = commit(folder, {"src/main.c": "2"})
    assert signed != first
    assert len(git(folder, "log", "-1", "--format=%H", "--", "src").split()) > 1, "git shows no signature: nothing is tested"
    (found,) = code(workspace(folder, stack()))
    assert found.commit == signed


def test_a_partial_clone_has_all_of_what_is_built(checkout: tuple[Path, str], tmp_path: Path) -> None:
    """As `filter: blob:none` of actions/checkout makes it: it lacks files of earlier commits, and fetches them for itself alone."""
    folder, _ = checkout
    first = commit(folder, {"src/main.c": "2", "README": "said but then"})
    commit(folder, {"README": "2"})
    git(folder, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", folder.as_uri(), "partial")
    assert "?" in git(tmp_path / "partial", "rev-list", "--objects", "--missing=print", first)
    ws = workspace(tmp_path / "partial", stack())
    assert checkouts(ws, ws.settings.stacks["mine"]) == {"solver": tmp_path / "partial"}
    folder.rename(tmp_path / "gone")
    git(tmp_path, "init", "-q", "fetched")
    git(tmp_path / "fetched", "fetch", "-q", "--depth", "1", (tmp_path / "partial").as_uri(), first)


def anothers(tmp_path: Path) -> dict[str, str]:
    """Variables with which git takes every checkout for another user's, as in a container that has it from outside."""
    tmp_path.joinpath("bin").mkdir()
    program = tmp_path / "bin/git"
    program.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {need("git")} "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


def test_a_checkout_of_another_user(checkout: tuple[Path, str], tmp_path: Path) -> None:
    """In a container for instance: it is a checkout, but git doesn't read it."""
    folder, _ = checkout
    ws = dataclasses.replace(workspace(folder, stack()), env=anothers(tmp_path))
    with pytest.raises(ConfigError, match="another user owns it") as caught:
        code(ws)
    assert "safe.directory" in caught.value.hint


def test_spack_is_told_which_checkouts_are_trusted(checkout: tuple[Path, str], tmp_path: Path) -> None:
    """What fetches the code has a home of its own, where nothing is known of what the person trusts."""
    folder, _ = checkout
    env = anothers(tmp_path)
    del env["GIT_CONFIG_GLOBAL"]
    folders = Folders(config=tmp_path / "config", store=tmp_path, stage=tmp_path, cache=tmp_path, padding=0)
    spack = Spack(tmp_path, folders, python="python3", env=env)
    spack.configure({}, new_enough_for_installer=True, code={"solver": folder.as_uri()})
    told = spack._env | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run([need("git"), "clone", "-q", folder.as_uri(), str(tmp_path / "fetched")], env=told, check=True, cwd=tmp_path)
    assert (tmp_path / "fetched/src/main.c").read_text() == "1"


def test_an_environments_own_are_built_as_commits_too(checkout: tuple[Path, str]) -> None:
    folder, _ = checkout
    text = "spack:\n  specs: [solver]\n  develop:\n    solver: {spec: solver@=main, path: ../src}\n    tool: {spec: tool@2.0}\n"
    newest = commit(folder, {"env/spack.yaml": text, "env/tool/tool.c": "1"})
    ws = workspace(folder, stack("", environment="env/spack.yaml"))
    first = git(folder, "log", "-1", "--format=%H", "--", "src")
    assert code(ws) == (Code(name="solver", version="main", commit=first), Code(name="tool", version="2.0", commit=newest))


@pytest.mark.parametrize(
    "section", ["[solver]", "{solver: main}", "{solver: {path: src}}", "{solver: {spec: other@main}}", "{solver: {spec: solver@main +x}}"]
)
def test_an_environments_own_that_say_too_little(checkout: tuple[Path, str], section: str) -> None:
    folder, _ = checkout
    (folder / "spack.yaml").write_text(f"spack:\n  specs: [solver]\n  develop: {section}\n")
    with pytest.raises(ConfigError, match=r"spack\.yaml: `?develop"):
        code(workspace(folder, stack("", environment="spack.yaml")))


def test_other_code_is_another_concretization(checkout: tuple[Path, str]) -> None:
    folder, _ = checkout
    ws = workspace(folder, stack())
    ws = dataclasses.replace(ws, env={"ImageOS": "ubuntu24", "ImageVersion": "1"})

    def key() -> str:
        return locks._key(ws, "mine", stack(), [], "", "ubuntu-24.04")

    before = key()
    commit(folder, {"README": "2"})
    assert key() == before
    commit(folder, {"src/main.c": "2"})
    assert key() != before
