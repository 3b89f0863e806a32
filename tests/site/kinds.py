"""The kinds of pages of the site, and an address of each."""

from __future__ import annotations

import json
from pathlib import Path

#: What the site has pages of; a template that is none of them fails a test.
KINDS = ("front", "packages", "package", "build", "search", "found", "failures", "failure", "statistics", "weather", "why", "missing")


def addresses(site: Path) -> dict[str, str]:
    """An address of each kind, relative to the site: of packages the one with most builds, of builds the one that needs most."""
    sizes = {path.stem: path.stat().st_size for path in (site / "api/v1/packages").glob("*.json")}
    specs = {h: one for path in (site / "api/v1/specs").glob("*.json") for h, one in json.loads(path.read_text("utf-8"))["specs"].items()}
    builds = {h: len(one["node"].get("dependencies", ())) for h, one in specs.items() if one["builds"]}
    failure = next(path for path in sorted((site / "failures").iterdir()) if path.is_dir())
    return {
        "front": "index.html",
        "packages": "packages/index.html",
        "package": f"packages/{max(sizes, key=lambda name: (sizes[name], name))}/index.html",
        "build": f"build/index.html#{max(builds, key=lambda h: (builds[h], h))}",
        "search": "search/index.html",
        "found": "search/index.html?q=py",
        "failures": "failures/index.html",
        "failure": f"failures/{failure.name}/index.html",
        "statistics": "statistics/index.html",
        "weather": "weather/index.html",
        "why": "why/index.html",
        "missing": "404.html",
    }
