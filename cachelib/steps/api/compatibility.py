"""What the stacks run on, as a body of the API."""

from __future__ import annotations

from collections.abc import Generator

from cachelib.model.site import Contents
from cachelib.steps.api.text import Document, Ref, document, encode, rows
from cachelib.steps.api.totals import MOST
from cachelib.steps.compatibility import Compatibility
from cachelib.steps.compatibility import compatibility as of


def compatibility(contents: Contents) -> Generator[Document, None, Ref]:
    """What the builds of each stack run on, by target."""
    found = of(contents)
    made = document(
        "compatibility.json", "compatibility", {"count": len(found), "compatibility": rows(encode(_line(one)) for one in found[:MOST])}
    )
    yield made
    return made.ref


def _line(one: Compatibility) -> dict[str, object]:
    return {
        "image": one.image, "stack": one.stack or None, "platform": one.platform, "target": one.target, "os": one.os,
        "libc": one.libc or None, "libcVersion": one.version or None, "systems": one.systems, "cpus": one.cpus, "builds": one.builds,
        "words": one.words,
    }  # fmt: skip
