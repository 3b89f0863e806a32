"""Pushes a mirror into a repository: first a plan with a reason per entry, then layers, configs, manifests, in that order."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from cachelib.model.digest import Digest
from cachelib.model.entry import BlobRecord, Entry, EntryName
from cachelib.model.errors import CacheError, FormatError, MirrorError
from cachelib.model.image import BaseImage, Layer
from cachelib.model.oci import go_architecture, spec_tag
from cachelib.model.outcome import NotPushed, Present, Pushed, PushOutcome, Upstream
from cachelib.model.ports import Mirror, Progress, Repository
from cachelib.model.record import PackageInfo
from cachelib.steps.entries import keep_entry
from cachelib.steps.image import make_annotations, make_config, make_manifest
from cachelib.steps.licensing import withheld
from cachelib.steps.parallel import WAITING, workers
from cachelib.steps.published import cataloged, published_layer
from cachelib.steps.targets import family

#: Layers go so many entries ahead of the images that are made of them, so that no worker waits for another's layer.
AHEAD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A node of an entry's link/run closure: whose layer its image needs."""

    hash: str
    tag: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PushItem:
    """One entry, what is to become of it, and why. The closure is known of those that are to be sent."""

    entry: EntryName
    send: bool
    reason: str
    refused: bool = False
    upstream: str = ""
    tarball: BlobRecord | None = None
    platform: str = ""
    closure: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPlan:
    """All entries of a mirror against what the repository has. `tags` is what it had."""

    items: tuple[PushItem, ...]
    tags: frozenset[str]
    force: bool = False

    def to_send(self) -> tuple[PushItem, ...]:
        return tuple(item for item in self.items if item.send)


def plan_push(
    mirror: Mirror,
    tags: frozenset[str],
    *,
    force: bool = False,
    anew: Set[str] = frozenset(),
    elsewhere: Mapping[str, str] | None = None,
    refusal: Callable[[PackageInfo, str], str] = lambda package, _: withheld(package),
    on_damage: Callable[[MirrorError], None] | None = None,
) -> PushPlan:
    """Decide for each entry: a published DAG hash is left alone, unless forced or built `anew`; dependencies come first.

    What upstreams have is left out too; `elsewhere` tells which has what.

    Only what is to be sent is read. `refusal` says of a package, and the stack that built it, why it may not be given away.
    """
    keep, send = [], []
    needs: dict[str, Need] = {}
    for name in mirror.names(on_damage):
        if name.tag in tags and not force and name.hash not in anew:
            keep.append(PushItem(entry=name, send=False, reason="published already"))
            continue
        if elsewhere and name.hash in elsewhere and name.tag not in tags and name.hash not in anew:
            upstream = elsewhere[name.hash]
            keep.append(PushItem(entry=name, send=False, reason=f"in upstream {upstream}", upstream=upstream))
            continue
        record = mirror.record(name.hash)
        if reason := refusal(*((record.package, record.origin.stack) if record is not None else (PackageInfo(), ""))):
            reason += "" if record is not None else " (nothing is recorded of it)"
            keep.append(PushItem(entry=name, send=False, reason=reason, refused=True))
            continue
        try:
            entry = mirror.entry(name)
        except MirrorError as error:
            if on_damage is None:
                raise
            on_damage(error)
            continue
        reason = "not published yet" if name.tag not in tags else "published, but --force" if force else "published, but built anew"
        send.append(
            PushItem(
                entry=name, send=True, reason=reason, tarball=entry.tarball, platform=architecture(entry), closure=_needs(entry, needs)
            )
        )
    send.sort(key=lambda item: (len(item.closure), item.entry.name, item.entry.hash))
    return PushPlan(items=(*keep, *send), tags=tags, force=force)


def _needs(entry: Entry, known: dict[str, Need]) -> tuple[Need, ...]:
    """The closure of an entry. DAGs share most of their nodes: each is held once."""
    for node in entry.spec.runtime_closure():
        if node.hash not in known:
            known[node.hash] = Need(hash=node.hash, tag=spec_tag(node.name, node.version, node.hash), label=node.label)
    return tuple(known[node.hash] for node in entry.spec.runtime_closure())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Push:
    """What every worker of a push needs to know."""

    mirror: Mirror
    names: Mapping[str, EntryName]
    repository: Repository
    bases: Mapping[str, BaseImage]
    labels: Mapping[str, str]
    force: bool
    elsewhere: Set[str]
    progress: Progress


def push(
    plan: PushPlan,
    mirror: Mirror,
    repository: Repository,
    *,
    bases: Mapping[str, BaseImage],
    labels: Mapping[str, str],
    jobs: int,
    progress: Progress,
    elsewhere: Set[str] = frozenset(),
    brought: Mapping[str, Layer] | None = None,
) -> dict[str, PushOutcome]:
    """Carry out the plan; one outcome per DAG hash. A failure costs the entry and those that contain it, nothing else.

    Of what upstreams have (`elsewhere`), an image holds the layers that were `brought` here, and is without the others.
    """
    outcomes: dict[str, PushOutcome] = {item.entry.hash: _unsent(item, repository.name) for item in plan.items if not item.send}
    sending = plan.to_send()
    names = {item.entry.hash: item.entry for item in plan.items}
    shared = _Push(
        mirror=mirror, names=names, repository=repository, bases=bases, labels=labels, force=plan.force, elsewhere=elsewhere,
        progress=progress,
    )  # fmt: skip
    with workers(jobs) as pool:
        layers = _published_layers(plan, repository, pool, jobs)
        layers |= {h: _ready(layer) for h, layer in (brought or {}).items() if h not in layers}
        progress.start(f"push to {repository.name}", len(sending))
        try:
            for item, future in _queue(sending, layers, shared, pool, ahead=AHEAD * jobs):
                try:
                    outcomes[item.entry.hash] = future.result()
                    progress.advance(f"pushed {item.entry.label}")
                except CacheError as error:
                    outcomes[item.entry.hash] = NotPushed(reason=f"{error.message} ({error.hint})" if error.hint else error.message)
                    progress.advance(f"failed {item.entry.label}")
        finally:
            lost = repository.flush()
        for item in sending:
            if item.entry.tag in lost:
                outcomes[item.entry.hash] = NotPushed(reason="what it is made of was pruned meanwhile (push again)")
    progress.finish()
    return outcomes


def _unsent(item: PushItem, where: str) -> PushOutcome:
    if item.refused:
        return NotPushed(reason=item.reason)
    return Upstream(reference=item.upstream) if item.upstream else Present(reference=f"{where}:{item.entry.tag}")


_LayerFuture = Future[tuple[Layer, int]]


def _ready(layer: Layer) -> _LayerFuture:
    future: _LayerFuture = Future()
    future.set_result((layer, 0))
    return future


def _queue(
    sending: Sequence[PushItem], layers: dict[str, _LayerFuture], shared: _Push, pool: ThreadPoolExecutor, *, ahead: int
) -> Iterator[tuple[PushItem, Future[Pushed]]]:
    """Put layers and images into the pool's queue, an image after all layers that it needs, so no worker waits for what can't start.

    Only so many wait in the queue at once: ten thousand of them would be a matter of memory.
    """
    images: deque[tuple[PushItem, Future[Pushed]]] = deque()
    sent: dict[Digest, _LayerFuture] = {}
    for at in range(len(sending) + ahead):
        if at < len(sending) and (tarball := sending[at].tarball) is not None:
            layers[sending[at].entry.hash] = pool.submit(_send_layer, tarball, shared, sent)
        if at >= ahead:
            item = sending[at - ahead]
            images.append((item, pool.submit(_send_image, item, layers, shared)))
            if len(images) >= WAITING:
                yield images.popleft()
    yield from images


def _published_layers(plan: PushPlan, repository: Repository, pool: ThreadPoolExecutor, jobs: int) -> dict[str, _LayerFuture]:
    """The layers of dependencies that are published already. What is published counts, not what the mirror has of it."""
    sent = {item.entry.hash for item in plan.to_send()}
    needed = {need.hash: need for item in plan.to_send() for need in item.closure if need.hash not in sent and need.tag in plan.tags}
    known = cataloged(repository, needed, jobs=jobs)
    return {h: pool.submit(published_layer, need.tag, known.get(h), repository) for h, need in needed.items()}


def _send_layer(tarball: BlobRecord, shared: _Push, sent: dict[Digest, _LayerFuture]) -> tuple[Layer, int]:
    # Entries of the same bytes share a layer, and only the first that asks for it sends it.
    mine: _LayerFuture = Future()
    first = sent.setdefault(tarball.digest, mine)
    if first is not mine:
        return first.result()[0], 0
    try:
        info = shared.mirror.inspect_tarball(tarball)
        layer = Layer(digest=info.digest, size=info.size, diff_id=info.diff_id, info=info)
        count = shared.repository.put_blob(layer.descriptor(), lambda: shared.mirror.open_blob(info.digest), replace=shared.force)
        mine.set_result((layer, count))
    except BaseException as error:
        mine.set_exception(error)
        raise
    return layer, count


def _send_image(item: PushItem, layers: Mapping[str, _LayerFuture], shared: _Push) -> Pushed:
    entry, repository = shared.mirror.entry(item.entry), shared.repository
    base = shared.bases.get(item.platform, BaseImage())
    record = shared.mirror.record(entry.hash)
    found = [(need, layer) for need in item.closure if (layer := _layer(need, item, layers, shared)) is not None]
    needs, chain = [need for need, _ in found], [layer for _, layer in found]
    if record is None or not record.environment:
        chain = [_informed(layer, need.hash, shared) for layer, need in zip(chain, needs, strict=True)]
    _, sent = layers[entry.hash].result()
    annotations = make_annotations(entry, record, base, shared.labels)
    with shared.mirror.open_blob(entry.spec_file.digest) as file:
        config = make_config(entry, chain, base, record, annotations, keep_entry(entry.raw, file.read(entry.spec_file.size)))
    descriptor, manifest = make_manifest(chain, base, config, annotations, tag=item.entry.tag)
    sent += repository.put_blob(descriptor, lambda: io.BytesIO(config), replace=shared.force)
    repository.put_manifest(manifest, item.entry.tag)
    return Pushed(reference=f"{repository.name}:{item.entry.tag}", digest=str(manifest.digest), sent=sent + len(manifest.data))


def _informed(layer: Layer, dag_hash: str, shared: _Push) -> Layer:
    """The layer with what lies in it, where the mirror can tell: an image is the same whether its layers are new or were there."""
    name = shared.names.get(dag_hash)
    if layer.info is not None or name is None:
        return layer
    try:
        tarball = shared.mirror.entry(name).tarball
        return replace(layer, info=shared.mirror.inspect_tarball(tarball)) if tarball.digest == layer.digest else layer
    except MirrorError:
        return layer


def _layer(need: Need, item: PushItem, layers: Mapping[str, _LayerFuture], shared: _Push) -> Layer | None:
    future = layers.get(need.hash)
    if future is None:
        # As Spack does: the image installs, but doesn't run as a container. Of upstreams' layers that is told once, not for each.
        if need.hash not in shared.elsewhere:
            told = f"{item.entry.label}: the layer of {need.label} is in neither mirror nor registry; the image will not run by itself"
            shared.progress.say(told)
        return None
    try:
        return future.result()[0]
    except CacheError as error:
        if need.hash == item.entry.hash:
            raise
        raise FormatError(f"its dependency {need.label} could not be sent: {error.message}") from None


def architecture(entry: Entry) -> str:
    """OCI's name of the architecture an entry is for."""
    return go_architecture(family(entry.spec.root.target))
