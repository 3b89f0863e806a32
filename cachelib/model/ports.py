"""The seams: what steps ask of the outside, as protocols that tools fulfil and tests play."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import IO, Protocol

from cachelib.model.attestation import Statement
from cachelib.model.digest import Digest
from cachelib.model.entry import BlobRecord, Entry, EntryName, TarballInfo
from cachelib.model.errors import MirrorError
from cachelib.model.oci import BLOB_LIMIT, Descriptor, RawManifest
from cachelib.model.outcome import Swept
from cachelib.model.record import Record
from cachelib.model.signing import Signature


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

    def read_blob(self, descriptor: Descriptor, limit: int = BLOB_LIMIT) -> bytes:
        """A blob, whole; one of more than `limit` bytes is not read."""

    def stream_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A blob in pieces; the last piece is only given after digest and size were found right."""

    def put_blob(self, descriptor: Descriptor, open_blob: Callable[[], IO[bytes]], *, replace: bool = False, origin: str = "") -> int:
        """Store a blob unless it is there (with `replace`, even then); return the bytes that were sent.

        `open_blob` may be called again on a retry. `origin` is the name of a repository that holds it: one of the same registry need
        not be sent.
        """

    def put_manifest(self, manifest: RawManifest, tag: str | None) -> None:
        """Store a manifest; its blobs must be there. With a tag, name it so: the last and only visible act of a push."""

    def flush(self) -> frozenset[str]:
        """Make everything that was put durable and visible; return the tags that could not be named after all.

        Such a tag's image lost a part to a sweep before it was named; what the tag named before stands.
        """


class Deleter(Protocol):
    """Deletes from a repository; what stands for a registry's own way to do so."""

    def delete(self, tag: str, digest: Digest, *, since: float) -> bool:
        """Delete a manifest and its tag; say whether it was deleted, not spared because it was pushed anew after `since`.

        `since` is in seconds since the epoch. Raises RegistryError where it can't be deleted.
        """

    def finish(self) -> frozenset[str]:
        """Carry out deletions that were gathered; return the tags that stayed, as they were pushed anew meanwhile."""

    def sweep(self, keep: frozenset[Digest], *, before: float) -> Swept:
        """Delete what no tag leads to and what is older than `before` (seconds since the epoch); `keep` is spared."""


class Attestations(Protocol):
    """The attestations that are kept of images, and what is made of them."""

    def bundles(self, digest: Digest) -> Sequence[bytes]:
        """What is kept for a manifest: Sigstore bundles, as JSON. Raises RegistryError where that can't be told."""

    def read(self, bundle: bytes) -> Statement:
        """What a bundle states; raises VerifyError where it isn't to be believed."""


class Verifier(Protocol):
    """Tells what signatures are worth, by the keys that it knows. May be asked from several threads."""

    def verify(self, message: bytes) -> Signature:
        """What the one signature of a clear-signed message comes to."""


class Signer(Protocol):
    """Signs with a key that it holds."""

    def sign(self, text: bytes, fingerprint: str) -> bytes:
        """A text as a clear-signed message; raises SigningError."""


class Mirror(Protocol):
    """A local Spack mirror, layout v3, with our records beside the entries."""

    def names(self, on_damage: Callable[[MirrorError], None] | None = None) -> Sequence[EntryName]:
        """The entries by the names of their files; none is read."""

    def entry(self, name: EntryName) -> Entry:
        """Read one entry; raises MirrorError where it is damaged."""

    def entries(self, on_damage: Callable[[MirrorError], None] | None = None) -> Iterator[Entry]:
        """All entries, sorted by path; a damaged one is told to `on_damage`, or raised where nobody listens."""

    def record(self, dag_hash: str) -> Record | None:
        """The record of a spec, where the build left one."""

    def write_record(self, record: Record) -> object:
        """Leave the record of a spec."""

    def inspect_tarball(self, blob: BlobRecord, *, again: bool = False) -> TarballInfo:
        """Digests and contents of a tarball in one pass, remembered; raises MirrorError if it isn't what it claims.

        With `again`, what is remembered is not believed.
        """

    def open_blob(self, digest: Digest) -> IO[bytes]:
        """Open a blob for reading."""

    def has_blob(self, blob: BlobRecord, *, whole: bool = False) -> bool:
        """Whether a blob is there in its whole length; with `whole`, read and found right."""

    def put_blob(self, blob: BlobRecord, pieces: Iterable[bytes]) -> None:
        """Write a blob; raises MirrorError, and leaves nothing, where the pieces are not what the record says."""

    def put_entry(self, path: PurePosixPath, raw: bytes) -> None:
        """Write the manifest of an entry, whose blobs are there: now it can be seen."""

    def is_indexed(self) -> bool:
        """Whether Spack's index names what is there, and nothing else."""

    def write_index(self) -> None:
        """Write Spack's index of what is there."""


class Journal(Protocol):
    """What an earlier run of a long step found out, so that the next one need not."""

    def known(self) -> Mapping[str, str]:
        """Everything noted so far."""

    def note(self, key: str, value: str) -> None:
        """Remember something at once, so that a kill doesn't lose it."""


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
