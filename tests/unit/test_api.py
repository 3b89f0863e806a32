"""The static API: whole by links alone, each file as its schema says, the counts the catalog's, and nothing hostile comes through."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachelib.model.catalog import Catalog
from cachelib.model.config import Site
from cachelib.model.digest import Digest
from cachelib.model.entry import SPEC, find_blob, parse_blob_records
from cachelib.model.errors import FormatError
from cachelib.model.failure import Failure
from cachelib.model.record import Origin
from cachelib.model.site import SiteImage, page_path
from cachelib.model.spec import dag_hash
from cachelib.steps.api import dependents, packages, recents, spec_files, specs, text, totals
from cachelib.steps.api.dependents import package_dependents
from cachelib.steps.api.endpoints import ENDPOINTS, PARAMETERS
from cachelib.steps.api.files import api
from cachelib.steps.api.first_generation import first_generation
from cachelib.steps.api.openapi import openapi
from cachelib.steps.api.schema import api_schema
from cachelib.steps.api.service import service
from cachelib.steps.collecting import collect
from cachelib.steps.image import PREFIX
from tests.support.api_client import ROOT, check, endpoint_of, expand, strict, walk
from tests.support.caches import made_catalog, made_wanted
from tests.support.mirrors import make_catalog, make_node

PROJECT = Path(__file__).resolve().parents[2]
OCI = "org.opencontainers.image."
SITE = Site(url="https://o.github.io/r", keys=("https://o.github.io/key.pub",))
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;\x00\x1b[31m\u202e\ud800\u2028../../../etc/passwd"


def image_of(catalog: Catalog, name: str = "v1.1", failures: Mapping[str, Failure] | None = None) -> SiteImage:
    return SiteImage(
        name=name, mirror_url=f"oci://ghcr.io/o/r/{name}", reference=f"ghcr.io/o/r/{name}", catalog=catalog, failures=failures or {}
    )


def files_of(*images: SiteImage, site: Site = SITE) -> dict[str, bytes]:
    digests = {image.name: Digest.of(image.catalog.database.data()) for image in images}
    found: dict[str, bytes] = {}
    contents = collect(images)
    for made in api(site, contents, digests, package_dependents(contents)):
        path, data = made.file
        assert path.as_posix() not in found
        found[path.as_posix()] = data
    return found


def example() -> Catalog:
    """The catalog of the mirror that ships."""
    mirror = PROJECT / "examples/mirror"
    dags = []
    for path in sorted(mirror.glob("v3/manifests/spec/*/*.json")):
        digest = find_blob(parse_blob_records(path.read_bytes()), SPEC).digest
        dags.append(json.loads(gzip.decompress((mirror / "blobs/sha256" / digest.hex[:2] / digest.hex).read_bytes()))["spec"]["nodes"])
    assert len(dags) == 2
    return make_catalog(*dags)


def failure(h: str, label: str = "broken@1.0/abcdefg", **more: Any) -> Failure:
    return Failure(
        hash=h, label=label, phase="build", message="it failed", error_lines=("error: no",), since="2026-01-01T00:00:00Z",
        last="2026-01-03T00:00:00Z", times=2, origin=Origin(stack="s", run="https://github.com/o/r/actions/runs/1"),
        log=f"sha256:{'a' * 64}", spec="", **more,
    )  # fmt: skip


def made(count: int = 150) -> SiteImage:
    h = make_node("broken")["hash"]
    catalog = made_catalog(count)
    return replace(image_of(catalog, failures={h: failure(h)}), wanted=(made_wanted(catalog, h),))


IMAGES: dict[str, Sequence[SiteImage]] = {
    "made": [made()],
    "example": [image_of(example())],
    "empty": [image_of(Catalog())],
    "none": [],
    "two": [made(60), image_of(made_catalog(100), "v1.0")],
    "older": [image_of(make_catalog(older=[make_node("zlib", compiler={"name": "gcc", "version": "12"})]))],
}


@pytest.fixture(params=IMAGES, scope="module")
def images(request: pytest.FixtureRequest) -> Sequence[SiteImage]:
    return IMAGES[request.param]


def test_links_alone_lead_to_every_file(images: Sequence[SiteImage]) -> None:
    files = files_of(*images)
    assert walk(files).keys() == files.keys()


def test_each_file_is_as_its_schema_says(images: Sequence[SiteImage]) -> None:
    files = files_of(*images)
    checked = 0
    for path, data in files.items():
        if path not in (f"{ROOT}openapi.json", f"{ROOT}schema.json"):
            check(path, strict(data))
            checked += 1
    assert checked >= 11
    assert json.loads(files[f"{ROOT}openapi.json"]) == openapi()
    assert json.loads(files[f"{ROOT}schema.json"]) == api_schema()


def test_every_kind_of_body_is_written_and_described() -> None:
    kinds = {endpoint_of(path).kind for path in walked() if not path.endswith(("openapi.json", "schema.json"))}
    assert kinds | {"package-builds", "dependent-part"} == {endpoint.kind for endpoint in ENDPOINTS}


def walked() -> dict[str, Any]:
    return walk(files_of(*IMAGES["made"]))


def test_the_schema_tells_one_kind_from_another() -> None:
    validator = jsonschema.Draft202012Validator(api_schema())
    service = json.loads(files_of(*IMAGES["example"])[f"{ROOT}index.json"])
    validator.validate(service)
    assert not validator.is_valid({**service, "meta": {"api": "2.0", "kind": "service"}})
    assert not validator.is_valid({**service, "meta": {"api": "1.0", "kind": "specs"}})


def test_counts_are_the_catalogs(images: Sequence[SiteImage]) -> None:
    bodies = walk(files_of(*images))
    entries = [(image.name, h) for image in images for h in image.catalog.entries]
    service = bodies[f"{ROOT}index.json"]
    listed = [package for path, body in bodies.items() if "/package-lists/" in path for package in body["packages"]]
    in_packages = [(b["image"], b["hash"]) for p, body in bodies.items() if is_kind(body, "package") for b in body["builds"]]
    in_shards = [
        (b["image"], h) for body in bodies.values() if is_kind(body, "spec-shard") for h, s in body["specs"].items() for b in s["builds"]
    ]
    in_history = [(b["image"], b["hash"]) for body in bodies.values() if is_kind(body, "history") for b in body["builds"]]
    assert sorted(in_packages) == sorted(in_shards) == sorted(in_history) == sorted(entries)
    assert service["counts"]["builds"] == len(entries) == sum(package["builds"] for package in listed)
    assert service["counts"]["packages"] == len(listed) == bodies[f"{ROOT}packages.json"]["count"]
    assert sum(image["builds"] for image in service["images"]) == len(entries)
    assert sum(row["builds"] for row in bodies[f"{ROOT}coverage.json"]["coverage"]) == len(entries)
    assert sum(row["builds"] for row in bodies[f"{ROOT}targets.json"]["targets"]) == len(entries)
    assert service["size"] == sum({e.tarball.digest: e.tarball.size for i in images for e in i.catalog.entries.values()}.values())


def is_kind(body: Any, kind: str) -> bool:
    return bool(body.get("meta", {}).get("kind") == kind)


def test_each_package_holds_its_own_specs() -> None:
    """The first generation paired eleven of twelve pages with another package's spec."""
    image = IMAGES["made"][0]
    bodies = walk(files_of(image))
    templates = bodies[f"{ROOT}index.json"]["templates"]
    checked = 0
    for path, body in bodies.items():
        if not is_kind(body, "package"):
            continue
        assert path == ROOT + expand(templates["package"], path=page_path(body["name"]))
        for build in body["builds"]:
            spec = bodies[ROOT + expand(templates["spec-shard"], hash=build["hash"])]["specs"][build["hash"]]
            node, (told,) = spec["node"], spec["builds"]
            assert (node["name"], node["version"], spec["package"]) == (body["name"], build["version"], body["path"])
            assert dag_hash(node) == build["hash"] == node["hash"]
            assert told["reference"].endswith(f":{body['name']}-{build['version']}-{build['hash']}.spack")
            assert told["digest"] == str(image.catalog.entries[build["hash"]].manifest.digest)
            assert told["size"] == build["size"]
            whole = bodies[ROOT + told["specFile"]["path"]]["spec"]
            assert whole["nodes"][0] == node
            assert [n["hash"] for n in whole["nodes"]] == list(image.catalog.spec(build["hash"]).nodes)
            checked += 1
    assert checked == len(image.catalog.entries) == 150


def test_each_node_stands_once_and_every_dependency_is_found() -> None:
    bodies = walked()
    nodes = [(h, spec) for body in bodies.values() if is_kind(body, "spec-shard") for h, spec in body["specs"].items()]
    found = dict(nodes)
    assert len(found) == len(nodes) == len(IMAGES["made"][0].catalog.database.lines) > 150
    dependents = {h: row for body in bodies.values() if is_kind(body, "dependent-shard") for h, row in body["specs"].items()}
    expected: dict[str, set[str]] = {}
    for h, spec in found.items():
        for edge in spec["node"].get("dependencies", ()):
            assert edge["hash"] in found
            if spec["builds"]:
                expected.setdefault(edge["hash"], set()).add(h)
    assert {h: set(row["dependents"]) for h, row in dependents.items()} == expected
    assert all(row["count"] == len(row["dependents"]) for row in dependents.values())


def test_dependents_of_packages() -> None:
    library = make_node("zlib")
    program, other = make_node("Program", dependencies=[library]), make_node("other", dependencies=[library])
    bodies = walk(files_of(image_of(make_catalog([program, library], [other, library], [library]))))
    assert bodies[f"{ROOT}packages/zlib.json"]["dependents"] == {
        "count": 2, "packages": [{"name": "Program", "path": page_path("Program")}, {"name": "other", "path": "other"}],
    }  # fmt: skip


def test_what_is_needed_and_not_published_is_told() -> None:
    deep, external = make_node("deep"), make_node("glibc", "2.36", external={"path": "/usr"})
    middle = make_node("middle", dependencies=[deep, external])
    program = make_node("program", dependencies=[middle])
    bodies = walk(files_of(image_of(make_catalog([program, middle, deep, external], [middle, deep, external]))))
    spec = bodies[f"{ROOT}specs/{program['hash'][:2]}.json"]["specs"][program["hash"]]
    assert spec["builds"][0]["missing"] == [deep["hash"]]
    assert spec["builds"][0]["libc"] == "glibc@2.36"
    below = bodies[f"{ROOT}specs/{deep['hash'][:2]}.json"]["specs"][deep["hash"]]
    assert (below["builds"], below["package"], below["node"]["name"]) == ([], None, "deep")


def test_where_a_build_comes_from() -> None:
    body = walked()
    image = IMAGES["made"][0]
    h, entry = next(iter(image.catalog.entries.items()))
    shard = body[f"{ROOT}specs/{h[:2]}.json"]
    (build,) = shard["specs"][h]["builds"]
    assert build["created"] == entry.annotations[f"{OCI}created"]
    assert build["seconds"] == float(entry.annotations[f"{PREFIX}build.seconds"])
    assert build["run"] == entry.annotations[f"{PREFIX}build.run"]
    assert build["digest"] == str(entry.manifest.digest)
    assert shard["sources"][build["source"]] == {
        "stack": "everything", "spack": {"version": "v1.1.0", "commit": "2e907202bcc8209a6a62243aab50c179b524cc3b"},
        "packages": {"version": "v2025.11.0", "commit": "2e907202bcc8209a6a62243aab50c179b524cc3c"},
        "source": "https://github.com/owner/cache", "revision": "0123456789abcdef0123456789abcdef01234567",
        "attestation": "https://api.github.com/repos/owner/cache/attestations/{digest}",
    }  # fmt: skip
    assert build["libc"] == image.catalog.spec(h).libc()
    assert build["compilers"] == list(image.catalog.spec(h).compilers())


def test_failures() -> None:
    bodies = walked()
    h = make_node("broken")["hash"]
    ((told,),) = bodies[f"{ROOT}failures/{h[:2]}.json"]["failures"].values()
    assert (told["hash"], told["times"], told["nextTry"], told["stack"]) == (h, 2, "2026-01-05T00:00:00Z", "s")
    assert told["log"] == f"ghcr.io/o/r/v1.1@sha256:{'a' * 64}"
    assert told["spec"] is None
    assert bodies[f"{ROOT}failures.json"]["last"][0].items() <= told.items()
    assert bodies[f"{ROOT}index.json"]["counts"]["failures"] == 1


def test_recents_come_newest_first_and_full_pages_stay() -> None:
    def pages_of(count: int) -> dict[str, bytes]:
        nodes = [make_node(f"p{at}") for at in range(count)]
        made = make_catalog(*([node] for node in nodes))
        times = {node["hash"]: f"2026-01-{at // 1440 + 1:02}T{at // 60 % 24:02}:{at % 60:02}:00Z" for at, node in enumerate(nodes)}
        entries = {h: replace(entry, annotations={f"{OCI}created": times[h]}) for h, entry in made.entries.items()}
        return {one.path: one.data for one in recents.recents(collect([image_of(replace(made, entries=entries))]))}

    files = pages_of(2100)
    last = json.loads(files["recents.json"])
    times = [build["created"] for build in last["builds"]]
    assert times == sorted(times, reverse=True)
    assert len(times) == 100
    pages = [json.loads(files[f"history/{number}.json"]) for number in (1, 2, 3)]
    assert [len(page["builds"]) for page in pages] == [1000, 1000, 100]
    assert (last["links"]["previous"], pages[2]["links"]["previous"]) == ("history/3.json", "history/2.json")
    later = pages_of(2110)
    assert [files[f"history/{n}.json"] == later[f"history/{n}.json"] for n in (1, 2, 3)] == [True, True, False]


def test_spec_files_end_where_the_room_ends() -> None:
    contents = collect([image_of(made_catalog(200))])
    newest = recents.newest_first(contents)
    whole = list(spec_files.spec_files(contents, newest, 10**9))
    limit = sum(len(made.data) for made in whole[:50])
    some = list(spec_files.spec_files(contents, newest, limit))
    assert [made.path for made in some] == [spec_files.spec_file_path(build) for build in newest[:50]]
    assert spec_files.budget_of(10) > spec_files.budget_of(90_000) > 0


def test_many_builds_of_one_package_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [make_node("zlib", f"1.{at}") for at in range(60)]
    monkeypatch.setattr(packages, "parts", lambda found: text.parts(found, 2000))
    bodies = walk(files_of(image_of(make_catalog(*([node] for node in nodes)))))
    package = bodies[f"{ROOT}packages/zlib.json"]
    further = [bodies[ROOT + ref["path"]] for ref in package["more"]]
    assert len(further) > 2
    versions = [build["version"] for body in (package, *further) for build in body["builds"]]
    assert versions == [f"1.{at}" for at in reversed(range(60))]
    for path, body in bodies.items():
        if is_kind(body, "package-builds"):
            check(path, body)


def test_many_dependents_of_one_spec_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependents, "MOST", 10)
    library = make_node("zlib")
    nodes = [make_node(f"p{at}", dependencies=[library]) for at in range(60)]
    bodies = walk(files_of(image_of(make_catalog(*([node, library] for node in nodes)))))
    row = bodies[f"{ROOT}dependents/{library['hash'][:2]}.json"]["specs"][library["hash"]]
    found = [bodies[f"{ROOT}dependents/{library['hash']}/{key}.json"] for key in row["parts"]]
    assert (row["count"], row["dependents"]) == (60, [])
    assert sorted(h for body in found for h in body["dependents"]) == sorted(node["hash"] for node in nodes)
    check(f"{ROOT}dependents/{library['hash']}/{next(iter(row['parts']))}.json", found[0])


def test_the_same_bytes_in_any_order() -> None:
    nodes = [make_node(f"p{at}") for at in range(20)]
    one, other = ([image_of(make_catalog(*([node] for node in found))), image_of(example(), "v0")] for found in (nodes, nodes[::-1]))
    assert files_of(*one) == files_of(*reversed(other))


def test_what_it_was_generated_from_has_a_digest() -> None:
    def told(image: SiteImage) -> str:
        return str(json.loads(files_of(image)[f"{ROOT}index.json"])["generatedFrom"])

    base = image_of(make_catalog([make_node("zlib")]))
    h = make_node("broken")["hash"]
    others = [
        image_of(make_catalog([make_node("zlib", "2")])),
        image_of(base.catalog, failures={h: failure(h)}),
        image_of(base.catalog, "v2"),
    ]
    assert told(base) == told(image_of(make_catalog([make_node("zlib")])))
    assert len({told(image) for image in (base, *others)}) == 4


def test_the_first_generations_endpoints() -> None:
    files = files_of(*IMAGES["two"])
    manifest, dates = strict(files["manifest/index.html"]), strict(files["manifest/dates/index.html"])
    assert dates.keys() == {"meta", "keys", "branch", "subfolder", "url_prefix", "dates"}
    assert (dates["dates"], dates["keys"], dates["url_prefix"]) == (
        ["v1.0", "v1.1"],
        list(SITE.keys),
        "https://o.github.io/r/api/v1/_cache/",
    )
    assert (manifest["keys"], manifest["meta"]["complete"], len(manifest["packages"])) == (list(SITE.keys), True, 160)
    for package in manifest["packages"]:
        assert package.keys() == {"name", "spec", "url", "html_url"}
        assert not package["url"].startswith(("http", "oci:"))
        # mirrors/ghcr.py, fetch_spec: each date with the name of a spec file, until one is there.
        tried = [f"{dates['url_prefix']}{date}/{package['name'].replace('.spack', '.spec.json')}" for date in dates["dates"]]
        hits = [url for url in tried if url.removeprefix("https://o.github.io/r/") in files]
        assert package["spec"] in hits
        root = json.loads(files[package["spec"].removeprefix("https://o.github.io/r/")])["spec"]["nodes"][0]
        assert package["name"].endswith(f"-{root['name']}-{root['version']}-{root['hash']}.spack")
        assert package["url"].endswith(f":{root['name']}-{root['version']}-{root['hash']}.spack")
        assert package["html_url"] == f"https://o.github.io/r/packages/{root['name']}/index.html#{root['hash']}"


def test_the_manifest_of_many_says_that_it_is_not_whole() -> None:
    contents = collect(IMAGES["made"])
    newest = recents.newest_first(contents)
    gen = spec_files.spec_files(contents, newest, 10**9)
    found = {}
    try:
        while True:
            next(gen)
    except StopIteration as end:
        found = end.value
    manifest, _ = first_generation(SITE, contents, newest, found, limit=10_000)
    body = strict(manifest.data)
    assert (body["meta"]["count"], body["meta"]["complete"]) == (150, False)
    assert 10 < len(body["packages"]) < 150
    assert len(manifest.data) < 11_000


@pytest.mark.parametrize("key", ["description", "url", "licenses", "created", "source", "revision"])
def test_hostile_annotations_are_data(key: str) -> None:
    node = make_node("zlib")
    for value in (HOSTILE, f"javascript:alert(1)//{HOSTILE}", f"https://example.org/{HOSTILE}", "data:text/html,<script>", "x" * 3_000_000):
        about = {f"{OCI}{key}": value} | {
            f"{PREFIX}{name}": value for name in ("stack", "spack.version", "spack.commit", "packages.commit", "maintainers", "build.run", "build.seconds")
        }  # fmt: skip
        files = files_of(image_of(make_catalog([node], annotations=about)))
        for path, body in walk(files).items():
            if "meta" in body:
                check(path, body)
            assert len(files[path]) < 100_000
            for text_ in strings(body):
                assert not re.search(r"[\x00-\x1f\x7f\u202e\u2028\ud800-\udfff]", text_), (path, text_)
        assert json.loads(files[f"{ROOT}packages/zlib.json"])["homepage"] is None
        (build,) = json.loads(files[f"{ROOT}specs/{node['hash'][:2]}.json"])["specs"][node["hash"]]["builds"]
        assert (build["run"], build["created"], build["seconds"]) == (None, None, None)


def test_many_odd_names_make_no_large_file() -> None:
    nodes = [make_node(f"p{at}") for at in range(2500)]
    made = make_catalog(*([node] for node in nodes))
    words = {h: f"{at} " + "w" * 200 for at, h in enumerate(made.entries)}
    one = {h: replace(e, annotations={f"{PREFIX}stack": words[h], f"{PREFIX}spack.version": words[h]}) for h, e in made.entries.items()}
    other = {h: replace(e, annotations={f"{PREFIX}stack": "s", f"{PREFIX}spack.version": words[h]}) for h, e in made.entries.items()}
    for entries in (one, other):
        contents = collect([image_of(replace(made, entries=entries))])
        (coverage,) = totals.coverage(contents)
        assert len(coverage.data) < 1_000_000
        made_of = service(SITE, contents, {"v1.1": Digest.of(b"")}, {}, {"count": 0, "of": 0, "budget": 0})
        assert len(made_of.data) < 200_000
        assert strict(made_of.data)["stacks"]


def strings(value: Any) -> list[str]:
    """Every string of a body, keys too, but for OpenAPI's and JSON Schema's own texts."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [] if "openapi" in value or "$schema" in value else [t for pair in value.items() for item in pair for t in strings(item)]
    return [t for item in value for t in strings(item)] if isinstance(value, list) else []


def test_hostile_specs_are_data() -> None:
    odd = make_node("Odd.json", "git.x/y=1.0", parameters={"a": HOSTILE, "b": float("nan"), "c": [float("inf"), "\U0001f600"], "d": "NaN"})
    large = make_node("large", parameters={"a": "x" * 3_000_000})
    above = make_node("above", dependencies=[odd])
    files = files_of(image_of(make_catalog([odd], [large], [above, odd])), site=Site())
    bodies = walk(files)
    for path, body in bodies.items():
        if "meta" in body:
            check(path, body)
        assert len(files[path]) < 100_000
        assert path == path.lower()
        assert re.fullmatch(r"[a-z0-9_./+-]+", path)
        assert ".." not in path
    node = bodies[f"{ROOT}specs/{odd['hash'][:2]}.json"]["specs"][odd["hash"]]["node"]
    assert node["parameters"] == {"a": HOSTILE.replace("\ud800", "?"), "b": None, "c": [None, "\U0001f600"], "d": "NaN"}
    shard = bodies[f"{ROOT}specs/{large['hash'][:2]}.json"]["specs"][large["hash"]]
    assert shard["node"] is None
    assert shard["builds"][0]["specFile"] is None
    assert files["manifest/index.html"].count(b"<") == 0


def test_hostile_failures_are_data() -> None:
    h = make_node("broken")["hash"]
    bad = replace(
        failure(h, label=HOSTILE), phase=HOSTILE, message=HOSTILE * 1000, error_lines=(HOSTILE * 10,) * 1000, log=HOSTILE, spec=HOSTILE,
        origin=Origin(stack=HOSTILE, run=f"javascript:{HOSTILE}", spack_commit=HOSTILE, spack_version=HOSTILE),
    )  # fmt: skip
    files = files_of(image_of(Catalog(), failures={h: bad}))
    body = strict(files[f"{ROOT}failures/{h[:2]}.json"])
    check(f"{ROOT}failures/{h[:2]}.json", body)
    assert len(files[f"{ROOT}failures/{h[:2]}.json"]) < 50_000
    assert not [t for t in strings(body) if re.search(r"[\x00-\x1f\u202e\ud800-\udfff]", t)]
    assert body["failures"][h][0]["run"] is None


def test_hostile_settings_are_data_where_browsers_take_them_for_html() -> None:
    site = Site(url="https://o.github.io/<script>alert(1)</script>", keys=("https://o.github.io/<img src=x>&amp;",))
    files = files_of(image_of(example()), site=site)
    for path in ("manifest/index.html", "manifest/dates/index.html"):
        assert not re.search(rb"[<>&]", files[path])
        assert strict(files[path])["keys"] == list(site.keys)


def test_a_damaged_catalog_is_refused() -> None:
    whole = make_catalog([make_node("program", dependencies=[make_node("zlib")]), make_node("zlib")])
    lines = dict(whole.database.lines)
    lines.pop(make_node("zlib")["hash"])
    lacking = replace(whole, database=replace(whole.database, lines=lines))
    mixed = dict(zip(whole.database.lines, reversed(list(whole.database.lines.values())), strict=True))
    swapped = replace(whole, database=replace(whole.database, lines=mixed))
    nothing = replace(whole, database=Catalog().database)
    for catalog in (lacking, swapped, nothing):
        with pytest.raises(FormatError) as error:
            files_of(image_of(catalog))
        assert error.value.hint == "run `inv index --full`"


@given(st.sets(st.text("abcdef0123456789", min_size=1, max_size=8), max_size=400), st.text("abcdef", min_size=1, max_size=9))
def test_what_comes_changes_one_group(names: set[str], new: str) -> None:
    before = dict(text.chunks(sorted(names)))
    after = dict(text.chunks(sorted(names | {new})))
    assert [name for group in after.values() for name in group] == sorted(names | {new})
    changed = [label for label in before.keys() | after.keys() if before.get(label) != after.get(label)]
    assert len(changed) <= 2


def test_groups_of_many_names() -> None:
    names = sorted(f"package-{at}" for at in range(5_000))
    before = dict(text.chunks(names))
    assert len(before) > 10
    assert max(map(len, before.values())) <= 512
    for new in ("a", "package-2500x", "z"):
        after = dict(text.chunks(sorted([*names, new])))
        assert len([label for label in before.keys() | after.keys() if before.get(label) != after.get(label)]) <= 2


def test_every_parameter_has_an_example_that_fits() -> None:
    used = {name for endpoint in ENDPOINTS for name in endpoint.parameters}
    assert used == PARAMETERS.keys()
    for parameter in PARAMETERS.values():
        assert re.fullmatch(parameter.pattern, parameter.example)


def test_shards_are_named_alike() -> None:
    assert f"{{hash:{specs.WIDTH}}}" in next(endpoint.template for endpoint in ENDPOINTS if endpoint.kind == "spec-shard")
