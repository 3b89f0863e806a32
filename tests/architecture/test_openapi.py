"""The API's description is OpenAPI 3.1, and says of paths and bodies what the service document and the schema say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest

from cachelib.steps.api.endpoints import ENDPOINTS, PARAMETERS
from cachelib.steps.api.openapi import openapi
from cachelib.steps.api.schema import api_schema, definition_name

PROJECT = Path(__file__).resolve().parents[2]


def test_it_is_openapi() -> None:
    openapi_spec_validator.validate(openapi(), cls=openapi_spec_validator.OpenAPIV31SpecValidator)


def test_what_is_no_openapi_is_seen() -> None:
    broken = openapi()
    del broken["paths"]["/packages/{path}.json"]["parameters"]
    with pytest.raises(openapi_spec_validator.validation.exceptions.OpenAPIValidationError):
        openapi_spec_validator.validate(broken, cls=openapi_spec_validator.OpenAPIV31SpecValidator)


def test_every_endpoint_is_described_once() -> None:
    paths = openapi()["paths"]
    assert len(paths) == len(ENDPOINTS) == len({endpoint.kind for endpoint in ENDPOINTS})
    operations = [item["get"]["operationId"] for item in paths.values()]
    assert operations == [endpoint.kind for endpoint in ENDPOINTS]


def test_every_reference_leads_somewhere() -> None:
    described = openapi()
    checked = 0
    for ref in references(described):
        found: Any = described
        for part in ref.removeprefix("#/").split("/"):
            found = found[part]
        checked += 1
    assert checked > 50
    assert {ref for ref in references(api_schema()) if ref.rpartition("/")[2] not in api_schema()["$defs"]} == set()
    used = {ref.rpartition("/")[2] for ref in references(api_schema())}
    assert used == api_schema()["$defs"].keys(), "a definition that nothing refers to"


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [v for k, v in value.items() if k == "$ref"] + [ref for item in value.values() for ref in references(item)]
    return [ref for item in value for ref in references(item)] if isinstance(value, list) else []


def test_templates_are_the_paths() -> None:
    """What a client makes of a template fits what OpenAPI says of the path."""
    values = {name: parameter.example for name, parameter in PARAMETERS.items()} | {"dependent": PARAMETERS["hash"].example}
    checked = 0
    for endpoint in ENDPOINTS:
        if endpoint.template:
            made = re.sub(r"\{(\w+)(?::(\d+))?\}", lambda m: values[m[1]][: int(m[2])] if m[2] else values[m[1]], endpoint.template)
            assert [other.kind for other in ENDPOINTS if other.fits(made)] == [endpoint.kind]
            checked += 1
    assert checked == 6


def test_schemas_refuse_a_body_that_lacks_a_field() -> None:
    schema = api_schema()
    checked = 0
    for endpoint in ENDPOINTS:
        name = definition_name(endpoint.kind)
        validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]})
        assert not validator.is_valid({"meta": {"api": "1.0", "kind": endpoint.kind}})
        checked += 1
    assert checked == len(ENDPOINTS)


def test_the_page_for_people_names_every_document() -> None:
    text = "".join((PROJECT / "docs/reference" / name).read_text(encoding="utf-8") for name in ("api.md", "api-endpoints.md"))
    missing = [endpoint.path for endpoint in ENDPOINTS if endpoint.path not in text]
    assert missing == []
    service = json.loads(json.dumps(openapi()))["components"]["schemas"]["Service"]["properties"]
    assert [name for name in service if name not in ("meta", "links") and f"`{name}`" not in text] == []
