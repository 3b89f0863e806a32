"""Pushes a mirror into a repository: first a plan with a reason per entry, then layers, configs, manifests, in that order."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

from cachelib.model.catalog import Catalog
from cachelib.model.digest import Digest
from cachelib.model.entry import Entry
from cachelib.model.errors import CacheError, FormatError
from cachelib.model.image import BaseImage, Layer
from cachelib.model.oci import Descriptor, ImageManifest, go_architecture, parse_json, spec_tag
from cachelib.model.outcome import NotPushed, Present, Pushed, PushOutcome
from cachelib.model.ports import Mirror, Progress, Repository
from cachelib.model.spec import Node
from cachelib.steps.image import make_annotations, make_config, make_manifest
from cachelib.steps.parallel import workers
from cachelib.steps.targets import family


@dataclass(frozen=True, slots=True, kw_only=True)
class PushItem:
    """One entry, what is to become of it, and why."""

    entry: Entry
    tag: str
    send: bool
    reason: str
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPlan:
    """All entries of a mirror against what the repository has. `tags` is what it had."""

    items: tuple[PushItem, ...]
    tags: frozenset[str]
    force: bool = False

    def to_send(self) -> tuple[PushItem, ...]:
        return tuple(item for item in self.items if item.send)


def plan_push(entries: Iterable[Entry], tags: frozenset[str], *, force: bool = False, forbidden: frozenset[str] = frozenset()) -> PushPlan:
    """Decide for each entry: a published DAG hash is left alone, unless forced; dependencies come first.

    `forbidden` are DAG hashes whose recipe does not allow that their binary is given away.
    """
    items = []
    for entry in sorted(entries, key=lambda entry: (len(entry.spec.runtime_closure()), entry.spec.root.name, entry.hash)):
        root = entry.spec.root
        tag = spec_tag(root.name, root.version, root.hash)
        if entry.hash in forbidden:
            reason = "its recipe forbids giving away the binary (redistribute)"
            items.append(PushItem(entry=entry, tag=tag, send=False, reason=reason, refused=True))
            continue
        published = tag in tags
        reason = ("published, but --force" if force else "published already") if published else "not published yet"
        items.append(PushItem(entry=entry, tag=tag, send=force or not published, reason=reason))
    return PushPlan(items=tuple(items), tags=tags, force=force)


def push(
    plan: PushPlan,
    mirror: Mirror,
    repository: Repository,
    *,
    catalog: Catalog,
    bases: Mapping[str, BaseImage],
    labels: Mapping[str, str],
    jobs: int,
    progress: Progress,
) -> dict[str, PushOutcome]:
    """Carry out the plan; one outcome per DAG hash. A failure costs the entry and those that contain it, nothing else."""
    outcomes: dict[str, PushOutcome] = {
        item.entry.hash: NotPushed(reason=item.reason) if item.refused else Present(reference=f"{repository.name}:{item.tag}")
        for item in plan.items
        if not item.send
    }
    sending = plan.to_send()
    progress.start(f"push to {repository.name}", len(sending))
    with workers(jobs) as pool:
        layers = _published_layers(plan, catalog, repository, pool)
        manifests: list[tuple[PushItem, Future[Pushed]]] = []
        # A manifest waits for layers that stand before it in the pool's queue, so no worker waits for what can't start.
        for item in sending:
            layers[item.entry.hash] = pool.submit(_send_layer, item.entry, mirror, repository, plan.force)
            manifests.append((item, pool.submit(_send_image, item, layers, mirror, repository, bases, labels, plan.force, progress)))
        try:
            for item, future in manifests:
                try:
                    outcomes[item.entry.hash] = future.result()
                    progress.advance(f"pushed {item.entry.label}")
                except CacheError as error:
                    outcomes[item.entry.hash] = NotPushed(reason=f"{error.message} ({error.hint})" if error.hint else error.message)
                    progress.advance(f"failed {item.entry.label}")
        finally:
            repository.flush()
    progress.finish()
    return outcomes


_LayerFuture = Future[tuple[Layer, int]]


def _published_layers(plan: PushPlan, catalog: Catalog, repository: Repository, pool: ThreadPoolExecutor) -> dict[str, _LayerFuture]:
    """The layers of dependencies that are published already. What is published counts, not what the mirror has of it."""
    sent = {item.entry.hash for item in plan.to_send()}
    needed = {node.hash: node for item in plan.to_send() for node in item.entry.spec.runtime_closure() if node.hash not in sent}
    found: dict[str, _LayerFuture] = {}
    for h, node in needed.items():
        tag = spec_tag(node.name, node.version, node.hash)
        if tag in plan.tags:
            found[h] = pool.submit(_published_layer, h, tag, catalog, repository)
    return found


def _published_layer(dag_hash: str, tag: str, catalog: Catalog, repository: Repository) -> tuple[Layer, int]:
    if (entry := catalog.entries.get(dag_hash)) is not None:
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


def _send_layer(entry: Entry, mirror: Mirror, repository: Repository, force: bool) -> tuple[Layer, int]:
    info = mirror.inspect_tarball(entry.tarball)
    layer = Layer(digest=info.digest, size=info.size, diff_id=info.diff_id, info=info)
    sent = repository.put_blob(layer.descriptor(), lambda: mirror.open_blob(info.digest), replace=force)
    return layer, sent


def _send_image(
    item: PushItem,
    layers: Mapping[str, _LayerFuture],
    mirror: Mirror,
    repository: Repository,
    bases: Mapping[str, BaseImage],
    labels: Mapping[str, str],
    force: bool,
    progress: Progress,
) -> Pushed:
    entry = item.entry
    base = bases.get(architecture(entry), BaseImage())
    record = mirror.record(entry.hash)
    chain: list[Layer] = []
    for node in entry.spec.runtime_closure():
        layer = _layer(node, entry, layers, progress)
        if layer is not None:
            chain.append(layer)
    _, sent = layers[entry.hash].result()
    annotations = make_annotations(entry, record, base, labels)
    config = make_config(entry, chain, base, record, annotations)
    descriptor, manifest = make_manifest(chain, base, config, annotations)
    sent += repository.put_blob(descriptor, lambda: io.BytesIO(config), replace=force)
    repository.put_manifest(manifest, item.tag)
    return Pushed(reference=f"{repository.name}:{item.tag}", digest=str(manifest.digest), sent=sent + len(manifest.data))


def _layer(node: Node, entry: Entry, layers: Mapping[str, _LayerFuture], progress: Progress) -> Layer | None:
    future = layers.get(node.hash)
    if future is None:
        # As Spack does: the image installs, but doesn't run as a container.
        progress.say(f"{entry.label}: the layer of {node.label} is in neither mirror nor registry; the image will not run by itself")
        return None
    try:
        return future.result()[0]
    except CacheError as error:
        if node.hash == entry.hash:
            raise
        raise FormatError(f"its dependency {node.label} could not be sent: {error.message}") from None


def architecture(entry: Entry) -> str:
    """OCI's name of the architecture an entry is for."""
    return go_architecture(family(entry.spec.root.target))


def copy_base(source: Repository, target: Repository, base: BaseImage) -> int:
    """Copy the layers of a base image that the target lacks; return the bytes that were sent."""

    def opener(layer: Descriptor) -> Callable[[], IO[bytes]]:
        return lambda: io.BufferedReader(_Stream(source.stream_blob(layer)))

    return sum(target.put_blob(layer, opener(layer)) for layer in base.layers)


class _Stream(io.RawIOBase):
    """A file over pieces that arrive one after the other."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def base_image(source: Repository, reference: str, name: str, platform: str) -> BaseImage:
    """Read the base image for an architecture (`platform` is OCI's word, amd64); raise FormatError where there is none."""
    raw = source.manifest(reference)
    if raw is None:
        raise FormatError(f"the base image {name} does not exist", hint="mend `base_image` in cache.yaml")
    data = parse_json(raw.data, f"the manifest of {name}")
    if "manifests" in data:
        fitting = [
            item
            for item in data["manifests"]
            if isinstance(item, dict)
            and isinstance(item.get("platform"), dict)
            and (item["platform"].get("os"), item["platform"].get("architecture")) == ("linux", platform)
        ]
        if not fitting:
            raise FormatError(f"the base image {name} has nothing for linux/{platform}", hint="choose another `base_image`")
        raw = source.manifest(str(fitting[0].get("digest")))
        if raw is None:
            raise FormatError(f"the base image {name} lacks its manifest for linux/{platform}")
    manifest = ImageManifest.parse(raw)
    config = parse_json(source.read_blob(manifest.config), f"the config of {name}")
    rootfs = config.get("rootfs")
    if not isinstance(rootfs, dict) or not isinstance(rootfs.get("diff_ids"), list) or len(rootfs["diff_ids"]) != len(manifest.layers):
        raise FormatError(f"the config of the base image {name} does not name its layers", hint="choose another `base_image`")
    if (config.get("os"), config.get("architecture")) != ("linux", platform):
        found = f"{config.get('os')}/{config.get('architecture')}"
        raise FormatError(f"the base image {name} is for {found}, not for linux/{platform}", hint="choose another `base_image`")
    return BaseImage(
        name=name,
        media_type=manifest.media_type,
        config_media_type=manifest.config.media_type,
        layers=manifest.layers,
        config=config,
    )
