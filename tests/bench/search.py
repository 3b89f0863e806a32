"""The search of the site in a real browser: what it loads, and how long a key takes to be answered."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from statistics import median

from cachelib.model.ports import Files
from cachelib.steps.search import search_files
from cachelib.tools.templates import JinjaTemplates
from tests.bench.clock import PROJECT, Row, Table
from tests.support.browser import browser, shown
from tests.support.contents import made_contents, search_site

TEMPLATES = JinjaTemplates(PROJECT / "templates")
FIRST_LIMIT, ALL_LIMIT, KEY_LIMIT = 60_000, 700_000, 100
#: Each is typed key by key: a name, words that nothing but descriptions has, a spec, and what fits nearly everything.
TYPED = ("hdf5-blosc", "nation", "hdf5@4:+shared %gcc target=x86_64_v3", "+shared build_type=Release", "a")
# All that a key costs the page: finding, counting, showing, and laying out.
_KEY = """text => {
  const field = document.getElementById("query"), begun = performance.now();
  field.value = text;
  field.dispatchEvent(new Event("input"));
  document.body.getBoundingClientRect();
  return performance.now() - begun;
}"""


def searching(table: Table, folder: Path, *, size: int) -> None:
    """Measure a cache of so many builds whose names, descriptions, versions and variants are as various as real ones."""
    contents = made_contents(size)
    sizes = {path.stem: len(gzip.compress(data, 6)) for path, data in search_files(contents)}
    first, whole = sizes["index"] + sizes["names"], sum(sizes.values())
    for what, found, limit in (("before the first answer", first, FIRST_LIMIT), ("in all", whole, ALL_LIMIT)):
        table.add(
            Row(name=f"search of {size:,} builds, gzipped, {what}", ours=found / 1000, theirs=None, unit="kB", promise=f"<= {limit / 1000:.0f}",
                holds=found <= limit)
        )  # fmt: skip
    if shutil.which("chromium"):
        took = _keys(folder, search_site(contents, TEMPLATES))
        table.add(
            Row(name=f"search of {size:,} builds, the slowest of {len(took)} keys", ours=max(took), theirs=None, unit="ms",
                promise=f"< {KEY_LIMIT}", holds=max(took) < KEY_LIMIT, note=f"median {median(took):.1f} ms")
        )  # fmt: skip
    else:
        print("the keys of the search are left out: chromium is not installed")


def _keys(folder: Path, files: Files) -> list[float]:
    """Milliseconds of each key, the median of three rounds."""
    with shown(folder / "site", files) as url, browser() as found:
        page = found.new_page()
        page.goto(f"{url}/search/index.html")
        page.wait_for_selector(".facet", state="attached")
        typed = [text[:end] for text in TYPED for end in range(1, len(text) + 1)]
        return [median(took) for took in zip(*([page.evaluate(_KEY, text) for text in typed] for _ in range(3)), strict=True)]
