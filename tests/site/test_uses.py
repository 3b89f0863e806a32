"""What people do with the site: without JavaScript, with a keyboard alone, and with the copy buttons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.site.kinds import KINDS, addresses
from tests.support.browser import Complaints, browser, served
from tests.support.sample import SITE

#: What a kind of page tells without a script.
PLAIN = {
    "front": "spack mirror add --unsigned", "packages": "c-blosc", "package": "spack install --use-buildcache only /",
    "build": "It takes JavaScript", "search": "All packages are listed without it", "found": "All packages are listed without it",
    "failures": "hdf5@1.14.11", "failure": "cannot find -lsz", "statistics": "Builds over time", "weather": "not built yet, or removed since",
    "why": "in a checkout of the cache", "missing": "All packages",
}  # fmt: skip


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def here(route: Route, url: str) -> None:
    """The site at its own address: what isn't there is shown at any depth, so that page names it."""
    route.fulfill(response=route.fetch(url=route.request.url.replace(SITE.url, url, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_without_javascript_it_is_read(chromium: Browser, site: Path, url: str, kind: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.route(f"{SITE.url}/**", lambda route: here(route, url))
    page = context.new_page()
    page.goto(f"{SITE.url}/{addresses(site)[kind]}")
    if kind in ("search", "found"):  # what stands in <noscript> is no text of a browser whose scripts are switched off from outside
        assert PLAIN[kind] in re.sub("<[^>]*>", "", page.content())
    else:
        expect(page.locator("main")).to_contain_text(PLAIN[kind])
    assert page.locator("main button:visible, main input:visible").count() == 0, "what needs a script is not shown"
    context.close()


def test_what_is_copied_is_the_line(chromium: Browser, site: Path, url: str) -> None:
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    for kind in ("front", "package", "build"):
        page = context.new_page()
        page.goto(f"{url}/{addresses(site)[kind]}")
        block = page.locator(".code:visible").first
        button = block.locator("button.copy")
        expect(button).to_be_visible()
        button.click()
        expect(button).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == block.locator("code").inner_text()
        page.close()
    context.close()


def test_a_keyboard_is_enough(chromium: Browser, site: Path, url: str) -> None:
    page = chromium.new_page()
    complaints = Complaints()
    complaints.listen(page)
    page.goto(f"{url}/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("/")
    page.wait_for_url("**/search/**")
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.type("c-blosc")
    expect(page.locator("#results strong").first).to_have_text("c-blosc")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/packages/c-blosc/**")
    expect(page.locator("h1")).to_have_text("c-blosc")
    page.close()
    assert complaints.found == []
