"""Deletes from ghcr.io, which takes no DELETE: GitHub's own API deletes versions of a package."""

from __future__ import annotations

from datetime import datetime

from cachelib.model.digest import Digest
from cachelib.model.errors import RegistryError
from cachelib.model.oci import is_spec_tag
from cachelib.model.outcome import Swept
from cachelib.tools.github_packages import GitHubPackages, PackageVersion


class GitHubDeleter:
    """A package's versions by digest, listed once before anything is deleted: a deletion shifts later pages."""

    def __init__(self, packages: GitHubPackages) -> None:
        self._packages = packages
        self._versions: dict[Digest, PackageVersion] | None = None

    def delete(self, tag: str, digest: Digest, *, since: float) -> bool:
        """Delete the version of a manifest, unless it was touched after `since`. Tags of an owner's own go along: none comes off alone."""
        if self._versions is None:
            self._versions = {version.digest: version for version in self._packages.versions()}
        version = self._versions.get(digest)
        if version is None:
            return True
        if _seconds(version.updated) >= since:
            return False
        if others := {other for other in version.tags if is_spec_tag(other)} - {tag}:
            raise RegistryError(f"{self._packages.name}: {tag} is tagged {min(others)} too", hint="take that tag away first")
        self._packages.delete(version)
        del self._versions[digest]
        return True

    def finish(self) -> frozenset[str]:
        """Nothing to do: each deletion is a request of its own."""
        return frozenset()

    def sweep(self, keep: frozenset[Digest], *, before: float) -> Swept:
        """Delete versions without a tag: indexes of old days, and images that were pushed anew."""
        orphans = [v for v in self._packages.versions() if not v.tags and v.digest not in keep and _seconds(v.updated) < before]
        for count, version in enumerate(orphans):
            try:
                self._packages.delete(version)
            except RegistryError as error:
                return Swept(count=count, note=f"{error.message} ({error.hint})" if error.hint else error.message)
        return Swept(count=len(orphans))


def _seconds(moment: str) -> float:
    """An RFC 3339 time in seconds since the epoch; one that can't be read counts as just now."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return float("inf")
