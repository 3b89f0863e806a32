"""The documentation goes with the site where there is some, and nothing leads to it where there is none."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from cachelib.model.config import Site
from cachelib.model.errors import RenderError
from cachelib.steps.rendering import render
from cachelib.tools.docs_folder import docs_files
from cachelib.tools.templates import JinjaTemplates
from tests.unit.test_rendering import TEMPLATES, Page


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder as Sphinx leaves it."""
    for name in ("index.html", "searchindex.js", "how-to/prune.html", ".buildinfo", ".doctrees/index.doctree"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def links(pages: dict[PurePosixPath, bytes], name: str) -> list[str]:
    return [link for link in Page(pages[PurePosixPath(name)].decode()).links if "docs/" in link]


def test_the_documentation_goes_with_the_site(built: Path) -> None:
    site = dict(render(Site(), [], TEMPLATES, docs_files(built)))
    assert {str(path) for path in site if path.parts[0] == "docs"} == {"docs/index.html", "docs/searchindex.js", "docs/how-to/prune.html"}
    assert site[PurePosixPath("docs/index.html")] == b"index.html"
    # From the menu and from the foot, at any depth.
    assert links(site, "index.html") == ["docs/index.html"] * 2
    assert links(site, "weather/index.html") == ["../docs/index.html"] * 2


def test_without_it_nothing_leads_there() -> None:
    site = dict(render(Site(), [], JinjaTemplates(Path(__file__).resolve().parents[2] / "templates")))
    assert [path for path in site if path.parts[0] == "docs"] == []
    assert [path for path in site if path.suffix == ".html" and path.parts[0] != "manifest" and links(site, str(path))] == []


def test_a_folder_of_something_else_is_refused(built: Path) -> None:
    (built / "searchindex.js").unlink()
    with pytest.raises(RenderError, match="holds no documentation") as caught:
        docs_files(built)
    assert "nox -s docs" in str(caught.value.hint)
