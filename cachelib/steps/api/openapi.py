"""The API described as OpenAPI 3.1, from the table of endpoints and the schemas."""

from __future__ import annotations

from typing import Any

from cachelib.steps.api.endpoints import ENDPOINTS, PARAMETERS, Endpoint
from cachelib.steps.api.schema import definition_name, definitions
from cachelib.steps.api.text import API_VERSION

_ABOUT = """Static JSON of a Spack build cache.

Begin at `index.json`. All paths in all bodies are relative to it, so neither the base URL nor a custom domain matters. It names
every other document by path and sha256 digest, directly or through an index that it names so: a copy is brought up to date by
fetching what has another digest. Readers ignore keys that they don't know; the major version stands in the path.

Sizes are in bytes, times in RFC 3339 (UTC), durations in seconds. `null` means that nobody recorded it."""


def openapi() -> dict[str, Any]:
    """The whole description (OpenAPI Specification v3.1.0)."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "API of a Spack build cache",
            "version": API_VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "servers": [{"url": ".", "description": "Beside this file."}],
        "tags": [{"name": "API"}, {"name": "First generation", "description": "Two endpoints as they were in 2021."}],
        "paths": {_path(endpoint): _item(endpoint) for endpoint in ENDPOINTS},
        "components": {"schemas": _moved(definitions())},
    }


def _path(endpoint: Endpoint) -> str:
    return f"/{endpoint.path.removeprefix('../../')}"


def _item(endpoint: Endpoint) -> dict[str, Any]:
    old = endpoint.path.startswith("../../")
    schema = {"$ref": f"#/components/schemas/{definition_name(endpoint.kind)}"}
    found: dict[str, Any] = {
        "get": {
            "operationId": endpoint.kind,
            "summary": endpoint.about,
            "tags": ["First generation" if old else "API"],
            "responses": {
                "200": {
                    "description": endpoint.about,
                    # A directory's file is served as what its name says: index.html.
                    "content": {"text/html" if old else "application/json": {"schema": schema}},
                },
                "404": {"description": "There is none: HTML."},
            },
        }
    }
    if endpoint.more:
        found["get"]["description"] = endpoint.more
    if endpoint.parameters:
        found["parameters"] = [_parameter(name) for name in endpoint.parameters]
    if old:
        found["servers"] = [{"url": "../..", "description": "The site's root."}]
    return found


def _parameter(name: str) -> dict[str, Any]:
    known = PARAMETERS[name]
    return {
        "name": name, "in": "path", "required": True, "description": known.about, "example": known.example,
        "schema": {"type": "string", "pattern": f"^(?:{known.pattern})$"},
    }  # fmt: skip


def _moved(value: Any) -> Any:
    """The schemas with references as OpenAPI has them."""
    if isinstance(value, dict):
        return {key: f"#/components/schemas/{at[8:]}" if key == "$ref" else _moved(at) for key, at in value.items()}
    return [_moved(item) for item in value] if isinstance(value, list) else value
