"""The JSON Schema of the settings, made from their classes; and settings made from data that it found right."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from cachelib.model.config import Settings


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of cache.yaml, made from the classes above."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cache.yaml",
        "description": "The settings of a Spack build cache.",
        **_schema(Settings, {}),
    }


def from_data(cls: Any, data: Any) -> Any:
    """Make a settings value from data that the schema has found right."""
    if dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls)
        return cls(**{key: from_data(hints[key], value) for key, value in data.items()})  # type: ignore[operator]
    origin = get_origin(cls)
    if origin is tuple:
        return tuple(data)
    if origin is Literal:
        return str(data).lower() if isinstance(data, bool) else data
    if cls is not Any and origin is not None and issubclass(origin, Mapping):
        return {key: from_data(get_args(cls)[1], value) for key, value in data.items()}
    return data


def _schema(hint: Any, constraints: dict[str, Any]) -> dict[str, Any]:
    constraints = dict(constraints)
    item, key = constraints.pop("item", None), constraints.pop("key", None)
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _object_schema(typing.cast(type, hint)) | constraints
    if origin is tuple:
        return {"type": "array", "items": item, "uniqueItems": True} | constraints
    if origin is Literal:
        values: list[Any] = list(get_args(hint))
        # YAML reads a bare true as a boolean; take both.
        return {"enum": values + [value == "true" for value in values if value in ("true", "false")]} | constraints
    if origin in (Union, types.UnionType):
        raise TypeError("settings have no optional types: use a default")
    if origin is not None and issubclass(origin, Mapping):
        value = get_args(hint)[1]
        names = {"propertyNames": {"pattern": key}} if key else {}
        return {"type": "object", "additionalProperties": True if value is Any else _schema(value, {})} | names | constraints
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]} | constraints


def _object_schema(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for item in dataclasses.fields(cls):
        schema = _schema(hints[item.name], item.metadata["schema"])
        schema["description"] = item.metadata["doc"]
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            required.append(item.name)
        elif item.default not in (dataclasses.MISSING, "", ()):
            schema["default"] = item.default
        properties[item.name] = schema
    return {
        "type": "object",
        "description": (cls.__doc__ or "").strip(),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
