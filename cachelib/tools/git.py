"""Checks out a pinned commit, shallow; a killed or failed try leaves nothing half there and is taken up again."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cachelib.model.errors import InstallError
from cachelib.tools.process import Finished, run

#: The tree that holds nothing.
_NOTHING = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_KEPT = ("GIT_CONFIG", "GIT_SSL", "GIT_SSH", "GIT_ASKPASS")


def checkout(url: str, version: str, commit: str, folder: Path, env: Mapping[str, str]) -> bool:
    """Bring exactly `commit` of `url` into `folder`; return whether anything was fetched. Raise InstallError.

    The commit is asked for by its name (one commit, no history); a server that refuses that is asked for the
    tag or branch `version`, which must then be that commit, or where none is told for all that its branches and tags hold.
    """
    if _is_at(commit, folder, env):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Another may be at it, where runners share a folder (CACHE_SHARED): who comes second finds it done.
    with _alone(folder.with_name(f"{folder.name}.lock")):
        if _is_at(commit, folder, env):
            return False
        _check_out(url, version, commit, folder, env)
    return True


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock file, which is gone afterwards; a kill lets the lock go."""
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever had it before took the file away: a lock on that keeps nobody out.
            if os.fstat(lock.fileno()).st_nlink == 0:
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(commit: str, folder: Path, env: Mapping[str, str]) -> bool:
    return (folder / ".git").is_dir() and _git(env, folder, "rev-parse", "HEAD").text.strip() == commit


def _check_out(url: str, version: str, commit: str, folder: Path, env: Mapping[str, str]) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    resumed = partial.exists()
    try:
        _fetch(url, version, commit, partial, env)
    except InstallError:
        if not resumed:
            raise
        # What a killed try left may be in the way (a lock file of git's): once more, from nothing.
        shutil.rmtree(partial, ignore_errors=True)
        _fetch(url, version, commit, partial, env)
    partial.rename(folder)


def _fetch(url: str, version: str, commit: str, partial: Path, env: Mapping[str, str]) -> None:
    partial.mkdir(parents=True, exist_ok=True)
    if not (partial / ".git").is_dir():
        _must(_git(env, partial, "init", "--quiet"), url)
    fetched = _git(env, partial, "fetch", "--quiet", "--depth", "1", url, commit)
    if fetched.code != 0 and not version:
        _fetch_all(fetched, url, commit, partial, env)
    elif fetched.code != 0 and _git(env, partial, "fetch", "--quiet", "--depth", "1", url, version).code != 0:
        _must(fetched, url)
    # A tag with a message is an object of its own, and no commit.
    found = commit if fetched.code != 0 and not version else _git(env, partial, "rev-parse", "FETCH_HEAD^{commit}").text.strip()
    if found != commit:
        raise InstallError(
            f"{url}: {version or 'what has that name'} is commit {found or '(none)'}, but cache.yaml pins {commit}",
            hint="a moved tag is a reason to look twice; write the new commit into cache.yaml if it is meant",
        )
    _must(_git(env, partial, "checkout", "--quiet", "--detach", "--force", commit), url)


def _fetch_all(refused: Finished, url: str, commit: str, partial: Path, env: Mapping[str, str]) -> None:
    """Fetch all that branches and tags hold, from a server that gives away no commit by its name; raise where the commit isn't there."""
    # Where that is why it refused: protocols before version 2, and servers that only have files (fetch-pack.c, remote-curl.c).
    whole = "unadvertised object" in refused.text or "shallow" in refused.text
    if whole:
        refs = ("+refs/heads/*:refs/remotes/all/*", "+refs/tags/*:refs/tags/*")
        _must(_git(env, partial, "fetch", "--quiet", url, *refs), url)
    elif "not our ref" not in refused.text:
        _must(refused, url)
    if not whole or _git(env, partial, "cat-file", "-e", f"{commit}^{{commit}}").code != 0:
        raise InstallError(
            f"{url} has no commit {commit}",
            hint=f"`git ls-remote {url}` tells what its branches and tags are; what none of them holds any more may be gone",
        )


def resolve(url: str, version: str, env: Mapping[str, str]) -> str:
    """The commit that a tag or branch of `url` is now, a tag before a branch, or without a `version` its default branch.

    Raises InstallError where there is none.
    """
    names = [f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}"] if version else ["HEAD"]
    done = _git(env, Path("/"), "ls-remote", url, *names)
    _must(done, url)
    found = {name: commit for commit, _, name in (line.partition("\t") for line in done.lines)}
    for name in names:
        if name in found:
            return found[name]
    if not version:
        raise InstallError(f"{url} has no default branch", hint="name a tag, a branch or a commit: URL#REF")
    raise InstallError(f"{url} has no tag and no branch {version!r}", hint="a commit's 40 hex digits are taken too")


def head(folder: Path, env: Mapping[str, str]) -> str:
    """The commit that is checked out, or nothing where the folder is no git checkout."""
    found = _git(env, folder, "rev-parse", "HEAD")
    return found.text.strip() if found.code == 0 else ""


def top(folder: Path, env: Mapping[str, str]) -> str:
    """The uppermost folder of the checkout that a folder lies in, or nothing where it lies in none."""
    found = _git(env, folder, "rev-parse", "--show-toplevel")
    return found.text.strip() if found.code == 0 else ""


def distrusts(folder: Path, env: Mapping[str, str]) -> bool:
    """Whether git refuses to read the checkout that a folder lies in, as another user owns it."""
    return "dubious ownership" in _git(env, folder, "rev-parse", "--show-toplevel").text


def last_commit(folder: Path, env: Mapping[str, str]) -> str:
    """The last commit that changed something in a folder of a checkout; nothing where there is none.

    A shallow clone doesn't know more than its own commits: there it is the oldest of them at the latest.
    """
    # `git log` adds what a person's settings have it add, such as signatures.
    found = _git(env, folder, "rev-list", "-1", "HEAD", "--", ".")
    return found.text.strip() if found.code == 0 else ""


def complete(folder: Path, commit: str, env: Mapping[str, str]) -> None:
    """Have all of a commit in a checkout whose clone is partial; raise InstallError where that can't be fetched.

    Such a clone fetches what it lacks as it needs it, but not for others who fetch from it (git, upload-pack).
    """
    if _git(env, folder, "config", "--get-regexp", r"^remote\..*\.promisor$").code == 0:
        # What a diff needs is fetched at once.
        _must(_git(env, folder, "diff", "--shortstat", "--no-ext-diff", "--no-textconv", _NOTHING, commit), str(folder))


def changes(folder: Path, env: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files of a folder of a checkout that differ from its commit, and those that git neither knows nor ignores."""
    done = _git(env, folder, "status", "--porcelain", "-z", "--no-renames", "--", ".")
    _must(done, str(folder))
    told = [(line[:2], line[3:]) for line in done.text.rstrip("\n").split("\0") if line]
    return tuple(path for mark, path in told if mark != "??"), tuple(path for mark, path in told if mark == "??")


def origin(folder: Path, env: Mapping[str, str]) -> str:
    """The address of the remote `origin`, or nothing where there is none; raise CacheError where there is no git."""
    found = _git(env, folder, "config", "--get", "remote.origin.url")
    return found.text.strip() if found.code == 0 else ""


def _git(env: Mapping[str, str], folder: Path, *arguments: str) -> Finished:
    # A git hook's variables (GIT_DIR and its kin) would have git work on another repository than the folder's.
    clean = {key: value for key, value in env.items() if not key.startswith("GIT_") or key.startswith(_KEPT)}
    # No prompt: without a terminal git would wait for a password for ever.
    return run(["git", *arguments], env={**clean, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}, cwd=folder)


def _must(done: Finished, url: str) -> None:
    if done.code != 0:
        at = next((at for at, line in enumerate(done.lines) if line.startswith(("fatal:", "error:"))), -1)
        reason = done.lines[at] if at >= 0 else done.text.strip() or "no reason given"
        if "Could not read from remote repository" in reason:
            # Why is what the other side said before: ssh, or the server.
            reason = "; ".join([*(line.strip() for line in done.lines[max(0, at - 3) : at] if line.strip()), reason])
        raise InstallError(
            f"{url} could not be fetched: {reason}",
            hint="check the network (a proxy goes into HTTPS_PROXY), or use a Spack that is there with --spack; "
            "what was fetched is kept, run the same command again",
        )
