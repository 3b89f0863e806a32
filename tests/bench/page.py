"""The page on performance, made of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.bench.clock import Row

_HEAD = """# Performance

What `nox -s bench` measured; run it on a machine of yours, where the figures differ and the ratios should not. Both sides work on the same
specs and the same registry (Debian's `docker-registry` on the same machine), turn by turn in one run; figures are medians. Tasks are timed as
whole programs, with their start-up, unless a line says otherwise.

"""
_TAIL = """
## Why

- **Push** asks for a blob and opens its upload with one request (a mount from the repository itself), keeps its connections, and reads only what
  the tag list lacks: five requests a new spec, one page of tags for what is there.
- **Index** knows each shard of the catalog by the tags that it tells of, so it reads the shards that changed and the images that are new. Spack's
  own index is kept one node a line, and grows by lines. Spack's `update-index` reads every image again.
- **Memory** stays flat because tarballs are streamed, and because a node that a thousand DAGs share is held once.
- **Pacing**: ghcr.io answers 429 past about 2,000 requests a minute. 32.5 a second, evenly spaced, stay below it in every window.
"""


def page(rows: Sequence[Row], about: Mapping[str, object]) -> bytes:
    """The page, as Markdown."""
    lines = [_HEAD, f"{about['cores']} cores, {about['machine']}, Python {about['python']}, {about['rounds']} rounds.\n\n"]
    lines.append("| what | here | Spack, or the limit | ratio | promised |\n| --- | ---: | ---: | ---: | --- |\n")
    for row in rows:
        theirs = f"{_figure(row.theirs)} {row.unit}".strip() if row.theirs is not None else ""
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        held = "" if row.holds is None else f"{row.promise}{'' if row.holds else ' (**not held**)'}"
        note = f" ({row.note})" if row.note else ""
        lines.append(f"| {row.name}{note} | {_figure(row.ours)} {row.unit} | {theirs} | {ratio} | {held} |\n")
    return ("".join(lines) + _TAIL).encode()


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
