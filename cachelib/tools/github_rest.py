"""GitHub's REST API: one request after the other, as its best practices ask. A diagnosis has less patience: tools/github_api.py."""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import tenacity

from cachelib.model.errors import RegistryError
from cachelib.model.text import printable

#: Served until March 2028 at least, and the newest that GitHub Enterprise Server knows (it answers 400 to an unknown one).
API_VERSION = "2022-11-28"
#: Seconds to wait for a connection, and for the next bytes of an answer. GitHub gives a request up after 10.
TIMEOUT = (15.0, 60.0)
#: How often one request is tried, and how many redirections it follows.
ATTEMPTS, REDIRECTIONS = 8, 5
#: Seconds: the longest wait that is followed (a primary rate limit begins anew each hour), the first wait where none is told.
LONGEST_ASKED, SECONDARY_WAIT = 3600.0, 60.0
PUBLIC_API = "https://api.github.com"
T = TypeVar("T")

# Of what requests raises, these are no better the next time (and InvalidHeader's text has the header in it).
_FINAL = (
    requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader, requests.exceptions.SSLError,
)  # fmt: skip


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


class GitHubRest:
    """GitHub's API with one token; for one thread (Best practices, Avoid concurrent requests).

    `hints` are regular expressions over status and words of a refusal, each with what to do about it. Nothing is waited for past
    `until` (seconds of the monotonic clock).
    """

    def __init__(
        self,
        api: str,
        token: str,
        name: str,
        *,
        hints: Mapping[str, str],
        say: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], None] = _pause,
        per_second: float = 0.9,
        until: float = math.inf,
    ) -> None:
        self.name, self.api = name, api.rstrip("/")
        self._hints, self._say, self.pause, self.until = hints, say, pause, until
        if not (token and token.isascii() and token.isprintable()):
            # As a header it would be refused by an error that repeats it.
            raise RegistryError("the token for GitHub's API is empty, or has characters that no token has", hint=self.hint("401"))
        self._token = token
        self._interval, self._changed = 1 / per_second, float("-inf")
        #: Requests that are left of this hour's, and when (epoch seconds, by GitHub's clock) the next hour begins.
        self.remaining, self.reset = float("inf"), 0.0
        self._session = requests.Session()
        # Without a callable here, requests would put the password of ~/.netrc in the place of our token.
        self._session.auth = lambda request: request
        self._session.headers.update({"Authorization": f"Bearer {token}", "X-GitHub-Api-Version": API_VERSION})
        self._session.headers.update({"Accept": "application/vnd.github+json", "User-Agent": "spack-build-cache"})

    def send(
        self, method: str, path: str, *expect: int, headers: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> requests.Response:
        """Send a request until its status is expected: wait as GitHub asks, and try again what is temporary.

        `path` is below the API, or an address that an answer of the API gave. Raises RegistryError.
        """
        url = path if "://" in path else f"{self.api}/{path}"
        return self.patiently(lambda: self.once(method, url, *expect, headers=headers, body=body))

    def patiently(self, step: Callable[[], T]) -> T:
        """What a step gives, which is tried again where what goes wrong is temporary."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, RegistryError) and error.temporary),
            wait=_wait,
            stop=lambda state: state.attempt_number >= ATTEMPTS or time.monotonic() + state.upcoming_sleep > self.until,
            sleep=self.pause,
            before_sleep=self._tell,
            reraise=True,
        )(step)

    def once(
        self, method: str, url: str, *expect: int, headers: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> requests.Response:
        """Send a request to an address of the API; raise RegistryError where its status isn't expected."""
        where = f"{method} {plain(url)}"
        if method != "GET":
            self._pace()
        for _ in range(REDIRECTIONS + 1):
            try:
                # requests itself would make a GET of a redirected DELETE, and take it to any host.
                response = self._session.request(
                    method, url, headers=dict(headers or {}), json=body, timeout=TIMEOUT, allow_redirects=False
                )
            except (*_FINAL, ValueError) as error:
                raise self.error(f"{where}: {type(error).__name__}", hint="is the address of GitHub's API right?") from None
            except requests.exceptions.RequestException as error:
                raise self.error(f"{where}: {type(error).__name__}: {error}", temporary=True) from None
            with contextlib.suppress(LookupError, ValueError):
                self.remaining, self.reset = (float(response.headers[f"X-RateLimit-{name}"]) for name in ("Remaining", "Reset"))
            if response.status_code in expect:
                return response
            if not response.is_redirect:
                raise self._refusal(where, response)
            url = self.at_home(url, response.headers["Location"])  # Best practices, Follow redirects
        raise self.error(f"{where}: redirected more than {REDIRECTIONS} times")

    def _pace(self) -> None:
        # Best practices, Pause between mutative requests: a second at least. Seen: 1,700 versions in 30 minutes, throttled
        # (Aureliolo/synthorg#2394).
        wait = self._changed + self._interval - time.monotonic()
        if wait > 0:
            self.pause(wait)
        self._changed = time.monotonic()

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._say(f"{self.name}: waiting {state.upcoming_sleep:.0f} s, then trying again: {error}")

    def at_home(self, base: str, url: str) -> str:
        """An address that an answer gave; raise RegistryError where it isn't GitHub's API."""
        with contextlib.suppress(ValueError):
            url = urljoin(base, url)
            if urlsplit(url)[:2] == urlsplit(self.api)[:2]:
                return url
        raise self.error(f"{self.name}: GitHub's API sends elsewhere, where the token must not go: {plain(url)}")

    def _refusal(self, where: str, response: requests.Response) -> RegistryError:
        status, words, asked = response.status_code, "", _asked(response)
        with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
            words = str(response.json()["message"])
        # Rate limits for the REST API, Exceeding the rate limit: a 403 or a 429; any other 403 is final.
        limited = status == 429 or (status == 403 and (asked is not None or "rate limit" in words.lower()))
        hint = "run it again later: it goes on where it stopped" if limited else self.hint(f"{status} {words}")
        message = f"{where}: {status} {words or response.reason or ''}"
        return self.error(message, status=status, hint=hint, temporary=limited or status >= 500, retry_after=asked)

    def error(self, message: str, **kwargs: Any) -> RegistryError:
        """An error that doesn't tell the token."""
        return RegistryError(printable(message.replace(self._token, "***"))[:1000], **kwargs)

    def hint(self, refusal: str) -> str:
        """What to do about a refusal, by its status and words."""
        return next((hint for pattern, hint in self._hints.items() if re.search(pattern, refusal)), "")


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


def plain(url: str) -> str:
    """An address without its query, which may hold what nobody is to read."""
    return url.split("?", 1)[0]
