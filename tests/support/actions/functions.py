"""The functions of GitHub's expressions, but those that tell how a run goes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from tests.support.actions.globs import search
from tests.support.actions.values import Value, WorkflowError, equal, to_json, to_text, truthy

_FORMAT = re.compile(r"\{\{|\}\}|\{(\d+)\}|[{}]")


def _simple(value: Value) -> bool:
    return not isinstance(value, list | dict)


def _contains(searched: Value, item: Value) -> bool:
    if isinstance(searched, list):
        return any(equal(one, item) for one in searched)
    return _simple(searched) and _simple(item) and to_text(item).upper() in to_text(searched).upper()


def _starts(text: Value, start: Value) -> bool:
    return _simple(text) and _simple(start) and to_text(text).upper().startswith(to_text(start).upper())


def _ends(text: Value, end: Value) -> bool:
    return _simple(text) and _simple(end) and to_text(text).upper().endswith(to_text(end).upper())


def _format(template: Value, *values: Value) -> str:
    def replaced(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if found[1] is None or int(found[1]) >= len(values):
            raise WorkflowError(f"The following format string is invalid: {to_text(template)}")
        return to_text(values[int(found[1])])

    return _FORMAT.sub(replaced, to_text(template))


def _join(values: Value, separator: Value = ",") -> str:
    if isinstance(values, list):
        return to_text(separator).join(map(to_text, values))
    return to_text(values) if _simple(values) else ""


def _from_json(text: Value) -> Value:
    try:
        return json.loads(to_text(text))
    except ValueError as error:
        raise WorkflowError(f"Error parsing fromJSON: {error}") from None


def _case(*values: Value) -> Value:
    if len(values) < 3 or len(values) % 2 == 0:
        raise WorkflowError("case takes pairs of a condition and a value, and a default")
    return next((values[at + 1] for at in range(0, len(values) - 1, 2) if truthy(values[at])), values[-1])


#: By name in small letters: how many values it takes at least and at most, and what it does.
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Value]]] = {
    "contains": (2, 2, _contains),
    "startswith": (2, 2, _starts),
    "endswith": (2, 2, _ends),
    "format": (1, 256, _format),
    "join": (1, 2, _join),
    "tojson": (1, 1, to_json),
    "fromjson": (1, 1, _from_json),
    "case": (3, 255, _case),
}
STATUS = frozenset({"success", "failure", "cancelled", "always"})


def hash_files(workspace: Path, patterns: list[Value]) -> str:
    """The hash of the hashes of all files below the workspace that fit; nothing where there is none."""
    files = [path for path in search("\n".join(map(to_text, patterns)), workspace).files if path.is_relative_to(workspace)]
    whole = hashlib.sha256()
    for path in files:
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest() if files else ""
