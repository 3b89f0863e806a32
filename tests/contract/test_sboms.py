"""Bills of materials: valid SPDX by its own library's word, attached so that clients find them, and gone with their image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from cachelib import pipeline
from cachelib.model.errors import UsageError
from cachelib.model.oci import Descriptor
from cachelib.model.outcome import Built
from cachelib.model.record import Origin, PackageInfo, Record
from cachelib.model.spec import dag_hash
from cachelib.model.stack import Retention
from cachelib.pipeline.workspace import Workspace
from cachelib.steps import artifacts
from cachelib.steps.sbom import SPDX, declared_license
from tests.conftest import need
from tests.support.docker_registry import running
from tests.support.double import serving_double
from tests.support.mirrors import add_chain, add_entry, make_node
from tests.support.quiet import QuietProgress

PIN = {"version": "v1.1.0", "commit": "0" * 40}
PROJECT = Path(__file__).resolve().parents[2]
REQUESTS_AN_IMAGE, WORDS = 4, {4: "four", 5: "five", 6: "six"}


def workspace(folder: Path, registry: str) -> Workspace:
    stacks = {"s": {"spack": PIN, "packages": PIN, "specs": ["x"]}}
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"registry": registry, "stacks": stacks, "vendor": "The Owner", "source": "https://example.org/cache"})
    (folder / "cache.yaml").write_text(text)
    return replace(pipeline.open_workspace(str(folder / "cache.yaml")), progress=QuietProgress())


@pytest.fixture(params=["layout", "double", "docker-registry"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """A chain of three, published."""
    match request.param:
        case "layout":
            yield published(workspace(tmp_path / "cache", "oci-layout:registry"))
        case "double":
            with serving_double() as double:
                yield published(workspace(tmp_path / "cache", f"oci+http://{double.host}/owner/cache"))
        case _:
            need("docker-registry")
            with running(tmp_path / "server") as server:
                yield published(workspace(tmp_path / "cache", f"{server.url}/owner/cache"))


def published(ws: Workspace) -> Workspace:
    mirror = ws.mirror("v1.1")
    lone = make_node("odd_name", "git.main=1.0", dependencies=[tool := make_node("cmake", "3.31")])
    lone["dependencies"][0]["parameters"]["deptypes"] = ["build"]
    lone["hash"] = dag_hash(lone)
    add_entry(mirror.root, [lone, tool])
    for node in (*add_chain(mirror.root, 3), lone):
        origin = Origin(stack="s", created="2026-01-01T00:00:00Z")
        package = PackageInfo(license="MIT", homepage="https://example.org/", description="What it is.")
        outcome = Built(seconds=1.0)
        about = {"name": node["name"], "version": node["version"], "hash": node["hash"]}
        mirror.write_record(Record(**about, outcome=outcome, package=package, origin=origin))
    assert pipeline.push(ws).exit_code == 0
    assert pipeline.index(ws).exit_code == 0
    return ws


def validated(path: Path) -> Any:
    document = parse_file(str(path))
    assert [message.validation_message for message in validate_full_spdx_document(document)] == []
    return document


def test_each_image_has_one_that_clients_find(cache: Workspace, tmp_path: Path) -> None:
    report = pipeline.sbom(cache, attach=True)
    assert "4 attached, 0 there already, 0 failed" in report.text
    assert "0 attached, 4 there already" in pipeline.sbom(cache, attach=True).text
    repository = cache.repository(cache.location("").child("v1.1"))
    catalog = artifacts.load_catalog(repository)
    for entry in catalog.entries.values():
        # distribution-spec, Referrers Tag Schema
        index = repository.manifest(f"sha256-{entry.manifest.digest.hex}")
        assert index is not None
        (one,) = json.loads(index.data)["manifests"]
        assert one["artifactType"] == SPDX
        raw = repository.manifest(one["digest"])
        assert raw is not None
        manifest = json.loads(raw.data)
        assert manifest["subject"]["digest"] == str(entry.manifest.digest)
        (layer,) = manifest["layers"]
        # By this `oras pull` names the file.
        assert layer["annotations"]["org.opencontainers.image.title"] == f"{entry.tag.removesuffix('.spack')}.spdx.json"
        data = repository.read_blob(Descriptor.parse(layer))
        path = tmp_path / layer["digest"].replace(":", "-") / "it.spdx.json"
        path.parent.mkdir()
        path.write_bytes(data)
        document = validated(path)
        assert len(document.packages) == len(catalog.spec(entry.hash).nodes)
        (described,) = [one for one in document.packages if one.spdx_id == json.loads(data)["documentDescribes"][0]]
        assert described.checksums[0].value == entry.tarball.digest.hex
    # The cache is as it was: index, verify and clients pass over them.
    assert "0 warnings" in pipeline.index(cache).text
    assert pipeline.verify(cache).exit_code == 0


def test_one_is_printed_or_written(cache: Workspace, tmp_path: Path) -> None:
    text = pipeline.sbom(cache, "part2").text
    pipeline.sbom(cache, "part2", out=str(tmp_path / "it.spdx.json"))
    assert (tmp_path / "it.spdx.json").read_text() == text
    document = validated(tmp_path / "it.spdx.json")
    assert {str(one.relationship_type.name) for one in document.relationships} == {"DESCRIBES", "DEPENDS_ON"}
    assert document.creation_info.creators[1].name == "The Owner"
    for wanted, said in (("nosuch", "matches"), ("", "which bill"), ("part0 ^x", "can't be held")):
        with pytest.raises(UsageError, match=said):
            pipeline.sbom(cache, wanted)


def test_they_go_with_their_image(tmp_path: Path) -> None:
    ws = published(workspace(tmp_path / "cache", "oci-layout:registry"))
    pipeline.sbom(ws, attach=True)
    stack = replace(ws.settings.stacks["s"], retention=Retention(pinned=("part0",)))
    pruned = pipeline.prune(replace(ws, settings=replace(ws.settings, stacks={"s": stack})), yes=True, grace=0)
    assert pruned.exit_code == 0, pruned.text
    left = {tag for tag in ws.repository(ws.location("").child("v1.1")).tags() if tag.startswith("sha256-")}
    assert len(left) == 1, pruned.text


def test_another_s_attachments_stay(tmp_path: Path) -> None:
    """A signature beside it is kept in the list; what is no list at all is left alone and told."""
    ws = published(workspace(tmp_path / "cache", "oci-layout:registry"))
    repository = ws.repository(ws.location("").child("v1.1"))
    first, second, *_ = artifacts.load_catalog(repository).entries.values()
    own = repository.manifest(first.tag)
    assert own is not None
    theirs = own.descriptor().json() | {"artifactType": "application/vnd.example.signature"}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [theirs]}
    for entry, data in ((first, json.dumps(index).encode()), (second, own.data)):
        repository.put_manifest(type(own)(media_type=json.loads(data)["mediaType"], data=data), f"sha256-{entry.manifest.digest.hex}")
    repository.flush()
    report = pipeline.sbom(ws, attach=True)
    assert report.exit_code
    assert "3 attached, 0 there already, 1 failed" in report.text
    assert "is no list of referrers" in report.text
    listed = repository.manifest(f"sha256-{first.manifest.digest.hex}")
    assert listed is not None
    assert [one["artifactType"] for one in json.loads(listed.data)["manifests"]] == ["application/vnd.example.signature", SPDX]


@pytest.mark.parametrize(
    ("told", "declared"),
    [
        ("MIT", "MIT"),
        ("Apache-2.0 OR MIT", "Apache-2.0 OR MIT"),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", "GPL-3.0-or-later WITH GCC-exception-3.1"),
        ("", "NOASSERTION"),
        ("custom", "NOASSERTION"),
        ("MIT AND", "NOASSERTION"),
        ("a\x00(((", "NOASSERTION"),
        ("BSD-3-Clause AND PCRE2-exception", "NOASSERTION"),  # pcre2 says so, and validators refuse it
        ("GPL-2.0-only WITH MIT", "NOASSERTION"),
        ("MIT OR LicenseRef-scancode-proprietary-license", "NOASSERTION"),
        ("MIT AND (Zlib OR (" * 3000 + "MIT" + "))" * 3000, "NOASSERTION"),
    ],
)
def test_licences(told: str, declared: str) -> None:
    assert declared_license(told) == declared


def test_an_image_that_nobody_pushed_yet_is_not_begun(tmp_path: Path) -> None:
    ws = published(workspace(tmp_path / "cache", "oci-layout:registry"))
    stack = ws.settings.stacks["s"]
    more = replace(ws, settings=replace(ws.settings, stacks={"s": stack, "next": replace(stack, image="next")}))
    assert "0 attached, 0 there already, 0 failed" in pipeline.sbom(more, attach=True).lines[-1]
    assert [path.name for path in (tmp_path / "cache/registry").iterdir()] == ["v1.1"]


def test_the_document_of_a_licence_that_is_none_is_valid(tmp_path: Path) -> None:
    ws = workspace(tmp_path / "cache", "oci-layout:registry")
    node = make_node("pcre2")
    add_entry(ws.mirror("v1.1").root, [node])
    package = PackageInfo(license="BSD-3-Clause AND PCRE2-exception")
    ws.mirror("v1.1").write_record(Record(name="pcre2", version="1.0", hash=node["hash"], outcome=Built(seconds=1.0), package=package))
    assert pipeline.push(ws).exit_code == pipeline.index(ws).exit_code == 0
    pipeline.sbom(ws, "pcre2", out=str(tmp_path / "it.spdx.json"))
    validated(tmp_path / "it.spdx.json")


def test_what_an_attachment_costs(tmp_path: Path) -> None:
    """As the documentation counts it, at ghcr.io's pace."""
    steps = {"attached": {}, "looked at": {}, "known": {}}  # type: dict[str, dict[int, int]]
    for images in (10, 30):
        with serving_double() as double:
            ws = workspace(tmp_path / str(images), f"oci+http://{double.host}/owner/cache")
            add_chain(ws.mirror("v1.1").root, images)
            assert pipeline.push(ws).exit_code == 0
            assert pipeline.index(ws).exit_code == 0
            for step, look in (("attached", True), ("looked at", True), ("known", False)):
                double.requests.clear()
                assert pipeline.sbom(ws, attach=True, look=look).exit_code == 0
                steps[step][images] = len(double.requests) - double.count("^GET .*/blobs/")  # those are the catalog's
    each = {step: (counts[30] - counts[10]) / 20 for step, counts in steps.items()}
    assert each == {"attached": REQUESTS_AN_IMAGE, "looked at": 1, "known": 0}
    for page in ("docs/how-to/attach-boms.md", "docs/reference/cache-yaml.md"):
        assert f"{WORDS[REQUESTS_AN_IMAGE]} requests" in (PROJECT / page).read_text(encoding="utf-8")
