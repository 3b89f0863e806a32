"""Reads a page of a registry's tag list (OCI distribution-spec, Listing Tags)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import requests

from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.oci import parse_json
from cachelib.tools.answers import plain_url


def listed(response: requests.Response, name: str) -> Iterator[str]:
    """The tags of a page; raise RegistryError where it is none: believed to be an empty list, it would empty the cache's index."""
    try:
        tags = parse_json(response.content, "a tag list").get("tags", 0)
    except FormatError:
        tags = 0
    if not isinstance(tags, list | None):
        raise RegistryError(f"{name}: {plain_url(response.url)} answered with something that is no tag list", temporary=True)
    return (tag for tag in tags or () if isinstance(tag, str))


def next_page(response: requests.Response, name: str, base: str) -> str | None:
    """Where the next page is: the Link header is followed until there is none, and to no other host than that of `base`."""
    link = response.links.get("next", {}).get("url")
    if not link:
        return None
    try:
        url = urljoin(response.url, link)
        elsewhere = urlsplit(url)[:2] != urlsplit(base)[:2]
    except ValueError:
        raise RegistryError(f"{name}: the next page of the tag list has no address") from None
    if elsewhere:
        raise RegistryError(f"{name}: the next page of the tag list is on another host: {plain_url(url)}")
    return url
