"""Checks out a pinned commit, shallow; a killed or failed try leaves nothing half there and is taken up again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from cachelib.model.errors import InstallError
from cachelib.tools.process import Finished, run


def checkout(url: str, version: str, commit: str, folder: Path, env: Mapping[str, str]) -> bool:
    """Bring exactly `commit` of `url` into `folder`; return whether anything was fetched. Raise InstallError.

    The commit is asked for by its name (one commit, no history); a server that refuses that is asked for the
    tag or branch `version`, which must then be that commit.
    """
    if (folder / ".git").is_dir() and _git(env, folder, "rev-parse", "HEAD").text.strip() == commit:
        return False
    if folder.exists():
        shutil.rmtree(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    if not (partial / ".git").is_dir():
        _must(_git(env, partial, "init", "--quiet"), url)
    fetched = _git(env, partial, "fetch", "--quiet", "--depth", "1", url, commit)
    if fetched.code != 0:
        fetched = _git(env, partial, "fetch", "--quiet", "--depth", "1", url, version)
    _must(fetched, url)
    found = _git(env, partial, "rev-parse", "FETCH_HEAD").text.strip()
    if found != commit:
        raise InstallError(
            f"{url}: {version} is commit {found}, but cache.yaml pins {commit}",
            hint="a moved tag is a reason to look twice; write the new commit into cache.yaml if it is meant",
        )
    _must(_git(env, partial, "checkout", "--quiet", "--detach", "--force", commit), url)
    partial.rename(folder)
    return True


def head(folder: Path, env: Mapping[str, str]) -> str:
    """The commit that is checked out, or nothing where the folder is no git checkout."""
    found = _git(env, folder, "rev-parse", "HEAD")
    return found.text.strip() if found.code == 0 else ""


def _git(env: Mapping[str, str], folder: Path, *arguments: str) -> Finished:
    # No prompt: without a terminal git would wait for a password for ever.
    return run(["git", *arguments], env={**env, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}, cwd=folder)


def _must(done: Finished, url: str) -> None:
    if done.code != 0:
        reason = next((line for line in done.lines if line.startswith(("fatal:", "error:"))), done.text.strip() or "no reason given")
        raise InstallError(
            f"{url} could not be fetched: {reason}",
            hint="check the network (a proxy goes into HTTPS_PROXY), or use a Spack that is there with --spack; "
            "what was fetched is kept, run the same command again",
        )
