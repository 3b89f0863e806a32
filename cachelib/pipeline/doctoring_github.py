"""Gathers what GitHub tells of a repository, as far as it can be asked and the token lets it tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from cachelib.model.check import Unknown
from cachelib.model.errors import GitHubError
from cachelib.model.github import GitHubFacts, GitHubRepository, Token
from cachelib.tools.github_api import GitHubApi
from cachelib.tools.github_rest import PUBLIC_API

T = TypeVar("T")

_NEEDS_TOKEN = Unknown(reason="GitHub tells it only to a token: set GITHUB_TOKEN or GH_TOKEN")
_UNSEEN = Unknown(reason="the repository can't be seen")
# GitHub's blog, Behind GitHub's new authentication token formats.
_KINDS = {"ghs_": "Actions", "github_pat_": "fine-grained", "ghp_": "classic"}


def ask_github(env: Mapping[str, str], name: str, owner: str, packages: Mapping[str, str]) -> GitHubFacts:
    """The facts of a repository (OWNER/NAME), and of container packages of `owner`, by image."""
    address = env.get("GITHUB_API_URL") or PUBLIC_API
    source = next((key for key in ("GITHUB_TOKEN", "GH_TOKEN") if env.get(key)), "")
    secret = env.get(source, "")
    accepted: bool | None = None
    try:
        api = GitHubApi(address, secret)
        repository: GitHubRepository | Unknown | None = api.repository(name)
        accepted = True
    except GitHubError as error:
        if error.status == 401 and secret:
            # A bad token is refused even what anybody may read.
            api, accepted = GitHubApi(address), False
            repository = _fact(partial(api.repository, name))
        else:
            repository = Unknown(reason=error.message)
    kind = next((word for beginning, word in _KINDS.items() if secret.startswith(beginning)), "")
    token = Token(source=source, kind=kind, accepted=accepted, scopes=api.scopes) if source else None
    trusted = bool(token and accepted)
    if not isinstance(repository, GitHubRepository):
        missing = repository if isinstance(repository, Unknown) else _UNSEEN
        found = {image: _fact(partial(api.package, "", owner, p)) if trusted else _NEEDS_TOKEN for image, p in packages.items()}
        return GitHubFacts(
            token=token, repository=repository, pages=missing, workflows=missing, default_permissions=missing, packages=found
        )
    own = repository.owner_kind if owner == repository.name.partition("/")[0].lower() else ""
    return GitHubFacts(
        token=token,
        repository=repository,
        pages=_fact(partial(api.pages, repository.name)),
        workflows=_fact(partial(api.workflows, repository.name)),
        default_permissions=_fact(partial(api.default_permissions, repository.name)) if trusted else _NEEDS_TOKEN,
        packages={image: _fact(partial(api.package, own, owner, p)) if trusted else _NEEDS_TOKEN for image, p in packages.items()},
    )


def _fact(ask: Callable[[], T]) -> T | Unknown:
    try:
        return ask()
    except GitHubError as error:
        return Unknown(reason=error.message)
