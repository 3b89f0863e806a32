"""Where packages of a container lie, and links from where they are looked for."""

from __future__ import annotations

import io
import tarfile

import pytest

from cachelib.steps.container_image import _top
from cachelib.steps.places import links, places

LIB, APP = "libsundial-1.2.0-" + "a" * 32, "sundial-1.2.0-" + "b" * 32
HERE, THERE = "/home/runner/work/own/own/var/store/__spack_path_placeholder__/linux-x86_64_v3", "/__w/up/up/var/store/linux-x86_64_v3"


def test_a_place_is_what_ends_in_the_hash() -> None:
    env = {"PATH": f"{HERE}/{APP}/bin:/usr/bin", "CMAKE_PREFIX_PATH": f"{HERE}/{APP}:{HERE}/{LIB}/.", "LANG": "C", "HOME": f"/x/{LIB}x"}
    assert places(env, {"a" * 32, "b" * 32}) == {"b" * 32: f"{HERE}/{APP}", "a" * 32: f"{HERE}/{LIB}"}
    assert places(env, {"c" * 32}) == {}


def test_what_lies_where_it_is_looked_for_needs_no_link() -> None:
    environments = {"b" * 32: {"A": f"{HERE}/{APP}:{HERE}/{LIB}"}, "a" * 32: {"A": f"{HERE}/{LIB}"}}
    assert links(environments, environments) == {}


def test_what_another_cache_built_is_linked() -> None:
    environments = {"b" * 32: {"PATH": f"{HERE}/{APP}/bin", "A": f"{HERE}/{LIB}"}, "a" * 32: {"A": f"{THERE}/{LIB}/lib"}}
    assert links(environments, environments) == {f"{HERE}/{LIB}": f"{THERE}/{LIB}"}


def test_what_does_not_tell_where_it_lies_is_let_be() -> None:
    environments = {"b" * 32: {"PATH": f"{HERE}/{APP}/bin", "A": f"{HERE}/{LIB}"}, "a" * 32: {"PATH": "/usr/bin"}}
    assert links(environments, environments) == {}
    assert links({}, ["a" * 32]) == {}


@pytest.mark.parametrize("path", ["/../{}", "/a/../../{}", "/a/./{}", "{}", "//{}", "/a\n/{}"])
def test_no_place_is_outside(path: str) -> None:
    assert places({"A": path.format(LIB)}, {"a" * 32}) == {}


def test_links_of_any_length_are_in_the_layer() -> None:
    long = f"/{'x' * 120}/{'y' * 120}/{LIB}"
    with tarfile.open(fileobj=io.BytesIO(_top({"PATH": "/x"}, {long: f"{THERE}/{LIB}"}))) as archive:
        link = archive.getmember(long.lstrip("/"))
    assert (link.issym(), link.linkname, link.mtime) == (True, f"{THERE}/{LIB}", 0)
    assert _top({"PATH": "/x"}, {long: "/y"}) == _top({"PATH": "/x"}, {long: "/y"})
