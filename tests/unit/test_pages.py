"""Pages, feeds and badges beside the lists of packages: whole, about the right thing, and nothing hostile comes through."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from cachelib.model.config import Site
from cachelib.model.failure import Failure
from cachelib.model.record import Origin
from cachelib.model.site import SiteImage
from cachelib.steps.collecting import collect
from cachelib.steps.image import PREFIX
from cachelib.steps.pages import charts, failing, news, using
from cachelib.steps.pages.badges import LONGEST, badge_text
from cachelib.steps.rendering import render
from cachelib.tools.templates import JinjaTemplates
from tests.support.mirrors import make_catalog, make_node
from tests.unit.test_rendering import HOSTILE, Page

TEMPLATES = JinjaTemplates(Path(__file__).resolve().parents[2] / "templates")
ATOM = "{http://www.w3.org/2005/Atom}"
URL = "https://o.github.io/r"
WORST = f"{HOSTILE}\x1b[31m\x00\ud800]]>-->"


def failure(at: int, **changes: object) -> Failure:
    h = "abcdefghij"[at] * 32
    made = Failure(
        hash=h, label=f"app-{at}@1.0/{h[:7]}", phase="build", message="boom", since="2026-11-01T00:00:00Z", last=f"2026-11-0{at + 1}T00:00:00Z",
        error_lines=("7: error: no",), origin=Origin(stack="s", run="https://github.com/o/r/actions/runs/1"),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def image(*, failures: tuple[Failure, ...] = (), logs: dict[str, str] | None = None, name: str = "v1.1") -> SiteImage:
    nodes = [make_node(f"lib-{at}", f"1.{at}") for at in range(5)]
    made = make_catalog(*([node] for node in nodes))
    about = {
        node["hash"]: {
            "org.opencontainers.image.created": f"2026-0{at + 5}-02T03:04:05Z", f"{PREFIX}build.seconds": str(4**at), f"{PREFIX}stack": "s",
        }
        for at, node in enumerate(nodes)
    }  # fmt: skip
    catalog = replace(made, entries={h: replace(entry, annotations=about[h]) for h, entry in made.entries.items()})
    return SiteImage(
        name=name, mirror_url=f"oci://ghcr.io/o/r/{name}", reference=f"ghcr.io/o/r/{name}", catalog=catalog,
        failures={one.hash: one for one in failures}, logs=logs or {},
    )  # fmt: skip


def files(*images: SiteImage, url: str = URL) -> dict[str, bytes]:
    return {path.as_posix(): data for path, data in render(Site(title="A cache", url=url), images or [image()], TEMPLATES)}


def test_failures_the_last_first_each_with_a_page() -> None:
    found = files(image(failures=(failure(0), failure(2), failure(1)), logs={"c" * 32: "the end of the log"}))
    listed = [link for link in Page(found["failures/index.html"].decode()).links if link.endswith("/index.html") and link[0] in "abc"]
    assert listed == [f"{at * 32}/index.html" for at in "cba"]
    page = found[f"failures/{'c' * 32}/index.html"].decode()
    for told in ("app-2@1.0", "boom", "7: error: no", "the end of the log", "2026-11-04", "https://github.com/o/r/actions/runs/1"):
        assert told in page
    assert "The end of its log" not in found[f"failures/{'a' * 32}/index.html"].decode(), "there is none of it"
    assert ">3</a>" in found["index.html"].decode()
    assert "Nothing fails." in files()["failures/index.html"].decode()


def test_what_fails_for_two_images_is_told_once() -> None:
    found = failing.failing(collect([image(failures=(failure(0),)), image(failures=(failure(0, last="2026-11-09T00:00:00Z"),), name="v2")]))
    assert [(one.hash, one.image) for one in found] == [("a" * 32, "v2")]


def test_hostile_failures_stay_text() -> None:
    worst = failure(0, label=WORST, phase=WORST, message=WORST, error_lines=(WORST,), origin=Origin(stack=WORST, run="javascript:alert(1)"))
    found = files(image(failures=(worst,), logs={"a" * 32: failing.readable(WORST.encode("utf-8", "replace"))}))
    page = found[f"failures/{'a' * 32}/index.html"].decode()
    tags = {tag for tag, _ in Page(page).tags}
    assert "img" not in tags
    assert [attrs.get("src") for tag, attrs in Page(page).tags if tag == "script"] == ["../../assets/site.js"]
    assert "javascript:" not in page
    assert "\x1b" not in page
    for name in ("builds", "failures"):
        ElementTree.fromstring(found[f"feeds/{name}.xml"])
        json.loads(found[f"feeds/{name}.json"])
    assert HOSTILE[:8] not in found["feeds/failures.xml"].decode()


@pytest.mark.parametrize(("url", "root"), [(URL, f"{URL}/"), (f"{URL}/", f"{URL}/"), ("", "../")])
def test_feeds_lead_to_pages(url: str, root: str) -> None:
    found = files(image(failures=(failure(0),)), url=url)
    for name, count in (("builds", 5), ("failures", 1)):
        feed = ElementTree.fromstring(found[f"feeds/{name}.xml"])
        entries = feed.findall(f"{ATOM}entry")
        body = json.loads(found[f"feeds/{name}.json"])
        assert len(entries) == len(body["items"]) == count
        assert len({entry.findtext(f"{ATOM}id") for entry in entries}) == count
        for entry, item in zip(entries, body["items"], strict=True):
            link = entry.find(f"{ATOM}link")
            assert link is not None
            assert link.get("href") == item["url"]
            page, _, fragment = item["url"].removeprefix(root).partition("#")
            assert page in found
            shards = json.loads(found[f"api/v1/specs/{fragment[:2]}.json"])["specs"] if fragment else {}
            assert (page, fragment in shards) == ("build/index.html", True) or not fragment, "its script finds the build by that"
        assert feed.findtext(f"{ATOM}updated") == max(item["date_published"] for item in body["items"])
    dates = [item["date_published"] for item in json.loads(found["feeds/builds.json"])["items"]]
    assert dates == sorted(dates, reverse=True)


def test_a_sitemap_has_every_page_where_its_address_is_known() -> None:
    found = files(image(failures=(failure(0),)))
    listed = {
        (element.text or "").removeprefix(f"{URL}/") for element in ElementTree.fromstring(found["sitemap.xml"]).iter() if element.text
    }
    pages = {path.removesuffix("index.html") for path in found if path.endswith("index.html") and not path.startswith(("manifest/", "404"))}
    assert {one.strip() for one in listed} - {""} == pages - {""} - {one for one in pages if one.startswith("manifest")}
    assert "sitemap.xml" not in files(url="")
    assert f'<link rel="canonical" href="{URL}/packages/lib-0/">' in found["packages/lib-0/index.html"].decode()


def test_badges_tell_the_newest_version() -> None:
    found = files()
    body = json.loads(found["badges/lib-3.json"])
    assert (body["schemaVersion"], body["message"]) == (1, "1.3 (x86_64_v3)")
    drawn = ElementTree.fromstring(found["badges/lib-3.svg"])
    assert [element.text for element in drawn.iter() if element.tag.endswith("}text")] == ["spack cache", "1.3 (x86_64_v3)"]
    package = collect([image()]).packages[0]
    long = replace(package, builds=(replace(package.builds[0], version="9" * 200),))
    assert len(badge_text(long)) == LONGEST


def test_charts_add_up() -> None:
    contents = collect([image()])
    months, sizes, seconds = charts.charts(contents)
    assert [(bar.name, bar.count) for bar in months.bars] == [(f"2026-0{at}", 1) for at in range(5, 10)]
    assert sum(bar.count for bar in sizes.bars) == contents.size
    assert [(bar.name, bar.count) for bar in seconds.bars if bar.count] == [("< 10 s", 2), ("< 1 min", 1), ("< 5 min", 2)]
    for chart in (months, sizes, seconds):
        assert all(
            0 <= bar.x <= bar.x + bar.width <= chart.width and 0 <= bar.y <= bar.y + bar.height <= chart.height for bar in chart.bars
        )
    assert sum(row.builds for row in charts.coverage_rows(contents)) == 5
    assert charts.charts(collect([])) == ()
    page = files()["statistics/index.html"].decode()
    assert page.count('<svg class="chart"') == 3


def test_months_without_a_build_are_shown_and_no_more_than_two_years() -> None:
    gap = charts._last(Counter({"2025-11": 1, "2026-02": 3}))
    assert gap == ["2025-11", "2025-12", "2026-01", "2026-02"]
    assert len(charts._last(Counter({"2001-01": 1, "2026-02": 3}))) == charts.MONTHS


def test_an_owners_colours() -> None:
    site = Site(title="A cache", color="#aa0000")
    found = {path.as_posix(): data.decode() for path, data in render(site, [image()], TEMPLATES) if path.suffix in (".css", ".html")}
    assert found["assets/colors.css"].count("--accent: #aa0000") == 2
    assert 'href="../../assets/colors.css"' in found["packages/lib-0/index.html"]
    assert "assets/colors.css" not in files()


def test_an_owners_templates_take_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "own/site").mkdir(parents=True)
    (tmp_path / "own/site/404.html").write_text("{% extends 'site/base.html' %}{% block main %}ours: {{ site.title }}{% endblock %}")
    templates = JinjaTemplates(tmp_path / "own", Path(__file__).resolve().parents[2] / "templates")
    found = {path.as_posix(): data.decode() for path, data in render(Site(title="A cache"), [image()], templates) if path.suffix == ".html"}
    assert "ours: A cache" in found["404.html"]
    assert "<h1>A cache</h1>" in found["index.html"]


def test_files_to_fetch_are_what_spack_reads() -> None:
    found = files(image(), image(name="2024"))
    for name in ("v1.1", "2024"):
        mirror = {"url": f"oci://ghcr.io/o/r/{name}", "signed": False}
        assert yaml.safe_load(found[f"{name}/mirrors.yaml"]) == {"mirrors": {f"cache-{name}": mirror}}
        assert yaml.safe_load(found[f"{name}/spack.yaml"]) == {"spack": {"mirrors": {f"cache-{name}": mirror}, "specs": []}}
        assert f'href="{name}/mirrors.yaml"' in found["index.html"].decode()


def test_how_an_image_is_used() -> None:
    contents = collect([image()])
    (front,) = using.front_images(contents)
    assert [snippet.title for snippet in front.snippets] == ["Command line", "spack.yaml", "GitHub Action", "oras"]
    newest = news.newest(contents, 1)[0]
    entry = contents.images[0].catalog.entries[newest.hash]
    place = newest.reference.removesuffix(f":{entry.tag}")
    line = f"oras blob fetch --output {entry.tag.removesuffix('.spack')}.tar.gz {place}@{entry.tarball.digest}"
    assert (newest.name, front.snippets[-1].text) == ("lib-4", line)
    titled = {
        h: replace(entry, tarball=replace(entry.tarball, annotations={"org.opencontainers.image.title": "lib.tar.gz"}))
        for h, entry in contents.images[0].catalog.entries.items()
    }
    (front,) = using.front_images(collect([replace(image(), catalog=replace(image().catalog, entries=titled))]))
    assert front.snippets[-1].text == f"oras pull {newest.reference}"
    based = image()
    entries = {
        h: replace(entry, annotations={**entry.annotations, "org.opencontainers.image.base.name": "ubuntu:24.04"})
        for h, entry in based.catalog.entries.items()
    }
    (front,) = using.front_images(collect([replace(based, catalog=replace(based.catalog, entries=entries))]))
    assert f"podman run --rm -it {newest.reference}" in {snippet.text for snippet in front.snippets}
    (local,) = using.front_images(collect([replace(image(), mirror_url="file:///m")]))
    assert "oras" not in {snippet.id for snippet in local.snippets}, "a directory is no registry"
