"""The pages of packages and builds in a browser: what they show, what a click and a key do, and that nothing hostile runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from cachelib.model.config import Site
from cachelib.steps.image import PREFIX
from cachelib.steps.rendering import SiteImage, render
from cachelib.steps.wording import variant_words
from cachelib.tools.site import write_site
from cachelib.tools.templates import JinjaTemplates
from tests.support.browser import Complaints, browser, served
from tests.support.caches import LOCK
from tests.support.mirrors import make_catalog, make_node

TEMPLATES = JinjaTemplates(Path(__file__).resolve().parents[2] / "templates")
HOSTILE = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>{{ 7*7 }}"
_OCI = "org.opencontainers.image."
ABOUT = {
    f"{_OCI}created": "2026-01-02T03:04:05Z", f"{_OCI}licenses": "Zlib", f"{_OCI}description": "A library of the test.",
    f"{_OCI}url": "https://example.org/", f"{_OCI}source": "https://github.com/owner/cache", f"{_OCI}revision": "0" * 40,
    f"{_OCI}base.name": "docker.io/library/ubuntu:24.04", f"{PREFIX}stack": "everything", f"{PREFIX}spack.version": "v1.1.0", f"{PREFIX}spack.commit": "1" * 40,
    f"{PREFIX}packages.version": "v2025.11.0", f"{PREFIX}packages.commit": "2" * 40, f"{PREFIX}maintainers": "alice,bob",
    f"{PREFIX}build.run": "https://github.com/owner/cache/actions/runs/12", f"{PREFIX}build.seconds": "73.5",
}  # fmt: skip
BAD = dict.fromkeys(ABOUT, f"javascript:alert(1)//{HOSTILE}")


def lock() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(LOCK.read_text(encoding="utf-8"))["concrete_specs"]
    return found


def below(node: dict[str, Any], nodes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The nodes of a DAG, root first."""
    found = {node["hash"]: node}
    waiting = [node]
    while waiting:
        for edge in waiting.pop().get("dependencies", ()):
            if edge["hash"] not in found:
                found[edge["hash"]] = nodes[edge["hash"]]
                waiting.append(nodes[edge["hash"]])
    return list(found.values())


NODES = lock()
#: All of the lock file below one root: a real DAG, of as many nodes as large applications have.
BUNDLE = make_node("bundle", "2026.1", dependencies=[node for node in NODES.values() if not node.get("external")])
VERSIONS = [
    make_node(
        "many", f"{major}.{minor}", parameters={"build_system": "cmake", "mpi": minor > 1, "api": "v110"},
        arch={"platform": "linux", "platform_os": "debian12", "target": target},
    )
    for major in range(1, 31) for minor in range(3) for target in ("x86_64_v3", "neoverse_v1")
]  # fmt: skip
EVIL = make_node("evil", parameters={"build_system": "generic", "text": HOSTILE, "cflags": [HOSTILE], HOSTILE: True})
EVIL_USER = make_node("evil-user", dependencies=[EVIL], package_hash=HOSTILE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site of the lock file, a package of many builds, and a hostile one; spec files are of the newest only, as in a large cache."""
    folder = tmp_path_factory.mktemp("pages") / "site"
    built = [node for node in NODES.values() if not node.get("external")]
    dags = [below(node, NODES) for node in built]
    dags += [[BUNDLE, *NODES.values()], *([node] for node in VERSIONS), [EVIL], [EVIL_USER, EVIL]]
    made = make_catalog(*dags)
    bad = {EVIL["hash"], EVIL_USER["hash"]}
    days = {node["hash"]: f"2025-{at % 12 + 1:02}-{at % 28 + 1:02}T00:00:00Z" for at, node in enumerate(VERSIONS)}
    entries = {
        h: replace(
            entry,
            annotations=BAD if h in bad else ABOUT | {f"{_OCI}created": days.get(h, ABOUT[f"{_OCI}created"])},
            layers_size=40 * entry.tarball.size,
        )
        for h, entry in made.entries.items()
    }
    image = SiteImage(
        name="v1.1", mirror_url="oci://ghcr.io/o/r/v1.1", reference="ghcr.io/o/r/v1.1", catalog=replace(made, entries=entries)
    )
    write_site(folder, render(Site(title="A cache"), [image], TEMPLATES))
    with served(folder) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page that must have had nothing to complain of in the end."""
    opened = chromium.new_page(viewport={"width": 1280, "height": 900})
    complaints = Complaints()
    complaints.listen(opened)
    yield opened
    opened.close()
    assert complaints.found == []


def test_another_cell_changes_the_install_line(page: Page, site: str) -> None:
    page.goto(f"{site}/packages/many/index.html")
    line = page.locator("#chosen pre").first
    first = line.inner_text()
    newest = [node for node in VERSIONS if node["version"] == "30.2"]
    assert first in {f"spack install --use-buildcache only /{node['hash']}" for node in newest}
    other = next(node for node in VERSIONS if node["version"] == "29.1" and node["arch"]["target"] == "neoverse_v1")
    page.locator(f".matrix a[href='#{other['hash']}']").click()
    expect(line).to_have_text(f"spack install --use-buildcache only /{other['hash']}")
    expect(page.locator("#chosen")).to_contain_text("many@29.1")
    expect(page.locator("#chosen")).to_contain_text("api=v110, without mpi")
    expect(page.locator("#chosen pre").nth(1)).to_have_text(f"podman run --rm -it ghcr.io/o/r/v1.1:many-29.1-{other['hash']}.spack")
    expect(page.locator(".matrix a[aria-current]")).to_have_count(1)
    page.go_back()
    page.go_forward()
    expect(line).to_have_text(f"spack install --use-buildcache only /{other['hash']}")
    page.locator("#chosen h2 a").click()
    expect(page.locator("h1")).to_have_text("many@29.1")


def test_the_page_begins_with_the_newest_build(page: Page, site: str) -> None:
    page.goto(f"{site}/packages/libpng/index.html")
    png = next(node for node in NODES.values() if node["name"] == "libpng")
    expect(page.locator(".matrix a[aria-current]")).to_have_text("gcc@12.2.0")
    expect(page.locator("#chosen")).to_contain_text("stack everything, Spack v1.1.0")
    page.locator("#chosen h2 a").click()
    expect(page.locator("h1")).to_have_text(f"libpng@{png['version']}")


def test_all_builds_come_on_demand(page: Page, site: str) -> None:
    page.goto(f"{site}/packages/many/index.html")
    assert page.locator(".matrix a").count() < 60
    page.get_by_role("button", name="Show all builds").click()
    expect(page.locator(".tall tbody tr")).to_have_count(len(VERSIONS))
    oldest = page.locator(".tall a").last
    oldest.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#chosen h2")).to_contain_text("many@1.0")


def test_the_graph_has_all_nodes_and_edges_and_no_two_boxes_overlap(page: Page, site: str) -> None:
    page.goto(f"{site}/build/index.html#{BUNDLE['hash']}")
    page.get_by_label("With what only building took").check()
    expect(page.locator("a.node")).to_have_count(len(NODES) + 1)
    assert len(NODES) + 1 > 100
    edges = sum(len({edge["hash"] for edge in node.get("dependencies", ())}) for node in [BUNDLE, *NODES.values()])
    expect(page.locator(".graph .lines path")).to_have_count(edges)
    boxes = page.eval_on_selector_all(
        "a.node rect", "found => found.map(box => ['x', 'y', 'width', 'height'].map(name => +box.getAttribute(name)))"
    )
    for at, (x, y, width, height) in enumerate(boxes):
        for a, b, c, d in boxes[:at]:
            assert x + width <= a or a + c <= x or y + height <= b or b + d <= y
    texts = page.eval_on_selector_all(
        "a.node", "found => found.map(node => [node.querySelector('text').getBBox().width, node.querySelector('rect').getBBox().width])"
    )
    assert [pair for pair in texts if pair[0] > pair[1] - 9] == []
    # Sums of crossings can't be read off a picture: what matters is that lines run forwards, so that needs stand to the right.
    assert all(float(start) < float(end) for start, end in page.eval_on_selector_all(
        ".graph .lines path", "found => found.map(path => [path.getPointAtLength(0).x, path.getPointAtLength(path.getTotalLength()).x])"
    ))  # fmt: skip


def test_a_node_leads_to_its_build_and_lights_its_paths(page: Page, site: str) -> None:
    page.goto(f"{site}/build/index.html?hash={BUNDLE['hash']}")
    png = next(node for node in NODES.values() if node["name"] == "libpng")
    box = page.locator(f"a.node[data-hash='{png['hash']}']")
    box.scroll_into_view_if_needed()
    box.hover()
    lit = page.locator("a.node.lit")
    names = {text.partition("@")[0] for text in lit.locator("text").all_text_contents()}
    assert {"libpng", "bundle", "zlib-ng"} <= names
    assert "lz4" not in names
    box.click()
    expect(page.locator("h1")).to_have_text(f"libpng@{png['version']}")
    assert page.url.endswith(f"#{png['hash']}")
    expect(page.locator("a.node.root")).to_have_attribute("data-hash", png["hash"])
    expect(page.locator("section[aria-labelledby=users] li").first).to_contain_text("@")
    page.go_back()
    expect(page.locator("h1")).to_have_text("bundle@2026.1")


def test_keys_walk_the_graph(page: Page, site: str) -> None:
    png = next(node for node in NODES.values() if node["name"] == "libpng")
    page.goto(f"{site}/build/index.html#{png['hash']}")
    page.locator("a.node.root").focus()
    page.keyboard.press("ArrowRight")
    there = page.evaluate("document.activeElement.dataset.hash")
    assert there in {edge["hash"] for edge in png["dependencies"]}
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.hash") == png["hash"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(f"{NODES[there]['name']}@{NODES[there]['version']}")
    assert page.evaluate("document.activeElement.id") == "title"
    page.locator("a.skip").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**#main")
    page.wait_for_timeout(200)  # Nothing is to happen: there is nothing else to wait for.
    expect(page.locator("h1")).to_have_text(f"{NODES[there]['name']}@{NODES[there]['version']}")


def test_the_facts_of_a_build(page: Page, site: str) -> None:
    png = next(node for node in NODES.values() if node["name"] == "libpng")
    page.goto(f"{site}/build/index.html#{png['hash']}")
    section = page.locator("section.build")
    for text in (
        "everything",
        "v2025.11.0",
        "2026-01-02 03:04 UTC, in 74 s",
        png["hash"],
        f"podman run --rm -it ghcr.io/o/r/v1.1:libpng-{png['version']}-",
    ):
        expect(section).to_contain_text(text)
    links = section.locator("a").evaluate_all("found => found.map(link => link.href)")
    assert f"https://github.com/spack/spack-packages/commit/{'2' * 40}" in links
    assert any(re.fullmatch(r"https://api\.github\.com/repos/owner/cache/attestations/sha256:[0-9a-f]{64}", link) for link in links)
    page.locator("section[aria-labelledby=layers] summary").click()
    rows = page.locator("section[aria-labelledby=layers] tbody tr")
    expect(rows.first).to_contain_text("libpng@")
    expect(page.locator("meter")).to_have_count(rows.count())
    page.get_by_text("Logs", exact=True).click()
    expect(page.get_by_text(f"invoke log /{png['hash']}")).to_be_visible()


@pytest.mark.parametrize("path", ["packages/evil/index.html", "packages/evil-user/index.html"])
def test_nothing_hostile_runs(page: Page, site: str, path: str) -> None:
    page.goto(f"{site}/{path}")
    for node in (EVIL, EVIL_USER):
        page.goto(f"{site}/{path}#{node['hash']}")
        page.goto(f"{site}/build/index.html#{node['hash']}")
        expect(page.locator("a.node").first).to_be_visible()
        expect(page.locator("h1")).to_contain_text("evil")
        assert page.locator("main img, main script, main iframe").count() == 0
        addresses = page.locator("a").evaluate_all("found => found.map(link => link.href.baseVal ?? link.href)")
        assert [address for address in addresses if not re.match(r"https?://|#", address)] == []
    expect(page.locator("main")).to_contain_text("evil-user")


@pytest.mark.parametrize("behind", ["", "#<img src=x onerror=alert(1)>", "#" + "a" * 32, "?hash=javascript:alert(1)"])
def test_no_such_build(chromium: Browser, site: str, behind: str) -> None:
    """A shard that isn't there is a 404, which a browser writes into its console: that alone may stand there."""
    page = chromium.new_page()
    complaints = Complaints()
    complaints.listen(page)
    page.goto(f"{site}/build/index.html{behind}")
    expect(page.locator("#status")).to_contain_text("No build is named" if len(behind) != 33 else "This cache tells of nothing")
    assert [text for text in complaints.found if "404" not in text] == []
    page.close()


def test_without_javascript_the_pages_say_where_things_are(chromium: Browser, site: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/build/index.html#{BUNDLE['hash']}")
    expect(page.locator("main")).to_contain_text("api/v1/specs/d7.json")
    page.goto(f"{site}/packages/many/index.html")
    expect(page.locator("#chosen pre").first).to_contain_text("spack install --use-buildcache only /")
    assert "build/index.html#" in str(page.locator(".matrix a").first.get_attribute("href"))
    context.close()


def test_both_languages_say_variants_alike(page: Page, site: str) -> None:
    lines = [
        "",
        "+mpi ~shared api=v110 build_system=cmake",
        "cflags=-O2 -g +x patches=1,2",
        "patches=1 generator=ninja ~y",
        HOSTILE,
        "a=b=c +a=b",
    ]
    page.goto(f"{site}/build/index.html")
    said = page.evaluate(
        "async (lines) => { const { variantWords } = await import('/assets/parts.js'); return lines.map(variantWords); }", lines
    )
    assert [tuple(words) for words in said] == [variant_words(line) for line in lines]


@pytest.mark.parametrize("address", ["javascript:alert(1)", " javascript:alert(1)", "data:text/html,x", "//elsewhere", "https://a b", None])
def test_only_addresses_of_the_web_become_links(page: Page, site: str, address: str | None) -> None:
    page.goto(f"{site}/build/index.html")
    ask = "async (url) => { const { outward } = await import('/assets/parts.js'); return outward(url, '<b>').outerHTML; }"
    assert page.evaluate(ask, address) == "<span>&lt;b&gt;</span>"
    assert page.evaluate(ask, "https://example.org/x") == '<a href="https://example.org/x" rel="nofollow noopener">&lt;b&gt;</a>'


@pytest.mark.parametrize("shape", ["circle", "line", "wide", "unknown", "one"])
def test_odd_graphs_are_laid_out(page: Page, site: str, shape: str) -> None:
    ids = [str(at) for at in range(1 if shape == "one" else 60)]
    links = {
        "circle": [(a, b) for a, b in zip(ids, [*ids[1:], ids[0]], strict=True)],
        "line": list(pairwise(ids)) + [("0", one) for one in ids[1:]],
        "wide": [("0", one) for one in ids[1:]],
        "unknown": [("0", "nobody"), ("nobody", "0"), ("0", "0")],
        "one": [],
    }[shape]
    page.goto(f"{site}/build/index.html")
    plan = page.evaluate(
        "async ([ids, links]) => { const { layout } = await import('/assets/layout.js'); return layout(ids.map(id => ({ id, label: id })), links); }",
        [ids, links],
    )
    assert len(plan["boxes"]) == len(ids)
    assert len(plan["lines"]) == {"circle": 59, "line": 59 + 58, "wide": 59, "unknown": 0, "one": 0}[shape]
    assert sum(line["faint"] for line in plan["lines"]) == (58 if shape == "line" else 0)
    boxes = {box["id"]: box for box in plan["boxes"]}
    for line in plan["lines"]:
        numbers = [float(number) for number in re.findall(r"[\d.]+", line["path"])]
        start, end = boxes[line["from"]], boxes[line["to"]]
        assert numbers[:2] == pytest.approx([start["x"] + start["width"], start["y"] + 13], abs=0.1)
        last = numbers[-1] if re.search(r"H[\d.]+$", line["path"]) else numbers[-2]
        assert end["x"] == pytest.approx(last, abs=0.1)
    assert len({(box["x"], round(box["y"])) for box in plan["boxes"]}) == len(ids)
    assert all(box["y"] >= 0 and box["y"] + box["height"] <= plan["height"] for box in plan["boxes"])
