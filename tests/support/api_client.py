"""A client of the static API that knows nothing but the service document: it follows links, digests and URI templates."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from cachelib.model.digest import Digest
from cachelib.steps.api.endpoints import ENDPOINTS, Endpoint
from cachelib.steps.api.schema import definition_name, definitions

ROOT = "api/v1/"
#: Indexes give digests by what their template is expanded with: kind of the index, key of the digests, kind of the files, variable.
_FAMILIES = (
    ("specs", "shards", "spec-shard", "hash"),
    ("dependents", "shards", "dependent-shard", "hash"),
    ("failures", "shards", "failure-shard", "hash"),
    ("recents", "pages", "history", "page"),
)


def expand(template: str, **values: str) -> str:
    """A URI template expanded (RFC 6570, levels 1 and 4's prefixes)."""
    return re.sub(r"\{(\w+)(?::(\d+))?\}", lambda m: values[m[1]][: int(m[2])] if m[2] else values[m[1]], template)


def site_path(path: str) -> str:
    """A path of the service document's as one of the site's root."""
    return path.removeprefix("../../") if path.startswith("../../") else ROOT + path


def strict(data: bytes) -> Any:
    """JSON as everyone reads it: UTF-8, no NaN, no half of a surrogate pair."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = data.decode("utf-8")
    found = json.loads(text, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    return found


def walk(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Every body of the API that links lead to, by its path from the site's root; each has the digest that was told of it."""
    service = strict(files[f"{ROOT}index.json"])
    found: dict[str, Any] = {f"{ROOT}index.json": service}
    waiting = list(_named(service, service["templates"]))
    while waiting:
        path, digest = waiting.pop()
        where = site_path(path)
        if where in found:
            continue
        assert where in files, f"{where} is named and isn't there"
        assert str(Digest.of(files[where])) == digest, where
        found[where] = strict(files[where])
        waiting += _named(found[where], service["templates"])
    return found


def _named(body: Any, templates: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    kind = body.get("meta", {}).get("kind") if isinstance(body, dict) else None
    if kind == "spec-file":
        return
    yield from _refs(body)
    for index, key, shard, variable in _FAMILIES:
        if kind == index:
            yield from ((expand(templates[shard], **{variable: prefix}), digest) for prefix, digest in body[key].items())
    if kind == "dependent-shard":
        for h, spec in body["specs"].items():
            for character, digest in spec["parts"].items():
                yield expand(templates["dependent-part"], hash=h, dependent=character), digest


def _refs(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("path"), str) and isinstance(value.get("digest"), str):
            yield value["path"], value["digest"]
        for key, item in value.items():
            if key != "node":
                yield from _refs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _refs(item)


def endpoint_of(path: str) -> Endpoint:
    """The endpoint that a file of the site belongs to; exactly one."""
    plain = path.removeprefix(ROOT) if path.startswith(ROOT) else f"../../{path.removesuffix('index.html')}"
    (found,) = [endpoint for endpoint in ENDPOINTS if endpoint.fits(plain)]
    return found


def check(path: str, body: Any) -> None:
    """Hold a body against its schema, in which nothing may be that it doesn't name."""
    kind = endpoint_of(path).kind
    assert body["meta"]["kind"] == kind, path
    if kind not in _VALIDATORS:
        schema = {"$ref": f"#/$defs/{definition_name(kind)}", "$defs": _closed(copy.deepcopy(definitions()))}
        _VALIDATORS[kind] = jsonschema.Draft202012Validator(schema)
    _VALIDATORS[kind].validate(body)


_VALIDATORS: dict[str, jsonschema.Draft202012Validator] = {}


def _closed(schema: Any) -> Any:
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            _closed(value)
    return schema
