"""Mends what can be mended without a mirror: tags that were lost, the catalog, Spack's index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cachelib.model.errors import CacheError
from cachelib.model.finding import Finding
from cachelib.model.ports import Progress, Repository
from cachelib.steps import artifacts, indexing
from cachelib.steps.reading import open_image


def repair(
    repository: Repository, findings: Sequence[Finding], *, labels: Mapping[str, str], jobs: int, progress: Progress
) -> tuple[str, ...]:
    """Mend what was found, where that can be done; tell what was done. What is left is for the next verify to name."""
    if not any(finding.mendable for finding in findings):
        return ()
    # Tags first: an index that is read anew would forget what they had named.
    mended = _name_again(repository)
    indexed = indexing.index(repository, labels=labels, jobs=jobs, progress=progress, full=True)
    if indexed.written:
        mended.append(f"catalog and Spack index were read anew from the tags: {indexed.count} entries")
    return tuple(mended)


def _name_again(repository: Repository) -> list[str]:
    """Give tags back to images that the catalog knows by digest, that are there and whole, and that lost their tags."""
    mended: list[str] = []
    try:
        catalog = artifacts.load_catalog(repository)
    except CacheError:
        return mended
    tags = repository.tags()
    for entry in catalog.entries.values():
        if entry.tag in tags or entry.stale:
            continue
        try:
            raw = repository.manifest(str(entry.manifest.digest))
            if raw is None:
                continue
            open_image(repository, entry.tag, raw=raw)
            repository.put_manifest(raw, entry.tag)
        except CacheError:
            continue  # not whole: it stays without a tag
        mended.append(entry.tag)
    lost = repository.flush()
    return [f"{tag} names its image again" for tag in mended if tag not in lost]
