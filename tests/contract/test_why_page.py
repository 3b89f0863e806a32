"""The page that tells why not: a spec that is pasted is held against the builds of the site, in a browser."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from cachelib.model.config import Site
from cachelib.model.upstream import Offer, Upstream
from cachelib.steps.differing import differences
from cachelib.steps.rendering import SiteImage, render
from cachelib.steps.why import advice
from cachelib.tools.site import write_site
from cachelib.tools.templates import JinjaTemplates
from tests.support.browser import Complaints, browser, served
from tests.support.caches import LOCK
from tests.support.mirrors import make_catalog
from tests.unit.test_why import changed, dag, put, spec, target

TEMPLATES = JinjaTemplates(Path(__file__).resolve().parents[2] / "templates")
OURS = dag("c-blosc")
DEBUG = changed(OURS, ("c-blosc", put("parameters", "build_type", to="Debug")))
OLD = changed(OURS, ("*", target("x86_64")), ("c-blosc", put("version", to="1.0")))
EVIL = changed(dag("yaml-cpp"), ("yaml-cpp", put("parameters", "build_type", to="$(id)'s; x")))


@contextmanager
def serving(folder: Path, *upstreams: Upstream) -> Iterator[str]:
    dags = [[node.raw for node in spec(nodes).nodes.values()] for nodes in (DEBUG, OLD, EVIL, dag("libpng"))]
    image = SiteImage(
        name="v1.1", mirror_url="oci://ghcr.io/o/r/v1.1", reference="ghcr.io/o/r/v1.1", catalog=make_catalog(*dags), upstreams=upstreams
    )  # fmt: skip
    write_site(folder, render(Site(), [image], TEMPLATES))
    with served(folder) as url:
        yield url


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("why") / "site") as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium: Browser, site: str) -> Iterator[Page]:
    opened = chromium.new_page()
    complaints, asked = Complaints(), list[str]()
    complaints.listen(opened)
    opened.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    opened.goto(f"{site}/why/index.html")
    yield opened
    opened.close()
    assert complaints.found == []
    assert all(line.startswith(f"GET {site}/") for line in asked), "what is pasted leaves the browser"


def paste(page: Page, data: Any) -> None:
    page.locator("#pasted").fill(data if isinstance(data, str) else json.dumps(data))
    page.get_by_role("button", name="Compare").click()


def spec_file(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"spec": {"_meta": {"version": 5}, "nodes": [node.raw for node in spec(nodes).nodes.values()]}}


def test_the_nearest_build_and_what_differs(page: Page) -> None:
    paste(page, f"==> Warning: something that Spack said first\n{json.dumps(spec_file(OURS))}")
    answer = page.locator("#answers")
    expect(answer).to_contain_text("Of 2 builds the nearest is c-blosc@1.21.6/")
    expect(answer.locator("ol.differing li")).to_have_count(1)
    expect(answer.locator("ol.differing li")).to_contain_text(
        "variant build_type: you ask for build_type=Release, there is build_type=Debug"
    )
    expect(answer).to_contain_text("spack install c-blosc build_type=Debug")
    expect(answer.locator("pre").last).to_have_text(f"spack install --use-buildcache only /{DEBUG[0]['hash']}")
    answer.locator("p a").first.click()
    expect(page.locator("h1")).to_have_text("c-blosc@1.21.6")


def test_what_is_typed_is_what_a_shell_takes(page: Page) -> None:
    """A cache's owner wrote the names and the values; a command that is copied must not run them."""
    paste(page, spec_file(dag("yaml-cpp")))
    typed = advice("yaml-cpp", differences(spec(dag("yaml-cpp")), spec(EVIL))[0])
    assert shlex.split(typed) == ["spack", "install", "yaml-cpp", "build_type=$(id)'s; x"]
    expect(page.locator("ol.differing li")).to_contain_text(typed)


def test_a_build_that_is_there(page: Page) -> None:
    paste(page, spec_file(DEBUG))
    expect(page.locator("#answers")).to_contain_text("It is here: this very build")


def test_a_lock_file(page: Page) -> None:
    paste(page, LOCK.read_text(encoding="utf-8"))
    expect(page.locator("#answers h2")).to_have_text("1 of 79 are here")
    row = page.locator("ul.asked li", has_text="c-blosc")
    row.get_by_role("button").click()
    expect(row.locator("ol.differing li")).to_have_count(1)
    other = page.locator("ul.asked li", has_text="sqlite")
    other.get_by_role("button").click()
    expect(other).to_contain_text("No build of sqlite is here.")


def test_what_is_not_here_may_be_upstream(chromium: Browser, page: Page, tmp_path: Path) -> None:
    """Upstreams are part of the cache and are not looked at: that is said of whatever isn't here, and where they are."""
    told = "The caches that this one stands on were not looked at"
    upstreams = (
        Upstream(url="oci://ghcr.io/o/base/v1.1", offers={"a" * 32: Offer()}, site="https://base.example/"),
        Upstream(url="https://binaries.example/<b>"),
    )
    with serving(tmp_path / "site", *upstreams) as url:
        other = chromium.new_page()
        other.goto(f"{url}/why/index.html")
        answer = other.locator("#answers")
        for nodes in (OURS, dag("sqlite")):
            paste(other, spec_file(nodes))
            expect(answer.locator("p.upstreams")).to_have_count(1)
            expect(answer).to_contain_text(f"{told}: oci://ghcr.io/o/base/v1.1 (1 builds), https://binaries.example/<b> (0 builds).")
            expect(answer.locator("p.upstreams a")).to_have_attribute("href", "https://base.example/")
        paste(other, LOCK.read_text(encoding="utf-8"))
        expect(answer.locator("h2")).to_have_text("1 of 79 are here")
        expect(answer.locator("p.upstreams")).to_have_count(1)
        paste(other, spec_file(DEBUG))
        expect(answer).to_contain_text("It is here: this very build")
        expect(answer.locator("p.upstreams")).to_have_count(0)
        other.close()
    # Where there are none, none are spoken of.
    paste(page, spec_file(dag("sqlite")))
    expect(page.locator("#answers")).to_contain_text("No build of sqlite is here.")
    expect(page.locator("#answers")).not_to_contain_text("stands on")


def test_a_file_is_read(page: Page, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(spec_file(OURS)))
    page.locator("#file").set_input_files(tmp_path / "mine.json")
    expect(page.locator("#answers")).to_contain_text("Of 2 builds the nearest is")


@pytest.mark.parametrize(
    "text", ["", "hdf5", "{", "[]", "{}", '{"spec": {"nodes": []}}', '{"spec": {"nodes": [{"name": 7}]}}', '{"concrete_specs": {"x": 1}}']
)
def test_what_is_no_spec_is_told(page: Page, text: str) -> None:
    paste(page, text)
    expect(page.locator("#status")).to_contain_text("That is no concrete spec")
    expect(page.locator("#answers")).to_be_empty()


def test_hostile_specs_stay_text(page: Page) -> None:
    evil = "<img src=x onerror=alert(1)>\u202e"
    nodes = json.loads(json.dumps(spec_file(OURS)["spec"]["nodes"]))
    nodes[0] |= {"version": evil, "hash": "a" * 32, evil: evil, "namespace": evil}
    nodes[0]["parameters"] |= {evil: evil, "__proto__x": {"toString": 1}}
    paste(page, {"spec": {"_meta": {"version": 5}, "nodes": nodes}})
    expect(page.locator("#answers")).to_contain_text("you ask for <img src=x onerror=alert(1)>?")
    assert page.locator("#answers img").count() == 0
