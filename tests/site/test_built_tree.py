"""The built tree: valid HTML, links that lead somewhere, files that agree with each other. A check that found nothing to check fails."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from openapi_spec_validator import validate

from tests.site.conftest import PROJECT, need_tool
from tests.support.api_client import check, strict
from tests.support.sample import BUILDS, FAILURES, SITE
from tests.unit.test_rendering import Page


def html(site: Path) -> list[Path]:
    # What lies below manifest/ is JSON, served as HTML since the first generation did.
    return [path for path in sorted(site.rglob("*.html")) if path.relative_to(site).parts[0] != "manifest"]


def test_every_page_is_valid_html(site: Path) -> None:
    program = need_tool(".bin/html-validate")
    pages = [str(path.relative_to(site)) for path in html(site)]
    assert len(pages) > 130
    config = PROJECT / ".ci/site/.htmlvalidate.json"
    done = subprocess.run([str(program), "--config", str(config), *pages], cwd=site, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_every_link_and_fragment_leads_somewhere(site: Path) -> None:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in html(site)}
    hashes = {h for shard in (site / "api/v1/specs").glob("*.json") for h in json.loads(shard.read_text(encoding="utf-8"))["specs"]}
    checked = fragments = 0
    for path, page in pages.items():
        for link in page.links:
            base = site if link.startswith(SITE.url) else path.parent
            target, _, fragment = link.removeprefix(f"{SITE.url}/").partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            where = (base / unquote(target.partition("?")[0])).resolve() if target else path
            where = where / "index.html" if where.is_dir() else where
            assert where.is_file(), f"{path.relative_to(site)} links to {link}"
            checked += 1
            if where == site / "build/index.html" != path:  # one page for all builds: its script reads which from the fragment
                assert fragment in hashes, f"{path.relative_to(site)} links to {link}"
                fragments += 1
            elif fragment and where.suffix == ".html":
                assert unquote(fragment) in pages[where].ids, f"{path.relative_to(site)} links to {link}"
                fragments += 1
    assert checked > 1000
    assert fragments > 10


def test_nothing_is_fetched_from_elsewhere_or_run_inline(site: Path) -> None:
    """Offline, and under the page's own policy, the site works: styles and scripts are files of it."""
    scripts = 0
    for path in html(site):
        for tag, attributes in Page(path.read_text(encoding="utf-8")).tags:
            assert not [name for name in attributes if name.startswith("on")], f"{path}: {attributes}"
            assert "style" not in attributes, f"{path}: {attributes}"
            if tag in ("script", "img", "iframe", "object", "embed"):
                source = str(attributes.get("src"))
                assert tag == "script", f"{path}: {tag}"
                assert not re.match(r"([a-z]+:|//)", source) or source.startswith(SITE.url), f"{path}: {source}"
                scripts += 1
    assert scripts > 130


def test_no_table_is_empty(site: Path) -> None:
    tables = 0
    for path in html(site):
        text = path.read_text(encoding="utf-8")
        for body in re.findall(r"<tbody[^>]*>(.*?)</tbody>", text, flags=re.DOTALL):
            assert "<tr" in body, path
            tables += 1
    assert tables >= 3


def test_counts_agree(site: Path) -> None:
    service = json.loads((site / "api/v1/index.json").read_text(encoding="utf-8"))
    front = (site / "index.html").read_text(encoding="utf-8")
    packages = [path for path in (site / "packages").iterdir() if path.is_dir()]
    assert service["counts"]["builds"] == BUILDS
    assert service["counts"]["packages"] == len(packages) == len(list((site / "badges").glob("*.svg")))
    assert f"<dd>{BUILDS}</dd>" in front
    assert f"<dd>{len(packages)}</dd>" in front
    assert len([path for path in (site / "failures").iterdir() if path.is_dir()]) == FAILURES
    linked = re.findall(r'build/index.html#([a-z2-7]{32})"', "".join(path.read_text(encoding="utf-8") for path in html(site / "packages")))
    assert len(set(linked)) == BUILDS


def test_every_json_and_xml_file_is_one(site: Path) -> None:
    found = {"json": 0, "xml": 0, "svg": 0}
    for path in site.rglob("*"):
        match path.suffix:
            case ".json":
                json.loads(path.read_text(encoding="utf-8"))
            case ".xml" | ".svg":
                ElementTree.parse(path)
            case _:
                continue
        found[path.suffix[1:]] += 1
    assert found["json"] > 1000
    assert found["xml"] == 3
    assert found["svg"] > 100


def test_every_body_of_the_api_is_as_its_schema_says(site: Path) -> None:
    kinds = set()
    for path in (*(site / "api").rglob("*.json"), *(site / "manifest").rglob("*.html")):
        name, body = path.relative_to(site).as_posix(), strict(path.read_bytes())
        if path.name == "openapi.json":
            validate(body)
        elif path.name != "schema.json":
            check(name.replace("/index.html", "/"), body)
            kinds.add(body["meta"]["kind"] if "meta" in body else "spec-file")
    assert kinds >= {"service", "package", "spec-shard", "failure-shard", "weather-stack", "spec-file", "manifest"}


def test_feeds_are_feeds(site: Path) -> None:
    """Atom (RFC 4287) and JSON Feed 1.1: what they say must be there is there, each entry once, and its address is one of the site."""
    atom = "{http://www.w3.org/2005/Atom}"
    for name in ("builds", "failures"):
        feed = ElementTree.parse(site / f"feeds/{name}.xml").getroot()
        items = json.loads((site / f"feeds/{name}.json").read_text(encoding="utf-8"))
        assert feed.tag == f"{atom}feed"
        assert items["version"] == "https://jsonfeed.org/version/1.1"
        entries = feed.findall(f"{atom}entry")
        for part in (feed, *entries):
            assert all(part.findtext(f"{atom}{needed}") for needed in ("id", "title", "updated")), name
        assert feed.find(f"{atom}author") is not None or all(entry.find(f"{atom}author") is not None for entry in entries)
        ids = [entry.findtext(f"{atom}id") for entry in entries]
        assert ids == [item["id"] for item in items["items"]]
        assert len(ids) == len(set(ids)) >= 10
        for item in items["items"]:
            assert item["url"].startswith(SITE.url)
            assert "content_text" in item or "content_html" in item
