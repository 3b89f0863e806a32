"""Package repositories beside Spack's own: folders, and commits of git repositories in Docker's notation URL#COMMIT[:FOLDER]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cachelib.model.errors import UsageError
from cachelib.model.setup import is_commit

#: More repositories, or longer names of them (characters), are not meant.
MOST_REPOS, LONGEST_REPO = 20, 1000
# An address of git's own transports, with nothing in it that a program would take for an option or a command, or a list for its end.
_URL = re.compile(r"(https://|ssh://([A-Za-z0-9][\w.-]*@)?|file:///|git@)[A-Za-z0-9\[][\w.~:/%+=@\[\]-]*", re.ASCII)
# A name and a password would be told to everybody who reads the plan; of ssh the name is no secret.
_LOGIN = re.compile(r"(?<=://)(?:(?<!ssh://)[^/]*@|[^/]*:[^/]*@)", re.IGNORECASE)
_OTHER = re.compile(r"^-|^git@|://|::")
# A name that git takes (git-check-ref-format), and none that it takes for an option or for an expression.
_REF = re.compile(r"(?!.*(\.\.|//|/\.|\.lock(/|$)))[A-Za-z0-9_][\w./+-]{0,199}(?<![./])", re.ASCII)
_FOLDER = re.compile(r"[\w.+-]+(/[\w.+-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRepo:
    """A package repository in a folder, relative to the settings file."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRepo:
    """One or more package repositories in a git repository: at `ref` (its default branch where that is empty), in `folder`.

    Without a folder they are where the git repository says.
    """

    url: str
    ref: str = ""
    folder: str = ""

    @property
    def pinned(self) -> bool:
        """Whether it is one commit, now and later."""
        return is_commit(self.ref)

    def __str__(self) -> str:
        fragment = self.ref + (f":{self.folder}" if self.folder else "")
        return f"{self.url}#{fragment}" if fragment else self.url


PackageRepo = FolderRepo | GitRepo


def parse_repo(text: str) -> PackageRepo:
    """Read a folder, or URL[#[REF][:FOLDER]]; raise UsageError naming what is wrong with it."""
    shown = _LOGIN.sub("", text)
    if shown != text:
        raise UsageError(f"the address {shown[:80]} holds a user or a password", hint="everybody reads a plan: have git know them")
    url, _, fragment = text.partition("#")
    if not _URL.match(url):
        if _OTHER.search(url):
            raise UsageError(f"{text!r} is no address of a git repository", hint="write https://, ssh://, file:/// or git@HOST:PATH")
        if not text.strip() or len(text) > LONGEST_REPO or not text.isprintable():
            raise UsageError(f"{text[:80]!r} is no package repository", hint="write a folder with a repo.yaml, or URL#COMMIT[:FOLDER]")
        return FolderRepo(path=text)
    if len(text) > LONGEST_REPO or not _URL.fullmatch(url):
        raise UsageError(f"{url[:80]!r} is no address of a git repository", hint="it has letters, digits and . _ ~ : / % + = @ - alone")
    ref, _, folder = fragment.partition(":")
    if ref and not _REF.fullmatch(ref):
        raise UsageError(f"{ref[:80]!r} is no commit, tag or branch of {url}", hint="write URL#COMMIT[:FOLDER], the commit's 40 hex digits")
    if folder and (not _FOLDER.fullmatch(folder) or {".", ".."} & set(PurePosixPath(folder).parts) or folder.startswith("./")):
        raise UsageError(
            f"{folder[:80]!r} is no folder inside of {url}",
            hint="write it as it lies below the root of that repository, without .. and without a / at its beginning or end",
        )
    return GitRepo(url=url, ref=ref, folder=folder)


def parse_pinned(text: str) -> PackageRepo:
    """Read a folder, or URL#COMMIT[:FOLDER]; raise UsageError where it isn't one commit, and say how to learn which."""
    found = parse_repo(text)
    if isinstance(found, GitRepo) and not found.pinned:
        ref = found.ref or "HEAD"
        what = f"pins {found.url} to {found.ref!r}, which can move" if found.ref else f"pins {found.url} to no commit"
        asked = ref if ref == "HEAD" else f"{ref} '{ref}^{{}}'"
        tail = f":{found.folder}" if found.folder else ""
        raise UsageError(
            f"{text} {what}",
            hint=f"write {found.url}#COMMIT{tail} with the commit's 40 lower-case hex digits; `git ls-remote {found.url} {asked}` tells it"
            + ("" if ref == "HEAD" else " (of two lines the last)"),
        )
    return found


def parse_asked(texts: Sequence[str], what: str) -> tuple[PackageRepo, ...]:
    """Read what a person asks for, `what` being how; raise UsageError naming it."""
    if len(texts) > MOST_REPOS:
        raise UsageError(f"{what} names {len(texts)} package repositories", hint=f"at most {MOST_REPOS}; `repos:` of a stack takes more")
    found = []
    for text in texts:
        try:
            found.append(parse_repo(text))
        except UsageError as error:
            raise UsageError(f"{what}: {error.message}", hint=error.hint) from None
    return tuple(dict.fromkeys(found))


def commits_of(repos: Iterable[str]) -> tuple[str, ...]:
    """Those of pinned package repositories that come out of git."""
    return tuple(repo for repo in repos if isinstance(parse_pinned(repo), GitRepo))


def joined(first: Iterable[str], then: Iterable[str]) -> tuple[str, ...]:
    """Both, in that order, each but once."""
    return tuple(dict.fromkeys((*first, *then)))
