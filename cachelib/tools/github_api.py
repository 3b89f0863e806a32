"""Looks at GitHub's REST API as a diagnosis does: each thing once, without patience, and without a token where there is none.

What waits and tries again is tools/github_rest.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from cachelib.model.errors import FormatError, GitHubError
from cachelib.model.github import GitHubRepository, Package, PagesSite, Workflow
from cachelib.model.text import printable
from cachelib.tools import web
from cachelib.tools.answers import plain_url
from cachelib.tools.github_rest import API_VERSION

T = TypeVar("T")

#: Pages of a list that are read, and redirections that are followed.
PAGES, REDIRECTIONS = 10, 5


class GitHubApi:
    """GitHub's REST API, with a token or as anybody; raises GitHubError where an answer can't be had or believed."""

    def __init__(self, api: str, token: str = "") -> None:
        if token and not (token.isascii() and token.isprintable()):
            raise GitHubError("the token has characters that no token has", status=401)
        self._api = api.rstrip("/")
        self._session = web.make_session()
        self._session.headers.update({"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION})
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        self._down: GitHubError | None = None
        #: The scopes of a classic token, as the last answer told them.
        self.scopes: frozenset[str] | None = None

    def repository(self, name: str) -> GitHubRepository | None:
        """A repository; follows it to the name it has now."""
        return self._read(f"repos/{quote(name)}", _repository)

    def pages(self, name: str) -> PagesSite | None:
        """The Pages site of a repository."""
        return self._read(f"repos/{quote(name)}/pages", _pages)

    def workflows(self, name: str) -> tuple[Workflow, ...]:
        """The workflows of a repository."""
        path: str | None = f"repos/{quote(name)}/actions/workflows?per_page=100"
        found: list[Workflow] = []
        for _ in range(PAGES):
            if path is None:
                break
            answer = self._get(path)
            if answer is None:
                raise GitHubError(f"{plain_url(self._api)}: GitHub tells no workflows of {name}", status=404)
            found += _parsed(answer, _workflows)
            path = answer.links.get("next")
        return tuple(found)

    def default_permissions(self, name: str) -> str:
        """What an Actions token may do where a workflow doesn't say: `read` or `write`."""
        found = self._read(f"repos/{quote(name)}/actions/permissions/workflow", lambda data: _text(data, "default_workflow_permissions"))
        if found is None:
            raise GitHubError(f"GitHub tells no permissions of {name} to this token", status=404)
        return found

    def package(self, owner_kind: str, owner: str, package: str) -> Package | None:
        """A container package; `owner_kind` is `orgs`, `users`, or empty where that isn't known."""
        for kind in (owner_kind,) if owner_kind else ("orgs", "users"):
            # Troubleshooting the REST API: a slash in a path parameter must be %2F.
            found = self._read(f"{kind}/{quote(owner, safe='')}/packages/container/{quote(package, safe='')}", _package)
            if found is not None:
                return found
        return None

    def _read(self, path: str, parse: Callable[[Any], T]) -> T | None:
        answer = self._get(path)
        return None if answer is None else _parsed(answer, parse)

    def _get(self, path: str) -> web.Answer | None:
        """The answer to a GET, or nothing for a 404."""
        if self._down is not None:
            raise self._down  # what is out of reach, or has had enough of us, is not asked again
        url = path if "://" in path else f"{self._api}/{path}"
        for _ in range(REDIRECTIONS + 1):
            self._check_home(url)
            try:
                answer = web.get(self._session, url)
            except web.NoAnswer as error:
                self._down = GitHubError(f"GitHub can't be asked: {error}")
                raise self._down from None
            if "x-oauth-scopes" in answer.headers:
                self.scopes = frozenset(scope.strip() for scope in answer.headers["x-oauth-scopes"].split(",") if scope.strip())
            if answer.status == 200:
                return answer
            if answer.status == 404:
                return None
            if answer.status not in (301, 302, 307, 308) or "location" not in answer.headers:
                raise self._refusal(answer)
            url = _joined(url, answer.headers["location"])
        raise GitHubError(f"{plain_url(url)}: redirected more than {REDIRECTIONS} times")

    def _check_home(self, url: str) -> None:
        """The token goes to GitHub's API, and nowhere else."""
        try:
            at_home = urlsplit(url)[:2] == urlsplit(self._api)[:2]
        except ValueError:
            at_home = False
        if not at_home:
            raise GitHubError(f"GitHub's API sends elsewhere, where the token must not go: {plain_url(url)}")

    def _refusal(self, answer: web.Answer) -> GitHubError:
        # Rate limits for the REST API, Exceeding the rate limit: a 403 or a 429; any other 403 is final.
        told = answer.headers
        limited = answer.status == 429 or (
            answer.status == 403
            and (told.get("x-ratelimit-remaining") == "0" or "retry-after" in told or "rate limit" in answer.words.lower())
        )
        if limited:
            self._down = GitHubError(f"GitHub's rate limit is used up{_until(told.get('x-ratelimit-reset', ''))}", status=answer.status)
            return self._down
        return GitHubError(f"GitHub answers {answer.status} {answer.words}".rstrip() + f" to {plain_url(answer.url)}", status=answer.status)


def _until(reset: str) -> str:
    try:
        return f" until {time.strftime('%H:%M', time.gmtime(int(reset)))} UTC"  # epoch seconds, by GitHub's clock
    except (ValueError, OverflowError, OSError):
        return ""


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError:
        raise GitHubError(f"{plain_url(base)} redirects to what is no address") from None


def _parsed(answer: web.Answer, parse: Callable[[Any], T]) -> T:
    try:
        return parse(answer.json())
    except (FormatError, LookupError, TypeError, ValueError, AttributeError):
        raise GitHubError(f"{plain_url(answer.url)} answered with something that is not what GitHub's API answers") from None


def _text(data: Any, key: str, default: str | None = None) -> str:
    """A text of an object; with a default it may be missing or null."""
    found = data[key] if default is None else data.get(key)
    if found is None and default is not None:
        return default
    if not isinstance(found, str):
        raise TypeError
    return printable(found)[:300]


def _flag(data: Any, key: str) -> bool:
    if not isinstance(data[key], bool):
        raise TypeError
    return bool(data[key])


def _repository(data: Any) -> GitHubRepository:
    kinds = {"Organization": "orgs", "User": "users"}
    return GitHubRepository(
        name=_text(data, "full_name"),
        owner_kind=kinds.get(_text(data["owner"], "type"), ""),
        private=_flag(data, "private"),
        archived=data.get("archived") is True,
        default_branch=_text(data, "default_branch"),
        has_pages=data["has_pages"] if isinstance(data.get("has_pages"), bool) else None,
    )


def _pages(data: Any) -> PagesSite:
    return PagesSite(
        url=_text(data, "html_url", ""),
        build_type=_text(data, "build_type", ""),
        domain=_text(data, "cname", ""),
        https=_flag(data, "https_enforced") if "https_enforced" in data else None,
    )


def _workflows(data: Any) -> Iterator[Workflow]:
    # A tuple at once: a broken one among them is not to be found out later.
    return iter(tuple(Workflow(name=_text(w, "name"), path=_text(w, "path"), state=_text(w, "state")) for w in data["workflows"]))


def _package(data: Any) -> Package:
    linked = data.get("repository")
    return Package(visibility=_text(data, "visibility"), repository=_text(linked, "full_name") if linked is not None else "")
