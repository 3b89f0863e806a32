"""The combinations of a matrix, and how their jobs are called."""

from __future__ import annotations

import itertools
from typing import Any

from tests.support.actions.values import Value, WorkflowError, to_text

MOST = 256


def expand(matrix: Value) -> list[dict[str, Value]]:
    """All combinations of an evaluated matrix, after `exclude` and `include`."""
    if not isinstance(matrix, dict):
        raise WorkflowError("Error when evaluating 'strategy': a matrix must be a mapping")
    vectors = {key: value for key, value in matrix.items() if key not in ("include", "exclude")}
    for key, values in vectors.items():
        if not isinstance(values, list):
            raise WorkflowError(f"Error when evaluating 'strategy': Matrix vector '{key}' is no list")
        if not values:
            raise WorkflowError(f"Error when evaluating 'strategy': Matrix vector '{key}' does not contain any values")
    combined = [dict(zip(vectors, values, strict=True)) for values in itertools.product(*vectors.values())] if vectors else []
    combined = [one for one in combined if not any(_fits(one, gone) for gone in _objects(matrix, "exclude"))]
    whole = [dict(one) for one in combined]
    added: list[dict[str, Value]] = []
    for include in _objects(matrix, "include"):
        touched = False
        for original, one in zip(combined, whole, strict=True):
            # Original values are never overwritten, those of an include before may be.
            if all(original[key] == value for key, value in include.items() if key in original):
                one.update(include)
                touched = True
        if not touched:
            added.append(dict(include))
    if not whole and not added:
        raise WorkflowError("Error when evaluating 'strategy': Matrix must define at least one vector")
    if len(whole) + len(added) > MOST:
        raise WorkflowError(f"Error when evaluating 'strategy': The matrix has more than {MOST} jobs")
    return whole + added


def _objects(matrix: dict[str, Value], key: str) -> list[dict[str, Value]]:
    found = matrix.get(key) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise WorkflowError(f"Error when evaluating 'strategy': '{key}' of a matrix must be a list of mappings")
    return found


def _fits(one: dict[str, Value], gone: dict[str, Value]) -> bool:
    return all(key in one and one[key] == value for key, value in gone.items())


def label(values: dict[str, Value]) -> str:
    """What stands in parentheses behind the name of a job."""
    return ", ".join(_leaves(values))


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [to_text(value)]
