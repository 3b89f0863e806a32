"""A repository in a directory: the OCI image layout (image-spec, image-layout.md). The embedded registry."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.oci import (
    IMAGE_INDEX,
    MANIFEST_LIMIT,
    Descriptor,
    LayoutLocation,
    RawManifest,
    check_tag,
    compact_json,
    is_tag,
    manifest_parts,
    parse_json,
)
from cachelib.model.outcome import Swept
from cachelib.tools.files import atomic_file, read_blocks, sweep, write_atomically

# image-spec, annotations.md: in index.json of a layout, the tag of a manifest.
_REF_NAME = "org.opencontainers.image.ref.name"
#: Seconds between two writes of index.json while a push runs: it is one file, rewritten whole.
_FLUSH_SECONDS = 1.0


class LayoutRepository:
    """A repository in a directory that skopeo, umoci and podman read as `oci:DIR:TAG`.

    Tags are gathered and written at most once a second, and at `flush`; a lock file lets several processes push.
    """

    def __init__(self, location: LayoutLocation) -> None:
        self._root = location.path
        self._lock = threading.Lock()
        self._pending: dict[str, dict[str, Any]] = {}
        self._removed: dict[str, Digest] = {}
        self._flushed = 0.0
        self._known: tuple[tuple[int, int, int], dict[str, Any], dict[str, dict[str, Any]]] | None = None

    @property
    def name(self) -> str:
        """The directory."""
        return f"oci-layout:{self._root}"

    def tags(self) -> frozenset[str]:
        """All tags, those of this process's unwritten pushes too."""
        with self._lock:
            return frozenset(self._named())

    def manifest(self, reference: str) -> RawManifest | None:
        """The manifest of a tag or digest, or nothing where there is none."""
        if reference.startswith("sha256:"):
            return self._manifest_by_digest(Digest.parse(reference), "")
        with self._lock:
            descriptor = self._descriptor(check_tag(reference))
        if descriptor is None:
            return None
        expected = Descriptor.parse(descriptor)
        found = self._manifest_by_digest(expected.digest, expected.media_type)
        if found is not None:
            told = str(parse_json(found.data, f"manifest {expected.digest}").get("mediaType", expected.media_type))
            if (len(found.data), told) != (expected.size, expected.media_type):
                raise RegistryError(f"{self.name}: index.json tells another size or type of {reference} than it has")
        return found

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """A small blob, whole."""
        return b"".join(self.stream_blob(descriptor))

    def stream_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A blob in pieces; raises RegistryError at its end if it isn't what its digest says."""
        hasher, size, held = hashlib.sha256(), 0, b""
        try:
            with self._blob_path(descriptor.digest).open("rb") as file:
                for block in read_blocks(file):
                    hasher.update(block)
                    size += len(block)
                    if held:
                        yield held
                    held = block
        except FileNotFoundError:
            raise self._missing(f"blob {descriptor.digest}") from None
        except OSError as error:
            raise RegistryError(f"{self.name}: blob {descriptor.digest} can't be read: {error}") from None
        if hasher.hexdigest() != descriptor.digest.hex or size != descriptor.size:
            raise RegistryError(
                f"{self.name}: blob {descriptor.digest} has other content than its digest says",
                hint="run `inv verify` to see what else is damaged",
            )
        if held:
            yield held

    def put_blob(self, descriptor: Descriptor, open_blob: Callable[[], IO[bytes]], *, replace: bool = False) -> int:
        """Store a blob unless it is there, hashing while copying; return the bytes that were written."""
        path = self._blob_path(descriptor.digest)
        try:
            if not replace and self._is_here(path):
                return 0
            hasher, size = hashlib.sha256(), 0
            with open_blob() as source, atomic_file(path) as file:
                for block in read_blocks(source):
                    hasher.update(block)
                    size += len(block)
                    file.write(block)
                if hasher.hexdigest() != descriptor.digest.hex or size != descriptor.size:
                    raise RegistryError(f"{self.name}: what was sent as {descriptor.digest} has another digest or size")
        except OSError as error:
            raise RegistryError(f"{self.name}: can't write blob {descriptor.digest}: {error}") from None
        return descriptor.size

    def put_manifest(self, manifest: RawManifest, tag: str | None) -> None:
        """Store a manifest; with a tag, name it so."""
        try:
            write_atomically(self._blob_path(manifest.digest), manifest.data)
        except OSError as error:
            raise RegistryError(f"{self.name}: can't write manifest {manifest.digest}: {error}") from None
        if tag is None:
            return
        with self._lock:
            self._removed.pop(tag, None)
            self._pending[check_tag(tag)] = manifest.descriptor().json() | {"annotations": {_REF_NAME: tag}}
            due = time.monotonic() - self._flushed >= _FLUSH_SECONDS
        if due:
            self.flush()

    def flush(self) -> None:
        """Write the gathered tags into index.json, beside those that other processes wrote meanwhile."""
        with self._lock:
            self._flushed = time.monotonic()
            if not self._pending and not self._removed:
                return
            broken = []
            try:
                with self._locked(fcntl.LOCK_EX):
                    broken = [tag for tag, item in self._pending.items() if not self._is_whole(Descriptor.parse(item))]
                    for tag in broken:
                        del self._pending[tag]
                    index, named = self._index(), self._named()
                    unnamed = [item for item in index["manifests"] if isinstance(item, dict) and not _tag_of(item)]
                    index = {**index, "manifests": unnamed + [named[tag] for tag in sorted(named)]}
                    # In this order: a layout without index.json has lost its tags, one without oci-layout is being made.
                    write_atomically(self._root / "index.json", compact_json(index))
                    write_atomically(self._root / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            except OSError as error:
                raise RegistryError(f"{self.name}: can't write index.json: {error}") from None
            self._pending.clear()
            self._removed.clear()
        if broken:
            raise RegistryError(f"{self.name}: what {broken[0]} is made of was pruned meanwhile", hint="push again")

    def delete(self, tag: str, digest: Digest, *, since: float) -> bool:
        """Take a tag away, unless it was pushed anew; its blobs go with the next sweep."""
        with self._lock:
            found = self._descriptor(tag)
            if found is None:
                return True
            path = self._blob_path(digest)
            if Descriptor.parse(found).digest != digest or (path.exists() and path.stat().st_mtime >= since):
                return False
            self._removed[tag] = digest
            due = time.monotonic() - self._flushed >= _FLUSH_SECONDS
        if due:
            self.flush()
        return True

    def sweep(self, keep: frozenset[Digest], *, before: float) -> Swept:
        """Delete blobs that nothing in index.json leads to, and what killed writers left."""
        self.flush()
        if not self._root.exists():
            return Swept(count=0)
        with self._lock, self._locked(fcntl.LOCK_EX):
            try:
                used = self._reachable(keep)
            except (FormatError, RegistryError) as error:
                # What a damaged manifest leads to isn't known, so nothing is safe to go.
                return Swept(count=0, note=f"nothing was swept: {error.message}")
            count = size = 0
            for path in (self._root / "blobs" / "sha256").glob("[0-9a-f]*"):
                status = path.stat()
                if path.name not in used and status.st_mtime < before:
                    path.unlink()
                    count, size = count + 1, size + status.st_size
            return Swept(count=count, size=size + sweep(self._root, before=before))

    def _reachable(self, keep: frozenset[Digest]) -> set[str]:
        """The names of all blobs that index.json leads to, through manifests and image indexes."""
        waiting = [Descriptor.parse(item).digest for item in self._index()["manifests"]]
        waiting += [digest for digest in keep if self._blob_path(digest).exists()]
        used: set[str] = set()
        while waiting:
            digest = waiting.pop()
            if digest.hex in used:
                continue
            raw = self._manifest_by_digest(digest, "")
            if raw is None:
                raise self._missing(f"manifest {digest}")
            data = parse_json(raw.data, f"manifest {digest}")
            waiting += [Descriptor.parse(item).digest for item in data.get("manifests") or ()]
            used |= {digest.hex, *(part.digest.hex for part in manifest_parts(data))}
        return used

    def _is_here(self, path: Path) -> bool:
        """Whether a blob is there; it counts as new then, so that no sweep takes it before a manifest names it."""
        if not path.is_file():
            return False
        with self._locked(fcntl.LOCK_SH):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False  # swept a moment ago
            except PermissionError:
                return path.is_file()  # somebody else's: their sweep, too
            return True

    def _is_whole(self, descriptor: Descriptor) -> bool:
        raw = self._manifest_by_digest(descriptor.digest, descriptor.media_type)
        if raw is None:
            return False
        return all(self._blob_path(part.digest).is_file() for part in manifest_parts(parse_json(raw.data, "a manifest")))

    def _named(self) -> dict[str, dict[str, Any]]:
        """All tags as they are and as they are about to be."""
        return {tag: item for tag in (*self._tagged(), *self._pending) if (item := self._descriptor(tag)) is not None}

    def _manifest_by_digest(self, digest: Digest, media_type: str) -> RawManifest | None:
        try:
            with self._blob_path(digest).open("rb") as file:
                data = file.read(MANIFEST_LIMIT + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RegistryError(f"{self.name}: manifest {digest} can't be read: {error}") from None
        if Digest.of(data) != digest:
            raise RegistryError(f"{self.name}: manifest {digest} has other content than its digest says")
        if not media_type:
            media_type = str(parse_json(data, f"manifest {digest}").get("mediaType", ""))
        return RawManifest(media_type=media_type, data=data)

    def _index(self) -> dict[str, Any]:
        """What index.json says; read anew only when the file has changed, as it is large and often asked."""
        path = self._root / "index.json"
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._known is not None and self._known[0] == stamp:
                return self._known[1]
            index = parse_json(path.read_bytes(), "index.json")
        except FileNotFoundError:
            self._known = None
            if (self._root / "blobs").exists() and (self._root / "oci-layout").exists():
                raise RegistryError(f"{self.name}: index.json is gone, and its tags with it", hint="push again from a mirror") from None
            return {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": []}
        except (OSError, FormatError) as error:
            raise RegistryError(f"{self.name}: index.json is damaged: {error}", hint="delete it and push again") from None
        if not isinstance(index.get("manifests"), list):
            raise RegistryError(f"{self.name}: index.json lists no manifests", hint="delete it and push again")
        tagged = {tag: item for item in index["manifests"] if isinstance(item, dict) and is_tag(tag := _tag_of(item))}
        self._known = (stamp, index, tagged)
        return index

    def _tagged(self) -> dict[str, dict[str, Any]]:
        """The tags of index.json, found out once for each state of the file."""
        self._index()
        return self._known[2] if self._known else {}

    def _descriptor(self, tag: str) -> dict[str, Any] | None:
        """What a tag names, as it is or as it is about to be."""
        found = self._pending.get(tag) or self._tagged().get(tag)
        return None if found and tag not in self._pending and found.get("digest") == str(self._removed.get(tag)) else found

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as lock:
            fcntl.flock(lock, how)  # let go when the file closes, also by a kill
            yield

    def _blob_path(self, digest: Digest) -> Path:
        return self._root / "blobs" / "sha256" / digest.hex

    def _missing(self, what: str) -> RegistryError:
        return RegistryError(f"{self.name}: {what} is missing", status=404, hint="push again; `inv verify` names all that is missing")


def _tag_of(item: dict[str, Any]) -> str:
    annotations = item.get("annotations")
    return str(annotations.get(_REF_NAME, "")) if isinstance(annotations, dict) else ""
