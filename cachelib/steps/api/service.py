"""The service document: what there is, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cachelib.model.config import Site
from cachelib.model.digest import Digest
from cachelib.model.signing import PublicKey
from cachelib.model.site import Contents, SiteImage, key_path
from cachelib.model.text import printable
from cachelib.model.version import version_key
from cachelib.steps.api.endpoints import ENDPOINTS
from cachelib.steps.api.text import SERVICE, Document, Ref, document, encode, rows
from cachelib.steps.api.totals import NAMES
from cachelib.steps.collecting import image_digest

#: Spack's own index of an image, as Spack finds it, and the digest of the index itself.
SpackIndex = Mapping[str, Digest]
#: Stacks that the service document tells of; `coverage` has more.
STACKS = 100


def service(
    site: Site, contents: Contents, spack_indexes: SpackIndex, documents: Mapping[str, Ref], spec_files: Mapping[str, int]
) -> Document:
    """The service document. Every other document is named in it by path and digest, or by one that is."""
    images = [_image(image, spack_indexes[image.name]) for image in contents.images]
    fields = {
        "title": site.title,
        "description": site.description,
        "generatedFrom": contents.digest,
        "counts": {
            "images": len(images),
            "packages": len(contents.packages),
            "builds": contents.builds,
            "failures": sum(len(image.failures) for image in contents.images),
            "specFiles": spec_files["count"],
        },
        "size": contents.size,
        "images": rows(map(encode, images)),
        "stacks": rows(map(encode, _stacks(contents))),
        "keys": site.keys,
        "signingKeys": rows(map(encode, map(_key, contents.keys))),
        "specFiles": spec_files,
        "documents": {name: ref.json() for name, ref in documents.items()},
        "templates": {
            **{endpoint.kind: endpoint.template for endpoint in ENDPOINTS if endpoint.template},
            "page": "../../packages/{path}/index.html{#hash}",
            "build": "../../build/index.html{#hash}",
        },
    }
    return document(SERVICE, "service", fields, {"site": "../../index.html"})


def _image(image: SiteImage, spack_index: Digest) -> dict[str, Any]:
    return {
        "name": image.name,
        "mirror": image.mirror_url,
        "registry": image.reference,
        "builds": len(image.catalog.entries),
        "failures": len(image.failures),
        "generatedFrom": image_digest(image),
        "spackIndex": f"../../{image.name}/v3/manifests/index/index.manifest.json",
        "spackIndexDigest": str(spack_index),
        "upstreams": [
            {"mirror": one.url, "builds": len(one.offers), "read": one.read or None, "site": one.site or None, "source": one.source or None}
            for one in image.upstreams
        ],
    }


def _key(one: PublicKey) -> dict[str, Any]:
    key = one.key
    return {
        "fingerprint": key.fingerprint,
        "userId": printable(key.user_id),
        "created": key.created or None,
        "expires": key.expires or None,
        "revoked": key.revoked,
        "path": f"../../{key_path(key.fingerprint)}",
        "digest": str(one.digest),
    }


def _stacks(contents: Contents) -> Iterable[dict[str, Any]]:
    """The stacks as the images tell of them: an image of today may hold what a stack of last year left."""
    found: dict[str, dict[str, set[str]]] = {}
    counts: dict[str, int] = {}
    for package in contents.packages:
        for build in package.builds:
            if stack := build.source.stack:
                counts[stack] = counts.get(stack, 0) + 1
                known = found.setdefault(stack, {"images": set(), "spack": set(), "targets": set()})
                known["images"].add(build.image)
                known["targets"].add(build.target)
                if build.source.spack_version:
                    known["spack"].add(build.source.spack_version)
    for stack in sorted(found)[:STACKS]:
        known = found[stack]
        yield {
            "name": stack,
            "builds": counts[stack],
            "images": sorted(known["images"])[:NAMES],
            "spack": sorted(known["spack"], key=lambda version: (version_key(version), version), reverse=True)[:NAMES],
            "targets": sorted(known["targets"])[:NAMES],
        }
