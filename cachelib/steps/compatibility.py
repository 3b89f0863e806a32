"""On which machines a stack's binaries run: from the C libraries they were built with, and their targets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import archspec.cpu

from cachelib.model.site import Build, Contents
from cachelib.model.version import version_key
from cachelib.steps.distributions import GLIBC, MACOS, MUSL, first_releases

#: What archspec calls vendors and CPUs, as people do; CPUs with the year they came out (Intel ARK, AMD product pages).
_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "ARM": "Arm"}
_CPUS = {
    "nocona": "Nocona (2004)", "k10": "K10 (2007)", "nehalem": "Nehalem (2008)", "bulldozer": "Bulldozer (2011)",
    "haswell": "Haswell (2013)", "excavator": "Excavator (2015)", "zen": "Zen (2017)", "skylake_avx512": "Skylake-X (2017)",
    "cannonlake": "Cannon Lake (2018)", "icelake": "Ice Lake (2019)", "zen2": "Zen 2 (2019)", "zen3": "Zen 3 (2020)",
    "zen4": "Zen 4 (2022)", "zen5": "Zen 5 (2024)", "sapphirerapids": "Sapphire Rapids (2023)", "m1": "M1 (2020)",
    "power8le": "POWER8", "power9le": "POWER9",
}  # fmt: skip
#: Distributions and vendors that a sentence names at most.
_NAMED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """On what the builds of a stack for a target run.

    `libc` and `version` are the newest C library that any of them was built with; both are empty where none tells. `systems` are the
    first releases that have it, `cpus` the first ones of each vendor that have the target.
    """

    image: str
    stack: str
    platform: str
    target: str
    os: tuple[str, ...]
    libc: str
    version: str
    systems: tuple[str, ...]
    cpus: tuple[str, ...]
    builds: int

    @property
    def system(self) -> str:
        """The operating system in words: `Linux with glibc 2.36 or newer (Debian 12, Ubuntu 24.04 and later)`."""
        if self.platform == "darwin":
            return f"{' or '.join(self.systems)} or newer" if self.systems else "macOS"
        name = {"linux": "Linux"}.get(self.platform, self.platform)
        if not self.libc:
            return f"{name}; which C library they need isn't known"
        named = f" ({', '.join(self.systems[:_NAMED])} and later)" if self.systems else ""
        return f"{name} with {self.libc} {self.version} or newer{named}"

    @property
    def processor(self) -> str:
        """The CPU in words: `CPUs of x86_64_v3 or newer (Intel Haswell (2013), AMD Zen (2017))`."""
        known = archspec.cpu.TARGETS.get(self.target)
        if known is None:
            return f"CPUs of {self.target}"
        if str(known.family) == self.target:
            return f"any CPU of {self.target}"
        named = f": {', '.join(self.cpus[:_NAMED])} and later" if self.cpus else ""
        return f"CPUs that are {self.target} or newer{named}"

    @property
    def words(self) -> str:
        """Both, as a sentence."""
        return f"Runs on {self.system}; on {self.processor}."


def compatibility(contents: Contents) -> tuple[Compatibility, ...]:
    """What each stack runs on, by image, stack, platform and target."""
    found: dict[tuple[str, str, str, str], list[Build]] = {}
    for package in contents.packages:
        for build in package.builds:
            found.setdefault((build.image, build.source.stack, build.platform, build.target), []).append(build)
    return tuple(_of(*key, builds) for key, builds in sorted(found.items()))


def _of(image: str, stack: str, platform: str, target: str, builds: list[Build]) -> Compatibility:
    systems = tuple(sorted({build.os for build in builds}))
    libc, version = newest_libc(build.libc for build in builds)
    return Compatibility(
        image=image, stack=stack, platform=platform, target=target, os=systems, libc=libc, version=version,
        systems=_macos(systems) if platform == "darwin" else releases_with(libc, version), cpus=first_cpus(target), builds=len(builds),
    )  # fmt: skip


def newest_libc(libcs: Iterable[str]) -> tuple[str, str]:
    """Of `glibc@2.36` and the like the newest, as name and version; the two kinds don't mix, and glibc is told before musl."""
    pairs = {(name, version) for name, _, version in (libc.partition("@") for libc in libcs) if version}
    return max(pairs, key=lambda pair: (pair[0] == "glibc", version_key(pair[1])), default=("", ""))


def releases_with(libc: str, version: str) -> tuple[str, ...]:
    """The first releases of distributions that have a C library so new; nothing where it is none that is known."""
    table, numbers = {"glibc": GLIBC, "musl": MUSL}.get(libc, {}), re.match(r"[0-9]{1,6}(\.[0-9]{1,6})*", version, re.ASCII)
    return first_releases(table, tuple(int(part) for part in numbers[0].split("."))) if numbers else ()


def first_cpus(target: str) -> tuple[str, ...]:
    """The CPUs that a target begins with, vendor by vendor: those that have it, and descend from none of the same vendor that has it."""
    having = {
        cpu.name: cpu
        for cpu in archspec.cpu.TARGETS.values()
        if cpu.vendor != "generic" and target in {cpu.name, *(ancestor.name for ancestor in cpu.ancestors)}
    }
    first = [
        cpu for cpu in having.values()
        if not any(ancestor.name in having and ancestor.vendor == cpu.vendor for ancestor in cpu.ancestors)
    ]  # fmt: skip
    first.sort(key=lambda cpu: (list(_VENDORS).index(cpu.vendor) if cpu.vendor in _VENDORS else len(_VENDORS), cpu.name))
    return tuple(f"{_VENDORS.get(cpu.vendor, cpu.vendor)} {_CPUS.get(cpu.name, cpu.name.replace('_', ' '))}" for cpu in first)


def _macos(systems: Iterable[str]) -> tuple[str, ...]:
    """The newest of the releases of macOS that something was built on: what is built there runs there, and on later ones."""
    known = sorted((system for system in systems if system in MACOS), key=lambda system: float(MACOS[system]))
    return (f"macOS {MACOS[known[-1]]} ({known[-1].capitalize()})",) if known else ()
