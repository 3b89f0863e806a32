"""How Sphinx makes the documentation of this folder: `nox -s docs`. The pages are Markdown as GitHub shows it, and stay so.

What GitHub doesn't know is put in here, while a page is read: the menu, which index.md lists, and links to what lies outside of docs/.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent

project = "Spack build cache"
copyright = "the maintainers; licensed under Apache-2.0 OR MIT"  # noqa: A001 (Sphinx names it so)
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["templates", "static"]
# Headings give links their fragments by GitHub's rules; pictures in HTML are pictures.
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]
# Everything that is doubtful is an error: the session turns warnings into those.
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "Spack build cache"
html_static_path = ["static"]
html_css_files = ["docs.css"]
# Below a cache's site, the way back to it; alone, there is none.
templates_path = ["templates"]
html_context = {"with_site": bool(os.environ.get("DOCS_WITH_SITE"))}
html_sidebars = {
    "**": [f"sidebar/{name}.html" for name in ("scroll-start", "brand", "to-the-cache", "search", "navigation", "scroll-end")],
}
html_favicon = "static/mark.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_last_updated_fmt = None
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#0b6e63", "color-brand-content": "#0b6e63"},
    "dark_css_variables": {"color-brand-primary": "#5fc9bb", "color-brand-content": "#5fc9bb"},
}
pygments_style = "default"
pygments_dark_style = "github-dark"

_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")
_LISTED = re.compile(r"^- \[[^\]]+\]\(([a-z/-]+)\.md\)", re.MULTILINE)


def menu(text: str) -> str:
    """The toctrees of the front page: a section is a caption, and each page that it lists an entry."""
    trees = []
    for section in text.split("\n## ")[1:]:
        caption, _, body = section.partition("\n")
        pages = _LISTED.findall(body)
        if pages:
            trees.append("\n".join(["```{toctree}", ":hidden:", f":caption: {caption.strip()}", "", *pages, "```"]))
    return "\n\n".join(trees)


def outward(text: str, page: str) -> str:
    """Lead links to folders and pages of the repository that are not in docs/ to where it is; where that isn't known, nowhere."""

    def lead(found: re.Match[str]) -> str:
        target = (HERE / page).parent.joinpath(found[2]).resolve()
        if target.is_relative_to(HERE) or (target.is_file() and target.suffix != ".md"):
            return found[0]  # a page of ours, or a file that is put beside them
        repository, commit = os.environ.get("GITHUB_REPOSITORY"), os.environ.get("GITHUB_SHA", "HEAD")
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        return f"[{found[1]}]({server}/{repository}/tree/{commit}/{target.relative_to(PROJECT)})" if repository else found[1]

    return _LINK.sub(lead, text)


def read(_: Any, name: str, source: list[str]) -> None:
    """Sphinx has read a page: put in what GitHub doesn't know."""
    source[0] = outward(source[0], f"{name}.md")
    if name == root_doc:
        source[0] += f"\n\n{menu(source[0])}\n"


def reachable(_: Any, name: str, template: str, context: dict[str, Any], tree: Any) -> None:  # noqa: ARG001 (Sphinx gives them)
    """Code that has to be scrolled can be so by keys, and the menu's captions say of which level they are."""
    context["body"] = context.get("body", "").replace("<pre>", '<pre tabindex="0">')
    context["furo_navigation_tree"] = context.get("furo_navigation_tree", "").replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's way in."""
    from sphinx.search.en import SearchEnglish

    # To the search `why` and `again` are words without a meaning; here they are tasks.
    tasks = re.findall(r"^## inv (\S+)$", (HERE / "reference/tasks.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    SearchEnglish.stopwords -= set(tasks)
    app.connect("source-read", read)
    app.connect("html-page-context", reachable, priority=900)  # after the theme's own
    return {"parallel_read_safe": True, "parallel_write_safe": True}
