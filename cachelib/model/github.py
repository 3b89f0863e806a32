"""What GitHub tells of a repository and of its packages, as far as a cache depends on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from cachelib.model.check import Unknown

PUBLIC_SERVER = "https://github.com"
# GitHub's own rules are narrower; this keeps out what would change the meaning of an address.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}/(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,100}")
_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^@/:]+):(?P<path>[^/].*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubRepository:
    """A repository. `owner_kind` is `orgs` or `users`, as in GitHub's addresses."""

    name: str
    owner_kind: str
    private: bool
    archived: bool
    default_branch: str
    has_pages: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesSite:
    """Its Pages: `build_type` is `workflow`, `legacy` (from a branch), or empty where GitHub doesn't say."""

    url: str
    build_type: str
    domain: str
    https: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow and whether it runs: `active`, `disabled_inactivity`, `disabled_manually`, `disabled_fork`, ..."""

    name: str
    path: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A container package; `repository` is what it is linked to, or empty."""

    visibility: str
    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token for the API: where it was found, whether GitHub takes it, and its scopes; None where GitHub doesn't tell.

    Only classic personal tokens tell scopes; `kind` is the word for what its beginning says it is.
    """

    source: str
    kind: str
    accepted: bool | None
    scopes: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubFacts:
    """All that was asked of GitHub; None where it answered that there is no such thing."""

    token: Token | None
    repository: GitHubRepository | Unknown | None
    pages: PagesSite | Unknown | None
    workflows: tuple[Workflow, ...] | Unknown
    default_permissions: str | Unknown
    packages: dict[str, Package | Unknown | None]


def is_repository(name: str) -> bool:
    """Whether a text is OWNER/NAME."""
    return _NAME.fullmatch(name) is not None


def repository_of(address: str, server: str) -> str:
    """OWNER/NAME of an address that git or a browser takes, where it is on `server`; else nothing."""
    try:
        parts = urlsplit(address)
        host, path = parts.hostname or "", parts.path
    except ValueError:
        return ""
    if not parts.scheme or not host:
        found = _SCP.fullmatch(address)
        host, path = (found["host"], found["path"]) if found else ("", "")
    name = path.strip("/").removesuffix(".git")
    return name if host.lower() == (urlsplit(server).hostname or "") and is_repository(name) else ""


def package_page(server: str, owner_kind: str, owner: str, package: str) -> str:
    """The page of a container package, from which its settings are one click away."""
    return f"{server}/{owner_kind or 'users'}/{owner}/packages/container/package/{package.replace('/', '%2F')}"
