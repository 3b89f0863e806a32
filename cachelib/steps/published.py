"""The layers of what is published already: none of their bytes need be sent."""

from __future__ import annotations

from collections.abc import Collection

from cachelib.model.catalog import CatalogEntry
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, FormatError
from cachelib.model.image import Layer
from cachelib.model.oci import ImageManifest, parse_json
from cachelib.model.ports import Repository
from cachelib.steps.artifacts import read_root, read_shards


def cataloged(repository: Repository, needed: Collection[str], *, jobs: int) -> dict[str, CatalogEntry]:
    """What the catalog tells of some entries, read from as few of its shards; nothing where it is damaged or missing."""
    try:
        held = read_root(repository) if needed else None
        if held is None:
            return {}
        keys = {key for key in held.root.shards for h in needed if h.startswith(key)}
        return {h: entry for h, entry in read_shards(repository, held.root, keys, jobs=jobs).items() if not entry.stale}
    except CacheError:
        return {}


def published_layer(tag: str, entry: CatalogEntry | None, repository: Repository) -> tuple[Layer, int]:
    """The layer of a spec that a repository has, by its image or by what the catalog tells; none of its bytes are to be sent."""
    if entry is not None:
        return Layer(digest=entry.tarball.digest, size=entry.tarball.size, diff_id=entry.diff_id), 0
    raw = repository.manifest(tag)
    if raw is None:
        raise FormatError(f"{repository.name}:{tag} is listed but has no manifest", hint="run `inv verify`")
    manifest = ImageManifest.parse(raw)
    config = parse_json(repository.read_blob(manifest.config), f"the config of {tag}")
    try:
        own, diff_id = manifest.layers[-1], Digest.parse(config["rootfs"]["diff_ids"][-1])
    except (LookupError, TypeError) as error:
        raise FormatError(f"{repository.name}:{tag} is not the image of a spec: {error!r}", hint="run `inv verify`") from None
    return Layer(digest=own.digest, size=own.size, diff_id=diff_id), 0
