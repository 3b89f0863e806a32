"""oras-py's registry client with what it lacks put in. The only module that knows oras, and what to keep it from doing.

oras brings the session and the road of a request through authentication; here are time limits, a token that all threads
share and that renews itself, and errors that say which request failed, why, and whether it is worth another try.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any
from urllib.parse import urlsplit

import oras.auth.utils
import oras.provider
import requests
import urllib3.exceptions
from oras.auth.token import TokenAuth
from requests.adapters import HTTPAdapter

from cachelib.model.errors import RegistryError
from cachelib.model.oci import RegistryLocation
from cachelib.model.text import printable
from cachelib.tools.answers import cause_of, error_of, plain_url, settle
from cachelib.tools.credentials import Credentials
from cachelib.tools.files import BLOCK, read_blocks
from cachelib.tools.pacer import Pacer

#: The longest that a registry's Retry-After is followed (seconds).
LONGEST_ASKED = 120.0
#: Seconds to wait for a connection, and for the next bytes of an answer.
TIMEOUT = (15.0, 120.0)
# Of what requests raises, this is no better the next time (and may name a header, whose value is nobody's business).
_FINAL = (
    requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader, requests.exceptions.TooManyRedirects,
)  # fmt: skip


class FileBody:
    """A body that knows its length and can be sent again: requests streams what can be iterated and has no `read`."""

    def __init__(self, open_blob: Callable[[], IO[bytes]], size: int) -> None:
        self._open = open_blob
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        with self._open() as file:
            yield from read_blocks(file)


class OrasClient(oras.provider.Registry):  # type: ignore[misc]
    """oras's registry client, with what it lacks put in."""

    def __init__(self, location: RegistryLocation, credentials: Credentials | None, connections: int, pacer: Pacer) -> None:
        super().__init__(hostname=location.host, insecure=location.plain_http)
        self._location = location
        self._answered = False
        self._pacer = pacer
        adapter = _Adapter(pool_connections=4, pool_maxsize=connections, before=self._pace)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)
        # Without a callable here, requests would put the password of ~/.netrc in the place of our token.
        self.session.auth = lambda request: request
        self.session.headers["User-Agent"] = "spack-build-cache"
        # Digests are of the bytes as they are stored: nothing on the way is to squeeze them.
        self.session.headers["Accept-Encoding"] = "identity"
        self.auth = _Auth(self.session, location, credentials)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | FileBody | None = None,
        stream: bool = False,
        absent: bool = False,
        expect: tuple[int, ...] = (200,),
    ) -> Any:
        """Send one request; return its answer if its status is expected, or nothing for an expected 404. Raise RegistryError."""
        where = f"{method} {plain_url(url)}"
        try:
            # The bare request with oras's authentication, without the retry around it: that one retries what it
            # shouldn't (a 403 for two minutes) and not what it should (a 503).
            request = oras.provider.Registry.do_request.__wrapped__
            if _at_home(url, self._location):
                response = request(self, url, method, data=body, headers=dict(headers or {}), stream=True)
            else:
                # Storage elsewhere that an upload is sent to: its address is signed, and our token is none of its business.
                response = self.session.request(method, url, data=body, headers=dict(headers or {}), stream=True)
        except RegistryError as error:
            raise self._heed(error) from None
        except requests.exceptions.SSLError as error:
            raise RegistryError(
                f"{where}: {error}",
                hint="set SSL_CERT_FILE (or REQUESTS_CA_BUNDLE) to the authority of its certificate; "
                "a registry that speaks plain http is written oci+http://",
            ) from None
        except (*_FINAL, ValueError) as error:
            raise RegistryError(printable(f"{where}: no address that can be asked: {type(error).__name__}")) from None
        except requests.exceptions.RequestException as error:
            cause = cause_of(error)
            # Nobody there, or no such name: waiting minutes for it helps nobody, unless it was there a moment ago.
            gone = isinstance(cause, ConnectionRefusedError | socket.gaierror) and not self._answered
            message = printable(f"{where}: {type(cause).__name__}: {cause}")
            raise RegistryError(message, temporary=not gone, hint="is the address right, and the network up?") from None
        self._answered = True
        if response.status_code in expect:
            if not stream:
                settle(response)  # nobody asked for a body, so it may be without end
            return response
        if absent and response.status_code == 404:
            settle(response)  # read to its end, or the connection is lost with it
            return None
        raise self._heed(error_of(where, response))

    def _heed(self, error: RegistryError) -> RegistryError:
        """Have all threads wait as long as one was told to: a limit is for all of them."""
        if error.retry_after is not None and error.temporary:
            self._pacer.hold(min(error.retry_after, LONGEST_ASKED))
        return error

    def _pace(self, url: str) -> None:
        if _at_home(url, self._location):
            self._pacer.wait()

    def blocks(self, response: requests.Response) -> Iterator[bytes]:
        """The body of an answer, block by block, without undoing any content encoding: digests are of the bytes sent."""
        try:
            yield from response.raw.stream(BLOCK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            where = f"GET {plain_url(response.url)}"
            raise RegistryError(f"{where}: the answer broke off: {cause_of(error)}", temporary=True) from None


class _Auth(TokenAuth):  # type: ignore[misc]
    """Answers a registry's challenge: one token for all threads, for pull and push, renewed when it has expired."""

    def __init__(self, session: requests.Session, location: RegistryLocation, credentials: Credentials | None) -> None:
        super().__init__()
        self.token: str | None = None
        self._anonymous = self._challenge = ""
        self.session = session
        self._location = location
        self._credentials = credentials
        self._lock = threading.Lock()

    def get_auth_header(self) -> dict[str, str]:
        return {"Authorization": self.token} if self.token else {}

    def authenticate_request(
        self, original: requests.Response, headers: dict[str, str], refresh: bool = False
    ) -> tuple[dict[str, str], bool]:
        """Return headers to try again with; raise RegistryError where trying again would not help."""
        reading = original.request.method in ("GET", "HEAD")
        where = f"{original.request.method} {plain_url(original.request.url or '')}"
        settle(original)
        with self._lock:
            sent = original.request.headers.get("Authorization")
            error = error_of(where, original)
            if error.temporary or not _at_home(original.request.url or "", self._location):
                raise error  # a rate limit, or a stranger that a blob was redirected to: no token helps
            if refresh and original.status_code == 401 and self.token and sent != self.token:
                error.temporary = True  # another thread has renewed it meanwhile
                raise error
            if original.status_code == 403 or refresh:
                # ghcr.io answers so to bad credentials, for public packages too: read this one as anybody.
                if not (self._credentials and reading):
                    raise error
                self._anonymous = self._anonymous or self._answer(original, None, error)
                return {**headers, "Authorization": self._anonymous}, True
            if not (self.token and sent != self.token):  # else another thread has renewed it meanwhile
                self.token = self._answer(original, self._credentials, error, or_anybody=reading)
        return {**headers, **self.get_auth_header()}, True

    def _answer(
        self, original: requests.Response, credentials: Credentials | None, error: RegistryError, *, or_anybody: bool = False
    ) -> str:
        # A 403 often comes without a challenge; the one before it tells where tokens are.
        self._challenge = challenge = original.headers.get("Www-Authenticate", "") or self._challenge
        if challenge.lower().startswith("basic"):
            if credentials is None or original.request.headers.get("Authorization") == credentials.basic():
                raise error
            return credentials.basic()
        header = oras.auth.utils.parse_auth_header(challenge)
        if not header.realm:
            raise error
        if not self._trusted(header.realm):
            credentials = None  # never a password over plain http, where the registry itself is https
        token = self._token(header, credentials)
        if token is None and credentials is not None and or_anybody:
            token = self._token(header, None)
        if token is None:
            raise error
        return f"Bearer {token}"

    def _token(self, header: Any, credentials: Credentials | None) -> str | None:
        # distribution, Token Authentication Specification. Not the challenge's scope: it is the first request's, and a
        # registry that honours scopes would then refuse the push that follows a look.
        actions = "pull,push" if credentials else "pull"
        params = {"scope": f"repository:{self._location.repository}:{actions}"}
        if header.service:
            params["service"] = header.service
        headers = {"Authorization": credentials.basic()} if credentials else {}
        response = self.session.get(header.realm, params=params, headers=headers, stream=True)
        if settle(response):
            raise RegistryError(f"GET {plain_url(header.realm)}: the answer broke off", temporary=True)
        if response.status_code in (400, 401, 403, 404):
            if (error := error_of(f"GET {plain_url(header.realm)}", response)).temporary:
                raise error  # a rate limit, told as a 403
            return None
        if response.status_code != 200:
            raise error_of(f"GET {plain_url(header.realm)}", response)
        try:
            data = response.json()
            token = data.get("token") or data.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        # What is no token would be repeated in the error that it makes as a header.
        return token if isinstance(token, str) and token.isascii() and token.isprintable() and token else None

    def _trusted(self, realm: str) -> bool:
        return self._location.plain_http or urlsplit(realm).scheme == "https"


class _Adapter(HTTPAdapter):
    """Time limits for every request, and large blocks for bodies; `before` is called before each one is sent."""

    def __init__(self, *, before: Callable[[str], None], **kwargs: Any) -> None:
        self._before = before
        super().__init__(**kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, blocksize=BLOCK, **kwargs)

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or TIMEOUT
        self._before(request.url or "")
        return super().send(request, *args, **kwargs)


def _at_home(url: str, location: RegistryLocation) -> bool:
    """Whether an address is the registry's own: only there do credentials go."""
    try:
        return urlsplit(url)[:2] == ("http" if location.plain_http else "https", location.host)
    except ValueError:
        return False
