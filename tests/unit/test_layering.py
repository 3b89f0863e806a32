"""Layered caches: whoever's index is read in whatever pieces it comes, and what an upstream has is there, and stays there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.errors import ConfigError, FormatError
from cachelib.model.index_stream import ENTRY, present_in
from cachelib.model.outcome import BuildOutcome, Built, Reused
from cachelib.model.site import SiteImage
from cachelib.model.upstream import Offer, Upstream, holders, parse_upstream, upstream_mirrors
from cachelib.model.wanted import Wanted, WantedSpec
from cachelib.steps import layering
from cachelib.steps.collecting import collect
from cachelib.steps.pages.using import environment_file, front_images, mirror_files
from cachelib.steps.standing import standing
from cachelib.tools.config_file import parse_settings
from tests.support.mirrors import make_catalog, make_node
from tests.unit.test_planning import COMPILER, LIBRARY, PROGRAM, TOOL, lock, plan, told

UP = "oci://ghcr.io/other/cache/v1.1"
PIN = "{version: v1.1.0, commit: 2e907202bcc8209a6a62243aab50c179b524cc3b}"


def index(installs: dict[str, Any], version: str = "8") -> bytes:
    """As Spack writes it: in one line, with blanks."""
    return json.dumps({"database": {"version": version, "installs": installs}}).encode()


def record(there: bool, **more: Any) -> dict[str, Any]:
    return {"spec": {"name": "zlib", "text": 'a "quoted" {brace} \\'}, "ref_count": 1, "in_buildcache": there, **more}


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(
    st.dictionaries(st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=32, max_size=32), st.booleans(), max_size=8), st.integers(1, 90)
)
def test_an_index_in_any_pieces(installs: dict[str, bool], size: int) -> None:
    data = index({h: record(there, name="é") for h, there in installs.items()})
    assert list(present_in(cut(data, size))) == [(h, "zlib") for h, there in installs.items() if there]


H = "a" * 32
WRONG = {
    "nothing": b"",
    "a page": b"<html>" * 2000,
    "another version": index({H: record(True)}, "9"),
    "no hash": index({"../../etc/passwd": record(True)}),
    "no record": b'{"database": {"version": "8", "installs": {"%s": 7}}}' % H.encode(),
    "cut off": index({H: record(True)})[:-2],
    "cut off in an entry": index({H: record(True)})[:-30],
    "more behind it": index({H: record(True)}) + b"{}",
    "no comma": index({H: record(True), "b" * 32: record(True)}).replace(b"}, ", b"} "),
    "a comma first": index({H: record(True)}).replace(b'"installs": {', b'"installs": {,'),
    "no text": index({H: record(True)}).replace(b"zlib", b"\xff\xfe"),
    "deep": b'{"database": {"version": "8", "installs": {"%s": {"spec": %s' % (H.encode(), b"[" * 200_000),
    "an entry without end": b'{"database": {"version": "8", "installs": {"%s": {"spec": "%s' % (H.encode(), b"x" * (ENTRY + 10)),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_index_is_refused(case: str) -> None:
    with pytest.raises(FormatError):
        list(present_in(cut(WRONG[case], 65536)))


def test_an_index_without_end_is_not_held() -> None:
    """An entry that never ends is given up after some megabytes, however much would still come."""
    read = 0

    def pieces() -> Any:
        nonlocal read
        yield b'{"database": {"version": "8", "installs": {"%s": {"spec": "' % H.encode()
        while True:
            read += 1
            yield b"x" * 65536

    with pytest.raises(FormatError):
        list(present_in(pieces()))
    assert read * 65536 < 2 * ENTRY


def test_what_is_remembered_comes_back() -> None:
    one = Upstream(
        url=UP, digest=f"sha256:{'0' * 64}", read="2026-11-01T00:00:00Z", offers={H: Offer(size=5, seconds=1.5), "b" * 32: Offer()},
        site="https://example.org/", source="https://example.org/s", strangers={"v1.0": 3}, told=True, names=frozenset({"zlib", "py-x"}),
    )  # fmt: skip
    assert parse_upstream(one.json()) == one
    for wrong in (b"{}", b"[]", one.json().replace(b'"version":2', b'"version":1'), one.json().replace(H.encode(), b"no hash")):
        with pytest.raises(FormatError):
            parse_upstream(wrong)


@pytest.mark.parametrize("name", [None, 7, ["zlib"], "", "../x", "a b", "x" * 129, "-rf", "a\n"])
def test_a_name_that_is_none_is_left_out(name: object) -> None:
    """The build counts all the same."""
    data = index({H: {"spec": {"name": name}, "in_buildcache": True}, "b" * 32: {"spec": name, "in_buildcache": True}})
    assert list(present_in([data])) == [(H, ""), ("b" * 32, "")]


def test_the_first_upstream_that_has_it_counts() -> None:
    other = Upstream(url="file:///m", offers={H: Offer(), "b" * 32: Offer()})
    assert holders([Upstream(url=UP, offers={H: Offer()}), other]) == {H: UP, "b" * 32: "file:///m"}
    assert upstream_mirrors([UP, "file:///m"]) == {"upstream": UP, "upstream-2": "file:///m"}


def test_what_an_upstream_has_is_not_built_nor_what_only_building_it_took() -> None:
    made = told(plan(lock(), present=(LIBRARY,)))
    assert {name for name, (action, _) in made.items() if action == "build"} == {"curl", "cmake", "gcc"}
    made = told(plan(lock(), present=(LIBRARY, PROGRAM)))
    assert {name for name, (action, _) in made.items() if action == "build"} == set()
    assert made["cmake"][0] == made["gcc"][0] == "idle"
    assert COMPILER["hash"] != TOOL["hash"]


def test_outcomes_name_the_upstream() -> None:
    outcomes: dict[str, BuildOutcome] = {
        "a": Built(seconds=1.0), "b": Reused(source="registry"), "c": Reused(source="registry"), "d": Reused(source="registry"),
        "e": Reused(source="mirror"),
    }  # fmt: skip
    found = layering.name_sources(outcomes, {"b"}, {"c": UP, "e": UP})
    assert found == outcomes | {"c": Reused(source=f"upstream {UP}"), "d": Reused(source="upstream that hasn't told of it")}
    assert [h for h, outcome in found.items() if layering.foreign(outcome)] == ["c", "d"]


def image(**about: Any) -> SiteImage:
    library = make_node("library")
    program = make_node("program", dependencies=[library])
    specs = {
        node["hash"]: WantedSpec(hash=node["hash"], name=node["name"], version="1.0", target="t", needs=needs)
        for node, needs in ((library, ()), (program, (library["hash"],)))
    }
    wanted = Wanted(stack="s", runner="r", specs=specs, roots={program["hash"]: "program"})
    return SiteImage(
        name="v1.1", mirror_url="oci://ghcr.io/own/cache/v1.1", reference="ghcr.io/own/cache/v1.1",
        catalog=make_catalog([program, library]), wanted=(wanted,), **about,
    )  # fmt: skip


def test_the_site_counts_and_names_what_is_upstream() -> None:
    made = make_node("library")
    upstreams = (Upstream(url=UP, offers={made["hash"]: Offer(size=7, seconds=9.0)}), Upstream(url="file:///m"))
    (alone,), (both,) = collect([image()]).packages[0].builds, collect([image(upstreams=upstreams)]).packages[0].builds
    assert (alone.missing, both.missing) == ((made["hash"],), ())
    ((_, before),), ((_, after),) = standing((image(),)), standing((image(upstreams=upstreams),))
    assert (before.present, before.upstream, before.total) == (1, 0, 2)
    assert (after.present, after.upstream, after.total, after.seconds) == (2, 1, 2, 9)
    assert collect([image()]).digest != collect([image(upstreams=upstreams)]).digest


def test_clients_get_all_mirrors_the_own_one_first() -> None:
    upstreams = (Upstream(url=UP), Upstream(url="file:///m"))
    one = image(upstreams=upstreams)
    wanted = {"cache-v1.1": one.mirror_url, "cache-v1.1-upstream": UP, "cache-v1.1-upstream-2": "file:///m"}
    for data in (dict(yaml.safe_load(environment_file(one))["spack"]), *(yaml.safe_load(text) for _, text in mirror_files([one]))):
        mirrors = data.get("spack", data)["mirrors"]
        assert {name: about["url"] for name, about in mirrors.items()} == wanted
        assert list(mirrors) == list(wanted)
    (front,) = front_images(collect([one]))
    texts = {snippet.id: snippet.text for snippet in front.snippets}
    # Spack puts what is added first.
    assert [line.split()[-1] for line in texts["spack"].splitlines()] == ["file:///m", UP, one.mirror_url]
    assert yaml.safe_load(texts["action"])[0]["with"]["cache"].split() == list(wanted.values())
    (plain,) = front_images(collect([image()]))
    assert yaml.safe_load(plain.snippets[2].text)[0]["with"]["cache"] == one.mirror_url
    assert replace(one, upstreams=()) == image()


def settings(*urls: str) -> str:
    stack = {"spack": yaml.safe_load(PIN), "packages": yaml.safe_load(PIN), "specs": ["zlib"], "upstreams": list(urls)}
    return yaml.safe_dump({"stacks": {"s": stack}})


def test_addresses_of_upstreams() -> None:
    urls = (UP, "https://binaries.spack.io/v2025.11.0/build_systems", "file:///mnt/mirror", "oci+http://127.0.0.1:5000/a/b")
    assert parse_settings(settings(*urls), "cache.yaml", Path()).stacks["s"].upstreams == urls


@pytest.mark.parametrize(
    "url",
    [
        "oci-layout:registry", "ghcr.io/o/r", "oci://user:secret@ghcr.io/o/r", "https://$(id)/x", "https://h/a b", "https://h/`x`",
        "oci://ghcr.io/o/r\n", "ftp://h/x", "https://h/x#: y", "oci://:99999/x", "oci://ghcr.io/a//b", "https://h/x:",
    ],
)  # fmt: skip
def test_what_is_no_address_of_an_upstream(url: str) -> None:
    with pytest.raises(ConfigError):
        parse_settings(settings(url), "cache.yaml", Path())
