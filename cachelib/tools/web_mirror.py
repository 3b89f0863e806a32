"""Reads somebody else's mirror (layout v3) at `https://`, `http://` or `file://`, its index and its entries: as anybody, within bounds."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

import requests
import urllib3.exceptions

from cachelib.model.database import DATABASE_LIMIT, INDEX_MANIFEST
from cachelib.model.entry import DATABASE, ENTRY_LIMIT, TARBALL, BlobRecord, find_blob, parse_blob_records
from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.text import printable
from cachelib.tools.answers import cause_of, error_of, plain_url
from cachelib.tools.files import BLOCK, open_plain, read_blocks
from cachelib.tools.web import make_session

#: Seconds to wait for a connection and for the next bytes, for all of an index, and of a tarball; redirections that are followed.
TIMEOUT, LONGEST, LONGEST_TARBALL, REDIRECTIONS = (15.0, 60.0), 900.0, 4 * 3600.0, 5


class WebMirror:
    """A mirror that stock Spack reads. Its methods may be called from several threads."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = make_session()
        self._session.max_redirects = REDIRECTIONS
        self._session.headers["Accept-Encoding"] = "identity"

    def index(self) -> BlobRecord:
        """Where the index is; raise RegistryError where that can't be asked, FormatError where the answer says nothing of it."""
        blob = find_blob(parse_blob_records(self.manifest(INDEX_MANIFEST)), DATABASE)
        if blob.compression != "none":
            raise FormatError(f"its index is compressed ({printable(blob.compression)[:40]}), and Spack writes it plain")
        if blob.size > DATABASE_LIMIT:
            raise FormatError(f"its index has {blob.size} bytes: no more than {DATABASE_LIMIT} are read")
        return blob

    def manifest(self, path: PurePosixPath) -> bytes:
        """The file that says what an index or an entry is made of, as it stands; raise RegistryError or FormatError."""
        raw = bytearray()
        for piece in self._read(path.as_posix()):
            raw += piece
            if len(raw) > ENTRY_LIMIT:
                raise FormatError(f"its {path} has more than {ENTRY_LIMIT} bytes")
        return bytes(raw)

    def stream(self, blob: BlobRecord) -> Iterator[bytes]:
        """A blob in pieces; its end is given only if the digest is right."""
        hasher, size, held = hashlib.sha256(), 0, b""
        longest = LONGEST_TARBALL if blob.media_type == TARBALL else LONGEST
        for piece in self._read(f"blobs/sha256/{blob.digest.hex[:2]}/{blob.digest.hex}", longest):
            hasher.update(piece)
            size += len(piece)
            if size > blob.size:
                break
            if held:
                yield held
            held = piece
        if size != blob.size or hasher.hexdigest() != blob.digest.hex:
            what = "the index" if blob.media_type == DATABASE else f"blob {blob.digest}"
            raise RegistryError(f"{self._url}: {what} has other content than its digest says")
        yield held

    def _read(self, path: str, longest: float = LONGEST) -> Iterator[bytes]:
        if self._url.startswith("file://"):
            try:
                with io.BufferedReader(open_plain(Path(unquote(urlsplit(self._url).path)) / path)) as file:
                    yield from read_blocks(file)
            except (OSError, ValueError) as error:
                raise RegistryError(f"{self._url}/{path} can't be read: {error}", status=404) from None
            return
        # Of a version that is a git reference, `@` and `,` may stand in a path; what would cut it may not.
        url, until = f"{self._url}/{quote(path, safe='/+=:,@')}", time.monotonic() + longest
        where = f"GET {plain_url(url)}"
        try:
            with self._session.get(url, timeout=TIMEOUT, stream=True) as response:
                if self._url.startswith("https:") and not response.url.startswith("https:"):
                    raise RegistryError(f"{where} leads from https to {plain_url(response.url)}")
                if response.status_code != 200:
                    raise error_of(where, response)
                for piece in response.raw.stream(BLOCK, decode_content=False):
                    if time.monotonic() > until:
                        raise RegistryError(f"{where} took more than {longest:.0f} s", temporary=True)
                    yield piece
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            cause = cause_of(error)
            raise RegistryError(printable(f"{where}: {type(cause).__name__}: {cause}")[:500], temporary=True) from None
