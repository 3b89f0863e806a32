"""Concrete specs: what Spack wrote is read, what is hostile is refused."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.errors import FormatError
from cachelib.model.spec import ConcreteSpec, dag_hash, format_node, parse_spec
from tests.support.mirrors import make_node


def wrap(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"_meta": {"version": 5}, "nodes": list(nodes)}}


def diamond() -> ConcreteSpec:
    """top -> left, right -> bottom; and right before left in the file."""
    bottom = make_node("bottom")
    left, right = make_node("left", dependencies=[bottom]), make_node("right", dependencies=[bottom])
    top = make_node("top", dependencies=[right, left])
    return parse_spec(wrap(top, right, left, bottom))


def test_the_dag_hash_is_spacks() -> None:
    """Taken from a real spec of Spack 1.1.0 (the compiler wrapper, which depends on nothing)."""
    node = {
        "name": "compiler-wrapper", "version": "1.0", "arch": {"platform": "linux", "platform_os": "debian12", "target": "x86_64_v3"},
        "namespace": "builtin", "parameters": {"build_system": "generic", "cflags": [], "cppflags": [], "cxxflags": [], "fflags": [],
        "ldflags": [], "ldlibs": []}, "package_hash": "brmd47iexcajusyydhjj4hkqcorobvc6swc7g6px6hryjo3jjm4q====",
        "annotations": {"original_specfile_version": 5},
    }  # fmt: skip
    assert dag_hash(node) == "jrtxylmzw232laxox2s5a5wkhr7skrim"
    assert dag_hash({**node, "hash": "whatever"}) == dag_hash(node)


def test_layers_lie_dependencies_first() -> None:
    assert [node.name for node in diamond().runtime_closure()] == ["bottom", "right", "left", "top"]


def test_build_dependencies_and_externals_are_no_layers() -> None:
    external = make_node("glibc", external={"path": "/usr", "module": None})
    tool = make_node("cmake")
    top = make_node("top", dependencies=[external, tool])
    for edge in top["dependencies"]:
        if edge["name"] == "cmake":
            edge["parameters"]["deptypes"] = ["build"]
    assert [node.name for node in parse_spec(wrap(top, external, tool)).runtime_closure()] == ["top"]


def test_format_4_is_read() -> None:
    zlib = {
        "name": "zlib", "version": "1.2", "hash": "a" * 32, "namespace": "builtin", "parameters": {},
        "arch": {"platform": "linux", "platform_os": "ubuntu22.04", "target": {"name": "zen3"}},
        "compiler": {"name": "gcc", "version": "12.2.0"},
    }  # fmt: skip
    hdf5 = copy.deepcopy(zlib) | {"name": "hdf5", "hash": "b" * 32, "dependencies": [{"name": "zlib", "hash": "a" * 32, "type": ["link"]}]}
    spec = parse_spec({"spec": {"_meta": {"version": 4}, "nodes": [hdf5, zlib]}})
    assert (spec.format, spec.root.target, spec.compilers()) == (4, "zen3", ("gcc@12.2.0",))
    assert [node.name for node in spec.runtime_closure()] == ["zlib", "hdf5"]


def test_in_one_line() -> None:
    node = make_node("hdf5", "1.14", parameters={"mpi": True, "fortran": False, "api": "v110", "libs": ["a", "b"], "cflags": []})
    assert format_node(node) == "hdf5@1.14 api=v110 ~fortran libs=a,b +mpi arch=linux-debian12-x86_64_v3"


def test_a_circle_is_refused() -> None:
    one, two = make_node("one"), make_node("two")
    one["dependencies"] = [{"name": "two", "hash": two["hash"], "parameters": {"deptypes": ["link"], "virtuals": []}}]
    two["dependencies"] = [{"name": "one", "hash": one["hash"], "parameters": {"deptypes": ["link"], "virtuals": []}}]
    with pytest.raises(FormatError, match="circle"):
        parse_spec(wrap(one, two)).runtime_closure()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../../etc/cron.d/x"), ("name", "a b"), ("name", ""), ("name", "-rf"), ("name", "a\n::set-env"), ("name", None),
        ("name", "ä"), ("compiler", {"name": "gcc"}), ("compiler", "gcc"),
        ("version", "../1"), ("version", "1\n2"), ("version", "$(id)"), ("version", "1 2"), ("version", 1.2), ("version", "a//b"),
        ("hash", "A" * 32), ("hash", "../" + "a" * 29), ("hash", "a" * 31), ("hash", None), ("namespace", "../x"),
        ("arch", "linux"), ("arch", {"platform": "linux", "platform_os": "../x", "target": "y"}), ("dependencies", {}),
        ("dependencies", [{"name": "gone", "hash": "a" * 32}]), ("parameters", []),
    ],
)  # fmt: skip
def test_hostile_fields_are_refused(field: str, value: object) -> None:
    with pytest.raises(FormatError):
        parse_spec(wrap({**make_node("zlib"), field: value}))


@pytest.mark.parametrize("data", [None, [], {}, {"spec": None}, {"spec": {"_meta": {"version": 6}, "nodes": []}}, wrap()])
def test_what_is_no_spec_is_refused(data: object) -> None:
    with pytest.raises(FormatError):
        parse_spec(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@given(json_values, st.sampled_from(["name", "version", "hash", "arch", "dependencies", "parameters", "namespace", "external", "compiler"]))
def test_any_json_is_read_or_refused(value: object, field: str) -> None:
    with contextlib.suppress(FormatError):
        spec = parse_spec(wrap({**make_node("zlib"), field: value}))
        assert spec.runtime_closure()[-1] == spec.root
        assert format_node(spec.root.raw).startswith(f"{spec.root.name}@{spec.root.version}")
        assert len(spec.compilers()) <= 1
