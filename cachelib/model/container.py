"""Containers made of builds of the cache: what an owner asks for, and what is chosen for each architecture."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cachelib.model.catalog import CatalogEntry
from cachelib.model.errors import UsageError
from cachelib.model.oci import CATALOG_TAG, INDEX_TAG, Location, is_tag, parse_image, parse_location
from cachelib.model.request import parse_request
from cachelib.model.setting import LINE, TAG, doc
from cachelib.model.spec import ConcreteSpec

#: What says that an image of no distribution is meant: the packages' layers alone.
NO_BASE = "none"
#: Tags that are the cache's own, beside those of specs.
_OWN = frozenset({CATALOG_TAG, INDEX_TAG, "failures", "keys", "locks", "wanted"})
_HUB = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container that is made of builds of this cache, after each run that publishes."""

    specs: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "What is in it: a name, @version, /hash, +variant, key=value; of what is published the newest that fits.",
            item={"type": "string", "minLength": 1, "pattern": LINE},
        ),
    )
    environment: str = field(
        default="",
        metadata=doc("In their place, a spack.lock or a spack.yaml (or a folder with one) whose specs are in it.", pattern=LINE),
    )
    base: str = field(
        default="",
        metadata=doc(
            "What lies below the packages: an image such as ubuntu:24.04 or oci://HOST/NAME:TAG, or none; "
            "where it is left out, the distribution that they were built on.",
            pattern=LINE,
        ),
    )
    tags: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Its tags beside those of the specs; the container's name where they are left out.",
            item={"type": "string", "pattern": TAG},
        ),
    )
    to: str = field(
        default="",
        metadata=doc(
            "Another repository to put it into, oci://HOST/NAME; the image of its first spec's stack where it is left out.",
            pattern=r"^(oci|oci\+http)://[^\s]+$|^oci-layout:[^\s]+$(?!\n)",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A build that was chosen for a request. `image` is the name of the cache's image that holds it."""

    request: str
    image: str
    entry: CatalogEntry
    spec: ConcreteSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A layer of a container: a published spec, and the image that holds it: of the cache by name, of an `upstream` by address."""

    image: str
    label: str
    entry: CatalogEntry
    upstream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is in a container for one architecture (OCI's word): its roots, and the layers of all they need, dependencies first."""

    architecture: str
    roots: tuple[Root, ...]
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes of its packages' layers, compressed."""
        return sum({part.entry.tarball.digest: part.entry.tarball.size for part in self.parts}.values())


def check_tag_name(tag: str) -> str:
    """Return the tag if it may be one of the owner's own; raise UsageError otherwise."""
    if not is_tag(tag):
        raise UsageError(f"{tag!r} is no tag", hint="letters, digits, _ . and -, at most 128, and no . or - first")
    if tag in _OWN or tag.endswith(".spack") or re.fullmatch(r"sha256-[0-9a-f]{64}.*", tag):
        raise UsageError(f"the tag {tag!r} is the cache's own", hint="choose another, such as latest")
    return tag


def parse_familiar(text: str, *, folder: Path) -> tuple[Location, str]:
    """Read the name of an image as Docker takes it (ubuntu:24.04, ghcr.io/OWNER/NAME), or as `parse_image` does; raise UsageError.

    Source: distribution/reference, normalize.go: what has no dot, no colon and is not localhost in its first part is of Docker Hub.
    """
    if text.startswith(("oci://", "oci+http://", "oci-layout:")):
        return parse_image(text, folder=folder)
    host, slash, name = text.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, name = "docker.io", text
    if host in ("docker.io", "index.docker.io"):
        host, name = _HUB, name if "/" in name else f"library/{name}"
    tagged = ":" in name.rpartition("/")[2] or "@" in name
    try:
        return parse_image(f"oci://{host}/{name}" + ("" if tagged else ":latest"), folder=folder)
    except UsageError as error:
        raise UsageError(f"{text!r} is no image: {error.message}", hint="such as ubuntu:24.04, or oci://HOST/NAME:TAG") from None


def problems(name: str, container: Container, folder: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with a container of cache.yaml: the key, and why."""
    if bool(container.specs) == bool(container.environment):
        yield "specs", f"container {name} is made of nothing, or of two things: give it `specs` or an `environment`"
    checks: list[tuple[str, Callable[[], object]]] = [("specs", partial(parse_request, text)) for text in container.specs]
    checks += [("tags", partial(check_tag_name, tag)) for tag in container.tags or (name,)]
    if container.base not in ("", NO_BASE):
        checks.append(("base", partial(parse_familiar, container.base, folder=folder)))
    if container.to:
        checks.append(("to", partial(parse_location, container.to, folder=folder)))
    for key, check in checks:
        try:
            check()
        except UsageError as error:
            yield key, f"{error.message}; {error.hint}"
