"""Attestations beside the images that they are about: found there without GitHub, and gone with their image."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cachelib import pipeline
from cachelib.model.attestation import Statement
from cachelib.model.catalog import CatalogEntry
from cachelib.model.digest import Digest
from cachelib.model.errors import UsageError, VerifyError
from cachelib.model.oci import EMPTY, IMAGE_INDEX, MANIFEST, Descriptor, RawManifest, compact_json
from cachelib.model.ports import Repository
from cachelib.model.stack import Retention
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import artifacts, referring
from cachelib.steps.artifacts import described
from cachelib.steps.provenance import Beside
from cachelib.tools.layout import LayoutRepository
from tests.conftest import need
from tests.contract.test_sboms import workspace
from tests.support.docker_registry import running
from tests.support.double import Fault, serving_double
from tests.support.mirrors import add_chain

KIND = "application/vnd.dev.sigstore.bundle.v0.3+json"
PROJECT = Path(__file__).resolve().parents[2]
REAL = PROJECT / "tests/data/attestations/public.sigstore.json"


@pytest.fixture(params=["layout", "double", "docker-registry"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """A chain of three, published."""

    def published(registry: str) -> Workspace:
        ws = workspace(tmp_path / "cache", registry)
        add_chain(ws.mirror("v1.1").root, 3)
        assert pipeline.push(ws).exit_code == 0
        assert pipeline.index(ws).exit_code == 0
        return ws

    match request.param:
        case "layout":
            yield published("oci-layout:registry")
        case "double":
            with serving_double() as double:
                yield published(f"oci+http://{double.host}/owner/cache")
        case _:
            need("docker-registry")
            with running(tmp_path / "server") as server:
                yield published(f"{server.url}/owner/cache")


def place(ws: Workspace) -> Repository:
    return ws.repository(ws.location("").child("v1.1"))


def entries(ws: Workspace) -> list[CatalogEntry]:
    return sorted(artifacts.load_catalog(place(ws)).entries.values(), key=lambda entry: entry.tag)


def bundle(folder: Path, subjects: Sequence[Digest], word: str = "") -> Path:
    """A bundle as the action writes it, about some images."""
    statement = {
        "predicateType": "https://slsa.dev/provenance/v1", "predicate": {"word": word},
        "subject": [{"name": "x", "digest": {"sha256": digest.hex}} for digest in subjects],
    }  # fmt: skip
    path = folder / f"bundle{word}.json"
    envelope = {"payload": base64.b64encode(json.dumps(statement).encode()).decode(), "payloadType": "application/vnd.in-toto+json"}
    path.write_text(json.dumps({"mediaType": KIND, "dsseEnvelope": envelope}) + "\n")
    return path


def listed(ws: Workspace, entry: CatalogEntry) -> list[dict[str, Any]]:
    raw = place(ws).manifest(f"sha256-{entry.manifest.digest.hex}")
    found: list[dict[str, Any]] = json.loads(raw.data)["manifests"] if raw is not None else []
    return found


def test_it_lies_beside_what_it_is_about_and_nothing_else(cache: Workspace, tmp_path: Path) -> None:
    *about, other = entries(cache)
    file = bundle(tmp_path, [entry.manifest.digest for entry in about] + [Digest.of(b"of another cache")])
    report = pipeline.provenance(cache, ["", str(file)])
    assert report.exit_code == 0
    assert "provenance: 2 attached, 0 there already, 0 failed" in report.text
    assert listed(cache, other) == []
    for entry in about:
        (one,) = listed(cache, entry)
        assert (one["artifactType"], one["annotations"]["dev.sigstore.bundle.content"]) == (KIND, "dsse-envelope")
        raw = place(cache).manifest(one["digest"])
        assert raw is not None
        manifest = json.loads(raw.data)
        assert manifest["subject"]["digest"] == str(entry.manifest.digest)
        assert place(cache).read_blob(Descriptor.parse(manifest["layers"][0])) == file.read_bytes().strip()
    assert "provenance: 0 attached, 2 there already" in pipeline.provenance(cache, [str(file)]).text


def test_what_else_is_attached_stays(cache: Workspace, tmp_path: Path) -> None:
    first = entries(cache)[0]
    assert pipeline.sbom(cache, attach=True).exit_code == 0
    files = [str(bundle(tmp_path, [first.manifest.digest], word)) for word in ("1", "2")]
    assert pipeline.provenance(cache, files).exit_code == 0
    assert [one["artifactType"] for one in listed(cache, first)] == ["application/spdx+json", KIND, KIND]
    assert "3 there already" in pipeline.sbom(cache, attach=True).text


@pytest.mark.parametrize("page", [None, b'{"name": "owner/cache", "tags": ["part0"]}'], ids=["404", "a part"])
def test_a_tag_list_that_is_not_whole_for_once_costs_nothing(tmp_path: Path, page: bytes | None) -> None:
    """What lies beside an image, and what is published, is there all the same: neither is written over."""
    with serving_double() as double:
        ws = workspace(tmp_path / "cache", f"oci+http://{double.host}/owner/cache")
        add_chain(ws.mirror("v1.1").root, 2)
        assert pipeline.push(ws).exit_code == pipeline.index(ws).exit_code == 0
        first = entries(ws)[0]
        assert "2 attached" in pipeline.sbom(ws, attach=True).text
        file = bundle(tmp_path, [first.manifest.digest])

        def lose() -> None:
            double.faults.append(Fault("tags/list", "status", 404 if page is None else 200, code="NAME_UNKNOWN", body=page))

        lose()
        assert "1 attached" in pipeline.provenance(ws, [str(file)]).text
        assert [one["artifactType"] for one in listed(ws, first)] == ["application/spdx+json", KIND]
        lose()
        assert "0 attached, 2 there already" in pipeline.sbom(ws, attach=True).text
        assert [one["artifactType"] for one in listed(ws, first)] == ["application/spdx+json", KIND]
        lose()
        assert "push: 0 pushed (0 bytes), 2 present" in pipeline.push(ws).text


def test_it_goes_with_its_image(cache: Workspace, tmp_path: Path) -> None:
    found = entries(cache)
    assert pipeline.provenance(cache, [str(bundle(tmp_path, [entry.manifest.digest for entry in found]))]).exit_code == 0
    gone = found[-1]
    kept = replace(cache.settings.stacks["s"], retention=Retention(pinned=(found[0].tag.split("-")[0],)))
    report = pipeline.prune(replace(cache, settings=replace(cache.settings, stacks={"s": kept})), grace=0, yes=True)
    assert report.exit_code == 0, report.text
    left = {entry.hash for entry in entries(cache)}
    assert all((listed(cache, entry) != []) is (entry.hash in left) for entry in (*found, gone))


class Kept:
    """What GitHub would answer, and a verifier that believes what says so."""

    def __init__(self) -> None:
        self.asked: list[Digest] = []

    def bundles(self, digest: Digest) -> Sequence[bytes]:
        self.asked.append(digest)
        return ()

    def read(self, bundle: bytes) -> Statement:
        payload = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
        if payload["predicate"]["word"] == "forged":
            raise VerifyError("its attestation does not hold")
        subjects = frozenset(Digest(one["digest"]["sha256"]) for one in payload["subject"])
        return Statement(subjects=subjects, signer="someone")


def test_github_is_asked_only_where_nothing_that_holds_is_there(cache: Workspace, tmp_path: Path) -> None:
    good, forged, without = (entry.manifest.digest for entry in entries(cache))
    files = [str(bundle(tmp_path, [good], "fine")), str(bundle(tmp_path, [forged], "forged"))]
    assert pipeline.provenance(cache, files).exit_code == 0
    kept = Kept()
    beside = Beside(place(cache), kept)
    assert [len(beside.bundles(digest)) for digest in (good, forged, without)] == [1, 1, 0]
    assert kept.asked == [forged, without]


def test_what_lies_beside_an_image_and_is_no_bundle_attests_nothing(cache: Workspace) -> None:
    """Whoever may write to the registry puts there what he likes, and GitHub is asked all the same."""
    repository, image = place(cache), entries(cache)[0].manifest
    referring.prepare(repository)
    cases: list[list[dict[str, Any]]] = [[]]
    if isinstance(repository, LayoutRepository):  # a registry takes no manifest whose layers it lacks
        cases += [[described(KIND, b"{}").json() | {"size": 10**12}], [described(KIND, b"not there").json()]]
    for layers in cases:
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": KIND, "config": described(EMPTY, b"{}").json(), "layers": layers}
        made = RawManifest(media_type=MANIFEST, data=compact_json(body))
        repository.put_manifest(made, None)
        index = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [made.descriptor().json() | {"artifactType": KIND}]}
        repository.put_manifest(RawManifest(media_type=IMAGE_INDEX, data=compact_json(index)), f"sha256-{image.digest.hex}")
        repository.flush()
        kept = Kept()
        assert Beside(place(cache), kept).bundles(image.digest) == ()
        assert kept.asked == [image.digest]


def test_a_real_bundle_is_read(tmp_path: Path) -> None:
    ws = workspace(tmp_path / "cache", "oci-layout:registry")
    add_chain(ws.mirror("v1.1").root, 1)
    assert pipeline.push(ws).exit_code == 0
    assert pipeline.index(ws).exit_code == 0
    assert "provenance: 0 attached" in pipeline.provenance(ws, [str(REAL)]).text, "it is about none of these"


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"mediaType": "x", "dsseEnvelope": {"payload": "e30="}}', b"{}\n{}", b"\n \n", b"[" * 100_000]
)
def test_what_is_no_bundle(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(UsageError, match="file: it") as caught:
        pipeline.provenance(workspace(tmp_path / "cache", "oci-layout:registry"), [str(tmp_path / "file")])
    assert "actions/attest" in caught.value.hint


def test_no_file(tmp_path: Path) -> None:
    ws = workspace(tmp_path / "cache", "oci-layout:registry")
    with pytest.raises(UsageError, match="can't be read"):
        pipeline.provenance(ws, [str(tmp_path / "gone")])
    with pytest.raises(UsageError, match="no bundle is named"):
        pipeline.provenance(ws, ["", ""])


def test_what_it_costs(tmp_path: Path) -> None:
    """As the documentation counts it: requests an image."""
    counts = {}
    for images in (10, 30):
        with serving_double() as double:
            ws = workspace(tmp_path / str(images), f"oci+http://{double.host}/owner/cache")
            add_chain(ws.mirror("v1.1").root, images)
            assert pipeline.push(ws).exit_code == pipeline.index(ws).exit_code == 0
            file = bundle(tmp_path, [entry.manifest.digest for entry in entries(ws)])
            double.requests.clear()
            assert f"{images} attached" in pipeline.provenance(ws, [str(file)]).text
            counts[images] = len(double.requests) - double.count("^GET .*/blobs/")  # those are the catalog's
    assert (counts[30] - counts[10]) / 20 == 3
    for page in ("docs/explanation/trust.md", "docs/reference/cache-yaml.md"):
        assert "three requests" in (PROJECT / page).read_text(encoding="utf-8")
