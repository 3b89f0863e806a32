"""Feeds of what is new: Atom (RFC 4287) and JSON Feed 1.1, of builds and of failures."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from pathlib import PurePosixPath
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from cachelib.model.config import Site
from cachelib.model.ports import File
from cachelib.model.site import Build, Contents
from cachelib.steps.pages.failing import Failing

#: Entries of a feed.
MOST = 50
#: Pages that a sitemap holds at most (sitemaps.org).
_PAGES = 50_000
_ATOM = "http://www.w3.org/2005/Atom"
#: What nobody recorded the time of is as old as can be.
_NEVER = "1970-01-01T00:00:00Z"
# What no XML may hold, not even escaped (XML 1.0, 2.2, Char).
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry: what it is called, the page that it is about (below the site's root), when, and a sentence on it."""

    id: str
    title: str
    page: str
    moment: str
    about: str


def newest(contents: Contents, most: int = MOST) -> list[Build]:
    """The last builds, the newest first."""
    every = (build for package in contents.packages for build in package.builds)
    return nlargest(most, every, key=lambda build: (build.created, build.image, build.hash))


def feeds(site: Site, builds: Sequence[Build], failures: Sequence[Failing]) -> Iterator[File]:
    """The feeds of new builds and of failures."""
    yield from _feed(site, "builds", f"{site.title}: new builds", [_built(build) for build in builds])
    yield from _feed(site, "failures", f"{site.title}: failures", [_failed(failure) for failure in failures[:MOST]])


def sitemap(site: Site, paths: Sequence[str]) -> Iterator[File]:
    """The pages for search engines (sitemaps.org), where it is known at which address they are."""
    if site.url:
        root = f"{site.url.rstrip('/')}/"
        urls = "".join(f"<url><loc>{escape(root + path)}</loc></url>\n" for path in paths[:_PAGES])
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}</urlset>\n'
        yield PurePosixPath("sitemap.xml"), text.encode()


def _built(build: Build) -> Entry:
    return Entry(
        id=_id(f"{build.reference}@{build.digest}"), title=f"{build.name}@{build.version} for {build.target}",
        page=f"build/index.html#{build.hash}", moment=build.created or _NEVER,
        about=" ".join([f"{build.name}@{build.version}", build.variants, build.os, build.target, *(f"%{one}" for one in build.compilers)]),
    )  # fmt: skip


def _failed(failure: Failing) -> Entry:
    return Entry(
        id=_id(f"{failure.image} {failure.hash} {failure.last}"), title=f"{failure.label} failed in phase {failure.phase}",
        page=f"failures/{failure.hash}/index.html", moment=failure.last, about=failure.message,
    )  # fmt: skip


def _id(text: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, text).urn


def _feed(site: Site, name: str, title: str, entries: list[Entry]) -> Iterator[File]:
    root = f"{site.url.rstrip('/')}/" if site.url else "../"
    yield PurePosixPath(f"feeds/{name}.xml"), _atom(title, root, f"{root}feeds/{name}.xml", entries)
    body = {
        "version": "https://jsonfeed.org/version/1.1", "title": title, "home_page_url": root, "feed_url": f"{root}feeds/{name}.json",
        "items": [
            {"id": one.id, "url": root + one.page, "title": one.title, "content_text": one.about, "date_published": one.moment}
            for one in entries
        ],
    }  # fmt: skip
    yield PurePosixPath(f"feeds/{name}.json"), (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _atom(title: str, root: str, own: str, entries: list[Entry]) -> bytes:
    feed = ElementTree.Element("feed", {"xmlns": _ATOM})
    _add(feed, "title", title)
    _add(feed, "id", _id(own if root != "../" else title))
    _add(feed, "updated", max((one.moment for one in entries), default=_NEVER))
    _add(_add(feed, "author", ""), "name", title)
    _add(feed, "link", "", rel="self", href=own)
    _add(feed, "link", "", rel="alternate", href=root)
    for one in entries:
        entry = _add(feed, "entry", "")
        _add(entry, "title", one.title)
        _add(entry, "id", one.id)
        _add(entry, "updated", one.moment)
        _add(entry, "link", "", rel="alternate", href=root + one.page)
        _add(entry, "summary", one.about)
    ElementTree.indent(feed, " ")
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + _NO_XML.sub("?", ElementTree.tostring(feed, "unicode")).encode() + b"\n"


def _add(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag, attributes)
    element.text = text or None
    return element
