"""Lists the tags of a repository, and believes the list only where it is whole."""

from __future__ import annotations

from cachelib.model.errors import CatalogError
from cachelib.model.oci import CATALOG_TAG
from cachelib.model.ports import Repository
from cachelib.steps import artifacts


def whole_tags(repository: Repository) -> frozenset[str]:
    """All tags; raise CatalogError where the list lacks the catalog that is there.

    Registries now and then answer 404 or a part for a list that is there. Believed, it would empty the cache.
    """
    listed = repository.tags()
    there = CATALOG_TAG in listed or artifacts.find_manifest(repository, CATALOG_TAG) is not None
    if there and CATALOG_TAG not in listed:
        listed = repository.tags()  # the first catalog may have come a moment ago
    if there and CATALOG_TAG not in listed:
        raise CatalogError(
            f"{repository.name}: the tag list lacks the catalog that is there, so it is not whole; nothing was changed",
            hint="run the same command again in a minute",
        )
    return listed
