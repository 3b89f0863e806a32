"""The site finds the same differences as `inv why`: every pair of its corpus, in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import archspec.cpu
import pytest

from cachelib.model.spec import ConcreteSpec
from cachelib.steps.differing import differences, distance
from cachelib.steps.targets import family
from tests.support.browser import browser, served
from tests.unit.test_why import ONES, PAIRS, SEVERAL, TRIPLES, changed, dag, older, put, spec

PROJECT = Path(__file__).resolve().parents[2]
_RUN = """async (pairs) => {
  const { differences, distance } = await import("./differing.js");
  const read = (nodes) => ({ root: nodes[0], nodes: new Map(nodes.map((node) => [node.hash, node])) });
  return pairs.map(([a, b]) => { const found = differences(read(a), read(b)); return [found, distance(found)]; });
}"""


def plain(one: ConcreteSpec) -> list[dict[str, Any]]:
    return [node.raw for node in one.nodes.values()]


def told(a: ConcreteSpec, b: ConcreteSpec) -> list[Any]:
    found = differences(a, b)
    lines = [
        {
            "field": one.field.name.lower(),
            "asked": one.asked,
            "there": one.there,
            "name": one.name,
            "path": list(one.path),
            "also": one.also,
        }
        for one in found
    ]
    return [lines, distance(found)]


def test_a_browser_finds_what_python_finds(tmp_path: Path) -> None:
    pairs = []
    for name, _, changes, *_rest in ONES:
        ours = dag(name)
        theirs = changed(ours, *changes)
        pairs += [(spec(ours), spec(theirs)), (spec(theirs), spec(ours))]
    for chosen in (*PAIRS, *TRIPLES, tuple(SEVERAL)):
        ours = dag("c-blosc")
        pairs.append((spec(ours), spec(changed(ours, *(SEVERAL[name][0] for name in chosen)))))
    roots = [spec(dag(name)) for name in ("libpng", "freetype", "libtiff", "gsl")]
    pairs += [(a, b) for a in roots for b in roots]  # different packages altogether
    pairs += [pair for one in roots for pair in ((one, older(one)), (older(one), one))]
    moved = [(name, put("arch", "platform_os", to="ubuntu24.04")) for name in ("gcc-runtime", "zstd")]
    pairs.append((spec(ours), spec(changed(ours, SEVERAL["compiler"][0], *moved))))
    assert len(pairs) > 200
    (tmp_path / "differing.js").write_bytes((PROJECT / "templates/site/differing.js").read_bytes())
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    with served(tmp_path) as url, browser() as chromium:
        page = chromium.new_page()
        page.goto(f"{url}/index.html")
        found = page.evaluate(_RUN, [[plain(a), plain(b)] for a, b in pairs])
    for (a, b), there in zip(pairs, found, strict=True):
        here = told(a, b)
        assert json.loads(json.dumps(there)) == here, (a.label, b.label)


def test_the_families_of_processors_are_archspecs(tmp_path: Path) -> None:
    (tmp_path / "differing.js").write_bytes((PROJECT / "templates/site/differing.js").read_bytes())
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    names = sorted(archspec.cpu.TARGETS)
    assert len(names) > 60
    with served(tmp_path) as url, browser() as chromium:
        page = chromium.new_page()
        page.goto(f"{url}/index.html")
        found = page.evaluate('async (names) => { const { family } = await import("./differing.js"); return names.map(family); }', names)
    assert dict(zip(names, found, strict=True)) == {name: family(name) for name in names}


@pytest.mark.parametrize("odd", [None, 7, "x", [], {}, [None], {"dependencies": 7}, {"parameters": []}])
def test_odd_nodes_are_no_trouble(tmp_path: Path, odd: Any) -> None:
    """What somebody pastes may be anything: a page says so, and its script goes on."""
    nodes = plain(spec(dag("libpng")))
    other = json.loads(json.dumps(nodes))
    other[0] = {**other[0], **(odd if isinstance(odd, dict) else {"parameters": odd}), "hash": "a" * 32}
    (tmp_path / "differing.js").write_bytes((PROJECT / "templates/site/differing.js").read_bytes())
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    with served(tmp_path) as url, browser() as chromium:
        page = chromium.new_page()
        page.goto(f"{url}/index.html")
        ((found, _),) = page.evaluate(_RUN, [[nodes, other]])
    assert isinstance(found, list)
