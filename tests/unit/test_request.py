"""Requests held against concrete specs: what matches, what doesn't, and what is refused instead of never matching."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.errors import UsageError
from cachelib.model.request import parse_request
from cachelib.model.spec import ConcreteSpec, format_node, parse_spec
from cachelib.model.version import in_range, version_key
from tests.support.mirrors import make_node

PARAMETERS = {
    "build_system": "cmake", "mpi": True, "fortran": False, "api": "v110", "fabrics": ["ucx", "verbs"], "cflags": ["-O2", "-g"],
    "cxxflags": [],
}  # fmt: skip


def spec(name: str = "hdf5", version: str = "1.14.3", **extra: Any) -> ConcreteSpec:
    node = make_node(name, version, **{"parameters": PARAMETERS, **extra})
    return parse_spec({"spec": {"_meta": {"version": 5}, "nodes": [node]}})


HDF5 = spec()
HASH = HDF5.root.hash


@pytest.mark.parametrize(
    "text",
    [
        "hdf5", " hdf5 ", "hdf5@1.14", "hdf5 @1.14", "@1.14.3", "hdf5@=1.14.3", "hdf5@1.12:1.14", "hdf5@1.14:", "hdf5@:1.14", "hdf5@:",
        "hdf5@1.10,1.14", "hdf5@1.8,1.12:1.14,3", "hdf5@=1.10,=1.14.3", f"/{HASH}", f"/{HASH[:7]}", f"hdf5/{HASH[:1]}", f"hdf5 /{HASH}",
        f"hdf5@1.14/{HASH[:5]}", "hdf5+mpi", "hdf5 +mpi", "hdf5~fortran", "hdf5 -fortran", "hdf5+mpi~fortran", "hdf5 +mpi -fortran",
        "+mpi", "hdf5 api=v110", "hdf5 api='v110'", 'hdf5 api="v110"', "api=v110", "hdf5 mpi=true fortran=false", "hdf5 fabrics=ucx",
        "hdf5 fabrics=verbs,ucx", "hdf5 fabrics='ucx,verbs'", "target=x86_64_v3", "os=debian12", "operating_system=debian12",
        "platform=linux", "arch=linux-debian12-x86_64_v3", "hdf5@1.14 +mpi~fortran api=v110 target=x86_64_v3 os=debian12",
        "hdf5 build_system=cmake", "hdf5\t+mpi", "hdf5@1.14~fortran+mpi",
        "hdf5@1.14+mpi",
        "hdf5@1.12:+mpi",
        "hdf5@=1.14.3+mpi",
        "builtin.hdf5",
        "hdf5 mpi=True",
        'hdf5 cflags="-O2 -g"',
    ],
)  # fmt: skip
def test_what_matches(text: str) -> None:
    assert parse_request(text).matches(HDF5)


@pytest.mark.parametrize(
    "text",
    [
        "hdf", "hdf5x", "zlib", "HDF5", "hdf5@1.1", "hdf5@1.14.30", "hdf5@=1.14", "hdf5@1.15:", "hdf5@:1.13", "hdf5@1.10:1.12", "hdf5@1.10,1.12",
        "hdf5@2", f"/{HASH[1:]}", f"/{HASH}a", f"zlib/{HASH}", "hdf5~mpi", "hdf5 -mpi", "hdf5+fortran", "hdf5+nothing", "hdf5~nothing",
        "hdf5 api=v11", "hdf5 api=v110,v112", "hdf5 fabrics=ucx,psm", "hdf5 fabrics=uc", "hdf5 cxxflags=-O2", "hdf5 nothing=at",
        "target=x86_64", "os=ubuntu22.04", "platform=darwin", "arch=linux-debian12-x86_64", "arch=x86_64_v3", "hdf5+mpi+fortran",
        "hdf5 nothing=None",
    ],
)  # fmt: skip
def test_what_does_not_match(text: str) -> None:
    assert not parse_request(text).matches(HDF5)


@pytest.mark.parametrize(
    ("version", "wanted", "expected"),
    [
        # Each line as Spack 1.1.0 answers it: Version(version).satisfies(ver(wanted)).
        ("1.2", "1.2", True), ("1.2.3", "1.2", True), ("1.2.3.4", "1.2", True), ("1.20", "1.2", False), ("1.3", "1.2", False),
        ("12", "1", False), ("1", "1.2", False), ("1.02", "1.2", True), ("1_2", "1.2", True), ("1.2-3", "1.2.3", True),
        ("1.2.3", "=1.2", False), ("1.2", "=1.2", True), ("1.10", "1.9:", True), ("1.9", "1.10:", False), ("1", "1.2:", False),
        ("1.2", "1.2.0:", False), ("1.2.0", "1.2:", True), ("1.4.9", ":1.4", True), ("1.4.9", "1.2:1.4", True), ("1.5", "1.2:1.4", False),
        ("1.2.3", "1.2:1.2", True), ("2", ":1", False), ("1.5", ":", True), ("develop", "1.2:", True), ("main", "1.2:", True),
        ("develop", ":1.2", False), ("develop", "develop", True), ("develop", "main", False), ("develop-2024", "develop", True),
        ("1.2.develop", "1.2:", True), ("1.2.develop", ":1.2.99", False), ("2023c", "2023a:", True), ("a", "1:", False), ("a", ":1", True),
        ("1.2rc1", "1.2", False), ("1.2rc1", ":1.1", True), ("1.2rc1", "1.2:", False),
        ("1.1.1w", "1.1.1", True), ("1.1.1w", "1.1.0:", True),
        ("1.1.1w", "1.1.1:1.1.2", True), ("9e", "9", True),
        ("9e", "9:", True), ("2023c", "2023", True),
        ("develop", "main:", True), ("main", "develop:", False),
        ("stable", "develop:", False), ("nightly", "1:", True),
        ("1.2-rc1", "1.2", False), ("1.2-rc1", "1.2:", False),
        ("5.0.0-beta2", "5.0.0", False),
        ("git.abc=1.2", "1.2", True), ("git.abc=1.2", "1.2:", True),
    ],
)  # fmt: skip
def test_versions_are_spacks(version: str, wanted: str, expected: bool) -> None:
    assert parse_request(f"p@{wanted}").matches(spec("p", version)) is expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "\t\n", "hdf5 ^zlib", "hdf5^zlib", "^zlib", "hdf5 %gcc", "hdf5%gcc@13", "%gcc", "%%gcc", "hdf5 ^[virtuals=mpi] openmpi",
        "hdf5 zlib", "+mpi hdf5", "hdf5@", "hdf5@1.2 zlib", "hdf5@@1", "hdf5/", "/UPPER", "/0189", "hdf5++mpi", "hdf5 --mpi", "hdf5 ~~mpi", "hdf5 +",
        "hdf5 api=", "=1", "hdf5 =", "hdf5 languages:=c", "ä", "hdf5+ä", "*", "hdf5\0", "hdf5;rm", "[hdf5]", "hdf5@1.2 , 1.3", "$(id)",
        "hdf5@,", "hdf5@1.2,,1.3", "hdf5@=", "hdf5@1:2:3",
        "hdf5@1.2=", "hdf5@ä", "hdf5@-1", "hdf5 api==v110",
        "/aaaa /bbbb", "/aaaa/bbbb",
        "hdf5 api='v110", ("hdf5@" + "9" * 5000),
    ],
)  # fmt: skip
def test_what_only_spack_could_tell_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_request(text)
    assert caught.value.hint


def test_a_version_of_many_digits() -> None:
    with contextlib.suppress(UsageError):
        assert not parse_request("hdf5@" + "9" * 5000).matches(HDF5)


def test_the_refusal_names_what_was_not_understood() -> None:
    with pytest.raises(UsageError, match=r"'hdf5 \^zlib' can't be held against what is published: ' \^zlib' is not understood") as caught:
        parse_request("hdf5 ^zlib")
    assert "dependencies (^, %) are not" in caught.value.hint


@given(st.one_of(st.text(), st.text(alphabet="ab1 @=:,.-+~/^%'\"\\_\t\n²ä", max_size=30)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        request = parse_request(text)
    except UsageError:
        return
    assert isinstance(request.matches(HDF5), bool)
    assert request == parse_request(text)


_NAMES = st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,4})?", fullmatch=True)
_NUMBERS = st.lists(st.integers(0, 120), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
_VERSIONS = st.one_of(_NUMBERS, st.sampled_from(["develop", "main", "2.0-rc1", "1.1.1w", "2023c", "1_4", "6.1-2"]))
_VALUES = st.one_of(st.booleans(), _NAMES, st.lists(_NAMES, min_size=1, max_size=3, unique=True))
_SPECS = st.builds(lambda name, version, variants: spec(name, version, parameters=variants), _NAMES, _VERSIONS,
                   st.dictionaries(_NAMES.filter(lambda key: key not in ("os", "target", "platform", "arch")), _VALUES, max_size=4))  # fmt: skip


@given(_SPECS, st.integers(1, 32))
def test_a_spec_matches_its_own_description(found: ConcreteSpec, length: int) -> None:
    described = format_node(found.root.raw)
    assert parse_request(described).matches(found)
    assert parse_request(f"{found.root.name}@={found.root.version} /{found.root.hash[:length]}").matches(found)


@given(_SPECS, st.data())
def test_a_description_matches_nothing_that_differs(found: ConcreteSpec, data: st.DataObject) -> None:
    root, request = found.root, parse_request(format_node(found.root.raw).replace("@", "@=", 1))
    flags = [key for key, value in root.parameters.items() if isinstance(value, bool)]
    lists = [key for key, value in root.parameters.items() if isinstance(value, list)]
    arch = {"platform": "linux", "platform_os": "debian12", "target": "zen9"}
    others = [
        spec(f"{root.name}x", root.version, parameters=root.parameters),
        spec(root.name, f"{root.version}.1", parameters=root.parameters),
        spec(root.name, root.version, parameters=root.parameters, arch=arch),
        *(spec(root.name, root.version, parameters={**root.parameters, key: not root.parameters[key]}) for key in flags),
        *(spec(root.name, root.version, parameters={**root.parameters, key: root.parameters[key][1:]}) for key in lists),
    ]
    assert not request.matches(data.draw(st.sampled_from(others)))


@given(_VERSIONS, _VERSIONS, _VERSIONS)
def test_ranges_hold_what_lies_between(a: str, b: str, c: str) -> None:
    low, middle, high = sorted((a, b, c), key=version_key)
    assert in_range(middle, f"{low}:{high}")
    assert in_range(middle, f"{low}:")
    assert in_range(middle, f":{high}")
    assert all(in_range(middle, wanted) for wanted in (middle, f"={middle}", f"{middle}:{middle}", ":"))
    if version_key(middle) < version_key(high):
        assert not in_range(middle, f"{high}:")


@given(_NUMBERS, st.lists(st.integers(0, 9), max_size=2))
def test_a_version_means_all_that_begins_with_it(version: str, more: list[int]) -> None:
    longer = ".".join([version, *map(str, more)])
    assert in_range(longer, version)
    assert in_range(longer, f":{version}")
    assert in_range(longer, f"={version}") is (longer == version)
    assert not in_range(f"{version}0", version) or version.split(".")[-1] == "0"
