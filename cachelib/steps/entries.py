"""An entry of a mirror inside the config of its image, so that it can be pulled byte for byte as it was pushed."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.entry import ENTRY_SUFFIX, LAYOUT_VERSION, SPEC, SPEC_LIMIT, TARBALL, BlobRecord, find_blob, parse_blob_records
from cachelib.model.errors import FormatError
from cachelib.model.oci import Descriptor, parse_json
from cachelib.model.spec import ConcreteSpec, Node, parse_spec
from cachelib.steps.inflating import inflated

_KEY = "io.github.spack-build-cache.entry"
# Spack, url_buildcache.py, LAYOUT_VERSION of the spec files that it writes into a v3 mirror.
_SPEC_LAYOUT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEntry:
    """An entry as it lies in a mirror: its manifest (signed or not) and its spec file as bytes, and its tarball's record."""

    raw: bytes
    spec_file: bytes
    spec_blob: BlobRecord
    tarball: BlobRecord


def keep_entry(raw: bytes, spec_file: bytes) -> dict[str, Any]:
    """What the config of an image holds of the entry it was made of. Spack ignores the key, as it does the runtime's own."""
    return {_KEY: {"manifest": base64.b64encode(raw).decode(), "spec": base64.b64encode(spec_file).decode()}}


def kept_entry(config: Mapping[str, Any], tarball: Descriptor, spec: ConcreteSpec) -> KeptEntry | None:
    """The entry that a config holds, nothing where another program pushed the image; raise FormatError where it doesn't fit."""
    kept = config.get(_KEY)
    if kept is None:
        return None
    try:
        raw, spec_file = (base64.b64decode(kept[key], validate=True) for key in ("manifest", "spec"))
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise FormatError("its config holds a mirror's entry that can't be read") from None
    records = parse_blob_records(raw)
    spec_blob, own = find_blob(records, SPEC), find_blob(records, TARBALL)
    if (own.digest, own.size) != (tarball.digest, tarball.size):
        raise FormatError("its config holds the entry of another tarball")
    if (spec_blob.digest, spec_blob.size) != (Digest.of(spec_file), len(spec_file)):
        raise FormatError("its config holds an entry whose spec file is another")
    if _read_spec(spec_file, spec_blob.compression, "the spec file of the entry in its config").lines() != spec.lines():
        raise FormatError("its config holds the entry of another spec")
    return KeptEntry(raw=raw, spec_file=spec_file, spec_blob=spec_blob, tarball=own)


def read_entry(raw: bytes, spec_file: bytes, node: Node) -> KeptEntry:
    """The entry of a spec as it lies in somebody else's mirror; raise FormatError where it is another's, or doesn't fit."""
    records = parse_blob_records(raw)
    spec_blob = find_blob(records, SPEC)
    if (spec_blob.digest, spec_blob.size) != (Digest.of(spec_file), len(spec_file)):
        raise FormatError("its spec file is another than its entry says")
    root = _read_spec(spec_file, spec_blob.compression, "its spec file").root
    if (root.hash, root.name, root.version) != (node.hash, node.name, node.version):
        raise FormatError(f"it holds {root.label}, which is not what its name says")
    return KeptEntry(raw=raw, spec_file=spec_file, spec_blob=spec_blob, tarball=find_blob(records, TARBALL))


def _read_spec(spec_file: bytes, compression: str, what: str) -> ConcreteSpec:
    return parse_spec(parse_json(inflated(spec_file, SPEC_LIMIT, what) if compression == "gzip" else spec_file, what))


def make_entry(spec_json: Mapping[str, Any], tarball: Descriptor) -> KeptEntry:
    """An entry for an image that Spack pushed itself: equal in meaning to the one that Spack would have written."""
    text = json.dumps({"spec": spec_json, "buildcache_layout_version": _SPEC_LAYOUT}, indent=0, separators=(",", ":"))
    spec_file = gzip.compress(text.encode(), mtime=0)
    own = BlobRecord(media_type=TARBALL, digest=tarball.digest, size=tarball.size, compression="gzip")
    spec_blob = BlobRecord(media_type=SPEC, digest=Digest.of(spec_file), size=len(spec_file), compression="gzip")
    manifest = {"version": LAYOUT_VERSION, "data": [own.json(), spec_blob.json()]}
    raw = json.dumps(manifest, indent=0, separators=(",", ":")).encode()
    return KeptEntry(raw=raw, spec_file=spec_file, spec_blob=spec_blob, tarball=own)


def entry_path(root: Node) -> PurePosixPath:
    """Where the entry of a spec lies in a v3 mirror (Spack, url_buildcache.py, `get_manifest_url`)."""
    # Spack, spec.py, format_path: what a version holds of separators must not make folders.
    version = root.version.replace("/", "_").replace("\\", "_")
    return PurePosixPath("v3/manifests/spec", root.name, f"{root.name}-{version}-{root.hash}{ENTRY_SUFFIX}")
