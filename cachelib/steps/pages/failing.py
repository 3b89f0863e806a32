"""What fails, as pages show it: since when, why, and the end of its log."""

from __future__ import annotations

from dataclasses import dataclass

from cachelib.model.site import Contents, page_path
from cachelib.model.text import printable
from cachelib.steps.collecting import web, word

#: Pages there are at most, of the last failures; error lines of a page, and characters of a line.
PAGES, LINES, LINE = 500, 40, 400
_MESSAGE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A spec that fails, as its page tells of it. `package` is the path of its package's page, where it has one; `log` the log's end."""

    hash: str
    name: str
    label: str
    package: str
    image: str
    stack: str
    phase: str
    message: str
    error_lines: tuple[str, ...]
    since: str
    last: str
    times: int
    next_try: str
    run: str
    log: str


def failing(contents: Contents) -> tuple[Failing, ...]:
    """The last failures, the newest first; each spec once, whatever the number of images that it fails for."""
    known = {package.name for package in contents.packages}
    found: dict[str, Failing] = {}
    for image in contents.images:
        for h, failure in sorted(image.failures.items()):
            name = failure.label.partition("@")[0]
            one = Failing(
                hash=h, name=word(name), label=printable(failure.label[:LINE]), package=page_path(name) if name in known else "",
                image=image.name, stack=word(failure.origin.stack), phase=word(failure.phase),
                message=printable(failure.message[:_MESSAGE]),
                error_lines=tuple(printable(line[:LINE]) for line in failure.error_lines[:LINES]), since=failure.since, last=failure.last,
                times=failure.times, next_try=f"{failure.next_try():%Y-%m-%d}", run=web(failure.origin.run), log=image.logs.get(h, ""),
            )  # fmt: skip
            if h not in found or found[h].last < one.last:
                found[h] = one
    return tuple(sorted(found.values(), key=lambda one: (one.last, one.hash), reverse=True)[:PAGES])


def readable(log: bytes) -> str:
    """A log as text of a page: line by line, without what a terminal would obey."""
    return "\n".join(printable(line) for line in log.decode("utf-8", "replace").splitlines())
