"""The built tree: valid HTML, links that lead somewhere, files that agree with each other. A check that found nothing to check fails."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from tests.site.conftest import PROJECT, need_tool
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
