"""GitHub's REST API for packages: lists and deletes the versions of one container package.

ghcr.io answers 405 to a manifest's DELETE, so this is the one way to delete there. A version is a manifest, with all its tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError
from cachelib.tools.github_rest import GitHubRest, plain

# What to do, by what GitHub says and then by the status it says it with.
_HINTS = {
    r"5,?000 downloads": "GitHub keeps public versions with over 5,000 downloads; only its support deletes them",
    r"the last (tagged )?version of a package": "GitHub keeps a package's last version: keep one, or delete the package in its settings",
    r"^401": "is the token right, and does it still live? A job's GITHUB_TOKEN dies with its job; elsewhere it takes a classic "
    "personal access token with the scopes read:packages and delete:packages",
    # Deleting and restoring a package, Packages API support: GITHUB_TOKEN must have admin permission to the package.
    r"^403": "the repository needs the Admin role on the package (package settings, Manage Actions access), and the job "
    "`permissions: packages: write`",
    r"^404": "does the package exist, and may this token see it? GitHub answers 404 for what a token may not see",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageVersion:
    """A manifest in GitHub's books, as it was when it was listed; times are as GitHub writes them (RFC 3339)."""

    id: int
    digest: Digest
    tags: tuple[str, ...]
    created: str
    updated: str


class GitHubPackages:
    """One container package of an organization or a user; for one thread (Best practices, Avoid concurrent requests)."""

    def __init__(self, api: str, owner: str, package: str, token: str, **how: Any) -> None:
        self.name = f"{owner}/{package}"
        self._rest = GitHubRest(api, token, self.name, hints=_HINTS, **how)
        # Troubleshooting the REST API: a slash in a path parameter must be %2F, or the address means something else.
        path = f"{quote(owner, safe='')}/packages/container/{quote(package, safe='')}/versions"
        self._homes = tuple(f"{kind}/{path}" for kind in ("orgs", "users"))

    def versions(self) -> Iterator[PackageVersion]:
        """List all versions, newest first, each once; take them all before a delete, which shifts what is on later pages."""
        # List package versions for a package owned by an organization (or a user); Using pagination in the REST API.
        response, seen = self._first_page(), set[int]()
        while True:
            for version in self._parsed(response):
                if version.id not in seen:  # a push meanwhile moves the last ones of a page to the next
                    seen.add(version.id)
                    yield version
            if "next" not in response.links:
                return
            # The address is another than the first page's (/organizations/<number>/...): it can't be made up.
            response = self._rest.send("GET", self._rest.at_home(response.url, response.links["next"].get("url", "")), 200)

    def delete(self, version: PackageVersion) -> None:
        """Delete a version and its tags; one that is gone already is fine. Raise RegistryError where GitHub keeps it."""
        if len(self._homes) > 1:
            self._first_page()
        # Delete package version for an organization (or a user).
        url = f"{self._homes[0]}/{version.id}"
        if self._rest.send("DELETE", url, 204, 404).status_code == 404 and self._rest.send("GET", url, 200, 404).status_code == 200:
            # Troubleshooting, 404 for an existing resource: GitHub says so to a token that may not delete (canonical/authd#1376).
            message = f"DELETE {url}: 404, but version {version.digest} is still there"
            raise self._rest.error(message, status=404, hint=self._rest.hint("403"))

    def _first_page(self) -> requests.Response:
        """Ask as for an organization, then as for a user, and remember which the owner is."""
        for home in self._homes:
            response = self._rest.send("GET", f"{home}?per_page=100", 200, 404)
            if response.status_code == 200:
                self._homes = (home,)
                return response
        # Never an empty list: who believes it takes the cache for empty.
        raise self._rest.error(f"GitHub has no container package {self.name}", status=404, hint=self._rest.hint("404"))

    def _parsed(self, response: requests.Response) -> tuple[PackageVersion, ...]:
        try:
            items = response.json()
            if not isinstance(items, list):
                raise TypeError
            return tuple(version for version in map(_version, items) if version is not None)
        except (ValueError, LookupError, TypeError, RecursionError):
            # A version whose tags are not understood, believed to have none, would be deleted as a leftover.
            raise self._rest.error(f"{plain(response.url)} answered with something that is no list of versions") from None


def _version(item: dict[str, Any]) -> PackageVersion | None:
    try:
        digest = Digest.parse(item["name"])
    except FormatError:
        return None  # no manifest
    number, tags, created, updated = item["id"], item["metadata"]["container"]["tags"], item["created_at"], item["updated_at"]
    if not (isinstance(number, int) and isinstance(tags, list) and all(isinstance(text, str) for text in (*tags, created, updated))):
        raise TypeError
    return PackageVersion(id=number, digest=digest, tags=tuple(tags), created=created, updated=updated)
