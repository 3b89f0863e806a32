"""The files of the search: what is read from them is what was written, they stay small, and each is known by its digest."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from cachelib.model.site import Build, Contents, Package, SiteImage, page_path
from cachelib.steps.collecting import collect
from cachelib.steps.search import KIND, letter, search_files, several, variants
from tests.support.caches import made_catalog
from tests.support.contents import made_contents

HOSTILE = '</script><img src=x onerror=alert(1)>"\\\u202e\u2028\ud800\U0001f4a9'


@pytest.fixture(scope="module")
def contents() -> Contents:
    return made_contents(10_000)


def files_of(contents: Contents) -> dict[str, Any]:
    return {path.stem: json.loads(data) for path, data in search_files(contents)}


def number(character: str) -> int:
    """What `letter` wrote, as search.js reads it."""
    point = ord(character)
    point -= 0x800 * (point >= 0xE000)
    return point - (point > 0x5C) - 0x23


def recent(text: str) -> Iterator[int]:
    known = 0
    for character in text:
        ago = number(character)
        yield known - ago
        known += not ago


def read(column: dict[str, Any], builds: str) -> list[tuple[str, ...]]:
    values = column["values"]
    sets = [tuple(values[number(one)] for one in chosen) for chosen in column["sets"]] if "sets" in column else [(one,) for one in values]
    return [sets[at] for at in recent(builds)]


def builds_of(contents: Contents) -> list[Build]:
    return [build for package in contents.packages for build in package.builds]


def test_columns_are_the_builds(contents: Contents) -> None:
    files, builds = files_of(contents), builds_of(contents)
    assert len(builds) == files["index"]["counts"]["builds"] == sum(files["catalog"]["counts"]) == 10_000
    for key, of in KIND.items():
        assert read(files["kinds"]["columns"][key], files["kinds"]["builds"]) == [of(build) for build in builds]
    assert read(files["versions"], files["versions"]["builds"]) == [(build.version,) for build in builds]
    assert read(files["variants"], files["variants"]["builds"]) == [tuple(build.variants.split()) for build in builds]


def test_the_catalog_is_the_packages(contents: Contents) -> None:
    files = files_of(contents)
    assert files["names"]["names"] == [package.name for package in contents.packages]
    assert files["catalog"]["descriptions"] == [package.description[:120] for package in contents.packages]
    assert files["catalog"]["latest"] == [package.builds[0].version for package in contents.packages]
    assert max(len(text) for text in files["catalog"]["descriptions"]) == 120


@pytest.mark.parametrize("code", [0, 1, 0x38, 0x39, 0x3A, 91, 92, 0x7FF, 0xD7DB, 0xD7DC, 0xD7DD, 0xFFFF, 100_000])
def test_a_letter_is_a_number(code: int) -> None:
    assert number(letter(code)) == code
    assert json.dumps(letter(code), ensure_ascii=False) == f'"{letter(code)}"'
    assert letter(code).encode().decode() == letter(code)


def test_more_sets_than_one_character_of_utf_16_can_tell() -> None:
    found = [(f"+{at}",) for at in range(70_000)] * 2
    made: Any = several(found)
    assert read(made, made["builds"]) == found


def test_the_index_knows_each_file_by_its_digest(contents: Contents) -> None:
    made = dict(search_files(contents))
    index = json.loads(made.pop(PurePosixPath("search/index.json")))
    assert {PurePosixPath("search", one["path"].partition("?")[0]) for one in index["files"].values()} == made.keys()
    for one in index["files"].values():
        name, _, version = one["path"].partition("?v=")
        digest = hashlib.sha256(made[PurePosixPath("search", name)]).digest()
        assert (version, one["integrity"]) == (digest.hex()[:16], f"sha256-{base64.b64encode(digest).decode()}")


def test_the_same_bytes_whatever_the_order_of_the_images() -> None:
    images = [
        SiteImage(name=name, mirror_url=f"oci://ghcr.io/o/r/{name}", reference=f"ghcr.io/o/r/{name}", catalog=made_catalog(count))
        for name, count in (("v1.1", 90), ("v1.0", 40))
    ]
    made = dict(search_files(collect(images)))
    assert made == dict(search_files(collect(reversed(images))))
    assert sorted(files_of(collect(images))["kinds"]["columns"]["image"]["values"]) == ["v1.0", "v1.1"]


def test_ten_thousand_builds_are_a_tenth_of_what_is_promised(contents: Contents) -> None:
    """60 kB of names and 700 kB in all for 100,000 (tests/bench/site.py measures those)."""
    sizes = {path.stem: len(gzip.compress(data, 6)) for path, data in search_files(contents)}
    assert sizes["names"] + sizes["index"] <= 6_500
    assert sum(sizes.values()) <= 90_000
    assert max(len(data) for _, data in search_files(contents)) < 200_000


def test_of_a_cache_of_few_words_it_is_less() -> None:
    image = SiteImage(name="v1.1", mirror_url="oci://ghcr.io/o/r/v1.1", reference="ghcr.io/o/r/v1.1", catalog=made_catalog(2_000))
    files = dict(search_files(collect([image])))
    assert sum(len(gzip.compress(data, 6)) for data in files.values()) < 6_000


def with_builds(contents: Contents, builds: Sequence[Build], **about: Any) -> Contents:
    first = contents.packages[0]
    package: Package = replace(first, builds=tuple(builds), **about)
    return replace(contents, packages=(package,))


def test_hostile_texts_are_values_and_nothing_else(contents: Contents) -> None:
    build = builds_of(contents)[0]
    odd = replace(build, os=HOSTILE, variants=f"+shared {HOSTILE} note={HOSTILE}", source=replace(build.source, stack=HOSTILE))
    files = files_of(with_builds(contents, [odd, build], description=HOSTILE * 9))
    shown = HOSTILE.replace("\ud800", "?")
    assert files["catalog"]["descriptions"] == [(HOSTILE * 9)[:120].replace("\ud800", "?")]
    assert read(files["kinds"]["columns"]["stack"], files["kinds"]["builds"]) == [(shown,), (build.source.stack,)]
    assert shown.partition("\u2028")[0].split()[0] in files["variants"]["values"]


def test_a_marked_path_is_told(contents: Contents) -> None:
    build = replace(builds_of(contents)[0], name="Odd.Name")
    files = files_of(with_builds(contents, [build], name="Odd.Name", path=page_path("Odd.Name")))
    assert files["names"] == {"names": ["Odd.Name"], "paths": {"0": page_path("Odd.Name")}}


def test_what_nobody_types_is_no_variant() -> None:
    text = f"+mpi api=v18 patches={'0' * 64} commit={'a' * 40} cflags={'-O2,' * 40}"
    assert variants(text) == ("+mpi", "api=v18")


def test_an_empty_cache_has_a_search() -> None:
    files = files_of(collect([]))
    assert (files["names"], files["index"]["counts"]) == ({"names": [], "paths": {}}, {"packages": 0, "builds": 0})
