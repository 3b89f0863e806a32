"""Every kind of page in Chromium, light and dark, wide and narrow: no violation that axe-core finds, and nothing that sticks out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.site.conftest import PROJECT, need_tool
from tests.site.kinds import KINDS, addresses
from tests.support.browser import Complaints, browser, served
from tests.support.sample import SITE

_WIDE, _NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
#: Rules beyond those of WCAG that axe-core calls good practice are held too; a finding is told by its rule and where it is.
_RUN = """async () => (await axe.run(document)).violations
  .map(({id, nodes}) => `${id}: ${nodes.map((node) => `${node.target} (${node.failureSummary})`).join('; ')}`)"""
_PASSED = "async () => (await axe.run(document)).passes.length"


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def opened(chromium: Browser, site: Path, url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a kind in a scheme of colours at a width; the validator is let in past the page's own policy."""
    kind, scheme, size = request.param
    context = chromium.new_context(viewport=size, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    # The page for what isn't there is shown at any depth, so it names the site's own address.
    context.route(f"{SITE.url}/**", lambda route: _here(route, url))
    page = context.new_page()
    complaints = Complaints()
    complaints.listen(page)
    page.goto(f"{url}/{addresses(site)[kind]}")
    page.wait_for_load_state("networkidle")
    yield page
    context.close()
    assert complaints.found == []


def _here(route: Route, url: str) -> None:
    route.fulfill(response=route.fetch(url=route.request.url.replace(SITE.url, url, 1)))


def _every() -> list[Any]:
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    widths = (("wide", _WIDE), ("narrow", _NARROW))
    return [
        pytest.param((kind, scheme, size), id=f"{kind}-{scheme}-{width}") for kind in KINDS for scheme in schemes for width, size in widths
    ]


@pytest.mark.parametrize("opened", _every(), indirect=True)
def test_a_page_is_for_everyone(opened: Page) -> None:
    opened.add_script_tag(path=need_tool("axe-core/axe.min.js"))
    assert opened.evaluate(_RUN) == []
    assert opened.evaluate(_PASSED) > 10, "axe-core looked at next to nothing"
    room, needed = opened.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollWidth]")
    assert needed <= room, "the page is wider than the window"


def test_no_template_is_left_out() -> None:
    """A new page has to be looked at too."""
    pages = {path.stem for path in (PROJECT / "templates/site").glob("*.html")} - {"base", "macros"}
    assert pages == {"404" if kind == "missing" else "index" if kind == "front" else kind for kind in KINDS if kind != "found"}
