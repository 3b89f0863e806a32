"""The tags of an OCI image layout: `index.json` (image-spec, image-layout.md), one file that several processes write."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.oci import IMAGE_INDEX, TAGS_LIMIT, Descriptor, RawManifest, check_tag, compact_json, is_tag, parse_json
from cachelib.tools.files import read_limited, write_atomically
from cachelib.tools.layout_blobs import LayoutBlobs, locked

# image-spec, annotations.md: in index.json of a layout, the tag of a manifest.
_REF_NAME = "org.opencontainers.image.ref.name"
#: Seconds between two writes of index.json while a push runs: it is one file, rewritten whole.
_WRITE_SECONDS = 1.0
_Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Removal:
    """A tag that is to go, if it still names this manifest, and nobody wrote that since."""

    digest: Digest
    since: float


class LayoutTags:
    """Names are gathered and written at most once a second, and at `write`; a lock file lets several processes do so."""

    def __init__(self, root: Path, name: str, blobs: LayoutBlobs) -> None:
        self._root, self._name, self._blobs = root, name, blobs
        self._lock = threading.RLock()
        self._pending: dict[str, _Item] = {}
        self._removals: dict[str, _Removal] = {}
        self._refused: set[str] = set()
        self._stayed: set[str] = set()
        self._written = 0.0
        self._known: tuple[tuple[int, int, int], _Item, dict[str, _Item]] | None = None

    def names(self) -> frozenset[str]:
        """All tags as they are about to be."""
        with self._lock:
            return frozenset(self._all())

    def find(self, tag: str) -> Descriptor | None:
        """What a tag names, as it is or as it is about to be."""
        with self._lock:
            found = self._find(check_tag(tag))
        return Descriptor.parse(found) if found is not None else None

    def name(self, tag: str, manifest: RawManifest) -> None:
        """Let a tag name a manifest, soon."""
        with self._lock:
            self._removals.pop(tag, None)
            self._pending[check_tag(tag)] = manifest.descriptor().json() | {"annotations": {_REF_NAME: tag}}
            self._write_if_due()

    def remove(self, tag: str, digest: Digest, since: float) -> None:
        """Take a tag away from a manifest, soon, unless that is written anew until then."""
        with self._lock:
            self._removals[tag] = _Removal(digest, since)
            self._write_if_due()

    def write(self) -> None:
        """Write what was gathered into index.json, beside what other processes wrote meanwhile."""
        with self._lock:
            self._written = time.monotonic()
            if not self._pending and not self._removals:
                return
            try:
                with locked(self._root, fcntl.LOCK_EX):
                    self._write()
            except OSError as error:
                raise RegistryError(f"{self._name}: can't write index.json: {error}") from None
            self._pending.clear()
            self._removals.clear()

    def refused(self) -> frozenset[str]:
        """Tags that could not be written, as a part of their image was pruned meanwhile; each is told once."""
        with self._lock:
            found, self._refused = frozenset(self._refused), set()
            return found

    def stayed(self) -> frozenset[str]:
        """Tags that were not removed, as their image was pushed anew meanwhile; each is told once."""
        with self._lock:
            found, self._stayed = frozenset(self._stayed), set()
            return found

    @contextmanager
    def roots(self) -> Iterator[tuple[Digest, ...]]:
        """The manifests that index.json names, with a tag or without one; nobody names another meanwhile."""
        self.write()
        with self._lock, locked(self._root, fcntl.LOCK_EX):
            yield tuple(Descriptor.parse(item).digest for item in self._index()["manifests"])

    def _write(self) -> None:
        index, before = self._index(), self._tagged()
        for tag, item in list(self._pending.items()):
            if not self._blobs.is_whole(Descriptor.parse(item)):
                self._refused.add(tag)
                del self._pending[tag]
        for tag, removal in list(self._removals.items()):
            if self._blobs.is_newer(removal.digest, removal.since):
                self._stayed.add(tag)
                del self._removals[tag]
        named = self._all()
        unnamed = [item for item in index["manifests"] if isinstance(item, dict) and not _tag_of(item)]
        index = {**index, "manifests": unnamed + [named[tag] for tag in sorted(named)]}
        still = {item.get("digest") for item in index["manifests"]}
        for item in before.values():
            if item.get("digest") not in still:
                self._blobs.release(Descriptor.parse(item).digest)
        # In this order: a layout without index.json has lost its tags, one without oci-layout is being made.
        write_atomically(self._root / "index.json", compact_json(index))
        write_atomically(self._root / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        # Who holds the lock knows what the file says without reading it again.
        self._known = (_stamp(self._root / "index.json"), index, named)

    def _write_if_due(self) -> None:
        if time.monotonic() - self._written >= _WRITE_SECONDS:
            self.write()

    def _all(self) -> dict[str, _Item]:
        return {tag: item for tag in (*self._tagged(), *self._pending) if (item := self._find(tag)) is not None}

    def _find(self, tag: str) -> _Item | None:
        if tag in self._pending:
            return self._pending[tag]
        found, removal = self._tagged().get(tag), self._removals.get(tag)
        return None if found and removal and found.get("digest") == str(removal.digest) else found

    def _tagged(self) -> dict[str, _Item]:
        """The tags of index.json, found out once for each state of the file."""
        self._index()
        return self._known[2] if self._known else {}

    def _index(self) -> _Item:
        """What index.json says; read anew only when the file has changed, as it is large and often asked."""
        path = self._root / "index.json"
        try:
            stamp = _stamp(path)
            if self._known is not None and self._known[0] == stamp:
                return self._known[1]
            index = parse_json(read_limited(path, TAGS_LIMIT, "a list"), "index.json")
        except FileNotFoundError:
            self._known = None
            if (self._root / "blobs").exists() and (self._root / "oci-layout").exists():
                raise RegistryError(f"{self._name}: index.json is gone, and its tags with it", hint="push again from a mirror") from None
            return {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": []}
        except (OSError, FormatError) as error:
            raise RegistryError(f"{self._name}: index.json is damaged: {error}", hint="delete it and push again") from None
        if not isinstance(index.get("manifests"), list):
            raise RegistryError(f"{self._name}: index.json lists no manifests", hint="delete it and push again")
        tagged = {tag: item for item in index["manifests"] if isinstance(item, dict) and is_tag(tag := _tag_of(item))}
        self._known = (stamp, index, tagged)
        return index


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _tag_of(item: _Item) -> str:
    annotations = item.get("annotations")
    return str(annotations.get(_REF_NAME, "")) if isinstance(annotations, dict) else ""
