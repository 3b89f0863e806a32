"""Jekyll, doing what the first generation of such caches had it do: a page and a JSON for each build, a table, a manifest."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from cachelib.model.catalog import Catalog
from tests.bench.clock import Row, Table, alternate, invoke, seconds
from tests.bench.local import settings
from tests.bench.site import publish
from tests.support.caches import made_catalog

_CONFIG = """title: A cache
baseurl: /cache
collections:
  cache:
    output: true
    permalink: /:collection/:path
defaults:
  - scope: {path: "_cache", type: "cache"}
    values: {layout: "build"}
markdown: kramdown
"""
_LAYOUT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ page.title | escape }}</title></head>
<body><h1>{{ page.title | escape }}</h1>{{ content }}<p>Updated {{ page.updated_at }}, {{ page.content_type }}</p>
<pre>oras pull {{ page.package }}</pre><ul>{% for tag in page.tags %}<li><a href="{{ site.baseurl }}/tags#{{ tag | slugify }}">{{ tag }}</a></li>{% endfor %}</ul>
</body></html>
"""
_PAGES = {
    "index.html": '---\n---\n<ul>{% for one in site.cache %}<li><a href="{{ site.baseurl }}{{ one.url }}">{{ one.title }}</a></li>{% endfor %}</ul>\n',
    "table.html": "---\n---\n<table>{% for one in site.cache %}<tr><td>{{ one.title }}</td><td>{{ one.updated_at }}</td><td>{{ one.tags | join: ', ' }}</td></tr>{% endfor %}</table>\n",
    "manifest.html": '---\n---\n{"packages":[{% for one in site.cache %}{"name":"{{ one.title }}","spec":"{{ one.json }}","url":"{{ one.package }}"}{% unless forloop.last %},{% endunless %}{% endfor %}]}\n',
}


def against_jekyll(table: Table, folder: Path, *, size: int, rounds: int) -> None:
    """The site of a cache by Jekyll, bare of plugins and theme, and by `inv render`, in turn; both from nothing."""
    if shutil.which("jekyll") is None:
        print("Jekyll is left out: apt-get install jekyll")
        return
    ours, theirs = folder / "ours", folder / "theirs"
    config = settings(ours, site={"url": "https://owner.github.io/cache"})
    publish(ours, size)
    _source(theirs, made_catalog(size))

    def render(_: int) -> float:
        shutil.rmtree(ours / "var/site", ignore_errors=True)
        return seconds(lambda: invoke("render", "--config", config))

    def jekyll(_: int) -> float:
        shutil.rmtree(folder / "built", ignore_errors=True)
        command = ["jekyll", "build", "--quiet", "--disable-disk-cache", "--source", str(theirs), "--destination", str(folder / "built")]
        return seconds(lambda: subprocess.run(command, check=True))

    here, there = alternate([render, jekyll], rounds)
    pages, files = (sum(path.is_file() for path in place.rglob("*")) for place in (folder / "built", ours / "var/site"))
    note = f"a page and a JSON for each build, no theme, no plugins: {pages:,} files, here {files:,}"
    table.add(Row(name=f"site of {size:,} builds, against Jekyll", ours=here, theirs=there, unit="s", ratio=here / there, note=note))


def _source(folder: Path, catalog: Catalog) -> None:
    place = folder / "_cache/21.11/build_cache"
    place.mkdir(parents=True)
    (folder / "_layouts").mkdir()
    (folder / "_layouts/build.html").write_text(_LAYOUT, encoding="utf-8")
    (folder / "_config.yml").write_text(_CONFIG, encoding="utf-8")
    for name, text in _PAGES.items():
        (folder / name).write_text(text, encoding="utf-8")
    nodes = {h: json.loads(b"{" + line + b"}")[h]["spec"] for h, line in catalog.database.lines.items()}
    for h in catalog.entries:
        node, found, waiting = nodes[h], dict[str, object](), [h]
        while waiting:
            at = waiting.pop()
            if at not in found:
                found[at] = nodes[at]
                waiting += [edge["hash"] for edge in nodes[at].get("dependencies", ())]
        name = f"linux-debian12-{node['arch']['target']}-gcc-12.2.0-{node['name']}-{node['version']}-{h}"
        spec = {"spec": {"_meta": {"version": 4}, "nodes": list(found.values())}}
        (place / f"{name}.spec.json").write_text(json.dumps(spec), encoding="utf-8")
        package = f"ghcr.io/owner/cache/21.11/build_cache/{name}.spack"
        front = {"title": f"{name}.spack", "categories": "spack-package", "tags": ["spack-package", "latest", node["name"]]}
        front |= {
            "json": f"{name}.spec.json",
            "content_type": "application/vnd.spack.package",
            "package": f"{package}:latest",
            "updated_at": "2021-11-27",
        }
        (place / f"{name}.spack.md").write_text(
            "---\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items()) + "---\n"
        )
