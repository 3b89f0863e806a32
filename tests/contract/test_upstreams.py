"""Upstreams as they are, kind or hostile, there or away: what counts as there, what is said of it, and what goes where."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachelib import pipeline
from cachelib.model.config import Site
from cachelib.model.database import DATABASE_LIMIT, index_files
from cachelib.model.digest import Digest
from cachelib.model.errors import CacheError, ConfigError, RegistryError
from cachelib.model.oci import CATALOG_TAG, CONFIG, INDEX_TAG, LAYER_GZIP, MANIFEST, Descriptor, RegistryLocation
from cachelib.model.outcome import Built
from cachelib.model.record import PackageInfo, Record
from cachelib.model.upstream import Offer, Upstream
from cachelib.model.wanted import Wanted, WantedSpec
from cachelib.pipeline.layers import read_upstreams
from cachelib.steps import artifacts
from cachelib.tools import web_mirror
from cachelib.tools.mirror import DiskMirror
from cachelib.tools.registry import RegistryRepository
from tests.conftest import need
from tests.support.bases import base_image
from tests.support.caches import publish_catalog
from tests.support.docker_registry import running
from tests.support.double import RegistryDouble, serving_double
from tests.support.faults import Fault, Kind
from tests.support.mirrors import add_chain, add_entry, make_catalog, make_node
from tests.support.quiet import QuietProgress

PIN = {"version": "v1.1.0", "commit": "2e907202bcc8209a6a62243aab50c179b524cc3b"}


def workspace(folder: Path, *upstreams: str, **more: Any) -> pipeline.Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    stack = {"spack": PIN, "packages": PIN, "specs": ["x"], "upstreams": list(upstreams), **more}
    (folder / "cache.yaml").write_text(yaml.safe_dump({"registry": "oci-layout:registry", "stacks": {"s": stack}}))
    return replace(pipeline.open_workspace(str(folder / "cache.yaml")), progress=QuietProgress())


def said(ws: pipeline.Workspace) -> str:
    assert isinstance(ws.progress, QuietProgress)
    text = "\n".join(ws.progress.lines)
    ws.progress.lines.clear()
    return text


def read(ws: pipeline.Workspace) -> Upstream:
    (found,) = read_upstreams(ws, ws.settings.stacks["s"])
    return found


def spacks(installs: dict[str, Any]) -> bytes:
    return json.dumps({"database": {"version": "8", "installs": installs}}).encode()


def record(there: bool = True) -> dict[str, Any]:
    return {"spec": {"name": "zlib"}, "ref_count": 0, "in_buildcache": there}


H, OTHER = "a" * 32, "b" * 32


def put(double: RegistryDouble, data: bytes, size: int | None = None, name: str = "up/v1.1") -> str:
    """Spack's index in the double, and nothing else; gives the upstream's address."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    double.blobs[digest] = data
    double.blobs[str(Digest.of(b"{}"))] = b"{}"
    layer = {"mediaType": LAYER_GZIP, "digest": digest, "size": len(data) if size is None else size}
    config = {"mediaType": CONFIG, "digest": str(Digest.of(b"{}")), "size": 2}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}).encode()
    at = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    double.manifests[at] = (MANIFEST, manifest)
    double.tags[INDEX_TAG] = at
    return f"oci+http://{double.host}/{name}"


def test_spacks_own_index_is_read_once(double: RegistryDouble, tmp_path: Path) -> None:
    url = put(double, spacks({H: record(), OTHER: record(there=False)}))
    ws = workspace(tmp_path, url)
    assert dict(read(ws).offers) == {H: Offer()}
    assert read(ws).names == {"zlib"}
    assert "has to be known" in said(ws)
    assert double.count("blobs") == 1
    assert dict(read(ws).offers) == {H: Offer()}
    assert double.count("blobs") == 1
    put(double, spacks({OTHER: record()}))
    assert set(read(ws).offers) == {OTHER}
    assert double.count("blobs") == 2


def test_the_catalog_of_one_of_ours_tells_more(double: RegistryDouble, tmp_path: Path) -> None:
    node, other = make_node("zlib"), make_node("bzip2")
    about = {
        "org.opencontainers.image.title": "zlib@1.0",
        "io.github.spack-build-cache.spack.version": "1.1.0",
        "io.github.spack-build-cache.build.seconds": "12.5",
    }
    catalog = make_catalog([node], [other])
    catalog = replace(
        catalog,
        entries={
            node["hash"]: replace(catalog.entries[node["hash"]], annotations=about),
            other["hash"]: replace(
                catalog.entries[other["hash"]],
                annotations={**about, "org.opencontainers.image.title": "bzip2@1.0", "io.github.spack-build-cache.spack.version": "1.0.2"},
            ),
        },
    )
    publish_catalog(RegistryRepository(RegistryLocation(host=double.host, repository="up/v1.1", plain_http=True), None), catalog)
    ws = workspace(tmp_path, f"oci+http://{double.host}/up/v1.1")
    found = read(ws)
    size = catalog.entries[node["hash"]].tarball.size
    assert dict(found.offers) == {node["hash"]: Offer(size=size, seconds=12.5)}
    assert found.names == {"zlib"}
    # What another line of Spack built is not what its hash says.
    assert "which don't count: 1 of v1.0" in said(ws)
    before = double.count("blobs")
    assert read(ws) == found
    assert double.count("blobs") == before
    # A catalog of another version is nobody's business: Spack's index is there all the same.
    held = artifacts.read_root(RegistryRepository(RegistryLocation(host=double.host, repository="up/v1.1", plain_http=True), None))
    assert held is not None
    data = held.raw.data.replace(b"catalog.v2+json", b"catalog.v9+json")
    at = f"sha256:{hashlib.sha256(data).hexdigest()}"
    double.manifests[at] = (MANIFEST, data)
    double.tags[CATALOG_TAG] = at
    assert set(read(ws).offers) == {node["hash"], other["hash"]}


def test_one_that_is_away(double: RegistryDouble, tmp_path: Path) -> None:
    url = put(double, spacks({H: record()}))
    ws, strict = workspace(tmp_path / "a", url), workspace(tmp_path / "b", url, require_upstreams=True)
    assert set(read(ws).offers) == set(read(strict).offers) == {H}
    double.faults = [Fault("", Kind.STATUS, status=503, times=10_000)]
    said(ws)
    assert set(read(ws).offers) == {H}
    told = said(ws)
    assert "WARNING" in told
    assert "what it had on 20" in told
    with pytest.raises(RegistryError, match="can't be read"):
        read(strict)
    fresh = workspace(tmp_path / "c", url)
    assert not read(fresh).offers
    assert "nothing counts as there" in said(fresh)
    assert not (tmp_path / "c/var/upstreams").exists()


def test_no_login_of_ours_goes_to_an_upstream(double: RegistryDouble, tmp_path: Path) -> None:
    url = put(double, spacks({H: record()}))
    double.plan.tokens.required = True
    ws = workspace(tmp_path, url)
    secrets = {"CACHE_REGISTRY_USERNAME": "me", "CACHE_REGISTRY_PASSWORD": "s3cret", "GITHUB_TOKEN": "s3cret"}
    assert set(read(replace(ws, env={**ws.env, **secrets})).offers) == {H}
    assert not [header for header in double.authorizations if header.startswith("Basic")]


HOSTILE: dict[str, Callable[[RegistryDouble], str]] = {
    "no index": lambda double: f"oci+http://{double.host}/nobody/v1.1",
    "no JSON": lambda double: put(double, b"<html>no</html>"),
    "a list": lambda double: put(double, b"[]"),
    "no hashes": lambda double: put(double, spacks({"../../x": record()})),
    "huge": lambda double: put(double, spacks({H: record()}), DATABASE_LIMIT + 1),
    "shorter than it says": lambda double: put(double, spacks({H: record()}), 10_000),
    "longer than it says": lambda double: put(double, spacks({H: record()}), 10),
    "nobody there": lambda _: "oci+http://127.0.0.1:1/up/v1.1",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_wrong_with_an_upstream_is_a_warning(case: str, double: RegistryDouble, tmp_path: Path) -> None:
    ws = workspace(tmp_path, HOSTILE[case](double))
    assert not read(ws).offers
    assert "WARNING: upstream" in said(ws)


@pytest.mark.parametrize("status", [401, 403, 404, 418, 500])
def test_whatever_an_upstream_answers(status: int, double: RegistryDouble, tmp_path: Path) -> None:
    url = put(double, spacks({H: record()}))
    double.faults = [Fault("", Kind.STATUS, status=status, times=10_000)]
    ws = workspace(tmp_path, url)
    assert not read(ws).offers
    assert "WARNING: upstream" in said(ws)


def test_what_is_too_large_is_not_even_asked_for(double: RegistryDouble, tmp_path: Path) -> None:
    ws = workspace(tmp_path, put(double, spacks({H: record()}), DATABASE_LIMIT + 1))
    assert not read(ws).offers
    assert "are read" in said(ws)
    assert double.count("blobs") == 0


def test_a_blob_that_is_another(double: RegistryDouble, tmp_path: Path) -> None:
    """What was read up to the wrong digest counts for nothing."""
    data = spacks({H: record()})
    url = put(double, data)
    double.blobs[f"sha256:{hashlib.sha256(data).hexdigest()}"] = data.replace(H.encode(), OTHER.encode())
    ws = workspace(tmp_path, url)
    assert not read(ws).offers
    assert "other content than its digest says" in said(ws)


def test_specs_that_need_each_other_in_a_circle(double: RegistryDouble, tmp_path: Path) -> None:
    """Of an upstream's nodes none is walked: what needs what is known from our own concretization."""
    round_ = {h: {**record(), "spec": {"dependencies": [{"hash": other}]}} for h, other in ((H, OTHER), (OTHER, H))}
    assert set(read(workspace(tmp_path, put(double, spacks(round_)))).offers) == {H, OTHER}


def test_a_memory_that_was_tampered_with_is_none(double: RegistryDouble, tmp_path: Path) -> None:
    url = put(double, spacks({H: record()}))
    ws = workspace(tmp_path, url)
    read(ws)
    (path,) = (tmp_path / "var/upstreams").iterdir()
    for wrong in (b"", b"[" * 100_000, b'{"version": 2, "url": 3}', path.read_bytes().replace(b"up/v1.1", b"up/v1.2")):
        path.write_bytes(wrong)
        found = read(ws)
        assert (found.url, set(found.offers)) == (url, {H})


# Mirrors that are no registries.


class _Redirecting(SimpleHTTPRequestHandler):
    """A server of files that sends what begins with /away/ elsewhere."""

    to = ""

    def do_GET(self) -> None:
        if self.path.startswith("/away/"):
            self.send_response(302)
            self.send_header("Location", self.to or self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path, to: str = "") -> Iterator[str]:
    handler = type("Handler", (_Redirecting,), {"to": to})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def write_index(folder: Path, data: bytes) -> None:
    for path, part in index_files(data):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(part)


def test_a_mirror_on_the_web_and_in_a_directory(tmp_path: Path) -> None:
    write_index(tmp_path / "web", spacks({H: record(), OTHER: record(there=False)}))
    with serving(tmp_path / "web") as url:
        ws = workspace(tmp_path / "a", url)
        assert dict(read(ws).offers) == {H: Offer()}
        shutil.rmtree(tmp_path / "web/blobs")  # it is not read again
        assert dict(read(ws).offers) == {H: Offer()}
    assert dict(read(ws).offers) == {H: Offer()}
    assert "what it had on" in said(ws)
    write_index(tmp_path / "a mirror", spacks({H: record()}))
    assert dict(read(workspace(tmp_path / "b", f"file://{tmp_path}/a%20mirror")).offers) == {H: Offer()}


def test_where_a_mirror_on_the_web_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_index(tmp_path / "web", spacks({H: record()}))
    for to in ("", "file:///etc/passwd", "http://[", "gopher://x"):
        with serving(tmp_path / "web", to) as url:
            ws = workspace(tmp_path / "a", f"{url}/away")
            assert not read(ws).offers
            assert "WARNING: upstream" in said(ws)
    for path in ("v3/manifests/index/index.manifest.json", "blobs"):
        target = tmp_path / "web" / path
        shutil.rmtree(target) if target.is_dir() else target.write_text('{"version": 3, "data": [{}]}')
        with serving(tmp_path / "web") as url:
            assert not read(workspace(tmp_path / path.replace("/", "-"), url)).offers
    write_index(tmp_path / "web", data := spacks({H: record()}))
    (blob,) = (tmp_path / "web/blobs").rglob("?" * 64)
    for wrong in (data.replace(H.encode(), OTHER.encode()), data + b" " * 3_000_000, data[:-1]):
        blob.write_bytes(wrong)
        with serving(tmp_path / "web") as url:
            ws = workspace(tmp_path / "wrong", url)
            assert not read(ws).offers
            assert "WARNING: upstream" in said(ws)
    blob.write_bytes(data)
    monkeypatch.setattr(web_mirror, "DATABASE_LIMIT", 10)
    with serving(tmp_path / "web") as url:
        ws = workspace(tmp_path / "small", url)
        assert not read(ws).offers
        assert "no more than 10 are read" in said(ws)


def test_a_cache_does_not_stand_on_itself(tmp_path: Path) -> None:
    ws = workspace(tmp_path, "oci://ghcr.io/o/R/v1.1")
    ws = replace(ws, settings=replace(ws.settings, registry="oci://ghcr.io/O/R"))
    with pytest.raises(ConfigError, match="this cache itself"):
        read(ws)


# What becomes of what is built here.


def test_what_an_upstream_has_is_not_sent_nor_missed(tmp_path: Path) -> None:
    """The lowest of three is upstream: the others are pushed without it, and nobody says that it is missing."""
    ws = workspace(tmp_path / "own", f"file://{tmp_path}/up")
    low, middle, top = add_chain(ws.mirror("v1.1").root, 3)
    add_entry(tmp_path / "up", [low])
    DiskMirror(tmp_path / "up").write_index()
    planned = pipeline.push(ws, dry_run=True)
    assert f"in upstream file://{tmp_path}/up" in planned.text
    assert "would send 2 of 3" in planned.text
    pushed = pipeline.push(ws)
    assert "push: 2 pushed" in pushed.text
    assert "1 in upstreams" in pushed.text
    pipeline.index(ws)
    own = ws.repository(ws.location("").child("v1.1"))
    assert set(artifacts.load_catalog(own).entries) == {middle["hash"], top["hash"]}
    assert pipeline.verify(ws, mirror=True).exit_code == 0
    alone = workspace(tmp_path / "own")
    assert "its dependency part0@1.0" in pipeline.verify(alone).text
    # It goes along where it is asked to.
    ws = workspace(tmp_path / "own", f"file://{tmp_path}/up")
    assert "push: 1 pushed" in pipeline.push(ws, with_upstream=True).text
    assert low["hash"] in {tag.removesuffix(".spack")[-32:] for tag in own.tags()}


def test_what_was_built_anew_is_sent(tmp_path: Path) -> None:
    ws = workspace(tmp_path / "own", f"file://{tmp_path}/up")
    (node,) = add_chain(ws.mirror("v1.1").root, 1)
    add_entry(tmp_path / "up", [node])
    DiskMirror(tmp_path / "up").write_index()
    assert "0 of 1" in pipeline.push(ws, dry_run=True).text
    assert "push: 1 pushed" in pipeline.push(ws, anew={node["hash"]}).text


def test_images_on_a_base_have_the_layers_of_upstreams(tmp_path: Path) -> None:
    """With a base an image is to run: what it needs of an upstream in a registry is copied; without one it is left out, and not named."""
    with serving_double() as double:
        url = f"oci+http://{double.host}/up"
        below = workspace(tmp_path / "below")
        (low,) = add_chain(below.mirror("v1.1").root, 1)
        assert pipeline.push(below, url).exit_code == 0
        pipeline.index(below, url)
        base = base_image(tmp_path)
        for name, more, layers in (("bare", {}, 1), ("based", {"base_image": base}, 3)):
            ws = workspace(tmp_path / name, f"{url}/v1.1", **more)
            add_entry(ws.mirror("v1.1").root, [make_node("program", dependencies=[low]), low])
            pushed = pipeline.push(ws)
            assert "push: 1 pushed" in pushed.text
            pipeline.index(ws)
            (entry,) = artifacts.load_catalog(ws.repository(ws.location("").child("v1.1"))).entries.values()
            assert entry.layer_count == layers
            assert "will not run by itself" not in said(ws)
            assert pipeline.verify(ws).exit_code == 0
        # A layer that can't be had costs its image no more than that.
        tag = next(tag for tag in double.tags if tag.startswith("part0"))
        del double.blobs[str(json.loads(double.manifests[double.tags[tag]][1])["layers"][0]["digest"])]
        ws = workspace(tmp_path / "lost", f"{url}/v1.1", base_image=base)
        add_entry(ws.mirror("v1.1").root, [make_node("program", dependencies=[low]), low])
        assert "push: 1 pushed" in pipeline.push(ws).text
        assert "the layer of part0@1.0" in said(ws)


def test_what_may_not_be_given_away_is_not_taken_over(tmp_path: Path) -> None:
    """An upstream's layer in an image of ours is given away by us: what `licenses` denies stays where it is."""
    with serving_double() as double:
        url = f"oci+http://{double.host}/up"
        below = workspace(tmp_path / "below")
        low = make_node("low")
        add_entry(below.mirror("v1.1").root, [low])
        known = Record(name="low", version="1.0", hash=low["hash"], outcome=Built(seconds=1), package=PackageInfo(license="AGPL-3.0-only"))
        below.mirror("v1.1").write_record(known)
        assert pipeline.push(below, url).exit_code == 0
        pipeline.index(below, url)
        strict = {"licenses": {"deny": ["AGPL-3.0-only"]}, "base_image": base_image(tmp_path)}
        for name, record in (("told", None), ("recorded", replace(known, package=PackageInfo(redistributable=False)))):
            ws = workspace(tmp_path / name, f"{url}/v1.1", **strict)
            add_entry(ws.mirror("v1.1").root, [make_node("program", dependencies=[low]), low])
            if record is not None:
                ws.mirror("v1.1").write_record(record)
            assert "push: 1 pushed" in pipeline.push(ws).text
            assert "the layer of low@1.0/" in (text := said(ws))
            assert "isn't copied: its" in text
            own = ws.repository(ws.location("").child("v1.1"))
            pipeline.index(ws)
            (entry,) = artifacts.load_catalog(own).entries.values()
            assert entry.layer_count == 2  # the base, and its own
            layer = next(below.mirror("v1.1").entries()).tarball
            held = Descriptor(media_type=LAYER_GZIP, digest=layer.digest, size=layer.size)
            with pytest.raises(CacheError):
                own.read_blob(held)


def test_in_one_registry_layers_are_taken_over(tmp_path: Path) -> None:
    """What the registry has in the upstream's repository doesn't cross the wire again."""
    need("docker-registry")
    with running(tmp_path / "server", counted=True) as server:
        below = workspace(tmp_path / "below")
        (low,) = add_chain(below.mirror("v1.1").root, 1)
        pipeline.push(below, f"{server.url}/up")
        pipeline.index(below, f"{server.url}/up")
        ws = workspace(tmp_path / "own", f"{server.url}/up/v1.1", base_image=base_image(tmp_path))
        add_entry(ws.mirror("v1.1").root, [make_node("program", dependencies=[low]), low])
        assert "push: 1 pushed" in pipeline.push(ws, f"{server.url}/own").text
        layer = next(DiskMirror(tmp_path / "below/var/mirror/v1.1").entries()).tarball.digest
        asked = [line for line in server.log.read_text().splitlines() if layer.hex in line and "/v2/own/" in line]
        assert any("mount=" in line for line in asked)
        assert not any("http.request.method=PUT" in line for line in asked)
        pipeline.index(ws, f"{server.url}/own")
        assert pipeline.verify(ws, f"{server.url}/own").exit_code == 0


def test_a_container_has_the_layers_of_upstreams(tmp_path: Path) -> None:
    """What its program needs of an upstream in a registry is copied from there; of one on the web it is told why there is none."""
    with serving_double() as double, serving_double() as second:
        url, other = f"oci+http://{double.host}/up", f"oci+http://{second.host}/up"
        below = workspace(tmp_path / "below")
        (low,) = add_chain(below.mirror("v1.1").root, 1)
        for place in (url, other):
            assert pipeline.push(below, place).exit_code == 0
            pipeline.index(below, place)
        program = make_node("program", dependencies=[low])

        def made(name: str, *upstreams: str, **more: Any) -> tuple[pipeline.Workspace, Any]:
            ws = workspace(tmp_path / name, *upstreams, **more)
            add_entry(ws.mirror("v1.1").root, [program, low])
            pipeline.push(ws)
            pipeline.index(ws)
            return ws, pipeline.container(ws, specs=["program"], base=base_image(tmp_path), tags=["it"])

        ws, report = made("own", f"{url}/v1.1")
        assert report.exit_code == 0, report.text
        assert "2 packages (1 of upstreams)" in report.text
        own = ws.repository(ws.location("").child("v1.1"))
        raw = own.manifest("it")
        assert raw is not None
        layers = json.loads(raw.data)["layers"]
        (entry,) = DiskMirror(tmp_path / "below/var/mirror/v1.1").entries()
        assert [layer["digest"] for layer in layers[1:2]] == [str(entry.tarball.digest)]
        for layer in layers:
            assert hashlib.sha256(own.read_blob(Descriptor.parse(layer))).hexdigest() == layer["digest"].removeprefix("sha256:")
        # Its tag is one of ours, and names what is there: nothing of it is amiss, and the same again sends nothing.
        assert pipeline.verify(ws).exit_code == 0
        asked = double.count("GET .*blobs")
        assert pipeline.container(ws, specs=["program"], base=base_image(tmp_path), tags=["it"]).data[0]["sent"] == 0
        assert double.count(f"GET .*{entry.tarball.digest}") == 1
        assert double.count("GET .*blobs") > asked
        # A tag of one's own needs none of this: it names an image that is here.
        assert pipeline.tag(ws, "program-latest", "program").exit_code == 0

        add_entry(tmp_path / "disk", [low])
        DiskMirror(tmp_path / "disk").write_index()
        _, report = made("web", f"file://{tmp_path}/disk")
        assert (report.exit_code, "where builds are no layers: the container would not run" in report.text) == (2, True), report.text
        # What may not be given away isn't, whoever has it: here the image tells no licence.
        strict = workspace(tmp_path / "own", f"{url}/v1.1", licenses={"deny": ["UNKNOWN"]})
        report = pipeline.container(strict, specs=["program"], base=base_image(tmp_path), tags=["other"])
        assert (report.exit_code, "may not be given away: its recipe states no licence" in report.text) == (2, True), report.text
        assert "other" not in own.tags()
        _, report = made("gone")
        assert "which is not published: the container would not run" in report.text

        tag = next(tag for tag in double.tags if tag.startswith("part0"))
        del double.manifests[double.tags[tag]]
        ws, report = made("lost", f"{url}/v1.1")
        assert (report.exit_code, f"which upstream {url}/v1.1 has, and can't give" in report.text) == (7, True), report.text
        assert "it" not in ws.repository(ws.location("").child("v1.1")).tags()
        # Another upstream that has it gives it.
        _, report = made("two", f"{url}/v1.1", f"{other}/v1.1")
        assert (report.exit_code, second.count(f"GET .*{entry.tarball.digest}")) == (0, 1), report.text


def test_weather_site_api_and_why_tell_of_it(tmp_path: Path) -> None:
    """The upstream is one of ours, with a site: what it has is there, and the site links to its site."""
    with serving_double() as double:
        url = f"oci+http://{double.host}/up"
        below = workspace(tmp_path / "below")
        below = replace(below, settings=replace(below.settings, site=Site(url="https://other.example/base")))
        (low,) = add_chain(below.mirror("v1.1").root, 1)
        pipeline.push(below, url)
        pipeline.index(below, url)
        ws = workspace(tmp_path / "own", f"{url}/v1.1")
        program = make_node("program", dependencies=[low])
        add_entry(ws.mirror("v1.1").root, [program, low])
        specs = {
            node["hash"]: WantedSpec(hash=node["hash"], name=node["name"], version="1.0", target="t", needs=needs)
            for node, needs in ((program, (low["hash"],)), (low, ()))
        }
        ws.mirror("v1.1").write_wanted(Wanted(stack="s", runner="r", specs=specs, roots={program["hash"]: "program"}))
        pipeline.push(ws)
        pipeline.index(ws)
        told = pipeline.weather(ws)
        assert "of 1 requests 1 ready" in told.text
        assert "2 of 2 specs are in" in told.text
        assert "and its upstreams (1 there)" in told.text
        (tmp_path / "low.json").write_text(json.dumps({"spec": {"_meta": {"version": 5}, "nodes": [low]}}))
        assert f"is in upstream {url}/v1.1" in pipeline.why(ws, str(tmp_path / "low.json")).text
        pipeline.render(ws)
    site = ws.var / "site"
    (image,) = json.loads((site / "api/v1/index.json").read_text())["images"]
    (one,) = image["upstreams"]
    assert (one["mirror"], one["builds"], one["site"]) == (f"{url}/v1.1", 1, "https://other.example/base")
    assert f'<a href="https://other.example/base">{url}/v1.1</a> (1 builds)' in (site / "index.html").read_text()
    assert "1 of them upstream" in (site / "weather/index.html").read_text()
    assert list(yaml.safe_load((site / "v1.1/mirrors.yaml").read_text())["mirrors"]) == ["cache-v1.1", "cache-v1.1-upstream"]
    (line,) = json.loads((site / "api/v1/weather.json").read_text())["stacks"]
    assert (line["present"], line["upstream"], line["total"]) == (2, 1, 2)
    (spec,) = json.loads((site / f"api/v1/specs/{program['hash'][:2]}.json").read_text())["specs"][program["hash"]]["builds"]
    assert spec["missing"] == []
