"""A repository in a registry, over oras-py. The only module that knows oras, and what to keep it from doing.

oras brings the session and the road of a request through authentication; this module brings what it lacks: time limits,
retries of what is temporary (and of nothing else), tokens that renew themselves, bodies that stream, answers that are
checked against their digests, and errors that say which request failed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import oras.auth.utils
import oras.provider
import requests
import tenacity
import urllib3.exceptions
from oras.auth.token import TokenAuth
from requests.adapters import HTTPAdapter
from urllib3.util import parse_url

from cachelib.model.digest import Digest
from cachelib.model.errors import RegistryError
from cachelib.model.oci import MANIFEST_LIMIT, MANIFEST_TYPES, Descriptor, RawManifest, RegistryLocation, check_tag
from cachelib.tools.credentials import Credentials
from cachelib.tools.files import BLOCK, read_blocks

T = TypeVar("T")

#: Seconds to wait for a connection, and for the next bytes of an answer.
TIMEOUT = (15.0, 120.0)
#: How often a temporary failure is tried, and the longest wait in between (seconds).
ATTEMPTS, LONGEST_WAIT = 7, 60.0
#: Bytes of one page of a tag list. Some registries know no pages and answer with all tags at once.
TAGS_LIMIT = 256 * 1024 * 1024
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
# ghcr.io answers so now and then to uploads that are right (distribution-spec, Error Codes).
_TEMPORARY_CODES = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "MANIFEST_BLOB_UNKNOWN", "TOOMANYREQUESTS"})


class RegistryRepository:
    """One repository in a registry; safe to use from many threads, which share its connections and its token."""

    def __init__(self, location: RegistryLocation, credentials: Credentials | None, *, connections: int = 16) -> None:
        self._location = location
        self._base = f"{'http' if location.plain_http else 'https'}://{location.host}/v2/{location.repository}"
        self._client = _Client(location, credentials, connections)

    @property
    def name(self) -> str:
        """The host and the repository."""
        return f"{self._location.host}/{self._location.repository}"

    def tags(self) -> frozenset[str]:
        """All tags, page by page; none where the repository does not exist yet."""
        tags: set[str] = set()
        url: str | None = f"{self._base}/tags/list?n=1000"
        while url is not None:
            response = self._get(url, {}, TAGS_LIMIT)
            if response is None:
                break
            try:
                tags.update(map(str, response.json().get("tags") or ()))
            except (ValueError, AttributeError, TypeError) as error:
                raise RegistryError(f"{self.name}: the tag list is not JSON: {error}") from None
            url = self._next_page(response)
        return frozenset(tags)

    def manifest(self, reference: str) -> RawManifest | None:
        """The manifest of a tag or digest, or nothing where there is none."""
        if not reference.startswith("sha256:"):
            check_tag(reference)
        response = self._get(f"{self._base}/manifests/{reference}", {"Accept": ", ".join(MANIFEST_TYPES)})
        if response is None:
            return None
        manifest = RawManifest(media_type=response.headers.get("Content-Type", "").split(";")[0].strip(), data=response.content)
        expected = reference if reference.startswith("sha256:") else response.headers.get("Docker-Content-Digest", "")
        if expected.startswith("sha256:") and expected != str(manifest.digest):
            raise RegistryError(f"{self.name}: the manifest of {reference} should be {expected}, but is {manifest.digest}")
        return manifest

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """A small blob, whole."""
        return b"".join(self.stream_blob(descriptor))

    def stream_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A blob in pieces, going on where a broken connection left off; its end is given only if the digest is right."""
        url = f"{self._base}/blobs/{descriptor.digest}"
        hasher, size, held = hashlib.sha256(), 0, b""

        def read() -> Iterator[bytes]:
            headers = {"Range": f"bytes={size}-"} if size else {}
            response = self._client.send("GET", url, headers=headers, stream=True)
            with response:
                skip = size if size and response.status_code == 200 else 0
                for block in self._client.blocks(response):
                    yield block[skip:]
                    skip = max(0, skip - len(block))

        for attempt in range(1, ATTEMPTS + 1):
            try:
                for block in read():
                    hasher.update(block)
                    size += len(block)
                    if size > descriptor.size:
                        break
                    if held:
                        yield held
                    held = block
                break
            except RegistryError as error:
                if not error.temporary or attempt == ATTEMPTS:
                    raise
                _pause(attempt, error)
        if hasher.hexdigest() != descriptor.digest.hex or size != descriptor.size:
            raise RegistryError(
                f"{self.name}: blob {descriptor.digest} has other content than its digest says ({size} of {descriptor.size} bytes)",
                hint="try again; `inv verify` tells whether the registry or the road to it is at fault",
            )
        if held:
            yield held

    def has_blob(self, digest: Digest) -> bool:
        """Whether the blob is there."""
        found = _retry(lambda: self._client.send("HEAD", f"{self._base}/blobs/{digest}", absent=True))
        return found is not None

    def put_blob(self, descriptor: Descriptor, open_blob: Callable[[], IO[bytes]]) -> int:
        """Send a blob unless it is there: POST, then one PUT (chunks are slow, and ghcr.io takes none over 4 MiB)."""
        body = _Body(open_blob, descriptor.size)

        def put() -> int:
            # Each try asks again: the last one may have arrived although its answer didn't.
            if self._client.send("HEAD", f"{self._base}/blobs/{descriptor.digest}", absent=True) is not None:
                return 0
            opened = self._client.send("POST", f"{self._base}/blobs/uploads/", headers={"Content-Length": "0"})
            location = opened.headers.get("Location", "")
            if not location:
                raise RegistryError(f"{self.name}: the registry opened an upload but told no Location for it", temporary=True)
            url = urljoin(f"{self._base}/", location)
            url += ("&" if urlsplit(url).query else "?") + urlencode({"digest": str(descriptor.digest)})
            self._client.send("PUT", url, headers={"Content-Type": "application/octet-stream"}, body=body)
            return descriptor.size

        return _retry(put)

    def put_manifest(self, manifest: RawManifest, tag: str | None) -> None:
        """Store a manifest, by its tag or by its digest alone."""
        url = f"{self._base}/manifests/{check_tag(tag) if tag else manifest.digest}"
        response = _retry(lambda: self._client.send("PUT", url, headers={"Content-Type": manifest.media_type}, body=manifest.data))
        stored = response.headers.get("Docker-Content-Digest", "")
        if stored.startswith("sha256:") and stored != str(manifest.digest):
            raise RegistryError(f"{self.name}: the registry stored {manifest.digest} as {stored}")

    def flush(self) -> None:
        """Nothing to do: a registry keeps what it answered for."""

    def _get(self, url: str, headers: Mapping[str, str], limit: int = MANIFEST_LIMIT) -> requests.Response | None:
        def get() -> requests.Response | None:
            response = self._client.send("GET", url, headers=headers, absent=True, stream=True)
            if response is not None:
                with response:
                    content = b""
                    for block in self._client.blocks(response):
                        content += block
                        if len(content) > limit:
                            raise RegistryError(f"{_plain(url)} answered with more than {limit} bytes")
                    response._content = content
            found: requests.Response | None = response
            return found

        return _retry(get)

    def _next_page(self, response: requests.Response) -> str | None:
        # distribution-spec, Listing Tags: follow the Link header until there is none.
        link = response.links.get("next", {}).get("url")
        if not link:
            return None
        url = urljoin(response.url, link)
        if urlsplit(url).netloc != urlsplit(response.url).netloc:
            raise RegistryError(f"{self.name}: the next page of the tag list is on another host: {_plain(url)}")
        return url


class _Client(oras.provider.Registry):  # type: ignore[misc]
    """oras's registry client, with what it lacks put in."""

    def __init__(self, location: RegistryLocation, credentials: Credentials | None, connections: int) -> None:
        super().__init__(hostname=location.host, insecure=location.plain_http)
        adapter = _Adapter(pool_connections=4, pool_maxsize=connections)
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)
        # Without a callable here, requests would put the password of ~/.netrc in the place of our token.
        self.session.auth = lambda request: request
        self.session.headers["User-Agent"] = "spack-build-cache"
        self.auth = _Auth(self.session, location, credentials)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | _Body | None = None,
        stream: bool = False,
        absent: bool = False,
    ) -> Any:
        """Send one request; return its answer, or nothing for a 404 where `absent` is expected. Raise RegistryError."""
        where = f"{method} {_plain(url)}"
        try:
            # The bare request with oras's authentication, without the retry around it: that one retries what it
            # shouldn't (a 403 for two minutes) and not what it should (a 503).
            request = oras.provider.Registry.do_request.__wrapped__
            response = request(self, url, method, data=body, headers=dict(headers or {}), stream=stream)
        except requests.exceptions.SSLError as error:
            raise RegistryError(
                f"{where}: {error}", hint="set SSL_CERT_FILE (or REQUESTS_CA_BUNDLE) to the authority of its certificate"
            ) from None
        except requests.exceptions.RequestException as error:
            raise RegistryError(f"{where}: {_reason(error)}", temporary=True, hint="is the address right, and the network up?") from None
        if response.status_code < 400:
            return response
        if absent and response.status_code == 404:
            response.close()
            return None
        raise _error(where, response)

    def blocks(self, response: requests.Response) -> Iterator[bytes]:
        """The body of an answer, block by block, without undoing any content encoding: digests are of the bytes sent."""
        try:
            yield from response.raw.stream(BLOCK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            where = f"GET {_plain(response.url)}"
            raise RegistryError(f"{where}: the answer broke off: {_reason(error)}", temporary=True) from None


class _Auth(TokenAuth):  # type: ignore[misc]
    """Answers a registry's challenge: one token for all threads, for pull and push, renewed when it has expired."""

    def __init__(self, session: requests.Session, location: RegistryLocation, credentials: Credentials | None) -> None:
        super().__init__()
        self.token: str | None = None
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
        where = f"{original.request.method} {_plain(original.request.url or '')}"
        original.close()
        with self._lock:
            sent = original.request.headers.get("Authorization")
            if not (self.token and sent != self.token):  # else another thread has renewed it meanwhile
                if original.status_code == 403 and not (self._credentials and reading):
                    raise _error(where, original)
                if original.status_code == 403 or refresh:
                    # ghcr.io answers so to bad credentials, for public packages too: read them as anybody.
                    self._credentials = None
                self.token = self._answer(original, reading, where)
        return {**headers, **self.get_auth_header()}, True

    def _answer(self, original: requests.Response, reading: bool, where: str) -> str:
        challenge = original.headers.get("Www-Authenticate", "")
        if challenge.lower().startswith("basic"):
            if self._credentials is None or original.request.headers.get("Authorization") == self._credentials.basic():
                raise _error(where, original)
            return self._credentials.basic()
        header = oras.auth.utils.parse_auth_header(challenge)
        if not header.realm:
            raise _error(where, original)
        credentials = self._credentials
        if not self._trusted(header.realm):
            credentials = None  # never a password over plain http, where the registry itself is https
        token = self._token(header, credentials)
        if token is None and credentials is not None and reading:
            token = self._token(header, None)
        if token is None:
            raise _error(where, original)
        return f"Bearer {token}"

    def _token(self, header: Any, credentials: Credentials | None) -> str | None:
        # distribution, Token Authentication Specification. Not the challenge's scope: it is the first request's, and a
        # registry that honours scopes would then refuse the push that follows a look.
        actions = "pull,push" if credentials else "pull"
        params = {"scope": f"repository:{self._location.repository}:{actions}"}
        if header.service:
            params["service"] = header.service
        headers = {"Authorization": credentials.basic()} if credentials else {}
        response = self.session.get(header.realm, params=params, headers=headers)
        if response.status_code in (400, 401, 403, 404):
            return None
        if response.status_code != 200:
            raise _error(f"GET {_plain(header.realm)}", response)
        try:
            data = response.json()
            token = data.get("token") or data.get("access_token")
        except (ValueError, AttributeError):
            token = None
        return str(token) if token else None

    def _trusted(self, realm: str) -> bool:
        return self._location.plain_http or urlsplit(realm).scheme == "https"


class _Adapter(HTTPAdapter):
    """Time limits for every request, and large blocks for bodies."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, blocksize=BLOCK, **kwargs)

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or TIMEOUT
        return super().send(request, *args, **kwargs)


class _Body:
    """A body that knows its length and can be sent again: requests streams what can be iterated and has no `read`."""

    def __init__(self, open_blob: Callable[[], IO[bytes]], size: int) -> None:
        self._open = open_blob
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        with self._open() as file:
            yield from read_blocks(file)


def _retry(call: Callable[[], T]) -> T:
    """Try again what is temporary, waiting as long as the registry asks or ever longer."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, RegistryError) and error.temporary),
        wait=_wait,
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        reraise=True,
    )(call)


_backoff = tenacity.wait_random_exponential(multiplier=0.3, max=LONGEST_WAIT)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, RegistryError) else None
    return max(_backoff(state), min(asked or 0.0, LONGEST_WAIT))


def _pause(attempt: int, error: RegistryError) -> None:
    threading.Event().wait(max(min(0.3 * 2**attempt, LONGEST_WAIT), min(error.retry_after or 0.0, LONGEST_WAIT)))


def _error(where: str, response: requests.Response) -> RegistryError:
    """Make an error of an answer: the registry's own code and words, and what to do about it."""
    status, code, words = response.status_code, "", ""
    try:
        first = response.json()["errors"][0]
        code, words = str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError, requests.RequestException):
        pass
    limited = status == 429 or (status == 403 and "rate limit" in words.lower())
    return RegistryError(
        f"{where}: {status} {code or response.reason or ''} {words}".rstrip(),
        status=status,
        code=code,
        temporary=limited or status in _TEMPORARY or code in _TEMPORARY_CODES,
        retry_after=_seconds(response.headers.get("Retry-After")),
        hint=_HINTS.get(status, ""),
    )


_HINTS = {
    401: "log in with `docker login` or `podman login`, or set CACHE_REGISTRY_USERNAME and CACHE_REGISTRY_PASSWORD",
    403: "the credentials may not write here: on GitHub the job needs `permissions: packages: write`, and the package must "
    "grant this repository write access (its settings, Manage Actions access)",
    404: "does the repository exist, and is it public?",
    413: "the registry takes no layer of this size",
}


def _seconds(retry_after: str | None) -> float | None:
    try:
        return float(retry_after) if retry_after else None
    except ValueError:
        return None  # a date: wait as if none was told


def _plain(url: str) -> str:
    """The address without what may be secret in it: user, password, query."""
    parsed = parse_url(url)
    return f"{parsed.scheme}://{parsed.netloc}{parsed.path or ''}"


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line: the chain of urllib3 is longer than its news."""
    while isinstance(inner := (error.__cause__ or error.__context__ or getattr(error, "reason", None)), BaseException):
        error = inner
    return f"{type(error).__name__}: {error}".splitlines()[0]
