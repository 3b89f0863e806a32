"""A repository in a directory: the OCI image layout (image-spec, image-layout.md). The embedded registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.oci import BLOB_LIMIT, Descriptor, LayoutLocation, RawManifest, parse_json
from cachelib.model.outcome import Swept
from cachelib.tools.layout_blobs import LayoutBlobs
from cachelib.tools.layout_tags import LayoutTags
from cachelib.tools.whole import read_whole


class LayoutRepository:
    """A repository in a directory that skopeo, umoci and podman read as `oci:DIR:TAG`; it deletes by itself."""

    def __init__(self, location: LayoutLocation) -> None:
        self._root = location.path
        self._blobs = LayoutBlobs(self._root, self.name)
        self._tags = LayoutTags(self._root, self.name, self._blobs)

    @property
    def name(self) -> str:
        """The directory."""
        return f"oci-layout:{self._root}"

    def tags(self) -> frozenset[str]:
        """All tags, those of this process's unwritten pushes too."""
        return self._tags.names()

    def manifest(self, reference: str) -> RawManifest | None:
        """The manifest of a tag or digest, or nothing where there is none."""
        if reference.startswith("sha256:"):
            return self._blobs.manifest(Digest.parse(reference))
        expected = self._tags.find(reference)
        if expected is None:
            return None
        found = self._blobs.manifest(expected.digest, expected.media_type)
        if found is not None:
            told = str(parse_json(found.data, f"manifest {expected.digest}").get("mediaType", expected.media_type))
            if (len(found.data), told) != (expected.size, expected.media_type):
                raise RegistryError(f"{self.name}: index.json tells another size or type of {reference} than it has")
        return found

    def read_blob(self, descriptor: Descriptor, limit: int = BLOB_LIMIT) -> bytes:
        """A blob, whole; raise RegistryError where it has more than `limit` bytes."""
        return read_whole(self, descriptor, limit)

    def stream_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A blob in pieces; raises RegistryError at its end if it isn't what its digest says."""
        return self._blobs.read(descriptor)

    def put_blob(self, descriptor: Descriptor, open_blob: Callable[[], IO[bytes]], *, replace: bool = False, origin: str = "") -> int:  # noqa: ARG002
        """Store a blob unless it is there, hashing while copying; return the bytes that were written."""
        return self._blobs.write(descriptor, open_blob, replace=replace)

    def put_manifest(self, manifest: RawManifest, tag: str | None) -> None:
        """Store a manifest; with a tag, name it so."""
        self._blobs.write_manifest(manifest)
        if tag is not None:
            self._tags.name(tag, manifest)

    def flush(self) -> frozenset[str]:
        """Write the gathered tags; return those whose image had lost a part to a sweep, and which are not named so."""
        self._tags.write()
        return self._tags.refused()

    def delete(self, tag: str, digest: Digest, *, since: float) -> bool:
        """Take a tag away, unless it was pushed anew; its blobs go with the sweep after the grace."""
        found = self._tags.find(tag)
        if found is None:
            return True
        if found.digest != digest or self._blobs.is_newer(digest, since):
            return False
        self._tags.remove(tag, digest, since)
        return True

    def finish(self) -> frozenset[str]:
        """Write the gathered removals; return the tags that stayed, as they were pushed anew meanwhile."""
        self._tags.write()
        return self._tags.stayed()

    def sweep(self, keep: frozenset[Digest], *, before: float) -> Swept:
        """Delete blobs that nothing in index.json leads to, and what killed writers left."""
        if not self._root.exists():
            return Swept(count=0)
        try:
            with self._tags.roots() as roots:
                return self._blobs.sweep((*roots, *filter(self._blobs.has, keep)), before=before)
        except (FormatError, RegistryError) as error:
            return Swept(count=0, note=f"nothing was swept: {error.message}")
