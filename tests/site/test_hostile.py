"""Whatever others write into specs, images, failures, logs and settings changes nothing: no file elsewhere, no markup, no broken JSON."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from cachelib.model.catalog import Catalog, from_shard
from cachelib.model.config import Settings, Site
from cachelib.model.database import Database
from cachelib.model.errors import CacheError
from cachelib.model.oci import compact_json
from cachelib.model.site import SiteImage
from cachelib.steps.collecting import collect
from cachelib.steps.pages.failing import failing
from cachelib.steps.pages.news import MOST, feeds, newest
from cachelib.steps.rendering import render
from cachelib.tools.config_file import parse_settings
from cachelib.tools.site import write_site
from cachelib.tools.templates import JinjaTemplates
from tests.site.conftest import PROJECT
from tests.support.hostile import HUGE, MARKED, ODD, TEXTS, YAML
from tests.support.hostile_site import CASES, FREE, SITE, harmless, hostile, image, odd_image, payloads
from tests.support.mirrors import make_catalog, make_node
from tests.support.trees import check_tree, shapes, snapshot, strict_json
from tests.unit.test_pages import ATOM

TEMPLATES = JinjaTemplates(PROJECT / "templates")
#: Files and folders of the site itself.
PAGES = (
    "index.html",
    "404.html",
    "sitemap.xml",
    "search",
    "feeds",
    "badges",
    "build",
    "statistics",
    "weather",
    "why",
    "failures",
    "packages",
    "api",
    "assets",
    "manifest",
)
RAW = (*(text for texts in TEXTS.values() for text in texts), *ODD)


def written(root: Path, site: Site, *images: SiteImage) -> Path:
    """A site, in a folder deep below another in which nothing else may change."""
    folder = root / "a" / "b" / "site"
    folder.parent.mkdir(parents=True, exist_ok=True)
    (root / "a" / "index.html").write_bytes(b"mine")
    before = snapshot(root, but=folder)
    try:
        write_site(folder, render(site, images, TEMPLATES))
    finally:
        assert snapshot(root, but=folder) == before
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("hostile"), SITE, image(hostile, payloads()))


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("harmless"), SITE, image(harmless, payloads()))


def test_the_cases_are_many_and_all_of_them_arrived(folder: Path) -> None:
    assert CASES > 5_000
    assert len(TEXTS) > 15
    api = b"".join(path.read_bytes() for path in (folder / "api").rglob("*.json"))
    for _, marker, _ in MARKED:
        # The least that shows it: the free annotations, the spec's own fields, and a failure's, at every place where each is told.
        assert api.count(marker.encode()) > len(FREE) + 10, marker
        for page in (
            f"packages/case-{marker}/index.html",
            "statistics/index.html",
            "failures/index.html",
            "weather/index.html",
            "feeds/failures.xml",
        ):
            told = (folder / page).read_text(encoding="utf-8")
            assert marker in told or page.startswith("feeds/"), (page, marker)


def test_every_file_is_whole_and_no_page_has_other_tags(folder: Path, twin: Path) -> None:
    kinds = check_tree(folder)
    assert kinds[".json"] > 500
    assert kinds[".html"] > 2 * len(MARKED)
    assert kinds[".svg"] > len(MARKED)
    found, wanted = shapes(folder), shapes(twin)
    # The newest failures are the same; what a DAG hash names is not, so the twin has other files of the API.
    assert found.keys() == wanted.keys()
    for path, tags in found.items():
        if not path.startswith("packages/case-"):
            assert tags == wanted[path] or path.startswith("failures/"), path
        # A homepage or a run that is an address of the web is a link, and nothing else is more than in the twin.
        assert set(tags - wanted[path]) <= {("a", "href", "rel"), ("dt",), ("dd",)}, path
        assert not wanted[path] - tags, path


def test_every_feed_is_one() -> None:
    """A feed holds the last fifty: here it is made of all of them, in their turn."""
    contents = collect([image(hostile, payloads())])
    builds, failures = newest(contents, 10_000), failing(contents)
    assert min(len(builds), len(failures)) > len(MARKED)
    told = set[str]()
    for at in range(0, len(builds), MOST):
        for path, data in feeds(SITE, builds[at : at + MOST], failures[at : at + MOST]):
            text = data.decode()
            entries = strict_json(text)["items"] if path.suffix == ".json" else list(ElementTree.fromstring(text).iter(f"{ATOM}entry"))
            assert len(entries) == len((builds if path.stem == "builds" else failures)[at : at + MOST])
            told |= {f"{path.name} {marker}" for marker in re.findall(r"m\d{3}m", text)}
    assert len(told) >= 4 * len(MARKED)


def test_what_json_holds_where_text_belongs(tmp_path: Path) -> None:
    folder = written(tmp_path, SITE, odd_image())
    check_tree(folder)
    packages = {path.name for path in (folder / "packages").iterdir() if path.is_dir()}
    assert packages == {f"{kind}-{at}" for kind in ("odd", "bare") for at in range(len(ODD))}
    assert len(list((folder / "failures").iterdir())) > 5


def test_the_same_hostile_bytes_every_time(folder: Path, tmp_path: Path) -> None:
    assert snapshot(written(tmp_path, SITE, image(hostile, payloads()))) == snapshot(folder)


def _at(*keys: str) -> Callable[[dict[str, Any], Any], None]:
    def put(node: dict[str, Any], value: Any) -> None:
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = value

    return put


def _edge(key: str) -> Callable[[dict[str, Any], Any], None]:
    def put(node: dict[str, Any], value: Any) -> None:
        node["dependencies"] = [{"name": "x", "hash": node["hash"], "parameters": {"deptypes": ["link"], "virtuals": []}, key: value}]

    return put


#: Fields that name something: what is in them is checked, and most of the corpus is refused.
NAMING = {
    "name": _at("name"), "version": _at("version"), "namespace": _at("namespace"), "hash": _at("hash"), "arch": _at("arch"),
    "platform": _at("arch", "platform"), "system": _at("arch", "platform_os"), "target": _at("arch", "target"),
    "target's name": _at("arch", "target", "name"), "compiler": _at("compiler"), "parameters": _at("parameters"),
    "dependencies": _at("dependencies"), "name of a dependency": _edge("name"), "hash of a dependency": _edge("hash"),
    "parameters of a dependency": _edge("parameters"),
}  # fmt: skip


def poisoned(at: int, put: Callable[[dict[str, Any], Any], None], value: Any) -> SiteImage:
    """An image whose catalog somebody else wrote into the registry: its node passed nobody's check."""
    node = make_node(f"case-{at}")
    made = make_catalog([node])
    raw = json.loads(json.dumps(node))
    if put is NAMING["target's name"]:
        raw["arch"]["target"] = {}
    put(raw, value)
    line = b'"%s":{"spec":%s,"ref_count":0,"in_buildcache":true}' % (node["hash"].encode(), compact_json(raw))
    catalog = replace(made, database=Database(lines={node["hash"]: line}))
    return SiteImage(name=f"i{at}", mirror_url="oci://h/r", reference="h/r", catalog=catalog)


def shown(root: Path, images: Iterable[Callable[[], SiteImage]]) -> tuple[int, int]:
    """How many of these images are refused, each with an error of ours and nothing written; the others make one good site."""
    good: list[SiteImage] = []
    refused = 0
    folder = root / "refused" / "site"
    for make in images:
        try:
            good.append(make())
            collect(good[-1:])
        except CacheError:
            refused += 1
            for bad in good[-1:]:
                with pytest.raises(CacheError):
                    write_site(folder, render(SITE, [bad], TEMPLATES))
                good.pop()
    assert [path for path in root.rglob("*") if path != folder.parent] == []
    check_tree(written(root, SITE, *good))
    return refused, len(good)


@pytest.mark.parametrize("field", NAMING)
def test_a_hostile_name_is_refused_or_shown(field: str, tmp_path: Path) -> None:
    refused, good = shown(tmp_path, (partial(poisoned, at, NAMING[field], value) for at, value in enumerate(RAW)))
    assert refused > len(RAW) * 0.8
    assert refused + good == len(RAW)


@pytest.mark.parametrize("key", ["tag", "manifest", "tarball", "diffId", "annotations", "specFormat", "layerCount", "layersSize"])
def test_a_hostile_catalog_is_refused_or_shown(key: str, tmp_path: Path) -> None:
    made = make_catalog([make_node("case")])
    [(h, entry)] = made.entries.items()
    for value in (*RAW, {"mediaType": "<b>", "digest": "../x", "size": 1}, {"mediaType": "", "digest": f"sha256:{'a' * 64}", "size": -1}):
        try:
            entries = from_shard({"meta": {"version": 2}, "entries": {h: {**entry.json(), key: value}}})
            folder = written(tmp_path, SITE, SiteImage(name="v1", mirror_url="", reference="", catalog=replace(made, entries=entries)))
        except CacheError:
            continue
        check_tree(folder)
        shutil.rmtree(folder)


def settings(key: str, text: str) -> Settings:
    """Settings in which a text of YAML stands at one place."""
    stack = f"{{spack: {{version: v1.1.0, commit: '{'0' * 40}'}}, packages: {{version: v1, commit: '{'1' * 40}'}}, specs: [zlib]"
    place = {
        "stack": f"stacks:\n  {text}: {stack}}}", "image": f"stacks:\n  a: {stack}, image: {text}}}",
        "keys": f"stacks:\n  a: {stack}}}\nsite:\n  keys: [{text}]",
    }  # fmt: skip
    body = place.get(key, f"stacks:\n  a: {stack}}}\nsite:\n  {key}: {text}")
    return parse_settings(f"registry: oci://ghcr.io/o/r\n{body}\n", "cache.yaml", PROJECT)


@pytest.mark.parametrize("key", ["title", "description", "url", "color", "keys", "stack", "image"])
def test_hostile_settings_are_refused_or_shown(key: str, tmp_path: Path) -> None:
    refused, good = 0, list[Settings]()
    address = "https://evil.invalid/" if key in ("url", "keys") else ""
    quoted = [json.dumps(address + text) for texts in TEXTS.values() for text in texts if "\\ud83d" not in json.dumps(text)]
    for text in (*quoted, *map(json.dumps, PAGES), *YAML, json.dumps(HUGE)):
        try:
            good.append(settings(key, text))
        except CacheError:
            refused += 1
    assert refused > 30
    assert len(good) > 2 or key == "color"
    for site, held in _sites(key, good):
        image_of = SiteImage(name=held, mirror_url=f"oci://h/{held}", reference=f"h/{held}", catalog=Catalog())
        folder = written(tmp_path, site, image_of)
        check_tree(folder, site.title + site.description)
        mirrors = {"mirrors": {f"cache-{held}": {"url": f"oci://h/{held}", "signed": False}}}
        assert yaml.safe_load((folder / held / "mirrors.yaml").read_text()) == mirrors


def _sites(key: str, good: list[Settings]) -> Iterator[tuple[Site, str]]:
    """The sites of settings, and the names of their images; texts that stand beside each other on any page make one site."""
    match key:
        case "description":
            yield Site(description=" ".join(found.site.description for found in good)), "v1"
        case "keys":
            yield Site(keys=tuple(key for found in good for key in found.site.keys)), "v1"
        case _:
            yield from (
                (replace(found.site, url=found.site.url or "https://o.github.io/r"), stack.image_name)
                for found in good
                for stack in found.stacks.values()
            )


def test_hostile_folders_of_a_cache_are_text(tmp_path: Path) -> None:
    """A cache may lie in a directory of any name: that is told as its reference, and as the address of its mirror."""
    images = []
    for at, text in enumerate(text for texts in TEXTS.values() for text in texts):
        path = PurePosixPath(f"/cache/{text}")
        url = "file:///odd" if "\0" in text or (not text.isprintable() and "\ud800" <= max(text) <= "\udfff") else path.as_uri()
        images.append(SiteImage(name=f"i{at}", mirror_url=url, reference=str(path), catalog=make_catalog([make_node("app")])))
    folder = written(tmp_path, SITE, *images)
    check_tree(folder)
    for one in images:
        for name in ("mirrors.yaml", "spack.yaml"):
            found = yaml.safe_load((folder / one.name / name).read_text(encoding="utf-8"))
            mirrors = found["mirrors"] if name == "mirrors.yaml" else found["spack"]["mirrors"]
            assert mirrors == {f"cache-{one.name}": {"url": one.mirror_url, "signed": False}}
