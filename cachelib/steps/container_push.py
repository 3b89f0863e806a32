"""Puts a container into a repository: layers from where they lie, config, manifests, then its tags."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from cachelib.model.container import Choice
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, RegistryError, UsageError
from cachelib.model.image import BaseImage
from cachelib.model.oci import Descriptor, ImageManifest, RawManifest, listed_manifests, parse_json
from cachelib.model.ports import Progress, Repository
from cachelib.steps.bases import copy_blob
from cachelib.steps.container_image import CONTAINER, ContainerImage, make_image, make_image_index, make_labels, read_env
from cachelib.steps.containing import layer_of
from cachelib.steps.parallel import in_order, workers
from cachelib.steps.reading import open_image

#: Labels that hold for one architecture alone.
_OF_ONE = (".target", ".dag-hash", ".os", ".libc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A container that is to be put somewhere: its images by architecture, and what its tags name."""

    choices: tuple[Choice, ...]
    bases: tuple[BaseImage, ...]
    images: tuple[ContainerImage, ...]
    top: RawManifest


def make(
    choices: Sequence[Choice], bases: Sequence[BaseImage], sources: Mapping[str, Repository], name: str, labels: Mapping[str, str],
    *, jobs: int,
) -> Made:  # fmt: skip
    """Make the images of a container; of all packages' own images the configs are read, which tell the environment."""
    images, told = [], []
    for choice, base in zip(choices, bases, strict=True):
        with workers(jobs) as pool:
            read = in_order(pool, lambda part: _environment(sources[part.image], part.entry.tag), choice.parts)
            environments = {part.entry.hash: future.result() for part, future in read}
        told.append(make_labels(choice, name, base, labels))
        images.append(make_image(choice, base, environments, told[-1]))
    shared = {key: value for key, value in told[0].items() if not key.endswith(_OF_ONE)}
    top = images[0].manifest if len(images) == 1 else make_image_index(images, shared)
    return Made(choices=tuple(choices), bases=tuple(bases), images=tuple(images), top=top)


def check_tags(target: Repository, tags: Sequence[str], made: Made) -> tuple[str, ...]:
    """The tags that don't name it yet; raise UsageError for one that names something else than a container of ours."""
    left = []
    for tag in tags:
        held = target.manifest(tag)
        if held is not None and held.data == made.top.data:
            continue
        if held is not None and not _is_container(target, held):
            raise UsageError(f"{target.name}:{tag} is something else than a container", hint="choose another tag, or delete that one first")
        left.append(tag)
    return tuple(left)


def put(
    made: Made, target: Repository, tags: Sequence[str], sources: Mapping[str, Repository], below: Repository | None, *, jobs: int,
    progress: Progress,
) -> int:  # fmt: skip
    """Put a container where it belongs, and name it; return the bytes that were sent. What the target's own images have is not sent."""
    copies: dict[Digest, tuple[Descriptor, Repository]] = {}
    for choice, base in zip(made.choices, made.bases, strict=True):
        if below is not None:
            copies |= {layer.digest: (layer, below) for layer in base.layers}
        copies |= {part.entry.tarball.digest: (layer_of(part).descriptor(), sources[part.image]) for part in choice.parts}
    moving = [(layer, source) for layer, source in copies.values() if source.name != target.name]
    sent = 0
    progress.start(f"put a container into {target.name}", len(moving))
    with workers(jobs) as pool:
        for (layer, _), future in in_order(pool, lambda pair: copy_blob(pair[1], target, pair[0]), moving):
            sent += future.result()
            progress.advance(f"layer {layer.digest}")
    progress.finish()
    for image in made.images:
        for descriptor, data in ((image.profile_descriptor, image.profile), (image.config_descriptor, image.config)):
            sent += target.put_blob(descriptor, _opener(data))
    if len(made.images) > 1:
        for image in made.images:
            target.put_manifest(image.manifest, None)
    for tag in tags:
        target.put_manifest(made.top, tag)
    if lost := sorted(target.flush() & set(tags)):
        raise RegistryError(f"{target.name}:{lost[0]} lost a part to a pruning meanwhile", hint="run the same command again")
    return sent


def _environment(source: Repository, tag: str) -> dict[str, str]:
    runtime = open_image(source, tag).config.get("config")
    return read_env(runtime.get("Env")) if isinstance(runtime, dict) else {}


def _is_container(target: Repository, held: RawManifest) -> bool:
    """Whether a manifest is a container of ours, by its annotations, the labels in its config, or those of an image that it lists."""
    try:
        data = parse_json(held.data, "a manifest")
        if CONTAINER in (data.get("annotations") or {}):
            return True
        if "manifests" in data:
            first = next(iter(listed_manifests(data)), None)
            below = target.manifest(str(first)) if first else None
            return below is not None and "manifests" not in parse_json(below.data, "a manifest") and _is_container(target, below)
        config = parse_json(target.read_blob(ImageManifest.parse(held).config), "a config")
        return CONTAINER in ((config.get("config") or {}).get("Labels") or {})
    except (CacheError, AttributeError, TypeError):
        return False


def _opener(data: bytes) -> Callable[[], IO[bytes]]:
    return lambda: io.BytesIO(data)
