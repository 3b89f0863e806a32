"""Names published builds by tags of an owner's own, beside those by their hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cachelib.model.catalog import Catalog
from cachelib.model.container import Root
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, CatalogError, FormatError, RegistryError, UsageError
from cachelib.model.oci import IMAGE_INDEX, ImageManifest, RawManifest, compact_json, listed_manifests, parse_json
from cachelib.model.ports import Repository
from cachelib.steps.containing import architecture_of
from cachelib.steps.reading import CONFIG_LIMIT
from cachelib.steps.reports import Report, step_data


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A tag, and the builds that it names, one for each architecture. `new` says that it did not name them before."""

    tag: str
    where: str
    roots: tuple[Root, ...]
    digest: Digest
    new: bool


def make_top(roots: Sequence[Root], repository: Repository) -> RawManifest:
    """What the tag is to name: the image of a build as it is, or an image index of those for several architectures."""
    if len(roots) > 1:
        listed = [
            {**root.entry.manifest.json(), "platform": {"architecture": architecture_of(root), "os": "linux"}}
            for root in sorted(roots, key=architecture_of)
        ]
        return RawManifest(media_type=IMAGE_INDEX, data=compact_json({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": listed}))
    entry = roots[0].entry
    raw = repository.manifest(str(entry.manifest.digest))
    if raw is None:
        raise CatalogError(
            f"{repository.name}:{entry.tag} is in the catalog and not there", hint="`inv index` brings the catalog up to date"
        )
    return raw


def put_tag(tag: str, roots: Sequence[Root], repository: Repository, catalog: Catalog, *, dry_run: bool) -> Tagged:
    """Let a tag name some builds; raise UsageError where it names what is no build of this cache."""
    top = make_top(roots, repository)
    held = repository.manifest(tag)
    new = held is None or held.data != top.data
    if held is not None and new and not _of_builds(repository, held, frozenset(e.manifest.digest for e in catalog.entries.values())):
        raise UsageError(
            f"{repository.name}:{tag} is something else than a build of this cache", hint="choose another tag, or delete that one first"
        )
    if new and not dry_run:
        repository.put_manifest(top, tag)
        if tag in repository.flush():
            raise RegistryError(f"{repository.name}:{tag} lost its build to a pruning meanwhile", hint="run the same command again")
    return Tagged(tag=tag, where=repository.name, roots=tuple(roots), digest=top.digest, new=new)


def _of_builds(repository: Repository, held: RawManifest, known: frozenset[Digest]) -> bool:
    """Whether a manifest is the image of a build, of today or of an earlier day, or an image index of such."""
    if held.digest in known:
        return True
    try:
        data = parse_json(held.data, "a manifest")
        if "manifests" in data:
            below = [(digest, repository.manifest(str(digest))) for digest in listed_manifests(data)]
            return bool(below) and all(digest in known or raw is None or _is_build(repository, raw) for digest, raw in below)
        return _is_build(repository, held)
    except (CacheError, AttributeError, TypeError):
        return False


def _is_build(repository: Repository, raw: RawManifest) -> bool:
    manifest = ImageManifest.parse(raw)
    if manifest.config.size > CONFIG_LIMIT:
        raise FormatError("its config is too large")
    return "spec" in parse_json(repository.read_blob(manifest.config), "its config")


def tag_report(tagged: Tagged, *, dry_run: bool = False) -> Report:
    """What a tag names, and whether it did before."""
    name = f"{tagged.where.removeprefix('oci-layout:')}:{tagged.tag}"
    roots = ", ".join(f"{root.spec.label} ({root.spec.root.os} {root.spec.root.target})" for root in tagged.roots)
    verb = "is already" if not tagged.new else "would name" if dry_run else "names"
    items = [{"label": root.spec.label, "outcome": "tagged", "hash": root.entry.hash, "request": root.request} for root in tagged.roots]
    data = step_data("tag", tagged.where, items, tag=tagged.tag, digest=str(tagged.digest), new=tagged.new)
    return Report(lines=(f"tag: {name} {verb} {roots}",), data=(data,))
