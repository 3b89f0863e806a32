"""The JSON Schema of the API's bodies."""

from __future__ import annotations

from typing import Any


def api_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of every body of the API, told apart by `meta.kind`."""
    text, count = {"type": "string"}, {"type": "integer", "minimum": 0}
    maybe, texts = {"type": ["string", "null"]}, {"type": "array", "items": {"type": "string"}}
    digest = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
    dag_hash = {"type": "string", "pattern": "^[a-z2-7]{32}$"}

    def body(kind: str, properties: dict[str, Any]) -> dict[str, Any]:
        meta = _object({"api": {"type": "string", "pattern": r"^1\.\d+$"}, "kind": {"const": kind}})
        return _object({"meta": meta, **properties})

    build = _object({
        "hash": dag_hash, "image": text, "name": text, "version": text, "spec": text, "target": text, "os": text, "platform": text,
        "compilers": texts, "libc": text, "size": count, "imageSize": count, "digest": digest, "reference": text, "created": maybe,
        "buildSeconds": {"type": ["number", "null"], "minimum": 0}, "run": maybe,
        "dependencies": {"type": "array", "items": _object({"name": text, "hash": dag_hash, "cached": {"type": "boolean"}})},
    })  # fmt: skip
    image = _object({"name": text, "mirror": text, "builds": count, "spackIndex": text, "spackIndexDigest": digest})
    summary = _object({"name": text, "path": text, "description": text, "versions": texts, "targets": texts, "builds": count})
    links = {"type": "object", "additionalProperties": text}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The API of a Spack build cache, version 1",
        "oneOf": [
            body("service", {
                "packages": count, "builds": count, "size": count, "images": {"type": "array", "items": image}, "links": links,
            }),
            body("packages", {"packages": {"type": "array", "items": summary}}),
            body("package", {
                "name": text, "description": text, "homepage": text, "license": text, "builds": {"type": "array", "items": build},
            }),
        ],
    }  # fmt: skip


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
