"""The blobs of an OCI image layout: files by digest (image-spec, image-layout.md), read and written with their digest checked."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.oci import MANIFEST_LIMIT, Descriptor, RawManifest, listed_manifests, manifest_parts, parse_json
from cachelib.model.outcome import Swept
from cachelib.tools.files import atomic_file, open_plain, read_blocks, read_limited, sweep, write_atomically


@contextmanager
def locked(root: Path, how: int) -> Iterator[None]:
    """Hold the lock file of a layout, shared or exclusive (fcntl.LOCK_SH, LOCK_EX); a kill lets it go."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, how)
        yield


class LayoutBlobs:
    """What lies below `blobs/sha256`. The time of a file tells since when nothing may name it: see `release`."""

    def __init__(self, root: Path, name: str) -> None:
        self._root, self._name = root, name

    def read(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A blob in pieces; raises RegistryError at its end if it isn't what its digest says."""
        hasher, size, held = hashlib.sha256(), 0, b""
        try:
            with open_plain(self._path(descriptor.digest)) as file:
                for block in read_blocks(file):
                    hasher.update(block)
                    size += len(block)
                    if size > descriptor.size:
                        break
                    if held:
                        yield held
                    held = block
        except FileNotFoundError:
            raise self._missing(f"blob {descriptor.digest}") from None
        except OSError as error:
            raise RegistryError(f"{self._name}: blob {descriptor.digest} can't be read: {error}") from None
        if hasher.hexdigest() != descriptor.digest.hex or size != descriptor.size:
            raise RegistryError(
                f"{self._name}: blob {descriptor.digest} has other content than its digest says",
                hint="run `inv verify` to see what else is damaged",
            )
        if held:
            yield held

    def write(self, descriptor: Descriptor, open_blob: Callable[[], IO[bytes]], *, replace: bool = False) -> int:
        """Store a blob unless it is there, hashing while copying; return the bytes that were written."""
        path = self._path(descriptor.digest)
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
                    raise RegistryError(f"{self._name}: what was sent as {descriptor.digest} has another digest or size")
        except OSError as error:
            raise RegistryError(f"{self._name}: can't write blob {descriptor.digest}: {error}") from None
        return descriptor.size

    def manifest(self, digest: Digest, media_type: str = "") -> RawManifest | None:
        """A manifest, or nothing where there is none; its own type where none is told."""
        try:
            data = read_limited(self._path(digest), MANIFEST_LIMIT, "a manifest")
        except FileNotFoundError:
            return None
        except (OSError, FormatError) as error:
            raise RegistryError(f"{self._name}: manifest {digest} can't be read: {error}") from None
        if Digest.of(data) != digest:
            raise RegistryError(f"{self._name}: manifest {digest} has other content than its digest says")
        if not media_type:
            media_type = str(parse_json(data, f"manifest {digest}").get("mediaType", ""))
        return RawManifest(media_type=media_type, data=data)

    def write_manifest(self, manifest: RawManifest) -> None:
        """Store a manifest, anew even where it is there: who wrote it last may count on it."""
        try:
            write_atomically(self._path(manifest.digest), manifest.data)
        except OSError as error:
            raise RegistryError(f"{self._name}: can't write manifest {manifest.digest}: {error}") from None

    def is_whole(self, manifest: Descriptor) -> bool:
        """Whether a manifest and all that it names directly is there."""
        raw = self.manifest(manifest.digest, manifest.media_type)
        return raw is not None and all(self._path(part.digest).is_file() for part in manifest_parts(parse_json(raw.data, "a manifest")))

    def is_newer(self, digest: Digest, since: float) -> bool:
        """Whether a manifest was written, or let go, at `since` (seconds since the epoch) or later."""
        try:
            return self._path(digest).stat().st_mtime >= since
        except OSError:
            return False

    def release(self, digest: Digest) -> None:
        """Count the grace of a manifest that loses its name, and of what it names, from now on: somebody may be reading it."""
        try:
            raw = self.manifest(digest)
            parts = [part.digest for part in manifest_parts(parse_json(raw.data, "a manifest"))] if raw else []
        except (FormatError, RegistryError):
            parts = []  # damaged: what it named is not known
        for part in (*parts, digest):
            with suppress(OSError):  # gone, or another user's
                os.utime(self._path(part))

    def sweep(self, roots: Iterable[Digest], *, before: float) -> Swept:
        """Delete what no root leads to, and what killed writers left; the caller holds the lock."""
        try:
            used = self._reachable(roots)
        except (FormatError, RegistryError) as error:
            # What a damaged manifest leads to isn't known, so nothing is safe to go.
            return Swept(count=0, note=f"nothing was swept: {error.message}")
        count = size = 0
        for path in self._folder.glob("[0-9a-f]*"):
            status = path.stat()
            if path.name not in used and status.st_mtime < before:
                path.unlink()
                count, size = count + 1, size + status.st_size
        return Swept(count=count, size=size + sweep(self._root, before=before))

    def has(self, digest: Digest) -> bool:
        """Whether a blob is there."""
        return self._path(digest).exists()

    def _reachable(self, roots: Iterable[Digest]) -> set[str]:
        """The names of all blobs that some manifests lead to, through manifests and image indexes."""
        waiting, used = list(roots), set[str]()
        while waiting:
            digest = waiting.pop()
            if digest.hex in used:
                continue
            raw = self.manifest(digest)
            if raw is None:
                raise self._missing(f"manifest {digest}")
            data = parse_json(raw.data, f"manifest {digest}")
            waiting += listed_manifests(data)
            used |= {digest.hex, *(part.digest.hex for part in manifest_parts(data))}
        return used

    def _is_here(self, path: Path) -> bool:
        """Whether a blob is there; it counts as new then, so that no sweep takes it before a manifest names it."""
        if not path.is_file():
            return False
        with locked(self._root, fcntl.LOCK_SH):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False  # swept a moment ago
            except PermissionError:
                return path.is_file()  # somebody else's: their sweep, too
            return True

    @property
    def _folder(self) -> Path:
        return self._root / "blobs" / "sha256"

    def _path(self, digest: Digest) -> Path:
        return self._folder / digest.hex

    def _missing(self, what: str) -> RegistryError:
        return RegistryError(f"{self._name}: {what} is missing", status=404, hint="push again; `inv verify` names all that is missing")
