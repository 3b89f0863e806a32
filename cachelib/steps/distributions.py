"""Distributions: which came with which C library, and which image is that of one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Version = tuple[int, ...]

#: The glibc of each release, the oldest first. Short-lived releases of Ubuntu are left out: what is named is what people run for years.
#: Source: github.com/mayeut/pep600_compliance (August 2026), which reads it off the images; for releases that it leaves out as too old,
#: packages.debian.org/libc6, packages.ubuntu.com/libc6 and the Fedora wiki ("Changes/GLIBC2xx").
GLIBC: Mapping[str, Sequence[tuple[Version, str]]] = {
    "Debian": (((2, 24), "9"), ((2, 28), "10"), ((2, 31), "11"), ((2, 36), "12"), ((2, 41), "13")),
    "Ubuntu": (((2, 23), "16.04"), ((2, 27), "18.04"), ((2, 31), "20.04"), ((2, 35), "22.04"), ((2, 39), "24.04"), ((2, 43), "26.04")),
    "RHEL": (((2, 17), "7"), ((2, 28), "8"), ((2, 34), "9"), ((2, 39), "10")),
    "Fedora": (
        ((2, 28), "29"), ((2, 29), "30"), ((2, 30), "31"), ((2, 31), "32"), ((2, 32), "33"), ((2, 33), "34"), ((2, 34), "35"),
        ((2, 35), "36"), ((2, 36), "37"), ((2, 37), "38"), ((2, 38), "39"), ((2, 39), "40"), ((2, 40), "41"), ((2, 41), "42"),
        ((2, 42), "43"), ((2, 43), "44"),
    ),
    "openSUSE Leap": (((2, 26), "15.0"), ((2, 31), "15.3"), ((2, 38), "15.6"), ((2, 40), "16.0")),
    "Amazon Linux": (((2, 26), "2"), ((2, 34), "2023")),
}  # fmt: skip
#: The musl of each release of Alpine (pkgs.alpinelinux.org, package musl).
MUSL: Mapping[str, Sequence[tuple[Version, str]]] = {
    "Alpine": (((1, 2, 2), "3.13"), ((1, 2, 3), "3.16"), ((1, 2, 4), "3.18"), ((1, 2, 5), "3.20"))
}
#: What Spack calls releases of macOS (Spack, operating_systems/mac_os.py), and their numbers (Apple, "Find out which macOS").
MACOS = {
    "catalina": "10.15", "bigsur": "11", "monterey": "12", "ventura": "13", "sonoma": "14", "sequoia": "15", "tahoe": "26",
}  # fmt: skip
#: Images by Spack's names of distributions (operating_systems/linux_distro.py: distro.id() and the version's first part), and their images.
_IMAGES: Mapping[str, str] = {
    "ubuntu": "ubuntu:{}", "debian": "debian:{}", "rocky": "rockylinux/rockylinux:{}", "almalinux": "almalinux:{}", "fedora": "fedora:{}",
    "centos": "quay.io/centos/centos:stream{}", "rhel": "registry.access.redhat.com/ubi{}/ubi:latest", "amzn": "amazonlinux:{}",
    "ol": "oraclelinux:{}", "opensuse-leap": "opensuse/leap:{}", "sles": "registry.suse.com/bci/bci-base:{}", "alpine": "alpine:{}",
}  # fmt: skip


def first_releases(table: Mapping[str, Sequence[tuple[Version, str]]], needed: Version) -> tuple[str, ...]:
    """Of each distribution the first release that has a C library so new; one that has none yet is left out."""
    first = ((name, next((release for version, release in releases if version >= needed), "")) for name, releases in table.items())
    return tuple(f"{name} {release}" for name, release in first if release)


def distribution_image(os: str) -> str:
    """The image of a distribution that Spack names so (`ubuntu24.04`); empty where none is known."""
    match = re.fullmatch(r"([a-z-]+?)([0-9][0-9.]*)", os)
    return _IMAGES[match[1]].format(match[2]) if match and match[1] in _IMAGES else ""
