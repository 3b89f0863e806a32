"""The site: every page tells of its own package, the same input gives the same bytes, nothing hostile comes through."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from cachelib.model.config import Site
from cachelib.model.errors import RenderError
from cachelib.model.quantity import human_bytes
from cachelib.model.version import version_key
from cachelib.steps.image import PREFIX
from cachelib.steps.rendering import SiteImage, render
from cachelib.tools.site import MARKER, Written, write_site
from cachelib.tools.templates import JinjaTemplates
from tests.support.mirrors import make_catalog, make_node

TEMPLATES = JinjaTemplates(Path(__file__).resolve().parents[2] / "templates")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 1234*4321 }}\u202e"


def annotated(node: dict[str, Any], annotations: Mapping[str, str], *below: dict[str, Any]) -> Any:
    return [node, *below], annotations


def site_of(*added: Any, site: Site | None = None) -> dict[str, bytes]:
    made = make_catalog(*(nodes for nodes, _ in added))
    about = {nodes[0]["hash"]: annotations for nodes, annotations in added}
    catalog = replace(made, entries={h: replace(entry, annotations=about[h]) for h, entry in made.entries.items()})
    image = SiteImage(name="v1.1", mirror_url="oci://ghcr.io/o/r/v1.1", reference="ghcr.io/o/r/v1.1", catalog=catalog)
    return {path.as_posix(): data for path, data in render(site or Site(), [image], TEMPLATES)}


def many() -> list[Any]:
    """Twelve packages, three of them with several builds: the first generation paired eleven of twelve pages wrongly."""
    library = make_node("zlib")
    nodes = [make_node(f"package-{at}", f"1.{at}", dependencies=[library]) for at in range(11)]
    more = [make_node("package-3", "1.10"), make_node("package-3", "1.9"), make_node("zlib", "develop")]
    about = {"org.opencontainers.image.description": "Something", f"{PREFIX}build.seconds": "12.5"}
    return [annotated(node, about, library) for node in nodes] + [annotated(library, about), *(annotated(node, about) for node in more)]


class Page(HTMLParser):
    """Links, ids and tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids.update(value for key, value in found.items() if key == "id" and value)
        self.links += [str(found[key]) for key in ("href", "src") if key in found]


def pages(files: dict[str, bytes]) -> dict[str, Page]:
    # What lies below manifest/ is JSON, though it is served as HTML.
    return {path: Page(data.decode()) for path, data in files.items() if path.endswith(".html") and not path.startswith("manifest/")}


def scripts(page: Page) -> list[str | None]:
    return [attrs.get("src") for tag, attrs in page.tags if tag == "script"]


def test_every_page_is_about_its_own_package() -> None:
    files = site_of(*many())
    checked = 0
    for path, data in files.items():
        if match := re.fullmatch(r"packages/(.+)/index\.html", path):
            api = json.loads(files[f"api/v1/packages/{match[1]}.json"])
            assert api["name"] == match[1]
            assert f"<h1>{match[1]}</h1>" in data.decode()
            for build in api["builds"]:
                spec = json.loads(files[f"api/v1/specs/{build['hash'][:2]}.json"])["specs"][build["hash"]]
                assert spec["node"]["name"] == match[1]
                assert f'build/index.html#{build["hash"]}"' in data.decode()
                assert spec["builds"][0]["reference"].endswith(f":{match[1]}-{build['version']}-{build['hash']}.spack")
            checked += 1
    assert checked == 12


def test_counts_agree() -> None:
    service = json.loads(site_of(*many())["api/v1/index.json"])
    assert (service["counts"]["packages"], service["counts"]["builds"], service["images"][0]["builds"]) == (12, 15, 15)


def test_the_same_bytes_in_any_order() -> None:
    assert site_of(*many()) == site_of(*reversed(many()))


def test_newest_version_first() -> None:
    builds = json.loads(site_of(*many())["api/v1/packages/package-3.json"])["builds"]
    assert [build["version"] for build in builds] == ["1.10", "1.9", "1.3"]
    ordered = ["develop", "2.0", "1.10", "1.9.1", "1.9", "1.9-rc1", "a"]
    assert sorted(ordered, key=version_key, reverse=True)[:4] == ordered[:4]


def test_every_link_leads_somewhere() -> None:
    files = site_of(*many(), site=Site(url="https://o.github.io/r"))
    found = pages(files)
    hashes = {h for path in files if path.startswith("api/v1/specs/") for h in json.loads(files[path])["specs"]}
    checked = 0
    for path, page in found.items():
        for link in page.links:
            if link.startswith(("data:", "https://spack.io", "https://o.github.io")):
                continue
            target, _, fragment = link.partition("#")
            where = (PurePosixPath(path).parent / target) if target else PurePosixPath(path)
            parts: list[str] = []
            for part in where.parts:
                parts = parts[:-1] if part == ".." else [*parts, part]
            resolved = "/".join(parts)
            assert resolved in files, f"{path} links to {link}"
            if resolved == "build/index.html" != path:  # One page for all builds: its script reads which from the fragment.
                assert fragment in hashes, f"{path} links to {link}"
            elif fragment and resolved.endswith(".html"):
                assert fragment in found[resolved].ids, f"{path} links to {link}"
            checked += 1
    assert checked > 100


def test_an_empty_cache_has_a_site() -> None:
    files = site_of()
    assert "Nothing is published yet" in files["packages/index.html"].decode()
    assert json.loads(files["api/v1/index.json"])["counts"]["builds"] == 0


@pytest.mark.parametrize("where", ["description", "url", "licenses", "created"])
def test_hostile_annotations_change_nothing(where: str) -> None:
    node = make_node("zlib")
    for value in (HOSTILE, f"javascript:alert(1)//{HOSTILE}", "data:text/html,<script>", "\x1b[31m\x00"):
        about = {f"org.opencontainers.image.{where}": value, f"{PREFIX}build.run": value, f"{PREFIX}build.seconds": value}
        files = site_of(annotated(node, about))
        harmless = site_of(annotated(node, {f"org.opencontainers.image.{where}": "fine"}))
        found = pages(harmless)
        for path, page in pages(files).items():
            tags = [tag for tag, _ in page.tags]
            assert scripts(page) == scripts(found[path])
            assert "img" not in tags
            assert not [link for link in page.links if link.lower().startswith(("javascript:", "data:text"))]
            assert not [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)]
            if where in ("description", "created"):
                assert {tag for tag, _ in found[path].tags} >= set(tags) - {"p", "dt", "dd"}
        json.loads(files["api/v1/packages/zlib.json"])
        assert b"5332114" not in files["packages/zlib/index.html"]


def test_a_hostile_title_is_text() -> None:
    front = site_of(site=Site(title=HOSTILE, description=HOSTILE))["index.html"].decode()
    assert scripts(Page(front)) == ["assets/site.js"]


def test_no_page_loads_anything_from_elsewhere() -> None:
    for page in pages(site_of(*many())).values():
        assert [
            tag
            for tag, attrs in page.tags
            if tag in ("script", "link", "img") and str(attrs.get("src") or attrs.get("href")).startswith("http")
        ] == []
        assert any(attrs.get("http-equiv") == "Content-Security-Policy" for _, attrs in page.tags)


def test_a_site_takes_the_place_of_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    first = write_site(folder, [(PurePosixPath("a/b.html"), b"1"), (PurePosixPath("old"), b"1")])
    assert first == Written(files=2, size=2, new=2, changed=0, gone=0)
    assert write_site(folder, [(PurePosixPath("a/b.html"), b"2")]) == Written(files=1, size=1, new=0, changed=1, gone=1)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {"a/b.html", MARKER}
    assert (folder / "a/b.html").read_bytes() == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_what_is_the_same_is_not_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    files = {f"d{at % 3}/f{at}": b"%d" % at for at in range(9)}
    write_site(folder, [(PurePosixPath(path), data) for path, data in files.items()])
    before = {path: (folder / path).stat() for path in files}
    files |= {"d0/f0": b"other", "d9/new": b"x"}
    del files["d1/f1"]
    assert write_site(folder, [(PurePosixPath(path), data) for path, data in files.items()]) == Written(
        files=9, size=13, new=1, changed=1, gone=1
    )
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == files | {MARKER: b""}
    for path in files.keys() & before.keys() - {"d0/f0"}:
        assert ((folder / path).stat().st_ino, (folder / path).stat().st_mtime_ns) == (before[path].st_ino, before[path].st_mtime_ns)
        assert (folder / path).stat().st_nlink == 1


def test_a_link_in_the_last_site_is_not_followed(tmp_path: Path) -> None:
    folder, secret = tmp_path / "site", tmp_path / "secret"
    secret.write_bytes(b"1")
    write_site(folder, [(PurePosixPath("a"), b"1")])
    (folder / "a").unlink()
    (folder / "a").symlink_to(secret)
    assert write_site(folder, [(PurePosixPath("a"), b"1")]).new == 1
    assert not (folder / "a").is_symlink()
    assert secret.stat().st_nlink == 1


def test_a_failed_render_leaves_the_last_site(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    write_site(folder, [(PurePosixPath("a"), b"1")])
    for bad in ("../a", "/etc/x", "B"):
        with pytest.raises(RenderError):
            write_site(folder, [(PurePosixPath("b"), b"2"), (PurePosixPath(bad), b"3")])
    assert (folder / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RenderError, match="not a site of ours"):
        write_site(tmp_path, [(PurePosixPath("a"), b"1")])
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_614_713, "9.6 MB"), (123_456_789, "123 MB"), (5e12, "5.0 TB")]
)
def test_sizes_as_people_read_them(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_a_template_that_names_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.html").write_text("{{ nobody }}")
    with pytest.raises(RenderError, match="nobody"):
        JinjaTemplates(tmp_path).render("x.html", {})
