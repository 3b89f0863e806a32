"""What each setting of cache.yaml tells of itself: its doc, and patterns that several settings hold to."""

from __future__ import annotations

from typing import Any

# The end of the text, and not a line's end before it: `$` alone takes both in Python.
NAME = r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$(?!\n)"
#: OCI distribution-spec, Pulling manifests.
TAG = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$(?!\n)"
LINE = r"^[^\r\n\x00]+$(?!\n)"


def doc(text: str, **schema: Any) -> dict[str, Any]:
    """The metadata of a field: what the docs say of it, and what the JSON Schema holds it to."""
    return {"doc": text, "schema": schema}
