"""Badges of packages: what a README shows of the cache, as an image and for shields.io."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath

from cachelib.model.ports import File, Templates
from cachelib.model.site import Package

#: About the width of a character of the badge's font, and the room beside a text (pixels).
_CHARACTER, _PADDING = 6.4, 10
LABEL, LONGEST = "spack cache", 40


def badges(package: Package, templates: Templates) -> Iterator[File]:
    """The badge of a package, twice: as shields.io's endpoint takes it, and drawn."""
    message = badge_text(package)
    body = {"schemaVersion": 1, "label": LABEL, "message": message, "color": "0b6e63", "cacheSeconds": 3600}
    folder = PurePosixPath("badges")
    yield folder / f"{package.path}.json", (json.dumps(body, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    left, right = (round(len(text) * _CHARACTER + _PADDING) for text in (LABEL, message))
    values: dict[str, object] = {
        "label": LABEL, "message": message, "left": left, "right": right, "width": left + right,
        "label_at": left / 2, "message_at": left + right / 2,
    }  # fmt: skip
    yield folder / f"{package.path}.svg", templates.render("site/badge.svg", values)


def badge_text(package: Package) -> str:
    """The newest version, and for how many targets it is there."""
    version = package.versions[0]
    targets = {build.target for build in package.builds if build.version == version}
    text = f"{version} ({next(iter(targets))})" if len(targets) == 1 else f"{version} ({len(targets)} targets)"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
