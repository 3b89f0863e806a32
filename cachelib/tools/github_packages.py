"""GitHub's REST API for packages: lists and deletes the versions of one container package. The only module that knows it.

ghcr.io answers 405 to a manifest's DELETE, so this is the one way to delete there. A version is a manifest, with all its tags.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
import tenacity

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.text import printable

#: Served until March 2028 at least, and the newest that GitHub Enterprise Server knows (it answers 400 to an unknown one).
API_VERSION = "2022-11-28"
#: Seconds to wait for a connection, and for the next bytes of an answer. GitHub gives a request up after 10.
TIMEOUT = (15.0, 60.0)
#: How often one request is tried, and how many redirections it follows.
ATTEMPTS, REDIRECTIONS = 8, 5
#: Seconds: the longest wait that is followed (a primary rate limit begins anew each hour), the first wait where none is told.
LONGEST_ASKED, SECONDARY_WAIT = 3600.0, 60.0

# Of what requests raises, these are no better the next time (and InvalidHeader's text has the header in it).
_FINAL = (
    requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader, requests.exceptions.SSLError,
)  # fmt: skip
# What to do, by what GitHub says and then by the status it says it with.
_HINTS = {
    r"5,?000 downloads": "GitHub keeps public versions with over 5,000 downloads; only its support deletes them",
    r"the last (tagged )?version of a package": "GitHub keeps a package's last version: keep one, or delete the package in its settings",
    r"^401": "is the token right, and does it still live? A job's GITHUB_TOKEN dies with its job; elsewhere it takes a classic "
    "personal access token with the scopes read:packages and delete:packages",
    # Deleting and restoring a package, Packages API support: GITHUB_TOKEN must have admin permission to the package.
    r"^403": "the repository needs the Admin role on the package (package settings, Manage Actions access), and the job "
    "`permissions: packages: write`",
    r"^404": "does the package exist, and may this token see it? GitHub answers 404 for what a token may not see",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageVersion:
    """A manifest in GitHub's books, as it was when it was listed; times are as GitHub writes them (RFC 3339)."""

    id: int
    digest: Digest
    tags: tuple[str, ...]
    created: str
    updated: str


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


class GitHubPackages:
    """One container package of an organization or a user; for one thread (Best practices, Avoid concurrent requests)."""

    def __init__(
        self,
        api: str,
        owner: str,
        package: str,
        token: str,
        *,
        say: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], None] = _pause,
        per_second: float = 0.9,
    ) -> None:
        if not (token and token.isascii() and token.isprintable()):
            # As a header it would be refused by an error that repeats it.
            raise RegistryError("the token for GitHub's API is empty, or has characters that no token has", hint=_hint("401"))
        self.name = f"{owner}/{package}"
        # Troubleshooting the REST API: a slash in a path parameter must be %2F, or the address means something else.
        path = f"{quote(owner, safe='')}/packages/container/{quote(package, safe='')}/versions"
        self._homes = tuple(f"{api.rstrip('/')}/{kind}/{path}" for kind in ("orgs", "users"))
        self._token, self._say, self._pause = token, say, pause
        self._interval, self._deleted = 1 / per_second, float("-inf")
        self._session = requests.Session()
        # Without a callable here, requests would put the password of ~/.netrc in the place of our token.
        self._session.auth = lambda request: request
        self._session.headers.update({"Authorization": f"Bearer {token}", "X-GitHub-Api-Version": API_VERSION})
        self._session.headers.update({"Accept": "application/vnd.github+json", "User-Agent": "spack-build-cache"})

    def versions(self) -> Iterator[PackageVersion]:
        """List all versions, newest first, each once; take them all before a delete, which shifts what is on later pages."""
        # List package versions for a package owned by an organization (or a user); Using pagination in the REST API.
        response, seen = self._first_page(), set[int]()
        while True:
            for version in self._parsed(response):
                if version.id not in seen:  # a push meanwhile moves the last ones of a page to the next
                    seen.add(version.id)
                    yield version
            if "next" not in response.links:
                return
            # The address is another than the first page's (/organizations/<number>/...): it can't be made up.
            response = self._send("GET", self._at_home(response.url, response.links["next"].get("url", "")), 200)

    def delete(self, version: PackageVersion) -> None:
        """Delete a version and its tags; one that is gone already is fine. Raise RegistryError where GitHub keeps it."""
        if len(self._homes) > 1:
            self._first_page()
        # Delete package version for an organization (or a user).
        url = f"{self._homes[0]}/{version.id}"
        if self._send("DELETE", url, 204, 404).status_code == 404 and self._send("GET", url, 200, 404).status_code == 200:
            # Troubleshooting, 404 for an existing resource: GitHub says so to a token that may not delete (canonical/authd#1376).
            message = f"DELETE {url}: 404, but version {version.digest} is still there"
            raise self._error(message, status=404, hint=_hint("403"))

    def _first_page(self) -> requests.Response:
        """Ask as for an organization, then as for a user, and remember which the owner is."""
        for home in self._homes:
            response = self._send("GET", f"{home}?per_page=100", 200, 404)
            if response.status_code == 200:
                self._homes = (home,)
                return response
        # Never an empty list: who believes it takes the cache for empty.
        raise self._error(f"GitHub has no container package {self.name}", status=404, hint=_hint("404"))

    def _parsed(self, response: requests.Response) -> tuple[PackageVersion, ...]:
        try:
            items = response.json()
            if not isinstance(items, list):
                raise TypeError
            return tuple(version for version in map(_version, items) if version is not None)
        except (ValueError, LookupError, TypeError, RecursionError):
            # A version whose tags are not understood, believed to have none, would be deleted as a leftover.
            raise self._error(f"{_plain(response.url)} answered with something that is no list of versions") from None

    def _send(self, method: str, url: str, *expect: int) -> requests.Response:
        """Send a request until its status is expected: wait as GitHub asks, and try again what is temporary."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, RegistryError) and error.temporary),
            wait=_wait,
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            sleep=self._pause,
            before_sleep=self._tell,
            reraise=True,
        )(self._send_once, method, url, expect)

    def _send_once(self, method: str, url: str, expect: tuple[int, ...]) -> requests.Response:
        where = f"{method} {_plain(url)}"
        if method == "DELETE":
            self._pace()
        for _ in range(REDIRECTIONS + 1):
            try:
                # requests itself would make a GET of a redirected DELETE, and take it to any host.
                response = self._session.request(method, url, timeout=TIMEOUT, allow_redirects=False)
            except (*_FINAL, ValueError) as error:
                raise self._error(f"{where}: {type(error).__name__}", hint="is the address of GitHub's API right?") from None
            except requests.exceptions.RequestException as error:
                raise self._error(f"{where}: {type(error).__name__}: {error}", temporary=True) from None
            if response.status_code in expect:
                return response
            if not response.is_redirect:
                raise self._refusal(where, response)
            url = self._at_home(url, response.headers["Location"])  # Best practices, Follow redirects
        raise self._error(f"{where}: redirected more than {REDIRECTIONS} times")

    def _pace(self) -> None:
        # Best practices, Pause between mutative requests: a second at least. Seen: 1,700 versions in 30 minutes, throttled
        # (Aureliolo/synthorg#2394).
        wait = self._deleted + self._interval - time.monotonic()
        if wait > 0:
            self._pause(wait)
        self._deleted = time.monotonic()

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._say(f"{self.name}: waiting {state.upcoming_sleep:.0f} s, then trying again: {error}")

    def _at_home(self, base: str, url: str) -> str:
        with contextlib.suppress(ValueError):
            url = urljoin(base, url)
            if urlsplit(url)[:2] == urlsplit(self._homes[0])[:2]:
                return url
        raise self._error(f"{self.name}: GitHub's API sends elsewhere, where the token must not go: {_plain(url)}")

    def _refusal(self, where: str, response: requests.Response) -> RegistryError:
        status, words, asked = response.status_code, "", _asked(response)
        with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
            words = str(response.json()["message"])
        # Rate limits for the REST API, Exceeding the rate limit: a 403 or a 429; any other 403 is final.
        limited = status == 429 or (status == 403 and (asked is not None or "rate limit" in words.lower()))
        hint = "run it again later: it goes on where it stopped" if limited else _hint(f"{status} {words}")
        message = f"{where}: {status} {words or response.reason or ''}"
        return self._error(message, status=status, hint=hint, temporary=limited or status >= 500, retry_after=asked)

    def _error(self, message: str, **kwargs: Any) -> RegistryError:
        return RegistryError(printable(message.replace(self._token, "***"))[:1000], **kwargs)


def _version(item: dict[str, Any]) -> PackageVersion | None:
    try:
        digest = Digest.parse(item["name"])
    except FormatError:
        return None  # no manifest
    number, tags, created, updated = item["id"], item["metadata"]["container"]["tags"], item["created_at"], item["updated_at"]
    if not (isinstance(number, int) and isinstance(tags, list) and all(isinstance(text, str) for text in (*tags, created, updated))):
        raise TypeError
    return PackageVersion(id=number, digest=digest, tags=tuple(tags), created=created, updated=updated)


_backoff = tenacity.wait_exponential(multiplier=1, max=30)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, RegistryError) or (error.retry_after is None and error.status not in (403, 429)):
        return _backoff(state)
    # Exceeding the rate limit: as long as told; else a minute at least, and ever longer.
    asked = SECONDARY_WAIT * 2 ** (state.attempt_number - 1) if error.retry_after is None else error.retry_after
    return min(max(asked, 1.0), LONGEST_ASKED)


def _asked(response: requests.Response) -> float | None:
    """The seconds that an answer asks to wait for, if it does."""
    with contextlib.suppress(LookupError, ValueError):
        if "Retry-After" in response.headers:
            return int(response.headers["Retry-After"])
        if response.headers.get("X-RateLimit-Remaining") == "0":
            return int(response.headers["X-RateLimit-Reset"]) - time.time() + 1  # epoch seconds, by GitHub's clock
    return None


def _hint(refusal: str) -> str:
    return next((hint for pattern, hint in _HINTS.items() if re.search(pattern, refusal)), "")


def _plain(url: str) -> str:
    return url.split("?", 1)[0]
