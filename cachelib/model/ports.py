"""The seams: what steps ask of the outside, as protocols that tools fulfil and tests play."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import IO, Protocol

from cachelib.model.digest import Digest
from cachelib.model.entry import BlobRecord, Entry, TarballInfo
from cachelib.model.errors import MirrorError
from cachelib.model.oci import Descriptor, RawManifest
from cachelib.model.record import Record


class Repository(Protocol):
    """One repository of OCI images: a registry's, or a directory's. All methods may be called from several threads.

    Every read is checked against its digest and size; every method raises RegistryError where the outside fails.
    """

    @property
    def name(self) -> str:
        """Where it is, for people: `ghcr.io/owner/repo/v1.1`."""

    def tags(self) -> frozenset[str]:
        """All tags; none where the repository does not exist yet."""

    def manifest(self, reference: str) -> RawManifest | None:
        """The manifest of a tag or digest, or nothing where there is none."""

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """A small blob, whole."""

    def stream_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A blob in pieces; the last piece is only given after digest and size were found right."""

    def put_blob(self, descriptor: Descriptor, open_blob: Callable[[], IO[bytes]], *, replace: bool = False) -> int:
        """Store a blob unless it is there (with `replace`, even then); return the bytes that were sent.

        `open_blob` may be called again on a retry.
        """

    def put_manifest(self, manifest: RawManifest, tag: str | None) -> None:
        """Store a manifest; its blobs must be there. With a tag, name it so: the last and only visible act of a push."""

    def flush(self) -> None:
        """Make everything that was put durable and visible."""


class Mirror(Protocol):
    """A local Spack mirror, layout v3, with our records beside the entries."""

    def entries(self, on_damage: Callable[[MirrorError], None] | None = None) -> Iterator[Entry]:
        """All entries, sorted by path; a damaged one is told to `on_damage`, or raised where nobody listens."""

    def record(self, dag_hash: str) -> Record | None:
        """The record of a spec, where the build left one."""

    def inspect_tarball(self, blob: BlobRecord) -> TarballInfo:
        """Digests and contents of a tarball in one pass, remembered; raises MirrorError if it isn't what it claims."""

    def open_blob(self, digest: Digest) -> IO[bytes]:
        """Open a blob for reading."""


class Progress(Protocol):
    """Tells a person how far a long step is."""

    def start(self, what: str, total: int) -> None:
        """A step of `total` items begins."""

    def advance(self, item: str) -> None:
        """One item is done; `item` says which and how."""

    def say(self, line: str) -> None:
        """Something worth a line of its own."""

    def finish(self) -> None:
        """The step is over."""


class Templates(Protocol):
    """Renders a named template over plain values, with every value escaped."""

    def render(self, name: str, values: dict[str, object]) -> bytes: ...

    def asset(self, name: str) -> bytes: ...


#: A site to be written: a path below the site's root, and its bytes.
File = tuple[PurePosixPath, bytes]
Files = Iterable[File]
