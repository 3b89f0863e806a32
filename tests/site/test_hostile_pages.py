"""The hostile site in Chromium: every page is seen, every build and query asked for, and nothing of what others wrote happens."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Frame, Page, Request, expect

from cachelib.model.site import SiteImage
from cachelib.steps.rendering import render
from cachelib.tools.site import write_site
from cachelib.tools.templates import JinjaTemplates
from tests.site.conftest import PROJECT
from tests.support.browser import Complaints, browser, served
from tests.support.hostile import HUGE, MARKED, ODD, PRODUCT, TEXTS
from tests.support.hostile_site import SITE, hash_of_failure, hostile, image, name_of, odd_image, packed, payloads

TEXT = [text.encode("utf-8", "replace").decode() for texts in TEXTS.values() for text in texts]
#: What pages are made of; everything else in one came from what somebody wrote.
TAGS = [
    "a",
    "article",
    "body",
    "br",
    "button",
    "circle",
    "code",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "footer",
    "g",
    "h1",
    "h2",
    "h3",
    "h4",
    "head",
    "header",
    "html",
    "input",
    "kbd",
    "label",
    "li",
    "link",
    "main",
    "mark",
    "meta",
    "meter",
    "nav",
    "noscript",
    "option",
    "output",
    "p",
    "path",
    "pre",
    "rect",
    "script",
    "section",
    "select",
    "small",
    "span",
    "strong",
    "style",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "ul",
]
AUDIT = """(tags) => {
  const found = window.PWNED === undefined && ({}).PWNED === undefined ? [] : ["a script ran"];
  for (const element of document.querySelectorAll("*")) {
    if (!tags.includes(element.localName)) found.push(element.outerHTML.slice(0, 200));
    if (element.localName === "script" && !element.src.startsWith(`${location.origin}/assets/`)) found.push(element.outerHTML.slice(0, 200));
    for (const { name, value } of element.attributes) {
      if (name.startsWith("on") || name === "style" || name === "srcdoc") found.push(`${name}=${value}`);
      if (!/^(href|src|action|formaction|data|xlink:href)$/.test(name) || element.rel === "icon") continue;
      if (!/^https?:$/.test(new URL(value, location).protocol)) found.push(`${name}=${value}`);
    }
  }
  return found;
}"""


@dataclass(slots=True)
class Watched:
    """A page, and all that is to be heard of it: complaints, requests to elsewhere, and where it went by itself."""

    page: Page
    root: str
    complaints: Complaints
    elsewhere: list[str]

    def check(self, *known: str) -> None:
        """Assert that nothing happened; errors of the console that hold one of the words `known` are meant."""
        assert self.page.evaluate(AUDIT, TAGS) == []
        assert self.elsewhere == []
        assert self.page.url.startswith(f"{self.root}/")
        assert [text for text in self.complaints.found if not any(word in text for word in known)] == []

    def open(self, path: str, *known: str) -> str:
        """Show a page of the site, check it, and return the text on it."""
        address = f"{self.root}/{path}"
        self.page.goto(address)
        self.check(*known)
        return self.page.locator("main").inner_text()


def _site(folder: Path, *images: SiteImage) -> Path:
    title = " ".join(text for text in TEXT if text.isprintable())
    write_site(folder, render(replace(SITE, title=title, description=title), images, JinjaTemplates(PROJECT / "templates")))
    return folder


@pytest.fixture(scope="module")
def images() -> list[SiteImage]:
    return [image(hostile, packed()), odd_image()]


@pytest.fixture(scope="module")
def root(images: list[SiteImage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(_site(tmp_path_factory.mktemp("packed") / "site", *images)) as url:
        yield url


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site in which each payload has a package and a failure of its own, for pages that list them all."""
    with served(_site(tmp_path_factory.mktemp("long") / "site", image(hostile, payloads()))) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@contextlib.contextmanager
def watching(chromium: Browser, root: str) -> Iterator[Watched]:
    page = chromium.new_page()
    complaints, elsewhere = Complaints(), list[str]()
    complaints.listen(page)

    def ask(request: Request) -> None:
        if not request.url.startswith((f"{root}/", "data:image/svg+xml,%3Csvg")):
            elsewhere.append(request.url)

    def went(frame: Frame) -> None:
        if frame.parent_frame is not None or not frame.url.startswith((f"{root}/", "about:blank")):
            elsewhere.append(frame.url)

    page.on("request", ask)
    page.on("framenavigated", went)
    page.on("popup", lambda other: elsewhere.append(other.url))
    yield Watched(page, root, complaints, elsewhere)
    page.close()


@pytest.fixture
def seen(chromium: Browser, root: str) -> Iterator[Watched]:
    with watching(chromium, root) as found:
        yield found


def markers(text: str) -> set[str]:
    return set(re.findall(r"m\d{3}m", text))


@pytest.mark.parametrize(
    "path", ["index.html", "packages/index.html", "failures/index.html", "statistics/index.html", "weather/index.html", "search/index.html"]
)
def test_the_lists(chromium: Browser, long: str, path: str) -> None:
    with watching(chromium, long) as seen:
        told = seen.open(path)
        assert PRODUCT not in told
        assert len(markers(told)) >= len(MARKED) or path in ("index.html", "search/index.html")
        assert "<script>" in seen.page.title(), "the site's own title is a text too"


def test_every_package(seen: Watched) -> None:
    for marker, text in packed():
        told = seen.open(f"packages/{name_of(marker)}/index.html")
        assert markers(text) <= markers(told), "in the variants, if not in the description"
        assert PRODUCT not in told


def test_every_failure(seen: Watched) -> None:
    for at, (_, text) in enumerate(packed()):
        told = seen.open(f"failures/{hash_of_failure(at)}/index.html")
        assert markers(text) == markers(told)
        assert PRODUCT not in told


def test_every_build(seen: Watched, images: list[SiteImage]) -> None:
    """One page shows them all, what nobody published too: the address says which, and a script draws the nodes of its DAG."""
    seen.open("build/index.html")
    texts = dict(packed())
    count = 0
    for found in images:
        for h in found.catalog.database.lines:
            node = found.catalog.database.node(h)
            seen.page.evaluate("h => { location.hash = h; }", h)
            if len(found.catalog.database.text(h)) > 64 * 1024:
                expect(seen.page.locator("h1")).to_have_text("No such build")
                continue
            expect(seen.page.locator("svg a.node.root")).to_have_attribute("data-hash", h)
            expect(seen.page.locator("h1")).to_have_text(f"{node['name']}@{node['version']}")
            told = seen.page.locator("main").inner_text()
            assert markers(texts.get(node["name"][-5:], "")) <= markers(told), node["name"]
            assert PRODUCT not in told
            count += 1
    seen.check()
    assert count > 3 * len(texts) + len(ODD)


def test_another_build_is_chosen(seen: Watched, images: list[SiteImage]) -> None:
    for name in ("case-m000m", "case-m030m", "odd-14", "odd-15", "odd-21", "bare-16"):
        for found in images:
            for h in found.catalog.entries:
                if found.catalog.database.node(h)["name"] == name:
                    seen.open(f"packages/{name}/index.html#{h}")
                    expect(seen.page.locator("#chosen")).to_contain_text("Why this build")
                    expect(seen.page.locator("#chosen h2")).to_contain_text(f"/{h[:7]}")
        seen.check()


@pytest.mark.parametrize("page", ["search", "build", "packages/case-m000m"])
def test_hostile_addresses(seen: Watched, page: str) -> None:
    every = [quote(text.encode()) for text in TEXT]
    for at in range(0, len(every), 48):
        written = every[at : at + 48]
        pairs = "&".join(f"{key}={text}" for key in ("q", "target", "variant", "version", "hash", "__proto__") for text in written[::5])
        seen.open(f"{page}/index.html?{pairs}&{'&'.join(written)}#{written[0]}", "404 (")
        seen.page.evaluate("texts => { for (const text of texts) location.hash = text; }", written)
        seen.check("404 (")


def test_hostile_searches(seen: Watched) -> None:
    seen.open("search/index.html")
    expect(seen.page.locator("#status")).to_contain_text("builds")
    write = """texts => { for (const text of texts) {
      const field = document.getElementById("query");
      field.value = text;
      field.dispatchEvent(new Event("input"));
    } }"""
    signs = ("", "@", "%", "+", "target=", "a=", "%gcc@")
    seen.page.evaluate(write, [f"{signs[at % len(signs)]}{text}" for at, text in enumerate(TEXT)])
    seen.page.evaluate(write, [HUGE, "@:", "%@", "@=", "^", "@,,", "%gcc@:,", "@constructor", "target=__proto__"])
    for text, found in (("case-m000", "m000m"), ("case-m048", "m048m"), ("<script>", "<script>")):
        seen.page.locator("#query").fill(text)
        expect(seen.page.locator(".option.package").first).to_contain_text(found)
        seen.page.keyboard.press("ArrowDown")
    # A query that looks like a DAG hash asks for a file that may not be there.
    seen.check("404 (")


def test_what_is_not_there(seen: Watched) -> None:
    for texts in TEXTS.values():
        address = "".join(quote(text.encode("utf-8", "replace"), safe="") for text in texts)
        assert "Nothing is here" in seen.open(f"nowhere-{address}?{address}#{address}", "404 (")


def test_needs_in_a_circle_end(seen: Watched) -> None:
    """No spec that was indexed has one; a catalog that somebody else wrote may."""
    seen.open("build/index.html")
    found = seen.page.evaluate("""async () => {
      const { layers } = await import("/assets/api.js");
      const node = (hash, ...needs) => [hash, { hash, dependencies: needs.map((other) => ({ hash: other, type: ["link"] })) }];
      return layers(new Map([node("a", "b", "a"), node("b", "c"), node("c", "a", "d"), node("d")]), "a").map(({ hash }) => hash);
    }""")
    assert found == ["d", "c", "b", "a"]
    seen.check()
