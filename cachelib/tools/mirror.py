"""A local Spack mirror, layout v3, on disk; our records lie beside Spack's files, in `records/`."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import quote

from isal import igzip

from cachelib.model.catalog import INDEXED_FORMAT
from cachelib.model.database import DATABASE_LIMIT, INDEX_MANIFEST, Database, change, index_files, parse_database
from cachelib.model.digest import Digest
from cachelib.model.entry import (
    DATABASE,
    ENTRY_LIMIT,
    ENTRY_SUFFIX,
    SPEC,
    SPEC_LIMIT,
    TARBALL,
    BlobRecord,
    Entry,
    EntryName,
    TarballInfo,
    entry_name,
    find_blob,
    parse_blob_records,
)
from cachelib.model.errors import FormatError, MirrorError
from cachelib.model.oci import compact_json, parse_json
from cachelib.model.record import RECORD_LIMIT, Record, parse_record
from cachelib.model.signing import KEY_FOLDER, KEY_SUFFIX, PublicKey, key_files
from cachelib.model.spec import NodePool, parse_spec
from cachelib.model.wanted import WANTED_LIMIT, Wanted, parse_wanted
from cachelib.tools.files import BLOCK, atomic_file, open_plain, read_blocks, read_limited, sweep, write_atomically
from cachelib.tools.tarball import INFLATE_ERRORS, inspect_tarball

_SPECS = PurePosixPath("v3/manifests/spec")
#: A log that inflates to more bytes than this, or has more, is none that can be read: builds write some MB.
LOG_INFLATED = 1024**3


class DiskMirror:
    """A folder that stock Spack reads by `file://` and that push reads without Spack."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._pool = NodePool()

    def blob_path(self, digest: Digest) -> Path:
        """Where a blob lies (Spack, url_buildcache.py: blobs/<algorithm>/<first two>/<hex>)."""
        return self.root / "blobs" / "sha256" / digest.hex[:2] / digest.hex

    def names(self, on_damage: Callable[[MirrorError], None] | None = None) -> list[EntryName]:
        """The entries by the names of their files, sorted; none is read."""
        found = []
        for path in sorted((self.root / _SPECS).glob(f"*/*{ENTRY_SUFFIX}")):
            try:
                found.append(entry_name(PurePosixPath(path.relative_to(self.root).as_posix())))
            except FormatError as error:
                self._tell(_damaged(path, error), on_damage)
        return found

    def entries(self, on_damage: Callable[[MirrorError], None] | None = None) -> Iterator[Entry]:
        """All entries, sorted by path; a damaged one is told to `on_damage`, or raised where nobody listens."""
        for name in self.names(on_damage):
            try:
                yield self.entry(name)
            except MirrorError as error:
                self._tell(error, on_damage)

    def entry(self, name: EntryName) -> Entry:
        """Read one entry: its manifest and its spec, checked against each other and against the file's name."""
        path = self.root / name.path
        try:
            raw = read_limited(path, ENTRY_LIMIT, "the manifest of an entry")
            blobs = parse_blob_records(raw)
            tarball, spec_file = find_blob(blobs, TARBALL), find_blob(blobs, SPEC)
            spec = parse_spec(parse_json(self._read_spec(spec_file), "a spec file"), self._pool)
            if (spec.root.hash, spec.root.name) != (name.hash, name.name):
                raise FormatError(f"it holds {spec.label}, which is not what its name says")
        except (OSError, FormatError) as error:
            raise _damaged(path, error) from None
        return Entry(path=name.path, raw=raw, tarball=tarball, spec_file=spec_file, spec=spec)

    @staticmethod
    def _tell(error: MirrorError, on_damage: Callable[[MirrorError], None] | None) -> None:
        if on_damage is None:
            raise error
        on_damage(error)

    def record(self, dag_hash: str) -> Record | None:
        """The record of a spec, where a build left one; a damaged record is no record."""
        try:
            return parse_record(parse_json(read_limited(self._record_path(dag_hash), RECORD_LIMIT, "a record"), "a record"))
        except (OSError, FormatError):
            return None

    def write_record(self, record: Record, log: bytes | None = None) -> Record:
        """Leave a record, and the whole log of a failed build beside it."""
        if log is not None:
            write_atomically(self.log_path(record.hash), gzip.compress(log, mtime=0))
        write_atomically(self._record_path(record.hash), json.dumps(record.json(), indent=1).encode())
        return record

    def wanted(self) -> tuple[Wanted, ...]:
        """What the stacks want that were built into this mirror; what can't be read is left out."""
        found = []
        for path in sorted((self.root / "records" / "wanted").glob("*.json")):
            with contextlib.suppress(OSError, FormatError):
                found.append(parse_wanted(parse_json(read_limited(path, WANTED_LIMIT, "what a stack wants"), "what a stack wants")))
        return tuple(found)

    def write_wanted(self, wanted: Wanted) -> None:
        """Note what a stack wants, in place of what it wanted before."""
        write_atomically(self.root / "records" / "wanted" / f"{quote(wanted.stack, safe='')}.json", compact_json(wanted.json()))

    def log_path(self, dag_hash: str) -> Path:
        """Where the log of a failed build lies, gzipped."""
        return self.root / "records" / "log" / f"{quote(dag_hash, safe='')}.txt.gz"

    def failed(self) -> list[str]:
        """The DAG hashes of the failed builds of which there is a log, sorted."""
        return sorted(path.name.removesuffix(".txt.gz") for path in (self.root / "records" / "log").glob("*.txt.gz"))

    def read_log(self, dag_hash: str, limit: int) -> bytes | None:
        """The log of a failed build, its last `limit` bytes; nothing where there is none, or none that can be read."""
        kept, count = bytearray(), 0
        try:
            with io.BufferedReader(open_plain(self.log_path(dag_hash))) as file, igzip.IGzipFile(fileobj=file) as log:  # type: ignore[no-untyped-call]
                # Behind the log there may be zeros, which every reader of gzip passes over.
                if os.fstat(file.fileno()).st_size > LOG_INFLATED:
                    return None
                while block := log.read(BLOCK):
                    count += len(block)
                    if count > LOG_INFLATED:
                        return None
                    kept += block
                    if len(kept) > 2 * limit:
                        del kept[:-limit]
        except INFLATE_ERRORS:
            return None
        return bytes(kept[-limit:])

    def inspect_tarball(self, blob: BlobRecord, *, again: bool = False) -> TarballInfo:
        """What is in a tarball; remembered beside the mirror by digest, as long as the file has its size."""
        path, note = self.blob_path(blob.digest), self.root / "records" / "tarball" / f"{blob.digest.hex}.json"
        if not again:
            # Else it is not known yet, or not to be trusted: look again.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError, FormatError):
                known = parse_json(read_limited(note, RECORD_LIMIT, "a note"), "what is noted of a tarball")
                if path.stat().st_size == blob.size:
                    return TarballInfo(
                        digest=blob.digest,
                        size=blob.size,
                        diff_id=Digest.parse(known["diff_id"]),
                        uncompressed=int(known["uncompressed"]),
                        prefix=str(known["prefix"]),
                        directories=tuple(known["directories"]),
                    )
        info = inspect_tarball(path, blob, str(path))
        with contextlib.suppress(OSError):  # a mirror on a read-only disk is still a mirror
            write_atomically(note, compact_json(asdict(info) | {"digest": str(info.digest), "diff_id": str(info.diff_id)}))
        return info

    def open_blob(self, digest: Digest) -> IO[bytes]:
        """Open a blob for reading."""
        return self.blob_path(digest).open("rb")

    def stream_blob(self, blob: BlobRecord) -> Iterator[bytes]:
        """A blob in pieces; raises MirrorError at its end if it isn't what its record says."""
        hasher, size = hashlib.sha256(), 0
        try:
            with open_plain(self.blob_path(blob.digest)) as file:
                for block in read_blocks(file):
                    hasher.update(block)
                    size += len(block)
                    yield block
        except OSError as error:
            raise MirrorError(f"{self.root}: blob {blob.digest} can't be read: {error.strerror}", hint="build the spec again") from None
        if (hasher.hexdigest(), size) != (blob.digest.hex, blob.size):
            raise MirrorError(f"{self.root}: blob {blob.digest} has other content than its digest says", hint="build the spec again")

    def has_blob(self, blob: BlobRecord, *, whole: bool = False) -> bool:
        """Whether a blob is there in its whole length; with `whole`, read and found right."""
        try:
            if self.blob_path(blob.digest).stat().st_size != blob.size:
                return False
            if not whole:
                return True
            with self.open_blob(blob.digest) as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == blob.digest.hex  # type: ignore[arg-type]
        except OSError:
            return False

    def put_blob(self, blob: BlobRecord, pieces: Iterable[bytes]) -> None:
        """Write a blob; raises MirrorError, and leaves nothing, where the pieces are not what the record says."""
        hasher, size = hashlib.sha256(), 0
        try:
            with atomic_file(self.blob_path(blob.digest)) as file:
                for piece in pieces:
                    hasher.update(piece)
                    size += len(piece)
                    file.write(piece)
                if (hasher.hexdigest(), size) != (blob.digest.hex, blob.size):
                    raise MirrorError(f"{self.root}: what came as {blob.digest} has another digest or size")
        except OSError as error:
            raise MirrorError(f"{self.root}: blob {blob.digest} can't be written: {error}", hint="is the disk full?") from None

    def put_entry(self, path: PurePosixPath, raw: bytes) -> None:
        """Write the manifest of an entry, whose blobs are there: now it can be seen."""
        try:
            write_atomically(self.root / path, raw)
        except OSError as error:
            raise MirrorError(f"{self.root / path} can't be written: {error}", hint="is the disk full?") from None

    def write_keys(self, keys: Iterable[PublicKey]) -> None:
        """Write the keys that `spack buildcache keys` finds here, in place of those that were."""
        keys = tuple(keys)
        good = {f"{one.key.fingerprint}{KEY_SUFFIX}" for one in keys if not one.key.revoked}
        try:
            for path, data in key_files(keys):
                write_atomically(self.root / path, data)
            for old in (self.root / KEY_FOLDER).glob(f"*{KEY_SUFFIX}"):
                if old.name not in good:
                    old.unlink()
        except OSError as error:
            raise MirrorError(f"{self.root}: its keys can't be written: {error}", hint="is the disk full, or not yours?") from None

    def sweep(self, *, before: float) -> int:
        """Delete what writers left that were killed before a moment; return the bytes."""
        return sweep(self.root / "blobs", before=before) + sweep(self.root / "v3", before=before)

    def is_indexed(self) -> bool:
        """Whether Spack's index names the entries that are here, and nothing else."""
        try:
            manifest = read_limited(self.root / INDEX_MANIFEST, ENTRY_LIMIT, "the manifest of an index")
            blob = find_blob(parse_blob_records(manifest), DATABASE)
            data = read_limited(self.blob_path(blob.digest), DATABASE_LIMIT, "an index")
            return parse_database(data).present() == {name.hash for name in self.names(lambda _: None)}
        except (OSError, FormatError):
            return False

    def write_index(self) -> None:
        """Write Spack's index of what is here, so that stock Spack lists it by `file://`; damaged entries are left out."""
        whole = (entry for entry in self.entries(lambda _: None) if entry.spec.format == INDEXED_FORMAT)
        added = ((entry.hash, entry.spec.lines()) for entry in whole)
        try:
            for path, data in index_files(change(Database(), added=added).data()):
                write_atomically(self.root / path, data)
        except OSError as error:
            raise MirrorError(f"{self.root}: its index can't be written: {error}", hint="is the disk full, or not yours?") from None

    def _read_spec(self, blob: BlobRecord) -> bytes:
        data = read_limited(self.blob_path(blob.digest), SPEC_LIMIT, "a spec file")
        if Digest.of(data) != blob.digest or len(data) != blob.size:
            raise FormatError(f"its spec file {blob.digest} has other content than its digest says")
        if blob.compression != "gzip":
            return data
        try:
            with igzip.open(io.BytesIO(data)) as file:  # type: ignore[no-untyped-call]
                text: bytes = file.read(SPEC_LIMIT + 1)
        except INFLATE_ERRORS as error:
            raise FormatError(f"its spec file {blob.digest} is no gzip: {error}") from None
        if len(text) > SPEC_LIMIT:
            raise FormatError(f"its spec file {blob.digest} inflates to more than {SPEC_LIMIT} bytes")
        return text

    def _record_path(self, dag_hash: str) -> Path:
        return self.root / "records" / "spec" / f"{quote(dag_hash, safe='')}.json"


def _damaged(path: Path, error: Exception) -> MirrorError:
    return MirrorError(f"{path} is damaged: {error}", hint="delete the file and build the spec again; nothing else is lost")
