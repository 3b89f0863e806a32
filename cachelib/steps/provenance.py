"""Keeps attestations beside the images that they are about, as cosign and `oras discover` know them, and finds them there."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cachelib.model.attestation import ForeignAttestationError, Statement
from cachelib.model.catalog import CatalogEntry
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, FormatError, VerifyError
from cachelib.model.oci import ImageManifest
from cachelib.model.ports import Attestations, Repository
from cachelib.steps import referring

#: A bundle of more bytes than this is none of ours: 1,024 subjects take some 300,000.
LIMIT = 8 * 1024 * 1024
#: Bundles of one image that are looked at.
MOST = 30
# sigstore/protobuf-specs, sigstore_bundle.proto: the media type of a bundle, which is its artifact type in a registry.
_KIND = re.compile(r"application/vnd\.dev\.sigstore\.bundle\.v[0-9.]+\+json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A Sigstore bundle as it was made, and what it says it is about; nothing of it has been verified."""

    data: bytes
    kind: str
    predicate: str
    subjects: frozenset[Digest]

    @property
    def annotations(self) -> dict[str, str]:
        """What says of a bundle in a registry what it holds (cosign, specs/BUNDLE_SPEC.md); no moment, so that the same is the same."""
        return {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": self.predicate}


def parse_bundles(data: bytes) -> tuple[Bundle, ...]:
    """Read a file of bundles, one, or one a line; raise FormatError where it is something else."""
    try:
        return (_bundle(data),)
    except FormatError:
        lines = [line for line in data.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
    return tuple(map(_bundle, lines))


def _bundle(data: bytes) -> Bundle:
    try:
        found = json.loads(data)
        kind = str(found["mediaType"])
        statement = json.loads(base64.b64decode(found["dsseEnvelope"]["payload"], validate=True))
        digests = [one["digest"]["sha256"] for one in statement["subject"] if "sha256" in one["digest"]]
        made = Bundle(
            data=data.strip(), kind=kind, predicate=str(statement["predicateType"]),
            subjects=frozenset(Digest.parse(f"sha256:{digest}") for digest in digests),
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, FormatError) as error:
        raise FormatError(f"it is no Sigstore bundle with a statement in it: {error!r}"[:300]) from None
    if not _KIND.fullmatch(kind):
        raise FormatError(f"its mediaType is {kind[:100]!r}, which is no Sigstore bundle's")
    return made


def attach(repository: Repository, entry: CatalogEntry, bundle: Bundle, tags: frozenset[str]) -> bool:
    """Attach a bundle to an image that it is about; whether it wasn't there yet."""
    subject = entry.manifest
    there = referring.listed(repository, subject.digest) if referring.referrers_tag(subject.digest) in tags else []
    title = {"org.opencontainers.image.title": f"{entry.tag.removesuffix('.spack')}.sigstore.json"}
    made = referring.make(subject, bundle.kind, bundle.data, bundle.annotations | title)
    if any(one.get("digest") == str(made.digest) for one in there):
        return False
    referring.attach(repository, subject, bundle.kind, bundle.data, bundle.annotations | title, there)
    return True


class BesideAlone:
    """What a verifier makes of attestations that lie beside images, where nothing else can be asked."""

    def __init__(self, repository: str, read: Callable[[bytes], Statement]) -> None:
        self.repository, self.read = repository, read

    def bundles(self, digest: Digest) -> Sequence[bytes]:  # noqa: ARG002 - the protocol has it
        """Nothing is kept elsewhere."""
        return ()


class Beside:
    """Attestations that lie beside images, and where those don't do, what is kept elsewhere."""

    def __init__(self, repository: Repository, kept: Attestations) -> None:
        self._repository, self._kept = repository, kept
        self._tags = repository.tags()

    def bundles(self, digest: Digest) -> Sequence[bytes]:
        """What lies beside a manifest; and what is kept elsewhere, unless one of those holds for it."""
        found = tuple(filter(self._is_ours, self._beside(digest))) if referring.referrers_tag(digest) in self._tags else ()
        return found if any(self._holds(one, digest) for one in found) else (*found, *self._kept.bundles(digest))

    def read(self, bundle: bytes) -> Statement:
        """What a bundle states; raises VerifyError."""
        return self._kept.read(bundle)

    def _is_ours(self, bundle: bytes) -> bool:
        """Not one that somebody else made: anybody's signature may lie beside an image, and is no sign that something is wrong."""
        try:
            self.read(bundle)
        except ForeignAttestationError:
            return False
        except VerifyError:
            pass  # that is told of it
        return True

    def _holds(self, bundle: bytes, digest: Digest) -> bool:
        try:
            return digest in self.read(bundle).subjects
        except VerifyError:
            return False

    def _beside(self, digest: Digest) -> list[bytes]:
        found = []
        try:
            listed = [one for one in referring.listed(self._repository, digest) if _KIND.fullmatch(str(one.get("artifactType")))]
        except FormatError:
            return []
        for one in listed[:MOST]:
            try:
                found.append(self._read(one))
            except CacheError:
                continue  # what can't be read attests nothing; GitHub is asked then
        return found

    def _read(self, listed: dict[str, Any]) -> bytes:
        raw = self._repository.manifest(str(Digest.parse(listed.get("digest"))))
        if raw is None:
            raise FormatError("it is listed and not there")
        layers = ImageManifest.parse(raw).layers
        if len(layers) != 1 or layers[0].size > LIMIT:
            raise FormatError("it is no bundle, which is one layer")
        return self._repository.read_blob(layers[0])
