"""What a stack's binaries run on: from C libraries and targets to words, and where they are shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cachelib.model.config import Site
from cachelib.steps.collecting import collect
from cachelib.steps.compatibility import Compatibility, compatibility, first_cpus, newest_libc, releases_with
from cachelib.steps.image import PREFIX
from cachelib.steps.rendering import SiteImage, render
from tests.support.mirrors import make_catalog, make_node
from tests.unit.test_rendering import TEMPLATES


def image(*libcs: str, platform: str = "linux", os: str = "debian12", target: str = "x86_64_v3", stack: str = "science") -> SiteImage:
    """An image with a build for each C library."""
    nodes = []
    for at, libc in enumerate(libcs):
        name, _, version = libc.partition("@")
        below = make_node(name, version, external={"path": "/usr", "module": None})
        arch = {"platform": platform, "platform_os": os, "target": target}
        nodes.append([make_node(f"package-{at}", "1.0", dependencies=[below], arch=arch), below])
    made = make_catalog(*nodes)
    entries = {h: replace(entry, annotations={f"{PREFIX}stack": stack}) for h, entry in made.entries.items()}
    catalog = replace(made, entries=entries)
    return SiteImage(name="v1.1", mirror_url="oci://ghcr.io/o/r/v1.1", reference="ghcr.io/o/r/v1.1", catalog=catalog)


def only(found: SiteImage) -> Compatibility:
    (one,) = compatibility(collect([found]))
    return one


def test_the_newest_libc_decides() -> None:
    one = only(image("glibc@2.31", "glibc@2.36", "glibc@2.9"))
    assert (one.libc, one.version, one.builds) == ("glibc", "2.36", 3)
    assert one.systems == ("Debian 12", "Ubuntu 24.04", "RHEL 10", "Fedora 37", "openSUSE Leap 15.6")
    assert one.words == (
        "Runs on Linux with glibc 2.36 or newer (Debian 12, Ubuntu 24.04, RHEL 10, Fedora 37 and later); "
        "on CPUs that are x86_64_v3 or newer: Intel Haswell (2013), AMD Excavator (2015), AMD Zen (2017) and later."
    )


def test_each_target_is_told_apart() -> None:
    found = compatibility(collect([image("glibc@2.36"), replace(image("glibc@2.28", target="aarch64"), name="v1.2")]))
    assert [(one.image, one.target, one.version) for one in found] == [("v1.1", "x86_64_v3", "2.36"), ("v1.2", "aarch64", "2.28")]
    assert found[1].processor == "any CPU of aarch64"


def test_musl_and_macos() -> None:
    assert only(image("musl@1.2.5", os="alpine3.20")).system == "Linux with musl 1.2.5 or newer (Alpine 3.20 and later)"
    mac = only(image("zlib@1", platform="darwin", os="sequoia", target="m1"))
    assert mac.words == "Runs on macOS 15 (Sequoia) or newer; on CPUs that are m1 or newer: Apple M1 (2020) and later."


@pytest.mark.parametrize(
    ("libc", "first"),
    [("2.17", "RHEL 7"), ("2.35", "Ubuntu 22.04"), ("2.39", "Ubuntu 24.04"), ("2.41", "Debian 13"), ("2.36-9+deb12u14", "Debian 12")],
)
def test_first_releases(libc: str, first: str) -> None:
    assert first in releases_with("glibc", libc)


@pytest.mark.parametrize("version", ["", "new", "9" * 400, "²"])
def test_what_is_no_version_names_no_release(version: str) -> None:
    assert releases_with("glibc", version) == ()
    assert releases_with("ulibc", "1.0") == ()


def test_what_nobody_knows_is_said() -> None:
    assert newest_libc([]) == ("", "")
    one = only(image("zlib@1", target="rv99"))
    assert one.words == "Runs on Linux; which C library they need isn't known; on CPUs of rv99."


def test_cpus_come_from_archspec() -> None:
    assert first_cpus("x86_64_v4") == ("Intel Cannon Lake (2018)", "Intel Skylake-X (2017)", "AMD Zen 4 (2022)")
    assert first_cpus("haswell") == ("Intel Haswell (2013)",)
    assert first_cpus("no such") == ()


def test_it_is_on_the_front_page_in_the_api_and_for_a_readme() -> None:
    files = {path.as_posix(): data for path, data in render(Site(url="https://o.github.io/r"), [image("glibc@2.36")], TEMPLATES)}
    assert "<strong>science</strong>: Runs on Linux with glibc 2.36 or newer (Debian 12" in files["index.html"].decode()
    (line,) = json.loads(files["api/v1/compatibility.json"])["compatibility"]
    assert (line["stack"], line["libcVersion"], line["cpus"][0]) == ("science", "2.36", "Intel Haswell (2013)")
    assert files["v1.1/readme.md"].decode() == (
        "## Binaries for Spack (v1.1)\n\n[1 binary](https://o.github.io/r) that stock Spack installs without compiling:\n\n"
        "```console\n$ spack mirror add --unsigned cache-v1.1 oci://ghcr.io/o/r/v1.1\n```\n\n"
        "- **science**: Runs on Linux with glibc 2.36 or newer (Debian 12, Ubuntu 24.04, RHEL 10, Fedora 37 and later); "
        "on CPUs that are x86_64_v3 or newer: Intel Haswell (2013), AMD Excavator (2015), AMD Zen (2017) and later.\n"
    )


def test_what_an_image_says_of_itself_stays_text_in_a_readme() -> None:
    bad = image("glibc@2.36", stack="<b>[x](http://y)`|<i>")
    files = {path.as_posix(): data.decode() for path, data in render(Site(), [bad], TEMPLATES) if path.name in ("readme.md", "index.html")}
    assert "<b>" not in files["v1.1/readme.md"]
    assert not any(text in files["v1.1/readme.md"] for text in ("[x]", "<i>"))
    assert "<b>[x]" not in files["index.html"]
