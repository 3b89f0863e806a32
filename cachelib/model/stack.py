"""What is built together, as frozen values: a stack, the Spack and the recipes it is pinned to, and what is kept of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cachelib.model.develop import PACKAGE, Develop
from cachelib.model.licenses import Licenses
from cachelib.model.setting import LINE, NAME, doc
from cachelib.model.upstream import UPSTREAM

SPACK_URL = "https://github.com/spack/spack.git"
PACKAGES_URL = "https://github.com/spack/spack-packages.git"

# The end of the text, and not a line's end before it: `$` alone takes both in Python.
_COMMIT = r"^[0-9a-f]{40}$(?!\n)"
# A git ref, an option can't be smuggled in as one.
_REF = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$(?!\n)"
#: An image as Docker names it: [HOST[:PORT]/]NAME[:TAG][@DIGEST].
CONTAINER = (
    r"^(?:[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?/)?[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@sha256:[0-9a-f]{64})?$(?!\n)"
)
_URL = r"^(https://|ssh://|file://|git@)[^\s]+$(?!\n)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpackPin:
    """Which Spack builds."""

    version: str = field(metadata=doc("Tag or branch of Spack, such as v1.1.0 or develop.", pattern=_REF))
    commit: str = field(metadata=doc("The commit it must be, 40 hex digits: a tag can move, a commit can't.", pattern=_COMMIT))
    url: str = field(default=SPACK_URL, metadata=doc("Git repository of Spack, or of a fork of it.", pattern=_URL))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagesPin:
    """Which recipes are built: Spack's builtin package repository."""

    version: str = field(metadata=doc("Tag or branch of spack-packages, such as v2025.11.0.", pattern=_REF))
    commit: str = field(metadata=doc("The commit it must be, 40 hex digits.", pattern=_COMMIT))
    url: str = field(default=PACKAGES_URL, metadata=doc("Git repository of the packages, or of a fork.", pattern=_URL))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What `inv prune` keeps of a stack: whatever one of these rules keeps, and all that it needs at run time."""

    newest: int = field(default=0, metadata=doc("Keep so many of the newest builds of each package and target.", minimum=0))
    days: int = field(default=0, metadata=doc("Keep what was built in so many last days.", minimum=0, maximum=36500))
    pinned: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Keep what matches these requests: a name, @version, /hash, +variant, key=value, target=.",
            item={"type": "string", "minLength": 1, "pattern": LINE},
        ),
    )
    locks: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Keep the specs of these spack.lock files; paths relative to cache.yaml, * and ** may stand in them.",
            item={"type": "string", "minLength": 1, "pattern": LINE},
        ),
    )
    max_size: str = field(
        default="",
        metadata=doc(
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

    spack: SpackPin = field(metadata=doc("Which Spack builds."))
    packages: PackagesPin = field(metadata=doc("Which recipes it builds from."))
    specs: tuple[str, ...] = field(
        default=(),
        metadata=doc("Requests, as one would type them after `spack install`.", item={"type": "string", "minLength": 1, "pattern": LINE}),
    )
    environment: str = field(
        default="",
        metadata=doc("Path of a spack.yaml whose specs and settings are built too, relative to cache.yaml.", pattern=LINE),
    )
    targets: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Microarchitectures to build for, each request for each of them: a machine builds those of its own family that its CPU runs. "
            "Without it each machine builds for its own CPU, and its binaries suit few others.",
            item={"type": "string", "pattern": r"^[a-z0-9_]+$(?!\n)"},
        ),
    )
    compilers: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Compilers that may build C, C++ and Fortran, such as gcc@13: of these, what is on the machine.",
            item={"type": "string", "pattern": LINE},
        ),
    )
    build_compiler: str = field(
        default="",
        metadata=doc(
            "A compiler that Spack builds first with one of the machine's, such as gcc@14.2.0, and then everything with it alone; "
            "it is published like the rest.",
            pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*@[^\s/^%]+$(?!\n)",
            maxLength=300,
        ),
    )
    system_packages: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Packages of apt, dnf, zypper or Homebrew, such as gcc-14, that GitHub's own runners and containers install before they build; "
            "elsewhere they have to be there.",
            item={"type": "string", "pattern": r"^[a-zA-Z0-9][a-zA-Z0-9+.@_-]*$(?!\n)", "maxLength": 100},
        ),
    )
    externals: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Packages that are taken from the machine and never built, such as python.",
            item={"type": "string", "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_-]*$(?!\n)"},
        ),
    )
    repos: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Package repositories beside the builtin one: folders with a repo.yaml, relative to cache.yaml; or commits of git "
            "repositories, URL#COMMIT[:FOLDER], such as https://github.com/ORG/recipes.git#0123456789012345678901234567890123456789. "
            "Earlier ones come first.",
            item={"type": "string", "pattern": LINE},
        ),
    )
    develop: Mapping[str, Develop] = field(
        default_factory=dict,
        metadata=doc(
            "Packages whose code lies in a git checkout here, by name: what is built is the commit that it is at, and that is a part of "
            "the hash. The recipe needs the repository's address (`git = ...`) and the version.",
            key=PACKAGE,
        ),
    )
    image: str = field(
        default="",
        metadata=doc(
            "Name of the image below the registry; the Spack line (such as v1.1) where it is left out.", pattern=NAME, maxLength=100
        ),
    )
    base_image: str = field(
        default="",
        metadata=doc(
            "Base of the images, oci://HOST/NAME:TAG or oci-layout:DIR:TAG; they run as containers only where it holds the libc.",
            pattern=r"^(oci|oci\+http)://[^\s]+$|^oci-layout:[^\s]+$(?!\n)",
        ),
    )
    upstreams: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Caches that this one stands on, as Spack names mirrors: oci://HOST/NAME, https://HOST/PATH or file:///PATH, of the same "
            "Spack line. What they have is neither built nor pushed; clients need them beside this one.",
            item={"type": "string", "pattern": UPSTREAM, "maxLength": 1000},
            maxItems=8,
        ),
    )
    require_upstreams: bool = field(
        default=False,
        metadata=doc(
            "Whether a plan, a push and a check fail where an upstream can't be read, even if it is known what it had; otherwise they warn."
        ),
    )
    padding: int = field(
        default=128,
        metadata=doc(
            "Length in characters that install paths are padded to: binaries relocate to any shorter prefix.",
            minimum=0,
            maximum=512,
        ),
    )
    unify: Literal["", "when_possible", "true", "false"] = field(
        default="",
        metadata=doc(
            "Whether all requests share one version of each dependency (Spack's concretizer:unify); "
            "where it is left out, as the environment says, or when_possible."
        ),
    )
    runner: str = field(
        default="",
        metadata=doc(
            "Label of the GitHub runner that builds the stack; ubuntu-24.04, or ubuntu-24.04-arm for aarch64, where it is left out.",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)",
            maxLength=100,
        ),
    )
    container: str = field(
        default="",
        metadata=doc(
            "Image of the container that the stack is planned and built in on GitHub, such as rockylinux/rockylinux:9 (better with its "
            "@sha256:...): its system is the one that the binaries are for. It needs bash, and a libc of glibc 2.28 or newer.",
            pattern=CONTAINER,
            maxLength=500,
        ),
    )
    workers: int = field(
        default=20, metadata=doc("Runners that may build the stack at once; GitHub runs 20 for a free account.", minimum=1, maximum=256)
    )
    retention: Retention = field(
        default_factory=Retention,
        metadata=doc("What `inv prune` keeps of this stack; where it is left out, everything."),
    )
    licenses: Licenses = field(
        default_factory=Licenses,
        metadata=doc("Under which licences the stack publishes; what Spack's recipes don't allow to be given away is never published."),
    )
    config: Mapping[str, Any] = field(
        default_factory=dict,
        metadata=doc("Further sections of Spack's configuration for this stack, as in a spack.yaml (packages, config, ...)."),
    )

    @property
    def image_name(self) -> str:
        """The image's name: as given, or the Spack line. DAG hashes don't encode the Spack version, so lines don't mix."""
        return self.image or spack_line(self.spack.version)


def is_release(version: str) -> bool:
    """Whether a version names a line by its numbers, so that a Spack can be held to it; a branch doesn't."""
    return re.fullmatch(r"v?\d+\.\d+.*", version) is not None


def spack_line(version: str) -> str:
    """The line of a Spack version: v1.1 for v1.1.0, develop for develop."""
    if match := re.fullmatch(r"v?(\d+)\.(\d+)(?:\..*)?", version):
        return f"v{match[1]}.{match[2]}"
    line = re.sub(r"[^a-z0-9]+", "-", version.lower()).strip("-")
    return line or "spack"
