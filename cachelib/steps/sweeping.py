"""Deletes what nothing names any more: attestations of images that are gone, and what no tag leads to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError, RegistryError
from cachelib.model.oci import CATALOG_TAG, DOCKER_MANIFEST, INDEX_TAG, MANIFEST, RawManifest, is_spec_tag, parse_json
from cachelib.model.outcome import Swept
from cachelib.model.ports import Deleter, Repository
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.tags import whole_tags

# How attestations and signatures lie beside an image where a registry knows no referrers
# (distribution-spec, Referrers Tag Schema; cosign adds .sig, .att, .sbom).
_ATTACHED = re.compile(r"sha256-([0-9a-f]{64})(\.[a-z]+)?")
_LEAVES = (MANIFEST, DOCKER_MANIFEST)


def sweep(
    repository: Repository, deleter: Deleter, *, gone: frozenset[Digest], kept: frozenset[Digest], since: float, grace: float, jobs: int
) -> Swept:
    """Delete what no tag leads to; what an image index under a tag lists is led to, also by way of further ones.

    `gone` are the images that this pruning deleted, `kept` those that it knows to be there. `since` is when it began (seconds
    since the epoch); what was touched less than `grace` seconds before that stays.
    """
    keep, notes, count = set[Digest](), list[str](), 0
    others = sorted(tag for tag in whole_tags(repository) if not is_spec_tag(tag) and tag not in (CATALOG_TAG, INDEX_TAG))
    orphans: list[tuple[str, RawManifest, frozenset[Digest], float]] = []
    with workers(jobs) as pool:
        for tag, future in in_order(pool, lambda tag: _look(repository, tag, gone, kept), others):
            raw, children, owner = future.result()
            if raw is None:
                continue
            if owner is None:
                keep.update(children)
            else:
                orphans.append((tag, raw, children, since if owner in gone else since - grace))
    for tag, raw, children, before in orphans:
        try:
            deleted, note = deleter.delete(tag, raw.digest, since=before), ""
        except RegistryError as error:
            deleted, note = False, f"{tag} stays: {error.message}"
        if deleted:
            count += 1
        else:
            keep.update(children)
            notes += [note] if note else []
    stayed = deleter.finish()
    for tag, _, children, _ in orphans:
        if tag in stayed:
            keep.update(children)
            count -= 1
    swept = deleter.sweep(frozenset(keep), before=since - grace)
    return replace(swept, count=swept.count + count, note="; ".join(filter(None, [*notes[:3], swept.note])))


def _look(
    repository: Repository, tag: str, gone: frozenset[Digest], kept: frozenset[Digest]
) -> tuple[RawManifest | None, frozenset[Digest], Digest | None]:
    """The manifest of a tag, all that it leads to, and the image that it is about where that image is gone."""
    raw = repository.manifest(tag)
    if raw is None:
        return None, frozenset(), None
    children = frozenset(_led_to(repository, _parsed(raw)))
    if named := gone & {raw.digest, *children}:
        # A tag of the owner's own, of a build that was deleted.
        return raw, children, min(named, key=str)
    about = _ATTACHED.fullmatch(tag)
    image = Digest.parse(f"sha256:{about[1]}") if about else None
    if image is None or image in kept:
        return raw, children, None
    # Asked twice: registries now and then answer 404 for what is there.
    missing = image in gone or (repository.manifest(str(image)) is None and repository.manifest(str(image)) is None)
    return raw, children, image if missing else None


def _led_to(repository: Repository, manifest: Mapping[str, Any]) -> set[Digest]:
    """The manifests that an image index lists, and those that image indexes among them list."""
    found, waiting = set[Digest](), [manifest]
    while waiting:
        listed = waiting.pop().get("manifests")
        for item in listed if isinstance(listed, list) else ():
            if not isinstance(item, dict):
                continue
            try:
                digest = Digest.parse(item.get("digest"))
            except FormatError:
                continue
            if digest not in found:
                found.add(digest)
                if item.get("mediaType") not in _LEAVES and (raw := repository.manifest(str(digest))) is not None:
                    waiting.append(_parsed(raw))
    return found


def _parsed(raw: RawManifest) -> Mapping[str, Any]:
    return parse_json(raw.data, f"manifest {raw.digest}")
