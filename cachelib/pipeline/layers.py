"""The upstreams of a stack: what they hold, read as anybody, and remembered in var/ for when they can't be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, ConfigError, RegistryError
from cachelib.model.image import Layer
from cachelib.model.oci import RegistryLocation, parse_location, spec_tag
from cachelib.model.ports import Repository
from cachelib.model.record import PackageInfo
from cachelib.model.spec import Node
from cachelib.model.stack import Stack, is_release, spack_line
from cachelib.model.text import printable
from cachelib.model.upstream import KEPT_LIMIT, Upstream, holders, parse_upstream
from cachelib.pipeline.workspace import Workspace, now
from cachelib.steps import layering
from cachelib.steps.borrowing import Open, UpstreamItem
from cachelib.steps.fetching import Found, find_in_mirror, find_in_registry
from cachelib.steps.pushing import PushPlan
from cachelib.tools import actions
from cachelib.tools.files import read_limited, write_atomically
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.pacer import Pacer, limit_of
from cachelib.tools.registry import RegistryRepository
from cachelib.tools.web_mirror import WebMirror

#: How often an upstream is asked that is in trouble: another's registry is not to hold up a plan for minutes.
ATTEMPTS = 4


def upstreams_of(ws: Workspace, image: str) -> tuple[Upstream, ...]:
    """The upstreams of all stacks that publish into an image, each once."""
    found: dict[str, Upstream] = {}
    for stack in ws.settings.stacks.values():
        if stack.image_name == image:
            found |= {one.url: one for one in read_upstreams(ws, stack) if one.url not in found}
    return tuple(found.values())


def read_upstreams(ws: Workspace, stack: Stack) -> tuple[Upstream, ...]:
    """What the upstreams of a stack hold.

    One that can't be read holds what it held when it was read last; where it never was, nothing. Either is a warning, or where the
    stack requires its upstreams a RegistryError.
    """
    own = str(ws.location("").child(stack.image_name))
    for url in stack.upstreams:
        if place(url) == own:
            raise ConfigError(f"upstreams: {url} is where this cache itself is published", hint="name another one")
    return tuple(_read(ws, stack, url) for url in stack.upstreams)


def place(url: str) -> str:
    """The address of an upstream, as a registry's is written; raise UsageError where it is none."""
    return str(parse_location(url, folder=Path("/"))) if url.startswith(("oci://", "oci+http://")) else url


def open_registry(ws: Workspace, url: str) -> RegistryRepository:
    """An upstream in a registry. It is read as anybody: what holds for its readers holds for us, and no login of ours is sent to it."""
    location = parse_location(url, folder=Path("/"))
    if not isinstance(location, RegistryLocation):
        raise ConfigError(f"{url!r} is in no registry")
    return RegistryRepository(location, None, pacer=Pacer(limit_of(location.host, 0)), say=ws.progress.say, attempts=ATTEMPTS)


def bring(
    ws: Workspace,
    plan: PushPlan,
    upstreams: Iterable[Upstream],
    mirror: DiskMirror,
    target: Repository,
    refusal: Callable[[PackageInfo, str], str],
    jobs: int,
) -> dict[str, Layer]:
    """The layers of upstreams that what is pushed needs, copied to where it goes; but for what may not be given away (`refusal`)."""
    where = holders(upstreams)
    sources = {url: open_registry(ws, url) for url in set(where.values()) if url.startswith("oci")}
    return layering.bring_layers(
        plan, sources, where, target, jobs=jobs, progress=ws.progress, recorded=mirror.record, refusal=refusal
    )  # fmt: skip


def opener(ws: Workspace, items: Iterable[UpstreamItem]) -> Open:
    """What opens the builds of the upstreams that have them; each upstream is one session, whoever asks."""
    urls = {url for item in items for url in item.urls}
    registries = {url: open_registry(ws, url) for url in urls if url.startswith("oci")}
    mirrors = {url: WebMirror(url) for url in urls - registries.keys()}

    def find(url: str, node: Node) -> Found:
        if url in registries:
            return find_in_registry(registries[url], spec_tag(node.name, node.version, node.hash))
        return find_in_mirror(mirrors[url], node)

    return find


def _read(ws: Workspace, stack: Stack, url: str) -> Upstream:
    line = spack_line(stack.spack.version) if is_release(stack.spack.version) else ""
    path = ws.var / "upstreams" / f"{Digest.of(f'{url} {line}'.encode()).hex[:16]}.json"
    known, today = _known(path, url), now()
    try:
        if url.startswith("oci"):
            found = layering.look_into_registry(open_registry(ws, url), url, line, known, today)
        else:
            found = layering.look_into_mirror(WebMirror(url), url, known, today)
    except CacheError as error:
        return _unread(ws, stack, url, known, error)
    if found is known:
        ws.progress.say(f"upstream {url} has {len(found.offers)} builds, as on {found.read}")
        return found
    write_atomically(path, found.json())
    told = "" if found.told or not found.offers else "; which Spack built them it doesn't tell, and has to be known"
    ws.progress.say(f"upstream {url} has {len(found.offers)} builds{told}")
    if found.strangers:
        lines = ", ".join(f"{count} of {other}" for other, count in found.strangers.items())
        _warn(ws, f"upstream {url} has builds of other lines of Spack than {line}, which don't count: {lines}")
    return found


def _known(path: Path, url: str) -> Upstream | None:
    try:
        found = parse_upstream(read_limited(path, KEPT_LIMIT, "what is remembered of an upstream"))
    except (OSError, CacheError):
        return None
    return found if found.url == url else None


def _unread(ws: Workspace, stack: Stack, url: str, known: Upstream | None, error: CacheError) -> Upstream:
    what = f"upstream {url} can't be read: {printable(error.message)[:500]}"
    if stack.require_upstreams:
        raise RegistryError(what, hint="try again later; without `require_upstreams: true` it is a warning") from None
    if known is not None:
        _warn(ws, f"{what}; what it had on {known.read} counts ({len(known.offers)} builds)")
        return known
    _warn(ws, f"{what}; so nothing counts as there, and all that is needed of it is built here")
    return Upstream(url=url)


def _warn(ws: Workspace, text: str) -> None:
    ws.progress.say(f"WARNING: {text}")
    actions.annotate(ws.env, "warning", [("upstream", text)])
