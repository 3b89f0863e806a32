"""A build where it is published, an image or an entry of a mirror on the web, on its way into a mirror of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from cachelib.model.entry import SPEC, SPEC_LIMIT, BlobRecord, find_blob, parse_blob_records
from cachelib.model.errors import FormatError
from cachelib.model.outcome import Pulled
from cachelib.model.ports import Mirror, Repository
from cachelib.model.record import Record
from cachelib.model.spec import Node
from cachelib.steps.entries import KeptEntry, entry_path, kept_entry, make_entry, read_entry
from cachelib.steps.reading import open_image
from cachelib.steps.recalling import published_record


class OtherMirror(Protocol):
    """Somebody else's mirror, of which entries are read. May be asked from several threads."""

    def manifest(self, path: PurePosixPath) -> bytes:
        """What an entry is made of, as it stands; raises RegistryError or FormatError."""

    def stream(self, blob: BlobRecord) -> Iterator[bytes]:
        """A blob in pieces; its end is given only if the digest is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A build as an entry, with the path it is to have, and its tarball in pieces.

    `original` is whether it was published as an entry; `record` is what its image tells of where it comes from.
    """

    entry: KeptEntry
    path: PurePosixPath
    tarball: Callable[[], Iterator[bytes]]
    original: bool = True
    record: Record | None = None


def find_in_registry(repository: Repository, tag: str) -> Found:
    """The build of a tag; raise RegistryError or FormatError where there is none that can be taken."""
    image = open_image(repository, tag)
    kept = kept_entry(image.config, image.tarball, image.spec)
    return Found(
        entry=kept or make_entry(image.config["spec"], image.tarball), path=entry_path(image.spec.root),
        tarball=lambda: repository.stream_blob(image.tarball), original=kept is not None, record=published_record(image),
    )  # fmt: skip


def find_in_mirror(mirror: OtherMirror, node: Node) -> Found:
    """The build of a spec in somebody else's mirror; raise RegistryError or FormatError where there is none that can be taken."""
    path = entry_path(node)
    raw = mirror.manifest(path)
    blob = find_blob(parse_blob_records(raw), SPEC)
    if blob.size > SPEC_LIMIT:
        raise FormatError(f"its spec file has {blob.size} bytes: no more than {SPEC_LIMIT} are read")
    entry = read_entry(raw, b"".join(mirror.stream(blob)), node)
    return Found(entry=entry, path=path, tarball=lambda: mirror.stream(entry.tarball))


def take(found: Found, mirror: Mirror) -> Pulled:
    """Write a build into a mirror: blobs first, then the entry that names them. Each is held against its digest."""
    entry, received = found.entry, 0
    if not mirror.has_blob(entry.tarball, whole=True):
        mirror.put_blob(entry.tarball, found.tarball())
        received = entry.tarball.size
    mirror.put_blob(entry.spec_blob, [entry.spec_file])
    if found.record is not None:
        mirror.write_record(found.record)
    mirror.put_entry(found.path, entry.raw)
    return Pulled(path=str(found.path), received=received, original=found.original)
