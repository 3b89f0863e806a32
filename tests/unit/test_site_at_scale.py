"""A site of 10,000 builds: what its files add up to, that none is large, and that ten builds more change few of them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from cachelib.model.config import Site
from cachelib.model.digest import Digest
from cachelib.model.site import SiteImage
from cachelib.steps.api.endpoints import ENDPOINTS
from cachelib.steps.rendering import render
from cachelib.tools.site import write_site
from cachelib.tools.templates import JinjaTemplates
from tests.support.api_client import check, endpoint_of, strict
from tests.support.caches import made_catalog, made_wanted

TEMPLATES = JinjaTemplates(Path(__file__).resolve().parents[2] / "templates")
BUILDS = 10_000


def files_of(count: int) -> dict[PurePosixPath, bytes]:
    catalog = made_catalog(count)
    wanted = (made_wanted(catalog, requests=3_000),)
    image = SiteImage(name="v1.1", mirror_url="oci://ghcr.io/o/r/v1.1", reference="ghcr.io/o/r/v1.1", catalog=catalog, wanted=wanted)
    return dict(render(Site(url="https://o.github.io/r"), [image], TEMPLATES))


@pytest.fixture(scope="module")
def files() -> dict[PurePosixPath, bytes]:
    return files_of(BUILDS)


def test_no_file_is_large(files: dict[PurePosixPath, bytes]) -> None:
    """But Spack's index, which is one file by its format."""
    large = [path for path, data in files.items() if len(data) > 2_000_000]
    assert [path.parts[:3] for path in large] == [("v1.1", "blobs", "sha256")]


def test_a_tenth_of_what_is_promised_takes_less_than_a_tenth_of_the_room(files: dict[PurePosixPath, bytes]) -> None:
    """100,000 builds are to take half of what GitHub Pages holds; spec files have what room is left then."""
    capped = {"_cache", "manifest"}
    assert sum(len(data) for path, data in files.items() if not capped & set(path.parts)) < 50_000_000
    assert sum(len(data) for path, data in files.items() if "_cache" in path.parts) < 200_000_000
    assert len(files) < 20_000


def test_a_file_of_each_kind_is_as_its_schema_says(files: dict[PurePosixPath, bytes]) -> None:
    tried = dict.fromkeys((endpoint.kind for endpoint in ENDPOINTS), 0)
    for path, data in files.items():
        name = path.as_posix()
        if (name.startswith("api/v1/") and name not in ("api/v1/openapi.json", "api/v1/schema.json")) or name.startswith("manifest/"):
            kind = endpoint_of(name).kind
            tried[kind] += 1
            if tried[kind] <= 3:
                check(name, strict(data))
    assert {kind for kind, count in tried.items() if not count} == {"failure-shard", "package-builds"}


def test_ten_builds_more_change_few_files(files: dict[PurePosixPath, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "site"
    first = write_site(folder, files.items())
    assert (first.files, first.new, first.changed, first.gone) == (len(files), len(files), 0, 0)
    assert write_site(folder, files.items()).new == 0
    more = files_of(BUILDS + 10)
    before = {path: (folder / path).stat().st_ino for path in files}
    written = write_site(folder, more.items())
    other = {path for path, data in more.items() if path in files and files[path] != data}
    assert (written.changed, written.new, written.gone) == (len(other), len(more.keys() - files.keys()), len(files.keys() - more.keys()))
    assert written.changed + written.new < 150
    for path, data in more.items():
        assert Digest.of((folder / path).read_bytes()) == Digest.of(data)
        if path in files and path not in other:
            assert (folder / path).stat().st_ino == before[path]
