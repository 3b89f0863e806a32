"""The catalog: cut into shards and put together, grown and shrunk, it stays what it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.catalog import WIDE_SHARDS, Catalog, CatalogEntry, from_shards, merge, shard_key, to_shards
from cachelib.model.database import database, index_files
from cachelib.model.digest import Digest
from cachelib.model.errors import FormatError
from cachelib.model.oci import LAYER_GZIP, MANIFEST, Descriptor, spec_tag
from cachelib.steps.indexing import spack_index
from tests.support.mirrors import make_node


def described(text: str, media_type: str = LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(text.encode()), size=len(text))


def entry(node: dict[str, Any], *below: dict[str, Any], spec_format: int = 5) -> tuple[CatalogEntry, dict[str, Any]]:
    nodes = {n["hash"]: n for n in (node, *below)}
    made = CatalogEntry(
        hash=node["hash"], tag=spec_tag(node["name"], node["version"], node["hash"]), spec_format=spec_format,
        manifest=described(node["hash"], MANIFEST), tarball=described("t" + node["hash"]), diff_id=Digest.of(b"d"),
        layer_count=1 + len(below), layers_size=10, annotations={"b": "2", "a": "1"}, nodes=tuple(nodes),
    )  # fmt: skip
    return made, nodes


LIBRARY = make_node("library")
PROGRAM = make_node("program", dependencies=[LIBRARY])
OTHER = make_node("other", dependencies=[LIBRARY])
BOTH = [entry(PROGRAM, LIBRARY), entry(OTHER, LIBRARY)]


def catalog(*added: tuple[CatalogEntry, dict[str, Any]]) -> Catalog:
    return merge(Catalog(), frozenset(), added)


def test_shards_give_the_catalog_back() -> None:
    made = catalog(*BOTH)
    text = json.dumps(to_shards(made))
    assert from_shards(json.loads(text).values()) == made


@given(st.permutations(BOTH))
def test_order_does_not_matter(order: list[tuple[CatalogEntry, dict[str, Any]]]) -> None:
    assert json.dumps(to_shards(catalog(*order))) == json.dumps(to_shards(catalog(*BOTH)))
    assert catalog(*order) == merge(catalog(order[0]), frozenset(), order[1:])


def test_what_goes_takes_the_nodes_that_nobody_needs() -> None:
    left = merge(catalog(*BOTH), frozenset({BOTH[0][0].tag}), ())
    assert left == catalog(BOTH[1])
    assert set(left.nodes) == {OTHER["hash"], LIBRARY["hash"]}


def test_the_whole_spec_comes_back() -> None:
    spec = catalog(*BOTH).spec(PROGRAM["hash"])
    assert [node.name for node in spec.runtime_closure()] == ["library", "program"]


def test_shards_grow_in_number() -> None:
    assert shard_key("abc", WIDE_SHARDS) == "a"
    assert shard_key("abc", WIDE_SHARDS + 1) == "ab"


@pytest.mark.parametrize(
    "change",
    [lambda s: s["meta"].update(version=2), lambda s: s.pop("nodes"), lambda s: s["nodes"].clear(), lambda s: s["entries"].update(x={}),
     lambda s: next(iter(s["entries"].values())).update(tag="../x"), lambda s: s.update(entries=[])],
)  # fmt: skip
def test_a_damaged_shard_is_refused(change: Any) -> None:
    made = catalog(entry(LIBRARY))
    (shard,) = json.loads(json.dumps(to_shards(made))).values()
    change(shard)
    with pytest.raises(FormatError):
        from_shards([shard])


def test_spacks_index_counts_what_is_there() -> None:
    found = json.loads(spack_index(catalog(BOTH[0])))["database"]
    assert found["version"] == "8"
    assert {h: (row["in_buildcache"], row["ref_count"], row["spec"]["name"]) for h, row in found["installs"].items()} == {
        PROGRAM["hash"]: (True, 0, "program"),
        LIBRARY["hash"]: (False, 1, "library"),
    }


def test_older_formats_are_kept_but_not_indexed() -> None:
    made = catalog(entry(LIBRARY, spec_format=4), BOTH[0])
    found = json.loads(spack_index(made))["database"]["installs"]
    assert found[LIBRARY["hash"]]["in_buildcache"] is False
    assert len(made.entries) == 2


def test_the_files_of_an_index_name_each_other() -> None:
    data = database({LIBRARY["hash"]: LIBRARY}, [LIBRARY["hash"]])
    (blob, written), (layout, _), (manifest, text) = index_files(data)
    record = json.loads(text)["data"][0]
    assert (written, record["contentLength"]) == (data, len(data))
    assert blob.as_posix() == f"blobs/sha256/{record['checksum'][:2]}/{record['checksum']}"
    assert (layout.as_posix(), manifest.as_posix()) == ("v3/layout.json", "v3/manifests/index/index.manifest.json")
    # gpg cuts lines of 20,000 characters; the manifest may be signed.
    assert max(map(len, text.decode().splitlines())) < 200
