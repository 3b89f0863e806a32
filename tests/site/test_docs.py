"""The documentation as it is deployed: built strictly, loading nothing from elsewhere, every link right, and its search finds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser

from tests.site.conftest import PROJECT, need_tool
from tests.support.browser import Complaints, browser, served
from tests.unit.test_rendering import Page

#: What fetches by itself when a page is opened. A link doesn't.
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "embed": "src", "object": "data", "video": "src", "audio": "src"}


def build(source: Path, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """As `nox -s docs` does."""
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-E", str(source), str(folder)]
    return subprocess.run(command, text=True, capture_output=True, check=False, timeout=300, env={**os.environ, **env})


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documentation."""
    if not os.environ.get("CI"):
        pytest.importorskip("sphinx", reason="`nox -s site` brings it")
    folder = tmp_path_factory.mktemp("docs") / "built"
    done = build(PROJECT / "docs", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


def pages(docs: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(docs.rglob("*.html"))}


def test_every_page_is_built(docs: Path) -> None:
    made = {path.relative_to(docs).with_suffix("") for path in docs.rglob("*.html")}
    assert made >= {path.relative_to(PROJECT / "docs").with_suffix("") for path in (PROJECT / "docs").rglob("*.md")}


def test_beside_a_site_there_is_a_way_back(docs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "built"
    done = build(PROJECT / "docs", folder, DOCS_WITH_SITE="yes", GITHUB_REPOSITORY="owner/repo", GITHUB_SHA="abc")
    assert done.returncode == 0, done.stderr
    for name, back in (("index.html", "./../index.html"), ("how-to/own-recipes.html", "../../index.html")):
        assert back in Page((folder / name).read_text(encoding="utf-8")).links
        assert back not in Page((docs / name).read_text(encoding="utf-8")).links
    # Where the repository is known, what no page shows is linked there; else it is text.
    outward = "https://github.com/owner/repo/tree/abc/examples/spack_repo/examples"
    assert outward in Page((folder / "how-to/own-recipes.html").read_text(encoding="utf-8")).links
    assert "[README]" not in (docs / "index.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(docs: Path) -> None:
    loaded = 0
    for path, page in pages(docs).items():
        for tag, attributes in page.tags:
            kind = str(attributes.get("rel") or "")
            names = ["href"] if tag == "link" and kind not in ("canonical", "next", "prev", "index", "search") else [LOADS.get(tag, "")]
            for address in (str(attributes[name]) for name in (*names, "srcset") if attributes.get(name)):
                assert not re.match(r"(?!data:)[a-z]+:|//", address), f"{path.relative_to(docs)} loads {address}"
                loaded += 1
    for path in docs.rglob("*.css"):
        for address in re.findall(r"url\(\s*[\"']?([^\"')]+)|@import\s+[\"']([^\"']+)", path.read_text(encoding="utf-8")):
            assert not re.match(r"(?!data:)[a-z]+:|//", "".join(address)), f"{path.relative_to(docs)} loads {address}"
    assert loaded > 300


def test_every_link_and_fragment_leads_somewhere(docs: Path) -> None:
    found = pages(docs)
    checked = fragments = 0
    for path, page in found.items():
        for link in page.links:
            target, _, fragment = link.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            where = (path.parent / unquote(target.partition("?")[0])).resolve() if target else path
            assert where.is_file(), f"{path.relative_to(docs)} links to {link}"
            checked += 1
            if fragment and where in found:
                assert unquote(fragment) in found[where].ids, f"{path.relative_to(docs)} links to {link}"
                fragments += 1
    assert checked > 1000
    assert fragments > 100


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("why", "look-into-a-cache"),
        ("retention", "prune-a-cache"),
        ("attestations", "trust"),
        ("docker-registry", "performance"),
        ("package_path", "first-generation"),
    ],
)
def test_the_search_finds(docs: Path, chromium: Browser, words: str, page: str) -> None:
    complaints = Complaints()
    asked: list[str] = []
    with served(docs) as url:
        shown = chromium.new_page()
        complaints.listen(shown)
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(f"{url}/how-to/own-recipes.html")
        shown.fill("input[name=q]", words)
        shown.press("input[name=q]", "Enter")
        shown.wait_for_selector(f"#search-results li a[href*={page}]", timeout=20_000)
        assert [address for address in asked if not address.startswith((url, "data:"))] == []
        assert len(asked) > 10
        shown.close()
    assert complaints.found == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_as_the_system_says(docs: Path, chromium: Browser, scheme: str) -> None:
    with served(docs) as url:
        context = chromium.new_context(color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{url}/explanation/architecture.html")
        red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0]")
        assert (int(red) < 60) == (scheme == "dark")
        # The pictures are of the same colour: they are files of their own, and know the scheme by themselves.
        assert page.evaluate("[...document.querySelectorAll('article img')].map(one => one.complete && one.naturalWidth > 0)") == [
            True,
            True,
        ]
        context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
@pytest.mark.parametrize("name", ["tutorial/first-cache", "reference/features"])
def test_a_page_is_for_everyone(docs: Path, chromium: Browser, name: str, scheme: str, width: int) -> None:
    """As for pages of a cache; that the theme has two asides without names is let pass."""
    rules = need_tool("axe-core/axe.min.js").read_text(encoding="utf-8")
    with served(docs) as url:
        context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{url}/{name}.html")
        page.evaluate(rules)
        told = page.evaluate("axe.run(document, {rules: {'landmark-unique': {enabled: false}}})")
        assert [f"{one['id']}: {one['nodes'][0]['html']}" for one in told["violations"]] == []
        assert len(told["passes"]) > 20
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        context.close()


@pytest.mark.parametrize(
    ("page", "added", "said"),
    [
        ("how-to/prune-a-cache.md", "[gone](gone.md)", "gone.md"),
        ("how-to/prune-a-cache.md", "[gone](mend-a-cache.md#gone)", "gone"),
        ("how-to/orphan.md", "# Nobody leads here", "orphan"),
        ("how-to/prune-a-cache.md", "![gone](gone.png)", "gone.png"),
        ("index.md", "\n- [gone](how-to/gone.md)\n", "gone"),
    ],
)
def test_what_is_wrong_fails_the_build(docs: Path, tmp_path: Path, page: str, added: str, said: str) -> None:
    copy = tmp_path / "docs"
    shutil.copytree(PROJECT / "docs", copy, ignore=shutil.ignore_patterns("explanation", "__pycache__"))
    text = (copy / page).read_text(encoding="utf-8") if (copy / page).exists() else ""
    (copy / page).write_text(f"{text}\n{added}\n", encoding="utf-8")
    done = build(copy, tmp_path / "built")
    assert done.returncode != 0
    assert any(said in line for line in done.stderr.splitlines() if page.removesuffix(".md") in line), done.stderr[-2000:]
