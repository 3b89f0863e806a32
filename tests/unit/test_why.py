"""Why a spec isn't taken from the cache: real specs, changed in one thing and in several, and the words that come of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cachelib.model.spec import ConcreteSpec, dag_hash, parse_spec
from cachelib.steps.differing import Difference, Field, differences
from cachelib.steps.why import advice, answer
from cachelib.steps.why_reports import summary, why_report
from tests.support.caches import LOCK
from tests.support.mirrors import make_catalog, make_node

Node = dict[str, Any]
Change = Callable[[Node], None]
NODES: dict[str, Node] = json.loads(LOCK.read_text(encoding="utf-8"))["concrete_specs"]
#: Real packages of every kind: C and C++, Autotools and CMake, few dependencies and many.
ROOTS = ("hwloc", "c-blosc", "libtiff", "sqlite", "gsl", "freetype", "libxaw", "yaml-cpp", "libevent", "flac")


def dag(name: str) -> list[Node]:
    """The nodes of a real spec, root first."""
    root = next(node for node in NODES.values() if node["name"] == name)
    found, waiting = {root["hash"]: root}, [root]
    while waiting:
        for edge in waiting.pop().get("dependencies", ()):
            if edge["hash"] not in found:
                found[edge["hash"]] = NODES[edge["hash"]]
                waiting.append(NODES[edge["hash"]])
    return copy.deepcopy(list(found.values()))


def changed(nodes: list[Node], *changes: tuple[str, Change]) -> list[Node]:
    """The same DAG with nodes changed (`*` is every node that isn't external), and hashes as they then are."""
    by_old = {node["hash"]: copy.deepcopy(node) for node in nodes}
    for name, change in changes:
        for node in by_old.values():
            if node["name"] == name or (name == "*" and "external" not in node):
                change(node)
    done: dict[str, str] = {}

    def renew(old: str) -> str:
        if old not in done:
            node = by_old[old]
            before = json.dumps(node, sort_keys=True)
            for edge in node.get("dependencies", ()):
                edge["hash"] = renew(edge["hash"]) if edge["hash"] in by_old else edge["hash"]
            if json.dumps(node, sort_keys=True) != before or node != next(one for one in nodes if one["hash"] == old):
                node["hash"] = dag_hash(node)
            done[old] = node["hash"]
        return done[old]

    return [by_old[node["hash"]] for node in nodes if renew(node["hash"])]


def spec(nodes: list[Node]) -> ConcreteSpec:
    """As it is read; what nothing needs any more is left out."""
    by_hash = {node["hash"]: node for node in nodes}
    found, waiting = {nodes[0]["hash"]: nodes[0]}, [nodes[0]]
    while waiting:
        for edge in waiting.pop().get("dependencies", ()):
            if edge["hash"] not in found:
                found[edge["hash"]] = by_hash[edge["hash"]]
                waiting.append(by_hash[edge["hash"]])
    return parse_spec({"spec": {"_meta": {"version": 5}, "nodes": list(found.values())}})


def put(*path: str, to: Any) -> Change:
    """A change: the value at a path becomes another one."""

    def change(node: Node) -> None:
        place = node
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def target(to: str) -> Change:
    return lambda node: node["arch"].update(target=to)


def need(name: str, h: str, virtuals: tuple[str, ...] = ()) -> Change:
    edge = {"name": name, "hash": h, "parameters": {"deptypes": ["link"], "virtuals": list(virtuals)}}
    return lambda node: node["dependencies"].append(edge)


def forget(name: str) -> Change:
    return lambda node: node.update(dependencies=[edge for edge in node["dependencies"] if edge["name"] != name])


def flip(name: str) -> Change:
    return lambda node: node["parameters"].update({name: not node["parameters"][name]})


GCC13 = (("gcc", put("version", to="13.3.0")), ("gcc-runtime", put("version", to="13.3.0")))
EXTRA = make_node("extra")


def ones() -> Iterator[tuple[str, str, tuple[tuple[str, Change], ...], Field, str, tuple[str, ...]]]:
    """Pairs that differ by one thing: the root, what it is, the changes that make it, and what is to be named."""
    for name in ROOTS:
        root = dag(name)[0]
        yield name, "target", (("*", target("zen4")),), Field.TARGET, "", ()
        yield name, "os", (("*", put("arch", "platform_os", to="ubuntu24.04")),), Field.OS, "", ()
        yield name, "libc", (("glibc", put("version", to="2.39")),), Field.LIBC, "", ()
        yield name, "compiler", GCC13, Field.COMPILER, "", ()
        yield name, "version", ((name, put("version", to="99.1")),), Field.VERSION, "", ()
        yield name, "recipe", ((name, put("package_hash", to="x" * 52)),), Field.RECIPE, "", ()
        yield name, "flags", ((name, put("parameters", "cflags", to=["-O3"])),), Field.FLAGS, "cflags", ()
        for variant in [key for key, value in root["parameters"].items() if isinstance(value, bool)][:2]:
            yield name, f"variant {variant}", ((name, flip(variant)),), Field.VARIANT, variant, ()
        tools = ("gcc", "glibc", "gcc-runtime", "compiler-wrapper", "gmake", "cmake", "pkgconf")
        if below := next((edge["name"] for edge in root["dependencies"] if edge["name"] not in tools), ""):
            yield name, "version below", ((below, put("version", to="0.0.1")),), Field.VERSION, "", (below,)
            yield name, "recipe below", ((below, put("package_hash", to="y" * 52)),), Field.RECIPE, "", (below,)
    yield "hwloc", "platform", (("*", put("arch", "platform", to="darwin")),), Field.PLATFORM, "", ()
    yield "hwloc", "repository", (("hwloc", put("namespace", to="mine")),), Field.NAMESPACE, "", ()
    yield "hwloc", "external", (("gmake", put("external", "path", to="/opt/gmake")),), Field.EXTERNAL, "", ("gmake",)
    yield "c-blosc", "no longer needed", (("c-blosc", forget("snappy")),), Field.DEPENDENCY, "snappy", ()
    yield "c-blosc", "patches", (("c-blosc", put("parameters", "patches", to=["ab" * 32])),), Field.RECIPE, "", ()
    yield "c-blosc", "a value", (("c-blosc", put("parameters", "build_type", to="Debug")),), Field.VARIANT, "build_type", ()
    yield "sqlite", "two below", (("ncurses", flip("termlib")),), Field.VARIANT, "termlib", ("readline", "ncurses")
    yield "sqlite", "compiler of another build", (("gcc", put("external", "path", to="/opt/gcc")),), Field.EXTERNAL, "", ("gcc",)
    yield "hwloc", "something new", (("hwloc", put("tomorrow", to=1)),), Field.OTHER, "tomorrow", ()


ONES = list(ones())


def test_there_are_many_pairs() -> None:
    assert len(ONES) >= 50
    assert {one[3] for one in ONES} == set(Field)


@pytest.mark.parametrize(
    ("name", "changes", "field", "thing", "path"), [(one[0], *one[2:]) for one in ONES], ids=[f"{one[0]}: {one[1]}" for one in ONES]
)
def test_one_thing_is_named_and_nothing_else(
    name: str, changes: tuple[tuple[str, Change], ...], field: Field, thing: str, path: tuple[str, ...]
) -> None:
    ours = dag(name)
    theirs = changed(ours, *changes)
    assert theirs[0]["hash"] != ours[0]["hash"]
    for asked, there in ((ours, theirs), (theirs, ours)):
        found = differences(spec(asked), spec(there))
        assert [(one.field, one.name) for one in found] == [(field, thing)], found
        assert found[0].path[-len(path) :] == path if path else found[0].path in ((), found[0].path)
        assert found[0].asked != found[0].there
        assert advice(name, found[0])


#: Several things at once, in the order in which they are to be told.
SEVERAL: dict[str, tuple[tuple[str, Change], Field]] = {
    "platform": (("*", put("arch", "platform", to="darwin")), Field.PLATFORM),
    "target": (("*", target("zen4")), Field.TARGET),
    "os": (("*", put("arch", "platform_os", to="ubuntu24.04")), Field.OS),
    "compiler": (GCC13[0], Field.COMPILER),
    "version": (("c-blosc", put("version", to="99.1")), Field.VERSION),
    "variant": (("c-blosc", put("parameters", "build_type", to="Debug")), Field.VARIANT),
    "below": (("zstd", put("version", to="0.1")), Field.VERSION),
    "recipe": (("c-blosc", put("package_hash", to="x" * 52)), Field.RECIPE),
}
NAMES = list(SEVERAL)
PAIRS = [(a, b) for at, a in enumerate(NAMES) for b in NAMES[at + 1 :]]
TRIPLES = [(a, b, c) for at, (a, b) in enumerate(PAIRS) for c in NAMES[NAMES.index(b) + 1 :] if at % 2 == 0]


@pytest.mark.parametrize("chosen", [*PAIRS, *TRIPLES, tuple(NAMES)], ids="+".join)
def test_the_most_decisive_comes_first(chosen: tuple[str, ...]) -> None:
    assert len(PAIRS) + len(TRIPLES) > 20
    ours = dag("c-blosc")
    found = differences(spec(ours), spec(changed(ours, *(SEVERAL[name][0] for name in chosen))))
    assert [one.field for one in found if one.path[-1:] != ("gcc-runtime",)] == [SEVERAL[name][1] for name in chosen], found


def test_another_provider_is_one_difference() -> None:
    ours = dag("hwloc")
    other = make_node("mine-xml")
    theirs = changed([*ours, other], ("hwloc", forget("libxml2")), ("hwloc", need("mine-xml", other["hash"], ("xml",))))
    mine = changed(
        ours, ("hwloc", forget("libxml2")), ("hwloc", need("libxml2", next(n["hash"] for n in ours if n["name"] == "libxml2"), ("xml",)))
    )
    (found,) = differences(spec(mine), spec(theirs))
    assert (found.field, found.name, found.asked, found.there) == (Field.DEPENDENCY, "xml", "libxml2", "mine-xml")
    assert advice("hwloc", found) == "spack install hwloc ^mine-xml"


def test_flags_are_told_as_they_are_typed() -> None:
    ours, some = dag("hwloc"), changed(dag("hwloc"), ("hwloc", put("parameters", "cflags", to=["-O3", "-g"])))
    (found,) = differences(spec(ours), spec(some))
    assert (found.asked, found.there) == ("", "cflags=-O3 -g")
    (found,) = differences(spec(some), spec(ours))
    assert (found.asked, found.there) == ("cflags=-O3 -g", "")


def test_what_follows_from_the_compiler_hides_nothing_else() -> None:
    """The system of a runtime goes without saying where its compiler is another; that of what comes after it in the alphabet doesn't."""
    ours = dag("c-blosc")
    moved = [(name, put("arch", "platform_os", to="ubuntu24.04")) for name in ("gcc-runtime", "zstd")]
    several = differences(spec(ours), spec(changed(ours, GCC13[0], *moved)))
    assert [(one.field, one.path[-1:]) for one in several] == [(Field.COMPILER, ()), (Field.OS, ("zstd",))]
    # Where the compiler of a runtime is all that differs, that is told.
    gcc = {at: make_node("gcc", at) for at in ("12", "13")}
    made = []
    for at, node in gcc.items():
        edge = {"name": "gcc", "hash": node["hash"], "parameters": {"deptypes": ["build"], "virtuals": ["c"]}}
        runtime = make_node("gcc-runtime", "12", dependencies=[edge])
        runtime["dependencies"] = [edge]
        runtime["hash"] = dag_hash({key: value for key, value in runtime.items() if key != "hash"})
        made.append(spec([make_node("alone", dependencies=[runtime]), runtime, node]))
        assert at
    (found,) = differences(*made)
    assert (found.field, found.asked, found.there) == (Field.COMPILER, "gcc@12", "gcc@13")


def older(ours: ConcreteSpec) -> ConcreteSpec:
    """The same in format 4, which tells of the compiler as a field, and of no libc, no runtime and no wrapper; another version of it."""
    nodes = {h: node.raw for h, node in ours.nodes.items()}
    for node in nodes.values():
        name, _, version = ours.compilers()[0].partition("@")
        node["compiler"] = {"name": name, "version": version}
        gone = ("gcc", "glibc", "gcc-runtime", "compiler-wrapper")
        node["dependencies"] = [edge for edge in node.get("dependencies", ()) if edge["name"] not in gone]
    root = {**nodes.pop(ours.root.hash), "version": "0.0.1", "hash": "a" * 32}
    return parse_spec({"spec": {"_meta": {"version": 4}, "nodes": [root, *nodes.values()]}})


def test_a_build_of_the_older_format_lacks_nothing_that_its_format_does_not_tell() -> None:
    ours = spec(dag("yaml-cpp"))
    for asked, there in ((ours, older(ours)), (older(ours), ours)):
        assert [(one.field, one.path) for one in differences(asked, there)] == [(Field.VERSION, ())]


@pytest.mark.parametrize("odd", [5, "x", {"a": 1}, True, None, [None, {}]])
def test_patches_that_are_none_are_no_trouble(odd: object) -> None:
    ours = dag("yaml-cpp")
    assert differences(spec(ours), spec(changed(ours, ("yaml-cpp", put("parameters", "patches", to=odd)))))


def test_the_nearest_build_is_told_of() -> None:
    ours = dag("c-blosc")
    debug = changed(ours, ("c-blosc", put("parameters", "build_type", to="Debug")))
    mac = changed(ours, ("*", put("arch", "platform", to="darwin")))
    old = changed(ours, ("*", target("x86_64")), ("c-blosc", put("version", to="1.0")))
    catalog = make_catalog(mac, old, debug)
    found = answer(spec(ours), catalog)
    assert (found.present, found.builds) == (False, 3)
    assert [near.spec.root.hash for near in found.near] == [nodes[0]["hash"] for nodes in (debug, old, mac)]
    report = why_report(found, "ghcr.io/o/r/v1.1")
    assert report.lines[0].startswith("why: c-blosc@1.21.6/")
    assert report.lines[1] == "  variant build_type: build_type=Release is asked for, build_type=Debug is there"
    assert report.lines[2].strip() == "spack install c-blosc build_type=Debug"
    assert report.lines[3] == f"  that build as it is: spack install --use-buildcache only /{debug[0]['hash']}"
    assert report.data[0]["near"][0]["differences"][0]["field"] == "variant"
    assert answer(spec(debug), catalog).present
    assert "is in ghcr.io" in why_report(answer(spec(debug), catalog), "ghcr.io/o/r").text
    assert "has no build of sqlite" in why_report(answer(spec(dag("sqlite")), catalog), "r").text


def test_of_what_is_there_the_rest_may_be_missing() -> None:
    """Spack takes the build itself, and builds what it needs and the cache lost: that is the answer, not that all is well."""
    ours = dag("c-blosc")
    whole = [spec(ours).nodes[h] for h in spec(ours).nodes]
    needed = {node.hash for node in spec(ours).runtime_closure()}
    dags = [[node.raw for node in spec([node.raw, *(one.raw for one in whole)]).nodes.values()] for node in whole if node.hash in needed]
    all_there, without = make_catalog(*dags), make_catalog(*(one for one in dags if one[0]["name"] not in ("zstd", "lz4")))
    assert answer(spec(ours), all_there).lacks == ()
    found = answer(spec(ours), without)
    assert found.present
    assert {node.name for node in found.lacks} == {"zstd", "lz4"}
    report = why_report(found, "r")
    assert report.lines[0].endswith("is in r, but 2 that it needs are not: Spack builds those")
    assert [line.partition("@")[0] for line in sorted(report.lines[1:])] == ["  lz4", "  zstd"]
    assert summary([found, answer(spec(ours), all_there)], "r").text == "why: 2 of 2 specs are in r, 1 of them without all that they need"


def test_a_build_that_this_processor_runs_is_nearer_than_one_for_another() -> None:
    ours = changed(dag("yaml-cpp"), ("*", target("zen4")))
    others = {name: changed(ours, ("*", target(name))) for name in ("neoverse_v1", "x86_64_v3", "zen5", "power9le")}
    found = answer(spec(ours), make_catalog(*others.values()))
    assert [near.spec.root.target for near in found.near][:2] == ["x86_64_v3", "zen5"]


def test_of_very_many_builds_the_nearest_is_found() -> None:
    ours = dag("yaml-cpp")
    many = [changed(ours, ("yaml-cpp", put("version", to=f"0.{at}"))) for at in range(60)]
    nearest = changed(ours, ("yaml-cpp", put("package_hash", to="z" * 52)))
    found = answer(spec(ours), make_catalog(*many, nearest))
    assert found.builds == 61
    assert found.near[0].spec.root.hash == nearest[0]["hash"]


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (Difference(field=Field.TARGET, asked="zen4", there="x86_64_v3"), "spack install hdf5 target=x86_64_v3"),
        (Difference(field=Field.TARGET, asked="x86_64_v2", there="x86_64_v3"), "where the processor is as new"),
        (Difference(field=Field.TARGET, asked="zen4", there="neoverse_v1"), "machines of another kind"),
        (Difference(field=Field.VERSION, asked="2", there="1"), "spack install hdf5@1"),
        (Difference(field=Field.VERSION, asked="2", there="1", path=("mpi", "zlib")), "spack install hdf5 ^zlib@1"),
        (Difference(field=Field.VARIANT, asked="+mpi", there="~mpi", name="mpi"), "spack install hdf5 ~mpi"),
        (Difference(field=Field.VARIANT, asked="+pic", there="~pic", name="pic", path=("zlib",)), "spack install hdf5 ^zlib~pic"),
        (Difference(field=Field.VARIANT, asked="a=1", there="a=2", name="a", path=("zlib",)), "spack install hdf5 ^zlib a=2"),
        (Difference(field=Field.VARIANT, asked="+new", there="", name="new"), "has no new"),
        (Difference(field=Field.COMPILER, asked="gcc@13.3.0", there="gcc@12.2.0"), "spack install hdf5 %gcc@12.2.0"),
        (Difference(field=Field.EXTERNAL, asked="/usr", there="", path=("zlib",)), "let Spack build zlib"),
        (Difference(field=Field.EXTERNAL, asked="", there="/usr", path=("zlib",)), "make zlib an external"),
        (Difference(field=Field.DEPENDENCY, asked="zlib", there="", name="zlib"), "does without zlib"),
        (Difference(field=Field.RECIPE, asked="a", there="b"), "another commit"),
        # Of a dependency, what is typed is for that one.
        (Difference(field=Field.TARGET, asked="zen4", there="x86_64_v3", path=("zlib",)), "spack install hdf5 ^zlib target=x86_64_v3"),
        (Difference(field=Field.COMPILER, asked="gcc@13", there="gcc@12", path=("a", "zlib")), "spack install hdf5 ^zlib %gcc@12"),
        (Difference(field=Field.FLAGS, asked="", there="cflags=-O2 -g", name="cflags"), "spack install hdf5 'cflags=-O2 -g'"),
        (Difference(field=Field.FLAGS, asked="cflags=-O2", there="", name="cflags"), "took no cflags"),
        (Difference(field=Field.VARIANT, asked="a=1", there="a=$(id); x", name="a"), "spack install hdf5 'a=$(id); x'"),
        (Difference(field=Field.VARIANT, asked="~a`id`", there="+a`id`", name="a`id`", path=("z",)), "spack install hdf5 ^z'+a`id`'"),
        (Difference(field=Field.EXTERNAL, asked="/usr", there="/opt/x", path=("zlib",)), "took the zlib in /opt/x"),
        (Difference(field=Field.DEPENDENCY, asked="", there="zlib", name="zlib"), "takes besides zlib: a variant"),
    ],
)  # fmt: skip
def test_what_to_do(one: Difference, text: str) -> None:
    assert text in advice("hdf5", one)
