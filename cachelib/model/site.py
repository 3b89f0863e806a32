"""What the site tells of: one record per build, package and image, made once and shared by pages and API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from cachelib.model.catalog import Catalog
from cachelib.model.digest import Digest
from cachelib.model.failure import Failure
from cachelib.model.graph import Graph
from cachelib.model.signing import PublicKey
from cachelib.model.upstream import Upstream
from cachelib.model.wanted import Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteImage:
    """One image of the cache: its name, where Spack finds it, what it holds, and what failed on the way into it.

    `logs` are the ends of the logs of failures, by DAG hash, as readable text; `wanted` is what the stacks want that fill it, `upstreams`
    what the caches hold that it stands on.
    """

    name: str
    mirror_url: str
    reference: str
    catalog: Catalog
    failures: Mapping[str, Failure] = field(default_factory=dict)
    logs: Mapping[str, str] = field(default_factory=dict)
    wanted: tuple[Wanted, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    keys: tuple[PublicKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What builds were made by and from, as far as their images tell: stack, Spack, recipes, and the cache's own repository."""

    stack: str
    spack_version: str
    spack_commit: str
    packages_version: str
    packages_commit: str
    source: str
    revision: str
    #: A URI template: where what was attested of an image is kept, by the digest of its manifest.
    attestation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One published spec. Sizes are in bytes; `created` is RFC 3339 in UTC; what nobody recorded is empty.

    `base` is the image that its image stands on: without one there is no shell in it, and no libc.

    `needs` are the DAG hashes of its direct dependencies at run time, `missing` those of the whole closure that are not published.
    """

    image: str
    hash: str
    name: str
    version: str
    variants: str
    target: str
    os: str
    platform: str
    compilers: tuple[str, ...]
    libc: str
    size: int
    image_size: int
    digest: str
    reference: str
    base: str
    created: str
    seconds: float | None
    run: str
    source: Source
    needs: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """All builds of one name, newest version first; what the newest says of the package holds for the name."""

    name: str
    path: str
    description: str
    homepage: str
    license: str
    maintainers: tuple[str, ...]
    builds: tuple[Build, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version, the newest first."""
        return tuple(dict.fromkeys(build.version for build in self.builds))

    @property
    def targets(self) -> tuple[str, ...]:
        """Every target, sorted."""
        return tuple(sorted({build.target for build in self.builds}))

    @property
    def compilers(self) -> tuple[str, ...]:
        """Every compiler, sorted."""
        return tuple(sorted({compiler for build in self.builds for compiler in build.compilers}))

    @property
    def updated(self) -> str:
        """When the last of its builds was made; empty where nobody recorded it."""
        return max((build.created for build in self.builds), default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One database of an image's catalog as a graph: of the specs that Spack's index can hold, or of older ones."""

    image: str
    indexed: bool
    graph: Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that the site tells of. `size` counts each tarball once; `digest` is that of everything it was made from."""

    images: tuple[SiteImage, ...]
    packages: tuple[Package, ...]
    graphs: tuple[Held, ...]
    size: int
    digest: str

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """The public keys of all images, by fingerprint; one that is revoked anywhere is revoked."""
        found: dict[str, PublicKey] = {}
        for one in (one for image in self.images for one in image.keys):
            if one.key.fingerprint not in found or one.key.revoked:
                found[one.key.fingerprint] = one
        return tuple(found[fingerprint] for fingerprint in sorted(found))

    @property
    def builds(self) -> int:
        """How many builds there are."""
        return sum(len(package.builds) for package in self.packages)


def key_path(fingerprint: str) -> PurePosixPath:
    """Where the public half of a key lies in the site."""
    return PurePosixPath("keys", f"{fingerprint}.pub")


def page_path(name: str) -> str:
    """A package's name as a path.

    Names with capitals are marked, as some disks don't tell them from small letters; so are names with dots, which could
    be those of files of the site itself.
    """
    plain = name == name.lower() and "." not in name
    return name if plain else f"{name.lower()}.{Digest.of(name.encode()).hex[:8]}"
