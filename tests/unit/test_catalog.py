"""The catalog: cut into shards and put together; its database, grown and shrunk, stays what it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.catalog import WIDE_SHARDS, Catalog, CatalogEntry, by_shard, from_shard, shard_width, to_shards
from cachelib.model.database import Database, change, index_files, parse_database
from cachelib.model.digest import Digest
from cachelib.model.entry import entry_name
from cachelib.model.errors import FormatError
from cachelib.model.oci import LAYER_GZIP, MANIFEST, Descriptor, compact_json, spec_tag
from cachelib.model.spec import parse_spec
from tests.support.mirrors import make_catalog, make_node


def described(text: str, media_type: str = LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(text.encode()), size=len(text))


def entry(node: dict[str, Any], *, spec_format: int = 5) -> CatalogEntry:
    return CatalogEntry(
        hash=node["hash"], tag=spec_tag(node["name"], node["version"], node["hash"]), spec_format=spec_format,
        manifest=described(node["hash"], MANIFEST), tarball=described("t" + node["hash"]), diff_id=Digest.of(b"d"),
        layer_count=1, layers_size=10, annotations={"b": "2", "a": "1"},
    )  # fmt: skip


LIBRARY = make_node("library")
PROGRAM = make_node("program", dependencies=[LIBRARY])
OTHER = make_node("other", dependencies=[LIBRARY])


def added(*dags: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, bytes]]]:
    return [(nodes[0]["hash"], {node["hash"]: compact_json(node) for node in nodes}) for nodes in dags]


def rows(database: Database) -> dict[str, tuple[str, int, bool]]:
    found = json.loads(database.data())["database"]
    assert found["version"] == "8"
    return {row["spec"]["name"]: (h, row["ref_count"], row["in_buildcache"]) for h, row in found["installs"].items()}


def test_shards_give_the_entries_back() -> None:
    entries = [entry(node) for node in (LIBRARY, PROGRAM, OTHER)]
    shards = to_shards(entries, 1)
    assert {h: e for text in shards.values() for h, e in from_shard(json.loads(text)).items()} == {e.hash: e for e in entries}
    assert to_shards(entries[::-1], 1) == shards


def test_tags_and_entries_are_cut_alike() -> None:
    entries = [entry(make_node(f"n{at}")) for at in range(50)]
    for width in (1, 2):
        assert by_shard((e.tag for e in entries), width).keys() == to_shards(entries, width).keys()


def test_shards_grow_in_number() -> None:
    assert (shard_width(WIDE_SHARDS), shard_width(WIDE_SHARDS + 1)) == (1, 2)


@pytest.mark.parametrize(
    "change",
    [lambda s: s["meta"].update(version=1), lambda s: s.pop("entries"), lambda s: s["entries"].update(x={}),
     lambda s: next(iter(s["entries"].values())).update(tag="../x"), lambda s: s.update(entries=[])],
)  # fmt: skip
def test_a_damaged_shard_is_refused(change: Any) -> None:
    (text,) = to_shards([entry(LIBRARY)], 1).values()
    shard = json.loads(text)
    change(shard)
    with pytest.raises(FormatError):
        from_shard(shard)


def test_the_database_counts_what_is_there() -> None:
    assert rows(change(Database(), added=added([PROGRAM, LIBRARY]))) == {
        "program": (PROGRAM["hash"], 0, True),
        "library": (LIBRARY["hash"], 1, False),
    }


def test_a_database_comes_back_from_its_bytes() -> None:
    for made in (Database(), change(Database(), added=added([PROGRAM, LIBRARY], [OTHER, LIBRARY]))):
        assert parse_database(made.data()) == made
        assert made.present() == frozenset() or made.present() == {PROGRAM["hash"], OTHER["hash"]}


@pytest.mark.parametrize("data", [b"", b"{}", b'{"database":{"version":"8","installs":{}}}', Database().data()[:-1]])
def test_a_database_of_others_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_database(data)


def test_what_goes_takes_the_nodes_that_nobody_needs() -> None:
    both = change(Database(), added=added([PROGRAM, LIBRARY], [OTHER, LIBRARY]))
    assert change(both, gone=[PROGRAM["hash"]]) == change(Database(), added=added([OTHER, LIBRARY]))
    assert change(both, gone=[PROGRAM["hash"], OTHER["hash"]]) == Database()


def test_a_node_of_two_minds_is_remembered() -> None:
    external = make_node("gcc", external={"path": "/usr", "extra_attributes": {"a": "1"}})
    other = {**external, "external": {"path": "/usr", "extra_attributes": {"a": "2"}}}
    one, two = make_node("one", dependencies=[external]), make_node("two", dependencies=[external])
    ways = [added([one, external], [two, other]), added([two, other], [one, external])]
    first, second = (change(Database(), added=way) for way in ways)
    assert first == second
    assert first.mixed
    assert not change(Database(), added=added([one, external], [two, external])).mixed


@st.composite
def dags(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Specs over a shared pool of nodes, each with its whole DAG, root first."""
    pool: list[tuple[dict[str, Any], dict[str, dict[str, Any]]]] = []
    for at in range(draw(st.integers(1, 12))):
        below = draw(st.lists(st.sampled_from(pool), max_size=4, unique_by=lambda p: p[0]["hash"])) if pool else []
        node = make_node(f"n{at}", dependencies=[b[0] for b in below])
        closure = {node["hash"]: node}
        for _, nodes in below:
            closure |= nodes
        pool.append((node, closure))
    return [list(closure.values()) for _, closure in draw(st.lists(st.sampled_from(pool), unique_by=lambda p: p[0]["hash"]))]


@given(dags(), st.data())
def test_grown_and_shrunk_equals_made_from_nothing(specs: list[list[dict[str, Any]]], data: st.DataObject) -> None:
    left = data.draw(st.lists(st.sampled_from(specs), unique_by=lambda nodes: nodes[0]["hash"])) if specs else []
    kept = {nodes[0]["hash"] for nodes in left}
    database = Database()
    for nodes in data.draw(st.permutations(specs)):
        database = parse_database(change(database, added=added(nodes)).data())
    for nodes in data.draw(st.permutations(specs)):
        if nodes[0]["hash"] not in kept:
            database = parse_database(change(database, gone=[nodes[0]["hash"]]).data())
    assert database.data() == change(Database(), added=added(*left)).data()


def test_the_whole_spec_comes_back_in_spacks_order() -> None:
    nodes = [make_node("z")]
    nodes += [make_node("b", dependencies=nodes[:1]), make_node("a")]
    root = make_node("root", dependencies=[nodes[1], nodes[2], nodes[0]])
    catalog = make_catalog([root, *nodes], older=[make_node("old")])
    assert [node.name for node in catalog.spec(root["hash"]).nodes.values()] == ["root", "a", "b", "z"]
    assert catalog.spec(make_node("old")["hash"]).format == 4
    assert catalog.spec(root["hash"]) == parse_spec({"spec": {"_meta": {"version": 5}, "nodes": [root, nodes[2], nodes[1], nodes[0]]}})


def test_a_catalog_without_a_node_says_so() -> None:
    made = make_catalog([PROGRAM, LIBRARY])
    broken = Catalog(entries=made.entries, database=Database(lines={PROGRAM["hash"]: made.database.lines[PROGRAM["hash"]]}))
    with pytest.raises(FormatError, match="not its node"):
        broken.spec(PROGRAM["hash"])


def test_the_name_of_an_entrys_file_tells_its_tag() -> None:
    from pathlib import PurePosixPath

    for version in ("1.0", "git.feature_x=1.0", "1.0" + "9" * 150):
        stem = f"zlib-{version}-{LIBRARY['hash']}"
        name = entry_name(PurePosixPath("v3/manifests/spec/zlib", f"{stem}.spec.manifest.json"))
        assert (name.tag, name.hash, name.name) == (spec_tag("zlib", version, LIBRARY["hash"]), LIBRARY["hash"], "zlib")
        assert name.label == f"zlib@{version}/{LIBRARY['hash'][:7]}"
    with pytest.raises(FormatError):
        entry_name(PurePosixPath("zlib/zlib-1.0.spec.manifest.json"))


def test_the_files_of_an_index_name_each_other() -> None:
    data = change(Database(), added=added([LIBRARY])).data()
    (blob, written), (layout, _), (manifest, text) = index_files(data)
    record = json.loads(text)["data"][0]
    assert (written, record["contentLength"]) == (data, len(data))
    assert blob.as_posix() == f"blobs/sha256/{record['checksum'][:2]}/{record['checksum']}"
    assert (layout.as_posix(), manifest.as_posix()) == ("v3/layout.json", "v3/manifests/index/index.manifest.json")
    # gpg cuts lines of 20,000 characters; the manifest may be signed.
    assert max(map(len, text.decode().splitlines())) < 200


def test_the_builds_of_a_package_are_found_by_its_name() -> None:
    """Names that begin alike, and tags that are cut as they are too long (Spack, oci/image.py: 64 characters of each end)."""
    long = "n" * 100
    nodes = [make_node(name, version) for name in ("a", "a-b", "a-1", "ab", long, f"{long}-x") for version in ("1.0", "b-2")]
    catalog = make_catalog(*([node] for node in nodes))
    for name in ("a", "a-b", "a-1", "ab", long, f"{long}-x"):
        assert catalog.named(name) == sorted(node["hash"] for node in nodes if node["name"] == name)
    for name in ("", "b", "a-", "n" * 64, "zz"):
        assert catalog.named(name) == []
    gone = replace(catalog, entries={h: one for h, one in catalog.entries.items() if catalog.name(h) != "a"})
    assert gone.named("a") == []
    assert len(gone.named("a-b")) == 2
