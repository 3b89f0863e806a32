"""Attaches documents to images, as referrers (OCI distribution-spec, Listing Referrers), and finds them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError
from cachelib.model.oci import EMPTY, IMAGE_INDEX, MANIFEST, Descriptor, RawManifest, compact_json, parse_json
from cachelib.model.ports import Repository
from cachelib.steps.artifacts import described, find_manifest

_NOTHING = b"{}"


def referrers_tag(digest: Digest) -> str:
    """The tag under which referrers are listed where a registry doesn't list them itself (distribution-spec, Referrers Tag Schema)."""
    return f"sha256-{digest.hex}"


def prepare(repository: Repository, shared: Descriptor | None = None, data: bytes = b"") -> None:
    """Store what every attachment names: an empty config, and `data` where all are the same document."""
    if shared is not None:
        repository.put_blob(shared, lambda: io.BytesIO(data))
    repository.put_blob(described(EMPTY, _NOTHING), lambda: io.BytesIO(_NOTHING))


def make(subject: Descriptor, kind: str, data: bytes, annotations: Mapping[str, str]) -> RawManifest:
    """The manifest of a document of a media type that is attached to an image."""
    blob = described(kind, data, annotations)  # its title is the name of the file that `oras pull` writes
    body: dict[str, Any] = {
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": described(EMPTY, _NOTHING).json(),
        "layers": [blob.json()], "subject": _plain(subject), "annotations": dict(annotations),
    }  # fmt: skip
    return RawManifest(media_type=MANIFEST, data=compact_json(body))


def attach(
    repository: Repository, subject: Descriptor, kind: str, data: bytes, annotations: Mapping[str, str], before: Sequence[Mapping[str, Any]]
) -> None:
    """Attach a document of a media type to an image, beside what is listed there (`before`).

    A registry that knows referrers lists it by itself; for those that don't the list is kept under a tag, which does no harm to the others.
    """
    made = make(subject, kind, data, annotations)
    repository.put_blob(described(kind, data), lambda: io.BytesIO(data))
    repository.put_manifest(made, None)
    entry = made.descriptor().json() | {"artifactType": kind, "annotations": dict(annotations)}
    index = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [*before, entry]}
    repository.put_manifest(RawManifest(media_type=IMAGE_INDEX, data=compact_json(index)), referrers_tag(subject.digest))


def listed(repository: Repository, digest: Digest) -> list[dict[str, Any]]:
    """What is listed under the tag of an image's referrers; raise FormatError where that is something else, which is then left alone."""
    tag = referrers_tag(digest)
    raw = find_manifest(repository, tag)
    if raw is None:
        return []
    found = parse_json(raw.data, f"{repository.name}:{tag}").get("manifests")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise FormatError(f"{repository.name}:{tag} is no list of referrers", hint="delete that tag; another program wrote it")
    return found


def _plain(subject: Descriptor) -> dict[str, Any]:
    return {"mediaType": subject.media_type, "digest": str(subject.digest), "size": subject.size}
