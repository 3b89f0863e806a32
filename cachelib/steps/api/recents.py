"""Recent builds: the last ones in one file, and all of them in pages that are full once and then stay as they are."""

from __future__ import annotations

from collections.abc import Generator

from cachelib.model.site import Build, Contents
from cachelib.steps.api.text import Document, Ref, document, encode, rows

#: Builds in the file of recents, and on a page of the history.
LAST, PAGE = 100, 1_000


def newest_first(contents: Contents) -> list[Build]:
    """Every build, the last built first; those of which nobody recorded it at the end."""
    builds = [build for package in contents.packages for build in package.builds]
    return sorted(builds, key=lambda build: (build.created, build.hash, build.image), reverse=True)


def recents(contents: Contents) -> Generator[Document, None, Ref]:
    """The history, counted from the oldest so that a page which is full doesn't change (RFC 5005, Archived Feeds), and the recents."""
    builds = newest_first(contents)
    oldest = builds[::-1]
    pages: dict[str, str] = {}
    for start in range(0, len(oldest), PAGE):
        number = start // PAGE + 1
        lines = (encode(_line(build)) for build in oldest[start : start + PAGE])
        previous = {"previous": f"history/{number - 1}.json"} if number > 1 else {}
        made = document(f"history/{number}.json", "history", {"page": number, "builds": rows(lines)}, previous)
        yield made
        pages[str(number)] = made.ref.digest
    previous = {"previous": f"history/{len(pages)}.json"} if pages else {}
    lines = (encode(_line(build)) for build in builds[:LAST])
    made = document("recents.json", "recents", {"count": len(builds), "builds": rows(lines), "pages": pages}, previous)
    yield made
    return made.ref


def _line(build: Build) -> dict[str, object]:
    return {
        "created": build.created or None,
        "hash": build.hash,
        "image": build.image,
        "name": build.name,
        "version": build.version,
    }
