"""What pages of packages tell: variants in words, builds as a matrix, ways to have a build; bounded, whatever there is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.config import Site
from cachelib.model.site import Build, Package, Source
from cachelib.steps.matrix import COLUMNS, FEW, MOST, OPEN, matrix
from cachelib.steps.package_page import built, commands, newest_build, why
from cachelib.steps.rendering import SiteImage, render
from cachelib.steps.wording import variant_words
from cachelib.tools.templates import JinjaTemplates
from tests.support.caches import made_catalog
from tests.support.mirrors import make_catalog, make_node

TEMPLATES = JinjaTemplates(Path(__file__).resolve().parents[2] / "templates")
NOBODY = Source(
    stack="", spack_version="", spack_commit="", packages_version="", packages_commit="", source="", revision="", attestation=""
)
#: What a page of a package may take for a build beyond what any page takes: 100,000 of them share the room of a site (bytes).
PER_BUILD = 440


def build(version: str = "1.0", number: int = 0, **about: Any) -> Build:
    given_: dict[str, Any] = {
        "image": "v1.1", "hash": f"{number:032}".translate(str.maketrans("0189", "abcd")), "name": "zlib", "version": version, "variants": "+shared",
        "target": "x86_64_v3", "os": "debian12", "platform": "linux", "compilers": ("gcc@12.2.0",), "libc": "glibc@2.36", "size": 1000,
        "image_size": 3000, "base": "docker.io/library/ubuntu:24.04", "digest": "sha256:0", "reference": "ghcr.io/o/r/v1.1:zlib", "created": "2026-01-02T03:04:05Z", "seconds": 73.6,
        "run": "", "source": NOBODY, "needs": (), "missing": (),
    }  # fmt: skip
    return Build(**given_ | about)


def package(*builds: Build) -> Package:
    return Package(name="zlib", path="zlib", description="", homepage="", license="", maintainers=(), builds=builds)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ()),
        ("+mpi ~shared api=v110", ("with mpi", "api=v110", "without shared")),
        ("build_system=cmake build_type=Release generator=ninja", ("build_type=Release",)),
        ("~build_system +generator", ()),
        ("cflags=-O2 -g +x", ("with x", "cflags=-O2 -g")),
        ("patches=0123", ("with a patch",)),
        ("patches=0123,4567 languages=c,c++", ("with 2 patches", "languages=c,c++")),
        ("<script>", ()),
        ("a=<script>alert(1)</script> b", ("a=<script>alert(1)</script> b",)),
    ],
)
def test_variants_in_words(line: str, words: tuple[str, ...]) -> None:
    assert variant_words(line) == words


@given(st.text(max_size=300))
def test_any_line_has_words(line: str) -> None:
    assert len(variant_words(line)) <= len(line.split(" "))


def test_versions_by_targets_by_compilers() -> None:
    shown = matrix(
        package(
            build("1.10", 1, target="neoverse_v1"),
            build("1.10", 2),
            build("1.10", 3, compilers=("clang@17.0.6",)),
            build("1.9", 4, created="2025-01-01T00:00:00Z"),
        )
    )
    assert shown.columns == (("neoverse_v1", "debian12"), ("x86_64_v3", "debian12"))
    assert [(row.version, row.day, [[link.label for link in cell.links] for cell in row.cells]) for row in shown.first] == [
        ("1.10", "2026-01-02", [["gcc@12.2.0"], ["clang@17.0.6", "gcc@12.2.0"]]),
        ("1.9", "2025-01-01", [[], ["gcc@12.2.0"]]),
    ]
    assert (shown.further, shown.more) == ((), 0)


def test_what_tells_neighbours_apart_is_said() -> None:
    one, two, three = build(number=1, variants="+a +b"), build(number=2, variants="+a ~b"), build(number=3, variants="+a ~b")
    (cell,) = matrix(package(one, two, three)).first[0].cells
    assert {link.hash: link.note for link in cell.links} == {
        one.hash: "with b",
        two.hash: f"/{two.hash[:7]}",
        three.hash: f"/{three.hash[:7]}",
    }
    (alone,) = matrix(package(one)).first[0].cells
    assert alone.links[0].note == ""


def test_a_hash_that_two_images_hold_stands_once() -> None:
    shown = matrix(package(build(number=1, image="v1.0"), build(number=1, image="v1.1")))
    assert [len(cell.links) for cell in shown.first[0].cells] == [1]
    assert shown.more == 0


def test_a_matrix_is_bounded_and_counts_what_it_leaves_out() -> None:
    builds = [build(f"{at // 30}.0", at, target=f"t{at % 23:02}") for at in range(3000)]
    shown = matrix(package(*builds))
    rows = (*shown.first, *shown.further)
    linked = sum(len(cell.links) for row in rows for cell in row.cells)
    assert len(shown.first) <= OPEN
    assert len(shown.columns) == COLUMNS
    assert linked <= MOST
    assert linked + shown.more == 3000
    crowd = matrix(package(*(build("1.0", at) for at in range(3000))))
    (cell,) = crowd.first[0].cells
    assert (len(cell.links), cell.more, crowd.more) == (FEW, 3000 - FEW, 3000 - FEW)


def test_the_same_matrix_in_any_order_of_a_version() -> None:
    builds = [build("1.0", at, target=f"t{at % 3}", compilers=(f"gcc@{at % 4}",), variants=f"+v{at % 5}") for at in range(40)]
    shuffled = random.Random(1).sample(builds, len(builds))
    assert matrix(package(*builds)) == matrix(package(*shuffled))


def test_the_newest_is_the_last_of_the_newest_version() -> None:
    builds = [build("2.0", 1, created="2026-01-01T00:00:00Z"), build("2.0", 2), build("1.0", 3, created="2026-09-09T00:00:00Z")]
    assert newest_build(package(*builds)).hash == builds[1].hash


def test_ways_to_have_a_build() -> None:
    one = build()
    assert [command.line for command in commands(one)] == [
        f"spack install --use-buildcache only /{one.hash}",
        "podman run --rm -it ghcr.io/o/r/v1.1:zlib",
        "skopeo copy docker://ghcr.io/o/r/v1.1:zlib oci:zlib",
        "oras discover ghcr.io/o/r/v1.1:zlib",
    ]
    assert [command.about for command in commands(build(base=""))] == [
        "With Spack", "As files", "What is attached: bill of materials, signatures",
    ]  # fmt: skip
    for reference in ("/home/a b/registry:zlib", "ghcr.io/o/r; rm -rf ~", "ghcr.io/$(id)/r", "zlib", "a/b\nc"):
        assert len(commands(build(reference=reference))) == 1


def test_why_and_when() -> None:
    source = {"stack": "everything", "spack_version": "v1.1.0", "spack_commit": "1" * 40, "packages_version": "v2025.11.0"}
    told = Source(**{"packages_commit": "", "source": "", "revision": "", "attestation": "", **source})
    assert (
        why(build(source=told)) == "the last one of the newest version, stack everything, Spack v1.1.0 (111111111111), recipes v2025.11.0"
    )
    assert why(build()) == "the last one of the newest version"
    assert built(build()) == "2026-01-02 03:04 UTC, in 74 s"
    assert built(build(seconds=None)) == "2026-01-02 03:04 UTC"
    assert built(build(created="")) == ""


def pages_of(catalog: Any) -> dict[str, bytes]:
    image = SiteImage(name="v1.1", mirror_url="oci://ghcr.io/o/r/v1.1", reference="ghcr.io/o/r/v1.1", catalog=catalog)
    return {path.as_posix(): data for path, data in render(Site(url="https://o.github.io/r"), [image], TEMPLATES) if path.suffix == ".html"}


def test_pages_of_packages_keep_to_their_room() -> None:
    """No page of a build's own, and so many bytes a build on those of packages."""
    count = 5_000
    pages = pages_of(made_catalog(count))
    frame = len(pages["404.html"])
    sizes = [len(data) - frame for path, data in pages.items() if path.startswith("packages/") and path != "packages/index.html"]
    assert len(sizes) > 300
    assert sum(sizes) <= PER_BUILD * count
    assert [path for path in pages if path.startswith("build/")] == ["build/index.html"]


def test_a_package_of_3000_builds_has_a_small_page() -> None:
    nodes = [
        make_node("many", f"{at // 12}.0", arch={"platform": "linux", "platform_os": "debian12", "target": f"t{at % 12:02}"})
        for at in range(3000)
    ]
    pages = pages_of(make_catalog(*([node] for node in nodes)))
    assert len(pages["packages/many/index.html"]) < 20_000
    assert b"more builds are in the" in pages["packages/many/index.html"]
