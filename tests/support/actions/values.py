"""GitHub's values: what is true, what is equal, and how one turns into a number or a text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

Value = Any
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class WorkflowError(Exception):
    """A workflow that GitHub would refuse, or that this harness doesn't know how to run."""


class CaseSensitive(dict[str, Value]):
    """An object whose names are told apart by their case: `env` on Linux. All others are not."""


class Filtered(list[Value]):
    """What a `*` gave: a name after it is looked up in each item."""


def is_number(value: Value) -> bool:
    """Whether it is a number; Python's booleans are none here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def truthy(value: Value) -> bool:
    """Docs, Evaluate expressions: false, 0, -0, "", '' and null are false."""
    if is_number(value):
        return not (value == 0 or math.isnan(value))
    return value is not None and value is not False and value != ""


def to_number(value: Value) -> float:
    """null is 0, true is 1, a text is what it says or NaN; objects and arrays are NaN."""
    if value is None:
        return 0.0
    if isinstance(value, bool | int | float):
        return float(value)
    if not isinstance(value, str):
        return math.nan
    text = value.strip()
    if not text:
        return 0.0
    if _NUMBER.fullmatch(text):
        return float(text)
    if re.fullmatch(r"0x[0-9a-fA-F]+|0o[0-7]+", text):
        return float(int(text, 0))
    return {"Infinity": math.inf, "-Infinity": -math.inf}.get(text, math.nan)


def to_text(value: Value) -> str:
    """The text that a value is within other text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.15g}"
    return value if isinstance(value, str) else "Array" if isinstance(value, list) else "Object"


def _kind(value: Value) -> str:
    if is_number(value):
        return "number"
    names = {type(None): "null", bool: "boolean", str: "string"}
    return names.get(type(value), "array" if isinstance(value, list) else "object")


def _coerce(left: Value, right: Value) -> tuple[Value, Value]:
    if _kind(left) == _kind(right):
        return left, right
    return to_number(left), to_number(right)


def equal(left: Value, right: Value) -> bool:
    """Loose equality: other kinds as numbers, texts without case, objects only if they are the same one."""
    if isinstance(left, list | Mapping) and isinstance(right, list | Mapping):
        return left is right
    left, right = _coerce(left, right)
    if isinstance(left, str):
        return left.upper() == str(right).upper()
    return bool(left == right)


def less(left: Value, right: Value) -> bool:
    """Whether one is less: texts without case; what is no number is neither less nor greater."""
    if isinstance(left, list | Mapping) or isinstance(right, list | Mapping):
        return False
    left, right = _coerce(left, right)
    if isinstance(left, str):
        return left.upper() < str(right).upper()
    return left is not None and bool(left < right)


_MISSING = object()


def _find(value: Value, key: Value) -> Value:
    if isinstance(value, Mapping) and not isinstance(key, list | Mapping):
        name = to_text(key)
        if name in value or isinstance(value, CaseSensitive):
            return value.get(name, _MISSING)
        return next((value[known] for known in value if str(known).upper() == name.upper()), _MISSING)
    if isinstance(value, list):
        number = to_number(key)
        if number >= 0 and number.is_integer() and number < len(value):
            return value[int(number)]
    return _MISSING


def index(value: Value, key: Value) -> Value:
    """`value[key]`: null where there is nothing; over what a `*` gave, of each item that has it."""
    if isinstance(value, Filtered):
        return Filtered(found for item in value if (found := _find(item, key)) is not _MISSING)
    found = _find(value, key)
    return None if found is _MISSING else found


def star(value: Value) -> Filtered:
    """`value.*`: the items of an array, the values of an object."""
    if isinstance(value, Filtered):
        return Filtered(inner for item in value for inner in star(item))
    if isinstance(value, Mapping):
        return Filtered(value.values())
    return Filtered(value) if isinstance(value, list) else Filtered()


def to_json(value: Value) -> str:
    """As toJSON prints it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, indent=2, ensure_ascii=False)
