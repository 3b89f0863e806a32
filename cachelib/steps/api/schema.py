"""The JSON Schema of the API's bodies: one definition a kind, from which OpenAPI and tests are made too."""

from __future__ import annotations

from typing import Any

from cachelib.steps.api.endpoints import ENDPOINTS, PARAMETERS
from cachelib.steps.weather import State

Schema = dict[str, Any]

_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
_MAYBE = {"type": ["string", "null"]}
_TEXTS = {"type": "array", "items": _TEXT}


def definition_name(kind: str) -> str:
    """The name of a kind's definition: `spec-shard` is `SpecShard`."""
    return "".join(part.capitalize() for part in kind.split("-"))


def api_schema() -> Schema:
    """The JSON Schema (draft 2020-12) of every body of the API, told apart by `meta.kind`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The API of a Spack build cache, version 1",
        "oneOf": [{"$ref": f"#/$defs/{definition_name(endpoint.kind)}"} for endpoint in ENDPOINTS],
        "$defs": definitions(),
    }


def definitions() -> dict[str, Schema]:
    """Every definition by name; they refer to each other by `#/$defs/`."""
    return _shared() | {definition_name(kind): _body(kind, properties) for kind, properties in _kinds().items()}


def _about(schema: Schema, text: str) -> Schema:
    return {**schema, "description": text}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _by(pattern: str, value: Schema) -> Schema:
    return {"type": "object", "propertyNames": {"pattern": f"^(?:{pattern})$"}, "additionalProperties": value}


def _object(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _body(kind: str, properties: dict[str, Schema]) -> Schema:
    meta = _object({"api": _ref("ApiVersion"), "kind": {"const": kind}})
    if kind == "manifest":
        meta = _object({"api": _ref("ApiVersion"), "kind": {"const": kind}, "count": _COUNT, "complete": {"type": "boolean"}})
    links = {} if kind.startswith("manifest") else {"links": _ref("Links")}
    return _object({"meta": meta, **links, **properties})


def _shared() -> dict[str, Schema]:
    origin = _object({"version": _MAYBE, "commit": _about(_MAYBE, "40 hex digits.")})
    return {
        "ApiVersion": {"type": "string", "pattern": r"^1\.\d+$", "description": "The minor version counts additions."},
        "Links": {
            "type": "object",
            "description": "Paths, relative to the service document.",
            "properties": {"self": _TEXT, "service": _TEXT},
            "required": ["self", "service"],
            "additionalProperties": _TEXT,
        },
        "Digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        "DagHash": {"type": "string", "pattern": f"^{PARAMETERS['hash'].pattern}$"},
        "Time": {"type": ["string", "null"], "description": "RFC 3339, UTC; null where nobody recorded it."},
        "Web": {"type": ["string", "null"], "pattern": "^https?://", "description": "An address of the web."},
        "Ref": {**_object({"path": _TEXT, "digest": _ref("Digest")}), "description": "A file, relative to the service document."},
        "Origin": {**origin, "description": "Of Spack or of its packages."},
        "Node": {
            "type": ["object", "null"],
            "description": "As Spack writes it (spec format 5, or 4 of Spack 0.23); null where it is too large to be one.",
            "required": ["name", "version", "hash", "arch"],
            "additionalProperties": True,
        },
        "Shards": _about(_by(PARAMETERS["prefix"].pattern, _ref("Digest")), "The digest of each shard by its prefix."),
        "Source": _object(
            {
                "stack": _MAYBE,
                "spack": _ref("Origin"),
                "packages": _ref("Origin"),
                "source": _about(_ref("Web"), "The repository that owns the cache."),
                "revision": _about(_MAYBE, "Its commit."),
                "attestation": _about(_ref("Web"), "URI template: where GitHub keeps what a run attested of a `digest`, if one did."),
            }
        ),
        "Build": _object(_build()),
        "Failure": _object({**_failure_line(), **_failure()}),
        "Lack": _object(
            {
                "hash": _ref("DagHash"),
                "label": _TEXT,
                "package": _about(_MAYBE, "The path of its package, where some build of that is there."),
                "reason": _TEXT,
            }
        ),
    }


def _kinds() -> dict[str, dict[str, Schema]]:
    name_and_path = _object({"name": _TEXT, "path": _TEXT})
    recent = _object({
        "created": _ref("Time"), "hash": _ref("DagHash"), "image": _TEXT, "name": _TEXT, "version": _TEXT,
    })  # fmt: skip
    line = _object({
        "path": _TEXT, "digest": _ref("Digest"), "name": _TEXT, "description": _about(_TEXT, "Its beginning."), "latest": _TEXT,
        "versions": _COUNT, "targets": _TEXTS, "compilers": _TEXTS, "builds": _COUNT, "updated": _ref("Time"),
    })  # fmt: skip
    part = _object({"path": _TEXT, "digest": _ref("Digest"), "first": _TEXT, "last": _TEXT, "count": _COUNT})
    spec = _object({
        "package": _about(_MAYBE, "The path of its package; null where it is not published."),
        "builds": _about(_list(_ref("Build")), "One for each image that holds it."), "node": _ref("Node"),
    })  # fmt: skip
    dependents = _object({
        "count": _COUNT, "dependents": _list(_ref("DagHash")),
        "parts": _by(PARAMETERS["character"].pattern, _ref("Digest")),
    })  # fmt: skip
    hashes = PARAMETERS["hash"].pattern
    total: dict[str, Schema] = {"packages": _COUNT, "builds": _COUNT, "size": _COUNT, "updated": _ref("Time")}
    return {
        "service": _service(),
        "packages": {"count": _COUNT, "lists": _list(part)},
        "package-list": {"packages": _list(line)},
        "package": {
            "name": _TEXT, "path": _TEXT, "description": _TEXT, "homepage": _ref("Web"), "license": _TEXT, "maintainers": _TEXTS,
            "versions": _about(_TEXTS, "The newest first, 1,000 at most."), "targets": _TEXTS, "compilers": _TEXTS, "updated": _ref("Time"),
            "dependents": _about(
                _object({"count": _COUNT, "packages": _list(name_and_path)}),
                "Packages with a build that directly depends on it, 2,000 at most.",
            ),
            "count": _about(_COUNT, "Of all builds."), "builds": _list(_object(_build_line())),
            "more": _about(_list(_ref("Ref")), "The files with further builds."),
        },
        "package-builds": {"name": _TEXT, "builds": _list(_object(_build_line()))},
        "specs": {"count": _COUNT, "published": _COUNT,
            "width": _about(_COUNT, "Characters of a DAG hash that name its shard."), "shards": _ref("Shards")},
        "spec-shard": {
            "specs": _by(hashes, spec), "sources": _about(_list(_ref("Source")), "What its builds were made by and from, each once."),
        },
        "dependents": {"count": _COUNT, "shards": _ref("Shards")},
        "dependent-shard": {"specs": _by(hashes, dependents)},
        "dependent-part": {"hash": _ref("DagHash"), "dependents": _list(_ref("DagHash"))},
        "failures": {"count": _COUNT, "last": _list(_object(_failure_line())), "shards": _ref("Shards")},
        "failure-shard": {"failures": _by(hashes, _list(_ref("Failure")))},
        "recents": {"count": _COUNT, "builds": _list(recent), "pages": _by(PARAMETERS["page"].pattern, _ref("Digest"))},
        "history": {"page": _COUNT, "builds": _list(recent)},
        "weather": {"count": _COUNT, "stacks": _list(_object({"path": _TEXT, "digest": _ref("Digest"), **_weather()}))},
        "weather-stack": {
            **_weather(), "count": _COUNT, "requests": _about(_list(_object(_request())), "The worst first; as many as fit."),
            "missingCount": _COUNT, "missing": _about(_list(_ref("Lack")), "What is wanted and not there, each spec once; as many as fit."),
        },
        "coverage": {"count": _COUNT, "coverage": _list(_object({"image": _TEXT, "stack": _MAYBE, "target": _TEXT, **total}))},
        "compatibility": {"count": _COUNT, "compatibility": _list(_object({
            "image": _TEXT, "stack": _MAYBE, "platform": _TEXT, "target": _TEXT, "os": _TEXTS, "libc": _MAYBE, "libcVersion": _MAYBE,
            "systems": _about(_TEXTS, "The first release of each distribution that has such a C library, or of macOS."),
            "cpus": _about(_TEXTS, "The first CPUs of each vendor that have the target."), "builds": _COUNT, "words": _TEXT,
        }))},
        "compilers": {"count": _COUNT, "compilers": _list(_object({"compiler": _TEXT, "targets": _TEXTS, **total}))},
        "targets": {"count": _COUNT, "targets": _list(_object({"target": _TEXT, "platform": _TEXT, "os": _TEXT, **total}))},
        "spec-file": {"spec": _object({"_meta": _object({"version": _COUNT}), "nodes": _list(_ref("Node"))})},
        "manifest": {"keys": _TEXTS, "packages": _list(_object({"name": _TEXT, "spec": _TEXT, "url": _TEXT, "html_url": _TEXT}))},
        "manifest-dates": {"keys": _TEXTS, "branch": _TEXT, "subfolder": _TEXT, "url_prefix": _TEXT, "dates": _TEXTS},
    }  # fmt: skip


def _service() -> dict[str, Schema]:
    counts = ("images", "packages", "builds", "failures", "specFiles")
    upstream = _object({
        "mirror": _about(_TEXT, "What `spack mirror add` takes."), "builds": _COUNT, "read": _ref("Time"), "site": _ref("Web"),
        "source": _ref("Web"),
    })  # fmt: skip
    image = _object({
        "name": _TEXT, "mirror": _about(_TEXT, "What `spack mirror add` takes."), "registry": _TEXT, "builds": _COUNT, "failures": _COUNT,
        "generatedFrom": _ref("Digest"), "spackIndex": _TEXT, "spackIndexDigest": _ref("Digest"),
        "upstreams": _about(_list(upstream), "Caches that it stands on: clients need them as mirrors too, after this one."),
    })  # fmt: skip
    stack = _object({"name": _TEXT, "builds": _COUNT, "images": _TEXTS, "spack": _TEXTS, "targets": _TEXTS})
    key = _object({
        "fingerprint": _TEXT, "userId": _TEXT, "created": _ref("Time"), "expires": _ref("Time"),
        "revoked": _about({"type": "boolean"}, "Its signatures are not to be believed."), "path": _TEXT, "digest": _ref("Digest"),
    })  # fmt: skip
    return {
        "title": _TEXT, "description": _TEXT,
        "generatedFrom": _about(_ref("Digest"), "Of the catalogs and the failures that it was made from."),
        "counts": _about(_object(dict.fromkeys(counts, _COUNT)), "How many there are."),
        "size": _about(_COUNT, "Bytes of all tarballs, each counted once."),
        "images": _about(_list(image), "The images, by name."), "stacks": _about(_list(stack), "The stacks that images tell of."),
        "keys": _about(_list(_ref("Web")), "Public keys of signed mirrors."),
        "signingKeys": _about(_list(key), "The keys that sign entries, and those that did."),
        "specFiles": _about(
            _object({"count": _COUNT, "of": _COUNT, "budget": _COUNT}), "How many builds have a spec file; their room in bytes."
        ),
        "documents": {
            "type": "object", "additionalProperties": _ref("Ref"), "minProperties": 1, "description": "Where lists begin, with digests.",
        },
        "templates": {"type": "object", "additionalProperties": _TEXT, "minProperties": 1, "description": "URI templates, RFC 6570."},
    }  # fmt: skip


def _build_line() -> dict[str, Schema]:
    return {
        "hash": _ref("DagHash"), "image": _TEXT, "version": _TEXT, "variants": _TEXT, "target": _TEXT, "os": _TEXT, "compilers": _TEXTS,
        "libc": _TEXT, "size": _about(_COUNT, "Bytes of its tarball."), "created": _ref("Time"),
    }  # fmt: skip


def _build() -> dict[str, Schema]:
    return {
        "image": _TEXT, "reference": _about(_TEXT, "What oras, skopeo and podman take."),
        "digest": _about(_ref("Digest"), "Of the image's manifest."),
        "size": _about(_COUNT, "Bytes of its tarball."), "imageSize": _about(_COUNT, "Bytes of it and all that it needs."),
        "base": _about(_MAYBE, "The image that it stands on, and that gives it a shell; null where there is none."),
        "compilers": _TEXTS, "libc": _about(_TEXT, "The oldest it runs on."),
        "created": _about(_ref("Time"), "When it was built; it was pushed within the same run."),
        "seconds": {"type": ["number", "null"], "minimum": 0, "description": "How long the build took."},
        "run": _about(_ref("Web"), "The run that built it."),
        "source": _about(_COUNT, "Which of the file's `sources` it was made from, counted from 0."),
        "missing": _about(_list(_ref("DagHash")), "What it needs at run time and nobody published."),
        "specFile": _about({"oneOf": [_ref("Ref"), {"type": "null"}]}, "Its whole DAG; null where that has no room on the site."),
    }  # fmt: skip


def _weather() -> dict[str, Schema]:
    return {
        "image": _TEXT, "stack": _TEXT, "runner": _TEXT,
        "states": _about(_object({state.value: _COUNT for state in State}), "How many requests stand so."),
        "present": _about(_COUNT, "Specs that are there, of all that the requests need at run time."), "total": _COUNT,
        "restricted": _about(_COUNT, "Specs that may not be given away."), "external": _about(_COUNT, "Specs of the machine."),
        "size": _about(_COUNT, "Bytes to fetch."), "seconds": _about(_COUNT, "What building that took."),
        "upstream": _about(_COUNT, "Of what is there, specs that an upstream has."),
        "targets": _about(_list(_object({"target": _TEXT, "present": _COUNT, "total": _COUNT})), "The sums by target; 50 at most."),
    }  # fmt: skip


def _request() -> dict[str, Schema]:
    return {
        "request": _TEXT, "state": {"enum": [state.value for state in State]}, "reason": _MAYBE,
        "hash": {"oneOf": [_ref("DagHash"), {"type": "null"}]}, "label": _MAYBE, "target": _MAYBE, "package": _MAYBE,
        "present": _COUNT, "total": _COUNT, "size": _COUNT, "seconds": _COUNT, "upstream": _COUNT,
        "missing": _about(_list(_ref("Lack")), "The first of them."), "missingCount": _COUNT,
    }  # fmt: skip


def _failure_line() -> dict[str, Schema]:
    return {
        "hash": _ref("DagHash"), "image": _TEXT, "label": _TEXT, "phase": _TEXT, "since": _ref("Time"), "last": _ref("Time"),
        "times": _COUNT,
    }  # fmt: skip


def _failure() -> dict[str, Schema]:
    return {
        "package": _about(_MAYBE, "The path of its package, where some build of that is published."), "message": _TEXT,
        "errorLines": _TEXTS,
        "nextTry": _ref("Time"), "run": _ref("Web"), "stack": _MAYBE, "spack": _ref("Origin"), "packages": _ref("Origin"),
        "log": _MAYBE, "spec": _MAYBE,
    }  # fmt: skip
