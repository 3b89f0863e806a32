"""Takes a picture of every kind of page, light and dark, wide and narrow: python -m tests.screens [FOLDER]"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from cachelib.steps.rendering import render
from cachelib.tools.files import write_atomically
from cachelib.tools.templates import JinjaTemplates
from tests.site.kinds import KINDS, addresses
from tests.support.browser import browser, shown
from tests.support.sample import SITE, sample_image

PROJECT = Path(__file__).resolve().parents[1]
PAGE, PICTURES = PROJECT / "docs/explanation/screens.md", PROJECT / "docs/explanation/screens"
#: What is taken of each kind: a window on a desk, and a phone.
WINDOWS = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}
_TITLES = {"found": "search, with what is found", "missing": "a page that isn't there", "why": "why not from here?"}


def main(folder: Path) -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as name, browser() as chromium:
        place = Path(name) / "site"
        with shown(place, render(SITE, [sample_image()], JinjaTemplates(PROJECT / "templates"))) as url:
            found = addresses(place)
            for scheme in ("light", "dark"):
                for window, size in WINDOWS.items():
                    context = chromium.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
                    # At the site's own address: what isn't there is shown at any depth, so that page names it.
                    context.route(
                        f"{SITE.url}/**", lambda route: route.fulfill(response=route.fetch(url=route.request.url.replace(SITE.url, url, 1)))
                    )
                    for kind in KINDS:
                        page = context.new_page()
                        page.goto(f"{SITE.url}/{found[kind]}")
                        page.wait_for_load_state("networkidle")
                        write_atomically(folder / f"{kind}-{scheme}-{window}.jpg", page.screenshot(type="jpeg", quality=70))
                        page.close()
                    context.close()
    sys.stdout.write(f"{4 * len(KINDS)} pictures in {folder}\n")


def page() -> str:
    """The page of docs that shows them."""
    lines = [
        "# The site in pictures",
        "",
        "Made by `nox -s screens` from a sample of 1,000 builds: each kind of page, light and dark, wide and narrow.",
        "",
    ]
    for kind in KINDS:
        title = _TITLES.get(kind, kind)
        lines += [f"## {title[0].upper()}{title[1:]}", ""]
        for scheme in ("light", "dark"):
            cells = [
                f'<img src="screens/{kind}-{scheme}-{window}.jpg" alt="{title}, {scheme}, {window}" height="420">' for window in WINDOWS
            ]
            lines += [" ".join(cells), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
    if len(sys.argv) == 1:
        write_atomically(PAGE, page().encode())
