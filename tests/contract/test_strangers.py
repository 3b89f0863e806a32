"""Where credentials go and where they don't, and what is believed of a registry that answers oddly."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cachelib import pipeline
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, CatalogError, RegistryError
from cachelib.model.image import BaseImage
from cachelib.model.oci import CATALOG_TAG, LAYER_GZIP, Descriptor, ImageManifest, LayoutLocation
from cachelib.model.outcome import Built, NotPushed, Present, Pushed
from cachelib.model.record import Origin, PackageInfo, Record
from cachelib.steps import artifacts
from cachelib.steps.bases import base_image
from cachelib.steps.pushing import plan_push, push
from cachelib.steps.verifying import verify
from cachelib.tools.credentials import Credentials
from cachelib.tools.layout import LayoutRepository
from cachelib.tools.mirror import DiskMirror
from tests.contract.test_misbehaving import DATA, repository, stored
from tests.contract.test_road import index, push_all, put_image
from tests.support.double import Fault, RegistryDouble
from tests.support.mirrors import add_chain, add_entry, make_node
from tests.support.quiet import QuietProgress

ME = Credentials(username="me", password="s3cret-t0ken", source="the tests")


@contextmanager
def stranger(status: int, headers: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Another host; gives its address and the Authorization headers that it was sent."""
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent.append(self.headers.get("Authorization", ""))
            self.send_response(status)
            for key, value in {**headers, "Content-Length": "0"}.items():
                self.send_header(key, value)
            self.end_headers()

        do_GET = do_PUT = do_HEAD = answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}", sent
    finally:
        server.shutdown()
        server.server_close()


CHALLENGE = {"Www-Authenticate": 'Basic realm="x"'}


def test_credentials_answer_the_registry_itself(double: RegistryDouble) -> None:
    double.faults.append(Fault("tags", "status", 401, 1, CHALLENGE))
    repository(double, ME).tags()
    assert double.authorizations[-1] == ME.basic()


def test_an_upload_elsewhere_gets_no_credentials(double: RegistryDouble) -> None:
    with stranger(201, {}) as (url, sent):
        double.faults += [Fault("HEAD", "status", 401, 1, CHALLENGE), Fault("POST", "status", 202, 1, {"Location": f"{url}/upload?x=1"})]
        blob = Descriptor(media_type=LAYER_GZIP, digest=Digest.of(b"x"), size=1)
        # 202 with a body is an answer like any other; the upload then goes to the other host.
        repository(double, ME).put_blob(blob, lambda: io.BytesIO(b"x"))
    assert sent == [""]


def test_a_challenge_from_elsewhere_is_not_answered(double: RegistryDouble) -> None:
    descriptor = stored(double)
    with stranger(401, {"Www-Authenticate": 'Bearer realm="http://127.0.0.1:9/token"'}) as (url, sent):
        double.faults += [Fault("GET", "status", 401, 1, CHALLENGE), Fault("GET", "status", 307, 99, {"Location": f"{url}/blob"})]
        with pytest.raises(RegistryError, match="401"):
            repository(double, ME).read_blob(descriptor)
    assert set(sent) == {""}


def test_a_rate_limit_costs_no_credentials(double: RegistryDouble) -> None:
    double.faults += [
        Fault("tags", "status", 401, 1, CHALLENGE),
        Fault("tags", "status", 403, 1, {}, message="You have exceeded a secondary rate limit"),
    ]
    one = repository(double, ME)
    one.tags()
    one.put_blob(Descriptor(media_type=LAYER_GZIP, digest=Digest.of(b"x"), size=1), lambda: io.BytesIO(b"x"))
    assert double.authorizations[-1] == ME.basic()


def test_a_tag_list_that_is_not_there_empties_nothing(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path, 3)
    push_all(tmp_path, repository(double))
    index(repository(double))
    before = dict(double.tags)
    double.faults.append(Fault("tags/list", "status", 404, 2, code="NAME_UNKNOWN"))
    with pytest.raises(CatalogError, match="not whole"):
        index(repository(double))
    assert double.tags == before


def test_a_tag_list_that_breaks_off_is_read_again(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path, 9)
    push_all(tmp_path, repository(double))
    double.page = 3
    double.faults.append(Fault("tags/list.*last", "status", 404, 99, code="NAME_UNKNOWN"))
    with pytest.raises(RegistryError, match="breaks off"):
        repository(double).tags()


def test_a_tag_list_in_a_circle_ends(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path, 1)
    push_all(tmp_path, repository(double))
    again = {"Link": '</v2/a/b/tags/list?n=1000>; rel="next"', "Content-Type": "application/json"}
    double.faults.append(Fault("tags/list", "status", 200, 99, again, body=b'{"tags": ["a"]}'))
    with pytest.raises(RegistryError, match="circle"):
        repository(double).tags()


def test_hostile_tags_are_not_repeated(double: RegistryDouble, tmp_path: Path) -> None:
    add_chain(tmp_path, 1)
    push_all(tmp_path, repository(double))
    (good,) = double.tags
    double.tags["x\n::error::owned\x1b[31m.spack"] = double.tags[good]
    assert repository(double).tags() == {good}


def test_a_password_for_the_cache_is_not_for_its_base(double: RegistryDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cachelib import pipeline

    monkeypatch.setenv("CACHE_REGISTRY_USERNAME", "me")
    monkeypatch.setenv("CACHE_REGISTRY_PASSWORD", "s3cret-t0ken")
    settings = (Path(__file__).resolve().parents[2] / "examples/cache.yaml").read_text()
    text = settings.replace("    repos: [spack_repo/examples]\n", f"    base_image: oci+http://{double.host}/base:1\n")
    (tmp_path / "cache.yaml").write_text(text)
    add_chain(tmp_path / "var/mirror/v1.1", 1)
    double.faults.append(Fault(".", "status", 401, 99, CHALLENGE))
    report = pipeline.push(pipeline.open_workspace(str(tmp_path / "cache.yaml")))
    assert report.exit_code == 7
    assert double.requests
    assert set(double.authorizations) == {""}


def layout(tmp_path: Path) -> LayoutRepository:
    return LayoutRepository(LayoutLocation(path=tmp_path / "layout"))


def damage(tmp_path: Path, digest: Digest) -> None:
    path = tmp_path / "layout/blobs/sha256" / digest.hex
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_force_mends_a_damaged_layer(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", layout(tmp_path))
    index(layout(tmp_path))
    (first, *_) = DiskMirror(tmp_path / "m").entries()
    damage(tmp_path, first.tarball.digest)
    assert len(verify(layout(tmp_path), jobs=2, progress=QuietProgress()).findings) == 1
    push_all(tmp_path / "m", layout(tmp_path), force=True)
    assert verify(layout(tmp_path), jobs=2, progress=QuietProgress()).findings == ()


def test_full_mends_a_damaged_catalog(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", layout(tmp_path))
    index(layout(tmp_path))
    raw = layout(tmp_path).manifest(CATALOG_TAG)
    assert raw is not None
    damage(tmp_path, ImageManifest.parse(raw).layers[0].digest)
    with pytest.raises(CacheError):
        artifacts.load_catalog(layout(tmp_path))
    assert index(layout(tmp_path), full=True).written
    assert len(artifacts.load_catalog(layout(tmp_path)).entries) == 2
    assert not index(layout(tmp_path), full=True).written


@pytest.mark.parametrize("shard", [b"no gzip", b"\x1f\x8b\x08\x00", b""])
def test_a_catalog_of_rubbish_is_an_error_of_ours(tmp_path: Path, shard: bytes) -> None:
    one = layout(tmp_path)
    blob = Descriptor(media_type=artifacts.SHARD_TYPE, digest=Digest.of(shard), size=len(shard))
    one.put_blob(blob, lambda: io.BytesIO(shard))
    manifest = ImageManifest(
        media_type="application/vnd.oci.image.manifest.v1+json",
        config=blob,
        layers=(blob,),
        annotations={},
        artifact_type=artifacts.CATALOG_TYPE,
    )
    one.put_manifest(manifest.raw(), CATALOG_TAG)
    with pytest.raises(CacheError):
        artifacts.load_catalog(one)
    assert verify(one, jobs=1, progress=QuietProgress()).findings


def test_verify_sees_a_catalog_of_older_manifests(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", layout(tmp_path))
    index(layout(tmp_path))
    mirror = DiskMirror(tmp_path / "m")
    plan = plan_push(mirror, layout(tmp_path).tags(), force=True)
    one = layout(tmp_path)
    push(plan, mirror, one, bases={}, labels={"vendor": "another"}, jobs=2, progress=QuietProgress())
    problems = [finding.problem for finding in verify(layout(tmp_path), jobs=2, progress=QuietProgress()).findings]
    assert problems
    assert all("other things of" in problem for problem in problems)


def test_what_may_not_be_given_away_is_in_no_image(tmp_path: Path) -> None:
    nodes = add_chain(tmp_path / "m", 3)
    mirror, one = DiskMirror(tmp_path / "m"), layout(tmp_path)
    closed = Record(
        name="part1", version="1.0", hash=nodes[1]["hash"], outcome=Built(seconds=1), package=PackageInfo(redistributable=False)
    )
    mirror.write_record(closed, None)
    plan = plan_push(mirror, frozenset())
    outcomes = push(plan, mirror, one, bases={}, labels={}, jobs=2, progress=QuietProgress())
    assert [type(outcomes[node["hash"]]) for node in nodes] == [Pushed, NotPushed, Pushed]
    forbidden = next(entry for entry in mirror.entries() if entry.spec.root.name == "part1").tarball.digest
    assert not (tmp_path / "layout/blobs/sha256" / forbidden.hex).exists()


def test_lists_changed_after_the_build_hold_for_a_push(tmp_path: Path) -> None:
    """The last gate: what is in the mirror already goes by the lists of today, whatever they were when it was built."""
    (tmp_path / "cache.yaml").write_text(
        f"registry: oci-layout:reg\nstacks: {{s: {{spack: {{version: v1.1.0, commit: {'a' * 40}}}, "
        f"packages: {{version: v1, commit: {'a' * 40}}}, specs: [part2], licenses: {{deny: [GPL-3.0]}}}}}}\n"
    )
    ws = pipeline.open_workspace(str(tmp_path / "cache.yaml"))
    nodes = add_chain(ws.mirror("v1.1").root, 2)
    for node, stated in zip(nodes, ("GPL-3.0-only", "GPL-3.0-only OR MIT"), strict=True):
        package = PackageInfo(license=stated)
        record = Record(
            name=node["name"], version="1.0", hash=node["hash"], outcome=Built(seconds=1), package=package, origin=Origin(stack="s")
        )
        ws.mirror("v1.1").write_record(record, None)
    told = pipeline.push(ws).text
    assert f"{nodes[0]['name']}@1.0/{nodes[0]['hash'][:7]}" in told
    assert "its licence is GPL-3.0-only, which `licenses` denies" in told
    tags = {tag for tag in ws.repository(ws.location("").child("v1.1")).tags() if tag.endswith(".spack")}
    assert tags == {f"{nodes[1]['name']}-1.0-{nodes[1]['hash']}.spack"}


def test_hostile_images_cost_only_themselves(tmp_path: Path) -> None:
    good = make_node("good")
    add_entry(tmp_path / "m", [good])
    one = layout(tmp_path)
    push_all(tmp_path / "m", one)
    odd = make_node("odd")
    circle = {**make_node("circle"), "dependencies": []}
    circle["dependencies"] = [{"name": "circle", "hash": circle["hash"], "parameters": {"deptypes": ["link"], "virtuals": []}}]
    for node, rest in ((odd, {"rootfs": ["x"]}), (odd, {"rootfs": {"diff_ids": "x"}}), (odd, {"binary_cache_checksum": "x"}), (circle, {})):
        config = {"spec": {"_meta": {"version": 5}, "nodes": [node]}, "rootfs": {"diff_ids": ["sha256:" + "a" * 64]}, **rest}
        put_image(one, json.dumps(config).encode(), f"{node['name']}-1.0-{node['hash']}.spack")
        found = {finding.where for finding in verify(layout(tmp_path), jobs=2, progress=QuietProgress()).findings}
        assert any(where.startswith(("odd", "circle")) for where in found)
        index(layout(tmp_path))
        assert {"good"} <= {entry.tag.partition("-")[0] for entry in artifacts.load_catalog(layout(tmp_path)).entries.values()}


def test_a_damaged_entry_costs_only_itself(tmp_path: Path) -> None:
    add_chain(tmp_path, 2)
    path = add_entry(tmp_path, [make_node("bad")])
    path.write_bytes(b"{}")
    told: list[CacheError] = []
    assert len(list(DiskMirror(tmp_path).entries(told.append))) == 2
    assert "bad-1.0" in told[0].message


def test_a_base_for_another_machine_is_refused(tmp_path: Path) -> None:
    one = layout(tmp_path)
    configs: tuple[dict[str, Any], ...] = (
        {"architecture": "arm64", "os": "linux", "rootfs": {"diff_ids": ["sha256:" + "a" * 64]}},
        {},
        {"rootfs": {"diff_ids": []}},
    )
    for config in configs:
        put_image(one, json.dumps(config).encode(), "base")
        with pytest.raises(CacheError, match="base image"):
            base_image(one, "base", "the base image", "amd64")


def test_a_base_without_a_config_section_is_taken(tmp_path: Path) -> None:
    one = layout(tmp_path)
    config = {"architecture": "amd64", "os": "linux", "config": None, "rootfs": {"diff_ids": ["sha256:" + "a" * 64]}}
    put_image(one, json.dumps(config).encode(), "base")
    base = base_image(one, "base", "b", "amd64")
    assert isinstance(base, BaseImage)
    add_entry(tmp_path / "m", [make_node("one")])
    mirror = DiskMirror(tmp_path / "m")
    outcomes = push(
        plan_push(mirror, frozenset()),
        mirror,
        one,
        bases={"amd64": base},
        labels={},
        jobs=1,
        progress=QuietProgress(),
    )
    assert {type(outcome) for outcome in outcomes.values()} == {Pushed}
    assert {type(outcome) for outcome in push_all(tmp_path / "m", layout(tmp_path)).values()} == {Present}


@pytest.mark.parametrize("body", [b"{}", b'{"tags": "abc.spack"}', b"<html>", b"[]", b'{"errors": []}', b"[" * 100_000])
def test_a_tag_list_that_is_none_is_not_an_empty_one(double: RegistryDouble, tmp_path: Path, body: bytes) -> None:
    add_chain(tmp_path, 2)
    push_all(tmp_path, repository(double))
    index(repository(double))
    before = dict(double.tags)
    double.faults.append(Fault("tags/list", "status", 200, 99, body=body))
    with pytest.raises(RegistryError, match="no tag list"):
        index(repository(double))
    assert double.tags == before


@pytest.mark.parametrize("match", ["PUT .*blobs", "PUT .*manifests", "POST"])
def test_a_login_page_is_not_a_success(double: RegistryDouble, tmp_path: Path, match: str) -> None:
    add_chain(tmp_path, 1)
    double.faults.append(Fault(match, "status", 200, 99, {"Content-Type": "text/html"}, body=b"<html>please log in</html>"))
    outcomes = push_all(tmp_path, repository(double))
    assert {type(outcome) for outcome in outcomes.values()} == {NotPushed}
    assert double.tags == {}


def test_nothing_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="nothing is published"):
        verify(layout(tmp_path), jobs=1, progress=QuietProgress())


def test_an_unpacked_digest_that_lies_is_found(tmp_path: Path) -> None:
    add_chain(tmp_path / "m", 1)
    mirror = DiskMirror(tmp_path / "m")
    (entry,) = mirror.entries()
    mirror.inspect_tarball(entry.tarball)
    (note,) = (tmp_path / "m/records/tarball").iterdir()
    note.write_text(note.read_text().replace(str(json.loads(note.read_text())["diff_id"]), "sha256:" + "0" * 64))
    push_all(tmp_path / "m", layout(tmp_path))
    index(layout(tmp_path))
    found = verify(layout(tmp_path), jobs=1, progress=QuietProgress()).findings
    assert ["unpacks to other content" in finding.problem for finding in found] == [True]


def test_a_lie_is_not_covered_by_an_honest_image(tmp_path: Path) -> None:
    nodes = add_chain(tmp_path / "m", 2)
    one = layout(tmp_path)
    push_all(tmp_path / "m", one)
    for at, lies in ((0, nodes[0]), (1, nodes[1])):
        tag = f"part{at}-1.0-{lies['hash']}.spack"
        raw = one.manifest(tag)
        assert raw is not None
        manifest = ImageManifest.parse(raw)
        config = json.loads(one.read_blob(manifest.config))
        config["rootfs"]["diff_ids"][0] = "sha256:" + "0" * 64
        data = json.dumps(config).encode()
        blob = Descriptor(media_type=manifest.config.media_type, digest=Digest.of(data), size=len(data))
        one.put_blob(blob, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
        one.put_manifest(dataclasses.replace(manifest, config=blob).raw(), tag)
        one.flush()
        found = [f.where for f in verify(layout(tmp_path), jobs=1, progress=QuietProgress()).findings if "unpacks" in f.problem]
        assert found == [tag]
        one.put_manifest(raw, tag)
        one.flush()


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    """Of every blob that an image, the catalog or Spack's index is made of: any byte, any bit."""
    add_chain(tmp_path / "m", 2)
    push_all(tmp_path / "m", layout(tmp_path))
    index(layout(tmp_path))
    assert verify(layout(tmp_path), jobs=2, progress=QuietProgress()).findings == ()
    chance = random.Random(20)
    files = sorted((tmp_path / "layout/blobs/sha256").iterdir())
    tried = 0
    for path in files:
        good = path.read_bytes()
        for _ in range(25):
            data = bytearray(good)
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            path.write_bytes(data)
            assert verify(layout(tmp_path), jobs=2, progress=QuietProgress()).findings, f"{path.name} was damaged"
            tried += 1
        path.write_bytes(good)
    assert tried >= 200


def test_names_that_could_be_files_of_the_site(tmp_path: Path) -> None:
    from cachelib.model.config import Site
    from cachelib.steps.rendering import SiteImage, render
    from cachelib.tools.site import write_site
    from tests.unit.test_rendering import TEMPLATES

    for name in ("index.html", "Almanac", "almanac", "a.json"):
        add_entry(tmp_path / "m", [make_node(name)])
    odd = make_node("odd")
    odd["parameters"]["note"] = "\ud800"
    add_entry(tmp_path / "m", [make_node("odd", parameters={"note": "\ud800\x1b[31m"})])
    push_all(tmp_path / "m", layout(tmp_path))
    index(layout(tmp_path))
    image = SiteImage(name="v1.1", mirror_url="file:///m", reference="r", catalog=artifacts.load_catalog(layout(tmp_path)))
    write_site(tmp_path / "site", render(Site(), [image], TEMPLATES))
    assert len(list((tmp_path / "site/packages").glob("*/index.html"))) == 5


def test_the_data_of_the_tests_is_large_enough() -> None:
    assert len(DATA) > 4 << 20
