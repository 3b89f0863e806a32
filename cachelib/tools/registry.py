"""A repository in a registry (OCI distribution-spec): streams, retries what is temporary, checks what it reads."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import requests
import tenacity

from cachelib.model.digest import Digest
from cachelib.model.errors import RegistryError
from cachelib.model.oci import (
    BLOB_LIMIT,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    TAGS_LIMIT,
    Descriptor,
    RawManifest,
    RegistryLocation,
    check_tag,
    is_tag,
)
from cachelib.model.outcome import Swept
from cachelib.tools.answers import plain_url
from cachelib.tools.credentials import Credentials
from cachelib.tools.oras_client import LONGEST_ASKED, FileBody, OrasClient
from cachelib.tools.pacer import Pacer
from cachelib.tools.tag_list import listed, next_page
from cachelib.tools.whole import read_whole

T = TypeVar("T")

#: How often a temporary failure is tried, and the longest wait in between (seconds).
ATTEMPTS, LONGEST_WAIT = 12, 30.0
#: A blob of this many bytes is asked for before it is sent, whatever the registry: a request is cheaper than sending it twice.
LARGE = 8 * 1024 * 1024
#: At most so often is it said that one waits (seconds).
SECONDS_BETWEEN_WORDS = 10.0


class RegistryRepository:
    """One repository in a registry; safe to use from many threads, which share its connections and its token."""

    def __init__(
        self,
        location: RegistryLocation,
        credentials: Credentials | None,
        *,
        connections: int = 16,
        pacer: Pacer | None = None,
        say: Callable[[str], None] = lambda _: None,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._location = location
        self._say = say
        self._told = 0.0
        self._mounts, self._origins, self._attempts = True, True, attempts
        self._base = f"{'http' if location.plain_http else 'https'}://{location.host}/v2/{location.repository}"
        self._client = OrasClient(location, credentials, connections, pacer or Pacer())

    @property
    def name(self) -> str:
        """The host and the repository."""
        return f"{self._location.host}/{self._location.repository}"

    @property
    def host(self) -> str:
        """The registry that it is in."""
        return self._location.host

    def tags(self) -> frozenset[str]:
        """All tags, page by page; none where the repository does not exist yet."""
        tags: set[str] = set()
        seen: set[str] = set()
        left = TAGS_LIMIT  # of all pages together: how many there are is the registry's to choose, and they may be empty
        url: str | None = f"{self._base}/tags/list?n=1000"
        while url is not None:
            response = self._get(url, {}, TAGS_LIMIT)
            if response is None and not seen:
                break  # no repository yet
            if response is None or url in seen:
                raise RegistryError(f"{self.name}: the tag list breaks off or runs in a circle at {plain_url(url)}", temporary=True)
            seen.add(url)
            left -= max(len(response.content), 1000)
            if left < 0:
                raise RegistryError(f"{self.name}: the tag list has more than {TAGS_LIMIT} bytes")
            tags.update(listed(response, self.name))
            url = next_page(response, self.name, self._base)
        # What is no tag can't be asked for; a registry that lists it is not repeated.
        return frozenset(filter(is_tag, tags))

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

    def read_blob(self, descriptor: Descriptor, limit: int = BLOB_LIMIT) -> bytes:
        """A blob, whole; raise RegistryError where it has more than `limit` bytes."""
        return read_whole(self, descriptor, limit)

    def stream_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A blob in pieces, going on where a broken connection left off; its end is given only if the digest is right."""
        url = f"{self._base}/blobs/{descriptor.digest}"
        hasher, size, held = hashlib.sha256(), 0, b""

        def read() -> Iterator[bytes]:
            headers = {"Range": f"bytes={size}-"} if size else {}
            response = self._client.send("GET", url, headers=headers, stream=True, expect=(200, 206))
            with response:
                skip = size if size and response.status_code == 200 else 0
                for block in self._client.blocks(response):
                    yield block[skip:]
                    skip = max(0, skip - len(block))

        for attempt in range(1, self._attempts + 1):
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
                if not error.temporary or attempt == self._attempts:
                    raise
                _pause(attempt, error)
        if hasher.hexdigest() != descriptor.digest.hex or size != descriptor.size:
            raise RegistryError(
                f"{self.name}: blob {descriptor.digest} has other content than its digest says ({size} of {descriptor.size} bytes)",
                hint="try again; `inv verify` tells whether the registry or the road to it is at fault",
            )
        if held:
            yield held

    def put_blob(self, descriptor: Descriptor, open_blob: Callable[[], IO[bytes]], *, replace: bool = False, origin: str = "") -> int:
        """Send a blob unless it is there: POST, then one PUT (chunks are slow, and ghcr.io takes none over 4 MiB)."""
        body = FileBody(open_blob, descriptor.size)

        def put() -> int:
            # Each try asks again: the last one may have arrived although its answer didn't.
            if not replace and (descriptor.size >= LARGE or not self._mounts) and self._has(descriptor):
                return 0
            url = self._open_upload(descriptor, origin, replace=replace)
            if url is None:
                return 0
            self._client.send("PUT", url, headers={"Content-Type": "application/octet-stream"}, body=body, expect=(201,))
            return descriptor.size

        return self._retry(put)

    def _has(self, descriptor: Descriptor) -> bool:
        try:
            return self._client.send("HEAD", f"{self._base}/blobs/{descriptor.digest}", absent=True) is not None
        except RegistryError as error:
            if error.status != 403:
                raise
            return False  # an answer without a body: whether it is a refusal or a limit, the POST will tell

    def _open_upload(self, descriptor: Descriptor, origin: str, *, replace: bool) -> str | None:
        """Where to send a blob, or nothing where it is there: one request asks for it and opens the upload for it.

        distribution-spec, Mounting a blob from another repository. From this one it is mounted where it was all along;
        a registry that doesn't know what is meant opens an upload.
        """
        mount = self._mounts and not replace
        host, _, other = origin.partition("/")
        own = self._location.repository
        source = other if self._origins and host == self._location.host else own
        query = "?" + urlencode({"mount": str(descriptor.digest), "from": source}) if mount else ""
        try:
            opened = self._client.send(
                "POST", f"{self._base}/blobs/uploads/{query}", headers={"Content-Length": "0"}, expect=(201, 202) if mount else (202,)
            )
        except RegistryError as error:
            if mount and source != own and error.status in (401, 403):
                self._origins = False  # the token is for this repository alone: what is in others is sent
                raise RegistryError(error.message, hint=error.hint, status=error.status, temporary=True) from None
            if not mount or error.temporary or error.status not in (400, 404, 405):
                raise
            self._mounts = False  # it knows no mounts: from now on each blob is asked for first
            raise RegistryError(error.message, hint=error.hint, status=error.status, temporary=True) from None
        if opened.status_code == 201:
            return None
        location = str(opened.headers.get("Location", ""))
        if not location:
            raise RegistryError(f"{self.name}: the registry opened an upload but told no Location for it", temporary=True)
        try:
            url = urljoin(f"{self._base}/", location)
        except ValueError:
            raise RegistryError(f"{self.name}: the registry told a Location that is no address") from None
        return url + ("&" if urlsplit(url).query else "?") + urlencode({"digest": str(descriptor.digest)})

    def put_manifest(self, manifest: RawManifest, tag: str | None) -> None:
        """Store a manifest, by its tag or by its digest alone."""
        url = f"{self._base}/manifests/{check_tag(tag) if tag else manifest.digest}"

        def put() -> requests.Response:
            try:
                sent = self._client.send("PUT", url, headers={"Content-Type": manifest.media_type}, body=manifest.data, expect=(201,))
            except RegistryError as error:
                # The bytes are right, being at hand: it is the registry that mixed up two that put the same at once. And it answered for
                # every blob a moment ago: one that it doesn't know now it will know (ghcr.io says `unknown blob`).
                unsettled = error.code in ("DIGEST_INVALID", "BLOB_UNKNOWN") or "unknown blob" in error.message.lower()
                error.temporary = error.temporary or unsettled
                raise
            found: requests.Response = sent
            return found

        response = self._retry(put)
        stored = response.headers.get("Docker-Content-Digest", "")
        if stored.startswith("sha256:") and stored != str(manifest.digest):
            raise RegistryError(f"{self.name}: the registry stored {manifest.digest} as {stored}")

    def delete(self, tag: str, digest: Digest, *, since: float) -> bool:  # noqa: ARG002
        """Delete a manifest by its digest, and its tag with it; a tag that was pushed anew has another digest, and stays."""
        try:
            self._retry(lambda: self._client.send("DELETE", f"{self._base}/manifests/{digest}", expect=(200, 202, 204), absent=True))
        except RegistryError as error:
            if error.status in (405, 501) or error.code == "UNSUPPORTED":
                raise RegistryError(
                    f"{self.name}: the registry deletes nothing: {error.message}",
                    hint="switch deletion on there (docker-registry: storage.delete.enabled)",
                ) from None
            raise
        return True

    def sweep(self, keep: frozenset[Digest], *, before: float) -> Swept:  # noqa: ARG002
        """Nothing to do: what no tag leads to can't be listed, and a registry collects its own garbage."""
        return Swept(count=0, note="the registry frees the bytes when it next collects its garbage")

    def flush(self) -> frozenset[str]:
        """Nothing to do: a registry keeps what it answered for."""
        return frozenset()

    def finish(self) -> frozenset[str]:
        """Nothing to do: each deletion is a request of its own."""
        return frozenset()

    def _retry(self, call: Callable[[], T]) -> T:
        """Try again what is temporary, waiting as long as the registry asks or ever longer."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, RegistryError) and error.temporary),
            wait=_wait,
            stop=tenacity.stop_after_attempt(self._attempts),
            before_sleep=self._tell,
            reraise=True,
        )(call)

    def _tell(self, state: tenacity.RetryCallState) -> None:
        """Say now and then that, and for what, one waits: 16 threads need not say it each."""
        now, error = time.monotonic(), state.outcome.exception() if state.outcome else None
        if state.attempt_number > 2 and now - self._told > SECONDS_BETWEEN_WORDS:
            self._told = now
            self._say(f"{self.name} is in trouble, trying again: {error}")

    def _get(self, url: str, headers: Mapping[str, str], limit: int = MANIFEST_LIMIT) -> requests.Response | None:
        def get() -> requests.Response | None:
            response = self._client.send("GET", url, headers=headers, absent=True, stream=True)
            if response is not None:
                with response:
                    content = bytearray()
                    for block in self._client.blocks(response):
                        content += block
                        if len(content) > limit:
                            raise RegistryError(f"{plain_url(url)} answered with more than {limit} bytes")
                    response._content = bytes(content)
            found: requests.Response | None = response
            return found

        return self._retry(get)


_backoff = tenacity.wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, RegistryError) else None
    return max(_backoff(state), min(asked or 0.0, LONGEST_ASKED))


def _pause(attempt: int, error: RegistryError) -> None:
    threading.Event().wait(max(min(0.3 * 2**attempt, LONGEST_WAIT), min(error.retry_after or 0.0, LONGEST_ASKED)))
