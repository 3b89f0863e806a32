"""The search of the site in a real browser: what is typed, chosen and pressed, and what a hostile name does not do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, expect

from cachelib.model.config import Site
from cachelib.model.site import SiteImage
from cachelib.model.version import in_range
from cachelib.steps.image import PREFIX
from cachelib.steps.rendering import render
from cachelib.tools.templates import JinjaTemplates
from tests.support import browser as chromium
from tests.support.browser import shown
from tests.support.contents import made_contents, search_site
from tests.support.mirrors import make_catalog, make_node

TEMPLATES = JinjaTemplates(Path(__file__).resolve().parents[2] / "templates")
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def arch(target: str, os: str = "debian12") -> dict[str, str]:
    return {"platform": "linux", "platform_os": os, "target": target}


NODES = [
    make_node("hdf5-blosc", "1.0"),
    make_node("hdf5", "1.14.3", parameters={"mpi": True, "api": "v18"}),
    make_node("hdf5", "1.14.3", parameters={"mpi": False, "api": "v18"}, arch=arch("neoverse_v1")),
    make_node("hdf5", "1.12.0", parameters={"mpi": True}, arch=arch("neoverse_v1")),
    make_node("hdf5", "1.2", parameters={"mpi": True}, arch=arch("neoverse_v1", "rocky9")),
    make_node("hdf5", "1.1", parameters={"mpi": True}, arch=arch("neoverse_v1", "rocky9")),
    make_node("py-h5py", "3.0"),
    make_node("netcdf", "4.9"),
    make_node("Odd.Name", "1.0"),
    make_node("evil", "1.0", parameters={"note": MARKUP}),
    *(make_node(f"many-{at}", "1.0") for at in range(120)),
]
ABOUT = {"netcdf": "Reads and writes what hdf5 holds", "evil": MARKUP}


def image() -> SiteImage:
    made = make_catalog(*([node] for node in NODES))
    names = {node["hash"]: node["name"] for node in NODES}
    entries = {
        h: replace(entry, annotations={
            "org.opencontainers.image.description": ABOUT.get(names[h], f"What {names[h]} does"),
            f"{PREFIX}stack": MARKUP if names[h] == "evil" else "everything",
        })
        for h, entry in made.entries.items()
    }  # fmt: skip
    return SiteImage(name="v1.1", mirror_url="oci://ghcr.io/o/r/v1.1", reference="ghcr.io/o/r/v1.1", catalog=replace(made, entries=entries))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.browser() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with shown(tmp_path_factory.mktemp("search") / "site", render(Site(), [image()], TEMPLATES)) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab in which nothing may go wrong unnoticed: no error, no dialog, nothing from elsewhere."""
    found = browser.new_page(viewport={"width": 1280, "height": 800})
    wrong: list[str] = []

    def refuse(dialog: Dialog) -> None:
        wrong.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def listen(told: ConsoleMessage) -> None:
        if told.type == "error":
            wrong.append(told.text)

    def watch(asked: Request) -> None:
        if not asked.url.startswith(("http://127.0.0.1:", "data:")):
            wrong.append(asked.url)

    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on("console", listen)
    found.on("dialog", refuse)
    found.on("request", watch)
    yield found
    found.close()
    assert wrong == []


def ready(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#status")).to_have_text(re.compile(r"\d builds?"))


def names(page: Page) -> list[str]:
    return page.locator(".option.package strong").all_text_contents()


def test_the_exact_name_comes_first(page: Page, site: str) -> None:
    ready(page, f"{site}/search/index.html")
    page.keyboard.type("hdf5")
    assert names(page) == ["hdf5", "hdf5-blosc", "netcdf"]
    expect(page.locator("#status")).to_have_text("3 packages, 7 builds")
    page.locator("#query").fill("h5py")
    assert names(page) == ["py-h5py"]
    page.locator("#query").fill("WHAT DOES many-119")
    assert names(page) == ["many-119"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("hdf5", 7), ("hdf5@1.14", 2), ("hdf5 1.14.3", 2), ("hdf5@1.2", 1), ("hdf5@1.2:", 5), ("hdf5@:1.12", 4), ("hdf5@=1.14", 0), ("hdf5+mpi", 4),
        ("hdf5 ~mpi", 1), ("hdf5 -mpi", 1), ("hdf5@1.14+mpi target=x86_64_v3", 1), ("hdf5@1.14+mpi target=neoverse_v1", 0), ("hdf5 target=neo", 4),
        ("hdf5 os=rocky9", 2), ("hdf5 api=v18", 2), ("hdf5 arch=linux-rocky9-neoverse_v1", 2), ("%nobody", 0), ("@1.0", 123), ("hdf5 ^zlib+shared", 7),
    ],
)  # fmt: skip
def test_a_query_is_read_as_a_spec(page: Page, site: str, query: str, count: int) -> None:
    ready(page, f"{site}/search/index.html")
    page.locator("#query").fill(query)
    expect(page.locator("#status")).to_have_text(re.compile(rf"\d+ packages?, {count} builds?\b.*" if count else "Nothing fits\\."))


def test_facets_narrow_and_count(page: Page, site: str) -> None:
    ready(page, f"{site}/search/index.html?q=hdf5")
    target = page.locator(".facet", has=page.get_by_text("Target", exact=True))
    assert target.locator("label").all_text_contents() == ["neoverse_v14", "x86_64_v33"]
    target.get_by_label("neoverse_v1").check()
    expect(page.locator("#status")).to_have_text("1 package, 4 builds")
    assert target.locator("label").all_text_contents() == ["neoverse_v14", "x86_64_v33"], "of one facet any value may fit"
    system = page.locator(".facet", has=page.get_by_text("Operating system", exact=True))
    system.locator("summary").click()
    assert system.locator("label").all_text_contents() == ["debian122", "rocky92"]
    system.get_by_label("rocky9").check()
    expect(page.locator("#status")).to_have_text("1 package, 2 builds")
    assert target.locator("label").all_text_contents() == ["neoverse_v12"]
    page.get_by_role("button", name="Remove Target neoverse_v1").click()
    page.get_by_role("button", name="Remove Operating system rocky9").click()
    expect(page.locator("#status")).to_have_text("3 packages, 7 builds")


def test_the_url_carries_the_state(page: Page, site: str) -> None:
    ready(page, f"{site}/search/index.html")
    page.keyboard.type("hdf5 +mpi")
    page.get_by_role("checkbox", name="neoverse_v1").click()
    assert page.url.endswith("?q=hdf5+%2Bmpi&target=neoverse_v1")
    shown = page.locator("#results").inner_text()
    page.reload()
    expect(page.locator("#status")).to_have_text("1 package, 3 builds")
    assert (page.locator("#query").input_value(), page.locator("#results").inner_text()) == ("hdf5 +mpi", shown)
    expect(page.get_by_role("checkbox", name="neoverse_v1")).to_be_checked()
    page.go_back()
    expect(page.locator("#status")).to_have_text("1 package, 4 builds")
    expect(page.get_by_role("checkbox", name="neoverse_v1")).not_to_be_checked()
    page.go_forward()
    page.locator(".option.package").first.click()
    page.wait_for_url("**/packages/hdf5/index.html")
    page.go_back()
    expect(page.locator("#status")).to_have_text("1 package, 3 builds")


def test_the_keyboard_is_enough(page: Page, site: str) -> None:
    page.goto(f"{site}/packages/index.html")
    page.keyboard.press("/")
    page.wait_for_url("**/search/index.html")
    expect(page.locator("#status")).to_have_text(re.compile(r"\d builds"))
    field = page.get_by_role("combobox", name="Search packages and builds")
    expect(field).to_be_focused()
    page.keyboard.type("hdf5+mpi")
    expect(field).to_have_attribute("aria-expanded", "true")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    chosen = page.get_by_role("option", selected=True)
    expect(chosen).to_have_count(1)
    assert field.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    assert "@1.14.3" in chosen.inner_text()
    page.keyboard.press("Escape")
    expect(field).to_have_value("")
    assert not page.url.partition("?")[2]
    page.locator("h1").click()
    page.keyboard.press("/")
    expect(field).to_be_focused()
    page.keyboard.type("hdf5@1.14 +mpi")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/packages/hdf5/index.html#{NODES[1]['hash']}")


def test_enter_opens_the_first(page: Page, site: str) -> None:
    ready(page, f"{site}/search/index.html")
    page.keyboard.type("odd")
    page.keyboard.press("Enter")
    page.wait_for_url("**/packages/odd.name.*/index.html")
    assert page.locator("h1").inner_text() == "Odd.Name"


def test_a_build_is_found_by_its_hash(page: Page, site: str) -> None:
    ready(page, f"{site}/search/index.html")
    page.keyboard.type(f"/{NODES[3]['hash'][:9]}")
    page.get_by_role("option").click()
    page.wait_for_url(f"**/packages/hdf5/index.html#{NODES[3]['hash']}")


def test_a_long_list_comes_in_parts(page: Page, site: str) -> None:
    ready(page, f"{site}/search/index.html?q=many")
    assert len(names(page)) == 50
    page.get_by_role("button", name="Show more").click()
    assert len(names(page)) == 100
    page.get_by_role("button", name="Show more").click()
    assert len(names(page)) == 120
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_markup_is_text(page: Page, site: str) -> None:
    page.goto(f"{site}/search/index.html?q={MARKUP}&target={MARKUP}")
    expect(page.locator("#picked")).to_contain_text(MARKUP)
    ready(page, f"{site}/search/index.html?q=evil&stack={MARKUP}")
    assert names(page) == ["evil"]
    assert MARKUP in page.locator(".option.package").inner_text()
    page.locator("#query").fill(MARKUP)
    assert page.locator("main img, main script").count() == 0


def test_without_javascript_a_link_leads_to_the_list(browser: Browser, site: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/index.html")
    page.locator("a.find").click()
    expect(page.locator("#query")).to_be_hidden()
    page.get_by_role("link", name="All packages").click()
    assert page.locator("tbody tr").count() == len({node["name"] for node in NODES})
    context.close()


def test_files_of_two_generations_are_not_mixed(browser: Browser, tmp_path: Path) -> None:
    files = dict(render(Site(), [image()], TEMPLATES))
    [names_file] = [path for path in files if path.as_posix() == "search/names.json"]
    files[names_file] = files[names_file].replace(b"netcdf", b"zetcdf")
    with shown(tmp_path / "site", files.items()) as url:
        page = browser.new_page()
        page.goto(f"{url}/search/index.html")
        expect(page.locator("#status")).to_contain_text("try again")
        page.close()


def test_the_page_reads_what_was_written(page: Page, tmp_path: Path) -> None:
    contents = made_contents(2_000)
    builds = [build for package in contents.packages for build in package.builds]
    script = """async () => {
      const s = await import("/assets/search.js");
      const get = async (key) => (await fetch(`/search/${key}.json`)).json();
      const data = s.readNames(await get("names"));
      s.addCatalog(data, await get("catalog"));
      s.addColumns(data, {kinds: await get("kinds"), versions: await get("versions"), variants: await get("variants")});
      return [...Array(data.catalog.starts.at(-1)).keys()].map((at) => s.specOf(data, at));
    }"""
    with shown(tmp_path / "site", search_site(contents, TEMPLATES)) as url:
        page.goto(f"{url}/search/index.html")
        read = page.evaluate(script)
        fitting = sum(build.compilers[0].startswith("gcc@13") and build.target == "x86_64_v3" for build in builds)
        page.locator("#query").fill("%gcc@13 target=x86_64_v3")
        expect(page.locator("#status")).to_have_text(re.compile(rf".* packages, {fitting} builds"))
        page.locator("#query").fill("%gc@13:13.3 target=x86_64_v3")
        expect(page.locator("#status")).to_have_text(re.compile(rf".* packages, {fitting} builds"))
    assert read == [
        f"@{build.version} {build.variants} %{build.compilers[0]} target={build.target} os={build.os}" for build in builds
    ]  # fmt: skip


VERSIONS = (
    "1.2",
    "1.2.3",
    "1.20",
    "1.3-rc1",
    "1.3",
    "2.0b",
    "2.0z",
    "2024.01.01",
    "develop",
    "main",
    "1.2-alpha",
    "git.main=1.2.5",
    "3.0A",
    "010",
)


def test_versions_are_those_that_spack_means(page: Page, site: str) -> None:
    wanted = [*VERSIONS, "=1.2", "=1.3", ":1.2", "1.2:", "1.2:1.3", ":", "1.3-rc1:1.3", "2.0a:2.0z", "main:", ":develop"]
    page.goto(f"{site}/index.html")
    script = "async ([versions, wanted]) => { const s = await import('/assets/versions.js'); return versions.map((v) => wanted.map((w) => s.range(w)(v))); }"
    found = page.evaluate(script, [list(VERSIONS), wanted])
    assert found == [[in_range(version, one) for one in wanted] for version in VERSIONS]
