"""The settings of a cache, as frozen values; the field metadata is the one source of the JSON Schema and of the docs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SPACK_URL = "https://github.com/spack/spack.git"
PACKAGES_URL = "https://github.com/spack/spack-packages.git"

# The end of the text, and not a line's end before it: `$` alone takes both in Python.
_COMMIT = r"^[0-9a-f]{40}$(?!\n)"
_NAME = r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$(?!\n)"
# A git ref, an option can't be smuggled in as one.
_REF = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$(?!\n)"
_URL = r"^(https://|ssh://|file://|git@)[^\s]+$(?!\n)"
_LINE = r"^[^\r\n\x00]+$(?!\n)"
# What pages and feeds tell: XML holds no control characters, UTF-8 no halves of surrogate pairs, and nothing turns the direction of a page.
_TOLD = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+$(?!\n)"
_WEB = r"^https?://[!-~]+$(?!\n)"
_COLOR = r"^#[0-9a-fA-F]{6}$(?!\n)"


def _doc(text: str, **schema: Any) -> dict[str, Any]:
    return {"doc": text, "schema": schema}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpackPin:
    """Which Spack builds."""

    version: str = field(metadata=_doc("Tag or branch of Spack, such as v1.1.0 or develop.", pattern=_REF))
    commit: str = field(metadata=_doc("The commit it must be, 40 hex digits: a tag can move, a commit can't.", pattern=_COMMIT))
    url: str = field(default=SPACK_URL, metadata=_doc("Git repository of Spack, or of a fork of it.", pattern=_URL))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagesPin:
    """Which recipes are built: Spack's builtin package repository."""

    version: str = field(metadata=_doc("Tag or branch of spack-packages, such as v2025.11.0.", pattern=_REF))
    commit: str = field(metadata=_doc("The commit it must be, 40 hex digits.", pattern=_COMMIT))
    url: str = field(default=PACKAGES_URL, metadata=_doc("Git repository of the packages, or of a fork.", pattern=_URL))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What `inv prune` keeps of a stack: whatever one of these rules keeps, and all that it needs at run time."""

    newest: int = field(default=0, metadata=_doc("Keep so many of the newest builds of each package and target.", minimum=0))
    days: int = field(default=0, metadata=_doc("Keep what was built in so many last days.", minimum=0, maximum=36500))
    pinned: tuple[str, ...] = field(
        default=(),
        metadata=_doc(
            "Keep what matches these requests: a name, @version, /hash, +variant, key=value, target=.",
            item={"type": "string", "minLength": 1, "pattern": _LINE},
        ),
    )
    locks: tuple[str, ...] = field(
        default=(),
        metadata=_doc(
            "Keep the specs of these spack.lock files; paths relative to cache.yaml, * and ** may stand in them.",
            item={"type": "string", "minLength": 1, "pattern": _LINE},
        ),
    )
    max_size: str = field(
        default="",
        metadata=_doc(
            "Of all that, keep the newest that fits into this, such as 50 GB; pinned requests and locks are kept all the same.",
            pattern=r"^[0-9]+(\.[0-9]+)? ?[kMGT]?B$(?!\n)",
        ),
    )

    def __bool__(self) -> bool:
        """Whether there is any rule; without one everything is kept."""
        return bool(self.newest or self.days or self.pinned or self.locks or self.max_size)

    @property
    def max_bytes(self) -> float:
        """The size in bytes; infinite where none is set."""
        if not self.max_size:
            return float("inf")
        number, unit = re.fullmatch(r"([0-9.]+) ?([kMGT]?)B", self.max_size).groups()  # type: ignore[union-attr]
        return float(number) * 1000.0 ** " kMGT".index(unit or " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What is built together, by one Spack and one set of recipes."""

    spack: SpackPin = field(metadata=_doc("Which Spack builds."))
    packages: PackagesPin = field(metadata=_doc("Which recipes it builds from."))
    specs: tuple[str, ...] = field(
        default=(),
        metadata=_doc("Requests, as one would type them after `spack install`.", item={"type": "string", "minLength": 1, "pattern": _LINE}),
    )
    environment: str = field(
        default="",
        metadata=_doc("Path of a spack.yaml whose specs and settings are built too, relative to cache.yaml.", pattern=_LINE),
    )
    targets: tuple[str, ...] = field(
        default=(),
        metadata=_doc(
            "Microarchitectures to build for; the machine takes the first of its own family. "
            "Without it each machine builds for its own CPU, and its binaries suit few others.",
            item={"type": "string", "pattern": r"^[a-z0-9_]+$(?!\n)"},
        ),
    )
    compilers: tuple[str, ...] = field(
        default=(),
        metadata=_doc(
            "Compilers that may build C, C++ and Fortran, such as gcc@13: of these, what is on the machine.",
            item={"type": "string", "pattern": _LINE},
        ),
    )
    system_packages: tuple[str, ...] = field(
        default=(),
        metadata=_doc(
            "Packages of apt or Homebrew, such as gcc-14, that GitHub's own runners install before they build; "
            "elsewhere they have to be there.",
            item={"type": "string", "pattern": r"^[a-z0-9][a-z0-9+.@_-]*$(?!\n)", "maxLength": 100},
        ),
    )
    externals: tuple[str, ...] = field(
        default=(),
        metadata=_doc(
            "Packages that are taken from the machine and never built, such as python.",
            item={"type": "string", "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_-]*$(?!\n)"},
        ),
    )
    repos: tuple[str, ...] = field(
        default=(),
        metadata=_doc(
            "Package repositories beside the builtin one: folders with a repo.yaml, relative to cache.yaml.",
            item={"type": "string", "pattern": _LINE},
        ),
    )
    image: str = field(
        default="",
        metadata=_doc(
            "Name of the image below the registry; the Spack line (such as v1.1) where it is left out.", pattern=_NAME, maxLength=100
        ),
    )
    base_image: str = field(
        default="",
        metadata=_doc(
            "Base of the images, oci://HOST/NAME:TAG or oci-layout:DIR:TAG; they run as containers only where it holds the libc.",
            pattern=r"^(oci|oci\+http)://[^\s]+$|^oci-layout:[^\s]+$(?!\n)",
        ),
    )
    padding: int = field(
        default=128,
        metadata=_doc(
            "Length in characters that install paths are padded to: binaries relocate to any shorter prefix.",
            minimum=0,
            maximum=512,
        ),
    )
    unify: Literal["", "when_possible", "true", "false"] = field(
        default="",
        metadata=_doc(
            "Whether all requests share one version of each dependency (Spack's concretizer:unify); "
            "where it is left out, as the environment says, or when_possible."
        ),
    )
    runner: str = field(
        default="",
        metadata=_doc(
            "Label of the GitHub runner that builds the stack; ubuntu-24.04, or ubuntu-24.04-arm for aarch64, where it is left out.",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)",
            maxLength=100,
        ),
    )
    workers: int = field(
        default=20, metadata=_doc("Runners that may build the stack at once; GitHub runs 20 for a free account.", minimum=1, maximum=256)
    )
    retention: Retention = field(
        default_factory=Retention,
        metadata=_doc("What `inv prune` keeps of this stack; where it is left out, everything."),
    )
    config: Mapping[str, Any] = field(
        default_factory=dict,
        metadata=_doc("Further sections of Spack's configuration for this stack, as in a spack.yaml (packages, config, ...)."),
    )

    @property
    def image_name(self) -> str:
        """The image's name: as given, or the Spack line. DAG hashes don't encode the Spack version, so lines don't mix."""
        return self.image or spack_line(self.spack.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """How the website presents itself."""

    title: str = field(default="Spack build cache", metadata=_doc("Title of the website.", pattern=_TOLD, minLength=1, maxLength=200))
    description: str = field(
        default="Binary packages that stock Spack installs.", metadata=_doc("One sentence below the title.", pattern=_TOLD, maxLength=1000)
    )
    url: str = field(
        default="", metadata=_doc("Where the site is served, such as https://OWNER.github.io/REPO.", pattern=_WEB, maxLength=1000)
    )
    color: str = field(default="", metadata=_doc("Colour of links and bars on a light ground, such as #0b6e63.", pattern=_COLOR))
    color_dark: str = field(default="", metadata=_doc("The same on a dark ground.", pattern=_COLOR))
    templates: str = field(
        default="",
        metadata=_doc(
            "Folder beside cache.yaml whose files take the place of those of templates/ of the same name, such as site/base.html.",
            pattern=_LINE,
        ),
    )
    keys: tuple[str, ...] = field(
        default=(),
        metadata=_doc(
            "Web addresses of the public keys of signed mirrors made from this cache; the API tells them.",
            item={"type": "string", "pattern": _WEB, "maxLength": 1000},
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of cache.yaml."""

    stacks: Mapping[str, Stack] = field(
        metadata=_doc("The stacks, by name. The first one is built where no --stack is given.", minProperties=1, key=_NAME)
    )
    registry: str = field(
        default="",
        metadata=_doc(
            "Where binaries are published: oci://HOST/NAME, or oci-layout:DIR relative to cache.yaml. Each stack's image name is appended. "
            "Where it is left out: on GitHub Actions ghcr.io, by the repository's own name; elsewhere the directory var/registry.",
            pattern=r"^(oci|oci\+http)://[^\s]+$|^oci-layout:[^\s]+$(?!\n)",
        ),
    )
    source: str = field(
        default="",
        metadata=_doc(
            "Web address of the repository that owns the cache; ghcr.io links its packages to it. On GitHub Actions it is known.",
            pattern=r"^https?://[^\s]+$(?!\n)",
        ),
    )
    vendor: str = field(default="", metadata=_doc("Who distributes the binaries, for the images' labels.", pattern=_LINE))
    requests_per_second: float = field(
        default=0,
        metadata=_doc(
            "Requests a second to the registry; 0 is what is known of it: 32.5 for ghcr.io, no limit elsewhere.", minimum=0, maximum=10000
        ),
    )
    site: Site = field(default_factory=Site, metadata=_doc("The website."))

    @property
    def default_stack(self) -> str:
        """The stack that is meant where none is named."""
        return next(iter(self.stacks))


def is_release(version: str) -> bool:
    """Whether a version names a line by its numbers, so that a Spack can be held to it; a branch doesn't."""
    return re.fullmatch(r"v?\d+\.\d+.*", version) is not None


def spack_line(version: str) -> str:
    """The line of a Spack version: v1.1 for v1.1.0, develop for develop."""
    if match := re.fullmatch(r"v?(\d+)\.(\d+)(?:\..*)?", version):
        return f"v{match[1]}.{match[2]}"
    line = re.sub(r"[^a-z0-9]+", "-", version.lower()).strip("-")
    return line or "spack"
